//! What COPY's options come to.

use super::parse::{CopyOption, OptionValue};
use crate::error::{SqlError, SqlResult};
use crate::io::format::{Header, TextFormat};

/// How the data looks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// Text or CSV.
    Text(TextFormat),
    /// An Apache Parquet file.
    Parquet,
}

/// Columns that an option names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Columns {
    /// None.
    #[default]
    None,
    /// These.
    Named(Vec<String>),
    /// All of them.
    All,
}

impl Columns {
    /// Whether a column is meant.
    pub(crate) fn has(&self, name: &str) -> bool {
        match self {
            Self::None => false,
            Self::Named(names) => names.iter().any(|named| named == name),
            Self::All => true,
        }
    }

    /// Fails for a column that is not among those copied.
    pub(crate) fn check(&self, option: &str, columns: &[String]) -> SqlResult<()> {
        let Self::Named(names) = self else { return Ok(()) };
        match names.iter().find(|name| !columns.contains(name)) {
            None => Ok(()),
            Some(name) => {
                Err(SqlError::new("42P10", format!("{option} column \"{name}\" not referenced by COPY")))
            }
        }
    }
}

/// The options of a COPY.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CopyOptions {
    /// How the data looks.
    pub(crate) format: Format,
    /// Columns that are always quoted.
    pub(crate) force_quote: Columns,
    /// Columns in which a quoted NULL string is NULL.
    pub(crate) force_null: Columns,
    /// Columns that are never NULL.
    pub(crate) force_not_null: Columns,
}

/// The options as they were written, each at most once.
#[derive(Default)]
struct Written {
    format: Option<String>,
    delimiter: Option<String>,
    null: Option<String>,
    header: Option<Header>,
    quote: Option<String>,
    escape: Option<String>,
    force_quote: Option<Columns>,
    force_null: Option<Columns>,
    force_not_null: Option<Columns>,
    freeze: Option<bool>,
    encoding: Option<String>,
}

impl CopyOptions {
    /// What the options say; `file` is the file's name, `to` the direction.
    pub(crate) fn resolve(options: &[CopyOption], file: Option<&str>, to: bool) -> SqlResult<Self> {
        let mut written = Written::default();
        for option in options {
            written.read(option, to)?;
        }
        let is_parquet_file = file.is_some_and(|name| name.to_ascii_lowercase().ends_with(".parquet"));
        let format = match written.format.as_deref() {
            Some("parquet") => Format::Parquet,
            None if is_parquet_file => Format::Parquet,
            Some("text") | None => Format::Text(TextFormat::text()),
            Some("csv") => Format::Text(TextFormat::csv()),
            Some("binary") => return Err(SqlError::unsupported("COPY in binary format is not supported")),
            Some(other) => {
                return Err(SqlError::new("22023", format!("COPY format \"{other}\" not recognized")));
            }
        };
        written.finish(format, to)
    }
}

impl Written {
    fn read(&mut self, option: &CopyOption, to: bool) -> SqlResult<()> {
        let name = option.name.as_str();
        match name {
            "format" => once(&mut self.format, text(option)?.to_ascii_lowercase()),
            "delimiter" => once(&mut self.delimiter, text(option)?),
            "null" => once(&mut self.null, text(option)?),
            "quote" => once(&mut self.quote, text(option)?),
            "escape" => once(&mut self.escape, text(option)?),
            "encoding" => once(&mut self.encoding, text(option)?),
            "freeze" => once(&mut self.freeze, boolean(option)?),
            "header" => once(&mut self.header, header(option, to)?),
            "force_quote" => once(&mut self.force_quote, columns(option)?),
            "force_null" => once(&mut self.force_null, columns(option)?),
            "force_not_null" => once(&mut self.force_not_null, columns(option)?),
            other => Err(SqlError::syntax(format!("option \"{other}\" not recognized"))),
        }
    }

    fn finish(self, format: Format, to: bool) -> SqlResult<CopyOptions> {
        if let Some(encoding) = &self.encoding {
            let plain: String = encoding.chars().filter(char::is_ascii_alphanumeric).collect();
            if !["utf8", "unicode", "sqlascii"].contains(&plain.to_ascii_lowercase().as_str()) {
                return Err(SqlError::unsupported(format!(
                    "COPY in encoding \"{encoding}\" is not supported"
                ))
                .with_hint("Use UTF8."));
            }
        }
        let format = match format {
            Format::Text(format) => Format::Text(self.text_format(format)?),
            Format::Parquet => {
                let special = [
                    ("DELIMITER", self.delimiter.is_some()),
                    ("NULL", self.null.is_some()),
                    ("HEADER", self.header.is_some_and(|header| header != Header::No)),
                ];
                if let Some((name, _)) = special.iter().find(|(_, given)| *given) {
                    return Err(SqlError::syntax(format!("cannot specify {name} in PARQUET mode")));
                }
                Format::Parquet
            }
        };
        let csv = matches!(&format, Format::Text(format) if format.csv);
        let only_csv = [
            ("quote", self.quote.is_some(), true),
            ("escape", self.escape.is_some(), true),
            ("force quote", self.force_quote.is_some(), to),
            ("force not null", self.force_not_null.is_some(), !to),
            ("force null", self.force_null.is_some(), !to),
        ];
        for (name, given, direction) in only_csv {
            if given && !csv {
                return Err(SqlError::unsupported(format!("COPY {name} available only in CSV mode")));
            }
            if given && !direction {
                let other = if to { "FROM" } else { "TO" };
                return Err(SqlError::unsupported(format!("COPY {name} only available using COPY {other}")));
            }
        }
        Ok(CopyOptions {
            format,
            force_quote: self.force_quote.unwrap_or_default(),
            force_null: self.force_null.unwrap_or_default(),
            force_not_null: self.force_not_null.unwrap_or_default(),
        })
    }

    fn text_format(&self, mut format: TextFormat) -> SqlResult<TextFormat> {
        if let Some(text) = &self.delimiter {
            format.delimiter = one_byte(text, "COPY delimiter")?;
        }
        if let Some(text) = &self.quote {
            format.quote = one_byte(text, "COPY quote")?;
            format.escape = format.quote;
        }
        if let Some(text) = &self.escape {
            format.escape = one_byte(text, "COPY escape")?;
        }
        if let Some(text) = &self.null {
            format.null = text.clone().into_bytes();
        }
        format.header = self.header.unwrap_or(format.header);
        let refuse = |message: &str| Err(SqlError::new("22023", message));
        if matches!(format.delimiter, b'\n' | b'\r') {
            return refuse("COPY delimiter cannot be newline or carriage return");
        }
        if format.null.iter().any(|byte| matches!(byte, b'\n' | b'\r')) {
            return refuse("COPY null representation cannot use newline or carriage return");
        }
        let shown = char::from(format.delimiter);
        if !format.csv
            && (shown == '\\' || shown == '.' || shown.is_ascii_lowercase() || shown.is_ascii_digit())
        {
            return refuse(&format!("COPY delimiter cannot be \"{shown}\""));
        }
        if format.csv && format.delimiter == format.quote {
            return refuse("COPY delimiter and quote must be different");
        }
        if format.null.contains(&format.delimiter) {
            return refuse("COPY delimiter must not appear in the NULL specification");
        }
        if format.csv && format.null.contains(&format.quote) {
            return refuse("CSV quote character must not appear in the NULL specification");
        }
        Ok(format)
    }
}

fn once<T>(place: &mut Option<T>, value: T) -> SqlResult<()> {
    match place.replace(value) {
        None => Ok(()),
        Some(_) => Err(SqlError::syntax("conflicting or redundant options")),
    }
}

fn text(option: &CopyOption) -> SqlResult<String> {
    match &option.value {
        OptionValue::Text(text) => Ok(text.clone()),
        _ => Err(SqlError::syntax(format!("{} requires a parameter", option.name))),
    }
}

fn boolean(option: &CopyOption) -> SqlResult<bool> {
    match &option.value {
        OptionValue::Absent => Ok(true),
        OptionValue::Text(text) => crate::session::settings::parse_bool(text)
            .ok_or_else(|| SqlError::syntax(format!("{} requires a Boolean value", option.name))),
        _ => Err(SqlError::syntax(format!("{} requires a Boolean value", option.name))),
    }
}

fn header(option: &CopyOption, to: bool) -> SqlResult<Header> {
    match &option.value {
        OptionValue::Text(text) if text.eq_ignore_ascii_case("match") => {
            if to {
                return Err(SqlError::unsupported("cannot use \"match\" with HEADER in COPY TO"));
            }
            Ok(Header::Match)
        }
        _ => Ok(if boolean(option)? { Header::Yes } else { Header::No }),
    }
}

fn columns(option: &CopyOption) -> SqlResult<Columns> {
    match &option.value {
        OptionValue::Names(names) => Ok(Columns::Named(names.clone())),
        OptionValue::All => Ok(Columns::All),
        _ => {
            let message = format!("argument to option \"{}\" must be a list of column names", option.name);
            Err(SqlError::new("22023", message))
        }
    }
}

fn one_byte(text: &str, what: &str) -> SqlResult<u8> {
    match text.as_bytes() {
        [byte] => Ok(*byte),
        _ => Err(SqlError::unsupported(format!("{what} must be a single one-byte character"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolve(sql: &str) -> SqlResult<CopyOptions> {
        let statement = crate::sql::parse::parse(sql)?.remove(0);
        CopyOptions::resolve(statement.copy_options(), None, sql.contains(" TO "))
    }

    #[test]
    fn options_change_the_format() {
        let options =
            resolve("COPY t FROM STDIN (FORMAT csv, HEADER match, DELIMITER '|', QUOTE '''', NULL '-')");
        let Format::Text(format) = options.unwrap().format else { panic!("text") };
        assert_eq!((format.delimiter, format.quote, format.escape), (b'|', b'\'', b'\''));
        assert_eq!((format.null.as_slice(), format.header), (b"-".as_slice(), Header::Match));
        assert_eq!(resolve("COPY t FROM STDIN").unwrap().format, Format::Text(TextFormat::text()));
        let file = CopyOptions::resolve(&[], Some("/tmp/X.Parquet"), true).unwrap();
        assert_eq!(file.format, Format::Parquet);
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for (sql, sqlstate) in [
            ("COPY t FROM STDIN (FORMAT xml)", "22023"),
            ("COPY t FROM STDIN (DELIMITER 'ab')", "0A000"),
            ("COPY t FROM STDIN (DELIMITER 'a')", "22023"),
            ("COPY t FROM STDIN (DELIMITER E'\\n')", "22023"),
            ("COPY t FROM STDIN (QUOTE 'x')", "0A000"),
            ("COPY t FROM STDIN (FORMAT csv, FORMAT csv)", "42601"),
            ("COPY t FROM STDIN (FORMAT csv, QUOTE ',')", "22023"),
            ("COPY t FROM STDIN (FORMAT csv, NULL 'a,b')", "22023"),
            ("COPY t FROM STDIN (FORMAT csv, FORCE_QUOTE *)", "0A000"),
            ("COPY t TO STDOUT (FORMAT csv, HEADER match)", "0A000"),
            ("COPY t FROM STDIN (NOTHING 1)", "42601"),
            ("COPY t FROM STDIN (ENCODING latin1)", "0A000"),
            ("COPY t TO STDOUT (FORMAT parquet, HEADER)", "42601"),
        ] {
            assert_eq!(resolve(sql).unwrap_err().sqlstate, sqlstate, "{sql}");
        }
    }
}
