//! The order of time, and the statements of READ COMMITTED.

use super::*;
use Phenomenon::*;

/// A transaction with a span of its own, its statements one moment after another.
fn at(process: usize, invoked: u64, statements: Vec<Vec<Operation>>) -> Transaction {
    let mut now = invoked;
    let statements: Vec<Statement> = statements
        .into_iter()
        .map(|operations| {
            now += 2;
            Statement { invoked: now - 1, returned: now, operations }
        })
        .collect();
    Transaction { process, invoked, returned: now + 1, outcome: Outcome::Committed, statements }
}

fn checked(transactions: Vec<Transaction>, level: Level, time: TimeOrder) -> Vec<(Phenomenon, bool)> {
    check(&History { transactions }, level, time).counts().into_keys().collect()
}

#[test]
fn a_stale_read_takes_the_order_of_time_to_see() {
    let stale = |process| {
        let writer = at(1, 0, vec![vec![over(1, 10, 0)]]);
        vec![writer, at(process, 100, vec![vec![read(1, 0)]])]
    };
    assert_eq!(checked(stale(2), Level::Serializable, TimeOrder::None), []);
    assert_eq!(checked(stale(2), Level::Serializable, TimeOrder::Process), []);
    assert_eq!(checked(stale(1), Level::Serializable, TimeOrder::Process), [(GSingle, true)]);
    assert_eq!(checked(stale(2), Level::Serializable, TimeOrder::RealTime), [(GSingle, true)]);
}

#[test]
fn a_commit_of_unknown_outcome_may_take_effect_later() {
    let mut writer = at(1, 0, vec![vec![over(1, 10, 0)]]);
    let readers = [at(2, 100, vec![vec![read(1, 0)]]), at(2, 200, vec![vec![read(1, 10)]])];
    let named = |writer: &Transaction| {
        checked([vec![writer.clone()], readers.to_vec()].concat(), Level::Serializable, TimeOrder::RealTime)
    };
    assert_eq!(named(&writer), [(GSingle, true)]);
    writer.outcome = Outcome::Unknown;
    assert_eq!(named(&writer), []);
}

#[test]
fn read_committed_may_see_several_instants() {
    let writer = at(1, 10, vec![vec![over(1, 10, 0), over(2, 20, 0)]]);
    let reader = at(2, 9, vec![vec![read(1, 0)], vec![read(2, 20)]]);
    let transactions = vec![writer, reader];
    let named = checked(transactions.clone(), Level::ReadCommitted, TimeOrder::RealTime);
    assert_eq!(named, [(GSingle, false)]);
    assert!(!GSingle.is_forbidden(Level::ReadCommitted));
}

#[test]
fn a_statement_of_read_committed_sees_one() {
    let writer = at(1, 10, vec![vec![over(1, 10, 0), over(2, 20, 0)]]);
    let split = at(2, 9, vec![vec![read(1, 0), read(2, 20)]]);
    let named = checked(vec![writer, split], Level::ReadCommitted, TimeOrder::RealTime);
    assert_eq!(named, [(SplitStatement, false), (GSingle, false)]);
}

#[test]
fn a_statement_of_read_committed_sees_what_was_acknowledged_before_it() {
    // The reader's transaction began before the writer's; its second statement after that had ended.
    let writer = at(1, 10, vec![vec![over(1, 10, 0)]]);
    let mut reader = at(2, 9, vec![vec![read(1, 0)]]);
    reader.returned = 200;
    assert_eq!(checked(vec![writer.clone(), reader.clone()], Level::ReadCommitted, TimeOrder::RealTime), []);
    reader.statements[0].invoked = 100;
    reader.statements[0].returned = 101;
    let named = checked(vec![writer, reader], Level::ReadCommitted, TimeOrder::RealTime);
    assert_eq!(named, [(SplitStatement, true)]);
}

#[test]
fn a_later_statement_does_not_see_less() {
    let writer = at(1, 10, vec![vec![over(1, 10, 0)]]);
    let back = vec![vec![read(1, 10)], vec![read(1, 0)]];
    let mut reader = at(2, 9, back);
    (reader.statements[0].invoked, reader.statements[0].returned) = (10, 11);
    (reader.statements[1].invoked, reader.statements[1].returned) = (12, 13);
    reader.returned = 14;
    let named = checked(vec![writer, reader], Level::ReadCommitted, TimeOrder::RealTime);
    assert!(named.contains(&(SplitStatement, true)), "{named:?}");
}

#[test]
fn a_statement_that_waited_for_a_row_goes_on_with_its_newest_version() {
    // It found 10 in its snapshot, waited, and replaced 11: the version under the lock is not of the snapshot.
    let first = at(1, 0, vec![vec![row(1, 10, 0, 7)]]);
    let second = at(2, 10, vec![vec![row(1, 11, 10, 7)]]);
    let waiter = at(3, 11, vec![vec![scan(7, &[(1, 10)]), row(1, 12, 11, 7)]]);
    let named = checked(vec![first, second, waiter], Level::ReadCommitted, TimeOrder::RealTime);
    assert_eq!(named, [(LostUpdate, false)], "which READ COMMITTED allows, and its value was not lost");
}
