//! Traps of whoever waits for somebody else.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use strata_core::ids::{ColumnId, TableId};
use strata_core::row::{ColumnType, Datum};
use strata_core::table::{Isolation, Locked, Transaction};
use strata_core::txn::{RowLockMode, TableLockMode, block_on};
use strata_core::vfs::MemVfs;
use strata_core::{Database, Error, Options};

use crate::common::*;

fn memory() -> Database {
    Database::in_memory(Options { memory_bytes: 64 << 20, ..manual() }).expect("opens")
}

/// Makes `public.bare (value int8)`, without any index.
fn create_bare(db: &Database) -> TableId {
    let mut txn = db.begin(Isolation::ReadCommitted).expect("begins");
    let columns = vec![column("value", ColumnType::Int64, false)];
    let table =
        block_on(txn.change_catalog(|catalog| catalog.create_table("public", "bare", columns))).expect("new");
    txn.commit().expect("commits").wait().expect("durable");
    table
}

fn values(db: &Database, table: TableId) -> Vec<i64> {
    let view = db.view().table(table).expect("is there");
    let mut found = Vec::new();
    for segment in view.segments().expect("reads") {
        for slot in view.visible_slots(&segment, 0..segment.slots().next_multiple_of(64)).expect("reads") {
            let row = view.row(segment.segment().first_row().offset(u64::from(slot))).expect("reads");
            match row.to_datums(&view.def().schema).expect("reads")[..] {
                [Datum::Int64(value)] => found.push(value),
                ref other => panic!("not a value: {other:?}"),
            }
        }
    }
    found.sort_unstable();
    found
}

/// Updates the only row of a table with no index to `value`, under its lock.
fn set(txn: &Transaction, table: TableId, row: strata_core::ids::RowId, value: i64) {
    let view = txn.view().table(table).expect("is there");
    assert_eq!(
        block_on(txn.lock_row(&view, row, RowLockMode::NoKeyUpdate)).expect("locked"),
        Locked::Current
    );
    block_on(txn.update(&view, row, &[Datum::Int64(value)])).expect("updates");
}

/// Without a primary key, whoever waited for a row that is dead by now has only the lock to tell where to go.
#[test]
fn the_lost_successor_without_a_key() {
    let db = memory();
    let table = create_bare(&db);
    insert(&db, table, &[vec![Datum::Int64(5)]]).expect("inserts");
    let row = strata_core::ids::RowId::new(0);
    let second = writer(&db, table);
    let view = second.view().table(table).expect("is there");
    let first = writer(&db, table);
    set(&first, table, row, 15);
    let mut waiting = Box::pin(second.lock_row(&view, row, RowLockMode::NoKeyUpdate));
    assert!(waiting.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    first.commit().expect("commits").wait().expect("durable");
    let Locked::Moved(newest) = block_on(waiting).expect("locked") else { panic!("it has a successor") };
    // What is computed from the row is computed from its newest version.
    let now = view.row(newest).expect("reads").to_datums(&view.def().schema).expect("reads");
    assert_eq!(now, [Datum::Int64(15)]);
    block_on(second.update(&view, newest, &[Datum::Int64(16)])).expect("updates");
    second.commit().expect("commits").wait().expect("durable");
    assert_eq!(values(&db, table), [16]);
    assert_clean(&db);
}

/// The first changes the key: looking up the old one finds nothing, or another row.
#[test]
fn the_lost_successor_with_a_changed_key() {
    let db = memory();
    let table = create_accounts(&db, "accounts");
    insert(&db, table, &[account(1, 5)]).expect("inserts");
    let second = writer(&db, table);
    let view = second.view().table(table).expect("is there");
    let (row, _) = find(&second, &db, table, 1).expect("is there");
    let first = writer(&db, table);
    assert_eq!(block_on(first.lock_row(&view, row, RowLockMode::Update)).expect("locked"), Locked::Current);
    block_on(first.update(&view, row, &account(100, 15))).expect("updates");
    // Another row takes the key that is free now.
    block_on(first.insert(&def(&db, table), &account(1, 1_000))).expect("inserts");
    let mut waiting = Box::pin(second.lock_row(&view, row, RowLockMode::NoKeyUpdate));
    assert!(waiting.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    first.commit().expect("commits").wait().expect("durable");
    let Locked::Moved(newest) = block_on(waiting).expect("locked") else { panic!("it has a successor") };
    let now = view.row(newest).expect("reads").to_datums(&view.def().schema).expect("reads");
    assert_eq!(now, account(100, 15), "the row that was waited for, not the one that has its key");
    block_on(second.update(&view, newest, &account(100, 16))).expect("updates");
    second.commit().expect("commits").wait().expect("durable");
    assert_eq!(scan(&db, table), [(1, 1_000), (100, 16)]);
    assert_clean(&db);
}

/// Two updates stand between the wait and its end: the chain is followed to its end.
#[test]
fn the_lost_successor_of_a_successor() {
    let db = memory();
    let table = create_bare(&db);
    insert(&db, table, &[vec![Datum::Int64(0)]]).expect("inserts");
    let row = strata_core::ids::RowId::new(0);
    let last = writer(&db, table);
    let view = last.view().table(table).expect("is there");
    let mut current = row;
    for value in 1..=3 {
        let txn = writer(&db, table);
        set(&txn, table, current, value);
        txn.commit().expect("commits").wait().expect("durable");
        current = current.next();
    }
    let locked = block_on(last.lock_row(&view, row, RowLockMode::Update)).expect("locked");
    assert_eq!(locked, Locked::Moved(current));
}

/// T1 adds 10 to every value, T2 waits with `DELETE WHERE value = 20`: the row that was 20 is 30 by then, the one that is
/// 20 by then was none of T2's. As in Postgres, nothing is to be deleted.
#[test]
fn the_lost_successor_is_evaluated_anew() {
    let db = memory();
    let table = create_bare(&db);
    insert(&db, table, &[vec![Datum::Int64(10)], vec![Datum::Int64(20)]]).expect("inserts");
    let rows = [0, 1].map(strata_core::ids::RowId::new);
    let second = writer(&db, table);
    let view = second.view().table(table).expect("is there");
    let first = writer(&db, table);
    set(&first, table, rows[0], 20);
    set(&first, table, rows[1], 30);
    let mut waiting = Box::pin(second.lock_row(&view, rows[1], RowLockMode::Update));
    assert!(waiting.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    first.commit().expect("commits").wait().expect("durable");
    let Locked::Moved(newest) = block_on(waiting).expect("locked") else { panic!("it was replaced") };
    let now = view.row(newest).expect("reads").to_datums(&view.def().schema).expect("reads");
    assert_eq!(now, [Datum::Int64(30)], "the condition does not hold any more");
}

/// A writer that knows only the old indexes, or the old columns, is in flight when they change.
#[test]
fn ddl_against_dml() {
    for unique in [false, true] {
        let db = memory();
        let table = create_accounts(&db, "accounts");
        insert(&db, table, &[account(1, 10)]).expect("inserts");
        let quiet = writer(&db, table);
        block_on(quiet.insert(&def(&db, table), &account(2, 10))).expect("inserts");
        let mut builder = db.begin(Isolation::ReadCommitted).expect("begins");
        let mut index = primary_key("by_balance");
        (index.primary, index.unique, index.columns[0].column) = (false, unique, ColumnId::new(1));
        {
            let mut building = pin!(builder.create_index(table, index.clone()));
            let mut context = Context::from_waker(Waker::noop());
            assert!(building.as_mut().poll(&mut context).is_pending(), "a writer is in flight");
            quiet.commit().expect("commits").wait().expect("durable");
            let built = block_on(building);
            if unique {
                assert!(matches!(built, Err(Error::DuplicateKey { .. })), "{built:?}");
                continue;
            }
            built.expect("builds");
        }
        builder.commit().expect("commits").wait().expect("durable");
        insert(&db, table, &[account(3, 30)]).expect("inserts");
        assert_clean(&db);
    }
    // NOT NULL, DROP COLUMN and the like lock the table whole.
    let db = memory();
    let table = create_accounts(&db, "accounts");
    let quiet = writer(&db, table);
    let ddl = db.begin(Isolation::ReadCommitted).expect("begins");
    let mut locking = pin!(ddl.lock_table(table, TableLockMode::AccessExclusive));
    assert!(locking.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    quiet.rollback();
    block_on(locking).expect("locked");
}

#[derive(Default)]
struct Woken(AtomicUsize);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// One thread drives two commits and two waiters for a lock, and is also the one that syncs and releases: it never
/// blocks, and each is woken.
#[test]
fn runtime_deadlock() {
    let (done, is_done) = mpsc::channel();
    std::thread::spawn(move || {
        one_thread_for_all();
        done.send(()).expect("is waited for");
    });
    // Not a measurement: a wait that holds the thread never ends.
    is_done.recv_timeout(Duration::from_secs(60)).expect("a wait held the only thread, or panicked");
}

fn one_thread_for_all() {
    let vfs = Arc::new(MemVfs::new());
    let db = open(&vfs);
    let table = create_accounts(&db, "accounts");
    insert(&db, table, &[account(1, 0), account(2, 0)]).expect("inserts");
    drop(db);
    let db = open_with(&vfs, Options { sync_thread: false, ..super::lazy() });
    let woken: [Arc<Woken>; 4] = Default::default();
    let wakers = woken.each_ref().map(|woken| Waker::from(woken.clone()));
    let count = |at: usize| woken[at].0.load(Ordering::SeqCst);

    let txns = [1, 2].map(|id| {
        let txn = writer(&db, table);
        assert!(add(&txn, &db, table, id, 1).expect("updates"));
        txn
    });
    let (first_waiter, second_waiter) = (writer(&db, table), writer(&db, table));
    let view = db.view().table(table).expect("is there");
    let (row, _) = find(&first_waiter, &db, table, 1).expect("is there");
    let mut first = Box::pin(first_waiter.lock_row(&view, row, RowLockMode::Update));
    let mut second = Box::pin(second_waiter.lock_row(&view, row, RowLockMode::Update));
    assert!(first.as_mut().poll(&mut Context::from_waker(&wakers[0])).is_pending());
    assert!(second.as_mut().poll(&mut Context::from_waker(&wakers[1])).is_pending());

    let [one, other] = txns;
    let mut one = pin!(one.commit().expect("is applied"));
    let mut other = pin!(other.commit().expect("is applied"));
    assert!(one.as_mut().poll(&mut Context::from_waker(&wakers[2])).is_pending());
    assert!(other.as_mut().poll(&mut Context::from_waker(&wakers[3])).is_pending());
    assert_eq!((0..4).map(count).sum::<usize>(), 0);
    db.sync().expect("syncs both");
    assert_eq!((count(2), count(3)), (1, 1));
    for ticket in [one, other] {
        assert!(matches!(ticket.poll(&mut Context::from_waker(Waker::noop())), Poll::Ready(Ok(_))));
    }
    assert_eq!((count(0), count(1)), (1, 0), "the first in line has the row");
    let polled = first.as_mut().poll(&mut Context::from_waker(&wakers[0]));
    assert!(matches!(polled, Poll::Ready(Ok(Locked::Moved(_)))), "{polled:?}");
    drop(first);
    first_waiter.rollback();
    assert_eq!(count(1), 1);
    let polled = second.as_mut().poll(&mut Context::from_waker(&wakers[1]));
    assert!(matches!(polled, Poll::Ready(Ok(Locked::Moved(_)))), "{polled:?}");
}
