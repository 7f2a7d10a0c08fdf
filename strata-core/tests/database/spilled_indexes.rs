//! Keys that were written out with their rows, of indexes that are undone.

use std::ops::Bound::Unbounded;

use crate::common::*;
use crate::spilled::{add_rows, fresh};
use strata_core::Database;
use strata_core::catalog::IndexColumn;
use strata_core::catalog::change::NewIndex;
use strata_core::ids::{ColumnId, IndexId, TableId};
use strata_core::row::{Datum, KeyOrder};
use strata_core::table::{Isolation, TableView, Transaction};
use strata_core::txn::{TableLockMode, block_on};

fn by_balance(name: &str) -> NewIndex {
    let column = IndexColumn { column: ColumnId::new(1), order: KeyOrder::default() };
    NewIndex { name: name.into(), primary: false, unique: false, constraint: false, columns: vec![column] }
}

/// The accounts that an index finds.
fn found(view: &TableView, index: IndexId) -> Vec<i64> {
    let rows = view.range(index, Unbounded, Unbounded, false).expect("begins");
    let values = |row| view.row(row).expect("reads").to_datums(&view.def().schema).expect("reads");
    let ids = rows.map(|row| match values(row.expect("reads"))[0] {
        Datum::Int64(id) => id,
        ref other => panic!("not an account: {other:?}"),
    });
    let mut ids: Vec<_> = ids.collect();
    ids.sort_unstable();
    ids
}

fn begin(db: &Database, tables: &[TableId]) -> Transaction {
    let txn = db.begin(Isolation::ReadCommitted).expect("begins");
    for table in tables {
        block_on(txn.lock_table(*table, TableLockMode::AccessExclusive)).expect("locked");
    }
    txn
}

/// Writes rows of the table out with keys of an index, and undoes that index; the first 30 rows are left.
fn undo_an_index(txn: &mut Transaction, table: TableId) -> IndexId {
    add_rows(txn, table, 0..30);
    let savepoint = txn.savepoint();
    let undone = block_on(txn.create_index(table, by_balance("undone"))).expect("made");
    add_rows(txn, table, 30..250);
    txn.rollback_to(&savepoint).expect("is there");
    undone
}

/// Bug: the keys were committed, into the index that got the number of the undone one.
#[test]
fn keys_of_an_undone_index_reach_no_other_index() {
    let (_vfs, db, table) = fresh();
    let other = create_accounts(&db, "other");
    insert(&db, other, &(0..40).map(|id| account(id, 1_000 + id)).collect::<Vec<_>>()).expect("inserts");
    let mut txn = begin(&db, &[table]);
    let undone = undo_an_index(&mut txn, table);
    txn.commit().expect("commits").wait().expect("durable");
    let mut ddl = begin(&db, &[other]);
    let made = block_on(ddl.create_index(other, by_balance("made"))).expect("made");
    assert_eq!(made, undone, "else this tests nothing");
    ddl.commit().expect("commits").wait().expect("durable");
    assert_eq!(found(&db.view().table(other).expect("is there"), made), (0..40).collect::<Vec<_>>());
    assert_clean(&db);
}

/// As above, where the next index is one of the same transaction, over rows that it writes out too.
#[test]
fn keys_of_an_undone_index_reach_no_other_index_of_the_transaction() {
    let (_vfs, db, table) = fresh();
    let other = create_accounts(&db, "other");
    let mut txn = begin(&db, &[table, other]);
    let undone = undo_an_index(&mut txn, table);
    let add_others = |txn: &Transaction, ids: std::ops::Range<i64>| {
        let def = txn.newest_catalog().table(other).expect("is there").clone();
        for id in ids {
            block_on(txn.insert(&def, &account(id, 1_000 + id))).expect("inserts");
        }
    };
    add_others(&txn, 0..20);
    let made = block_on(txn.create_index(other, by_balance("made"))).expect("made");
    assert_eq!(made, undone, "else this tests nothing");
    add_others(&txn, 20..230);
    add_rows(&txn, table, 30..200);
    txn.commit().expect("commits").wait().expect("durable");
    assert_eq!(found(&db.view().table(other).expect("is there"), made), (0..230).collect::<Vec<_>>());
    assert_eq!(scan(&db, table).len(), 200);
    assert_clean(&db);
}

/// Over rows that were written out with the keys of the undone one, and once those are undone too.
#[test]
fn an_index_with_the_number_of_an_undone_one_has_its_own_keys() {
    let (_vfs, db, table) = fresh();
    let mut txn = begin(&db, &[table]);
    let start = txn.savepoint();
    let undone = undo_an_index(&mut txn, table);
    let made = block_on(txn.create_index(table, by_balance("made"))).expect("made");
    assert_eq!(made, undone, "else this tests nothing");
    assert_eq!(found(&txn.view().table(table).expect("is there"), made), (0..30).collect::<Vec<_>>());
    txn.rollback_to(&start).expect("is there");
    add_rows(&txn, table, 1_000..1_030);
    let made = block_on(txn.create_index(table, by_balance("made"))).expect("made");
    assert_eq!(made, undone, "else this tests nothing");
    add_rows(&txn, table, 1_030..1_250);
    txn.commit().expect("commits").wait().expect("durable");
    let expected: Vec<_> = (1_000..1_250).collect();
    assert_eq!(found(&db.view().table(table).expect("is there"), made), expected);
    assert_clean(&db);
}
