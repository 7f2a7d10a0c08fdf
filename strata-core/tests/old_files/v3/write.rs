//! The program that wrote the fixture of version 3.

use std::ops::Range;

use strata_core::Database;
use strata_core::ids::RowId;
use strata_core::row::Datum;
use strata_core::table::Transaction;
use strata_core::txn::{TableLockMode, block_on};

use crate::v1::rows::{RUNS, everything, long, note, run};
use crate::v1::write::{begin, change, commit, create_everything, create_notes, create_runs, insert, load};
use crate::v2::move_rows;

/// Rows of `everything`, and which of them go in the tail of the journal.
pub const ROWS: i64 = 620;
pub const DELETED: Range<i64> = 20..560;
/// Rows of `notes` that one load brings; one of them has a value of several pages.
pub const NOTES: i64 = 640;
pub const LARGE: i64 = 77;
/// A row that is longer than a page.
pub const LONG: i64 = 5_000;
/// Rows of `many`, of which every so manyth is kept, and moved.
pub const MANY: i64 = 1_800;
pub const MANY_KEPT: i64 = 600;
pub const MANY_TEXT: &str = "one of many rows, which together fill a segment";

/// A row of `notes` as the tail leaves it.
pub fn changed(id: i64) -> Vec<Datum> {
    note(id, "changed twice")
}

/// Fills a fresh database, which is then to be killed.
pub fn write(db: &Database) {
    let mut txn = begin(db);
    create_everything(&mut txn).expect("made");
    create_runs(&mut txn);
    create_notes(&mut txn, "public", "notes").expect("made");
    create_notes(&mut txn, "public", "many").expect("made");
    commit(db, txn);
    load(db, "everything", 0..ROWS, &everything);
    load(db, "runs", 0..RUNS, &run);
    load(db, "notes", 0..NOTES, &|id| if id == LARGE { note(id, &long(id)) } else { note(id, "a note") });
    insert(db, "public", "notes", vec![note(LONG, &long(LONG))]);
    insert(db, "public", "many", (0..MANY).map(|id| note(id, MANY_TEXT)).collect());
    db.checkpoint().expect("checkpoints");

    // The tail of the journal.
    change(db, "public", "many", &|id| (id % MANY_KEPT != 0).then_some(None));
    // Its snapshot keeps the marks of what is moved.
    let reader = db.view();
    move_rows(db);
    drop(reader);
    let ids = || (0..NOTES).filter(|id| *id != LARGE);
    update(db, "notes", ids(), "changed once");
    // In no order.
    let mut scattered: Vec<i64> = ids().collect();
    scattered.sort_by_key(|id| id * 7_919 % 1_009);
    update(db, "notes", scattered.into_iter(), "changed twice");
    write_and_undo(db);
}

/// The rows of a table by their ids.
fn rows_of(txn: &Transaction, db: &Database, name: &str) -> Vec<(i64, RowId)> {
    let view = txn.view().table(db.catalog().table_by_name("public", name).expect("is there").id);
    let view = view.expect("is there");
    let mut rows = Vec::new();
    for segment in view.segments().expect("reads") {
        for slot in view.visible_slots(&segment, 0..segment.slots().next_multiple_of(64)).expect("reads") {
            let row = segment.segment().first_row().offset(u64::from(slot));
            let values = view.row(row).expect("reads").to_datums(&view.def().schema).expect("reads");
            let Datum::Int64(id) = values[0] else { panic!("an id") };
            rows.push((id, row));
        }
    }
    rows.sort_unstable();
    rows
}

fn lock(txn: &Transaction, db: &Database, name: &str) {
    let table = db.catalog().table_by_name("public", name).expect("is there").id;
    block_on(txn.lock_table(table, TableLockMode::RowExclusive)).expect("locked");
}

/// Replaces notes in the order of these ids.
fn update(db: &Database, name: &str, ids: impl Iterator<Item = i64>, text: &str) {
    let txn = begin(db);
    lock(&txn, db, name);
    let rows = rows_of(&txn, db, name);
    let view = txn.view().table(db.catalog().table_by_name("public", name).expect("is there").id);
    let view = view.expect("is there");
    for id in ids {
        let place = rows.binary_search_by_key(&id, |(id, _)| *id).expect("is there");
        block_on(txn.update(&view, rows[place].1, &note(id, text))).expect("updated");
    }
    commit(db, txn);
}

fn add_notes(txn: &Transaction, db: &Database, ids: Range<i64>) -> Vec<RowId> {
    let def = db.catalog().table_by_name("public", "notes").expect("is there").clone();
    ids.map(|id| block_on(txn.insert(&def, &note(id, "of the tail"))).expect("inserted")).collect()
}

fn delete(txn: &Transaction, db: &Database, name: &str, rows: impl Iterator<Item = RowId>) {
    let id = db.catalog().table_by_name("public", name).expect("is there").id;
    let view = txn.view().table(id).expect("is there");
    rows.for_each(|row| txn.delete(&view, row).expect("deleted"));
}

/// A transaction that writes rows out, goes back to a savepoint, and ends some of its own rows and many others.
fn write_and_undo(db: &Database) {
    let mut txn = begin(db);
    lock(&txn, db, "notes");
    lock(&txn, db, "everything");
    let of_everything = rows_of(&txn, db, "everything");
    let own = add_notes(&txn, db, 10_000..10_700);
    let savepoint = txn.savepoint();
    add_notes(&txn, db, 10_700..11_400);
    delete(&txn, db, "everything", of_everything.iter().map(|(_, row)| *row));
    delete(&txn, db, "notes", own.iter().copied());
    txn.rollback_to(&savepoint).expect("goes back");
    delete(&txn, db, "notes", own[..10].iter().copied());
    let deleted = of_everything.iter().filter(|(id, _)| DELETED.contains(id));
    delete(&txn, db, "everything", deleted.map(|(_, row)| *row));
    add_notes(&txn, db, 12_000..12_020);
    commit(db, txn);
}
