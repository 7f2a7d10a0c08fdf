//! A load and what its own transaction writes.

use super::*;
use strata_core::txn::TableLockMode;

#[test]
fn a_load_meets_what_its_own_transaction_wrote() {
    let db = memory();
    let table = create_accounts(&db, "accounts");
    insert(&db, table, &[account(7, 5), account(8, 5)]).expect("inserts");
    // A key that it has deleted is free; one that it has inserted is not.
    let txn = writer(&db, table);
    for id in [7, 8] {
        let row = committed(&db, &txn, table, id);
        txn.delete(&txn.view().table(table).expect("is there"), row).expect("deletes");
    }
    load_into(&txn, table, &range(0..20)).expect("7 and 8 are free");
    assert_duplicate(load_into(&txn, table, &range(19..40)));
    commit(txn).expect("commits");
    assert_eq!(ids(&db, table), range(0..20));
    let txn = writer(&db, table);
    block_on(txn.insert(&def(&db, table), &account(25, 0))).expect("inserts");
    assert_duplicate(load_into(&txn, table, &range(20..40)));
    assert_clean(&db);
}

/// Bug: entries that were the same in both loads, down to the place of the row, were taken for one.
#[test]
fn the_same_rows_loaded_twice() {
    let db = memory();
    let table = create_accounts(&db, "accounts");
    let txn = loaded(&db, table, &range(0..20));
    assert_duplicate(load_into(&txn, table, &range(0..20)));
    assert_duplicate(load_into(&txn, table, &[vec![-1], range(1..20)].concat()));
    load_into(&txn, table, &range(20..40)).expect("are others");
    assert_duplicate(load_into(&txn, table, &range(20..40)));
    commit(txn).expect("commits");
    assert_eq!(ids(&db, table), range(0..40));
    assert_clean(&db);
}

/// An UPDATE that keeps the key looks for nothing, so the commit must find the two rows.
#[test]
fn a_row_that_its_own_transaction_replaces_after_a_load_of_its_key() {
    for deletes in [false, true] {
        let db = memory();
        let table = create_accounts(&db, "accounts");
        let txn = loaded(&db, table, &range(0..20));
        insert(&db, table, &[account(7, 70)]).expect("nobody has it yet");
        let row = committed(&db, &txn, table, 7);
        let view = txn.view().table(table).expect("is there");
        if deletes {
            txn.delete(&view, row).expect("deletes");
            commit(txn).expect("the key was free again");
            assert_eq!(ids(&db, table), range(0..20));
        } else {
            block_on(txn.update(&view, row, &account(7, 71))).expect("updates");
            assert_duplicate(commit(txn));
            assert_eq!(scan(&db, table), vec![(7, 70)]);
        }
        assert_clean(&db);
    }
}

/// The mirror image: a writer meets the load's row beside its own one of the same key.
#[test]
fn a_loaded_row_that_a_writer_of_its_key_replaces() {
    for deletes in [false, true] {
        let db = memory();
        let table = create_accounts(&db, "accounts");
        let quiet = writer(&db, table);
        block_on(quiet.insert(&def(&db, table), &account(7, 1))).expect("inserts");
        commit(loaded(&db, table, &range(0..20))).expect("commits");
        let row = committed(&db, &quiet, table, 7);
        let view = quiet.view().table(table).expect("is there");
        if deletes {
            quiet.delete(&view, row).expect("deletes");
            commit(quiet).expect("its own is the only one");
            assert!(scan(&db, table).contains(&(7, 1)));
        } else {
            block_on(quiet.update(&view, row, &account(7, 2))).expect("updates");
            assert_duplicate(commit(quiet));
            assert!(scan(&db, table).contains(&(7, 7)));
        }
        assert_eq!(ids(&db, table), range(0..20));
        assert_clean(&db);
    }
}

/// A key that was claimed after a savepoint is given back with it, and may be had by a load until it is claimed again.
#[test]
fn a_key_that_was_given_up_with_a_savepoint() {
    for claims_again in [false, true] {
        let db = memory();
        let table = create_accounts(&db, "accounts");
        let mut txn = inserted(&db, table, 100, 0);
        let before = txn.savepoint();
        block_on(txn.insert(&def(&db, table), &account(7, 1))).expect("inserts");
        txn.rollback_to(&before).expect("goes back");
        let load = loaded(&db, table, &range(0..20));
        if claims_again {
            block_on(txn.insert(&def(&db, table), &account(7, 1))).expect("inserts");
        }
        commit(load).expect("commits first");
        let outcome = commit(txn);
        assert_eq!(outcome.is_err(), claims_again, "{outcome:?}");
        assert_eq!(ids(&db, table).len(), if claims_again { 20 } else { 21 });
        assert_clean(&db);
    }
}

/// What was deleted to make room for a load is there again, and so the load is not.
#[test]
fn a_deletion_that_is_undone_with_the_load_that_it_made_room_for() {
    let db = memory();
    let table = create_accounts(&db, "accounts");
    insert(&db, table, &[account(7, 70)]).expect("inserts");
    let mut txn = writer(&db, table);
    let before = txn.savepoint();
    let row = committed(&db, &txn, table, 7);
    txn.delete(&txn.view().table(table).expect("is there"), row).expect("deletes");
    let between = txn.savepoint();
    load_into(&txn, table, &range(0..20)).expect("7 is free");
    txn.rollback_to(&between).expect("goes back");
    load_into(&txn, table, &range(5..25)).expect("7 is still free");
    txn.rollback_to(&before).expect("goes back");
    assert_duplicate(load_into(&txn, table, &range(0..20)));
    load_into(&txn, table, &range(10..30)).expect("meets nothing");
    commit(txn).expect("commits");
    assert_eq!(ids(&db, table), [vec![7], range(10..30)].concat());
    assert_clean(&db);
}

/// Bug: what was claimed in a heap that going back gave up was taken for claims in the table that got a heap of the same id, and nobody
/// looked at that one's keys again.
#[test]
fn a_heap_that_was_given_up_with_a_savepoint_is_another_tables_later() {
    for (loads, drops) in [(false, false), (false, true), (true, false), (true, true)] {
        let db = memory();
        let [undone, other] = ["undone", "other"].map(|name| create_accounts(&db, name));
        let mut txn = db.begin(Isolation::ReadCommitted).expect("begins");
        let before = txn.savepoint();
        truncate(&mut txn, undone);
        let private = txn.newest_catalog().table(undone).expect("is there").clone();
        block_on(txn.insert(&private, &account(7, 1))).expect("inserts");
        txn.rollback_to(&before).expect("goes back");

        let mut ddl = db.begin(Isolation::ReadCommitted).expect("begins");
        truncate(&mut ddl, other);
        if drops {
            block_on(ddl.lock_table(undone, TableLockMode::AccessExclusive)).expect("locked");
            block_on(ddl.drop_relation(undone)).expect("drops");
        }
        commit(ddl).expect("commits");
        assert_eq!(def(&db, other).heap, private.heap, "else this tests nothing");
        if loads {
            load_into(&txn, other, &range(0..20)).expect("is empty");
            insert(&db, other, &[account(7, 2)]).expect("nobody has it yet");
        } else {
            block_on(txn.lock_table(other, TableLockMode::RowExclusive)).expect("locked");
            block_on(txn.insert(&def(&db, other), &account(7, 2))).expect("is empty");
            commit(loaded(&db, other, &range(0..20))).expect("nobody has committed it yet");
        }
        assert_duplicate(commit(txn));
        assert_eq!(ids(&db, other), if loads { vec![7] } else { range(0..20) });
        assert_clean(&db);
    }
}

fn truncate(txn: &mut Transaction, table: TableId) {
    block_on(txn.lock_table(table, TableLockMode::AccessExclusive)).expect("locked");
    block_on(txn.truncate(table)).expect("truncates");
}
