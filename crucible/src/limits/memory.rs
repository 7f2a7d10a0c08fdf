//! Data larger than memory: everything finishes, and the process stays small.
//!
//! Rows of several times the cap are inserted, loaded, read and updated at points (uniform and Zipf), scanned, indexed and
//! compacted. The process's resident memory is looked at after each: a process of its own, therefore. A scan must not
//! displace what the points use: their hit rate is compared before and after.

use std::path::Path;

use strata_core::maintenance::{MaintenanceMode, Step};
use strata_core::{Database, Options};

use super::table::Rows;
use super::{Outcome, ensure, mib, words};
use crate::random::Random;

/// Sizes of a run.
#[derive(Clone, Debug)]
pub struct Memory {
    /// The cap of the engine's memory.
    pub cap_bytes: usize,
    /// How many times larger the data is.
    pub factor: u64,
    /// Bytes of each row's payload.
    pub width: usize,
    /// Point reads, and updates, of each kind.
    pub points: u64,
}

/// Which rows points go to.
#[derive(Clone, Copy, Debug)]
enum Skew {
    Uniform,
    Zipf,
}

/// By how much misses may be more frequent after a scan: under plain LRU they are by 1.6 in the test.
const MISSES_MORE: f64 = 1.25;
/// Rows of one transaction.
const BATCH: i64 = 100;

impl Memory {
    /// Runs in an empty folder.
    ///
    /// # Errors
    /// What is wrong, in words.
    pub fn run(&self, folder: &Path, report: &mut dyn FnMut(String)) -> Outcome {
        let options = Options {
            memory_bytes: self.cap_bytes,
            maintenance: MaintenanceMode::Manual,
            ..Options::default()
        };
        let db = Database::open(folder, options).map_err(words)?;
        let rows = Rows::create(&db, self.width).map_err(words)?;
        let mut look = |phase: &str| self.look(&db, phase, report);
        let count = (self.factor * self.cap_bytes as u64).div_ceil(self.width as u64) as i64;
        for first in (0..count / 2).step_by(BATCH as usize) {
            rows.insert(first..(count / 2).min(first + BATCH)).map_err(words)?;
            settle(&db)?;
        }
        look("inserted one half")?;
        rows.load(count / 2..count).map_err(words)?;
        settle(&db)?;
        look("loaded the other")?;
        let bytes = db.stats().blocks_used_bytes;
        ensure(bytes >= self.factor * self.cap_bytes as u64, || format!("the data is {} only", mib(bytes)))?;

        let mut random = Random::new(7);
        self.read(&rows, count, Skew::Uniform, &mut random)?;
        look("uniform reads")?;
        self.read(&rows, count, Skew::Zipf, &mut random)?;
        look("Zipf reads, cold")?;
        let before = self.read(&rows, count, Skew::Zipf, &mut random)?;
        look(&format!("Zipf reads: {:.1} % hits", 100.0 * before))?;
        let view = rows.view().map_err(words)?;
        let seen = rows.scan(&view)?;
        ensure(seen == (count as u64, 0), || format!("a scan sees {seen:?} of {count} rows"))?;
        drop(view);
        look("a scan of all")?;
        let after = self.read(&rows, count, Skew::Zipf, &mut random)?;
        look(&format!("Zipf reads: {:.1} % hits", 100.0 * after))?;
        let (missed, misses) = (1.0 - before, 1.0 - after);
        ensure(misses <= MISSES_MORE * missed, || {
            format!("the hit rate fell from {before:.3} to {after:.3}")
        })?;

        let updated = self.update(&rows, count, Skew::Uniform, &mut random)?;
        look("uniform updates")?;
        let updated = updated + self.update(&rows, count, Skew::Zipf, &mut random)?;
        look("Zipf updates")?;
        rows.create_class_index().map_err(words)?;
        look("an index build")?;
        db.vacuum().map_err(words)?;
        look("VACUUM")?;
        let view = rows.view().map_err(words)?;
        let seen = rows.scan(&view)?;
        let expected = (count as u64, updated);
        ensure(seen == expected, || format!("at the end there are {seen:?}, not {expected:?}"))?;
        look("a last scan")
    }

    fn look(&self, db: &Database, phase: &str, report: &mut dyn FnMut(String)) -> Outcome {
        let (now, most) = (status_bytes("VmRSS:")?, status_bytes("VmHWM:")?);
        let stats = db.stats();
        report(format!(
            "{phase:28} resident {:>9}, at most {:>9}; pool {:>9}, of it cache {:>9}; blocks {:>10}",
            mib(now),
            mib(most),
            mib(stats.memory_used_bytes as u64),
            mib(stats.cache.bytes as u64),
            mib(stats.blocks_used_bytes),
        ));
        let limit = self.cap_bytes as u64 / 2 * 3;
        ensure(most < limit, || format!("{phase}: {} were resident, of {} allowed", mib(most), mib(limit)))
    }

    fn id(count: i64, skew: Skew, random: &mut Random) -> i64 {
        let uniform = (random.next() >> 11) as f64 / (1_u64 << 53) as f64;
        match skew {
            Skew::Uniform => (uniform * count as f64) as i64,
            Skew::Zipf => {
                // Zipf with an exponent of about 1: the logarithm of the rank is uniform. Ranks are strewn over the ids.
                let rank = (count as f64).powf(uniform) as u64;
                (Random::new(rank).next() % count as u64) as i64
            }
        }
    }

    /// Reads at points; the share of pages found in the cache.
    fn read(&self, rows: &Rows, count: i64, skew: Skew, random: &mut Random) -> Result<f64, String> {
        let before = rows.db.stats().cache;
        for _ in 0..self.points {
            let view = rows.view().map_err(words)?;
            let id = Self::id(count, skew, random);
            let found = rows.version(&view, id)?;
            ensure(found == Some(0), || format!("row {id} has version {found:?}"))?;
        }
        let after = rows.db.stats().cache;
        let (hits, misses) = (after.hits - before.hits, after.misses - before.misses);
        Ok(hits as f64 / (hits + misses).max(1) as f64)
    }

    /// Updates at points; how many rows got a new version.
    fn update(&self, rows: &Rows, count: i64, skew: Skew, random: &mut Random) -> Result<i64, String> {
        let mut updated = 0;
        for _ in 0..self.points / 10 {
            let mut ids: Vec<i64> = (0..10).map(|_| Self::id(count, skew, random)).collect();
            ids.sort_unstable();
            ids.dedup();
            updated += ids.len() as i64;
            rows.update(ids.into_iter()).map_err(words)?;
            settle(&rows.db)?;
        }
        Ok(updated)
    }
}

pub(super) fn settle(db: &Database) -> Outcome {
    while db.maintain().map_err(words)? != Step::Idle {}
    Ok(())
}

/// A line of the process's status, in bytes.
pub(super) fn status_bytes(name: &str) -> Result<u64, String> {
    let status = std::fs::read_to_string("/proc/self/status").map_err(words)?;
    let line =
        status.lines().find_map(|line| line.strip_prefix(name)).ok_or("the system tells no such figure")?;
    let kib: u64 = line.trim().trim_end_matches(" kB").parse().map_err(words)?;
    Ok(kib << 10)
}
