//! Values as they stand in Arrow arrays.
//!
//! Each [`ColumnType`] has one Arrow type, [`arrow_type`]. Text and bytes are views and decimals are 128 bits
//! wide, since DataFusion groups and joins those fastest; never dictionary arrays.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{
    Date32Type, Decimal128Type, Float32Type, Float64Type, Int16Type, Int32Type, Int64Type,
    IntervalMonthDayNanoType, Time64MicrosecondType, TimestampMicrosecondType,
};
use arrow_array::{
    Array, BinaryViewArray, BooleanArray, FixedSizeBinaryArray, ListArray, PrimitiveArray, StringViewArray,
};
use arrow_schema::{DataType, Field, FieldRef, IntervalUnit, TimeUnit};

use super::types::{ColumnType, Datum};
use super::value::DatumRef;
use crate::error::{Error, Result};

/// Bytes of a uuid, as Arrow counts them.
pub(super) const UUID_BYTES: i32 = 16;
/// The zone of timestamptz columns.
pub(super) const UTC: &str = "UTC";

/// The Arrow type of a column.
pub fn arrow_type(column_type: &ColumnType) -> DataType {
    match column_type {
        ColumnType::Bool => DataType::Boolean,
        ColumnType::Int16 => DataType::Int16,
        ColumnType::Int32 => DataType::Int32,
        ColumnType::Int64 => DataType::Int64,
        ColumnType::Float32 => DataType::Float32,
        ColumnType::Float64 => DataType::Float64,
        ColumnType::Decimal { precision, scale } => DataType::Decimal128(*precision, arrow_scale(*scale)),
        ColumnType::Text => DataType::Utf8View,
        ColumnType::Bytes => DataType::BinaryView,
        ColumnType::Date => DataType::Date32,
        ColumnType::Time => DataType::Time64(TimeUnit::Microsecond),
        ColumnType::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, None),
        ColumnType::TimestampTz => DataType::Timestamp(TimeUnit::Microsecond, Some(UTC.into())),
        ColumnType::Interval => DataType::Interval(IntervalUnit::MonthDayNano),
        ColumnType::Uuid => DataType::FixedSizeBinary(UUID_BYTES),
        ColumnType::Array(element_type) => DataType::List(item_field(element_type)),
    }
}

/// The scale of a decimal as Arrow has it.
fn arrow_scale(scale: u8) -> i8 {
    i8::try_from(scale).unwrap_or(i8::MAX)
}

/// The field of an array's elements.
pub(super) fn item_field(element_type: &ColumnType) -> FieldRef {
    Arc::new(Field::new("item", arrow_type(element_type), true))
}

/// The value at a place of an array of the column's Arrow type. For more than one value use a
/// [`ColumnReader`].
///
/// # Errors
/// `Invalid` where the array has another type or the place is beyond its end.
pub fn datum_at(array: &dyn Array, index: usize, column_type: &ColumnType) -> Result<Datum> {
    Ok(ColumnReader::new(array, column_type)?.value(index)?.to_datum())
}

/// Reads the values of an array, whose type is looked at once.
#[derive(Clone, Debug)]
pub struct ColumnReader<'a> {
    array: &'a dyn Array,
    typed: Typed<'a>,
}

#[derive(Clone, Debug)]
enum Typed<'a> {
    Bool(&'a BooleanArray),
    Int16(&'a PrimitiveArray<Int16Type>),
    Int32(&'a PrimitiveArray<Int32Type>),
    Int64(&'a PrimitiveArray<Int64Type>),
    Float32(&'a PrimitiveArray<Float32Type>),
    Float64(&'a PrimitiveArray<Float64Type>),
    Decimal(&'a PrimitiveArray<Decimal128Type>),
    Text(&'a StringViewArray),
    Bytes(&'a BinaryViewArray),
    Date(&'a PrimitiveArray<Date32Type>),
    Time(&'a PrimitiveArray<Time64MicrosecondType>),
    Timestamp(&'a PrimitiveArray<TimestampMicrosecondType>),
    TimestampTz(&'a PrimitiveArray<TimestampMicrosecondType>),
    Interval(&'a PrimitiveArray<IntervalMonthDayNanoType>),
    Uuid(&'a FixedSizeBinaryArray),
    List(&'a ListArray, &'a ColumnType),
}

impl<'a> ColumnReader<'a> {
    /// A reader of an array that must have the column's Arrow type.
    ///
    /// # Errors
    /// `Invalid` where it has another.
    pub fn new(array: &'a dyn Array, column_type: &'a ColumnType) -> Result<Self> {
        Self::downcast(array, column_type).map(|typed| Self { array, typed }).ok_or_else(|| {
            Error::Invalid(format!(
                "an array of {} does not fit a column of type {column_type}",
                array.data_type()
            ))
        })
    }

    fn downcast(array: &'a dyn Array, column_type: &'a ColumnType) -> Option<Typed<'a>> {
        Some(match column_type {
            // The name of a list's field and its metadata do not matter, the type of its elements does.
            ColumnType::Array(element_type) => {
                let list = array.as_list_opt::<i32>()?;
                ColumnReader::downcast(list.values(), element_type)?;
                Typed::List(list, element_type)
            }
            _ if array.data_type() != &arrow_type(column_type) => return None,
            ColumnType::Bool => Typed::Bool(array.as_boolean_opt()?),
            ColumnType::Int16 => Typed::Int16(array.as_primitive_opt()?),
            ColumnType::Int32 => Typed::Int32(array.as_primitive_opt()?),
            ColumnType::Int64 => Typed::Int64(array.as_primitive_opt()?),
            ColumnType::Float32 => Typed::Float32(array.as_primitive_opt()?),
            ColumnType::Float64 => Typed::Float64(array.as_primitive_opt()?),
            ColumnType::Decimal { .. } => Typed::Decimal(array.as_primitive_opt()?),
            ColumnType::Text => Typed::Text(array.as_string_view_opt()?),
            ColumnType::Bytes => Typed::Bytes(array.as_binary_view_opt()?),
            ColumnType::Date => Typed::Date(array.as_primitive_opt()?),
            ColumnType::Time => Typed::Time(array.as_primitive_opt()?),
            ColumnType::Timestamp => Typed::Timestamp(array.as_primitive_opt()?),
            ColumnType::TimestampTz => Typed::TimestampTz(array.as_primitive_opt()?),
            ColumnType::Interval => Typed::Interval(array.as_primitive_opt()?),
            ColumnType::Uuid => Typed::Uuid(array.as_fixed_size_binary_opt()?),
        })
    }

    /// The value at a place.
    ///
    /// # Errors
    /// `Invalid` where the array ends before it.
    pub fn value(&self, index: usize) -> Result<DatumRef<'a>> {
        if index >= self.array.len() {
            return Err(Error::Invalid(format!("place {index} of an array of {}", self.array.len())));
        }
        if self.array.is_null(index) {
            return Ok(DatumRef::Null);
        }
        Ok(match &self.typed {
            Typed::Bool(array) => DatumRef::Bool(array.value(index)),
            Typed::Int16(array) => DatumRef::Int16(array.value(index)),
            Typed::Int32(array) => DatumRef::Int32(array.value(index)),
            Typed::Int64(array) => DatumRef::Int64(array.value(index)),
            Typed::Float32(array) => DatumRef::Float32(array.value(index)),
            Typed::Float64(array) => DatumRef::Float64(array.value(index)),
            Typed::Decimal(array) => DatumRef::Decimal(array.value(index)),
            Typed::Text(array) => DatumRef::Text(array.value(index)),
            Typed::Bytes(array) => DatumRef::Bytes(array.value(index)),
            Typed::Date(array) => DatumRef::Date(array.value(index)),
            Typed::Time(array) => DatumRef::Time(array.value(index)),
            Typed::Timestamp(array) => DatumRef::Timestamp(array.value(index)),
            Typed::TimestampTz(array) => DatumRef::TimestampTz(array.value(index)),
            Typed::Interval(array) => {
                let value = array.value(index);
                DatumRef::Interval { months: value.months, days: value.days, nanoseconds: value.nanoseconds }
            }
            Typed::Uuid(array) => DatumRef::Uuid(uuid(array.value(index))?),
            Typed::List(array, element_type) => {
                let values = array.value(index);
                let reader = ColumnReader::new(&values, element_type)?;
                let elements: Result<Vec<Datum>> =
                    (0..values.len()).map(|index| Ok(reader.value(index)?.to_datum())).collect();
                DatumRef::Array(elements?.into())
            }
        })
    }
}

fn uuid(bytes: &[u8]) -> Result<[u8; 16]> {
    bytes.try_into().map_err(|_| Error::Invalid(format!("a uuid of {} bytes", bytes.len())))
}
