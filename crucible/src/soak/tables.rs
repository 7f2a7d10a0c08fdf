//! The tables, and rows of them.

use std::sync::Arc;

use strata_core::catalog::change::{NewColumn, NewIndex};
use strata_core::catalog::{IndexColumn, IndexDef, TableDef};
use strata_core::ids::{ColumnId, IndexId, RowId, TableId};
use strata_core::row::{ColumnType, Datum, KeyOrder};
use strata_core::table::{Isolation, Locked, TableView, Transaction, encode_index_key};
use strata_core::txn::{RowLockMode, TableLockMode, block_on};
use strata_core::{Database, Result};

use super::doctors;

/// How many accounts there are.
pub const ACCOUNTS: i64 = 400;
/// Those from here on belong to one thread each: nobody else touches them.
pub const OWN_ACCOUNTS: i64 = 336;
/// So many threads have one.
pub const MAX_THREADS: u64 = (ACCOUNTS - OWN_ACCOUNTS) as u64;
/// What each begins with.
pub const BALANCE: i64 = 1_000;
/// Pairs have ids below this; the twin of `id` has `-id`. Ids from here on are of rows that are never committed.
pub const PAIRS: i64 = 3_000;

/// The tables that every client uses.
#[derive(Debug)]
pub struct Tables {
    pub accounts: TableId,
    pub pairs: TableId,
    pub doctors: TableId,
}

/// An index of some columns.
pub fn index(name: &str, places: &[u32], unique: bool) -> NewIndex {
    let column = |place: &u32| IndexColumn { column: ColumnId::new(*place), order: KeyOrder::default() };
    let columns = places.iter().map(column).collect();
    NewIndex { name: name.into(), primary: false, unique, constraint: unique, columns }
}

/// The values of a row, NULL for columns that the table has got meanwhile.
pub fn fill(table: &TableDef, values: &[Datum]) -> Vec<Datum> {
    let columns = table.schema.columns.len();
    values.iter().cloned().chain(std::iter::repeat(Datum::Null)).take(columns).collect()
}

/// A 64-bit value of a row.
pub fn int(values: &[Datum], place: usize) -> i64 {
    match values.get(place) {
        Some(Datum::Int64(value)) => *value,
        other => panic!("column {place} is {other:?}"),
    }
}

/// A text: most are short, a few have a page of their own.
pub fn note(random: &mut crate::random::Random) -> Datum {
    let length = match random.within(0..200) {
        0 => 40_000,
        1..20 => random.within(200..2_000) as usize,
        _ => random.within(0..60) as usize,
    };
    Datum::Text("strata ".chars().cycle().take(length).collect())
}

/// Columns of 64-bit integers, and a text.
pub fn columns(names: &[&str]) -> Vec<NewColumn> {
    let ints = names.iter().map(|name| NewColumn::new(*name, ColumnType::Int64));
    ints.chain([NewColumn::new("note", ColumnType::Text)]).collect()
}

impl Tables {
    /// Makes all tables, the accounts and the doctors.
    pub fn create(db: &Database) -> Result<Self> {
        let mut txn = db.begin(Isolation::ReadCommitted)?;
        let mut create = |name: &str, ints: &[&str]| {
            block_on(txn.change_catalog(|catalog| catalog.create_table("public", name, columns(ints))))
        };
        let accounts = create("accounts", &["id", "balance"])?;
        let pairs = create("pairs", &["id", "sign", "word"])?;
        let doctors = create("doctors", &["id", "ward", "on_call"])?;
        for (table, name, places, unique) in [
            (accounts, "accounts_id", &[0][..], true),
            (accounts, "accounts_balance", &[1], false),
            (pairs, "pairs_id", &[0], true),
            (pairs, "pairs_word", &[2], false),
            (doctors, "doctors_id", &[0], true),
            (doctors, "doctors_on_call", &[1, 2], false),
        ] {
            block_on(txn.create_index(table, index(name, places, unique)))?;
        }
        txn.commit()?.wait()?;
        let tables = Self { accounts, pairs, doctors };
        let txn = db.begin(Isolation::ReadCommitted)?;
        let def = lock(&txn, accounts)?;
        for id in 0..ACCOUNTS {
            let row = [Datum::Int64(id), Datum::Int64(BALANCE), Datum::Text(String::new())];
            block_on(txn.insert(&def, &row))?;
        }
        doctors::create(&txn, doctors)?;
        txn.commit()?.wait()?;
        Ok(tables)
    }
}

/// Locks a table to write to it, and returns what it is.
pub fn lock(txn: &Transaction, table: TableId) -> Result<Arc<TableDef>> {
    block_on(txn.lock_table(table, TableLockMode::RowExclusive))?;
    Ok(Arc::clone(txn.newest_catalog().table(table)?))
}

/// The unique index of the first column.
pub fn unique(table: &TableDef) -> IndexId {
    table.indexes.iter().find(|index| index.unique).expect("made with the table").id
}

/// The key of a row in the unique index of the first column.
pub fn key(table: &TableDef, id: i64) -> Vec<u8> {
    let index = table.indexes.iter().find(|index| index.unique).expect("made with the table");
    key_in(table, index, &[Datum::Int64(id)])
}

/// The key of a row that begins with these values.
pub fn key_in(table: &TableDef, index: &IndexDef, values: &[Datum]) -> Vec<u8> {
    let mut key = Vec::new();
    encode_index_key(table, index, &fill(table, values), &mut key).expect("fits");
    key
}

/// The row with this id, as a statement sees it.
pub fn find(view: &TableView, id: i64) -> Result<Option<RowId>> {
    view.first(unique(view.def()), &key(view.def(), id))
}

/// Locks the row with this id for a change; its values. `None` where there is none, or none any more.
pub fn lock_row(txn: &Transaction, view: &TableView, id: i64) -> Result<Option<(RowId, Vec<Datum>)>> {
    let Some(row) = find(view, id)? else { return Ok(None) };
    let row = match block_on(txn.lock_row(view, row, RowLockMode::Update))? {
        Locked::Current => row,
        Locked::Moved(row) => row,
        Locked::Gone => return Ok(None),
    };
    let values = view.row(row)?.to_datums(&view.def().schema)?;
    assert_eq!(int(&values, 0), id, "the index leads to another row");
    Ok(Some((row, values)))
}
