//! Values in Postgres' binary formats: network byte order, times counted from 2000-01-01.

use bytes::{BufMut, BytesMut};

use super::column::{TextColumn, Values, list_bounds};
use crate::error::{SqlError, SqlResult};
use crate::postgres::types::oid;

/// Days from 1970-01-01 to 2000-01-01.
pub(super) const EPOCH_DAYS: i32 = 10_957;
/// The same in microseconds.
pub(super) const EPOCH_MICROS: i64 = 946_684_800_000_000;

/// Signs of a binary numeric.
pub(super) const NUMERIC_NEGATIVE: u16 = 0x4000;

/// Writes the length placeholder, the value, and then the length.
pub(super) fn with_length(
    out: &mut BytesMut,
    write: impl FnOnce(&mut BytesMut) -> SqlResult<()>,
) -> SqlResult<()> {
    let start = out.len();
    out.put_i32(0);
    write(out)?;
    let length = i32::try_from(out.len() - start - 4)
        .map_err(|_| SqlError::new("54000", "a value is too large to be sent"))?;
    if let Some(place) = out.get_mut(start..start + 4) {
        place.copy_from_slice(&length.to_be_bytes());
    }
    Ok(())
}

/// Writes a value that is not NULL, without its length.
pub(super) fn write_binary(column: &TextColumn, row: usize, out: &mut BytesMut) -> SqlResult<()> {
    match &column.values {
        Values::Null => {}
        Values::Bool(array) => out.put_u8(u8::from(array.value(row))),
        Values::Int16(array) => out.put_i16(array.value(row)),
        Values::Int32(array) => out.put_i32(array.value(row)),
        Values::Int64(array) => match column.pg_type.oid {
            oid::INT8 => out.put_i64(array.value(row)),
            oid::INT4 => out.put_i32(narrow(array.value(row))?),
            // oid and its aliases are unsigned.
            _ => out.put_u32(narrow(array.value(row))?),
        },
        Values::Float32(array) => out.put_f32(array.value(row)),
        Values::Float64(array) => out.put_f64(array.value(row)),
        Values::Decimal(array, scale) => write_numeric(array.value(row), *scale, out),
        Values::Text(_) | Values::TextOffsets(_) => {
            if column.pg_type.oid == oid::JSONB {
                out.put_u8(1);
            }
            column.write_text(row, out);
        }
        Values::Bytes(array) => out.put_slice(array.value(row)),
        Values::BytesOffsets(array) => out.put_slice(array.value(row)),
        Values::Uuid(array) => out.put_slice(array.value(row)),
        Values::Date(array) => out.put_i32(match array.value(row) {
            infinite @ (i32::MAX | i32::MIN) => infinite,
            days => days.saturating_sub(EPOCH_DAYS),
        }),
        Values::Time(array) => out.put_i64(array.value(row)),
        Values::Timestamp(array) => out.put_i64(match array.value(row) {
            infinite @ (i64::MAX | i64::MIN) => infinite,
            micros => micros.saturating_sub(EPOCH_MICROS),
        }),
        Values::Interval(array) => {
            let value = array.value(row);
            out.put_i64(value.nanoseconds / 1_000);
            out.put_i32(value.days);
            out.put_i32(value.months);
        }
        Values::List(array, child) => {
            let (start, end) = list_bounds(array, row);
            let nulls = (start..end).any(|index| child.is_null(index));
            out.put_i32(i32::from(end > start));
            out.put_i32(i32::from(nulls));
            out.put_u32(child.pg_type.oid);
            if end > start {
                out.put_i32(narrow(i64::try_from(end - start).unwrap_or(i64::MAX))?);
                // The lower bound.
                out.put_i32(i32::from(!column.pg_type.is_vector()));
            }
            for index in start..end {
                if child.is_null(index) {
                    out.put_i32(-1);
                } else {
                    with_length(out, |out| write_binary(child, index, out))?;
                }
            }
        }
    }
    Ok(())
}

fn narrow<T: TryFrom<i64>>(value: i64) -> SqlResult<T> {
    T::try_from(value).map_err(|_| SqlError::new("22003", "integer out of range"))
}

/// Digits in base 10,000, the point between whole groups.
pub(super) fn write_numeric(value: i128, scale: i8, out: &mut BytesMut) {
    let mut rest = value.unsigned_abs();
    let shown_scale = u16::try_from(scale).unwrap_or(0);
    let mut exponent = i32::from(scale);
    // The last group must end at a multiple of four digits after the point.
    let padding = (-exponent).rem_euclid(4);
    // 10^3 at most: a value of 38 digits leaves room for that in 128 bits, except near the top.
    let (mut groups, mut count) = ([0u16; 12], 0usize);
    let mut weight = 0i32;
    exponent += padding;
    let mut low = true;
    while rest > 0 {
        let group = if low && padding > 0 {
            // The lowest group holds fewer than four digits of the value.
            let digits = 4 - padding.unsigned_abs();
            let divisor = 10u128.pow(digits);
            let group = (rest % divisor) * 10u128.pow(padding.unsigned_abs());
            rest /= divisor;
            group
        } else {
            let group = rest % 10_000;
            rest /= 10_000;
            group
        };
        low = false;
        if let Some(place) = groups.get_mut(count) {
            *place = group as u16;
        }
        count += 1;
        weight = count as i32 - 1 - exponent / 4;
    }
    // Trailing zero groups are not sent.
    let mut first = 0;
    while first < count && groups.get(first) == Some(&0) {
        first += 1;
    }
    let sent = count - first;
    out.put_i16(sent as i16);
    out.put_i16(if sent == 0 { 0 } else { weight as i16 });
    out.put_u16(if value < 0 { NUMERIC_NEGATIVE } else { 0 });
    out.put_u16(shown_scale);
    for group in groups.iter().take(count).skip(first).rev() {
        out.put_u16(*group);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numeric(value: i128, scale: i8) -> Vec<u8> {
        let mut out = BytesMut::new();
        write_numeric(value, scale, &mut out);
        out.to_vec()
    }

    fn groups(head: [i16; 4], groups: &[i16]) -> Vec<u8> {
        head.iter().chain(groups).flat_map(|word| word.to_be_bytes()).collect()
    }

    #[test]
    fn numerics_are_sent_in_groups_of_four_digits() {
        assert_eq!(numeric(0, 2), groups([0, 0, 0, 2], &[]));
        assert_eq!(numeric(1, 0), groups([1, 0, 0, 0], &[1]));
        assert_eq!(numeric(12_345_678, 0), groups([2, 1, 0, 0], &[1234, 5678]));
        assert_eq!(numeric(12_345, 2), groups([2, 0, 0, 2], &[123, 4500]));
        assert_eq!(numeric(-5, 1), groups([1, -1, 0x4000, 1], &[5000]));
        assert_eq!(numeric(10_000, 0), groups([1, 1, 0, 0], &[1]));
        assert_eq!(numeric(1, 5), groups([1, -2, 0, 5], &[1000]));
        assert_eq!(numeric(100, 2), groups([1, 0, 0, 2], &[1]));
        assert_eq!(numeric(10i128.pow(37), 0), groups([1, 9, 0, 0], &[10]));
    }
}
