//! Traps that only a power cut shows.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use strata_core::maintenance::{MaintenanceOptions, Step};
use strata_core::row::Datum;
use strata_core::txn::block_on;
use strata_core::vfs::{File, MemVfs, OpenMode, Vfs};
use strata_core::{Database, Options};

use super::{crash, lazy, load, load_ids, loaded, settle};
use crate::common::*;

/// A commit is applied and not synced when its index entries, rows and marks go into the manifest; then the power
/// fails. Either all of it is there afterwards or nothing.
#[test]
fn two_logs() {
    for step in [Step::Checkpoint, Step::Flush] {
        for seed in 0..12 {
            let vfs = Arc::new(MemVfs::new());
            let db = open(&vfs);
            let table = create_accounts(&db, "accounts");
            insert(&db, table, &[account(1, 10), account(2, 20)]).expect("inserts");
            drop(db);
            // Nothing is due but what is asked for; nothing is synced by itself.
            let thresholds = MaintenanceOptions { memtable_bytes: 1, ..lazy().thresholds.expect("given") };
            let options = Options { thresholds: Some(thresholds), sync_thread: false, ..manual() };
            let db = open_with(&vfs, options);
            let txn = writer(&db, table);
            add(&txn, &db, table, 1, 5).expect("updates");
            block_on(txn.insert(&def(&db, table), &account(7, 70))).expect("inserts");
            let ticket = txn.commit().expect("is applied");
            match step {
                Step::Checkpoint => db.checkpoint().expect("checkpoints"),
                _ => assert_eq!(db.maintain().expect("a step"), step),
            }
            let db = (open(&crash(&vfs, seed)), drop((ticket, db))).0;
            let rows = scan(&db, table);
            let (before, after) = (vec![(1, 10), (2, 20)], vec![(1, 15), (2, 20), (7, 70)]);
            assert!(rows == before || rows == after, "{step:?}, seed {seed}: {rows:?}");
            // Whoever gets the RowId of the lost row must not be found under its key.
            insert(&db, table, &[account(9, 90)]).expect("inserts");
            let reader = writer(&db, table);
            let found = find(&reader, &db, table, 7).map(|(_, values)| values);
            assert_eq!(found, (rows == after).then(|| account(7, 70)), "{step:?}, seed {seed}");
            assert_clean(&db);
        }
    }
}

/// Of one unsynced flush the first batch is lost and the second persists. The cut is made before the first; a new batch
/// of the same length takes its place, and the old second one follows it: that one must stay dead.
#[test]
fn torn_or_damaged() {
    const BATCH: u64 = 1 << 20;
    const BATCH_HEADER: u64 = 64;
    let vfs = Arc::new(MemVfs::new());
    let db = open(&vfs);
    let table = create_accounts(&db, "accounts");
    drop(db);
    let db = open_with(&vfs, Options { sync_thread: false, ..lazy() });
    let write = |db: &Database, id: i64, note: usize| {
        let txn = writer(db, table);
        let row = vec![Datum::Int64(id), Datum::Int64(id), Datum::Text("n".repeat(note))];
        block_on(txn.insert(&def(db, table), &row)).expect("inserts");
        let before = db.stats().journal_bytes;
        drop(txn.commit().expect("is appended"));
        db.stats().journal_bytes - before
    };
    // Past the short segments at the start of an epoch.
    for id in 0..6 {
        write(&db, id, 1 << 20);
        db.sync().expect("synced");
    }
    let overhead = write(&db, 6, 1 << 19) - (1 << 19);
    db.sync().expect("synced");
    let note = usize::try_from(BATCH - BATCH_HEADER - overhead).expect("small");
    assert_eq!(write(&db, 7, note), BATCH - BATCH_HEADER, "the third frame fills its batch");
    write(&db, 8, 10);
    db.sync().expect("both in one flush");

    let torn = crash(&vfs, 1);
    drop(db);
    let (file, first) = last_pair_of_batches(&torn, BATCH);
    file.write_at(first, &vec![0; usize::try_from(BATCH).expect("small")]).expect("is lost");
    file.sync().expect("synced");
    drop(file);
    let ids = |rows: Vec<(i64, i64)>| rows.into_iter().map(|(id, _)| id).collect::<Vec<_>>();
    let db = open_with(&torn, Options { sync_thread: false, ..lazy() });
    assert_eq!(ids(scan(&db, table)), (0..7).collect::<Vec<_>>(), "a torn tail is cut, and is no damage");
    assert_eq!(write(&db, 9, note), BATCH - BATCH_HEADER);
    db.sync().expect("synced");
    for seed in 0..8 {
        let crashed = crash(&torn, seed);
        let reopened = open(&crashed);
        assert_eq!(ids(scan(&reopened, table)), [0, 1, 2, 3, 4, 5, 6, 9], "seed {seed}");
        insert(&reopened, table, &[account(10, 10)]).expect("goes on");
        drop(reopened);
        assert_eq!(ids(scan(&open(&crashed), table)), [0, 1, 2, 3, 4, 5, 6, 9, 10], "seed {seed}");
    }
}

/// The newest journal file that ends with a whole batch and another behind it, and where the first of them begins.
fn last_pair_of_batches(vfs: &Arc<MemVfs>, batch: u64) -> (Arc<dyn File>, u64) {
    let dir = Path::new(DIR).join("journal");
    let mut paths: Vec<PathBuf> =
        vfs.read_dir(&dir).expect("is there").into_iter().map(|name| dir.join(name)).collect();
    paths.sort();
    for path in paths.iter().rev() {
        let file = vfs.open(path, OpenMode::ReadWrite).expect("opens");
        let begins = |at: &u64| {
            let mut magic = [0; 4];
            file.read_exact_at(*at, &mut magic).is_ok() && &magic == b"SJBA"
        };
        let batches: Vec<u64> = (4_096..file.len().expect("has one")).step_by(4_096).filter(begins).collect();
        if let [.., first, second] = batches[..]
            && second == first + batch
        {
            return (file, first);
        }
    }
    panic!("no journal file ends with two batches");
}

/// A bulk load is durable in the journal, not yet in the manifest. Replay under a memory cap evicts dirty pages: not
/// into what looks free before the load's record has been met.
#[test]
fn extents_evicted_pages_spare_bulk_blocks() {
    let vfs = Arc::new(MemVfs::new());
    let db = open_with(&vfs, lazy());
    let (rows, loads) = (create_accounts(&db, "rows"), create_accounts(&db, "loads"));
    // A free stretch in front of the load's blocks, for those who would look for one.
    let gone = create_accounts(&db, "gone");
    load(&db, gone, 0..20_000).expect("loads");
    drop_table(&db, gone);
    db.vacuum().expect("vacuums");
    for round in 0..24 {
        let wide = |id| vec![Datum::Int64(id), Datum::Int64(1), Datum::Text(id.to_string().repeat(2_000))];
        let batch: Vec<_> = (round * 100..round * 100 + 100).map(wide).collect();
        insert(&db, rows, &batch).expect("inserts");
    }
    load(&db, loads, 0..20_000).expect("loads");
    let crashed = crash(&vfs, 4);
    let tight = open_with(&crashed, Options { memory_bytes: 12 << 20, ..lazy() });
    assert!(tight.stats().cache.write_backs > 0, "replay had to evict");
    assert_eq!(scan(&tight, loads), loaded(0..20_000));
    assert_eq!(scan(&tight, rows).len(), 2_400);
    assert_clean(&tight);
}

/// A load's table is dropped after the checkpoint at L and its extents are used again; replay from L meets the load's
/// record, and later lets go of the dropped table once more: not of what is in its extents by then.
#[test]
fn extents_replay_adopts_no_foreign_bytes() {
    let vfs = Arc::new(MemVfs::new());
    let db = open_with(&vfs, lazy());
    let (first, second) = (create_accounts(&db, "first"), create_accounts(&db, "second"));
    insert(&db, first, &[account(-1, 1), account(-2, 2)]).expect("inserts");
    db.checkpoint().expect("checkpoints");
    insert(&db, first, &[account(-3, 3)]).expect("inserts behind what the manifest has");
    load(&db, first, 0..20_000).expect("loads");
    settle(&db);
    drop_table(&db, first);
    settle(&db);
    let before = db.stats();
    load(&db, second, 0..20_000).expect("loads");
    let after = db.stats();
    let (grown, used) = (
        after.blocks_total_bytes - before.blocks_total_bytes,
        after.blocks_used_bytes - before.blocks_used_bytes,
    );
    assert!(grown < used / 2, "extents are used again: {used} bytes in {grown} more");
    settle(&db);
    for seed in 0..3 {
        let db = open_with(&crash(&vfs, seed), lazy());
        assert_eq!(scan(&db, second), loaded(0..20_000), "seed {seed}");
        settle(&db);
        let third = create_accounts(&db, &format!("third_{seed}"));
        load(&db, third, 100_000..120_000).expect("loads, wherever there is room");
        assert_eq!(scan(&db, second), loaded(0..20_000), "seed {seed}");
        assert_clean(&db);
    }
}

/// As above, for index files: a load's are merged into others after L, and their extents used again.
#[test]
fn extents_replay_adopts_no_foreign_bytes_of_merged_files() {
    let vfs = Arc::new(MemVfs::new());
    let db = open_with(&vfs, lazy());
    let (first, second) = (create_accounts(&db, "first"), create_accounts(&db, "second"));
    db.checkpoint().expect("checkpoints");
    let mut steps = Vec::new();
    for part in 0..5 {
        // Every fifth key: each load's files overlap those of the others.
        load_ids(&db, first, (0..20_000).map(|id| id * 5 + part)).expect("loads");
        loop {
            match db.maintain().expect("a step") {
                Step::Idle => break,
                step => steps.push(step),
            }
        }
    }
    assert!(steps.contains(&Step::Compaction) && !steps.contains(&Step::Checkpoint), "{steps:?}");
    let before = db.stats().blocks_total_bytes;
    load(&db, second, 0..16_400).expect("loads");
    assert_eq!(db.stats().blocks_total_bytes, before, "extents are used again");
    settle(&db);
    for seed in 0..3 {
        let db = open_with(&crash(&vfs, seed), lazy());
        assert!(db.replayed_records() > 5, "replay meets the loads again");
        settle(&db);
        assert_eq!(scan(&db, second), loaded(0..16_400), "seed {seed}");
        assert_eq!(scan(&db, first), loaded(0..100_000), "seed {seed}");
        assert_clean(&db);
    }
}

/// Slots 0 to 40,000 of a segment came before the checkpoint at L, the rest after; then the segment is frozen. Replay
/// from L must not build a new hot segment of the later rows.
#[test]
fn replay_into_a_changed_form() {
    let vfs = Arc::new(MemVfs::new());
    let db = open_with(&vfs, lazy());
    let table = create_accounts(&db, "accounts");
    let rows = |ids: std::ops::Range<i64>| ids.map(|id| account(id, id + 1)).collect::<Vec<_>>();
    insert(&db, table, &rows(0..40_000)).expect("inserts");
    db.checkpoint().expect("checkpoints");
    insert(&db, table, &rows(40_000..66_000)).expect("inserts");
    let txn = writer(&db, table);
    for id in [3, 39_999, 40_000, 65_000] {
        add(&txn, &db, table, id, 1_000_000).expect("updates");
    }
    txn.commit().expect("commits").wait().expect("durable");
    assert_eq!(db.maintain().expect("a step"), Step::Reclaim, "the segment is frozen");
    let expected = scan(&db, table);
    assert_eq!(expected.len(), 66_000);
    for seed in 0..2 {
        let db = open_with(&crash(&vfs, seed), lazy());
        assert!(db.replayed_records() >= 2, "the rows behind L are replayed");
        assert_eq!(scan(&db, table), expected);
        assert_clean(&db);
    }
}
