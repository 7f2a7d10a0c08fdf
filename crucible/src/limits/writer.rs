//! A writer that never ends: one transaction writes all rows of a table, and ends one way or the other.
//!
//! It reads what it has written as it goes. Meanwhile, and while it commits, memory stays under the cap, and the process under
//! 1.5 times of it. After the end the table holds what it should, in the running database and in the one that is opened from
//! its files as a crash would leave them.

use std::path::Path;

use strata_core::maintenance::MaintenanceMode;
use strata_core::row::Datum;
use strata_core::table::{Isolation, Locked, Savepoint, TableView, Transaction};
use strata_core::txn::{RowLockMode, TableLockMode, block_on};
use strata_core::{Database, Options};

use super::memory::{settle, status_bytes};
use super::table::Rows;
use super::{Outcome, ensure, mib, words};

/// What the transaction does to every row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// Inserts it.
    Insert,
    /// Deletes it.
    Delete,
    /// Gives it a new version with the same keys.
    Update,
    /// Gives it another primary key.
    UpdateKey,
}

/// How the transaction ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// It commits.
    Commit,
    /// It is rolled back.
    Rollback,
    /// Its second half is undone, done again, and committed.
    Savepoint,
}

/// Sizes of a run.
#[derive(Clone, Debug)]
pub struct Writer {
    /// The cap of the engine's memory.
    pub cap_bytes: usize,
    /// Rows that the transaction writes.
    pub rows: i64,
    /// Bytes of each row's payload.
    pub width: usize,
    /// What it does.
    pub work: Work,
    /// How it ends.
    pub end: End,
    /// Its level.
    pub isolation: Isolation,
}

/// Rows between two looks at what was written.
const LOOKS: i64 = 8;
/// Rows between steps of maintenance.
const BETWEEN_STEPS: i64 = 65_536;

impl Writer {
    /// Runs in an empty folder.
    ///
    /// # Errors
    /// What is wrong, in words.
    pub fn run(&self, folder: &Path, report: &mut dyn FnMut(String)) -> Outcome {
        let mut rows = {
            let db = Database::open(folder.join("open"), self.options()).map_err(words)?;
            Rows::create(&db, self.width).map_err(words)?
        };
        if self.work != Work::Insert {
            rows.load(0..self.rows).map_err(words)?;
        }
        rows.db.vacuum().map_err(words)?;
        let mut gauge = Gauge::start(&rows.db, self, report)?;
        let mut txn = rows.db.begin(self.isolation).map_err(words)?;
        block_on(txn.lock_table(rows.table, TableLockMode::RowExclusive)).map_err(words)?;
        let half = self.rows / 2;
        self.write(&rows, &txn, 0..half, &mut gauge)?;
        let savepoint: Savepoint = txn.savepoint();
        self.write(&rows, &txn, half..self.rows, &mut gauge)?;
        if self.end == End::Savepoint {
            txn.rollback_to(&savepoint).map_err(words)?;
            gauge.look("went back to the half")?;
            self.verify_own(&rows, &txn, half)?;
            self.write(&rows, &txn, half..self.rows, &mut gauge)?;
        }
        gauge.look("written")?;
        let done = if self.end == End::Rollback {
            txn.rollback();
            0
        } else {
            txn.commit().and_then(|ticket| ticket.wait()).map_err(words)?;
            self.rows
        };
        gauge.look("ended")?;
        // As a crash leaves it: closed, the database would leave nothing to replay.
        let crashed = folder.join("crashed");
        copy_files(&folder.join("open"), &crashed)?;
        drop(rows);
        gauge.forget();
        let db = Database::open(&crashed, self.options()).map_err(words)?;
        ensure(self.end == End::Rollback || db.replayed_records() > 0, || "nothing was replayed".into())?;
        gauge.follow(&db);
        gauge.look("opened again")?;
        rows = Rows::open(&db, self.width).map_err(words)?;
        self.verify(&rows, done)?;
        gauge.look("read")?;
        db.vacuum().map_err(words)?;
        gauge.look("vacuumed")?;
        self.verify(&rows, done)?;
        let check = db.check();
        ensure(check.is_clean(), || format!("{:#?}", check.problems))
    }

    fn options(&self) -> Options {
        Options { memory_bytes: self.cap_bytes, maintenance: MaintenanceMode::Manual, ..Options::default() }
    }

    /// Writes the rows of these ids, looking at what was written now and then.
    fn write(
        &self,
        rows: &Rows,
        txn: &Transaction,
        ids: std::ops::Range<i64>,
        gauge: &mut Gauge<'_>,
    ) -> Outcome {
        let step = (self.rows / LOOKS).max(1);
        let mut first = ids.start;
        while first < ids.end {
            let end = ids.end.min((first / step + 1) * step);
            let view = txn.view().table(rows.table).map_err(words)?;
            for id in first..end {
                self.write_row(rows, txn, &view, id).map_err(|error| format!("row {id}: {error}"))?;
                if id % BETWEEN_STEPS == 0 {
                    settle(&rows.db)?;
                }
            }
            drop(view);
            first = end;
            self.verify_own(rows, txn, first)?;
            gauge.look(&format!("{first} rows"))?;
        }
        Ok(())
    }

    fn write_row(
        &self,
        rows: &Rows,
        txn: &Transaction,
        view: &TableView,
        id: i64,
    ) -> strata_core::Result<()> {
        if self.work == Work::Insert {
            return block_on(txn.insert(view.def(), &rows.row(id, 0))).map(drop);
        }
        let Some(row) = rows.find(view, id)? else {
            return Err(strata_core::Error::Invalid("the row is not found".into()));
        };
        let mode = if self.work == Work::Update { RowLockMode::NoKeyUpdate } else { RowLockMode::Update };
        if block_on(txn.lock_row(view, row, mode))? != Locked::Current {
            return Err(strata_core::Error::Invalid("somebody has changed the row".into()));
        }
        match self.work {
            Work::Delete => txn.delete(view, row),
            _ => block_on(txn.update(view, row, &self.new_row(rows, id))).map(drop),
        }
    }

    fn new_row(&self, rows: &Rows, id: i64) -> Vec<Datum> {
        match self.work {
            Work::UpdateKey => rows.row(id + self.rows, 1),
            _ => rows.row(id, 1),
        }
    }

    /// What the transaction must see after it has written the first `done` rows.
    fn verify_own(&self, rows: &Rows, txn: &Transaction, done: i64) -> Outcome {
        let view = txn.view().table(rows.table).map_err(words)?;
        let count = match self.work {
            Work::Insert => done,
            Work::Delete => self.rows - done,
            Work::Update | Work::UpdateKey => self.rows,
        };
        ensure(view.row_count() == count as u64, || {
            format!("after {done} rows: {} rows are counted, not {count}", view.row_count())
        })?;
        self.verify_points(rows, &view, done)
    }

    fn verify_points(&self, rows: &Rows, view: &TableView, done: i64) -> Outcome {
        for place in 0..64 {
            let id = (self.rows - 1) * place / 63;
            let written = id < done;
            let expected = match self.work {
                Work::Insert => written.then_some(0),
                Work::Delete => (!written).then_some(0),
                Work::Update => Some(i64::from(written)),
                Work::UpdateKey => (!written).then_some(0),
            };
            let found = rows.version(view, id)?;
            ensure(found == expected, || format!("after {done} rows: row {id} has version {found:?}"))?;
            if self.work == Work::UpdateKey {
                let found = rows.version(view, id + self.rows)?;
                let expected = written.then_some(1);
                ensure(found == expected, || {
                    format!("after {done} rows: new row {id} has version {found:?}")
                })?;
            }
        }
        Ok(())
    }

    /// What everybody must see at the end.
    fn verify(&self, rows: &Rows, done: i64) -> Outcome {
        let view = rows.view().map_err(words)?;
        let expected = match self.work {
            Work::Insert => (done as u64, 0),
            Work::Delete => ((self.rows - done) as u64, 0),
            Work::Update | Work::UpdateKey => (self.rows as u64, done),
        };
        let seen = rows.scan(&view)?;
        ensure(seen == expected, || format!("at the end there are {seen:?}, not {expected:?}"))?;
        ensure(view.row_count() == expected.0, || format!("{} rows are counted", view.row_count()))?;
        self.verify_points(rows, &view, done)
    }
}

/// Copies a folder and what is in it.
fn copy_files(from: &Path, to: &Path) -> Outcome {
    std::fs::create_dir_all(to).map_err(words)?;
    for entry in std::fs::read_dir(from).map_err(words)? {
        let entry = entry.map_err(words)?;
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        if source.is_dir() {
            copy_files(&source, &target)?;
        } else {
            std::fs::copy(&source, &target).map_err(words)?;
        }
    }
    Ok(())
}

/// Looks at memory, and holds it against the cap.
struct Gauge<'r> {
    db: Option<Database>,
    cap_bytes: usize,
    rows: i64,
    /// Resident, and in the pool less the cache, before the transaction.
    resident: u64,
    held: u64,
    report: &'r mut dyn FnMut(String),
}

impl<'r> Gauge<'r> {
    fn start(db: &Database, run: &Writer, report: &'r mut dyn FnMut(String)) -> Result<Self, String> {
        let held = held(db);
        let resident = status_bytes("VmRSS:")?;
        let mut gauge =
            Self { db: Some(db.clone()), cap_bytes: run.cap_bytes, rows: run.rows, resident, held, report };
        gauge.look(&format!("{:?}, {:?}", run.work, run.end))?;
        Ok(gauge)
    }

    fn forget(&mut self) {
        self.db = None;
    }

    fn follow(&mut self, db: &Database) {
        self.db = Some(db.clone());
    }

    /// Tells what is used now, and what was used at most since the last look.
    fn look(&mut self, phase: &str) -> Outcome {
        let Some(db) = &self.db else { return Ok(()) };
        let (now, most, held) = (status_bytes("VmRSS:")?, status_bytes("VmHWM:")?, held(db));
        // From here on the system counts the most anew.
        std::fs::write("/proc/self/clear_refs", "5").map_err(words)?;
        let per_row = |bytes: u64, before: u64| bytes.saturating_sub(before) as f64 / self.rows as f64;
        (self.report)(format!(
            "{phase:24} resident {:>10}, at most {:>10} ({:6.1} bytes a row more); pool {:>10}, without cache {:>10} ({:6.1} bytes a row more)",
            mib(now),
            mib(most),
            per_row(most, self.resident),
            mib(db.stats().memory_used_bytes as u64),
            mib(held),
            per_row(held, self.held),
        ));
        let limit = self.cap_bytes as u64 / 2 * 3;
        ensure(most < limit, || format!("{phase}: {} were resident, of {} allowed", mib(most), mib(limit)))
    }
}

/// Bytes of the pool that are not the cache's.
fn held(db: &Database) -> u64 {
    let stats = db.stats();
    (stats.memory_used_bytes - stats.cache.bytes) as u64
}
