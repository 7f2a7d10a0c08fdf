//! Savepoints: an index and its keys go with what was undone, and nothing else does.

use super::*;
use strata_core::vfs::{Fault, FaultEffect, FaultVfs};

/// What a transaction writes before its index: rows that are loaded, rows that are written out, rows in memory.
fn write(txn: &Transaction, table: TableId) {
    load(txn, table, &rows_of(100..100 + LOADED_ROWS)).expect("loads");
    rows_of(200..235).into_iter().for_each(|row| put(txn, table, row).expect("inserts"));
}

fn written() -> Vec<Row> {
    [0..5, 100..130, 200..235].map(rows_of).concat()
}

#[test]
fn an_index_is_undone_with_its_files() {
    let rig = Rig::new(OWN_ROWS);
    rig.insert(&rows_of(0..5));
    let used = || rig.db.stats().blocks_used_bytes;
    let empty = used();
    let mut txn = rig.writer();
    let first = txn.savepoint();
    write(&txn, rig.table);
    let (second, before) = (txn.savepoint(), used());
    for _ in 0..2 {
        create(&mut txn, rig.table, key_on_id()).expect("indexed");
        assert!(used() > before);
        txn.rollback_to(&second).expect("is there");
        assert_eq!(used(), before, "blocks are left");
        put(&txn, rig.table, same(7_000)).expect("inserts");
        txn.rollback_to(&second).expect("is there");
        assert_eq!(newest(&txn, rig.table).indexes.len(), 0);
        assert_shows(&txn.view().table(rig.table).expect("is there"), &written());
    }
    create(&mut txn, rig.table, key_on_id()).expect("indexed");
    load(&txn, rig.table, &rows_of(300..330)).expect("loads");
    txn.rollback_to(&first).expect("is there");
    assert_eq!(used(), empty, "blocks are left");
    write(&txn, rig.table);
    create(&mut txn, rig.table, key_on_id()).expect("indexed");
    let last = txn.savepoint();
    rows_of(240..275).into_iter().for_each(|row| put(&txn, rig.table, row).expect("inserts"));
    delete(&txn, rig.table, 3);
    delete(&txn, rig.table, 203);
    txn.rollback_to(&last).expect("is there");
    for key in [3, 103, 203, 234] {
        assert_duplicate(put(&txn, rig.table, (9_000, Some(key), None)));
    }
    commit(txn).expect("commits");
    rig.assert_has(&written());
    let mut txn = rig.writer();
    let before = used();
    load(&txn, rig.table, &rows_of(300..330)).expect("loads");
    rows_of(400..435).into_iter().for_each(|row| put(&txn, rig.table, row).expect("inserts"));
    create(&mut txn, rig.table, index_on("by_other", &[2], true)).expect("indexed");
    drop(txn);
    assert_eq!(used(), before, "blocks are left");
}

/// The next index of the transaction has the id of the one that was undone.
#[test]
fn the_keys_of_an_index_that_is_undone_are_not_in_the_next_one() {
    // The rows before the index are in a block when it is made, or come to one before it is undone.
    for rows in [5, 35] {
        let rig = Rig::new(OWN_ROWS);
        rig.insert(&rows_of(0..5));
        let mut txn = rig.writer();
        let id = |tag: i64| (tag, Some(tag), Some(10_000 - tag));
        (200..200 + rows).for_each(|tag| put(&txn, rig.table, id(tag)).expect("inserts"));
        load(&txn, rig.table, &rows_of(100..130)).expect("loads");
        let savepoint = txn.savepoint();
        let undone = create(&mut txn, rig.table, index_on("by_other", &[2], true)).expect("indexed");
        rows_of(400..435).into_iter().for_each(|row| put(&txn, rig.table, row).expect("inserts"));
        txn.rollback_to(&savepoint).expect("is there");
        let made = create(&mut txn, rig.table, key_on_id()).expect("indexed");
        assert_eq!(made, undone, "else this tests nothing");
        // Keys that the other index had.
        for key in [9_800, 400] {
            put(&txn, rig.table, (key, Some(key), Some(0))).expect("is free");
        }
        rows_of(500..515).into_iter().for_each(|row| put(&txn, rig.table, row).expect("inserts"));
        let mut expected = [rows_of(0..5), rows_of(100..130), rows_of(500..515)].concat();
        expected.extend((200..200 + rows).map(id));
        expected.extend([(9_800, Some(9_800), Some(0)), (400, Some(400), Some(0))]);
        expected.sort_unstable();
        assert_shows(&txn.view().table(rig.table).expect("is there"), &expected);
        commit(txn).expect("commits");
        rig.assert_has(&expected);
    }
}

/// Bug: keys of an index that was undone were committed where its rows had been written out meanwhile, and the next index, of
/// another transaction, found them.
#[test]
fn the_keys_of_an_index_that_is_undone_are_not_committed() {
    let rig = Rig::new(OWN_ROWS);
    let mut txn = rig.writer();
    rows_of(0..5).into_iter().for_each(|row| put(&txn, rig.table, row).expect("inserts"));
    let savepoint = txn.savepoint();
    let undone = create(&mut txn, rig.table, index_on("by_other", &[2], true)).expect("indexed");
    rows_of(400..435).into_iter().for_each(|row| put(&txn, rig.table, row).expect("inserts"));
    txn.rollback_to(&savepoint).expect("is there");
    commit(txn).expect("commits");
    let mut txn = rig.writer();
    let made = create(&mut txn, rig.table, index_on("by_tag", &[0, 1], false)).expect("indexed");
    assert_eq!(made, undone, "else this tests nothing");
    commit(txn).expect("commits");
    rig.assert_has(&rows_of(0..5));
}

/// An index that is dropped again leaves nothing that is found.
#[test]
fn an_index_that_its_transaction_drops_again() {
    for undone in [false, true] {
        let rig = Rig::new(OWN_ROWS);
        rig.insert(&rows_of(0..5));
        let mut txn = rig.writer();
        write(&txn, rig.table);
        let index = create(&mut txn, rig.table, key_on_id()).expect("indexed");
        let savepoint = txn.savepoint();
        block_on(txn.change_catalog(|catalog| catalog.drop_index(rig.table, index))).expect("dropped");
        if undone {
            txn.rollback_to(&savepoint).expect("is there");
            assert_duplicate(put(&txn, rig.table, (240, Some(203), None)));
        } else {
            put(&txn, rig.table, (240, Some(203), None)).expect("anything goes");
            create(&mut txn, rig.table, index_on("by_id", &[1], false)).expect("indexed");
        }
        commit(txn).expect("commits");
        let more = if undone { vec![] } else { vec![(240, Some(203), None)] };
        rig.assert_has(&[written(), more].concat());
    }
}

/// Nor files that nobody would read.
#[test]
fn an_index_that_is_dropped_again_takes_no_space() {
    let used = [false, true].map(|indexed| {
        let rig = Rig::new(OWN_ROWS);
        let mut txn = rig.writer();
        rows_of(0..35).into_iter().for_each(|row| put(&txn, rig.table, row).expect("inserts"));
        if indexed {
            let index = create(&mut txn, rig.table, key_on_id()).expect("indexed");
            rows_of(35..70).into_iter().for_each(|row| put(&txn, rig.table, row).expect("inserts"));
            block_on(txn.change_catalog(|catalog| catalog.drop_index(rig.table, index))).expect("dropped");
        } else {
            rows_of(35..70).into_iter().for_each(|row| put(&txn, rig.table, row).expect("inserts"));
        }
        commit(txn).expect("commits");
        rig.assert_has(&rows_of(0..70));
        rig.db.stats().blocks_used_bytes
    });
    assert_eq!(used[0], used[1]);
}

/// A view of before goes on without the index, and one with it goes on when it is undone.
#[test]
fn views_go_on_showing_what_they_showed() {
    let rig = Rig::new(OWN_ROWS);
    let mut txn = rig.writer();
    rows_of(200..235).into_iter().for_each(|row| put(&txn, rig.table, row).expect("inserts"));
    let before = txn.view();
    let savepoint = txn.savepoint();
    let index = create(&mut txn, rig.table, key_on_id()).expect("indexed");
    load(&txn, rig.table, &rows_of(100..130)).expect("loads");
    let loaded = [100..130, 200..235].map(rows_of).concat();
    let with_load = txn.view();
    rows_of(240..275).into_iter().for_each(|row| put(&txn, rig.table, row).expect("inserts"));
    txn.rollback_to(&savepoint).expect("is there");
    let made = create(&mut txn, rig.table, index_on("by_other", &[2], false)).expect("indexed");
    assert_eq!(made, index, "else this tests nothing");
    rows_of(0..25).into_iter().for_each(|row| put(&txn, rig.table, row).expect("inserts"));
    assert_shows(&before.table(rig.table).expect("is there"), &rows_of(200..235));
    assert_shows(&with_load.table(rig.table).expect("is there"), &loaded);
    let expected = [0..25, 200..235].map(rows_of).concat();
    let view = txn.view().table(rig.table).expect("is there");
    assert!(view.index_is_whole(made));
    assert_shows(&view, &expected);
    drop((before, with_load, view));
    commit(txn).expect("commits");
    rig.assert_has(&expected);
}

/// Whichever write fails: the statement leaves nothing, and the transaction goes on.
#[test]
fn an_index_whose_making_fails_leaves_nothing() {
    for at in 0.. {
        let memory = Arc::new(MemVfs::new());
        let faults = FaultVfs::new(memory.clone());
        let rig = Rig::over(memory, Arc::new(faults.clone()), OWN_ROWS);
        rig.insert(&rows_of(0..5));
        let mut txn = rig.writer();
        write(&txn, rig.table);
        load(&txn, rig.table, &rows_of(300..300 + LOADED_ROWS)).expect("loads");
        let expected = [written(), rows_of(300..330)].concat();
        let before = rig.db.stats().blocks_used_bytes;
        faults.arm(Fault::nth(at, FaultEffect::InputOutput));
        let made = create(&mut txn, rig.table, key_on_id());
        faults.disarm();
        if made.is_err() {
            assert_eq!(rig.db.stats().blocks_used_bytes, before, "call {at}: blocks are left");
            assert_eq!(newest(&txn, rig.table).indexes.len(), 0);
            put(&txn, rig.table, same(3)).expect("nothing forbids it");
            commit(txn).expect("commits");
            rig.assert_has(&[expected, vec![same(3)]].concat());
        } else {
            assert_eq!(faults.fired(), 0, "call {at}: a fault is passed over");
            assert!(at > 3, "there are more places to write to");
            commit(txn).expect("commits");
            rig.assert_has(&expected);
            return;
        }
    }
}
