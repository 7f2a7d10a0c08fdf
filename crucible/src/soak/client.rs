//! What a thread does: one transaction after another.

use std::sync::atomic::Ordering;

use strata_core::ids::IndexId;
use strata_core::row::Datum;
use strata_core::table::{Isolation, Transaction};
use strata_core::txn::block_on;
use strata_core::{Database, Result};

use super::tables::{OWN_ACCOUNTS, PAIRS, Tables, find, int, key_in, lock, lock_row, note};
use super::{Counters, ddl, doctors, pairs, undo};
use crate::random::Random;

/// The accounts that most transfers touch.
const HOT: u64 = 6;

/// What a thread works on.
pub struct World<'a> {
    pub thread: u64,
    pub db: &'a Database,
    pub tables: &'a Tables,
    pub counters: &'a Counters,
}

/// One transaction, or one reader.
pub fn step(world: &World<'_>, random: &mut Random) {
    let World { db, tables, counters, .. } = world;
    if world.thread == 0 && random.chance(1, 2) {
        if counters.outcome(ddl::change(world, random)).is_some() {
            Counters::add(&counters.changes);
            Counters::add(&counters.committed);
        }
        return;
    }
    let isolation = match random.within(0..9) {
        0..3 => Isolation::RepeatableRead,
        3 => Isolation::Serializable,
        _ => Isolation::ReadCommitted,
    };
    let outcome = match random.within(0..100) {
        0..32 => transfer(world, isolation, random),
        32..55 => pairs::few(world, isolation, random),
        55..72 => doctors::shift(world, random),
        72..82 => lookups(world, isolation, random),
        82..85 => pairs::many(world, isolation, random),
        85..87 => pairs::bulk(world, random).inspect(|committed| {
            counters.loads.fetch_add(u64::from(*committed), Ordering::Relaxed);
        }),
        87..88 => vacuum(db, random),
        _ => {
            reader(db, tables, random);
            Counters::add(&counters.verified);
            return;
        }
    };
    if counters.outcome(outcome) == Some(true) {
        Counters::add(&counters.committed);
    }
}

/// Ends a transaction; true if it was committed.
pub fn end(txn: Transaction, random: &mut Random) -> Result<bool> {
    if random.chance(1, 10) {
        txn.rollback();
        return Ok(false);
    }
    txn.commit()?.wait().map(|_| true)
}

/// One that all threads use.
fn account(random: &mut Random) -> i64 {
    let limit = if random.chance(2, 3) { HOT } else { OWN_ACCOUNTS as u64 };
    random.within(0..limit) as i64
}

/// Moves amounts between accounts. What it has read before it is held against what it locks.
fn transfer(world: &World<'_>, isolation: Isolation, random: &mut Random) -> Result<bool> {
    let mut txn = world.db.begin(isolation)?;
    lock(&txn, world.tables.accounts)?;
    // What is undone locks the thread's own account, which must not be locked then.
    let undoes = random.chance(1, 4);
    for _ in 0..random.within(1..4) {
        let from = if undoes || random.chance(3, 4) { account(random) } else { world.own_account() };
        let (to, amount) = (account(random), random.within(0..100) as i64);
        for (id, amount) in [(from, -amount), (to, amount)] {
            let view = txn.view().table(world.tables.accounts)?;
            let Some((row, mut values)) = lock_row(&txn, &view, id)? else {
                panic!("account {id} is not there at {}", view.view().snapshot().timestamp());
            };
            values[1] = Datum::Int64(int(&values, 1) + amount);
            if random.chance(1, 4) {
                values[2] = note(random);
            }
            block_on(txn.update(&view, row, &values))?;
        }
        if undoes {
            undo::takings(world, &mut txn, to, random)?;
        }
        if random.chance(1, 20) {
            world.tables.verify_accounts(&txn.view());
        }
    }
    end(txn, random)
}

/// Point reads of pairs and of what their words lead to.
fn lookups(world: &World<'_>, isolation: Isolation, random: &mut Random) -> Result<bool> {
    let txn = world.db.begin(isolation)?;
    for _ in 0..10 {
        let view = txn.view().table(world.tables.pairs)?;
        let id = random.within(1..PAIRS as u64) as i64;
        let (row, twin) = (find(&view, id)?, find(&view, -id)?);
        assert_eq!(row.is_some(), twin.is_some(), "{id} at {}", view.view().snapshot().timestamp());
        let Some(row) = row else { continue };
        let values = view.row(row)?.to_datums(&view.def().schema)?;
        assert_eq!(int(&values, 0), id);
        let by_word: Option<IndexId> = view
            .def()
            .indexes
            .iter()
            .find(|index| !index.unique && index.name == "pairs_word")
            .map(|index| index.id);
        let Some(index) = by_word else { continue };
        let index_def = view.def().index(index).expect("just found");
        let mut scan = view.rows_of_key(index, &key_in(view.def(), index_def, &values))?;
        let mut found = false;
        while let Some((_, other)) = scan.next_entry()? {
            found |= other == row;
        }
        assert!(found, "the index of words does not lead to {row}");
    }
    Ok(false)
}

fn vacuum(db: &Database, random: &mut Random) -> Result<bool> {
    match random.within(0..4) {
        0 => db.vacuum()?,
        1 => db.checkpoint()?,
        _ => drop(db.maintain()?),
    }
    Ok(false)
}

/// Holds a snapshot, sometimes for long, and reads the same from it each time.
fn reader(db: &Database, tables: &Tables, random: &mut Random) {
    let view = db.view();
    let accounts = view.table(tables.accounts).expect("is there");
    let ids: Vec<i64> = (0..5).map(|_| account(random)).collect();
    let read = || {
        let row = |id: &i64| {
            let row = find(&accounts, *id).expect("reads").expect("each account is always there");
            accounts.row(row).expect("reads").to_datums(&accounts.def().schema).expect("reads")
        };
        ids.iter().map(row).collect::<Vec<_>>()
    };
    let before = read();
    tables.verify(&view);
    for _ in 0..if random.chance(1, 10) { 20 } else { 1 } {
        std::thread::yield_now();
        assert_eq!(read(), before, "a snapshot has changed");
    }
    if random.chance(1, 10) {
        tables.verify(&view);
    }
}
