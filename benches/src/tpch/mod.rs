//! TPC-H: the same CSV files in every engine, the same 22 texts.

mod answers;
mod data;
mod peers;
mod queries;
mod report;
mod strata;

use std::path::PathBuf;
use std::time::Instant;

use clap::{Args, Subcommand};

use crate::Failure;
use crate::client;
use crate::measure::{disk_bytes, mebibytes, peak_resident_bytes};

use answers::Difference;
use queries::Query;
use strata::StrataServer;

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Generates the data where it is missing, and loads it into an empty database through COPY.
    Load(LoadArguments),
    /// Times the 22 queries beside DataFusion on Parquet and DuckDB.
    Run(RunArguments),
    /// Compares the answers with DuckDB's and PostgreSQL's, before and after a restart.
    Compare(CompareArguments),
}

/// Where data and database are.
#[derive(Clone, Debug, Args)]
pub struct Places {
    /// The scale factor; 1 is about a gigabyte of CSV.
    #[arg(long, default_value_t = 1.0)]
    scale: f64,
    /// The folder of the generated files.
    #[arg(long, default_value = "tpch-data")]
    data: PathBuf,
    /// The folder of the database.
    #[arg(long, default_value = "tpch-strata")]
    database: PathBuf,
    /// The server's memory.
    #[arg(long, default_value = "1GiB")]
    memory: String,
    /// The server's program; strata-server beside this one if it is not given.
    #[arg(long)]
    server: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub struct LoadArguments {
    #[command(flatten)]
    places: Places,
}

#[derive(Debug, Args)]
pub struct RunArguments {
    #[command(flatten)]
    places: Places,
    /// How often each query runs; the best counts.
    #[arg(long, default_value_t = 3)]
    runs: usize,
    /// Partitions of DataFusion and threads of DuckDB.
    #[arg(long, default_value_t = 2)]
    threads: usize,
    /// Leaves DuckDB (Python 3 with its package) out.
    #[arg(long)]
    without_duckdb: bool,
}

#[derive(Debug, Args)]
pub struct CompareArguments {
    #[command(flatten)]
    places: Places,
    /// Also with this PostgreSQL server, in a schema `tpch` that is made and dropped: postgres://user@host:port/database.
    #[arg(long)]
    postgres: Option<String>,
    /// Leaves DuckDB (Python 3 with its package) out.
    #[arg(long)]
    without_duckdb: bool,
    /// How many differences of a query are shown.
    #[arg(long, default_value_t = 3)]
    show: usize,
}

/// Runs a command; whether all was as it should be.
pub async fn run(command: Command) -> Result<bool, Failure> {
    match command {
        Command::Load(arguments) => load(arguments).await,
        Command::Run(arguments) => time(arguments).await,
        Command::Compare(arguments) => compare(arguments).await,
    }
}

async fn load(arguments: LoadArguments) -> Result<bool, Failure> {
    let places = arguments.places;
    data::generate(&places.data, places.scale)?;
    let server = StrataServer::start(&places)?;
    let client = server.connect().await?;
    let begin = Instant::now();
    for statement in queries::schema() {
        client.batch_execute(statement).await.map_err(|error| client::explain(&error))?;
    }
    for table in data::TABLES {
        let begin = Instant::now();
        let rows = client::copy_csv(&client, table, &data::csv(&places.data, table)).await?;
        println!("{table}: {rows} rows in {:.1} s", begin.elapsed().as_secs_f64());
    }
    println!("loaded in {:.1} s", begin.elapsed().as_secs_f64());
    client.batch_execute("VACUUM").await.map_err(|error| client::explain(&error))?;
    println!("peak resident memory {}", mebibytes(peak_resident_bytes(server.id())?));
    drop(client);
    server.stop()?;
    data::write_parquet(&places.data).await?;
    let (ours, parquet) = (disk_bytes(&places.database)?, data::parquet_bytes(&places.data)?);
    println!(
        "on disk {}, Parquet (snappy) {}, ratio {:.2}",
        mebibytes(ours),
        mebibytes(parquet),
        ours as f64 / parquet as f64
    );
    Ok(true)
}

async fn time(arguments: RunArguments) -> Result<bool, Failure> {
    let places = &arguments.places;
    let server = StrataServer::start(places)?;
    println!("opened in {:.0} ms", server.opened_in().as_secs_f64() * 1000.0);
    let client = server.connect().await?;
    let datafusion = peers::DataFusion::open(&places.data, arguments.threads).await?;
    let duckdb = match arguments.without_duckdb {
        true => Vec::new(),
        false => peers::duckdb(&places.data, arguments.threads, arguments.runs).await?,
    };
    let mut table = report::Times::default();
    for query in Query::all() {
        let mut ours = Vec::new();
        let mut theirs = Vec::new();
        // Alternating, so that what else the machine does falls on both.
        for _ in 0..arguments.runs {
            let begin = Instant::now();
            let answer = client::query(&client, query.text).await;
            answer.map_err(|error| format!("{}: {}", query.name, client::explain(&error)))?;
            ours.push(begin.elapsed().as_secs_f64() * 1000.0);
            theirs.push(
                datafusion.time_ms(query.text).await.map_err(|error| format!("{}: {error}", query.name))?,
            );
        }
        let duckdb = duckdb.iter().find(|run| run.query == query.name).map(|run| run.times_ms.clone());
        table.add(query.name, &ours, &theirs, duckdb.as_deref());
    }
    println!("{table}");
    println!("peak resident memory {}", mebibytes(peak_resident_bytes(server.id())?));
    drop(client);
    server.stop()?;
    Ok(true)
}

async fn compare(arguments: CompareArguments) -> Result<bool, Failure> {
    let places = &arguments.places;
    let mut peers = Vec::new();
    if !arguments.without_duckdb {
        let runs = peers::duckdb(&places.data, 2, 1).await?;
        peers.push(("DuckDB", runs.into_iter().map(|run| (run.query, run.answer)).collect()));
    }
    if let Some(url) = &arguments.postgres {
        peers.push(("PostgreSQL", peers::postgres(&places.data, url).await?));
    }
    let mut failed = 0;
    for turn in ["as loaded", "after a restart"] {
        let server = StrataServer::start(places)?;
        let client = server.connect().await?;
        for query in Query::all() {
            let answer = match client::query(&client, query.text).await {
                Ok(answer) => answer,
                Err(error) => {
                    println!("{} {turn}: FAILED {}", query.name, client::explain(&error));
                    failed += 1;
                    continue;
                }
            };
            for (peer, answers) in &peers {
                let Some(expected) = answers.get(query.name) else { continue };
                let differences = answers::compare(&answer, expected);
                failed += usize::from(!differences.is_empty());
                show(&query, turn, peer, answer.len(), &differences, arguments.show);
            }
        }
        drop(client);
        server.stop()?;
    }
    println!("{failed} failures");
    Ok(failed == 0)
}

fn show(query: &Query, turn: &str, peer: &str, rows: usize, differences: &[Difference], limit: usize) {
    if differences.is_empty() {
        println!("{} {turn}: {rows} rows as {peer} has them", query.name);
        return;
    }
    println!("{} {turn}: {} differences from {peer}", query.name, differences.len());
    for difference in differences.iter().take(limit) {
        println!("    {difference}");
    }
}
