//! Loads and writers of which one is committed and not durable yet: the other is told nothing of it before it is.

use std::path::Path;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use super::*;
use crate::gate::{Gate, GatedVfs};
use strata_core::ids::Timestamp;
use strata_core::txn::CommitTicket;
use strata_core::vfs::{Fault, FaultEffect, FaultVfs, IoKind, MemVfs};

/// The journal's disk. Let go at last, so that a test that fails ends.
struct Held {
    gate: Arc<Gate>,
    faults: FaultVfs,
}

impl Held {
    /// Has what is held back fail.
    fn fail(&self) {
        let all = Fault::nth(0, FaultEffect::InputOutput).of(&[IoKind::Sync]).in_path(".journal");
        self.faults.arm(all.for_ever());
        self.gate.open();
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.gate.open();
    }
}

/// An empty table, on files whose journal can be held back.
fn held_back() -> (Database, TableId, Held) {
    let faults = FaultVfs::new(Arc::new(MemVfs::new()));
    let gate: Arc<Gate> = Arc::default();
    let vfs = GatedVfs { inner: Arc::new(faults.clone()), with: gate.clone() };
    let db = Database::open_with_vfs(Arc::new(vfs), Path::new(DIR), small()).expect("opens");
    let table = create_accounts(&db, "accounts");
    (db, table, Held { gate, faults })
}

/// Lets the journal go, or has it fail: what waits is refused as a duplicate, or told nothing.
fn assert_refused<T: std::fmt::Debug>(held: &Held, fails: bool, waiting: Pending<'_, T>) {
    if fails {
        held.fail();
        let outcome = block_on(waiting);
        assert!(matches!(outcome, Err(Error::Poisoned { .. })), "{outcome:?}");
    } else {
        held.gate.open();
        let outcome = block_on(waiting);
        assert!(matches!(outcome, Err(Error::DuplicateKey { .. })), "{outcome:?}");
    }
}

#[test]
fn an_insert_that_meets_a_load() {
    for fails in [false, true] {
        let (db, table, held) = held_back();
        let load = loaded(&db, table, &range(0..20));
        let (first, second) = (writer(&db, table), writer(&db, table));
        let def = def(&db, table);
        held.gate.shut();
        let ticket = load.commit().expect("commits");
        let (values, other) = (account(7, 0), account(20, 0));
        let waiting = begun(first.insert(&def, &values));
        let free =
            Box::pin(second.insert(&def, &other)).as_mut().poll(&mut Context::from_waker(Waker::noop()));
        assert!(matches!(free, Poll::Ready(Ok(_))), "another key is free: {free:?}");
        assert_refused(&held, fails, waiting);
        assert_eq!(ticket.wait().is_err(), fails);
    }
}

#[test]
fn an_update_to_a_key_that_a_load_has() {
    let (db, table, held) = held_back();
    insert(&db, table, &[account(100, 0)]).expect("inserts");
    let load = loaded(&db, table, &range(0..20));
    let txn = writer(&db, table);
    let (row, _) = find(&txn, &db, table, 100).expect("is there");
    let view = txn.view().table(table).expect("is there");
    block_on(txn.lock_row(&view, row, RowLockMode::Update)).expect("locks");
    held.gate.shut();
    let ticket = load.commit().expect("commits");
    let values = account(7, 0);
    assert_refused(&held, false, begun(txn.update(&view, row, &values)));
    ticket.wait().expect("durable");
}

#[test]
fn a_load_that_meets_an_insert_or_another_load() {
    for (fails, by_load) in [(false, false), (true, false), (false, true), (true, true)] {
        let (db, table, held) = held_back();
        let other = if by_load { loaded(&db, table, &range(7..27)) } else { inserted(&db, table, 7, 0) };
        let txn = db.begin(Isolation::ReadCommitted).expect("begins");
        let keys = range(0..20);
        held.gate.shut();
        let ticket = other.commit().expect("commits");
        let waiting = begun(load_rows(&txn, table, &keys));
        assert_refused(&held, fails, waiting);
        assert_eq!(ticket.wait().is_err(), fails);
    }
}

/// Its transaction's next statement would see the dead row beside the new one.
#[test]
fn a_load_that_meets_a_deletion() {
    let (db, table, held) = held_back();
    insert(&db, table, &[account(7, 70)]).expect("inserts");
    let other = deleted(&db, table, &[7]);
    let txn = db.begin(Isolation::ReadCommitted).expect("begins");
    let keys = range(0..20);
    held.gate.shut();
    let ticket = other.commit().expect("commits");
    let waiting = begun(load_rows(&txn, table, &keys));
    held.gate.open();
    assert_eq!(block_on(waiting).expect("the key is free"), 20);
    let view = txn.view().table(table).expect("is there");
    assert_eq!(view.row_count(), 20, "no key is there twice");
    ticket.wait().expect("durable");
    txn.commit().expect("commits").wait().expect("durable");
    assert_eq!(scan(&db, table).len(), 20);
    assert_clean(&db);
}

/// A commit that is refused, which says so when what it is refused for is durable.
fn refused(ticket: Result<CommitTicket>) -> Pending<'static, Timestamp> {
    let ticket = ticket.expect("is told later");
    assert!(ticket.is_refused());
    begun(ticket)
}

#[test]
fn the_commit_of_a_writer_that_meets_a_load() {
    for fails in [false, true] {
        let (db, table, held) = held_back();
        let (quiet, load) = (inserted(&db, table, 7, 0), loaded(&db, table, &range(0..20)));
        held.gate.shut();
        let ticket = load.commit().expect("commits");
        assert_refused(&held, fails, refused(quiet.commit()));
        assert_eq!(ticket.wait().is_err(), fails);
        if !fails {
            assert_eq!(scan(&db, table).len(), 20);
            assert_clean(&db);
        }
    }
}

#[test]
fn the_commit_of_a_load_that_meets_a_writer_or_another_load() {
    for (fails, by_load) in [(false, false), (true, false), (false, true), (true, true)] {
        let (db, table, held) = held_back();
        let other = if by_load { loaded(&db, table, &range(7..27)) } else { inserted(&db, table, 7, 0) };
        let load = loaded(&db, table, &range(0..20));
        held.gate.shut();
        let ticket = other.commit().expect("commits");
        assert_refused(&held, fails, refused(load.commit()));
        assert_eq!(ticket.wait().is_err(), fails);
        if !fails {
            assert_eq!(scan(&db, table).len(), if by_load { 20 } else { 1 });
            assert_clean(&db);
        }
    }
}

/// Who is refused holds nothing: the key is free for others before it is told.
#[test]
fn a_refused_commit_holds_no_locks_and_no_blocks() {
    let (db, table, held) = held_back();
    let (quiet, load) = (inserted(&db, table, 7, 0), loaded(&db, table, &range(0..20)));
    block_on(quiet.insert(&def(&db, table), &account(100, 0))).expect("inserts");
    held.gate.shut();
    let ticket = load.commit().expect("commits");
    let told = refused(quiet.commit());
    let other = writer(&db, table);
    let (def, values) = (def(&db, table), account(100, 0));
    let free = Box::pin(other.insert(&def, &values)).as_mut().poll(&mut Context::from_waker(Waker::noop()));
    assert!(matches!(free, Poll::Ready(Ok(_))), "{free:?}");
    assert_refused(&held, false, told);
    ticket.wait().expect("durable");
    other.commit().expect("commits").wait().expect("durable");
    assert_eq!(scan(&db, table).last(), Some(&(100, 0)));
    assert_clean(&db);
}
