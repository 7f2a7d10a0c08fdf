//! A table for the tests of maintenance.

use super::MaintenanceMode;
use crate::catalog::change::NewColumn;
use crate::ids::TableId;
use crate::row::{ColumnType, Datum};
use crate::table::{Isolation, Transaction};
use crate::txn::block_on;
use crate::{Database, Options};

/// A database in memory, with maintenance by hand.
pub(super) fn in_memory() -> Database {
    let options = Options { maintenance: MaintenanceMode::Manual, ..Options::default() };
    Database::in_memory(options).expect("opens")
}

/// A table of one column with so many rows, and the transaction that has made it and not committed.
pub(super) fn begin_table(db: &Database, rows: i64) -> (Transaction, TableId) {
    let mut txn = db.begin(Isolation::ReadCommitted).expect("begins");
    let column = NewColumn::new("id", ColumnType::Int64);
    let table = block_on(txn.change_catalog(|catalog| catalog.create_table("public", "t", vec![column])));
    let table = table.expect("new");
    let def = txn.newest_catalog().table(table).expect("its own").clone();
    for id in 0..rows {
        block_on(txn.insert(&def, &[Datum::Int64(id)])).expect("inserted");
    }
    (txn, table)
}

/// As [`begin_table`], committed.
pub(super) fn create_table(db: &Database, rows: i64) -> TableId {
    let (txn, table) = begin_table(db, rows);
    txn.commit().expect("commits").wait().expect("durable");
    table
}
