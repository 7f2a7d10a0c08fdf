//! The parameters of SET and SHOW.
//!
//! A change made in a transaction is undone when that rolls back; one made by SET LOCAL also when it commits. What a
//! client must hear of (ParameterStatus) is collected until [`Settings::take_changes`].

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::error::{SqlError, SqlResult};

/// What clients are told they talk to: the catalogs and formats here are those of this version.
pub const SERVER_VERSION: &str = "15.8";

/// What values a parameter takes.
#[derive(Clone, Copy, Debug)]
enum Kind {
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

struct Definition {
    name: &'static str,
    default: &'static str,
    kind: Kind,
    reported: bool,
    description: &'static str,
}

macro_rules! parameters {
    ($(($name:literal, $default:expr, $kind:expr, $reported:literal, $description:literal)),* $(,)?) => {
        static PARAMETERS: &[Definition] = &[$(Definition {
            name: $name, default: $default, kind: $kind, reported: $reported, description: $description,
        }),*];
    };
}

const LOG_LEVELS: &[&str] =
    &["debug5", "debug4", "debug3", "debug2", "debug1", "debug", "log", "notice", "info", "warning", "error"];

parameters![
    ("application_name", "", Kind::Text, true, "The name of the client program."),
    (
        "backslash_quote",
        "safe_encoding",
        Kind::OneOf(&["safe_encoding", "on", "off"]),
        false,
        "Whether \\' is allowed in literals."
    ),
    ("bytea_output", "hex", Kind::OneOf(&["hex"]), false, "The text format of bytea."),
    ("check_function_bodies", "on", Kind::Bool, false, "No effect."),
    ("client_encoding", "UTF8", Kind::Encoding, true, "The client's character set: always UTF8."),
    (
        "client_min_messages",
        "notice",
        Kind::OneOf(LOG_LEVELS),
        false,
        "The least severe message sent to the client."
    ),
    ("DateStyle", "ISO, MDY", Kind::DateStyle, true, "The format of dates: always ISO, MDY."),
    ("default_tablespace", "", Kind::Text, false, "No effect."),
    ("default_table_access_method", "heap", Kind::Text, false, "No effect."),
    (
        "default_transaction_isolation",
        "read committed",
        Kind::OneOf(&["read committed", "repeatable read", "read uncommitted"]),
        false,
        "The isolation level of new transactions."
    ),
    ("default_transaction_read_only", "off", Kind::Bool, true, "Whether new transactions only read."),
    ("default_transaction_deferrable", "off", Kind::Bool, false, "No effect."),
    (
        "extra_float_digits",
        "1",
        Kind::Integer(-15, 3),
        false,
        "Floats are always printed in their shortest exact form."
    ),
    (
        "idle_in_transaction_session_timeout",
        "0",
        Kind::Duration,
        false,
        "How long a transaction may be idle."
    ),
    ("in_hot_standby", "off", Kind::Fixed, true, "Whether this is a standby."),
    ("integer_datetimes", "on", Kind::Fixed, true, "Timestamps are integers."),
    ("IntervalStyle", "postgres", Kind::OneOf(&["postgres"]), true, "The format of intervals."),
    ("is_superuser", "on", Kind::Fixed, true, "Whether the user is a superuser."),
    ("lc_collate", "C", Kind::Fixed, false, "The order of text."),
    ("lc_ctype", "C", Kind::Fixed, false, "The classes of characters."),
    ("lc_messages", "C", Kind::Text, false, "No effect."),
    ("lc_monetary", "C", Kind::Text, false, "No effect."),
    ("lc_numeric", "C", Kind::Text, false, "No effect."),
    ("lc_time", "C", Kind::Text, false, "No effect."),
    ("lock_timeout", "0", Kind::Duration, false, "How long to wait for a lock."),
    ("max_connections", "100", Kind::Fixed, false, "The most connections."),
    ("max_identifier_length", "63", Kind::Fixed, false, "Bytes of an identifier."),
    ("max_index_keys", "32", Kind::Fixed, false, "Columns of an index."),
    ("row_security", "on", Kind::Bool, false, "No effect."),
    (
        "search_path",
        "\"$user\", public",
        Kind::Text,
        false,
        "The schemas that names without one are looked up in."
    ),
    ("server_encoding", "UTF8", Kind::Fixed, true, "The database's character set."),
    ("server_version", SERVER_VERSION, Kind::Fixed, true, "The PostgreSQL version this is compatible with."),
    ("server_version_num", "150008", Kind::Fixed, false, "The same as a number."),
    ("session_authorization", "", Kind::Fixed, true, "The session's user."),
    ("standard_conforming_strings", "on", Kind::OneOf(&["on"]), true, "Backslashes are plain characters."),
    ("statement_timeout", "0", Kind::Duration, false, "How long a statement may run."),
    ("synchronize_seqscans", "on", Kind::Bool, false, "No effect."),
    (
        "synchronous_commit",
        "on",
        Kind::OneOf(&["on", "off", "local", "remote_write", "remote_apply"]),
        false,
        "Commits are always synchronous."
    ),
    ("tcp_keepalives_idle", "0", Kind::Integer(0, i32::MAX as i64), false, "No effect."),
    ("TimeZone", "UTC", Kind::TimeZone, true, "The session's time zone."),
    (
        "transaction_isolation",
        "read committed",
        Kind::OneOf(&["read committed", "repeatable read", "read uncommitted"]),
        false,
        "The isolation level of the transaction."
    ),
    ("transaction_read_only", "off", Kind::Bool, false, "Whether the transaction only reads."),
    ("work_mem", "4MB", Kind::Memory, false, "No effect: memory has one cap for the process."),
    ("maintenance_work_mem", "64MB", Kind::Memory, false, "No effect: memory has one cap for the process."),
    ("xmloption", "content", Kind::OneOf(&["content", "document"]), false, "No effect."),
];

/// The values of one session.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    values: Vec<Arc<str>>,
    /// What the session started with: RESET goes back to it.
    start: Vec<Arc<str>>,
    custom: BTreeMap<String, Arc<str>>,
    saved: Option<Box<Saved>>,
    changes: Vec<(String, String)>,
    generation: u64,
}

/// What a transaction may have to go back to.
#[derive(Clone, Debug)]
struct Saved {
    values: Vec<Arc<str>>,
    custom: BTreeMap<String, Arc<str>>,
    local: Vec<usize>,
    local_custom: Vec<String>,
}

/// What pg_settings tells of a parameter.
pub(crate) struct Description {
    pub(crate) name: &'static str,
    pub(crate) default: &'static str,
    pub(crate) description: &'static str,
    /// Whether it cannot be set.
    pub(crate) fixed: bool,
}

/// All parameters.
pub(crate) fn descriptions() -> impl Iterator<Item = Description> {
    PARAMETERS.iter().map(|parameter| Description {
        name: parameter.name,
        default: parameter.default,
        description: parameter.description,
        fixed: matches!(parameter.kind, Kind::Fixed),
    })
}

fn find(name: &str) -> Option<usize> {
    PARAMETERS.iter().position(|parameter| parameter.name.eq_ignore_ascii_case(name))
}

fn unrecognized(name: &str) -> SqlError {
    SqlError::new("42704", format!("unrecognized configuration parameter \"{name}\""))
}

impl Settings {
    /// The settings of a session of this user.
    pub(crate) fn new(user: &str) -> Self {
        let mut values: Vec<Arc<str>> = PARAMETERS.iter().map(|parameter| parameter.default.into()).collect();
        if let Some(index) = find("session_authorization") {
            values[index] = user.into();
        }
        Self {
            start: values.clone(),
            values,
            custom: BTreeMap::new(),
            saved: None,
            changes: Vec::new(),
            generation: 0,
        }
    }

    /// Grows with each change.
    pub(crate) fn generation(&self) -> u64 {
        self.generation
    }

    /// The value that SHOW prints.
    pub(crate) fn show(&self, name: &str) -> SqlResult<Arc<str>> {
        match find(name) {
            Some(index) => Ok(Arc::clone(&self.values[index])),
            None => self.custom.get(&name.to_ascii_lowercase()).cloned().ok_or_else(|| unrecognized(name)),
        }
    }

    /// The value of a parameter that is known to exist.
    pub(crate) fn get(&self, name: &str) -> &str {
        find(name).map_or("", |index| &self.values[index])
    }

    /// Milliseconds of a duration parameter.
    pub(crate) fn milliseconds(&self, name: &str) -> u64 {
        parse_units(self.get(name), "ms", DURATION_UNITS)
            .and_then(|value| u64::try_from(value).ok())
            .unwrap_or(0)
    }

    /// All parameters: name, value, description.
    pub(crate) fn all(&self) -> impl Iterator<Item = (&'static str, &str, &'static str)> {
        PARAMETERS
            .iter()
            .zip(&self.values)
            .map(|(parameter, value)| (parameter.name, &**value, parameter.description))
    }

    /// All parameters by their names in lower case.
    pub(crate) fn by_name(&self) -> BTreeMap<String, String> {
        let custom = self.custom.iter().map(|(name, value)| (name.clone(), value.to_string()));
        let known = PARAMETERS.iter().zip(&self.values);
        known
            .map(|(parameter, value)| (parameter.name.to_ascii_lowercase(), value.to_string()))
            .chain(custom)
            .collect()
    }

    /// What a client is told when it connects.
    pub(crate) fn reported(&self) -> Vec<(String, String)> {
        PARAMETERS
            .iter()
            .zip(&self.values)
            .filter(|(parameter, _)| parameter.reported)
            .map(|(parameter, value)| (parameter.name.to_owned(), value.to_string()))
            .collect()
    }

    /// The reported parameters that changed since the last call.
    pub(crate) fn take_changes(&mut self) -> Vec<(String, String)> {
        std::mem::take(&mut self.changes)
    }

    /// Sets a parameter at the start of a session: RESET comes back to it.
    pub(crate) fn set_start(&mut self, name: &str, value: &str) -> SqlResult<()> {
        self.set(name, Some(value), false)?;
        if let Some(index) = find(name) {
            self.start[index] = Arc::clone(&self.values[index]);
        }
        self.changes.clear();
        Ok(())
    }

    /// SET, or with `None` SET … TO DEFAULT.
    pub(crate) fn set(&mut self, name: &str, value: Option<&str>, local: bool) -> SqlResult<()> {
        let Some(index) = find(name) else { return self.set_custom(name, value, local) };
        let parameter = &PARAMETERS[index];
        let value: Arc<str> = match value {
            Some(value) => parameter.accept(value)?.into(),
            None => Arc::clone(&self.start[index]),
        };
        if local
            && let Some(saved) = &mut self.saved
            && !saved.local.contains(&index)
        {
            saved.local.push(index);
        } else if !local && let Some(saved) = &mut self.saved {
            saved.local.retain(|other| *other != index);
        }
        self.assign(index, value);
        Ok(())
    }

    fn set_custom(&mut self, name: &str, value: Option<&str>, local: bool) -> SqlResult<()> {
        if !name.contains('.') {
            return Err(unrecognized(name));
        }
        let name = name.to_ascii_lowercase();
        if local && let Some(saved) = &mut self.saved {
            saved.local_custom.push(name.clone());
        }
        self.generation += 1;
        match value {
            Some(value) => self.custom.insert(name, value.into()),
            None => self.custom.remove(&name),
        };
        Ok(())
    }

    fn assign(&mut self, index: usize, value: Arc<str>) {
        if self.values[index] == value {
            return;
        }
        self.generation += 1;
        let parameter = &PARAMETERS[index];
        if parameter.reported {
            self.changes.retain(|(name, _)| name != parameter.name);
            self.changes.push((parameter.name.to_owned(), value.to_string()));
        }
        self.values[index] = value;
    }

    /// RESET ALL, and part of DISCARD ALL.
    pub(crate) fn reset_all(&mut self) {
        for (index, parameter) in PARAMETERS.iter().enumerate() {
            if !matches!(parameter.kind, Kind::Fixed) {
                self.assign(index, Arc::clone(&self.start[index]));
            }
        }
        self.custom.clear();
        self.generation += 1;
    }

    /// A transaction begins.
    pub(crate) fn save(&mut self) {
        self.saved = Some(Box::new(Saved {
            values: self.values.clone(),
            custom: self.custom.clone(),
            local: Vec::new(),
            local_custom: Vec::new(),
        }));
    }

    /// It ends.
    pub(crate) fn release(&mut self, committed: bool) {
        let Some(saved) = self.saved.take() else { return };
        if committed {
            for index in saved.local {
                self.assign(index, Arc::clone(&saved.values[index]));
            }
            for name in saved.local_custom {
                match saved.custom.get(&name) {
                    Some(value) => self.custom.insert(name, Arc::clone(value)),
                    None => self.custom.remove(&name),
                };
            }
        } else {
            for (index, value) in saved.values.into_iter().enumerate() {
                self.assign(index, value);
            }
            self.custom = saved.custom;
        }
    }
}

const DURATION_UNITS: &[(&str, f64)] =
    &[("us", 0.001), ("ms", 1.0), ("s", 1e3), ("min", 60e3), ("h", 3_600e3), ("d", 86_400e3)];
const MEMORY_UNITS: &[(&str, f64)] = &[
    ("B", 1.0 / 1024.0),
    ("kB", 1.0),
    ("MB", 1024.0),
    ("GB", 1024.0 * 1024.0),
    ("TB", 1024.0 * 1024.0 * 1024.0),
];

/// A number with a unit, in the base unit.
fn parse_units(text: &str, base: &str, units: &[(&str, f64)]) -> Option<i64> {
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
    fn accept(&self, value: &str) -> SqlResult<String> {
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
                if self.name.ends_with("transaction_isolation") && lower == "serializable" {
                    return Err(SqlError::unsupported("SERIALIZABLE transactions are not supported"));
                }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_shown_in_canonical_form() {
        let mut settings = Settings::new("ann");
        for (name, value, shown) in [
            ("statement_timeout", "1500", "1500ms"),
            ("statement_timeout", "2min", "2min"),
            ("statement_timeout", "120000", "2min"),
            ("work_mem", "4096", "4MB"),
            ("timezone", "europe/berlin", "Europe/Berlin"),
            ("TimeZone", "+5:30", "+05:30"),
            ("client_encoding", "utf-8", "UTF8"),
            ("datestyle", "iso", "ISO, MDY"),
            ("synchronous_commit", "true", "on"),
            ("default_transaction_read_only", "1", "on"),
            ("my.own", "x", "x"),
        ] {
            settings.set(name, Some(value), false).unwrap();
            assert_eq!(&*settings.show(name).unwrap(), shown, "{name}");
        }
        assert_eq!(settings.milliseconds("statement_timeout"), 120_000);
        assert_eq!(&*settings.show("session_authorization").unwrap(), "ann");
    }

    #[test]
    fn what_is_unknown_or_fixed_is_refused() {
        let mut settings = Settings::new("ann");
        assert_eq!(settings.set("frob", Some("1"), false).unwrap_err().sqlstate, "42704");
        assert_eq!(settings.set("server_version", Some("1"), false).unwrap_err().sqlstate, "55P02");
        assert_eq!(settings.set("TimeZone", Some("Mars"), false).unwrap_err().sqlstate, "22023");
        assert_eq!(
            settings.set("default_transaction_isolation", Some("serializable"), false).unwrap_err().sqlstate,
            "0A000"
        );
    }

    #[test]
    fn a_rollback_undoes_changes_and_a_commit_only_local_ones() {
        let mut settings = Settings::new("ann");
        settings.save();
        settings.set("application_name", Some("a"), false).unwrap();
        settings.set("TimeZone", Some("Asia/Tokyo"), true).unwrap();
        settings.release(true);
        assert_eq!(settings.get("application_name"), "a");
        assert_eq!(settings.get("TimeZone"), "UTC");
        settings.save();
        settings.set("application_name", Some("b"), false).unwrap();
        settings.release(false);
        assert_eq!(settings.get("application_name"), "a");
        let changes = settings.take_changes();
        assert_eq!(changes.last().unwrap(), &("application_name".to_owned(), "a".to_owned()));
    }
}
