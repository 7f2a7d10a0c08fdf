//! Casts between dates, times, timestamps and intervals.

use std::sync::Arc;

use datafusion::arrow::array::{
    Array, ArrayRef, AsArray, Date32Array, IntervalMonthDayNanoArray, Time64MicrosecondArray,
    TimestampMicrosecondArray,
};
use datafusion::arrow::compute::cast as arrow_cast;
use datafusion::arrow::datatypes::{
    DataType, Date32Type, IntervalMonthDayNano, IntervalMonthDayNanoType, IntervalUnit,
    Time64MicrosecondType, TimeUnit, TimestampMicrosecondType,
};

use super::{CastContext, cannot_cast};
use crate::error::{SqlError, SqlResult};
use crate::postgres::format::datetime::DAY;
use crate::postgres::input::round_fraction;
use crate::postgres::types::{PgType, oid};

/// Midnight of a day.
pub(crate) fn midnight(days: i32) -> i64 {
    match days {
        i32::MAX => i64::MAX,
        i32::MIN => i64::MIN,
        days => i64::from(days).saturating_mul(DAY),
    }
}

/// The day of a local time.
pub(crate) fn day_of(micros: i64) -> i32 {
    match micros {
        i64::MAX => i32::MAX,
        i64::MIN => i32::MIN,
        micros => i32::try_from(micros.div_euclid(DAY)).unwrap_or(i32::MAX),
    }
}

fn is_infinite(micros: i64) -> bool {
    micros == i64::MAX || micros == i64::MIN
}

/// In microseconds, whatever the unit was.
fn micros(array: &ArrayRef) -> SqlResult<ArrayRef> {
    let data_type = match array.data_type() {
        DataType::Timestamp(_, zone) => {
            DataType::Timestamp(TimeUnit::Microsecond, zone.as_ref().map(|_| Arc::from("UTC")))
        }
        DataType::Time32(_) | DataType::Time64(_) => DataType::Time64(TimeUnit::Microsecond),
        DataType::Date64 => DataType::Date32,
        DataType::Interval(_) | DataType::Duration(_) => DataType::Interval(IntervalUnit::MonthDayNano),
        other => other.clone(),
    };
    arrow_cast(array, &data_type).map_err(|error| SqlError::internal(error.to_string()))
}

/// Casts one to another.
pub(super) fn cast_time(
    array: &ArrayRef,
    from: PgType,
    to: PgType,
    context: &CastContext,
) -> SqlResult<ArrayRef> {
    let array = micros(array)?;
    let zone = &context.zone;
    let to_utc = |local: i64| if is_infinite(local) { local } else { zone.to_utc(local) };
    let to_local = |instant: i64| if is_infinite(instant) { instant } else { zone.to_local(instant) };
    let rounded = |micros: i64| round_fraction(micros, to.modifier);
    let timestamps = |values: TimestampMicrosecondArray| -> ArrayRef {
        if to.oid == oid::TIMESTAMPTZ { Arc::new(values.with_timezone("UTC")) } else { Arc::new(values) }
    };
    Ok(match (from.oid, to.oid) {
        (oid::DATE, oid::DATE) | (oid::INTERVAL, oid::INTERVAL) => array,
        (oid::DATE, oid::TIMESTAMP) => timestamps(array.as_primitive::<Date32Type>().unary(midnight)),
        (oid::DATE, oid::TIMESTAMPTZ) => {
            timestamps(array.as_primitive::<Date32Type>().unary(|days| to_utc(midnight(days))))
        }
        (oid::TIMESTAMP, oid::DATE) => {
            let days: Date32Array = array.as_primitive::<TimestampMicrosecondType>().unary(day_of);
            Arc::new(days)
        }
        (oid::TIMESTAMPTZ, oid::DATE) => {
            let days: Date32Array =
                array.as_primitive::<TimestampMicrosecondType>().unary(|instant| day_of(to_local(instant)));
            Arc::new(days)
        }
        (oid::TIMESTAMP, oid::TIMESTAMP) | (oid::TIMESTAMPTZ, oid::TIMESTAMPTZ) => {
            timestamps(plain(&array).unary(rounded))
        }
        (oid::TIMESTAMP, oid::TIMESTAMPTZ) => timestamps(plain(&array).unary(|local| rounded(to_utc(local)))),
        (oid::TIMESTAMPTZ, oid::TIMESTAMP) => timestamps(plain(&array).unary(|at| rounded(to_local(at)))),
        (oid::TIMESTAMP | oid::TIMESTAMPTZ, oid::TIME) => {
            let local = |at: i64| if from.oid == oid::TIMESTAMP { at } else { to_local(at) };
            let times: Time64MicrosecondArray = array
                .as_primitive::<TimestampMicrosecondType>()
                .unary_opt(|at| (!is_infinite(at)).then(|| rounded(local(at).rem_euclid(DAY))));
            Arc::new(times)
        }
        (oid::TIME, oid::TIME) => {
            let times: Time64MicrosecondArray = array.as_primitive::<Time64MicrosecondType>().unary(rounded);
            Arc::new(times)
        }
        (oid::TIME, oid::INTERVAL) => {
            let intervals: IntervalMonthDayNanoArray = array
                .as_primitive::<Time64MicrosecondType>()
                .unary(|micros| IntervalMonthDayNano::new(0, 0, micros.saturating_mul(1_000)));
            Arc::new(intervals)
        }
        (oid::INTERVAL, oid::TIME) => {
            let times: Time64MicrosecondArray = array
                .as_primitive::<IntervalMonthDayNanoType>()
                .unary(|interval| rounded((interval.nanoseconds / 1_000).rem_euclid(DAY)));
            Arc::new(times)
        }
        _ => return Err(cannot_cast(from, to)),
    })
}

/// The values without their zone.
fn plain(array: &ArrayRef) -> TimestampMicrosecondArray {
    array.as_primitive::<TimestampMicrosecondType>().clone().with_timezone_opt(None::<Arc<str>>)
}
