//! `limits`: the engine with data larger than memory, beside a reader and a writer that never end, on a full disk.

use std::process::ExitCode;

use clap::{Parser, Subcommand, ValueEnum};
use crucible::limits::Outcome;
use crucible::limits::full_disk::FullDisk;
use crucible::limits::memory::Memory;
use crucible::limits::reader::Reader;
use crucible::limits::writer::{End, Work, Writer};
use strata_core::table::Isolation;

/// The server's: what it keeps of freed memory counts too.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

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
    /// One transaction that writes all rows.
    Writer {
        /// The cap.
        #[arg(long, default_value_t = 256)]
        memory_mib: usize,
        /// Rows of the table.
        #[arg(long, default_value_t = 10_000_000)]
        rows: i64,
        /// Bytes of a row's payload.
        #[arg(long, default_value_t = 20)]
        width: usize,
        /// What it does to each row; everything, one after another, if not given.
        #[arg(long)]
        work: Option<WorkName>,
        /// How it ends; in every way, if not given.
        #[arg(long)]
        end: Option<EndName>,
        /// REPEATABLE READ instead of READ COMMITTED.
        #[arg(long)]
        repeatable_read: bool,
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

#[derive(Clone, Copy, Debug, ValueEnum)]
enum WorkName {
    Insert,
    Delete,
    Update,
    UpdateKey,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum EndName {
    Commit,
    Rollback,
    Savepoint,
}

impl From<WorkName> for Work {
    fn from(name: WorkName) -> Self {
        match name {
            WorkName::Insert => Self::Insert,
            WorkName::Delete => Self::Delete,
            WorkName::Update => Self::Update,
            WorkName::UpdateKey => Self::UpdateKey,
        }
    }
}

impl From<EndName> for End {
    fn from(name: EndName) -> Self {
        match name {
            EndName::Commit => Self::Commit,
            EndName::Rollback => Self::Rollback,
            EndName::Savepoint => Self::Savepoint,
        }
    }
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
        Limit::Writer { memory_mib, rows, width, work, end, repeatable_read } => {
            let works = work.map_or_else(|| WorkName::value_variants().to_vec(), |work| vec![work]);
            let ends = end.map_or_else(|| EndName::value_variants().to_vec(), |end| vec![end]);
            let isolation =
                if repeatable_read { Isolation::RepeatableRead } else { Isolation::ReadCommitted };
            for work in works {
                for end in &ends {
                    let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
                    let (work, end, cap_bytes) = (work.into(), (*end).into(), memory_mib << 20);
                    let run = Writer { cap_bytes, rows, width, work, end, isolation };
                    run.run(folder.path(), &mut report)?;
                }
            }
            Ok(())
        }
        Limit::FullDisk { rows, width, step_bytes } => {
            let sizes = FullDisk { rows, width, step_bytes };
            sizes.run(&mut report)?;
            sizes.failed_sync()
        }
    }
}
