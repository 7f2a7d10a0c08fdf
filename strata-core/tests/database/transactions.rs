//! Isolation, locks and constraints, with threads where two transactions must meet.

use std::future::Future;
use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Waker};
use std::thread;

use crate::common::*;
use strata_core::catalog::IndexColumn;
use strata_core::catalog::change::NewIndex;
use strata_core::ids::ColumnId;
use strata_core::maintenance::Step;
use strata_core::row::{ColumnType, Datum, KeyOrder};
use strata_core::table::{Isolation, Locked};
use strata_core::txn::{RowLockMode, TableLockMode, block_on};
use strata_core::vfs::MemVfs;
use strata_core::{Database, Error, Options, Sizes};

fn memory() -> Database {
    Database::in_memory(Options { memory_bytes: 256 << 20, ..Options::default() }).expect("opens")
}

#[test]
fn transfers_keep_the_sum_at_every_snapshot() {
    let db = memory();
    let table = create_accounts(&db, "accounts");
    let rows: Vec<_> = (0..10).map(|id| account(id, 1_000)).collect();
    insert(&db, table, &rows).expect("inserts");
    thread::scope(|scope| {
        for worker in 0..6i64 {
            let db = &db;
            scope.spawn(move || {
                for round in 0..150i64 {
                    let (from, to) = ((worker + round) % 10, (worker * 3 + round * 7 + 1) % 10);
                    let txn = writer(db, table);
                    let moved = add(&txn, db, table, from.min(to), -1)
                        .and_then(|_| add(&txn, db, table, from.max(to), 1));
                    match moved {
                        Ok(_) => drop(txn.commit().expect("commits").wait().expect("durable")),
                        Err(Error::Deadlock) => panic!("locks are taken in order"),
                        Err(error) => panic!("{error}"),
                    }
                }
            });
        }
        let db = &db;
        scope.spawn(move || {
            for _ in 0..200 {
                let sum: i64 = scan(db, table).iter().map(|(_, balance)| balance).sum();
                assert_eq!(sum, 10_000);
            }
        });
    });
    assert_clean(&db);
}

#[test]
fn no_update_of_a_counter_is_lost() {
    let db = memory();
    let table = create_accounts(&db, "accounts");
    insert(&db, table, &[account(1, 0)]).expect("inserts");
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..100 {
                    let txn = writer(&db, table);
                    assert!(add(&txn, &db, table, 1, 1).expect("updates"));
                    txn.commit().expect("commits").wait().expect("durable");
                }
            });
        }
    });
    assert_eq!(scan(&db, table), vec![(1, 800)]);
}

#[test]
fn repeatable_read_refuses_a_row_that_changed_after_its_snapshot() {
    let db = memory();
    let table = create_accounts(&db, "accounts");
    insert(&db, table, &[account(1, 5)]).expect("inserts");
    let txn = db.begin(Isolation::RepeatableRead).expect("begins");
    block_on(txn.lock_table(table, TableLockMode::RowExclusive)).expect("locked");
    let (row, _) = find(&txn, &db, table, 1).expect("is there");
    let other = writer(&db, table);
    add(&other, &db, table, 1, 1).expect("updates");
    other.commit().expect("commits").wait().expect("durable");
    let (_, seen) = find(&txn, &db, table, 1).expect("still the old one");
    assert_eq!(seen[1], account(0, 5)[1]);
    let view = txn.view().table(table).expect("is there");
    let refused = block_on(txn.lock_row(&view, row, RowLockMode::NoKeyUpdate));
    assert!(matches!(refused, Err(Error::SerializationFailure)), "{refused:?}");
}

#[test]
fn repeatable_read_refuses_a_row_that_changed_while_it_waited_for_it() {
    let db = memory();
    let table = create_accounts(&db, "accounts");
    insert(&db, table, &[account(1, 5)]).expect("inserts");
    let second = db.begin(Isolation::RepeatableRead).expect("begins");
    block_on(second.lock_table(table, TableLockMode::RowExclusive)).expect("locked");
    let view = second.view().table(table).expect("is there");
    let (row, _) = find(&second, &db, table, 1).expect("is there");
    let first = writer(&db, table);
    add(&first, &db, table, 1, 1).expect("updates");
    let mut waiting = pin!(second.lock_row(&view, row, RowLockMode::NoKeyUpdate));
    assert!(waiting.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    first.commit().expect("commits").wait().expect("durable");
    let refused = block_on(waiting);
    assert!(matches!(refused, Err(Error::SerializationFailure)), "{refused:?}");
}

/// TRAPS, "The lost successor": whoever waited for a row goes on with what replaced it, or learns that it is gone.
#[test]
fn the_lost_successor() {
    let db = Arc::new(memory());
    let table = create_accounts(&db, "accounts");
    insert(&db, table, &[account(1, 5), account(2, 5)]).expect("inserts");
    let first = writer(&db, table);
    add(&first, &db, table, 1, 10).expect("updates");
    let (row, _) = find(&first, &db, table, 2).expect("is there");
    let view = first.view().table(table).expect("is there");
    assert_eq!(block_on(first.lock_row(&view, row, RowLockMode::Update)).expect("locked"), Locked::Current);
    first.delete(&view, row).expect("deletes");
    let waiting = {
        let db = db.clone();
        thread::spawn(move || {
            let second = writer(&db, table);
            let updated = add(&second, &db, table, 1, 1).expect("goes on with the new version");
            let gone = add(&second, &db, table, 2, 1).expect("is told");
            second.commit().expect("commits").wait().expect("durable");
            (updated, gone)
        })
    };
    thread::sleep(std::time::Duration::from_millis(50));
    first.commit().expect("commits").wait().expect("durable");
    assert_eq!(waiting.join().expect("no panic"), (true, false));
    assert_eq!(scan(&db, table), vec![(1, 16)]);
}

#[test]
fn an_insert_waits_for_an_uncommitted_delete_of_its_key() {
    for delete_commits in [true, false] {
        let db = Arc::new(memory());
        let table = create_accounts(&db, "accounts");
        insert(&db, table, &[account(1, 5)]).expect("inserts");
        let deleter = writer(&db, table);
        let (row, _) = find(&deleter, &db, table, 1).expect("is there");
        let view = deleter.view().table(table).expect("is there");
        block_on(deleter.lock_row(&view, row, RowLockMode::Update)).expect("locked");
        deleter.delete(&view, row).expect("deletes");
        let waiting = {
            let db = db.clone();
            thread::spawn(move || insert(&db, table, &[account(1, 6)]))
        };
        thread::sleep(std::time::Duration::from_millis(50));
        assert!(!waiting.is_finished(), "the fate of key 1 is open");
        if delete_commits {
            deleter.commit().expect("commits").wait().expect("durable");
            waiting.join().expect("no panic").expect("the key is free");
            assert_eq!(scan(&db, table), vec![(1, 6)]);
        } else {
            deleter.rollback();
            let refused = waiting.join().expect("no panic");
            assert!(matches!(refused, Err(Error::DuplicateKey { .. })), "{refused:?}");
            assert_eq!(scan(&db, table), vec![(1, 5)]);
        }
        assert_clean(&db);
    }
}

#[test]
fn two_inserts_of_one_key_do_not_both_commit() {
    let db = Arc::new(memory());
    let table = create_accounts(&db, "accounts");
    let first = writer(&db, table);
    block_on(first.insert(&def(&db, table), &account(1, 1))).expect("inserts");
    let waiting = {
        let db = db.clone();
        thread::spawn(move || insert(&db, table, &[account(1, 2)]))
    };
    thread::sleep(std::time::Duration::from_millis(50));
    assert!(!waiting.is_finished(), "the fate of key 1 is open");
    first.commit().expect("commits").wait().expect("durable");
    assert!(matches!(waiting.join().expect("no panic"), Err(Error::DuplicateKey { .. })));
    assert_eq!(scan(&db, table), vec![(1, 1)]);
}

/// TRAPS, "DDL against DML": a writer that knows only the old indexes ends before a new one is built.
#[test]
fn an_index_build_waits_for_writers_and_sees_their_rows() {
    let db = Arc::new(memory());
    let table = create_accounts(&db, "accounts");
    insert(&db, table, &[account(1, 10)]).expect("inserts");
    let quiet = writer(&db, table);
    block_on(quiet.insert(&def(&db, table), &account(2, 20))).expect("inserts");
    let building = {
        let db = db.clone();
        thread::spawn(move || {
            let mut txn = db.begin(Isolation::ReadCommitted).expect("begins");
            let mut index = primary_key("by_balance");
            index.columns[0].column = strata_core::ids::ColumnId::new(1);
            (index.primary, index.unique) = (false, false);
            block_on(txn.create_index(table, index)).expect("builds");
            txn.commit().expect("commits").wait().expect("durable");
        })
    };
    thread::sleep(std::time::Duration::from_millis(50));
    assert!(!building.is_finished(), "a writer is in flight");
    quiet.commit().expect("commits").wait().expect("durable");
    building.join().expect("no panic");
    insert(&db, table, &[account(3, 30)]).expect("inserts");
    assert_eq!(def(&db, table).indexes.len(), 2);
    assert_clean(&db);
}

/// The keys of a bulk load stand in files of their own until it commits: an insert must look there too.
#[test]
fn an_insert_after_a_bulk_load_of_its_transaction_meets_its_keys() {
    let db = memory();
    let table = create_accounts(&db, "accounts");
    let txn = db.begin(Isolation::ReadCommitted).expect("begins");
    block_on(async {
        let mut load = txn.bulk_load(table).await.expect("locked");
        load.append(&batch(0..20_000)).expect("appends");
        load.finish().await.expect("loads");
        txn.lock_table(table, TableLockMode::RowExclusive).await.expect("locked");
        let def = def(&db, table);
        let refused = txn.insert(&def, &account(7, 0)).await;
        assert!(matches!(refused, Err(Error::DuplicateKey { .. })), "{refused:?}");
        txn.insert(&def, &account(20_000, 0)).await.expect("a key of its own");
    });
    txn.commit().expect("commits").wait().expect("durable");
    assert_eq!(scan(&db, table).len(), 20_001);
    assert_clean(&db);
}

/// So do those of an index that the transaction has made.
#[test]
fn an_insert_after_a_unique_index_of_its_transaction_meets_its_keys() {
    let db = memory();
    let table = create_accounts(&db, "accounts");
    insert(&db, table, &[account(1, 10), account(2, 20)]).expect("inserts");
    let mut txn = db.begin(Isolation::ReadCommitted).expect("begins");
    let mut index = primary_key("by_balance");
    index.columns[0].column = strata_core::ids::ColumnId::new(1);
    index.primary = false;
    let made = block_on(txn.create_index(table, index)).expect("builds");
    let view = txn.view().table(table).expect("is there");
    assert!(!view.index_is_whole(made), "its entries are found once it commits");
    assert!(view.index_is_whole(view.def().primary_key().expect("has one").id));
    block_on(txn.lock_table(table, TableLockMode::RowExclusive)).expect("locked");
    let refused = block_on(txn.insert(view.def(), &account(3, 10)));
    assert!(matches!(refused, Err(Error::DuplicateKey { .. })), "{refused:?}");
    let (row, _) = find(&txn, &db, table, 1).expect("is there");
    block_on(txn.lock_row(&view, row, RowLockMode::Update)).expect("locked");
    txn.delete(&view, row).expect("deletes");
    block_on(txn.insert(view.def(), &account(3, 10))).expect("the key is free");
    txn.commit().expect("commits").wait().expect("durable");
    assert_eq!(scan(&db, table), vec![(2, 20), (3, 10)]);
    // Rule 3: the files of the build hold older rows than the transaction's own entries.
    let refused = insert(&db, table, &[account(4, 10)]);
    assert!(matches!(refused, Err(Error::DuplicateKey { .. })), "{refused:?}");
    assert_clean(&db);
}

#[test]
fn crossed_updates_deadlock_once() {
    let db = Arc::new(memory());
    let table = create_accounts(&db, "accounts");
    insert(&db, table, &[account(1, 0), account(2, 0)]).expect("inserts");
    let first = writer(&db, table);
    add(&first, &db, table, 1, 1).expect("updates");
    let (locked, is_locked) = std::sync::mpsc::channel();
    let crossing = {
        let db = db.clone();
        thread::spawn(move || {
            let second = writer(&db, table);
            add(&second, &db, table, 2, 1).expect("updates");
            locked.send(()).expect("the first waits");
            let outcome = add(&second, &db, table, 1, 1);
            if outcome.is_ok() {
                second.commit().expect("commits").wait().expect("durable");
            }
            outcome
        })
    };
    is_locked.recv().expect("the second has its row");
    let outcome = add(&first, &db, table, 2, 1);
    if outcome.is_ok() {
        first.commit().expect("commits").wait().expect("durable");
    } else {
        first.rollback();
    }
    let crossed = crossing.join().expect("no panic");
    let deadlocks =
        [&outcome, &crossed].iter().filter(|outcome| matches!(outcome, Err(Error::Deadlock))).count();
    assert_eq!(deadlocks, 1, "{outcome:?} {crossed:?}");
    assert_eq!(scan(&db, table), vec![(1, 1), (2, 1)]);
}

#[test]
fn ddl_is_rolled_back_with_its_transaction() {
    let db = memory();
    let mut txn = db.begin(Isolation::ReadCommitted).expect("begins");
    let columns = vec![column("id", strata_core::row::ColumnType::Int64, false)];
    block_on(txn.change_catalog(|catalog| catalog.create_table("public", "t", columns))).expect("new");
    assert!(txn.view().catalog().table_by_name("public", "t").is_ok());
    assert!(db.catalog().table_by_name("public", "t").is_err());
    txn.rollback();
    assert!(db.catalog().table_by_name("public", "t").is_err());
    create_accounts(&db, "t");
}

/// While a commit replaces a row, its key is the old version's or the new one's, never free.
#[test]
fn a_key_is_never_free_while_its_row_is_replaced() {
    let db = memory();
    let table = create_accounts(&db, "accounts");
    insert(&db, table, &[account(1, 0)]).expect("inserts");
    let ended = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..2_000 {
                let txn = writer(&db, table);
                assert!(add(&txn, &db, table, 1, 1).expect("updates"));
                txn.commit().expect("commits").wait().expect("durable");
            }
            ended.store(true, Ordering::Relaxed);
        });
        for _ in 0..2 {
            scope.spawn(|| {
                while !ended.load(Ordering::Relaxed) {
                    let refused = insert(&db, table, &[account(1, 0)]);
                    assert!(matches!(refused, Err(Error::DuplicateKey { .. })), "{refused:?}");
                }
            });
        }
    });
    assert_eq!(scan(&db, table), vec![(1, 2_000)]);
}

/// A database whose segments hold a few hundred rows, and no maintenance of its own.
fn of_small_segments() -> Database {
    let sizes = Sizes { segment_bytes: 8 << 10, ..Sizes::default() };
    Database::in_memory(Options { sizes, ..manual() }).expect("opens")
}

/// TRAPS, "The lost successor": a statement that saw the row some versions ago still finds the newest, though nobody
/// could see those between and their segments are gone.
#[test]
fn the_lost_successor_behind_a_dropped_segment() {
    let db = of_small_segments();
    let table = create_accounts(&db, "accounts");
    insert(&db, table, &[account(1, 0)]).expect("inserts");
    let late = writer(&db, table);
    let (row, _) = find(&late, &db, table, 1).expect("is there");
    let view = late.view().table(table).expect("is there");
    for _ in 0..1_000 {
        let txn = writer(&db, table);
        assert!(add(&txn, &db, table, 1, 1).expect("updates"));
        txn.commit().expect("commits").wait().expect("durable");
    }
    db.vacuum().expect("reclaims");
    let Locked::Moved(newest) = block_on(late.lock_row(&view, row, RowLockMode::Update)).expect("locked")
    else {
        panic!("it was replaced");
    };
    let view = late.view().table(table).expect("is there");
    assert!(view.is_visible(newest).expect("reads"), "the newest version is {newest}");
    let values = view.row(newest).expect("reads").to_datums(&view.def().schema).expect("reads");
    assert_eq!(values[1], account(1, 1_000)[1]);
}

#[test]
fn a_key_is_free_once_the_segment_of_its_dead_row_is_gone() {
    let db = of_small_segments();
    let table = create_accounts(&db, "accounts");
    let rows: Vec<_> = (0..1_000).map(|id| account(id, 0)).collect();
    insert(&db, table, &rows).expect("inserts");
    db.checkpoint().expect("writes the keys");
    let txn = writer(&db, table);
    for id in 0..1_000 {
        let (row, _) = find(&txn, &db, table, id).expect("is there");
        let view = txn.view().table(table).expect("is there");
        block_on(txn.lock_row(&view, row, RowLockMode::Update)).expect("locked");
        txn.delete(&view, row).expect("deletes");
    }
    txn.commit().expect("commits").wait().expect("durable");
    db.checkpoint().expect("writes the marks");
    // The segments go before compaction meets their keys.
    for id in 0..3 {
        assert_eq!(db.maintain().expect("steps"), Step::Reclaim);
        insert(&db, table, &[account(id, 1)]).unwrap_or_else(|error| panic!("{id}: {error}"));
    }
}

/// 30 days are a month to an index, and each NaN the one: a row is not in its own way.
#[test]
fn an_update_may_write_its_key_in_other_words() {
    let db = memory();
    let mut txn = db.begin(Isolation::ReadCommitted).expect("begins");
    let columns = [ColumnType::Int64, ColumnType::Float64, ColumnType::Interval];
    let columns = columns.into_iter().zip(["id", "f", "i"]).map(|(kind, name)| column(name, kind, true));
    let table = txn.change_catalog(|catalog| catalog.create_table("public", "t", columns.collect()));
    let table = block_on(table).expect("new");
    for place in 0..3 {
        let columns = vec![IndexColumn { column: ColumnId::new(place), order: KeyOrder::default() }];
        let index = NewIndex { columns, primary: place == 0, ..primary_key(&format!("key{place}")) };
        block_on(txn.create_index(table, index)).expect("builds");
    }
    txn.commit().expect("commits").wait().expect("durable");
    let nan = Datum::Float64(f64::NAN);
    let interval = |months, days| Datum::Interval { months, days, nanoseconds: 0 };
    let other = vec![Datum::Int64(2), Datum::Float64(0.0), interval(2, 0)];
    insert(&db, table, &[vec![Datum::Int64(1), nan.clone(), interval(1, 0)], other]).expect("are new");
    for frozen in [false, true] {
        if frozen {
            db.vacuum().expect("freezes");
        }
        let txn = writer(&db, table);
        let (row, _) = find(&txn, &db, table, 1).expect("is there");
        let view = txn.view().table(table).expect("is there");
        block_on(txn.lock_row(&view, row, RowLockMode::Update)).expect("is free");
        let same = [Datum::Int64(1), nan.clone(), interval(0, 30)];
        block_on(txn.update(&view, row, &same)).expect("has these keys itself");
        let taken = [Datum::Int64(1), nan.clone(), interval(0, 60)];
        let view = txn.view().table(table).expect("is there");
        let (row, _) = find(&txn, &db, table, 1).expect("is there");
        let refusal = block_on(txn.update(&view, row, &taken));
        assert!(matches!(refusal, Err(Error::DuplicateKey { .. })), "{refusal:?}");
        txn.commit().expect("commits").wait().expect("durable");
    }
}

/// A database with an empty table `accounts` that syncs by hand: what is committed is applied, and published later.
pub fn synced_by_hand() -> (Database, strata_core::ids::TableId) {
    let vfs = Arc::new(MemVfs::new());
    let table = create_accounts(&open(&vfs), "accounts");
    let options = Options { sync_thread: false, ..manual() };
    (Database::open_with_vfs(vfs, Path::new(DIR), options).expect("opens"), table)
}

/// The newest catalog shows a table before snapshots do; whoever has locked it knows that they do too.
#[test]
fn a_new_table_is_locked_until_it_is_published() {
    let (db, _) = synced_by_hand();
    let mut maker = db.begin(Isolation::ReadCommitted).expect("begins");
    let columns = vec![column("id", strata_core::row::ColumnType::Int64, false)];
    let made = maker.change_catalog(|catalog| catalog.create_table("public", "new", columns));
    let table = block_on(made).expect("new");
    let committed = maker.commit().expect("is applied");

    let other = db.begin(Isolation::ReadCommitted).expect("begins");
    assert!(other.newest_catalog().table(table).is_ok());
    assert!(other.view().catalog().table(table).is_err(), "is not durable yet");
    let mut lock = pin!(other.lock_table(table, TableLockMode::AccessShare));
    assert!(lock.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    db.sync().expect("syncs");
    committed.wait().expect("durable");
    block_on(lock).expect("locked");
    assert!(other.view().catalog().table(table).is_ok());
}

/// A snapshot older than a deletion does not see the dead row beside the one that takes its key.
#[test]
fn a_key_is_free_once_its_deletion_is_published() {
    let (db, table) = synced_by_hand();
    let txn = writer(&db, table);
    block_on(txn.insert(&def(&db, table), &account(1, 0))).expect("inserts");
    let inserted = txn.commit().expect("is applied");
    db.sync().expect("syncs");
    inserted.wait().expect("durable");

    let txn = writer(&db, table);
    let (row, _) = find(&txn, &db, table, 1).expect("is there");
    let view = txn.view().table(table).expect("is there");
    block_on(txn.lock_row(&view, row, RowLockMode::Update)).expect("locked");
    txn.delete(&view, row).expect("deletes");
    let deleted = txn.commit().expect("is applied");

    let other = writer(&db, table);
    let (def, again) = (def(&db, table), account(1, 1));
    let mut insert = pin!(other.insert(&def, &again));
    assert!(insert.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    db.sync().expect("syncs");
    deleted.wait().expect("durable");
    block_on(insert).expect("inserts");
    assert_eq!(other.view().table(table).expect("is there").row_count(), 1);
}
