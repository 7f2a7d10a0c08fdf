//! Clients that get in each other's way, on one server.
//!
//! - [`freshness`]: analytics beside transfers. A statement sees every commit that was acknowledged before it began, and one instant.
//! - [`contention`]: writers of the same few rows and keys. No update is lost, none is made twice, and a condition holds of the row
//!   that is changed, not of the one that was read.
//!
//! Both run for a time, then stop the server and check the folder offline. What fails names the statement and what it saw.

pub mod contention;
pub mod freshness;

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use strata_core::{Database, Options};
use tokio::task::JoinSet;
use tokio_postgres::{Client, Config, Error, NoTls, Row};

use crate::process::{ServerCommand, ServerProcess};

/// How long, and on what.
#[derive(Clone, Debug)]
pub struct ConcurrencyOptions {
    /// How the server is started.
    pub server: ServerCommand,
    /// How many clients write.
    pub clients: u64,
    /// How long they do.
    pub time: Duration,
    /// What decides everything random but the interleaving.
    pub seed: u64,
}

/// The result of a run, or what was seen that must not be.
pub type Checked<T> = Result<T, String>;

async fn connect(config: &Config) -> Checked<Client> {
    let (client, connection) =
        config.connect(NoTls).await.map_err(|error| format!("cannot connect: {error}"))?;
    // What goes wrong here shows at the client's next statement.
    tokio::spawn(connection);
    Ok(client)
}

/// What a statement failed with, in words.
fn failed(sql: &str, error: &Error) -> String {
    match error.as_db_error() {
        Some(answer) => format!("{sql}: {} {}", answer.code().code(), answer.message()),
        None => format!("{sql}: {error}"),
    }
}

async fn run_sql(client: &Client, sql: &str) -> Checked<()> {
    client.batch_execute(sql).await.map_err(|error| failed(sql, &error))
}

async fn ask(client: &Client, sql: &str) -> Checked<Vec<Row>> {
    client.query(sql, &[]).await.map_err(|error| failed(sql, &error))
}

/// The only row's bigint columns.
async fn numbers(client: &Client, sql: &str) -> Checked<Vec<i64>> {
    let rows = ask(client, sql).await?;
    let [row] = rows.as_slice() else { return Err(format!("{sql}: {} rows", rows.len())) };
    (0..row.len()).map(|at| row.try_get(at).map_err(|error| failed(sql, &error))).collect()
}

/// Lets clients run for `time`, tells them to stop, and adds up what they asked; the first that fails ends the run.
async fn finish(mut tasks: JoinSet<Checked<u64>>, time: Duration, stop: &AtomicBool) -> Checked<u64> {
    let mut questions = 0;
    let ends = tokio::time::sleep(time);
    tokio::pin!(ends);
    loop {
        let done = tokio::select! {
            () = &mut ends, if !stop.load(Ordering::SeqCst) => {
                stop.store(true, Ordering::SeqCst);
                continue;
            }
            done = tasks.join_next() => done,
        };
        let Some(done) = done else { return Ok(questions) };
        questions += done.map_err(|error| error.to_string())??;
    }
}

/// VACUUM again and again, so that rows change their form under whoever reads them.
async fn maintain(config: Config, stop: &AtomicBool) -> Checked<()> {
    let client = connect(&config).await?;
    while !stop.load(Ordering::SeqCst) {
        run_sql(&client, "VACUUM").await?;
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    Ok(())
}

/// Stops the server and checks what it leaves.
fn close(server: ServerProcess, folder: &Path) -> Checked<()> {
    server.stop().map_err(|error| error.to_string())?;
    let options = Options { memory_bytes: 256 << 20, ..Options::default() };
    let report = Database::open(folder, options).map_err(|error| error.to_string())?.check();
    if report.is_clean() { Ok(()) } else { Err(format!("check: {}", report.problems.join("\n"))) }
}
