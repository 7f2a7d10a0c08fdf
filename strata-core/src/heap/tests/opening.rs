//! What a manifest may say of a heap.

use std::sync::Arc;

use super::super::{Heap, HeapEnv};
use super::rig::{HEAP, Rig, ts};
use crate::error::ErrorKind;
use crate::ids::{BlockId, RowId, SegmentId};
use crate::manifest::{HeapState, SegmentImage, SegmentState};

fn env(rig: &Rig) -> HeapEnv {
    HeapEnv { cache: Arc::clone(&rig.cache), pool: rig.cache.pool().clone() }
}

/// A heap of full segments with these numbers.
fn state_of(segments: &[u64], row_end: RowId) -> HeapState {
    let segment = |(place, number): (u64, &u64)| {
        let block = BlockId::from_extent(place + 1, 1).expect("fits");
        let image = SegmentImage::Column { block, slots: 1 << 16, rows: 1 << 16 };
        (SegmentId::new(*number), SegmentState { image, marks: None, dead: 0 })
    };
    let live_rows = (segments.len() as u64) << 16;
    HeapState { row_end, live_rows, segments: (0..).zip(segments).map(segment).collect() }
}

#[test]
fn segments_that_no_heap_can_have_are_refused_and_take_no_memory() {
    let rig = Rig::new(10_000, 16 << 20);
    let row = |segment: u64| SegmentId::new(segment).first_row();
    let states = [
        state_of(&[1 << 40], RowId::ZERO),
        state_of(&[0, 1, 1 << 40], row(2)),
        state_of(&[0], row(1 << 40)),
        state_of(&[1 << 40], row(0).offset(1)),
        state_of(&[0, (1 << 20) + 2], row(1)),
        state_of(&[], RowId::MAX),
        state_of(&[1 << 47], row(1 << 47)),
        state_of(&[u64::MAX], row(1)),
        state_of(&[u64::MAX], RowId::MAX),
    ];
    for state in states {
        let error = Heap::open(HEAP, env(&rig), &state).expect_err("no such heap");
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{state:?}: {error}");
    }
}

#[test]
fn segments_that_wait_for_replay_are_not_missed() {
    let rig = Rig::new(10_000, 16 << 20);
    // Frozen since the checkpoint; those before it are hot, and in the journal.
    let state = state_of(&[0, 7], SegmentId::new(1).first_row());
    let heap = Heap::open(HEAP, env(&rig), &state).expect("a heap");
    assert_eq!(heap.live_rows(ts(1)), 2 << 16);
    let state = state_of(&[0, (1 << 20) + 1], SegmentId::new(1).first_row());
    Heap::open(HEAP, env(&rig), &state).expect("as many as can be");
}

/// A dropped heap comes back in replay with the rows that the journal has. A checkpoint may come before it is dropped again.
#[test]
fn a_heap_of_which_only_the_end_came_back_opens_and_takes_rows() {
    let mut rig = Rig::new(10_000, 16 << 20);
    let last = SegmentId::new(1 << 40);
    for state in [state_of(&[last.get()], last.next().first_row()), state_of(&[], last.next().first_row())] {
        rig.heap = Arc::new(Heap::open(HEAP, env(&rig), &state).expect("a heap"));
        rig.journal.clear();
        let rows = rig.commit(vec![rig.encode(1, 10), rig.encode(2, 10)], &[]);
        assert_eq!(rows[0], last.next().first_row());
        rig.commit(vec![], &[(rows[0], None)]);
        assert_eq!(rig.heap.is_live(rows[0], ts(2)).ok(), Some(false));
        assert_eq!(rig.heap.is_live(rows[1], ts(2)).ok(), Some(true));
        assert!(rig.heap.row(RowId::ZERO).is_err());
    }
}
