//! Rows that maintenance moves while loads and writers with their keys are on their way.

use super::*;
use strata_core::maintenance::MaintenanceOptions;

/// Segments of some sixty rows.
fn moving() -> (Database, TableId) {
    let thresholds = MaintenanceOptions { tail_slots: 16, ..MaintenanceOptions::for_memory(256 << 20) };
    let options = Options { thresholds: Some(thresholds), ..small() };
    let db = Database::in_memory(options).expect("opens");
    let table = create_accounts(&db, "accounts");
    (db, table)
}

fn row_of(db: &Database, table: TableId, id: i64) -> RowId {
    let txn = db.begin(Isolation::ReadCommitted).expect("begins");
    find(&txn, db, table, id).expect("is there").0
}

/// Deletes all accounts of a segment or more but one, and has it moved.
fn move_away(db: &Database, table: TableId, id: i64, others: std::ops::Range<i64>) {
    let before = row_of(db, table, id);
    let others: Vec<i64> = others.filter(|other| *other != id).collect();
    commit(deleted(db, table, &others)).expect("deletes");
    db.checkpoint().expect("writes");
    db.vacuum().expect("moves");
    assert_ne!(row_of(db, table, id), before, "it was not moved");
}

/// The row that clashes came since the load was checked, and is in another place by now.
#[test]
fn a_load_that_meets_a_row_that_was_moved() {
    let (db, table) = moving();
    let load = loaded(&db, table, &range(0..20));
    let others: Vec<_> = (7..8).chain(1_000..1_500).map(|id| account(id, 0)).collect();
    insert(&db, table, &others).expect("nobody has them yet");
    move_away(&db, table, 7, 1_000..1_500);
    assert_duplicate(commit(load));
    assert_eq!(ids(&db, table), [7]);
    assert_clean(&db);
}

/// The row that was there before does not clash; it comes again, among the rows that came since.
#[test]
fn a_load_beside_a_row_that_is_moved() {
    let (db, table) = moving();
    let others: Vec<_> = (1_000..1_500).map(|id| account(id, 0)).collect();
    insert(&db, table, &others).expect("inserts");
    let txn = writer(&db, table);
    let load = loaded(&db, table, &range(0..20));
    move_away(&db, table, 1_000, 1_000..1_500);
    commit(load).expect("meets none of its keys");
    // Whoever deletes it where it is makes room.
    let row = committed(&db, &txn, table, 1_000);
    txn.delete(&txn.view().table(table).expect("is there"), row).expect("deletes");
    load_into(&txn, table, &range(990..1_010)).expect("it is deleted");
    commit(txn).expect("commits");
    assert_eq!(ids(&db, table), [range(0..20), range(990..1_010)].concat());
    assert_clean(&db);
}

/// The mirror image: the load's row is in another place by the time that the writer looks again.
#[test]
fn a_writer_that_meets_a_loaded_row_that_was_moved() {
    let (db, table) = moving();
    let quiet = inserted(&db, table, 7, 1);
    let keys: Vec<i64> = (7..8).chain(1_000..1_500).collect();
    commit(loaded(&db, table, &keys)).expect("commits");
    move_away(&db, table, 7, 1_000..1_500);
    assert_duplicate(commit(quiet));
    assert_eq!(scan(&db, table), [(7, 7)]);
    assert_duplicate(insert(&db, table, &[account(7, 0)]));
    assert_clean(&db);
}
