//! A segment as one snapshot sees it: the unit of a scan.

use std::ops::Range;
use std::sync::Arc;

use arrow_array::ArrayRef;

use super::HeapEnv;
use super::column::{ColumnBlock, Selection, Zone};
use super::hot::{HotImage, PinnedPage};
use super::marks::Marks;
use super::segment::{Image, SegmentEntry};
use super::stored_row::unknown;
use crate::cache::Access;
use crate::error::{Error, Result};
use crate::ids::{ColumnId, RowId, SegmentId, Timestamp};
use crate::row::{Column, ColumnBuilder, RowView, Schema};

/// One (image, marks) pair, cut to what a snapshot sees. Holds all it needs: whatever maintenance does meanwhile, the
/// answers stay the same.
#[derive(Clone)]
pub struct SegmentView {
    env: HeapEnv,
    entry: Arc<SegmentEntry>,
    slots: u32,
    snapshot: Timestamp,
}

impl SegmentView {
    pub(super) fn new(env: HeapEnv, entry: Arc<SegmentEntry>, slots: u32, snapshot: Timestamp) -> Self {
        Self { env, entry, slots, snapshot }
    }

    /// The segment.
    pub fn segment(&self) -> SegmentId {
        self.entry.id
    }

    /// Slots within the snapshot's prefix; some may be dead, or absent.
    pub fn slots(&self) -> u32 {
        self.slots
    }

    /// The RowId of a slot.
    pub fn row_id(&self, slot: u16) -> RowId {
        RowId::from_parts(self.entry.id, slot)
    }

    /// The image, for what only one form has.
    pub fn image(&self) -> &Image {
        &self.entry.image
    }

    /// The marks.
    pub fn marks(&self) -> &Arc<Marks> {
        &self.entry.marks
    }

    /// Whether the rows stand in a column block.
    pub fn is_frozen(&self) -> bool {
        self.entry.is_frozen()
    }

    /// Whether every slot of the prefix is live, also at later snapshots so far.
    pub fn has_no_marks(&self) -> bool {
        self.entry.marks.dead() == 0
    }

    /// The rows of a range of slots that are live at the snapshot: bit `i` of the words is slot `range.start + i`. The
    /// range starts at a multiple of 64; slots past the prefix are not live.
    ///
    /// # Errors
    /// Those of the block store where the marks must be read.
    pub fn visible(&self, range: Range<u32>) -> Result<Vec<u64>> {
        debug_assert!(range.start.is_multiple_of(64));
        self.entry.marks.load(&self.env)?;
        let end = range.end.min(self.slots);
        let count = end.saturating_sub(range.start);
        let mut words = vec![u64::MAX; count.div_ceil(64) as usize];
        if let Some(last) = words.last_mut()
            && !count.is_multiple_of(64)
        {
            *last = (1 << (count % 64)) - 1;
        }
        self.entry.marks.clear_ended(range.start, &mut words, self.snapshot);
        Ok(words)
    }

    /// The values of columns for rows that [`visible`](Self::visible) gave, one array for each column, in the order of the
    /// selection. The arrays share no buffer with the cache's frames of row pages.
    ///
    /// # Errors
    /// Those of the block store; `Corrupt`; `Invalid` where the schema has no such column.
    pub fn read(
        &self,
        schema: &Schema,
        columns: &[ColumnId],
        selection: &Selection,
    ) -> Result<Vec<ArrayRef>> {
        self.read_with(schema, columns, selection, Access::Scan)
    }

    /// As [`read`](Self::read), telling the cache what the read is part of.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn read_with(
        &self,
        schema: &Schema,
        columns: &[ColumnId],
        selection: &Selection,
        access: Access,
    ) -> Result<Vec<ArrayRef>> {
        match &self.entry.image {
            Image::Hot(hot) => read_hot(&self.env, hot, schema, columns, selection, access),
            Image::Column(column) => {
                let block = column.open()?;
                let read = |id: &ColumnId| {
                    let column = schema.column(*id).ok_or_else(|| unknown(*id))?;
                    block.read(column, selection, access)
                };
                columns.iter().map(read).collect()
            }
        }
    }

    /// The column block of a frozen segment, for its statistics.
    ///
    /// # Errors
    /// Those of the block store; `CorruptBlock`.
    pub fn column_block(&self) -> Result<Option<Arc<ColumnBlock>>> {
        match &self.entry.image {
            Image::Column(image) => image.open().map(Some),
            Image::Hot(_) => Ok(None),
        }
    }

    /// What is known of a column's values in the `group`-th 1,024 positions of a frozen segment; `None` for a hot
    /// one and where nothing is known.
    ///
    /// # Errors
    /// Those of the block store; `CorruptBlock`.
    pub fn zone(&self, column: ColumnId, group: usize) -> Result<Option<Zone>> {
        match &self.entry.image {
            Image::Column(image) => image.open()?.zone(column, group),
            Image::Hot(_) => Ok(None),
        }
    }
}

/// The rows of a selection, decoded column by column.
fn read_hot(
    env: &HeapEnv,
    hot: &HotImage,
    schema: &Schema,
    columns: &[ColumnId],
    selection: &Selection,
    access: Access,
) -> Result<Vec<ArrayRef>> {
    let columns: Vec<&Column> =
        columns.iter().map(|id| schema.column(*id).ok_or_else(|| unknown(*id))).collect::<Result<_>>()?;
    let count = selection.len();
    let mut builders: Vec<ColumnBuilder> =
        columns.iter().map(|column| ColumnBuilder::new(&column.column_type, count)).collect();
    read_hot_into(env, hot, schema, &columns, selection, access, &mut builders)?;
    Ok(builders.iter_mut().map(ColumnBuilder::finish).collect())
}

/// Appends the rows of a selection to the builders of `columns`.
pub(super) fn read_hot_into(
    env: &HeapEnv,
    hot: &HotImage,
    schema: &Schema,
    columns: &[&Column],
    selection: &Selection,
    access: Access,
    builders: &mut [ColumnBuilder],
) -> Result<()> {
    let pages = pin_pages(env, hot, selection, access)?;
    let mut rows = Vec::with_capacity(selection.len());
    for (page, indexes) in &pages {
        for index in indexes {
            let missing = || Error::Invalid(format!("row {index} is not in its page"));
            rows.push(RowView::new(page.row(*index).ok_or_else(missing)?, schema)?);
        }
    }
    columns.iter().zip(builders).try_for_each(|(column, builder)| builder.push_rows(&rows, column.id))
}

/// The pages of a selection, each with the places of the selected rows in it.
pub(super) fn pin_pages(
    env: &HeapEnv,
    hot: &HotImage,
    selection: &Selection,
    access: Access,
) -> Result<Vec<(PinnedPage, Vec<u32>)>> {
    let mut slots: Box<dyn Iterator<Item = u32> + '_> = match selection {
        Selection::Range(range) => Box::new(range.clone()),
        Selection::Slots(slots) => Box::new(slots.iter().copied()),
    };
    let mut pages = Vec::new();
    let mut next = slots.next();
    while let Some(slot) = next {
        let missing = || Error::Invalid(format!("slot {slot} is not in its segment"));
        let page = hot.page_of(slot).ok_or_else(missing)?;
        let places = page.first_slot()..page.first_slot() + page.count();
        let mut indexes = Vec::new();
        while let Some(slot) = next.filter(|slot| places.contains(slot)) {
            indexes.push(slot - places.start);
            next = slots.next();
        }
        pages.push((page.pin(env, access)?, indexes));
    }
    Ok(pages)
}
