//! Rows that maintenance moves out of nearly empty segments: nobody notices.

use std::ops::Bound;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Waker};
use std::thread;

use crate::common::*;
use crate::gate::{Gate, GatedVfs};
use strata_core::ids::{RowId, TableId};
use strata_core::maintenance::{MaintenanceOptions, Step};
use strata_core::row::Datum;
use strata_core::table::{Isolation, Locked, Transaction};
use strata_core::txn::{RowLockMode, TableLockMode, block_on};
use strata_core::vfs::{MemVfs, SeededRandom, Vfs};
use strata_core::{Database, Error, Options, Result, Sizes};

/// Segments of some sixty rows.
fn open_small(vfs: &Arc<MemVfs>) -> Database {
    open_on(vfs.clone())
}

fn open_on(vfs: Arc<dyn Vfs>) -> Database {
    let thresholds = MaintenanceOptions { tail_slots: 16, ..MaintenanceOptions::for_memory(256 << 20) };
    let sizes = Sizes { segment_bytes: 2_000, ..Sizes::default() };
    let options = Options { sizes, thresholds: Some(thresholds), ..manual() };
    Database::open_with_vfs(vfs, Path::new(DIR), options).expect("opens")
}

fn delete(txn: &Transaction, db: &Database, table: TableId, id: i64) -> Result<bool> {
    let view = txn.view().table(table)?;
    let index = view.def().primary_key().expect("has one").id;
    let Some(row) = view.first(index, &key(db, table, id))? else { return Ok(false) };
    let row = match block_on(txn.lock_row(&view, row, RowLockMode::Update))? {
        Locked::Current => row,
        Locked::Moved(row) => row,
        Locked::Gone => return Ok(false),
    };
    txn.delete(&view, row)?;
    Ok(true)
}

/// A database whose table has 1,000 accounts, of which every hundredth is left, each almost alone in its segment.
fn sparse() -> (Arc<MemVfs>, Database, TableId) {
    let vfs = Arc::new(MemVfs::new());
    let db = open_small(&vfs);
    let table = make_sparse(&db);
    (vfs, db, table)
}

fn make_sparse(db: &Database) -> TableId {
    let table = create_accounts(db, "accounts");
    let rows: Vec<_> = (0..1000).map(|id| account(id, id)).collect();
    insert(db, table, &rows).expect("inserts");
    let txn = writer(db, table);
    for id in (0..1000).filter(|id| id % 100 != 0) {
        assert!(delete(&txn, db, table, id).expect("deletes"));
    }
    txn.commit().expect("commits").wait().expect("durable");
    db.checkpoint().expect("checkpoints");
    table
}

fn left() -> Vec<(i64, i64)> {
    (0..10).map(|at| (at * 100, at * 100)).collect()
}

fn maintain(db: &Database) {
    while db.maintain().expect("steps") != Step::Idle {}
}

fn segments(db: &Database, table: TableId) -> usize {
    db.view().table(table).expect("is there").segments().expect("reads").len()
}

fn row_of(db: &Database, table: TableId, id: i64) -> RowId {
    let txn = db.begin(Isolation::ReadCommitted).expect("begins");
    find(&txn, db, table, id).expect("is there").0
}

fn begin(db: &Database, table: TableId, isolation: Isolation) -> Transaction {
    let txn = db.begin(isolation).expect("begins");
    block_on(txn.lock_table(table, TableLockMode::RowExclusive)).expect("locked");
    txn
}

/// TRAPS, "The queue and the counter": one row survives in each of many segments.
#[test]
fn the_queue_and_the_counter_the_last_rows_move_and_their_segments_go() {
    let (vfs, db, table) = sparse();
    let before = segments(&db, table);
    assert!(before > 10, "{before}");
    let row = row_of(&db, table, 300);
    db.vacuum().expect("vacuums");
    assert!(segments(&db, table) <= 2, "{}", segments(&db, table));
    assert_ne!(row_of(&db, table, 300), row);
    assert_eq!(scan(&db, table), left());
    assert_clean(&db);
    insert(&db, table, &[account(300, 1)]).expect_err("it is still there");
    insert(&db, table, &[account(301, 1)]).expect("it was deleted");
    drop(db);
    let db = open_small(&vfs);
    assert_eq!(scan(&db, table).len(), 11);
    assert_clean(&db);
}

#[test]
fn snapshots_before_a_move_see_the_old_place_and_later_ones_the_new() {
    let (_vfs, db, table) = sparse();
    let old = db.view().table(table).expect("is there");
    let index = old.def().primary_key().expect("has one").id;
    let row = row_of(&db, table, 500);
    maintain(&db);
    assert_ne!(row_of(&db, table, 500), row, "it was moved");
    let seen = old.first(index, &key(&db, table, 500)).expect("reads");
    assert_eq!(seen, Some(row));
    assert_eq!((old.row_count(), db.view().table(table).expect("is there").row_count()), (10, 10));
    let scanned: Vec<RowId> = old
        .range(index, Bound::Unbounded, Bound::Unbounded, false)
        .expect("reads")
        .collect::<Result<_>>()
        .expect("reads");
    assert_eq!(scanned.len(), 10);
    assert!(scanned.contains(&row));
    assert_eq!(scan(&db, table), left());
    drop(old);
    maintain(&db);
    db.vacuum().expect("vacuums");
    assert!(segments(&db, table) <= 2, "{}", segments(&db, table));
    assert_clean(&db);
}

#[test]
fn repeatable_read_writes_a_moved_row_and_not_a_changed_one() {
    let level = Isolation::RepeatableRead;
    let (_vfs, db, table) = sparse();
    let txn = begin(&db, table, level);
    let other = begin(&db, table, level);
    let deleter = begin(&db, table, level);
    assert_eq!(find(&txn, &db, table, 700).expect("is there").1[1], Datum::Int64(700));
    assert!(find(&other, &db, table, 200).is_some());
    assert!(find(&deleter, &db, table, 900).is_some());
    let row = row_of(&db, table, 700);
    maintain(&db);
    assert_ne!(row_of(&db, table, 700), row, "it was moved");
    assert!(add(&txn, &db, table, 700, 1).expect("a moved row was not changed"));
    // Its own view shows the row once, changed, and counts it once.
    assert_eq!(find(&txn, &db, table, 700).expect("is there").1[1], Datum::Int64(701));
    let view = txn.view().table(table).expect("is there");
    assert_eq!(view.row_count(), 10);
    assert_eq!(visible(&view).len(), 9);
    assert!(add(&txn, &db, table, 700, 1).expect("again"));
    assert!(delete(&deleter, &db, table, 900).expect("deletes"));
    assert!(find(&deleter, &db, table, 900).is_none());
    assert_eq!(deleter.view().table(table).expect("is there").row_count(), 9);
    txn.commit().expect("commits").wait().expect("durable");
    deleter.commit().expect("commits").wait().expect("durable");
    let mut expected = left();
    expected[7].1 = 702;
    expected.pop();
    assert_eq!(scan(&db, table), expected);
    assert!(matches!(add(&other, &db, table, 700, 1), Err(Error::SerializationFailure)), "{level:?}");
    assert!(matches!(delete(&other, &db, table, 900), Err(Error::SerializationFailure)), "{level:?}");
    assert_clean(&db);
}

/// The committed rows that a view shows.
fn visible(view: &strata_core::table::TableView) -> Vec<RowId> {
    let mut rows = Vec::new();
    for segment in view.segments().expect("reads") {
        let slots = view.visible_slots(&segment, 0..segment.slots().next_multiple_of(64)).expect("reads");
        rows.extend(slots.into_iter().map(|slot| segment.row_id(slot as u16)));
    }
    rows
}

#[test]
fn who_waits_for_a_row_that_is_being_moved_has_it_in_its_new_place() {
    let gate = Arc::new(Gate::default());
    let db = open_on(Arc::new(GatedVfs { inner: Arc::new(MemVfs::new()), with: gate.clone() }));
    let table = make_sparse(&db);
    let row = row_of(&db, table, 700);
    let txn = begin(&db, table, Isolation::RepeatableRead);
    let view = txn.view().table(table).expect("is there");
    let other = begin(&db, table, Isolation::ReadCommitted);
    let other_view = other.view().table(table).expect("is there");
    thread::scope(|scope| {
        gate.shut();
        let moving = scope.spawn(|| maintain(&db));
        let mut waiting = Box::pin(txn.lock_row(&view, row, RowLockMode::Update));
        let mut context = Context::from_waker(Waker::noop());
        gate.wait_for_one();
        assert!(waiting.as_mut().poll(&mut context).is_pending(), "the move is not durable yet");
        let mut next = Box::pin(other.lock_row(&other_view, row, RowLockMode::Update));
        assert!(next.as_mut().poll(&mut context).is_pending());
        gate.open();
        moving.join().expect("no panic");
        assert_eq!(block_on(waiting).expect("it was not changed"), Locked::Current);
        assert!(next.as_mut().poll(&mut context).is_pending(), "now the first one has it");
        assert_ne!(row_of(&db, table, 700), row);
        block_on(txn.update(&view, row, &account(700, 1))).expect("updates");
        txn.commit().expect("commits").wait().expect("durable");
        let newest = row_of(&db, table, 700);
        assert_eq!(block_on(next).expect("locked"), Locked::Moved(newest), "this change is one");
    });
    assert_eq!(scan(&db, table)[7], (700, 1));
    assert_clean(&db);
}

/// What stands for the row is locked where it is, not where the snapshot shows it.
#[test]
fn an_own_version_of_a_moved_row_is_locked_in_its_new_place() {
    let (_vfs, db, table) = sparse();
    let txn = begin(&db, table, Isolation::RepeatableRead);
    let (old, _) = find(&txn, &db, table, 700).expect("is there");
    maintain(&db);
    assert!(add(&txn, &db, table, 700, 1).expect("a moved row was not changed"));
    let other = begin(&db, table, Isolation::ReadCommitted);
    let (row, _) = find(&other, &db, table, 700).expect("is there");
    assert_ne!(row, old, "it was moved");
    let others = other.view().table(table).expect("is there");
    let is_held = || {
        let mut locking = Box::pin(other.lock_row(&others, row, RowLockMode::KeyShare));
        locking.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending()
    };
    let (own, _) = find(&txn, &db, table, 700).expect("is there");
    let view = txn.view().table(table).expect("is there");
    assert_eq!(block_on(txn.lock_row(&view, own, RowLockMode::Update)).expect("locks"), Locked::Current);
    assert!(is_held());
    txn.delete(&view, own).expect("deletes");
    txn.rollback();
    assert!(!is_held());
}

#[test]
fn what_was_undone_on_a_moved_row_can_be_done_again() {
    let (_vfs, db, table) = sparse();
    let mut txn = begin(&db, table, Isolation::RepeatableRead);
    assert!(find(&txn, &db, table, 400).is_some());
    maintain(&db);
    let savepoint = txn.savepoint();
    assert!(delete(&txn, &db, table, 400).expect("deletes"));
    assert_eq!(visible(&txn.view().table(table).expect("is there")).len(), 9);
    txn.rollback_to(&savepoint).expect("goes back");
    assert_eq!(visible(&txn.view().table(table).expect("is there")).len(), 10);
    assert!(add(&txn, &db, table, 400, 5).expect("updates"));
    txn.commit().expect("commits").wait().expect("durable");
    assert_eq!(scan(&db, table)[4], (400, 405));
    assert_eq!(scan(&db, table).len(), 10);
    assert_clean(&db);
}

#[test]
fn locked_rows_are_passed_over_and_their_update_is_kept() {
    let (_vfs, db, table) = sparse();
    let txn = writer(&db, table);
    assert!(add(&txn, &db, table, 600, 1).expect("updates"));
    let reader = writer(&db, table);
    let (kept, _) = find(&reader, &db, table, 100).expect("is there");
    let view = reader.view().table(table).expect("is there");
    block_on(reader.lock_row(&view, kept, RowLockMode::KeyShare)).expect("locked");
    drop(view);
    let (row, other) = (row_of(&db, table, 600), row_of(&db, table, 500));
    db.vacuum().expect("vacuums");
    assert_eq!((row_of(&db, table, 600), row_of(&db, table, 100)), (row, kept), "these stay");
    assert_ne!(row_of(&db, table, 500), other);
    txn.commit().expect("commits").wait().expect("durable");
    drop(reader);
    let mut expected = left();
    expected[6].1 = 601;
    assert_eq!(scan(&db, table), expected);
    db.vacuum().expect("vacuums");
    assert_ne!(row_of(&db, table, 100), kept, "the next time it is moved");
    assert_eq!(scan(&db, table), expected);
    assert_clean(&db);
}

#[test]
fn a_table_that_is_being_altered_is_left_alone() {
    let (_vfs, db, table) = sparse();
    let ddl = db.begin(Isolation::ReadCommitted).expect("begins");
    block_on(ddl.lock_table(table, TableLockMode::Share)).expect("locked");
    let row = row_of(&db, table, 600);
    db.vacuum().expect("vacuums");
    assert_eq!(row_of(&db, table, 600), row);
    drop(ddl);
    db.vacuum().expect("vacuums");
    assert_ne!(row_of(&db, table, 600), row);
    assert_clean(&db);
}

#[test]
fn a_statement_that_found_the_row_before_it_moved_goes_on_as_if_it_had_not() {
    let (_vfs, db, table) = sparse();
    let txn = writer(&db, table);
    let view = txn.view().table(table).expect("is there");
    let index = view.def().primary_key().expect("has one").id;
    let row = view.first(index, &key(&db, table, 800)).expect("reads").expect("is there");
    let changed = view.first(index, &key(&db, table, 300)).expect("reads").expect("is there");
    maintain(&db);
    let other = writer(&db, table);
    assert!(add(&other, &db, table, 300, 1).expect("updates"));
    other.commit().expect("commits").wait().expect("durable");
    assert_eq!(block_on(txn.lock_row(&view, row, RowLockMode::Update)).expect("locked"), Locked::Current);
    let newest = row_of(&db, table, 300);
    assert_eq!(
        block_on(txn.lock_row(&view, changed, RowLockMode::Update)).expect("locked"),
        Locked::Moved(newest)
    );
    block_on(txn.update(&view, row, &account(800, 1))).expect("updates");
    // The next statement sees the row in its new place, and masks it there.
    assert_eq!(find(&txn, &db, table, 800).expect("is there").1[1], Datum::Int64(1));
    assert_eq!(txn.view().table(table).expect("is there").row_count(), 10);
    txn.commit().expect("commits").wait().expect("durable");
    let mut expected = left();
    (expected[8].1, expected[3].1) = (1, 301);
    assert_eq!(scan(&db, table), expected);
    assert_clean(&db);
}

/// TRAPS, "The lost successor": the place that a row was moved to first is gone when somebody follows it.
#[test]
fn a_row_is_followed_through_places_that_are_gone() {
    for level in [Isolation::ReadCommitted, Isolation::RepeatableRead, Isolation::Serializable] {
        let (_vfs, db, table) = sparse();
        let late = begin(&db, table, level);
        let (row, _) = find(&late, &db, table, 700).expect("is there");
        let view = late.view().table(table).expect("is there");
        maintain(&db);
        let between = row_of(&db, table, 700);
        assert_ne!(between, row, "it was moved");
        // Its new segment becomes nearly empty too.
        let rows: Vec<_> = (2000..2200).map(|id| account(id, id)).collect();
        insert(&db, table, &rows).expect("inserts");
        let txn = writer(&db, table);
        for id in (0..1000).step_by(100).chain(2000..2200).filter(|id| *id != 700) {
            assert!(delete(&txn, &db, table, id).expect("deletes"));
        }
        txn.commit().expect("commits").wait().expect("durable");
        maintain(&db);
        db.checkpoint().expect("checkpoints");
        maintain(&db);
        assert!(db.view().table(table).expect("is there").row(between).is_err(), "its segment is dropped");
        let newest = row_of(&db, table, 700);
        assert_ne!(newest, between);

        assert_eq!(
            block_on(late.lock_row(&view, row, RowLockMode::Update)).expect("locked"),
            Locked::Current
        );
        block_on(late.update(&view, row, &account(700, 1))).expect("updates");
        late.commit().and_then(|ticket| ticket.wait()).expect("nobody changed what it read");
        assert_eq!(scan(&db, table), [(700, 1)], "{level:?}");
        drop(view);
        db.vacuum().expect("vacuums");
        assert_eq!(scan(&db, table), [(700, 1)], "{level:?}");
        assert_clean(&db);
    }
}

#[test]
fn a_move_is_no_conflict_for_serializable() {
    let (_vfs, db, table) = sparse();
    let whole = begin(&db, table, Isolation::Serializable);
    assert_eq!(whole.view().table(table).expect("is there").row_count(), 10);
    let point = begin(&db, table, Isolation::Serializable);
    assert!(find(&point, &db, table, 100).is_some());
    let doomed = begin(&db, table, Isolation::Serializable);
    assert!(find(&doomed, &db, table, 200).is_some());
    maintain(&db);
    // Moved and then changed is changed.
    let other = writer(&db, table);
    assert!(delete(&other, &db, table, 200).expect("deletes"));
    other.commit().expect("commits").wait().expect("durable");
    let write = |txn: Transaction, id| {
        block_on(txn.insert(&def(&db, table), &account(id, 1))).expect("inserts");
        txn.commit().and_then(|ticket| ticket.wait())
    };
    assert!(matches!(write(doomed, 1001), Err(Error::ReadConflict)));
    write(point, 1002).expect("what it read was only moved");
    assert!(matches!(write(whole, 1003), Err(Error::ReadConflict)), "a row was deleted");

    let (_vfs, db, table) = sparse();
    let whole = begin(&db, table, Isolation::Serializable);
    assert_eq!(whole.view().table(table).expect("is there").row_count(), 10);
    let row = row_of(&db, table, 700);
    maintain(&db);
    assert_ne!(row_of(&db, table, 700), row, "it was moved");
    block_on(whole.insert(&def(&db, table), &account(1003, 1))).expect("inserts");
    assert!(add(&whole, &db, table, 700, 1).expect("a moved row was not changed"));
    whole.commit().and_then(|ticket| ticket.wait()).expect("nothing but moves happened");
    assert_clean(&db);
}

#[test]
fn a_crash_at_any_point_of_a_move_leaves_every_row_once() {
    for seed in 0..30 {
        let (vfs, db, table) = sparse();
        for _ in 0..seed % 6 {
            db.maintain().expect("steps");
        }
        if seed % 3 == 0 {
            db.checkpoint().expect("checkpoints");
            db.maintain().expect("steps");
        }
        let reopened = open_small(&Arc::new(vfs.crash_clone(&SeededRandom::new(seed))));
        assert_eq!(scan(&reopened, table), left(), "seed {seed}");
        assert_clean(&reopened);
        let txn = writer(&reopened, table);
        for (id, _) in left() {
            assert!(add(&txn, &reopened, table, id, 1).expect("found by its key"), "seed {seed}");
        }
        txn.commit().expect("commits").wait().expect("durable");
        reopened.vacuum().expect("vacuums");
        let expected: Vec<_> = left().into_iter().map(|(id, balance)| (id, balance + 1)).collect();
        assert_eq!(scan(&reopened, table), expected, "seed {seed}");
        assert_clean(&reopened);
    }
}

#[test]
fn moves_beside_writers_lose_and_double_nothing() {
    let (_vfs, db, table) = sparse();
    let stop = AtomicBool::new(false);
    let totals: Vec<i64> = thread::scope(|scope| {
        let writers: Vec<_> = (0..3_i64)
            .map(|thread| {
                let (db, stop) = (&db, &stop);
                scope.spawn(move || {
                    let mut random = SplitMix(thread as u64 + 1);
                    let (mut added, mut extra) = (0, 2000 + thread * 1000);
                    while !stop.load(Ordering::Relaxed) {
                        let level = match thread {
                            0 => Isolation::ReadCommitted,
                            _ => Isolation::RepeatableRead,
                        };
                        let txn = begin(db, table, level);
                        let id = random.below(10) as i64 * 100;
                        let done = add(&txn, db, table, id, 1).and_then(|found| {
                            assert!(found, "account {id} is there at any moment");
                            block_on(txn.insert(&def(db, table), &account(extra, 0)))?;
                            if extra % 64 != 0 {
                                assert!(delete(&txn, db, table, extra)?);
                            }
                            txn.commit()?.wait()
                        });
                        extra += 1;
                        match done {
                            Ok(_) => added += 1,
                            Err(Error::SerializationFailure | Error::Deadlock) => {}
                            Err(error) => panic!("{error}"),
                        }
                    }
                    added
                })
            })
            .collect();
        for round in 0..60 {
            match round % 8 {
                7 => db.vacuum().expect("vacuums"),
                _ => drop(db.maintain().expect("steps")),
            }
            assert_eq!(scan(&db, table).iter().filter(|(id, _)| *id < 1000).count(), 10);
        }
        stop.store(true, Ordering::Relaxed);
        writers.into_iter().map(|writer| writer.join().expect("no panic")).collect()
    });
    let rows = scan(&db, table);
    let sum: i64 = rows.iter().filter(|(id, _)| *id < 1000).map(|(_, balance)| *balance).sum();
    assert_eq!(sum, 4500 + totals.iter().sum::<i64>(), "no update is lost");
    db.vacuum().expect("vacuums");
    assert_eq!(scan(&db, table), rows);
    assert_clean(&db);
}

/// A small generator of numbers.
struct SplitMix(u64);

impl SplitMix {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        (mixed ^ (mixed >> 31)) % limit
    }
}
