//! `extract(field FROM t)`, which is numeric, and `date_part(field, t)`, which is a double.

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, Decimal128Array, Float64Array};
use datafusion::arrow::compute::cast as arrow_cast;
use datafusion::arrow::datatypes::{
    DataType, Date32Type, Field, FieldRef, IntervalMonthDayNanoType, Time64MicrosecondType,
    TimestampMicrosecondType,
};
use datafusion::common::Result;
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

use super::definition::undefined;
use crate::error::{SqlError, SqlResult};
use crate::postgres::cast::session_zone;
use crate::postgres::format::datetime::{DAY, civil_from_days, days_from_civil};
use crate::postgres::input::datetime::parse_timestamp;
use crate::postgres::operators::like_arguments;
use crate::postgres::types::{PgType, oid};
use crate::postgres::zone::Zone;

/// Digits after the point of what is counted in seconds.
const SECONDS_SCALE: i8 = 6;

#[derive(Debug, PartialEq, Eq, Hash)]
struct Extract {
    exact: bool,
    signature: Signature,
}

fn make(exact: bool) -> Arc<ScalarUDF> {
    Arc::new(ScalarUDF::new_from_impl(Extract { exact, signature: Signature::any(2, Volatility::Stable) }))
}

/// EXTRACT.
pub(super) fn extract() -> Arc<ScalarUDF> {
    make(true)
}

/// date_part.
pub(super) fn date_part() -> Arc<ScalarUDF> {
    make(false)
}

/// A moment, cut into what fields are made of.
#[derive(Clone, Copy)]
struct Moment {
    /// Local days since 1970-01-01; `None` for a time of day.
    days: Option<i64>,
    /// Local microseconds since midnight.
    micros: i64,
    /// Microseconds since 1970 UTC.
    instant: i64,
    /// Seconds east of UTC, with a zone.
    offset: Option<i32>,
}

/// Whether a field is counted in seconds with a fraction.
fn is_fractional(field: &str) -> bool {
    matches!(canonical(field), "second" | "epoch" | "julian" | "millisecond")
}

fn canonical(field: &str) -> &str {
    match field {
        "y" | "years" | "yr" | "yrs" => "year",
        "mon" | "mons" | "months" => "month",
        "d" | "days" => "day",
        "h" | "hours" | "hr" | "hrs" => "hour",
        "m" | "minutes" | "min" | "mins" => "minute",
        "s" | "seconds" | "sec" | "secs" => "second",
        "milliseconds" | "ms" | "msec" => "millisecond",
        "microseconds" | "us" | "usec" => "microsecond",
        "weeks" | "w" => "week",
        "quarters" | "qtr" => "quarter",
        "decades" | "dec" => "decade",
        "centuries" | "c" => "century",
        "millennia" | "mil" => "millennium",
        "dayofweek" => "dow",
        "dayofyear" => "doy",
        other => other,
    }
}

/// The ISO week and its year.
fn iso_week(days: i64) -> (i64, i64) {
    // Thursday decides which year a week belongs to.
    let thursday = days - (days + 3).rem_euclid(7) + 3;
    let (year, ..) = civil_from_days(thursday);
    (year, (thursday - days_from_civil(year, 1, 1)) / 7 + 1)
}

impl Moment {
    /// The field in millionths; `None` if a moment of this kind has no such field.
    fn field(&self, field: &str) -> Option<i128> {
        let micros = self.micros;
        let whole = match field {
            "hour" => micros / 3_600_000_000,
            "minute" => micros / 60_000_000 % 60,
            "second" => return Some(i128::from(micros % 60_000_000)),
            "millisecond" => return Some(i128::from(micros % 60_000_000) * 1_000),
            "microsecond" => micros % 60_000_000,
            "epoch" => return Some(i128::from(self.instant)),
            "timezone" => i64::from(self.offset?),
            "timezone_hour" => i64::from(self.offset? / 3_600),
            "timezone_minute" => i64::from(self.offset? / 60 % 60),
            _ => return self.calendar_field(field),
        };
        Some(i128::from(whole) * 1_000_000)
    }

    fn calendar_field(&self, field: &str) -> Option<i128> {
        let days = self.days?;
        let (year, month, day) = civil_from_days(days);
        let shown_year = if year > 0 { year } else { year - 1 };
        let rounded_up =
            |years: i64| if year > 0 { (year + years - 1) / years } else { -((years - year) / years) };
        let whole = match field {
            "year" => shown_year,
            "month" => i64::from(month),
            "day" => i64::from(day),
            "quarter" => i64::from(month.div_ceil(3)),
            "decade" => year.div_euclid(10),
            "century" => rounded_up(100),
            "millennium" => rounded_up(1_000),
            "dow" => (days + 4).rem_euclid(7),
            "isodow" => (days + 3).rem_euclid(7) + 1,
            "doy" => days - days_from_civil(year, 1, 1) + 1,
            "week" => iso_week(days).1,
            "isoyear" => iso_week(days).0,
            "julian" => {
                let whole = i128::from(days + 2_440_588) * 1_000_000;
                return Some(whole + i128::from(self.micros) * 1_000_000 / i128::from(DAY));
            }
            _ => return None,
        };
        Some(i128::from(whole) * 1_000_000)
    }
}

/// A field of an interval in millionths.
fn interval_field(months: i32, days: i32, nanoseconds: i64, field: &str) -> Option<i128> {
    let micros = nanoseconds / 1_000;
    let whole = match field {
        "year" => i64::from(months / 12),
        "month" => i64::from(months % 12),
        "quarter" => i64::from(months % 12 / 3 + 1),
        "decade" => i64::from(months / 120),
        "century" => i64::from(months / 1_200),
        "millennium" => i64::from(months / 12_000),
        "day" => i64::from(days),
        "hour" => micros / 3_600_000_000,
        "minute" => micros / 60_000_000 % 60,
        "second" => return Some(i128::from(micros % 60_000_000)),
        "millisecond" => return Some(i128::from(micros % 60_000_000) * 1_000),
        "microsecond" => micros % 60_000_000,
        "epoch" => {
            // A year counts 365.25 days, the months that are left thirty.
            let seconds = i128::from(months / 12) * 31_557_600 + i128::from(months % 12) * 2_592_000;
            let seconds = seconds + i128::from(days) * 86_400;
            return Some(seconds * 1_000_000 + i128::from(micros));
        }
        _ => return None,
    };
    Some(i128::from(whole) * 1_000_000)
}

fn unknown_field(field: &str, of: PgType) -> SqlError {
    const KNOWN: [&str; 20] = [
        "year",
        "month",
        "day",
        "hour",
        "minute",
        "second",
        "millisecond",
        "microsecond",
        "epoch",
        "timezone",
        "quarter",
        "decade",
        "century",
        "millennium",
        "dow",
        "isodow",
        "doy",
        "week",
        "isoyear",
        "julian",
    ];
    let name = of.sql_name();
    if KNOWN.contains(&canonical(field)) {
        SqlError::unsupported(format!("unit \"{field}\" not supported for type {name}"))
    } else {
        SqlError::new("22023", format!("unit \"{field}\" not recognized for type {name}"))
    }
}

/// The field of each value, in millionths.
fn fields(array: &ArrayRef, field: &str, zone: &Zone) -> SqlResult<Vec<Option<i128>>> {
    let of = PgType { modifier: -1, ..PgType::natural(array.data_type()) };
    let name = canonical(field);
    let missing = || unknown_field(field, of);
    let wanted = |moment: Moment| moment.field(name).ok_or_else(missing).map(Some);
    let array = arrow_cast(array, &of.arrow()?).map_err(|error| SqlError::internal(error.to_string()))?;
    match of.oid {
        oid::DATE => array
            .as_primitive::<Date32Type>()
            .iter()
            .map(|days| match days {
                Some(days) => {
                    let days = i64::from(days);
                    if matches!(name, "hour" | "minute" | "second" | "millisecond" | "microsecond") {
                        return Err(missing());
                    }
                    wanted(Moment {
                        days: Some(days),
                        micros: 0,
                        instant: days.saturating_mul(DAY),
                        offset: None,
                    })
                }
                None => Ok(None),
            })
            .collect(),
        oid::TIMESTAMP | oid::TIMESTAMPTZ => {
            let zoned = of.oid == oid::TIMESTAMPTZ;
            array
                .as_primitive::<TimestampMicrosecondType>()
                .iter()
                .map(|instant| match instant {
                    Some(instant) if instant != i64::MAX && instant != i64::MIN => {
                        let offset = zoned.then(|| zone.offset_at(instant));
                        let local = instant + i64::from(offset.unwrap_or(0)) * 1_000_000;
                        let (days, micros) = (local.div_euclid(DAY), local.rem_euclid(DAY));
                        wanted(Moment { days: Some(days), micros, instant, offset })
                    }
                    _ => Ok(None),
                })
                .collect()
        }
        oid::TIME => array
            .as_primitive::<Time64MicrosecondType>()
            .iter()
            .map(|micros| match micros {
                Some(micros) => wanted(Moment { days: None, micros, instant: micros, offset: None }),
                None => Ok(None),
            })
            .collect(),
        oid::INTERVAL => array
            .as_primitive::<IntervalMonthDayNanoType>()
            .iter()
            .map(|value| match value {
                Some(value) => interval_field(value.months, value.days, value.nanoseconds, name)
                    .ok_or_else(missing)
                    .map(Some),
                None => Ok(None),
            })
            .collect(),
        _ => Err(undefined("extract", &[DataType::Utf8, array.data_type().clone()])),
    }
}

impl ScalarUDFImpl for Extract {
    fn name(&self) -> &str {
        if self.exact { "extract" } else { "date_part" }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arg_types: &[DataType]) -> Result<DataType> {
        Ok(if self.exact { DataType::Decimal128(24, SECONDS_SCALE) } else { DataType::Float64 })
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        let field =
            args.scalar_arguments.first().copied().flatten().and_then(|value| value.try_as_str().flatten());
        let data_type = match field {
            _ if !self.exact => DataType::Float64,
            Some(field) if !is_fractional(&field.to_ascii_lowercase()) => DataType::Decimal128(10, 0),
            _ => DataType::Decimal128(24, SECONDS_SCALE),
        };
        Ok(Arc::new(Field::new(self.name(), data_type, true)))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [ColumnarValue::Scalar(field), value] = &args.args[..] else {
            return Err(SqlError::unsupported("the field of extract must be a constant").into());
        };
        let Some(field) = field.try_as_str().flatten().map(str::to_ascii_lowercase) else {
            return Err(SqlError::new("22023", "the field of extract must not be null").into());
        };
        let mut array = value.clone().into_array(args.number_rows)?;
        if matches!(value, ColumnarValue::Scalar(_)) {
            array = array.slice(0, array.len().min(1));
        }
        if matches!(array.data_type(), DataType::Utf8 | DataType::Utf8View) {
            // A literal in quotes is a timestamp.
            let texts = arrow_cast(&array, &DataType::Utf8View)?;
            let instants = texts
                .as_string_view()
                .iter()
                .map(|text| text.map(|text| parse_timestamp(text, &Zone::Utc, 0)).transpose())
                .collect::<SqlResult<datafusion::arrow::array::TimestampMicrosecondArray>>()?;
            array = Arc::new(instants);
        }
        let millionths = fields(&array, &field, &session_zone(&args.config_options))?;
        let result: ArrayRef = match args.return_field.data_type() {
            DataType::Float64 => {
                #[allow(clippy::cast_precision_loss)]
                let doubles: Float64Array =
                    millionths.into_iter().map(|value| value.map(|value| value as f64 / 1e6)).collect();
                Arc::new(doubles)
            }
            target @ DataType::Decimal128(_, 0) => {
                let whole: Decimal128Array =
                    millionths.into_iter().map(|value| value.map(|value| value / 1_000_000)).collect();
                Arc::new(whole.with_data_type(target.clone()))
            }
            target => {
                let exact: Decimal128Array = millionths.into_iter().collect();
                Arc::new(exact.with_data_type(target.clone()))
            }
        };
        like_arguments(&args.args, result)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weeks_belong_to_the_year_of_their_thursday() {
        assert_eq!(iso_week(days_from_civil(2024, 1, 1)), (2024, 1));
        assert_eq!(iso_week(days_from_civil(2021, 1, 3)), (2020, 53));
        assert_eq!(iso_week(days_from_civil(2024, 12, 30)), (2025, 1));
    }

    #[test]
    fn fields_are_those_of_the_calendar() {
        let days = days_from_civil(2024, 3, 15);
        let moment = Moment { days: Some(days), micros: 14_706_789_000, instant: 0, offset: Some(-19_800) };
        for (field, value) in [
            ("year", 2_024_000_000_i128),
            ("quarter", 1_000_000),
            ("dow", 5_000_000),
            ("doy", 75_000_000),
            ("century", 21_000_000),
            ("second", 6_789_000),
            ("millisecond", 6_789_000_000),
            ("timezone_hour", -5_000_000),
            ("timezone_minute", -30_000_000),
        ] {
            assert_eq!(moment.field(field), Some(value), "{field}");
        }
        assert_eq!(moment.field("fortnight"), None);
        assert_eq!(interval_field(14, 3, 0, "month"), Some(2_000_000));
    }
}
