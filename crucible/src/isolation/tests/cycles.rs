//! Cycles, without the order of time.

use super::*;
use Phenomenon::*;

#[test]
fn serial_transactions_have_no_cycle() {
    assert_found(
        vec![
            committed(vec![append(1, 10), append(2, 20)]),
            committed(vec![list(1, &[10]), append(1, 11), list(2, &[20])]),
            committed(vec![list(1, &[10, 11]), list(2, &[20])]),
        ],
        &[],
    );
}

#[test]
fn g0_two_lists_written_in_opposite_orders() {
    let reader = committed(vec![list(1, &[10, 11]), list(2, &[21, 20])]);
    let first = committed(vec![append(1, 10), append(2, 20)]);
    let second = committed(vec![append(1, 11), append(2, 21)]);
    let findings = found(vec![first.clone(), second.clone(), reader]);
    assert!(findings.has(G0), "{findings:#?}");
    let cycle = findings.anomalies.iter().find(|anomaly| anomaly.phenomenon == G0).expect("just seen");
    assert_eq!(cycle.transactions, [0, 1]);
    assert!(cycle.description.contains("ww: T0 wrote 10 of k1, T1 wrote 11 over it"), "{cycle}");
    assert!(cycle.description.contains("ww: T1 wrote 21 of k2, T0 wrote 20 over it"), "{cycle}");
    assert_found(vec![first, second, committed(vec![list(1, &[10, 11]), list(2, &[20, 21])])], &[]);
}

#[test]
fn g0_another_between_two_writes_of_one() {
    let between = vec![committed(vec![over(1, 10, 0), over(1, 12, 11)]), committed(vec![over(1, 11, 10)])];
    let findings = found(between);
    assert!(findings.has(G0) && findings.has(G1b), "{findings:#?}");
}

#[test]
fn g1c_two_that_each_see_the_other() {
    let first = |seen: &[u64]| committed(vec![append(1, 10), list(2, seen)]);
    let second = committed(vec![append(2, 20), list(1, &[10])]);
    assert_found(vec![first(&[20]), second.clone()], &[G1c]);
    assert_found(vec![first(&[]), second], &[]);
}

#[test]
fn g_single_one_key_before_and_one_after() {
    let writer = committed(vec![over(1, 11, 10), over(2, 21, 20)]);
    let before = committed(vec![over(1, 10, 0), over(2, 20, 0)]);
    let skewed = committed(vec![read(1, 10), read(2, 21)]);
    assert_found(vec![before.clone(), writer.clone(), skewed], &[GSingle]);
    let after = committed(vec![read(1, 11), read(2, 21)]);
    assert_found(vec![before, writer, after], &[]);
}

#[test]
fn g_single_of_a_predicate() {
    let inserter = committed(vec![row(1, 10, 0, 7), over(9, 90, 0)]);
    let skewed = committed(vec![scan(7, &[]), read(9, 90)]);
    assert_found(vec![inserter.clone(), skewed], &[GSingle]);
    assert_found(vec![inserter, committed(vec![scan(7, &[(1, 10)]), read(9, 90)])], &[]);
}

#[test]
fn a_read_that_does_not_repeat_is_read_skew() {
    let first = committed(vec![over(1, 10, 0)]);
    let second = committed(vec![over(1, 11, 10)]);
    assert_found(vec![first.clone(), second.clone(), committed(vec![read(1, 10), read(1, 11)])], &[GSingle]);
    assert_found(vec![first, second, committed(vec![read(1, 10), read(1, 10)])], &[]);
}

#[test]
fn lost_update_a_read_then_a_write_over_another() {
    let first = committed(vec![over(1, 10, 0)]);
    let second = committed(vec![over(1, 11, 10)]);
    let third = committed(vec![read(1, 10), over(1, 12, 11)]);
    assert_found(vec![first.clone(), second.clone(), third], &[LostUpdate]);
    assert_found(vec![first, second, committed(vec![read(1, 11), over(1, 12, 11)])], &[]);
}

#[test]
fn lost_write_two_over_the_same_version() {
    let first = committed(vec![over(1, 10, 0)]);
    let branches = vec![first.clone(), committed(vec![over(1, 11, 10)]), committed(vec![over(1, 12, 10)])];
    let findings = found(branches);
    assert!(findings.has(LostWrite), "{findings:#?}");
    let lost = vec![
        first,
        committed(vec![over(1, 11, 10)]),
        committed(vec![over(1, 12, 10)]),
        committed(vec![list(1, &[10, 12])]),
    ];
    assert!(found(lost).has(LostWrite));
}

#[test]
fn g_nonadjacent_two_observers_that_disagree() {
    // A long fork: each observer sees one of two writes, and not the other.
    let writers = [committed(vec![over(1, 10, 0)]), committed(vec![over(2, 20, 0)])];
    let fork = [committed(vec![read(1, 10), read(2, 0)]), committed(vec![read(1, 0), read(2, 20)])];
    let mut transactions = writers.to_vec();
    transactions.extend(fork);
    assert_found(transactions, &[GNonadjacent]);
    let mut transactions = writers.to_vec();
    transactions
        .extend([committed(vec![read(1, 10), read(2, 0)]), committed(vec![read(1, 10), read(2, 20)])]);
    assert_found(transactions, &[]);
}

/// Each of the four is in a shorter cycle, too, which alone is write skew.
#[test]
fn g_nonadjacent_among_write_skew() {
    let before = committed(vec![over(1, 10, 0), over(2, 20, 0), over(3, 30, 0), over(4, 40, 0)]);
    let transactions = vec![
        before,
        committed(vec![read(1, 10), over(2, 21, 20), read(8, 80)]),
        committed(vec![read(2, 20), over(1, 11, 10), over(7, 70, 0)]),
        committed(vec![read(3, 30), over(4, 41, 40), read(7, 70)]),
        committed(vec![read(4, 40), over(3, 31, 30), over(8, 80, 0)]),
    ];
    assert_found(transactions, &[GNonadjacent, G2Item]);
}

#[test]
fn a_deleted_register_reads_as_none() {
    let inserter = committed(vec![row(1, 10, 0, 7)]);
    let deleter = committed(vec![delete(1, 11, 10), over(9, 90, 0)]);
    let after = committed(vec![read(9, 90), read(1, 0)]);
    assert_found(vec![inserter.clone(), deleter.clone(), after], &[]);
    assert_found(vec![inserter, deleter, committed(vec![read(9, 90), read(1, 10)])], &[GSingle]);
}

#[test]
fn a_row_may_be_absent_before_and_after_its_life() {
    // The register is never written again: absence is unborn.
    let rows = [committed(vec![row(1, 10, 0, 7)]), committed(vec![row(2, 20, 0, 7)])];
    let mut fork = rows.to_vec();
    fork.extend([committed(vec![scan(7, &[(1, 10)])]), committed(vec![scan(7, &[(2, 20)])])]);
    assert_found(fork.clone(), &[GNonadjacent]);
    // Once row 2 is deleted, the first scan may have come after that.
    fork.push(committed(vec![delete(2, 21, 20)]));
    assert_found(fork, &[]);
}

#[test]
fn g2_item_write_skew() {
    let before = committed(vec![over(1, 10, 0), over(2, 20, 0)]);
    let first = committed(vec![read(1, 10), read(2, 20), over(1, 11, 10)]);
    let second = committed(vec![read(1, 10), read(2, 20), over(2, 21, 20)]);
    assert_found(vec![before.clone(), first.clone(), second], &[G2Item]);
    assert_found(vec![before, first, committed(vec![read(1, 11), read(2, 20), over(2, 21, 20)])], &[]);
}

#[test]
fn g2_each_misses_the_row_of_the_other() {
    let first = committed(vec![scan(7, &[]), row(1, 10, 0, 8)]);
    let second = committed(vec![scan(8, &[]), row(2, 20, 0, 7)]);
    assert_found(vec![first.clone(), second], &[G2]);
    assert_found(vec![first, committed(vec![scan(8, &[(1, 10)]), row(2, 20, 0, 7)])], &[]);
}

/// TRAPS, "Both doctors off call".
#[test]
fn g2_both_doctors_off_call() {
    let on_call = committed(vec![row(1, 10, 0, 7), row(2, 20, 0, 7)]);
    let both = [(1, 10), (2, 20)];
    let first = committed(vec![scan(7, &both), delete(1, 11, 10)]);
    let second = committed(vec![scan(7, &both), delete(2, 21, 20)]);
    assert_found(vec![on_call.clone(), first.clone(), second], &[G2]);
    // A scan that misses a deleted row tells nothing sure, and one that finds the other is in order.
    assert_found(vec![on_call, first, committed(vec![scan(7, &[(2, 20)]), delete(2, 21, 20)])], &[]);
}

#[test]
fn a_row_that_moved_is_seen_where_it_was() {
    let rows = committed(vec![row(1, 10, 0, 7)]);
    let mover = committed(vec![row(1, 11, 10, 8), over(9, 90, 0)]);
    // It is in neither group, and the move is seen elsewhere.
    let skewed = committed(vec![scan(7, &[(1, 10)]), read(9, 90)]);
    assert_found(vec![rows.clone(), mover.clone(), skewed], &[GSingle]);
    let nowhere = committed(vec![scan(8, &[]), read(9, 90)]);
    assert_found(vec![rows.clone(), mover.clone(), nowhere], &[GSingle]);
    assert_found(vec![rows, mover, committed(vec![scan(8, &[(1, 11)]), scan(7, &[]), read(9, 90)])], &[]);
}

#[test]
fn what_was_never_read_still_came_last() {
    // 11 is in no list; whoever read [10] did not see it, and sees its writer's other list.
    let writer = committed(vec![append(1, 11), append(2, 20)]);
    let skewed = committed(vec![list(1, &[10]), list(2, &[20])]);
    assert_found(vec![committed(vec![append(1, 10)]), writer, skewed], &[GSingle]);
}
