//! Changes the form of a segment: freezes its rows into columns, leaves out what nobody can see, drops it whole.
//!
//! RowIds stay: a row keeps its slot, and slots without a row are holes in the new image's presence. The marks stay with
//! the segment, also those of rows that are left out, so a reader of any image finds its rows' marks (TRAPS "Resurrection
//! by rewrite"). Commits go on meanwhile and may mark any row.
//!
//! Rows that were just written are likely to be read again. While there is memory to spare, freezing a segment keeps its rows
//! also as strips ([`ColumnBlock::keep_strip`]): else the first lookups after it would be much slower than those before.

use std::sync::Arc;

use arrow_array::ArrayRef;

use super::checkpoint::Install;
use super::column::{
    self, ColumnBlock, EncodeOptions, Origin, STRIP_ROWS, Selection, StripBuilder, encode_block,
};
use super::garbage::Horizon;
use super::hot::HotImage;
use super::segment::{ColumnImage, Image, SegmentEntry};
use super::view::{pin_pages, read_hot_into};
use super::{Heap, HeapEnv};
use crate::block::{BlockKind, ReleaseBlock};
use crate::cache::Access;
use crate::error::Result;
use crate::ids::{BlockId, ColumnId, SegmentId};
use crate::manifest::{Edit, SegmentImage};
use crate::row::{Column, ColumnBuilder, ColumnReader, ColumnType, RowView, Schema};

/// A change of one segment's form: blocks are written, not synced.
pub struct SegmentChange {
    /// For the manifest, all in one group.
    pub edits: Vec<Edit>,
    /// The new image: to be freed if the edits do not come to be.
    pub written: Option<BlockId>,
    /// For when they are durable.
    pub install: Install,
}

/// What a planner of maintenance needs to know of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentStatus {
    /// The segment.
    pub segment: SegmentId,
    /// Whether no more rows will come.
    pub sealed: bool,
    /// Whether its rows stand in a column block.
    pub frozen: bool,
    /// Slots that have or had a row.
    pub slots: u32,
    /// Rows that the image has.
    pub rows: u32,
    /// Rows of the image that nobody can see.
    pub garbage: u32,
    /// Rows that are live now.
    pub live: u32,
    /// Bytes of the image.
    pub bytes: u64,
}

/// Rows that are read at once.
const BATCH: usize = 8_192;
/// Rows stay in memory beside their new image, so many strips of them at a time, while memory is to spare.
const KEPT_AT_ONCE: usize = 64;

impl Heap {
    /// The state of each segment, for a planner. Reads nothing from disk.
    pub fn segment_statuses(&self, horizon: &Horizon) -> Vec<SegmentStatus> {
        let probe = self.garbage(horizon);
        let open = self.next_row().segment();
        let status = |entry: Arc<SegmentEntry>| {
            let (frozen, slots) = (entry.is_frozen(), entry.slots());
            let (rows, bytes) = match &entry.image {
                Image::Hot(hot) => (slots, hot.bytes()),
                Image::Column(column) => (column.rows(), column.handle().id().len_bytes()),
            };
            let reclaimed = slots - rows;
            let garbage = probe.count(&entry).saturating_sub(reclaimed);
            let live = slots.saturating_sub(entry.marks.dead());
            let (segment, sealed) = (entry.id, entry.id < open);
            SegmentStatus { segment, sealed, frozen, slots, rows, garbage, live, bytes }
        };
        self.directory.iter().map(status).collect()
    }

    /// Encodes a sealed segment, hot or frozen, into a new column block without the rows that nobody can see. `schema`
    /// is the newest one of the table. `None` where the segment is not there, not sealed, all garbage (see
    /// [`drop_garbage`](Self::drop_garbage)), or a load that the manifest does not have yet: its blocks are the journal's.
    ///
    /// # Errors
    /// Those of the block store, `OutOfMemory`, `Corrupt`. Nothing has been done then.
    pub fn freeze(
        self: &Arc<Self>,
        segment: SegmentId,
        schema: &Schema,
        horizon: &Horizon,
    ) -> Result<Option<SegmentChange>> {
        let Some(entry) = self.sealed_entry(segment)? else { return Ok(None) };
        if entry.is_frozen() && !self.durable.lock().segments.get(&segment).is_some_and(|known| known.named) {
            return Ok(None);
        }
        let present = self.present(&entry, horizon)?;
        let rows: u32 = present.iter().map(|word| word.count_ones()).sum();
        if rows == 0 {
            return Ok(None);
        }
        let bytes = match &entry.image {
            Image::Hot(hot) => 4 * hot.bytes(),
            Image::Column(column) => 4 * column.handle().id().len_bytes(),
        };
        let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
        let memory = self.env.pool.reserve("freezing a segment", bytes)?;
        let slots = entry.slots();
        let columns = read_columns(&self.env, &entry, schema, &present)?;
        let origin = Origin::Rows(segment.first_row());
        let options = EncodeOptions { schema_version: schema.version, origin, ..EncodeOptions::default() };
        let presence = (rows < slots).then_some(&present[..]);
        let payload = encode_block(&columns, presence, slots, &options)?;
        drop(columns);
        let block = self.env.cache.store().write(BlockKind::ColumnBlock, column::FORMAT, &payload)?;
        drop((payload, memory));
        let image = ColumnImage::new(self.env.clone(), self.handle(block), slots, rows);
        if let Image::Hot(hot) = &entry.image {
            // Better now than once the manifest names it: a block that cannot be opened.
            let kept = keep_rows(&self.env, hot, schema, &present, &image);
            kept.inspect_err(|_| self.env.cache.release(block))?;
        }
        let edits = vec![Edit::PutSegment {
            heap: self.id,
            segment,
            image: SegmentImage::Column { block, slots, rows },
        }];
        let heap = Arc::clone(self);
        let install = Install::new(move || {
            let marks = Arc::clone(&entry.marks);
            let image = Image::Column(Arc::new(image));
            heap.directory.swap(segment, Some(Arc::new(SegmentEntry { id: segment, image, marks })));
            heap.durable.lock().segments.entry(segment).or_default().named = true;
            heap.retire_entry(entry);
        });
        Ok(Some(SegmentChange { edits, written: Some(block), install }))
    }

    /// Drops a sealed segment that nobody can see a row of. `None` where that is not so, or where the manifest does not
    /// have all of its rows yet.
    ///
    /// # Errors
    /// Those of the block store where the marks must be read.
    pub fn drop_garbage(
        self: &Arc<Self>,
        segment: SegmentId,
        horizon: &Horizon,
    ) -> Result<Option<SegmentChange>> {
        let Some(entry) = self.sealed_entry(segment)? else { return Ok(None) };
        let all_garbage = self.present(&entry, horizon)?.iter().all(|word| *word == 0);
        let durable = self.durable.lock();
        let known = durable.segments.get(&segment).copied().unwrap_or_default();
        if !all_garbage || known.slots != entry.slots() {
            return Ok(None);
        }
        // What the segment adds to the durable count goes with it: replay skips the marks that would take it off.
        let (_, dead) = entry.marks.stored();
        let row_end = durable.row_end;
        let live_rows = durable.live_rows.saturating_sub(u64::from(known.slots - dead.min(known.slots)));
        drop(durable);
        let edits = vec![
            Edit::PutSegment { heap: self.id, segment, image: SegmentImage::Dropped },
            Edit::PutHeap { heap: self.id, row_end, live_rows },
        ];
        let heap = Arc::clone(self);
        let install = Install::new(move || {
            if entry.marks.has_groups() {
                heap.passages.lock().insert(segment, Arc::clone(&entry.marks));
            }
            heap.directory.swap(segment, None);
            let mut durable = heap.durable.lock();
            durable.segments.remove(&segment);
            durable.live_rows = live_rows;
            drop(durable);
            if let Some(block) = entry.marks.set_stored(None, 0) {
                block.mark_obsolete();
            }
            heap.retire_entry(entry);
        });
        Ok(Some(SegmentChange { edits, written: None, install }))
    }

    /// The segment, its marks loaded, if no more rows will come to it.
    fn sealed_entry(&self, segment: SegmentId) -> Result<Option<Arc<SegmentEntry>>> {
        if segment >= self.next_row().segment() {
            return Ok(None);
        }
        self.register_sealed();
        let Some(entry) = self.directory.get(segment) else { return Ok(None) };
        entry.marks.load(&self.env)?;
        Ok(Some(entry))
    }

    /// A bit for each slot whose row the image has and somebody may see.
    fn present(&self, entry: &SegmentEntry, horizon: &Horizon) -> Result<Vec<u64>> {
        let garbage = self.garbage(horizon).words(entry);
        let mut present: Vec<u64> = garbage.iter().map(|word| !word).collect();
        let slots = entry.slots();
        for (index, word) in present.iter_mut().enumerate() {
            let below = slots.saturating_sub(index as u32 * 64);
            *word &= if below >= 64 { u64::MAX } else { (1 << below) - 1 };
        }
        if let Image::Column(column) = &entry.image
            && let Some(presence) = column.open()?.presence()
        {
            for (word, has) in present.iter_mut().zip(presence.words()) {
                *word &= has;
            }
        }
        Ok(present)
    }
}

/// The values of the live columns for the rows of a bitmap, whole.
fn read_columns(
    env: &HeapEnv,
    entry: &SegmentEntry,
    schema: &Schema,
    present: &[u64],
) -> Result<Vec<(ColumnId, ColumnType, ArrayRef)>> {
    let slots: Vec<u32> = super::marks::set_slots(present).map(u32::from).collect();
    let columns: Vec<&Column> = schema.live().collect();
    let mut builders: Vec<ColumnBuilder> =
        columns.iter().map(|column| ColumnBuilder::new(&column.column_type, slots.len())).collect();
    let block = match &entry.image {
        Image::Hot(_) => None,
        Image::Column(column) => Some(column.open()?),
    };
    for batch in slots.chunks(BATCH) {
        let selection = Selection::Slots(batch.to_vec());
        match (&entry.image, &block) {
            (Image::Hot(hot), _) => {
                read_hot_into(env, hot, schema, &columns, &selection, Access::Scan, &mut builders)?;
            }
            (_, Some(block)) => read_block_into(block, &columns, &selection, &mut builders)?,
            (Image::Column(_), None) => unreachable!("opened above"),
        }
    }
    let finish = |(column, mut builder): (&Column, ColumnBuilder)| {
        (column.id, column.column_type.clone(), builder.finish())
    };
    Ok(columns.into_iter().zip(builders).map(finish).collect())
}

/// Keeps the rows of a bitmap, which an image was made of, as its strips, while memory is to spare.
fn keep_rows(
    env: &HeapEnv,
    hot: &HotImage,
    schema: &Schema,
    present: &[u64],
    image: &ColumnImage,
) -> Result<()> {
    // The block has no dropped columns, whose values the rows may have.
    if schema.columns.iter().any(|column| column.dropped) {
        return Ok(());
    }
    let block = image.open()?;
    if !block.has_strips() {
        return Ok(());
    }
    let slots: Vec<u32> = super::marks::set_slots(present).map(u32::from).collect();
    let mut strip = StripBuilder::default();
    for (batch, slots) in (0_u32..).zip(slots.chunks(KEPT_AT_ONCE * STRIP_ROWS as usize)) {
        if !env.pool.is_to_spare() {
            return Ok(());
        }
        let pages = pin_pages(env, hot, &Selection::Slots(slots.to_vec()), Access::Scan)?;
        let mut rows = pages.iter().flat_map(|(page, indexes)| indexes.iter().map(|index| page.row(*index)));
        for number in batch * KEPT_AT_ONCE as u32.. {
            // Rows of older schema versions lack columns: a strip with one is made when it is asked for.
            let mut is_whole = true;
            for row in rows.by_ref().take(STRIP_ROWS as usize) {
                let row = RowView::new(row.unwrap_or_default(), schema)?;
                is_whole &= row.column_count() == schema.columns.len();
                strip.push(|bytes| {
                    bytes.extend_from_slice(row.bytes());
                    Ok(())
                })?;
            }
            if strip.is_empty() {
                break;
            }
            if is_whole {
                block.keep_strip(number, &strip);
            }
            strip.clear();
        }
    }
    Ok(())
}

fn read_block_into(
    block: &ColumnBlock,
    columns: &[&Column],
    selection: &Selection,
    builders: &mut [ColumnBuilder],
) -> Result<()> {
    for (column, builder) in columns.iter().zip(builders) {
        let array = block.read(column, selection, Access::Scan)?;
        let reader = ColumnReader::new(&array, &column.column_type)?;
        for index in 0..array.len() {
            builder.push(&reader.value(index)?)?;
        }
    }
    Ok(())
}
