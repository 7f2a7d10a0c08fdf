//! Spec tests: sqllogictest files (`spec/<area>/*.slt`) over the wire.
//!
//! **Passes.** Each file runs on an empty database of its own, three times: through the simple protocol; through the extended
//! one, where results travel in binary and are printed by this crate's own code; and with restarts, where the server is stopped
//! or killed in turn, and started again, whenever a query follows a statement and no transaction is open. So every query is
//! asked of what has been through the disk.
//!
//! **Expectations** come from PostgreSQL 15 in the C locale: [`Against::Postgres`] runs the same files there, and can write what
//! it answers into them. Where Strata departs on purpose, records carry `onlyif strata` or `skipif strata` and a comment why.
//!
//! **Format.** Cells are joined by `|`, compared exactly; NULL is `NULL`, an empty text `(empty)`, a newline `\n`. Errors are
//! expected by SQLSTATE: `statement error (23505)`. The letters of `query` are families of types: `B`oolean, `I`nteger, `R`eal
//! (float), `N`umeric, `T`ext, `D`ate and time, `X` bytea, `U`uid, `J`son, `A`rray, `?` any; only the extended protocol tells
//! them. Labels for `onlyif` and `skipif`: `strata`, `postgres`, `simple`, `extended`, `restarts`.

mod binary;
mod calendar;
mod client;
mod file;
mod postgres;
mod restart;
mod write;

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use crate::process::ServerCommand;

pub use client::{Family, Protocol, SpecClient, SpecError};

/// One run of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pass {
    /// From beginning to end.
    Through(Protocol),
    /// With restarts of the server, through the simple protocol.
    Restarts,
}

impl Pass {
    /// All there are.
    pub const ALL: [Self; 3] =
        [Self::Through(Protocol::Simple), Self::Through(Protocol::Extended), Self::Restarts];

    fn protocol(self) -> Protocol {
        match self {
            Self::Through(protocol) => protocol,
            Self::Restarts => Protocol::Simple,
        }
    }

    /// As files name it in `onlyif` and `skipif`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Through(protocol) => protocol.name(),
            Self::Restarts => "restarts",
        }
    }
}

/// What the files run against.
#[derive(Clone, Debug)]
pub enum Against {
    /// Servers that this process starts.
    Strata(ServerCommand),
    /// A PostgreSQL server, in databases made for the run and dropped after it.
    Postgres(Box<tokio_postgres::Config>),
}

impl Against {
    /// Whether the pass makes sense there.
    pub fn has(&self, pass: Pass) -> bool {
        matches!(self, Self::Strata(_)) || pass != Pass::Restarts
    }
}

/// A pass of a file, done.
#[derive(Debug)]
pub struct PassReport {
    /// Records that ran.
    pub records: usize,
    /// How often the server was restarted.
    pub restarts: usize,
    /// What was not as expected, in words that name file and line.
    pub failures: Vec<String>,
}

impl fmt::Display for PassReport {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} records", self.records)?;
        if self.restarts > 0 {
            write!(formatter, ", {} restarts", self.restarts)?;
        }
        match self.failures.len() {
            0 => write!(formatter, ", ok"),
            failures => write!(formatter, ", {failures} FAILED"),
        }
    }
}

/// Runs one pass of one file.
///
/// # Errors
/// Where the file cannot be read or the database not be had; what the file finds wrong is in the report.
pub async fn run_file(path: &Path, against: &Against, pass: Pass) -> io::Result<PassReport> {
    let records = file::read(path)?;
    match against {
        Against::Strata(command) => restart::run(records, command, pass).await,
        Against::Postgres(config) => {
            let database = postgres::ScratchDatabase::create(config).await?;
            let report = file::run_through(records, database.config(), pass, "postgres").await;
            database.remove().await?;
            Ok(report)
        }
    }
}

/// Writes what a PostgreSQL server answers into a file as its expectations.
///
/// # Errors
/// Where the file cannot be read or written, or the database not be had.
pub async fn write_expectations(path: &Path, config: &tokio_postgres::Config) -> io::Result<()> {
    let records = file::read(path)?;
    let database = postgres::ScratchDatabase::create(config).await?;
    let text = write::updated(records, database.config()).await;
    database.remove().await?;
    std::fs::write(path, text)
}

/// The files under a path, in order.
///
/// # Errors
/// Where a folder cannot be read.
pub fn files(path: &Path) -> io::Result<Vec<PathBuf>> {
    if path.is_file() {
        return Ok(vec![path.to_owned()]);
    }
    let mut found = Vec::new();
    for entry in std::fs::read_dir(path)? {
        let path = entry?.path();
        if path.is_dir() {
            found.extend(files(&path)?);
        } else if path.extension().is_some_and(|extension| extension == "slt") {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}
