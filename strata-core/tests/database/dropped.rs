//! What the journal still says of tables that have been dropped.
use std::sync::Arc;

use crate::common::*;
use strata_core::ids::ColumnId;
use strata_core::maintenance::Step;
use strata_core::row::Datum;
use strata_core::table::Isolation;
use strata_core::txn::{TableLockMode, block_on};
use strata_core::vfs::{MemVfs, SeededRandom};

/// TRAPS, "Extents": the journal names the blocks of a load into a table that is gone; others have them by now.
#[test]
fn extents_of_a_load_into_a_table_that_was_dropped() {
    let vfs = Arc::new(MemVfs::new());
    let db = open(&vfs);
    let gone = create_accounts(&db, "gone");
    load(&db, gone, 0..20_000).expect("loads");
    while db.maintain().expect("steps") != Step::Idle {}
    drop_table(&db, gone);
    while db.maintain().expect("steps") != Step::Idle {}
    let table = create_accounts(&db, "accounts");
    load(&db, table, 0..20_000).expect("loads");
    while db.maintain().expect("steps") != Step::Idle {}
    let crashed = Arc::new(vfs.crash_clone(&SeededRandom::new(3)));
    let db = open(&crashed);
    assert!(db.replayed_records() > 0);
    while db.maintain().expect("steps") != Step::Idle {}
    let other = create_accounts(&db, "other");
    load(&db, other, 0..20_000).expect("loads");
    db.vacuum().expect("vacuums");
    assert_eq!((scan(&db, table).len(), scan(&db, other).len()), (20_000, 20_000));
    assert_clean(&db);
}

/// Replay makes the heap of a dropped table anew, from the middle of a segment on: no checkpoint may write that down.
#[test]
fn rows_of_a_dropped_table_that_replay_meets_leave_nothing() {
    let vfs = Arc::new(MemVfs::new());
    let db = open(&vfs);
    let (gone, table) = (create_accounts(&db, "gone"), create_accounts(&db, "accounts"));
    insert(&db, gone, &[account(1, 10)]).expect("inserts");
    db.checkpoint().expect("checkpoints");
    insert(&db, gone, &[account(2, 20)]).expect("inserts");
    insert(&db, table, &[account(1, 10)]).expect("inserts");
    drop_table(&db, gone);
    while db.maintain().expect("steps") != Step::Idle {}
    let crashed = Arc::new(vfs.crash_clone(&SeededRandom::new(3)));
    let db = open(&crashed);
    assert!(db.replayed_records() > 0);
    db.checkpoint().expect("checkpoints");
    drop(db);
    let db = open(&crashed);
    assert_eq!(scan(&db, table), vec![(1, 10)]);
    assert_clean(&db);
}

/// Bug: a segment that was frozen after a column had been dropped lost its values for snapshots that still show them.
#[test]
fn a_dropped_column_is_there_for_older_snapshots() {
    let vfs = Arc::new(MemVfs::new());
    let db = open(&vfs);
    let table = create_accounts(&db, "accounts");
    insert(&db, table, &(0..100).map(|id| account(id, 7)).collect::<Vec<_>>()).expect("inserts");
    load(&db, table, 1_000..30_000).expect("loads");
    let old = db.view().table(table).expect("is there");
    let balances = || -> Vec<Datum> {
        let mut balances = Vec::new();
        for segment in old.segments().expect("reads") {
            for slot in
                old.visible_slots(&segment, 0..segment.slots()).expect("reads").into_iter().step_by(50)
            {
                let row = segment.segment().first_row().offset(u64::from(slot));
                let values = old.row(row).expect("reads").to_datums(&old.def().schema).expect("reads");
                balances.push(values[1].clone());
            }
        }
        balances
    };
    let before = balances();
    assert!(before.len() > 500 && !before.contains(&Datum::Null));
    let mut txn = db.begin(Isolation::ReadCommitted).expect("begins");
    block_on(txn.lock_table(table, TableLockMode::AccessExclusive)).expect("locked");
    let dropped = ColumnId::new(1);
    block_on(txn.change_catalog(|catalog| catalog.drop_column(table, dropped))).expect("drops");
    txn.commit().expect("commits").wait().expect("durable");
    // Most of a loaded segment is garbage, so that it is rewritten, too.
    let txn = writer(&db, table);
    for id in 1_000..16_000 {
        let (row, _) = find(&txn, &db, table, id).expect("is there");
        txn.delete(&txn.view().table(table).expect("is there"), row).expect("deletes");
    }
    txn.commit().expect("commits").wait().expect("durable");
    db.vacuum().expect("vacuums");
    assert_eq!(balances(), before);
    assert_clean(&db);
}
