//! Dates and times from text: ISO 8601 and the other orders that Postgres reads under DateStyle ISO, MDY.

use super::invalid;
use crate::error::{SqlError, SqlResult};
use crate::postgres::format::datetime::{DAY, days_from_civil, days_of_month};
use crate::postgres::zone::Zone;

/// What a text held.
#[derive(Debug, Default)]
struct Parts {
    date: Option<(i64, u32, u32)>,
    time: Option<i64>,
    zone: Option<Zone>,
    special: Option<Special>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Special {
    Infinity,
    MinusInfinity,
    Epoch,
    Now,
    Today,
    Tomorrow,
    Yesterday,
}

fn bad(type_name: &str, text: &str) -> SqlError {
    SqlError { sqlstate: "22007", ..invalid(type_name, text) }
}

fn out_of_range(text: &str) -> SqlError {
    SqlError::new("22008", format!("date/time field value out of range: \"{text}\""))
}

/// Days since 1970-01-01.
pub fn parse_date(text: &str, zone: &Zone, now: i64) -> SqlResult<i32> {
    if let Some(days) = plain_date(text) {
        return Ok(days);
    }
    let parts = read(text, "date")?;
    let today = zone.to_local(now).div_euclid(DAY);
    let days = match (parts.special, parts.date) {
        (Some(Special::Infinity), None) => return Ok(i32::MAX),
        (Some(Special::MinusInfinity), None) => return Ok(i32::MIN),
        (Some(Special::Epoch), None) => 0,
        (Some(Special::Now | Special::Today), None) => today,
        (Some(Special::Tomorrow), None) => today + 1,
        (Some(Special::Yesterday), None) => today - 1,
        (None, Some((year, month, day))) => days_from_civil(year, month, day),
        _ => return Err(bad("date", text)),
    };
    // Postgres' range: 4713 BC to 5874897 AD.
    match i32::try_from(days) {
        Ok(days) if (-2_440_588..=2_145_042_541).contains(&days) => Ok(days),
        _ => Err(SqlError::new("22008", format!("date out of range: \"{text}\""))),
    }
}

/// The common form, `YYYY-MM-DD`, without more ado.
fn plain_date(text: &str) -> Option<i32> {
    let bytes: &[u8; 10] = text.as_bytes().try_into().ok()?;
    let number = |range: std::ops::Range<usize>| {
        bytes
            .get(range)?
            .iter()
            .try_fold(0u32, |sum, byte| byte.is_ascii_digit().then(|| sum * 10 + u32::from(byte - b'0')))
    };
    if bytes[4] != b'-' || bytes[7] != b'-' {
        return None;
    }
    let (year, month, day) = (number(0..4)?, number(5..7)?, number(8..10)?);
    let year = i64::from(year);
    let valid = year > 0 && (1..=12).contains(&month) && day >= 1 && day <= days_of_month(year, month);
    valid.then(|| i32::try_from(days_from_civil(year, month, day)).ok())?
}

/// Microseconds since midnight.
pub fn parse_time(text: &str, zone: &Zone, now: i64) -> SqlResult<i64> {
    let parts = read(text, "time")?;
    match (parts.time, parts.special) {
        (Some(micros), _) => Ok(micros),
        (None, Some(Special::Now)) => Ok(zone.to_local(now).rem_euclid(DAY)),
        _ => Err(bad("time", text)),
    }
}

/// Microseconds since 1970-01-01, a zone in the text is ignored as in Postgres.
pub fn parse_timestamp(text: &str, zone: &Zone, now: i64) -> SqlResult<i64> {
    let parts = read(text, "timestamp")?;
    match local_micros(&parts, zone, now, text)? {
        Some(micros) => Ok(micros),
        None => Err(bad("timestamp", text)),
    }
}

/// Microseconds since 1970-01-01 UTC; without a zone in the text, the session's counts.
pub fn parse_timestamptz(text: &str, zone: &Zone, now: i64) -> SqlResult<i64> {
    let parts = read(text, "timestamp with time zone")?;
    match parts.special {
        Some(Special::Now) => return Ok(now),
        Some(Special::Epoch) => return Ok(0),
        _ => {}
    }
    match local_micros(&parts, zone, now, text)? {
        Some(micros) if micros == i64::MAX || micros == i64::MIN => Ok(micros),
        Some(micros) => Ok(parts.zone.as_ref().unwrap_or(zone).to_utc(micros)),
        None => Err(bad("timestamp with time zone", text)),
    }
}

fn local_micros(parts: &Parts, zone: &Zone, now: i64, text: &str) -> SqlResult<Option<i64>> {
    let today = zone.to_local(now).div_euclid(DAY);
    let days = match (parts.special, parts.date) {
        (Some(Special::Infinity), None) => return Ok(Some(i64::MAX)),
        (Some(Special::MinusInfinity), None) => return Ok(Some(i64::MIN)),
        (Some(Special::Epoch), None) => return Ok(Some(0)),
        (Some(Special::Now), None) => return Ok(Some(zone.to_local(now))),
        (Some(Special::Today), None) => today,
        (Some(Special::Tomorrow), None) => today + 1,
        (Some(Special::Yesterday), None) => today - 1,
        (None, Some((year, month, day))) => days_from_civil(year, month, day),
        _ => return Ok(None),
    };
    let micros = i128::from(days) * i128::from(DAY) + i128::from(parts.time.unwrap_or(0));
    // From 4713 BC, as Postgres, to the last year that 64 bits hold, 294247.
    match i64::try_from(micros) {
        Ok(micros) if (-210_866_803_200_000_000..i64::MAX).contains(&micros) => Ok(Some(micros)),
        _ => Err(SqlError::new("22008", format!("timestamp out of range: \"{text}\""))),
    }
}

/// Reads the words of a text.
fn read(text: &str, type_name: &str) -> SqlResult<Parts> {
    let error = || bad(type_name, text);
    let mut parts = Parts::default();
    let mut numbers: Vec<&str> = Vec::new();
    let mut month_word = None;
    let mut before_christ = false;
    let mut afternoon = None;
    for word in words(text) {
        let lower = word.to_ascii_lowercase();
        match lower.as_str() {
            "infinity" | "+infinity" => parts.special = Some(Special::Infinity),
            "-infinity" => parts.special = Some(Special::MinusInfinity),
            "epoch" => parts.special = Some(Special::Epoch),
            "now" => parts.special = Some(Special::Now),
            "today" => parts.special = Some(Special::Today),
            "tomorrow" => parts.special = Some(Special::Tomorrow),
            "yesterday" => parts.special = Some(Special::Yesterday),
            "bc" => before_christ = true,
            "ad" | "t" => {}
            "am" => afternoon = Some(false),
            "pm" => afternoon = Some(true),
            "allballs" => (parts.time, parts.zone) = (Some(0), Some(Zone::Utc)),
            _ if is_weekday(&lower) => {}
            _ if month_of(&lower).is_some() => month_word = month_of(&lower),
            _ if lower.contains(':')
                || (parts.date.is_some() && parts.time.is_none() && digits_only(time_of(&lower))) =>
            {
                read_clock(word, &mut parts).ok_or_else(error)?.map_err(|()| out_of_range(text))?;
            }
            _ if parts.date.is_none() && numbers.is_empty() && looks_like_date(&lower) => {
                parts.date = Some(read_day(&lower).ok_or_else(error)?);
            }
            _ if digits_only(lower.trim_end_matches(',')) => numbers.push(word.trim_end_matches(',')),
            _ => match Zone::parse(word) {
                Some(zone) if parts.zone.is_none() => parts.zone = Some(zone),
                _ => return Err(error()),
            },
        }
    }
    if let Some(month) = month_word {
        // "15 Mar 2024" or "Mar 15 2024": the longer number is the year.
        let [first, second] = numbers[..] else { return Err(error()) };
        let (year, day) = if first.len() > 2 { (first, second) } else { (second, first) };
        let year = expand_year(year).ok_or_else(error)?;
        parts.date = Some((year, month, day.parse().map_err(|_| error())?));
    } else if !numbers.is_empty() {
        return Err(error());
    }
    if let (Some(time), Some(afternoon)) = (&mut parts.time, afternoon) {
        let hour = *time / 3_600_000_000;
        if !(1..=12).contains(&hour) {
            return Err(out_of_range(text));
        }
        *time += (if afternoon { 12 } else { 0 } - if hour == 12 { 12 } else { 0 }) * 3_600_000_000;
    }
    if let Some((year, month, day)) = &mut parts.date {
        if before_christ {
            *year = 1 - *year;
        }
        if !(1..=12).contains(month) || *day < 1 || *day > days_of_month(*year, *month) {
            let mut error = out_of_range(text);
            if !(1..=12).contains(month) {
                error.hint = Some("Perhaps you need a different \"DateStyle\" setting.".to_owned());
            }
            return Err(error);
        }
    }
    if parts.date.is_none() && parts.time.is_none() && parts.special.is_none() {
        return Err(error());
    }
    Ok(parts)
}

/// Words at blanks, and at the T between a date and a time.
fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split_ascii_whitespace().flat_map(|word| {
        let split = word.char_indices().find(|(index, c)| {
            matches!(c, 'T' | 't')
                && *index >= 6
                && word[..*index].bytes().all(|b| b.is_ascii_digit() || matches!(b, b'-' | b'/'))
                && word[index + 1..].starts_with(|c: char| c.is_ascii_digit())
        });
        match split {
            Some((index, _)) => [Some(&word[..index]), Some(&word[index + 1..])],
            None => [Some(word), None],
        }
        .into_iter()
        .flatten()
    })
}

fn digits_only(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.')
}

fn looks_like_date(word: &str) -> bool {
    let separators = word.bytes().skip(1).filter(|byte| matches!(byte, b'-' | b'/' | b'.')).count();
    word.starts_with(|c: char| c.is_ascii_digit())
        && (separators == 2 || (digits_only(word) && word.len() >= 6))
        || (separators == 2 && word.bytes().any(|byte| byte.is_ascii_digit()))
}

fn is_weekday(word: &str) -> bool {
    const DAYS: [&str; 7] = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"];
    let word = word.trim_end_matches(',');
    word.len() >= 3 && DAYS.iter().any(|day| day.starts_with(word))
}

fn month_of(word: &str) -> Option<u32> {
    const MONTHS: [&str; 12] = [
        "january",
        "february",
        "march",
        "april",
        "may",
        "june",
        "july",
        "august",
        "september",
        "october",
        "november",
        "december",
    ];
    let word = word.trim_end_matches(',');
    if word.len() < 3 {
        return None;
    }
    let word = if word == "sept" { "sep" } else { word };
    (1..).zip(MONTHS).find(|(_, month)| month.starts_with(word)).map(|(number, _)| number)
}

/// Two digits mean 1970 to 2069.
fn expand_year(text: &str) -> Option<i64> {
    let year: i64 = text.parse().ok()?;
    Some(match (text.len(), year) {
        (..=2, 0..=69) => year + 2000,
        (..=2, _) => year + 1900,
        _ if year > 0 => year,
        _ => return None,
    })
}

fn read_day(word: &str) -> Option<(i64, u32, u32)> {
    if digits_only(word) && !word.contains('.') {
        // YYYYMMDD or YYMMDD.
        let split = word.len().checked_sub(4)?;
        let year = expand_year(word.get(..split)?)?;
        return Some((year, word.get(split..split + 2)?.parse().ok()?, word.get(split + 2..)?.parse().ok()?));
    }
    let pieces: Vec<&str> = word.split(['-', '/', '.']).collect();
    let [first, second, third] = pieces[..] else { return None };
    if let Some(month) = month_of(second) {
        let (year, day) = if first.len() > 2 { (first, third) } else { (third, first) };
        return Some((expand_year(year)?, month, day.parse().ok()?));
    }
    let short = |text: &str| if text.len() <= 2 { text.parse().ok() } else { None };
    if first.len() > 2 {
        let year: i64 = first.parse().ok()?;
        return Some((if year > 0 { year } else { return None }, short(second)?, short(third)?));
    }
    // MDY.
    Some((expand_year(third)?, short(first)?, short(second)?))
}

/// The part of a word before its zone.
fn time_of(word: &str) -> &str {
    let end = word.find(|c: char| !(c.is_ascii_digit() || matches!(c, ':' | '.'))).unwrap_or(word.len());
    &word[..end]
}

/// `hh:mm[:ss[.ffffff]]` with a zone behind it or not; the inner error is a field out of range.
fn read_clock(word: &str, parts: &mut Parts) -> Option<Result<(), ()>> {
    let clock = time_of(word);
    let suffix = &word[clock.len()..];
    let mut afternoon = None;
    match suffix.to_ascii_lowercase().as_str() {
        "" => {}
        "am" => afternoon = Some(0),
        "pm" => afternoon = Some(12),
        _ => parts.zone = Some(Zone::parse(suffix)?),
    }
    let (whole, fraction) = match clock.split_once('.') {
        Some((whole, fraction)) => (whole, fraction),
        None => (clock, ""),
    };
    let number = |text: &str| if text.len() <= 2 { text.parse::<i64>().ok() } else { None };
    let (hours, minutes, seconds) = if whole.contains(':') {
        let mut pieces = whole.split(':');
        let hours = number(pieces.next()?)?;
        let minutes = number(pieces.next()?)?;
        let seconds = pieces.next().map_or(Some(0), number)?;
        if pieces.next().is_some() {
            return None;
        }
        (hours, minutes, seconds)
    } else {
        match whole.len() {
            6 => (number(whole.get(..2)?)?, number(whole.get(2..4)?)?, number(whole.get(4..)?)?),
            4 => (number(whole.get(..2)?)?, number(whole.get(2..)?)?, 0),
            _ => return None,
        }
    };
    let micros = fraction_micros(fraction)?;
    let hours = match afternoon {
        Some(shift) if (1..=12).contains(&hours) => hours % 12 + shift,
        Some(_) => return Some(Err(())),
        None => hours,
    };
    let total = ((hours * 60 + minutes) * 60 + seconds) * 1_000_000 + micros;
    if minutes > 59 || seconds > 60 || total > DAY {
        return Some(Err(()));
    }
    parts.time = Some(total);
    Some(Ok(()))
}

/// Digits after the point, rounded to microseconds.
pub(super) fn fraction_micros(digits: &str) -> Option<i64> {
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let mut micros = 0i64;
    for place in 0..6 {
        micros = micros * 10 + digits.as_bytes().get(place).map_or(0, |byte| i64::from(byte - b'0'));
    }
    let up = digits.as_bytes().get(6).is_some_and(|byte| *byte >= b'5');
    Some(micros + i64::from(up))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2024-03-15 12:00 UTC.
    const NOW: i64 = 1_710_504_000_000_000;

    #[test]
    fn dates_are_read_in_many_forms() {
        for text in [
            "2024-03-15",
            "2024/3/15",
            "20240315",
            "03/15/2024",
            "15 Mar 2024",
            "March 15, 2024",
            "15-Mar-2024",
            "today",
        ] {
            assert_eq!(parse_date(text, &Zone::Utc, NOW).unwrap(), 19_797, "{text}");
        }
        assert_eq!(parse_date("2024-03-15 10:00", &Zone::Utc, NOW).unwrap(), 19_797);
        assert_eq!(parse_date("0001-01-01 BC", &Zone::Utc, NOW).unwrap(), -719_528);
        assert_eq!(parse_date("infinity", &Zone::Utc, NOW).unwrap(), i32::MAX);
    }

    #[test]
    fn what_is_no_date_is_refused() {
        for (text, sqlstate) in [
            ("2024-02-30", "22008"),
            ("2024-13-01", "22008"),
            ("hello", "22007"),
            ("", "22007"),
            ("12", "22007"),
        ] {
            assert_eq!(parse_date(text, &Zone::Utc, NOW).unwrap_err().sqlstate, sqlstate, "{text}");
        }
    }

    #[test]
    fn timestamps_are_read_with_their_zone() {
        let at = |text: &str, zone: &str| parse_timestamptz(text, &Zone::parse(zone).unwrap(), NOW).unwrap();
        for text in [
            "2024-03-15 12:00:00+00",
            "2024-03-15T12:00:00Z",
            "2024-03-15 13:00 Europe/Berlin",
            "2024-03-15 17:30:00+05:30",
            "2024-03-15 12:00 pm utc",
            "now",
        ] {
            assert_eq!(at(text, "America/New_York"), NOW, "{text}");
        }
        assert_eq!(at("2024-03-15 13:00:00", "Europe/Berlin"), NOW);
        assert_eq!(at("2024-03-15 13:00:00.5", "Europe/Berlin"), NOW + 500_000);
        assert_eq!(parse_timestamp("2024-03-15 12:00:00+05", &Zone::Utc, NOW).unwrap(), NOW);
        assert_eq!(parse_timestamp("2024-03-15", &Zone::Utc, NOW).unwrap(), NOW - DAY / 2);
    }

    #[test]
    fn times_are_read() {
        for (text, micros) in [
            ("04:05", 14_700_000_000),
            ("04:05:06.789", 14_706_789_000),
            ("4:05 pm", 57_900_000_000),
            ("12:00am", 0),
            ("24:00", DAY),
        ] {
            assert_eq!(parse_time(text, &Zone::Utc, NOW).unwrap(), micros, "{text}");
        }
        assert_eq!(parse_time("25:00", &Zone::Utc, NOW).unwrap_err().sqlstate, "22008");
    }
}
