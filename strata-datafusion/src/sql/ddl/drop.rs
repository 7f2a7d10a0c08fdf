//! DROP and TRUNCATE.

use datafusion::sql::sqlparser::ast::{ObjectName, ObjectType, Truncate};
use strata_core::catalog::{Catalog, Relation};
use strata_core::ids::{IndexId, TableId};
use strata_core::txn::TableLockMode;

use super::{dependants, find_relation, shown, undefined_table};
use crate::error::{SqlError, SqlResult};
use crate::session::Session;
use crate::sql::names;

pub(super) async fn objects(
    session: &mut Session,
    kind: ObjectType,
    names: &[ObjectName],
    if_exists: bool,
    cascade: bool,
) -> SqlResult<&'static str> {
    let tag = match kind {
        ObjectType::Table => "DROP TABLE",
        ObjectType::View => "DROP VIEW",
        ObjectType::Index => "DROP INDEX",
        ObjectType::Schema => "DROP SCHEMA",
        other => return Err(SqlError::unsupported(format!("DROP {other} is not supported"))),
    };
    match kind {
        ObjectType::Schema => {
            for name in names {
                schema(session, name, if_exists, cascade).await?;
            }
        }
        ObjectType::Index => {
            for name in names {
                index(session, name, if_exists).await?;
            }
        }
        _ => relations(session, names, kind == ObjectType::View, if_exists, cascade).await?,
    }
    Ok(tag)
}

/// DROP TABLE and DROP VIEW: what is named together goes together.
async fn relations(
    session: &mut Session,
    names: &[ObjectName],
    view: bool,
    if_exists: bool,
    cascade: bool,
) -> SqlResult<()> {
    let mut targets = Vec::with_capacity(names.len());
    for name in names {
        if let Some(target) = relation(session, name, view, if_exists)?
            && !targets.contains(&target)
        {
            targets.push(target);
        }
    }
    for target in &targets {
        lock(session, *target).await?;
    }
    let catalog = session.write_transaction("DROP TABLE")?.newest_catalog();
    let found = dependants::views_over(&catalog, &session.search_path(), &targets);
    let dropped = match targets.as_slice() {
        [only] => dependants::described(&catalog, *only),
        _ => "desired object(s)".to_owned(),
    };
    dependants::check(session, &catalog, &dropped, &found, cascade)?;
    for id in found.iter().map(|found| found.view.id).chain(targets) {
        drop_locked(session, id).await?;
    }
    Ok(())
}

/// The relation of a name; `None` if it may be missing and is.
fn relation(
    session: &mut Session,
    name: &ObjectName,
    view: bool,
    if_exists: bool,
) -> SqlResult<Option<TableId>> {
    let catalog = session.write_transaction("DROP TABLE")?.newest_catalog();
    let kind = if view { "view" } else { "table" };
    let Some((schema, relation)) = find_relation(&session.search_path(), &catalog, name)? else {
        if if_exists {
            session.notice("00000", format!("{kind} \"{}\" does not exist, skipping", shown(name)));
            return Ok(None);
        }
        return Err(SqlError::new("42P01", format!("{kind} \"{}\" does not exist", shown(name))));
    };
    let found = catalog.relation(&schema, &relation).cloned().ok_or_else(|| undefined_table(name))?;
    if matches!(found, Relation::View(_)) != view {
        let hint = if view { "Use DROP TABLE to remove a table." } else { "Use DROP VIEW to remove a view." };
        return Err(SqlError::new("42809", format!("\"{relation}\" is not a {kind}")).with_hint(hint));
    }
    Ok(Some(found.id()))
}

async fn lock(session: &mut Session, id: TableId) -> SqlResult<()> {
    let txn = session.write_transaction("DROP TABLE")?;
    txn.lock_table(id, TableLockMode::AccessExclusive).await?;
    Ok(())
}

pub(super) async fn drop_locked(session: &mut Session, id: TableId) -> SqlResult<()> {
    lock(session, id).await?;
    session.write_transaction("DROP TABLE")?.drop_relation(id).await?;
    Ok(())
}

async fn schema(session: &mut Session, name: &ObjectName, if_exists: bool, cascade: bool) -> SqlResult<()> {
    let schema = names::parts(name)?.pop().unwrap_or_default();
    let catalog = session.write_transaction("DROP SCHEMA")?.newest_catalog();
    let Some(def) = catalog.schema(&schema) else {
        if if_exists {
            session.notice("00000", format!("schema \"{schema}\" does not exist, skipping"));
            return Ok(());
        }
        return Err(SqlError::new("3F000", format!("schema \"{schema}\" does not exist")));
    };
    let inside: Vec<TableId> =
        catalog.relations().filter(|relation| relation.schema_id() == def.id).map(Relation::id).collect();
    if !inside.is_empty() && !cascade {
        let details: Vec<String> = inside
            .iter()
            .map(|id| format!("{} depends on schema {schema}", dependants::described(&catalog, *id)))
            .collect();
        let message = format!("cannot drop schema {schema} because other objects depend on it");
        return Err(SqlError::new("2BP01", message)
            .with_detail(details.join("\n"))
            .with_hint("Use DROP ... CASCADE to drop the dependent objects too."));
    }
    let outside = dependants::views_over(&catalog, &session.search_path(), &inside);
    for id in outside.iter().map(|found| found.view.id).chain(inside) {
        drop_locked(session, id).await?;
    }
    let txn = session.write_transaction("DROP SCHEMA")?;
    txn.change_catalog(|catalog| catalog.drop_schema(&schema)).await?;
    Ok(())
}

/// The table and index of an index's name.
fn find_index(
    session: &Session,
    catalog: &Catalog,
    name: &ObjectName,
) -> SqlResult<Option<(TableId, IndexId)>> {
    let (schema, index) = names::split(name)?;
    Ok(match schema {
        Some(schema) => catalog.find_index(&schema, &index),
        None => session.search_path().iter().find_map(|schema| catalog.find_index(schema, &index)),
    })
}

async fn index(session: &mut Session, name: &ObjectName, if_exists: bool) -> SqlResult<()> {
    let catalog = session.write_transaction("DROP INDEX")?.newest_catalog();
    let Some((table, index)) = find_index(session, &catalog, name)? else {
        if if_exists {
            session.notice("00000", format!("index \"{}\" does not exist, skipping", shown(name)));
            return Ok(());
        }
        return Err(SqlError::new("42704", format!("index \"{}\" does not exist", shown(name))));
    };
    let def = catalog.table(table)?;
    if def.index(index).is_some_and(|index| index.constraint) {
        let message = format!(
            "cannot drop index {} because constraint {} on table {} requires it",
            shown(name),
            shown(name),
            def.name
        );
        return Err(SqlError::new("2BP01", message));
    }
    let txn = session.write_transaction("DROP INDEX")?;
    txn.lock_table(table, TableLockMode::AccessExclusive).await?;
    txn.change_catalog(|catalog| catalog.drop_index(table, index)).await?;
    Ok(())
}

pub(super) async fn truncate(session: &mut Session, truncate: &Truncate) -> SqlResult<&'static str> {
    for target in &truncate.table_names {
        let catalog = session.write_transaction("TRUNCATE TABLE")?.newest_catalog();
        let (schema, table) = find_relation(&session.search_path(), &catalog, &target.name)?
            .ok_or_else(|| undefined_table(&target.name))?;
        let id = catalog
            .table_by_name(&schema, &table)
            .map_err(|_| SqlError::new("42809", format!("\"{table}\" is not a table")))?
            .id;
        let txn = session.write_transaction("TRUNCATE TABLE")?;
        txn.lock_table(id, TableLockMode::AccessExclusive).await?;
        txn.truncate(id).await?;
    }
    Ok("TRUNCATE TABLE")
}
