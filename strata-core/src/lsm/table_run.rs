//! Sorted runs of a transaction's own: searched and merged before any tree has them.

use std::ops::Bound;
use std::sync::Arc;

use super::key::{Probe, split_prefix};
use super::merge::{Merge, Source, limits};
use super::sstable::cursor::RunCursor;
use super::tree::open_table;
use super::version::Run;
use crate::block::ReleaseBlock;
use crate::cache::{Access, PageCache};
use crate::error::Result;
use crate::ids::{IndexId, RowId};
use crate::manifest::SsTableMeta;

/// Tables that no tree has and that do not overlap, of any indexes. Clones share them.
#[derive(Clone, Debug)]
pub struct TableRun {
    run: Arc<Run>,
}

impl TableRun {
    /// A run of tables that were just written. Reads nothing.
    ///
    /// # Errors
    /// `CorruptBlock` where a table's bounds are none: the tables are given back then.
    pub fn open(cache: &Arc<PageCache>, tables: &[SsTableMeta]) -> Result<Self> {
        let opened = tables.iter().map(|meta| open_table(cache, meta).map(Arc::new)).collect::<Result<_>>();
        let opened = opened.inspect_err(|_| tables.iter().for_each(|table| cache.release(table.block)))?;
        Ok(Self { run: Arc::new(Run::new(0, opened)) })
    }

    /// The largest row with a key that is at most `row`.
    ///
    /// # Errors
    /// `CorruptBlock`, `Io`, `OutOfMemory`.
    pub fn find(&self, index: IndexId, key: &[u8], row: RowId) -> Result<Option<RowId>> {
        self.run.find(&Probe::new(index, key, row))
    }

    /// How many entries it has.
    pub fn entries(&self) -> u64 {
        self.run.tables().iter().map(|table| table.entries()).sum()
    }

    /// Nothing will name the tables: they are released once nobody reads them.
    pub fn discard(&self) {
        self.run.tables().iter().for_each(|table| table.handle().mark_obsolete());
    }
}

/// The entries of runs, in order.
pub struct RunMerge {
    merge: Merge,
}

impl RunMerge {
    /// All entries.
    pub fn whole(runs: &[TableRun]) -> Self {
        let sources = runs.iter().map(|run| Source::whole_run(run.run.clone())).collect();
        Self { merge: Merge::new(sources, None, None, false, RowId::MAX) }
    }

    /// Those of a range of an index.
    pub fn range(
        runs: &[TableRun],
        index: IndexId,
        lower: Bound<&[u8]>,
        upper: Bound<&[u8]>,
        reverse: bool,
    ) -> Self {
        let cursor = |run: &TableRun| Source::Run(RunCursor::new(run.run.clone(), reverse, Access::Point));
        let (start, end) = limits(index, lower, upper, reverse);
        Self { merge: Merge::new(runs.iter().map(cursor).collect(), start, end, reverse, RowId::MAX) }
    }

    /// The next index, key and row. After an error there is none.
    ///
    /// # Errors
    /// `CorruptBlock`, `Io`, `OutOfMemory`.
    #[allow(clippy::should_implement_trait)]
    pub fn next(&mut self) -> Result<Option<(IndexId, &[u8], RowId)>> {
        let entry = self.merge.next()?;
        Ok(entry.and_then(|entry| {
            let (index, key) = split_prefix(entry.prefix)?;
            Some((index, key, entry.row))
        }))
    }
}
