//! Whom a load waits for: whoever is deleting a row with one of its keys, and CREATE INDEX for it.

use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use super::*;
use strata_core::ids::ColumnId;
use strata_core::row::Datum;

/// As an INSERT does: "an INSERT whose key is held by an uncommitted delete waits for it, then re-checks".
#[test]
fn a_load_waits_for_uncommitted_deletes_of_its_keys() {
    for (deletes, commits) in [(true, true), (true, false), (false, true), (false, false)] {
        let db = memory();
        let table = create_accounts(&db, "accounts");
        insert(&db, table, &[account(3, 5), account(7, 5), account(9, 5)]).expect("inserts");
        let other = writer(&db, table);
        for id in [3, 7, 9] {
            let row = committed(&db, &other, table, id);
            let view = other.view().table(table).expect("is there");
            if deletes {
                other.delete(&view, row).expect("deletes");
            } else {
                block_on(other.update(&view, row, &account(100 + id, 5))).expect("changes the key");
            }
        }
        let (sender, ends) = mpsc::channel();
        let loading = {
            let db = db.clone();
            thread::spawn(move || {
                let txn = db.begin(Isolation::ReadCommitted).expect("begins");
                let outcome = load_into(&txn, table, &range(0..20)).and_then(|_| commit(txn));
                sender.send(()).expect("is waited for");
                outcome
            })
        };
        let early = ends.recv_timeout(Duration::from_millis(50));
        assert!(early.is_err(), "the fate of three keys is open");
        if commits {
            commit(other).expect("commits");
            loading.join().expect("no panic").expect("the keys are free");
            let rest = if deletes { vec![] } else { vec![103, 107, 109] };
            assert_eq!(ids(&db, table), [range(0..20), rest].concat());
        } else {
            other.rollback();
            assert_duplicate(loading.join().expect("no panic"));
            assert_eq!(ids(&db, table), vec![3, 7, 9]);
        }
        assert_clean(&db);
    }
}

/// Bug: the row was held as an UPDATE without its key holds it, and the load was refused at once.
#[test]
fn a_load_waits_for_an_uncommitted_delete_of_a_row_that_was_updated_before() {
    for commits in [true, false] {
        let db = memory();
        let table = create_accounts(&db, "accounts");
        insert(&db, table, &[account(7, 5)]).expect("inserts");
        let other = writer(&db, table);
        assert!(add(&other, &db, table, 7, 1).expect("updates"));
        let view = other.view().table(table).expect("is there");
        let (row, _) = find(&other, &db, table, 7).expect("is there");
        block_on(other.lock_row(&view, row, RowLockMode::Update)).expect("locks");
        other.delete(&view, row).expect("deletes");
        let txn = db.begin(Isolation::ReadCommitted).expect("begins");
        let rows = range(0..20);
        let loading = begun(load_rows(&txn, table, &rows));
        if commits {
            commit(other).expect("commits");
            assert_eq!(block_on(loading).expect("the key is free"), 20);
        } else {
            other.rollback();
            assert_duplicate(block_on(loading));
        }
    }
}

/// The row that a load waits for is replaced by one with the same key.
#[test]
fn a_load_meets_the_successor_of_a_row_that_it_waited_for() {
    let db = memory();
    let table = create_accounts(&db, "accounts");
    insert(&db, table, &[account(7, 5)]).expect("inserts");
    let other = writer(&db, table);
    let row = committed(&db, &other, table, 7);
    let view = other.view().table(table).expect("is there");
    other.delete(&view, row).expect("deletes");
    let loading = {
        let db = db.clone();
        thread::spawn(move || {
            let txn = db.begin(Isolation::ReadCommitted).expect("begins");
            load_into(&txn, table, &range(0..20)).and_then(|_| commit(txn))
        })
    };
    thread::sleep(Duration::from_millis(50));
    block_on(other.insert(&def(&db, table), &account(7, 6))).expect("inserts it again");
    commit(other).expect("commits");
    assert_duplicate(loading.join().expect("no panic"));
    assert_eq!(scan(&db, table), vec![(7, 6)]);
    assert_clean(&db);
}

/// TRAPS, "DDL against DML": loads are DML.
#[test]
fn an_index_build_waits_for_loads_and_sees_their_rows() {
    let db = memory();
    let table = create_accounts(&db, "accounts");
    let load = loaded(&db, table, &range(0..20));
    let building = {
        let db = db.clone();
        thread::spawn(move || {
            let mut txn = db.begin(Isolation::ReadCommitted).expect("begins");
            let mut index = primary_key("by_balance");
            index.columns[0].column = ColumnId::new(1);
            index.primary = false;
            block_on(txn.create_index(table, index)).expect("builds");
            commit(txn)
        })
    };
    thread::sleep(Duration::from_millis(50));
    assert!(!building.is_finished(), "a load is in flight");
    commit(load).expect("commits");
    building.join().expect("no panic").expect("commits");
    assert_duplicate(insert(&db, table, &[account(100, 7)]));
    // NULLs are not checked, and both indexes are.
    insert(&db, table, &[vec![Datum::Int64(101), Datum::Null, Datum::Null]]).expect("inserts");
    let txn = writer(&db, table);
    block_on(txn.insert(&def(&db, table), &account(102, 202))).expect("inserts");
    let load = loaded(&db, table, &range(200..220));
    commit(txn).expect("commits first");
    assert_duplicate(commit(load));
    assert_clean(&db);
}

#[test]
fn two_loads_that_wait_for_each_other_deadlock_once() {
    let db = memory();
    let table = create_accounts(&db, "accounts");
    insert(&db, table, &[account(7, 0), account(27, 0)]).expect("inserts");
    let (first, second) = (deleted(&db, table, &[7]), deleted(&db, table, &[27]));
    let keys = range(20..40);
    let waiting = begun(load_rows(&first, table, &keys));
    let refused = load_into(&second, table, &range(0..20));
    assert!(matches!(refused, Err(Error::Deadlock)), "{refused:?}");
    second.rollback();
    assert_duplicate(block_on(waiting));
    first.rollback();
    assert_eq!(ids(&db, table), [7, 27]);
}

/// A load that waits holds up nobody but those who want what its transaction has locked.
#[test]
fn others_write_while_a_load_waits() {
    let db = memory();
    let table = create_accounts(&db, "accounts");
    insert(&db, table, &[account(7, 0)]).expect("inserts");
    let deleting = deleted(&db, table, &[7]);
    let txn = db.begin(Isolation::ReadCommitted).expect("begins");
    let keys = range(0..20);
    let waiting = begun(load_rows(&txn, table, &keys));
    insert(&db, table, &[account(100, 0)]).expect("is not kept waiting");
    insert(&db, table, &[account(8, 0)]).expect("is not kept waiting");
    commit(loaded(&db, table, &range(200..220))).expect("is not kept waiting");
    commit(deleting).expect("commits");
    assert_eq!(block_on(waiting).expect("7 is free"), 20);
    // 8 came after it was looked for.
    assert_duplicate(commit(txn));
    assert_eq!(ids(&db, table), [vec![8, 100], range(200..220)].concat());
    assert_clean(&db);
}

/// Both were checked when the other was not there yet.
#[test]
fn two_loads_of_one_transaction_that_wait_at_once() {
    let db = memory();
    let table = create_accounts(&db, "accounts");
    insert(&db, table, &[account(7, 0)]).expect("inserts");
    let deleting = deleted(&db, table, &[7]);
    let txn = db.begin(Isolation::ReadCommitted).expect("begins");
    let sealed = || {
        let mut load = block_on(txn.bulk_writer(table)).expect("begins");
        load.append(&rows_of(&range(0..20))).expect("appends");
        load.seal().expect("the fate of 7 is open")
    };
    let (first, second) = (sealed(), sealed());
    let (first, second) = (begun(first.adopt(&txn)), begun(second.adopt(&txn)));
    commit(deleting).expect("commits");
    assert_eq!(block_on(first).expect("7 is free"), 20);
    let refused = block_on(second);
    assert!(matches!(refused, Err(Error::Invalid(_))), "{refused:?}");
    commit(txn).expect("commits");
    assert_eq!(ids(&db, table), range(0..20));
    assert_clean(&db);
}
