//! A disk that is full is emptied from within: what is dropped or deleted makes room for what has to be written.

use std::path::Path;
use std::sync::Arc;

use strata_core::ids::TableId;
use strata_core::maintenance::{MaintenanceMode, MaintenanceOptions, Step};
use strata_core::row::Datum;
use strata_core::table::Isolation;
use strata_core::txn::{RowLockMode, TableLockMode, block_on};
use strata_core::vfs::{MemVfs, SeededRandom, SmallDisk};
use strata_core::{Database, Error, Options, Sizes};

use crate::common::*;

fn options() -> Options {
    let thresholds = MaintenanceOptions {
        memtable_bytes: 32 << 10,
        journal_bytes: 512 << 10,
        freeze_idle_segments: false,
        ..MaintenanceOptions::for_memory(32 << 20)
    };
    let sizes = Sizes { segment_bytes: 128 << 10, journal_file_bytes: 1 << 20, ..Sizes::default() };
    let thresholds = Some(thresholds);
    let maintenance = MaintenanceMode::Manual;
    Options { memory_bytes: 32 << 20, maintenance, thresholds, sizes, ..Options::default() }
}

/// A database with a table `ballast` that is checkpointed, and a table `accounts`.
fn on_small_disk() -> (SmallDisk, Database, TableId, TableId) {
    on_small_disk_of(Arc::new(MemVfs::new()))
}

fn on_small_disk_of(vfs: Arc<MemVfs>) -> (SmallDisk, Database, TableId, TableId) {
    let disk = SmallDisk::new(vfs);
    let db = Database::open_with_vfs(Arc::new(disk.clone()), Path::new(DIR), options()).expect("opens");
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
    drop_table(&db, ballast);
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

/// What was loaded is the journal's until the manifest has heard of it; to drop it takes no flush, for which there is no room.
#[test]
fn a_load_into_a_table_that_is_dropped_makes_room_at_once() {
    let vfs = Arc::new(MemVfs::new());
    let (disk, db, ballast, accounts) = on_small_disk_of(vfs.clone());
    insert(&db, accounts, &(0..50).map(|id| account(id, 0)).collect::<Vec<_>>()).expect("inserts");
    load(&db, ballast, 10_000..30_000).expect("loads");
    drop_table(&db, ballast);
    disk.leave(0);
    let used = db.stats().blocks_used_bytes;
    assert_eq!(db.maintain().expect("gives back the load"), Step::Reclaim);
    assert!(db.stats().blocks_used_bytes < used);
    goes_on(&db, accounts, 50);
    disk.grow();

    // What it had is given to others, and replay passes over it.
    load(&db, accounts, 10_000..137_000).expect("loads");
    while db.maintain().expect("works") != Step::Idle {}
    let crashed = vfs.crash_clone(&SeededRandom::new(5));
    let db = Database::open_with_vfs(Arc::new(crashed), Path::new(DIR), options()).expect("opens");
    assert!(db.replayed_records() > 0);
    assert_eq!(scan(&db, accounts).len(), 127_051);
    db.vacuum().expect("vacuums");
    assert_eq!(scan(&db, accounts).len(), 127_051);
    assert_clean(&db);
}

/// Giving back is an edit of the manifest, which has room for it wherever the last growth of its file was.
#[test]
fn the_manifest_has_room_to_tell_what_is_given_back() {
    for edits in 0..18 {
        let (disk, db, ballast, accounts) = on_small_disk();
        for _ in 0..edits {
            db.checkpoint().expect("checkpoints");
        }
        let rows = fill(&disk, &db, accounts);
        drop_table(&db, ballast);
        goes_on(&db, accounts, rows);
    }
}

/// The journal makes file after file for a large commit. Where the last has no room, the others go again.
#[test]
fn a_refused_commit_leaves_the_disk_as_it_was() {
    const MIB: u64 = 1 << 20;
    let disk = SmallDisk::new(Arc::new(MemVfs::new()));
    // So much memory that the rows stay in the record.
    let sizes = Sizes { journal_file_bytes: MIB, ..Sizes::default() };
    let options = Options { sizes, ..manual() };
    let db = Database::open_with_vfs(Arc::new(disk.clone()), Path::new(DIR), options).expect("opens");
    let accounts = create_accounts(&db, "accounts");
    let long = |ids: std::ops::Range<i64>| -> Vec<_> {
        ids.map(|id| vec![Datum::Int64(id), Datum::Int64(0), Datum::Text("x".repeat(4_000))]).collect()
    };
    let before = disk.used();
    disk.leave(4 * MIB + MIB / 2);
    for _ in 0..3 {
        let refused = insert(&db, accounts, &long(0..1_500));
        assert!(matches!(refused, Err(Error::DiskFull { .. })), "{refused:?}");
        let kept = disk.used() - before;
        assert!(kept <= MIB, "{kept} bytes: more than a spare file");
    }
    insert(&db, accounts, &long(0..500)).expect("there is room for this");
    assert_eq!(scan(&db, accounts).len(), 500);
    assert_clean(&db);
}
