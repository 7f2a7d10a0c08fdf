//! A table as one statement sees it, column by column.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, BooleanArray, UInt64Array};
use datafusion::arrow::buffer::{BooleanBuffer, Buffer};
use datafusion::arrow::datatypes::{DataType, SchemaRef};
use datafusion::error::{DataFusionError, Result};
use datafusion::physical_expr::PhysicalExpr;
use strata_core::heap::column::{ColumnBlock, Selection};
use strata_core::heap::{Image, SegmentView};
use strata_core::ids::{ColumnId, RowId};
use strata_core::row::{Column, ColumnBuilder, RowView, Schema};
use strata_core::table::{TableContents, TableView};

use super::filters::{Conjunct, compile};
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
    /// Of the same moment.
    own_rows: Vec<OwnRow>,
    has_own_writes: bool,
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
        let TableContents { segments, own_rows, has_own_writes } = table.contents().map_err(engine_error)?;
        Ok(Self { table, schema, columns, cancel, segments, own_rows, has_own_writes })
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

    /// Conditions in terms of the provider's schema, made ready to be evaluated.
    pub(crate) fn compile(&self, conditions: &[Arc<dyn PhysicalExpr>]) -> Result<Vec<Conjunct>> {
        compile(conditions, &self.schema, |place| self.column(place).map(|column| &column.column_type))
    }

    /// Whether the statement's own transaction has written to the table.
    pub(crate) fn has_own_writes(&self) -> bool {
        self.has_own_writes
    }

    /// The rows of the transaction's own that the statement sees and that no segment has.
    pub(crate) fn own_rows(&self) -> &[OwnRow] {
        &self.own_rows
    }

    /// The segment's column block, if it is frozen.
    pub(crate) fn block(&self, segment: &SegmentView) -> Result<Option<Arc<ColumnBlock>>> {
        match segment.image() {
            Image::Column(image) => image.open().map(Some).map_err(engine_error),
            Image::Hot(_) => Ok(None),
        }
    }

    /// The slots of a range, which starts at a multiple of 64, that the statement sees.
    pub(crate) fn live(&self, segment: &SegmentView, range: Range<u32>) -> Result<Live> {
        let range = range.start..range.end.min(segment.slots());
        let is_sparse = matches!(segment.image(), Image::Column(image) if image.rows() < image.slots());
        if !is_sparse && !self.has_own_writes && segment.has_no_marks() {
            return Ok(Live { selection: Selection::Range(range), mask: None });
        }
        let mut words = segment.visible(range.clone()).map_err(engine_error)?;
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
        Ok(Live::new(range, words, !is_sparse))
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
        read_columns(segment, self.stored(), &sources, selection)
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

/// The values of columns for the selected rows of a segment.
pub(super) fn read_columns(
    segment: &SegmentView,
    schema: &Schema,
    sources: &[ColumnSource],
    selection: &Selection,
) -> Result<Vec<ArrayRef>> {
    let stored: Vec<ColumnId> = sources
        .iter()
        .filter_map(|source| match source {
            ColumnSource::Stored(id) => Some(*id),
            ColumnSource::RowId => None,
        })
        .collect();
    let mut arrays = segment.read(schema, &stored, selection).map_err(engine_error)?.into_iter();
    let arrays = sources.iter().map(|source| match source {
        ColumnSource::Stored(_) => {
            arrays.next().ok_or_else(|| DataFusionError::Internal("a segment gave too few columns".into()))
        }
        ColumnSource::RowId => Ok(row_ids(segment.segment().first_row(), selection)),
    });
    arrays.collect()
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

    /// The next rows from `start` on, up to `end`, whose groups are kept: at most a chunk.
    pub(crate) fn next_run(&self, start: u32, end: u32) -> Option<Range<u32>> {
        if self.kept.is_none() {
            return (start < end).then(|| start..end.min(start + CHUNK_ROWS));
        }
        let mut group = start / GROUP_ROWS;
        while group * GROUP_ROWS < end && !self.keeps(group) {
            group += 1;
        }
        let first = start.max(group * GROUP_ROWS);
        let mut last = first;
        while last < end && last - first < CHUNK_ROWS && self.keeps(last / GROUP_ROWS) {
            last = (last / GROUP_ROWS + 1) * GROUP_ROWS;
        }
        (first < end).then(|| first..last.min(end))
    }
}

/// Rows of a segment that the statement sees: those of the selection, less those not in the mask.
#[derive(Debug)]
pub(crate) struct Live {
    pub(crate) selection: Selection,
    pub(crate) mask: Option<BooleanArray>,
}

impl Live {
    /// The rows whose bits are set. Where nearly all are, and all can be read, that is cheaper than picking them.
    fn new(range: Range<u32>, words: Vec<u64>, is_dense: bool) -> Self {
        let count: usize = words.iter().map(|word| word.count_ones() as usize).sum();
        if count == range.len() {
            return Self { selection: Selection::Range(range), mask: None };
        }
        if is_dense && count * 2 >= range.len() {
            let mask = Some(to_mask(words, range.len()));
            return Self { selection: Selection::Range(range), mask };
        }
        Self { selection: Selection::Slots(set_bits(&words, range.start, count)), mask: None }
    }
}

/// The first `count` bits of words as an array.
pub(crate) fn to_mask(words: Vec<u64>, count: usize) -> BooleanArray {
    BooleanArray::new(BooleanBuffer::new(Buffer::from_vec(words), 0, count), None)
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
    fn runs_of_kept_groups_are_read_and_the_others_counted() {
        let all = GroupSet::default();
        assert_eq!(all.next_run(8192, 65_536), Some(8192..16_384));
        assert_eq!(all.next_run(8192, 9000), Some(8192..9000));
        assert_eq!(all.next_run(9000, 9000), None);
        let mut kept = GroupSet::default();
        let mut flags = vec![true; 20];
        flags[8] = false;
        kept.intersect(flags);
        kept.intersect((0..20).map(|group| group != 9).collect());
        assert_eq!(kept.next_run(0, 20_000), Some(0..8192));
        assert_eq!(kept.next_run(8192, 20_000), Some(10_240..18_432));
        assert_eq!(kept.next_run(18_432, 20_000), Some(18_432..20_000));
        assert_eq!(kept.next_run(5120, 9500), Some(5120..8192));
        assert_eq!(kept.next_run(8192, 9500), None);
        assert_eq!((kept.dropped_rows(&(0..20_000)), kept.dropped_rows(&(8192..9500))), (2048, 1308));
    }

    #[test]
    fn few_live_rows_are_picked_and_many_are_masked() {
        let few = Live::new(64..192, vec![0b1010, 1 << 63], true);
        assert_eq!((few.selection, few.mask), (Selection::Slots(vec![65, 67, 191]), None));
        let many = Live::new(64..134, vec![u64::MAX - 1, 0b11_1111], true);
        assert_eq!(many.selection, Selection::Range(64..134));
        let mask = many.mask.expect("one row is missing");
        assert_eq!((mask.len(), mask.true_count(), mask.value(0)), (70, 69, false));
        let absent = Live::new(64..134, vec![u64::MAX - 1, 0b11_1111], false);
        assert_eq!(absent.selection, Selection::Slots((65..134).collect()));
        assert_eq!(Live::new(0..3, vec![7], false).selection, Selection::Range(0..3));
    }
}
