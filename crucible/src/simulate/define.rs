//! DDL: tables, indexes and columns come and go.

use std::sync::Arc;

use strata_core::Error;
use strata_core::catalog::{IndexDef, TableDef};
use strata_core::ids::{ColumnId, IndexId, TableId};
use strata_core::row::Column;
use strata_core::table::Isolation;
use strata_core::txn::TableLockMode;

use super::action::Change;
use super::client::{Open, Outcome, Shared};
use super::model::Write;
use super::stop::{Stop, wrong};
use super::tally::Did;
use super::{refusal, schema};
use crate::random::Random;

/// Tables have one of so many names.
const NAMES: u64 = 4;

/// Changes the catalog. An error ends the transaction: what it changed stays in its private catalog.
pub(super) async fn define(
    shared: &Shared,
    open: &mut Open,
    table: u64,
    change: Change,
    seed: u64,
) -> Outcome {
    let has_loaded = !open.loaded.is_empty() && !matches!(change, Change::CreateIndex);
    if open.txn.isolation() != Isolation::ReadCommitted || has_loaded {
        return Ok("does not change the catalog".into());
    }
    let mut random = Random::new(seed);
    let Some(def) = open.pick(table) else { return create_table(shared, open, &mut random).await };
    let mode = match change {
        Change::CreateIndex => TableLockMode::Share,
        _ => TableLockMode::AccessExclusive,
    };
    let Some(def) = open.lock(shared, def.id, mode).await? else { return Ok("the table is gone".into()) };
    let id = def.id;
    let said = match change {
        Change::CreateTable => return create_table(shared, open, &mut random).await,
        Change::DropTable => {
            open.txn.drop_relation(id).await?;
            open.writes.push(Write::Drop(id));
            open.has_ddl = true;
            return Ok(format!("dropped {}", def.name));
        }
        Change::Truncate => {
            open.txn.truncate(id).await?;
            open.has_ddl = true;
            let now = newest(open, id)?;
            open.writes.push(Write::Truncate(now));
            return Ok(format!("truncated {}", def.name));
        }
        Change::CreateIndex => match create_index(shared, open, &def, &mut random).await? {
            Some(name) => format!("created index {name}"),
            None => return Ok("the index is there".into()),
        },
        Change::DropIndex => {
            let Some(place) = random.next().checked_rem(def.indexes.len() as u64) else {
                return Ok("no index".into());
            };
            let index = def.indexes[place as usize].clone();
            open.txn.change_catalog(|catalog| catalog.drop_index(id, index.id)).await?;
            format!("dropped index {}", index.name)
        }
        Change::AddColumn => {
            if def.schema.columns.len() > schema::FIRST_COLUMNS + 6 {
                return Ok("enough columns".into());
            }
            let column = schema::added_column(&def, &mut random);
            let name = column.name.clone();
            open.txn.change_catalog(|catalog| catalog.add_column(id, column)).await?;
            format!("added column {name} to {}", def.name)
        }
        Change::DropColumn => {
            let added = def.schema.live().filter(|column| column.id.get() as usize >= schema::FIRST_COLUMNS);
            let added: Vec<ColumnId> = added.map(|column| column.id).collect();
            let Some(place) = random.next().checked_rem(added.len() as u64) else {
                return Ok("no column".into());
            };
            let column = added[place as usize];
            open.txn.change_catalog(|catalog| catalog.drop_column(id, column)).await?;
            format!("dropped column {column} of {}", def.name)
        }
        Change::RenameColumn => {
            let column = ColumnId::new(random.within(0..schema::FIRST_COLUMNS as u64) as u32);
            let name = format!("c{column}_{}", random.within(0..3));
            let rename = |column: &mut Column| name.clone_into(&mut column.name);
            open.txn.change_catalog(|catalog| catalog.alter_column(id, column, rename)).await?;
            format!("column {column} of {} is {name}", def.name)
        }
        Change::RenameTable => {
            let name = name(&mut random);
            if open.txn.newest_catalog().table_by_name("public", &name).is_ok() {
                return Ok(format!("{name} is there"));
            }
            let renamed = open.txn.change_catalog(|catalog| catalog.rename_relation(id, &name)).await;
            if let Err(error) = renamed {
                return taken(shared, open, &name, error);
            }
            format!("{} is {name}", def.name)
        }
    };
    open.has_ddl = true;
    let now = newest(open, id)?;
    open.writes.push(Write::Define(now));
    Ok(said)
}

fn newest(open: &Open, table: TableId) -> Result<Arc<TableDef>, Stop> {
    Ok(open.txn.newest_catalog().table(table)?.clone())
}

fn name(random: &mut Random) -> String {
    format!("t{}", random.within(0..NAMES))
}

/// A name that was free is refused: others were faster.
fn taken(shared: &Shared, open: &Open, name: &str, error: Error) -> Outcome {
    if !matches!(error, Error::AlreadyExists { .. }) {
        return Err(error.into());
    }
    match open.newest(shared)?.tables.values().any(|table| table.def.name == name) {
        true => Ok(format!("{name} is there by now")),
        false => Err(wrong(format!("{name} is not there, and it said: {error}"))),
    }
}

async fn create_table(shared: &Shared, open: &mut Open, random: &mut Random) -> Outcome {
    let name = name(random);
    if open.txn.newest_catalog().table_by_name("public", &name).is_ok() {
        return Ok(format!("{name} is there"));
    }
    let columns = schema::columns();
    let made = open.txn.change_catalog(|catalog| catalog.create_table("public", &name, columns)).await;
    let id = match made {
        Err(error) => return taken(shared, open, &name, error),
        Ok(id) => id,
    };
    open.has_ddl = true;
    for kind in 0..schema::INDEX_KINDS {
        // Either a primary key or another unique index of the same column, mostly.
        if random.chance(if kind == 0 { 2 } else { 1 }, 3) {
            open.txn.create_index(id, schema::index(id, kind)).await?;
        }
    }
    let now = newest(open, id)?;
    let indexes = now.indexes.len();
    open.writes.push(Write::Define(now));
    Ok(format!("created {name} with {indexes} indexes"))
}

/// An index of a table that the transaction has loaded rows into, as a restored dump makes it.
pub(super) async fn index_of_loaded(
    shared: &Shared,
    open: &mut Open,
    id: TableId,
    random: &mut Random,
) -> Outcome {
    let Some(def) = open.lock(shared, id, TableLockMode::Share).await? else {
        return Ok("the table is gone".into());
    };
    let Some(name) = create_index(shared, open, &def, random).await? else {
        return Ok("the index is there".into());
    };
    open.has_ddl = true;
    let now = newest(open, id)?;
    open.writes.push(Write::Define(now));
    Ok(format!("created index {name}"))
}

async fn create_index(
    shared: &Shared,
    open: &mut Open,
    def: &Arc<TableDef>,
    random: &mut Random,
) -> Result<Option<String>, Stop> {
    let index = schema::index(def.id, random.next());
    let there = def.indexes.iter().any(|other| other.name == index.name);
    if there || index.primary && def.primary_key().is_some() {
        return Ok(None);
    }
    let name = index.name.clone();
    let planned = IndexDef {
        id: IndexId::new(0),
        name: name.clone(),
        primary: index.primary,
        unique: index.unique,
        constraint: index.constraint,
        columns: index.columns.clone(),
    };
    match open.txn.create_index(def.id, index).await {
        Ok(_) => {
            shared.tally.add(Did::IndexBuild, 1);
            Ok(Some(name))
        }
        // The statement is undone; whether it had to be refused is for the newest rows to say.
        Err(error) => Err(refusal::of_index(error, &open.newest(shared)?, def, planned)),
    }
}
