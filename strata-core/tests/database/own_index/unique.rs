//! No key is there twice, whichever way the two rows have come.

use super::*;

/// Ways in which a row can be there when the index is made.
const WAYS: [&str; 5] = ["committed", "loaded", "loaded first", "written out", "in memory"];

/// How many own rows are in memory.
fn in_memory(txn: &Transaction, table: TableId) -> usize {
    txn.view().table(table).expect("is there").contents().expect("reads").own_rows.len()
}

/// A transaction that has written a row of each kind of place, with the tags -1 to -5; `extra` are in that place too.
fn written(rig: &Rig, extra: &[(usize, Row)]) -> Transaction {
    let table = rig.table;
    let of = |way: usize| extra.iter().filter(move |(at, _)| *at == way).map(|(_, row)| *row);
    let with = |way: usize, row: Row| [row].into_iter().chain(of(way)).collect::<Vec<Row>>();
    let txn = rig.writer();
    let first = [with(2, same(-3)), rows_of(1_000..1_000 + LOADED_ROWS)].concat();
    load(&txn, table, &first).expect("loads");
    // Others commit after the load, and before the index.
    rig.insert(&with(0, same(-1)));
    load(&txn, table, &[rows_of(2_000..2_000 + LOADED_ROWS), with(1, same(-2))].concat()).expect("loads");
    for row in [with(3, same(-4)), rows_of(3_000..3_000 + 2 * OWN_ROWS as i64)].concat() {
        put(&txn, table, row).expect("inserts");
    }
    // Fill what is in memory up, so that the next rows stay there.
    let here = in_memory(&txn, table);
    for row in rows_of(4_000..4_000 + (OWN_ROWS - here) as i64).into_iter().chain(with(4, same(-5))) {
        put(&txn, table, row).expect("inserts");
    }
    assert_eq!(in_memory(&txn, table), 1 + of(4).count(), "else the ways are not those");
    txn
}

#[test]
fn a_unique_index_is_refused_for_any_two_rows_of_a_key() {
    for (one, first) in WAYS.iter().enumerate() {
        for (two, second) in WAYS.iter().enumerate().skip(one) {
            let context = format!("{first} and {second}");
            let rig = Rig::new(OWN_ROWS);
            let used = || rig.db.stats().blocks_used_bytes;
            let rows = [(one, (-10, Some(77), Some(5))), (two, (-11, Some(77), Some(6)))];
            let mut txn = written(&rig, &rows);
            let before = seen(&txn, rig.table);
            let used_before = used();
            for index in [key_on_id(), index_on("unique", &[1], true)] {
                let refused = create(&mut txn, rig.table, index);
                assert!(matches!(refused, Err(Error::DuplicateKey { .. })), "{context}: {refused:?}");
                assert!(!txn.has_ddl());
                assert_eq!(used(), used_before, "{context}: blocks are left");
                assert_shows(&txn.view().table(rig.table).expect("is there"), &before);
            }
            create(&mut txn, rig.table, index_on("others", &[1], false)).expect("may have it twice");
            create(&mut txn, rig.table, index_on("unique", &[2], true)).expect("is unique there");
            put(&txn, rig.table, same(9_999)).expect("goes on");
            commit(txn).expect("commits");
            rig.assert_has(&[before, vec![same(9_999)]].concat());
        }
    }
}

/// Two rows with NULL in the key are no duplicates, but no primary key has them.
#[test]
fn null_is_unique_and_no_primary_key() {
    for (way, name) in WAYS.iter().enumerate() {
        let rig = Rig::new(OWN_ROWS);
        let rows = [(way, (-10, None, Some(77))), (way, (-11, None, Some(77)))];
        let mut txn = written(&rig, &rows);
        let refused = create(&mut txn, rig.table, key_on_id());
        assert!(matches!(refused, Err(Error::NotNull { .. })), "{name}: {refused:?}");
        create(&mut txn, rig.table, index_on("unique", &[1], true)).expect("NULL is not NULL");
        create(&mut txn, rig.table, index_on("both", &[2, 1], true)).expect("NULL is not NULL");
        put(&txn, rig.table, (-12, None, Some(77))).expect("another");
        let many: Vec<Row> = (5_000..5_000 + LOADED_ROWS).map(|tag| (tag, None, Some(77))).collect();
        load(&txn, rig.table, &many).expect("others");
        commit_what_is_seen(&rig, txn);
    }
}

#[test]
fn what_comes_after_the_index_is_refused_for_a_key_that_is_there() {
    let rig = Rig::new(OWN_ROWS);
    rig.insert(&[same(50)]);
    let mut txn = written(&rig, &[]);
    let unique = create(&mut txn, rig.table, key_on_id()).expect("indexed");
    for key in -5..0 {
        let context = WAYS[(-1 - key) as usize];
        let refused = put(&txn, rig.table, (100, Some(key), None));
        assert!(
            matches!(refused, Err(Error::DuplicateKey { index, .. }) if index == unique),
            "{context}: {refused:?}"
        );
        let refused = update(&txn, rig.table, (50, Some(key), None));
        assert!(matches!(refused, Err(Error::DuplicateKey { .. })), "{context}: {refused:?}");
        let refused = load(&txn, rig.table, &[rows_of(6_000..6_020), vec![(100, Some(key), None)]].concat());
        assert!(matches!(refused, Err(Error::DuplicateKey { .. })), "{context}: {refused:?}");
    }
    commit_what_is_seen(&rig, txn);
}

/// Bug: a load was refused for the key of a committed row that the transaction had deleted after it made the index.
#[test]
fn a_key_is_free_again_once_its_row_is_deleted() {
    for loads in [false, true] {
        let rig = Rig::new(OWN_ROWS);
        let mut txn = written(&rig, &[]);
        create(&mut txn, rig.table, key_on_id()).expect("indexed");
        // Those that were loaded cannot be deleted yet.
        for tag in [-1, -4, -5] {
            delete(&txn, rig.table, tag);
        }
        let again = [-1, -4, -5].map(|key| (100 - key, Some(key), None));
        if loads {
            load(&txn, rig.table, &[rows_of(6_000..6_020), again.to_vec()].concat()).expect("are free");
        } else {
            again.iter().for_each(|row| put(&txn, rig.table, *row).expect("is free"));
        }
        for row in again {
            assert_duplicate(put(&txn, rig.table, (200, row.1, None)));
        }
        commit_what_is_seen(&rig, txn);
    }
}

/// A row that the transaction has deleted before it made the index is not in it.
#[test]
fn what_was_deleted_before_the_index_is_in_nobodys_way() {
    let rig = Rig::new(OWN_ROWS);
    let rows = [0, 3, 4].map(|way| (way, (-20 - way as i64, Some(77), Some(5))));
    let mut txn = written(&rig, &rows);
    delete(&txn, rig.table, -20);
    delete(&txn, rig.table, -23);
    create(&mut txn, rig.table, key_on_id()).expect("one is left");
    commit_what_is_seen(&rig, txn);
}

#[test]
fn loads_and_indexes_take_turns() {
    let rig = Rig::new(OWN_ROWS);
    let table = rig.table;
    let mut txn = rig.writer();
    create(&mut txn, table, index_on("first", &[0], true)).expect("indexed");
    load(&txn, table, &rows_of(0..30)).expect("loads");
    create(&mut txn, table, index_on("second", &[1], true)).expect("indexed");
    load(&txn, table, &rows_of(30..60)).expect("loads");
    assert_duplicate(load(&txn, table, &[rows_of(100..120), vec![(121, Some(7), None)]].concat()));
    rows_of(60..85).into_iter().for_each(|row| put(&txn, table, row).expect("inserts"));
    create(&mut txn, table, index_on("third", &[2], true)).expect("indexed");
    assert_duplicate(load(&txn, table, &[rows_of(100..120), vec![(121, None, Some(65))]].concat()));
    assert_duplicate(put(&txn, table, (100, None, Some(35))));
    load(&txn, table, &rows_of(85..115)).expect("loads");
    create(&mut txn, table, index_on("fourth", &[2, 1], false)).expect("indexed");
    let expected = rows_of(0..115);
    assert_shows(&txn.view().table(table).expect("is there"), &expected);
    commit(txn).expect("commits");
    assert_eq!(rig.committed().def().indexes.len(), 4);
    rig.assert_has(&expected);
}

/// A load knows the indexes of when it was begun.
#[test]
fn a_load_that_was_begun_before_the_index_is_refused() {
    for rows in [3, LOADED_ROWS] {
        let rig = Rig::new(OWN_ROWS);
        let mut txn = rig.writer();
        let mut load = block_on(txn.bulk_writer(rig.table)).expect("begins");
        load.append(&batch_of(&rows_of(0..rows))).expect("fits");
        create(&mut txn, rig.table, key_on_id()).expect("indexed");
        let adopted = block_on(load.seal().expect("sealed").adopt(&txn));
        assert!(matches!(adopted, Err(Error::Invalid(_))), "{adopted:?}");
        commit(txn).expect("commits");
        rig.assert_has(&[]);
    }
}

/// Others commit between a load and the index: against an index that both know, the commit checks; against the new one, its making.
#[test]
fn rows_that_others_commit_before_the_index_are_checked_against_it() {
    let levels = [Isolation::ReadCommitted, Isolation::RepeatableRead];
    for (clashes, level) in [false, true].into_iter().flat_map(|clashes| levels.map(|level| (clashes, level)))
    {
        let rig = Rig::new(OWN_ROWS);
        let mut txn = rig.db.begin(level).expect("begins");
        assert_eq!(txn.view().table(rig.table).expect("is there").row_count(), 0);
        load(&txn, rig.table, &rows_of(0..30)).expect("loads");
        rows_of(30..45).into_iter().for_each(|row| put(&txn, rig.table, row).expect("inserts"));
        let other = rig.writer();
        let key = if clashes { 37 } else { 70 };
        load(&other, rig.table, &[rows_of(100..130), vec![(130, Some(key), None)]].concat()).expect("loads");
        commit(other).expect("commits");
        let made = create(&mut txn, rig.table, key_on_id());
        assert_eq!(made.is_err(), clashes, "{made:?}");
        let refused = put(&txn, rig.table, (200, Some(110), None));
        assert_eq!(refused.is_err(), !clashes, "{refused:?}");
        let more = if clashes { vec![(200, Some(110), None)] } else { vec![] };
        commit(txn).expect("commits");
        rig.assert_has(&[rows_of(0..45), rows_of(100..130), vec![(130, Some(key), None)], more].concat());
    }
}
