//! SERIALIZABLE: what a transaction read must still hold when it commits.

use std::ops::Bound;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use crate::common::*;
use strata_core::catalog::change::NewIndex;
use strata_core::catalog::{IndexColumn, TableDef};
use strata_core::heap::SegmentView;
use strata_core::ids::{ColumnId, RowId, TableId};
use strata_core::row::{Datum, KeyOrder};
use strata_core::table::{Isolation, ReadPredicate, RowFilter, Transaction, encode_index_key};
use strata_core::txn::{RowLockMode, TableLockMode, block_on};
use strata_core::{Database, Error, Options};

fn database(rows: i64) -> (Database, TableId) {
    let options =
        Options { maintenance: strata_core::maintenance::MaintenanceMode::Manual, ..Options::default() };
    let db = Database::in_memory(options).expect("opens");
    let table = create_accounts(&db, "accounts");
    insert(&db, table, &(0..rows).map(|id| account(id, id)).collect::<Vec<_>>()).expect("inserts");
    (db, table)
}

fn serializable(db: &Database, table: TableId) -> Transaction {
    let txn = db.begin(Isolation::Serializable).expect("begins");
    block_on(txn.lock_table(table, TableLockMode::RowExclusive)).expect("locked");
    txn
}

fn commit(txn: Transaction) -> Result<(), Error> {
    txn.commit()?.wait().map(|_| ())
}

fn delete(txn: &Transaction, db: &Database, table: TableId, id: i64) {
    let (row, _) = find(txn, db, table, id).expect("is there");
    let view = txn.view().table(table).expect("is there");
    block_on(txn.lock_row(&view, row, RowLockMode::Update)).expect("locked");
    txn.delete(&view, row).expect("deletes");
}

/// What another transaction does meanwhile.
fn meanwhile(db: &Database, table: TableId, action: impl FnOnce(&Transaction)) {
    let txn = writer(db, table);
    action(&txn);
    commit(txn).expect("nothing is in its way");
}

/// Reads in one transaction, lets another commit, writes an unrelated row, and commits.
fn outcome(
    world: &(Database, TableId),
    read: impl FnOnce(&Transaction),
    action: impl FnOnce(&Transaction),
) -> Result<(), Error> {
    outcome_of(world, |txn| read(txn), action)
}

/// As [`outcome`], where the reader makes savepoints.
fn outcome_of(
    (db, table): &(Database, TableId),
    read: impl FnOnce(&mut Transaction),
    action: impl FnOnce(&Transaction),
) -> Result<(), Error> {
    static NEXT: AtomicU64 = AtomicU64::new(1_000_000);
    let mut reader = serializable(db, *table);
    read(&mut reader);
    meanwhile(db, *table, action);
    let id = NEXT.fetch_add(1, Ordering::Relaxed) as i64;
    block_on(reader.insert(&def(db, *table), &account(id, id))).expect("inserts");
    commit(reader)
}

fn insert_one(txn: &Transaction, db: &Database, table: TableId, id: i64) {
    block_on(txn.insert(&def(db, table), &account(id, 0))).expect("is new");
}

fn is_refused(outcome: &Result<(), Error>) -> bool {
    matches!(outcome, Err(Error::ReadConflict))
}

/// TRAPS, "Both doctors off call": each checks that another is on call, each deletes itself. No new row exists to
/// re-check.
#[test]
fn both_doctors_off_call() {
    let (db, table) = database(2);
    let (first, second) = (serializable(&db, table), serializable(&db, table));
    for txn in [&first, &second] {
        assert_eq!(txn.view().table(table).expect("is there").row_count(), 2, "another one is on call");
    }
    delete(&first, &db, table, 0);
    delete(&second, &db, table, 1);
    commit(first).expect("the first goes");
    let refused = commit(second);
    assert!(is_refused(&refused), "{refused:?}");
    assert_eq!(scan(&db, table), vec![(1, 1)]);
}

/// The same with each reading only the other's row, by key.
#[test]
fn write_skew_over_two_keys() {
    for level in [Isolation::RepeatableRead, Isolation::Serializable] {
        let (db, table) = database(2);
        let begin = || {
            let txn = db.begin(level).expect("begins");
            block_on(txn.lock_table(table, TableLockMode::RowExclusive)).expect("locked");
            txn
        };
        let (first, second) = (begin(), begin());
        assert!(find(&first, &db, table, 1).is_some() && find(&second, &db, table, 0).is_some());
        add(&first, &db, table, 0, -1).expect("updates");
        add(&second, &db, table, 1, -1).expect("updates");
        commit(first).expect("the first goes");
        let refused = commit(second);
        assert_eq!(is_refused(&refused), level == Isolation::Serializable, "{level:?} {refused:?}");
    }
}

#[test]
fn a_point_depends_on_its_key_alone() {
    let world = database(10);
    let (db, table) = &world;
    let read = |id| move |txn: &Transaction| drop(find(txn, db, *table, id));
    let update = |id| move |txn: &Transaction| assert!(add(txn, db, *table, id, 1).expect("updates"));
    let insert = |id| move |txn: &Transaction| insert_one(txn, db, *table, id);
    assert!(is_refused(&outcome(&world, read(3), update(3))));
    outcome(&world, read(3), update(4)).expect("another key");
    assert!(is_refused(&outcome(&world, read(100), insert(100))), "a point miss is a read");
    outcome(&world, read(101), insert(102)).expect("another key");
    assert!(is_refused(&outcome(&world, read(5), |txn| delete(txn, db, *table, 5))));
    assert!(is_refused(&outcome(&world, read(6), |txn| {
        let (row, mut values) = find(txn, db, *table, 6).expect("is there");
        let view = txn.view().table(*table).expect("is there");
        block_on(txn.lock_row(&view, row, RowLockMode::Update)).expect("locked");
        values[0] = Datum::Int64(60);
        block_on(txn.update(&view, row, &values)).expect("updates");
    })));
    assert!(
        is_refused(&outcome(&world, read(61), |txn| {
            let (row, mut values) = find(txn, db, *table, 60).expect("is there");
            let view = txn.view().table(*table).expect("is there");
            block_on(txn.lock_row(&view, row, RowLockMode::Update)).expect("locked");
            values[0] = Datum::Int64(61);
            block_on(txn.update(&view, row, &values)).expect("updates");
        })),
        "a row that moves to the key"
    );
}

#[test]
fn a_range_depends_on_the_rows_between_its_bounds() {
    let world = database(10);
    let (db, table) = &world;
    let read = |txn: &Transaction| {
        let view = txn.view().table(*table).expect("is there");
        let index = view.def().primary_key().expect("has one").id;
        let bounds = (Bound::Excluded(key(db, *table, 3)), Bound::Included(key(db, *table, 6)));
        assert_eq!(view.range(index, bounds.0, bounds.1, false).expect("reads").count(), 3);
    };
    let update = |id| move |txn: &Transaction| assert!(add(txn, db, *table, id, 1).expect("updates"));
    for id in [4, 5, 6] {
        assert!(is_refused(&outcome(&world, read, update(id))), "{id}");
    }
    for id in [2, 3, 7] {
        outcome(&world, read, update(id)).expect("outside");
    }
    // Came and went meanwhile: nothing changed.
    outcome(&world, read, |_| {
        meanwhile(db, *table, |txn| insert_one(txn, db, *table, -4));
        meanwhile(db, *table, |txn| delete(txn, db, *table, -4));
    })
    .expect("nothing is left of it");
}

#[test]
fn a_scan_depends_on_the_table_and_no_other() {
    let world = database(10);
    let (db, table) = &world;
    let other = create_accounts(db, "other");
    let read =
        |txn: &Transaction| drop(txn.view().table(*table).expect("is there").segments().expect("reads"));
    let new = |id| move |txn: &Transaction| insert_one(txn, db, *table, id);
    assert!(is_refused(&outcome(&world, read, new(77))));
    outcome(&world, read, |_| {
        meanwhile(db, other, |txn| insert_one(txn, db, other, 1));
    })
    .expect("another table");
    outcome(
        &world,
        |txn| assert!(txn.view().table(*table).expect("is there").untracked().row_count() > 0),
        new(78),
    )
    .expect("an estimate is not a read");
}

#[test]
fn a_table_that_was_emptied_has_changed() {
    let world = database(10);
    let (db, table) = &world;
    let reader = db.begin(Isolation::Serializable).expect("begins");
    assert_eq!(reader.view().table(*table).expect("is there").row_count(), 10);
    let mut truncating = db.begin(Isolation::ReadCommitted).expect("begins");
    block_on(truncating.truncate(*table)).expect("truncates");
    commit(truncating).expect("commits");
    let other = create_accounts(db, "other");
    block_on(reader.insert(&def(db, other), &account(1, 0))).expect("inserts");
    assert!(is_refused(&commit(reader)));
}

struct BalanceAbove(Arc<TableDef>, i64);

impl RowFilter for BalanceAbove {
    fn may_match(&self, segment: &SegmentView, slots: &[u32]) -> bool {
        let selection = strata_core::heap::column::Selection::Slots(slots.to_vec());
        let arrays = segment.read(&self.0.schema, &[ColumnId::new(1)], &selection).expect("reads");
        let balances = arrow_array::cast::AsArray::as_primitive::<arrow_array::types::Int64Type>(&arrays[0]);
        balances.iter().flatten().any(|balance| balance > self.1)
    }
}

/// In hot pages, in column blocks, and for rows that a bulk load brought.
#[test]
fn a_filter_depends_on_the_rows_that_it_lets_through() {
    let world = database(20_000);
    let (db, table) = &world;
    for frozen in [false, true] {
        if frozen {
            db.vacuum().expect("vacuums");
        }
        let read = |txn: &Transaction| {
            let view = txn.view().table(*table).expect("is there");
            let filter = BalanceAbove(view.def().clone(), 19_990);
            drop(view.declare(ReadPredicate::Filter(Arc::new(filter))).segments().expect("reads"));
        };
        let update = |id| move |txn: &Transaction| assert!(add(txn, db, *table, id, 1).expect("updates"));
        assert!(is_refused(&outcome(&world, read, update(19_995))), "a row that matched");
        assert!(
            is_refused(&outcome(&world, read, |txn| {
                assert!(add(txn, db, *table, 7, 30_000).expect("updates"));
            })),
            "a row that matches now"
        );
        meanwhile(db, *table, |txn| assert!(add(txn, db, *table, 7, -30_000).expect("updates")));
        outcome(&world, read, update(8)).expect("a row that never matched");
    }
}

#[test]
fn who_only_reads_is_never_refused() {
    let (db, table) = database(3);
    let reader = db.begin(Isolation::Serializable).expect("begins");
    assert_eq!(reader.view().table(table).expect("is there").row_count(), 3);
    meanwhile(&db, table, |txn| delete(txn, &db, table, 1));
    assert_eq!(reader.view().table(table).expect("is there").row_count(), 3);
    commit(reader).expect("commits");
}

/// Pairs of rows whose sum must not fall below 0: each transaction reads both, in one of five ways, and takes from
/// one of them what the sum allows. Write skew would overdraw a pair.
#[test]
fn concurrent_withdrawals_never_overdraw_a_pair() {
    let options =
        Options { maintenance: strata_core::maintenance::MaintenanceMode::Background, ..Options::default() };
    let db = Database::in_memory(options).expect("opens");
    let table = create_accounts(&db, "accounts");
    let mut txn = db.begin(Isolation::ReadCommitted).expect("begins");
    let mut by_note = primary_key("by_balance");
    (by_note.primary, by_note.unique, by_note.constraint) = (false, false, false);
    by_note.columns = vec![IndexColumn { column: ColumnId::new(1), order: KeyOrder::default() }];
    block_on(txn.create_index(table, by_note)).expect("builds");
    commit(txn).expect("commits");
    insert(&db, table, &(0..8).map(|id| account(id, 40)).collect::<Vec<_>>()).expect("inserts");
    let refused = AtomicU64::new(0);
    thread::scope(|scope| {
        for worker in 0..6_i64 {
            let (db, refused) = (&db, &refused);
            scope.spawn(move || {
                for round in 0..60_i64 {
                    let pair = (worker + round) % 4;
                    let ids = [pair * 2, pair * 2 + 1];
                    let taken = withdraw(db, table, ids, (worker + round) % 2, round % 3);
                    match taken {
                        Ok(()) => {}
                        Err(Error::ReadConflict | Error::SerializationFailure) => {
                            refused.fetch_add(1, Ordering::Relaxed);
                        }
                        Err(error) => panic!("{error}"),
                    }
                }
            });
        }
        for _ in 0..20 {
            db.vacuum().expect("vacuums");
        }
    });
    let balances = scan(&db, table);
    for pair in balances.chunks(2) {
        let sum = pair[0].1 + pair[1].1;
        assert!((0..=80).contains(&sum), "{balances:?}");
    }
    assert_clean(&db);
}

fn withdraw(db: &Database, table: TableId, ids: [i64; 2], from: i64, way: i64) -> Result<(), Error> {
    let txn = serializable(db, table);
    let view = txn.view().table(table)?;
    let pk = view.def().primary_key().expect("has one").id;
    let balance = |row: RowId| -> Result<i64, Error> {
        match view.row(row)?.datum(&view.def().schema, ColumnId::new(1))? {
            Datum::Int64(balance) => Ok(balance),
            other => panic!("not a balance: {other:?}"),
        }
    };
    let rows = match way {
        0 => ids.map(|id| view.first(pk, &key(db, table, id)).expect("reads").expect("is there")).to_vec(),
        1 => {
            let bounds = ids.map(|id| Bound::Included(key(db, table, id)));
            let [lower, upper] = bounds;
            view.range(pk, lower, upper, true)?.collect::<Result<Vec<_>, _>>()?
        }
        _ => {
            let mut found = Vec::new();
            for segment in view.segments()? {
                for slot in view.visible_slots(&segment, 0..segment.slots().next_multiple_of(64))? {
                    let row = segment.segment().first_row().offset(u64::from(slot));
                    let id = view.row(row)?.datum(&view.def().schema, ColumnId::new(0))?;
                    if ids.contains(&match id {
                        Datum::Int64(id) => id,
                        other => panic!("not an id: {other:?}"),
                    }) {
                        found.push(row);
                    }
                }
            }
            found
        }
    };
    assert_eq!(rows.len(), 2);
    let sum = balance(rows[0])? + balance(rows[1])?;
    if sum >= 7 {
        add(&txn, db, table, ids[from as usize], -7)?;
    }
    commit(txn)
}

/// Lets nothing through, except what was committed while it was first asked.
struct Interrupted {
    interrupt: Box<dyn Fn() + Send + Sync>,
    asked: AtomicU64,
}

impl RowFilter for Interrupted {
    fn may_match(&self, _: &SegmentView, _: &[u32]) -> bool {
        let first = self.asked.fetch_add(1, Ordering::Relaxed) == 0;
        if first {
            (self.interrupt)();
        }
        !first
    }
}

#[test]
fn what_is_committed_during_the_check_is_checked_too() {
    for interrupts in [true, false] {
        let world = database(10);
        let (db, table) = &world;
        let read = |txn: &Transaction| {
            let (db, table): (Database, TableId) = (db.clone(), *table);
            let interrupt = move || {
                if interrupts {
                    meanwhile(&db, table, |txn| assert!(add(txn, &db, table, 2, 1).expect("updates")));
                }
            };
            let filter = Interrupted { interrupt: Box::new(interrupt), asked: AtomicU64::new(0) };
            let view = txn.view().table(table).expect("is there");
            drop(view.declare(ReadPredicate::Filter(Arc::new(filter))).segments().expect("reads"));
        };
        let update = |txn: &Transaction| assert!(add(txn, db, *table, 1, 1).expect("updates"));
        assert_eq!(is_refused(&outcome(&world, read, update)), interrupts);
    }
}

/// Found by the isolation checker: the lock of a key that was undone is free, and the next one to have it commits unseen.
#[test]
fn what_an_undone_insertion_has_told_must_still_hold() {
    let world = database(10);
    let (db, table) = &world;
    let undone = |ids: &'static [i64]| {
        move |txn: &mut Transaction| {
            for id in ids {
                let savepoint = txn.savepoint();
                insert_one(txn, db, *table, *id);
                txn.rollback_to(&savepoint).expect("is there");
            }
        }
    };
    let insert = |id| move |txn: &Transaction| insert_one(txn, db, *table, id);
    assert!(is_refused(&outcome_of(&world, undone(&[20, 21]), insert(20))));
    assert!(is_refused(&outcome_of(&world, undone(&[22, 23]), insert(23))));
    outcome_of(&world, undone(&[24]), insert(25)).expect("another key");
    // Kept locks say the same.
    outcome_of(&world, |txn| insert_one(txn, db, *table, 26), insert(27)).expect("another key");
    let loaded = |txn: &mut Transaction| {
        let savepoint = txn.savepoint();
        let mut load = block_on(txn.bulk_load(*table)).expect("begins");
        load.append(&batch(100..200)).expect("is taken");
        block_on(load.finish()).expect("is new");
        txn.rollback_to(&savepoint).expect("is there");
    };
    assert!(is_refused(&outcome_of(&world, loaded, insert(150))));
    // So many that the locks no longer name them.
    let many = |txn: &mut Transaction| {
        let savepoint = txn.savepoint();
        (1_000..3_000).for_each(|id| insert_one(txn, db, *table, id));
        txn.rollback_to(&savepoint).expect("is there");
    };
    assert!(is_refused(&outcome_of(&world, many, insert(2_999))));
}

/// Of a transaction that gives up all it wrote, its reads are of its snapshot; who has a key is told of the newest state.
#[test]
fn what_is_told_past_the_snapshot_holds_without_writes_too() {
    let world = database(10);
    let (db, table) = &world;
    let given_up = |before: bool, action: &dyn Fn(&Transaction)| {
        let mut txn = serializable(db, *table);
        if before {
            assert_eq!(find(&txn, db, *table, 20).is_some(), find(&txn, db, *table, 9).is_none());
        }
        meanwhile(db, *table, action);
        let savepoint = txn.savepoint();
        let told = block_on(txn.insert(&def(db, *table), &account(20, 0))).is_ok();
        txn.rollback_to(&savepoint).expect("is there");
        (told, commit(txn))
    };
    // 20 is not there, then refused because it is.
    let (told, outcome) = given_up(true, &|txn| insert_one(txn, db, *table, 20));
    assert!(!told && is_refused(&outcome), "{told} {outcome:?}");
    meanwhile(db, *table, |txn| delete(txn, db, *table, 9));
    // 20 is there, then let through because it is not.
    let (told, outcome) = given_up(true, &|txn| delete(txn, db, *table, 20));
    assert!(told && is_refused(&outcome), "{told} {outcome:?}");
    let (told, outcome) = given_up(false, &|txn| insert_one(txn, db, *table, 21));
    assert!(told && outcome.is_ok(), "another key: {outcome:?}");
}

/// The refusal by the second index tells that the first had nothing against the row.
#[test]
fn what_a_refused_insertion_has_told_must_still_hold() {
    let world = database(10);
    let (db, table) = &world;
    let mut txn = db.begin(Isolation::ReadCommitted).expect("begins");
    let by_balance = IndexColumn { column: ColumnId::new(1), order: KeyOrder::default() };
    let index = NewIndex { columns: vec![by_balance], primary: false, ..primary_key("by_balance") };
    block_on(txn.create_index(*table, index)).expect("builds");
    commit(txn).expect("commits");
    let refused = |txn: &mut Transaction| {
        let savepoint = txn.savepoint();
        let refusal = block_on(txn.insert(&def(db, *table), &account(30, 5)));
        assert!(matches!(refusal, Err(Error::DuplicateKey { .. })), "{refusal:?}");
        txn.rollback_to(&savepoint).expect("is there");
    };
    let insert = |id: i64| {
        move |txn: &Transaction| {
            block_on(txn.insert(&def(db, *table), &account(id, 100 + id))).expect("is new");
        }
    };
    assert!(is_refused(&outcome_of(&world, refused, insert(30))));
}

#[test]
fn what_only_the_transaction_knows_is_nobody_elses_to_change() {
    let (db, table) = database(10);
    let mut txn = serializable(&db, table);
    block_on(txn.truncate(table)).expect("truncates");
    assert_eq!(txn.view().table(table).expect("is there").row_count(), 0);
    let emptied = txn.newest_catalog().table(table).expect("is there").clone();
    block_on(txn.insert(&emptied, &account(1, 1))).expect("inserts");
    commit(txn).expect("nobody has changed the new heap");
}

/// The read set knows the indexes that the first read of the table knew.
#[test]
fn reads_by_an_index_of_its_own_are_not_lost() {
    let (db, table) = database(10);
    let mut txn = serializable(&db, table);
    assert!(find(&txn, &db, table, 3).is_some());
    meanwhile(&db, table, |txn| assert!(add(txn, &db, table, 7, 100).expect("updates")));
    let by_balance = IndexColumn { column: ColumnId::new(1), order: KeyOrder::default() };
    let index = NewIndex { columns: vec![by_balance], primary: false, ..primary_key("by_balance") };
    let index = block_on(txn.create_index(table, index)).expect("builds");
    let view = txn.view().table(table).expect("is there");
    let bound = || {
        let mut key = Vec::new();
        let index = view.def().index(index).expect("is there");
        encode_index_key(view.def(), index, &account(0, 7), &mut key).expect("fits");
        Bound::Included(key)
    };
    let _ = view.clone().declare(ReadPredicate::Keys(index, bound(), bound()));
    assert!(is_refused(&commit(txn)));
}
