//! A client that writes until the server is gone.

use std::fmt::Write as _;
use std::io::Cursor;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures::SinkExt;
use tokio_postgres::{Client, Config, Error};

use super::doing::{Board, Doing};
use super::model::ClientModel;
use super::operation::{BULK_IDS, Operation};
use super::{CrashResult, connect};
use crate::random::Random;

/// A connected client.
pub(super) struct Writer {
    client: Client,
    model: ClientModel,
    random: Random,
    bulk_rows: u64,
    board: Arc<Board>,
    commits: u64,
    refused: u64,
}

/// A client whose server is gone.
pub(super) struct Ended {
    pub(super) model: ClientModel,
    pub(super) commits: u64,
    pub(super) refused: u64,
    /// What no crash explains.
    pub(super) failure: Option<String>,
}

/// How a transaction ended.
enum Outcome {
    Committed,
    /// The server refused it, and said so.
    RolledBack(Error),
    /// The connection was lost before COMMIT was sent.
    Lost(Error),
    /// The connection was lost after.
    InDoubt(Error),
}

impl Writer {
    pub(super) async fn connect(
        config: &Config,
        model: ClientModel,
        random: Random,
        bulk_rows: u64,
        board: Arc<Board>,
    ) -> CrashResult<Self> {
        let client = connect(config).await?;
        Ok(Self { client, model, random, bulk_rows, board, commits: 0, refused: 0 })
    }

    /// Runs transactions until the connection is lost; that is expected once `stopping` is set.
    pub(super) async fn run(mut self, stopping: Arc<AtomicBool>) -> Ended {
        let failure = loop {
            let result = match self.random.within(0..40) {
                0 => self.maintain().await,
                1 => self.look().await,
                _ => self.transact().await,
            };
            match result {
                Ok(()) => {}
                Err(Stop::Lost(_)) if stopping.load(Ordering::SeqCst) => break None,
                Err(Stop::Lost(error)) => break Some(format!("the connection was lost early: {error}")),
                Err(Stop::Failed(failure)) => break Some(format!("client {}: {failure}", self.model.client)),
            }
        };
        let Self { model, commits, refused, .. } = self;
        Ended { model, commits, refused, failure }
    }

    async fn transact(&mut self) -> Result<(), Stop> {
        let operation = Operation::choose(&mut self.model, &mut self.random, self.bulk_rows);
        self.board.set(operation.doing());
        match self.attempt(operation).await {
            Outcome::Committed => {
                self.model.apply(operation);
                self.commits += 1;
                Ok(())
            }
            Outcome::InDoubt(error) => {
                self.model.in_doubt = Some(operation);
                Err(Stop::of(error, operation))
            }
            Outcome::Lost(error) => Err(Stop::of(error, operation)),
            Outcome::RolledBack(error) => {
                let state = error.code().map(|code| code.code().to_owned()).unwrap_or_default();
                if state != "40001" && state != "40P01" {
                    return Err(Stop::of(error, operation));
                }
                self.refused += 1;
                Ok(())
            }
        }
    }

    async fn attempt(&mut self, operation: Operation) -> Outcome {
        let statements = operation.statements(&self.model);
        // Even clients send one Query message a statement, odd ones the extended protocol.
        let extended = self.model.client % 2 == 1;
        if let Err(error) = self.before_commit(operation, &statements, extended).await {
            return match error.as_db_error() {
                None => Outcome::Lost(error),
                Some(_) => match self.client.batch_execute("ROLLBACK").await {
                    Ok(()) => Outcome::RolledBack(error),
                    Err(lost) => Outcome::Lost(lost),
                },
            };
        }
        match self.client.batch_execute("COMMIT").await {
            Ok(()) => Outcome::Committed,
            Err(error) if error.as_db_error().is_some() => Outcome::RolledBack(error),
            Err(error) => Outcome::InDoubt(error),
        }
    }

    async fn before_commit(
        &self,
        operation: Operation,
        statements: &[String],
        extended: bool,
    ) -> Result<(), Error> {
        self.client.batch_execute("BEGIN").await?;
        for statement in statements {
            if extended {
                self.client.execute(statement, &[]).await?;
            } else {
                self.client.batch_execute(statement).await?;
            }
        }
        if let Operation::Copy { tag, rows } = operation {
            self.copy(tag, rows).await?;
        }
        Ok(())
    }

    async fn copy(&self, tag: u64, rows: u64) -> Result<(), Error> {
        let sink = self.client.copy_in("COPY bulk FROM STDIN").await?;
        let mut sink = pin!(sink);
        let mut chunk = String::new();
        for row in 1..=rows {
            // Writing to a string does not fail.
            let _ = writeln!(chunk, "{}\t{tag}\tcopied", tag * BULK_IDS + row);
            if chunk.len() > 32_768 {
                sink.send(Cursor::new(std::mem::take(&mut chunk).into_bytes())).await?;
            }
        }
        sink.send(Cursor::new(chunk.into_bytes())).await?;
        sink.as_mut().finish().await?;
        Ok(())
    }

    /// Maintenance of the whole database, while others write.
    async fn maintain(&self) -> Result<(), Stop> {
        self.board.set(Doing::Maintenance);
        self.client.batch_execute("VACUUM").await.map_err(|error| Stop::of(error, "VACUUM"))
    }

    /// What every statement must see, whatever others do: the counter and its steps at one instant, its own commits among them.
    async fn look(&self) -> Result<(), Stop> {
        self.board.set(Doing::Query);
        let sql = "SELECT (SELECT value FROM counter WHERE id = 1), (SELECT count(*) FROM steps)";
        let row = self.client.query_one(sql, &[]).await.map_err(|error| Stop::of(error, sql))?;
        let (value, steps): (i64, i64) = (row.get(0), row.get(1));
        let own = i64::try_from(self.model.steps).unwrap_or(i64::MAX);
        if value != steps || value < own {
            return Err(Stop::Failed(format!(
                "one statement saw a counter of {value} beside {steps} steps, {own} of them acknowledged to it"
            )));
        }
        Ok(())
    }
}

/// Why a client stopped.
enum Stop {
    /// The connection is gone.
    Lost(String),
    /// The server said or showed what it should not.
    Failed(String),
}

impl Stop {
    fn of(error: Error, what: impl std::fmt::Debug) -> Self {
        match error.as_db_error() {
            None => Self::Lost(format!("{what:?}: {error}")),
            Some(answer) => Self::Failed(format!("{what:?}: {} {}", answer.code().code(), answer.message())),
        }
    }
}
