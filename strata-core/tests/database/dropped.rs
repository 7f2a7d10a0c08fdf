//! What the journal still says of tables that have been dropped.
use std::sync::Arc;

use crate::common::*;
use strata_core::Database;
use strata_core::ids::TableId;
use strata_core::maintenance::Step;
use strata_core::table::Isolation;
use strata_core::txn::{TableLockMode, block_on};
use strata_core::vfs::{MemVfs, SeededRandom};

fn drop_table(db: &Database, table: TableId) {
    let mut txn = db.begin(Isolation::ReadCommitted).expect("begins");
    block_on(txn.lock_table(table, TableLockMode::AccessExclusive)).expect("locked");
    block_on(txn.drop_relation(table)).expect("drops");
    txn.commit().expect("commits").wait().expect("durable");
}

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
