//! Text into values, as Postgres' input functions read it.

pub mod array;
pub mod datetime;
pub mod interval;
pub mod number;

use datafusion::arrow::datatypes::{DataType, IntervalMonthDayNano};
use datafusion::common::ScalarValue;

use super::types::{PgType, oid};
use super::zone::Zone;
use crate::error::{SqlError, SqlResult};

/// `invalid input syntax for type …`.
pub fn invalid(type_name: &str, text: &str) -> SqlError {
    SqlError::new("22P02", format!("invalid input syntax for type {type_name}: \"{text}\""))
}

/// A value of this type. `now` is what 'now' and 'today' mean, in microseconds since 1970 UTC.
pub fn parse_value(pg_type: PgType, text: &str, zone: &Zone, now: i64) -> SqlResult<ScalarValue> {
    if let Some(element) = pg_type.element() {
        return array::parse_array(element, text, zone, now);
    }
    Ok(match pg_type.oid {
        oid::BOOL => ScalarValue::Boolean(Some(parse_bool(text)?)),
        oid::INT2 => ScalarValue::Int16(Some(number::parse_int(text, "smallint")?)),
        oid::INT4 => ScalarValue::Int32(Some(number::parse_int(text, "integer")?)),
        oid::INT8 => ScalarValue::Int64(Some(number::parse_int(text, "bigint")?)),
        oid::OID
        | oid::XID
        | oid::REGPROC
        | oid::REGCLASS
        | oid::REGTYPE
        | oid::REGNAMESPACE
        | oid::REGROLE => ScalarValue::Int64(Some(i64::from(number::parse_oid(text)?))),
        oid::FLOAT4 => ScalarValue::Float32(Some(number::parse_f32(text)?)),
        oid::FLOAT8 => ScalarValue::Float64(Some(number::parse_f64(text)?)),
        oid::NUMERIC => match pg_type.numeric_parts() {
            Some((precision, scale)) => {
                let value = number::parse_decimal(text)?.fit(precision, scale)?;
                ScalarValue::Decimal128(Some(value), precision, scale)
            }
            None => number::parse_decimal(text)?.unconstrained()?,
        },
        oid::VARCHAR | oid::BPCHAR => {
            ScalarValue::Utf8View(Some(fit_characters(pg_type, text, false)?.to_owned()))
        }
        oid::JSON => ScalarValue::Utf8View(Some(parse_json(text)?.to_owned())),
        oid::JSONB => ScalarValue::Utf8View(Some(normalize_jsonb(text)?)),
        oid::BYTEA => ScalarValue::BinaryView(Some(parse_bytea(text)?)),
        oid::UUID => ScalarValue::FixedSizeBinary(16, Some(parse_uuid(text)?.to_vec())),
        oid::DATE => ScalarValue::Date32(Some(datetime::parse_date(text, zone, now)?)),
        oid::TIME => ScalarValue::Time64Microsecond(Some(round_fraction(
            datetime::parse_time(text, zone, now)?,
            pg_type.modifier,
        ))),
        oid::TIMESTAMP => ScalarValue::TimestampMicrosecond(
            Some(round_fraction(datetime::parse_timestamp(text, zone, now)?, pg_type.modifier)),
            None,
        ),
        oid::TIMESTAMPTZ => ScalarValue::TimestampMicrosecond(
            Some(round_fraction(datetime::parse_timestamptz(text, zone, now)?, pg_type.modifier)),
            Some("UTC".into()),
        ),
        oid::INTERVAL => {
            let (months, days, nanoseconds) = interval::parse_interval(text)?;
            ScalarValue::IntervalMonthDayNano(Some(IntervalMonthDayNano::new(months, days, nanoseconds)))
        }
        _ => match pg_type.arrow()? {
            DataType::Utf8View => ScalarValue::Utf8View(Some(text.to_owned())),
            _ => {
                return Err(SqlError::unsupported(format!(
                    "values of type {} cannot be read from text",
                    pg_type.sql_name()
                )));
            }
        },
    })
}

/// Microseconds rounded to the digits of a modifier; infinities stay.
pub fn round_fraction(micros: i64, modifier: i32) -> i64 {
    if !(0..6).contains(&modifier) || micros == i64::MAX || micros == i64::MIN {
        return micros;
    }
    let unit = 10i64.pow(6 - modifier.unsigned_abs());
    let half = unit / 2;
    // Away from zero, as Postgres rounds.
    if micros >= 0 {
        micros.saturating_add(half) / unit * unit
    } else {
        -(micros.saturating_neg().saturating_add(half) / unit * unit)
    }
}

/// A boolean: a unique prefix of true, false, yes, no, or on, off, 1, 0.
pub fn parse_bool(text: &str) -> SqlResult<bool> {
    crate::session::settings::parse_bool(text).ok_or_else(|| invalid("boolean", text))
}

/// Text cut to `varchar(n)` or `char(n)`. Blanks beyond the length go silently, other characters only when a cast says so.
/// A `char` is held without the blanks at its end: its output pads it.
pub fn fit_characters(pg_type: PgType, text: &str, explicit: bool) -> SqlResult<&str> {
    let fitted = match pg_type.length() {
        None => text,
        Some(length) => match text.char_indices().nth(length) {
            None => text,
            Some((end, _)) => {
                let (kept, rest) = text.split_at(end);
                if !explicit && rest.bytes().any(|byte| byte != b' ') {
                    return Err(SqlError::new(
                        "22001",
                        format!("value too long for type {}", pg_type.sql_name()),
                    ));
                }
                kept
            }
        },
    };
    Ok(if pg_type.oid == oid::BPCHAR { fitted.trim_end_matches(' ') } else { fitted })
}

/// Hexadecimal (`\x…`) or escape format.
pub fn parse_bytea(text: &str) -> SqlResult<Vec<u8>> {
    if let Some(digits) = text.strip_prefix("\\x") {
        let digits: Vec<u8> = digits.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
        if digits.len() % 2 == 1 {
            return Err(SqlError::new("22023", "invalid hexadecimal data: odd number of digits"));
        }
        return digits
            .chunks_exact(2)
            .map(|pair| match pair {
                [high, low] => Ok(hex_digit(*high)? << 4 | hex_digit(*low)?),
                _ => Err(invalid("bytea", text)),
            })
            .collect();
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        rest = match (first, after) {
            (b'\\', [b'\\', after @ ..]) => {
                bytes.push(b'\\');
                after
            }
            (b'\\', [a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', after @ ..]) => {
                bytes.push((a - b'0') << 6 | (b - b'0') << 3 | (c - b'0'));
                after
            }
            (b'\\', _) => return Err(SqlError::new("22P02", "invalid input syntax for type bytea")),
            (byte, after) => {
                bytes.push(*byte);
                after
            }
        };
    }
    Ok(bytes)
}

fn hex_digit(byte: u8) -> SqlResult<u8> {
    match byte {
        b'0'..=b'9' => Ok(byte - b'0'),
        b'a'..=b'f' => Ok(byte - b'a' + 10),
        b'A'..=b'F' => Ok(byte - b'A' + 10),
        _ => Err(SqlError::new("22023", format!("invalid hexadecimal digit: \"{}\"", char::from(byte)))),
    }
}

/// 32 hexadecimal digits, with hyphens after any group of four, in braces or not.
pub fn parse_uuid(text: &str) -> SqlResult<[u8; 16]> {
    let error = || invalid("uuid", text);
    let trimmed = text.trim();
    let inner = match trimmed.strip_prefix('{') {
        Some(rest) => rest.strip_suffix('}').ok_or_else(error)?,
        None => trimmed,
    };
    let mut digits = [0u8; 32];
    let mut count = 0;
    for byte in inner.bytes() {
        if byte == b'-' && count > 0 && count % 4 == 0 && count < 32 {
            continue;
        }
        *digits.get_mut(count).ok_or_else(error)? = hex_digit(byte).map_err(|_| error())?;
        count += 1;
    }
    if count != 32 {
        return Err(error());
    }
    let mut id = [0u8; 16];
    for (byte, pair) in id.iter_mut().zip(digits.chunks_exact(2)) {
        if let [high, low] = pair {
            *byte = high << 4 | low;
        }
    }
    Ok(id)
}

/// The text itself, if it is JSON.
pub fn parse_json(text: &str) -> SqlResult<&str> {
    match serde_json::from_str::<serde_json::Value>(text) {
        Ok(_) => Ok(text),
        Err(error) => Err(json_error(&error)),
    }
}

fn json_error(error: &serde_json::Error) -> SqlError {
    SqlError::new("22P02", "invalid input syntax for type json").with_detail(error.to_string())
}

/// JSON as jsonb prints it: keys ordered by length and bytes, the last of equal ones kept, `: ` and `, ` between.
pub fn normalize_jsonb(text: &str) -> SqlResult<String> {
    let value: serde_json::Value = serde_json::from_str(text).map_err(|error| json_error(&error))?;
    let mut out = String::with_capacity(text.len() + 8);
    write_jsonb(&value, &mut out);
    Ok(out)
}

fn write_jsonb(value: &serde_json::Value, out: &mut String) {
    use serde_json::Value as V;
    match value {
        V::Array(items) => {
            out.push('[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push_str(", ");
                }
                write_jsonb(item, out);
            }
            out.push(']');
        }
        V::Object(members) => {
            let mut members: Vec<_> = members.iter().collect();
            members.sort_by(|(a, _), (b, _)| a.len().cmp(&b.len()).then_with(|| a.cmp(b)));
            out.push('{');
            for (index, (key, item)) in members.into_iter().enumerate() {
                if index > 0 {
                    out.push_str(", ");
                }
                out.push_str(&V::String(key.clone()).to_string());
                out.push_str(": ");
                write_jsonb(item, out);
            }
            out.push('}');
        }
        scalar => out.push_str(&scalar.to_string()),
    }
}

#[cfg(test)]
mod tests;
