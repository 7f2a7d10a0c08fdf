//! The entries of sorted files that are in no tree yet: a bulk load's runs on their way to one.

use std::sync::Arc;

use super::key::{Probe, split_prefix};
use super::merge::{Merge, Source};
use super::sstable::cursor::RunCursor;
use super::tree::open_table;
use super::version::Run;
use crate::cache::{Access, PageCache};
use crate::error::Result;
use crate::ids::{IndexId, RowId};
use crate::manifest::SsTableMeta;

/// The largest row with a key in tables that no tree has; ordinals of a load stay such.
///
/// # Errors
/// `CorruptBlock`, `Io`, `OutOfMemory`.
pub fn find_in_tables(
    cache: &Arc<PageCache>,
    tables: &[SsTableMeta],
    index: IndexId,
    key: &[u8],
) -> Result<Option<RowId>> {
    TableProbe::open(cache, tables)?.find(index, key)
}

/// Looks keys up in tables that no tree has.
pub struct TableProbe {
    run: Run,
}

impl TableProbe {
    /// A probe of these tables, which must not overlap. Reads nothing.
    ///
    /// # Errors
    /// `CorruptBlock` where a table's bounds are none.
    pub fn open(cache: &Arc<PageCache>, tables: &[SsTableMeta]) -> Result<Self> {
        Ok(Self { run: open_run(cache, tables)? })
    }

    /// The largest row with a key; ordinals of a load stay such.
    ///
    /// # Errors
    /// `CorruptBlock`, `Io`, `OutOfMemory`.
    pub fn find(&self, index: IndexId, key: &[u8]) -> Result<Option<RowId>> {
        self.run.find(&Probe::new(index, key, RowId::MAX))
    }

    /// The first and the last key; `None` where there are none.
    pub fn bounds(&self) -> Option<(&[u8], &[u8])> {
        let (first, last) = (self.run.tables().first()?, self.run.tables().last()?);
        Some((split_prefix(first.smallest().prefix)?.1, split_prefix(last.largest().prefix)?.1))
    }
}

fn open_run(cache: &Arc<PageCache>, tables: &[SsTableMeta]) -> Result<Run> {
    let tables = tables.iter().map(|meta| open_table(cache, meta).map(Arc::new)).collect::<Result<_>>()?;
    Ok(Run::new(0, tables))
}

/// Merges runs, each a list of tables that do not overlap, in ascending order: keys ascending, rows descending
/// within a key, as the files hold them (ordinals of a load stay such).
pub struct TableMerge {
    merge: Merge,
}

impl TableMerge {
    /// A merge of these runs. Reads nothing before the first [`next`](Self::next).
    ///
    /// # Errors
    /// `CorruptBlock` where a table's bounds are none.
    pub fn open(cache: &Arc<PageCache>, runs: &[Vec<SsTableMeta>]) -> Result<Self> {
        let mut sources = Vec::with_capacity(runs.len());
        for run in runs.iter().filter(|run| !run.is_empty()) {
            let run = Arc::new(open_run(cache, run)?);
            sources.push(Source::Run(RunCursor::new(run, false, Access::Scan)));
        }
        Ok(Self { merge: Merge::new(sources, None, None, false, RowId::MAX) })
    }

    /// The next key and row. After an error there is none.
    ///
    /// # Errors
    /// `CorruptBlock`, `Io`, `OutOfMemory`.
    #[allow(clippy::should_implement_trait)]
    pub fn next(&mut self) -> Result<Option<(&[u8], RowId)>> {
        let entry = self.merge.next()?;
        Ok(entry.and_then(|entry| Some((split_prefix(entry.prefix)?.1, entry.row))))
    }
}
