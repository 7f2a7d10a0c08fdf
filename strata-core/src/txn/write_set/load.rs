//! What a bulk load leaves for the commit to adopt.

use std::sync::Arc;

use crate::block::BlockHandle;
use crate::cache::PageCache;
use crate::ids::{BlockId, HeapId, IndexId, LoadId, RowId};
use crate::manifest::SsTableMeta;

/// Column blocks and index files that a bulk load has written and the commit will adopt.
#[derive(Clone, Debug)]
pub struct BulkPart {
    /// Ties the parts of one load together, for recovery.
    pub load: LoadId,
    /// The heap that gets the rows.
    pub heap: HeapId,
    /// The column blocks in order, each one segment: block, slots (all present).
    pub blocks: Vec<(BlockId, u32)>,
    /// Sorted index files; ordinals count segments of the load (`segment << 16 | slot`), unless `absolute`.
    pub tables: Vec<SsTableMeta>,
    /// Whether the index files hold real RowIds already (CREATE INDEX).
    pub absolute: bool,
    /// Rows in all blocks.
    pub rows: u64,
    /// Of the rows that the table has below this, none that stays has a unique key of the load.
    pub checked_end: RowId,
    pub(super) written_at: u64,
    /// Of the column blocks, then of the index files, once a transaction has the load.
    handles: Vec<Arc<BlockHandle>>,
    /// Files of indexes that were made after it: when, and how many files there were before.
    grown: Vec<(u64, usize)>,
}

impl BulkPart {
    /// A part that has not been added to a write set yet.
    pub fn new(
        load: LoadId,
        heap: HeapId,
        blocks: Vec<(BlockId, u32)>,
        tables: Vec<SsTableMeta>,
        absolute: bool,
    ) -> Self {
        let rows = blocks.iter().map(|(_, slots)| u64::from(*slots)).sum();
        Self {
            load,
            heap,
            blocks,
            tables,
            absolute,
            rows,
            checked_end: RowId::ZERO,
            written_at: 0,
            handles: Vec::new(),
            grown: Vec::new(),
        }
    }

    /// When the transaction wrote it.
    pub fn written_at(&self) -> u64 {
        self.written_at
    }

    /// Notes against which rows of the table its unique keys were checked.
    pub fn checked_below(mut self, end: RowId) -> Self {
        self.checked_end = end;
        self
    }

    /// Holds the blocks, so that they outlive the load for as long as somebody reads them.
    pub fn hold(mut self, cache: &Arc<PageCache>) -> Self {
        let blocks = self.blocks.iter().map(|(block, _)| *block);
        let blocks = blocks.chain(self.tables.iter().map(|table| table.block));
        self.handles = blocks.map(|block| cache.handle(block)).collect();
        self
    }

    /// Takes the files of an index that was made after it.
    pub(super) fn grow(&mut self, written_at: u64, tables: Vec<SsTableMeta>, cache: &Arc<PageCache>) {
        self.grown.push((written_at, self.tables.len()));
        let handle = |table: &SsTableMeta| cache.handle(table.block);
        self.handles.extend(tables.iter().map(handle));
        self.tables.extend(tables);
    }

    /// Gives back the files that it took from `position` on.
    pub(super) fn rollback_to(&mut self, position: u64) {
        while let Some((_, kept)) = self.grown.pop_if(|(at, _)| *at >= position) {
            self.tables.truncate(kept);
            for handle in self.handles.drain(self.blocks.len() + kept..) {
                handle.mark_obsolete();
            }
        }
    }

    /// Its column blocks as readers hold them, with their slots.
    pub fn segments(&self) -> impl Iterator<Item = (&Arc<BlockHandle>, u32)> {
        self.handles.iter().zip(&self.blocks).map(|(handle, (_, slots))| (handle, *slots))
    }

    /// Its files of one index, in order.
    pub fn tables_of(&self, index: IndexId) -> Vec<SsTableMeta> {
        self.tables.iter().filter(|table| table.index() == Some(index)).cloned().collect()
    }

    /// Whether a reader of the writes before `position` sees the load.
    pub fn is_visible(&self, position: u64) -> bool {
        self.written_at < position
    }

    /// No commit will adopt it: its blocks are released once nobody reads them.
    pub(super) fn discard(&self) {
        for handle in &self.handles {
            handle.mark_obsolete();
        }
    }
}
