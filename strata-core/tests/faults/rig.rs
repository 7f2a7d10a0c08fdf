//! Small tables, and all that they hold.

use std::collections::BTreeMap;
use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use arrow_array::{ArrayRef, Int64Array, RecordBatch, StringViewArray};
use strata_core::catalog::change::{NewColumn, NewIndex};
use strata_core::catalog::{IndexColumn, Relation, TableDef};
use strata_core::ids::{ColumnId, RowId, TableId};
use strata_core::lsm::LsmOptions;
use strata_core::maintenance::{MaintenanceMode, MaintenanceOptions};
use strata_core::row::{ColumnType, Datum, KeyOrder};
use strata_core::table::{Isolation, TableView, Transaction};
use strata_core::txn::TableLockMode;
use strata_core::vfs::Vfs;
use strata_core::{Database, Error, Options, Result, Sizes};

pub const DIR: &str = "/db";

/// Why an operation did not succeed.
#[derive(Debug)]
#[allow(dead_code, reason = "the errors are printed")]
pub enum Stopped {
    /// It says that nothing was done.
    Refused(Error),
    /// It says that the outcome is unknown.
    InDoubt(Error),
}

impl From<Error> for Stopped {
    fn from(error: Error) -> Self {
        Self::Refused(error)
    }
}

pub type Outcome = std::result::Result<(), Stopped>;

/// Sizes that take a few hundred rows through every form; no threads.
pub fn options() -> Options {
    let memory_bytes = 16 << 20;
    Options {
        memory_bytes,
        maintenance: MaintenanceMode::Manual,
        thresholds: Some(MaintenanceOptions {
            tail_slots: 32,
            ..MaintenanceOptions::for_memory(memory_bytes)
        }),
        sync_thread: false,
        sizes: Sizes {
            segment_bytes: 6 << 10,
            bulk_rows: 100,
            beside_bytes: 4 << 10,
            journal_file_bytes: 32 << 10,
            manifest_growth_bytes: 4 << 10,
            index: LsmOptions { level_0_runs: 2, ..LsmOptions::default() },
            ..Sizes::default()
        },
    }
}

pub fn open(vfs: Arc<dyn Vfs>) -> Result<Database> {
    open_with(vfs, options())
}

pub fn open_with(vfs: Arc<dyn Vfs>, options: Options) -> Result<Database> {
    Database::open_with_vfs(vfs, Path::new(DIR), options)
}

/// The value of a future that has nobody to wait for.
pub fn now<F: Future>(future: F) -> F::Output {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("waits for a lock, or a commit, that nobody will release"),
    }
}

pub fn index(name: &str, column: u32, primary: bool) -> NewIndex {
    let columns = vec![IndexColumn { column: ColumnId::new(column), order: KeyOrder::default() }];
    NewIndex { name: name.into(), primary, unique: primary, constraint: primary, columns }
}

/// Makes `<name> (id int8 primary key, note text)`, with an index of the notes.
pub fn create(txn: &mut Transaction, name: &str) -> Result<TableId> {
    let columns = vec![NewColumn::new("id", ColumnType::Int64), NewColumn::new("note", ColumnType::Text)];
    let table = now(txn.change_catalog(|catalog| catalog.create_table("public", name, columns)))?;
    now(txn.create_index(table, index(&format!("{name}_pkey"), 0, true)))?;
    now(txn.create_index(table, index(&format!("{name}_note"), 1, false)))?;
    Ok(table)
}

pub fn def(db: &Database, name: &str) -> Arc<TableDef> {
    db.catalog().table_by_name("public", name).expect("is there").clone()
}

pub fn begin(db: &Database) -> Result<Transaction> {
    db.begin(Isolation::ReadCommitted)
}

/// A transaction that may write to the table.
pub fn writer(db: &Database, name: &str) -> Result<Transaction> {
    let txn = begin(db)?;
    now(txn.lock_table(def(db, name).id, TableLockMode::RowExclusive))?;
    Ok(txn)
}

pub fn note(id: i64) -> String {
    format!("note {} of row {id}, with {}", id * 7919 % 101, "x".repeat(60))
}

pub fn row(id: i64) -> Vec<Datum> {
    vec![Datum::Int64(id), Datum::Text(note(id))]
}

pub fn batch(ids: std::ops::Range<i64>) -> RecordBatch {
    note_batch(ids.map(|id| (id, note(id))))
}

pub fn note_batch(rows: impl Iterator<Item = (i64, String)>) -> RecordBatch {
    let (ids, notes): (Vec<i64>, Vec<String>) = rows.unzip();
    let notes: StringViewArray = notes.into_iter().map(Some).collect();
    let ids: Int64Array = ids.into_iter().collect();
    let columns = [("id", Arc::new(ids) as ArrayRef, true), ("note", Arc::new(notes) as ArrayRef, true)];
    RecordBatch::try_from_iter_with_nullable(columns).expect("columns fit")
}

pub fn insert(db: &Database, txn: &Transaction, name: &str, ids: std::ops::Range<i64>) -> Result<()> {
    let def = def(db, name);
    for id in ids {
        now(txn.insert(&def, &row(id)))?;
    }
    Ok(())
}

/// The row of a primary key.
pub fn find(view: &TableView, id: i64) -> Result<Option<RowId>> {
    let def = view.def();
    let index = def.primary_key().expect("has one");
    let mut values = vec![Datum::Null; def.schema.columns.len()];
    values[0] = Datum::Int64(id);
    let mut key = Vec::new();
    strata_core::table::encode_index_key(def, index, &values, &mut key)?;
    view.first(index.id, &key)
}

/// Deletes rows, or gives them other notes.
pub fn change(
    db: &Database,
    txn: &Transaction,
    name: &str,
    ids: std::ops::Range<i64>,
    delete: bool,
) -> Result<()> {
    let view = txn.view().table(def(db, name).id)?;
    for id in ids {
        let Some(row) = find(&view, id)? else { continue };
        if delete {
            txn.delete(&view, row)?;
        } else {
            now(txn.update(&view, row, &[Datum::Int64(id), Datum::Text(format!("changed {id}"))]))?;
        }
    }
    Ok(())
}

pub fn load(txn: &Transaction, table: TableId, ids: std::ops::Range<i64>) -> Result<()> {
    let mut load = now(txn.bulk_load(table))?;
    let mut start = ids.start;
    while start < ids.end {
        let end = ids.end.min(start + 50);
        load.append(&batch(start..end))?;
        start = end;
    }
    now(load.finish())?;
    Ok(())
}

pub fn load_batch(txn: &Transaction, table: TableId, rows: &RecordBatch) -> Result<()> {
    let mut load = now(txn.bulk_load(table))?;
    load.append(rows)?;
    now(load.finish()).map(|_| ())
}

/// Commits and waits.
pub fn commit(db: &Database, txn: Transaction) -> Outcome {
    let ticket = txn.commit()?;
    // What it says, the ticket says too.
    let _ = db.sync();
    now(ticket).map(|_| ()).map_err(Stopped::InDoubt)
}

/// Begins, writes, commits.
pub fn write(db: &Database, name: &str, work: impl FnOnce(&Transaction) -> Result<()>) -> Outcome {
    let txn = writer(db, name)?;
    work(&txn)?;
    commit(db, txn)
}

/// The relations with their columns, indexes and rows, read by scans; through each index as many rows are found.
pub type Contents = BTreeMap<String, Vec<String>>;

pub fn contents(db: &Database) -> Result<Contents> {
    let view = db.view();
    let mut contents = Contents::new();
    let schemas = view.catalog().schemas().map(|schema| schema.name.clone()).collect();
    contents.insert("the schemas".into(), schemas);
    for relation in view.catalog().relations() {
        if let Relation::View(def) = relation {
            contents.insert(def.name.clone(), vec![def.query.clone()]);
        }
    }
    for def in view.catalog().tables() {
        let table = view.table(def.id)?;
        let mut rows = Vec::new();
        for row in scan(&table)? {
            let values = table.row(row)?.to_datums(&def.schema)?;
            rows.push(format!("{values:?}"));
        }
        assert_eq!(rows.len() as u64, table.row_count(), "{} counts its rows", def.name);
        rows.sort_unstable();
        for index in &def.indexes {
            let unbounded = std::ops::Bound::Unbounded;
            let found =
                table.range(index.id, unbounded.clone(), unbounded, false)?.collect::<Result<Vec<_>>>()?;
            assert_eq!(found.len() as u64, table.row_count(), "rows in index {}", index.name);
            rows.push(format!("index {} of {:?}", index.name, index.columns));
        }
        rows.extend(def.schema.live().map(|column| format!("column {column:?}")));
        contents.insert(def.name.clone(), rows);
    }
    Ok(contents)
}

/// Fails unless a check finds nothing.
pub fn assert_clean(db: &Database) {
    let report = db.check();
    assert!(report.is_clean(), "{:?}", report.problems);
}

/// The rows of a table in the order of their ids.
pub fn scan(table: &TableView) -> Result<Vec<RowId>> {
    let mut rows = Vec::new();
    for segment in table.segments()? {
        let slots = table.visible_slots(&segment, 0..segment.slots().next_multiple_of(64))?;
        rows.extend(slots.iter().map(|slot| segment.segment().first_row().offset(u64::from(*slot))));
    }
    Ok(rows)
}
