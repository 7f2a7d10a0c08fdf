//! Loads and writers of the same few keys in threads, beside maintenance, and after crashes.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::thread;

use super::*;
use strata_core::maintenance::{MaintenanceMode, MaintenanceOptions};
use strata_core::row::Datum;
use strata_core::txn::TableLockMode;
use strata_core::vfs::{MemVfs, Random, SeededRandom};

const KEYS: u64 = 256;

/// What the threads of a run did, of what committed.
#[derive(Debug, Default)]
struct Tally {
    rows: AtomicI64,
    /// Loads, whether they committed or not.
    begun: AtomicI64,
    loads: AtomicU64,
    writes: AtomicU64,
    refused: AtomicU64,
}

impl Tally {
    /// Adds a transaction that adds so many rows, if it committed.
    fn count(&self, outcome: Result<()>, rows: i64, what: &AtomicU64) {
        match outcome {
            Ok(()) => {
                self.rows.fetch_add(rows, Ordering::Relaxed);
                what.fetch_add(1, Ordering::Relaxed);
            }
            Err(Error::DuplicateKey { .. } | Error::Deadlock) => {
                self.refused.fetch_add(1, Ordering::Relaxed);
            }
            Err(error) => panic!("{error}"),
        }
    }
}

/// Loads keys that nobody else has, and a few that others have or bring: with many of those, hardly any load would commit.
fn load_some(db: &Database, table: TableId, random: &SeededRandom, tally: &Tally) {
    let txn = db.begin(Isolation::ReadCommitted).expect("begins");
    let first = 10_000 + 32 * tally.begun.fetch_add(1, Ordering::Relaxed);
    let own = first..first + 8 + random.below(24) as i64;
    let contended = (0..random.below(4)).map(|_| random.below(KEYS) as i64);
    let keys: BTreeSet<i64> = own.chain(contended).collect();
    let keys: Vec<i64> = keys.into_iter().collect();
    let mut rows = keys.len() as i64;
    let outcome = load_into(&txn, table, &keys).and_then(|_| {
        if random.below(3) == 0 {
            rows += write_one(db, &txn, table, random)?;
        }
        if random.below(8) == 0 {
            txn.rollback();
            rows = 0;
            return Ok(());
        }
        commit(txn)
    });
    tally.count(outcome, rows, &tally.loads);
}

/// Inserts, deletes, updates, or changes the key of one row; returns how many rows there are more.
fn write_one(db: &Database, txn: &Transaction, table: TableId, random: &SeededRandom) -> Result<i64> {
    block_on(txn.lock_table(table, TableLockMode::RowExclusive))?;
    let id = random.below(KEYS) as i64;
    let Some((row, mut values)) = find(txn, db, table, id) else {
        block_on(txn.insert(&def(db, table), &account(id, id)))?;
        return Ok(1);
    };
    if row.is_provisional() {
        return Ok(0);
    }
    let view = txn.view().table(table)?;
    let what = random.below(3);
    let mode = if what == 0 { RowLockMode::NoKeyUpdate } else { RowLockMode::Update };
    if block_on(txn.lock_row(&view, row, mode))? != Locked::Current {
        return Ok(0);
    }
    match what {
        0 => values[1] = Datum::Int64(id + 1),
        1 => {
            txn.delete(&view, row)?;
            return Ok(-1);
        }
        _ => values[0] = Datum::Int64(random.below(KEYS) as i64),
    }
    block_on(txn.update(&view, row, &values)).map(|_| 0)
}

fn write_some(db: &Database, table: TableId, random: &SeededRandom, tally: &Tally) {
    let txn = writer(db, table);
    let mut rows = 0;
    let outcome = (0..1 + random.below(3)).try_for_each(|_| {
        rows += write_one(db, &txn, table, random)?;
        Ok(())
    });
    if random.below(4) == 0 {
        thread::yield_now();
    }
    tally.count(outcome.and_then(|()| commit(txn)), rows, &tally.writes);
}

fn assert_unique(rows: &[(i64, i64)]) {
    for pair in rows.windows(2) {
        assert_ne!(pair[0].0, pair[1].0, "a key is there twice");
    }
}

fn run(seed: u64, rounds: u64) {
    let sizes = Sizes { bulk_rows: 8, segment_bytes: 2 << 10, beside_bytes: 1 << 10, ..Sizes::default() };
    let thresholds = MaintenanceOptions {
        memtable_bytes: 16 << 10,
        journal_bytes: 64 << 10,
        ..MaintenanceOptions::for_memory(64 << 20)
    };
    let options = Options {
        memory_bytes: 64 << 20,
        maintenance: MaintenanceMode::Background,
        thresholds: Some(thresholds),
        sizes,
        ..Options::default()
    };
    let vfs = Arc::new(MemVfs::new());
    let db = Database::open_with_vfs(vfs.clone(), DIR, options).expect("opens");
    let table = create_accounts(&db, "accounts");
    let (tally, stop) = (Tally::default(), AtomicBool::new(false));
    let crashed = thread::scope(|scope| {
        let (db, tally, stop, vfs) = (&db, &tally, &stop, &vfs);
        let threads: Vec<_> = (0..8)
            .map(|worker| {
                let random = SeededRandom::new(seed * 100 + worker);
                scope.spawn(move || {
                    for _ in 0..rounds {
                        match worker % 2 {
                            0 => load_some(db, table, &random, tally),
                            _ => write_some(db, table, &random, tally),
                        }
                    }
                })
            })
            .collect();
        let watching = scope.spawn(move || {
            let mut crashed = Vec::new();
            while !stop.load(Ordering::Relaxed) {
                assert_unique(&scan(db, table));
                if crashed.len() < 2 {
                    crashed.push(vfs.crash_clone(&SeededRandom::new(seed)));
                }
            }
            crashed
        });
        let ends: Vec<_> = threads.into_iter().map(thread::ScopedJoinHandle::join).collect();
        stop.store(true, Ordering::Relaxed);
        let crashed = watching.join();
        for end in ends {
            end.unwrap_or_else(|_| panic!("seed {seed}"));
        }
        crashed.unwrap_or_else(|_| panic!("seed {seed}"))
    });
    let rows = scan(&db, table);
    assert_unique(&rows);
    assert_eq!(rows.len() as i64, tally.rows.load(Ordering::Relaxed), "seed {seed}: {tally:?}");
    assert!(
        tally.loads.load(Ordering::Relaxed) > 0 && tally.refused.load(Ordering::Relaxed) > 0,
        "{tally:?}"
    );
    assert_clean(&db);
    let last = vfs.crash_clone(&SeededRandom::new(seed));
    let crashed = crashed.into_iter().map(|crashed| (false, crashed));
    for (is_last, crashed) in crashed.chain([(true, last)]) {
        let reopened = open(&Arc::new(crashed));
        if reopened.catalog().table(table).is_err() {
            continue;
        }
        let replayed = scan(&reopened, table);
        assert_unique(&replayed);
        assert!(!is_last || replayed == rows, "seed {seed}: what was acknowledged is there");
        assert_clean(&reopened);
    }
}

#[test]
fn loads_and_writers_of_the_same_keys() {
    for seed in 0..4 {
        run(seed, 60);
    }
}

/// Writers commit all the time, yet a load comes to its end.
#[test]
fn a_load_commits_beside_writers_that_never_rest() {
    let db = memory();
    let table = create_accounts(&db, "accounts");
    let stop = AtomicBool::new(false);
    let inserted = AtomicI64::new(0);
    thread::scope(|scope| {
        for worker in 0..4 {
            let (db, stop, inserted) = (&db, &stop, &inserted);
            scope.spawn(move || {
                for id in 0.. {
                    if stop.load(Ordering::Relaxed) {
                        break;
                    }
                    insert(db, table, &[account(1_000_000 * (worker + 1) + id, 0)]).expect("inserts");
                    inserted.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        for start in 0..20 {
            let before = inserted.load(Ordering::Relaxed);
            while inserted.load(Ordering::Relaxed) == before {
                thread::yield_now();
            }
            commit(loaded(&db, table, &range(start * 100..start * 100 + 100))).expect("commits");
        }
        stop.store(true, Ordering::Relaxed);
    });
    assert_eq!(scan(&db, table).len() as i64, 2_000 + inserted.load(Ordering::Relaxed));
    assert_clean(&db);
}
