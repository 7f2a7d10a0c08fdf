//! A small table and ways to write and read it.

use std::path::Path;
use std::sync::Arc;

use arrow_array::{ArrayRef, Int64Array, RecordBatch, StringViewArray};
use strata_core::catalog::change::{NewColumn, NewIndex};
use strata_core::catalog::{IndexColumn, TableDef};
use strata_core::ids::{ColumnId, RowId, TableId};
use strata_core::maintenance::MaintenanceMode;
use strata_core::row::{ColumnType, Datum, KeyOrder};
use strata_core::table::{Isolation, Locked, Transaction};
use strata_core::txn::{RowLockMode, TableLockMode, block_on};
use strata_core::vfs::{MemVfs, Vfs};
use strata_core::{Database, Options, Result};

/// Where the test database is in its file system.
pub const DIR: &str = "/db";

/// Maintenance by hand, sync by a thread.
pub fn manual() -> Options {
    Options { memory_bytes: 256 << 20, maintenance: MaintenanceMode::Manual, ..Options::default() }
}

/// A database on a file system in memory.
pub fn open(vfs: &Arc<MemVfs>) -> Database {
    let vfs: Arc<dyn Vfs> = vfs.clone();
    Database::open_with_vfs(vfs, Path::new(DIR), manual()).expect("opens")
}

/// The same with other options.
pub fn open_with(vfs: &Arc<MemVfs>, options: Options) -> Database {
    Database::open_with_vfs(vfs.clone(), DIR, options).expect("opens")
}

/// A column without a default.
pub fn column(name: &str, column_type: ColumnType, nullable: bool) -> NewColumn {
    NewColumn { nullable, ..NewColumn::new(name, column_type) }
}

/// A unique index of the first column.
pub fn primary_key(name: &str) -> NewIndex {
    let column = IndexColumn { column: ColumnId::new(0), order: KeyOrder::default() };
    NewIndex { name: name.into(), primary: true, unique: true, constraint: true, columns: vec![column] }
}

/// Makes `public.<name> (id int8 primary key, balance int8, note text)`.
pub fn create_accounts(db: &Database, name: &str) -> TableId {
    let mut txn = db.begin(Isolation::ReadCommitted).expect("begins");
    let columns = vec![
        column("id", ColumnType::Int64, false),
        column("balance", ColumnType::Int64, true),
        column("note", ColumnType::Text, true),
    ];
    let table =
        block_on(txn.change_catalog(|catalog| catalog.create_table("public", name, columns))).expect("new");
    block_on(txn.create_index(table, primary_key(&format!("{name}_pkey")))).expect("indexed");
    txn.commit().expect("commits").wait().expect("durable");
    table
}

/// The newest definition of a table.
pub fn def(db: &Database, table: TableId) -> Arc<TableDef> {
    db.catalog().table(table).expect("is there").clone()
}

/// A row of the accounts table.
pub fn account(id: i64, balance: i64) -> Vec<Datum> {
    vec![Datum::Int64(id), Datum::Int64(balance), Datum::Text(format!("account number {id}"))]
}

/// Loads accounts in bulk and commits.
pub fn load(db: &Database, table: TableId, ids: std::ops::Range<i64>) -> Result<u64> {
    let txn = db.begin(Isolation::ReadCommitted)?;
    let rows = block_on(async {
        let mut load = txn.bulk_load(table).await?;
        let mut start = ids.start;
        while start < ids.end {
            let end = ids.end.min(start + 10_000);
            load.append(&batch(start..end))?;
            start = end;
        }
        load.finish().await
    })?;
    txn.commit()?.wait()?;
    Ok(rows)
}

/// Drops a table and commits.
pub fn drop_table(db: &Database, table: TableId) {
    let mut txn = db.begin(Isolation::ReadCommitted).expect("begins");
    block_on(txn.lock_table(table, TableLockMode::AccessExclusive)).expect("free");
    block_on(txn.drop_relation(table)).expect("drops");
    txn.commit().expect("commits").wait().expect("durable");
}

/// Begins a transaction that may write to the table.
pub fn writer(db: &Database, table: TableId) -> Transaction {
    let txn = db.begin(Isolation::ReadCommitted).expect("begins");
    block_on(txn.lock_table(table, TableLockMode::RowExclusive)).expect("locked");
    txn
}

/// Inserts and commits.
pub fn insert(db: &Database, table: TableId, rows: &[Vec<Datum>]) -> Result<()> {
    let txn = writer(db, table);
    let table = def(db, table);
    for row in rows {
        block_on(txn.insert(&table, row))?;
    }
    txn.commit()?.wait().map(|_| ())
}

/// The key of an account.
pub fn key(db: &Database, table: TableId, id: i64) -> Vec<u8> {
    let table = def(db, table);
    let mut key = Vec::new();
    let values = [Datum::Int64(id), Datum::Null, Datum::Null];
    let index = table.primary_key().expect("has one");
    strata_core::table::encode_index_key(&table, index, &values, &mut key).expect("fits");
    key
}

/// The row of an account in a transaction's new statement.
pub fn find(txn: &Transaction, db: &Database, table: TableId, id: i64) -> Option<(RowId, Vec<Datum>)> {
    let view = txn.view().table(table).expect("is there");
    let index = view.def().primary_key().expect("has one").id;
    let row = view.first(index, &key(db, table, id)).expect("reads")?;
    Some((row, view.row(row).expect("reads").to_datums(&view.def().schema).expect("reads")))
}

/// Adds to an account's balance as READ COMMITTED does: locks, follows to the newest version, updates.
pub fn add(txn: &Transaction, db: &Database, table: TableId, id: i64, amount: i64) -> Result<bool> {
    let view = txn.view().table(table)?;
    let index = view.def().primary_key().expect("has one").id;
    let Some(row) = view.first(index, &key(db, table, id))? else { return Ok(false) };
    let row = match block_on(txn.lock_row(&view, row, RowLockMode::NoKeyUpdate))? {
        Locked::Current => row,
        Locked::Moved(row) => row,
        Locked::Gone => return Ok(false),
    };
    let mut values = view.row(row)?.to_datums(&view.def().schema)?;
    if let Datum::Int64(balance) = &mut values[1] {
        *balance += amount;
    }
    block_on(txn.update(&view, row, &values))?;
    Ok(true)
}

/// All visible accounts, by id, read by a scan.
pub fn scan(db: &Database, table: TableId) -> Vec<(i64, i64)> {
    let view = db.view().table(table).expect("is there");
    let mut rows = Vec::new();
    for segment in view.segments().expect("reads") {
        for slot in view.visible_slots(&segment, 0..segment.slots().next_multiple_of(64)).expect("reads") {
            let row = segment.segment().first_row().offset(u64::from(slot));
            let values = view.row(row).expect("reads").to_datums(&view.def().schema).expect("reads");
            match (&values[0], &values[1]) {
                (Datum::Int64(id), Datum::Int64(balance)) => rows.push((*id, *balance)),
                other => panic!("not an account: {other:?}"),
            }
        }
    }
    assert_eq!(rows.len() as u64, view.row_count(), "the count is exact");
    rows.sort_unstable();
    rows
}

/// Fails unless `check` finds nothing.
pub fn assert_clean(db: &Database) {
    let report = db.check();
    assert!(report.is_clean(), "{:#?}", report.problems);
}

/// Rows of the accounts table as a bulk load takes them.
pub fn batch(ids: std::ops::Range<i64>) -> RecordBatch {
    batch_of(ids.map(|id| (id, id % 1_000, format!("loaded {id}"))))
}

/// The same, of these ids, balances and notes.
pub fn batch_of(rows: impl Iterator<Item = (i64, i64, String)> + Clone) -> RecordBatch {
    let ids: Int64Array = rows.clone().map(|(id, _, _)| id).collect();
    let balances: Int64Array = rows.clone().map(|(_, balance, _)| balance).collect();
    let notes: StringViewArray = rows.map(|(_, _, note)| Some(note)).collect();
    RecordBatch::try_from_iter_with_nullable([
        ("id", Arc::new(ids) as ArrayRef, true),
        ("balance", Arc::new(balances) as ArrayRef, true),
        ("note", Arc::new(notes) as ArrayRef, true),
    ])
    .expect("columns fit")
}
