//! The column directory of a block, which is read when it is opened and stays in memory.
//!
//! It follows the [header](super::header): if sparse the presence bitmap (8 bytes for each 64 slots begun), then for each column:
//!
//! ```text
//! size  field
//! 4     column id
//! 4     type: tag, precision, scale, 1 for an array of it
//! 1     encoding
//! 1     form: 0 integers, 255 strings, else bytes of a value
//! 2     0
//! 4     NULLs
//! 4     distinct values, about
//! 1 …   bounds: flags (1 min, 2 max, 4 min exact, 8 max exact), min, max; integers as i64,
//!       strings as length (u8) and at most 64 bytes
//! 8     statistics page: offset and bytes, u32 each; 0 bytes for none
//! 8     dictionary or symbol table page: likewise
//! 4     data pages p
//! 8 p   first position and offset of each data page, u32 each
//! 4     end of the last data page
//! ```
//!
//! Page offsets count from the end of the directory. The pages of a column lie one after the other. No two pages share
//! bytes: a page in memory is known by its offset, so what one column has read another must not take for its own.

use super::bits::GROUP;
use super::bounds::Bounds;
use super::encoding::{Encoding, Form};
use super::header::Header;
use super::presence::Presence;
use super::types::{decode_type, encode_type};
use crate::codec::{Cursor, Damage, Decoded};
use crate::ids::ColumnId;
use crate::row::ColumnType;

/// A range of bytes of the pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(super) struct Extent {
    pub offset: u32,
    pub bytes: u32,
}

impl Extent {
    fn decode(cursor: &mut Cursor<'_>) -> Decoded<Self> {
        Ok(Self { offset: cursor.u32()?, bytes: cursor.u32()? })
    }

    fn encode(self, out: &mut Vec<u8>) {
        out.extend(self.offset.to_le_bytes());
        out.extend(self.bytes.to_le_bytes());
    }
}

/// A data page: where its rows start and where it lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PageEntry {
    pub first: u32,
    pub offset: u32,
}

/// What is known of a column of a block without reading its pages.
#[derive(Clone, Debug)]
pub struct ColumnMeta {
    /// The column.
    pub id: ColumnId,
    /// Its type, as the block has it.
    pub column_type: ColumnType,
    /// How it is encoded.
    pub encoding: Encoding,
    /// How many rows are NULL.
    pub null_count: u32,
    /// About how many distinct values there are, NULL left out.
    pub distinct_estimate: u32,
    /// The bounds of the values.
    pub bounds: Bounds,
    pub(super) form: Form,
    pub(super) statistics: Extent,
    pub(super) auxiliary: Extent,
    pub(super) pages: Vec<PageEntry>,
    pub(super) pages_end: u32,
}

/// Where a column stands in a list that ascends by id. Mostly a block has all the columns there are, in order.
pub(super) fn place_of_column<T>(
    columns: &[T],
    id: ColumnId,
    id_of: impl Fn(&T) -> ColumnId,
) -> Option<usize> {
    let guess = id.get() as usize;
    if columns.get(guess).is_some_and(|column| id_of(column) == id) {
        return Some(guess);
    }
    columns.binary_search_by_key(&id, id_of).ok()
}

impl ColumnMeta {
    /// The data page that holds a position, and its place in the list.
    pub(super) fn page_of(&self, position: u32) -> Option<usize> {
        self.pages.partition_point(|page| page.first <= position).checked_sub(1)
    }

    /// How many data pages it has.
    pub(super) fn page_count(&self) -> usize {
        self.pages.len()
    }

    /// Where a data page lies.
    pub(super) fn page_extent(&self, page: usize) -> Option<Extent> {
        let start = self.pages.get(page)?.offset;
        let end = self.pages.get(page + 1).map_or(self.pages_end, |next| next.offset);
        Some(Extent { offset: start, bytes: end.checked_sub(start)? })
    }

    /// The positions of a data page, in a column of `rows`.
    pub(super) fn page_rows(&self, page: usize, rows: u32) -> Option<(u32, u32)> {
        let first = self.pages.get(page)?.first;
        Some((first, self.pages.get(page + 1).map_or(rows, |next| next.first)))
    }

    /// Where its data pages lie, all of them.
    fn data_extent(&self) -> Option<Extent> {
        let start = self.pages.first()?.offset;
        Some(Extent { offset: start, bytes: self.pages_end.checked_sub(start)? })
    }

    /// Bytes of all its pages on disk.
    pub fn bytes_on_disk(&self) -> u64 {
        let data = self.data_extent().unwrap_or_default();
        u64::from(data.bytes) + u64::from(self.statistics.bytes) + u64::from(self.auxiliary.bytes)
    }

    fn bytes_in_memory(&self) -> usize {
        size_of::<Self>() + self.pages.len() * size_of::<PageEntry>() + self.bounds.heap_bytes()
    }
}

/// Why a directory cannot be used.
#[derive(Debug)]
pub(super) enum Unreadable {
    Damaged(Damage),
    /// Its checksum holds, and it names an encoding that a later version has.
    Newer {
        column: ColumnId,
        encoding: u8,
    },
}

impl From<Damage> for Unreadable {
    fn from(damage: Damage) -> Self {
        Self::Damaged(damage)
    }
}

/// The directory in memory.
#[derive(Debug)]
pub(super) struct Directory {
    pub presence: Option<Presence>,
    /// Ascending by id.
    pub columns: Vec<ColumnMeta>,
}

impl Directory {
    /// The bytes of the directory.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        if let Some(presence) = &self.presence {
            out.extend(presence.words().iter().flat_map(|word| word.to_le_bytes()));
        }
        self.columns.iter().for_each(|column| encode_column(column, &mut out));
        out
    }

    /// Reads the directory that follows this header.
    pub fn decode(header: &Header, bytes: &[u8]) -> Result<Self, Unreadable> {
        if crc32fast::hash(bytes) != header.directory_crc {
            return Err(Damage::at(0, "column directory fails its checksum").into());
        }
        let mut cursor = Cursor::new(bytes);
        let presence = match header.is_sparse {
            true => {
                let words = cursor.take(header.slots.div_ceil(64) as usize * 8)?;
                let read = |chunk: &[u8]| chunk.try_into().map_or(0, u64::from_le_bytes);
                let words: Vec<u64> = words.chunks_exact(8).map(read).collect();
                let presence = Presence::new(&words, header.slots)?;
                if presence.rows() != header.rows {
                    let detail = format!("{} rows are present, {} expected", presence.rows(), header.rows);
                    return Err(Damage::at(0, detail).into());
                }
                Some(presence)
            }
            false => None,
        };
        let mut columns: Vec<ColumnMeta> = Vec::new();
        for _ in 0..header.columns {
            let offset = cursor.offset();
            let column = decode_column(header, &mut cursor)?;
            if columns.last().is_some_and(|last| last.id >= column.id) {
                return Err(Damage::at(offset, "columns out of order").into());
            }
            columns.push(column);
        }
        cursor.finish()?;
        check_apart(&columns)?;
        Ok(Self { presence, columns })
    }

    /// Bytes held in memory.
    pub fn bytes_in_memory(&self) -> usize {
        let columns: usize = self.columns.iter().map(ColumnMeta::bytes_in_memory).sum();
        columns + self.presence.as_ref().map_or(0, Presence::bytes_in_memory)
    }
}

fn encode_column(column: &ColumnMeta, out: &mut Vec<u8>) {
    out.extend(column.id.get().to_le_bytes());
    out.extend(encode_type(&column.column_type));
    out.extend([column.encoding as u8, column.form.number(), 0, 0]);
    out.extend(column.null_count.to_le_bytes());
    out.extend(column.distinct_estimate.to_le_bytes());
    column.bounds.encode(column.form, out);
    column.statistics.encode(out);
    column.auxiliary.encode(out);
    let pages = u32::try_from(column.pages.len()).expect("a page has at least one of 65,536 rows");
    out.extend(pages.to_le_bytes());
    for page in &column.pages {
        out.extend(page.first.to_le_bytes());
        out.extend(page.offset.to_le_bytes());
    }
    out.extend(column.pages_end.to_le_bytes());
}

fn decode_column(header: &Header, cursor: &mut Cursor<'_>) -> Result<ColumnMeta, Unreadable> {
    let start = cursor.offset();
    let id = ColumnId::new(cursor.u32()?);
    let column_type = decode_type(cursor)?;
    let encoding_offset = cursor.offset();
    let number = cursor.u8()?;
    let encoding = match Encoding::from_number(number) {
        Some(encoding) => encoding,
        None if number > Encoding::NEWEST as u8 => {
            return Err(Unreadable::Newer { column: id, encoding: number });
        }
        None => return Err(Damage::at(encoding_offset, "column encoding 0, which none has").into()),
    };
    let form = Form::from_number(cursor.u8()?, &column_type, encoding_offset + 1)?;
    if cursor.u16()? != 0 {
        return Err(Damage::at(encoding_offset + 2, "reserved bytes are not zero").into());
    }
    let null_count = cursor.u32()?;
    let distinct_estimate = cursor.u32()?;
    let bounds = Bounds::decode(form, &column_type, cursor)?;
    let statistics = Extent::decode(cursor)?;
    let auxiliary = Extent::decode(cursor)?;
    let page_count = cursor.u32()? as usize;
    let entries = cursor.take(page_count.saturating_mul(8))?;
    let pages_end = cursor.u32()?;
    let mut fields = Cursor::new(entries);
    let mut pages = Vec::with_capacity(page_count);
    for _ in 0..page_count {
        pages.push(PageEntry { first: fields.u32()?, offset: fields.u32()? });
    }
    let column = ColumnMeta {
        id,
        column_type,
        encoding,
        null_count,
        distinct_estimate,
        bounds,
        form,
        statistics,
        auxiliary,
        pages,
        pages_end,
    };
    check_column(header, &column).map_err(|detail| Damage::at(start, format!("column {id}: {detail}")))?;
    Ok(column)
}

fn check_column(header: &Header, column: &ColumnMeta) -> Result<(), &'static str> {
    let rows = header.rows;
    let within =
        |extent: Extent| extent.offset.checked_add(extent.bytes).is_some_and(|end| end <= header.pages_bytes);
    let starts = column.pages.first().is_none_or(|page| page.first == 0);
    let ascend = |pair: &[PageEntry]| matches!(pair, [left, right] if left.first < right.first && left.offset < right.offset);
    let ends = column.pages.last().is_none_or(|page| page.first < rows && page.offset < column.pages_end);
    if column.null_count > rows {
        return Err("more NULLs than rows");
    }
    if !starts || !ends || !column.pages.windows(2).all(ascend) || column.pages_end > header.pages_bytes {
        return Err("data pages out of order");
    }
    if !within(column.statistics) || !within(column.auxiliary) {
        return Err("a page lies outside the block");
    }
    let needs_pages = rows > 0 && (column.encoding != Encoding::Constant || column.has_some_nulls(rows));
    if needs_pages == column.pages.is_empty() {
        return Err("data pages missing or too many");
    }
    let needs_auxiliary =
        matches!(column.encoding, Encoding::Dictionary | Encoding::RunEndDictionary | Encoding::Fsst)
            || column.encoding == Encoding::Constant && column.null_count < rows;
    if needs_auxiliary != (column.auxiliary.bytes > 0) || (rows > 0) != (column.statistics.bytes > 0) {
        return Err("dictionary, symbols or statistics missing or too many");
    }
    let form_fits = match column.encoding {
        Encoding::Constant | Encoding::Dictionary | Encoding::RunEndDictionary => true,
        Encoding::Plain => column.form != Form::Integers,
        Encoding::BitPacked | Encoding::RunEnd => column.form == Form::Integers,
        Encoding::Fsst => column.form == Form::Strings,
        Encoding::Alp => matches!(column.column_type, ColumnType::Float32 | ColumnType::Float64),
    };
    let groups_whole = column.form == Form::Strings && !column.encoding.has_dictionary();
    let aligned = column.pages.iter().all(|page| (page.first as usize).is_multiple_of(GROUP));
    match form_fits && (groups_whole || aligned) {
        true => Ok(()),
        false => Err("encoding and form do not fit"),
    }
}

/// Checks that no page shares bytes with another. Those of a column's values lie one after the other: see `check_column`.
fn check_apart(columns: &[ColumnMeta]) -> Decoded<()> {
    let of_column = |column: &ColumnMeta| {
        let extents = [Some(column.statistics), Some(column.auxiliary), column.data_extent()];
        let id = column.id;
        extents.into_iter().flatten().filter(|extent| extent.bytes > 0).map(move |extent| (extent, id))
    };
    let mut extents: Vec<(Extent, ColumnId)> = columns.iter().flat_map(of_column).collect();
    extents.sort_unstable_by_key(|(extent, _)| extent.offset);
    for pair in extents.windows(2) {
        if let [(left, left_id), (right, right_id)] = pair
            && right.offset - left.offset < left.bytes
        {
            let detail = format!("pages of columns {left_id} and {right_id} overlap at {}", right.offset);
            return Err(Damage::at(0, detail));
        }
    }
    Ok(())
}

impl ColumnMeta {
    /// Whether some rows are NULL and others are not.
    pub(super) fn has_some_nulls(&self, rows: u32) -> bool {
        self.null_count > 0 && self.null_count < rows
    }
}
