//! What a shell talks to: a server, or the engine in this process.

mod embedded;
mod server;
mod words;

use std::io;
use std::pin::Pin;
use std::sync::Arc;

use async_trait::async_trait;

pub use embedded::Embedded;
pub use server::{Server, Target};
pub use words::{CopyKind, copy_kind, statements};

/// A result column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// Whether its values are numbers, which stand on the right.
    pub is_numeric: bool,
}

/// What a statement came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Nothing was asked.
    Empty,
    /// It is done: the command tag.
    Done(String),
    /// Rows, in text.
    Rows {
        /// The columns.
        columns: Vec<Column>,
        /// The rows; `None` is NULL.
        rows: Vec<Vec<Option<String>>>,
        /// The command tag.
        tag: String,
    },
}

/// An error or notice, as Postgres words them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// `ERROR`, `FATAL`, `WARNING`, `NOTICE`, …
    pub severity: &'static str,
    /// What is wrong.
    pub message: String,
    /// More about it.
    pub detail: Option<String>,
    /// What to do.
    pub hint: Option<String>,
    /// Where it happened, if not in the statement: the line of a COPY.
    pub context: Option<String>,
    /// Where in the statement, in characters from 1.
    pub position: Option<u32>,
}

impl Failure {
    /// An error.
    pub fn new(message: impl Into<String>) -> Self {
        Self {
            severity: "ERROR",
            message: message.into(),
            detail: None,
            hint: None,
            context: None,
            position: None,
        }
    }
}

/// What a string of statements came to: the answers of those that ran, and what stopped them.
#[derive(Clone, Debug, Default)]
pub struct Reply {
    /// One for each statement that succeeded.
    pub answers: Vec<Answer>,
    /// Why no more follow.
    pub failure: Option<Failure>,
}

/// Where the data of a COPY … FROM STDIN comes from: chunks, then `None`.
pub type CopySource<'a> = &'a mut dyn FnMut() -> io::Result<Option<Vec<u8>>>;

/// Asks the running statement to stop; may be called from any thread.
pub type Canceller = Arc<dyn Fn() -> Pin<Box<dyn Future<Output = ()> + Send>> + Send + Sync>;

/// One session of a database.
#[async_trait(?Send)]
pub trait Backend {
    /// Runs a string of statements as one implicit transaction, the way the simple protocol does.
    async fn run(&mut self, sql: &str) -> Reply;

    /// Runs a COPY … FROM STDIN; gives the command tag.
    async fn copy_in(&mut self, sql: &str, source: CopySource<'_>) -> Result<String, Failure>;

    /// Runs a COPY … TO STDOUT; gives the command tag.
    async fn copy_out(&mut self, sql: &str, sink: &mut dyn io::Write) -> Result<String, Failure>;

    /// What cancels the statement that runs.
    fn canceller(&self) -> Canceller;

    /// Notices and warnings since the last call.
    fn take_notices(&mut self) -> Vec<Failure>;

    /// The database's name, for the prompt.
    fn database(&self) -> &str;

    /// What `\conninfo` prints.
    fn describe(&self) -> String;

    /// Whether statements can still be run.
    fn is_open(&self) -> bool;
}
