//! Clients in each other's way, for a few seconds.

use std::time::Duration;

use crucible::concurrency::{ConcurrencyOptions, contention, freshness};
use crucible::process::ServerCommand;
use crucible::random::Random;
use tokio::runtime::Runtime;

fn options() -> ConcurrencyOptions {
    let server = ServerCommand::new(env!("CARGO_BIN_EXE_crash")).leading("serve");
    let seed = Random::any_seed();
    println!("seed {seed}");
    ConcurrencyOptions { server, clients: 8, time: Duration::from_secs(4), seed }
}

#[test]
fn analytics_see_every_acknowledged_transfer_and_one_instant() {
    let folder = tempfile::tempdir().expect("a folder");
    let options = options();
    let run = freshness::run(folder.path(), &options);
    let report = Runtime::new().expect("a runtime").block_on(run).unwrap_or_else(|error| panic!("{error}"));
    println!("{report:?}");
    assert!(report.transfers > 0 && report.questions > 5, "{report:?}");
}

#[test]
fn no_update_is_lost_or_made_twice() {
    let folder = tempfile::tempdir().expect("a folder");
    let options = options();
    let run = contention::run(folder.path(), &options);
    let report = Runtime::new().expect("a runtime").block_on(run).unwrap_or_else(|error| panic!("{error}"));
    println!("{report:?}");
    assert!(report.commits > 10 && report.questions > 0, "{report:?}");
}
