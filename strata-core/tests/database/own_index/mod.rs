//! An index that is made in the transaction that wrote the table: over rows that it has loaded in bulk, rows that it has written
//! out, rows in its memory, and committed ones.

mod random;
mod undone;
mod unique;

use std::ops::Bound::Unbounded;
use std::path::Path;
use std::sync::Arc;

use crate::common::*;
use arrow_array::{ArrayRef, Int64Array, RecordBatch};
use strata_core::catalog::IndexColumn;
use strata_core::catalog::change::NewIndex;
use strata_core::ids::{ColumnId, IndexId, RowId, TableId};
use strata_core::row::{ColumnType, Datum};
use strata_core::table::{Isolation, TableView, Transaction, encode_index_key};
use strata_core::txn::{RowLockMode, block_on};
use strata_core::vfs::{MemVfs, SeededRandom, Vfs};
use strata_core::{Database, Error, Options, Result, Sizes};

/// Loads of so few rows are loads, of several segments.
const LOADED_ROWS: i64 = 30;
/// So many rows are written out.
const OWN_ROWS: usize = 10;

fn open_small(vfs: Arc<dyn Vfs>, own_rows: usize) -> Database {
    let sizes = Sizes { own_rows, bulk_rows: 8, segment_bytes: 1 << 10, ..Sizes::default() };
    Database::open_with_vfs(vfs, Path::new(DIR), Options { sizes, ..manual() }).expect("opens")
}

struct Rig {
    vfs: Arc<MemVfs>,
    db: Database,
    table: TableId,
}

impl Rig {
    /// `public.plain (tag int8, id int8, other int8)`, without an index.
    fn new(own_rows: usize) -> Self {
        let vfs = Arc::new(MemVfs::new());
        Self::over(vfs.clone(), vfs, own_rows)
    }

    /// The same where `through` is the way to the file system.
    fn over(vfs: Arc<MemVfs>, through: Arc<dyn Vfs>, own_rows: usize) -> Self {
        let db = open_small(through, own_rows);
        let columns = ["tag", "id", "other"].map(|name| column(name, ColumnType::Int64, true)).to_vec();
        let mut txn = db.begin(Isolation::ReadCommitted).expect("begins");
        let table = block_on(txn.change_catalog(|catalog| catalog.create_table("public", "plain", columns)));
        commit(txn).expect("commits");
        Self { vfs, db, table: table.expect("new") }
    }

    fn writer(&self) -> Transaction {
        writer(&self.db, self.table)
    }

    /// Inserts rows and commits.
    fn insert(&self, rows: &[Row]) {
        let txn = self.writer();
        rows.iter().for_each(|row| put(&txn, self.table, *row).expect("inserts"));
        commit(txn).expect("commits");
    }

    fn committed(&self) -> TableView {
        self.db.view().table(self.table).expect("is there")
    }

    /// The database has these rows, each in all its indexes; and so it has after a crash and after maintenance.
    fn assert_has(&self, expected: &[Row]) {
        let mut expected = expected.to_vec();
        expected.sort_unstable();
        assert_shows(&self.committed(), &expected);
        assert_clean(&self.db);
        let crashed = Arc::new(self.vfs.crash_clone(&SeededRandom::new(3)));
        let db = open_small(crashed, OWN_ROWS);
        for _ in 0..2 {
            assert_shows(&db.view().table(self.table).expect("is there"), &expected);
            assert_clean(&db);
            db.vacuum().expect("vacuums");
        }
    }
}

/// Tag, id, other.
type Row = (i64, Option<i64>, Option<i64>);

/// A row whose columns all have the same number.
fn same(number: i64) -> Row {
    (number, Some(number), Some(number))
}

fn rows_of(tags: std::ops::Range<i64>) -> Vec<Row> {
    tags.map(same).collect()
}

fn datums((tag, id, other): Row) -> Vec<Datum> {
    [Some(tag), id, other].map(|value| value.map_or(Datum::Null, Datum::Int64)).to_vec()
}

fn newest(txn: &Transaction, table: TableId) -> Arc<strata_core::catalog::TableDef> {
    txn.newest_catalog().table(table).expect("is there").clone()
}

fn put(txn: &Transaction, table: TableId, row: Row) -> Result<()> {
    block_on(txn.insert(&newest(txn, table), &datums(row))).map(drop)
}

fn batch_of(rows: &[Row]) -> RecordBatch {
    let column =
        |of: fn(&Row) -> Option<i64>| Arc::new(rows.iter().map(of).collect::<Int64Array>()) as ArrayRef;
    let columns = [
        ("tag", column(|row| Some(row.0)), true),
        ("id", column(|row| row.1), true),
        ("other", column(|row| row.2), true),
    ];
    RecordBatch::try_from_iter_with_nullable(columns).expect("columns fit")
}

fn load(txn: &Transaction, table: TableId, rows: &[Row]) -> Result<u64> {
    block_on(async {
        let mut load = txn.bulk_load(table).await?;
        load.append(&batch_of(rows))?;
        load.finish().await
    })
}

fn index_on(name: &str, columns: &[u32], unique: bool) -> NewIndex {
    let mut index = primary_key(name);
    (index.primary, index.unique, index.constraint) = (false, unique, false);
    let column = index.columns[0];
    index.columns = columns.iter().map(|id| IndexColumn { column: ColumnId::new(*id), ..column }).collect();
    index
}

/// A primary key of `id`.
fn key_on_id() -> NewIndex {
    NewIndex { primary: true, constraint: true, ..index_on("plain_pkey", &[1], true) }
}

fn create(txn: &mut Transaction, table: TableId, index: NewIndex) -> Result<IndexId> {
    block_on(txn.create_index(table, index))
}

fn commit(txn: Transaction) -> Result<()> {
    txn.commit()?.wait().map(drop)
}

/// The rows that a transaction sees.
fn seen(txn: &Transaction, table: TableId) -> Vec<Row> {
    let view = txn.view().table(table).expect("is there");
    scan_rows(&view).into_iter().map(|(row, _)| row).collect()
}

/// Commits; the database then has what the transaction has seen.
fn commit_what_is_seen(rig: &Rig, txn: Transaction) {
    let rows = seen(&txn, rig.table);
    commit(txn).expect("commits");
    rig.assert_has(&rows);
}

fn row_at(table: &TableView, row: RowId) -> Row {
    let values = table.row(row).expect("is there").to_datums(&table.def().schema).expect("reads");
    let number = |place: usize| match &values[place] {
        Datum::Int64(value) => Some(*value),
        Datum::Null => None,
        other => panic!("not a number: {other:?}"),
    };
    (number(0).expect("has a tag"), number(1), number(2))
}

/// All rows by a scan, with their places.
fn scan_rows(table: &TableView) -> Vec<(Row, Option<RowId>)> {
    let mut found = Vec::new();
    let columns: Vec<ColumnId> = (0..3).map(ColumnId::new).collect();
    let contents = table.contents().expect("reads");
    for segment in &contents.segments {
        let slots = table.visible_slots(segment, 0..segment.slots().next_multiple_of(64)).expect("reads");
        let selected = strata_core::heap::column::Selection::Slots(slots.clone());
        let arrays = segment.read(&table.def().schema, &columns, &selected).expect("reads");
        for (place, slot) in slots.iter().enumerate() {
            let number =
                |column: usize| match strata_core::row::datum_at(&arrays[column], place, &ColumnType::Int64)
                    .expect("fits")
                {
                    Datum::Int64(value) => Some(value),
                    _ => None,
                };
            let row = segment.segment().first_row().offset(u64::from(*slot));
            // Those of own loads cannot be named before they are committed.
            let row = table.is_visible(row).expect("reads").then_some(row);
            found.push(((number(0).expect("has a tag"), number(1), number(2)), row));
        }
    }
    found.extend(contents.own_rows.iter().map(|(row, _)| (row_at(table, *row), Some(*row))));
    assert_eq!(found.len() as u64, table.row_count(), "the count is exact");
    found.sort_unstable();
    found
}

/// What an index finds, in its order.
fn by_index(table: &TableView, index: IndexId) -> Vec<Row> {
    let mut scan = table.range(index, Unbounded, Unbounded, false).expect("begins");
    let (mut found, mut last) = (Vec::new(), Vec::new());
    while let Some((key, row)) = scan.next_entry().expect("reads") {
        assert!(last <= key, "keys ascend");
        let row = row_at(table, row);
        let def = table.def();
        let mut expected = Vec::new();
        encode_index_key(def, def.index(index).expect("is there"), &datums(row), &mut expected)
            .expect("fits");
        assert_eq!(key, expected, "the entry of {row:?}");
        last = key;
        found.push(row);
    }
    found
}

/// The table shows these rows, which ascend, by a scan and by each index that says to be whole.
fn assert_shows(table: &TableView, expected: &[Row]) {
    let found: Vec<Row> = scan_rows(table).into_iter().map(|(row, _)| row).collect();
    assert_eq!(found, expected);
    for index in table.def().indexes.iter().filter(|index| table.index_is_whole(index.id)) {
        let mut found = by_index(table, index.id);
        found.sort_unstable();
        assert_eq!(found, expected, "by {}", index.name);
        for row in expected.iter().step_by(7).filter(|row| row.1.is_some() && row.2.is_some()) {
            let mut key = Vec::new();
            encode_index_key(table.def(), index, &datums(*row), &mut key).expect("fits");
            let of_key = table.rows_of_key(index.id, &key).expect("begins");
            let of_key: Vec<Row> = of_key.map(|row| row_at(table, row.expect("reads"))).collect();
            assert!(of_key.contains(row), "{row:?} by its key in {}: {of_key:?}", index.name);
            if index.unique {
                let first = table.first(index.id, &key).expect("reads").map(|found| row_at(table, found));
                assert_eq!(first, Some(*row), "by {}", index.name);
            }
        }
    }
}

/// Deletes a row that the transaction sees.
fn delete(txn: &Transaction, table: TableId, tag: i64) {
    let view = txn.view().table(table).expect("is there");
    let found = scan_rows(&view).into_iter().find(|(row, _)| row.0 == tag);
    let row = found.and_then(|(_, place)| place).expect("is there");
    block_on(txn.lock_row(&view, row, RowLockMode::Update)).expect("locked");
    txn.delete(&view, row).expect("deletes");
}

/// Replaces one.
fn update(txn: &Transaction, table: TableId, new: Row) -> Result<()> {
    let view = txn.view().table(table).expect("is there");
    let found = scan_rows(&view).into_iter().find(|(row, _)| row.0 == new.0);
    let row = found.and_then(|(_, place)| place).expect("is there");
    block_on(txn.lock_row(&view, row, RowLockMode::Update)).expect("locked");
    block_on(txn.update(&view, row, &datums(new))).map(drop)
}

#[track_caller]
fn assert_duplicate(result: Result<impl std::fmt::Debug>) {
    assert!(matches!(result, Err(Error::DuplicateKey { .. })), "{result:?}");
}

/// As a restored dump does: COPY, then the indexes, in one transaction.
#[test]
fn an_index_finds_what_its_transaction_had_written_before_it() {
    let rig = Rig::new(OWN_ROWS);
    let table = rig.table;
    rig.insert(&rows_of(0..5));
    let mut txn = rig.writer();
    delete(&txn, table, 3);
    load(&txn, table, &rows_of(100..100 + 3 * LOADED_ROWS)).expect("loads");
    rows_of(200..235).into_iter().for_each(|row| put(&txn, table, row).expect("inserts"));
    load(&txn, table, &rows_of(300..300 + LOADED_ROWS)).expect("loads");
    delete(&txn, table, 207);
    delete(&txn, table, 234);
    create(&mut txn, table, key_on_id()).expect("indexed");
    create(&mut txn, table, index_on("by_other", &[2, 1], false)).expect("indexed");
    let expected = [0..3, 4..5, 100..190, 200..207, 208..234, 300..330].map(rows_of).concat();
    assert_shows(&txn.view().table(table).expect("is there"), &expected);
    // More of all after the indexes.
    load(&txn, table, &rows_of(400..400 + LOADED_ROWS)).expect("loads");
    rows_of(500..525).into_iter().for_each(|row| put(&txn, table, row).expect("inserts"));
    delete(&txn, table, 0);
    delete(&txn, table, 210);
    update(&txn, table, (211, Some(211), Some(-1))).expect("updates");
    let mut expected = [1..3, 4..5, 100..190, 200..207, 208..210, 212..234, 300..330, 400..430, 500..525]
        .map(rows_of)
        .concat();
    expected.push((211, Some(211), Some(-1)));
    expected.sort_unstable();
    assert_shows(&txn.view().table(table).expect("is there"), &expected);
    create(&mut txn, table, index_on("by_all", &[0, 1, 2], true)).expect("indexed");
    assert_shows(&txn.view().table(table).expect("is there"), &expected);
    commit(txn).expect("commits");
    assert_eq!(rig.committed().def().indexes.len(), 3);
    rig.assert_has(&expected);
}

/// Its own rows are all that there is, so the index is whole before the commit.
#[test]
fn an_index_of_rows_that_were_written_out_serves_its_own_transaction() {
    let rig = Rig::new(OWN_ROWS);
    let table = rig.table;
    let mut txn = rig.writer();
    rows_of(0..35).into_iter().for_each(|row| put(&txn, table, row).expect("inserts"));
    delete(&txn, table, 4);
    let index = create(&mut txn, table, key_on_id()).expect("indexed");
    let view = txn.view().table(table).expect("is there");
    assert!(view.index_is_whole(index));
    rows_of(40..75).into_iter().for_each(|row| put(&txn, table, row).expect("inserts"));
    delete(&txn, table, 5);
    assert_eq!(by_index(&view, index), [0..4, 5..35].map(rows_of).concat());
    assert_shows(&view, &[0..4, 5..35].map(rows_of).concat());
    let expected = [0..4, 6..35, 40..75].map(rows_of).concat();
    let view = txn.view().table(table).expect("is there");
    assert_eq!(by_index(&view, index), expected);
    let reverse = view.range(index, Unbounded, Unbounded, true).expect("begins");
    let reverse: Vec<Row> = reverse.map(|row| row_at(&view, row.expect("reads"))).collect();
    assert_eq!(reverse, expected.iter().rev().copied().collect::<Vec<_>>());
    assert_shows(&view, &expected);
    drop(view);
    commit(txn).expect("commits");
    rig.assert_has(&expected);
}

/// What memory is too short for is sorted in runs, and the commit adopts files of many.
#[test]
fn an_index_of_segments_as_they_are() {
    let vfs = Arc::new(MemVfs::new());
    let sizes = Sizes { own_rows: 1_000, ..Sizes::default() };
    let options = Options { memory_bytes: 32 << 20, sizes, ..manual() };
    let db = Database::open_with_vfs(vfs, Path::new(DIR), options).expect("opens");
    let table = create_accounts(&db, "accounts");
    crate::common::load(&db, table, 0..20_000).expect("loads");
    let mut txn = writer(&db, table);
    let load = |ids: std::ops::Range<i64>| {
        block_on(async {
            let mut load = txn.bulk_load(table).await?;
            load.append(&batch(ids))?;
            load.finish().await
        })
    };
    load(20_000..90_000).expect("two segments");
    load(90_000..110_000).expect("loads");
    let def = def(&db, table);
    for id in 110_000..112_500 {
        block_on(txn.insert(&def, &account(id, id))).expect("inserts");
    }
    let index = block_on(txn.create_index(table, index_on("by_note", &[2], true))).expect("indexed");
    commit(txn).expect("commits");
    let view = db.view().table(table).expect("is there");
    assert_eq!(view.range(index, Unbounded, Unbounded, false).expect("begins").count(), 112_500);
    assert_clean(&db);
}
