//! A connection of the spec tests, through one protocol or the other.

use std::fmt;

use async_trait::async_trait;
use sqllogictest::{AsyncDB, ColumnType, DBOutput};
use tokio_postgres::types::{FromSql, Kind, Type};
use tokio_postgres::{Client, Config, NoTls, SimpleQueryMessage};

use super::binary::text_of;

/// How statements are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// One Query message; results in text.
    Simple,
    /// Parse, Describe, Bind, Execute; results in binary.
    Extended,
}

impl Protocol {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Simple, Self::Extended];

    /// As files name it in `onlyif` and `skipif`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Simple => "simple",
            Self::Extended => "extended",
        }
    }
}

/// The family of a result column's type, one letter in a file.
#[derive(Clone, Copy, Debug)]
pub struct Family(char);

impl Family {
    /// Not told: the simple protocol's results, and expectations that leave it open.
    const ANY: Self = Self('?');

    fn of(ty: &Type) -> Self {
        Self(match *ty {
            Type::BOOL => 'B',
            Type::INT2 | Type::INT4 | Type::INT8 => 'I',
            Type::FLOAT4 | Type::FLOAT8 => 'R',
            Type::NUMERIC => 'N',
            Type::TEXT | Type::VARCHAR | Type::BPCHAR | Type::NAME | Type::CHAR => 'T',
            Type::DATE | Type::TIME | Type::TIMESTAMP | Type::TIMESTAMPTZ | Type::INTERVAL => 'D',
            Type::BYTEA => 'X',
            Type::UUID => 'U',
            Type::JSON | Type::JSONB => 'J',
            _ if matches!(ty.kind(), Kind::Array(_)) => 'A',
            _ => '?',
        })
    }
}

impl PartialEq for Family {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0 || self.0 == '?' || other.0 == '?'
    }
}

impl Eq for Family {}

impl ColumnType for Family {
    fn from_char(value: char) -> Option<Self> {
        "BIRNTDXUJA?".contains(value).then_some(Self(value))
    }

    fn to_char(&self) -> char {
        self.0
    }
}

/// An error of the server, or of the connection.
#[derive(Clone, Debug)]
pub struct SpecError {
    /// Its SQLSTATE; `None` where the connection itself failed.
    pub state: Option<String>,
    message: String,
}

impl fmt::Display for SpecError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.state.as_deref().unwrap_or("connection");
        write!(formatter, "{state}: {}", self.message)
    }
}

impl std::error::Error for SpecError {}

impl From<tokio_postgres::Error> for SpecError {
    fn from(error: tokio_postgres::Error) -> Self {
        match error.as_db_error() {
            Some(answer) => {
                Self { state: Some(answer.code().code().to_owned()), message: answer.message().to_owned() }
            }
            None => Self { state: None, message: chain(&error) },
        }
    }
}

/// An error with its sources.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text
}

/// A connection.
pub struct SpecClient {
    client: Client,
    connection: tokio::task::JoinHandle<()>,
    protocol: Protocol,
}

impl SpecClient {
    /// Connects, with a session in UTC.
    ///
    /// # Errors
    /// Where that fails.
    pub async fn connect(config: &Config, protocol: Protocol) -> Result<Self, SpecError> {
        let (client, connection) = config.connect(NoTls).await?;
        let connection = tokio::spawn(async move {
            // What goes wrong here shows at the client's next statement.
            let _ = connection.await;
        });
        client.simple_query("SET TIME ZONE 'UTC'").await?;
        Ok(Self { client, connection, protocol })
    }

    async fn simple(&self, sql: &str) -> Result<DBOutput<Family>, SpecError> {
        let mut columns = None;
        let (mut rows, mut count) = (Vec::new(), 0);
        for message in self.client.simple_query(sql).await? {
            match message {
                SimpleQueryMessage::RowDescription(described) => columns = Some(described.len()),
                SimpleQueryMessage::Row(row) => {
                    rows.push((0..row.len()).map(|index| cell(row.get(index).map(str::to_owned))).collect());
                }
                SimpleQueryMessage::CommandComplete(affected) => count = affected,
                _ => {}
            }
        }
        Ok(match columns {
            Some(columns) => DBOutput::Rows { types: vec![Family::ANY; columns], rows },
            None => DBOutput::StatementComplete(count),
        })
    }

    async fn extended(&self, sql: &str) -> Result<DBOutput<Family>, SpecError> {
        let statement = self.client.prepare(sql).await?;
        if statement.columns().is_empty() {
            return Ok(DBOutput::StatementComplete(self.client.execute(&statement, &[]).await?));
        }
        let types = statement.columns().iter().map(|column| Family::of(column.type_())).collect();
        let mut rows = Vec::new();
        for row in self.client.query(&statement, &[]).await? {
            let mut cells = Vec::with_capacity(row.len());
            for index in 0..row.len() {
                cells.push(cell(row.try_get::<_, Option<Text>>(index)?.map(|text| text.0)));
            }
            rows.push(cells);
        }
        Ok(DBOutput::Rows { types, rows })
    }
}

#[async_trait]
impl AsyncDB for SpecClient {
    type Error = SpecError;
    type ColumnType = Family;

    async fn run(&mut self, sql: &str) -> Result<DBOutput<Family>, SpecError> {
        match self.protocol {
            Protocol::Simple => self.simple(sql).await,
            Protocol::Extended => self.extended(sql).await,
        }
    }

    async fn shutdown(&mut self) {
        self.connection.abort();
    }

    async fn sleep(duration: std::time::Duration) {
        tokio::time::sleep(duration).await;
    }

    fn error_sql_state(error: &SpecError) -> Option<String> {
        error.state.clone()
    }
}

impl Drop for SpecClient {
    fn drop(&mut self) {
        self.connection.abort();
    }
}

/// A value as files write it: they have no other way to show what is empty or begins a new line.
fn cell(value: Option<String>) -> String {
    match value {
        None => "NULL".to_owned(),
        Some(text) if text.is_empty() => "(empty)".to_owned(),
        Some(text) => text.replace('\n', "\\n"),
    }
}

/// A binary value in text.
struct Text(String);

impl<'a> FromSql<'a> for Text {
    fn from_sql(ty: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn std::error::Error + Sync + Send>> {
        Ok(Self(text_of(ty, raw)?))
    }

    fn accepts(_: &Type) -> bool {
        true
    }
}
