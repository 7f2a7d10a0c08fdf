//! Crash rounds: clients write, the server is killed, and what is on the disk is held against what was acknowledged.
//!
//! **A round.** A server starts on the folder of the round before; eight clients run transactions; at a random moment, or
//! while one of them does what is rarely done, the server is killed (`kill -9`); it recovers, now and then killed again while it
//! does; what it shows is verified; it stops, and the closed folder is checked offline. One folder lives through all rounds.
//!
//! **What must hold.** Every transaction writes two tables under one tag, or a counter and a log of its steps. After recovery:
//! each acknowledged commit is there; one whose COMMIT was under way when the server died is there whole or not at all; nothing
//! else is there; the counter equals its steps; primary key and secondary index find the rows that a scan finds.
//! `kill -9` loses nothing that reached the kernel: lost writes are what `MemVfs::crash_clone` is for, in strata-core.
//!
//! The seed decides what clients ask for and when the server dies; how they interleave it cannot.

mod client;
mod doing;
mod model;
mod operation;
mod verify;

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use strata_core::{Database, Options};
use tokio_postgres::Config;

use crate::process::{ServerCommand, ServerProcess};
use crate::random::Random;

use client::{Ended, Writer};
use doing::Board;
pub use doing::{Doing, Hits};
use model::ClientModel;

/// How a crash run is made.
#[derive(Clone, Debug)]
pub struct CrashOptions {
    /// How servers are started.
    pub server: ServerCommand,
    /// How often the server is killed.
    pub rounds: u32,
    /// How many clients write.
    pub clients: u64,
    /// What decides everything that is random.
    pub seed: u64,
    /// The longest a round's clients write, in milliseconds.
    pub round_ms: u64,
    /// The rows of the largest bulk insert. Above 65,536 it goes straight into column blocks.
    pub bulk_rows: u64,
}

/// What a run did.
#[derive(Clone, Copy, Debug, Default)]
pub struct CrashReport {
    /// Kills with clients at work.
    pub rounds: u32,
    /// Kills of a server that was recovering.
    pub recovery_kills: u32,
    /// Acknowledged commits.
    pub commits: u64,
    /// Commits under way when the server died.
    pub in_doubt: u64,
    /// Of these, how many were there afterwards.
    pub in_doubt_kept: u64,
    /// Transactions that the server refused with a serialization failure or a deadlock.
    pub refused: u64,
    /// What clients had under way when the server died.
    pub hits: Hits,
}

/// Why a run ended early: what went wrong, with seed and round in it.
pub type CrashResult<T> = Result<T, String>;

/// Runs the rounds on a folder, which must be empty or absent. `tell` hears of each.
///
/// # Errors
/// Where a server shows what it should not, lacks what it should show, or cannot be run.
pub async fn run(folder: &Path, options: &CrashOptions, tell: impl Fn(String)) -> CrashResult<CrashReport> {
    let mut random = Random::new(options.seed);
    let mut models: Vec<ClientModel> = (0..options.clients).map(ClientModel::new).collect();
    let mut report = CrashReport::default();
    let server = start(options, folder)?;
    verify::prepare(&server.config()).await?;
    let mut server = Some(server);
    for round in 1..=options.rounds {
        let context = |error: String| format!("seed {}, round {round}: {error}", options.seed);
        let running = match server.take() {
            Some(server) => server,
            None => start(options, folder).map_err(context)?,
        };
        let before = report;
        let killed_after =
            crash(running, &mut models, options, &mut random, &mut report).await.map_err(context)?;
        if random.chance(1, 3) {
            // Recovery in this process, instead of in the server's.
            check(folder).map_err(context)?;
        }
        while random.chance(1, 4) {
            kill_recovering(options, folder, &mut random).map_err(context)?;
            report.recovery_kills += 1;
        }
        let recovered = start(options, folder).map_err(context)?;
        report.in_doubt_kept += verify::verify(&recovered.config(), &mut models).await.map_err(context)?;
        recovered.stop().map_err(|error| context(error.to_string()))?;
        let rows = check(folder).map_err(context)?;
        report.rounds += 1;
        tell(format!(
            "round {round}: killed after {} ms, {} commits, {} in doubt ({} kept), {rows} rows checked",
            killed_after.as_millis(),
            report.commits - before.commits,
            report.in_doubt - before.in_doubt,
            report.in_doubt_kept - before.in_doubt_kept,
        ));
    }
    Ok(report)
}

fn start(options: &CrashOptions, folder: &Path) -> CrashResult<ServerProcess> {
    ServerProcess::start(&options.server, folder).map_err(|error| error.to_string())
}

/// Lets the clients write, and kills the server while they do.
async fn crash(
    server: ServerProcess,
    models: &mut Vec<ClientModel>,
    options: &CrashOptions,
    random: &mut Random,
    report: &mut CrashReport,
) -> CrashResult<Duration> {
    let stopping = Arc::new(AtomicBool::new(false));
    let mut writers = Vec::new();
    let mut boards = Vec::new();
    for model in models.drain(..) {
        let (config, board) = (server.config(), Arc::new(Board::default()));
        boards.push(Arc::clone(&board));
        let writer = Writer::connect(&config, model, random.fork(), options.bulk_rows, board).await?;
        writers.push(tokio::spawn(writer.run(Arc::clone(&stopping))));
    }
    let time = Duration::from_millis(random.within(20..options.round_ms.max(21)));
    tokio::time::sleep(time).await;
    if random.chance(1, 2) {
        aim(&boards, random).await;
    }
    // From here on a lost connection is no surprise.
    stopping.store(true, Ordering::SeqCst);
    let log = server.log();
    server.kill().map_err(|error| error.to_string())?;
    for doing in boards.iter().filter_map(|board| board.get()) {
        report.hits.add(doing);
    }
    let mut failures = Vec::new();
    for writer in writers {
        let Ended { model, commits, refused, failure } = writer.await.map_err(|error| error.to_string())?;
        report.commits += commits;
        report.refused += refused;
        report.in_doubt += u64::from(model.in_doubt.is_some());
        failures.extend(failure);
        models.push(model);
    }
    match failures.is_empty() {
        true => Ok(time),
        false => Err(format!("{}\nthe server's log:\n{log}", failures.join("\n"))),
    }
}

/// Waits until a client does what is done rarely, or for a while.
async fn aim(boards: &[Arc<Board>], random: &mut Random) {
    const RARE: [Doing; 4] = [Doing::Delete, Doing::BulkInsert, Doing::Copy, Doing::Maintenance];
    let wanted = usize::try_from(random.within(0..RARE.len() as u64)).ok().and_then(|place| RARE.get(place));
    for _ in 0..3000 {
        if boards.iter().any(|board| board.get() == wanted.copied()) {
            // Somewhere within it.
            return tokio::time::sleep(Duration::from_millis(random.within(0..20))).await;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// Starts a server and kills it while it opens its database, or soon after.
fn kill_recovering(options: &CrashOptions, folder: &Path, random: &mut Random) -> CrashResult<()> {
    let starting = ServerProcess::begin(&options.server, folder).map_err(|error| error.to_string())?;
    std::thread::sleep(Duration::from_millis(random.within(0..150)));
    starting.kill().map_err(|error| error.to_string())
}

/// Checks the closed database, which recovers it first where it was killed. Gives the number of rows.
fn check(folder: &Path) -> CrashResult<u64> {
    let database = open(folder).map_err(|error| format!("the database does not open: {error}"))?;
    let report = database.check();
    if report.is_clean() {
        return Ok(report.rows);
    }
    Err(format!("check: {}, and {} more", report.problems.join("\n"), report.unlisted))
}

fn open(folder: &Path) -> io::Result<Database> {
    let options = Options { memory_bytes: 256 << 20, ..Options::default() };
    Database::open(folder, options).map_err(io::Error::other)
}

/// Connects, and lets the connection run until the client is dropped.
async fn connect(config: &Config) -> CrashResult<tokio_postgres::Client> {
    let (client, connection) =
        config.connect(tokio_postgres::NoTls).await.map_err(|error| format!("cannot connect: {error}"))?;
    tokio::spawn(async move {
        // What goes wrong here shows at the client's next statement.
        let _ = connection.await;
    });
    Ok(client)
}
