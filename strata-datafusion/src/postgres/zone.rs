//! A session's time zone.

use chrono::offset::{LocalResult, Offset};
use chrono::{DateTime, FixedOffset, NaiveDateTime, TimeZone, Utc};

/// Microseconds of a second.
const SECOND: i64 = 1_000_000;

/// A time zone: UTC, a fixed offset, or one of the tz database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Zone {
    /// UTC.
    Utc,
    /// Seconds east of UTC.
    Fixed(i32),
    /// A zone with a history.
    Named(chrono_tz::Tz),
}

impl Zone {
    /// A zone by name or offset: `Europe/Berlin`, `UTC`, `+05:30`, `-8`.
    pub fn parse(text: &str) -> Option<Zone> {
        let text = text.trim();
        if ["utc", "z", "zulu", "gmt", "utc0"].iter().any(|name| text.eq_ignore_ascii_case(name)) {
            return Some(Zone::Utc);
        }
        if let Some(seconds) = parse_offset(text) {
            return Some(if seconds == 0 { Zone::Utc } else { Zone::Fixed(seconds) });
        }
        if let Ok(zone) = text.parse::<chrono_tz::Tz>() {
            return Some(Zone::Named(zone));
        }
        let named = chrono_tz::TZ_VARIANTS.iter().find(|zone| zone.name().eq_ignore_ascii_case(text));
        named.copied().map(Zone::Named).or_else(|| abbreviation(text).map(Zone::Fixed))
    }

    /// Seconds east of UTC at this instant (microseconds since 1970 UTC).
    pub fn offset_at(&self, micros: i64) -> i32 {
        match self {
            Zone::Utc => 0,
            Zone::Fixed(seconds) => *seconds,
            Zone::Named(zone) => DateTime::<Utc>::from_timestamp_micros(micros)
                .map_or(0, |time| zone.offset_from_utc_datetime(&time.naive_utc()).fix().local_minus_utc()),
        }
    }

    /// The local time (as microseconds since 1970-01-01 00:00 local) of an instant.
    pub fn to_local(&self, micros: i64) -> i64 {
        micros.saturating_add(i64::from(self.offset_at(micros)) * SECOND)
    }

    /// The instant of a local time. In a gap the offset before the change counts, where a time comes twice the one
    /// after it, as in Postgres.
    pub fn to_utc(&self, local: i64) -> i64 {
        let offset = match self {
            Zone::Utc => 0,
            Zone::Fixed(seconds) => *seconds,
            Zone::Named(zone) => named_offset(zone, local),
        };
        local.saturating_sub(i64::from(offset) * SECOND)
    }

    /// The abbreviation or offset that names the zone at an instant.
    pub fn abbreviation_at(&self, micros: i64) -> String {
        match self {
            Zone::Utc => "UTC".to_owned(),
            Zone::Fixed(seconds) => {
                FixedOffset::east_opt(*seconds).map_or_else(String::new, |o| o.to_string())
            }
            Zone::Named(zone) => DateTime::<Utc>::from_timestamp_micros(micros)
                .map_or_else(String::new, |time| time.with_timezone(zone).format("%Z").to_string()),
        }
    }
}

fn named_offset(zone: &chrono_tz::Tz, local: i64) -> i32 {
    let Some(naive) = naive(local) else { return 0 };
    match zone.offset_from_local_datetime(&naive) {
        LocalResult::Single(offset) | LocalResult::Ambiguous(_, offset) => offset.fix().local_minus_utc(),
        LocalResult::None => {
            // A gap: what held two hours before it.
            naive
                .checked_sub_signed(chrono::TimeDelta::hours(2))
                .and_then(|before| zone.offset_from_local_datetime(&before).earliest())
                .map_or(0, |offset| offset.fix().local_minus_utc())
        }
    }
}

fn naive(micros: i64) -> Option<NaiveDateTime> {
    DateTime::<Utc>::from_timestamp_micros(micros).map(|time| time.naive_utc())
}

/// `+05:30`, `-0800`, `+8`, `+05:30:15`.
fn parse_offset(text: &str) -> Option<i32> {
    let (sign, rest) = match text.as_bytes().first()? {
        b'+' => (1, &text[1..]),
        b'-' => (-1, &text[1..]),
        _ => return None,
    };
    let mut parts = [0i32; 3];
    if rest.contains(':') {
        for (index, piece) in rest.split(':').enumerate() {
            *parts.get_mut(index)? = digits(piece)?;
        }
    } else if rest.len() > 2 {
        let split = rest.len().checked_sub(2)?;
        parts[0] = digits(rest.get(..split)?)?;
        parts[1] = digits(rest.get(split..)?)?;
    } else {
        parts[0] = digits(rest)?;
    }
    let [hours, minutes, seconds] = parts;
    (hours < 16 && minutes < 60 && seconds < 60).then_some(sign * (hours * 3600 + minutes * 60 + seconds))
}

fn digits(text: &str) -> Option<i32> {
    (!text.is_empty() && text.len() <= 2 && text.bytes().all(|b| b.is_ascii_digit())).then_some(())?;
    text.parse().ok()
}

/// The abbreviations that Postgres' default set has and that are in common use.
fn abbreviation(text: &str) -> Option<i32> {
    let hours = match text.to_ascii_uppercase().as_str() {
        "EST" => -5,
        "EDT" => -4,
        "CST" => -6,
        "CDT" => -5,
        "MST" => -7,
        "MDT" => -6,
        "PST" => -8,
        "PDT" => -7,
        "CET" | "BST" | "WEST" => 1,
        "CEST" | "EET" => 2,
        "EEST" | "MSK" => 3,
        "WET" => 0,
        "JST" => 9,
        _ => return None,
    };
    Some(hours * 3600)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zones_have_their_offsets() {
        let berlin = Zone::parse("europe/berlin").unwrap();
        assert_eq!(berlin.offset_at(1_700_000_000 * SECOND), 3600);
        assert_eq!(berlin.offset_at(1_690_000_000 * SECOND), 7200);
        assert_eq!(Zone::parse("+05:30"), Some(Zone::Fixed(19_800)));
        assert_eq!(Zone::parse("-0800"), Some(Zone::Fixed(-28_800)));
        assert_eq!(Zone::parse("Mars"), None);
        for instant in [0, 1_700_000_000 * SECOND, 1_690_000_000 * SECOND] {
            assert_eq!(berlin.to_utc(berlin.to_local(instant)), instant);
        }
    }

    #[test]
    fn a_local_time_in_the_gap_takes_the_offset_before_it() {
        let berlin = Zone::parse("Europe/Berlin").unwrap();
        // 2024-03-31 02:30 does not exist there: it is 01:30 UTC, shown as 03:30.
        let local = 1_711_852_200 * SECOND;
        assert_eq!(berlin.to_utc(local), local - 3600 * SECOND);
        // 2024-10-27 02:30 comes twice: the second one, in winter time, is meant.
        let twice = 1_729_996_200 * SECOND;
        assert_eq!(berlin.to_utc(twice), twice - 3600 * SECOND);
    }
}
