//! The bytes of a stored row (`docs/format/row.md`).
//!
//! ```text
//! [u16 column count][null bitmap][fixed-width values][u32 end offset per column of variable length][their bytes]
//! ```
//!
//! All columns of the schema stand in the order of their ids, dropped ones included (written as NULL). A NULL
//! keeps its width in the fixed-width area and has no bytes in the variable part, so that every column is
//! found by arithmetic alone ([`RowLayout`](super::RowLayout)). Bits of the bitmap are set for NULLs. End
//! offsets count from the first byte after them. A row that has fewer columns than the schema is older than
//! the rest of them, which read as their [`missing`](super::Column::missing) values.
//!
//! [`RowView::new`] verifies the structure once, in time proportional to the columns of variable length;
//! UTF-8 is verified where a text is read. No input makes the reader panic.

use super::array::{encode_array, read_value};
use super::damaged;
use super::fixed::write_fixed;
use super::layout::{Areas, COUNT_BYTES, END_BYTES, Place};
use super::schema::Schema;
use super::types::{ColumnType, Datum};
use super::value::DatumRef;
use crate::error::{Error, Result};
use crate::ids::ColumnId;

/// The largest row that is stored: 256 MiB.
pub const MAX_ROW_BYTES: usize = 256 << 20;

const WHAT: &str = "row";

/// Appends the row of these values, one for each column of the schema.
///
/// # Errors
/// `Invalid` where a value is not of its column's type; `TooLarge` above [`MAX_ROW_BYTES`]. `out` is as before
/// then.
pub fn encode_row(schema: &Schema, values: &[Datum], out: &mut Vec<u8>) -> Result<()> {
    if values.len() != schema.columns.len() {
        return Err(Error::Invalid(format!(
            "a row of {} values does not fit a table of {} columns",
            values.len(),
            schema.columns.len()
        )));
    }
    encode_row_with(schema, out, |column| values.get(column).map_or(DatumRef::Null, Datum::borrowed))
}

/// Appends the row whose values a function tells, which is called once for each column in turn. Errors as
/// [`encode_row`].
pub fn encode_row_with<'v>(
    schema: &Schema,
    out: &mut Vec<u8>,
    value: impl FnMut(usize) -> DatumRef<'v>,
) -> Result<()> {
    let start = out.len();
    let result = append_row(schema, out, value);
    if result.is_err() {
        out.truncate(start);
    }
    result
}

fn append_row<'v>(
    schema: &Schema,
    out: &mut Vec<u8>,
    mut value: impl FnMut(usize) -> DatumRef<'v>,
) -> Result<()> {
    let column_count = schema.columns.len();
    let count = u16::try_from(column_count)
        .map_err(|_| Error::Invalid(format!("a table of {column_count} columns is too wide")))?;
    let layout = schema.layout();
    let areas =
        layout.areas(column_count).ok_or_else(|| Error::Invalid("a schema without its layout".into()))?;
    let start = out.len();
    let data = start + areas.data;
    out.resize(data, 0);
    out[start..start + COUNT_BYTES].copy_from_slice(&count.to_le_bytes());

    for (index, column) in schema.columns.iter().enumerate() {
        let value = if column.dropped { DatumRef::Null } else { value(index) };
        if value.is_null() {
            out[start + COUNT_BYTES + index / 8] |= 1 << (index % 8);
        } else {
            value.check_type(&column.column_type)?;
        }
        match layout.place(index) {
            Some(Place::Fixed { offset, width }) if !value.is_null() => {
                let at = start + areas.fixed + offset;
                write_fixed(&value, &mut out[at..at + width]);
            }
            Some(Place::Varlen { index }) => {
                append_varlen(&value, &column.column_type, out)?;
                let size = out.len() - start;
                if size > MAX_ROW_BYTES {
                    return Err(too_large(size));
                }
                let end = u32::try_from(out.len() - data).map_err(|_| too_large(size))?;
                let at = start + areas.ends + index * END_BYTES;
                out[at..at + END_BYTES].copy_from_slice(&end.to_le_bytes());
            }
            Some(Place::Fixed { .. }) | None => {}
        }
    }
    Ok(())
}

fn append_varlen(value: &DatumRef<'_>, column_type: &ColumnType, out: &mut Vec<u8>) -> Result<()> {
    match (value, column_type) {
        (DatumRef::Text(text), _) => out.extend_from_slice(text.as_bytes()),
        (DatumRef::Bytes(bytes), _) => out.extend_from_slice(bytes),
        (DatumRef::Array(elements), ColumnType::Array(element_type)) => {
            encode_array(elements, element_type, out)?;
        }
        _ => {}
    }
    Ok(())
}

fn too_large(size: usize) -> Error {
    Error::TooLarge {
        what: "a row",
        size: u64::try_from(size).unwrap_or(u64::MAX),
        limit: MAX_ROW_BYTES as u64,
    }
}

/// A stored row, read in place.
#[derive(Clone, Copy, Debug)]
pub struct RowView<'a> {
    bytes: &'a [u8],
    schema: &'a Schema,
    column_count: usize,
    areas: Areas,
}

/// What a row holds for a column.
#[derive(Clone, Copy, Debug)]
enum Stored<'a> {
    Null,
    /// The value's bytes.
    Bytes(&'a [u8]),
    /// The row is older than the column, which reads as this.
    Missing(&'a Datum),
}

/// Where a column stands in each of a batch of rows.
#[derive(Clone, Copy, Debug)]
pub(super) struct CommonPlace {
    index: usize,
    place: Place,
}

impl<'a> RowView<'a> {
    /// Reads a row of a table of this schema, or of an older version of it.
    ///
    /// # Errors
    /// `Corrupt` where the bytes are no such row: cut short, offsets out of order, more columns than the schema.
    pub fn new(bytes: &'a [u8], schema: &'a Schema) -> Result<Self> {
        let short = || damaged(WHAT, bytes.len(), "it ends before its columns do");
        let count = bytes.first_chunk::<COUNT_BYTES>().ok_or_else(short)?;
        let column_count = usize::from(u16::from_le_bytes(*count));
        let areas = schema.layout().areas(column_count).ok_or_else(|| {
            damaged(WHAT, 0, format!("{column_count} columns where the schema has {}", schema.columns.len()))
        })?;
        let data = bytes.get(areas.data..).ok_or_else(short)?;
        let ends = bytes.get(areas.ends..areas.data).ok_or_else(short)?;
        let mut last = 0;
        for end in ends.chunks_exact(END_BYTES) {
            let end = end_offset(end).ok_or_else(short)?;
            if end < last {
                return Err(damaged(WHAT, areas.ends, "the end offsets are not in order"));
            }
            last = end;
        }
        if last != data.len() {
            let detail = format!("{} bytes of values where {last} belong", data.len());
            return Err(damaged(WHAT, areas.data, detail));
        }
        Ok(Self { bytes, schema, column_count, areas })
    }

    /// The row's bytes.
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// How many columns the row holds: the schema's first so many.
    pub fn column_count(&self) -> usize {
        self.column_count
    }

    /// Whether the column is NULL in this row.
    ///
    /// # Errors
    /// `Invalid` where the schema has no such column; so for all that follow.
    pub fn is_null(&self, column: ColumnId) -> Result<bool> {
        Ok(match self.stored(column)? {
            Stored::Null => true,
            Stored::Bytes(_) => false,
            Stored::Missing(value) => value.is_null(),
        })
    }

    /// The column's value with bytes of its own.
    pub fn datum(&self, column: ColumnId) -> Result<Datum> {
        Ok(self.value(column)?.to_datum())
    }

    /// The column's value, in place.
    ///
    /// # Errors
    /// `Corrupt` where a text is not UTF-8 or an array's bytes are none.
    pub fn value(&self, column: ColumnId) -> Result<DatumRef<'a>> {
        match self.stored(column)? {
            Stored::Null => Ok(DatumRef::Null),
            Stored::Missing(value) => Ok(value.borrowed()),
            Stored::Bytes(bytes) => read_value(self.column_type(column)?, bytes),
        }
    }

    /// The text of a Text column, in place; `None` for NULL. `Corrupt` where it is not UTF-8.
    pub fn text(&self, column: ColumnId) -> Result<Option<&'a str>> {
        match self.value(column)? {
            DatumRef::Null => Ok(None),
            DatumRef::Text(text) => Ok(Some(text)),
            _ => Err(Error::Invalid(format!("column {column} is not a text"))),
        }
    }

    /// All values of the row, one for each column of the schema.
    pub fn to_datums(&self) -> Result<Vec<Datum>> {
        let mut values = Vec::with_capacity(self.schema.columns.len());
        for column in self.schema.columns.iter() {
            values.push(self.datum(column.id)?);
        }
        Ok(values)
    }

    pub(super) fn column_type(&self, column: ColumnId) -> Result<&'a ColumnType> {
        self.schema.column(column).map(|column| &column.column_type).ok_or_else(|| no_column(column))
    }

    fn stored(&self, column: ColumnId) -> Result<Stored<'a>> {
        let index = place_of(column);
        if index >= self.column_count {
            let column = self.schema.column(column).ok_or_else(|| no_column(column))?;
            return Ok(Stored::Missing(&column.missing));
        }
        let place = self.schema.layout().place(index).ok_or_else(|| no_column(column))?;
        self.stored_at(index, place)
    }

    /// The place of a column that all these rows hold, where they are of one schema.
    pub(super) fn common_place(rows: &[Self], column: ColumnId) -> Option<CommonPlace> {
        let (first, index) = (rows.first()?, place_of(column));
        let alike = |row: &Self| std::ptr::eq(row.schema, first.schema) && index < row.column_count;
        let place = first.schema.layout().place(index)?;
        rows.iter().all(alike).then_some(CommonPlace { index, place })
    }

    /// The value's bytes at a place; `None` for NULL.
    #[inline]
    pub(super) fn bytes_at(&self, place: CommonPlace) -> Result<Option<&'a [u8]>> {
        match self.stored_at(place.index, place.place)? {
            Stored::Bytes(bytes) => Ok(Some(bytes)),
            Stored::Null | Stored::Missing(_) => Ok(None),
        }
    }

    #[inline]
    fn stored_at(&self, index: usize, place: Place) -> Result<Stored<'a>> {
        let nulls = self.bytes.get(COUNT_BYTES + index / 8).copied().unwrap_or_default();
        if nulls >> (index % 8) & 1 == 1 {
            return Ok(Stored::Null);
        }
        let range = match place {
            Place::Fixed { offset, width } => self.areas.fixed + offset..self.areas.fixed + offset + width,
            Place::Varlen { index } => {
                let start = if index == 0 { 0 } else { self.end(index - 1)? };
                self.areas.data + start..self.areas.data + self.end(index)?
            }
        };
        let value =
            self.bytes.get(range).ok_or_else(|| damaged(WHAT, self.bytes.len(), "a value is cut short"))?;
        Ok(Stored::Bytes(value))
    }

    fn end(&self, index: usize) -> Result<usize> {
        let at = self.areas.ends + index * END_BYTES;
        self.bytes
            .get(at..at + END_BYTES)
            .and_then(end_offset)
            .ok_or_else(|| damaged(WHAT, at, "an end offset is cut short"))
    }
}

fn place_of(column: ColumnId) -> usize {
    usize::try_from(column.get()).unwrap_or(usize::MAX)
}

fn end_offset(bytes: &[u8]) -> Option<usize> {
    usize::try_from(u32::from_le_bytes(bytes.try_into().ok()?)).ok()
}

fn no_column(column: ColumnId) -> Error {
    Error::Invalid(format!("the table has no column {column}"))
}
