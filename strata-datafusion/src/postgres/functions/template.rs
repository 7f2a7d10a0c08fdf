//! The templates of `to_char` and `to_date`: what is common of Postgres' patterns.

use std::fmt::Write as _;

use crate::error::{SqlError, SqlResult};
use crate::postgres::format::datetime::{DAY, civil_from_days, days_from_civil, days_of_month};

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const WEEKDAYS: [&str; 7] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];

/// A moment that is formatted.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment<'a> {
    /// Local microseconds since 1970-01-01.
    pub(super) local: i64,
    /// Seconds east of UTC and the zone's abbreviation.
    pub(super) zone: Option<(i32, &'a str)>,
}

/// Patterns, the longest of a prefix first.
const PATTERNS: [&str; 46] = [
    "HH24", "HH12", "HH", "MI", "MS", "US", "SSSSS", "SSSS", "SS", "FF1", "FF2", "FF3", "FF4", "FF5", "FF6",
    "AM", "PM", "A.M.", "P.M.", "Y,YYY", "YYYY", "YYY", "YY", "Y", "IYYY", "IYY", "IY", "IDDD", "ID", "IW",
    "I", "MONTH", "MON", "MM", "DAY", "DDD", "DD", "DY", "D", "WW", "W", "CC", "Q", "J", "TZH", "TZM",
];

/// How a word is spelled in the template.
fn spell(pattern: &str, word: &str) -> String {
    if pattern.chars().all(|c| !c.is_lowercase()) {
        word.to_uppercase()
    } else if pattern.chars().all(|c| !c.is_uppercase()) {
        word.to_lowercase()
    } else {
        word.to_owned()
    }
}

/// The piece of a template at its start: a pattern, or one literal character or quoted text.
enum Piece<'a> {
    Pattern { name: &'static str, spelled: &'a str, fill: bool, ordinal: Option<&'a str> },
    Zone { spelled: &'a str },
    Literal(&'a str),
}

fn pieces(template: &str) -> Vec<Piece<'_>> {
    let mut pieces = Vec::new();
    let mut rest = template;
    while !rest.is_empty() {
        if let Some(quoted) = rest.strip_prefix('"') {
            let end = quoted.find('"').unwrap_or(quoted.len());
            pieces.push(Piece::Literal(&quoted[..end]));
            rest = quoted.get(end + 1..).unwrap_or("");
            continue;
        }
        let (fill, body) = match rest.get(..2) {
            Some(prefix) if prefix.eq_ignore_ascii_case("FM") => (false, &rest[2..]),
            _ => (true, rest),
        };
        let upper = body.get(..body.len().min(8)).map_or_else(|| body.to_uppercase(), str::to_uppercase);
        if let Some(name) = PATTERNS.iter().find(|name| upper.starts_with(**name)) {
            let spelled = &body[..name.len()];
            let mut after = &body[name.len()..];
            let ordinal = after.get(..2).filter(|suffix| suffix.eq_ignore_ascii_case("TH"));
            if ordinal.is_some() {
                after = &after[2..];
            }
            pieces.push(Piece::Pattern { name, spelled, fill, ordinal });
            rest = after;
        } else if upper.starts_with("TZ") {
            pieces.push(Piece::Zone { spelled: &body[..2] });
            rest = &body[2..];
        } else if upper.starts_with("OF") {
            pieces.push(Piece::Pattern { name: "OF", spelled: &body[..2], fill, ordinal: None });
            rest = &body[2..];
        } else {
            let length = rest.chars().next().map_or(1, char::len_utf8);
            pieces.push(Piece::Literal(&rest[..length]));
            rest = &rest[length..];
        }
    }
    pieces
}

fn ordinal_suffix(number: i64) -> &'static str {
    match (number % 100, number % 10) {
        (11..=13, _) => "th",
        (_, 1) => "st",
        (_, 2) => "nd",
        (_, 3) => "rd",
        _ => "th",
    }
}

/// A moment as a template says.
pub(super) fn format_moment(moment: Moment<'_>, template: &str) -> String {
    let mut out = String::with_capacity(template.len() + 8);
    for piece in pieces(template) {
        match piece {
            Piece::Literal(text) => out.push_str(text),
            Piece::Zone { spelled } => {
                let name = moment.zone.map_or("", |(_, name)| name);
                out.push_str(&if spelled == "tz" { name.to_lowercase() } else { name.to_owned() });
            }
            Piece::Pattern { name, spelled, fill, ordinal } => {
                write_pattern(moment, name, spelled, fill, ordinal, &mut out);
            }
        }
    }
    out
}

fn write_pattern(
    moment: Moment<'_>,
    name: &str,
    spelled: &str,
    fill: bool,
    ordinal: Option<&str>,
    out: &mut String,
) {
    let (days, micros) = (moment.local.div_euclid(DAY), moment.local.rem_euclid(DAY));
    let (year, month, day) = civil_from_days(days);
    let (hour, minute, second) = (micros / 3_600_000_000, micros / 60_000_000 % 60, micros / 1_000_000 % 60);
    let fraction = micros % 1_000_000;
    let weekday = (days + 4).rem_euclid(7);
    let year_day = days - days_from_civil(year, 1, 1) + 1;
    let month_name = MONTHS[month as usize - 1];
    let day_name = WEEKDAYS.get(usize::try_from(weekday).unwrap_or(0)).copied().unwrap_or("");
    let thursday = days - (days + 3).rem_euclid(7) + 3;
    let (iso_year, ..) = civil_from_days(thursday);
    let iso_week = (thursday - days_from_civil(iso_year, 1, 1)) / 7 + 1;
    let shown = if year > 0 { year } else { 1 - year };
    let half = |dotted: bool| match (hour < 12, dotted) {
        (true, false) => "AM",
        (false, false) => "PM",
        (true, true) => "A.M.",
        (false, true) => "P.M.",
    };
    let twelve = if hour % 12 == 0 { 12 } else { hour % 12 };
    let offset = moment.zone.map_or(0, |(offset, _)| offset);
    let (value, width) = match name {
        "HH24" => (hour, 2),
        "HH12" | "HH" => (twelve, 2),
        "MI" => (minute, 2),
        "SS" => (second, 2),
        "MS" | "FF3" => (fraction / 1_000, 3),
        "US" | "FF6" => (fraction, 6),
        "FF1" => (fraction / 100_000, 1),
        "FF2" => (fraction / 10_000, 2),
        "FF4" => (fraction / 100, 4),
        "FF5" => (fraction / 10, 5),
        "SSSS" | "SSSSS" => (micros / 1_000_000, 1),
        "YYYY" => (shown, 4),
        "YYY" => (shown % 1_000, 3),
        "YY" => (shown % 100, 2),
        "Y" => (shown % 10, 1),
        "IYYY" => (iso_year, 4),
        "IYY" => (iso_year % 1_000, 3),
        "IY" => (iso_year % 100, 2),
        "I" => (iso_year % 10, 1),
        "MM" => (i64::from(month), 2),
        "DD" => (i64::from(day), 2),
        "DDD" => (year_day, 3),
        "IDDD" => ((iso_week - 1) * 7 + (days + 3).rem_euclid(7) + 1, 3),
        "D" => (weekday + 1, 1),
        "ID" => ((days + 3).rem_euclid(7) + 1, 1),
        "IW" => (iso_week, 2),
        "WW" => ((year_day - 1) / 7 + 1, 2),
        "W" => ((i64::from(day) - 1) / 7 + 1, 1),
        "CC" => ((shown - 1) / 100 + 1, 2),
        "Q" => (i64::from(month.div_ceil(3)), 1),
        "J" => (days + 2_440_588, 1),
        "Y,YYY" => {
            let _ = write!(out, "{},{:03}", shown / 1_000, shown % 1_000);
            return;
        }
        "MONTH" | "DAY" => {
            let (word, width) = if name == "MONTH" { (month_name, 9) } else { (day_name, 9) };
            let word = spell(spelled, word);
            let _ = if fill { write!(out, "{word:<width$}") } else { write!(out, "{word}") };
            return;
        }
        "MON" => return out.push_str(&spell(spelled, &month_name[..3])),
        "DY" => return out.push_str(&spell(spelled, &day_name[..3])),
        "AM" | "PM" => return out.push_str(&spell(spelled, half(false))),
        "A.M." | "P.M." => return out.push_str(&spell(spelled, half(true))),
        "TZH" => {
            let _ = write!(out, "{:+03}", offset / 3_600);
            return;
        }
        "TZM" => (i64::from(offset.abs() / 60 % 60), 2),
        _ => {
            let _ = write!(out, "{:+03}", offset / 3_600);
            if offset % 3_600 != 0 {
                let _ = write!(out, ":{:02}", offset.abs() / 60 % 60);
            }
            return;
        }
    };
    let _ = if fill { write!(out, "{value:0width$}") } else { write!(out, "{value}") };
    if let Some(suffix) = ordinal {
        out.push_str(&spell(suffix, ordinal_suffix(value)));
    }
}

/// Local microseconds since 1970-01-01 that a text says, read as a template says.
pub(super) fn parse_moment(text: &str, template: &str) -> SqlResult<i64> {
    let invalid = |what: &str| SqlError::new("22007", format!("invalid value \"{text}\" for \"{what}\""));
    let (mut year, mut month, mut day) = (1i64, 1u32, 1u32);
    let (mut hour, mut minute, mut second, mut fraction) = (0i64, 0i64, 0i64, 0i64);
    let (mut afternoon, mut twelve) = (None, false);
    let mut rest = text;
    for piece in pieces(template) {
        match piece {
            Piece::Literal(literal) => {
                for c in literal.chars() {
                    // A separator stands for any other one.
                    rest = match rest.chars().next() {
                        Some(next) if next == c || (!next.is_alphanumeric() && !c.is_alphanumeric()) => {
                            &rest[next.len_utf8()..]
                        }
                        _ => rest,
                    };
                }
            }
            Piece::Zone { .. } => {
                return Err(SqlError::unsupported("formatting field \"TZ\" is only supported in to_char"));
            }
            Piece::Pattern { name, .. } => {
                rest = rest.trim_start();
                let widest = match name {
                    "YYYY" | "IYYY" => 4,
                    "YYY" | "MS" | "DDD" | "FF3" => 3,
                    "US" | "FF6" => 6,
                    "Y" => 1,
                    _ => 2,
                };
                match name {
                    "MONTH" | "MON" | "DAY" | "DY" | "AM" | "PM" | "A.M." | "P.M." => {
                        let end = rest.find(|c: char| !c.is_alphabetic() && c != '.').unwrap_or(rest.len());
                        let word = rest[..end].to_lowercase();
                        match name {
                            "MONTH" | "MON" => {
                                let found = (1u32..).zip(MONTHS).find(|(_, known)| {
                                    let known = known.to_lowercase();
                                    word.starts_with(&known[..3]) && (name == "MON" || word == known)
                                });
                                month = found.ok_or_else(|| invalid(name))?.0;
                                rest = if name == "MON" { &rest[3.min(end)..] } else { &rest[end..] };
                                continue;
                            }
                            "DAY" | "DY" => {}
                            _ => afternoon = Some(word.starts_with('p')),
                        }
                        rest = &rest[end..];
                        continue;
                    }
                    _ => {}
                }
                let digits = rest.bytes().take_while(u8::is_ascii_digit).count().min(widest);
                let (number, after) = rest.split_at(digits);
                let value: i64 = number.parse().map_err(|_| invalid(name))?;
                rest = after;
                match name {
                    "YYYY" => year = value,
                    "YYY" | "YY" | "Y" => year = if value < 70 { 2000 + value } else { 1900 + value },
                    "MM" => month = u32::try_from(value).unwrap_or(0),
                    "DD" => day = u32::try_from(value).unwrap_or(0),
                    "DDD" => (month, day) = (1, u32::try_from(value).unwrap_or(0)),
                    "HH24" => hour = value,
                    "HH12" | "HH" => (hour, twelve) = (value, true),
                    "MI" => minute = value,
                    "SS" => second = value,
                    "MS" | "US" | "FF3" | "FF6" => {
                        let places = if matches!(name, "MS" | "FF3") { 3 } else { 6 };
                        let scale =
                            10i64.pow(u32::try_from(6usize.saturating_sub(digits.min(places))).unwrap_or(0));
                        fraction = value * scale;
                    }
                    _ => {
                        return Err(SqlError::unsupported(format!(
                            "formatting field \"{name}\" is only supported in to_char"
                        )));
                    }
                }
            }
        }
    }
    if twelve {
        if !(1..=12).contains(&hour) {
            return Err(SqlError::new("22007", format!("hour \"{hour}\" is invalid for the 12-hour clock")));
        }
        hour = hour % 12 + if afternoon == Some(true) { 12 } else { 0 };
    }
    let by_day_of_year = template.to_uppercase().contains("DDD");
    let valid = (1..=12).contains(&month)
        && day >= 1
        && (by_day_of_year && day <= 366 || day <= days_of_month(year, month))
        && hour < 24
        && minute < 60
        && second < 60;
    if !valid {
        return Err(SqlError::new("22008", format!("date/time field value out of range: \"{text}\"")));
    }
    let days = days_from_civil(year, month, day);
    Ok(days * DAY + ((hour * 60 + minute) * 60 + second) * 1_000_000 + fraction)
}

/// A number as a template of 9, 0, `.`, `,`, D, G, S, MI, PL, FM and currency says; `None` if it does not fit.
pub(super) fn format_number(negative: bool, digits: &str, template: &str) -> String {
    let (fill, template) = match template.get(..2) {
        Some(prefix) if prefix.eq_ignore_ascii_case("FM") => (false, &template[2..]),
        _ => (true, template),
    };
    let upper = template.to_uppercase();
    let (whole_template, fraction_template) = match upper.find(['.', 'D', 'V']) {
        Some(place) => (&upper[..place], &upper[place + 1..]),
        None => (upper.as_str(), ""),
    };
    let count = |text: &str| text.chars().filter(|c| matches!(c, '9' | '0')).count();
    let (places, fraction_places) = (count(whole_template), count(fraction_template));
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let whole = whole.trim_start_matches('0');
    let overflow = whole.len() > places;
    let mut body = String::new();
    let mut position = 0;
    let zero_from = whole_template.chars().filter(|c| matches!(c, '9' | '0')).position(|c| c == '0');
    let mut started = false;
    for c in whole_template.chars() {
        match c {
            '9' | '0' => {
                let from_right = places - position;
                let digit = whole.len().checked_sub(from_right).and_then(|index| whole.as_bytes().get(index));
                position += 1;
                match digit {
                    _ if overflow => body.push('#'),
                    Some(digit) => {
                        started = true;
                        body.push(char::from(*digit));
                    }
                    None if zero_from.is_some_and(|from| position > from) => {
                        started = true;
                        body.push('0');
                    }
                    // The last place before a point shows a zero.
                    None if position == places && fraction_places == 0 => body.push('0'),
                    None if fill => body.push(' '),
                    None => {}
                }
            }
            ',' | 'G' => {
                if started || overflow {
                    body.push(',');
                } else if fill {
                    body.push(' ');
                }
            }
            'S' | 'M' | 'I' | 'P' | 'L' | 'R' => {}
            other => body.push(other),
        }
    }
    if fraction_places > 0 {
        body.push('.');
        let mut shown: String =
            fraction.chars().chain(std::iter::repeat('0')).take(fraction_places).collect();
        if overflow {
            shown = "#".repeat(fraction_places);
        } else if !fill {
            let least = fraction_template.rfind('0').map_or(0, |last| {
                fraction_template[..=last].chars().filter(|c| matches!(c, '9' | '0')).count()
            });
            while shown.len() > least && shown.ends_with('0') {
                shown.pop();
            }
        }
        body.push_str(&shown);
    }
    sign_number(negative, body, &upper, fill)
}

/// Puts the sign where the template wants it: before the first digit unless S or MI says otherwise.
fn sign_number(negative: bool, body: String, template: &str, fill: bool) -> String {
    let trimmed = body.trim_start();
    let blanks = body.len() - trimmed.len();
    let sign = if negative { '-' } else { '+' };
    if template.ends_with('S') {
        return format!("{body}{sign}");
    }
    if template.ends_with("MI") {
        return format!(
            "{body}{}",
            if negative {
                "-"
            } else if fill {
                " "
            } else {
                ""
            }
        );
    }
    let shown = match (template.starts_with('S'), negative, fill) {
        (true, ..) => sign.to_string(),
        (false, true, _) => "-".to_owned(),
        (false, false, true) => " ".to_owned(),
        (false, false, false) => String::new(),
    };
    format!("{}{shown}{trimmed}", " ".repeat(blanks))
}

/// How many digits after the point a number template shows.
pub(super) fn fraction_places(template: &str) -> usize {
    let upper = template.to_uppercase();
    upper
        .find(['.', 'D'])
        .map_or(0, |place| upper[place..].chars().filter(|c| matches!(c, '9' | '0')).count())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2024-03-05 14:07:09.123456
    fn moment() -> i64 {
        days_from_civil(2024, 3, 5) * DAY + ((14 * 60 + 7) * 60 + 9) * 1_000_000 + 123_456
    }

    #[test]
    fn moments_follow_their_template() {
        for (template, text) in [
            ("YYYY-MM-DD HH24:MI:SS", "2024-03-05 14:07:09"),
            ("HH12:MI am", "02:07 pm"),
            ("Mon DD, YYYY", "Mar 05, 2024"),
            ("FMMonth FMDDth", "March 5th"),
            ("MONTH", "MARCH    "),
            ("Dy", "Tue"),
            ("YYYY-\"Q\"Q", "2024-Q1"),
            ("MS.US", "123.123456"),
            ("IYYY-IW", "2024-10"),
            ("DDD", "065"),
        ] {
            assert_eq!(format_moment(Moment { local: moment(), zone: None }, template), text, "{template}");
        }
        let zoned = Moment { local: moment(), zone: Some((3_600, "CET")) };
        assert_eq!(format_moment(zoned, "HH24 TZ OF"), "14 CET +01");
    }

    #[test]
    fn moments_are_read_by_their_template() {
        let at = |text: &str, template: &str| parse_moment(text, template).unwrap();
        assert_eq!(at("05 Mar 2024", "DD Mon YYYY"), days_from_civil(2024, 3, 5) * DAY);
        assert_eq!(at("2024-03-05 02:07:09 PM", "YYYY-MM-DD HH12:MI:SS AM"), moment() - 123_456);
        assert_eq!(parse_moment("2024-13-05", "YYYY-MM-DD").unwrap_err().sqlstate, "22008");
        assert_eq!(parse_moment("x", "YYYY").unwrap_err().sqlstate, "22007");
    }

    #[test]
    fn numbers_follow_their_template() {
        for (negative, digits, template, text) in [
            (false, "1234.50", "9,999.99", " 1,234.50"),
            (true, "12.30", "999.99", " -12.30"),
            (false, "12.30", "FM999.99", "12.3"),
            (false, "5", "000", " 005"),
            (false, "12345", "999", " ###"),
            (true, "5", "999S", "  5-"),
            (false, "0.50", "FM990.00", "0.50"),
        ] {
            assert_eq!(format_number(negative, digits, template), text, "{template}");
        }
    }
}
