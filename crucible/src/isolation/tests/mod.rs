//! Histories made by hand, one for each phenomenon and one beside it that is fine.

mod cycles;
mod reads;
mod time;

use super::anomaly::{Level, Phenomenon};
use super::checker::{Findings, check};
use super::graph::TimeOrder;
use super::history::*;

/// A transaction that overlaps all others of its kind, a statement for each operation.
fn txn(outcome: Outcome, operations: Vec<Operation>) -> Transaction {
    let statement = |operation| Statement { invoked: 2, returned: 1_000, operations: vec![operation] };
    let statements = operations.into_iter().map(statement).collect();
    Transaction { process: 0, invoked: 1, returned: 1_001, outcome, statements }
}

fn committed(operations: Vec<Operation>) -> Transaction {
    txn(Outcome::Committed, operations)
}

fn aborted(operations: Vec<Operation>) -> Transaction {
    txn(Outcome::Aborted, operations)
}

/// An append to a list, blind.
fn append(key: u64, value: u64) -> Operation {
    Operation::Write { key: Key(key), value: Value(value), base: None, state: State::There }
}

/// A write by a writer that saw what it replaced.
fn over(key: u64, value: u64, base: u64) -> Operation {
    Operation::Write { key: Key(key), value: Value(value), base: Some(Value(base)), state: State::There }
}

/// The same of a row in a group.
fn row(key: u64, value: u64, base: u64, group: u64) -> Operation {
    let state = State::In(Group(group));
    Operation::Write { key: Key(key), value: Value(value), base: Some(Value(base)), state }
}

/// A row deleted.
fn delete(key: u64, value: u64, base: u64) -> Operation {
    Operation::Write { key: Key(key), value: Value(value), base: Some(Value(base)), state: State::Gone }
}

fn list(key: u64, values: &[u64]) -> Operation {
    Operation::ReadList { key: Key(key), values: values.iter().map(|value| Value(*value)).collect() }
}

fn read(key: u64, value: u64) -> Operation {
    Operation::Read { key: Key(key), value: Value(value) }
}

fn scan(group: u64, found: &[(u64, u64)]) -> Operation {
    let found = found.iter().map(|(key, value)| (Key(*key), Value(*value))).collect();
    Operation::Scan { group: Group(group), found }
}

fn found(transactions: Vec<Transaction>) -> Findings {
    check(&History { transactions }, Level::RepeatableRead, TimeOrder::None)
}

/// The names found, each once.
fn names(findings: &Findings) -> Vec<Phenomenon> {
    let mut names: Vec<Phenomenon> = findings.anomalies.iter().map(|anomaly| anomaly.phenomenon).collect();
    names.sort_unstable();
    names.dedup();
    names
}

#[track_caller]
fn assert_found(transactions: Vec<Transaction>, expected: &[Phenomenon]) {
    let findings = found(transactions);
    assert_eq!(names(&findings), expected, "{:#?}", findings.anomalies);
}

#[test]
fn each_level_forbids_what_the_weaker_one_does() {
    use Phenomenon::*;
    let all = [
        G0,
        G1a,
        G1b,
        G1c,
        GarbageRead,
        DuplicateElement,
        Internal,
        IncompatibleOrder,
        LostWrite,
        SplitStatement,
        LostUpdate,
        GSingle,
        GNonadjacent,
        G2Item,
        G2,
    ];
    let forbidden = |level| all.iter().filter(|found| found.is_forbidden(level)).count();
    assert_eq!(Level::ALL.map(forbidden), [10, 13, 15]);
    assert!(!G2Item.is_forbidden(Level::RepeatableRead) && !LostUpdate.is_forbidden(Level::ReadCommitted));
}
