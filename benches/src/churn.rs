//! A table whose every row is updated again and again: what that leaves on the disk, and what it does to scans.

use std::path::{Path, PathBuf};
use std::time::Instant;

use clap::Args;
use crucible::process::{ServerCommand, ServerProcess};
use tokio_postgres::Client;

use crate::Failure;
use crate::client;
use crate::measure::{disk_bytes, mebibytes, peak_resident_bytes};

const SCAN: &str = "SELECT count(*), sum(a), sum(b), max(c) FROM churned";

#[derive(Debug, Args)]
pub struct Arguments {
    /// Rows of the table.
    #[arg(long, default_value_t = 1_000_000)]
    rows: u32,
    /// How often every row is updated.
    #[arg(long, default_value_t = 10)]
    updates: u32,
    /// Scans before and after; the median counts.
    #[arg(long, default_value_t = 15)]
    scans: usize,
    /// Strata's memory.
    #[arg(long, default_value = "1GiB")]
    memory: String,
    /// Strata's server program; strata-server beside this one if it is not given.
    #[arg(long)]
    server: Option<PathBuf>,
}

/// Runs it; whether the sums are right and the folder stays under three times one copy's.
pub async fn run(arguments: Arguments) -> Result<bool, Failure> {
    let scratch = tempfile::tempdir()?;
    let folder = scratch.path().join("database");
    let command = match &arguments.server {
        Some(program) => ServerCommand::new(program),
        None => ServerCommand::beside("strata-server")?,
    };
    let server = ServerProcess::start(&command.trailing("--memory").trailing(&arguments.memory), &folder)?;
    let client = client::connect(&server.config()).await?;
    let rows = arguments.rows;
    execute(
        &client,
        "CREATE TABLE churned (id bigint PRIMARY KEY, a bigint NOT NULL, b numeric(14,2), c text)",
    )
    .await?;
    let fill = "INSERT INTO churned SELECT i, i % 1000, i * 0.37, 'name ' || i % 5000";
    execute(&client, &format!("{fill} FROM generate_series(1, {rows}) AS series(i)")).await?;
    let before = State::after_vacuum(&client, &folder, arguments.scans).await?;
    let began = Instant::now();
    for _ in 0..arguments.updates {
        execute(&client, "UPDATE churned SET a = a + 1, b = b + 1").await?;
    }
    let updated = f64::from(rows) * f64::from(arguments.updates) / began.elapsed().as_secs_f64();
    println!("{} updates of {rows} rows: {updated:.0} rows/s", arguments.updates);
    let after = State::after_vacuum(&client, &folder, arguments.scans).await?;
    let added = i64::from(rows) * i64::from(arguments.updates);
    let right = after.sum == before.sum + added;
    let (disk, scan) = (after.bytes as f64 / before.bytes as f64, after.scan_ms / before.scan_ms);
    println!("sums: {}", if right { "right" } else { "WRONG" });
    println!("disk: {} before, {} after, ratio {disk:.2}", mebibytes(before.bytes), mebibytes(after.bytes));
    println!("scan: median {:.1} ms before, {:.1} ms after, ratio {scan:.2}", before.scan_ms, after.scan_ms);
    println!("peak resident memory {}", mebibytes(peak_resident_bytes(server.id())?));
    drop(client);
    server.stop()?;
    Ok(right && disk < 3.0)
}

struct State {
    bytes: u64,
    scan_ms: f64,
    sum: i64,
}

impl State {
    async fn after_vacuum(client: &Client, folder: &Path, scans: usize) -> Result<Self, Failure> {
        execute(client, "VACUUM").await?;
        let bytes = disk_bytes(folder)?;
        let mut times = Vec::with_capacity(scans);
        let mut sum = None;
        for _ in 0..scans.max(1) {
            let begin = Instant::now();
            let answer = client::query(client, SCAN).await.map_err(|error| client::explain(&error))?;
            times.push(begin.elapsed().as_secs_f64() * 1000.0);
            sum = answer.first().and_then(|row| row.get(1)).and_then(Clone::clone);
        }
        times.sort_by(f64::total_cmp);
        let sum = sum.ok_or("no sum")?.parse()?;
        Ok(Self { bytes, scan_ms: times[times.len() / 2], sum })
    }
}

async fn execute(client: &Client, sql: &str) -> Result<(), Failure> {
    Ok(client.batch_execute(sql).await.map_err(|error| client::explain(&error))?)
}
