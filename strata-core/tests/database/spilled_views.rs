//! Views of own rows that are written out.

use crate::common::*;
use crate::spilled::{add_rows, delete, fresh};

/// Bug: a view said that its transaction had written nothing, and gave a segment of removed rows: who then asked for no own marks saw them
/// again.
#[test]
fn a_view_with_a_segment_of_removed_rows_has_own_writes() {
    let (_vfs, db, table) = fresh();
    let txn = writer(&db, table);
    let before = txn.view().table(table).expect("is there");
    add_rows(&txn, table, 0..250);
    (0..250).for_each(|id| delete(&txn, &db, table, id));
    let view = txn.view().table(table).expect("is there");
    let segments = view.segments().expect("reads");
    assert!(!segments.is_empty(), "else this tests nothing");
    assert!(view.has_own_writes());
    assert!(!before.has_own_writes());
    assert_eq!(view.row_count(), 0);
    for segment in segments {
        let slots = view.visible_slots(&segment, 0..segment.slots().next_multiple_of(64));
        assert_eq!(slots.expect("reads"), Vec::<u32>::new());
    }
}
