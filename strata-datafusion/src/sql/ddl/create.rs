//! CREATE SCHEMA, TABLE, VIEW and INDEX.

use datafusion::sql::sqlparser::ast::{CreateIndex, CreateTable, CreateView, SchemaName};
use strata_core::catalog::Catalog;
use strata_core::ids::TableId;
use strata_core::txn::TableLockMode;

use super::columns::{Constraints, column, index_name, key_columns, new_index, table_constraint};
use super::{find_relation, second_primary_key, shown, target_schema, undefined_table};
use crate::error::{SqlError, SqlResult};
use crate::session::Session;
use crate::sql::names;

pub(super) async fn schema(
    session: &mut Session,
    name: &SchemaName,
    if_not_exists: bool,
) -> SqlResult<&'static str> {
    let name = match name {
        SchemaName::Simple(name) | SchemaName::NamedAuthorization(name, _) => name,
        SchemaName::UnnamedAuthorization(_) => {
            return Err(SqlError::unsupported("CREATE SCHEMA AUTHORIZATION is not supported"));
        }
    };
    // `strata.demo`: a schema's name may be qualified by the database.
    let mut parts = names::parts(name)?;
    let schema = parts.pop().ok_or_else(|| SqlError::syntax("a name is missing"))?;
    if parts.iter().any(|database| database != names::DATABASE) || parts.len() > 1 {
        return Err(SqlError::unsupported(format!(
            "cross-database references are not implemented: \"{}\"",
            shown(name)
        )));
    }
    if schema.starts_with("pg_") || schema == "information_schema" {
        return Err(SqlError::new("42939", format!("unacceptable schema name \"{schema}\""))
            .with_detail("The prefix \"pg_\" is reserved for system schemas."));
    }
    let txn = session.write_transaction("CREATE SCHEMA")?;
    if if_not_exists && txn.newest_catalog().schema(&schema).is_some() {
        session.notice("42P06", format!("schema \"{schema}\" already exists, skipping"));
        return Ok("CREATE SCHEMA");
    }
    txn.change_catalog(|catalog| catalog.create_schema(&schema)).await?;
    Ok("CREATE SCHEMA")
}

pub(super) async fn table(session: &mut Session, create: &CreateTable) -> SqlResult<&'static str> {
    if create.temporary || create.query.is_some() || create.like.is_some() || create.external {
        let what = if create.temporary { "temporary tables" } else { "this form of CREATE TABLE" };
        return Err(SqlError::unsupported(format!("{what} is not supported")));
    }
    if create.partition_by.is_some() {
        return Err(SqlError::unsupported("partitioned tables are not supported"));
    }
    let catalog = session.write_transaction("CREATE TABLE")?.newest_catalog();
    let (schema, name) = target_schema(session, &catalog, &create.name)?;
    if create.if_not_exists && catalog.relation(&schema, &name).is_some() {
        session.notice("42P07", format!("relation \"{name}\" already exists, skipping"));
        return Ok("CREATE TABLE");
    }
    let mut constraints = Constraints::default();
    let columns = create.columns.iter().map(|definition| column(definition, &mut constraints));
    let columns = columns.collect::<SqlResult<Vec<_>>>()?;
    for constraint in &create.constraints {
        table_constraint(constraint, &mut constraints)?;
    }
    if constraints.keys.iter().filter(|(_, _, primary)| *primary).count() > 1 {
        return Err(second_primary_key(&name));
    }
    for column in &columns {
        if let Some(default) = &column.default {
            session.check_default(default, &column.name, column.sql_type.into())?;
        }
    }
    let txn = session.write_transaction("CREATE TABLE")?;
    // A new table has no rows, so its indexes are complete as they are made.
    let made = txn
        .change_catalog(|catalog| {
            let table = catalog.create_table(&schema, &name, columns)?;
            Ok(table)
        })
        .await?;
    for (constraint, key, primary) in &constraints.keys {
        add_index(session, made, constraint.clone(), key, *primary).await?;
    }
    Ok("CREATE TABLE")
}

/// Adds the index of a PRIMARY KEY or UNIQUE constraint to an existing table.
pub(super) async fn add_index(
    session: &mut Session,
    table: TableId,
    name: Option<String>,
    key: &[super::columns::KeyColumn],
    primary: bool,
) -> SqlResult<()> {
    let txn = session.write_transaction("CREATE INDEX")?;
    let catalog = txn.newest_catalog();
    let def = catalog.table(table)?.clone();
    let suffix = if primary { "pkey" } else { "key" };
    let name = match name {
        Some(name) => name,
        None => {
            let schema = schema_name(&catalog, table);
            index_name(&def.name, key, suffix, |name| is_taken(&catalog, &schema, name))
        }
    };
    let index = new_index(name, key, &def.schema, true, primary, true)?;
    txn.create_index(table, index).await.map_err(|error| session.engine_error(error, &catalog))?;
    Ok(())
}

pub(super) fn schema_name(catalog: &Catalog, table: TableId) -> String {
    let relation = catalog.relation_by_id(table);
    let schema = relation.and_then(|relation| catalog.schema_by_id(relation.schema_id()));
    schema.map(|schema| schema.name.clone()).unwrap_or_default()
}

pub(super) fn is_taken(catalog: &Catalog, schema: &str, name: &str) -> bool {
    catalog.relation(schema, name).is_some() || catalog.find_index(schema, name).is_some()
}

pub(super) async fn view(session: &mut Session, create: &CreateView) -> SqlResult<&'static str> {
    if create.materialized || create.temporary {
        return Err(SqlError::unsupported("materialized and temporary views are not supported"));
    }
    let catalog = session.write_transaction("CREATE VIEW")?.newest_catalog();
    let (schema, name) = target_schema(session, &catalog, &create.name)?;
    let query = create.query.to_string();
    let column_names: Vec<String> = create.columns.iter().map(|column| names::fold(&column.name)).collect();
    let columns = session.view_columns(&query)?;
    if column_names.len() > columns {
        return Err(SqlError::new("42601", "CREATE VIEW specifies more column names than columns"));
    }
    let existing = catalog.relation(&schema, &name);
    if let Some(existing) = existing
        && create.if_not_exists
    {
        session.notice("42P07", format!("relation \"{}\" already exists, skipping", existing.name()));
        return Ok("CREATE VIEW");
    }
    let replaced = match existing {
        Some(strata_core::catalog::Relation::View(view)) if create.or_replace => Some(view.id),
        Some(_) if create.or_replace => {
            return Err(SqlError::new("42809", format!("\"{name}\" is not a view")));
        }
        _ => None,
    };
    let txn = session.write_transaction("CREATE VIEW")?;
    txn.change_catalog(|catalog| {
        if let Some(view) = replaced {
            catalog.drop_relation(view)?;
        }
        catalog.create_view(&schema, &name, &query, column_names)
    })
    .await?;
    Ok("CREATE VIEW")
}

pub(super) async fn index(session: &mut Session, create: &CreateIndex) -> SqlResult<&'static str> {
    if create.predicate.is_some() {
        return Err(SqlError::unsupported("partial indexes are not supported"));
    }
    if !create.include.is_empty() {
        return Err(SqlError::unsupported("INCLUDE columns are not supported"));
    }
    if let Some(using) = &create.using
        && !using.to_string().eq_ignore_ascii_case("btree")
    {
        return Err(SqlError::unsupported(format!("access method \"{using}\" is not supported")));
    }
    if create.nulls_distinct == Some(false) {
        return Err(SqlError::unsupported("NULLS NOT DISTINCT is not supported"));
    }
    let catalog = session.write_transaction("CREATE INDEX")?.newest_catalog();
    let (schema, table) = find_relation(&session.search_path(), &catalog, &create.table_name)?
        .ok_or_else(|| undefined_table(&create.table_name))?;
    let def = catalog.table_by_name(&schema, &table)?.clone();
    let key = key_columns(&create.columns)?;
    let name = match &create.name {
        Some(name) => names::split(name)?.1,
        None => index_name(&table, &key, "idx", |name| is_taken(&catalog, &schema, name)),
    };
    if create.if_not_exists && is_taken(&catalog, &schema, &name) {
        session.notice("42P07", format!("relation \"{name}\" already exists, skipping"));
        return Ok("CREATE INDEX");
    }
    let index = new_index(name, &key, &def.schema, create.unique, false, false)?;
    let txn = session.write_transaction("CREATE INDEX")?;
    // Whoever else changes the table's definition ends first; the columns are those of the newest one then.
    txn.lock_table(def.id, TableLockMode::Share).await?;
    let created = txn.create_index(def.id, index).await;
    created.map_err(|error| session.engine_error(error, &catalog))?;
    Ok("CREATE INDEX")
}
