//! The bytes of index keys, which sort as the values do (`docs/format/key.md`).
//!
//! A key is the concatenation of its columns, each `[tag][value]`. No encoding of a column is a prefix of
//! another one of the same type, so that keys of the same columns compare column by column, and whatever
//! follows a key does not disturb the order.
//!
//! | bytes | meaning |
//! |---|---|
//! | `00` | NULL, where NULLs come first |
//! | `01` value | a value |
//! | `02` | NULL, where NULLs come last |
//!
//! The value is big-endian with the sign bit flipped; text and bytes write a zero byte as `00 FF` and end
//! in `00 00`. In a descending column all bytes of the value are inverted, the tag is not. Equal values have
//! equal bytes, which makes the key lossy where Postgres calls different values equal: -0 reads back as 0,
//! each NaN as the one, '30 days' as '1 month'.

use std::cmp::Ordering;

use super::compare::{DAY_NANOSECONDS, MONTH_NANOSECONDS, interval_length};
use super::damaged;
use super::types::{ColumnType, Datum};
use super::value::DatumRef;
use crate::error::{Error, Result};

const WHAT: &str = "index key";

const NULL_FIRST: u8 = 0;
const VALUE: u8 = 1;
const NULL_LAST: u8 = 2;

/// Ends an array; its elements start with `VALUE` or `NULL_LAST`.
const ARRAY_END: u8 = 0;
/// Follows a zero byte that belongs to the text.
const ESCAPED_ZERO: u8 = 0xFF;
/// Follows the zero byte that ends the text.
const TEXT_END: u8 = 0;

/// How a column of an index is ordered. The default is Postgres': ascending, NULLs last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub struct KeyOrder {
    /// The largest value first.
    pub descending: bool,
    /// NULLs before all values, whatever the direction.
    pub nulls_first: bool,
}

impl KeyOrder {
    /// How two values of the column stand in the index.
    pub fn compare(self, left: &Datum, right: &Datum) -> Ordering {
        match (left.is_null(), right.is_null()) {
            (true, true) => Ordering::Equal,
            (true, false) if self.nulls_first => Ordering::Less,
            (true, false) => Ordering::Greater,
            (false, true) => self.compare(right, left).reverse(),
            (false, false) if self.descending => super::compare(right, left),
            (false, false) => super::compare(left, right),
        }
    }

    fn null_tag(self) -> u8 {
        if self.nulls_first { NULL_FIRST } else { NULL_LAST }
    }
}

/// A column of a key.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct KeyPart {
    /// Its type.
    pub column_type: ColumnType,
    /// Its order.
    pub order: KeyOrder,
}

/// Appends the key bytes of one column.
///
/// # Errors
/// `Invalid` where the value is not of this type. (A decimal may have more digits than the precision: bounds
/// of a search do.) `out` is as before then.
pub fn encode_key(out: &mut Vec<u8>, value: &Datum, column_type: &ColumnType, order: KeyOrder) -> Result<()> {
    encode_key_value(out, &value.borrowed(), column_type, order)
}

/// [`encode_key`] of a borrowed value.
pub fn encode_key_value(
    out: &mut Vec<u8>,
    value: &DatumRef<'_>,
    column_type: &ColumnType,
    order: KeyOrder,
) -> Result<()> {
    if !value.is_of_type(column_type) {
        return Err(value.type_error(column_type));
    }
    if value.is_null() {
        out.push(order.null_tag());
        return Ok(());
    }
    out.push(VALUE);
    let start = out.len();
    append_value(out, value);
    if order.descending {
        out.iter_mut().skip(start).for_each(|byte| *byte = !*byte);
    }
    Ok(())
}

/// The rest of a key whose first column has this value; `None` where it has another.
///
/// # Errors
/// As [`encode_key`].
pub fn strip_key<'k>(
    key: &'k [u8],
    value: &Datum,
    column_type: &ColumnType,
    order: KeyOrder,
) -> Result<Option<&'k [u8]>> {
    if let (Datum::Int64(value), ColumnType::Int64, false) = (value, column_type, order.descending) {
        return Ok(key.strip_prefix(&int64_key(*value)));
    }
    let mut bytes = Vec::with_capacity(key.len());
    encode_key(&mut bytes, value, column_type, order)?;
    // No encoding is a prefix of another.
    Ok(key.strip_prefix(bytes.as_slice()))
}

/// The key bytes of an `int8` in ascending order, and of what is kept as one.
pub(super) fn int64_key(value: i64) -> [u8; 9] {
    let mut key = [VALUE; 9];
    let (_, bytes) = key.split_at_mut(1);
    bytes.copy_from_slice(&(value ^ i64::MIN).to_be_bytes());
    key
}

/// The key bytes of an `int4` in ascending order, and of what is kept as one.
pub(super) fn int32_key(value: i32) -> [u8; 5] {
    let mut key = [VALUE; 5];
    let (_, bytes) = key.split_at_mut(1);
    bytes.copy_from_slice(&(value ^ i32::MIN).to_be_bytes());
    key
}

/// Appends the key bytes of the first columns of a key, as many as there are values: with all of them the
/// key, with fewer the prefix that the keys with these values share.
///
/// # Errors
/// `Invalid` for more values than parts, or a value of another type. `out` is as before then.
pub fn encode_key_prefix(out: &mut Vec<u8>, values: &[Datum], parts: &[KeyPart]) -> Result<()> {
    if values.len() > parts.len() {
        return Err(Error::Invalid(format!("{} values for a key of {} columns", values.len(), parts.len())));
    }
    let start = out.len();
    let result = values
        .iter()
        .zip(parts)
        .try_for_each(|(value, part)| encode_key(out, value, &part.column_type, part.order));
    if result.is_err() {
        out.truncate(start);
    }
    result
}

/// The smallest byte string that is greater than all that start with `prefix`; `None` where none is (all
/// bytes are `FF`).
pub fn prefix_successor(prefix: &[u8]) -> Option<Vec<u8>> {
    let last = prefix.iter().rposition(|byte| *byte != u8::MAX)?;
    let mut successor = prefix.get(..=last)?.to_vec();
    *successor.last_mut()? += 1;
    Some(successor)
}

/// Whether a key of these values has a NULL in it, and so is neither checked nor locked as unique.
pub fn has_null(values: &[Datum]) -> bool {
    values.iter().any(Datum::is_null)
}

fn append_value(out: &mut Vec<u8>, value: &DatumRef<'_>) {
    match value {
        DatumRef::Null => {}
        DatumRef::Bool(value) => out.push(u8::from(*value)),
        DatumRef::Int16(value) => out.extend_from_slice(&(value ^ i16::MIN).to_be_bytes()),
        DatumRef::Int32(value) | DatumRef::Date(value) => {
            out.extend_from_slice(&(value ^ i32::MIN).to_be_bytes());
        }
        DatumRef::Int64(value)
        | DatumRef::Time(value)
        | DatumRef::Timestamp(value)
        | DatumRef::TimestampTz(value) => out.extend_from_slice(&(value ^ i64::MIN).to_be_bytes()),
        DatumRef::Float32(value) => out.extend_from_slice(&ordered_f32(*value).to_be_bytes()),
        DatumRef::Float64(value) => out.extend_from_slice(&ordered_f64(*value).to_be_bytes()),
        DatumRef::Decimal(value) => out.extend_from_slice(&(value ^ i128::MIN).to_be_bytes()),
        DatumRef::Interval { months, days, nanoseconds } => {
            let length = interval_length(*months, *days, *nanoseconds);
            out.extend_from_slice(&(length ^ i128::MIN).to_be_bytes());
        }
        DatumRef::Uuid(value) => out.extend_from_slice(value),
        DatumRef::Text(value) => append_escaped(out, value.as_bytes()),
        DatumRef::Bytes(value) => append_escaped(out, value),
        DatumRef::Array(elements) => {
            for element in elements.iter() {
                out.push(if element.is_null() { NULL_LAST } else { VALUE });
                append_value(out, &element.borrowed());
            }
            out.push(ARRAY_END);
        }
    }
}

fn append_escaped(out: &mut Vec<u8>, bytes: &[u8]) {
    let mut runs = bytes.split(|byte| *byte == 0);
    out.extend_from_slice(runs.next().unwrap_or_default());
    for run in runs {
        out.extend_from_slice(&[0, ESCAPED_ZERO]);
        out.extend_from_slice(run);
    }
    out.extend_from_slice(&[0, TEXT_END]);
}

/// Bits that sort as floats do: negative ones inverted, others above them.
fn ordered_f64(value: f64) -> u64 {
    let bits = if value.is_nan() { f64::NAN.abs().to_bits() } else { (value + 0.0).to_bits() };
    if bits >> 63 == 1 { !bits } else { bits | 1 << 63 }
}

fn ordered_f32(value: f32) -> u32 {
    let bits = if value.is_nan() { f32::NAN.abs().to_bits() } else { (value + 0.0).to_bits() };
    if bits >> 31 == 1 { !bits } else { bits | 1 << 31 }
}

/// Takes the first column off a key and returns its value.
///
/// # Errors
/// `Corrupt` where the bytes are no key of this type.
pub fn decode_key(key: &mut &[u8], column_type: &ColumnType, order: KeyOrder) -> Result<Datum> {
    let mut reader = KeyReader { rest: key, mask: 0 };
    let tag = reader.byte()?;
    if tag == order.null_tag() {
        *key = reader.rest;
        return Ok(Datum::Null);
    }
    if tag != VALUE {
        return Err(damaged(WHAT, 0, format!("a column starts with {tag:#04x}")));
    }
    reader.mask = if order.descending { u8::MAX } else { 0 };
    let value = reader.value(column_type)?;
    *key = reader.rest;
    Ok(value)
}

/// Reads from the front of a key, inverting where the column is descending.
struct KeyReader<'a> {
    rest: &'a [u8],
    mask: u8,
}

impl KeyReader<'_> {
    fn byte(&mut self) -> Result<u8> {
        self.array().map(|[byte]: [u8; 1]| byte)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let (bytes, rest) = self
            .rest
            .split_first_chunk::<N>()
            .ok_or_else(|| damaged(WHAT, self.rest.len(), "it is cut short"))?;
        self.rest = rest;
        Ok(bytes.map(|byte| byte ^ self.mask))
    }

    fn value(&mut self, column_type: &ColumnType) -> Result<Datum> {
        Ok(match column_type {
            ColumnType::Bool => Datum::Bool(self.byte()? != 0),
            ColumnType::Int16 => Datum::Int16(i16::from_be_bytes(self.array()?) ^ i16::MIN),
            ColumnType::Int32 => Datum::Int32(i32::from_be_bytes(self.array()?) ^ i32::MIN),
            ColumnType::Int64 => Datum::Int64(self.int64()?),
            ColumnType::Float32 => {
                let bits = u32::from_be_bytes(self.array()?);
                Datum::Float32(f32::from_bits(if bits >> 31 == 1 { bits ^ 1 << 31 } else { !bits }))
            }
            ColumnType::Float64 => {
                let bits = u64::from_be_bytes(self.array()?);
                Datum::Float64(f64::from_bits(if bits >> 63 == 1 { bits ^ 1 << 63 } else { !bits }))
            }
            ColumnType::Decimal { .. } => Datum::Decimal(self.int128()?),
            ColumnType::Text => {
                let text = String::from_utf8(self.escaped()?);
                Datum::Text(text.map_err(|_| damaged(WHAT, 0, "a text is not UTF-8"))?)
            }
            ColumnType::Bytes => Datum::Bytes(self.escaped()?),
            ColumnType::Date => Datum::Date(i32::from_be_bytes(self.array()?) ^ i32::MIN),
            ColumnType::Time => Datum::Time(self.int64()?),
            ColumnType::Timestamp => Datum::Timestamp(self.int64()?),
            ColumnType::TimestampTz => Datum::TimestampTz(self.int64()?),
            ColumnType::Interval => interval_of(self.int128()?)?,
            ColumnType::Uuid => Datum::Uuid(self.array()?),
            ColumnType::Array(element_type) => self.elements(element_type)?,
        })
    }

    fn int64(&mut self) -> Result<i64> {
        Ok(i64::from_be_bytes(self.array()?) ^ i64::MIN)
    }

    fn int128(&mut self) -> Result<i128> {
        Ok(i128::from_be_bytes(self.array()?) ^ i128::MIN)
    }

    fn escaped(&mut self) -> Result<Vec<u8>> {
        let zero = self.mask;
        let mut bytes = Vec::new();
        loop {
            let run = self.rest.iter().position(|byte| *byte == zero);
            let (run, rest) = run
                .and_then(|end| self.rest.split_at_checked(end))
                .ok_or_else(|| damaged(WHAT, self.rest.len(), "a text is cut short"))?;
            bytes.extend(run.iter().map(|byte| byte ^ self.mask));
            self.rest = rest;
            match self.array()? {
                [0, TEXT_END] => return Ok(bytes),
                [0, ESCAPED_ZERO] => bytes.push(0),
                [_, after] => return Err(damaged(WHAT, 0, format!("a zero is followed by {after:#04x}"))),
            }
        }
    }

    fn elements(&mut self, element_type: &ColumnType) -> Result<Datum> {
        if matches!(element_type, ColumnType::Array(_)) {
            return Err(Error::Unsupported("arrays of arrays are not supported".into()));
        }
        let mut elements = Vec::new();
        loop {
            match self.byte()? {
                ARRAY_END => return Ok(Datum::Array(elements)),
                VALUE => elements.push(self.value(element_type)?),
                NULL_LAST => elements.push(Datum::Null),
                tag => return Err(damaged(WHAT, 0, format!("an element starts with {tag:#04x}"))),
            }
        }
    }
}

/// An interval of this length: the months first, then the days, as many as fit.
fn interval_of(length: i128) -> Result<Datum> {
    let months = (length / MONTH_NANOSECONDS).clamp(i128::from(i32::MIN), i128::from(i32::MAX));
    let rest = length - months * MONTH_NANOSECONDS;
    let days = (rest / DAY_NANOSECONDS).clamp(i128::from(i32::MIN), i128::from(i32::MAX));
    let rest = rest - days * DAY_NANOSECONDS;
    match (i32::try_from(months), i32::try_from(days), i64::try_from(rest)) {
        (Ok(months), Ok(days), Ok(nanoseconds)) => Ok(Datum::Interval { months, days, nanoseconds }),
        _ => Err(damaged(WHAT, 0, format!("an interval of {length} nanoseconds"))),
    }
}

#[cfg(test)]
mod tests;
