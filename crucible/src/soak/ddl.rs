//! Changes of the catalog under load.

use std::sync::atomic::{AtomicU64, Ordering};

use strata_core::catalog::change::NewColumn;
use strata_core::ids::TableId;
use strata_core::row::{ColumnType, Datum};
use strata_core::table::{Isolation, Transaction};
use strata_core::txn::{LockTicket, TableLockMode, block_on};
use strata_core::{Database, Result};

use super::Counters;
use super::client::World;
use super::pairs::{load, pair};
use super::tables::{PAIRS, columns, index, lock, note};
use super::verify::rows_of;
use crate::random::Random;

/// Columns that `pairs` gets at most.
const COLUMNS_MAX: usize = 12;

/// One transaction that changes the catalog, or a few.
pub fn change(world: &World<'_>, random: &mut Random) -> Result<()> {
    match random.within(0..8) {
        0 => add_column(world, random),
        1..4 => remake_index(world, "pairs_word", &[2], false, random),
        4 => remake_index(world, "pairs_both", &[0, 1], true, random),
        5 => names(world.db),
        _ => scratch(world, random),
    }
}

fn next_name(what: &str) -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    format!("{what}{}", NEXT.fetch_add(1, Ordering::Relaxed))
}

/// One transaction that changes the catalog.
fn altering(db: &Database, change: impl FnOnce(&mut Transaction) -> Result<()>) -> Result<()> {
    let mut txn = db.begin(Isolation::ReadCommitted)?;
    change(&mut txn)?;
    txn.commit()?.wait().map(drop)
}

fn lock_whole(txn: &Transaction, table: TableId) -> Result<()> {
    block_on(txn.lock_table(table, TableLockMode::AccessExclusive)).map(drop)
}

/// Gives `pairs` a column that older rows read as a value.
fn add_column(world: &World<'_>, random: &mut Random) -> Result<()> {
    let pairs = world.tables.pairs;
    altering(world.db, |txn| {
        lock_whole(txn, pairs)?;
        let columns = txn.newest_catalog().table(pairs)?.schema.columns.len();
        if columns >= COLUMNS_MAX {
            return Ok(());
        }
        let mut new = NewColumn::new(format!("extra{columns}"), ColumnType::Int64);
        new.missing = Datum::Int64(random.within(0..9) as i64);
        block_on(txn.change_catalog(|catalog| catalog.add_column(pairs, new))).map(drop)
    })
}

/// Drops an index of pairs, or makes it anew, as SQL does: while others read, and write until it is their turn to wait.
fn remake_index(
    world: &World<'_>,
    name: &str,
    places: &[u32],
    unique: bool,
    random: &mut Random,
) -> Result<()> {
    let pairs = world.tables.pairs;
    let mut txn = world.db.begin(Isolation::ReadCommitted)?;
    // DDL is this thread's alone, so it stays there, or not there.
    if let Some((table, index)) = txn.newest_catalog().find_index("public", name) {
        lock_whole(&txn, table)?;
        block_on(txn.change_catalog(|catalog| catalog.drop_index(table, index)))?;
        return txn.commit()?.wait().map(drop);
    }
    // SQL locks before it asks the engine, whose own lock must do too.
    match random.within(0..4) {
        0 => {}
        1 => lock_shared(world, txn.lock_table(pairs, TableLockMode::Share))?,
        _ => {
            let writer = world.db.begin(Isolation::ReadCommitted)?;
            let def = lock(&writer, pairs)?;
            super::pairs::change(world, &writer, &def, random.within(1..PAIRS as u64) as i64, random)?;
            let ticket = txn.lock_table(pairs, TableLockMode::Share);
            assert!(!ticket.is_granted(), "a table that is being written to was locked against writers");
            writer.commit()?.wait()?;
            lock_shared(world, ticket)?;
        }
    }
    block_on(txn.create_index(pairs, index(name, places, unique)))?;
    txn.commit()?.wait()?;
    Counters::add(&world.counters.indexes);
    Ok(())
}

fn lock_shared(world: &World<'_>, ticket: LockTicket) -> Result<()> {
    if !ticket.is_granted() {
        Counters::add(&world.counters.awaited_writers);
    }
    block_on(ticket).map(drop)
}

/// Makes a schema with a table and a view in it, renames both, drops all: who looks from before sees what was there.
fn names(db: &Database) -> Result<()> {
    let (schema, name, new_name) = (next_name("schema"), next_name("table"), next_name("renamed"));
    let mut made = None;
    altering(db, |txn| {
        block_on(txn.change_catalog(|catalog| {
            catalog.create_schema(&schema)?;
            let table = catalog.create_table(&schema, &name, columns(&["id"]))?;
            let query = format!("SELECT id FROM {schema}.{name}");
            made = Some((table, catalog.create_view(&schema, "view", &query, Vec::new())?));
            Ok(())
        }))
    })?;
    let (table, view) = made.expect("was committed");
    let first = db.view();
    altering(db, |txn| {
        lock_whole(txn, table)?;
        block_on(txn.change_catalog(|catalog| {
            catalog.rename_relation(table, &new_name)?;
            catalog.rename_relation(view, "other_view")
        }))
    })?;
    let second = db.view();
    altering(db, |txn| {
        lock_whole(txn, table)?;
        block_on(txn.drop_relation(view))?;
        block_on(txn.drop_relation(table))?;
        block_on(txn.change_catalog(|catalog| catalog.drop_schema(&schema)))
    })?;
    for (seen, table_name, view_name) in [(first, &*name, "view"), (second, &*new_name, "other_view")] {
        let relation = |name| seen.catalog().relation(&schema, name).map(strata_core::catalog::Relation::id);
        assert_eq!(relation(table_name), Some(table), "{table_name} of {schema}");
        assert_eq!(relation(view_name), Some(view), "{view_name} of {schema}");
    }
    assert!(db.catalog().schema(&schema).is_none(), "{schema} was dropped");
    Ok(())
}

/// Makes a table, fills it, indexes it, empties it, drops it: each step a transaction or all of them one.
fn scratch(world: &World<'_>, random: &mut Random) -> Result<()> {
    let (db, name) = (world.db, next_name("scratch"));
    let mut txn = db.begin(Isolation::ReadCommitted)?;
    let ints = columns(&["id", "sign", "word"]);
    let table = block_on(txn.change_catalog(|catalog| catalog.create_table("public", &name, ints)))?;
    block_on(txn.create_index(table, index(&format!("{name}_id"), &[0], true)))?;
    let count = random.within(1..700) as i64;
    if random.chance(1, 2) {
        txn.commit()?.wait()?;
        txn = db.begin(Isolation::ReadCommitted)?;
    }
    let def = lock(&txn, table)?;
    let rows: Vec<_> = (1..=count).map(|id| pair(&def, id, id % 7, note(random))).collect();
    if random.chance(1, 2) {
        load(&txn, &def, &rows)?;
    } else {
        for row in &rows {
            block_on(txn.insert(&def, row))?;
        }
    }
    if random.chance(1, 2) {
        // Over its own rows, and undone.
        let savepoint = txn.savepoint();
        block_on(txn.create_index(table, index(&format!("{name}_undone"), &[2], false)))?;
        txn.rollback_to(&savepoint)?;
        Counters::add(&world.counters.undone);
    }
    txn.commit()?.wait()?;
    assert_eq!(rows_of(&db.view(), table).len() as i64, count, "{name}");

    altering(db, |txn| {
        block_on(txn.create_index(table, index(&format!("{name}_word"), &[2], false))).map(drop)
    })?;
    let seen = db.view();
    assert_eq!(rows_of(&seen, table).len() as i64, count, "{name} with another index");

    altering(db, |txn| {
        lock_whole(txn, table)?;
        block_on(txn.truncate(table))
    })?;
    assert!(rows_of(&db.view(), table).is_empty(), "{name} was emptied");
    assert_eq!(rows_of(&seen, table).len() as i64, count, "{name} before it was emptied");
    drop(seen);

    altering(db, |txn| {
        lock_whole(txn, table)?;
        block_on(txn.drop_relation(table))
    })
}
