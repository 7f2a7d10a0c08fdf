//! Models of the marks: a commit, the pruner and readers, in every order that loom finds.

use super::*;
use loom::sync::Arc as Shared;
use loom::thread;

const SLOT: u16 = 70;

/// Marks with a bitmap, which `Marks::make_ready` makes before a commit.
fn marks() -> Shared<Marks> {
    let marks = Marks::new(HeapId::new(1), SegmentId::new(2), None, 0);
    marks.bits.get_or_init(no_bits);
    Shared::new(marks)
}

fn commit(marks: &Marks, at: u64, slot: u16) {
    let row = RowId::from_parts(SegmentId::new(2), slot);
    assert_eq!(marks.apply(Timestamp::new(at), &[(row, None)], |_| None), 1);
}

/// The slots that a scan of this snapshot sees as ended.
fn ended(marks: &Marks, snapshot: u64) -> Vec<u16> {
    let mut words = [u64::MAX];
    marks.clear_ended(64, &mut words, Timestamp::new(snapshot));
    (64..128).filter(|slot| words[0] & bit(*slot) == 0).collect()
}

#[test]
fn a_snapshot_sees_what_was_published_and_nothing_later() {
    static SEEN: std::sync::Mutex<[bool; 2]> = std::sync::Mutex::new([false; 2]);
    loom::model(|| {
        let (marks, published) = (marks(), Shared::new(AtomicU64::new(4)));
        let committer = {
            let (marks, published) = (Shared::clone(&marks), Shared::clone(&published));
            thread::spawn(move || {
                commit(&marks, 5, SLOT);
                published.store(5, Ordering::Release);
            })
        };
        let snapshot = published.load(Ordering::Acquire);
        assert_eq!(ended(&marks, snapshot), [SLOT][..snapshot as usize - 4], "at {snapshot}");
        assert_eq!(marks.is_ended(SLOT, Timestamp::new(snapshot)), snapshot == 5, "at {snapshot}");
        SEEN.lock().expect("no panics")[snapshot as usize - 4] = true;
        committer.join().expect("no panics");
        assert_eq!((ended(&marks, 4), ended(&marks, 5)), (vec![], vec![SLOT]));
    });
    assert_eq!(*SEEN.lock().expect("no panics"), [true; 2], "not every order was run");
}

/// The pruner unites the groups between two live snapshots, and drops those that all see.
#[test]
fn a_snapshot_sees_the_same_while_commits_come_and_groups_are_pruned() {
    // Every order is too many: those with at most two preemptions are run.
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(2);
    builder.check(|| {
        let marks = marks();
        (1..=4).for_each(|at| commit(&marks, at * 10, SLOT + at as u16));
        let committer = {
            let marks = Shared::clone(&marks);
            thread::spawn(move || commit(&marks, 50, SLOT))
        };
        let pruner = {
            let marks = Shared::clone(&marks);
            thread::spawn(move || marks.prune(&[Timestamp::new(15)], Timestamp::new(40)))
        };
        assert_eq!(ended(&marks, 15), [SLOT + 1]);
        assert_eq!(ended(&marks, 40), [SLOT + 1, SLOT + 2, SLOT + 3, SLOT + 4]);
        [committer, pruner].into_iter().for_each(|thread| thread.join().expect("no panics"));
        let kept: Vec<u64> = marks.groups.iter().map(|group| group.at.get()).collect();
        // Where the commit came later, the newest group that the pruner found was 40, which it leaves alone.
        assert!([&[50, 40][..], &[50, 40, 30]].contains(&&kept[..]), "{kept:?}");
    });
}
