//! Speed of Strata, each figure beside a peer's from the same run: TPC-H (DuckDB, DataFusion on Parquet, PostgreSQL) and
//! pgbench (PostgreSQL). Answers and sums are verified; times are reported and never asserted.

mod churn;
mod client;
mod measure;
mod pgbench;
mod tpch;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// What every command of this program fails with.
type Failure = Box<dyn std::error::Error>;

/// Measures Strata beside its peers.
#[derive(Debug, Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// TPC-H: data, load, answers, times.
    #[command(subcommand)]
    Tpch(tpch::Command),
    /// pgbench's built-in scripts, in alternating runs with PostgreSQL.
    Pgbench(pgbench::Arguments),
    /// Every row updated, many times over: disk use and scans before and after.
    Churn(churn::Arguments),
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let run = || -> Result<bool, Failure> {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        runtime.block_on(async {
            match arguments.command {
                Command::Tpch(command) => tpch::run(command).await,
                Command::Pgbench(arguments) => pgbench::run(arguments).await,
                Command::Churn(arguments) => churn::run(arguments).await,
            }
        })
    };
    match run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("strata-bench: {error}");
            ExitCode::FAILURE
        }
    }
}
