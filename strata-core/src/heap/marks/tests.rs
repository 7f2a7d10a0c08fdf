//! The marks of a segment, alone.

use super::*;
use crate::block::MemBlockStore;
use crate::cache::{CacheOptions, PageCache};
use crate::memory::MemoryPool;

fn env() -> HeapEnv {
    let pool = MemoryPool::new(1 << 20);
    let cache = PageCache::new(Arc::new(MemBlockStore::new()), pool.clone(), CacheOptions::default());
    HeapEnv { cache, pool }
}

fn ts(raw: u64) -> Timestamp {
    Timestamp::new(raw)
}

fn apply(marks: &Marks, env: &HeapEnv, end: u64, slots: &[u16]) -> u32 {
    let pairs: Vec<_> =
        slots.iter().map(|slot| (RowId::new(u64::from(*slot)), Some(RowId::new(end).into()))).collect();
    let reserve = |bytes| env.pool.try_reserve("test", bytes);
    marks.apply(ts(end), &pairs, reserve)
}

fn live(marks: &Marks, at: u64) -> Vec<u16> {
    let mut words = vec![u64::MAX; 2];
    marks.clear_ended(64, &mut words, ts(at));
    set_slots(&words).map(|slot| slot + 64).collect()
}

fn marks(env: &HeapEnv) -> Marks {
    let marks = Marks::new(HeapId::new(1), SegmentId::new(0), None, 0);
    marks.make_ready(env).expect("memory");
    marks
}

#[test]
fn a_snapshot_sees_the_marks_up_to_it() {
    let env = env();
    let marks = marks(&env);
    assert_eq!(live(&marks, 9).len(), 128);
    assert_eq!(apply(&marks, &env, 3, &[5, 64, 70]), 3);
    assert_eq!(apply(&marks, &env, 5, &[71, 191, 192]), 3);
    let without = |dead: &[u16]| (64..192).filter(|slot| !dead.contains(slot)).collect::<Vec<u16>>();
    assert_eq!(live(&marks, 2), without(&[]));
    assert_eq!(live(&marks, 3), without(&[64, 70]));
    assert_eq!(live(&marks, 5), without(&[64, 70, 71, 191]));
    assert!(!marks.is_ended(71, ts(4)) && marks.is_ended(71, ts(5)));
    assert_eq!(marks.mark(70), Some(Mark { end_ts: ts(3), successor: Some(RowId::new(3)), moved: false }));
    assert_eq!((marks.mark(72), marks.dead()), (None, 6));
    assert_eq!(apply(&marks, &env, 7, &[70, 72]), 1, "a mark is set once");
    assert_eq!(marks.mark(70).map(|mark| mark.end_ts), Some(ts(3)));
}

#[test]
fn groups_that_nobody_tells_apart_are_united_and_old_ones_dropped() {
    let env = env();
    let marks = marks(&env);
    for end in 1..=40 {
        apply(&marks, &env, end, &[63 + end as u16]);
    }
    let before = env.pool.used();
    let snapshots = [10, 20, 21].map(ts);
    let seen = |marks: &Marks| [10, 20, 21, 35, 40, 50].map(|at| live(marks, at));
    let expected = seen(&marks);
    marks.prune(&snapshots, ts(35));
    assert_eq!(seen(&marks), expected);
    let ends: Vec<u64> = marks.groups.iter().map(|group| group.at.get()).collect();
    assert_eq!(ends, [40, 39, 38, 37, 36, 35, 21, 20]);
    assert_eq!(
        marks.mark(64 + 14),
        Some(Mark { end_ts: ts(20), successor: Some(RowId::new(15)), moved: false })
    );
    assert_eq!(marks.mark(64), Some(Mark { end_ts: ts(10), successor: None, moved: false }));
    assert!(env.pool.used() < before);
    marks.prune(&[], ts(40));
    assert!(!marks.has_groups());
    assert_eq!((marks.dead(), live(&marks, 40).len()), (40, 88));
    assert_eq!(env.pool.used(), BITS_BYTES, "only the bits are left on the account");
}

#[test]
fn what_a_block_holds_is_loaded_when_it_is_needed() {
    let env = env();
    let first = marks(&env);
    apply(&first, &env, 4, &[100, 150]);
    apply(&first, &env, 6, &[120]);
    let image = first.capture(130).expect("new marks");
    assert_eq!(image.dead_count(), 2, "slots below 130");
    let image = first.capture(65_536).expect("new marks");
    let id = env.cache.store().write(BlockKind::Marks, MARKS_FORMAT, &image.encode()).expect("memory");
    let block = env.cache.handle(id);
    assert!(first.set_stored(Some(block.clone()), 3).is_none());
    assert!(first.capture(65_536).is_none(), "the manifest has them all");

    let second = Marks::new(HeapId::new(1), SegmentId::new(0), Some(block.clone()), 3);
    assert_eq!((second.dead(), second.is_loaded()), (3, false));
    second.make_ready(&env).expect("reads the block");
    assert_eq!(second.mark(100), Some(Mark { end_ts: ts(4), successor: Some(RowId::new(4)), moved: false }));
    assert_eq!(live(&second, 5), live(&first, 5));
    assert_eq!(apply(&second, &env, 5, &[110, 120]), 1, "replay of a commit between the groups");
    assert_eq!(second.mark(110).map(|mark| mark.end_ts), Some(ts(5)));
    assert!(second.is_ended(110, ts(5)) && !second.is_ended(120, ts(5)) && second.is_ended(120, ts(6)));

    let other = Marks::new(HeapId::new(2), SegmentId::new(0), Some(block.clone()), 3);
    assert!(matches!(other.load(&env), Err(Error::CorruptBlock { .. })), "another heap's block");
    let other = Marks::new(HeapId::new(1), SegmentId::new(0), Some(block), 2);
    assert!(matches!(other.load(&env), Err(Error::CorruptBlock { .. })), "not the manifest's count");
}
