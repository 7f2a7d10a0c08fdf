//! Parameters of Bind into values.
//!
//! The bytes come from a client: every length is checked before it is used.

use datafusion::arrow::datatypes::IntervalMonthDayNano;
use datafusion::common::ScalarValue;

use super::binary::{EPOCH_DAYS, EPOCH_MICROS, NUMERIC_NEGATIVE};
use crate::error::{SqlError, SqlResult};
use crate::postgres::input::{self, array::list_of, number::Exact};
use crate::postgres::types::{PgType, oid};
use crate::postgres::zone::Zone;

/// A parameter's value. Text is read in the zone UTC; see [`decode_parameter_in`].
pub fn decode_parameter(oid: u32, binary: bool, bytes: &[u8]) -> SqlResult<ScalarValue> {
    decode_parameter_in(oid, binary, bytes, &Zone::Utc, 0)
}

/// A parameter's value; text is read in the session's zone, and 'now' as `now`.
pub fn decode_parameter_in(
    oid: u32,
    binary: bool,
    bytes: &[u8],
    zone: &Zone,
    now: i64,
) -> SqlResult<ScalarValue> {
    let pg_type = PgType::new(oid);
    if binary {
        return decode_binary(pg_type, bytes);
    }
    input::parse_value(pg_type, text(bytes)?, zone, now)
}

/// NULL of a parameter's type.
pub fn null_parameter(oid: u32) -> SqlResult<ScalarValue> {
    ScalarValue::try_from(&PgType::new(oid).arrow()?).map_err(SqlError::from)
}

fn text(bytes: &[u8]) -> SqlResult<&str> {
    let text = std::str::from_utf8(bytes)
        .map_err(|_| SqlError::new("22021", "invalid byte sequence for encoding \"UTF8\""))?;
    if text.contains('\0') {
        return Err(SqlError::new("22021", "invalid byte sequence for encoding \"UTF8\": 0x00"));
    }
    Ok(text)
}

fn wrong_size() -> SqlError {
    SqlError::new("22P03", "incorrect binary data format in bind parameter")
}

fn exactly<const N: usize>(bytes: &[u8]) -> SqlResult<[u8; N]> {
    bytes.try_into().map_err(|_| wrong_size())
}

/// Bytes that are taken from the front.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> SqlResult<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or_else(wrong_size)?;
        self.0 = rest;
        Ok(taken)
    }

    fn i16(&mut self) -> SqlResult<i16> {
        Ok(i16::from_be_bytes(exactly(self.take(2)?)?))
    }

    fn u16(&mut self) -> SqlResult<u16> {
        Ok(u16::from_be_bytes(exactly(self.take(2)?)?))
    }

    fn i32(&mut self) -> SqlResult<i32> {
        Ok(i32::from_be_bytes(exactly(self.take(4)?)?))
    }
}

fn decode_binary(pg_type: PgType, bytes: &[u8]) -> SqlResult<ScalarValue> {
    if let Some(element) = pg_type.element() {
        return decode_array(element, bytes);
    }
    Ok(match pg_type.oid {
        oid::BOOL => ScalarValue::Boolean(Some(exactly::<1>(bytes)? != [0])),
        oid::INT2 => ScalarValue::Int16(Some(i16::from_be_bytes(exactly(bytes)?))),
        oid::INT4 => ScalarValue::Int32(Some(i32::from_be_bytes(exactly(bytes)?))),
        oid::INT8 => ScalarValue::Int64(Some(i64::from_be_bytes(exactly(bytes)?))),
        oid::OID
        | oid::XID
        | oid::REGPROC
        | oid::REGCLASS
        | oid::REGTYPE
        | oid::REGNAMESPACE
        | oid::REGROLE => ScalarValue::Int64(Some(i64::from(u32::from_be_bytes(exactly(bytes)?)))),
        oid::FLOAT4 => ScalarValue::Float32(Some(f32::from_be_bytes(exactly(bytes)?))),
        oid::FLOAT8 => ScalarValue::Float64(Some(f64::from_be_bytes(exactly(bytes)?))),
        oid::NUMERIC => decode_numeric(bytes)?.unconstrained()?,
        oid::BYTEA => ScalarValue::BinaryView(Some(bytes.to_vec())),
        oid::UUID => ScalarValue::FixedSizeBinary(16, Some(exactly::<16>(bytes)?.to_vec())),
        oid::DATE => ScalarValue::Date32(Some(match i32::from_be_bytes(exactly(bytes)?) {
            infinite @ (i32::MAX | i32::MIN) => infinite,
            days => {
                days.checked_add(EPOCH_DAYS).ok_or_else(|| SqlError::new("22008", "date out of range"))?
            }
        })),
        oid::TIME => {
            let micros = i64::from_be_bytes(exactly(bytes)?);
            if !(0..=86_400_000_000).contains(&micros) {
                return Err(SqlError::new("22008", "time out of range"));
            }
            ScalarValue::Time64Microsecond(Some(micros))
        }
        oid::TIMESTAMP => ScalarValue::TimestampMicrosecond(Some(timestamp(bytes)?), None),
        oid::TIMESTAMPTZ => ScalarValue::TimestampMicrosecond(Some(timestamp(bytes)?), Some("UTC".into())),
        oid::INTERVAL => {
            let mut reader = Reader(bytes);
            let micros = i64::from_be_bytes(exactly(reader.take(8)?)?);
            let (days, months) = (reader.i32()?, reader.i32()?);
            if !reader.0.is_empty() {
                return Err(wrong_size());
            }
            let nanoseconds =
                micros.checked_mul(1_000).ok_or_else(|| SqlError::new("22008", "interval out of range"))?;
            ScalarValue::IntervalMonthDayNano(Some(IntervalMonthDayNano::new(months, days, nanoseconds)))
        }
        oid::JSON => ScalarValue::Utf8View(Some(input::parse_json(text(bytes)?)?.to_owned())),
        oid::JSONB => {
            let [1, rest @ ..] = bytes else {
                return Err(SqlError::new("22P03", "unsupported jsonb version number"));
            };
            ScalarValue::Utf8View(Some(input::normalize_jsonb(text(rest)?)?))
        }
        oid::BPCHAR => ScalarValue::Utf8View(Some(text(bytes)?.trim_end_matches(' ').to_owned())),
        oid::TEXT | oid::VARCHAR | oid::NAME | oid::CHAR | oid::UNKNOWN => {
            ScalarValue::Utf8View(Some(text(bytes)?.to_owned()))
        }
        _ => {
            return Err(SqlError::unsupported(format!(
                "binary parameters of type {} are not supported",
                pg_type.sql_name()
            )));
        }
    })
}

fn timestamp(bytes: &[u8]) -> SqlResult<i64> {
    match i64::from_be_bytes(exactly(bytes)?) {
        infinite @ (i64::MAX | i64::MIN) => Ok(infinite),
        micros => {
            micros.checked_add(EPOCH_MICROS).ok_or_else(|| SqlError::new("22008", "timestamp out of range"))
        }
    }
}

fn decode_numeric(bytes: &[u8]) -> SqlResult<Exact> {
    let mut reader = Reader(bytes);
    let count = reader.i16()?;
    let weight = i32::from(reader.i16()?);
    let sign = reader.u16()?;
    let scale = reader.u16()?;
    if sign != 0 && sign != NUMERIC_NEGATIVE {
        return Err(SqlError::unsupported("numeric NaN and infinity are not supported"));
    }
    let too_large = || SqlError::new("22003", "numeric value has more than the 38 digits that are supported");
    let mut value: i128 = 0;
    for _ in 0..count {
        let group = reader.i16()?;
        if !(0..10_000).contains(&group) {
            return Err(wrong_size());
        }
        value = value
            .checked_mul(10_000)
            .and_then(|value| value.checked_add(i128::from(group)))
            .ok_or_else(too_large)?;
    }
    if !reader.0.is_empty() || scale > 38 {
        return Err(if scale > 38 { too_large() } else { wrong_size() });
    }
    // The digits' own scale, brought to the one that is shown.
    let held = (i32::from(count) - 1 - weight) * 4;
    let unscaled = match u32::try_from(held) {
        Ok(held) => input::number::rescale(value, held, u32::from(scale)),
        Err(_) => 10i128
            .checked_pow(held.unsigned_abs())
            .and_then(|factor| value.checked_mul(factor))
            .and_then(|value| input::number::rescale(value, 0, u32::from(scale))),
    }
    .ok_or_else(too_large)?;
    let unscaled = if sign == NUMERIC_NEGATIVE { -unscaled } else { unscaled };
    Ok(Exact { unscaled, scale: u32::from(scale) })
}

fn decode_array(element: PgType, bytes: &[u8]) -> SqlResult<ScalarValue> {
    let mut reader = Reader(bytes);
    let dimensions = reader.i32()?;
    let _has_nulls = reader.i32()?;
    let sent = u32::from_be_bytes(exactly(reader.take(4)?)?);
    if sent != element.oid {
        return Err(SqlError::new(
            "42804",
            format!("binary data has array element type {sent} instead of expected {}", element.oid),
        ));
    }
    let count = match dimensions {
        0 => 0,
        1 => {
            let count = reader.i32()?;
            let _lower_bound = reader.i32()?;
            usize::try_from(count).map_err(|_| wrong_size())?
        }
        _ => return Err(SqlError::unsupported("arrays of more than one dimension are not supported")),
    };
    // Each element takes four bytes at least: a count beyond that is a lie, not a reason to allocate.
    if count > reader.0.len() / 4 {
        return Err(wrong_size());
    }
    let mut items = Vec::with_capacity(count);
    for _ in 0..count {
        items.push(match reader.i32()? {
            -1 => null_parameter(element.oid)?,
            length => {
                let length = usize::try_from(length).map_err(|_| wrong_size())?;
                decode_binary(element, reader.take(length)?)?
            }
        });
    }
    list_of(element, items)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn binary_scalars_are_decoded() {
        let decode = |oid, bytes: &[u8]| decode_parameter(oid, true, bytes).unwrap();
        assert_eq!(decode(oid::INT4, &7i32.to_be_bytes()), ScalarValue::Int32(Some(7)));
        assert_eq!(decode(oid::DATE, &0i32.to_be_bytes()), ScalarValue::Date32(Some(10_957)));
        assert_eq!(
            decode(oid::TIMESTAMPTZ, &0i64.to_be_bytes()),
            ScalarValue::TimestampMicrosecond(Some(EPOCH_MICROS), Some("UTC".into()))
        );
        assert_eq!(decode(oid::JSONB, b"\x01{\"a\":1}"), ScalarValue::Utf8View(Some("{\"a\": 1}".into())));
        let numeric: Vec<u8> =
            [2i16, 0, 0x4000, 2, 123, 4500].iter().flat_map(|word| word.to_be_bytes()).collect();
        assert_eq!(decode(oid::NUMERIC, &numeric), ScalarValue::Decimal128(Some(-12_345), 5, 2));
    }

    #[test]
    fn text_parameters_are_read_as_literals_are() {
        let decode = |oid, text: &str| decode_parameter(oid, false, text.as_bytes());
        assert_eq!(decode(oid::INT8, "12").unwrap(), ScalarValue::Int64(Some(12)));
        assert_eq!(decode(oid::INT8, "x").unwrap_err().sqlstate, "22P02");
        let ScalarValue::List(list) = decode(1007, "{1,NULL}").unwrap() else { unreachable!() };
        assert_eq!(list.value(0).len(), 2);
    }

    #[test]
    fn wrong_bytes_are_an_error() {
        for (oid, bytes) in [
            (oid::INT4, &b"abc"[..]),
            (oid::NUMERIC, b"\x00\x09\x00\x00"),
            (oid::UUID, b"1"),
            (oid::INTERVAL, b"123"),
            (1007, b"\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x17\x7f\xff\xff\xff\x00\x00\x00\x01"),
        ] {
            assert_eq!(decode_parameter(oid, true, bytes).unwrap_err().sqlstate, "22P03");
        }
        assert_eq!(decode_parameter(oid::TEXT, false, b"\xff").unwrap_err().sqlstate, "22021");
    }
}
