//! Sorting the keys of a bulk load or an index build within bounded memory.
//!
//! Keys collect in a buffer; one that is full, or that the pool has no more room for, is sorted and written as SSTables of its
//! own, a *run*. At the end the runs are merged into the index files that the commit adopts. Runs that do not overlap, as those
//! of a load in key order, are the result as they are. Uniqueness is checked where equal keys meet: inside a run when it is
//! sorted, across runs when they merge.

use std::sync::Arc;

use super::keys::key_has_null;
use crate::block::ReleaseBlock;
use crate::cache::PageCache;
use crate::catalog::{IndexDef, TableDef};
use crate::error::{Error, Result};
use crate::ids::RowId;
use crate::lsm::{SsTableWriter, TableMerge, TableOptions};
use crate::manifest::SsTableMeta;
use crate::memory::Reservation;

/// Key bytes that one run holds at most, where memory is not short.
const RUN_BYTES: usize = 24 << 20;
/// And however short it is.
const RUN_BYTES_MIN: usize = 256 << 10;
const ENTRY_BYTES: usize = std::mem::size_of::<Entry>();

#[derive(Clone, Copy, Debug)]
struct Entry {
    start: u32,
    length: u32,
    row: RowId,
}

/// What a run of the least size takes: vectors double.
const MEMORY_MIN: usize = 2 * RUN_BYTES_MIN;
/// What the writer of a run is sure to have: where the pool has no more, the run's files end at so many bytes.
const WRITER_BYTES: usize = 1 << 20;

/// Sorts the keys of one index.
pub struct KeySorter {
    cache: Arc<PageCache>,
    table: Arc<TableDef>,
    index: IndexDef,
    bytes: Vec<u8>,
    entries: Vec<Entry>,
    runs: Vec<Vec<SsTableMeta>>,
    memory: Reservation,
    /// [`WRITER_BYTES`], from the first key on; then `memory` is [`MEMORY_MIN`] at least.
    for_writer: Reservation,
    /// Where a run ends.
    run_bytes: usize,
}

impl KeySorter {
    /// A sorter for the keys of `index`.
    pub fn new(cache: Arc<PageCache>, table: Arc<TableDef>, index: IndexDef) -> Result<Self> {
        let (memory, for_writer) = (cache.pool().empty("index build"), cache.pool().empty("index build"));
        let (bytes, entries, runs) = (Vec::new(), Vec::new(), Vec::new());
        let run_bytes = RUN_BYTES.min(cache.pool().cap() / 32).max(RUN_BYTES_MIN);
        Ok(Self { cache, table, index, bytes, entries, runs, memory, for_writer, run_bytes })
    }

    /// Adds a key. One with NULLs is never a duplicate.
    pub fn add(&mut self, key: &[u8], row: RowId) -> Result<()> {
        if self.for_writer.bytes() == 0 {
            self.for_writer.grow(WRITER_BYTES)?;
        }
        let needed = key.len() + ENTRY_BYTES;
        let held = self.bytes.len() + self.entries.len() * ENTRY_BYTES;
        // Where the pool has no more, the run ends early.
        if held + needed > self.run_bytes || !self.make_room(held + needed) {
            self.spill()?;
            self.memory.grow(MEMORY_MIN.max(2 * needed).saturating_sub(self.memory.bytes()))?;
        }
        let start = u32::try_from(self.bytes.len()).expect("a run is bounded");
        let length = u32::try_from(key.len()).expect("keys are bounded");
        self.bytes.extend_from_slice(key);
        self.entries.push(Entry { start, length, row });
        Ok(())
    }

    /// Reserves what a run of so many bytes may take; false where the pool has no more.
    fn make_room(&mut self, run_bytes: usize) -> bool {
        // Vectors double: reserve for that.
        while self.memory.bytes() < 2 * run_bytes {
            let more = self.memory.bytes().clamp(MEMORY_MIN, self.run_bytes.max(MEMORY_MIN));
            if self.memory.grow(more).is_err() {
                return false;
            }
        }
        true
    }

    /// Ends the sort; the files hold all keys, disjoint and in order.
    ///
    /// # Errors
    /// `DuplicateKey` for a unique index; `DiskFull`, `OutOfMemory`. Files already written are given back.
    pub fn finish(mut self) -> Result<Vec<SsTableMeta>> {
        self.spill()?;
        let runs = std::mem::take(&mut self.runs);
        let disjoint = runs.windows(2).all(|pair| {
            let (Some(left), Some(right)) = (pair[0].last(), pair[1].first()) else { return true };
            left.largest < right.smallest
        });
        if disjoint && !self.key_spans_runs(&runs) {
            return Ok(runs.into_iter().flatten().collect());
        }
        let merged = self.merge(&runs);
        self.runs = runs;
        merged
    }

    /// Whether the last key of a run is the first of the next, with other rows: then uniqueness needs the merge.
    fn key_spans_runs(&self, runs: &[Vec<SsTableMeta>]) -> bool {
        let key = |bytes: &[u8]| bytes.len().checked_sub(8).map(|end| bytes[..end].to_vec());
        self.index.unique
            && runs.windows(2).any(|pair| {
                let (Some(left), Some(right)) = (pair[0].last(), pair[1].first()) else { return false };
                key(&left.largest) == key(&right.smallest)
            })
    }

    fn merge(&self, runs: &[Vec<SsTableMeta>]) -> Result<Vec<SsTableMeta>> {
        let mut writer = self.writer();
        let mut merge = TableMerge::open(&self.cache, runs)?;
        let mut last: Option<Vec<u8>> = None;
        while let Some((key, row)) = merge.next()? {
            if last.as_deref() == Some(key) {
                self.check_twice(key)?;
            }
            writer.add(self.index.id, key, row)?;
            if self.index.unique {
                let last = last.get_or_insert_default();
                last.clear();
                last.extend_from_slice(key);
            }
        }
        writer.finish()
    }

    /// A key stands twice: an error where the index is unique and the key has no NULL.
    fn check_twice(&self, key: &[u8]) -> Result<()> {
        if self.index.unique && !key_has_null(&self.table, &self.index, key)? {
            return Err(Error::DuplicateKey {
                table: self.table.id,
                index: self.index.id,
                key: key.to_vec(),
            });
        }
        Ok(())
    }

    fn spill(&mut self) -> Result<()> {
        if self.entries.is_empty() {
            return Ok(());
        }
        let (bytes, mut entries) = (std::mem::take(&mut self.bytes), std::mem::take(&mut self.entries));
        let key = |entry: &Entry| &bytes[entry.start as usize..(entry.start + entry.length) as usize];
        // In an index a key's rows stand newest first.
        let order = |a: &Entry, b: &Entry| key(a).cmp(key(b)).then(b.row.cmp(&a.row));
        if !entries.is_sorted_by(|a, b| order(a, b).is_le()) {
            entries.sort_unstable_by(order);
        }
        for pair in entries.windows(2) {
            if key(&pair[0]) == key(&pair[1]) {
                self.check_twice(key(&pair[0]))?;
            }
        }
        let mut writer = self.writer();
        for entry in &entries {
            writer.add(self.index.id, key(entry), entry.row)?;
        }
        self.runs.push(writer.finish()?);
        self.memory.shrink(self.memory.bytes().saturating_sub(MEMORY_MIN));
        Ok(())
    }

    fn writer(&self) -> SsTableWriter {
        let mut options = TableOptions::default();
        options.limit_to(self.cache.pool().cap());
        SsTableWriter::new(self.cache.store().clone(), self.cache.pool().clone(), options)
            .prepaid(self.for_writer.bytes())
    }
}

impl Drop for KeySorter {
    fn drop(&mut self) {
        for table in self.runs.iter().flatten() {
            self.cache.release(table.block);
        }
    }
}
