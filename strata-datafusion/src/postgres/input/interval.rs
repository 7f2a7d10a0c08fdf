//! Intervals from text: `1 year 2 mons 3 days 04:05:06`, `1-2`, `P1Y2M3DT4H5M6S`, `3 hours ago`.

use super::datetime::fraction_micros;
use super::invalid;
use crate::error::{SqlError, SqlResult};

/// Microseconds of an hour.
const HOUR: i128 = 3_600_000_000;

/// Months, days and microseconds while they are summed.
#[derive(Clone, Copy, Debug, Default)]
struct Sum {
    months: i128,
    days: i128,
    micros: i128,
}

/// A number with a fraction, in millionths.
#[derive(Clone, Copy)]
struct Amount(i128);

const MILLION: i128 = 1_000_000;

impl Sum {
    fn add(&mut self, amount: Amount, unit: Unit) {
        let (whole, fraction) = (amount.0 / MILLION, amount.0 % MILLION);
        match unit {
            Unit::Micros(size) => self.micros += amount.0 * size / MILLION,
            Unit::Days(size) => {
                self.days += whole * size;
                // A fraction of a week is whole days first.
                let part = fraction * size;
                self.days += part / MILLION;
                self.micros += part % MILLION * (24 * HOUR) / MILLION;
            }
            Unit::Months(size) => {
                self.months += whole * size;
                let part = fraction * size;
                self.months += part / MILLION;
                // A fraction of a month counts in days of thirty; of a year, it is whole months only.
                if size == 1 {
                    self.add(Amount(part % MILLION * 30), Unit::Days(1));
                }
            }
        }
    }
}

#[derive(Clone, Copy)]
enum Unit {
    Micros(i128),
    Days(i128),
    Months(i128),
}

fn unit_of(word: &str) -> Option<Unit> {
    Some(match word {
        "us" | "usec" | "usecs" | "usecond" | "useconds" | "microsecond" | "microseconds" | "microsecon" => {
            Unit::Micros(1)
        }
        "ms" | "msec" | "msecs" | "msecond" | "mseconds" | "millisecond" | "milliseconds" => {
            Unit::Micros(1_000)
        }
        "s" | "sec" | "secs" | "second" | "seconds" => Unit::Micros(1_000_000),
        "m" | "min" | "mins" | "minute" | "minutes" => Unit::Micros(HOUR / 60),
        "h" | "hr" | "hrs" | "hour" | "hours" => Unit::Micros(HOUR),
        "d" | "day" | "days" => Unit::Days(1),
        "w" | "week" | "weeks" => Unit::Days(7),
        "mon" | "mons" | "month" | "months" => Unit::Months(1),
        "y" | "yr" | "yrs" | "year" | "years" => Unit::Months(12),
        "dec" | "decs" | "decade" | "decades" => Unit::Months(120),
        "c" | "cent" | "century" | "centuries" => Unit::Months(1_200),
        "mil" | "mils" | "millennium" | "millennia" => Unit::Months(12_000),
        _ => return None,
    })
}

/// Months, days and nanoseconds.
pub fn parse_interval(text: &str) -> SqlResult<(i32, i32, i64)> {
    let error = || SqlError { sqlstate: "22007", ..invalid("interval", text) };
    let trimmed = text.trim();
    let sum = match trimmed.strip_prefix(['P', 'p']) {
        Some(rest) => read_iso(rest),
        None => read_words(trimmed),
    }
    .ok_or_else(error)?;
    let too_large = || SqlError::new("22008", format!("interval field value out of range: \"{text}\""));
    let months = i32::try_from(sum.months).map_err(|_| too_large())?;
    let days = i32::try_from(sum.days).map_err(|_| too_large())?;
    let nanoseconds = i64::try_from(sum.micros * 1_000).map_err(|_| too_large())?;
    Ok((months, days, nanoseconds))
}

/// A number with a sign and a fraction.
fn amount(text: &str) -> Option<Amount> {
    let (negative, digits) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    if whole.is_empty() && fraction.is_empty() || !whole.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let whole: i128 = if whole.is_empty() { 0 } else { i128::from(whole.parse::<i64>().ok()?) };
    let value = whole * MILLION + i128::from(fraction_micros(fraction)?);
    Some(Amount(if negative { -value } else { value }))
}

/// `hh:mm[:ss[.f]]` in microseconds.
fn clock(text: &str) -> Option<i128> {
    let (negative, digits) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let mut pieces = digits.split(':');
    let hours: i128 = i128::from(pieces.next()?.parse::<i64>().ok()?);
    let minutes: i128 = i128::from(pieces.next()?.parse::<u8>().ok().filter(|minutes| *minutes < 60)?);
    let seconds = match pieces.next() {
        Some(seconds) => amount(seconds).filter(|seconds| (0..60 * MILLION + 1).contains(&seconds.0))?.0,
        None => 0,
    };
    if pieces.next().is_some() {
        return None;
    }
    let micros = hours * HOUR + minutes * (HOUR / 60) + seconds;
    Some(if negative { -micros } else { micros })
}

fn read_words(text: &str) -> Option<Sum> {
    let mut sum = Sum::default();
    let mut pending: Option<Amount> = None;
    let mut any = false;
    let mut ago = false;
    for word in text.split_ascii_whitespace() {
        let lower = word.to_ascii_lowercase();
        if lower == "@" {
            continue;
        }
        if lower == "ago" {
            ago = true;
            continue;
        }
        any = true;
        if let Some(unit) = unit_of(&lower) {
            sum.add(pending.take()?, unit);
        } else if lower.contains(':') {
            // "3 04:05:06": a number before a time counts days.
            if let Some(days) = pending.take() {
                sum.add(days, Unit::Days(1));
            }
            sum.micros += clock(&lower)?;
        } else if let Some((years, months)) = year_month(&lower) {
            sum.months += years * 12 + months;
        } else {
            if pending.is_some() {
                return None;
            }
            let split = lower.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(lower.len());
            let (number, unit) = lower.split_at(split);
            let number = amount(number)?;
            if unit.is_empty() {
                pending = Some(number);
            } else {
                read_joined(&mut sum, number, unit)?;
            }
        }
    }
    // A number alone counts seconds.
    if let Some(seconds) = pending {
        sum.add(seconds, Unit::Micros(1_000_000));
    }
    if ago {
        sum = Sum { months: -sum.months, days: -sum.days, micros: -sum.micros };
    }
    any.then_some(sum)
}

/// `1d2h30m`: numbers and units without blanks.
fn read_joined(sum: &mut Sum, first: Amount, rest: &str) -> Option<()> {
    let (mut number, mut rest) = (first, rest);
    loop {
        let end = rest.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(rest.len());
        let (unit, after) = rest.split_at(end);
        sum.add(number, unit_of(unit)?);
        if after.is_empty() {
            return Some(());
        }
        let end = after.find(|c: char| c.is_ascii_alphabetic())?;
        number = amount(&after[..end])?;
        rest = &after[end..];
    }
}

/// `1-2`: years and months.
fn year_month(word: &str) -> Option<(i128, i128)> {
    let (negative, digits) = match word.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, word.strip_prefix('+').unwrap_or(word)),
    };
    let (years, months) = digits.split_once('-')?;
    let years: i128 = i128::from(years.parse::<u32>().ok()?);
    let months: i128 = i128::from(months.parse::<u8>().ok().filter(|months| *months < 12)?);
    Some((negative * years, negative * months))
}

fn read_iso(text: &str) -> Option<Sum> {
    let mut sum = Sum::default();
    let mut in_time = false;
    let mut rest = text;
    let mut any = false;
    while !rest.is_empty() {
        if let Some(after) = rest.strip_prefix(['T', 't']) {
            (in_time, rest) = (true, after);
            continue;
        }
        let end = rest.find(|c: char| c.is_ascii_alphabetic())?;
        let number = amount(&rest[..end])?;
        let unit = match (rest.as_bytes().get(end)?.to_ascii_uppercase(), in_time) {
            (b'Y', false) => Unit::Months(12),
            (b'M', false) => Unit::Months(1),
            (b'W', false) => Unit::Days(7),
            (b'D', false) => Unit::Days(1),
            (b'H', true) => Unit::Micros(HOUR),
            (b'M', true) => Unit::Micros(HOUR / 60),
            (b'S', true) => Unit::Micros(1_000_000),
            _ => return None,
        };
        sum.add(number, unit);
        any = true;
        rest = &rest[end + 1..];
    }
    any.then_some(sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_are_read() {
        for (text, months, days, micros) in [
            ("1 year 2 mons 3 days 04:05:06.789", 14, 3, 14_706_789_000i64),
            ("1-2", 14, 0, 0),
            ("3 4:05:06", 0, 3, 14_706_000_000),
            ("P1Y2M3DT4H5M6S", 14, 3, 14_706_000_000),
            ("2 hours ago", 0, 0, -7_200_000_000),
            ("@ 1 minute", 0, 0, 60_000_000),
            ("1.5 days", 0, 1, 43_200_000_000),
            ("1.5 months", 1, 15, 0),
            ("0.5 year", 6, 0, 0),
            ("-1 month +2 days", -1, 2, 0),
            ("90", 0, 0, 90_000_000),
            ("1d2h", 0, 1, 7_200_000_000),
            ("1 week", 0, 7, 0),
            ("-00:00:01.5", 0, 0, -1_500_000),
        ] {
            assert_eq!(parse_interval(text).unwrap(), (months, days, micros * 1_000), "{text}");
        }
    }

    #[test]
    fn what_is_no_interval_is_refused() {
        for text in ["", "x", "1 lightyear", "1 2 days", "P", "1:2:3:4"] {
            assert_eq!(parse_interval(text).unwrap_err().sqlstate, "22007", "{text}");
        }
        assert_eq!(parse_interval("3000000000 days").unwrap_err().sqlstate, "22008");
    }
}
