//! A row whose newest version is the transaction's own: the committed row that it stands for is locked as strongly as is asked for it.

use std::pin::pin;
use std::task::{Context, Waker};

use crate::common::*;
use crate::spilled::{OWN_ROWS, fresh};
use crate::transactions::synced_by_hand;
use strata_core::ids::{RowId, TableId};
use strata_core::table::{Isolation, Locked, TableView, Transaction};
use strata_core::txn::{RowLockMode, block_on};
use strata_core::vfs::{Random, SeededRandom};
use strata_core::{Database, Error};

const KEY_SHARE: RowLockMode = RowLockMode::KeyShare;
const UPDATE: RowLockMode = RowLockMode::Update;

fn is_pending(future: impl Future) -> bool {
    pin!(future).poll(&mut Context::from_waker(Waker::noop())).is_pending()
}

/// The row of an account, locked by a new statement.
fn locked(
    txn: &Transaction,
    db: &Database,
    table: TableId,
    id: i64,
    mode: RowLockMode,
) -> (TableView, RowId) {
    let view = txn.view().table(table).expect("is there");
    let (row, _) = find(txn, db, table, id).expect("is there");
    assert_eq!(block_on(txn.lock_row(&view, row, mode)).expect("locks"), Locked::Current);
    (view, row)
}

/// An UPDATE without the key.
fn set_balance(txn: &Transaction, db: &Database, table: TableId, id: i64, balance: i64) {
    let (view, row) = locked(txn, db, table, id, RowLockMode::NoKeyUpdate);
    block_on(txn.update(&view, row, &account(id, balance))).expect("updates");
}

/// Whether another transaction would have to wait for the committed row of an account.
fn is_held(db: &Database, table: TableId, id: i64, mode: RowLockMode) -> bool {
    let other = db.begin(Isolation::ReadCommitted).expect("begins");
    let view = other.view().table(table).expect("is there");
    let (row, _) = find(&other, db, table, id).expect("is there");
    is_pending(other.lock_row(&view, row, mode))
}

/// Bug: it was held as an UPDATE without its key holds it, which keeps no inserter of the key waiting: one was refused at once, and one
/// between the commit and its publication had a statement that saw both rows.
#[test]
fn an_insert_waits_for_the_key_of_a_row_that_was_updated_before_it_went() {
    for updates in [1, 3] {
        for (deletes, is_early) in [(true, true), (true, false), (false, true), (false, false)] {
            let (db, table) = synced_by_hand();
            let inserted = writer(&db, table);
            block_on(inserted.insert(&def(&db, table), &account(1, 0))).expect("inserts");
            let ticket = inserted.commit().expect("is applied");
            db.sync().expect("syncs");
            ticket.wait().expect("durable");

            let txn = writer(&db, table);
            for balance in 0..updates {
                set_balance(&txn, &db, table, 1, balance);
            }
            let (view, row) = locked(&txn, &db, table, 1, UPDATE);
            assert!(row.is_provisional());
            match deletes {
                true => txn.delete(&view, row).expect("deletes"),
                false => drop(block_on(txn.update(&view, row, &account(2, 0))).expect("changes the key")),
            }
            let other = writer(&db, table);
            let (def, again) = (def(&db, table), account(1, 9));
            let mut insert = pin!(other.insert(&def, &again));
            let mut context = Context::from_waker(Waker::noop());
            if is_early {
                assert!(insert.as_mut().poll(&mut context).is_pending(), "the fate of key 1 is open");
            }
            let ticket = txn.commit().expect("is applied");
            assert!(insert.as_mut().poll(&mut context).is_pending(), "its end is not published");
            db.sync().expect("syncs");
            ticket.wait().expect("durable");
            block_on(insert).expect("the key is free");
            let rows = if deletes { 1 } else { 2 };
            assert_eq!(other.view().table(table).expect("is there").row_count(), rows);
        }
    }
}

#[test]
fn an_insert_of_the_key_of_a_row_that_goes_is_refused_when_that_is_undone() {
    let db = Database::in_memory(manual()).expect("opens");
    let table = create_accounts(&db, "accounts");
    insert(&db, table, &[account(1, 0)]).expect("inserts");
    let txn = writer(&db, table);
    set_balance(&txn, &db, table, 1, 5);
    let (view, row) = locked(&txn, &db, table, 1, UPDATE);
    txn.delete(&view, row).expect("deletes");
    let other = writer(&db, table);
    let (def, again) = (def(&db, table), account(1, 9));
    let mut insert = pin!(other.insert(&def, &again));
    assert!(insert.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    txn.rollback();
    let refusal = block_on(insert);
    assert!(matches!(refusal, Err(Error::DuplicateKey { .. })), "{refusal:?}");
}

/// Whoever holds the key of the committed row is waited for, as if the row had not been updated before.
#[test]
fn an_own_version_goes_when_nobody_else_holds_the_key() {
    let db = Database::in_memory(manual()).expect("opens");
    let table = create_accounts(&db, "accounts");
    insert(&db, table, &[account(1, 0), account(2, 0)]).expect("inserts");
    let txn = writer(&db, table);
    set_balance(&txn, &db, table, 1, 5);
    let other = writer(&db, table);
    locked(&other, &db, table, 1, KEY_SHARE);
    locked(&txn, &db, table, 2, UPDATE);
    let view = txn.view().table(table).expect("is there");
    let (row, _) = find(&txn, &db, table, 1).expect("is there");
    assert!(!is_pending(txn.lock_row(&view, row, RowLockMode::NoKeyUpdate)), "as it is held");
    let mut waiting = pin!(txn.lock_row(&view, row, UPDATE));
    assert!(waiting.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    let view = other.view().table(table).expect("is there");
    let (row, _) = find(&other, &db, table, 2).expect("is there");
    let circle = block_on(other.lock_row(&view, row, KEY_SHARE));
    assert!(matches!(circle, Err(Error::Deadlock)), "{circle:?}");
    other.rollback();
    assert_eq!(block_on(waiting).expect("locks"), Locked::Current);
    // A row of its own stands for none.
    block_on(txn.insert(&def(&db, table), &account(3, 0))).expect("inserts");
    set_balance(&txn, &db, table, 3, 1);
    locked(&txn, &db, table, 3, UPDATE);
}

#[test]
fn the_stronger_lock_is_given_back_with_its_savepoint() {
    let db = Database::in_memory(manual()).expect("opens");
    let table = create_accounts(&db, "accounts");
    insert(&db, table, &[account(1, 0)]).expect("inserts");
    let mut txn = writer(&db, table);
    set_balance(&txn, &db, table, 1, 5);
    let before = txn.savepoint();
    for _ in 0..2 {
        let (view, row) = locked(&txn, &db, table, 1, UPDATE);
        txn.delete(&view, row).expect("deletes");
        assert!(is_held(&db, table, 1, KEY_SHARE));
        txn.rollback_to(&before).expect("goes back");
        assert!(!is_held(&db, table, 1, KEY_SHARE));
        assert!(is_held(&db, table, 1, RowLockMode::Share), "as the UPDATE holds it");
    }
}

/// Own versions come and go with savepoints, and are written out: each stands for the row that it replaced.
#[test]
fn own_versions_that_are_written_out_or_undone_stand_for_their_rows() {
    const ACCOUNTS: u64 = 2 * OWN_ROWS as u64;
    for seed in 0..4 {
        let random = SeededRandom::new(seed);
        let (_vfs, db, table) = fresh();
        insert(&db, table, &(0..ACCOUNTS as i64).map(|id| account(id, 0)).collect::<Vec<_>>())
            .expect("inserts");
        let txn = &mut writer(&db, table);
        let mut savepoints = Vec::new();
        for step in 0..6 * ACCOUNTS {
            match random.below(100) {
                0..2 => savepoints.push(txn.savepoint()),
                2 => {
                    savepoints.truncate(random.below(savepoints.len() as u64 + 1) as usize);
                    if let Some(savepoint) = savepoints.last() {
                        txn.rollback_to(savepoint).expect("goes back");
                    }
                }
                3..10 => drop(block_on(txn.insert(&def(&db, table), &account(1_000 + step as i64, 0)))),
                // In order for a while, and in none.
                10..60 => set_balance(txn, &db, table, (step % ACCOUNTS) as i64, step as i64),
                _ => set_balance(txn, &db, table, random.below(ACCOUNTS) as i64, step as i64),
            }
        }
        let mut own = 0;
        for id in (0..ACCOUNTS as i64).step_by(3) {
            own += u64::from(locked(txn, &db, table, id, UPDATE).1.is_provisional());
        }
        assert!(own > ACCOUNTS / 6, "{own}");
        for id in 0..ACCOUNTS as i64 {
            assert_eq!(is_held(&db, table, id, KEY_SHARE), id % 3 == 0, "account {id}, seed {seed}");
        }
    }
}

/// Who does not want to wait does not wait for the row behind an own version either.
#[test]
fn the_row_of_an_own_version_is_had_at_once_or_not() {
    let db = Database::in_memory(manual()).expect("opens");
    let table = create_accounts(&db, "accounts");
    insert(&db, table, &[account(1, 0)]).expect("inserts");
    let txn = writer(&db, table);
    set_balance(&txn, &db, table, 1, 5);
    let other = db.begin(Isolation::ReadCommitted).expect("begins");
    locked(&other, &db, table, 1, KEY_SHARE);
    let view = txn.view().table(table).expect("is there");
    let (row, _) = find(&txn, &db, table, 1).expect("is there");
    assert!(is_pending(txn.lock_row(&view, row, UPDATE)));
    assert_eq!(block_on(txn.try_lock_row(&view, row, UPDATE)).expect("asks"), None);
    let weakly = block_on(txn.try_lock_row(&view, row, RowLockMode::NoKeyUpdate)).expect("asks");
    assert_eq!(weakly, Some(Locked::Current));
    drop(other);
    assert_eq!(block_on(txn.try_lock_row(&view, row, UPDATE)).expect("asks"), Some(Locked::Current));
}
