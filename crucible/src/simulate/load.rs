//! Bulk loads.

use arrow_array::RecordBatch;
use strata_core::Error;
use strata_core::catalog::TableDef;
use strata_core::row::{ColumnBuilder, Datum};
use strata_core::txn::TableLockMode;

use super::client::{GONE, Outcome, Shared};
use super::model::Write;
use super::open::Open;
use super::stop::wrong;
use super::{define, refusal, schema};
use crate::random::Random;

/// Rows of one batch.
const BATCH_ROWS: usize = 16;

/// Loads rows into a table; their keys are new, but for a few at times.
pub(super) async fn load(shared: &Shared, open: &mut Open, table: u64, rows: u64, seed: u64) -> Outcome {
    let Some(def) = open.pick(table) else { return Ok("no table".into()) };
    if open.has_ddl() {
        return Ok("does not load".into());
    }
    let Some(def) = open.lock(shared, def.id, TableLockMode::RowExclusive).await? else {
        return Ok(GONE.into());
    };
    let mut random = Random::new(seed);
    let count = 1 + rows % (shared.bulk_rows * 4);
    // A few keys of those that others insert: too many, and no load would get through.
    let common = if random.chance(1, 2) { random.within(1..3) } else { 0 };
    let rows: Vec<(i64, Vec<Datum>)> = (0..count)
        .map(|place| {
            let tag = shared.new_tag();
            let mut key = Datum::Int64(1_000 + tag);
            if place < common {
                key = schema::key(&def, shared.keys, &mut random);
            }
            (tag, schema::row(&def, tag, key, &mut random))
        })
        .collect();
    let had_blocks = open.txn.view().table(def.id)?.has_own_loads();
    let result = async {
        let mut load = open.txn.bulk_load(def.id).await?;
        for part in rows.chunks(BATCH_ROWS) {
            load.append(&batch(&def, part)?)?;
        }
        load.finish().await
    };
    match result.await {
        Ok(loaded) if loaded == count => {}
        Ok(loaded) => return Err(wrong(format!("{loaded} of {count} rows were loaded"))),
        Err(error) => return Err(refusal::of_load(error, || open.published(shared), &def, &rows)),
    }
    let has_blocks = open.txn.view().table(def.id)?.has_own_loads();
    match has_blocks && !had_blocks {
        true => open.claim_table(def.id),
        // One by one, or that cannot be told.
        false => open.note_load(def.id),
    }
    for (tag, values) in rows {
        match has_blocks {
            true => _ = open.loaded.insert((def.id, tag)),
            false => open.note_keys(shared, def.id, &values, None, None),
        }
        open.writes.push(Write::Put { table: def.id, tag, values, replaces: None });
    }
    let said = format!("loaded {count} rows into {}", def.name);
    if !random.chance(1, 3) {
        return Ok(said);
    }
    let indexed = define::index_of_loaded(shared, open, def.id, &mut random).await?;
    Ok(format!("{said}, {indexed}"))
}

fn batch(def: &TableDef, rows: &[(i64, Vec<Datum>)]) -> Result<RecordBatch, Error> {
    let columns = def.schema.live().map(|column| {
        let mut builder = ColumnBuilder::new(&column.column_type, rows.len());
        for (_, values) in rows {
            builder.push_datum(&values[column.id.get() as usize])?;
        }
        Ok((column.name.clone(), builder.finish(), true))
    });
    let columns: Vec<_> = columns.collect::<Result<_, Error>>()?;
    RecordBatch::try_from_iter_with_nullable(columns).map_err(|error| Error::Invalid(error.to_string()))
}
