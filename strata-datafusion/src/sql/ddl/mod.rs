//! Data definition: CREATE, ALTER, DROP and TRUNCATE, straight to the engine's catalog.
//!
//! DDL is transactional. Each statement changes the transaction's private catalog; tables are locked first, in the
//! modes that Postgres takes.

mod alter;
mod columns;
mod create;
mod dependants;
mod drop;
mod maintenance;

use datafusion::sql::sqlparser::ast::{ObjectName, Statement as Ast};
pub(crate) use maintenance::parse_vacuum;
use strata_core::catalog::Catalog;

use crate::error::{SqlError, SqlResult};
use crate::session::Session;
use crate::session::run::Limits;
use crate::session::types::Outcome;
use crate::sql::names;
use crate::sql::parse::Statement;

/// Whether a statement is handled here.
pub(crate) fn is_ddl(statement: &Ast) -> bool {
    matches!(
        statement,
        Ast::CreateSchema { .. }
            | Ast::CreateTable(_)
            | Ast::CreateView(_)
            | Ast::CreateIndex(_)
            | Ast::AlterTable(_)
            | Ast::Drop { .. }
            | Ast::Truncate(_)
            | Ast::Vacuum(_)
            | Ast::Analyze(_)
    )
}

/// Runs a statement for which [`is_ddl`] holds.
pub(crate) async fn execute(
    session: &mut Session,
    statement: &Statement,
    limits: &Limits,
) -> SqlResult<Outcome> {
    let run = async {
        match statement.ast() {
            Ast::CreateSchema { schema_name, if_not_exists, .. } => {
                create::schema(session, schema_name, *if_not_exists).await
            }
            Ast::CreateTable(create) => create::table(session, create).await,
            Ast::CreateView(create) => create::view(session, create).await,
            Ast::CreateIndex(create) => create::index(session, create).await,
            Ast::AlterTable(alter) => alter::table(session, alter).await,
            Ast::Drop { object_type, if_exists, names, cascade, .. } => {
                drop::objects(session, *object_type, names, *if_exists, *cascade).await
            }
            Ast::Truncate(truncate) => drop::truncate(session, truncate).await,
            Ast::Vacuum(vacuum) => maintenance::vacuum(session, vacuum).await,
            Ast::Analyze(analyze) => maintenance::analyze(session, analyze).await,
            other => Err(SqlError::internal(format!("not DDL: {other}"))),
        }
    };
    limits.race(run).await?.map(|tag| Outcome::Command(tag.to_owned()))
}

/// The schema in which a relation of this name is made: the one given, or the first of the search path that is there.
fn target_schema(session: &Session, catalog: &Catalog, name: &ObjectName) -> SqlResult<(String, String)> {
    let (schema, relation) = names::split(name)?;
    let schema = match schema {
        Some(schema) => schema,
        None => session
            .search_path()
            .into_iter()
            .find(|schema| catalog.schema(schema).is_some())
            .ok_or_else(|| SqlError::new("3F000", "no schema has been selected to create in"))?,
    };
    check_schema(catalog, &schema)?;
    Ok((schema, relation))
}

fn check_schema(catalog: &Catalog, schema: &str) -> SqlResult<()> {
    if ["pg_catalog", "information_schema"].contains(&schema) {
        let message = format!("permission denied: \"{schema}\" is a system catalog");
        return Err(SqlError::new("42501", message));
    }
    match catalog.schema(schema) {
        Some(_) => Ok(()),
        None => Err(SqlError::new("3F000", format!("schema \"{schema}\" does not exist"))),
    }
}

/// The schema and name of an existing relation; `None` where there is none.
pub(crate) fn find_relation(
    search_path: &[String],
    catalog: &Catalog,
    name: &ObjectName,
) -> SqlResult<Option<(String, String)>> {
    let (schema, relation) = names::split(name)?;
    if let Some(schema) = schema {
        return Ok(catalog.relation(&schema, &relation).is_some().then_some((schema, relation)));
    }
    let found = search_path.iter().find(|schema| catalog.relation(schema, &relation).is_some());
    Ok(found.map(|schema| (schema.clone(), relation)))
}

/// `relation "…" does not exist`.
pub(crate) fn undefined_table(name: &ObjectName) -> SqlError {
    SqlError::new("42P01", format!("relation \"{}\" does not exist", shown(name)))
}

/// A name as messages show it.
pub(crate) fn shown(name: &ObjectName) -> String {
    names::parts(name).map_or_else(|_| name.to_string(), |parts| parts.join("."))
}

/// A table has one primary key.
fn second_primary_key(table: &str) -> SqlError {
    SqlError::new("42P16", format!("multiple primary keys for table \"{table}\" are not allowed"))
}
