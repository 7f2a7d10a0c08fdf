//! Functions of dates and times.

use std::sync::Arc;

use datafusion::arrow::array::{
    Array, ArrayRef, Date32Array, IntervalMonthDayNanoArray, TimestampMicrosecondArray,
};
use datafusion::arrow::datatypes::IntervalMonthDayNano;
use datafusion::logical_expr::Volatility;

use super::definition::{Call, Definition, Variant};
use super::template::{Moment, format_moment, parse_moment};
use crate::error::{SqlError, SqlResult};
use crate::postgres::format::datetime::{DAY, civil_from_days, days_from_civil, days_of_month};
use crate::postgres::types::oid;
use crate::postgres::zone::Zone;

pub(super) const FUNCTIONS: &[Definition] = &[
    Definition {
        name: "age",
        volatility: Volatility::Stable,
        variants: &[
            Variant { args: &[oid::TIMESTAMP, oid::TIMESTAMP], result: oid::INTERVAL, body: age },
            Variant { args: &[oid::TIMESTAMPTZ, oid::TIMESTAMPTZ], result: oid::INTERVAL, body: age_zoned },
        ],
    },
    Definition {
        name: "timezone",
        volatility: Volatility::Stable,
        variants: &[
            Variant { args: &[oid::TEXT, oid::TIMESTAMP], result: oid::TIMESTAMPTZ, body: from_zone },
            Variant { args: &[oid::TEXT, oid::TIMESTAMPTZ], result: oid::TIMESTAMP, body: to_zone },
        ],
    },
    Definition {
        name: "make_date",
        volatility: Volatility::Immutable,
        variants: &[Variant { args: &[oid::INT4, oid::INT4, oid::INT4], result: oid::DATE, body: make_date }],
    },
    Definition {
        name: "make_timestamp",
        volatility: Volatility::Immutable,
        variants: &[Variant {
            args: &[oid::INT4, oid::INT4, oid::INT4, oid::INT4, oid::INT4, oid::FLOAT8],
            result: oid::TIMESTAMP,
            body: make_timestamp,
        }],
    },
    Definition {
        name: "to_timestamp",
        volatility: Volatility::Stable,
        variants: &[
            Variant { args: &[oid::FLOAT8], result: oid::TIMESTAMPTZ, body: from_epoch },
            Variant { args: &[oid::TEXT, oid::TEXT], result: oid::TIMESTAMPTZ, body: to_timestamp },
        ],
    },
    Definition {
        name: "to_date",
        volatility: Volatility::Immutable,
        variants: &[Variant { args: &[oid::TEXT, oid::TEXT], result: oid::DATE, body: to_date }],
    },
    Definition {
        name: "to_char",
        volatility: Volatility::Stable,
        variants: &[
            Variant { args: &[oid::TIMESTAMP, oid::TEXT], result: oid::TEXT, body: moment_to_char },
            Variant { args: &[oid::TIMESTAMPTZ, oid::TEXT], result: oid::TEXT, body: zoned_to_char },
            Variant { args: &[oid::DATE, oid::TEXT], result: oid::TEXT, body: date_to_char },
            Variant { args: &[oid::INT8, oid::TEXT], result: oid::TEXT, body: super::numeric::to_char },
            Variant { args: &[oid::NUMERIC, oid::TEXT], result: oid::TEXT, body: super::numeric::to_char },
            Variant { args: &[oid::FLOAT8, oid::TEXT], result: oid::TEXT, body: super::numeric::to_char },
        ],
    },
    Definition {
        name: "justify_hours",
        volatility: Volatility::Immutable,
        variants: &[Variant { args: &[oid::INTERVAL], result: oid::INTERVAL, body: justify_hours }],
    },
    Definition {
        name: "justify_days",
        volatility: Volatility::Immutable,
        variants: &[Variant { args: &[oid::INTERVAL], result: oid::INTERVAL, body: justify_days }],
    },
];

fn zone_named(name: &str) -> SqlResult<Zone> {
    Zone::parse(name).ok_or_else(|| SqlError::new("22023", format!("time zone \"{name}\" not recognized")))
}

/// Years, months, days and a time between two moments, by the calendar.
fn calendar_difference(later: i64, earlier: i64) -> IntervalMonthDayNano {
    let negative = later < earlier;
    let (later, earlier) = if negative { (earlier, later) } else { (later, earlier) };
    let (mut micros, mut borrow) = (later.rem_euclid(DAY) - earlier.rem_euclid(DAY), 0);
    if micros < 0 {
        micros += DAY;
        borrow = 1;
    }
    let (year, month, day) = civil_from_days(later.div_euclid(DAY));
    let (from_year, from_month, from_day) = civil_from_days(earlier.div_euclid(DAY));
    let mut days = i64::from(day) - i64::from(from_day) - borrow;
    let mut months = (year - from_year) * 12 + i64::from(month) - i64::from(from_month);
    if days < 0 {
        // The days of the month that the earlier moment lies in.
        days += i64::from(days_of_month(from_year, from_month));
        months -= 1;
    }
    let sign = if negative { -1 } else { 1 };
    let narrow = |value: i64| i32::try_from(sign * value).unwrap_or(i32::MAX);
    IntervalMonthDayNano::new(narrow(months), narrow(days), sign * micros * 1_000)
}

fn ages(call: &Call<'_>, local: impl Fn(i64) -> i64) -> SqlResult<ArrayRef> {
    let (later, earlier) = (call.instants(0)?, call.instants(1)?);
    let ages: IntervalMonthDayNanoArray = later
        .iter()
        .zip(earlier.iter())
        .map(|(later, earlier)| Some(calendar_difference(local(later?), local(earlier?))))
        .collect();
    Ok(Arc::new(ages))
}

fn age(call: &Call<'_>) -> SqlResult<ArrayRef> {
    ages(call, |micros| micros)
}

fn age_zoned(call: &Call<'_>) -> SqlResult<ArrayRef> {
    let zone = call.zone();
    ages(call, |instant| zone.to_local(instant))
}

fn zoned(call: &Call<'_>, convert: impl Fn(&Zone, i64) -> i64) -> SqlResult<TimestampMicrosecondArray> {
    let (names, instants) = (call.texts(0)?, call.instants(1)?);
    (0..call.rows)
        .map(|row| {
            if names.is_null(row) || instants.is_null(row) {
                return Ok(None);
            }
            Ok(Some(convert(&zone_named(names.value(row))?, instants.value(row))))
        })
        .collect()
}

fn from_zone(call: &Call<'_>) -> SqlResult<ArrayRef> {
    Ok(Arc::new(zoned(call, Zone::to_utc)?.with_timezone("UTC")))
}

fn to_zone(call: &Call<'_>) -> SqlResult<ArrayRef> {
    Ok(Arc::new(zoned(call, Zone::to_local)?))
}

fn valid_day(year: i32, month: i32, day: i32) -> SqlResult<i64> {
    let error =
        || SqlError::new("22008", format!("date field value out of range: {year}-{month:02}-{day:02}"));
    let (Ok(month), Ok(day)) = (u32::try_from(month), u32::try_from(day)) else { return Err(error()) };
    let year = i64::from(year);
    // Negative years are BC.
    let astronomical = if year < 0 { year + 1 } else { year };
    if year == 0 || !(1..=12).contains(&month) || day < 1 || day > days_of_month(astronomical, month) {
        return Err(error());
    }
    Ok(days_from_civil(astronomical, month, day))
}

fn make_date(call: &Call<'_>) -> SqlResult<ArrayRef> {
    let (years, months, days) = (call.ints(0)?, call.ints(1)?, call.ints(2)?);
    let dates = (0..call.rows).map(|row| {
        if call.any_null(row) {
            return Ok(None);
        }
        Ok(i32::try_from(valid_day(years.value(row), months.value(row), days.value(row))?).ok())
    });
    Ok(Arc::new(dates.collect::<SqlResult<Date32Array>>()?))
}

fn make_timestamp(call: &Call<'_>) -> SqlResult<ArrayRef> {
    let (years, months, days) = (call.ints(0)?, call.ints(1)?, call.ints(2)?);
    let (hours, minutes, seconds) = (call.ints(3)?, call.ints(4)?, call.doubles(5)?);
    let moments = (0..call.rows).map(|row| {
        if call.any_null(row) {
            return Ok(None);
        }
        let day = valid_day(years.value(row), months.value(row), days.value(row))?;
        let (hour, minute, second) = (hours.value(row), minutes.value(row), seconds.value(row));
        if !(0..=23).contains(&hour) || !(0..=59).contains(&minute) || !(0.0..60.0).contains(&second) {
            return Err(SqlError::new(
                "22008",
                format!("time field value out of range: {hour}:{minute:02}:{second}"),
            ));
        }
        #[allow(clippy::cast_possible_truncation)]
        let micros = (second * 1e6).round() as i64;
        Ok(Some(day * DAY + i64::from(hour * 60 + minute) * 60_000_000 + micros))
    });
    Ok(Arc::new(moments.collect::<SqlResult<TimestampMicrosecondArray>>()?))
}

fn from_epoch(call: &Call<'_>) -> SqlResult<ArrayRef> {
    let seconds = call.doubles(0)?;
    let instants = seconds.iter().map(|seconds| match seconds {
        None => Ok(None),
        Some(seconds) if seconds == f64::INFINITY => Ok(Some(i64::MAX)),
        Some(seconds) if seconds == f64::NEG_INFINITY => Ok(Some(i64::MIN)),
        #[allow(clippy::cast_possible_truncation)]
        Some(seconds) if seconds.abs() < 9.2e12 => Ok(Some((seconds * 1e6).round() as i64)),
        Some(seconds) => Err(SqlError::new("22008", format!("timestamp out of range: \"{seconds}\""))),
    });
    let instants = instants.collect::<SqlResult<TimestampMicrosecondArray>>()?;
    Ok(Arc::new(instants.with_timezone("UTC")))
}

fn parsed(call: &Call<'_>) -> SqlResult<Vec<Option<i64>>> {
    let (texts, templates) = (call.texts(0)?, call.texts(1)?);
    (0..call.rows)
        .map(|row| {
            if call.any_null(row) {
                return Ok(None);
            }
            parse_moment(texts.value(row), templates.value(row)).map(Some)
        })
        .collect()
}

fn to_timestamp(call: &Call<'_>) -> SqlResult<ArrayRef> {
    let zone = call.zone();
    let instants: TimestampMicrosecondArray =
        parsed(call)?.into_iter().map(|local| local.map(|local| zone.to_utc(local))).collect();
    Ok(Arc::new(instants.with_timezone("UTC")))
}

fn to_date(call: &Call<'_>) -> SqlResult<ArrayRef> {
    let dates: Date32Array = parsed(call)?
        .into_iter()
        .map(|local| local.and_then(|local| i32::try_from(local.div_euclid(DAY)).ok()))
        .collect();
    Ok(Arc::new(dates))
}

fn moment_to_char(call: &Call<'_>) -> SqlResult<ArrayRef> {
    let (moments, templates) = (call.instants(0)?, call.texts(1)?);
    call.text_rows(|row| {
        Ok(Some(format_moment(Moment { local: moments.value(row), zone: None }, templates.value(row))))
    })
}

fn zoned_to_char(call: &Call<'_>) -> SqlResult<ArrayRef> {
    let zone = call.zone();
    let (instants, templates) = (call.instants(0)?, call.texts(1)?);
    call.text_rows(|row| {
        let instant = instants.value(row);
        let name = zone.abbreviation_at(instant);
        let moment = Moment { local: zone.to_local(instant), zone: Some((zone.offset_at(instant), &name)) };
        Ok(Some(format_moment(moment, templates.value(row))))
    })
}

fn date_to_char(call: &Call<'_>) -> SqlResult<ArrayRef> {
    let (dates, templates) = (call.dates(0)?, call.texts(1)?);
    call.text_rows(|row| {
        let local = i64::from(dates.value(row)).saturating_mul(DAY);
        Ok(Some(format_moment(Moment { local, zone: None }, templates.value(row))))
    })
}

fn justified(
    call: &Call<'_>,
    justify: impl Fn(IntervalMonthDayNano) -> IntervalMonthDayNano,
) -> SqlResult<ArrayRef> {
    let intervals: IntervalMonthDayNanoArray =
        call.intervals(0)?.iter().map(|value| value.map(&justify)).collect();
    Ok(Arc::new(intervals))
}

fn justify_hours(call: &Call<'_>) -> SqlResult<ArrayRef> {
    justified(call, |value| {
        let day = DAY * 1_000;
        let days = i32::try_from(value.nanoseconds / day).unwrap_or(0);
        IntervalMonthDayNano::new(value.months, value.days.saturating_add(days), value.nanoseconds % day)
    })
}

fn justify_days(call: &Call<'_>) -> SqlResult<ArrayRef> {
    justified(call, |value| {
        let months = value.months.saturating_add(value.days / 30);
        IntervalMonthDayNano::new(months, value.days % 30, value.nanoseconds)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_counted_by_the_calendar() {
        let at = |year, month, day| days_from_civil(year, month, day) * DAY;
        let age = |later, earlier| calendar_difference(later, earlier);
        assert_eq!(age(at(2001, 4, 10), at(1957, 6, 13)), IntervalMonthDayNano::new(43 * 12 + 9, 27, 0));
        assert_eq!(age(at(2024, 1, 1), at(2024, 3, 1)), IntervalMonthDayNano::new(-2, 0, 0));
        assert_eq!(
            age(at(2024, 1, 2), at(2024, 1, 1) + DAY / 2),
            IntervalMonthDayNano::new(0, 0, DAY / 2 * 1_000)
        );
    }
}
