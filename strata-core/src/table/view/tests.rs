//! Lookups that are told where to look: right, wrong, or not at all.

use super::*;
use crate::catalog::IndexColumn;
use crate::catalog::change::{NewColumn, NewIndex};
use crate::ids::ColumnId;
use crate::maintenance::MaintenanceMode;
use crate::row::{ColumnType, Datum, KeyOrder};
use crate::table::{Isolation, Locked, encode_index_key};
use crate::txn::{RowLockMode, TableLockMode, block_on};
use crate::{Database, Options};

const ROWS: i64 = 40;

/// A table `(id int8, name text, weight float8)`, with a unique index of the number, of the name descending with the number, and
/// of the weight.
fn world() -> (Database, TableId) {
    // Few hints, for they are cleared often.
    let memory_bytes = 16 << 20;
    let options = Options { memory_bytes, maintenance: MaintenanceMode::Manual, ..Options::default() };
    let db = Database::in_memory(options).expect("opens");
    let column = |name: &str, column_type| NewColumn::new(name, column_type).not_null();
    let columns = vec![
        column("id", ColumnType::Int64),
        column("name", ColumnType::Text),
        column("weight", ColumnType::Float64),
    ];
    let mut txn = db.begin(Isolation::ReadCommitted).expect("begins");
    let table = block_on(txn.change_catalog(|catalog| catalog.create_table("public", "world", columns)));
    let table = table.expect("is new");
    let ascending = KeyOrder::default();
    let descending = KeyOrder { descending: true, ..ascending };
    for (name, columns) in [
        ("by_id", vec![(0, ascending)]),
        ("by_name", vec![(1, descending), (0, ascending)]),
        ("by_weight", vec![(2, ascending)]),
    ] {
        let columns = columns.into_iter();
        let columns =
            columns.map(|(column, order)| IndexColumn { column: ColumnId::new(column), order }).collect();
        let index = NewIndex { name: name.into(), primary: false, unique: true, constraint: false, columns };
        block_on(txn.create_index(table, index)).expect("is made");
    }
    txn.commit().expect("commits").wait().expect("is durable");
    (db, table)
}

/// The row of a number. Names are longer than an entry of any cache, and there is a negative zero.
fn values(id: i64) -> Vec<Datum> {
    let name = format!("{}{}", "a long name, ".repeat(20), id / 3);
    vec![Datum::Int64(id), Datum::Text(name), Datum::Float64(-(id as f64))]
}

fn keys(view: &TableView, id: i64) -> Vec<(IndexId, Vec<u8>)> {
    let key = |index| {
        let mut key = Vec::new();
        encode_index_key(&view.def, index, &values(id), &mut key).expect("fits");
        (index.id, key)
    };
    view.def.indexes.iter().map(key).collect()
}

fn insert(db: &Database, table: TableId, ids: impl Iterator<Item = i64>) {
    let txn = db.begin(Isolation::ReadCommitted).expect("begins");
    block_on(txn.lock_table(table, TableLockMode::RowExclusive)).expect("locks");
    let def = db.catalog().table(table).expect("is there").clone();
    for id in ids {
        block_on(txn.insert(&def, &values(id))).expect("inserts");
    }
    txn.commit().expect("commits").wait().expect("is durable");
}

/// Deletes some rows, and gives others a new version without another value.
fn change(db: &Database, table: TableId, deleted: &[i64], updated: &[i64]) {
    let txn = db.begin(Isolation::ReadCommitted).expect("begins");
    block_on(txn.lock_table(table, TableLockMode::RowExclusive)).expect("locks");
    for id in deleted.iter().chain(updated) {
        let view = txn.view().table(table).expect("is there");
        let (index, key) = keys(&view, *id).remove(0);
        let row = view.first(index, &key).expect("reads").expect("is there");
        let locked = block_on(txn.lock_row(&view, row, RowLockMode::Update)).expect("locks");
        assert_eq!(locked, Locked::Current);
        if updated.contains(id) {
            block_on(txn.update(&view, row, &values(*id))).expect("updates");
        } else {
            txn.delete(&view, row).expect("deletes");
        }
    }
    txn.commit().expect("commits").wait().expect("is durable");
}

/// The number of the row that a key leads to.
fn found(view: &TableView, index: IndexId, key: &[u8]) -> Option<i64> {
    let (row, stored) = view.first_row(index, key).expect("reads")?;
    assert_eq!(view.first(index, key).expect("reads"), Some(row));
    let values = stored.to_datums(&view.def.schema).expect("reads");
    match values.first() {
        Some(Datum::Int64(id)) => Some(*id),
        other => panic!("{other:?} is no number"),
    }
}

#[test]
fn a_hint_may_lead_to_any_row_at_all() {
    let (db, table) = world();
    insert(&db, table, 0..ROWS);
    let early = db.view().table(table).expect("is there");
    change(&db, table, &[3, 4, 5], &[6, 7]);
    insert(&db, table, [3].into_iter());
    db.vacuum().expect("works");
    change(&db, table, &[10, 11], &[12, 6]);
    insert(&db, table, ROWS..ROWS + 2);
    let late = db.view().table(table).expect("is there");
    let is_early = |id: i64| id < ROWS;
    let is_late = |id: i64| ![4, 5, 10, 11].contains(&id) && id < ROWS + 2;
    let rows: Vec<RowId> = (0..60).chain([1 << 16, (1 << 40) - 1]).map(RowId::new).collect();
    let tree = &db.view().shared.store.tree;
    let mut hinted = 0;
    for id in (0..ROWS + 4).step_by(2).chain([3, 5, 7, 11]) {
        for (index, key) in keys(&late, id) {
            for row in rows.iter().map(|row| Some(*row)).chain([None]) {
                for (view, is_there) in [(&early, is_early(id)), (&late, is_late(id))] {
                    tree.mislead(index, &key, row);
                    hinted += usize::from(view.hinted(index, &key, |_| ()).is_some());
                    assert_eq!(
                        found(view, index, &key),
                        is_there.then_some(id),
                        "{id} by {index:?}, {row:?}"
                    );
                }
            }
        }
    }
    assert!(hinted > 60, "{hinted} hints were right");
}

/// A row is found by what SQL calls equal to what it holds.
#[test]
fn a_hint_leads_from_zero_to_a_negative_zero() {
    let (db, table) = world();
    insert(&db, table, 0..ROWS);
    let view = db.view().table(table).expect("is there");
    assert_eq!(values(0).last().map(|value| format!("{value:?}")), Some("Float64(-0.0)".into()));
    let index = view.def.indexes.last().expect("of the weight");
    let mut key = Vec::new();
    let zero = [Datum::Null, Datum::Null, Datum::Float64(0.0)];
    encode_index_key(&view.def, index, &zero, &mut key).expect("fits");
    let row = view.first(index.id, &key).expect("reads").expect("is there");
    assert_eq!(view.hinted(index.id, &key, |_| ()).map(|(row, _)| row), Some(row));
    assert_eq!(found(&view, index.id, &key), Some(0));
}

#[test]
fn what_was_found_is_found_by_its_hint() {
    let (db, table) = world();
    insert(&db, table, 0..ROWS);
    for frozen in [false, true] {
        if frozen {
            db.vacuum().expect("works");
        }
        let view = db.view().table(table).expect("is there");
        for id in 0..ROWS {
            for (index, key) in keys(&view, id) {
                view.view.shared.store.tree.mislead(index, &key, None);
                assert!(view.hinted(index, &key, |_| ()).is_none());
                let row = view.first(index, &key).expect("reads");
                assert!(
                    row.is_some() && view.hinted(index, &key, |_| ()).map(|(row, _)| row) == row,
                    "{id}, {frozen}"
                );
            }
        }
    }
}

#[test]
fn a_transaction_does_not_find_by_a_hint_what_it_has_deleted() {
    let (db, table) = world();
    insert(&db, table, 0..ROWS);
    let txn = db.begin(Isolation::ReadCommitted).expect("begins");
    block_on(txn.lock_table(table, TableLockMode::RowExclusive)).expect("locks");
    let view = txn.view().table(table).expect("is there");
    let (index, key) = keys(&view, 8).remove(0);
    let row = view.first(index, &key).expect("reads").expect("is there");
    block_on(txn.lock_row(&view, row, RowLockMode::Update)).expect("locks");
    txn.delete(&view, row).expect("deletes");
    let after = txn.view().table(table).expect("is there");
    assert!(after.hinted(index, &key, |_| ()).is_some(), "it is no hint");
    assert_eq!(found(&after, index, &key), None);
    assert_eq!(found(&view, index, &key), Some(8));
}
