//! Carrying a plan out.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::ids::{BlockId, IndexId, RowId};
use crate::lsm::Liveness;
use crate::lsm::compaction::plan::{self, CompactionPlan};
use crate::lsm::key::split_prefix;
use crate::lsm::merge::{Merge, Source};
use crate::lsm::sstable::writer::SsTableWriter;
use crate::lsm::tree::IndexTree;
use crate::lsm::version::VersionChange;
use crate::manifest::{Edit, SsTableMeta};

/// What a compaction has written.
///
/// The caller syncs the store, commits the edits to the manifest, and then installs the change.
#[derive(Debug)]
#[must_use = "the tables must be named by the manifest or freed"]
pub struct CompactionOutcome {
    /// The manifest edits: inputs out, outputs in.
    pub edits: Vec<Edit>,
    /// The blocks written, for who has to free them if the edit does not come to be.
    pub written: Vec<BlockId>,
    /// What the tree does once the edits are durable.
    pub change: VersionChange,
    /// Entries read.
    pub entries_read: u64,
    /// Entries of garbage, or of indexes that are no more, left out.
    pub entries_dropped: u64,
}

impl IndexTree {
    /// The most urgent compaction, if any is due.
    pub fn plan_compaction(&self) -> Option<CompactionPlan> {
        let (version, floor) = self.compactable();
        plan::plan(&version, floor, self.options())
    }

    /// A compaction of all that may be compacted, whether due or not.
    pub fn plan_full_compaction(&self) -> Option<CompactionPlan> {
        let (version, floor) = self.compactable();
        plan::plan_all(&version, floor)
    }

    /// Carries a plan out, reading and writing; the tree stays as it is until the change is installed. No other
    /// compaction may be planned meanwhile. What it wrote is freed again if it fails.
    ///
    /// # Errors
    /// `CorruptBlock`, `OutOfMemory`, `DiskFull`, `Io`.
    pub fn compact(&self, plan: &CompactionPlan, liveness: &dyn Liveness) -> Result<CompactionOutcome> {
        if plan.is_move {
            return Ok(moved(plan));
        }
        let sources = plan.inputs.iter().map(|input| Source::whole_run(Arc::clone(&input.run))).collect();
        let mut merge = Merge::new(sources, None, None, false, RowId::MAX);
        let mut filter = GarbageFilter { liveness, exists: BTreeMap::new() };
        let pool = self.cache().pool().clone();
        let mut writer =
            SsTableWriter::new(Arc::clone(self.cache().store()), pool, self.options().table.clone());
        let (mut entries_read, mut entries_dropped) = (0, 0);
        while let Some(entry) = merge.next()? {
            entries_read += 1;
            let (index, _) = split_prefix(entry.prefix)
                .ok_or_else(|| Error::Invalid("an index entry without an index".to_owned()))?;
            if filter.keeps(index, entry.row) {
                writer.add_position(entry)?;
            } else {
                entries_dropped += 1;
            }
        }
        let mut added = writer.finish()?;
        added.iter_mut().for_each(|meta| meta.level = plan.output_level);
        let removed = removed(plan);
        let edits = edits(&removed, &added);
        let written = added.iter().map(|meta| meta.block).collect();
        let change = VersionChange { flushed: Vec::new(), added, removed };
        Ok(CompactionOutcome { edits, written, change, entries_read, entries_dropped })
    }
}

/// Asks whether entries still serve anybody; remembers which indexes exist.
struct GarbageFilter<'a> {
    liveness: &'a dyn Liveness,
    exists: BTreeMap<IndexId, bool>,
}

impl GarbageFilter<'_> {
    fn keeps(&mut self, index: IndexId, row: RowId) -> bool {
        let exists = *self.exists.entry(index).or_insert_with(|| self.liveness.index_exists(index));
        exists && !self.liveness.is_garbage(index, row)
    }
}

/// The outcome of a plan that only changes levels.
fn moved(plan: &CompactionPlan) -> CompactionOutcome {
    let tables = plan.inputs.iter().flat_map(|input| input.run.tables());
    let added: Vec<SsTableMeta> = tables.map(|table| table.meta(plan.output_level, 0)).collect();
    let edits = edits(&removed(plan), &added);
    let change = VersionChange { flushed: Vec::new(), added, removed: Vec::new() };
    CompactionOutcome { edits, written: Vec::new(), change, entries_read: 0, entries_dropped: 0 }
}

fn removed(plan: &CompactionPlan) -> Vec<BlockId> {
    plan.inputs.iter().flat_map(|input| input.run.tables().iter().map(|table| table.block())).collect()
}

fn edits(removed: &[BlockId], added: &[SsTableMeta]) -> Vec<Edit> {
    let removals = removed.iter().copied().map(Edit::RemoveSsTable);
    removals.chain(added.iter().cloned().map(Edit::AddSsTable)).collect()
}
