//! The fields of a column into values.
//!
//! A [`FieldReader`] looks at the column's type once and then runs down the rows. What is written plainly (`-12`,
//! `3.50`, `1998-12-01`) is read here; all else goes through the type's input function in `postgres::input`.

use datafusion::arrow::compute::{CastOptions, cast_with_options};
use strata_core::row::{Column, ColumnBuilder, ColumnType, Datum, DatumRef, arrow_type, datum_at};

use crate::error::{SqlError, SqlResult};
use crate::postgres::format::datetime::{days_from_civil, days_of_month};
use crate::postgres::input::{self, number};
use crate::postgres::types::{PgType, UNCONSTRAINED_NUMERIC, oid};
use crate::postgres::zone::Zone;
use crate::sql::dml::values::check_length;

const DAY_MICROS: i64 = 86_400_000_000;

/// Reads the fields of one column.
#[derive(Clone, Debug)]
pub(crate) struct FieldReader {
    column: Column,
    pg_type: PgType,
    zone: Zone,
    now: i64,
}

/// A value that was refused.
#[derive(Debug)]
pub(crate) struct Refused {
    /// How many before it were taken.
    pub(crate) taken: usize,
    /// Why.
    pub(crate) error: Box<SqlError>,
}

impl FieldReader {
    /// A reader of a column's values in the session's zone; `now` is what 'now' means.
    pub(crate) fn new(column: Column, zone: Zone, now: i64) -> Self {
        let pg_type = PgType::from(column.sql_type);
        Self { column, pg_type, zone, now }
    }

    /// The column.
    pub(crate) fn column(&self) -> &Column {
        &self.column
    }

    /// Appends fields, `None` for NULL.
    pub(crate) fn push<'a>(
        &self,
        builder: &mut ColumnBuilder,
        fields: impl Iterator<Item = Option<&'a [u8]>>,
    ) -> Result<(), Refused> {
        match &self.column.column_type {
            ColumnType::Bool => self.each(builder, fields, |field| match field {
                b"t" | b"true" => Some(DatumRef::Bool(true)),
                b"f" | b"false" => Some(DatumRef::Bool(false)),
                _ => None,
            }),
            ColumnType::Int16 => {
                self.each(builder, fields, |field| plain_integer(field)?.try_into().ok().map(DatumRef::Int16))
            }
            ColumnType::Int32 => {
                self.each(builder, fields, |field| plain_integer(field)?.try_into().ok().map(DatumRef::Int32))
            }
            ColumnType::Int64 if self.pg_type.oid == oid::INT8 => {
                self.each(builder, fields, |field| plain_integer(field).map(DatumRef::Int64))
            }
            ColumnType::Decimal { precision, scale } => {
                let (scale, limit) = (*scale, 10i128.pow(u32::from(*precision).min(38)));
                self.each(builder, fields, |field| {
                    let value = plain_decimal(field, scale).filter(|value| value.abs() < limit)?;
                    Some(DatumRef::Decimal(value))
                })
            }
            ColumnType::Date => self.each(builder, fields, |field| plain_date(field).map(DatumRef::Date)),
            ColumnType::Timestamp if self.pg_type.modifier < 0 => {
                self.each(builder, fields, |field| plain_timestamp(field).map(DatumRef::Timestamp))
            }
            ColumnType::TimestampTz if self.pg_type.modifier < 0 => self.each(builder, fields, |field| {
                let utc = field.strip_suffix(b"+00").or_else(|| field.strip_suffix(b"Z"))?;
                plain_timestamp(utc).map(DatumRef::TimestampTz)
            }),
            ColumnType::Text => match (self.pg_type.oid, self.pg_type.length()) {
                (oid::TEXT, _) | (oid::VARCHAR, None) => {
                    self.each(builder, fields, |field| plain_text(field).map(DatumRef::Text))
                }
                // So many bytes are at most so many characters. A char is held without the spaces at its end.
                (oid::VARCHAR, Some(length)) => self.each(builder, fields, |field| {
                    plain_text(field).filter(|text| text.len() <= length).map(DatumRef::Text)
                }),
                (oid::BPCHAR, Some(length)) => self.each(builder, fields, |field| {
                    let fits = |text: &&str| text.len() <= length && !text.ends_with(' ');
                    plain_text(field).filter(fits).map(DatumRef::Text)
                }),
                _ => self.each(builder, fields, |_| None),
            },
            _ => self.each(builder, fields, |_| None),
        }
    }

    fn each<'a>(
        &self,
        builder: &mut ColumnBuilder,
        fields: impl Iterator<Item = Option<&'a [u8]>>,
        plain: impl Fn(&'a [u8]) -> Option<DatumRef<'a>>,
    ) -> Result<(), Refused> {
        for (row, field) in fields.enumerate() {
            let pushed = match field {
                None if self.column.nullable => {
                    builder.push_null();
                    Ok(())
                }
                None => Err(self.not_null()),
                Some(field) => match plain(field) {
                    Some(value) => builder.push(&value).map_err(SqlError::from),
                    None => self.read(field).and_then(|value| Ok(builder.push_datum(&value)?)),
                },
            };
            pushed.map_err(|error| Refused { taken: row, error: error.into() })?;
        }
        Ok(())
    }

    /// `23502`; the table's name is filled in by who knows it.
    fn not_null(&self) -> SqlError {
        SqlError::new(
            "23502",
            format!("null value in column \"{}\" violates not-null constraint", self.column.name),
        )
    }

    /// A field as its type's input function reads it.
    pub(crate) fn read(&self, field: &[u8]) -> SqlResult<Datum> {
        let text = text_of(field)?;
        let mut value = match (&self.column.column_type, self.pg_type.oid) {
            (ColumnType::Text, oid::JSON) => Datum::Text(input::parse_json(text)?.to_owned()),
            (ColumnType::Text, oid::JSONB) => Datum::Text(input::normalize_jsonb(text)?),
            (ColumnType::Text, _) => Datum::Text(text.to_owned()),
            (ColumnType::Decimal { .. }, _) => {
                let (precision, scale) = self.pg_type.numeric_parts().unwrap_or(UNCONSTRAINED_NUMERIC);
                Datum::Decimal(number::parse_decimal(text)?.fit(precision, scale)?)
            }
            (column_type, _) => {
                let value = input::parse_value(self.pg_type, text, &self.zone, self.now)?;
                let array = value.to_array()?;
                let strict = CastOptions { safe: false, ..CastOptions::default() };
                let exact = cast_with_options(&array, &arrow_type(column_type), &strict)
                    .map_err(|error| SqlError::new("22000", error.to_string()))?;
                datum_at(exact.as_ref(), 0, column_type)?
            }
        };
        check_length(&mut value, &self.column)?;
        Ok(value)
    }
}

/// UTF-8 without NUL characters.
fn plain_text(field: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(field).ok()?;
    memchr::memchr(0, field).is_none().then_some(text)
}

fn text_of(field: &[u8]) -> SqlResult<&str> {
    let invalid = |bytes: &[u8]| {
        let shown: Vec<String> = bytes.iter().take(4).map(|byte| format!("0x{byte:02x}")).collect();
        SqlError::new("22021", format!("invalid byte sequence for encoding \"UTF8\": {}", shown.join(" ")))
    };
    let text = std::str::from_utf8(field).map_err(|error| {
        let rest = field.get(error.valid_up_to()..).unwrap_or_default();
        invalid(rest.get(..error.error_len().unwrap_or(rest.len())).unwrap_or_default())
    })?;
    if memchr::memchr(0, field).is_some() { Err(invalid(&[0])) } else { Ok(text) }
}

/// At most 18 digits.
fn plain_integer(field: &[u8]) -> Option<i64> {
    let (negative, digits) = match field {
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    if digits.is_empty() || digits.len() > 18 {
        return None;
    }
    let mut value = 0i64;
    for byte in digits {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        value = value * 10 + i64::from(digit);
    }
    Some(if negative { -value } else { value })
}

/// Powers of ten that an i64 holds.
const POWERS: [i64; 19] = {
    let mut powers = [1; 19];
    let mut place = 1;
    while place < powers.len() {
        powers[place] = powers[place - 1] * 10;
        place += 1;
    }
    powers
};

/// At most 18 digits, no more behind the point than the scale.
fn plain_decimal(field: &[u8], scale: u8) -> Option<i128> {
    let (negative, digits) = match field {
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    if digits.is_empty() || digits.len() > 18 {
        return None;
    }
    let (mut value, mut point) = (0i64, None);
    for (place, byte) in digits.iter().enumerate() {
        let digit = byte.wrapping_sub(b'0');
        if digit <= 9 {
            value = value * 10 + i64::from(digit);
        } else if *byte == b'.' && point.is_none() && digits.len() > 1 {
            point = Some(place);
        } else {
            return None;
        }
    }
    let behind = point.map_or(0, |point| digits.len() - point - 1);
    let missing = usize::from(scale).checked_sub(behind)?;
    let value = i128::from(value) * i128::from(*POWERS.get(missing)?);
    Some(if negative { -value } else { value })
}

/// `YYYY-MM-DD`.
fn plain_date(field: &[u8]) -> Option<i32> {
    let [y1, y2, y3, y4, b'-', m1, m2, b'-', d1, d2] = field else { return None };
    let year = i64::from(two(*y1, *y2)?) * 100 + i64::from(two(*y3, *y4)?);
    let (month, day) = (two(*m1, *m2)?, two(*d1, *d2)?);
    if year == 0 || !(1..=12).contains(&month) || day == 0 || day > days_of_month(year, month) {
        return None;
    }
    i32::try_from(days_from_civil(year, month, day)).ok()
}

/// `YYYY-MM-DD HH:MM:SS`, with up to six digits of a second's fraction.
fn plain_timestamp(field: &[u8]) -> Option<i64> {
    let (date, time) = field.split_at_checked(10)?;
    let [b' ' | b'T', h1, h2, b':', m1, m2, b':', s1, s2, fraction @ ..] = time else { return None };
    let (hour, minute, second) = (two(*h1, *h2)?, two(*m1, *m2)?, two(*s1, *s2)?);
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let micros = match fraction {
        [] => 0,
        [b'.', digits @ ..] if (1..=6).contains(&digits.len()) && digits.iter().all(u8::is_ascii_digit) => {
            plain_integer(digits)? * *POWERS.get(6 - digits.len())?
        }
        _ => return None,
    };
    let seconds = i64::from(hour * 3_600 + minute * 60 + second);
    Some(i64::from(plain_date(date)?) * DAY_MICROS + seconds * 1_000_000 + micros)
}

fn two(tens: u8, ones: u8) -> Option<u32> {
    let (tens, ones) = (tens.wrapping_sub(b'0'), ones.wrapping_sub(b'0'));
    (tens <= 9 && ones <= 9).then(|| u32::from(tens) * 10 + u32::from(ones))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_numbers_are_those_of_the_input_functions() {
        for text in ["0", "-1", "42", "-999999999999999999", "007"] {
            assert_eq!(
                plain_integer(text.as_bytes()),
                Some(number::parse_int::<i64>(text, "").unwrap()),
                "{text}"
            );
        }
        for text in ["", "-", "+1", " 1", "1e3", "1_0", "9999999999999999999"] {
            assert_eq!(plain_integer(text.as_bytes()), None, "{text}");
        }
        for text in ["0", "1.5", "-1.50", "-.5", "7.", "12345678901234.56", "0.00"] {
            let expected = number::parse_decimal(text).unwrap().fit(38, 2).unwrap();
            assert_eq!(plain_decimal(text.as_bytes(), 2), Some(expected), "{text}");
        }
        for text in ["", ".", "-", "1.005", "1.2.3", "1e3", "NaN", "--1"] {
            assert_eq!(plain_decimal(text.as_bytes(), 2), None, "{text}");
        }
    }

    #[test]
    fn plain_times_are_those_of_the_input_functions() {
        use input::datetime::{parse_date, parse_timestamp};
        for text in ["1970-01-01", "1998-12-01", "2000-02-29", "0001-01-01", "9999-12-31"] {
            assert_eq!(plain_date(text.as_bytes()), Some(parse_date(text, &Zone::Utc, 0).unwrap()), "{text}");
            for time in [" 00:00:00", "T23:59:59.999999", " 12:34:56.5"] {
                let text = format!("{text}{time}");
                let expected = parse_timestamp(&text, &Zone::Utc, 0).unwrap();
                assert_eq!(plain_timestamp(text.as_bytes()), Some(expected), "{text}");
            }
        }
        for text in ["2001-02-29", "2001-13-01", "2001-00-01", "2001-1-1", "today", "0000-01-01"] {
            assert_eq!(plain_date(text.as_bytes()), None, "{text}");
        }
        for text in ["2001-01-01 24:00:00", "2001-01-01", "2001-01-01 00:00:00.1234567", "2001-01-01 1:00:00"]
        {
            assert_eq!(plain_timestamp(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn bytes_that_are_no_text_are_named() {
        let message = |field: &[u8]| text_of(field).unwrap_err().message;
        assert_eq!(message(b"a\xff"), "invalid byte sequence for encoding \"UTF8\": 0xff");
        assert_eq!(message(b"a\0"), "invalid byte sequence for encoding \"UTF8\": 0x00");
        assert_eq!(plain_text(b"a\0"), None);
        assert_eq!(plain_text("né".as_bytes()), Some("né"));
    }
}
