//! A load and another transaction that commits before it, after it, or not at all.

use std::sync::Arc;

use super::*;
use strata_core::row::Datum;
use strata_core::txn::TableLockMode;
use strata_core::vfs::{MemVfs, SeededRandom};

#[test]
fn a_row_is_inserted_while_a_load_is_in_progress() {
    let db = memory();
    let table = create_accounts(&db, "accounts");
    let txn = db.begin(Isolation::ReadCommitted).expect("begins");
    let mut load = block_on(txn.bulk_load(table)).expect("begins");
    load.append(&rows_of(&range(0..100))).expect("appends");
    insert(&db, table, &[account(1_000, 0)]).expect("is not kept waiting");
    load.append(&rows_of(&range(100..200))).expect("appends");
    insert(&db, table, &[account(1_001, 0)]).expect("is not kept waiting");
    assert_eq!(block_on(load.finish()).expect("is unique"), 200);
    insert(&db, table, &[account(1_002, 0)]).expect("is not kept waiting");
    commit(txn).expect("commits");
    assert_eq!(scan(&db, table).len(), 203);
    assert_clean(&db);
}

/// TRAPS, "Bulk against a quiet writer": the writer commits last.
#[test]
fn bulk_against_a_quiet_writer() {
    let db = memory();
    let table = create_accounts(&db, "accounts");
    let (quiet, other) = (writer(&db, table), writer(&db, table));
    block_on(quiet.insert(&def(&db, table), &account(7, 1))).expect("inserts");
    block_on(other.insert(&def(&db, table), &account(70, 1))).expect("inserts");
    commit(loaded(&db, table, &range(0..20))).expect("commits first");
    assert_duplicate(commit(quiet));
    commit(other).expect("has a key of its own");
    assert_eq!(ids(&db, table), [range(0..20), vec![70]].concat());
    assert_clean(&db);
}

/// TRAPS, "Bulk against a quiet writer": the load commits last.
#[test]
fn a_quiet_writer_against_bulk() {
    let db = memory();
    let table = create_accounts(&db, "accounts");
    let quiet = writer(&db, table);
    block_on(quiet.insert(&def(&db, table), &account(7, 1))).expect("inserts");
    let load = loaded(&db, table, &range(0..20));
    commit(quiet).expect("commits first");
    assert_duplicate(commit(load));
    assert_eq!(ids(&db, table), vec![7]);
    // What came before the load was sealed is found then.
    let txn = db.begin(Isolation::ReadCommitted).expect("begins");
    let mut load = block_on(txn.bulk_load(table)).expect("begins");
    load.append(&rows_of(&range(20..40))).expect("appends");
    insert(&db, table, &[account(25, 0)]).expect("inserts");
    assert_duplicate(block_on(load.finish()));
    assert_clean(&db);
}

/// The keys of a load are not claimed while its transaction goes on: the first to commit has them.
#[test]
fn the_first_to_commit_has_the_keys_of_a_load_whose_transaction_goes_on() {
    let db = memory();
    let table = create_accounts(&db, "accounts");
    let mut txn = loaded(&db, table, &range(0..20));
    insert(&db, table, &[account(20, 0)]).expect("another key");
    let before = txn.savepoint();
    assert_eq!(load_into(&txn, table, &range(30..50)).expect("loads"), 20);
    insert(&db, table, &[account(30, 0)]).expect("nobody has it yet");
    txn.rollback_to(&before).expect("gives the second load up");
    commit(txn).expect("the first is unique");
    assert_eq!(ids(&db, table), [range(0..21), vec![30]].concat());

    let txn = loaded(&db, table, &range(40..60));
    insert(&db, table, &[account(45, 0)]).expect("nobody has it yet");
    assert_duplicate(commit(txn));
    assert_eq!(ids(&db, table), [range(0..21), vec![30, 45]].concat());
    assert_clean(&db);
}

#[test]
fn of_two_loads_with_one_key_the_first_to_commit_has_it() {
    let db = memory();
    let table = create_accounts(&db, "accounts");
    let (first, second) = (loaded(&db, table, &range(0..300)), loaded(&db, table, &range(299..600)));
    let third = loaded(&db, table, &range(600..900));
    commit(second).expect("commits first");
    assert_duplicate(commit(first));
    commit(third).expect("meets no other");
    assert_eq!(ids(&db, table), range(299..900));
    assert_clean(&db);
}

#[test]
fn a_load_against_a_writer_that_rolls_back() {
    let db = memory();
    let table = create_accounts(&db, "accounts");
    let quiet = writer(&db, table);
    block_on(quiet.insert(&def(&db, table), &account(7, 1))).expect("inserts");
    let load = loaded(&db, table, &range(0..20));
    quiet.rollback();
    commit(load).expect("the key is free");
    let quiet = writer(&db, table);
    block_on(quiet.insert(&def(&db, table), &account(25, 1))).expect("inserts");
    drop(loaded(&db, table, &range(20..40)));
    commit(quiet).expect("the load was given up");
    assert_eq!(ids(&db, table), [range(0..20), vec![25]].concat());
    assert_clean(&db);
}

/// Only what is inserted is checked.
#[test]
fn an_update_that_keeps_or_changes_keys_beside_a_load() {
    for (to, clashes) in [(100, false), (200, false), (7, true)] {
        for load_is_first in [false, true] {
            let db = memory();
            let table = create_accounts(&db, "accounts");
            insert(&db, table, &[account(100, 0)]).expect("inserts");
            let load = loaded(&db, table, &range(0..20));
            let txn = writer(&db, table);
            let row = committed(&db, &txn, table, 100);
            let view = txn.view().table(table).expect("is there");
            block_on(txn.update(&view, row, &account(to, 1))).expect("updates");
            let (first, second) = if load_is_first { (load, txn) } else { (txn, load) };
            commit(first).expect("commits first");
            let outcome = commit(second);
            assert_eq!(outcome.is_err(), clashes, "{outcome:?}");
            if clashes {
                assert_duplicate(outcome);
            }
            assert_clean(&db);
        }
    }
}

/// NULLs are no keys.
#[test]
fn nulls_meet_nothing() {
    let db = memory();
    let table = create_accounts(&db, "accounts");
    let mut txn = db.begin(Isolation::ReadCommitted).expect("begins");
    let mut by_note = primary_key("by_note");
    (by_note.primary, by_note.constraint) = (false, false);
    by_note.columns[0].column = strata_core::ids::ColumnId::new(1);
    block_on(txn.create_index(table, by_note)).expect("builds");
    commit(txn).expect("commits");
    let null = |id: i64| vec![Datum::Int64(id), Datum::Null, Datum::Null];
    let nulls = |ids: std::ops::Range<i64>| {
        let columns = rows_of(&range(ids));
        let nothing = Int64Array::from(vec![None; columns.num_rows()]);
        RecordBatch::try_new(
            columns.schema(),
            vec![columns.column(0).clone(), Arc::new(nothing), columns.column(2).clone()],
        )
    };
    insert(&db, table, &[null(99)]).expect("inserts");
    let quiet = writer(&db, table);
    block_on(quiet.insert(&def(&db, table), &null(100))).expect("inserts");
    let load = db.begin(Isolation::ReadCommitted).expect("begins");
    block_on(async {
        let mut rows = load.bulk_load(table).await.expect("begins");
        rows.append(&nulls(0..20).expect("fits")).expect("appends");
        rows.finish().await.expect("is unique");
    });
    insert(&db, table, &[null(101)]).expect("inserts");
    commit(load).expect("commits");
    commit(quiet).expect("commits");
    assert_eq!(db.view().table(table).expect("is there").row_count(), 23);
    assert_clean(&db);
}

/// Frozen, merged, moved, dropped: what came between a load and its commit is found in any form.
#[test]
fn maintenance_between_a_load_and_its_commit() {
    for clashes in [false, true] {
        let db = memory();
        let table = create_accounts(&db, "accounts");
        insert(&db, table, &[account(7, 0)]).expect("inserts");
        commit(deleted(&db, table, &[7])).expect("frees the key");
        let load = loaded(&db, table, &range(0..20));
        let others: Vec<_> = (1_000..1_200).map(|id| account(id, 0)).collect();
        insert(&db, table, &others).expect("inserts");
        insert(&db, table, &[account(3, 0)]).expect("nobody has it yet");
        if !clashes {
            commit(deleted(&db, table, &[3])).expect("frees the key");
        }
        commit(deleted(&db, table, &range(1_000..1_150))).expect("deletes");
        db.checkpoint().expect("writes");
        db.vacuum().expect("freezes");
        let outcome = commit(load);
        assert_eq!(outcome.is_err(), clashes, "{outcome:?}");
        assert_eq!(ids(&db, table).len(), if clashes { 51 } else { 70 });
        db.vacuum().expect("freezes");
        assert_duplicate(insert(&db, table, &[account(3, 0)]));
        assert_clean(&db);
    }
}

/// The same for a row writer: the load that came meanwhile is found in any form.
#[test]
fn maintenance_between_an_insert_and_its_commit() {
    for clashes in [false, true] {
        let db = memory();
        let table = create_accounts(&db, "accounts");
        let quiet = inserted(&db, table, 7, 1);
        commit(loaded(&db, table, &range(0..20))).expect("commits");
        if !clashes {
            commit(deleted(&db, table, &[7])).expect("frees the key");
        }
        commit(deleted(&db, table, &range(8..20))).expect("deletes");
        db.checkpoint().expect("writes");
        db.vacuum().expect("rewrites");
        let outcome = commit(quiet);
        assert_eq!(outcome.is_err(), clashes, "{outcome:?}");
        assert_eq!(ids(&db, table), range(0..8));
        assert_clean(&db);
    }
}

/// Keys of a load are found after replay, those of one that was refused are free.
#[test]
fn keys_of_loads_after_a_crash() {
    for checkpoint in [false, true] {
        let vfs = Arc::new(MemVfs::new());
        let db = Database::open_with_vfs(vfs.clone(), DIR, small()).expect("opens");
        let table = create_accounts(&db, "accounts");
        let quiet = inserted(&db, table, 7, 1);
        let refused = loaded(&db, table, &range(5..100));
        commit(loaded(&db, table, &range(0..20))).expect("commits");
        insert(&db, table, &[account(20, 0)]).expect("inserts");
        assert_duplicate(commit(quiet));
        assert_duplicate(commit(refused));
        if checkpoint {
            db.checkpoint().expect("writes");
        }
        let crashed = vfs.crash_clone(&SeededRandom::new(1));
        let db = Database::open_with_vfs(Arc::new(crashed), DIR, small()).expect("opens");
        assert_eq!(ids(&db, table), range(0..21));
        for id in 0..21 {
            assert_duplicate(insert(&db, table, &[account(id, 0)]));
        }
        let txn = db.begin(Isolation::ReadCommitted).expect("begins");
        assert_duplicate(load_into(&txn, table, &range(19..40)));
        drop(txn);
        commit(loaded(&db, table, &range(21..100))).expect("the keys are free");
        assert_eq!(ids(&db, table), range(0..100));
        assert_clean(&db);
    }
}

/// A table that gets another heap, or none, loses the keys with it.
#[test]
fn keys_of_a_table_that_is_truncated_or_dropped() {
    for drops in [false, true] {
        let db = memory();
        let table = create_accounts(&db, "accounts");
        let mut txn = loaded(&db, table, &range(0..20));
        insert(&db, table, &[account(7, 0)]).expect("nobody has it yet");
        block_on(txn.lock_table(table, TableLockMode::AccessExclusive)).expect("locks");
        if drops {
            block_on(txn.drop_relation(table)).expect("drops");
            commit(txn).expect("loses nothing");
            assert!(db.catalog().table(table).is_err());
        } else {
            block_on(txn.truncate(table)).expect("truncates");
            let def = txn.newest_catalog().table(table).expect("is there").clone();
            block_on(txn.insert(&def, &account(7, 1))).expect("the table is empty");
            commit(txn).expect("the first 7 is gone");
            assert_eq!(scan(&db, table), [(7, 1)]);
        }
        assert_clean(&db);
    }
}
