//! `isolation`: concurrent clients of the engine, and what a checker says of the histories that they recorded.

use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use crucible::isolation::anomaly::Level;
use crucible::isolation::run::{Runner, Settings};
use crucible::random::Random;

/// Runs clients at each level, on a database in memory and on one on disk, and fails on any anomaly that the level forbids.
#[derive(Debug, Parser)]
struct Arguments {
    /// How long each level runs.
    #[arg(long, default_value_t = 20)]
    seconds: u64,
    /// How many clients there are.
    #[arg(long, default_value_t = 8)]
    threads: usize,
    /// read-committed, repeatable-read or serializable; all of them if it is not given.
    #[arg(long, value_parser = level)]
    level: Option<Level>,
    /// Transactions in a history.
    #[arg(long, default_value_t = 4_000)]
    transactions: u64,
    /// What decides everything random but the interleaving; chosen and printed if it is not given.
    #[arg(long)]
    seed: Option<u64>,
}

fn level(name: &str) -> Result<Level, String> {
    match name {
        "read-committed" => Ok(Level::ReadCommitted),
        "repeatable-read" => Ok(Level::RepeatableRead),
        "serializable" => Ok(Level::Serializable),
        _ => Err("not a level".into()),
    }
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("isolation: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<(), Box<dyn std::error::Error>> {
    let seed = arguments.seed.unwrap_or_else(Random::any_seed);
    println!("seed {seed}");
    let half = Duration::from_secs(arguments.seconds) / 2;
    for level in arguments.level.map_or(Level::ALL.to_vec(), |level| vec![level]) {
        let folder = tempfile::tempdir()?;
        for place in [None, Some(folder.path().to_owned())] {
            let name = if place.is_some() { "on disk" } else { "in memory" };
            let mut runner = Runner::new(Settings {
                level,
                expected: level,
                threads: arguments.threads,
                transactions: arguments.transactions,
                folder: place,
                seed,
                fault: None,
            })?;
            runner.run_for(half)?;
            println!("{level:?}, {name}: {}", runner.report());
            if let Some(anomaly) = &runner.report().forbidden {
                return Err(format!("{level:?} forbids {anomaly}").into());
            }
            let problems = runner.database().check().problems;
            if !problems.is_empty() {
                return Err(format!("the database is damaged: {problems:#?}").into());
            }
        }
    }
    Ok(())
}
