//! `concurrency`: clients in each other's way for as long as one likes, held against what they were told.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use crucible::concurrency::{ConcurrencyOptions, contention, freshness};
use crucible::process::ServerCommand;
use crucible::random::Random;

/// Runs transfers beside analytics, then writers of the same rows and keys.
#[derive(Debug, Parser)]
struct Arguments {
    /// How long each of the two runs.
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// How many clients write.
    #[arg(long, default_value_t = 8)]
    clients: u64,
    /// What decides everything random but the interleaving; chosen and printed if it is not given.
    #[arg(long)]
    seed: Option<u64>,
    /// The server's program; strata-server beside this one if it is not given.
    #[arg(long)]
    server: Option<PathBuf>,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("concurrency: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<(), Box<dyn std::error::Error>> {
    let server = match &arguments.server {
        Some(program) => ServerCommand::new(program),
        None => ServerCommand::beside("strata-server")?,
    };
    let seed = arguments.seed.unwrap_or_else(Random::any_seed);
    println!("seed {seed}");
    let time = Duration::from_secs(arguments.seconds);
    let options = ConcurrencyOptions { server, clients: arguments.clients, time, seed };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let folder = tempfile::tempdir()?;
    println!("{:?}", runtime.block_on(freshness::run(&folder.path().join("freshness"), &options))?);
    println!("{:?}", runtime.block_on(contention::run(&folder.path().join("contention"), &options))?);
    Ok(())
}
