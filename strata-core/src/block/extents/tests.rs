use proptest::prelude::*;

use super::*;

fn id(first: u64, pages: u64) -> BlockId {
    BlockId::from_extent(first, pages).expect("fits")
}

fn recovered(end: u64) -> ExtentAllocator {
    let mut extents = ExtentAllocator::recovering(end);
    extents.finish_recovery();
    extents
}

/// Checks the invariant of the module's doc against the runs that are taken out.
fn check(extents: &ExtentAllocator, taken: &[Run]) {
    let mut spans: Vec<(u64, u64, bool)> =
        extents.used.iter().map(|(first, pages)| (*first, *pages, false)).collect();
    spans.extend(extents.free.values().map(|run| (run.first, run.pages, true)));
    spans.extend(taken.iter().map(|run| (run.first, run.pages, false)));
    spans.sort_unstable();
    let mut position = 0;
    let mut was_free = false;
    for (first, pages, is_free) in spans {
        assert!(pages > 0, "an empty span at {first}");
        assert_eq!(first, position, "a gap or an overlap at {position}");
        assert!(!(is_free && was_free), "two free runs touch at {first}");
        position = first + pages;
        was_free = is_free;
    }
    assert_eq!(position, extents.end);
    assert_eq!(extents.used.values().sum::<u64>(), extents.used_pages);
    let by_size: BTreeSet<(u64, u64)> = extents.free.values().map(|run| (run.pages, run.first)).collect();
    assert_eq!(by_size, extents.free_by_size);
    assert!(extents.free.values().all(|run| run.unpunched <= run.pages));
}

#[test]
fn the_smallest_run_that_fits_is_taken_and_the_lowest_of_those() {
    let mut extents = recovered(0);
    let ids: Vec<BlockId> =
        [4, 1, 2, 1, 2, 1, 3, 1].iter().map(|pages| extents.allocate(*pages).expect("room")).collect();
    for index in [0, 2, 4, 6] {
        extents.free(ids[index]);
    }
    assert_eq!(extents.allocate(2), Some(ids[2]));
    assert_eq!(extents.allocate(2), Some(ids[4]));
    assert_eq!(extents.allocate(2), Some(id(ids[6].first_page(), 2)));
    assert_eq!(extents.allocate(5), Some(id(15, 5)), "past the end");
}

#[test]
fn a_free_tail_that_is_too_short_is_extended() {
    let mut extents = recovered(0);
    let first = extents.allocate(1).expect("room");
    let tail = extents.allocate(3).expect("room");
    extents.free(tail);
    assert_eq!(extents.allocate(5), Some(id(1, 5)));
    assert_eq!((extents.end(), first), (6, id(0, 1)));
    check(&extents, &[]);
}

#[test]
fn until_recovery_ends_new_extents_come_from_past_the_end_only() {
    let mut extents = ExtentAllocator::recovering(100);
    extents.adopt(id(10, 5)).expect("free");
    extents.adopt(id(90, 20)).expect("past the end of the file");
    assert_eq!(extents.allocate(1), Some(id(110, 1)));
    assert_eq!(extents.free(id(10, 5)), None);
    assert_eq!(extents.allocate(5), Some(id(111, 5)), "what is freed is not reused either");
    assert_eq!(extents.free(id(111, 5)), None);
    extents.finish_recovery();
    check(&extents, &[]);
    assert_eq!(extents.allocate(90), Some(id(0, 90)), "what nobody adopted is free now");
    assert!(extents.adopt(id(0, 1)).is_err(), "too late");
}

#[test]
fn adopting_twice_is_adopting_once_and_an_overlap_is_damage() {
    let mut extents = ExtentAllocator::recovering(0);
    extents.adopt(id(10, 5)).expect("free");
    extents.adopt(id(10, 5)).expect("the same");
    extents.adopt(id(15, 1)).expect("next to it");
    extents.adopt(id(8, 2)).expect("next to it");
    for overlapping in [id(10, 4), id(10, 6), id(14, 1), id(9, 1), id(0, 100), id(12, 9)] {
        let error = extents.adopt(overlapping).expect_err("overlap");
        assert!(matches!(error, Error::CorruptBlock { .. }), "{overlapping}: {error}");
    }
    assert_eq!(extents.used_pages(), 8);
}

#[test]
fn the_tail_is_cut_down_to_the_slack_when_it_is_twice_as_long() {
    let mut extents = recovered(0);
    let kept = extents.allocate(2).expect("room");
    let gone = extents.allocate(9).expect("room");
    extents.free(gone);
    assert_eq!(extents.cut_tail(5), None);
    assert_eq!(extents.cut_tail(4), Some(6));
    assert_eq!(extents.cut_tail(4), None);
    check(&extents, &[]);
    assert_eq!(extents.cut_tail(0), Some(2));
    assert_eq!(extents.cut_tail(0), None, "nothing free is left");
    extents.free(kept);
    assert_eq!(extents.cut_tail(0), Some(0));
    check(&extents, &[]);
}

#[derive(Clone, Debug)]
enum Step {
    Allocate(u64),
    Free(usize),
    Take(usize),
    PutBack(usize),
    Cut(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (1..20u64).prop_map(Step::Allocate),
        4 => any::<usize>().prop_map(Step::Free),
        1 => any::<usize>().prop_map(Step::Take),
        1 => any::<usize>().prop_map(Step::PutBack),
        1 => (0..8u64).prop_map(Step::Cut),
    ]
}

proptest! {
    #[test]
    fn no_page_is_lost_or_handed_out_twice(
        adopted in proptest::collection::vec((0..200u64, 1..10u64), 0..12),
        during in proptest::collection::vec(1..10u64, 0..5),
        steps in proptest::collection::vec(step(), 0..200),
    ) {
        let mut extents = ExtentAllocator::recovering(150);
        let mut live: Vec<BlockId> = Vec::new();
        for (first, pages) in adopted {
            if extents.adopt(id(first, pages)).is_ok() && !live.contains(&id(first, pages)) {
                live.push(id(first, pages));
            }
        }
        let floor = live.iter().map(|id| id.first_page() + id.pages()).max().unwrap_or(0).max(150);
        for pages in during {
            let new = extents.allocate(pages).expect("room");
            prop_assert!(new.first_page() >= floor);
            live.push(new);
        }
        extents.finish_recovery();
        let mut taken: Vec<Run> = Vec::new();
        check(&extents, &taken);
        for step in steps {
            match step {
                Step::Allocate(pages) => {
                    let new = extents.allocate(pages).expect("room");
                    prop_assert_eq!(new.pages(), pages);
                    live.push(new);
                }
                Step::Free(choice) if !live.is_empty() => {
                    let gone = live.swap_remove(choice % live.len());
                    let run = extents.free(gone).expect("in use");
                    prop_assert!(run.first <= gone.first_page() && gone.first_page() + gone.pages() <= run.end());
                }
                Step::Take(choice) if !extents.free.is_empty() => {
                    let first = *extents.free.keys().nth(choice % extents.free.len()).expect("within");
                    taken.extend(extents.take_run(first));
                }
                Step::PutBack(choice) if !taken.is_empty() => {
                    let run = taken.swap_remove(choice % taken.len());
                    extents.put_back(Run { unpunched: 0, ..run });
                }
                Step::Cut(slack) => {
                    extents.cut_tail(slack);
                }
                _ => {}
            }
            check(&extents, &taken);
            let used: BTreeMap<u64, u64> = live.iter().map(|id| (id.first_page(), id.pages())).collect();
            prop_assert_eq!(&used, &extents.used);
        }
    }
}
