//! What a snapshot sees of a heap. Nothing here takes a lock.

use std::sync::Arc;

use super::segment::{ColumnImage, Image, SegmentEntry};
use super::{Heap, Mark, Marks, SegmentView, StoredRow};
use crate::block::BlockHandle;
use crate::cache::Access;
use crate::error::{Error, Result};
use crate::ids::{BlockId, RowId, SegmentId, Timestamp};

impl Heap {
    /// The RowId below which a snapshot sees the inserts.
    pub fn visible_end(&self, snapshot: Timestamp) -> RowId {
        self.versions.at(snapshot).row_end
    }

    /// How many rows are live at a snapshot.
    pub fn live_rows(&self, snapshot: Timestamp) -> u64 {
        self.versions.at(snapshot).live_rows
    }

    /// Whether a snapshot sees the row: it was inserted by then, and not marked by then.
    ///
    /// # Errors
    /// Those of the block store where the marks must be read.
    pub fn is_live(&self, row: RowId, snapshot: Timestamp) -> Result<bool> {
        Ok(row < self.visible_end(snapshot) && self.is_unmarked(row, snapshot)?)
    }

    /// Whether a snapshot that sees the row's insertion sees it still: it was not marked by then.
    ///
    /// # Errors
    /// As [`is_live`](Self::is_live).
    pub fn is_unmarked(&self, row: RowId, snapshot: Timestamp) -> Result<bool> {
        let is_unmarked = |entry: &SegmentEntry| entry.is_unmarked(row, snapshot, &self.env);
        self.directory.visit(row.segment(), is_unmarked).unwrap_or(Ok(false))
    }

    /// A row version, where [`is_unmarked`](Self::is_unmarked).
    ///
    /// # Errors
    /// As [`row`](Self::row), but for a row that is not there.
    pub fn unmarked_row(&self, row: RowId, snapshot: Timestamp) -> Result<Option<StoredRow>> {
        let read = |entry: &SegmentEntry| match entry.is_unmarked(row, snapshot, &self.env)? {
            true => self.row_in(entry, row).map(Some),
            false => Ok(None),
        };
        self.directory.visit(row.segment(), read).unwrap_or(Ok(None))
    }

    /// The row's mark as the heap stands now; `None` while the row is live, or is not there yet. Where its segment is
    /// gone the mark has a successor as long as a live snapshot is older than it.
    ///
    /// # Errors
    /// Those of the block store where the marks must be read.
    pub fn mark(&self, row: RowId) -> Result<Option<Mark>> {
        if let Some(entry) = self.directory.get(row.segment()) {
            entry.marks.load(&self.env)?;
            return Ok(entry.marks.mark(row.slot()));
        }
        if row >= self.end() {
            return Ok(None);
        }
        let passage = self.passages.lock().get(&row.segment()).cloned();
        let mark = passage.and_then(|marks| marks.mark(row.slot()));
        Ok(Some(mark.unwrap_or(Mark { end_ts: Timestamp::default(), successor: None, moved: false })))
    }

    /// A row version, whoever can see it.
    ///
    /// # Errors
    /// Those of the block store; `Invalid` where the row does not exist or was reclaimed.
    pub fn row(&self, row: RowId) -> Result<StoredRow> {
        let read = |entry: &SegmentEntry| self.row_in(entry, row);
        self.directory.visit(row.segment(), read).unwrap_or_else(|| Err(self.gone(row)))
    }

    fn gone(&self, row: RowId) -> Error {
        Error::Invalid(format!("row {row} of heap {} is not there", self.id))
    }

    fn row_in(&self, entry: &SegmentEntry, row: RowId) -> Result<StoredRow> {
        let gone = || self.gone(row);
        let slot = u32::from(row.slot());
        match &entry.image {
            Image::Hot(hot) => {
                let page = hot.page_of(slot).ok_or_else(gone)?;
                let pinned = page.pin(&self.env, Access::Point)?;
                Ok(StoredRow::hot(pinned, slot - page.first_slot()))
            }
            Image::Column(column) if slot < column.slots() => {
                let block = column.open()?;
                if block.presence().is_some_and(|presence| !presence.contains(slot)) {
                    return Err(gone());
                }
                Ok(StoredRow::column(block, row.slot()))
            }
            Image::Column(_) => Err(gone()),
        }
    }

    /// The segments that a snapshot sees rows of, in RowId order, each an (image, marks) pair loaded at once.
    pub fn segments(&self, snapshot: Timestamp) -> Vec<SegmentView> {
        let end = self.visible_end(snapshot);
        self.directory
            .iter()
            .take_while(|entry| entry.id.first_row() < end)
            .filter(|entry| entry.slots_below(end) > 0)
            .map(|entry| {
                let slots = entry.slots_below(end);
                SegmentView::new(self.env.clone(), entry, slots, snapshot)
            })
            .collect()
    }

    /// A column block that no commit has adopted yet, for the transaction that wrote it: all of its rows are live.
    pub fn unadopted_segment(&self, segment: SegmentId, block: Arc<BlockHandle>, slots: u32) -> SegmentView {
        let image = ColumnImage::new(self.env.clone(), block, slots, slots);
        self.unadopted_rows(segment, Arc::new(image), slots)
    }

    /// A column block that the transaction has just written, of rows of its own.
    pub fn unadopted_image(&self, block: BlockId, slots: u32) -> Arc<ColumnImage> {
        Arc::new(ColumnImage::new(self.env.clone(), self.handle(block), slots, slots))
    }

    /// One of its rows.
    ///
    /// # Errors
    /// Those of the block store; `CorruptBlock`.
    pub fn unadopted_row(&self, image: &ColumnImage, slot: u16) -> Result<StoredRow> {
        Ok(StoredRow::column(image.open()?, slot))
    }

    /// Its first `slots` rows as a segment.
    pub fn unadopted_rows(&self, segment: SegmentId, image: Arc<ColumnImage>, slots: u32) -> SegmentView {
        let marks = Arc::new(Marks::new(self.id, segment, None, 0));
        let entry = SegmentEntry { id: segment, image: Image::Column(image), marks };
        SegmentView::new(self.env.clone(), Arc::new(entry), slots, Timestamp::new(u64::MAX))
    }

    /// One segment as a snapshot sees it; `None` where it has no rows for it.
    pub fn segment(&self, segment: SegmentId, snapshot: Timestamp) -> Option<SegmentView> {
        let entry = self.directory.get(segment)?;
        let slots = entry.slots_below(self.visible_end(snapshot));
        (slots > 0).then(|| SegmentView::new(self.env.clone(), entry, slots, snapshot))
    }
}
