//! Traps of taking back what nobody sees.

use std::ops::Bound::Unbounded;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use strata_core::ids::Timestamp;
use strata_core::row::Datum;
use strata_core::table::TableView;
use strata_core::txn::{RowLockMode, SnapshotRegistry, block_on};
use strata_core::vfs::MemVfs;

use super::{lazy, load};
use crate::common::*;

fn ids(view: &TableView, segment: &strata_core::heap::SegmentView) -> Vec<i64> {
    let slots = view.visible_slots(segment, 0..segment.slots().next_multiple_of(64)).expect("reads");
    let value = |slot: u32| {
        let row = view.row(segment.segment().first_row().offset(u64::from(slot))).expect("reads");
        match row.to_datums(&view.def().schema).expect("reads")[0] {
            Datum::Int64(id) => id,
            ref other => panic!("not an id: {other:?}"),
        }
    };
    slots.into_iter().map(value).collect()
}

/// A scan holds a segment's image while a rewriter swaps in one without row 5, and lets go of what can go of its mark.
/// The scan, which only then asks who is visible, must not return the row.
#[test]
fn resurrection_by_rewrite() {
    let vfs = Arc::new(MemVfs::new());
    let db = open_with(&vfs, lazy());
    let table = create_accounts(&db, "accounts");
    let rows: Vec<_> = (0..9_000).map(|id| account(id, id)).collect();
    insert(&db, table, &rows).expect("inserts");
    let before = db.view().table(table).expect("is there");
    let before_segment = before.segments().expect("reads").remove(0);
    let txn = writer(&db, table);
    let view = txn.view().table(table).expect("is there");
    let (row, _) = find(&txn, &db, table, 5).expect("is there");
    txn.delete(&view, row).expect("deletes");
    drop(view);
    txn.commit().expect("commits").wait().expect("durable");
    let after = db.view().table(table).expect("is there");
    let after_segment = after.segments().expect("reads").remove(0);
    let frozen = |db: &strata_core::Database| {
        db.vacuum().expect("vacuums");
        let now = db.view().table(table).expect("is there");
        now.segments().expect("reads").remove(0).is_frozen()
    };
    // With the old snapshot the row stays in the new image, without it the row goes: both while images are held.
    assert!(frozen(&db) && !after_segment.is_frozen());
    let all: Vec<i64> = (0..9_000).collect();
    let rest: Vec<i64> = (0..9_000).filter(|id| *id != 5).collect();
    assert_eq!(ids(&before, &before_segment), all);
    assert_eq!(ids(&after, &after_segment), rest);
    drop((before, before_segment));
    assert!(frozen(&db) && !after_segment.is_frozen());
    assert_eq!(ids(&after, &after_segment), rest);
    let now = db.view().table(table).expect("is there");
    assert!(now.row(row).is_err(), "the new image does not have the row");
    assert_clean(&db);
}

/// A reader loads what is published; before it registers, a reclaimer must not take it for absent.
#[test]
fn registering_a_snapshot() {
    let registry = SnapshotRegistry::new(Timestamp::new(1));
    let reclaimed = AtomicU64::new(0);
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        // Commits are published, and what died before all that is live goes.
        for _ in 0..2 {
            scope.spawn(|| {
                while !stop.load(Ordering::SeqCst) {
                    let horizon = registry.horizon();
                    let oldest =
                        horizon.live.first().map_or(horizon.published, |first| horizon.published.min(*first));
                    reclaimed.fetch_max(oldest.get(), Ordering::SeqCst);
                }
            });
        }
        scope.spawn(|| {
            let mut commit = 1;
            while !stop.load(Ordering::SeqCst) {
                commit += 1;
                registry.publish(Timestamp::new(commit));
            }
        });
        // With fewer, what takes the rule out goes unnoticed now and then where the threads share one core.
        for _ in 0..3_000_000 {
            let snapshot = registry.take();
            let gone = reclaimed.load(Ordering::SeqCst);
            if gone > snapshot.timestamp().get() {
                stop.store(true, Ordering::SeqCst);
                panic!("a reader at {} misses what died by {gone}", snapshot.timestamp());
            }
        }
        stop.store(true, Ordering::SeqCst);
    });
}

/// Takes the job with the lowest id and ends it, as `ORDER BY id LIMIT 1` and a DELETE do.
fn take_job(db: &strata_core::Database, table: strata_core::ids::TableId) -> Option<i64> {
    let txn = writer(db, table);
    let view = txn.view().table(table).expect("is there");
    let index = view.def().primary_key().expect("has one").id;
    let row = view.range(index, Unbounded, Unbounded, false).expect("seeks").next()?.expect("reads");
    let values = view.row(row).expect("reads").to_datums(&view.def().schema).expect("reads");
    block_on(txn.lock_row(&view, row, RowLockMode::Update)).expect("locked");
    txn.delete(&view, row).expect("deletes");
    txn.commit().expect("commits").wait().expect("durable");
    match values[0] {
        Datum::Int64(id) => Some(id),
        ref other => panic!("not an id: {other:?}"),
    }
}

/// A queue's dead jobs stand in front of the living: finding the first one must not walk them all, wherever their entries
/// are: in the memtable, in a table, or in one that came in bulk.
#[test]
fn the_queue() {
    const TAKEN: i64 = 1_500;
    for form in ["memtable", "table", "load"] {
        let vfs = Arc::new(MemVfs::new());
        let db = open_with(&vfs, lazy());
        let table = create_accounts(&db, "jobs");
        let jobs: Vec<_> = (0..2_000).map(|id| account(id, id + 1)).collect();
        match form {
            "load" => drop(load(&db, table, 0..20_000).expect("loads")),
            _ => insert(&db, table, &jobs).expect("inserts"),
        }
        if form != "memtable" {
            db.checkpoint().expect("checkpoints");
        }
        let before = db.stats().index_steps;
        for id in 0..TAKEN {
            assert_eq!(take_job(&db, table), Some(id), "{form}");
        }
        let steps = db.stats().index_steps - before;
        // Walking all dead jobs each time would take 750 steps on average.
        assert!(steps < 60 * TAKEN as u64, "{form}: {steps} steps for {TAKEN} jobs");
        // Backwards too, and with the living in between.
        let txn = writer(&db, table);
        let view = txn.view().table(table).expect("is there");
        let index = view.def().primary_key().expect("has one").id;
        for reverse in [false, true] {
            let left = view.range(index, Unbounded, Unbounded, reverse).expect("seeks").count();
            assert_eq!(left as u64, view.row_count(), "{form}");
        }
        insert(&db, table, &[account(3, 3)]).expect("into the dead stretch");
        assert_eq!(take_job(&db, table), Some(3), "{form}");
        assert_eq!(take_job(&db, table), Some(TAKEN), "{form}");
        assert_clean(&db);
    }
}

/// A job that a reader still sees is not garbage: it finds all of them, while others leap.
#[test]
fn the_queue_beside_a_reader() {
    let vfs = Arc::new(MemVfs::new());
    let db = open_with(&vfs, lazy());
    let table = create_accounts(&db, "jobs");
    let jobs: Vec<_> = (0..600).map(|id| account(id, id + 1)).collect();
    insert(&db, table, &jobs).expect("inserts");
    db.checkpoint().expect("checkpoints");
    for id in 0..200 {
        assert_eq!(take_job(&db, table), Some(id));
    }
    let reader = db.view().table(table).expect("is there");
    let index = reader.def().primary_key().expect("has one").id;
    let seen = |reader: &TableView| reader.range(index, Unbounded, Unbounded, false).expect("seeks").count();
    assert_eq!(seen(&reader), 400);
    for id in 200..400 {
        assert_eq!(take_job(&db, table), Some(id));
        assert_eq!(seen(&reader), 400);
    }
    assert_eq!(seen(&db.view().table(table).expect("is there")), 200);
}

/// A counter that is updated all day: its versions' entries leave the memtable, but for the last and what a reader sees.
#[test]
fn the_counter() {
    let vfs = Arc::new(MemVfs::new());
    let db = open_with(&vfs, lazy());
    let table = create_accounts(&db, "counters");
    insert(&db, table, &[account(1, 0), account(2, 0)]).expect("inserts");
    let count = |times: i64| {
        let before = db.stats().memtable_bytes;
        for _ in 0..times {
            let txn = writer(&db, table);
            add(&txn, &db, table, 1, 1).expect("updates");
            txn.commit().expect("commits").wait().expect("durable");
        }
        db.stats().memtable_bytes.saturating_sub(before)
    };
    assert!(count(2_000) < 1_000, "the memtable holds {} bytes", db.stats().memtable_bytes);
    let reader = db.view().table(table).expect("is there");
    assert!(count(2_000) < 1_000, "the memtable holds {} bytes", db.stats().memtable_bytes);
    let index = reader.def().primary_key().expect("has one").id;
    let row = reader.first(index, &key(&db, table, 1)).expect("reads").expect("is there");
    let values = reader.row(row).expect("reads").to_datums(&reader.def().schema).expect("reads");
    assert_eq!(values, account(1, 2_000), "the reader sees what it saw");
    drop(reader);
    assert_eq!(scan(&db, table), [(1, 4_000), (2, 0)]);
    assert_clean(&db);
}

/// One reader of a minute: of each row of a hot table it keeps the version that it sees, not all that came since.
#[test]
fn one_long_reader() {
    let used_after = |with_reader: bool| {
        let vfs = Arc::new(MemVfs::new());
        let db = open_with(&vfs, lazy());
        let table = create_accounts(&db, "accounts");
        let rows: Vec<_> = (0..1_000).map(|id| account(id, 0)).collect();
        insert(&db, table, &rows).expect("inserts");
        let reader = with_reader.then(|| db.view().table(table).expect("is there"));
        for round in 1..=36 {
            let txn = writer(&db, table);
            for id in 0..1_000 {
                add(&txn, &db, table, id, 1).expect("updates");
            }
            txn.commit().expect("commits").wait().expect("durable");
            if round % 9 == 0 {
                db.vacuum().expect("vacuums");
            }
        }
        if let Some(reader) = reader {
            let segments = reader.segments().expect("reads");
            let seen: Vec<i64> = segments.iter().flat_map(|segment| ids(&reader, segment)).collect();
            assert_eq!(seen, (0..1_000).collect::<Vec<_>>());
            assert_eq!(reader.row_count(), 1_000);
            let index = reader.def().primary_key().expect("has one").id;
            assert_eq!(reader.range(index, Unbounded, Unbounded, false).expect("seeks").count(), 1_000);
        }
        assert_clean(&db);
        db.stats().blocks_used_bytes
    };
    let (without, with) = (used_after(false), used_after(true));
    assert!(with < 3 * without, "{with} bytes with a reader, {without} without");
}
