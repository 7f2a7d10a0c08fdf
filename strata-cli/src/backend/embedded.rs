//! A session of the engine in this process: no server, no sockets.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use strata_core::{Database, Options};
use strata_datafusion::error::SqlError;
use strata_datafusion::postgres::types::{PgType, oid};
use strata_datafusion::postgres::wire::TextColumn;
use strata_datafusion::postgres::zone::Zone;
use strata_datafusion::session::{
    CopyOut, Engine, EngineOptions, Outcome, ResultField, RowStream, RowsTag, Session, SessionOptions,
    Statement,
};

use super::{Answer, Backend, Canceller, Column, CopySource, Failure, Reply};

/// A database opened in this process, and a session of it.
pub struct Embedded {
    session: Session,
    path: String,
    database: String,
}

impl Embedded {
    /// Opens the database in a folder, which is made if it is not there.
    pub fn open(path: &Path, memory_bytes: usize) -> Result<Self, Failure> {
        let options = Options { memory_bytes, ..Options::default() };
        let database = Database::open(path, options).map_err(|error| failure(error.into()))?;
        let engine = Engine::new(database, EngineOptions::default()).map_err(failure)?;
        let options = SessionOptions { application_name: "strata".to_owned(), ..SessionOptions::default() };
        let name = options.database.clone();
        Ok(Self { session: Session::new(engine, options), path: path.display().to_string(), database: name })
    }

    async fn run_all(&mut self, sql: &str, answers: &mut Vec<Answer>) -> Result<(), SqlError> {
        let statements = self.session.parse(sql)?;
        if statements.is_empty() {
            answers.push(Answer::Empty);
        }
        for (index, statement) in statements.iter().enumerate() {
            let answer = self.run_one(statement).await?;
            // The last statement is done when its transaction is durable.
            if index + 1 == statements.len() {
                self.session.finish_implicit().await?;
            }
            answers.push(answer);
        }
        Ok(())
    }

    async fn run_one(&mut self, statement: &Statement) -> Result<Answer, SqlError> {
        Ok(match self.session.execute_statement(statement).await? {
            Outcome::Empty => Answer::Empty,
            Outcome::Command(tag) => Answer::Done(tag),
            Outcome::Rows(stream) => rows(stream).await?,
            Outcome::Point(few) => rows(few.into_stream()?).await?,
            Outcome::CopyIn { .. } => {
                return Err(self.session.abort_copy("it must be a statement by itself"));
            }
            Outcome::CopyOut(_) => {
                return Err(SqlError::unsupported("COPY TO STDOUT must be a statement by itself"));
            }
        })
    }

    /// Runs one statement whose outcome is a COPY.
    async fn begin_copy(&mut self, sql: &str) -> Result<Outcome, SqlError> {
        match self.session.parse(sql)?.as_slice() {
            [statement] => self.session.execute_statement(statement).await,
            _ => Err(SqlError::syntax("COPY must be a statement by itself")),
        }
    }

    async fn take_in(&mut self, sql: &str, source: CopySource<'_>) -> Result<String, SqlError> {
        match self.begin_copy(sql).await? {
            Outcome::CopyIn { .. } => {}
            _ => return Err(SqlError::internal("COPY FROM STDIN did not ask for data")),
        }
        loop {
            match source() {
                Ok(Some(chunk)) => self.session.copy_in(Bytes::from(chunk)).await?,
                Ok(None) => break,
                Err(error) => return Err(self.session.abort_copy(&error.to_string())),
            }
        }
        let tag = self.session.finish_copy().await?;
        self.session.finish_implicit().await?;
        Ok(tag)
    }

    async fn put_out(&mut self, sql: &str, sink: &mut dyn io::Write) -> Result<String, SqlError> {
        let CopyOut { mut data, rows, .. } = match self.begin_copy(sql).await? {
            Outcome::CopyOut(copy) => copy,
            _ => return Err(SqlError::internal("COPY TO STDOUT brought no data")),
        };
        while let Some(chunk) = data.next().await {
            sink.write_all(&chunk?).map_err(|error| SqlError::new("58030", error.to_string()))?;
        }
        self.session.finish_implicit().await?;
        Ok(format!("COPY {}", rows.load(Ordering::Acquire)))
    }

    /// After a command: what is left of its transaction, and its error.
    async fn settle<T>(&mut self, result: Result<T, SqlError>) -> Result<T, Failure> {
        match result {
            Ok(value) => Ok(value),
            Err(error) => {
                self.session.fail().await;
                Err(failure(error))
            }
        }
    }
}

#[async_trait(?Send)]
impl Backend for Embedded {
    async fn run(&mut self, sql: &str) -> Reply {
        self.session.cancel_handle().reset();
        let mut answers = Vec::new();
        let result = self.run_all(sql, &mut answers).await;
        let failure = self.settle(result).await.err();
        Reply { answers, failure }
    }

    async fn copy_in(&mut self, sql: &str, source: CopySource<'_>) -> Result<String, Failure> {
        self.session.cancel_handle().reset();
        let result = self.take_in(sql, source).await;
        self.settle(result).await
    }

    async fn copy_out(&mut self, sql: &str, sink: &mut dyn io::Write) -> Result<String, Failure> {
        self.session.cancel_handle().reset();
        let result = self.put_out(sql, sink).await;
        self.settle(result).await
    }

    fn canceller(&self) -> Canceller {
        let handle = self.session.cancel_handle();
        Arc::new(move || {
            handle.cancel();
            Box::pin(std::future::ready(()))
        })
    }

    fn take_notices(&mut self) -> Vec<Failure> {
        let notice = |notice: SqlError| {
            // As the server tells them: class 01 is warnings, class 25 the state of transactions.
            let warning = ["01", "25"].iter().any(|class| notice.sqlstate.starts_with(class));
            let severity = if warning { "WARNING" } else { "NOTICE" };
            Failure { severity, ..failure(notice) }
        };
        self.session.take_notices().into_iter().map(notice).collect()
    }

    fn database(&self) -> &str {
        &self.database
    }

    fn describe(&self) -> String {
        format!("The database \"{}\" in {}, opened in this process.", self.database, self.path)
    }

    fn is_open(&self) -> bool {
        true
    }
}

async fn rows(mut stream: RowStream) -> Result<Answer, SqlError> {
    let zone = Zone::parse(&stream.time_zone).unwrap_or(Zone::Utc);
    let column = |field: &ResultField| Column {
        name: field.name.clone(),
        is_numeric: matches!(
            field.type_oid,
            oid::INT2 | oid::INT4 | oid::INT8 | oid::FLOAT4 | oid::FLOAT8 | oid::NUMERIC
        ),
    };
    let columns = stream.fields.iter().map(column).collect();
    let mut rows: Vec<Vec<Option<String>>> = Vec::new();
    while let Some(batch) = stream.batches.next().await {
        let batch = batch?;
        let texts = batch
            .columns()
            .iter()
            .zip(stream.fields.iter())
            .map(|(array, field)| {
                TextColumn::new(array, PgType { oid: field.type_oid, modifier: field.type_modifier }, zone)
            })
            .collect::<Result<Vec<_>, SqlError>>()?;
        let mut buffer = Vec::new();
        for row in 0..batch.num_rows() {
            let values = texts.iter().map(|column| {
                if column.is_null(row) {
                    return None;
                }
                buffer.clear();
                column.write_text(row, &mut buffer);
                Some(String::from_utf8_lossy(&buffer).into_owned())
            });
            rows.push(values.collect());
        }
    }
    let tag = match stream.tag {
        RowsTag::Select => format!("SELECT {}", rows.len()),
        RowsTag::Fixed(tag) => tag,
    };
    Ok(Answer::Rows { columns, rows, tag })
}

fn failure(error: SqlError) -> Failure {
    Failure {
        detail: error.detail,
        hint: error.hint,
        context: error.context,
        position: error.position,
        ..Failure::new(error.message)
    }
}
