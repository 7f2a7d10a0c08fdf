//! Bulk loads beside other writers of the table (`table/unique`): nobody waits, and no key is there twice.

mod beside;
mod isolation;
mod moves;
mod not_durable;
mod own;
mod pairs;
mod random;
mod reads;
mod waiting;

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Waker};

use crate::common::*;
use arrow_array::{Int64Array, RecordBatch, RecordBatchOptions};
use arrow_schema::Schema;
use strata_core::ids::{RowId, TableId};
use strata_core::table::{Isolation, Locked, Transaction};
use strata_core::txn::{RowLockMode, block_on};
use strata_core::{Database, Error, Options, Result, Sizes};

/// Small loads are loads, too, and make several segments.
fn small() -> Options {
    let sizes = Sizes { bulk_rows: 8, segment_bytes: 2 << 10, ..Sizes::default() };
    Options { sizes, ..manual() }
}

fn memory() -> Arc<Database> {
    Arc::new(Database::in_memory(small()).expect("opens"))
}

fn rows_of(ids: &[i64]) -> RecordBatch {
    batch_of(ids.iter().map(|id| (*id, *id, format!("loaded {id}"))))
}

/// Loads rows as a part of a transaction.
async fn load_rows(txn: &Transaction, table: TableId, ids: &[i64]) -> Result<u64> {
    let mut load = txn.bulk_load(table).await?;
    load.append(&rows_of(ids))?;
    load.finish().await
}

/// The same, waiting here.
fn load_into(txn: &Transaction, table: TableId, ids: &[i64]) -> Result<u64> {
    block_on(load_rows(txn, table, ids))
}

/// A transaction that has loaded rows.
fn loaded(db: &Database, table: TableId, ids: &[i64]) -> Transaction {
    let txn = db.begin(Isolation::ReadCommitted).expect("begins");
    assert_eq!(load_into(&txn, table, ids).expect("loads"), ids.len() as u64);
    assert!(txn.view().table(table).expect("is there").has_own_loads(), "it is no load");
    txn
}

/// A transaction that has inserted an account.
fn inserted(db: &Database, table: TableId, id: i64, balance: i64) -> Transaction {
    let txn = writer(db, table);
    block_on(txn.insert(&def(db, table), &account(id, balance))).expect("inserts");
    txn
}

/// A transaction that has deleted accounts.
fn deleted(db: &Database, table: TableId, ids: &[i64]) -> Transaction {
    let txn = writer(db, table);
    for id in ids {
        let row = committed(db, &txn, table, *id);
        txn.delete(&txn.view().table(table).expect("is there"), row).expect("deletes");
    }
    txn
}

type Pending<'a, T> = Pin<Box<dyn Future<Output = Result<T>> + 'a>>;

/// Begins something that has to wait.
fn begun<'a, T: std::fmt::Debug>(future: impl Future<Output = Result<T>> + 'a) -> Pending<'a, T> {
    let mut future: Pending<'a, T> = Box::pin(future);
    let first = future.as_mut().poll(&mut Context::from_waker(Waker::noop()));
    assert!(first.is_pending(), "it does not wait: {first:?}");
    future
}

fn commit(txn: Transaction) -> Result<()> {
    txn.commit()?.wait().map(drop)
}

fn assert_duplicate<T: std::fmt::Debug>(outcome: Result<T>) {
    assert!(matches!(outcome, Err(Error::DuplicateKey { .. })), "{outcome:?}");
}

fn ids(db: &Database, table: TableId) -> Vec<i64> {
    scan(db, table).into_iter().map(|(id, _)| id).collect()
}

fn range(ids: std::ops::Range<i64>) -> Vec<i64> {
    ids.collect()
}

/// The id and the row of an account that others have committed, whatever the transaction has of its own.
fn committed(db: &Database, txn: &Transaction, table: TableId, id: i64) -> RowId {
    let view = db.view().table(table).expect("is there");
    let index = view.def().primary_key().expect("has one").id;
    let row = view.first(index, &key(db, table, id)).expect("reads").expect("is there");
    let view = txn.view().table(table).expect("is there");
    let locked = block_on(txn.lock_row(&view, row, RowLockMode::Update)).expect("locks");
    assert_eq!(locked, Locked::Current);
    row
}

#[test]
fn rows_without_columns_are_loaded() {
    let db = memory();
    let mut txn = db.begin(Isolation::ReadCommitted).expect("begins");
    let table = block_on(txn.change_catalog(|catalog| catalog.create_table("public", "bare", Vec::new())));
    let table = table.expect("is made");
    let batch = |rows| {
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        RecordBatch::try_new_with_options(Arc::new(Schema::empty()), Vec::new(), &options).expect("rows")
    };
    for rows in [3, 20] {
        let mut load = block_on(txn.bulk_load(table)).expect("begins");
        load.append(&batch(rows)).expect("appends");
        assert_eq!(block_on(load.finish()).expect("loads"), rows as u64);
    }
    txn.commit().expect("commits").wait().expect("durable");
    assert_eq!(db.view().table(table).expect("is there").row_count(), 23);
    assert_clean(&db);
}
