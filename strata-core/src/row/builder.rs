//! Builds Arrow arrays from rows and values.
//!
//! One builder makes one column. [`ColumnBuilder::push_rows`] looks at the column's type once and then runs
//! down the rows: scans of hot segments decode column by column this way. Texts are copied into buffers of
//! the array's own, so that no array keeps a page of the cache.

use std::sync::Arc;

use arrow_array::builder::{
    BinaryViewBuilder, BooleanBuilder, Date32Builder, Decimal128Builder, FixedSizeBinaryBuilder,
    Float32Builder, Float64Builder, Int16Builder, Int32Builder, Int64Builder, IntervalMonthDayNanoBuilder,
    PrimitiveBuilder, StringViewBuilder, Time64MicrosecondBuilder, TimestampMicrosecondBuilder,
};
use arrow_array::types::{ArrowPrimitiveType, IntervalMonthDayNano};
use arrow_array::{ArrayRef, ListArray};
use arrow_buffer::{NullBufferBuilder, OffsetBuffer};
use arrow_schema::{ArrowError, FieldRef};

use super::array::read_text;
use super::arrow::{UTC, UUID_BYTES, arrow_type, item_field};
use super::codec::{CommonPlace, RowView};
use super::fixed::{read_decimal, read_f32, read_f64, read_i16, read_i32, read_i64, read_interval};
use super::types::{ColumnType, Datum};
use super::value::DatumRef;
use crate::error::{Error, Result};
use crate::ids::ColumnId;

/// Collects the values of one column into an Arrow array.
#[derive(Debug)]
pub struct ColumnBuilder {
    column_type: ColumnType,
    inner: Inner,
}

#[derive(Debug)]
enum Inner {
    Bool(BooleanBuilder),
    Int16(Int16Builder),
    Int32(Int32Builder),
    Int64(Int64Builder),
    Float32(Float32Builder),
    Float64(Float64Builder),
    Decimal(Decimal128Builder),
    Text(StringViewBuilder),
    Bytes(BinaryViewBuilder),
    Date(Date32Builder),
    Time(Time64MicrosecondBuilder),
    /// With and without a zone.
    Timestamp(TimestampMicrosecondBuilder),
    Interval(IntervalMonthDayNanoBuilder),
    Uuid(FixedSizeBinaryBuilder),
    List(ListParts),
}

#[derive(Debug)]
struct ListParts {
    item: FieldRef,
    elements: Box<ColumnBuilder>,
    offsets: Vec<i32>,
    validity: NullBufferBuilder,
}

impl ColumnBuilder {
    /// A builder of a column with room for so many values.
    pub fn new(column_type: &ColumnType, capacity: usize) -> Self {
        let inner = match column_type {
            ColumnType::Bool => Inner::Bool(BooleanBuilder::with_capacity(capacity)),
            ColumnType::Int16 => Inner::Int16(Int16Builder::with_capacity(capacity)),
            ColumnType::Int32 => Inner::Int32(Int32Builder::with_capacity(capacity)),
            ColumnType::Int64 => Inner::Int64(Int64Builder::with_capacity(capacity)),
            ColumnType::Float32 => Inner::Float32(Float32Builder::with_capacity(capacity)),
            ColumnType::Float64 => Inner::Float64(Float64Builder::with_capacity(capacity)),
            ColumnType::Decimal { .. } => Inner::Decimal(
                Decimal128Builder::with_capacity(capacity).with_data_type(arrow_type(column_type)),
            ),
            ColumnType::Text => Inner::Text(StringViewBuilder::with_capacity(capacity)),
            ColumnType::Bytes => Inner::Bytes(BinaryViewBuilder::with_capacity(capacity)),
            ColumnType::Date => Inner::Date(Date32Builder::with_capacity(capacity)),
            ColumnType::Time => Inner::Time(Time64MicrosecondBuilder::with_capacity(capacity)),
            ColumnType::Timestamp => Inner::Timestamp(TimestampMicrosecondBuilder::with_capacity(capacity)),
            ColumnType::TimestampTz => {
                Inner::Timestamp(TimestampMicrosecondBuilder::with_capacity(capacity).with_timezone(UTC))
            }
            ColumnType::Interval => Inner::Interval(IntervalMonthDayNanoBuilder::with_capacity(capacity)),
            ColumnType::Uuid => Inner::Uuid(FixedSizeBinaryBuilder::with_capacity(capacity, UUID_BYTES)),
            ColumnType::Array(element_type) => Inner::List(ListParts::new(element_type, capacity)),
        };
        Self { column_type: column_type.clone(), inner }
    }

    /// Appends a value.
    ///
    /// # Errors
    /// `Invalid` where it is not of the column's type, `TooLarge` where an array would become so. The digits
    /// of decimals are not counted here.
    pub fn push_datum(&mut self, value: &Datum) -> Result<()> {
        self.push(&value.borrowed())
    }

    /// Appends a borrowed value; as [`push_datum`](Self::push_datum).
    pub fn push(&mut self, value: &DatumRef<'_>) -> Result<()> {
        match (&mut self.inner, value) {
            (Inner::Bool(builder), DatumRef::Bool(value)) => builder.append_value(*value),
            (Inner::Int16(builder), DatumRef::Int16(value)) => builder.append_value(*value),
            (Inner::Int32(builder), DatumRef::Int32(value)) => builder.append_value(*value),
            (Inner::Int64(builder), DatumRef::Int64(value)) => builder.append_value(*value),
            (Inner::Float32(builder), DatumRef::Float32(value)) => builder.append_value(*value),
            (Inner::Float64(builder), DatumRef::Float64(value)) => builder.append_value(*value),
            (Inner::Decimal(builder), DatumRef::Decimal(value)) => builder.append_value(*value),
            (Inner::Text(builder), DatumRef::Text(value)) => {
                builder.try_append_value(value).map_err(refused)?;
            }
            (Inner::Bytes(builder), DatumRef::Bytes(value)) => {
                builder.try_append_value(value).map_err(refused)?;
            }
            (Inner::Date(builder), DatumRef::Date(value)) => builder.append_value(*value),
            (Inner::Time(builder), DatumRef::Time(value)) => builder.append_value(*value),
            (
                Inner::Timestamp(builder),
                DatumRef::Timestamp(microseconds) | DatumRef::TimestampTz(microseconds),
            ) if value.is_of_type(&self.column_type) => {
                builder.append_value(*microseconds);
            }
            (Inner::Interval(builder), DatumRef::Interval { months, days, nanoseconds }) => {
                builder.append_value(IntervalMonthDayNano::new(*months, *days, *nanoseconds));
            }
            (Inner::Uuid(builder), DatumRef::Uuid(value)) => builder.append_value(value).map_err(refused)?,
            // Checked first, so that a refused array leaves no elements behind.
            (Inner::List(list), DatumRef::Array(elements)) if value.is_of_type(&self.column_type) => {
                list.push(elements)?;
            }
            (_, DatumRef::Null) => self.push_null(),
            _ => return Err(value.type_error(&self.column_type)),
        }
        Ok(())
    }

    /// Appends a NULL.
    pub fn push_null(&mut self) {
        match &mut self.inner {
            Inner::Bool(builder) => builder.append_null(),
            Inner::Int16(builder) => builder.append_null(),
            Inner::Int32(builder) => builder.append_null(),
            Inner::Int64(builder) => builder.append_null(),
            Inner::Float32(builder) => builder.append_null(),
            Inner::Float64(builder) => builder.append_null(),
            Inner::Decimal(builder) => builder.append_null(),
            Inner::Text(builder) => builder.append_null(),
            Inner::Bytes(builder) => builder.append_null(),
            Inner::Date(builder) => builder.append_null(),
            Inner::Time(builder) => builder.append_null(),
            Inner::Timestamp(builder) => builder.append_null(),
            Inner::Interval(builder) => builder.append_null(),
            Inner::Uuid(builder) => builder.append_null(),
            Inner::List(list) => list.push_null(),
        }
    }

    /// Appends a row's value of a column of this builder's type.
    pub fn push_row(&mut self, row: &RowView<'_>, column: ColumnId) -> Result<()> {
        self.push(&row.value(column)?)
    }

    /// Appends the values that these rows have for a column of this builder's type.
    ///
    /// # Errors
    /// As [`push_datum`](Self::push_datum) and [`RowView::value`]; some values may have been appended then.
    pub fn push_rows(&mut self, rows: &[RowView<'_>], column: ColumnId) -> Result<()> {
        let same_type =
            |row: &RowView<'_>| row.column_type(column).is_ok_and(|found| *found == self.column_type);
        let place = RowView::common_place(rows, column).filter(|_| rows.first().is_some_and(same_type));
        match place {
            Some(place) => self.push_column(rows, place, column),
            // Some rows are older than the column.
            None => rows.iter().try_for_each(|row| self.push_row(row, column)),
        }
    }

    fn push_column(&mut self, rows: &[RowView<'_>], place: CommonPlace, column: ColumnId) -> Result<()> {
        match (&mut self.inner, &self.column_type) {
            (Inner::Int16(builder), _) => push_fixed(builder, rows, place, read_i16),
            (Inner::Int32(builder), _) => push_fixed(builder, rows, place, read_i32),
            (Inner::Int64(builder), _) => push_fixed(builder, rows, place, read_i64),
            (Inner::Float32(builder), _) => push_fixed(builder, rows, place, read_f32),
            (Inner::Float64(builder), _) => push_fixed(builder, rows, place, read_f64),
            (Inner::Decimal(builder), ColumnType::Decimal { precision, .. }) => {
                push_fixed(builder, rows, place, |bytes| read_decimal(*precision, bytes))
            }
            (Inner::Date(builder), _) => push_fixed(builder, rows, place, read_i32),
            (Inner::Time(builder), _) => push_fixed(builder, rows, place, read_i64),
            (Inner::Timestamp(builder), _) => push_fixed(builder, rows, place, read_i64),
            (Inner::Interval(builder), _) => push_fixed(builder, rows, place, |bytes| {
                let (months, days, nanoseconds) = read_interval(bytes)?;
                Ok(IntervalMonthDayNano::new(months, days, nanoseconds))
            }),
            (Inner::Text(builder), _) => rows.iter().try_for_each(|row| {
                match row.bytes_at(place)? {
                    Some(bytes) => builder.try_append_value(read_text(bytes)?).map_err(refused)?,
                    None => builder.append_null(),
                }
                Ok(())
            }),
            (Inner::Bytes(builder), _) => rows.iter().try_for_each(|row| {
                match row.bytes_at(place)? {
                    Some(bytes) => builder.try_append_value(bytes).map_err(refused)?,
                    None => builder.append_null(),
                }
                Ok(())
            }),
            (Inner::Bool(_) | Inner::Decimal(_) | Inner::Uuid(_) | Inner::List(_), _) => {
                rows.iter().try_for_each(|row| self.push_row(row, column))
            }
        }
    }

    /// The array of the values so far; the builder starts anew.
    pub fn finish(&mut self) -> ArrayRef {
        match &mut self.inner {
            Inner::Bool(builder) => Arc::new(builder.finish()),
            Inner::Int16(builder) => Arc::new(builder.finish()),
            Inner::Int32(builder) => Arc::new(builder.finish()),
            Inner::Int64(builder) => Arc::new(builder.finish()),
            Inner::Float32(builder) => Arc::new(builder.finish()),
            Inner::Float64(builder) => Arc::new(builder.finish()),
            Inner::Decimal(builder) => Arc::new(builder.finish()),
            Inner::Text(builder) => Arc::new(builder.finish()),
            Inner::Bytes(builder) => Arc::new(builder.finish()),
            Inner::Date(builder) => Arc::new(builder.finish()),
            Inner::Time(builder) => Arc::new(builder.finish()),
            Inner::Timestamp(builder) => Arc::new(builder.finish()),
            Inner::Interval(builder) => Arc::new(builder.finish()),
            Inner::Uuid(builder) => Arc::new(builder.finish()),
            Inner::List(list) => Arc::new(list.finish()),
        }
    }
}

impl ListParts {
    fn new(element_type: &ColumnType, capacity: usize) -> Self {
        let mut offsets = Vec::with_capacity(capacity + 1);
        offsets.push(0);
        Self {
            item: item_field(element_type),
            elements: Box::new(ColumnBuilder::new(element_type, capacity)),
            offsets,
            validity: NullBufferBuilder::new(capacity),
        }
    }

    fn last_offset(&self) -> i32 {
        self.offsets.last().copied().unwrap_or_default()
    }

    fn push(&mut self, elements: &[Datum]) -> Result<()> {
        let end = i32::try_from(elements.len()).ok().and_then(|count| self.last_offset().checked_add(count));
        let end = end.ok_or_else(|| Error::TooLarge {
            what: "a batch of arrays",
            size: u64::try_from(elements.len()).unwrap_or(u64::MAX),
            limit: u64::from(i32::MAX.unsigned_abs()),
        })?;
        elements.iter().try_for_each(|element| self.elements.push_datum(element))?;
        self.offsets.push(end);
        self.validity.append_non_null();
        Ok(())
    }

    fn push_null(&mut self) {
        self.offsets.push(self.last_offset());
        self.validity.append_null();
    }

    fn finish(&mut self) -> ListArray {
        let offsets = std::mem::replace(&mut self.offsets, vec![0]);
        ListArray::new(
            Arc::clone(&self.item),
            OffsetBuffer::new(offsets.into()),
            self.elements.finish(),
            self.validity.finish(),
        )
    }
}

/// Appends a column of fixed width that all rows hold.
fn push_fixed<T: ArrowPrimitiveType>(
    builder: &mut PrimitiveBuilder<T>,
    rows: &[RowView<'_>],
    place: CommonPlace,
    read: impl Fn(&[u8]) -> Result<T::Native>,
) -> Result<()> {
    for row in rows {
        match row.bytes_at(place)? {
            Some(bytes) => builder.append_value(read(bytes)?),
            None => builder.append_null(),
        }
    }
    Ok(())
}

fn refused(error: ArrowError) -> Error {
    Error::Invalid(format!("a value does not fit an Arrow array: {error}"))
}
