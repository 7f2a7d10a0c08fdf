//! A reader that never ends: a snapshot is held while every row is updated again and again.
//!
//! It sees the same to its end. Meanwhile the database grows by what the reader can see, not by the updates; once it is gone,
//! what it held is taken back.

use std::sync::Arc;

use strata_core::maintenance::{MaintenanceMode, MaintenanceOptions, Step};
use strata_core::vfs::{MemVfs, Vfs};
use strata_core::{Database, DatabaseStats, Options};

use super::table::Rows;
use super::{Outcome, ensure, mib, words};

/// Sizes of a run.
#[derive(Clone, Debug)]
pub struct Reader {
    /// Rows of the table.
    pub rows: i64,
    /// Bytes of each row's payload.
    pub width: usize,
    /// How often each row is updated.
    pub rounds: i64,
}

impl Reader {
    /// Runs once without the reader and once with it, and compares.
    ///
    /// # Errors
    /// What is wrong, in words.
    pub fn run(&self, report: &mut dyn FnMut(String)) -> Outcome {
        let (_, without) = self.update_all(false, report)?;
        let (held, with) = self.update_all(true, report)?;
        // One more version of each row, in segments that others died in, and the marks that tell the two apart.
        let limit = 4 * without.blocks_used_bytes + (4 << 20);
        ensure(held.blocks_used_bytes < limit, || {
            format!("{} of blocks are used while the reader is there", mib(held.blocks_used_bytes))
        })?;
        let back = without.blocks_used_bytes + without.blocks_used_bytes / 10 + (1 << 20);
        ensure(with.blocks_used_bytes <= back, || {
            let (with, without) = (mib(with.blocks_used_bytes), mib(without.blocks_used_bytes));
            format!("{with} of blocks are used after the reader, {without} without one")
        })?;
        ensure(with.blocks_total_bytes <= back + (16 << 20), || {
            format!("the block file keeps {}", mib(with.blocks_total_bytes))
        })?;
        ensure(with.memtable_bytes <= without.memtable_bytes + (64 << 10), || {
            format!("the memtable keeps {} bytes", with.memtable_bytes)
        })
    }

    fn update_all(
        &self,
        with_reader: bool,
        report: &mut dyn FnMut(String),
    ) -> Result<(DatabaseStats, DatabaseStats), String> {
        let vfs: Arc<dyn Vfs> = Arc::new(MemVfs::new());
        let thresholds =
            MaintenanceOptions { journal_bytes: 8 << 20, ..MaintenanceOptions::for_memory(64 << 20) };
        let options = Options {
            memory_bytes: 64 << 20,
            maintenance: MaintenanceMode::Manual,
            thresholds: Some(thresholds),
            ..Options::default()
        };
        let db = Database::open_with_vfs(vfs, "/db", options).map_err(words)?;
        let rows = Rows::create(&db, self.width).map_err(words)?;
        rows.insert(0..self.rows).map_err(words)?;
        let reader = if with_reader { Some(rows.view().map_err(words)?) } else { None };
        for round in 1..=self.rounds {
            for first in (0..self.rows).step_by(500) {
                rows.update(first..self.rows.min(first + 500)).map_err(words)?;
                while db.maintain().map_err(words)? != Step::Idle {}
            }
            if let Some(reader) = &reader {
                let seen = rows.scan(reader)?;
                ensure(seen == (self.rows as u64, 0), || format!("round {round}: the reader sees {seen:?}"))?;
                let id = round * 7 % self.rows;
                let version = rows.version(reader, id)?;
                ensure(version == Some(0), || format!("round {round}: row {id} has version {version:?}"))?;
                ensure(reader.row_count() == self.rows as u64, || "another count".into())?;
            }
            if round % (self.rounds / 4).max(1) == 0 {
                report(line(
                    &format!("round {round}, {}", if with_reader { "read" } else { "alone" }),
                    &db.stats(),
                ));
            }
        }
        db.vacuum().map_err(words)?;
        let held = db.stats();
        report(line(if with_reader { "vacuumed, read" } else { "vacuumed, alone" }, &held));
        drop(reader);
        db.vacuum().map_err(words)?;
        let after = db.stats();
        report(line("after", &after));
        let view = rows.view().map_err(words)?;
        let seen = rows.scan(&view)?;
        let expected = (self.rows as u64, self.rows * self.rounds);
        ensure(seen == expected, || format!("at the end there are {seen:?}, not {expected:?}"))?;
        drop(view);
        let check = db.check();
        ensure(check.is_clean(), || format!("{:#?}", check.problems))?;
        Ok((held, after))
    }
}

fn line(what: &str, stats: &DatabaseStats) -> String {
    format!(
        "{what:24} blocks {:>10} in a file of {:>10}, journal {:>9}, memtable {:>9}, memory {:>9}",
        mib(stats.blocks_used_bytes),
        mib(stats.blocks_total_bytes),
        mib(stats.journal_bytes),
        mib(stats.memtable_bytes as u64),
        mib((stats.memory_used_bytes - stats.cache.bytes) as u64),
    )
}
