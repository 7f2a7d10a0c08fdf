//! ALTER TABLE: columns come, go, and are called otherwise; their defaults, and whether they may be NULL.
//!
//! A new constraint must hold of the rows there are, which a lock keeps as they are, and above READ COMMITTED of those that the
//! snapshot shows too: the transaction goes on reading them, by the new definition. So the SQL layer looks at both, and so does this.

use std::sync::Arc;

use strata_core::catalog::TableDef;
use strata_core::catalog::change::NewColumn;
use strata_core::ids::ColumnId;
use strata_core::row::{Column, Datum};
use strata_core::table::{Isolation, TableView};

use super::action::Change;
use super::client::{Outcome, Shared};
use super::define::{column_id, defined, with_columns};
use super::model::{State, Table};
use super::open::Open;
use super::stop::{Stop, wrong};
use super::tally::Did;
use super::{refusal, schema, verify};
use crate::random::Random;

/// Changes a column of a table, which is locked against all others.
pub(super) async fn change(
    shared: &Shared,
    open: &mut Open,
    def: &Arc<TableDef>,
    change: Change,
    random: &mut Random,
) -> Outcome {
    let any = column_id(random.within(0..schema::FIRST_COLUMNS as u64) as usize);
    match change {
        Change::AddColumn => add(shared, open, def, schema::added_column(def, random)).await,
        Change::AddColumnNotNull => {
            let column = schema::added_column(def, random).map(NewColumn::not_null);
            add(shared, open, def, column).await
        }
        Change::DropColumn => drop_added(shared, open, def, random).await,
        Change::RenameColumn => rename(shared, open, def, any, random).await,
        _ => {
            let column = added(def, random).filter(|_| random.chance(1, 3)).map_or(any, |column| column.id);
            alter(shared, open, def, column, change, random).await
        }
    }
}

/// A column that was added to a table, and not dropped since.
pub(super) fn added<'a>(def: &'a TableDef, random: &mut Random) -> Option<&'a Column> {
    let is_added = |column: &&Column| column.id.get() as usize >= schema::FIRST_COLUMNS;
    let added: Vec<&Column> = def.schema.live().filter(is_added).collect();
    let place = random.next().checked_rem(added.len() as u64)?;
    Some(added[place as usize])
}

async fn add(shared: &Shared, open: &mut Open, def: &Arc<TableDef>, column: Option<NewColumn>) -> Outcome {
    let Some(column) = column else { return Ok("enough columns".into()) };
    let is_missed = !column.nullable && column.missing.is_null();
    if is_missed
        && finds(shared, open, def, "a row", |view, table| {
            Ok((view.row_count() > 0, !table.rows.is_empty()))
        })?
    {
        shared.tally.add(Did::NullMet, 1);
        return Ok(format!("{} would be NULL in the rows of {}", column.name, def.name));
    }
    let due = with_columns(def, |columns| {
        let NewColumn { name, column_type, sql_type, nullable, default, missing } = column.clone();
        let id = column_id(columns.len());
        columns.push(Column { id, name, column_type, sql_type, nullable, default, missing, dropped: false });
    });
    let said = format!("added column {} to {}", column.name, def.name);
    open.txn.change_catalog(|catalog| catalog.add_column(def.id, column)).await?;
    defined(shared, open, due)?;
    Ok(said)
}

async fn drop_added(shared: &Shared, open: &mut Open, def: &Arc<TableDef>, random: &mut Random) -> Outcome {
    let Some(column) = added(def, random).map(|column| column.id) else { return Ok("no column".into()) };
    let mut due = with_columns(def, |columns| {
        let column = &mut columns[column.get() as usize];
        (column.dropped, column.nullable, column.default) = (true, true, None);
    });
    // It takes the indexes with it that it is part of.
    due.indexes.retain(|index| index.columns.iter().all(|key| key.column != column));
    open.txn.change_catalog(|catalog| catalog.drop_column(def.id, column)).await?;
    defined(shared, open, due)?;
    Ok(format!("dropped column {column} of {}", def.name))
}

async fn rename(
    shared: &Shared,
    open: &mut Open,
    def: &Arc<TableDef>,
    column: ColumnId,
    random: &mut Random,
) -> Outcome {
    let mut name = format!("c{column}_{}", random.within(0..3));
    if random.chance(1, 8) {
        // That of another column.
        let other = (column.get() as usize + 1) % schema::FIRST_COLUMNS;
        name.clone_from(&def.schema.columns[other].name);
    }
    let due = with_columns(def, |columns| columns[column.get() as usize].name.clone_from(&name));
    let rename = |column: &mut Column| column.name.clone_from(&name);
    let renamed = open.txn.change_catalog(|catalog| catalog.alter_column(def.id, column, rename)).await;
    if let Err(error) = renamed {
        return Err(refusal::of_column_name(error, def, &name));
    }
    if def.schema.by_name(&name).is_some_and(|other| other.id != column) {
        return Err(wrong(format!("two columns of {} are called {name}", def.name)));
    }
    defined(shared, open, due)?;
    Ok(format!("column {column} of {} is {name}", def.name))
}

/// Changes a default, or whether a column may be NULL.
async fn alter(
    shared: &Shared,
    open: &mut Open,
    def: &Arc<TableDef>,
    column: ColumnId,
    change: Change,
    random: &mut Random,
) -> Outcome {
    let place = column.get() as usize;
    let name = format!("{} of {}", def.schema.columns[place].name, def.name);
    let is_key = def.primary_key().is_some_and(|key| key.columns.iter().any(|key| key.column == column));
    let said = match change {
        Change::SetNotNull => {
            if finds(shared, open, def, "NULL", |view, table| {
                Ok((has_null(view, place)?, table.has_null(place)))
            })? {
                shared.tally.add(Did::NullMet, 1);
                return Ok(format!("{name} has NULLs"));
            }
            shared.tally.add(Did::NotNull, 1);
            format!("{name} is NOT NULL")
        }
        Change::DropNotNull if is_key => return Ok(format!("{name} is in the primary key")),
        Change::DropNotNull => format!("{name} may be NULL"),
        Change::SetDefault => format!("{name} has a default"),
        _ => format!("{name} has no default"),
    };
    let default = format!("{}", random.within(0..1_000));
    let apply = |column: &mut Column| match change {
        Change::SetNotNull => column.nullable = false,
        Change::DropNotNull => column.nullable = true,
        Change::SetDefault => column.default = Some(default.clone()),
        _ => column.default = None,
    };
    let due = with_columns(def, |columns| apply(&mut columns[place]));
    open.txn.change_catalog(|catalog| catalog.alter_column(def.id, column, apply)).await?;
    defined(shared, open, due)?;
    Ok(said)
}

fn has_null(view: &TableView, column: usize) -> Result<bool, Stop> {
    Ok(verify::rows(view)?.iter().any(|(_, values)| values[column] == Datum::Null))
}

/// Whether something is in the rows there are, or in those that the transaction's snapshot shows; `look` says what it finds in a view and
/// in the model, and fails where they differ.
fn finds(
    shared: &Shared,
    open: &mut Open,
    def: &TableDef,
    what: &str,
    look: impl Fn(&TableView, &Table) -> Result<(bool, bool), Stop>,
) -> Result<bool, Stop> {
    let there = |view: &TableView, table: Option<&Arc<Table>>| {
        let table = table.ok_or_else(|| wrong(format!("{} is locked, and gone", def.name)))?;
        let (found, due) = look(view, table)?;
        match found == due {
            true => Ok(found),
            false => Err(wrong(format!("{what} is found in {}: {found}, and it is {due}", def.name))),
        }
    };
    let published = open.published(shared)?;
    let newest = open.newest(shared)?;
    let rows = |state: &State| state.tables.get(&def.id).map(|table| table.rows.clone());
    // After a failure of the disk the locks of commits whose fate is unknown are free; such a database takes no change.
    if rows(&published) != rows(&newest) && !shared.disk.has_failed() {
        return Err(wrong(format!("{} is locked, and what was written to it is not published", def.name)));
    }
    let is_published = published.tables.get(&def.id).is_some_and(|table| *table.def == *def);
    if !is_published && shared.disk.has_failed() {
        // Nor are there such a table's rows, or such a column.
        return Ok(false);
    }
    let latest = open.txn.latest_view().table(def.id)?;
    if there(&latest, published.tables.get(&def.id))? {
        return Ok(true);
    }
    if open.txn.isolation() == Isolation::ReadCommitted {
        return Ok(false);
    }
    let (view, shown) = open.view_to_define(shared, def.id)?;
    there(&view.table(def.id)?, shown.tables.get(&def.id))
}
