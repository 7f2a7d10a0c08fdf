//! A few crash rounds, with the server that the crash program has in it.

use crucible::crash::{self, CrashOptions};
use crucible::process::ServerCommand;
use crucible::random::Random;

#[test]
fn acknowledged_commits_survive_kill_9() {
    let server = ServerCommand::new(env!("CARGO_BIN_EXE_crash")).leading("serve");
    let seed = Random::any_seed();
    println!("seed {seed}");
    let options = CrashOptions { server, rounds: 3, clients: 8, seed, round_ms: 1500, bulk_rows: 70_000 };
    let folder = tempfile::tempdir().expect("a folder");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let report = runtime.block_on(crash::run(folder.path(), &options, |line| println!("{line}")));
    let report = report.unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(report.rounds, 3);
    assert!(report.commits > 0, "no client got anything done: {report:?}");
}
