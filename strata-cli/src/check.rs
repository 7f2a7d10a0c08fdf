//! `strata check DIR`: verifies a database that nothing else has open.

use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

use strata_core::maintenance::MaintenanceMode;
use strata_core::{Database, Error, Options};

/// Verifies the database in a folder and prints what that found.
pub fn run(path: &Path, memory_bytes: usize) -> ExitCode {
    // Opening makes what is not there: a misspelt name must not become an empty, healthy database.
    if !path.join("manifest").is_dir() {
        eprintln!("{}: there is no database in this folder", path.display());
        return ExitCode::FAILURE;
    }
    let began = Instant::now();
    let options = Options { memory_bytes, maintenance: MaintenanceMode::Manual, ..Options::default() };
    let database = match Database::open(path, options) {
        Ok(database) => database,
        Err(error) => {
            eprintln!("{}", cannot_open(path, &error));
            return ExitCode::FAILURE;
        }
    };
    let tables = database.catalog().tables().count();
    let report = database.check();
    let took = began.elapsed().as_secs_f64();
    println!(
        "{}: read {} blocks, {} rows of {tables} tables and {} index entries in {took:.1} s",
        path.display(),
        report.blocks,
        report.rows,
        report.entries
    );
    if database.replayed_records() > 0 {
        println!("The journal was whole: {} records were replayed.", database.replayed_records());
    }
    if report.is_clean() {
        println!("Every checksum holds; rows, indexes and counts agree.");
        return ExitCode::SUCCESS;
    }
    for problem in &report.problems {
        println!("PROBLEM  {problem}");
    }
    let count = report.unlisted.saturating_add(u64::try_from(report.problems.len()).unwrap_or(u64::MAX));
    if report.unlisted > 0 {
        println!("… and {} more", report.unlisted);
    }
    println!("{count} problem{} found.", if count == 1 { "" } else { "s" });
    ExitCode::FAILURE
}

/// Why a database did not open, and where the damage is.
fn cannot_open(path: &Path, error: &Error) -> String {
    let folder = path.display();
    match error {
        Error::InUse { .. } => {
            format!("{error}\nStop it first: only a database that is closed can be checked.")
        }
        Error::CorruptBlock { .. } => {
            format!("{folder} does not open.\nPROBLEM  {}: {error}", path.join("blocks.strata").display())
        }
        _ => format!("{folder} does not open.\nPROBLEM  {error}"),
    }
}
