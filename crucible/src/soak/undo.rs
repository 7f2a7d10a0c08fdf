//! Savepoints: parts of a transaction that are done and undone.
//!
//! What is undone breaks an invariant by itself, so that every reader sees what of it is left. Beside it a part writes a row that is the
//! thread's own: nobody else locks it, so another transaction of the thread must get its lock as soon as the part is undone.

use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use strata_core::Result;
use strata_core::catalog::TableDef;
use strata_core::row::Datum;
use strata_core::table::{Isolation, TableView, Transaction};
use strata_core::txn::{RowLockMode, block_on};

use super::Counters;
use super::client::World;
use super::pairs::{change_half, pair};
use super::tables::{OWN_ACCOUNTS, PAIRS, find, int, lock_row, note};
use crate::random::Random;

/// A lock that was given back is granted within this time: maintenance may hold a row until its commit is durable.
const PATIENCE: Duration = Duration::from_secs(60);
/// The rows of a load that is undone.
const LOADED: i64 = 300;

/// Runs a part, and goes back to where it began.
pub fn in_part(
    world: &World<'_>,
    txn: &mut Transaction,
    part: impl FnOnce(&mut Transaction) -> Result<()>,
) -> Result<()> {
    let savepoint = txn.savepoint();
    part(txn)?;
    txn.rollback_to(&savepoint)?;
    Counters::add(&world.counters.undone);
    Ok(())
}

/// Takes amounts from accounts, and gives them to nobody. `held` was locked before.
pub fn takings(world: &World<'_>, txn: &mut Transaction, held: i64, random: &mut Random) -> Result<()> {
    let own = world.own_account();
    let mut shown = None;
    in_part(world, txn, |txn| {
        take(world, txn, own)?;
        shown = random.chance(1, 2).then(|| txn.view());
        if random.chance(1, 2) {
            let other = random.within(0..OWN_ACCOUNTS as u64) as i64;
            in_part(world, txn, |txn| take(world, txn, other))?;
            take(world, txn, own)?;
        }
        Ok(())
    })?;
    if let Some(shown) = shown {
        let accounts = shown.table(world.tables.accounts)?;
        let row = find(&accounts, own)?.expect("each account is always there");
        assert!(row.is_provisional(), "a view that was taken in the part shows what the part did");
    }
    let probe = world.db.begin(Isolation::ReadCommitted)?;
    let view = probe.view().table(world.tables.accounts)?;
    assert!(!is_free(&probe, &view, held)?, "the lock of account {held} went with a later part");
    let row = find(&view, own)?.expect("each account is always there");
    before_long(probe.lock_row(&view, row, RowLockMode::Update), "a row that is locked no more").map(drop)
}

fn take(world: &World<'_>, txn: &Transaction, id: i64) -> Result<()> {
    let view = txn.view().table(world.tables.accounts)?;
    let (row, mut values) = lock_row(txn, &view, id)?.expect("each account is always there");
    values[1] = Datum::Int64(int(&values, 1) - 1);
    block_on(txn.update(&view, row, &values)).map(drop)
}

/// Inserts, loads, changes and deletes rows without their twins. The table is locked.
pub fn halves(world: &World<'_>, txn: &mut Transaction, def: &TableDef, random: &mut Random) -> Result<()> {
    let own = world.own_pair();
    let row = |note| pair(def, own, 0, note);
    in_part(world, txn, |txn| {
        block_on(txn.insert(def, &row(note(random))))?;
        if random.chance(1, 2) {
            let (id, delete) = (random.within(1..PAIRS as u64) as i64, random.chance(1, 2));
            in_part(world, txn, |txn| change_half(world, txn, id, delete))?;
        }
        if random.chance(1, 2) {
            let (id, delete) = (random.within(1..PAIRS as u64) as i64, random.chance(1, 2));
            change_half(world, txn, id, delete)?;
        }
        if random.chance(1, 8) {
            load_halves(txn, def, own + 1, random)?;
        }
        Ok(())
    })?;
    // The table's lock is that of `txn`, which keeps the definition as it is while the other one is at it.
    let probe = world.db.begin(Isolation::ReadCommitted)?;
    before_long(probe.insert(def, &row(Datum::Null)), "a key that is locked no more").map(drop)
}

fn load_halves(txn: &Transaction, def: &TableDef, first: i64, random: &mut Random) -> Result<()> {
    let rows: Vec<_> = (first..first + LOADED).map(|id| pair(def, id, 0, note(random))).collect();
    super::pairs::load(txn, def, &rows)
}

/// Whether another transaction gets the lock of an account at once.
fn is_free(probe: &Transaction, view: &TableView, id: i64) -> Result<bool> {
    let row = find(view, id)?.expect("each account is always there");
    match pin!(probe.lock_row(view, row, RowLockMode::Update)).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(locked) => locked.map(|_| true),
        Poll::Pending => Ok(false),
    }
}

/// The value of a future that nobody keeps waiting for long. Blocking on it would hang where the lock is held by this thread itself.
fn before_long<F: Future>(future: F, what: &str) -> F::Output {
    let mut future = pin!(future);
    let begun = Instant::now();
    loop {
        if let Poll::Ready(value) = future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            return value;
        }
        assert!(begun.elapsed() < PATIENCE, "{what} was not to be had for {} s", PATIENCE.as_secs());
        std::thread::sleep(Duration::from_millis(1));
    }
}

impl World<'_> {
    /// An account that nobody else locks.
    pub fn own_account(&self) -> i64 {
        OWN_ACCOUNTS + self.thread as i64
    }

    /// The first of the ids that nobody else uses.
    fn own_pair(&self) -> i64 {
        PAIRS + self.thread as i64 * (LOADED + 1)
    }
}
