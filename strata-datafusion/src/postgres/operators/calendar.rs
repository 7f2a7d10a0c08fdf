//! Arithmetic on dates, times, timestamps and intervals.
//!
//! Months are added to the calendar date (the day is cut to the month's last), then days, then the time; with a zone,
//! months and days are added to the local time, as Postgres does.

use std::sync::{Arc, LazyLock};

use datafusion::arrow::array::{
    Array, ArrayRef, AsArray, Date32Array, Int32Array, IntervalMonthDayNanoArray, Time64MicrosecondArray,
    TimestampMicrosecondArray,
};
use datafusion::arrow::datatypes::{
    DataType, Date32Type, Float64Type, Int32Type, IntervalMonthDayNano, IntervalMonthDayNanoType,
    IntervalUnit, Time64MicrosecondType, TimeUnit, TimestampMicrosecondType,
};
use datafusion::common::Result;
use datafusion::logical_expr::{
    ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use datafusion::sql::sqlparser::ast::BinaryOperator;

use super::number::like_arguments;
use crate::error::{SqlError, SqlResult};
use crate::postgres::cast::cast_call;
use crate::postgres::format::datetime::{DAY, civil_from_days, days_from_civil, days_of_month};
use crate::postgres::types::{PgType, oid};
use crate::postgres::zone::Zone;

/// The operators, named as pg_operator's functions are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum CalendarOperator {
    DatePlusDays,
    DateMinusDays,
    DateMinusDate,
    TimestampPlusInterval,
    TimestampMinusInterval,
    ZonedPlusInterval,
    ZonedMinusInterval,
    TimestampMinusTimestamp,
    TimePlusInterval,
    TimeMinusInterval,
    TimeMinusTime,
    IntervalPlusInterval,
    IntervalMinusInterval,
    IntervalTimesNumber,
    IntervalOverNumber,
    IntervalNegated,
}

use CalendarOperator as Op;

impl Op {
    const ALL: [Op; 16] = [
        Op::DatePlusDays,
        Op::DateMinusDays,
        Op::DateMinusDate,
        Op::TimestampPlusInterval,
        Op::TimestampMinusInterval,
        Op::ZonedPlusInterval,
        Op::ZonedMinusInterval,
        Op::TimestampMinusTimestamp,
        Op::TimePlusInterval,
        Op::TimeMinusInterval,
        Op::TimeMinusTime,
        Op::IntervalPlusInterval,
        Op::IntervalMinusInterval,
        Op::IntervalTimesNumber,
        Op::IntervalOverNumber,
        Op::IntervalNegated,
    ];

    fn name(self) -> &'static str {
        match self {
            Op::DatePlusDays => "date_pli",
            Op::DateMinusDays => "date_mii",
            Op::DateMinusDate => "date_mi",
            Op::TimestampPlusInterval => "timestamp_pl_interval",
            Op::TimestampMinusInterval => "timestamp_mi_interval",
            Op::ZonedPlusInterval => "timestamptz_pl_interval",
            Op::ZonedMinusInterval => "timestamptz_mi_interval",
            Op::TimestampMinusTimestamp => "timestamp_mi",
            Op::TimePlusInterval => "time_pl_interval",
            Op::TimeMinusInterval => "time_mi_interval",
            Op::TimeMinusTime => "time_mi_time",
            Op::IntervalPlusInterval => "interval_pl",
            Op::IntervalMinusInterval => "interval_mi",
            Op::IntervalTimesNumber => "interval_mul",
            Op::IntervalOverNumber => "interval_div",
            Op::IntervalNegated => "interval_um",
        }
    }

    fn result(self) -> DataType {
        match self {
            Op::DatePlusDays | Op::DateMinusDays => DataType::Date32,
            Op::DateMinusDate => DataType::Int32,
            Op::TimestampPlusInterval | Op::TimestampMinusInterval => {
                DataType::Timestamp(TimeUnit::Microsecond, None)
            }
            Op::ZonedPlusInterval | Op::ZonedMinusInterval => {
                DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
            }
            Op::TimePlusInterval | Op::TimeMinusInterval => DataType::Time64(TimeUnit::Microsecond),
            _ => DataType::Interval(IntervalUnit::MonthDayNano),
        }
    }
}

/// One of the operators as a function.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) struct CalendarFunction {
    operator: Op,
    signature: Signature,
}

static FUNCTIONS: LazyLock<Vec<Arc<ScalarUDF>>> = LazyLock::new(|| {
    Op::ALL
        .iter()
        .map(|operator| {
            let count = if *operator == Op::IntervalNegated { 1 } else { 2 };
            let zoned = matches!(operator, Op::ZonedPlusInterval | Op::ZonedMinusInterval);
            let volatility = if zoned { Volatility::Stable } else { Volatility::Immutable };
            let signature = Signature::any(count, volatility);
            Arc::new(ScalarUDF::new_from_impl(CalendarFunction { operator: *operator, signature }))
        })
        .collect()
});

impl CalendarFunction {
    /// A call; the arguments have the operator's types already.
    pub(crate) fn call(operator: Op, args: Vec<Expr>) -> Expr {
        let index = Op::ALL.iter().position(|other| *other == operator).unwrap_or(0);
        FUNCTIONS[index].call(args)
    }

    /// The operator on arrays, in UTC.
    pub(crate) fn apply(operator: Op, arrays: &[ArrayRef]) -> SqlResult<ArrayRef> {
        operator.apply(arrays, &Zone::Utc)
    }
}

/// The type of a literal that stands beside one of type `known`.
pub(super) fn partner(known: PgType, op: &BinaryOperator) -> PgType {
    match (known.oid, op) {
        (oid::DATE | oid::TIMESTAMP | oid::TIMESTAMPTZ | oid::TIME, BinaryOperator::Plus) => {
            PgType::new(oid::INTERVAL)
        }
        (oid::INTERVAL, BinaryOperator::Multiply | BinaryOperator::Divide) => PgType::new(oid::FLOAT8),
        _ => known,
    }
}

/// The expression of arithmetic on times; `None` if these are none.
pub(super) fn plan(
    left: &Expr,
    left_type: PgType,
    op: &BinaryOperator,
    right: &Expr,
    right_type: PgType,
) -> SqlResult<Option<Expr>> {
    use BinaryOperator::{Divide, Minus, Multiply, Plus};
    let call =
        |operator: Op, left: Expr, right: Expr| Ok(Some(CalendarFunction::call(operator, vec![left, right])));
    let (a, b) = (left.clone(), right.clone());
    let to = |expr: Expr, wanted: u32| cast_call(expr, PgType::new(wanted));
    let integer = |found: u32| matches!(found, oid::INT2 | oid::INT4);
    let days = |expr: Expr, found: u32| if found == oid::INT4 { expr } else { to(expr, oid::INT4) };
    match (left_type.oid, op, right_type.oid) {
        (oid::DATE, Plus, found) if integer(found) => call(Op::DatePlusDays, a, days(b, found)),
        (found, Plus, oid::DATE) if integer(found) => call(Op::DatePlusDays, b, days(a, found)),
        (oid::DATE, Minus, found) if integer(found) => call(Op::DateMinusDays, a, days(b, found)),
        (oid::DATE, Minus, oid::DATE) => call(Op::DateMinusDate, a, b),
        (oid::DATE, Plus, oid::INTERVAL) => call(Op::TimestampPlusInterval, to(a, oid::TIMESTAMP), b),
        (oid::INTERVAL, Plus, oid::DATE) => call(Op::TimestampPlusInterval, to(b, oid::TIMESTAMP), a),
        (oid::DATE, Minus, oid::INTERVAL) => call(Op::TimestampMinusInterval, to(a, oid::TIMESTAMP), b),
        (oid::DATE, Plus, oid::TIME) => {
            call(Op::TimestampPlusInterval, to(a, oid::TIMESTAMP), to(b, oid::INTERVAL))
        }
        (oid::TIME, Plus, oid::DATE) => {
            call(Op::TimestampPlusInterval, to(b, oid::TIMESTAMP), to(a, oid::INTERVAL))
        }
        (oid::TIMESTAMP, Plus, oid::INTERVAL) => call(Op::TimestampPlusInterval, a, b),
        (oid::INTERVAL, Plus, oid::TIMESTAMP) => call(Op::TimestampPlusInterval, b, a),
        (oid::TIMESTAMP, Minus, oid::INTERVAL) => call(Op::TimestampMinusInterval, a, b),
        (oid::TIMESTAMPTZ, Plus, oid::INTERVAL) => call(Op::ZonedPlusInterval, a, b),
        (oid::INTERVAL, Plus, oid::TIMESTAMPTZ) => call(Op::ZonedPlusInterval, b, a),
        (oid::TIMESTAMPTZ, Minus, oid::INTERVAL) => call(Op::ZonedMinusInterval, a, b),
        (
            oid::DATE | oid::TIMESTAMP | oid::TIMESTAMPTZ,
            Minus,
            oid::DATE | oid::TIMESTAMP | oid::TIMESTAMPTZ,
        ) => {
            let zoned = left_type.oid == oid::TIMESTAMPTZ || right_type.oid == oid::TIMESTAMPTZ;
            let common = if zoned { oid::TIMESTAMPTZ } else { oid::TIMESTAMP };
            let meet = |expr: Expr, found: u32| if found == common { expr } else { to(expr, common) };
            call(Op::TimestampMinusTimestamp, meet(a, left_type.oid), meet(b, right_type.oid))
        }
        (oid::TIME, Plus, oid::INTERVAL) => call(Op::TimePlusInterval, a, b),
        (oid::INTERVAL, Plus, oid::TIME) => call(Op::TimePlusInterval, b, a),
        (oid::TIME, Minus, oid::INTERVAL) => call(Op::TimeMinusInterval, a, b),
        (oid::TIME, Minus, oid::TIME) => call(Op::TimeMinusTime, a, b),
        (oid::INTERVAL, Plus, oid::INTERVAL) => call(Op::IntervalPlusInterval, a, b),
        (oid::INTERVAL, Minus, oid::INTERVAL) => call(Op::IntervalMinusInterval, a, b),
        (oid::INTERVAL, Multiply, _) if right_type.category() == 'N' => {
            call(Op::IntervalTimesNumber, a, to(b, oid::FLOAT8))
        }
        (_, Multiply, oid::INTERVAL) if left_type.category() == 'N' => {
            call(Op::IntervalTimesNumber, b, to(a, oid::FLOAT8))
        }
        (oid::INTERVAL, Divide, _) if right_type.category() == 'N' => {
            call(Op::IntervalOverNumber, a, to(b, oid::FLOAT8))
        }
        _ => Ok(None),
    }
}

fn range(what: &str) -> SqlError {
    SqlError::new("22008", format!("{what} out of range"))
}

/// A local time moved by an interval.
pub(crate) fn add_local(micros: i64, interval: IntervalMonthDayNano) -> Option<i64> {
    let day = add_days(micros, interval)?;
    day.checked_add(interval.nanoseconds / 1_000)
}

/// The months and days of the interval only.
fn add_days(micros: i64, interval: IntervalMonthDayNano) -> Option<i64> {
    let (mut days, time) = (micros.div_euclid(DAY), micros.rem_euclid(DAY));
    if interval.months != 0 {
        let (year, month, day) = civil_from_days(days);
        let total = year * 12 + i64::from(month) - 1 + i64::from(interval.months);
        let (year, month) = (total.div_euclid(12), u32::try_from(total.rem_euclid(12)).ok()? + 1);
        days = days_from_civil(year, month, day.min(days_of_month(year, month)));
    }
    days.checked_add(i64::from(interval.days))?.checked_mul(DAY)?.checked_add(time)
}

/// An instant moved by an interval: months and days in local time.
pub(crate) fn add_zoned(micros: i64, interval: IntervalMonthDayNano, zone: &Zone) -> Option<i64> {
    let moved = if interval.months == 0 && interval.days == 0 {
        micros
    } else {
        zone.to_utc(add_days(zone.to_local(micros), interval)?)
    };
    moved.checked_add(interval.nanoseconds / 1_000)
}

fn negated(interval: IntervalMonthDayNano) -> SqlResult<IntervalMonthDayNano> {
    let parts =
        (interval.months.checked_neg(), interval.days.checked_neg(), interval.nanoseconds.checked_neg());
    match parts {
        (Some(months), Some(days), Some(nanoseconds)) => {
            Ok(IntervalMonthDayNano::new(months, days, nanoseconds))
        }
        _ => Err(range("interval")),
    }
}

fn sum(a: IntervalMonthDayNano, b: IntervalMonthDayNano) -> SqlResult<IntervalMonthDayNano> {
    let parts = (
        a.months.checked_add(b.months),
        a.days.checked_add(b.days),
        a.nanoseconds.checked_add(b.nanoseconds),
    );
    match parts {
        (Some(months), Some(days), Some(nanoseconds)) => {
            Ok(IntervalMonthDayNano::new(months, days, nanoseconds))
        }
        _ => Err(range("interval")),
    }
}

/// Fractions of months become days of which a month has thirty, those of days become time.
#[allow(clippy::cast_possible_truncation)]
fn scaled(interval: IntervalMonthDayNano, factor: f64) -> SqlResult<IntervalMonthDayNano> {
    let months = f64::from(interval.months) * factor;
    let days = f64::from(interval.days) * factor;
    let month_days = (months - months.trunc()) * 30.0;
    // A microsecond is the least there is: below it lies only the noise of floats.
    let clean = |value: f64| (value * 86_400e6).round() / 86_400e6;
    let (days, month_days) = (clean(days), clean(month_days));
    let rest_seconds = (days - days.trunc() + month_days - month_days.trunc()) * 86_400.0;
    #[allow(clippy::cast_precision_loss)]
    let micros = interval.nanoseconds as f64 / 1_000.0 * factor + rest_seconds * 1e6;
    let whole_days = days.trunc() + month_days.trunc();
    let fits = months.abs() < 2_147_483_648.0 && whole_days.abs() < 2_147_483_648.0 && micros.abs() < 9.2e15;
    if !fits {
        return Err(range("interval"));
    }
    Ok(IntervalMonthDayNano::new(months.trunc() as i32, whole_days as i32, (micros.round() as i64) * 1_000))
}

/// Days and a time of one sign.
fn difference(left: i64, right: i64) -> SqlResult<IntervalMonthDayNano> {
    let micros = left.checked_sub(right).ok_or_else(|| range("interval"))?;
    let days = i32::try_from(micros / DAY).map_err(|_| range("interval"))?;
    Ok(IntervalMonthDayNano::new(0, days, micros % DAY * 1_000))
}

/// Applies to each pair of values that are both there.
fn pairs<A: Copy, B: Copy, C, R: FromIterator<Option<C>>>(
    left: impl Iterator<Item = Option<A>>,
    right: impl Iterator<Item = Option<B>>,
    apply: impl Fn(A, B) -> SqlResult<C>,
) -> SqlResult<R> {
    left.zip(right)
        .map(|pair| match pair {
            (Some(left), Some(right)) => apply(left, right).map(Some),
            _ => Ok(None),
        })
        .collect()
}

fn is_infinite(micros: i64) -> bool {
    micros == i64::MAX || micros == i64::MIN
}

impl Op {
    fn apply(self, arrays: &[ArrayRef], zone: &Zone) -> SqlResult<ArrayRef> {
        let (left, right) = match arrays {
            [only] => (only, only),
            [left, right] => (left, right),
            _ => return Err(SqlError::internal("an operand is missing")),
        };
        let dates = |array: &ArrayRef| array.as_primitive::<Date32Type>().clone();
        let times = |array: &ArrayRef| array.as_primitive::<Time64MicrosecondType>().clone();
        let instants = |array: &ArrayRef| array.as_primitive::<TimestampMicrosecondType>().clone();
        let intervals = |array: &ArrayRef| array.as_primitive::<IntervalMonthDayNanoType>().clone();
        Ok(match self {
            Op::DatePlusDays | Op::DateMinusDays => {
                let days = right.as_primitive::<Int32Type>();
                let array: Date32Array = pairs(dates(left).iter(), days.iter(), |date, days| match date {
                    i32::MAX | i32::MIN => Ok(date),
                    _ if self == Op::DatePlusDays => date.checked_add(days).ok_or_else(|| range("date")),
                    _ => date.checked_sub(days).ok_or_else(|| range("date")),
                })?;
                Arc::new(array)
            }
            Op::DateMinusDate => {
                let array: Int32Array = pairs(dates(left).iter(), dates(right).iter(), |left, right| {
                    left.checked_sub(right).ok_or_else(|| range("date"))
                })?;
                Arc::new(array)
            }
            Op::TimestampPlusInterval
            | Op::TimestampMinusInterval
            | Op::ZonedPlusInterval
            | Op::ZonedMinusInterval => {
                let minus = matches!(self, Op::TimestampMinusInterval | Op::ZonedMinusInterval);
                let zoned = matches!(self, Op::ZonedPlusInterval | Op::ZonedMinusInterval);
                let array: TimestampMicrosecondArray =
                    pairs(instants(left).iter(), intervals(right).iter(), |micros, interval| {
                        if is_infinite(micros) {
                            return Ok(micros);
                        }
                        let interval = if minus { negated(interval)? } else { interval };
                        let moved = if zoned {
                            add_zoned(micros, interval, zone)
                        } else {
                            add_local(micros, interval)
                        };
                        moved.ok_or_else(|| range("timestamp"))
                    })?;
                if zoned { Arc::new(array.with_timezone("UTC")) } else { Arc::new(array) }
            }
            Op::TimestampMinusTimestamp => {
                let array: IntervalMonthDayNanoArray =
                    pairs(instants(left).iter(), instants(right).iter(), difference)?;
                Arc::new(array)
            }
            Op::TimePlusInterval | Op::TimeMinusInterval => {
                let sign = if self == Op::TimePlusInterval { 1 } else { -1 };
                let array: Time64MicrosecondArray =
                    pairs(times(left).iter(), intervals(right).iter(), |time, interval| {
                        Ok((time + sign * (interval.nanoseconds / 1_000 % DAY)).rem_euclid(DAY))
                    })?;
                Arc::new(array)
            }
            Op::TimeMinusTime => {
                let array: IntervalMonthDayNanoArray =
                    pairs(times(left).iter(), times(right).iter(), |left, right| {
                        Ok(IntervalMonthDayNano::new(0, 0, (left - right) * 1_000))
                    })?;
                Arc::new(array)
            }
            Op::IntervalPlusInterval | Op::IntervalMinusInterval => {
                let minus = self == Op::IntervalMinusInterval;
                let array: IntervalMonthDayNanoArray =
                    pairs(intervals(left).iter(), intervals(right).iter(), |left, right| {
                        sum(left, if minus { negated(right)? } else { right })
                    })?;
                Arc::new(array)
            }
            Op::IntervalTimesNumber | Op::IntervalOverNumber => {
                let factors = right.as_primitive::<Float64Type>();
                let array: IntervalMonthDayNanoArray =
                    pairs(intervals(left).iter(), factors.iter(), |interval, factor| match self {
                        Op::IntervalTimesNumber => scaled(interval, factor),
                        _ if factor == 0.0 => Err(SqlError::new("22012", "division by zero")),
                        _ => scaled(interval, 1.0 / factor),
                    })?;
                Arc::new(array)
            }
            Op::IntervalNegated => {
                let values = intervals(left);
                let negative = values.iter().map(|value| value.map(negated).transpose());
                Arc::new(negative.collect::<SqlResult<IntervalMonthDayNanoArray>>()?)
            }
        })
    }
}

impl ScalarUDFImpl for CalendarFunction {
    fn name(&self) -> &str {
        self.operator.name()
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arg_types: &[DataType]) -> Result<DataType> {
        Ok(self.operator.result())
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let zone = crate::postgres::cast::session_zone(&args.config_options);
        let arrays = ColumnarValue::values_to_arrays(&args.args)?;
        if arrays.iter().any(|array| array.data_type() == &DataType::Null) {
            let nulls = datafusion::arrow::array::new_null_array(
                args.return_field.data_type(),
                arrays.first().map_or(0, |array| array.len()),
            );
            return like_arguments(&args.args, nulls);
        }
        like_arguments(&args.args, self.operator.apply(&arrays, &zone)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2024-01-31 12:00.
    const NOON: i64 = 1_706_702_400_000_000;

    #[test]
    fn months_stay_within_the_month() {
        let month = IntervalMonthDayNano::new(1, 0, 0);
        assert_eq!(add_local(NOON, month), Some(NOON + 29 * DAY));
        assert_eq!(add_local(NOON + 29 * DAY, IntervalMonthDayNano::new(-12, 0, 0)), Some(NOON - 337 * DAY));
    }

    #[test]
    fn days_follow_the_local_clock() {
        let berlin = Zone::parse("Europe/Berlin").unwrap();
        // 2024-03-30 12:00 local; the clocks change that night.
        let before = 1_711_796_400_000_000;
        assert_eq!(
            add_zoned(before, IntervalMonthDayNano::new(0, 1, 0), &berlin),
            Some(before + 23 * 3_600_000_000)
        );
        let day = IntervalMonthDayNano::new(0, 0, 86_400_000_000_000);
        assert_eq!(add_zoned(before, day, &berlin), Some(before + DAY));
    }

    #[test]
    fn fractions_cascade() {
        let month = IntervalMonthDayNano::new(1, 0, 0);
        assert_eq!(scaled(month, 0.5).unwrap(), IntervalMonthDayNano::new(0, 15, 0));
        let day = IntervalMonthDayNano::new(0, 1, 0);
        assert_eq!(scaled(day, 1.5).unwrap(), IntervalMonthDayNano::new(0, 1, 43_200_000_000_000));
        assert_eq!(scaled(day, 0.1).unwrap(), IntervalMonthDayNano::new(0, 0, 8_640_000_000_000));
    }
}
