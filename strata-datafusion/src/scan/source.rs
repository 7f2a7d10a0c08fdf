//! A table as one statement sees it, column by column.

use std::fmt;
use std::ops::Range;
use std::sync::{Arc, OnceLock};

use datafusion::arrow::array::{ArrayRef, UInt64Array};
use datafusion::arrow::datatypes::{DataType, SchemaRef};
use datafusion::error::{DataFusionError, Result};
use strata_core::heap::column::{ColumnBlock, Selection};
use strata_core::heap::{Image, SegmentView};
use strata_core::ids::{ColumnId, RowId};
use strata_core::row::{Column, ColumnBuilder, RowView, Schema};
use strata_core::table::TableView;

use crate::pruning::{Pruner, ZoneColumn, Zones};
use crate::scalar::engine_error;
use crate::session::CancelHandle;

/// Rows of a group: what a zone map describes.
pub(crate) const GROUP_ROWS: u32 = 1024;
/// Rows read at a time.
pub(crate) const CHUNK_ROWS: u32 = 8192;

/// Where a column of the provider's schema comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ColumnSource {
    /// A column of the table.
    Stored(ColumnId),
    /// The row's RowId.
    RowId,
}

/// A row that the transaction has written.
pub(crate) type OwnRow = (RowId, Arc<[u8]>);

/// What a scan reads from; shared by all that becomes of one scan's node.
pub(crate) struct ScanSource {
    pub(crate) table: TableView,
    /// The provider's schema.
    pub(crate) schema: SchemaRef,
    /// Where its columns come from.
    pub(crate) columns: Arc<[ColumnSource]>,
    pub(crate) cancel: CancelHandle,
    pub(crate) segments: Vec<SegmentView>,
    has_own_writes: bool,
    own_rows: OnceLock<Vec<OwnRow>>,
}

impl fmt::Debug for ScanSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScanSource").field("table", &self.table.def().name).finish_non_exhaustive()
    }
}

/// A place that rows are read from.
#[derive(Clone, Copy)]
pub(crate) enum Place<'a> {
    /// A segment; selections are of its slots.
    Segment(&'a SegmentView),
    /// The transaction's own rows; selections are of places among them.
    Own(&'a [OwnRow]),
}

impl ScanSource {
    pub(crate) fn new(
        table: TableView,
        schema: SchemaRef,
        columns: Arc<[ColumnSource]>,
        cancel: CancelHandle,
    ) -> Result<Self> {
        let segments = table.segments().map_err(engine_error)?;
        let has_own_writes = table.has_own_writes();
        Ok(Self { table, schema, columns, cancel, segments, has_own_writes, own_rows: OnceLock::new() })
    }

    /// The table's columns.
    pub(crate) fn stored(&self) -> &Schema {
        &self.table.def().schema
    }

    /// The table's column at a place of the provider's schema; `None` for the RowId.
    pub(crate) fn column(&self, place: usize) -> Option<&Column> {
        match self.columns.get(place)? {
            ColumnSource::Stored(id) => self.stored().column(*id),
            ColumnSource::RowId => None,
        }
    }

    /// Whether the statement's own transaction has written to the table.
    pub(crate) fn has_own_writes(&self) -> bool {
        self.has_own_writes
    }

    /// The rows of the transaction's own that the statement sees.
    pub(crate) fn own_rows(&self) -> &[OwnRow] {
        if !self.has_own_writes {
            return &[];
        }
        self.own_rows.get_or_init(|| self.table.own_rows())
    }

    /// The segment's column block, if it is frozen.
    pub(crate) fn block(&self, segment: &SegmentView) -> Result<Option<Arc<ColumnBlock>>> {
        match segment.image() {
            Image::Column(image) => image.open().map(Some).map_err(engine_error),
            Image::Hot(_) => Ok(None),
        }
    }

    /// The slots of a range, which starts at a group, that the statement sees and whose groups are kept.
    pub(crate) fn live(
        &self,
        segment: &SegmentView,
        range: Range<u32>,
        kept: &GroupSet,
    ) -> Result<Selection> {
        let range = range.start..range.end.min(segment.slots());
        let is_sparse = matches!(segment.image(), Image::Column(image) if image.rows() < image.slots());
        let is_whole = !is_sparse && !self.has_own_writes && segment.has_no_marks();
        if is_whole && kept.has_all(&range) {
            return Ok(Selection::Range(range));
        }
        let mut words = if is_whole {
            full_words(range.len())
        } else {
            segment.visible(range.clone()).map_err(engine_error)?
        };
        if is_sparse
            && let Some(block) = self.block(segment)?
            && let Some(presence) = block.presence()
        {
            let present =
                presence.words().iter().skip(range.start as usize / 64).chain(std::iter::repeat(&0));
            words.iter_mut().zip(present).for_each(|(word, present)| *word &= present);
        }
        if self.has_own_writes {
            self.clear_own_marked(segment, &range, &mut words);
        }
        kept.clear_dropped(&range, &mut words);
        let count: usize = words.iter().map(|word| word.count_ones() as usize).sum();
        if count == range.len() {
            return Ok(Selection::Range(range));
        }
        Ok(Selection::Slots(set_bits(&words, range.start, count)))
    }

    fn clear_own_marked(&self, segment: &SegmentView, range: &Range<u32>, words: &mut [u64]) {
        let first = segment.segment().first_row();
        let rows = first.offset(u64::from(range.start))..first.offset(u64::from(range.end));
        for row in self.table.own_marked(rows) {
            let place = u32::from(row.slot()).saturating_sub(range.start);
            if let Some(word) = words.get_mut(place as usize / 64) {
                *word &= !(1 << (place % 64));
            }
        }
    }

    /// The values of columns, given by their places in the provider's schema, for the selected rows.
    pub(crate) fn read(
        &self,
        place: Place<'_>,
        columns: &[usize],
        selection: &Selection,
    ) -> Result<Vec<ArrayRef>> {
        match place {
            Place::Segment(segment) => self.read_segment(segment, columns, selection),
            Place::Own(rows) => self.read_own(rows, columns, selection),
        }
    }

    fn read_segment(
        &self,
        segment: &SegmentView,
        columns: &[usize],
        selection: &Selection,
    ) -> Result<Vec<ArrayRef>> {
        let sources = columns.iter().map(|column| self.source_of(*column)).collect::<Result<Vec<_>>>()?;
        let stored: Vec<ColumnId> = sources
            .iter()
            .filter_map(|source| match source {
                ColumnSource::Stored(id) => Some(*id),
                ColumnSource::RowId => None,
            })
            .collect();
        let mut arrays = segment.read(self.stored(), &stored, selection).map_err(engine_error)?.into_iter();
        let arrays = sources.iter().map(|source| match source {
            ColumnSource::Stored(_) => arrays
                .next()
                .ok_or_else(|| DataFusionError::Internal("a segment gave too few columns".into())),
            ColumnSource::RowId => Ok(row_ids(segment.segment().first_row(), selection)),
        });
        arrays.collect()
    }

    fn read_own(&self, rows: &[OwnRow], columns: &[usize], selection: &Selection) -> Result<Vec<ArrayRef>> {
        let selected = select(rows, selection);
        let views = selected.iter().map(|(_, bytes)| RowView::new(bytes, self.stored()));
        let views = views.collect::<Result<Vec<_>, _>>().map_err(engine_error)?;
        let read = |column: &usize| -> Result<ArrayRef> {
            match self.source_of(*column)? {
                ColumnSource::RowId => {
                    Ok(Arc::new(UInt64Array::from_iter_values(selected.iter().map(|(row, _)| row.get()))))
                }
                ColumnSource::Stored(id) => {
                    let stored = self.stored().column(id).ok_or_else(|| no_column(*column))?;
                    let mut builder = ColumnBuilder::new(&stored.column_type, views.len());
                    builder.push_rows(&views, id).map_err(engine_error)?;
                    Ok(builder.finish())
                }
            }
        };
        columns.iter().map(read).collect()
    }

    fn source_of(&self, column: usize) -> Result<ColumnSource> {
        self.columns.get(column).copied().ok_or_else(|| no_column(column))
    }

    /// Whether the zone map of a whole frozen segment lets rows through.
    pub(crate) fn keeps_segment(&self, block: &ColumnBlock, pruner: &Pruner) -> Result<bool> {
        let rows = u64::from(block.rows());
        let mut zones = Zones::new([rows]);
        for place in pruner.columns() {
            let Some(column) = self.column(*place) else { continue };
            let Some(meta) = block.column(column.id) else { continue };
            let group = (&meta.bounds.min, &meta.bounds.max, Some(u64::from(meta.null_count)));
            zones.insert(self.schema.field(*place).name(), ZoneColumn::new(&column.column_type, [group])?);
        }
        Ok(pruner.keep(&zones)?.first().copied().unwrap_or(true))
    }

    /// Which groups of a dense frozen segment the zone maps let rows through of.
    pub(crate) fn kept_groups(&self, block: &ColumnBlock, pruner: &Pruner) -> Result<Vec<bool>> {
        let count = block.groups();
        let last = u64::from(block.rows()) - (count.saturating_sub(1) as u64) * u64::from(GROUP_ROWS);
        let rows = (0..count).map(|group| if group + 1 == count { last } else { u64::from(GROUP_ROWS) });
        let mut zones = Zones::new(rows);
        for place in pruner.columns() {
            let Some(column) = self.column(*place) else { continue };
            let Some(known) = block.zones(column.id).map_err(engine_error)? else { continue };
            let known = known.as_slice();
            if known.len() != count {
                continue;
            }
            let groups = known
                .iter()
                .map(|zone| (&zone.bounds.min, &zone.bounds.max, Some(u64::from(zone.null_count))));
            zones.insert(self.schema.field(*place).name(), ZoneColumn::new(&column.column_type, groups)?);
        }
        pruner.keep(&zones)
    }

    /// About how many bytes a value of a column takes in Arrow.
    pub(crate) fn value_bytes(&self, place: usize) -> usize {
        match self.schema.field(place).data_type() {
            DataType::Boolean => 1,
            DataType::FixedSizeBinary(bytes) => usize::try_from(*bytes).unwrap_or(16),
            // A view, and the bytes of longer ones.
            DataType::Utf8View | DataType::BinaryView => 32,
            DataType::List(_) => 64,
            other => other.primitive_width().unwrap_or(16),
        }
    }
}

fn no_column(place: usize) -> DataFusionError {
    DataFusionError::Internal(format!("the table has no column {place}"))
}

/// The rows of a selection of places.
fn select<'a>(rows: &'a [OwnRow], selection: &Selection) -> Vec<&'a OwnRow> {
    match selection {
        Selection::Range(range) => {
            rows.get(range.start as usize..range.end as usize).unwrap_or_default().iter().collect()
        }
        Selection::Slots(places) => places.iter().filter_map(|place| rows.get(*place as usize)).collect(),
    }
}

fn row_ids(first: RowId, selection: &Selection) -> ArrayRef {
    let row = |slot: u32| first.offset(u64::from(slot)).get();
    Arc::new(match selection {
        Selection::Range(range) => UInt64Array::from_iter_values(range.clone().map(row)),
        Selection::Slots(slots) => UInt64Array::from_iter_values(slots.iter().copied().map(row)),
    })
}

/// The groups of a segment that are to be read.
#[derive(Clone, Debug, Default)]
pub(crate) struct GroupSet {
    /// `None`: all of them.
    kept: Option<Vec<bool>>,
}

impl GroupSet {
    /// Drops what is not kept here either.
    pub(crate) fn intersect(&mut self, kept: Vec<bool>) {
        match &mut self.kept {
            None => self.kept = Some(kept),
            Some(before) => before.iter_mut().zip(kept).for_each(|(before, kept)| *before &= kept),
        }
    }

    fn keeps(&self, group: u32) -> bool {
        self.kept.as_ref().is_none_or(|kept| kept.get(group as usize).copied().unwrap_or(true))
    }

    /// Rows of a range whose groups are dropped.
    pub(crate) fn dropped_rows(&self, range: &Range<u32>) -> usize {
        if self.kept.is_none() {
            return 0;
        }
        let groups = range.start / GROUP_ROWS..range.end.div_ceil(GROUP_ROWS);
        let rows = |group: u32| (range.end.min((group + 1) * GROUP_ROWS) - group * GROUP_ROWS) as usize;
        groups.filter(|group| !self.keeps(*group)).map(rows).sum()
    }

    fn has_all(&self, range: &Range<u32>) -> bool {
        self.kept.is_none() || self.dropped_rows(range) == 0
    }

    fn clear_dropped(&self, range: &Range<u32>, words: &mut [u64]) {
        if self.kept.is_none() {
            return;
        }
        for (place, word) in words.iter_mut().enumerate() {
            if !self.keeps(range.start / GROUP_ROWS + place as u32 / (GROUP_ROWS / 64)) {
                *word = 0;
            }
        }
    }
}

/// Words with the first `count` bits set.
fn full_words(count: usize) -> Vec<u64> {
    let mut words = vec![u64::MAX; count.div_ceil(64)];
    if let Some(last) = words.last_mut()
        && !count.is_multiple_of(64)
    {
        *last = (1 << (count % 64)) - 1;
    }
    words
}

/// The places of the set bits, the first one counting as `start`.
fn set_bits(words: &[u64], start: u32, count: usize) -> Vec<u32> {
    let mut bits = Vec::with_capacity(count);
    for (place, word) in words.iter().enumerate() {
        let mut rest = *word;
        while rest != 0 {
            bits.push(start + place as u32 * 64 + rest.trailing_zeros());
            rest &= rest - 1;
        }
    }
    bits
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dropped_groups_are_cleared_and_counted() {
        let mut kept = GroupSet::default();
        assert!(kept.has_all(&(0..65_536)));
        let mut flags = vec![true; 10];
        flags[8] = false;
        kept.intersect(flags);
        kept.intersect(vec![true, true, true, true, true, true, true, true, true, false]);
        let range = 8192..9500;
        assert!(kept.has_all(&(0..8192)) && !kept.has_all(&range));
        assert_eq!(kept.dropped_rows(&range), 1308);
        let mut words = full_words(range.len());
        kept.clear_dropped(&range, &mut words);
        assert!(words.iter().all(|word| *word == 0));
        assert_eq!(kept.dropped_rows(&(8192..10_300)), 2048);
    }

    #[test]
    fn set_bits_are_slots() {
        let words = full_words(70);
        assert_eq!(set_bits(&words, 64, 70), (64..134).collect::<Vec<_>>());
    }
}
