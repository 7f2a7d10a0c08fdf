//! Isolation for a few seconds: each level keeps its promise, and the checker names what is wrong with faulty clients.

use std::time::Duration;

use crucible::isolation::anomaly::{Level, Phenomenon};
use crucible::isolation::faults::FaultKind;
use crucible::isolation::run::{Runner, Settings};
use crucible::random::Random;

/// How many histories a test may take to meet what it looks for.
const ROUNDS: usize = 20;

fn settings(level: Level, expected: Level, fault: Option<FaultKind>) -> Settings {
    let seed = Random::any_seed();
    println!("seed {seed}");
    Settings { level, expected, threads: 8, transactions: 1_000, folder: None, seed, fault }
}

/// Runs a level for a while. Gives what it allows and was seen.
fn keeps_its_promise(level: Level) -> Vec<Phenomenon> {
    let folder = tempfile::tempdir().expect("a folder");
    let mut seen = Vec::new();
    for folder in [None, Some(folder.path().to_owned())] {
        let mut runner = Runner::new(Settings { folder, ..settings(level, level, None) }).expect("opens");
        runner.run_for(Duration::from_secs(2)).expect("runs");
        println!("{}", runner.report());
        if let Some(anomaly) = &runner.report().forbidden {
            panic!("{level:?} forbids {anomaly}");
        }
        assert_eq!(runner.database().check().problems, Vec::<String>::new());
        assert!(runner.report().committed > 500, "{}", runner.report());
        seen.extend(runner.report().anomalies.keys().map(|(phenomenon, _)| *phenomenon));
    }
    seen
}

/// Runs rounds until all of these are seen.
#[track_caller]
fn sees(settings: Settings, expected: &[Phenomenon]) {
    let mut runner = Runner::new(settings).expect("opens");
    for _ in 0..ROUNDS {
        runner.round().expect("runs");
        let seen = |wanted: &Phenomenon| {
            let mut found = runner.report().anomalies.keys();
            found.any(|(phenomenon, _)| phenomenon == wanted)
        };
        if expected.iter().all(seen) {
            println!("{}", runner.report());
            let forbidden = runner.report().forbidden.as_ref();
            println!("{}", forbidden.expect("a fault is forbidden"));
            return;
        }
    }
    panic!("not all of {expected:?} were seen: {}", runner.report());
}

#[test]
fn read_committed_shows_nothing_worse_than_read_skew() {
    let seen = keeps_its_promise(Level::ReadCommitted);
    assert!(seen.contains(&Phenomenon::GSingle), "clients did not meet");
}

#[test]
fn repeatable_read_shows_nothing_worse_than_write_skew() {
    let seen = keeps_its_promise(Level::RepeatableRead);
    assert!(seen.contains(&Phenomenon::G2Item) && seen.contains(&Phenomenon::G2), "clients did not meet");
}

#[test]
fn serializable_shows_nothing() {
    assert!(keeps_its_promise(Level::Serializable).is_empty());
}

#[test]
fn read_committed_is_not_repeatable_read() {
    let expected = [Phenomenon::LostUpdate, Phenomenon::GSingle];
    sees(settings(Level::ReadCommitted, Level::RepeatableRead, None), &expected);
}

#[test]
fn repeatable_read_is_not_serializable() {
    let expected = [Phenomenon::G2Item, Phenomenon::G2];
    sees(settings(Level::RepeatableRead, Level::Serializable, None), &expected);
}

#[test]
fn a_snapshot_that_is_old_is_seen() {
    let settings = |level| settings(level, level, Some(FaultKind::StaleSnapshot));
    sees(settings(Level::ReadCommitted), &[Phenomenon::SplitStatement]);
    sees(settings(Level::RepeatableRead), &[Phenomenon::GSingle]);
    sees(settings(Level::Serializable), &[Phenomenon::GSingle]);
}

#[test]
fn a_read_of_what_is_not_committed_is_seen() {
    let settings = settings(Level::ReadCommitted, Level::ReadCommitted, Some(FaultKind::DirtyRead));
    sees(settings, &[Phenomenon::G1a, Phenomenon::G1b, Phenomenon::G1c]);
}

#[test]
fn own_writes_that_are_not_seen_are_named() {
    let settings = |level| settings(level, level, Some(FaultKind::ForgottenWrites));
    sees(settings(Level::ReadCommitted), &[Phenomenon::Internal]);
    sees(settings(Level::Serializable), &[Phenomenon::Internal]);
}

#[test]
fn a_write_without_a_lock_is_a_lost_write() {
    let settings = |level| settings(level, level, Some(FaultKind::UnlockedWrite));
    sees(settings(Level::ReadCommitted), &[Phenomenon::LostWrite]);
    sees(settings(Level::RepeatableRead), &[Phenomenon::LostWrite]);
}

#[test]
fn a_transaction_that_commits_in_parts_is_seen() {
    let settings = |level| settings(level, level, Some(FaultKind::EarlyCommit));
    sees(
        settings(Level::ReadCommitted),
        &[Phenomenon::G0, Phenomenon::G1a, Phenomenon::G1b, Phenomenon::G1c],
    );
    sees(settings(Level::Serializable), &[Phenomenon::G1c, Phenomenon::GSingle]);
}

#[test]
fn a_rollback_that_commits_is_an_aborted_read() {
    let settings = settings(Level::ReadCommitted, Level::ReadCommitted, Some(FaultKind::CommittedRollback));
    sees(settings, &[Phenomenon::G1a]);
}

#[test]
fn a_savepoint_that_undoes_nothing_is_an_aborted_read() {
    let settings = |level| settings(level, level, Some(FaultKind::ForgottenSavepoint));
    sees(settings(Level::ReadCommitted), &[Phenomenon::G1a]);
    sees(settings(Level::Serializable), &[Phenomenon::G1a]);
}
