//! Many threads on the engine itself, with caches and thresholds so small that every transaction meets maintenance.
//!
//! The data holds its own invariants, so that any reader at any instant can tell right from wrong:
//!
//! | table | clients | what holds of each snapshot |
//! |---|---|---|
//! | `accounts` | move amounts between accounts, a few of them hot, at any level | each account is there once; the sum of the balances never changes |
//! | `pairs` | insert, replace and delete rows two at a time, a few, so many that own rows are written out, or in bulk, at any level | each row's twin is there, with the same word; the signs add up to nothing |
//! | `doctors` | take one off call where the read shows another, or put one on: by index, by a declared filter, by points; all at SERIALIZABLE, and again after a refusal | somebody is on call in each ward |
//! | others | one client makes schemas, tables, views and indexes, fills, renames, truncates and drops them; adds columns to `pairs`, and makes and drops indexes of it under the locks that SQL takes, while others write | a relation is there whole or not at all; an old snapshot has the old names |
//!
//! Of every table: a scan, each index and the count agree. Parts of transactions are undone, one within another: each breaks an
//! invariant if any of it stays, and locks what another transaction must then get at once, while what was locked before is not to
//! be had. At the end `check` finds nothing, and so again after the database was opened anew, with the same catalog. What cannot
//! hold panics in the thread that saw it, which ends the run.

mod client;
mod ddl;
mod doctors;
mod pairs;
mod tables;
mod undo;
mod verify;

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use strata_core::maintenance::{MaintenanceMode, MaintenanceOptions};
use strata_core::{Database, ErrorKind, Options, Result, Sizes};

use crate::random::Random;
use client::World;
use tables::{MAX_THREADS, Tables};

/// A run without any progress for so long hangs.
const HANG: Duration = Duration::from_secs(120);

/// What a run is made of.
#[derive(Clone, Debug)]
pub struct SoakOptions {
    /// How many threads: 64 at most, since each has rows of its own.
    pub threads: u64,
    /// When it ends: after this time, or once each thread has done so much.
    pub length: Length,
    /// What decides everything random but the interleaving.
    pub seed: u64,
    /// The cap of the engine's memory.
    pub memory_bytes: usize,
}

/// How long a run is.
#[derive(Clone, Copy, Debug)]
pub enum Length {
    /// So long.
    Time(Duration),
    /// So many transactions of each thread.
    Transactions(u64),
}

/// What happened.
#[derive(Debug, Default)]
pub struct SoakReport {
    /// Transactions that committed.
    pub committed: u64,
    /// Transactions that were refused for another's sake: deadlocks, rows changed after the snapshot, keys taken.
    pub refused: u64,
    /// Transactions that found no memory.
    pub starved: u64,
    /// Whole tables read and held against their invariants.
    pub verified: u64,
    /// Commits of maintenance that moved rows out of nearly empty segments.
    pub moves: u64,
    /// Bulk loads, and changes of the catalog, among those that committed.
    pub loads: u64,
    /// See `loads`.
    pub changes: u64,
    /// Transactions on `doctors` that committed.
    pub serializable: u64,
    /// Tries at SERIALIZABLE of which a read did not hold any more.
    pub read_conflicts: u64,
    /// Transactions on `doctors` that were refused, tried again and committed.
    pub retried: u64,
    /// Parts of transactions that were undone.
    pub undone: u64,
    /// Transactions whose own rows were written out before they ended.
    pub spilled: u64,
    /// Indexes made of a table that others write to, and how often that had to wait for them.
    pub indexes: u64,
    /// See `indexes`.
    pub awaited_writers: u64,
    /// Rows and index entries that the check at the end has read.
    pub checked: (u64, u64),
    /// Records that the reopening has replayed.
    pub replayed: u64,
}

/// What the threads count together.
#[derive(Debug, Default)]
struct Counters {
    committed: AtomicU64,
    refused: AtomicU64,
    starved: AtomicU64,
    verified: AtomicU64,
    loads: AtomicU64,
    changes: AtomicU64,
    serializable: AtomicU64,
    read_conflicts: AtomicU64,
    retried: AtomicU64,
    undone: AtomicU64,
    spilled: AtomicU64,
    indexes: AtomicU64,
    awaited_writers: AtomicU64,
    /// A thread panicked, or the time is over.
    stop: AtomicBool,
}

impl Counters {
    fn add(counter: &AtomicU64) {
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a transaction's outcome; panics where it is none that a client may meet.
    fn outcome<T>(&self, outcome: Result<T>) -> Option<T> {
        match outcome {
            Ok(value) => Some(value),
            Err(error) => {
                match error.kind() {
                    ErrorKind::Retry => Self::add(&self.refused),
                    ErrorKind::Resource => Self::add(&self.starved),
                    _ if matches!(error, strata_core::Error::DuplicateKey { .. }) => Self::add(&self.refused),
                    _ => panic!("a transaction failed: {error}"),
                }
                None
            }
        }
    }

    fn progress(&self) -> u64 {
        [&self.committed, &self.refused, &self.starved, &self.verified]
            .iter()
            .map(|counter| counter.load(Ordering::Relaxed))
            .sum()
    }
}

/// The thresholds that make maintenance constant: a few hundred rows fill a segment, a memtable, a file of the journal.
fn engine_options(memory_bytes: usize) -> Options {
    let mut sizes = Sizes {
        segment_bytes: 64 << 10,
        bulk_rows: 256,
        own_rows: 64,
        beside_bytes: 16 << 10,
        journal_file_bytes: 256 << 10,
        manifest_growth_bytes: 64 << 10,
        ..Sizes::default()
    };
    sizes.index.table.table_bytes = 64 << 10;
    sizes.index.table.block_bytes = 1 << 10;
    sizes.index.table.filter_keys = 512;
    sizes.index.level_1_bytes = 256 << 10;
    sizes.index.level_growth = 4;
    sizes.index.compaction_bytes = 1 << 20;
    let thresholds = MaintenanceOptions {
        memtable_bytes: 64 << 10,
        journal_bytes: 512 << 10,
        freeze_idle_segments: true,
        tail_slots: 64,
        move_share: 3,
    };
    Options {
        memory_bytes,
        maintenance: MaintenanceMode::Background,
        thresholds: Some(thresholds),
        sizes,
        ..Options::default()
    }
}

/// Soaks a new database in `folder`.
///
/// # Errors
/// What opening and closing meet.
///
/// # Panics
/// If an invariant does not hold, or nothing moves any more.
pub fn run(folder: &Path, options: &SoakOptions) -> Result<SoakReport> {
    assert!(options.threads <= MAX_THREADS, "{} threads have no rows of their own", options.threads);
    let db = Database::open(folder, engine_options(options.memory_bytes))?;
    let tables = Tables::create(&db)?;
    let counters = Counters::default();
    let done = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for thread in 0..options.threads {
            let (db, tables, counters, done) = (&db, &tables, &counters, &done);
            scope.spawn(move || {
                let _ended = Ended { counters, done };
                let world = World { thread, db, tables, counters };
                let mut random = Random::new(options.seed ^ (thread << 40)).fork();
                let mut left = match options.length {
                    Length::Time(_) => u64::MAX,
                    Length::Transactions(count) => count,
                };
                while left > 0 && !counters.stop.load(Ordering::Relaxed) {
                    client::step(&world, &mut random);
                    left -= 1;
                }
            });
        }
        watch(options, &counters, &done);
    });
    let view = db.view();
    tables.verify(&view);
    drop(view);
    let mut report = SoakReport {
        committed: counters.committed.into_inner(),
        refused: counters.refused.into_inner(),
        starved: counters.starved.into_inner(),
        verified: counters.verified.into_inner(),
        loads: counters.loads.into_inner(),
        changes: counters.changes.into_inner(),
        serializable: counters.serializable.into_inner(),
        read_conflicts: counters.read_conflicts.into_inner(),
        retried: counters.retried.into_inner(),
        undone: counters.undone.into_inner(),
        spilled: counters.spilled.into_inner(),
        indexes: counters.indexes.into_inner(),
        awaited_writers: counters.awaited_writers.into_inner(),
        moves: db.stats().moves,
        ..SoakReport::default()
    };
    check(&db);
    let names = names_of(&db);
    drop(db);
    let db = Database::open(folder, engine_options(options.memory_bytes))?;
    report.replayed = db.replayed_records();
    assert_eq!(names_of(&db), names, "the catalog after opening anew");
    tables.verify(&db.view());
    report.checked = check(&db);
    Ok(report)
}

/// The schemas, the relations and the indexes.
fn names_of(db: &Database) -> Vec<String> {
    let catalog = db.catalog();
    let relations = catalog.relations().map(|relation| (relation.schema_id(), relation.name()));
    let indexes =
        catalog.tables().flat_map(|table| table.indexes.iter().map(|index| (table.id, &index.name)));
    let mut names: Vec<String> = catalog.schemas().map(|schema| schema.name.clone()).collect();
    names.extend(relations.map(|relation| format!("{relation:?}")));
    names.extend(indexes.map(|index| format!("{index:?}")));
    names
}

/// A full verification; what it read.
fn check(db: &Database) -> (u64, u64) {
    let report = db.check();
    assert!(report.is_clean(), "check: {:#?}", report.problems);
    (report.rows, report.entries)
}

/// Tells the others when a thread ends, by a panic too.
struct Ended<'a> {
    counters: &'a Counters,
    done: &'a AtomicU64,
}

impl Drop for Ended<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.counters.stop.store(true, Ordering::Relaxed);
        }
        self.done.fetch_add(1, Ordering::Relaxed);
    }
}

/// Ends the run when it is time, or the process where nothing moves any more.
fn watch(options: &SoakOptions, counters: &Counters, done: &AtomicU64) {
    let begun = Instant::now();
    let (mut progress, mut moved) = (0, Instant::now());
    while done.load(Ordering::Relaxed) < options.threads {
        std::thread::sleep(Duration::from_millis(20));
        if matches!(options.length, Length::Time(length) if begun.elapsed() > length) {
            counters.stop.store(true, Ordering::Relaxed);
        }
        let now = counters.progress();
        if now != progress {
            (progress, moved) = (now, Instant::now());
        } else if moved.elapsed() > HANG {
            eprintln!("soak: nothing has moved for {} s: {counters:?}", HANG.as_secs());
            std::process::abort();
        }
    }
}
