//! Reads that are wrong by themselves.

use super::*;
use Phenomenon::*;

#[test]
fn g1a_what_was_rolled_back() {
    let writer = aborted(vec![append(1, 10)]);
    assert_found(vec![writer.clone(), committed(vec![list(1, &[10])])], &[G1a]);
    assert_found(vec![writer.clone(), committed(vec![read(1, 10)])], &[G1a]);
    assert_found(vec![writer.clone(), committed(vec![list(1, &[])])], &[]);
    let row = aborted(vec![row(1, 10, 0, 7)]);
    assert_found(vec![row.clone(), committed(vec![scan(7, &[(1, 10)])])], &[G1a]);
    assert_found(vec![row, committed(vec![scan(7, &[])])], &[]);
    assert_found(vec![writer.clone(), committed(vec![over(1, 11, 10)])], &[G1a]);
    // Whoever rolled back may have read anything.
    assert_found(vec![writer, aborted(vec![list(1, &[10])])], &[]);
}

#[test]
fn g1a_what_was_rolled_back_to_a_savepoint() {
    let savepoint = |name| Operation::Savepoint(name);
    let back = |name| Operation::RollbackTo(name);
    let writer = committed(vec![append(1, 10), savepoint(1), append(1, 11), list(1, &[10, 11]), back(1)]);
    assert_found(vec![writer.clone(), committed(vec![list(1, &[10])])], &[]);
    assert_found(vec![writer, committed(vec![list(1, &[10, 11])])], &[G1a]);
    // Nested: the inner one's name is hidden until it is undone itself.
    let nested = |last: &[u64]| {
        committed(vec![
            savepoint(1),
            append(1, 10),
            savepoint(2),
            append(1, 11),
            back(2),
            append(1, 12),
            back(1),
            append(1, 13),
            list(1, last),
        ])
    };
    assert_found(vec![nested(&[13]), committed(vec![list(1, &[13])])], &[]);
    assert_found(vec![nested(&[10, 13])], &[Internal]);
}

#[test]
fn g1b_a_version_between() {
    let writer = committed(vec![append(1, 10), append(1, 11)]);
    assert_found(vec![writer.clone(), committed(vec![list(1, &[10])])], &[G1b, GSingle]);
    assert_found(vec![writer.clone(), committed(vec![list(1, &[10, 11])])], &[]);
    // Once it is rolled back, what was between is last.
    let savepoint = Operation::Savepoint(1);
    let writer = committed(vec![append(1, 10), savepoint, append(1, 11), Operation::RollbackTo(1)]);
    assert_found(vec![writer, committed(vec![list(1, &[10])])], &[]);
}

#[test]
fn internal_own_writes_are_seen() {
    assert_found(vec![committed(vec![append(1, 10), list(1, &[10])])], &[]);
    assert_found(vec![committed(vec![append(1, 10), list(1, &[])])], &[Internal]);
    assert_found(vec![committed(vec![over(1, 10, 0), read(1, 10), over(1, 11, 10)])], &[]);
    assert_found(vec![committed(vec![over(1, 10, 0), read(1, 0)])], &[Internal]);
    assert_found(vec![committed(vec![row(1, 10, 0, 7), scan(7, &[(1, 10)])])], &[]);
    assert_found(vec![committed(vec![row(1, 10, 0, 7), scan(7, &[])])], &[Internal]);
    let moved = |found: &[(u64, u64)]| committed(vec![row(1, 10, 0, 7), row(1, 11, 10, 8), scan(7, found)]);
    assert_found(vec![moved(&[])], &[]);
    assert_found(vec![moved(&[(1, 10)])], &[Internal]);
    assert_found(vec![committed(vec![row(1, 10, 0, 7), delete(1, 11, 10), read(1, 0), scan(7, &[])])], &[]);
    assert_found(vec![committed(vec![row(1, 10, 0, 7), delete(1, 11, 10), read(1, 10)])], &[Internal]);
}

#[test]
fn garbage_and_doubles() {
    assert_found(vec![committed(vec![list(1, &[10])])], &[GarbageRead]);
    let writers = vec![committed(vec![append(1, 10), append(2, 20)])];
    let with = |operation| [writers.clone(), vec![committed(vec![operation])]].concat();
    assert_found(with(list(1, &[20])), &[GarbageRead]);
    assert_found(with(list(1, &[10, 10])), &[DuplicateElement]);
    let rows = vec![committed(vec![row(1, 10, 0, 7)]), committed(vec![row(1, 11, 10, 7)])];
    let twice = committed(vec![scan(7, &[(1, 10), (1, 11)])]);
    assert!(found([rows.clone(), vec![twice]].concat()).has(DuplicateElement));
    assert!(found([rows, vec![committed(vec![scan(8, &[(1, 11)])])]].concat()).has(GarbageRead));
}

#[test]
fn incompatible_order_two_reads_that_differ() {
    let writers = vec![committed(vec![append(1, 10)]), committed(vec![append(1, 11)])];
    let with = |first: &[u64], second: &[u64]| {
        [writers.clone(), vec![committed(vec![list(1, first)]), committed(vec![list(1, second)])]].concat()
    };
    assert!(found(with(&[10, 11], &[11])).has(IncompatibleOrder));
    assert_found(with(&[10, 11], &[10]), &[]);
    // The writer saw something else below than what readers see there.
    let writers = vec![committed(vec![over(1, 10, 0)]), committed(vec![over(1, 11, 10)])];
    let reader = committed(vec![list(1, &[11])]);
    assert!(found([writers, vec![reader]].concat()).has(IncompatibleOrder));
}

#[test]
fn a_commit_of_unknown_outcome_counts_if_it_was_seen() {
    let unknown = txn(Outcome::Unknown, vec![append(1, 10), append(2, 20)]);
    assert_found(vec![unknown.clone(), committed(vec![list(1, &[10]), list(2, &[20])])], &[]);
    assert_found(vec![unknown.clone(), committed(vec![list(1, &[]), list(2, &[])])], &[]);
    assert_found(vec![unknown, committed(vec![list(1, &[10]), list(2, &[])])], &[GSingle]);
}
