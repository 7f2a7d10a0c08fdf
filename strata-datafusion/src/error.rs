//! Errors as SQL clients see them. This is the one place where SQLSTATEs are given to the engine's errors.

use std::fmt;

use datafusion::arrow::error::ArrowError;
use datafusion::common::{Column, SchemaError};
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
    /// Where it happened, if not in the query text: the line of a COPY.
    pub context: Option<String>,
    /// What to do.
    pub hint: Option<String>,
    /// Where in the query text, in characters from 1.
    pub position: Option<u32>,
}

impl SqlError {
    /// An error of this state and message.
    pub fn new(sqlstate: &'static str, message: impl Into<String>) -> Self {
        Self { sqlstate, message: message.into(), detail: None, context: None, hint: None, position: None }
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

    /// With a context line, unless it has one.
    pub fn with_context(mut self, context: impl Into<String>) -> Self {
        self.context.get_or_insert_with(|| context.into());
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
        Self::from_core(&error)
    }
}

impl SqlError {
    fn from_core(error: &strata_core::Error) -> Self {
        use strata_core::Error as E;
        let sqlstate = match error {
            E::Io { .. } => "58030",
            E::Corrupt { .. } | E::CorruptBlock { .. } | E::JournalTruncated { .. } => "XX001",
            E::UnsupportedFormat { .. } => "0A000",
            E::InUse { .. } => "55006",
            E::DiskFull { .. } => "53100",
            E::OutOfMemory { .. } => "53200",
            E::Poisoned { .. } => "58030",
            E::DuplicateKey { .. } => "23505",
            E::SerializationFailure | E::ReadConflict => "40001",
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
        from_datafusion(&error)
    }
}

/// Our own error, however deep DataFusion and Arrow have wrapped it.
fn find_own(error: &(dyn std::error::Error + 'static)) -> Option<SqlError> {
    if let Some(error) = error.downcast_ref::<SqlError>() {
        return Some(error.clone());
    }
    if let Some(error) = error.downcast_ref::<strata_core::Error>() {
        return Some(SqlError::from_core(error));
    }
    match error.downcast_ref::<DataFusionError>() {
        Some(DataFusionError::External(inner)) => return find_own(inner.as_ref()),
        Some(DataFusionError::ArrowError(inner, _)) => return find_own(inner.as_ref()),
        Some(DataFusionError::Context(_, inner) | DataFusionError::Diagnostic(_, inner)) => {
            return find_own(inner.as_ref());
        }
        Some(DataFusionError::Shared(inner)) => return find_own(inner.as_ref()),
        Some(DataFusionError::Collection(errors)) => return find_own(errors.first()?),
        _ => {}
    }
    match error.downcast_ref::<ArrowError>() {
        Some(ArrowError::ExternalError(inner)) => find_own(inner.as_ref()),
        _ => find_own(error.source()?),
    }
}

fn from_datafusion(error: &DataFusionError) -> SqlError {
    if let Some(own) = find_own(error) {
        return own;
    }
    match error {
        DataFusionError::Context(_, inner) | DataFusionError::Diagnostic(_, inner) => from_datafusion(inner),
        DataFusionError::Shared(inner) => from_datafusion(inner),
        DataFusionError::Collection(errors) => match errors.first() {
            Some(first) => from_datafusion(first),
            None => SqlError::internal("an error without a cause"),
        },
        DataFusionError::ResourcesExhausted(message) => {
            SqlError::new("53200", "out of memory").with_detail(message.clone())
        }
        DataFusionError::NotImplemented(message) => SqlError::unsupported(message.clone()),
        DataFusionError::SQL(parser, _) => SqlError::syntax(parser.to_string()),
        DataFusionError::SchemaError(inner, _) => from_schema(inner),
        DataFusionError::Plan(message) => from_plan(message),
        DataFusionError::Execution(message) => from_execution(message),
        DataFusionError::ArrowError(inner, _) => from_arrow(inner),
        DataFusionError::External(inner) => SqlError::internal(inner.to_string()),
        other => SqlError::internal(other.to_string()),
    }
}

fn from_arrow(error: &ArrowError) -> SqlError {
    match error {
        ArrowError::DivideByZero => SqlError::new("22012", "division by zero"),
        ArrowError::ArithmeticOverflow(message) => {
            SqlError::new("22003", "value out of range: overflow").with_detail(message.clone())
        }
        ArrowError::CastError(message) | ArrowError::ParseError(message) => {
            SqlError::new("22P02", "invalid input syntax").with_detail(message.clone())
        }
        ArrowError::InvalidArgumentError(message) => from_execution(message),
        ArrowError::ComputeError(message) => from_execution(message),
        ArrowError::NotYetImplemented(message) => SqlError::unsupported(message.clone()),
        other => SqlError::internal(other.to_string()),
    }
}

fn from_execution(message: &str) -> SqlError {
    let lower = message.to_ascii_lowercase();
    if lower.contains("divide by zero") || lower.contains("division by zero") {
        SqlError::new("22012", "division by zero")
    } else if lower.contains("overflow")
        || lower.contains("out of range")
        || lower.contains("too large to store")
    {
        SqlError::new("22003", "numeric field overflow").with_detail(message)
    } else if lower.contains("more than one row") {
        SqlError::new("21000", "more than one row returned by a subquery used as an expression")
    } else if lower.contains("regular expression") || lower.contains("regex") {
        SqlError::new("2201B", message)
    } else {
        SqlError::new("22023", message)
    }
}

fn column_text(relation: Option<&str>, name: &str) -> String {
    match relation {
        Some(relation) => format!("{relation}.{name}"),
        None => format!("\"{name}\""),
    }
}

fn from_schema(error: &SchemaError) -> SqlError {
    match error {
        SchemaError::FieldNotFound { field, valid_fields } => {
            if let Some(relation) = &field.relation {
                let is_there = |column: &Column| {
                    column.relation.as_ref().is_some_and(|found| found.table() == relation.table())
                };
                if !valid_fields.iter().any(is_there) {
                    let name = relation.table();
                    return SqlError::new("42P01", format!("missing FROM-clause entry for table \"{name}\""));
                }
            }
            let relation = field.relation.as_ref().map(|relation| relation.to_string());
            SqlError::new(
                "42703",
                format!("column {} does not exist", column_text(relation.as_deref(), &field.name)),
            )
        }
        SchemaError::AmbiguousReference { field } => {
            SqlError::new("42702", format!("column reference \"{}\" is ambiguous", field.name))
        }
        SchemaError::DuplicateUnqualifiedField { name }
        | SchemaError::DuplicateQualifiedField { name, .. } => {
            SqlError::new("42701", format!("column name \"{name}\" specified more than once"))
        }
    }
}

/// DataFusion's planning errors have a text and no code: the usual ones are told by their words.
fn from_plan(message: &str) -> SqlError {
    let quoted = |from: &str| {
        message.split_once(from).and_then(|(_, rest)| rest.split(['\'', '"']).next()).unwrap_or("").to_owned()
    };
    if message.starts_with("Invalid function") {
        let name = quoted("Invalid function '");
        return SqlError::new("42883", format!("function {name} does not exist"));
    }
    if let Some(name) = message.strip_prefix("Invalid qualifier ") {
        return SqlError::new("42P01", format!("missing FROM-clause entry for table \"{name}\""));
    }
    if message.contains("No function matches the given name")
        || message.contains("does not support zero arguments")
    {
        return SqlError::new("42883", message.lines().next().unwrap_or(message))
            .with_hint("No function matches the given name and argument types. You might need to add explicit type casts.");
    }
    if message.starts_with("Column in") && message.contains("GROUP BY") {
        let column = message.split('"').nth(1).unwrap_or("").to_owned();
        return SqlError::new(
            "42803",
            format!(
                "column \"{column}\" must appear in the GROUP BY clause or be used in an aggregate function"
            ),
        )
        .with_detail(message);
    }
    let lower = message.to_ascii_lowercase();
    let is = |words: &[&str]| words.iter().any(|word| lower.contains(word));
    if is(&["aggregate function", "aggregations are not allowed", "window function"])
        && is(&["not allowed", "cannot"])
    {
        return SqlError::new("42803", message);
    }
    if is(&[
        "cannot infer common",
        "cannot coerce",
        "type coercion",
        "incompatible type",
        "cannot automatically convert",
    ]) {
        return SqlError::new("42804", message);
    }
    if is(&["union", "intersect", "except"]) && is(&["number of columns", "same number"]) {
        return SqlError::new("42601", "each UNION query must have the same number of columns");
    }
    if is(&["must be a boolean", "boolean expression", "cannot create filter with non-boolean"]) {
        return SqlError::new("42804", message);
    }
    if is(&[
        "order by position",
        "group by position",
        "is not in select list",
        "cannot find column with position",
    ]) {
        return SqlError::new("42P10", message);
    }
    if is(&["ambiguous reference"]) {
        return SqlError::new("42702", message);
    }
    SqlError::new("42601", message)
}

impl From<SqlError> for DataFusionError {
    fn from(error: SqlError) -> Self {
        Self::External(Box::new(error))
    }
}
