//! Errors as SQL clients see them. This is the one place where SQLSTATEs are given to the engine's errors.

use std::fmt;

use datafusion::error::DataFusionError;

/// The result of a SQL operation.
pub type SqlResult<T> = Result<T, SqlError>;

/// An error with its SQLSTATE.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SqlError {
    /// Five characters, as in the PostgreSQL manual's appendix A.
    pub sqlstate: &'static str,
    /// One line, in Postgres' words where it has some.
    pub message: String,
    /// More about it.
    pub detail: Option<String>,
    /// What to do.
    pub hint: Option<String>,
    /// Where in the query text, in characters from 1.
    pub position: Option<u32>,
}

impl SqlError {
    /// An error of this state and message.
    pub fn new(sqlstate: &'static str, message: impl Into<String>) -> Self {
        Self { sqlstate, message: message.into(), detail: None, hint: None, position: None }
    }

    /// `feature_not_supported`.
    pub fn unsupported(message: impl Into<String>) -> Self {
        Self::new("0A000", message)
    }

    /// `syntax_error`.
    pub fn syntax(message: impl Into<String>) -> Self {
        Self::new("42601", message)
    }

    /// `internal_error`: something that must not happen.
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new("XX000", message)
    }

    /// With a detail line.
    pub fn with_detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(detail.into());
        self
    }

    /// With a hint line.
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// At a character position of the query, from 1.
    pub fn at(mut self, position: u32) -> Self {
        self.position = Some(position);
        self
    }
}

impl fmt::Display for SqlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.message, self.sqlstate)
    }
}

impl std::error::Error for SqlError {}

impl From<strata_core::Error> for SqlError {
    fn from(error: strata_core::Error) -> Self {
        use strata_core::Error as E;
        let sqlstate = match &error {
            E::Io { .. } => "58030",
            E::Corrupt { .. } | E::CorruptBlock { .. } | E::JournalTruncated { .. } => "XX001",
            E::UnsupportedFormat { .. } => "0A000",
            E::InUse { .. } => "55006",
            E::DiskFull { .. } => "53100",
            E::OutOfMemory { .. } => "53200",
            E::Poisoned { .. } => "58030",
            E::DuplicateKey { .. } => "23505",
            E::SerializationFailure => "40001",
            E::Deadlock => "40P01",
            E::LockTimeout => "55P03",
            E::Cancelled => "57014",
            E::TooLarge { .. } => "54000",
            E::NotFound { kind, .. } => match *kind {
                "schema" => "3F000",
                "column" => "42703",
                "database" => "3D000",
                "table" | "view" | "relation" => "42P01",
                _ => "42704",
            },
            E::AlreadyExists { kind, .. } => match *kind {
                "schema" => "42P06",
                "column" => "42701",
                "table" | "view" | "relation" | "index" => "42P07",
                _ => "42710",
            },
            E::NotNull { .. } => "23502",
            E::Invalid(_) => "22023",
            E::Unsupported(_) => "0A000",
        };
        Self::new(sqlstate, error.to_string())
    }
}

impl From<DataFusionError> for SqlError {
    fn from(error: DataFusionError) -> Self {
        match error.find_root() {
            DataFusionError::External(inner) => {
                if let Some(error) = inner.downcast_ref::<SqlError>() {
                    return error.clone();
                }
                if let Some(error) = inner.downcast_ref::<strata_core::Error>() {
                    return error.clone().into();
                }
                Self::internal(inner.to_string())
            }
            DataFusionError::ResourcesExhausted(message) => Self::new("53200", message.clone()),
            DataFusionError::NotImplemented(message) => Self::unsupported(message.clone()),
            DataFusionError::SQL(parser, _) => Self::syntax(parser.to_string()),
            DataFusionError::SchemaError(inner, _) => Self::new("42703", inner.to_string()),
            DataFusionError::Plan(message) => Self::new("42601", message.clone()),
            DataFusionError::ArrowError(inner, _) => Self::new("22000", inner.to_string()),
            other => Self::internal(other.to_string()),
        }
    }
}

impl From<SqlError> for DataFusionError {
    fn from(error: SqlError) -> Self {
        Self::External(Box::new(error))
    }
}
