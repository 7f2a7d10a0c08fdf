//! Opening fits into the memory that the database ran in, whatever the journal holds.

use std::ops::Bound::Unbounded;
use std::sync::Arc;

use strata_core::ids::{RowId, TableId};
use strata_core::maintenance::{MaintenanceOptions, Step};
use strata_core::table::Isolation;
use strata_core::txn::{CommitTicket, RowLockMode, TableLockMode, block_on};
use strata_core::vfs::{MemVfs, SeededRandom};
use strata_core::{Database, Options, Sizes};

use crate::common::*;

/// Commits that are under way at once.
const IN_FLIGHT: usize = 500;

fn open_within(vfs: &Arc<MemVfs>, memory_bytes: usize) -> Database {
    open_with(vfs, Options { memory_bytes, ..manual() })
}

fn crash(vfs: &MemVfs) -> Arc<MemVfs> {
    Arc::new(vfs.crash_clone(&SeededRandom::new(7)))
}

/// What a maintenance thread does beside commits; the journal has not grown enough for a checkpoint.
fn maintain(db: &Database) {
    loop {
        match db.maintain().expect("works") {
            Step::Idle => return,
            Step::Checkpoint => panic!("the journal was to grow"),
            _ => {}
        }
    }
}

fn wait_for(tickets: &mut Vec<CommitTicket>) {
    for ticket in tickets.drain(..) {
        ticket.wait().expect("durable");
    }
}

/// The first rows by id.
fn first_rows(db: &Database, table: TableId, most: usize) -> Vec<RowId> {
    let view = db.view().table(table).expect("is there");
    let index = view.def().primary_key().expect("has one").id;
    let rows = view.range(index, Unbounded, Unbounded, false).expect("seeks");
    rows.take(most).collect::<strata_core::Result<_>>().expect("reads")
}

/// Each commit that ends a row leaves a group of marks until a prune; those of a long journal are more than memory.
#[test]
fn many_small_deletes_are_replayed_in_the_memory_they_ran_in() {
    const ROWS: i64 = 45_000;
    const DELETED: usize = 38_000;
    const MEMORY_BYTES: usize = 4 << 20;
    let vfs = Arc::new(MemVfs::new());
    let table = {
        let db = open(&vfs);
        let table = create_accounts(&db, "accounts");
        load(&db, table, 0..ROWS).expect("loads");
        table
    };
    let db = open_within(&vfs, MEMORY_BYTES);
    let mut tickets = Vec::new();
    for row in first_rows(&db, table, DELETED) {
        let txn = writer(&db, table);
        let view = txn.view().table(table).expect("is there");
        block_on(txn.lock_row(&view, row, RowLockMode::Update)).expect("is free");
        txn.delete(&view, row).expect("deletes");
        drop(view);
        tickets.push(txn.commit().expect("commits"));
        if tickets.len() == IN_FLIGHT {
            wait_for(&mut tickets);
            maintain(&db);
        }
    }
    wait_for(&mut tickets);
    let db = open_within(&crash(&vfs), MEMORY_BYTES);
    assert!(db.replayed_records() >= DELETED as u64);
    let stats = db.stats();
    let held = stats.memory_used_bytes - stats.cache.bytes;
    assert!(held < MEMORY_BYTES / 2, "{held} bytes: there was enough without asking for more");
    let left: Vec<i64> = scan(&db, table).iter().map(|(id, _)| *id).collect();
    assert_eq!(left, (DELETED as i64..ROWS).collect::<Vec<_>>());
    assert_clean(&db);
}

/// A database in little memory with a table of jobs.
fn open_queue(vfs: &Arc<MemVfs>, thresholds: Option<MaintenanceOptions>) -> Database {
    open_with(vfs, Options { memory_bytes: QUEUE_MEMORY_BYTES, thresholds, ..manual() })
}

const QUEUE_MEMORY_BYTES: usize = 4 << 20;

/// Inserts jobs in front of all others and takes them, again and again. Their entries were more than memory.
fn run_queue(db: &Database, table: TableId) {
    const BATCH: i64 = 500;
    for batch in 0..90 {
        let jobs: Vec<_> = (batch * BATCH..(batch + 1) * BATCH).map(|id| account(id, 0)).collect();
        insert(db, table, &jobs).expect("inserted");
        let txn = writer(db, table);
        let view = txn.view().table(table).expect("is there");
        for row in first_rows(db, table, BATCH as usize) {
            block_on(txn.lock_row(&view, row, RowLockMode::Update)).expect("is free");
            txn.delete(&view, row).expect("deletes");
        }
        drop(view);
        txn.commit().expect("commits").wait().expect("durable");
        // Whoever looks for the first job takes the dead entries out.
        first_rows(db, table, 1);
        maintain(db);
    }
}

/// A queue's dead entries are taken out of the memtable by those who look for its first row, so that it need not be flushed.
#[test]
fn a_queue_is_replayed_in_the_memory_it_ran_in() {
    let vfs = Arc::new(MemVfs::new());
    let db = open_queue(&vfs, None);
    let table = create_accounts(&db, "jobs");
    db.checkpoint().expect("checkpoints");
    run_queue(&db, table);
    let bytes = db.stats().memtable_bytes;
    assert!(bytes < 64 << 10, "{bytes} bytes: the memtable was to stay short by itself");
    let opened = open_queue(&crash(&vfs), None);
    let bytes = opened.stats().memtable_bytes;
    assert!(bytes < QUEUE_MEMORY_BYTES / 8, "{bytes} bytes of garbage");
    assert_eq!(scan(&opened, table), []);
    assert_clean(&opened);
}

/// What garbage memtables may keep beside what they must have is more than there is: it goes before replay fails.
#[test]
fn a_queue_is_replayed_where_memtables_take_most_of_memory() {
    const WAITING: i64 = 13_000;
    let never_full = || {
        let thresholds = MaintenanceOptions::for_memory(QUEUE_MEMORY_BYTES);
        Some(MaintenanceOptions { memtable_bytes: usize::MAX, ..thresholds })
    };
    let vfs = Arc::new(MemVfs::new());
    let db = open_queue(&vfs, never_full());
    let table = create_accounts(&db, "jobs");
    db.checkpoint().expect("checkpoints");
    let waiting: Vec<_> = (0..WAITING).map(|id| account(1_000_000 + id, 0)).collect();
    waiting.chunks(500).for_each(|jobs| insert(&db, table, jobs).expect("inserted"));
    run_queue(&db, table);
    let opened = open_queue(&crash(&vfs), never_full());
    assert_eq!(scan(&opened, table).len() as i64, WAITING);
    assert_clean(&opened);
}

/// Makes tables, fills them and drops them; opens what a crash leaves in the memory that this ran in.
fn replay_scratch_tables(rounds: i64, fill: impl Fn(&Database, TableId, i64)) {
    const MEMORY_BYTES: usize = 4 << 20;
    let vfs = Arc::new(MemVfs::new());
    let open = |vfs: &Arc<MemVfs>| {
        let sizes = Sizes { bulk_rows: 16, ..Sizes::default() };
        open_with(vfs, Options { memory_bytes: MEMORY_BYTES, sizes, ..manual() })
    };
    let db = open(&vfs);
    let kept = create_accounts(&db, "kept");
    insert(&db, kept, &[account(1, 1)]).expect("inserted");
    for round in 0..rounds {
        let table = create_accounts(&db, "scratch");
        fill(&db, table, round);
        drop_table(&db, table);
        maintain(&db);
    }
    let opened = open(&crash(&vfs));
    maintain(&opened);
    let table = create_accounts(&opened, "scratch");
    insert(&opened, table, &[account(1, 2)]).expect("inserted");
    assert_eq!(scan(&opened, table), [(1, 2)]);
    assert_eq!(scan(&opened, kept), [(1, 1)]);
    assert_clean(&opened);
}

/// Tables that came and went: replay makes them all again, until it looks which are gone.
#[test]
fn tables_that_come_and_go_are_replayed_in_the_memory_they_ran_in() {
    replay_scratch_tables(200, |db, table, round| {
        insert(db, table, &[account(round, 0)]).expect("inserted");
    });
}

fn update(db: &Database, table: TableId, id: i64) {
    let txn = writer(db, table);
    assert!(add(&txn, db, table, id, 1).expect("updates"));
    txn.commit().expect("commits").wait().expect("durable");
}

/// The same with rows that end: each such table has a bitmap of the rows that did.
#[test]
fn tables_that_come_and_go_with_updates_are_replayed_in_the_memory_they_ran_in() {
    replay_scratch_tables(600, |db, table, round| {
        insert(db, table, &[account(round, 0)]).expect("inserted");
        update(db, table, round);
    });
}

/// The same with rows loaded in bulk: their blocks are given back, whatever was forgotten.
#[test]
fn tables_that_come_and_go_with_loads_are_replayed_in_the_memory_they_ran_in() {
    replay_scratch_tables(200, |db, table, round| {
        load(db, table, round..round + 20).expect("loaded");
        update(db, table, round);
    });
}

/// The record that alters a table ends its row in the catalog as one that drops it does.
#[test]
fn a_table_that_was_altered_is_replayed() {
    let vfs = Arc::new(MemVfs::new());
    let db = open(&vfs);
    let table = create_accounts(&db, "accounts");
    insert(&db, table, &[account(1, 1)]).expect("inserted");
    let mut txn = db.begin(Isolation::ReadCommitted).expect("begins");
    block_on(txn.lock_table(table, TableLockMode::AccessExclusive)).expect("free");
    block_on(txn.change_catalog(|catalog| catalog.rename_relation(table, "renamed"))).expect("renamed");
    txn.commit().expect("commits").wait().expect("durable");
    insert(&db, table, &[account(2, 2)]).expect("inserted");
    let opened = open(&crash(&vfs));
    assert_eq!(scan(&opened, table), [(1, 1), (2, 2)]);
    assert_clean(&opened);
}
