//! A disk that is full is emptied from within: what is dropped or deleted makes room for what has to be written.

use std::path::Path;
use std::sync::Arc;

use strata_core::ids::TableId;
use strata_core::maintenance::{MaintenanceMode, MaintenanceOptions, Step};
use strata_core::table::Isolation;
use strata_core::txn::{RowLockMode, TableLockMode, block_on};
use strata_core::vfs::{MemVfs, SmallDisk};
use strata_core::{Database, Error, Options, Sizes};

use crate::common::*;

/// A database with a table `ballast` that is checkpointed, and a table `accounts`.
fn on_small_disk() -> (SmallDisk, Database, TableId, TableId) {
    let thresholds = MaintenanceOptions {
        memtable_bytes: 32 << 10,
        journal_bytes: 512 << 10,
        freeze_idle_segments: false,
        ..MaintenanceOptions::for_memory(32 << 20)
    };
    let sizes = Sizes { segment_bytes: 128 << 10, journal_file_bytes: 1 << 20, ..Sizes::default() };
    let thresholds = Some(thresholds);
    let maintenance = MaintenanceMode::Manual;
    let options = Options { memory_bytes: 32 << 20, maintenance, thresholds, sizes, ..Options::default() };
    let disk = SmallDisk::new(Arc::new(MemVfs::new()));
    let db = Database::open_with_vfs(Arc::new(disk.clone()), Path::new(DIR), options).expect("opens");
    let (ballast, accounts) = (create_accounts(&db, "ballast"), create_accounts(&db, "accounts"));
    let rows: Vec<_> = (0..8_000).map(|id| account(id, id)).collect();
    rows.chunks(500).for_each(|rows| insert(&db, ballast, rows).expect("inserts"));
    db.checkpoint().expect("checkpoints");
    (disk, db, ballast, accounts)
}

/// Inserts until a memtable waits that the disk has no room for.
fn fill(disk: &SmallDisk, db: &Database, accounts: TableId) -> i64 {
    disk.leave(0);
    for id in 0.. {
        insert(db, accounts, &[account(id, 0)]).expect("the journal has room for these");
        match db.maintain() {
            Ok(_) => {}
            Err(Error::DiskFull { .. }) => return id + 1,
            Err(other) => panic!("{other}"),
        }
    }
    unreachable!()
}

fn goes_on(db: &Database, accounts: TableId, rows: i64) {
    let mut steps = Vec::new();
    loop {
        steps.push(db.maintain().unwrap_or_else(|error| panic!("after {steps:?}: {error}")));
        if steps.last() == Some(&Step::Idle) {
            break;
        }
    }
    assert!(steps.contains(&Step::Flush), "{steps:?}");
    insert(db, accounts, &[account(rows, 0)]).expect("there is room");
    assert_eq!(scan(db, accounts).len() as i64, rows + 1);
    assert_clean(db);
}

#[test]
fn a_dropped_table_makes_room_for_what_waits() {
    let (disk, db, ballast, accounts) = on_small_disk();
    let rows = fill(&disk, &db, accounts);
    let mut txn = db.begin(Isolation::ReadCommitted).expect("begins");
    block_on(txn.lock_table(ballast, TableLockMode::AccessExclusive)).expect("free");
    block_on(txn.drop_relation(ballast)).expect("drops");
    txn.commit().expect("the journal has room").wait().expect("durable");
    goes_on(&db, accounts, rows);
}

#[test]
fn vacuum_makes_room_before_it_takes_any() {
    let (disk, db, ballast, accounts) = on_small_disk();
    let rows = fill(&disk, &db, accounts);
    let mut txn = db.begin(Isolation::ReadCommitted).expect("begins");
    block_on(txn.lock_table(ballast, TableLockMode::AccessExclusive)).expect("free");
    block_on(txn.truncate(ballast)).expect("truncates");
    txn.commit().expect("the journal has room").wait().expect("durable");
    db.vacuum().expect("there is room");
    assert_eq!(scan(&db, accounts).len() as i64, rows);
    assert_clean(&db);
}

#[test]
fn deleted_rows_make_room_for_what_waits() {
    let (disk, db, ballast, accounts) = on_small_disk();
    let rows = fill(&disk, &db, accounts);
    let txn = writer(&db, ballast);
    let view = txn.view().table(ballast).expect("is there");
    for id in 0..8_000 {
        let (row, _) = find(&txn, &db, ballast, id).expect("is there");
        block_on(txn.lock_row(&view, row, RowLockMode::Update)).expect("is free");
        txn.delete(&view, row).expect("deletes");
    }
    drop(view);
    txn.commit().expect("the journal has room").wait().expect("durable");
    goes_on(&db, accounts, rows);
}
