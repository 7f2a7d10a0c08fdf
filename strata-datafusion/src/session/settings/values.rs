//! What values parameters take, and how they are shown.

use super::parameters::Definition;
use crate::error::{SqlError, SqlResult};

/// What values a parameter takes.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    Text,
    Bool,
    Integer(i64, i64),
    /// Milliseconds, with units.
    Duration,
    /// Kilobytes, with units.
    Memory,
    OneOf(&'static [&'static str]),
    TimeZone,
    DateStyle,
    Encoding,
    /// Shown, never set.
    Fixed,
}

pub(super) const DURATION_UNITS: &[(&str, f64)] =
    &[("us", 0.001), ("ms", 1.0), ("s", 1e3), ("min", 60e3), ("h", 3_600e3), ("d", 86_400e3)];
const MEMORY_UNITS: &[(&str, f64)] = &[
    ("B", 1.0 / 1024.0),
    ("kB", 1.0),
    ("MB", 1024.0),
    ("GB", 1024.0 * 1024.0),
    ("TB", 1024.0 * 1024.0 * 1024.0),
];

/// A number with a unit, in the base unit.
pub(super) fn parse_units(text: &str, base: &str, units: &[(&str, f64)]) -> Option<i64> {
    let text = text.trim();
    let end =
        text.find(|c: char| !(c.is_ascii_digit() || matches!(c, '.' | '-' | '+'))).unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let unit = if unit.trim().is_empty() { base } else { unit.trim() };
    let factor = units.iter().find(|(name, _)| *name == unit)?.1;
    let value = number.parse::<f64>().ok()? * factor;
    (value.is_finite() && value.abs() < 9e15).then(|| value.round() as i64)
}

/// A whole number of base units in the largest unit that divides it.
fn show_units(value: i64, units: &[(&str, f64)], base: &str) -> String {
    if value == 0 {
        return "0".to_owned();
    }
    for (unit, factor) in units.iter().rev().filter(|(_, factor)| *factor >= 1.0) {
        let factor = *factor as i64;
        if value % factor == 0 {
            return format!("{}{unit}", value / factor);
        }
    }
    format!("{value}{base}")
}

/// A boolean as Postgres reads it.
pub(crate) fn parse_bool(text: &str) -> Option<bool> {
    let text = text.trim().to_ascii_lowercase();
    match text.as_str() {
        "1" | "on" => Some(true),
        "0" | "off" | "of" => Some(false),
        "" | "o" => None,
        _ if "true".starts_with(&text) || "yes".starts_with(&text) => Some(true),
        _ if "false".starts_with(&text) || "no".starts_with(&text) => Some(false),
        _ => None,
    }
}

impl Definition {
    /// The value in its canonical form.
    pub(super) fn accept(&self, value: &str) -> SqlResult<String> {
        let invalid =
            || SqlError::new("22023", format!("invalid value for parameter \"{}\": \"{value}\"", self.name));
        match self.kind {
            Kind::Text => Ok(value.to_owned()),
            Kind::Fixed => {
                Err(SqlError::new("55P02", format!("parameter \"{}\" cannot be changed", self.name)))
            }
            Kind::Bool => match parse_bool(value) {
                Some(true) => Ok("on".to_owned()),
                Some(false) => Ok("off".to_owned()),
                None => Err(SqlError::new(
                    "22023",
                    format!("parameter \"{}\" requires a Boolean value", self.name),
                )),
            },
            Kind::Integer(least, most) => {
                let number: i64 = value.trim().parse().map_err(|_| invalid())?;
                if !(least..=most).contains(&number) {
                    return Err(SqlError::new(
                        "22023",
                        format!(
                            "{number} is outside the valid range for parameter \"{}\" ({least} .. {most})",
                            self.name
                        ),
                    ));
                }
                Ok(number.to_string())
            }
            Kind::Duration => match parse_units(value, "ms", DURATION_UNITS) {
                Some(milliseconds) if milliseconds >= 0 => Ok(show_units(milliseconds, DURATION_UNITS, "ms")),
                _ => Err(invalid()),
            },
            Kind::Memory => match parse_units(value, "kB", MEMORY_UNITS) {
                Some(kilobytes) if kilobytes >= 0 => Ok(show_units(kilobytes, MEMORY_UNITS, "kB")),
                _ => Err(invalid()),
            },
            Kind::OneOf(choices) => {
                let lower = value.trim().to_ascii_lowercase();
                // Those with on and off take other spellings of them.
                let spelled = match parse_bool(&lower) {
                    Some(true) if choices.contains(&"on") => "on".to_owned(),
                    Some(false) if choices.contains(&"off") => "off".to_owned(),
                    _ => lower,
                };
                choices
                    .iter()
                    .find(|choice| **choice == spelled)
                    .map(|choice| (*choice).to_owned())
                    .ok_or_else(|| invalid().with_hint(format!("Available values: {}.", choices.join(", "))))
            }
            Kind::TimeZone => canonical_time_zone(value).ok_or_else(invalid),
            Kind::DateStyle => {
                for part in value.split(',').map(|part| part.trim().to_ascii_lowercase()) {
                    if !matches!(part.as_str(), "iso" | "mdy" | "us" | "noneuro" | "noneuropean" | "default")
                    {
                        return Err(SqlError::unsupported(format!("DateStyle \"{value}\" is not supported"))
                            .with_hint("Only ISO, MDY is."));
                    }
                }
                Ok("ISO, MDY".to_owned())
            }
            Kind::Encoding => {
                let plain: String = value.chars().filter(char::is_ascii_alphanumeric).collect();
                match plain.to_ascii_lowercase().as_str() {
                    "utf8" | "unicode" => Ok("UTF8".to_owned()),
                    "sqlascii" => Ok("SQL_ASCII".to_owned()),
                    _ => Err(SqlError::unsupported(format!("client encoding \"{value}\" is not supported"))
                        .with_hint("Only UTF8 is.")),
                }
            }
        }
    }
}

/// A zone's name as it is shown, or an offset in the form `+05:30`.
fn canonical_time_zone(value: &str) -> Option<String> {
    let value = value.trim();
    if value.eq_ignore_ascii_case("utc")
        || value.eq_ignore_ascii_case("default")
        || value.eq_ignore_ascii_case("z")
    {
        return Some("UTC".to_owned());
    }
    if let Some(zone) = chrono_tz::TZ_VARIANTS.iter().find(|zone| zone.name().eq_ignore_ascii_case(value)) {
        return Some(zone.name().to_owned());
    }
    // A bare number counts hours east.
    let (sign, digits) = match value.split_at_checked(1)? {
        ("+", rest) => ('+', rest),
        ("-", rest) => ('-', rest),
        _ => ('+', value),
    };
    let (hours, minutes) = match digits.split_once(':') {
        Some((hours, minutes)) => (hours.parse::<u32>().ok()?, minutes.parse::<u32>().ok()?),
        None => (digits.parse::<u32>().ok()?, 0),
    };
    (hours <= 15 && minutes < 60).then(|| format!("{sign}{hours:02}:{minutes:02}"))
}
