//! A session on a server, over the Postgres protocol.

use std::io;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use futures::{SinkExt, StreamExt};
use tokio_postgres::error::{DbError, ErrorPosition};
use tokio_postgres::{AsyncMessage, Client, NoTls, SimpleQueryMessage};

use super::words::{statements, tag};
use super::{Answer, Backend, Canceller, Column, CopySource, Failure, Reply};

/// Where a server is, and as whom to connect.
#[derive(Clone, Debug)]
pub struct Target {
    /// Name or address.
    pub host: String,
    /// Port.
    pub port: u16,
    /// Who connects.
    pub user: String,
    /// To which database.
    pub database: String,
}

/// A connection.
pub struct Server {
    client: Client,
    target: Target,
    notices: Arc<Mutex<Vec<Failure>>>,
}

impl Server {
    /// Connects; the connection is served by a task of the runtime that this is called on.
    pub async fn connect(target: Target) -> Result<Self, Failure> {
        let mut config = tokio_postgres::Config::new();
        config.host(&target.host).port(target.port).user(&target.user).dbname(&target.database);
        config.application_name("strata");
        let (client, mut connection) = config.connect(NoTls).await.map_err(|error| {
            let mut failure = failure(&error);
            if error.as_db_error().is_none() {
                failure.message =
                    format!("connection to {}:{} failed: {}", target.host, target.port, failure.message);
                failure.hint = Some(
                    "Is a server running there? `strata-server` starts one; `strata open DIR` needs none."
                        .to_owned(),
                );
            }
            failure
        })?;
        let notices = Arc::new(Mutex::new(Vec::new()));
        let received = Arc::clone(&notices);
        tokio::spawn(async move {
            let mut messages = futures::stream::poll_fn(move |context| connection.poll_message(context));
            while let Some(Ok(message)) = messages.next().await {
                if let AsyncMessage::Notice(notice) = message
                    && let Ok(mut received) = received.lock()
                {
                    received.push(database_failure(&notice));
                }
            }
        });
        Ok(Self { client, target, notices })
    }
}

#[async_trait(?Send)]
impl Backend for Server {
    async fn run(&mut self, sql: &str) -> Reply {
        let texts = statements(sql);
        let mut texts = texts.iter();
        let mut reply = Reply::default();
        let stream = match self.client.simple_query_raw(sql).await {
            Ok(stream) => stream,
            Err(error) => {
                reply.failure = Some(failure(&error));
                return reply;
            }
        };
        let mut stream = std::pin::pin!(stream);
        let mut open: Option<(Vec<Column>, Vec<Vec<Option<String>>>)> = None;
        while let Some(message) = stream.next().await {
            match message {
                Ok(SimpleQueryMessage::RowDescription(columns)) => {
                    let column = |name: &str| Column { name: name.to_owned(), is_numeric: false };
                    open = Some((columns.iter().map(|c| column(c.name())).collect(), Vec::new()));
                }
                Ok(SimpleQueryMessage::Row(row)) => {
                    let values =
                        (0..row.len()).map(|index| row.try_get(index).ok().flatten().map(str::to_owned));
                    if let Some((_, rows)) = &mut open {
                        rows.push(values.collect());
                    }
                }
                Ok(SimpleQueryMessage::CommandComplete(rows)) => {
                    let tag = texts.next().map(|text| tag(text, rows)).unwrap_or_default();
                    reply.answers.push(match open.take() {
                        Some((mut columns, rows)) => {
                            find_numbers(&mut columns, &rows);
                            Answer::Rows { columns, rows, tag }
                        }
                        None if tag.is_empty() => Answer::Empty,
                        None => Answer::Done(tag),
                    });
                }
                Ok(_) => {}
                Err(error) => {
                    reply.failure = Some(failure(&error));
                    return reply;
                }
            }
        }
        reply
    }

    async fn copy_in(&mut self, sql: &str, source: CopySource<'_>) -> Result<String, Failure> {
        let sink = self.client.copy_in::<_, Bytes>(sql).await.map_err(|error| failure(&error))?;
        let mut sink = std::pin::pin!(sink);
        loop {
            match source() {
                Ok(Some(chunk)) => {
                    sink.send(Bytes::from(chunk)).await.map_err(|error| failure(&error))?;
                }
                Ok(None) => break,
                // Dropping the sink tells the server that the data is not complete.
                Err(error) => return Err(Failure::new(error.to_string())),
            }
        }
        let rows = sink.finish().await.map_err(|error| failure(&error))?;
        Ok(format!("COPY {rows}"))
    }

    async fn copy_out(&mut self, sql: &str, sink: &mut dyn io::Write) -> Result<String, Failure> {
        let stream = self.client.copy_out(sql).await.map_err(|error| failure(&error))?;
        let mut stream = std::pin::pin!(stream);
        while let Some(chunk) = stream.next().await {
            let chunk = chunk.map_err(|error| failure(&error))?;
            sink.write_all(&chunk).map_err(|error| Failure::new(error.to_string()))?;
        }
        Ok("COPY".to_owned())
    }

    fn canceller(&self) -> Canceller {
        let token = self.client.cancel_token();
        Arc::new(move || {
            let token = token.clone();
            Box::pin(async move {
                if let Err(error) = token.cancel_query(NoTls).await {
                    eprintln!("could not send a cancel request: {error}");
                }
            })
        })
    }

    fn take_notices(&mut self) -> Vec<Failure> {
        self.notices.lock().map(|mut notices| std::mem::take(&mut *notices)).unwrap_or_default()
    }

    fn database(&self) -> &str {
        &self.target.database
    }

    fn describe(&self) -> String {
        let Target { host, port, user, database } = &self.target;
        format!("Connected to database \"{database}\" as \"{user}\" on {host}:{port}.")
    }

    fn is_open(&self) -> bool {
        !self.client.is_closed()
    }
}

/// The simple protocol as the client library shows it keeps the types to itself: a column is numeric if all its values look so.
fn find_numbers(columns: &mut [Column], rows: &[Vec<Option<String>>]) {
    for (index, column) in columns.iter_mut().enumerate() {
        let mut values = rows.iter().filter_map(|row| row.get(index)?.as_deref()).peekable();
        column.is_numeric = values.peek().is_some() && values.all(is_number);
    }
}

fn is_number(text: &str) -> bool {
    let digits = text.trim_start_matches(['-', '+']);
    let named = matches!(digits, "NaN" | "Infinity");
    named
        || digits.starts_with(|first: char| first.is_ascii_digit() || first == '.')
            && digits.parse::<f64>().is_ok()
}

fn failure(error: &tokio_postgres::Error) -> Failure {
    if let Some(error) = error.as_db_error() {
        return database_failure(error);
    }
    let mut message = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(inner) = source {
        let inner_message = inner.to_string();
        if !message.contains(&inner_message) {
            message = format!("{message}: {inner_message}");
        }
        source = inner.source();
    }
    Failure::new(message)
}

fn severity(error: &DbError) -> &'static str {
    match error.severity() {
        "FATAL" => "FATAL",
        "PANIC" => "PANIC",
        "WARNING" => "WARNING",
        "NOTICE" => "NOTICE",
        "INFO" => "INFO",
        "LOG" | "DEBUG" => "LOG",
        _ => "ERROR",
    }
}

fn database_failure(error: &DbError) -> Failure {
    Failure {
        severity: severity(error),
        message: error.message().to_owned(),
        detail: error.detail().map(str::to_owned),
        hint: error.hint().map(str::to_owned),
        context: error.where_().map(str::to_owned),
        position: match error.position() {
            Some(ErrorPosition::Original(position)) => Some(*position),
            _ => None,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_told_from_what_only_begins_like_them() {
        for number in ["0", "-12.50", "1e+20", "NaN", "-Infinity", ".5"] {
            assert!(is_number(number), "{number}");
        }
        for text in ["", "-", "2024-01-01", "1 day", "infinity", "0x10", "abc", "+"] {
            assert!(!is_number(text), "{text}");
        }
    }

    #[test]
    fn a_column_of_nulls_only_is_not_numeric() {
        let column = |name: &str| Column { name: name.to_owned(), is_numeric: false };
        let mut columns = vec![column("a"), column("b"), column("c")];
        let row = |values: [Option<&str>; 3]| values.map(|value| value.map(str::to_owned)).to_vec();
        let rows = [row([Some("1"), None, Some("1")]), row([None, None, Some("x")])];
        find_numbers(&mut columns, &rows);
        assert_eq!(columns.iter().map(|c| c.is_numeric).collect::<Vec<_>>(), [true, false, false]);
    }
}
