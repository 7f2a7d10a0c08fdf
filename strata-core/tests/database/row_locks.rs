//! Rows that are locked only if that needs no wait.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Waker};
use std::thread;

use crate::common::*;
use strata_core::ids::{RowId, TableId};
use strata_core::table::{Isolation, Locked, TableView, Transaction};
use strata_core::txn::{RowLockMode, TableLockMode, block_on};
use strata_core::{Database, Error, Result};

/// Two accounts, 1 and 2.
fn two_accounts() -> (Arc<Database>, TableId) {
    let db = Arc::new(Database::in_memory(manual()).expect("opens"));
    let table = create_accounts(&db, "accounts");
    insert(&db, table, &[account(1, 5), account(2, 5)]).expect("inserts");
    (db, table)
}

/// An account's row as the transaction sees it, and the view that shows it.
fn seen(txn: &Transaction, db: &Database, table: TableId, id: i64) -> (TableView, RowId) {
    let view = txn.view().table(table).expect("is there");
    let (row, _) = find(txn, db, table, id).expect("is there");
    (view, row)
}

fn lock(txn: &Transaction, db: &Database, table: TableId, id: i64, mode: RowLockMode) {
    let (view, row) = seen(txn, db, table, id);
    assert_eq!(block_on(txn.lock_row(&view, row, mode)).expect("is free"), Locked::Current);
}

fn try_lock(
    txn: &Transaction,
    db: &Database,
    table: TableId,
    id: i64,
    mode: RowLockMode,
) -> Result<Option<Locked>> {
    let (view, row) = seen(txn, db, table, id);
    block_on(txn.try_lock_row(&view, row, mode))
}

/// Bug: who only asked queued for a moment, closed a cycle with who waited for it, and was refused as if it had waited too.
#[test]
fn who_only_asks_closes_no_cycle() {
    let (db, table) = two_accounts();
    for mode in [RowLockMode::KeyShare, RowLockMode::Share, RowLockMode::NoKeyUpdate, RowLockMode::Update] {
        let (one, two) = (writer(&db, table), writer(&db, table));
        lock(&one, &db, table, 1, RowLockMode::Update);
        lock(&two, &db, table, 2, RowLockMode::Update);
        let (view, row) = seen(&two, &db, table, 1);
        let mut waiting = pin!(two.lock_row(&view, row, RowLockMode::Update));
        assert!(waiting.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        assert_eq!(try_lock(&one, &db, table, 2, mode).expect("no cycle"), None);
        assert_eq!(try_lock(&one, &db, table, 1, mode).expect("is its own"), Some(Locked::Current));
        one.rollback();
        assert_eq!(block_on(waiting).expect("its turn has come"), Locked::Current);
    }
}

/// Bug: while it queued, others who had nothing against the holder were refused for its sake.
#[test]
fn who_only_asks_is_in_nobodys_way() {
    let (db, table) = two_accounts();
    let holder = writer(&db, table);
    lock(&holder, &db, table, 1, RowLockMode::Share);
    thread::scope(|scope| {
        let asking = scope.spawn(|| {
            for _ in 0..20_000 {
                let asker = writer(&db, table);
                assert_eq!(try_lock(&asker, &db, table, 1, RowLockMode::Update).expect("is told"), None);
            }
        });
        while !asking.is_finished() {
            let sharer = writer(&db, table);
            let shared = try_lock(&sharer, &db, table, 1, RowLockMode::Share).expect("is told");
            assert_eq!(shared, Some(Locked::Current), "it is held in a mode that is shared");
        }
    });
}

#[test]
fn who_only_asks_learns_what_the_row_has_become() {
    let (db, table) = two_accounts();
    let late = writer(&db, table);
    let fixed = db.begin(Isolation::RepeatableRead).expect("begins");
    block_on(fixed.lock_table(table, TableLockMode::RowExclusive)).expect("locked");
    let (changed, ended) = (seen(&late, &db, table, 1), seen(&late, &db, table, 2));
    let before = seen(&fixed, &db, table, 1);

    let writer = writer(&db, table);
    add(&writer, &db, table, 1, 1).expect("updates");
    let (view, row) = seen(&writer, &db, table, 2);
    block_on(writer.lock_row(&view, row, RowLockMode::Update)).expect("locked");
    writer.delete(&view, row).expect("deletes");
    for (view, row) in [&changed, &ended] {
        let asked = block_on(late.try_lock_row(view, *row, RowLockMode::Update));
        assert_eq!(asked.expect("is told"), None, "its fate is open");
    }
    writer.commit().expect("commits").wait().expect("durable");

    let moved = block_on(late.try_lock_row(&changed.0, changed.1, RowLockMode::Update)).expect("is told");
    let (newest, _) = find(&late, &db, table, 1).expect("is there");
    assert_eq!(moved, Some(Locked::Moved(newest)));
    let gone = block_on(late.try_lock_row(&ended.0, ended.1, RowLockMode::Update)).expect("is told");
    assert_eq!(gone, Some(Locked::Gone));
    late.rollback();
    let refused = block_on(fixed.try_lock_row(&before.0, before.1, RowLockMode::Update));
    assert!(matches!(refused, Err(Error::SerializationFailure)), "{refused:?}");
}
