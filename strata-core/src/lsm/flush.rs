//! Flush: sealed memtables become tables of level 0.

use std::sync::Arc;

use crate::error::Result;
use crate::ids::{BlockId, RowId};
use crate::lsm::Liveness;
use crate::lsm::key::split_prefix;
use crate::lsm::memtable_cursor::MemtableCursor;
use crate::lsm::sstable::writer::{SsTableWriter, free_all};
use crate::lsm::tree::{IndexTree, SealedMemtable};
use crate::lsm::version::VersionChange;
use crate::manifest::{Edit, SsTableMeta};
use crate::memory::Reservation;

/// What a flush has written.
///
/// The caller syncs the store, commits [`edits`](Self::edits) to the manifest together with the journal position of the
/// seal (`IndexFlushed`, or the journal start), and then installs the change.
#[derive(Debug)]
#[must_use = "the tables must be named by the manifest or freed"]
pub struct FlushOutcome {
    /// Tables to name: those written, and those adopted before the boundary.
    pub added: Vec<SsTableMeta>,
    /// The blocks written, for who has to free them if the edit does not come to be.
    pub written: Vec<BlockId>,
    /// What the tree does once the edit is durable.
    pub change: VersionChange,
}

impl FlushOutcome {
    /// The manifest edits that name the tables.
    pub fn edits(&self) -> Vec<Edit> {
        self.added.iter().cloned().map(Edit::AddSsTable).collect()
    }
}

impl IndexTree {
    /// Writes the memtables sealed before `boundary` (see [`seal`](Self::seal)) into tables, one run each, less the
    /// entries of garbage. Commits go on meanwhile; another flush waits. What it wrote is freed again if it fails. Keys of unique
    /// indexes get hints, so that the first lookup finds them as the later ones do.
    ///
    /// # Errors
    /// `OutOfMemory`, `DiskFull`, `Io`. The memtables stay.
    pub fn flush(&self, boundary: u64, liveness: &dyn Liveness) -> Result<FlushOutcome> {
        let reserve = self.flush_reserve();
        let prepaid_bytes = reserve.as_ref().map_or(0, Reservation::bytes);
        let mut written = Vec::new();
        let mut flushed = Vec::new();
        for sealed in self.sealed_below(boundary) {
            match self.flush_one(&sealed, liveness, prepaid_bytes) {
                Ok(tables) => written.extend(tables),
                Err(error) => {
                    free_all(
                        self.cache().store().as_ref(),
                        written.iter().map(|meta: &SsTableMeta| meta.block),
                    );
                    return Err(error);
                }
            }
            flushed.push(sealed.sequence);
        }
        let mut added = self.unrecorded_below(boundary);
        let blocks = written.iter().map(|meta| meta.block).collect();
        added.extend(written);
        let change = VersionChange { flushed, added: added.clone(), removed: Vec::new() };
        Ok(FlushOutcome { added, written: blocks, change })
    }

    fn flush_one(
        &self,
        sealed: &SealedMemtable,
        liveness: &dyn Liveness,
        prepaid_bytes: usize,
    ) -> Result<Vec<SsTableMeta>> {
        let memtable = &sealed.slot.memtable;
        let pool = self.cache().pool().clone();
        let mut writer =
            SsTableWriter::new(Arc::clone(self.cache().store()), pool, self.options().table.clone())
                .prepaid(prepaid_bytes);
        for index in memtable.indexes() {
            if !liveness.index_exists(index) {
                continue;
            }
            let is_unique = liveness.is_unique(index);
            let mut cursor = MemtableCursor::new(Arc::clone(memtable), index, false, RowId::MAX);
            cursor.seek(None);
            while let Some(entry) = cursor.current() {
                debug_assert!(split_prefix(entry.prefix).is_some_and(|(found, _)| found == index));
                if !liveness.is_garbage(index, entry.row) {
                    writer.add_position(entry)?;
                    if is_unique {
                        self.hint_at(entry);
                    }
                }
                cursor.advance()?;
            }
        }
        let mut tables = writer.finish()?;
        tables.iter_mut().for_each(|meta| meta.sequence = sealed.sequence);
        Ok(tables)
    }
}
