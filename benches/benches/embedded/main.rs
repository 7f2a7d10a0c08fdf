//! The engine alone beside engines that people embed, on the same work: `cargo bench -p strata-bench --bench embedded`.
//!
//! Each engine gets the same rows, memory and threads; every write is durable before the next one of its thread begins,
//! which is probed by the time that a sync of the same disk takes. Engines take turns, `--repeats` times; medians count. What was
//! read is checked: each row, and the sums of all.

mod disk;
mod engines;
mod growth;
mod measure;
mod memory;
mod report;
mod row;
mod work;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;

use engines::{Kind, Outcome};

/// The server's allocator, for all engines written in Rust.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Measures Strata's engine beside other embedded ones.
#[derive(Debug, Parser)]
pub struct Arguments {
    /// Rows of the table.
    #[arg(long, default_value_t = 1_000_000)]
    rows: i64,
    /// Seconds of each timed piece of work.
    #[arg(long, default_value_t = 2.0)]
    seconds: f64,
    /// How often each engine has its turn.
    #[arg(long, default_value_t = 3)]
    repeats: u32,
    /// Megabytes of cache of each engine.
    #[arg(long, default_value_t = 1_024)]
    memory: usize,
    /// Which engines; all that are built in by default.
    #[arg(long, value_delimiter = ',')]
    engines: Vec<Kind>,
    /// Timed work whose name contains this; all by default.
    #[arg(long, default_value = "")]
    only: String,
    /// Where databases are made; a temporary folder by default.
    #[arg(long)]
    dir: Option<PathBuf>,
    /// Instead: what gets and updates cost at these numbers of rows; of Strata alone, unless engines are named.
    #[arg(long, value_delimiter = ',')]
    grow: Vec<i64>,
    /// Seconds of gets before those that `--grow` times.
    #[arg(long, default_value_t = 4.0)]
    warm: f64,
    /// What `cargo bench` passes.
    #[arg(long, hide = true)]
    bench: bool,
}

fn run(arguments: &Arguments) -> Outcome<()> {
    let temporary = tempfile::tempdir()?;
    let dir = arguments.dir.as_deref().unwrap_or(temporary.path());
    if !arguments.grow.is_empty() {
        return growth::run(arguments, dir);
    }
    let kinds = if arguments.engines.is_empty() { Kind::ALL } else { &arguments.engines };
    let probe = disk::sync_time(dir)?;
    let mut results = Vec::new();
    for repeat in 0..arguments.repeats {
        for kind in kinds {
            eprintln!("{} ({} of {})", kind.name(), repeat + 1, arguments.repeats);
            let folder = dir.join(format!("{}-{repeat}", kind.name()));
            results.push(work::run(*kind, &folder, arguments)?);
            std::fs::remove_dir_all(&folder)?;
        }
    }
    report::print(arguments, kinds, probe, &results);
    Ok(())
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("embedded: {error}");
            ExitCode::FAILURE
        }
    }
}
