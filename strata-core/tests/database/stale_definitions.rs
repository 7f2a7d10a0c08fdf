//! Writes by a definition of the table that DDL has outdated: a transaction above READ COMMITTED locks a table that its snapshot knows as it
//! was.

use crate::common::*;
use strata_core::catalog::TableDef;
use strata_core::catalog::change::{NewColumn, NewIndex};
use strata_core::ids::{ColumnId, RowId, TableId};
use strata_core::row::{ColumnType, Datum};
use strata_core::table::{Isolation, Locked, TableView, Transaction, encode_index_key};
use strata_core::txn::{RowLockMode, TableLockMode, block_on};
use strata_core::{Database, Error, Result};

const LEVELS: [Isolation; 2] = [Isolation::RepeatableRead, Isolation::Serializable];

/// A database with two accounts.
fn accounts() -> (Database, TableId) {
    let db = Database::in_memory(manual()).expect("opens");
    let table = create_accounts(&db, "accounts");
    insert(&db, table, &[account(1, 10), account(2, 20)]).expect("inserts");
    (db, table)
}

/// A transaction whose snapshot is older than what `define` commits, and that has the table locked after it.
fn beside(
    db: &Database,
    table: TableId,
    level: Isolation,
    define: impl FnOnce(&mut Transaction) -> Result<()>,
) -> (Transaction, TableView) {
    let txn = db.begin(level).expect("begins");
    let view = txn.view().table(table).expect("is there");
    let mut ddl = db.begin(Isolation::ReadCommitted).expect("begins");
    block_on(ddl.lock_table(table, TableLockMode::AccessExclusive)).expect("locked");
    define(&mut ddl).expect("is done");
    ddl.commit().expect("commits").wait().expect("durable");
    block_on(txn.lock_table(table, TableLockMode::RowExclusive)).expect("locked");
    (txn, view)
}

fn make_index(txn: &mut Transaction, table: TableId) -> Result<()> {
    let mut by_balance = primary_key("by_balance");
    by_balance.columns[0].column = ColumnId::new(1);
    block_on(txn.create_index(table, NewIndex { primary: false, ..by_balance })).map(drop)
}

/// An account's row as the view shows it, locked.
fn locked(txn: &Transaction, db: &Database, view: &TableView, id: i64) -> RowId {
    let (row, _) = find(txn, db, view.def().id, id).expect("is there");
    assert_eq!(block_on(txn.lock_row(view, row, RowLockMode::Update)).expect("locks"), Locked::Current);
    row
}

fn with_balance(db: &Database, table: TableId, balance: i64) -> Option<RowId> {
    let view = db.view().table(table).expect("is there");
    let index = view.def().indexes.iter().find(|index| index.name == "by_balance").expect("is made");
    let (mut key, values) = (Vec::new(), account(0, balance));
    encode_index_key(view.def(), index, &values, &mut key).expect("fits");
    view.first(index.id, &key).expect("reads")
}

fn assert_refused<T: std::fmt::Debug>(outcome: Result<T>) {
    assert!(matches!(outcome, Err(Error::SerializationFailure)), "{outcome:?}");
}

/// Bug: the new version had no entry in the index, for ever, and its key was free.
#[test]
fn an_update_by_a_definition_that_lacks_an_index() {
    for level in LEVELS {
        let (db, table) = accounts();
        let (txn, view) = beside(&db, table, level, |ddl| make_index(ddl, table));
        let row = locked(&txn, &db, &view, 1);
        let updated = block_on(txn.update(&view, row, &account(1, 11)));
        let is_refused = matches!(updated, Err(Error::SerializationFailure));
        txn.commit().expect("commits").wait().expect("durable");
        assert_clean(&db);
        assert!(is_refused, "{updated:?}");
        // What its next transaction does is found.
        let txn = db.begin(level).expect("begins");
        block_on(txn.lock_table(table, TableLockMode::RowExclusive)).expect("locked");
        assert!(add(&txn, &db, table, 1, 1).expect("updates"));
        txn.commit().expect("commits").wait().expect("durable");
        assert!(with_balance(&db, table, 11).is_some());
        let taken = insert(&db, table, &[account(3, 11)]);
        assert!(matches!(taken, Err(Error::DuplicateKey { .. })), "{taken:?}");
        assert_clean(&db);
    }
}

/// Bug: the same.
#[test]
fn an_insert_by_a_definition_that_lacks_an_index() {
    for level in LEVELS {
        let (db, table) = accounts();
        let (txn, view) = beside(&db, table, level, |ddl| make_index(ddl, table));
        assert_refused(block_on(txn.insert(view.def(), &account(3, 30))));
        block_on(txn.insert(&def(&db, table), &account(4, 40))).expect("this definition has it");
        txn.commit().expect("commits").wait().expect("durable");
        assert!(with_balance(&db, table, 40).is_some());
        assert_eq!(scan(&db, table), vec![(1, 10), (2, 20), (4, 40)]);
        assert_clean(&db);
    }
}

/// Bug: rows of the table as it was before were changed, and nobody saw that.
#[test]
fn writes_to_rows_of_a_heap_that_the_table_no_longer_has() {
    for drops in [false, true] {
        let (db, table) = accounts();
        let (txn, view) = beside(&db, table, Isolation::RepeatableRead, |ddl| match drops {
            true => block_on(ddl.drop_relation(table)),
            false => block_on(ddl.truncate(table)),
        });
        let index = view.def().primary_key().expect("has one");
        let mut key = Vec::new();
        encode_index_key(view.def(), index, &account(1, 0), &mut key).expect("fits");
        let row = view.first(index.id, &key).expect("reads").expect("its snapshot has it");
        block_on(txn.lock_row(&view, row, RowLockMode::Update)).expect("locks");
        assert_refused(block_on(txn.update(&view, row, &account(1, 11))));
        assert_refused(txn.delete(&view, row));
        assert_refused(block_on(txn.insert(view.def(), &account(3, 30))));
        assert!(txn.is_read_only());
        txn.commit().expect("commits").wait().expect("durable");
        assert_clean(&db);
    }
}

#[test]
fn writes_by_a_definition_that_lacks_a_column() {
    let (db, table) = accounts();
    let (txn, view) = beside(&db, table, Isolation::RepeatableRead, |ddl| {
        let column = NewColumn { missing: Datum::Int64(7), ..column("more", ColumnType::Int64, false) };
        block_on(ddl.change_catalog(|catalog| catalog.add_column(table, column))).map(drop)
    });
    let row = locked(&txn, &db, &view, 1);
    assert_refused(block_on(txn.update(&view, row, &account(1, 11))));
    assert_refused(block_on(txn.insert(view.def(), &account(3, 30))));
    // A row can go whatever columns it has.
    txn.delete(&view, row).expect("deletes");
    txn.commit().expect("commits").wait().expect("durable");
    assert_eq!(scan(&db, table), vec![(2, 20)]);
    assert_clean(&db);
}

/// What a row is made of is not another for that.
#[test]
fn writes_to_a_table_that_has_another_name() {
    let (db, table) = accounts();
    let rename = |ddl: &mut Transaction| {
        block_on(ddl.change_catalog(|catalog| catalog.rename_relation(table, "customers")))
    };
    let (txn, view) = beside(&db, table, Isolation::RepeatableRead, rename);
    let row = locked(&txn, &db, &view, 1);
    block_on(txn.update(&view, row, &account(1, 11))).expect("updates");
    let old: &TableDef = view.def();
    block_on(txn.insert(old, &account(3, 30))).expect("inserts");
    let row = locked(&txn, &db, &view, 2);
    txn.delete(&view, row).expect("deletes");
    txn.commit().expect("commits").wait().expect("durable");
    assert_eq!(scan(&db, table), vec![(1, 11), (3, 30)]);
    assert_clean(&db);
}

/// An index that the transaction itself makes is in no view that it took before.
#[test]
fn an_update_through_a_view_that_is_older_than_an_own_index() {
    let (db, table) = accounts();
    let mut txn = writer(&db, table);
    let view = txn.view().table(table).expect("is there");
    let row = locked(&txn, &db, &view, 1);
    make_index(&mut txn, table).expect("is made");
    assert_refused(block_on(txn.update(&view, row, &account(1, 11))));
    assert!(add(&txn, &db, table, 1, 1).expect("a new statement knows it"));
    txn.commit().expect("commits").wait().expect("durable");
    assert!(with_balance(&db, table, 11).is_some());
    assert_clean(&db);
}
