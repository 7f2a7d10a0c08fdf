//! Values as text, for messages and listings: what Postgres prints, with ISO dates.

use std::fmt::{self, Display, Formatter, Write};

use super::types::{ColumnType, Datum};
use super::value::DatumRef;

impl Display for ColumnType {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Bool => "boolean",
            Self::Int16 => "smallint",
            Self::Int32 => "integer",
            Self::Int64 => "bigint",
            Self::Float32 => "real",
            Self::Float64 => "double precision",
            Self::Decimal { precision, scale } => return write!(f, "numeric({precision},{scale})"),
            Self::Text => "text",
            Self::Bytes => "bytea",
            Self::Date => "date",
            Self::Time => "time",
            Self::Timestamp => "timestamp",
            Self::TimestampTz => "timestamptz",
            Self::Interval => "interval",
            Self::Uuid => "uuid",
            Self::Array(element_type) => return write!(f, "{element_type}[]"),
        })
    }
}

/// `Key (a, b)=(1, x)`, as the detail of a duplicate key has it.
pub fn describe_key<'a>(columns: impl IntoIterator<Item = (&'a str, &'a Datum, &'a ColumnType)>) -> String {
    let (mut names, mut values) = (String::new(), String::new());
    for (name, value, column_type) in columns {
        let separator = if names.is_empty() { "" } else { ", " };
        // Writing to a string does not fail.
        let _ = write!(names, "{separator}{name}");
        let _ = write!(values, "{separator}{}", value.display(column_type));
    }
    format!("Key ({names})=({values})")
}

/// A value and its type, to be printed.
#[derive(Clone, Debug)]
pub struct DisplayDatum<'a> {
    value: DatumRef<'a>,
    column_type: &'a ColumnType,
}

impl Datum {
    /// The value as text. The type gives a decimal its scale.
    pub fn display<'a>(&'a self, column_type: &'a ColumnType) -> DisplayDatum<'a> {
        DisplayDatum { value: self.borrowed(), column_type }
    }
}

impl Display for DisplayDatum<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match &self.value {
            DatumRef::Null => f.write_str("null"),
            DatumRef::Bool(value) => f.write_str(if *value { "t" } else { "f" }),
            DatumRef::Int16(value) => write!(f, "{value}"),
            DatumRef::Int32(value) => write!(f, "{value}"),
            DatumRef::Int64(value) => write!(f, "{value}"),
            DatumRef::Float32(value) if value.is_infinite() => write_infinity(f, value.is_sign_negative()),
            DatumRef::Float32(value) => write!(f, "{value}"),
            DatumRef::Float64(value) if value.is_infinite() => write_infinity(f, value.is_sign_negative()),
            DatumRef::Float64(value) => write!(f, "{value}"),
            DatumRef::Decimal(value) => write_decimal(f, *value, self.scale()),
            DatumRef::Text(value) => f.write_str(value),
            DatumRef::Bytes(value) => write_hex(f, "\\x", value),
            DatumRef::Date(days) => write_date(f, i64::from(*days)).and_then(|before| write_era(f, before)),
            DatumRef::Time(microseconds) => write_time(f, *microseconds),
            DatumRef::Timestamp(microseconds) => write_timestamp(f, *microseconds, ""),
            DatumRef::TimestampTz(microseconds) => write_timestamp(f, *microseconds, "+00"),
            DatumRef::Interval { months, days, nanoseconds } => {
                write_interval(f, *months, *days, *nanoseconds)
            }
            DatumRef::Uuid(value) => write_uuid(f, value),
            DatumRef::Array(elements) => self.write_array(f, elements),
        }
    }
}

impl DisplayDatum<'_> {
    fn scale(&self) -> usize {
        match self.column_type {
            ColumnType::Decimal { scale, .. } => usize::from(*scale),
            _ => 0,
        }
    }

    fn write_array(&self, f: &mut Formatter<'_>, elements: &[Datum]) -> fmt::Result {
        let element_type = match self.column_type {
            ColumnType::Array(element_type) => element_type,
            other => other,
        };
        f.write_char('{')?;
        for (index, element) in elements.iter().enumerate() {
            if index > 0 {
                f.write_char(',')?;
            }
            if element.is_null() {
                f.write_str("NULL")?;
                continue;
            }
            write_element(f, &element.display(element_type).to_string())?;
        }
        f.write_char('}')
    }
}

/// An array's element, quoted where it would be read as something else.
fn write_element(f: &mut Formatter<'_>, text: &str) -> fmt::Result {
    let special = |character: char| character.is_ascii_whitespace() || "{},\"\\".contains(character);
    if !text.is_empty() && !text.eq_ignore_ascii_case("null") && !text.contains(special) {
        return f.write_str(text);
    }
    f.write_char('"')?;
    for character in text.chars() {
        if matches!(character, '"' | '\\') {
            f.write_char('\\')?;
        }
        f.write_char(character)?;
    }
    f.write_char('"')
}

fn write_infinity(f: &mut Formatter<'_>, negative: bool) -> fmt::Result {
    f.write_str(if negative { "-Infinity" } else { "Infinity" })
}

fn write_decimal(f: &mut Formatter<'_>, value: i128, scale: usize) -> fmt::Result {
    let sign = if value < 0 { "-" } else { "" };
    let digits = format!("{:0width$}", value.unsigned_abs(), width = scale + 1);
    let (whole, fraction) = digits.split_at(digits.len() - scale);
    write!(f, "{sign}{whole}")?;
    if scale > 0 { write!(f, ".{fraction}") } else { Ok(()) }
}

fn write_hex(f: &mut Formatter<'_>, prefix: &str, bytes: &[u8]) -> fmt::Result {
    f.write_str(prefix)?;
    bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
}

fn write_uuid(f: &mut Formatter<'_>, bytes: &[u8; 16]) -> fmt::Result {
    for (index, byte) in bytes.iter().enumerate() {
        write!(f, "{}{byte:02x}", if matches!(index, 4 | 6 | 8 | 10) { "-" } else { "" })?;
    }
    Ok(())
}

/// The civil date of a day since 1970-01-01 in the proleptic Gregorian calendar (H. Hinnant,
/// "chrono-compatible low-level date algorithms"): year, month, day.
fn civil(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    (era * 400 + year_of_era + i64::from(month <= 2), month, day)
}

/// Writes a date and tells whether it lies before the year 1.
fn write_date(f: &mut Formatter<'_>, days: i64) -> Result<bool, fmt::Error> {
    let (year, month, day) = civil(days);
    let before = year <= 0;
    write!(f, "{:04}-{month:02}-{day:02}", if before { 1 - year } else { year })?;
    Ok(before)
}

fn write_era(f: &mut Formatter<'_>, before: bool) -> fmt::Result {
    f.write_str(if before { " BC" } else { "" })
}

fn write_timestamp(f: &mut Formatter<'_>, microseconds: i64, zone: &str) -> fmt::Result {
    const DAY: i64 = 86_400_000_000;
    let before = write_date(f, microseconds.div_euclid(DAY))?;
    f.write_char(' ')?;
    write_time(f, microseconds.rem_euclid(DAY))?;
    f.write_str(zone)?;
    write_era(f, before)
}

fn write_time(f: &mut Formatter<'_>, microseconds: i64) -> fmt::Result {
    let sign = if microseconds < 0 { "-" } else { "" };
    let microseconds = microseconds.unsigned_abs();
    let (seconds, fraction) = (microseconds / 1_000_000, microseconds % 1_000_000);
    write!(f, "{sign}{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60)?;
    if fraction == 0 {
        return Ok(());
    }
    write!(f, ".{}", format!("{fraction:06}").trim_end_matches('0'))
}

fn write_interval(f: &mut Formatter<'_>, months: i32, days: i32, nanoseconds: i64) -> fmt::Result {
    let mut separator = "";
    for (count, unit) in [(months / 12, "year"), (months % 12, "mon"), (days, "day")] {
        if count != 0 {
            write!(f, "{separator}{count} {unit}{}", if count == 1 { "" } else { "s" })?;
            separator = " ";
        }
    }
    if nanoseconds != 0 || separator.is_empty() {
        f.write_str(separator)?;
        write_time(f, nanoseconds / 1000)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_print_as_postgres_prints_them() {
        let decimal = ColumnType::Decimal { precision: 10, scale: 2 };
        let texts = ColumnType::Array(Box::new(ColumnType::Text));
        let text = |text: &str| Datum::Text(text.into());
        let interval = |months, days, nanoseconds| Datum::Interval { months, days, nanoseconds };
        let cases = [
            (ColumnType::Bool, Datum::Bool(true), "t"),
            (ColumnType::Int16, Datum::Int16(-5), "-5"),
            (ColumnType::Float64, Datum::Float64(1000.0), "1000"),
            (ColumnType::Float64, Datum::Float64(f64::NEG_INFINITY), "-Infinity"),
            (ColumnType::Float32, Datum::Float32(f32::NAN), "NaN"),
            (decimal.clone(), Datum::Decimal(-5), "-0.05"),
            (decimal, Datum::Decimal(12_345), "123.45"),
            (ColumnType::Decimal { precision: 38, scale: 0 }, Datum::Decimal(-7), "-7"),
            (ColumnType::Bytes, Datum::Bytes(vec![0, 255]), "\\x00ff"),
            (ColumnType::Date, Datum::Date(0), "1970-01-01"),
            (ColumnType::Date, Datum::Date(19_782), "2024-02-29"),
            (ColumnType::Date, Datum::Date(-719_163), "0001-12-31 BC"),
            (ColumnType::Time, Datum::Time(3_723_500_000), "01:02:03.5"),
            (ColumnType::Timestamp, Datum::Timestamp(-1), "1969-12-31 23:59:59.999999"),
            (ColumnType::TimestampTz, Datum::TimestampTz(0), "1970-01-01 00:00:00+00"),
            (ColumnType::Interval, interval(14, -1, 1_500_000_000), "1 year 2 mons -1 days 00:00:01.5"),
            (ColumnType::Interval, interval(0, 0, 0), "00:00:00"),
            (ColumnType::Uuid, Datum::Uuid([0xAB; 16]), "abababab-abab-abab-abab-abababababab"),
            (
                texts,
                Datum::Array(vec![text("a"), Datum::Null, text("b \"c\""), text("")]),
                r#"{a,NULL,"b \"c\"",""}"#,
            ),
        ];
        for (column_type, value, expected) in cases {
            assert_eq!(value.display(&column_type).to_string(), expected);
        }
        for value in [i64::MIN, i64::MAX] {
            assert!(!Datum::Timestamp(value).display(&ColumnType::Timestamp).to_string().is_empty());
        }
    }

    #[test]
    fn a_key_is_described_for_the_user() {
        let (one, x) = (Datum::Int32(1), Datum::Text("x".into()));
        let columns = [("a", &one, &ColumnType::Int32), ("b", &x, &ColumnType::Text)];
        assert_eq!(describe_key(columns), "Key (a, b)=(1, x)");
    }
}
