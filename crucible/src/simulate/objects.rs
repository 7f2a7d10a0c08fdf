//! Schemas and views come and go, and tables in schemas; names are taken again.
//!
//! As in SQL, a view or a table is locked before it is dropped or renamed; a schema, and a view that another one replaces, are not:
//! that DDL takes turns must do.

use std::sync::Arc;

use strata_core::catalog::{Catalog, Relation, SchemaDef, TableDef, ViewDef};
use strata_core::ids::TableId;
use strata_core::txn::TableLockMode;

use super::action::Change;
use super::catalog::SCHEMAS;
use super::client::{Outcome, Shared};
use super::define::{create_table, defined, name};
use super::model::{PUBLIC, Write};
use super::open::Open;
use super::refusal::{self, Named};
use super::stop::wrong;
use crate::random::Random;

/// Makes, renames or drops one.
pub(super) async fn change(
    shared: &Shared,
    open: &mut Open,
    pick: u64,
    change: Change,
    random: &mut Random,
) -> Outcome {
    let catalog = open.txn.newest_catalog();
    let view = any_view(&catalog, pick);
    match (change, view) {
        (Change::CreateSchema, _) => create_schema(shared, open, random).await,
        (Change::DropSchema, _) => drop_schema(shared, open, pick, random).await,
        (Change::CreateTableInSchema, _) => {
            let schema = any_schema(&catalog, pick);
            create_table(shared, open, &schema.name, random).await
        }
        (Change::ReplaceView, Some(view)) => replace_view(shared, open, &view, random).await,
        (Change::RenameView, Some(view)) => {
            open.txn.lock_table(view.id, TableLockMode::AccessExclusive).await?;
            rename(shared, open, view.id, random).await
        }
        (Change::DropView, Some(view)) => drop_relation(shared, open, view.id).await,
        _ => {
            let schema = any_schema(&catalog, pick);
            create_view(shared, open, &schema, random).await
        }
    }
}

fn any_schema(catalog: &Catalog, pick: u64) -> Arc<SchemaDef> {
    let schemas: Vec<_> = catalog.schemas().collect();
    schemas[(pick % schemas.len() as u64) as usize].clone()
}

fn any_view(catalog: &Catalog, pick: u64) -> Option<Arc<ViewDef>> {
    let views = catalog.relations().filter_map(|relation| match relation {
        Relation::View(view) => Some(view),
        Relation::Table(_) => None,
    });
    let views: Vec<_> = views.collect();
    let place = pick.checked_rem(views.len() as u64)?;
    Some(views[place as usize].clone())
}

async fn create_schema(shared: &Shared, open: &mut Open, random: &mut Random) -> Outcome {
    let name = SCHEMAS[random.within(0..SCHEMAS.len() as u64) as usize];
    let made = open.txn.change_catalog(|catalog| catalog.create_schema(name)).await;
    let newest = open.newest(shared)?;
    match made {
        Ok(_) if newest.schema(name).is_some() => Err(wrong(format!("schema {name} is made twice"))),
        Ok(id) => {
            open.define(shared, Write::Schema(id, name.to_owned()));
            Ok(format!("created schema {name}"))
        }
        Err(error) => Err(refusal::of_object(error, &newest, Named { new: Some(name), ..Named::default() })),
    }
}

/// Drops a schema: with all that is in it, or to be told that it is not empty.
async fn drop_schema(shared: &Shared, open: &mut Open, pick: u64, random: &mut Random) -> Outcome {
    let catalog = open.txn.newest_catalog();
    let schema = any_schema(&catalog, pick);
    let inside = catalog.relations().filter(|relation| relation.schema_id() == schema.id);
    let inside: Vec<TableId> = inside.map(Relation::id).collect();
    if schema.name != PUBLIC && random.chance(2, 3) {
        for id in inside {
            drop_relation(shared, open, id).await?;
        }
    }
    let dropped = open.txn.change_catalog(|catalog| catalog.drop_schema(&schema.name)).await;
    let newest = open.newest(shared)?;
    match dropped {
        // It may be another one of the name by now.
        Ok(()) => match newest.schema(&schema.name) {
            Some(id) if newest.is_empty(id) && schema.name != PUBLIC => {
                open.define(shared, Write::DropSchema(id));
                Ok(format!("dropped schema {}", schema.name))
            }
            found => Err(wrong(format!("schema {} is dropped, which is {found:?}", schema.name))),
        },
        Err(error) => {
            let id = newest.schema(&schema.name).unwrap_or(schema.id);
            Err(refusal::of_object(error, &newest, Named { schema: Some(id), ..Named::default() }))
        }
    }
}

/// Drops a table or view of the newest catalog.
async fn drop_relation(shared: &Shared, open: &mut Open, id: TableId) -> Outcome {
    open.txn.lock_table(id, TableLockMode::AccessExclusive).await?;
    let dropped = open.txn.drop_relation(id).await;
    let newest = open.newest(shared)?;
    if let Err(error) = dropped {
        return Err(refusal::of_object(error, &newest, Named { relation: Some(id), ..Named::default() }));
    }
    open.define(shared, Write::Drop(id));
    Ok(format!("dropped {id}"))
}

/// What a view may be: a short text mostly, with names for its columns or without.
fn any_definition(random: &mut Random) -> (String, Vec<String>) {
    let length = if random.chance(1, 20) { random.within(9_000..70_000) } else { random.within(1..9) };
    let query = format!("SELECT '{}' AS a, k FROM t0", "q".repeat(length as usize));
    let names = (0..random.within(0..3)).map(|place| format!("n{place}_{}", random.within(0..9)));
    (query, names.collect())
}

async fn create_view(shared: &Shared, open: &mut Open, schema: &SchemaDef, random: &mut Random) -> Outcome {
    let catalog = open.txn.newest_catalog();
    let index = catalog.tables().flat_map(|table| &table.indexes).next();
    // Now and then that of an index, which is free only in another schema.
    let index = index.filter(|_| random.chance(1, 8)).map(|index| index.name.clone());
    let name = index.unwrap_or_else(|| name(random).to_owned());
    let (query, column_names) = any_definition(random);
    let names = column_names.clone();
    let made =
        open.txn.change_catalog(|catalog| catalog.create_view(&schema.name, &name, &query, names)).await;
    let newest = open.newest(shared)?;
    // It may be another one of the name by now.
    let schema_id = newest.schema(&schema.name).unwrap_or(schema.id);
    match made {
        Ok(_) if newest.is_taken(schema_id, &name) => Err(wrong(format!("{name} is made twice"))),
        Ok(id) => {
            let said = format!("created view {}.{name}", schema.name);
            open.define(shared, Write::View(Arc::new(ViewDef { id, schema_id, name, query, column_names })));
            Ok(said)
        }
        Err(error) => {
            let named = Named { schema: Some(schema_id), new: Some(&name), relation: None };
            Err(refusal::of_object(error, &newest, named))
        }
    }
}

/// CREATE OR REPLACE VIEW, in one change.
async fn replace_view(shared: &Shared, open: &mut Open, view: &ViewDef, random: &mut Random) -> Outcome {
    let schema = open.txn.newest_catalog().schema_by_id(view.schema_id).map(|schema| schema.name.clone());
    let schema = schema.ok_or_else(|| wrong(format!("view {} is in no schema", view.name)))?;
    let (query, column_names) = any_definition(random);
    let names = column_names.clone();
    let made = open.txn.change_catalog(|catalog| {
        catalog.drop_relation(view.id)?;
        catalog.create_view(&schema, &view.name, &query, names)
    });
    let made = made.await;
    let newest = open.newest(shared)?;
    let named = Named { schema: Some(view.schema_id), new: Some(&view.name), relation: Some(view.id) };
    match made {
        Ok(id) => {
            open.define(shared, Write::Drop(view.id));
            let (schema_id, name) = (view.schema_id, view.name.clone());
            open.define(shared, Write::View(Arc::new(ViewDef { id, schema_id, name, query, column_names })));
            Ok(format!("replaced view {}", view.name))
        }
        Err(error) => Err(refusal::of_object(error, &newest, named)),
    }
}

/// Renames a table or view, which is locked, within its schema.
pub(super) async fn rename(shared: &Shared, open: &mut Open, id: TableId, random: &mut Random) -> Outcome {
    let name = name(random);
    let renamed = open.txn.change_catalog(|catalog| catalog.rename_relation(id, name)).await;
    let before = open.newest(shared)?;
    let table = before.tables.get(&id).map(|table| (*table.def).clone());
    let view = before.views.get(&id).map(|view| (**view).clone());
    let schema = table.as_ref().map(|table| table.schema_id).or(view.as_ref().map(|view| view.schema_id));
    if let Err(error) = renamed {
        let named = Named { schema, new: Some(name), relation: Some(id) };
        return Err(refusal::of_object(error, &before, named));
    }
    if schema.is_none_or(|schema| before.is_taken(schema, name)) {
        return Err(wrong(format!("{id} is renamed to {name}, which is taken, or is not there")));
    }
    if let Some(table) = table {
        defined(shared, open, TableDef { name: name.to_owned(), ..table })?;
    }
    if let Some(view) = view {
        open.define(shared, Write::View(Arc::new(ViewDef { name: name.to_owned(), ..view })));
    }
    Ok(format!("{id} is {name}"))
}
