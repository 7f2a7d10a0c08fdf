//! What came and ended since a snapshot, and what was only moved.

use super::rig::*;
use crate::ids::{RowId, Timestamp};

/// What has changed for a transaction that reads as of `snapshot` and has looked at all up to `since`.
fn changes(rig: &Rig, snapshot: Timestamp, since: Timestamp, new: std::ops::Range<RowId>) -> Vec<RowId> {
    let changed = rig.heap.changes(snapshot, since, new).expect("in memory");
    let rows = |changed: crate::heap::Changed| {
        let first = changed.segment.segment().first_row();
        changed.slots.into_iter().map(move |slot| first.offset(slot.into()))
    };
    changed.into_iter().flat_map(rows).collect()
}

fn fill(rig: &mut Rig) -> Vec<RowId> {
    let rows = (0..40).map(|id| rig.encode(id, 100)).collect();
    rig.commit(rows, &[])
}

#[test]
fn what_was_moved_has_not_changed_and_what_ended_there_has() {
    let mut rig = Rig::new(1_000, 16 << 20);
    let rows = fill(&mut rig);
    let (snapshot, end) = (rig.last(), rig.heap.next_row());
    let place = rig.relocate(rows[3], rig.encode(3, 100));
    let (moved, moved_end) = (rig.last(), rig.heap.next_row());
    assert_eq!(changes(&rig, snapshot, snapshot, end..moved_end), []);
    let further = rig.relocate(place, rig.encode(3, 100));
    let new_end = rig.heap.next_row();
    assert_eq!(changes(&rig, snapshot, snapshot, end..new_end), []);
    assert_eq!(changes(&rig, snapshot, moved, moved_end..new_end), []);
    rig.commit(Vec::new(), &[(further, None)]);
    assert_eq!(changes(&rig, snapshot, snapshot, end..new_end), [rows[3]]);
    // Who has looked at the moves before the row ended.
    assert_eq!(changes(&rig, snapshot, moved, moved_end..new_end), [rows[3]]);
}

#[test]
fn what_is_new_is_told_of_wherever_it_is_when_it_is_looked_at() {
    let mut rig = Rig::new(1_000, 16 << 20);
    fill(&mut rig);
    let (snapshot, end) = (rig.last(), rig.heap.next_row());
    let new = rig.commit(vec![rig.encode(40, 100)], &[])[0];
    let (inserted, new_end) = (rig.last(), rig.heap.next_row());
    assert_eq!(changes(&rig, snapshot, snapshot, end..new_end), [new]);
    let place = rig.relocate(new, rig.encode(40, 100));
    // Moved while somebody looked at what was there before: they come again.
    assert_eq!(changes(&rig, snapshot, snapshot, end..new_end), []);
    assert_eq!(changes(&rig, snapshot, inserted, new_end..rig.heap.next_row()), [place]);
    assert_eq!(changes(&rig, snapshot, snapshot, end..rig.heap.next_row()), [place]);
}
