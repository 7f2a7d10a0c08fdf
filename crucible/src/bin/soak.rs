//! `soak`: many threads on the engine, tiny caches, constant maintenance; the data's own invariants, then `check`.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use crucible::random::Random;
use crucible::soak::{Length, SoakOptions, run};

/// Soaks a new database, checks it, reopens it and checks it again.
#[derive(Debug, Parser)]
struct Arguments {
    /// How long, in minutes.
    #[arg(long, default_value_t = 10)]
    minutes: u64,
    /// How long, in seconds, instead.
    #[arg(long)]
    seconds: Option<u64>,
    /// How many threads.
    #[arg(long, default_value_t = 16)]
    threads: u64,
    /// The engine's memory in MiB.
    #[arg(long, default_value_t = 24)]
    memory: usize,
    /// What decides everything random but the interleaving; chosen and printed if it is not given.
    #[arg(long)]
    seed: Option<u64>,
    /// Where the database goes, and stays; a folder that is removed again if it is not given.
    #[arg(long)]
    folder: Option<PathBuf>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let seed = arguments.seed.unwrap_or_else(Random::any_seed);
    println!("seed {seed}");
    let time = Duration::from_secs(arguments.seconds.unwrap_or(arguments.minutes * 60));
    let options = SoakOptions {
        threads: arguments.threads,
        length: Length::Time(time),
        seed,
        memory_bytes: arguments.memory << 20,
    };
    let temporary = tempfile::tempdir().expect("a temporary folder");
    let folder = arguments.folder.unwrap_or_else(|| temporary.path().to_owned());
    match run(&folder, &options) {
        Ok(report) => {
            println!("{report:?}: clean");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("soak: {error}");
            ExitCode::FAILURE
        }
    }
}
