//! `date_trunc`.

use std::sync::Arc;

use datafusion::arrow::array::{
    Array, ArrayRef, AsArray, IntervalMonthDayNanoArray, TimestampMicrosecondArray,
};
use datafusion::arrow::compute::cast as arrow_cast;
use datafusion::arrow::datatypes::{
    DataType, IntervalMonthDayNano, IntervalMonthDayNanoType, IntervalUnit, TimeUnit,
    TimestampMicrosecondType,
};
use datafusion::common::Result;
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

use super::definition::undefined;
use crate::error::{SqlError, SqlResult};
use crate::postgres::cast::session_zone;
use crate::postgres::format::datetime::{DAY, civil_from_days, days_from_civil};
use crate::postgres::operators::like_arguments;
use crate::postgres::zone::Zone;

#[derive(Debug, PartialEq, Eq, Hash)]
struct DateTrunc {
    signature: Signature,
}

/// date_trunc.
pub(super) fn date_trunc() -> Arc<ScalarUDF> {
    Arc::new(ScalarUDF::new_from_impl(DateTrunc { signature: Signature::user_defined(Volatility::Stable) }))
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Unit {
    Micros(i64),
    Week,
    Months(i64),
    Years(i64),
}

fn unit_of(text: &str) -> SqlResult<Unit> {
    Ok(match text.to_ascii_lowercase().as_str() {
        "microsecond" | "microseconds" => Unit::Micros(1),
        "millisecond" | "milliseconds" => Unit::Micros(1_000),
        "second" | "seconds" => Unit::Micros(1_000_000),
        "minute" | "minutes" => Unit::Micros(60_000_000),
        "hour" | "hours" => Unit::Micros(3_600_000_000),
        "day" | "days" => Unit::Micros(DAY),
        "week" | "weeks" => Unit::Week,
        "month" | "months" => Unit::Months(1),
        "quarter" | "quarters" => Unit::Months(3),
        "year" | "years" => Unit::Years(1),
        "decade" | "decades" => Unit::Years(10),
        "century" | "centuries" => Unit::Years(100),
        "millennium" | "millennia" => Unit::Years(1_000),
        _ => {
            return Err(SqlError::new(
                "22023",
                format!("unit \"{text}\" not recognized for type timestamp without time zone"),
            ));
        }
    })
}

/// A local time cut to a unit.
fn truncate(micros: i64, unit: Unit) -> i64 {
    if micros == i64::MAX || micros == i64::MIN {
        return micros;
    }
    let days = micros.div_euclid(DAY);
    let start = match unit {
        Unit::Micros(size) => return micros.div_euclid(size) * size,
        Unit::Week => days - (days + 3).rem_euclid(7),
        Unit::Months(size) => {
            let (year, month, _) = civil_from_days(days);
            let first = (i64::from(month) - 1) / size * size + 1;
            days_from_civil(year, u32::try_from(first).unwrap_or(1), 1)
        }
        Unit::Years(size) => {
            let (year, ..) = civil_from_days(days);
            // Decades start at a multiple of ten, centuries and millennia one year later.
            let first = if size >= 100 {
                (year - 1).div_euclid(size) * size + 1
            } else {
                year.div_euclid(size) * size
            };
            days_from_civil(first, 1, 1)
        }
    };
    start.saturating_mul(DAY)
}

fn truncate_interval(value: IntervalMonthDayNano, unit: Unit) -> SqlResult<IntervalMonthDayNano> {
    Ok(match unit {
        Unit::Micros(DAY) => IntervalMonthDayNano::new(value.months, value.days, 0),
        Unit::Micros(size) => {
            let size = size * 1_000;
            IntervalMonthDayNano::new(value.months, value.days, value.nanoseconds / size * size)
        }
        Unit::Week => {
            return Err(SqlError::unsupported("unit \"week\" not supported for type interval")
                .with_detail("Months usually have fractional weeks."));
        }
        Unit::Months(size) | Unit::Years(size) => {
            let size = if matches!(unit, Unit::Years(_)) { size * 12 } else { size };
            let size = i32::try_from(size).unwrap_or(i32::MAX);
            IntervalMonthDayNano::new(value.months / size * size, 0, 0)
        }
    })
}

fn utc() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
}

impl ScalarUDFImpl for DateTrunc {
    fn name(&self) -> &str {
        "date_trunc"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, arg_types: &[DataType]) -> Result<Vec<DataType>> {
        let (value, zone) = match arg_types {
            [_, value] => (value, false),
            [_, value, _] => (value, true),
            _ => return Err(undefined("date_trunc", arg_types).into()),
        };
        let value = match value {
            DataType::Timestamp(_, None) if zone => utc(),
            DataType::Timestamp(_, None) => DataType::Timestamp(TimeUnit::Microsecond, None),
            DataType::Timestamp(..) | DataType::Date32 | DataType::Date64 => utc(),
            // A literal in quotes is a timestamp with zone.
            DataType::Utf8 | DataType::Utf8View | DataType::Null => utc(),
            DataType::Interval(_) => DataType::Interval(IntervalUnit::MonthDayNano),
            _ => return Err(undefined("date_trunc", arg_types).into()),
        };
        let mut types = vec![DataType::Utf8View, value];
        if zone {
            types.push(DataType::Utf8View);
        }
        Ok(types)
    }

    fn return_type(&self, arg_types: &[DataType]) -> Result<DataType> {
        arg_types.get(1).cloned().ok_or_else(|| undefined("date_trunc", arg_types).into())
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let constant = |index: usize| match args.args.get(index) {
            Some(ColumnarValue::Scalar(value)) => value.try_as_str().flatten().map(str::to_owned),
            _ => None,
        };
        let Some(unit) = constant(0) else {
            return Err(SqlError::unsupported("the unit of date_trunc must be a constant").into());
        };
        let unit = unit_of(&unit)?;
        let zone = match (args.args.len(), constant(2)) {
            (3, Some(name)) => Zone::parse(&name)
                .ok_or_else(|| SqlError::new("22023", format!("time zone \"{name}\" not recognized")))?,
            (3, None) => {
                return Err(SqlError::unsupported("the zone of date_trunc must be a constant").into());
            }
            _ => session_zone(&args.config_options),
        };
        let array = match args.args.get(1) {
            Some(ColumnarValue::Array(array)) => Arc::clone(array),
            Some(ColumnarValue::Scalar(value)) => value.to_array()?,
            None => return Err(SqlError::internal("an argument is missing").into()),
        };
        let result: ArrayRef = match array.data_type() {
            DataType::Interval(_) => {
                let array = array.as_primitive::<IntervalMonthDayNanoType>();
                let cut =
                    array.iter().map(|value| value.map(|value| truncate_interval(value, unit)).transpose());
                Arc::new(cut.collect::<SqlResult<IntervalMonthDayNanoArray>>()?)
            }
            DataType::Timestamp(_, Some(_)) => {
                let array = arrow_cast(&array, &utc())?;
                let cut: TimestampMicrosecondArray =
                    array.as_primitive::<TimestampMicrosecondType>().unary(|instant| match instant {
                        i64::MAX | i64::MIN => instant,
                        _ => zone.to_utc(truncate(zone.to_local(instant), unit)),
                    });
                Arc::new(cut.with_timezone("UTC"))
            }
            _ => {
                let array = arrow_cast(&array, &DataType::Timestamp(TimeUnit::Microsecond, None))?;
                let cut: TimestampMicrosecondArray =
                    array.as_primitive::<TimestampMicrosecondType>().unary(|micros| truncate(micros, unit));
                Arc::new(cut)
            }
        };
        like_arguments(&args.args[1..2], result)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_cut_to_the_start_of_their_unit() {
        // 2024-08-15 12:34:56
        let moment = (days_from_civil(2024, 8, 15) * 86_400 + 45_296) * 1_000_000;
        for (unit, year, month, day) in [
            ("day", 2024, 8, 15),
            ("week", 2024, 8, 12),
            ("month", 2024, 8, 1),
            ("quarter", 2024, 7, 1),
            ("year", 2024, 1, 1),
            ("decade", 2020, 1, 1),
            ("century", 2001, 1, 1),
        ] {
            let start = days_from_civil(year, month, day) * DAY;
            assert_eq!(truncate(moment, unit_of(unit).unwrap()), start, "{unit}");
        }
        assert_eq!(truncate(moment, unit_of("hour").unwrap()) % 3_600_000_000, 0);
        assert_eq!(unit_of("fortnight").unwrap_err().sqlstate, "22023");
    }
}
