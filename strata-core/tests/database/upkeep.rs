//! Maintenance goes on: work that fails keeps no other from being done, and a pass over everything comes to its end.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use strata_core::ids::TableId;
use strata_core::lsm::LsmOptions;
use strata_core::maintenance::{MaintenanceOptions, Step};
use strata_core::row::Datum;
use strata_core::vfs::{Fault, FaultEffect, FaultVfs, IoKind, MemVfs, SmallDisk, Vfs};
use strata_core::{Database, Error, Options, Sizes};

use crate::common::*;

/// Small segments, and little of everything else before it is due.
fn small() -> Options {
    let thresholds = MaintenanceOptions {
        memtable_bytes: 8 << 10,
        journal_bytes: 128 << 10,
        freeze_idle_segments: true,
        ..MaintenanceOptions::for_memory(32 << 20)
    };
    let sizes = Sizes {
        segment_bytes: 64 << 10,
        index: LsmOptions { level_0_runs: 2, ..LsmOptions::default() },
        ..Sizes::default()
    };
    Options { memory_bytes: 32 << 20, thresholds: Some(thresholds), sizes, ..manual() }
}

fn open_on(vfs: Arc<dyn Vfs>) -> Database {
    Database::open_with_vfs(vfs, Path::new(DIR), small()).expect("opens")
}

fn long_account(id: i64, length: usize) -> Vec<Datum> {
    // What no encoding makes short.
    let mut state = id as u64 + 1;
    let note = std::iter::repeat_with(|| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        char::from(b' ' + (state >> 58) as u8)
    });
    vec![Datum::Int64(id), Datum::Int64(id), Datum::Text(note.take(length).collect())]
}

#[test]
fn a_compaction_that_fails_does_not_keep_the_journal_from_being_cut() {
    let vfs = FaultVfs::new(Arc::new(MemVfs::new()));
    let db = open_on(Arc::new(vfs.clone()));
    let table = create_accounts(&db, "accounts");
    while db.maintain().expect("works") != Step::Idle {}
    let mut runs = 0;
    for id in 0.. {
        insert(&db, table, &[account(id, 0)]).expect("inserts");
        runs = match db.maintain().expect("works") {
            Step::Flush => runs + 1,
            Step::Compaction => 0,
            _ => runs,
        };
        if runs == 2 {
            break;
        }
    }
    for id in 0..20 {
        insert(&db, table, &[long_account(10_000 + id, 10_000)]).expect("inserts");
    }
    vfs.arm(Fault::nth(0, FaultEffect::InputOutput).of(&[IoKind::Write]).in_path("blocks"));
    let before = db.stats().journal_bytes;
    assert_eq!(db.maintain().expect("the checkpoint needs no compaction"), Step::Checkpoint);
    assert_eq!(vfs.fired(), 1);
    assert!(db.stats().journal_bytes < before / 2);
    assert_eq!(db.maintain().expect("tries again"), Step::Compaction);
    assert_clean(&db);
}

fn is_frozen(db: &Database, table: TableId) -> bool {
    let view = db.view().table(table).expect("is there");
    let segments = view.segments().expect("reads");
    segments.first().expect("has rows").column_block().expect("reads").is_some()
}

#[test]
fn a_segment_that_has_no_room_does_not_keep_others_from_theirs() {
    let disk = SmallDisk::new(Arc::new(MemVfs::new()));
    let db = open_on(Arc::new(disk.clone()));
    let (large, little) = (create_accounts(&db, "large"), create_accounts(&db, "little"));
    insert(&db, large, &(0..100).map(|id| long_account(id, 1_000)).collect::<Vec<_>>()).expect("inserts");
    insert(&db, little, &(0..3_000).map(|id| account(id, 0)).collect::<Vec<_>>()).expect("inserts");
    db.checkpoint().expect("checkpoints");
    assert!(!is_frozen(&db, large) && !is_frozen(&db, little));
    for room in 1.. {
        disk.leave(room * 4_096);
        for _ in 0..4 {
            match db.maintain() {
                Ok(_) | Err(Error::DiskFull { .. }) => {}
                Err(error) => panic!("{error}"),
            }
            // Which makes room for the large one, perhaps.
            assert!(is_frozen(&db, little) || !is_frozen(&db, large), "the little one fits first");
        }
        if is_frozen(&db, little) {
            break;
        }
    }
    disk.grow();
    while db.maintain().expect("there is room") != Step::Idle {}
    assert!(is_frozen(&db, large));
    assert_clean(&db);
}

/// Each update makes the segment of the row's old version worth encoding again.
#[test]
fn vacuum_ends_while_rows_are_updated() {
    const ROWS: i64 = 20_000;
    let db = open_on(Arc::new(MemVfs::new()));
    let table = create_accounts(&db, "accounts");
    load(&db, table, 0..ROWS).expect("loads");
    db.vacuum().expect("vacuums");
    let stop = Arc::new(AtomicBool::new(false));
    let (updated, updates) = mpsc::channel();
    let updater = std::thread::spawn({
        let (db, stop) = (db.clone(), stop.clone());
        move || {
            for id in (0..ROWS).cycle() {
                if stop.load(Ordering::Relaxed) {
                    break;
                }
                let txn = writer(&db, table);
                assert!(add(&txn, &db, table, id, 1).expect("updates"));
                txn.commit().expect("commits").wait().expect("durable");
                let _ = updated.send(());
            }
        }
    });
    updates.recv().expect("updates");
    let (vacuumed, vacuum) = mpsc::channel();
    let vacuumer = std::thread::spawn({
        let db = db.clone();
        move || drop(vacuumed.send(db.vacuum()))
    });
    let outcome = vacuum.recv_timeout(Duration::from_secs(60));
    stop.store(true, Ordering::Relaxed);
    updater.join().expect("no panics");
    vacuumer.join().expect("no panics");
    outcome.expect("ends beside updates").expect("vacuums");
    assert_eq!(scan(&db, table).len() as i64, ROWS);
    assert_clean(&db);
}
