//! Views of own rows that are written out.

use std::ops::Bound::Unbounded;

use crate::common::*;
use crate::spilled::{OWN_ROWS, add_rows, delete, fresh};
use strata_core::table::{TableContents, TableView};

/// How many visible rows there are in what a scan reads.
fn count(view: &TableView, contents: &TableContents) -> usize {
    let of_segments = contents.segments.iter().map(|segment| {
        let slots = view.visible_slots(segment, 0..segment.slots().next_multiple_of(64));
        slots.expect("reads").len()
    });
    of_segments.sum::<usize>() + contents.own_rows.len()
}

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
    let contents = view.contents().expect("reads");
    assert!(!contents.segments.is_empty(), "else this tests nothing");
    assert!(contents.has_own_writes);
    assert!(!before.contents().expect("reads").has_own_writes);
    assert_eq!(view.row_count(), 0);
    for segment in contents.segments {
        let slots = view.visible_slots(&segment, 0..segment.slots().next_multiple_of(64));
        assert_eq!(slots.expect("reads"), Vec::<u32>::new());
    }
}

#[test]
fn a_view_goes_on_showing_the_same_rows_while_they_are_written_out() {
    let (_vfs, db, table) = fresh();
    let txn = writer(&db, table);
    add_rows(&txn, table, 0..50);
    let view = txn.view().table(table).expect("is there");
    let index = view.def().primary_key().expect("has one").id;
    let range = || view.range(index, Unbounded, Unbounded, false).expect("begins");
    let (contents, found) = (view.contents().expect("reads"), range());
    add_rows(&txn, table, 50..400);
    assert_eq!((contents.segments.len(), contents.own_rows.len()), (0, 50), "else this tests nothing");
    assert!(found.map(|row| view.row(row.expect("reads"))).all(|row| row.is_ok()), "they may be read");
    let later = view.contents().expect("reads");
    assert_eq!((later.segments.len(), later.own_rows.len()), (1, 0), "else this tests nothing");
    assert_eq!((count(&view, &contents), count(&view, &later), range().count()), (50, 50, 50));
}

/// Bug: segments and own rows were looked at one after the other, and what was written out between was lost.
#[test]
fn a_view_that_is_taken_while_rows_are_written_out_shows_each_once() {
    let (_vfs, db, table) = fresh();
    for _ in 0..12 {
        let (txn, rows) = (writer(&db, table), 30 * OWN_ROWS as i64);
        let read = || {
            let view = txn.view().table(table).expect("is there");
            let index = view.def().primary_key().expect("has one").id;
            let found = view.range(index, Unbounded, Unbounded, false).expect("begins").count();
            let scanned = count(&view, &view.contents().expect("reads"));
            let expected = view.row_count() as usize;
            assert_eq!((scanned, found), (expected, expected));
            expected
        };
        std::thread::scope(|scope| {
            let writer = scope.spawn(|| add_rows(&txn, table, 0..rows));
            while !writer.is_finished() {
                read();
            }
        });
        assert_eq!(read() as i64, rows);
    }
}
