//! Encodes a segment as a column block.

use std::sync::atomic::{AtomicUsize, Ordering};

use arrow_array::{Array, ArrayRef};
use arrow_buffer::{Buffer, NullBuffer};

use super::bits::GROUP;
use super::bounds::{Bounds, Extremes};
use super::choose::{self, Encoded};
use super::datum;
use super::dictionary::Dictionary;
use super::directory::{ColumnMeta, Directory, Extent, PageEntry};
use super::encoding::{Encoding, Form};
use super::header::{Header, Origin};
use super::page::{self, PagePlace};
use super::presence::Presence;
use super::scalar::entry;
use super::statistics::{Shape, Statistics, Zone};
use super::values::{self, Values};
use crate::codec::{Damage, Decoded};
use crate::error::{Error, Result};
use crate::ids::{ColumnId, RowId, SLOTS_PER_SEGMENT, SchemaVersion};
use crate::row::{ColumnType, DistinctSketch};

/// Bounds of a column keep this much of a string.
const COLUMN_BOUND_BYTES: usize = 64;
/// Bounds of a group of 1,024 rows keep this much of a string.
const ZONE_BOUND_BYTES: usize = 16;
/// The most that the offsets of a block can name.
const MAX_PAGES_BYTES: u64 = u32::MAX as u64;

/// What the writer is told besides the values.
#[derive(Clone, Copy, Debug)]
pub struct EncodeOptions {
    /// The schema version of the table at the time.
    pub schema_version: SchemaVersion,
    /// Where the rows come from.
    pub origin: Origin,
    /// About how large a page becomes.
    pub page_bytes: usize,
    /// How many columns may be encoded at a time, each on a thread. What becomes of them is the same.
    pub threads: usize,
}

impl Default for EncodeOptions {
    fn default() -> Self {
        Self {
            schema_version: SchemaVersion::new(0),
            origin: Origin::Rows(RowId::ZERO),
            page_bytes: 32 << 10,
            threads: 1,
        }
    }
}

/// Encodes the columns of a segment: the payload of a block of kind `ColumnBlock`, format [`FORMAT`](super::FORMAT).
///
/// The arrays have the columns' Arrow types and one value for each present row, in the order of the slots.
/// `presence` has a bit for each slot; `None` where all `slots` are present.
///
/// # Errors
/// `Invalid` where arrays, types, presence and slots do not fit together or a column comes twice; `TooLarge` above
/// 4 GiB.
pub fn encode_block(
    columns: &[(ColumnId, ColumnType, ArrayRef)],
    presence: Option<&[u64]>,
    slots: u32,
    options: &EncodeOptions,
) -> Result<Vec<u8>> {
    let presence = presence.map(|words| Presence::new(words, slots)).transpose().map_err(invalid)?;
    let rows = presence.as_ref().map_or(slots, Presence::rows);
    if slots > SLOTS_PER_SEGMENT {
        return Err(Error::Invalid(format!("{slots} slots in a segment")));
    }
    let mut ordered: Vec<_> = columns.iter().collect();
    ordered.sort_by_key(|(id, _, _)| *id);
    let twice = ordered.windows(2).any(|pair| matches!(pair, [left, right] if left.0 == right.0));
    if twice || columns.iter().any(|(_, _, array)| array.len() != rows as usize) {
        return Err(Error::Invalid(format!(
            "the columns of a block must be distinct and of {rows} rows each"
        )));
    }
    let mut pages = Pages { bytes: Vec::new() };
    let encode = |(_, column_type, array): &&(ColumnId, ColumnType, ArrayRef)| {
        encode_column(column_type, array, rows, options.page_bytes)
    };
    let metas: Vec<ColumnMeta> = match options.threads.min(ordered.len()) {
        // One by one, for what is encoded of a column need not be kept beside its pages.
        0 | 1 => {
            let metas = ordered.iter().map(|column| pages.place(column, encode(column)?));
            metas.collect::<Result<_>>()?
        }
        threads => {
            let encoded = in_parallel(threads, &ordered, encode);
            ordered
                .iter()
                .zip(encoded)
                .map(|(column, encoded)| pages.place(column, encoded?))
                .collect::<Result<_>>()?
        }
    };
    let is_sparse = presence.is_some();
    let column_count = u32::try_from(metas.len()).map_err(|_| too_large(metas.len()))?;
    let directory = Directory { presence, columns: metas }.encode();
    let header = Header {
        schema_version: options.schema_version,
        origin: options.origin,
        slots,
        rows,
        is_sparse,
        columns: column_count,
        directory_bytes: u32::try_from(directory.len()).map_err(|_| too_large(directory.len()))?,
        pages_bytes: pages.end()?,
        directory_crc: crc32fast::hash(&directory),
    };
    // In front of the pages, rather than all in a third piece: blocks may be large beside memory.
    let mut payload = pages.bytes;
    payload.splice(0..0, header.encode().into_iter().chain(directory));
    Ok(payload)
}

fn too_large(bytes: usize) -> Error {
    Error::TooLarge { what: "a column block", size: bytes as u64, limit: MAX_PAGES_BYTES }
}

fn invalid(damage: Damage) -> Error {
    Error::Invalid(damage.detail)
}

/// The pages written so far.
struct Pages {
    bytes: Vec<u8>,
}

impl Pages {
    fn end(&self) -> Result<u32> {
        u32::try_from(self.bytes.len()).map_err(|_| too_large(self.bytes.len()))
    }

    /// Writes a column's pages.
    fn place(
        &mut self,
        (id, column_type, array): &(ColumnId, ColumnType, ArrayRef),
        column: EncodedColumn,
    ) -> Result<ColumnMeta> {
        let EncodedColumn { encoded, form, rows, null_count, distinct, bounds, statistics } = column;
        let nulls = array.nulls().filter(|nulls| nulls.null_count() > 0);
        let mut alone = |content: Option<&Vec<u8>>| match content {
            Some(content) => self.push(*id, 0, None, content),
            None => Ok(Extent::default()),
        };
        let statistics = alone(statistics.as_ref())?;
        let auxiliary = alone(encoded.auxiliary.as_ref())?;
        let ends = encoded.pages.iter().skip(1).map(|(first, _)| *first).chain([rows]);
        let mut entries = Vec::with_capacity(encoded.pages.len());
        for ((first, content), end) in encoded.pages.iter().zip(ends) {
            let nulls = nulls.map(|nulls| nulls.slice(*first, end - first));
            let extent = self.push(*id, end - first, nulls.as_ref(), content)?;
            let first = u32::try_from(*first).map_err(|_| too_large(rows))?;
            entries.push(PageEntry { first, offset: extent.offset });
        }
        let row_count = u32::try_from(rows).map_err(|_| too_large(rows))?;
        Ok(ColumnMeta {
            id: *id,
            column_type: column_type.clone(),
            encoding: encoded.encoding,
            null_count,
            distinct_estimate: u32::try_from(distinct).unwrap_or(u32::MAX).min(row_count),
            bounds,
            form,
            statistics,
            auxiliary,
            pages: entries,
            pages_end: self.end()?,
        })
    }

    fn push(
        &mut self,
        id: ColumnId,
        rows: usize,
        nulls: Option<&NullBuffer>,
        content: &[u8],
    ) -> Result<Extent> {
        let offset = self.end()?;
        let place = PagePlace { column: id.get(), offset };
        let page = page::seal(place, rows, nulls, content).ok_or_else(|| too_large(content.len()))?;
        self.bytes.extend(page);
        Ok(Extent { offset, bytes: self.end()? - offset })
    }
}

/// A column encoded, with what is known of it.
struct EncodedColumn {
    encoded: Encoded,
    form: Form,
    rows: usize,
    null_count: u32,
    distinct: u64,
    bounds: Bounds,
    /// The content of the statistics page, if it has one.
    statistics: Option<Vec<u8>>,
}

fn encode_column(
    column_type: &ColumnType,
    array: &ArrayRef,
    row_count: u32,
    page_bytes: usize,
) -> Result<EncodedColumn> {
    let rows = row_count as usize;
    let nulls = array.nulls().filter(|nulls| nulls.null_count() > 0);
    let null_count = u32::try_from(array.null_count()).map_err(|_| too_large(rows))?;
    let mut arena = Vec::new();
    let values = values::of_array(array, column_type, &mut arena)?;
    let encoded = match rows {
        0 => Encoded { encoding: Encoding::Constant, auxiliary: None, pages: Vec::new(), distinct: Some(0) },
        _ => choose::encode(&values, nulls, page_bytes).ok_or_else(|| too_large(usize::MAX))?,
    };
    let (zones, bounds) = zones(&values, nulls, column_type, rows).map_err(invalid)?;
    let sketch = match &encoded.auxiliary {
        Some(content) if encoded.encoding.has_dictionary() => {
            sketch_of_entries(values.form(), column_type, content)?
        }
        _ => sketch(&values, nulls, column_type)?,
    };
    let distinct = encoded.distinct.map_or(sketch.estimate(), |count| count as u64);
    let form = values.form();
    let statistics = match rows {
        0 => None,
        _ => {
            let shape = Shape { form, column_type, rows: row_count, has_nulls: null_count > 0 };
            Some(Statistics { zones, sketch }.encode(shape))
        }
    };
    Ok(EncodedColumn { encoded, form, rows, null_count, distinct, bounds, statistics })
}

/// What a function makes of each item, in order, on so many threads.
fn in_parallel<T: Sync, R: Send>(threads: usize, items: &[T], make: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let next = AtomicUsize::new(0);
    let work = || {
        let mut made = Vec::new();
        loop {
            let place = next.fetch_add(1, Ordering::Relaxed);
            let Some(item) = items.get(place) else { return made };
            made.push((place, make(item)));
        }
    };
    let mut made = std::thread::scope(|scope| {
        let others: Vec<_> = (1..threads).map(|_| scope.spawn(work)).collect();
        let mut made = work();
        for other in others {
            made.extend(other.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        }
        made
    });
    made.sort_unstable_by_key(|(place, _)| *place);
    made.into_iter().map(|(_, made)| made).collect()
}

/// The zones of a column, and its bounds.
fn zones(
    values: &Values<'_>,
    nulls: Option<&NullBuffer>,
    column_type: &ColumnType,
    rows: usize,
) -> Decoded<(Vec<Zone>, Bounds)> {
    let mut zones = Vec::with_capacity(rows.div_ceil(GROUP));
    let mut all = Extremes::None;
    for start in (0..rows).step_by(GROUP) {
        let end = (start + GROUP).min(rows);
        let null_count = nulls.map_or(0, |nulls| nulls.slice(start, end - start).null_count());
        let extremes = Extremes::of(values, nulls, column_type, (start, end))?;
        let bounds = extremes.bounds(column_type, ZONE_BOUND_BYTES)?;
        zones.push(Zone { rows: (end - start) as u32, null_count: null_count as u32, bounds });
        all = all.and(extremes);
    }
    Ok((zones, all.bounds(column_type, COLUMN_BOUND_BYTES)?))
}

/// The sketch of a column whose distinct values are the entries of this dictionary.
fn sketch_of_entries(form: Form, column_type: &ColumnType, content: &[u8]) -> Result<DistinctSketch> {
    let mut sketch = DistinctSketch::new();
    let mut scratch = Vec::new();
    let dictionary =
        Dictionary::parse(form, column_type, &Buffer::from_slice_ref(content)).map_err(invalid)?;
    for code in 0..dictionary.len() {
        let datum = entry(&dictionary, column_type, code).map_err(invalid)?;
        sketch.add(&datum.borrowed(), column_type, &mut scratch)?;
    }
    Ok(sketch)
}

/// The sketch of the values that are not NULL. Neighbours that are equal are hashed once.
fn sketch(
    values: &Values<'_>,
    nulls: Option<&NullBuffer>,
    column_type: &ColumnType,
) -> Result<DistinctSketch> {
    let mut sketch = DistinctSketch::new();
    let mut scratch = Vec::new();
    let valid = |at: usize| nulls.is_none_or(|nulls| nulls.is_valid(at));
    match values {
        Values::Integers(values) => {
            let mut last = None;
            for (_, value) in values.iter().enumerate().filter(|(at, _)| valid(*at)) {
                if last.replace(*value) == Some(*value) {
                    continue;
                }
                if let Some(hash) = DistinctSketch::hash_of_integer(*value, column_type) {
                    sketch.add_hash(hash);
                } else {
                    let datum = datum::of_integer(column_type, *value).map_err(invalid)?;
                    sketch.add(&datum.borrowed(), column_type, &mut scratch)?;
                }
            }
        }
        Values::Fixed(width, bytes) => {
            for (_, value) in bytes.chunks_exact(*width).enumerate().filter(|(at, _)| valid(*at)) {
                let datum = datum::of_fixed(column_type, value).map_err(invalid)?;
                sketch.add(&datum.borrowed(), column_type, &mut scratch)?;
            }
        }
        Values::Strings(values) => {
            let mut last = None;
            for (_, value) in values.iter().enumerate().filter(|(at, _)| valid(*at)) {
                if last.replace(*value) != Some(*value) {
                    datum::with_string(column_type, value, |datum| {
                        sketch.add(datum, column_type, &mut scratch)
                    })
                    .map_err(invalid)??;
                }
            }
        }
    }
    Ok(sketch)
}
