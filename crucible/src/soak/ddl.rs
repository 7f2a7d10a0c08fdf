//! Changes of the catalog under load.

use std::sync::atomic::{AtomicU64, Ordering};

use strata_core::catalog::change::NewColumn;
use strata_core::row::{ColumnType, Datum};
use strata_core::table::Isolation;
use strata_core::txn::{TableLockMode, block_on};
use strata_core::{Database, Result};

use super::client::{batch, pair};
use super::tables::{Tables, index, lock, note};
use super::verify::rows_of;
use crate::random::Random;

/// Columns that `pairs` gets at most.
const COLUMNS_MAX: usize = 12;

/// One transaction that changes the catalog.
pub fn change(db: &Database, tables: &Tables, random: &mut Random) -> Result<()> {
    match random.within(0..6) {
        0 => add_column(db, tables, random),
        1 | 2 => remake_index(db, tables),
        _ => scratch(db, random),
    }
}

/// Gives `pairs` a column that older rows read as a value.
fn add_column(db: &Database, tables: &Tables, random: &mut Random) -> Result<()> {
    let mut txn = db.begin(Isolation::ReadCommitted)?;
    block_on(txn.lock_table(tables.pairs, TableLockMode::AccessExclusive))?;
    let columns = txn.newest_catalog().table(tables.pairs)?.schema.columns.len();
    if columns >= COLUMNS_MAX {
        return Ok(());
    }
    let mut new = NewColumn::new(format!("extra{columns}"), ColumnType::Int64);
    new.missing = Datum::Int64(random.within(0..9) as i64);
    block_on(txn.change_catalog(|catalog| catalog.add_column(tables.pairs, new)))?;
    txn.commit()?.wait().map(drop)
}

/// Drops the index of words, or makes it anew, while others write.
fn remake_index(db: &Database, tables: &Tables) -> Result<()> {
    const NAME: &str = "pairs_word";
    let mut txn = db.begin(Isolation::ReadCommitted)?;
    block_on(txn.lock_table(tables.pairs, TableLockMode::AccessExclusive))?;
    let there = txn.newest_catalog().find_index("public", NAME);
    match there {
        Some((table, index)) => block_on(txn.change_catalog(|catalog| catalog.drop_index(table, index)))?,
        None => drop(block_on(txn.create_index(tables.pairs, index(NAME, 2, false)))?),
    }
    txn.commit()?.wait().map(drop)
}

/// Makes a table, fills it, indexes it, empties it, drops it: each step a transaction or all of them one.
fn scratch(db: &Database, random: &mut Random) -> Result<()> {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let name = format!("scratch{}", NEXT.fetch_add(1, Ordering::Relaxed));
    let mut txn = db.begin(Isolation::ReadCommitted)?;
    let columns = vec![
        NewColumn::new("id", ColumnType::Int64),
        NewColumn::new("sign", ColumnType::Int64),
        NewColumn::new("word", ColumnType::Int64),
        NewColumn::new("note", ColumnType::Text),
    ];
    let table = block_on(txn.change_catalog(|catalog| catalog.create_table("public", &name, columns)))?;
    block_on(txn.create_index(table, index(&format!("{name}_id"), 0, true)))?;
    let count = random.within(1..700) as i64;
    if random.chance(1, 2) {
        txn.commit()?.wait()?;
        txn = db.begin(Isolation::ReadCommitted)?;
    }
    let def = lock(&txn, table)?;
    let rows: Vec<_> = (1..=count).map(|id| pair(&def, id, id % 7, note(random))).collect();
    if random.chance(1, 2) {
        let mut load = block_on(txn.bulk_load(table))?;
        load.append(&batch(&def, &rows)?)?;
        block_on(load.finish())?;
    } else {
        for row in &rows {
            block_on(txn.insert(&def, row))?;
        }
    }
    txn.commit()?.wait()?;
    assert_eq!(rows_of(&db.view(), table).len() as i64, count, "{name}");

    let mut txn = db.begin(Isolation::ReadCommitted)?;
    block_on(txn.create_index(table, index(&format!("{name}_word"), 2, false)))?;
    txn.commit()?.wait()?;
    let seen = db.view();
    assert_eq!(rows_of(&seen, table).len() as i64, count, "{name} with another index");

    let mut txn = db.begin(Isolation::ReadCommitted)?;
    block_on(txn.lock_table(table, TableLockMode::AccessExclusive))?;
    block_on(txn.truncate(table))?;
    txn.commit()?.wait()?;
    assert!(rows_of(&db.view(), table).is_empty(), "{name} was emptied");
    assert_eq!(rows_of(&seen, table).len() as i64, count, "{name} before it was emptied");
    drop(seen);

    let mut txn = db.begin(Isolation::ReadCommitted)?;
    block_on(txn.lock_table(table, TableLockMode::AccessExclusive))?;
    block_on(txn.drop_relation(table))?;
    txn.commit()?.wait().map(drop)
}
