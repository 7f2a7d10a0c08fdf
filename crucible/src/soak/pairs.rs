//! Transactions on pairs: rows that come, change and go two at a time.

use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch};
use arrow_schema::{Field, Schema};
use strata_core::Result;
use strata_core::catalog::TableDef;
use strata_core::row::{ColumnBuilder, Datum, arrow_type};
use strata_core::table::{Isolation, Transaction};
use strata_core::txn::block_on;

use super::Counters;
use super::client::{World, end};
use super::tables::{PAIRS, fill, find, lock, lock_row, note};
use super::undo;
use crate::random::Random;

/// The row of a pair.
pub fn pair(def: &TableDef, id: i64, word: i64, note: Datum) -> Vec<Datum> {
    fill(def, &[Datum::Int64(id), Datum::Int64(id.signum()), Datum::Int64(word), note])
}

/// Inserts, replaces or deletes a few pairs.
pub fn few(world: &World<'_>, isolation: Isolation, random: &mut Random) -> Result<bool> {
    let mut txn = world.db.begin(isolation)?;
    let def = lock(&txn, world.tables.pairs)?;
    for _ in 0..random.within(1..4) {
        if random.chance(1, 6) {
            undo::halves(world, &mut txn, &def, random)?;
        }
        change(world, &txn, &def, random.within(1..PAIRS as u64) as i64, random)?;
    }
    end(txn, random)
}

/// The same with so many that the transaction's own rows are written out before it commits.
pub fn many(world: &World<'_>, isolation: Isolation, random: &mut Random) -> Result<bool> {
    let mut txn = world.db.begin(isolation)?;
    let def = lock(&txn, world.tables.pairs)?;
    let count = random.within(50..150) as i64;
    let first = random.within(1..(PAIRS - count) as u64) as i64;
    for id in first..first + count {
        change(world, &txn, &def, id, random)?;
    }
    if random.chance(1, 2) {
        undo::in_part(world, &mut txn, |txn| {
            (first..first + count).try_for_each(|id| change_half(world, txn, id, random.chance(1, 3)))
        })?;
    }
    // Those that were written out among them.
    for id in first..first + random.within(0..count as u64) as i64 {
        change(world, &txn, &def, id, random)?;
    }
    let view = txn.latest_view().table(world.tables.pairs)?;
    let mut segments = view.contents()?.segments.into_iter();
    if segments.any(|segment| segment.segment().first_row().is_provisional()) {
        Counters::add(&world.counters.spilled);
    }
    end(txn, random)
}

/// Inserts, replaces or deletes a pair.
pub fn change(
    world: &World<'_>,
    txn: &Transaction,
    def: &TableDef,
    id: i64,
    random: &mut Random,
) -> Result<()> {
    let word = random.within(0..1_000) as i64;
    let view = txn.view().table(world.tables.pairs)?;
    if find(&view, id)?.is_none() {
        for id in [id, -id] {
            block_on(txn.insert(def, &pair(def, id, word, note(random))))?;
        }
        return Ok(());
    }
    let delete = random.chance(1, 2);
    let mut met = 0;
    for id in [id, -id] {
        let Some((row, mut values)) = lock_row(txn, &view, id)? else { continue };
        met += 1;
        if delete {
            txn.delete(&view, row)?;
        } else {
            values[2] = Datum::Int64(word);
            block_on(txn.update(&view, row, &values))?;
        }
    }
    // Both were seen; whoever deleted the one meanwhile has deleted the other.
    assert_ne!(met, 1, "a twin of {id} went alone");
    Ok(())
}

/// Deletes or replaces a row, if it is there, and leaves its twin as it is: to be undone.
pub fn change_half(world: &World<'_>, txn: &Transaction, id: i64, delete: bool) -> Result<()> {
    let view = txn.view().table(world.tables.pairs)?;
    let Some((row, mut values)) = lock_row(txn, &view, id)? else { return Ok(()) };
    if delete {
        return txn.delete(&view, row);
    }
    values[2] = Datum::Int64(-1);
    block_on(txn.update(&view, row, &values)).map(drop)
}

/// Loads pairs in bulk: few, that go in as rows, or enough for a block.
pub fn bulk(world: &World<'_>, random: &mut Random) -> Result<bool> {
    let txn = world.db.begin(Isolation::ReadCommitted)?;
    let def = lock(&txn, world.tables.pairs)?;
    let first = random.within(1..PAIRS as u64 - 400) as i64;
    let count = random.within(20..400) as i64;
    let seen = txn.view().table(world.tables.pairs)?;
    let mut rows = Vec::new();
    for id in first..first + count {
        // Who inserts one of them until the commit has it refused.
        if find(&seen, id)?.is_none() {
            let word = random.within(0..1_000) as i64;
            rows.extend([id, -id].map(|id| pair(&def, id, word, note(random))));
        }
    }
    load(&txn, &def, &rows)?;
    end(txn, random)
}

/// Loads these rows.
pub fn load(txn: &Transaction, def: &TableDef, rows: &[Vec<Datum>]) -> Result<()> {
    let mut load = block_on(txn.bulk_load(def.id))?;
    for part in rows.chunks(300) {
        load.append(&batch(def, part)?)?;
    }
    let loaded = block_on(load.finish())?;
    assert_eq!(loaded, rows.len() as u64);
    Ok(())
}

/// Rows as a batch of the live columns.
fn batch(def: &TableDef, rows: &[Vec<Datum>]) -> Result<RecordBatch> {
    let (mut fields, mut arrays): (Vec<Field>, Vec<ArrayRef>) = (Vec::new(), Vec::new());
    for column in def.schema.live() {
        let mut builder = ColumnBuilder::new(&column.column_type, rows.len());
        for row in rows {
            builder.push_datum(&row[column.id.get() as usize])?;
        }
        fields.push(Field::new(&column.name, arrow_type(&column.column_type), true));
        arrays.push(builder.finish());
    }
    Ok(RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays).expect("columns of one length"))
}
