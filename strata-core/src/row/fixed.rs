//! The little-endian bytes of values of fixed width, in rows and in arrays.

use super::damaged;
use super::types::ColumnType;
use super::value::DatumRef;
use crate::error::Result;

/// Digits of a decimal that always fit an `i64`: such columns take 8 bytes instead of 16.
const NARROW_DECIMAL_DIGITS: u8 = 18;

/// The width in bytes of a type's values; `None` for those of variable length.
pub(super) fn fixed_width(column_type: &ColumnType) -> Option<usize> {
    Some(match column_type {
        ColumnType::Bool => 1,
        ColumnType::Int16 => 2,
        ColumnType::Int32 | ColumnType::Float32 | ColumnType::Date => 4,
        ColumnType::Int64
        | ColumnType::Float64
        | ColumnType::Time
        | ColumnType::Timestamp
        | ColumnType::TimestampTz => 8,
        ColumnType::Decimal { precision, .. } if is_narrow(*precision) => 8,
        ColumnType::Decimal { .. } | ColumnType::Interval | ColumnType::Uuid => 16,
        ColumnType::Text | ColumnType::Bytes | ColumnType::Array(_) => return None,
    })
}

/// Whether a decimal of this precision takes 8 bytes.
pub(super) fn is_narrow(precision: u8) -> bool {
    precision <= NARROW_DECIMAL_DIGITS
}

/// Writes a value that [`DatumRef::check_type`] found to be of a fixed-width type. `out` has its width.
pub(super) fn write_fixed(value: &DatumRef<'_>, out: &mut [u8]) {
    match *value {
        DatumRef::Bool(value) => out.copy_from_slice(&[u8::from(value)]),
        DatumRef::Int16(value) => out.copy_from_slice(&value.to_le_bytes()),
        DatumRef::Int32(value) | DatumRef::Date(value) => out.copy_from_slice(&value.to_le_bytes()),
        DatumRef::Int64(value)
        | DatumRef::Time(value)
        | DatumRef::Timestamp(value)
        | DatumRef::TimestampTz(value) => out.copy_from_slice(&value.to_le_bytes()),
        DatumRef::Float32(value) => out.copy_from_slice(&value.to_le_bytes()),
        DatumRef::Float64(value) => out.copy_from_slice(&value.to_le_bytes()),
        // The upper half of a narrow decimal only repeats the sign.
        DatumRef::Decimal(value) => out.copy_from_slice(&value.to_le_bytes()[..out.len()]),
        DatumRef::Interval { months, days, nanoseconds } => {
            out[..4].copy_from_slice(&months.to_le_bytes());
            out[4..8].copy_from_slice(&days.to_le_bytes());
            out[8..].copy_from_slice(&nanoseconds.to_le_bytes());
        }
        DatumRef::Uuid(value) => out.copy_from_slice(&value),
        DatumRef::Null | DatumRef::Text(_) | DatumRef::Bytes(_) | DatumRef::Array(_) => {
            debug_assert!(false, "not of fixed width");
        }
    }
}

/// Reads a value of a fixed-width type.
pub(super) fn read_fixed(column_type: &ColumnType, bytes: &[u8]) -> Result<DatumRef<'static>> {
    Ok(match column_type {
        ColumnType::Bool => DatumRef::Bool(exact::<1>(bytes)? != [0]),
        ColumnType::Int16 => DatumRef::Int16(read_i16(bytes)?),
        ColumnType::Int32 => DatumRef::Int32(read_i32(bytes)?),
        ColumnType::Int64 => DatumRef::Int64(read_i64(bytes)?),
        ColumnType::Float32 => DatumRef::Float32(read_f32(bytes)?),
        ColumnType::Float64 => DatumRef::Float64(read_f64(bytes)?),
        ColumnType::Decimal { precision, .. } => DatumRef::Decimal(read_decimal(*precision, bytes)?),
        ColumnType::Date => DatumRef::Date(read_i32(bytes)?),
        ColumnType::Time => DatumRef::Time(read_i64(bytes)?),
        ColumnType::Timestamp => DatumRef::Timestamp(read_i64(bytes)?),
        ColumnType::TimestampTz => DatumRef::TimestampTz(read_i64(bytes)?),
        ColumnType::Interval => {
            let (months, days, nanoseconds) = read_interval(bytes)?;
            DatumRef::Interval { months, days, nanoseconds }
        }
        ColumnType::Uuid => DatumRef::Uuid(exact(bytes)?),
        ColumnType::Text | ColumnType::Bytes | ColumnType::Array(_) => {
            return Err(damaged(
                "row value",
                0,
                "a value of variable length where one of fixed width belongs",
            ));
        }
    })
}

/// Reads the unscaled integer of a decimal.
pub(super) fn read_decimal(precision: u8, bytes: &[u8]) -> Result<i128> {
    Ok(if is_narrow(precision) { i128::from(read_i64(bytes)?) } else { i128::from_le_bytes(exact(bytes)?) })
}

/// Reads the months, days and nanoseconds of an interval.
pub(super) fn read_interval(bytes: &[u8]) -> Result<(i32, i32, i64)> {
    let bits: [u8; 16] = exact(bytes)?;
    let [a, b, c, d, e, f, g, h, rest @ ..] = bits;
    Ok((i32::from_le_bytes([a, b, c, d]), i32::from_le_bytes([e, f, g, h]), i64::from_le_bytes(rest)))
}

macro_rules! read_number {
    ($($name:ident -> $number:ty),*) => {$(
        #[inline]
        pub(super) fn $name(bytes: &[u8]) -> Result<$number> {
            Ok(<$number>::from_le_bytes(exact(bytes)?))
        }
    )*};
}
read_number!(read_i16 -> i16, read_i32 -> i32, read_i64 -> i64, read_f32 -> f32, read_f64 -> f64);

/// The bytes as an array of exactly `N`.
fn exact<const N: usize>(bytes: &[u8]) -> Result<[u8; N]> {
    bytes.try_into().map_err(|_| damaged("row value", 0, format!("{} bytes where {N} belong", bytes.len())))
}
