//! ALTER TABLE.

use datafusion::sql::sqlparser::ast::{
    AlterColumnOperation, AlterTable, AlterTableOperation, DropBehavior, Ident, RenameTableNameKind,
};
use strata_core::ids::{ColumnId, TableId};
use strata_core::row::Datum;
use strata_core::txn::TableLockMode;

use super::columns::{Constraints, column, table_constraint};
use super::create::add_index;
use super::drop::drop_locked;
use super::{dependants, find_relation, second_primary_key, shown, undefined_table};
use crate::error::{SqlError, SqlResult};
use crate::session::Session;
use crate::sql::names::{fold, split};

pub(super) async fn table(session: &mut Session, alter: &AlterTable) -> SqlResult<&'static str> {
    let catalog = session.write_transaction("ALTER TABLE")?.newest_catalog();
    let Some((schema, name)) = find_relation(&session.search_path(), &catalog, &alter.name)? else {
        if alter.if_exists {
            session.notice("00000", format!("relation \"{}\" does not exist, skipping", shown(&alter.name)));
            return Ok("ALTER TABLE");
        }
        return Err(undefined_table(&alter.name));
    };
    let renames_only =
        alter.operations.iter().all(|operation| matches!(operation, AlterTableOperation::RenameTable { .. }));
    let id = match catalog.relation(&schema, &name) {
        Some(relation) if renames_only => relation.id(),
        _ => {
            catalog
                .table_by_name(&schema, &name)
                .map_err(|_| SqlError::new("42809", format!("\"{name}\" is not a table")))?
                .id
        }
    };
    let txn = session.write_transaction("ALTER TABLE")?;
    txn.lock_table(id, TableLockMode::AccessExclusive).await?;
    for operation in &alter.operations {
        apply(session, id, operation).await?;
    }
    Ok("ALTER TABLE")
}

async fn apply(session: &mut Session, table: TableId, operation: &AlterTableOperation) -> SqlResult<()> {
    match operation {
        AlterTableOperation::AddColumn { if_not_exists, column_def, .. } => {
            let mut constraints = Constraints::default();
            let mut made = column(column_def, &mut constraints)?;
            let def = newest(session, table)?;
            if *if_not_exists && def.schema.by_name(&made.name).is_some() {
                session.notice(
                    "42701",
                    format!("column \"{}\" of relation \"{}\" already exists, skipping", made.name, def.name),
                );
                return Ok(());
            }
            if let Some(default) = made.default.clone() {
                made.missing = session.constant_default(&default, &made).await?;
            }
            if constraints.keys.iter().any(|(_, _, primary)| *primary) && def.primary_key().is_some() {
                return Err(second_primary_key(&def.name));
            }
            if !made.nullable && made.missing == Datum::Null && session.has_rows(table)? {
                return Err(SqlError::from(strata_core::Error::NotNull { column: made.name })
                    .with_detail("The table has rows, and the column no default."));
            }
            let txn = session.write_transaction("ALTER TABLE")?;
            txn.change_catalog(|catalog| catalog.add_column(table, made)).await?;
            for (name, key, primary) in constraints.keys {
                add_index(session, table, name, &key, primary).await?;
            }
            Ok(())
        }
        AlterTableOperation::DropColumn { column_names, if_exists, drop_behavior, .. } => {
            let cascade = matches!(drop_behavior, Some(DropBehavior::Cascade));
            for name in column_names {
                drop_column(session, table, name, *if_exists, cascade).await?;
            }
            Ok(())
        }
        AlterTableOperation::RenameColumn { old_column_name, new_column_name } => {
            let column = find_column(session, table, old_column_name)?;
            let name = fold(new_column_name);
            change_column(session, table, column, |column| column.name = name).await
        }
        AlterTableOperation::RenameTable { table_name } => {
            let (RenameTableNameKind::As(name) | RenameTableNameKind::To(name)) = table_name;
            let name = split(name)?.1;
            let txn = session.write_transaction("ALTER TABLE")?;
            txn.change_catalog(|catalog| catalog.rename_relation(table, &name)).await?;
            Ok(())
        }
        AlterTableOperation::AddConstraint { constraint, .. } => {
            let mut constraints = Constraints::default();
            table_constraint(constraint, &mut constraints)?;
            let def = newest(session, table)?;
            if constraints.keys.iter().any(|(_, _, primary)| *primary) && def.primary_key().is_some() {
                return Err(second_primary_key(&def.name));
            }
            for (name, key, primary) in constraints.keys {
                add_index(session, table, name, &key, primary).await?;
            }
            Ok(())
        }
        AlterTableOperation::DropConstraint { if_exists, name, .. } => {
            drop_constraint(session, table, name, *if_exists).await
        }
        AlterTableOperation::AlterColumn { column_name, op } => {
            let column = find_column(session, table, column_name)?;
            alter_column(session, table, column, op).await
        }
        other => Err(SqlError::unsupported(format!("ALTER TABLE {other} is not supported"))),
    }
}

async fn alter_column(
    session: &mut Session,
    table: TableId,
    column: ColumnId,
    operation: &AlterColumnOperation,
) -> SqlResult<()> {
    match operation {
        AlterColumnOperation::DropDefault => {
            change_column(session, table, column, |column| column.default = None).await
        }
        AlterColumnOperation::SetDefault { value } => {
            let default = value.to_string();
            let def = newest(session, table)?;
            if let Some(column) = def.schema.column(column) {
                session.check_default(&default, &column.name, column.sql_type.into())?;
            }
            change_column(session, table, column, |column| column.default = Some(default)).await
        }
        AlterColumnOperation::DropNotNull => {
            let def = newest(session, table)?;
            let keyed =
                def.primary_key().is_some_and(|key| key.columns.iter().any(|key| key.column == column));
            if keyed {
                return Err(SqlError::new("42P16", "the column is in a primary key"));
            }
            change_column(session, table, column, |column| column.nullable = true).await
        }
        AlterColumnOperation::SetNotNull => {
            if session.has_nulls(table, column)? {
                let def = newest(session, table)?;
                let name = def.schema.column(column).map(|column| column.name.clone()).unwrap_or_default();
                let message = format!("column \"{name}\" of relation \"{}\" contains null values", def.name);
                return Err(SqlError::new("23502", message));
            }
            change_column(session, table, column, |column| column.nullable = false).await
        }
        other => Err(SqlError::unsupported(format!("ALTER COLUMN {other} is not supported"))),
    }
}

fn newest(
    session: &mut Session,
    table: TableId,
) -> SqlResult<std::sync::Arc<strata_core::catalog::TableDef>> {
    Ok(session.write_transaction("ALTER TABLE")?.newest_catalog().table(table)?.clone())
}

fn find_column(session: &mut Session, table: TableId, name: &Ident) -> SqlResult<ColumnId> {
    let def = newest(session, table)?;
    let name = fold(name);
    def.schema.by_name(&name).map(|column| column.id).ok_or_else(|| {
        SqlError::new("42703", format!("column \"{name}\" of relation \"{}\" does not exist", def.name))
    })
}

async fn change_column(
    session: &mut Session,
    table: TableId,
    column: ColumnId,
    change: impl FnOnce(&mut strata_core::row::Column),
) -> SqlResult<()> {
    let txn = session.write_transaction("ALTER TABLE")?;
    txn.change_catalog(|catalog| catalog.alter_column(table, column, change)).await?;
    Ok(())
}

async fn drop_column(
    session: &mut Session,
    table: TableId,
    name: &Ident,
    if_exists: bool,
    cascade: bool,
) -> SqlResult<()> {
    let column = match find_column(session, table, name) {
        Ok(column) => column,
        Err(error) if if_exists => {
            session.notice("00000", format!("{}, skipping", error.message));
            return Ok(());
        }
        Err(error) => return Err(error),
    };
    let catalog = session.write_transaction("ALTER TABLE")?.newest_catalog();
    let views = dependants::views_over(&catalog, &session.search_path(), &[table]);
    let before = dependants::shapes(session, &views)?;
    let txn = session.write_transaction("ALTER TABLE")?;
    txn.change_catalog(|catalog| catalog.drop_column(table, column)).await?;
    // A view that is another one without the column, or none, depends on it.
    let after = dependants::shapes(session, &views)?;
    let changed = before.into_iter().zip(after).map(|(before, after)| before.is_some() && before != after);
    let views: Vec<_> =
        views.into_iter().zip(changed).filter_map(|(view, changed)| changed.then_some(view)).collect();
    let dropped = format!("column {} of {}", fold(name), dependants::described(&catalog, table));
    dependants::check(session, &catalog, &dropped, &views, cascade)?;
    for id in views.iter().map(|found| found.view.id) {
        drop_locked(session, id).await?;
    }
    Ok(())
}

async fn drop_constraint(
    session: &mut Session,
    table: TableId,
    name: &Ident,
    if_exists: bool,
) -> SqlResult<()> {
    let def = newest(session, table)?;
    let name = fold(name);
    let Some(index) = def.indexes.iter().find(|index| index.constraint && index.name == name) else {
        let message = format!("constraint \"{name}\" of relation \"{}\" does not exist", def.name);
        if if_exists {
            session.notice("00000", format!("{message}, skipping"));
            return Ok(());
        }
        return Err(SqlError::new("42704", message));
    };
    let id = index.id;
    let txn = session.write_transaction("ALTER TABLE")?;
    txn.change_catalog(|catalog| catalog.drop_index(table, id)).await?;
    Ok(())
}
