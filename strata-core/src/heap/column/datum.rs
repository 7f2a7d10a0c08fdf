//! Between the physical forms of values and [`Datum`].

use crate::codec::{Damage, Decoded};
use crate::row::{ColumnType, Datum, DatumRef, decode_array};

/// The value of an integer form, if it is one of the type.
pub(super) fn of_integer(column_type: &ColumnType, value: i64) -> Decoded<Datum> {
    let outside = || Damage::at(0, format!("{value} is no value of type {column_type:?}"));
    Ok(match column_type {
        ColumnType::Bool => match value {
            0 => Datum::Bool(false),
            1 => Datum::Bool(true),
            _ => return Err(outside()),
        },
        ColumnType::Int16 => Datum::Int16(i16::try_from(value).map_err(|_| outside())?),
        ColumnType::Int32 => Datum::Int32(i32::try_from(value).map_err(|_| outside())?),
        ColumnType::Int64 => Datum::Int64(value),
        ColumnType::Date => Datum::Date(i32::try_from(value).map_err(|_| outside())?),
        ColumnType::Time => Datum::Time(value),
        ColumnType::Timestamp => Datum::Timestamp(value),
        ColumnType::TimestampTz => Datum::TimestampTz(value),
        ColumnType::Decimal { .. } => Datum::Decimal(i128::from(value)),
        _ => return Err(outside()),
    })
}

/// The integer form of a value that has one.
pub(super) fn to_integer(datum: &Datum) -> Option<i64> {
    match datum {
        Datum::Bool(value) => Some(i64::from(*value)),
        Datum::Int16(value) => Some(i64::from(*value)),
        Datum::Int32(value) | Datum::Date(value) => Some(i64::from(*value)),
        Datum::Int64(value) | Datum::Time(value) | Datum::Timestamp(value) | Datum::TimestampTz(value) => {
            Some(*value)
        }
        Datum::Decimal(value) => i64::try_from(*value).ok(),
        _ => None,
    }
}

fn exact<const N: usize>(bytes: &[u8]) -> Decoded<[u8; N]> {
    bytes.try_into().map_err(|_| Damage::at(0, format!("value of {} bytes, not {N}", bytes.len())))
}

/// The value of a fixed-width form.
pub(super) fn of_fixed(column_type: &ColumnType, bytes: &[u8]) -> Decoded<Datum> {
    Ok(match column_type {
        ColumnType::Float32 => Datum::Float32(f32::from_le_bytes(exact(bytes)?)),
        ColumnType::Float64 => Datum::Float64(f64::from_le_bytes(exact(bytes)?)),
        ColumnType::Decimal { .. } => Datum::Decimal(i128::from_le_bytes(exact(bytes)?)),
        ColumnType::Uuid => Datum::Uuid(exact(bytes)?),
        ColumnType::Interval => {
            let raw: [u8; 16] = exact(bytes)?;
            let (parts, nanoseconds) = raw.split_at(8);
            let (months, days) = parts.split_at(4);
            Datum::Interval {
                months: i32::from_le_bytes(exact(months)?),
                days: i32::from_le_bytes(exact(days)?),
                nanoseconds: i64::from_le_bytes(exact(nanoseconds)?),
            }
        }
        _ => return Err(Damage::at(0, format!("type {column_type:?} has no fixed-width form"))),
    })
}

/// Appends the fixed-width form of a value that has one.
pub(super) fn push_fixed(datum: &Datum, out: &mut Vec<u8>) -> Option<()> {
    match datum {
        Datum::Float32(value) => out.extend(value.to_le_bytes()),
        Datum::Float64(value) => out.extend(value.to_le_bytes()),
        Datum::Decimal(value) => out.extend(value.to_le_bytes()),
        Datum::Uuid(value) => out.extend(value),
        Datum::Interval { months, days, nanoseconds } => {
            out.extend(months.to_le_bytes());
            out.extend(days.to_le_bytes());
            out.extend(nanoseconds.to_le_bytes());
        }
        _ => return None,
    }
    Some(())
}

/// The value of a string form.
pub(super) fn of_string(column_type: &ColumnType, bytes: &[u8]) -> Decoded<Datum> {
    with_string(column_type, bytes, |value| value.to_datum())
}

/// Shows the value of a string form to `visit`, uncopied where it can be.
pub(super) fn with_string<T>(
    column_type: &ColumnType,
    bytes: &[u8],
    visit: impl FnOnce(&DatumRef<'_>) -> T,
) -> Decoded<T> {
    match column_type {
        ColumnType::Text => match std::str::from_utf8(bytes) {
            Ok(text) => Ok(visit(&DatumRef::Text(text))),
            Err(_) => Err(Damage::at(0, "text is not UTF-8")),
        },
        ColumnType::Bytes => Ok(visit(&DatumRef::Bytes(bytes))),
        ColumnType::Array(element_type) => match decode_array(element_type, bytes) {
            Ok(elements) => Ok(visit(&DatumRef::Array(elements.into()))),
            Err(error) => Err(Damage::at(0, error.to_string())),
        },
        _ => Err(Damage::at(0, format!("type {column_type:?} has no string form"))),
    }
}
