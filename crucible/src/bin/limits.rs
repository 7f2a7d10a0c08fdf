//! `limits`: the engine with data larger than memory, beside a reader that never ends, on a full disk.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use crucible::limits::Outcome;
use crucible::limits::full_disk::FullDisk;
use crucible::limits::memory::Memory;
use crucible::limits::reader::Reader;

/// Tries the engine at its limits and says what it took.
#[derive(Debug, Parser)]
struct Arguments {
    #[command(subcommand)]
    limit: Limit,
}

#[derive(Debug, Subcommand)]
enum Limit {
    /// Data larger than memory: the process stays under 1.5 times the cap, and a scan leaves the hot set alone.
    Memory {
        /// The cap.
        #[arg(long, default_value_t = 256)]
        memory_mib: usize,
        /// How many times larger the data is.
        #[arg(long, default_value_t = 10)]
        factor: u64,
        /// Bytes of a row.
        #[arg(long, default_value_t = 1_000)]
        width: usize,
        /// Point reads, and updates, of each kind.
        #[arg(long, default_value_t = 100_000)]
        points: u64,
    },
    /// A snapshot that is held while all rows are updated again and again.
    Reader {
        /// Rows of the table.
        #[arg(long, default_value_t = 20_000)]
        rows: i64,
        /// Bytes of a row.
        #[arg(long, default_value_t = 200)]
        width: usize,
        /// How often each row is updated.
        #[arg(long, default_value_t = 40)]
        rounds: i64,
    },
    /// Disks of all sizes, until the work fits.
    FullDisk {
        /// Rows that each piece of work writes.
        #[arg(long, default_value_t = 400)]
        rows: i64,
        /// Bytes of a row.
        #[arg(long, default_value_t = 300)]
        width: usize,
        /// By how much each disk is larger than the one before.
        #[arg(long, default_value_t = 4_096)]
        step_bytes: u64,
    },
}

fn main() -> ExitCode {
    match run(Arguments::parse().limit) {
        Ok(()) => ExitCode::SUCCESS,
        Err(wrong) => {
            eprintln!("limits: {wrong}");
            ExitCode::FAILURE
        }
    }
}

fn run(limit: Limit) -> Outcome {
    let mut report = |line: String| println!("{line}");
    match limit {
        Limit::Memory { memory_mib, factor, width, points } => {
            let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
            Memory { cap_bytes: memory_mib << 20, factor, width, points }.run(folder.path(), &mut report)
        }
        Limit::Reader { rows, width, rounds } => Reader { rows, width, rounds }.run(&mut report),
        Limit::FullDisk { rows, width, step_bytes } => {
            let sizes = FullDisk { rows, width, step_bytes };
            sizes.run(&mut report)?;
            sizes.failed_sync()
        }
    }
}
