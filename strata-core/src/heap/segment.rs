//! One segment of a heap: an image of its rows, and the marks on them.
//!
//! A [`SegmentEntry`] is one (image, marks) pair, loaded at once from the [directory](super::directory). The image
//! changes form (hot, frozen, sparse); the marks stay with the segment for as long as it has rows. So a reader that holds any
//! image finds every mark on its rows, and a new image need not have the rows that are dead to all.

use std::sync::Arc;

use super::HeapEnv;
use super::column::ColumnBlock;
use super::hot::HotImage;
use super::marks::Marks;
use crate::block::BlockHandle;
use crate::cache::{PageKey, PageMemo};
use crate::error::Result;
use crate::ids::{RowId, SegmentId, Timestamp};

/// The form in which a segment's rows stand.
#[derive(Clone)]
pub enum Image {
    /// Row pages.
    Hot(Arc<HotImage>),
    /// A column block.
    Column(Arc<ColumnImage>),
}

/// A column block, opened when it is first read.
pub struct ColumnImage {
    handle: Arc<BlockHandle>,
    slots: u32,
    rows: u32,
    env: HeapEnv,
    opened: PageMemo<ColumnBlock>,
}

impl std::fmt::Debug for ColumnImage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ColumnImage").field("block", &self.handle.id()).finish_non_exhaustive()
    }
}

impl Drop for ColumnImage {
    /// An open block in the cache holds the cache: the circle is cut here.
    fn drop(&mut self) {
        self.env.cache.forget(self.handle.id());
    }
}

/// One (image, marks) pair.
#[derive(Clone)]
pub struct SegmentEntry {
    /// The segment.
    pub id: SegmentId,
    /// Its rows.
    pub image: Image,
    /// Its delete marks.
    pub marks: Arc<Marks>,
}

/// The directory of an open column block stands in the page cache under this offset, past any of its pages.
const OPENED: u64 = u64::MAX;

impl ColumnImage {
    pub(super) fn new(env: HeapEnv, handle: Arc<BlockHandle>, slots: u32, rows: u32) -> Self {
        Self { handle, slots, rows, env, opened: PageMemo::default() }
    }

    /// The block, its header and directory read if they are not in the cache.
    ///
    /// # Errors
    /// Those of the block store; `CorruptBlock`.
    pub fn open(&self) -> Result<Arc<ColumnBlock>> {
        let key = PageKey { block: self.handle.id(), offset: OPENED };
        let cache = &self.env.cache;
        cache.recall(&self.opened, key, || {
            let block = ColumnBlock::open(Arc::clone(cache), Arc::clone(&self.handle))?;
            let bytes = block.bytes_in_memory();
            Ok((block, bytes))
        })
    }

    pub(super) fn handle(&self) -> &Arc<BlockHandle> {
        &self.handle
    }

    /// Nothing will name the block: it is released once nobody reads it.
    pub fn discard(&self) {
        self.handle.mark_obsolete();
    }

    /// Slots that the image covers, absent ones included.
    pub fn slots(&self) -> u32 {
        self.slots
    }

    /// Rows that it has.
    pub fn rows(&self) -> u32 {
        self.rows
    }
}

impl SegmentEntry {
    /// Slots that have or had a row.
    pub fn slots(&self) -> u32 {
        match &self.image {
            Image::Hot(hot) => hot.slots(),
            Image::Column(column) => column.slots(),
        }
    }

    /// Slots of the prefix that ends at `row_end`.
    pub fn slots_below(&self, row_end: RowId) -> u32 {
        if row_end.segment() > self.id {
            self.slots()
        } else if row_end.segment() == self.id {
            self.slots().min(u32::from(row_end.slot()))
        } else {
            0
        }
    }

    /// Whether a snapshot that sees the row's insertion sees it still.
    ///
    /// # Errors
    /// Those of the block store where the marks must be read.
    pub(super) fn is_unmarked(&self, row: RowId, snapshot: Timestamp, env: &HeapEnv) -> Result<bool> {
        self.marks.load(env)?;
        Ok(u32::from(row.slot()) < self.slots() && !self.marks.is_ended(row.slot(), snapshot))
    }

    /// Lets go of the image's blocks: the durable manifest names none of them any more.
    pub(super) fn retire_image(&self) {
        match &self.image {
            Image::Hot(hot) => hot.retire(),
            Image::Column(column) => column.handle().mark_obsolete(),
        }
    }

    /// Whether the rows stand in a column block.
    pub fn is_frozen(&self) -> bool {
        matches!(self.image, Image::Column(_))
    }
}
