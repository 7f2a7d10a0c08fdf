//! DDL: tables and indexes come and go. What concerns [columns](super::columns), and [schemas and views](super::objects), is beside it.
//!
//! Each change is made as the SQL layer makes it: under the lock that it takes, of the newest definition, and with a look at the rows
//! that it looks at. The definition that must come of it is made by hand, and compared.

use std::sync::Arc;

use strata_core::catalog::change::NewIndex;
use strata_core::catalog::{IndexDef, TableDef};
use strata_core::ids::{ColumnId, IndexId, SchemaVersion, TableId};
use strata_core::row::{Column, Schema};
use strata_core::txn::TableLockMode;

use super::action::Change;
use super::catalog::RELATIONS;
use super::client::{Outcome, Shared};
use super::model::{PUBLIC, Write};
use super::open::Open;
use super::reads::Part;
use super::refusal::Named;
use super::stop::{Stop, wrong};
use super::tally::Did;
use super::{columns, objects, refusal, schema};
use crate::random::Random;

/// Changes the catalog. What a refused change leaves behind is nothing; any other error ends the transaction.
pub(super) async fn define(
    shared: &Shared,
    open: &mut Open,
    table: u64,
    change: Change,
    seed: u64,
) -> Outcome {
    if !open.loaded.is_empty() && !matches!(change, Change::CreateIndex) {
        return Ok("does not change the catalog".into());
    }
    let mut random = Random::new(seed);
    let outcome = match change {
        Change::CreateTable => create_table(shared, open, PUBLIC, &mut random).await,
        Change::CreateTableInSchema
        | Change::CreateView
        | Change::ReplaceView
        | Change::RenameView
        | Change::DropView
        | Change::CreateSchema
        | Change::DropSchema => objects::change(shared, open, table, change, &mut random).await,
        _ => of_table(shared, open, table, change, &mut random).await,
    };
    if matches!(outcome, Ok(_) | Err(Stop::Refused(_))) {
        open.check_newest_catalog(shared)?;
        open.view(shared)?;
    }
    outcome
}

/// A change of a table that is there.
async fn of_table(
    shared: &Shared,
    open: &mut Open,
    table: u64,
    change: Change,
    random: &mut Random,
) -> Outcome {
    let Some(def) = open.pick(table) else { return create_table(shared, open, PUBLIC, random).await };
    let mode = match change {
        Change::CreateIndex | Change::CreateIndexOfAdded => TableLockMode::Share,
        _ => TableLockMode::AccessExclusive,
    };
    let Some(def) = open.lock_to_define(shared, def.id, mode).await? else {
        return Ok("the table is gone".into());
    };
    match change {
        Change::DropTable => {
            open.txn.drop_relation(def.id).await?;
            open.define(shared, Write::Drop(def.id));
            Ok(format!("dropped {}", def.name))
        }
        Change::Truncate => truncate(shared, open, &def).await,
        Change::CreateIndex => create_index(shared, open, &def, schema::index(def.id, random.next())).await,
        Change::CreateIndexOfAdded => match columns::added(&def, random) {
            Some(column) => {
                let index = schema::index_of_added(&def, column, random.chance(1, 2));
                create_index(shared, open, &def, index).await
            }
            None => Ok("no column".into()),
        },
        Change::DropIndex => drop_index(shared, open, &def, random).await,
        Change::RenameTable => objects::rename(shared, open, def.id, random).await,
        _ => columns::change(shared, open, &def, change, random).await,
    }
}

/// Notes that a table is defined otherwise, and fails unless it is as it should be.
pub(super) fn defined(shared: &Shared, open: &mut Open, due: TableDef) -> Result<(), Stop> {
    let now = open.txn.newest_catalog().table(due.id)?.clone();
    if *now != due {
        return Err(wrong(format!("{} is defined as {now:?}, not as {due:?}", due.name)));
    }
    open.define(shared, Write::Define(now));
    Ok(())
}

/// A table's definition with other columns, which is one version later.
pub(super) fn with_columns(def: &TableDef, change: impl FnOnce(&mut Vec<Column>)) -> TableDef {
    let mut columns = def.schema.columns.to_vec();
    change(&mut columns);
    let version = SchemaVersion::new(def.schema.version.get() + 1);
    TableDef { schema: Schema::new(version, columns), ..def.clone() }
}

async fn truncate(shared: &Shared, open: &mut Open, def: &TableDef) -> Outcome {
    open.txn.truncate(def.id).await?;
    let now = open.txn.newest_catalog().table(def.id)?.clone();
    let ids = |def: &TableDef| def.indexes.iter().map(|index| index.id).collect::<Vec<_>>();
    // What is new was never there: ids only grow.
    let is_new = now.heap > def.heap && ids(&now).iter().zip(ids(def)).all(|(new, old)| *new > old);
    let mut due = TableDef { heap: now.heap, ..def.clone() };
    due.indexes.iter_mut().zip(ids(&now)).for_each(|(index, id)| index.id = id);
    if !is_new || *now != due {
        return Err(wrong(format!("{} was {def:?}, and is truncated to {now:?}", def.name)));
    }
    open.define(shared, Write::Truncate(now));
    Ok(format!("truncated {}", def.name))
}

async fn drop_index(shared: &Shared, open: &mut Open, def: &TableDef, random: &mut Random) -> Outcome {
    let Some(place) = random.next().checked_rem(def.indexes.len() as u64) else {
        return Ok("no index".into());
    };
    let mut due = def.clone();
    let index = due.indexes.remove(place as usize);
    open.txn.change_catalog(|catalog| catalog.drop_index(def.id, index.id)).await?;
    defined(shared, open, due)?;
    Ok(format!("dropped index {}", index.name))
}

/// A name for a relation.
pub(super) fn name(random: &mut Random) -> &'static str {
    RELATIONS[random.within(0..RELATIONS.len() as u64) as usize]
}

/// Makes a table with some indexes.
pub(super) async fn create_table(
    shared: &Shared,
    open: &mut Open,
    schema: &str,
    random: &mut Random,
) -> Outcome {
    let name = name(random);
    let catalog = open.txn.newest_catalog();
    if catalog.relation(schema, name).is_some() {
        return Ok(format!("{schema}.{name} is there"));
    }
    let (columns, schema_before) = (schema::columns(), catalog.schema(schema).map(|schema| schema.id));
    let made = open.txn.change_catalog(|catalog| catalog.create_table(schema, name, columns)).await;
    // It may be another one of the name by now.
    let schema_id = open.newest(shared)?.schema(schema);
    let id = match made {
        Ok(id) => id,
        // Others were faster.
        Err(error) => {
            let named = Named { schema: schema_id.or(schema_before), new: Some(name), relation: None };
            return Err(refusal::of_object(error, &open.newest(shared)?, named));
        }
    };
    let now = open.txn.newest_catalog().table(id)?.clone();
    let due = TableDef {
        schema_id: schema_id.ok_or_else(|| wrong(format!("{name} is made in no schema")))?,
        name: name.to_owned(),
        schema: schema::first_schema(),
        indexes: Vec::new(),
        ..(*now).clone()
    };
    defined(shared, open, due)?;
    for kind in 0..schema::INDEX_KINDS {
        // Either a primary key or another unique index of the same column, mostly.
        if random.chance(if kind == 0 { 2 } else { 1 }, 3) {
            let def = open.txn.newest_catalog().table(id)?.clone();
            let index = schema::index(id, kind);
            let made = open.txn.create_index(id, index.clone()).await?;
            defined(shared, open, with_index(&def, index, made))?;
        }
    }
    let indexes = open.txn.newest_catalog().table(id)?.indexes.len();
    Ok(format!("created {schema}.{name} with {indexes} indexes"))
}

/// A table's definition with one more index: the primary key comes first, and its columns are never NULL.
fn with_index(def: &TableDef, index: NewIndex, id: IndexId) -> TableDef {
    let mut due = def.clone();
    if index.primary {
        let mut columns = def.schema.columns.to_vec();
        for key in &index.columns {
            columns[key.column.get() as usize].nullable = false;
        }
        due.schema = Schema::new(def.schema.version, columns);
    }
    let place = if index.primary { 0 } else { due.indexes.len() };
    due.indexes.insert(place, planned(index, id));
    due
}

fn planned(index: NewIndex, id: IndexId) -> IndexDef {
    IndexDef {
        id,
        name: index.name,
        primary: index.primary,
        unique: index.unique,
        constraint: index.constraint,
        columns: index.columns,
    }
}

/// An index of a table that the transaction has loaded rows into, as a restored dump makes it.
pub(super) async fn index_of_loaded(
    shared: &Shared,
    open: &mut Open,
    id: TableId,
    random: &mut Random,
) -> Outcome {
    let Some(def) = open.lock_to_define(shared, id, TableLockMode::Share).await? else {
        return Ok("the table is gone".into());
    };
    create_index(shared, open, &def, schema::index(id, random.next())).await
}

async fn create_index(shared: &Shared, open: &mut Open, def: &Arc<TableDef>, index: NewIndex) -> Outcome {
    let there = def.indexes.iter().any(|other| other.name == index.name);
    if there || index.primary && def.primary_key().is_some() {
        return Ok("the index is there".into());
    }
    match open.txn.create_index(def.id, index.clone()).await {
        Ok(id) => {
            let said = format!("created index {}", index.name);
            // Others may have made one meanwhile: CREATE INDEX lets them by.
            let before = open.newest(shared)?.tables.get(&def.id).map(|table| table.def.clone());
            let before = before.ok_or_else(|| wrong("an index is made of no table"))?;
            let is_primary = index.primary;
            defined(shared, open, with_index(&before, index, id))?;
            if is_primary {
                // It has looked for NULLs in the rows of the snapshot too, which it goes on reading.
                let (_, shown) = open.view(shared)?;
                open.note(def.id, Part::Whole);
                if shown.tables.get(&def.id).is_some_and(|table| table.has_null(schema::KEY)) {
                    return Err(wrong(format!("{} has a primary key, and shows NULLs in it", def.name)));
                }
            }
            shared.tally.add(Did::IndexBuild, 1);
            Ok(said)
        }
        // The statement is undone; whether it had to be refused is for the newest rows to say.
        Err(error) => {
            open.note_perhaps(def.id);
            let (_, shown) = open.view(shared)?;
            let shown = shown.tables.get(&def.id).map(|table| &**table);
            let planned = planned(index, IndexId::new(0));
            Err(refusal::of_index(error, &open.newest(shared)?, shown, def, planned))
        }
    }
}

/// A column by its place.
pub(super) fn column_id(place: usize) -> ColumnId {
    ColumnId::new(u32::try_from(place).expect("a table has few columns"))
}
