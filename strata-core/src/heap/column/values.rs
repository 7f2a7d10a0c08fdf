//! The values of an Arrow array in the form in which they are encoded.

use arrow_array::cast::AsArray;
use arrow_array::types::{
    ArrowPrimitiveType, Date32Type, Decimal128Type, Float32Type, Float64Type, Int16Type, Int32Type,
    Int64Type, IntervalMonthDayNanoType, Time64MicrosecondType, TimestampMicrosecondType,
};
use arrow_array::{Array, ArrayRef};
use arrow_buffer::NullBuffer;

use super::encoding::Form;
use crate::error::Result;
use crate::row::{ColumnReader, ColumnType, DatumRef, encode_array};

/// The values of a column, NULLs included: integers and fixed-width values repeat the value before a NULL, so that
/// it costs no bits; strings are empty there.
#[derive(Debug)]
pub(super) enum Values<'a> {
    /// See [`Form::Integers`].
    Integers(Vec<i64>),
    /// See [`Form::Fixed`]: width, and all bytes.
    Fixed(usize, Vec<u8>),
    /// See [`Form::Strings`].
    Strings(Vec<&'a [u8]>),
}

impl Values<'_> {
    /// Their form.
    pub fn form(&self) -> Form {
        match self {
            Self::Integers(_) => Form::Integers,
            Self::Fixed(width, _) => Form::Fixed(*width),
            Self::Strings(_) => Form::Strings,
        }
    }
}

/// The values of an array of the column's Arrow type. Lists are serialised into `arena`.
pub(super) fn of_array<'a>(
    array: &'a ArrayRef,
    column_type: &'a ColumnType,
    arena: &'a mut Vec<u8>,
) -> Result<Values<'a>> {
    // Checks the type, so that the casts below cannot fail.
    let reader = ColumnReader::new(array.as_ref(), column_type)?;
    let nulls = array.nulls();
    Ok(match column_type {
        ColumnType::Bool => {
            let array = array.as_boolean();
            Values::Integers(filled(nulls, array.values().iter().map(i64::from)))
        }
        ColumnType::Int16 => integers::<Int16Type>(array),
        ColumnType::Int32 => integers::<Int32Type>(array),
        ColumnType::Int64 => integers::<Int64Type>(array),
        ColumnType::Date => integers::<Date32Type>(array),
        ColumnType::Time => integers::<Time64MicrosecondType>(array),
        ColumnType::Timestamp | ColumnType::TimestampTz => integers::<TimestampMicrosecondType>(array),
        ColumnType::Decimal { .. } => decimals(array),
        ColumnType::Float32 => fixed::<Float32Type, 4>(array, f32::to_le_bytes),
        ColumnType::Float64 => fixed::<Float64Type, 8>(array, f64::to_le_bytes),
        ColumnType::Interval => fixed::<IntervalMonthDayNanoType, 16>(array, |value| {
            let mut bytes = [0; 16];
            let (parts, nanoseconds) = bytes.split_at_mut(8);
            let (months, days) = parts.split_at_mut(4);
            months.copy_from_slice(&value.months.to_le_bytes());
            days.copy_from_slice(&value.days.to_le_bytes());
            nanoseconds.copy_from_slice(&value.nanoseconds.to_le_bytes());
            bytes
        }),
        ColumnType::Uuid => {
            let array = array.as_fixed_size_binary();
            let rows = (0..array.len()).map(|at| <[u8; 16]>::try_from(array.value(at)).unwrap_or_default());
            Values::Fixed(16, filled(nulls, rows).into_iter().flatten().collect())
        }
        ColumnType::Text => {
            let array = array.as_string_view();
            Values::Strings(strings(nulls, array.len(), |at| array.value(at).as_bytes()))
        }
        ColumnType::Bytes => {
            let array = array.as_binary_view();
            Values::Strings(strings(nulls, array.len(), |at| array.value(at)))
        }
        ColumnType::Array(element_type) => {
            let mut ends = Vec::with_capacity(array.len());
            for at in 0..array.len() {
                if let DatumRef::Array(elements) = reader.value(at)? {
                    encode_array(&elements, element_type, arena)?;
                }
                ends.push(arena.len());
            }
            let bytes: &'a [u8] = arena;
            let mut start = 0;
            let cut = |end: usize| bytes.get(std::mem::replace(&mut start, end)..end).unwrap_or_default();
            Values::Strings(ends.into_iter().map(cut).collect())
        }
    })
}

fn integers<T: ArrowPrimitiveType<Native: Into<i64>>>(array: &ArrayRef) -> Values<'static> {
    let array = array.as_primitive::<T>();
    Values::Integers(filled(array.nulls(), array.values().iter().map(|value| (*value).into())))
}

fn fixed<T: ArrowPrimitiveType, const N: usize>(
    array: &ArrayRef,
    bytes: fn(T::Native) -> [u8; N],
) -> Values<'static> {
    let array = array.as_primitive::<T>();
    let rows = array.values().iter().map(|value| bytes(*value));
    Values::Fixed(N, filled(array.nulls(), rows).into_iter().flatten().collect())
}

/// Decimals that all fit 64 bits are integers.
fn decimals(array: &ArrayRef) -> Values<'static> {
    let array = array.as_primitive::<Decimal128Type>();
    let rows = filled(array.nulls(), array.values().iter().copied());
    match rows.iter().map(|value| i64::try_from(*value)).collect::<std::result::Result<Vec<_>, _>>() {
        Ok(integers) => Values::Integers(integers),
        Err(_) => Values::Fixed(16, rows.into_iter().flat_map(i128::to_le_bytes).collect()),
    }
}

/// The values, each NULL replaced by the value before it, leading ones by the first value there is.
fn filled<T: Copy>(nulls: Option<&NullBuffer>, values: impl Iterator<Item = T>) -> Vec<T> {
    let Some(nulls) = nulls else { return values.collect() };
    let mut values: Vec<T> = values.collect();
    let first = nulls.valid_indices().next().and_then(|at| values.get(at).copied());
    let Some(mut last) = first else { return values };
    for (value, valid) in values.iter_mut().zip(nulls) {
        if valid {
            last = *value;
        } else {
            *value = last;
        }
    }
    values
}

fn strings<'a>(nulls: Option<&NullBuffer>, count: usize, value: impl Fn(usize) -> &'a [u8]) -> Vec<&'a [u8]> {
    let is_null = |at| nulls.is_some_and(|nulls| nulls.is_null(at));
    (0..count).map(|at| if is_null(at) { &[][..] } else { value(at) }).collect()
}
