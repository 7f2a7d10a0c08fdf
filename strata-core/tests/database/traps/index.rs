//! Traps of what enters the index tree from the side.

use std::ops::Bound::Unbounded;
use std::sync::Arc;

use strata_core::catalog::change::NewIndex;
use strata_core::ids::{ColumnId, IndexId, RowId, TableId};
use strata_core::maintenance::Step;
use strata_core::row::ColumnType;
use strata_core::table::{Isolation, TableView};
use strata_core::txn::{RowLockMode, block_on};
use strata_core::vfs::MemVfs;
use strata_core::{Database, Error};

use super::{crash, lazy, load};
use crate::common::*;

/// (k, r1), deleted, is in the memtable; a bulk load brings (k, r9). A lookup must not meet r1 first.
#[test]
fn first_hit_wins() {
    let vfs = Arc::new(MemVfs::new());
    let db = open_with(&vfs, lazy());
    let table = create_accounts(&db, "accounts");
    insert(&db, table, &[account(7, 1), account(30_000, 1)]).expect("inserts");
    let txn = writer(&db, table);
    let (row, _) = find(&txn, &db, table, 7).expect("is there");
    let view = txn.view().table(table).expect("is there");
    block_on(txn.lock_row(&view, row, RowLockMode::Update)).expect("locked");
    txn.delete(&view, row).expect("deletes");
    txn.commit().expect("commits").wait().expect("durable");
    load(&db, table, 0..20_000).expect("7 is free");
    // The load's files are in the manifest, and the journal still has the older entries: replay does not put them above.
    let flushed = || {
        let vfs = crash(&vfs, 5);
        let db = open_with(&vfs, lazy());
        assert_eq!(db.maintain().expect("a step"), Step::Flush);
        open_with(&crash(&vfs, 5), lazy())
    };
    for db in [db.clone(), open_with(&crash(&vfs, 5), lazy()), flushed()] {
        let reader = writer(&db, table);
        let found = find(&reader, &db, table, 7).map(|(_, values)| values[1].clone());
        assert_eq!(found, Some(account(7, 8)[1].clone()), "the loaded row is found");
        let twice = insert(&db, table, &[account(7, 2)]);
        assert!(matches!(twice, Err(Error::DuplicateKey { .. })), "{twice:?}");
        // And what comes later stands above the load again.
        add(&reader, &db, table, 7, 100).expect("updates");
        reader.commit().expect("commits").wait().expect("durable");
        let reader = writer(&db, table);
        let found = find(&reader, &db, table, 7).map(|(_, values)| values[1].clone());
        assert_eq!(found, Some(account(7, 108)[1].clone()));
        assert_clean(&db);
    }
}

/// An index is built over old rows while newer ones have its keys already, or get them before it is adopted: those of the
/// same transaction. A lookup must meet the newer ones.
#[test]
fn first_hit_wins_backfill() {
    let vfs = Arc::new(MemVfs::new());
    let db = open_with(&vfs, lazy());
    let table = create_accounts(&db, "accounts");
    let rows: Vec<_> = (0..100).map(|id| account(id, id)).collect();
    insert(&db, table, &rows).expect("inserts");
    let mut txn = db.begin(Isolation::ReadCommitted).expect("begins");
    // New versions with the same balance: the index gets those of this transaction, and no entry of those they replace.
    for id in 0..50 {
        assert!(add(&txn, &db, table, id, 0).expect("updates"));
    }
    let mut index = primary_key("by_balance");
    (index.primary, index.columns[0].column) = (false, ColumnId::new(1));
    let index = block_on(txn.create_index(table, index)).expect("builds");
    // And new versions of what has an entry: they are in the memtable when the files come.
    for id in 50..75 {
        assert!(add(&txn, &db, table, id, 0).expect("updates"));
    }
    txn.commit().expect("commits").wait().expect("durable");
    for db in [db.clone(), open_with(&crash(&vfs, 5), lazy())] {
        let view = db.view().table(table).expect("is there");
        let definition = view.def().clone();
        let by_balance = definition.index(index).expect("was made");
        for id in 0..100 {
            let mut key = Vec::new();
            let values = account(id, id);
            strata_core::table::encode_index_key(&definition, by_balance, &values, &mut key).expect("fits");
            assert!(view.first(index, &key).expect("reads").is_some(), "balance {id} is found");
        }
        let twice = insert(&db, table, &[account(200, 7)]);
        assert!(matches!(twice, Err(Error::DuplicateKey { .. })), "{twice:?}");
        let txn = writer(&db, table);
        add(&txn, &db, table, 7, 1_000).expect("updates");
        txn.commit().expect("commits").wait().expect("durable");
        insert(&db, table, &[account(200, 7)]).expect("the balance is free now");
        assert_clean(&db);
    }
}

/// Fails unless each index that is whole finds what a scan does; says which are.
fn whole_indexes(view: &TableView) -> Vec<IndexId> {
    let mut seen = Vec::new();
    let contents = view.contents().expect("reads");
    for segment in contents.segments {
        let slots = view.visible_slots(&segment, 0..segment.slots().next_multiple_of(64)).expect("reads");
        seen.extend(slots.iter().map(|slot| segment.segment().first_row().offset(u64::from(*slot))));
    }
    seen.extend(contents.own_rows.iter().map(|(row, _)| *row));
    seen.sort_unstable();
    let indexes = view.def().indexes.iter().map(|index| index.id);
    let whole: Vec<IndexId> = indexes.filter(|index| view.index_is_whole(*index)).collect();
    for index in &whole {
        let rows = view.range(*index, Unbounded, Unbounded, false).expect("reads");
        let mut found: Vec<RowId> = rows.collect::<Result<_, _>>().expect("reads");
        found.sort_unstable();
        assert_eq!(found, seen, "index {index:?}");
    }
    whole
}

fn by_balance() -> NewIndex {
    let mut index = primary_key("by_balance");
    (index.primary, index.unique, index.constraint) = (false, false, false);
    index.columns[0].column = ColumnId::new(1);
    index
}

fn delete(db: &Database, table: TableId, ids: std::ops::Range<i64>) {
    let txn = writer(db, table);
    for id in ids {
        let (row, _) = find(&txn, db, table, id).expect("is there");
        let view = txn.view().table(table).expect("is there");
        block_on(txn.lock_row(&view, row, RowLockMode::Update)).expect("locked");
        txn.delete(&view, row).expect("deletes");
    }
    txn.commit().expect("commits").wait().expect("durable");
}

/// A transaction with one snapshot makes an index after others have ended rows that it sees: the index has none of those.
#[test]
fn an_index_serves_no_snapshot_older_than_its_rows() {
    for ended in [0..3, 0..10] {
        let db = open_with(&Arc::new(MemVfs::new()), lazy());
        let table = create_accounts(&db, "accounts");
        let rows: Vec<_> = (0..10).map(|id| account(id, id)).collect();
        insert(&db, table, &rows).expect("inserts");
        let mut txn = db.begin(Isolation::RepeatableRead).expect("begins");
        assert_eq!(txn.view().table(table).expect("is there").row_count(), 10);
        delete(&db, table, ended);
        let index = block_on(txn.create_index(table, by_balance())).expect("builds");
        let view = txn.view().table(table).expect("is there");
        assert_eq!(view.row_count(), 10);
        assert!(!whole_indexes(&view).contains(&index));
        txn.commit().expect("commits").wait().expect("durable");
        let view = db.view().table(table).expect("is there");
        assert!(whole_indexes(&view).contains(&index));
    }
}

/// The transaction that makes the index has itself ended rows: a snapshot taken in between sees them.
#[test]
fn an_index_serves_no_snapshot_taken_while_it_was_made() {
    let db = open_with(&Arc::new(MemVfs::new()), lazy());
    let table = create_accounts(&db, "accounts");
    let others = create_accounts(&db, "others");
    insert(&db, table, &[account(1, 1), account(2, 2)]).expect("inserts");
    let mut txn = db.begin(Isolation::ReadCommitted).expect("begins");
    assert!(add(&txn, &db, table, 1, 100).expect("updates"));
    let index = block_on(txn.create_index(table, by_balance())).expect("builds");
    insert(&db, others, &[account(1, 1)]).expect("time goes on");
    let mut between = db.begin(Isolation::RepeatableRead).expect("begins");
    assert_eq!(between.view().table(table).expect("is there").row_count(), 2);
    txn.commit().expect("commits").wait().expect("durable");
    block_on(between.change_catalog(|catalog| catalog.create_schema("other"))).expect("made");
    let view = between.view().table(table).expect("is there");
    assert!(!whole_indexes(&view).contains(&index));
}

/// Own DDL begins from the newest catalog: indexes come with it that were made after the snapshot.
#[test]
fn an_index_of_others_serves_no_older_snapshot_either() {
    let db = open_with(&Arc::new(MemVfs::new()), lazy());
    let table = create_accounts(&db, "accounts");
    let rows: Vec<_> = (0..10).map(|id| account(id, id)).collect();
    insert(&db, table, &rows).expect("inserts");
    let mut old = db.begin(Isolation::RepeatableRead).expect("begins");
    assert_eq!(old.view().table(table).expect("is there").row_count(), 10);
    delete(&db, table, 0..3);
    let mut txn = db.begin(Isolation::ReadCommitted).expect("begins");
    let index = block_on(txn.create_index(table, by_balance())).expect("builds");
    txn.commit().expect("commits").wait().expect("durable");
    block_on(old.change_catalog(|catalog| catalog.create_schema("other"))).expect("made");
    let view = old.view().table(table).expect("is there");
    assert_eq!(view.row_count(), 10);
    assert!(!whole_indexes(&view).contains(&index));
    // One that is made on a table without rows lacks none.
    let empty = block_on(old.change_catalog(|catalog| {
        catalog.create_table("public", "empty", vec![column("id", ColumnType::Int64, false)])
    }));
    let empty = empty.expect("made");
    insert(&db, table, &[account(20, 20)]).expect("inserts");
    let made = block_on(old.create_index(empty, primary_key("empty_pkey"))).expect("built");
    assert!(whole_indexes(&old.view().table(empty).expect("is there")).contains(&made));
}
