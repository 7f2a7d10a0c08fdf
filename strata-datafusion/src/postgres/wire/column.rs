//! A column of a batch, downcast once, whose values can be written as text.

use std::sync::Arc;

use bytes::BufMut;
use datafusion::arrow::array::*;
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, IntervalUnit, TimeUnit};

use crate::error::{SqlError, SqlResult};
use crate::postgres::format::{self, datetime, interval, number};
use crate::postgres::types::{PgType, oid};
use crate::postgres::zone::Zone;

/// A column as it is written: its array in one of the forms that writers know.
#[derive(Clone, Debug)]
pub(super) enum Values {
    Null,
    Bool(BooleanArray),
    Int16(Int16Array),
    Int32(Int32Array),
    Int64(Int64Array),
    Float32(Float32Array),
    Float64(Float64Array),
    Decimal(Decimal128Array, i8),
    Text(StringViewArray),
    TextOffsets(StringArray),
    Bytes(BinaryViewArray),
    BytesOffsets(BinaryArray),
    Uuid(FixedSizeBinaryArray),
    Date(Date32Array),
    Time(Time64MicrosecondArray),
    Timestamp(TimestampMicrosecondArray),
    Interval(IntervalMonthDayNanoArray),
    List(ListArray, Box<TextColumn>),
}

/// A column whose values can be written as text.
#[derive(Clone, Debug)]
pub struct TextColumn {
    pub(super) values: Values,
    pub(super) pg_type: PgType,
    pub(super) zone: Zone,
    nulls: Option<datafusion::arrow::buffer::NullBuffer>,
}

fn cast_to(array: &ArrayRef, data_type: DataType) -> SqlResult<ArrayRef> {
    if array.data_type() == &data_type {
        return Ok(Arc::clone(array));
    }
    cast(array, &data_type)
        .map_err(|error| SqlError::internal(format!("a result column cannot be sent: {error}")))
}

macro_rules! form {
    ($array:expr, $data_type:expr, $as:ident, $variant:ident) => {{
        let array = cast_to($array, $data_type)?;
        Values::$variant(array.$as().clone())
    }};
    ($array:expr, $data_type:expr, $as:ident::<$inner:ty>, $variant:ident) => {{
        let array = cast_to($array, $data_type)?;
        Values::$variant(array.$as::<$inner>().clone())
    }};
}

impl TextColumn {
    /// A column of this Postgres type; timestamps with zone are written in `zone`.
    pub fn new(array: &ArrayRef, pg_type: PgType, zone: Zone) -> SqlResult<Self> {
        let values = Self::values(array, pg_type, zone)?;
        Ok(Self { values, pg_type, zone, nulls: array.logical_nulls() })
    }

    fn values(array: &ArrayRef, pg_type: PgType, zone: Zone) -> SqlResult<Values> {
        use datafusion::arrow::datatypes as types;
        let utc = || Some(Arc::from("UTC"));
        Ok(match array.data_type() {
            DataType::Null => Values::Null,
            DataType::Boolean => form!(array, DataType::Boolean, as_boolean, Bool),
            DataType::Int8 | DataType::UInt8 | DataType::Int16 => {
                form!(array, DataType::Int16, as_primitive::<types::Int16Type>, Int16)
            }
            DataType::UInt16 | DataType::Int32 => {
                form!(array, DataType::Int32, as_primitive::<types::Int32Type>, Int32)
            }
            DataType::UInt32 | DataType::Int64 | DataType::UInt64 => {
                form!(array, DataType::Int64, as_primitive::<types::Int64Type>, Int64)
            }
            DataType::Float16 | DataType::Float32 => {
                form!(array, DataType::Float32, as_primitive::<types::Float32Type>, Float32)
            }
            DataType::Float64 => form!(array, DataType::Float64, as_primitive::<types::Float64Type>, Float64),
            DataType::Decimal32(precision, scale)
            | DataType::Decimal64(precision, scale)
            | DataType::Decimal128(precision, scale) => {
                let array = cast_to(array, DataType::Decimal128(*precision, *scale))?;
                Values::Decimal(array.as_primitive::<types::Decimal128Type>().clone(), *scale)
            }
            DataType::Decimal256(_, scale) => {
                let array = cast_to(array, DataType::Decimal128(38, *scale))?;
                Values::Decimal(array.as_primitive::<types::Decimal128Type>().clone(), *scale)
            }
            DataType::Utf8View => form!(array, DataType::Utf8View, as_string_view, Text),
            DataType::Utf8 => form!(array, DataType::Utf8, as_string::<i32>, TextOffsets),
            DataType::BinaryView => form!(array, DataType::BinaryView, as_binary_view, Bytes),
            DataType::Binary => form!(array, DataType::Binary, as_binary::<i32>, BytesOffsets),
            DataType::LargeBinary => form!(array, DataType::BinaryView, as_binary_view, Bytes),
            DataType::FixedSizeBinary(16) if pg_type.oid == oid::UUID => {
                form!(array, DataType::FixedSizeBinary(16), as_fixed_size_binary, Uuid)
            }
            DataType::FixedSizeBinary(_) => form!(array, DataType::BinaryView, as_binary_view, Bytes),
            DataType::Date32 | DataType::Date64 => {
                form!(array, DataType::Date32, as_primitive::<types::Date32Type>, Date)
            }
            DataType::Time32(_) | DataType::Time64(_) => {
                let micros = DataType::Time64(TimeUnit::Microsecond);
                form!(array, micros, as_primitive::<types::Time64MicrosecondType>, Time)
            }
            DataType::Timestamp(_, zone) => {
                let micros = DataType::Timestamp(TimeUnit::Microsecond, zone.as_ref().and_then(|_| utc()));
                form!(array, micros, as_primitive::<types::TimestampMicrosecondType>, Timestamp)
            }
            DataType::Interval(_) | DataType::Duration(_) => {
                let nanos = DataType::Interval(IntervalUnit::MonthDayNano);
                form!(array, nanos, as_primitive::<types::IntervalMonthDayNanoType>, Interval)
            }
            DataType::List(item)
            | DataType::LargeList(item)
            | DataType::FixedSizeList(item, _)
            | DataType::ListView(item) => {
                let array = cast_to(array, DataType::List(Arc::clone(item)))?;
                let list = array.as_list::<i32>().clone();
                let element = match pg_type.oid {
                    oid::OIDVECTOR => PgType::new(oid::OID),
                    _ => pg_type.element().unwrap_or_else(|| PgType::of_field(item)),
                };
                let child = TextColumn::new(list.values(), element, zone)?;
                Values::List(list, Box::new(child))
            }
            DataType::Dictionary(_, value) => {
                let array = cast_to(array, value.as_ref().clone())?;
                Self::values(&array, pg_type, zone)?
            }
            _ => form!(array, DataType::Utf8View, as_string_view, Text),
        })
    }

    /// Whether the value is NULL.
    pub fn is_null(&self, row: usize) -> bool {
        matches!(self.values, Values::Null) || self.nulls.as_ref().is_some_and(|nulls| nulls.is_null(row))
    }

    /// Writes the value's text. The row must exist and not be NULL.
    pub fn write_text(&self, row: usize, out: &mut impl BufMut) {
        match &self.values {
            Values::Null => {}
            Values::Bool(array) => out.put_u8(if array.value(row) { b't' } else { b'f' }),
            Values::Int16(array) => number::write_integer(i64::from(array.value(row)), out),
            Values::Int32(array) => number::write_integer(i64::from(array.value(row)), out),
            Values::Int64(array) => number::write_integer(array.value(row), out),
            Values::Float32(array) => number::write_f32(array.value(row), out),
            Values::Float64(array) => number::write_f64(array.value(row), out),
            Values::Decimal(array, scale) => {
                // A column without a scale of its own shows the digits that its values have.
                if self.pg_type.modifier < 0 && self.pg_type.oid == oid::NUMERIC {
                    number::write_decimal_trimmed(array.value(row), *scale, out);
                } else {
                    number::write_decimal(array.value(row), *scale, out);
                }
            }
            Values::Text(array) => self.write_characters(array.value(row), out),
            Values::TextOffsets(array) => self.write_characters(array.value(row), out),
            Values::Bytes(array) => format::write_bytea(array.value(row), out),
            Values::BytesOffsets(array) => format::write_bytea(array.value(row), out),
            Values::Uuid(array) => format::write_uuid(array.value(row), out),
            Values::Date(array) => datetime::write_date(array.value(row), out),
            Values::Time(array) => datetime::write_time(array.value(row), out),
            Values::Timestamp(array) => {
                if self.pg_type.oid == oid::TIMESTAMPTZ {
                    datetime::write_timestamptz(array.value(row), &self.zone, out);
                } else {
                    datetime::write_timestamp(array.value(row), out);
                }
            }
            Values::Interval(array) => {
                let value = array.value(row);
                interval::write_interval(value.months, value.days, value.nanoseconds, out);
            }
            Values::List(array, child) if self.pg_type.is_vector() => child.write_vector(array, row, out),
            Values::List(array, child) => child.write_list(array, row, out),
        }
    }

    /// `char(n)` is held without the blanks at its end.
    fn write_characters(&self, text: &str, out: &mut impl BufMut) {
        out.put_slice(text.as_bytes());
        if self.pg_type.oid == oid::BPCHAR
            && let Some(length) = self.pg_type.length()
        {
            out.put_bytes(b' ', length.saturating_sub(text.chars().count()));
        }
    }

    fn write_list(&self, array: &ListArray, row: usize, out: &mut impl BufMut) {
        let (start, end) = list_bounds(array, row);
        out.put_u8(b'{');
        let mut scratch = Vec::new();
        for index in start..end {
            if index > start {
                out.put_u8(b',');
            }
            if self.is_null(index) {
                out.put_slice(b"NULL");
                continue;
            }
            scratch.clear();
            self.write_element(index, &mut scratch);
            if matches!(self.values, Values::List(..)) {
                out.put_slice(&scratch);
            } else {
                format::write_array_element(&scratch, out);
            }
        }
        out.put_u8(b'}');
    }

    /// int2vector and oidvector: numbers with blanks between.
    fn write_vector(&self, array: &ListArray, row: usize, out: &mut impl BufMut) {
        let (start, end) = list_bounds(array, row);
        let mut scratch = Vec::new();
        for index in start..end {
            if index > start {
                scratch.push(b' ');
            }
            self.write_element(index, &mut scratch);
        }
        out.put_slice(&scratch);
    }

    // Its own function: a list's elements are written to one type of buffer, or the recursion would have no end of types.
    fn write_element(&self, row: usize, out: &mut Vec<u8>) {
        self.write_text(row, out);
    }
}

/// Where a list's elements are in its child.
pub(super) fn list_bounds(array: &ListArray, row: usize) -> (usize, usize) {
    let offsets = array.value_offsets();
    let bound =
        |index: usize| offsets.get(index).and_then(|offset| usize::try_from(*offset).ok()).unwrap_or(0);
    (bound(row), bound(row + 1))
}
