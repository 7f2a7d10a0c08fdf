//! Strips: stretches of rows put side by side in memory, for lookups that come again.
//!
//! A lookup of a whole row visits a page of each column, and often a dictionary. A block whose rows are looked up again
//! and again is better read as rows. So the lookup after [`LOOKUPS`] others into a stretch of [`STRIP_ROWS`] rows puts that stretch
//! into the row codec, as another page of the cache, charged and evicted like any other; the next ones read it there. A strip that
//! was evicted has to be asked for as often again.
//!
//! Making a strip costs about what four lookups save by it. So lookups all over a table that is larger than the cache, in which
//! no strip lasts, cost at most twice what they would without strips (the ski-rental bound), and a walk over all rows makes none.
//! Rows that were hot stand in the row codec already: freezing them keeps them as strips while memory is free
//! ([`ColumnBlock::keep_strip`]).
//!
//! A strip has the block's own columns, whatever schema its readers have: those may be of an ALTER that is rolled back.

use std::ops::Range;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, OnceLock, Weak};

use arrow_array::{ArrayRef, new_null_array};

use super::arrays::Reader;
use super::block::ColumnBlock;
use super::position::Positions;
use super::strip_columns::StripColumns;
use crate::cache::{Access, PageMemo};
use crate::error::Result;
use crate::memory::{MemoryPool, Reservation};
use crate::prefetch::{LINE_BYTES, prefetch};
use crate::row::{Column, ColumnReader, Datum, DatumRef, RowView, Schema, arrow_type, encode_row_with};

/// Rows of a strip.
pub(in crate::heap) const STRIP_ROWS: u32 = 32;
/// Strips of wider rows than this cost more than they bring.
const STRIP_BYTES_MAX: usize = 32 << 10;
/// The most that a row may take in the block, on average.
const ROW_BYTES_MAX: u64 = (STRIP_BYTES_MAX / STRIP_ROWS as usize) as u64;

/// Lookups that the columns serve before a strip is made.
pub(super) const LOOKUPS: u8 = 4;
/// In place of a count: there is a strip, unless it was evicted.
const MADE: u8 = u8::MAX;

const CONSUMER: &str = "places of strips";

/// What a block knows of its strips.
pub(super) struct Strips {
    /// How often each was looked into, up to [`LOOKUPS`], or [`MADE`].
    lookups: Box<[AtomicU8]>,
    /// Where each was last found; from when the first was made while memory was to spare.
    memos: OnceLock<Arc<Memos>>,
    /// The block's columns.
    columns: OnceLock<Arc<StripColumns>>,
}

struct Memos {
    of_strips: Box<[PageMemo<StripBytes>]>,
    _memory: Reservation,
}

impl Strips {
    /// For a block of so many rows, whose pages take so many bytes.
    pub fn new(rows: u32, pages_bytes: u32) -> Self {
        let is_wide = u64::from(pages_bytes) > u64::from(rows) * ROW_BYTES_MAX;
        let strips = if is_wide { 0 } else { rows.div_ceil(STRIP_ROWS) };
        let lookups = (0..strips).map(|_| AtomicU8::new(0)).collect();
        Self { lookups, memos: OnceLock::new(), columns: OnceLock::new() }
    }

    /// Whether its rows are too wide for any.
    pub fn is_empty(&self) -> bool {
        self.lookups.is_empty()
    }

    /// Without the memos, which are charged by themselves.
    pub fn bytes_in_memory(&self) -> usize {
        size_of_val(&*self.lookups)
    }

    /// Where a strip is remembered, if its block remembers any.
    fn memo(&self, number: u32) -> Option<&PageMemo<StripBytes>> {
        self.memos.get()?.of_strips.get(number as usize)
    }

    /// Whether a strip tells these memos when it goes. One of an earlier opening of the block does not.
    fn are_told_by(&self, strip: &Strip) -> bool {
        self.memos.get().is_some_and(|memos| strip.memos.as_ptr() == Arc::as_ptr(memos))
    }

    /// For a strip that is being made. A block remembers where its strips are if memory is to spare when it gets the first.
    fn memos(&self, pool: &MemoryPool) -> Weak<Memos> {
        if self.memos.get().is_none()
            && pool.is_to_spare()
            && let Some(memory) =
                pool.try_reserve(CONSUMER, self.lookups.len() * size_of::<PageMemo<StripBytes>>())
        {
            let of_strips = self.lookups.iter().map(|_| PageMemo::default()).collect();
            // Where another thread was first, its memos stay.
            let _ = self.memos.set(Arc::new(Memos { of_strips, _memory: memory }));
        }
        self.memos.get().map_or_else(Weak::new, Arc::downgrade)
    }

    /// How many are remembered, evicted ones too where their frames are kept.
    #[cfg(test)]
    pub fn remembered(&self) -> usize {
        let memos = self.memos.get();
        memos.map_or(0, |memos| memos.of_strips.iter().filter(|memo| memo.keeps_frame()).count())
    }
}

/// Where each row ends after [`ENDS_BYTES`], two bytes each, then rows in the row codec; no rows where they are too wide. They
/// stand together, beside the count of references, so that a lookup waits for one place in memory rather than three.
type StripBytes = [u8];

const END_BYTES: usize = size_of::<u16>();
const ENDS_BYTES: usize = STRIP_ROWS as usize * END_BYTES;

/// A strip in the cache. It is evicted and no longer charged while who has found a row in it may still hold its bytes.
#[derive(Debug)]
pub(super) struct Strip {
    bytes: Arc<StripBytes>,
    /// Those that may remember it.
    memos: Weak<Memos>,
    number: u32,
}

impl Drop for Strip {
    /// It was evicted: what remembers it lets go of its bytes.
    fn drop(&mut self) {
        let memos = self.memos.upgrade();
        if let Some(memo) = memos.as_ref().and_then(|memos| memos.of_strips.get(self.number as usize)) {
            memo.forget(&self.bytes);
        }
    }
}

impl Strip {
    fn size_bytes(&self) -> usize {
        size_of::<Self>() + self.bytes.len()
    }
}

/// Where a row is in a strip; `None` where it is not.
fn place_of(bytes: &StripBytes, index: usize) -> Option<Range<usize>> {
    let ends = bytes.get(..ENDS_BYTES)?.as_chunks::<END_BYTES>().0;
    let end = |index: usize| ends.get(index).map(|end| ENDS_BYTES + usize::from(u16::from_le_bytes(*end)));
    let start = index.checked_sub(1).map_or(Some(ENDS_BYTES), end)?;
    let place = start..end(index)?;
    (!place.is_empty() && place.end <= bytes.len()).then_some(place)
}

/// A strip on its way.
#[derive(Default)]
pub(in crate::heap) struct StripBuilder {
    /// The rows.
    bytes: Vec<u8>,
    ends: Vec<u8>,
    is_wide: bool,
}

impl StripBuilder {
    /// Adds the row that `write` appends to the bytes.
    pub fn push(&mut self, write: impl FnOnce(&mut Vec<u8>) -> Result<()>) -> Result<()> {
        if self.is_wide {
            return Ok(());
        }
        write(&mut self.bytes)?;
        match u16::try_from(self.bytes.len()) {
            Ok(end) if usize::from(end) <= STRIP_BYTES_MAX => self.ends.extend(end.to_le_bytes()),
            _ => self.is_wide = true,
        }
        Ok(())
    }

    /// Whether it has no rows.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty() && !self.is_wide
    }

    fn finish(&self, memos: Weak<Memos>, number: u32) -> Strip {
        let (ends, rows) = if self.is_wide { Default::default() } else { (&*self.ends, &*self.bytes) };
        let mut bytes = Vec::with_capacity(ENDS_BYTES + rows.len());
        bytes.extend_from_slice(ends);
        bytes.resize(ENDS_BYTES, 0);
        bytes.extend_from_slice(rows);
        Strip { bytes: bytes.into(), memos, number }
    }

    /// Forgets the rows.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
        self.is_wide = false;
    }
}

/// A row in a strip.
pub(in crate::heap) struct StripRow {
    strip: Arc<StripBytes>,
    place: Range<usize>,
}

impl StripRow {
    /// The values of all columns of a reader's schema, NULL for those that were dropped. The block is that of the strip.
    ///
    /// # Errors
    /// `Invalid` where a column has another type in the block.
    pub fn datums(&self, block: &ColumnBlock, schema: &Schema) -> Result<Vec<Datum>> {
        let row = self.view(block)?;
        let mut values = Vec::with_capacity(schema.columns.len());
        for column in schema.columns.iter() {
            values.push(datum(block, &row, column)?);
        }
        Ok(values)
    }

    /// The value of one column. Errors as [`datums`](Self::datums).
    pub fn datum(&self, block: &ColumnBlock, column: &Column) -> Result<Datum> {
        datum(block, &self.view(block)?, column)
    }

    fn view<'a>(&'a self, block: &'a ColumnBlock) -> Result<RowView<'a>> {
        RowView::new(self.strip.get(self.place.clone()).unwrap_or_default(), block.strip_columns().schema())
    }
}

fn datum(block: &ColumnBlock, row: &RowView<'_>, column: &Column) -> Result<Datum> {
    if column.dropped {
        return Ok(Datum::Null);
    }
    if let Some(place) = block.strip_columns().place_of(column) {
        return row.datum(place);
    }
    // The block has it as another type, which is an error, or not at all.
    block.column_of(column)?;
    Ok(column.missing.clone())
}

impl ColumnBlock {
    /// A slot's row in its strip; `None` where there is none, so that the columns have to be asked.
    pub(in crate::heap) fn strip_row(&self, slot: u16) -> Option<StripRow> {
        let slot = u32::from(slot);
        let position = self.presence().map_or(slot, |presence| presence.rank(slot));
        if !self.contains(slot) {
            return None;
        }
        let strip = self.strip(position / STRIP_ROWS, position % STRIP_ROWS)?;
        let place = place_of(&strip, (position % STRIP_ROWS) as usize)?;
        Some(StripRow { strip, place })
    }

    /// Whether lookups that come again may find rows in strips.
    pub(in crate::heap) fn has_strips(&self) -> bool {
        !self.strips().is_empty()
    }

    /// Takes over a strip of rows that were hot: all values that the block has of them, in the row codec with its columns.
    /// It enters the cache cold, and nothing happens where it finds no room.
    pub(in crate::heap) fn keep_strip(&self, number: u32, rows: &StripBuilder) {
        let Some(lookups) = self.strips().lookups.get(number as usize) else { return };
        if self.load_strip(number, Access::Scan, |memos| Ok(rows.finish(memos, number))).is_ok() {
            lookups.store(MADE, Ordering::Relaxed);
        }
    }

    /// A strip in which a row is looked for, if there is one or it is time to make it. Counts only steer, so races between
    /// lookups do no harm.
    fn strip(&self, number: u32, index: u32) -> Option<Arc<StripBytes>> {
        let strips = self.strips();
        let memo = strips.memo(number);
        // Where the row is if all are of one length: it comes while the count of references is waited for.
        let ask_for_row = |bytes: *const StripBytes| {
            let row_bytes = bytes.len().saturating_sub(ENDS_BYTES) / STRIP_ROWS as usize;
            let row = bytes.cast::<u8>().wrapping_add(ENDS_BYTES + index as usize * row_bytes);
            prefetch(row);
            prefetch(row.wrapping_add(LINE_BYTES));
        };
        if let Some(strip) = memo.and_then(|memo| self.cache().remembered_with(memo, ask_for_row)) {
            return Some(strip);
        }
        let lookups = strips.lookups.get(number as usize)?;
        match lookups.load(Ordering::Relaxed) {
            MADE => {
                let Some(strip) = self.cache().get::<Strip>(self.strip_key(number), Access::Point) else {
                    lookups.store(1, Ordering::Relaxed);
                    return None;
                };
                if let Some(memo) = memo
                    && strips.are_told_by(&strip)
                {
                    // The strip is held meanwhile: it is told when it goes.
                    self.cache().remember(memo, &strip.bytes);
                }
                Some(Arc::clone(&strip.bytes))
            }
            count if count < LOOKUPS => {
                lookups.store(count + 1, Ordering::Relaxed);
                None
            }
            _ => {
                lookups.store(MADE, Ordering::Relaxed);
                // Whatever damage there is, the columns tell who reads them.
                let strip = self.load_strip(number, Access::Point, |memos| self.build_strip(number, memos));
                if let Some(memo) = strips.memo(number) {
                    self.cache().note_entry(memo);
                }
                strip.ok().map(|strip| Arc::clone(&strip.bytes))
            }
        }
    }

    /// A strip out of the page cache, where it has a place behind all pages of the block.
    fn load_strip(
        &self,
        number: u32,
        access: Access,
        make: impl FnOnce(Weak<Memos>) -> Result<Strip>,
    ) -> Result<Arc<Strip>> {
        self.cache().get_or_load(self.strip_key(number), access, || {
            let strip = make(self.strips().memos(self.cache().pool()))?;
            let bytes = strip.size_bytes();
            Ok((strip, bytes))
        })
    }

    fn build_strip(&self, number: u32, memos: Weak<Memos>) -> Result<Strip> {
        let (start, end) = (number * STRIP_ROWS, self.rows().min((number + 1) * STRIP_ROWS));
        let count = end.saturating_sub(start) as usize;
        let arrays = self.columns().iter().map(|meta| match meta.null_count == self.rows() {
            true => Ok(new_null_array(&arrow_type(&meta.column_type), count)),
            false => {
                let positions = Positions::Range(start, end);
                Reader { block: self, meta, positions, access: Access::Point }.array()
            }
        });
        let arrays: Vec<ArrayRef> = arrays.collect::<Result<_>>()?;
        let readers = arrays.iter().zip(self.columns());
        let readers: Vec<ColumnReader<'_>> = readers
            .map(|(array, meta)| ColumnReader::new(array.as_ref(), &meta.column_type))
            .collect::<Result<_>>()?;
        let mut strip = StripBuilder::default();
        let mut values = Vec::with_capacity(readers.len());
        for row in 0..count {
            values.clear();
            for reader in &readers {
                values.push(reader.value(row)?);
            }
            // It asks for one column after the other.
            let mut values = values.drain(..);
            strip.push(|bytes| {
                encode_row_with(self.strip_columns().schema(), bytes, |_| {
                    values.next().unwrap_or(DatumRef::Null)
                })
            })?;
        }
        Ok(strip.finish(memos, number))
    }

    fn strip_columns(&self) -> &StripColumns {
        self.strips().columns.get_or_init(|| StripColumns::of(self.columns()))
    }
}
