//! The interleavings of TRAPS.md that the heap prevents, and its promises about I/O.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;

use super::super::chain::STEPS;
use super::super::column::Selection;
use super::super::{GarbageMap, GarbageMemory, Heap, Horizon, NewRows};
use super::rig::{HEAP, ID, Record, Rig, apply, ts};
use crate::error::Error;
use crate::ids::{RowId, SegmentId, Timestamp};
use crate::memory::Reclaimer;

fn fill(rig: &mut Rig, first: i64, count: i64) -> Vec<RowId> {
    let rows = (first..first + count).map(|id| rig.encode(id, 100)).collect();
    rig.commit(rows, &[])
}

fn ids(rig: &Rig, at: u64) -> Vec<i64> {
    rig.ids(ts(at))
}

#[test]
fn replay_into_a_changed_form() {
    let mut rig = Rig::new(10_000, 16 << 20);
    fill(&mut rig, 0, 40);
    rig.checkpoint();
    let later = fill(&mut rig, 40, 100);
    assert_eq!(later[0], RowId::from_parts(SegmentId::new(0), 40), "the rest of the segment");
    rig.commit(Vec::new(), &[(later[1], None), (RowId::new(3), None)]);
    let horizon = rig.horizon(&[]);
    assert!(rig.freeze(0, &horizon), "rows of both sides of the checkpoint are frozen");
    let expected: Vec<i64> = (0..140).filter(|id| *id != 3 && *id != 41).collect();
    for _ in 0..2 {
        assert_eq!(ids(&rig, 3), expected);
        assert_eq!(rig.heap.live_rows(ts(3)), 138);
        rig.reopen();
    }
    let next = fill(&mut rig, 140, 1)[0];
    assert_eq!(next, later[99].next(), "the tail goes on where it ended");
    rig.checkpoint();
    rig.reopen();
    assert_eq!(ids(&rig, 4).len(), 139);
    assert_eq!(rig.heap.live_rows(ts(4)), 139);
}

/// VACUUM seals a long tail. What the journal holds of rows behind it knows their places, whatever a replay finds.
#[test]
fn a_sealed_tail_is_frozen_and_stays_sealed() {
    let mut rig = Rig::new(1 << 20, 16 << 20);
    fill(&mut rig, 0, 40);
    rig.heap.seal_tail(41);
    let more = fill(&mut rig, 40, 10);
    assert_eq!(more[0], RowId::new(40), "too short to be sealed");
    rig.heap.seal_tail(50);
    rig.reopen();
    rig.heap.seal_tail(50);
    let later = fill(&mut rig, 50, 5);
    assert_eq!(later[0], RowId::from_parts(SegmentId::new(1), 0));
    rig.reopen();
    rig.checkpoint();
    assert!(rig.freeze(0, &rig.horizon(&[])));
    rig.reopen();
    assert_eq!(fill(&mut rig, 55, 1)[0], later[4].next());
    rig.heap.seal_tail(1);
    rig.checkpoint();
    assert!(rig.freeze(1, &rig.horizon(&[])));
    rig.reopen();
    assert_eq!(fill(&mut rig, 56, 1)[0], RowId::from_parts(SegmentId::new(2), 0), "not into a column block");
    assert_eq!(rig.ids(rig.last()), (0..57).collect::<Vec<_>>());
}

#[test]
fn replay_into_a_dropped_segment() {
    let mut rig = Rig::new(10_000, 16 << 20);
    let rows = fill(&mut rig, 0, 150);
    let (dying, rest) = rows.split_at(rows.partition_point(|row| row.segment() == SegmentId::new(0)));
    let marks = |rows: &[RowId]| rows.iter().map(|row| (*row, None)).collect::<Vec<_>>();
    rig.commit(Vec::new(), &marks(&dying[..20]));
    rig.checkpoint();
    rig.commit(Vec::new(), &marks(&dying[20..]));
    let horizon = rig.horizon(&[]);
    assert!(rig.drop_garbage(0, &horizon));
    for _ in 0..2 {
        assert_eq!(ids(&rig, 3).len(), rest.len());
        assert_eq!(rig.heap.live_rows(ts(3)), rest.len() as u64);
        assert!(!rig.heap.is_live(dying[0], ts(3)).expect("memory"));
        assert!(rig.heap.garbage(&horizon).is_garbage(dying[30]));
        assert!(rig.heap.row(dying[30]).is_err());
        rig.reopen();
    }
}

#[test]
fn marks_are_set_twice_without_counting_twice() {
    let mut rig = Rig::new(1 << 20, 16 << 20);
    let rows = fill(&mut rig, 0, 50);
    rig.checkpoint();
    let start = rig.start;
    rig.commit(vec![rig.encode(50, 10)], &[(rows[7], Some(0))]);
    fill(&mut rig, 51, 5);
    rig.checkpoint();
    rig.start = start;
    rig.reopen();
    assert_eq!(rig.heap.live_rows(ts(3)), 55);
    assert_eq!(ids(&rig, 3), (0..56).filter(|id| *id != 7).collect::<Vec<_>>());
    let mark = rig.heap.mark(rows[7]).expect("memory").expect("it is marked");
    assert_eq!((mark.end_ts, mark.successor), (ts(2), Some(RowId::new(50))));
}

#[test]
fn resurrection_by_rewrite() {
    let mut rig = Rig::new(10_000, 16 << 20);
    let rows = fill(&mut rig, 0, 150);
    let held = rig.heap.segments(ts(1)).remove(0);
    rig.commit(Vec::new(), &[(rows[5], None)]);
    let old_image = rig.heap.segments(ts(2)).remove(0);
    let horizon = rig.horizon(&[]);
    assert!(rig.freeze(0, &horizon));
    rig.heap.prune(&[], ts(2));
    assert!(rig.heap.row(rows[5]).is_err(), "the new image does not have the row");
    let dead = |view: &super::super::SegmentView| {
        let words = view.visible(0..64).expect("memory");
        words[0] & 1 << 5 == 0
    };
    assert!(!old_image.is_frozen() && dead(&old_image), "the mark outlives the image that has the row");
    assert!(rig.heap.segments(ts(2)).remove(0).is_frozen());
    assert!(dead(&rig.heap.segments(ts(2)).remove(0)));
    let arrays = held.read(&rig.schema, &[ID], &Selection::Range(5..6)).expect("held");
    assert_eq!(arrays[0].as_primitive::<Int64Type>().value(0), 5, "what is held stays readable");
}

#[test]
fn a_live_snapshot_keeps_its_row_through_a_rewrite() {
    let mut rig = Rig::new(10_000, 16 << 20);
    let rows = fill(&mut rig, 0, 150);
    rig.commit(Vec::new(), &[(rows[5], None), (rows[6], None)]);
    rig.commit(Vec::new(), &[(rows[7], None)]);
    let live = [ts(2)];
    rig.heap.prune(&live, ts(3));
    assert!(rig.freeze(0, &rig.horizon(&live)));
    assert_eq!(ids(&rig, 2), (0..150).filter(|id| ![5, 6].contains(id)).collect::<Vec<_>>());
    assert!(rig.heap.row(rows[7]).is_ok() && rig.heap.row(rows[6]).is_err());
    assert!(rig.freeze(0, &rig.horizon(&[])), "a sparse one is written again");
    assert!(rig.heap.row(rows[7]).is_err());
    assert_eq!(ids(&rig, 3).len(), 147);
}

/// "One 60-second reader keeps every version of a hot row": it keeps what it can see.
#[test]
fn one_long_reader_pins_only_what_it_sees() {
    let mut rig = Rig::new(1 << 20, 16 << 20);
    let mut counter = fill(&mut rig, 0, 1)[0];
    let live = [ts(1)];
    let mut versions = vec![counter];
    for _ in 0..50 {
        counter = rig.commit(vec![rig.encode(0, 10)], &[(counter, Some(0))])[0];
        versions.push(counter);
    }
    for pruned in [false, true] {
        let horizon = rig.horizon(&live);
        let garbage = versions.iter().filter(|row| rig.heap.garbage(&horizon).is_garbage(**row)).count();
        assert_eq!(garbage, 49, "all but what the reader sees and the newest; pruned: {pruned}");
        assert!(!rig.heap.garbage(&horizon).is_garbage(versions[0]));
        rig.heap.prune(&live, rig.last());
        assert_eq!(ids(&rig, 1), [0]);
        assert_eq!(rig.heap.visible_end(ts(1)), RowId::new(1));
    }
    assert!(rig.heap.garbage(&rig.horizon(&[])).is_garbage(versions[0]));
    assert!(!rig.heap.garbage(&rig.horizon(&[])).is_garbage(counter));
}

fn map_at(rig: &Rig, live: &[Timestamp]) -> GarbageMap {
    rig.heap.clone().garbage_map(rig.horizon(live), &GarbageMemory::new(rig.cache.pool()))
}

/// A flush asks about all of its rows at one horizon, and commits go on: with bitmaps, and where there is no memory for them.
#[test]
fn what_a_horizon_calls_garbage_does_not_change_while_commits_go_on() {
    for (pool, has_bitmaps) in [(16 << 20, true), (500 << 10, false)] {
        let mut rig = Rig::new(1 << 20, pool);
        let rows = fill(&mut rig, 0, 300);
        let marks = |rows: &[RowId]| rows.iter().map(|row| (*row, None)).collect::<Vec<_>>();
        rig.commit(Vec::new(), &marks(&rows[..100]));
        let reader = rig.last();
        rig.commit(Vec::new(), &marks(&rows[100..150]));
        let map = map_at(&rig, &[reader]);
        assert!(map.is_garbage(rows[0]));
        assert_eq!(map.has_bitmaps(), has_bitmaps);
        let later = fill(&mut rig, 300, 10);
        rig.commit(Vec::new(), &marks(&rows[150..200]));
        rig.commit(Vec::new(), &marks(&later[..5]));
        let garbage = |row: &&RowId| map.is_garbage(**row);
        assert_eq!(rows.iter().chain(&later).filter(garbage).count(), 100);
        assert!(rows[..100].iter().all(|row| map.is_garbage(*row)));
        let now = map_at(&rig, &[]);
        assert_eq!(rows.iter().chain(&later).filter(|row| now.is_garbage(**row)).count(), 205);
    }
}

/// A flush of many dead rows walked all that was committed since it began for each of them, and the more was committed the
/// longer it took: two minutes after eight seconds of updates.
#[test]
fn asking_about_many_rows_walks_what_commits_left_once() {
    let mut rig = Rig::new(1 << 20, 16 << 20);
    let rows = fill(&mut rig, 0, 1_000);
    let all: Vec<_> = rows.iter().map(|row| (*row, None)).collect();
    rig.commit(Vec::new(), &all[..500]);
    let map = map_at(&rig, &[rig.last()]);
    all[500..].iter().for_each(|mark| drop(rig.commit(Vec::new(), &[*mark])));
    let before = STEPS.get();
    assert_eq!(rows.iter().filter(|row| map.is_garbage(**row)).count(), 500);
    let steps = STEPS.get() - before;
    assert!((500..3_000).contains(&steps), "{steps} links walked for 500 commits and 1,000 rows");
}

/// Where nothing can be given back, the first segment without a bitmap is the last that memory is asked for.
#[test]
fn a_full_pool_is_asked_once_for_bitmaps_and_not_at_every_row() {
    struct Asked(AtomicUsize);
    impl Reclaimer for Asked {
        fn reclaim(&self, _: usize) -> usize {
            self.0.fetch_add(1, Ordering::SeqCst);
            0
        }
    }
    let mut rig = Rig::new(20_000, 16 << 20);
    let rows = fill(&mut rig, 0, 1_000);
    rig.commit(Vec::new(), &rows.iter().map(|row| (*row, None)).collect::<Vec<_>>());
    let map = map_at(&rig, &[]);
    let pool = rig.cache.pool().clone();
    let asked = Arc::new(Asked(AtomicUsize::new(0)));
    let reclaimer: Arc<dyn Reclaimer> = asked.clone();
    pool.register(Arc::downgrade(&reclaimer));
    rig.heap.prune(&[], rig.last());
    rig.cache.reclaim(16 << 20);
    let _others = pool.reserve("test", pool.available()).expect("is free");
    assert!(rows.iter().all(|row| map.is_garbage(*row)));
    assert!(!map.has_bitmaps() && rows.last().expect("many").segment().get() > 3);
    assert_eq!(asked.0.load(Ordering::SeqCst), 1);
}

/// A dirty page that is evicted goes to a fresh extent; what the manifest names stays until another edit is durable.
#[test]
fn eviction_does_not_touch_what_the_manifest_names() {
    let mut rig = Rig::new(1 << 20, 16 << 20);
    fill(&mut rig, 0, 100);
    rig.checkpoint();
    fill(&mut rig, 100, 2_000);
    drop(rig.heap.prepare(NewRows::default(), &[]).expect("registers the sealed pages"));
    let before = rig.cache.stats();
    assert!(before.dirty_pages > 5);
    while rig.cache.stats().dirty_pages > 0 {
        rig.cache.reclaim(1 << 20);
    }
    let all: Vec<i64> = (0..2_100).collect();
    assert_eq!(ids(&rig, 2), all, "evicted pages are read back");
    assert!(rig.cache.stats().misses > before.misses);
    rig.reopen();
    assert_eq!(ids(&rig, 2), all, "the manifest's pages were there, and the journal");
    rig.checkpoint();
    rig.reopen();
    assert_eq!(ids(&rig, 2), all);
}

#[test]
fn what_cannot_be_prepared_is_refused_with_nothing_done() {
    let mut rig = Rig::new(1 << 20, 4 << 20);
    let rows = fill(&mut rig, 0, 10);
    let refused = rig.heap.prepare(NewRows { rows: 100, bytes: 8 << 20, segments: 2 }, &[]).err();
    assert!(matches!(refused, Some(Error::OutOfMemory { .. })), "{refused:?}");
    rig.commit(Vec::new(), &[(rows[0], None)]);
    rig.checkpoint();
    rig.reopen();
    let marks =
        |heap: &Heap| Arc::clone(rig.heap.segments(ts(2))[0].marks()).is_loaded() && heap.id() == HEAP;
    assert!(!marks(&rig.heap), "opening reads nothing");
    drop(rig.heap.prepare(NewRows::default(), &[rows[1]]).expect("reads the marks"));
    assert!(marks(&rig.heap), "the commit section has no need to");
}

#[test]
fn opening_reads_no_table_data() {
    let mut rig = Rig::new(10_000, 16 << 20);
    let rows = fill(&mut rig, 0, 300);
    rig.commit(Vec::new(), &[(rows[0], None)]);
    assert!(rig.freeze(0, &rig.horizon(&[])));
    rig.checkpoint();
    rig.reopen();
    let stats = rig.cache.stats();
    assert_eq!((stats.hits, stats.misses, stats.pages), (0, 0, 0));
    assert_eq!(rig.heap.live_rows(ts(2)), 299);
    assert_eq!(ids(&rig, 2).len(), 299);
}

#[test]
fn a_load_is_adopted_at_a_segment_boundary_and_once() {
    let mut rig = Rig::new(1 << 20, 16 << 20);
    fill(&mut rig, 0, 150);
    rig.checkpoint();
    // A block as a bulk load writes it: that of another heap's frozen segment.
    let mut other = Rig::new(1_000, 16 << 20);
    other.store = rig.store.clone();
    other.reopen();
    fill(&mut other, 150, 100);
    assert!(other.freeze(0, &other.horizon(&[])));
    let block = other.state.blocks().next().expect("one");
    let slots = other.heap.segments(ts(1))[0].slots();
    let segment = rig.heap.next_segment();
    assert_eq!(segment, SegmentId::new(1));
    rig.heap.adopt(segment, block, slots, slots);
    rig.heap.seal_commit(ts(2), i64::from(slots));
    let end = segment.first_row().offset(slots.into());
    assert_eq!(rig.heap.visible_end(ts(2)), end);
    assert_eq!(rig.heap.next_row(), SegmentId::new(2).first_row(), "no rows go behind a load");
    let before = ids(&rig, 1);
    assert_eq!((before.len(), ids(&rig, 2).len()), (150, 150 + slots as usize));
    let marked = segment.first_row().offset(4);
    let mut prepared = rig.heap.prepare(NewRows::default(), &[marked]).expect("memory");
    rig.heap.apply_marks(ts(3), &[(marked, None)], &mut prepared);
    rig.heap.seal_commit(ts(3), -1);
    let horizon = Horizon { published: ts(3), live: Vec::new() };
    assert!(!rig.freeze(1, &horizon), "its block is the journal's, not the manifest's");
    rig.checkpoint();
    rig.reopen();
    rig.heap.adopt(segment, block, slots, slots);
    rig.heap.seal_commit(ts(2), i64::from(slots));
    assert_eq!(rig.heap.live_rows(ts(3)), 149 + u64::from(slots), "adopted once");
    assert!(rig.freeze(1, &horizon));
    assert_eq!(ids(&rig, 3).len(), 149 + slots as usize);
}

#[test]
fn a_commit_of_many_sizes_of_rows_keeps_within_what_was_prepared() {
    let rig = Rig::new(64 << 20, 64 << 20);
    for (at, lengths) in [
        vec![0; 20_000],
        vec![20_000; 50],
        vec![40_000, 10, 40_000, 10, 40_000, 10],
        (0..200).map(|index| index * 300 % 33_000).collect(),
        vec![3_000_000],
    ]
    .into_iter()
    .enumerate()
    {
        let rows: Vec<Vec<u8>> = lengths.iter().map(|length| vec![7; *length]).collect();
        let lengths: Vec<u32> = lengths.iter().map(|length| *length as u32).collect();
        let runs = rig.heap.place(&lengths);
        let record = Record { ts: ts(at as u64 + 1), runs, rows, marks: Vec::new() };
        apply(&rig.heap, &record, false);
    }
    assert_eq!(rig.heap.live_rows(ts(5)), 20_257);
}

/// Pages that grow, are sealed and evicted while an edit that names an earlier state of them is on its way.
#[test]
fn a_page_evicted_between_checkpoint_and_install_keeps_the_block_that_the_edit_names() {
    let mut rig = Rig::new(1 << 20, 16 << 20);
    fill(&mut rig, 0, 100);
    let checkpoint = rig.heap.checkpoint().expect("memory");
    let start = rig.journal.len();
    fill(&mut rig, 100, 2_000);
    drop(rig.heap.prepare(NewRows::default(), &[]).expect("registers the sealed pages"));
    while rig.cache.stats().dirty_pages > 0 {
        rig.cache.reclaim(1 << 20);
    }
    rig.edit(&checkpoint.edits);
    rig.start = start;
    checkpoint.install.run();
    let all: Vec<i64> = (0..2_100).collect();
    assert_eq!(ids(&rig, 2), all);
    rig.reopen();
    assert_eq!(ids(&rig, 2), all, "the blocks that the edit named are there");
}

/// A checkpoint while a commit is being applied takes the heap as the commit before left it.
#[test]
fn a_checkpoint_leaves_out_the_commit_that_is_under_way() {
    let mut rig = Rig::new(1 << 20, 16 << 20);
    let rows = fill(&mut rig, 0, 10);
    let new = vec![rig.encode(10, 100), rig.encode(11, 100)];
    let lengths: Vec<u32> = new.iter().map(|row| row.len() as u32).collect();
    let runs = rig.heap.place(&lengths);
    let marked = [(rows[2], Some(runs[0].first.into()))];
    let mut prepared =
        rig.heap.prepare(NewRows { rows: 2, bytes: 300, segments: 1 }, &[rows[2]]).expect("memory");
    rig.heap.apply_inserts(&runs[0], &mut new.iter().map(Vec::as_slice), &mut prepared);
    rig.heap.apply_marks(ts(2), &marked, &mut prepared);
    rig.checkpoint();
    assert_eq!(rig.state.heaps[&HEAP].row_end, RowId::new(10));
    rig.heap.seal_commit(ts(2), 1);
    rig.journal.push(Record { ts: ts(2), runs, rows: new, marks: marked.to_vec() });
    let expected = [0, 1, 3, 4, 5, 6, 7, 8, 9, 10, 11];
    for _ in 0..2 {
        assert_eq!(ids(&rig, 2), expected);
        assert_eq!(rig.heap.live_rows(ts(2)), 11);
        rig.reopen();
    }
}
