//! The table that COPY FROM fills: its columns, and where each one's values come from.

use std::sync::Arc;

use datafusion::catalog::Session as _;
use datafusion::common::DFSchema;
use datafusion::logical_expr::{Expr, LogicalPlan};
use datafusion::sql::sqlparser::ast::{Ident, ObjectName};
use strata_core::catalog::{Relation, TableDef};
use strata_core::row::{Column, arrow_type};
use strata_core::txn::TableLockMode;

use crate::error::{SqlError, SqlResult};
use crate::io::convert::FieldReader;
use crate::io::load::{LoadPlan, Source, evaluate};
use crate::postgres::zone::Zone;
use crate::session::Session;
use crate::session::run::Limits;
use crate::sql::ddl::{find_relation, undefined_table};
use crate::sql::dml::plan::{assign_default, parse_one};
use crate::sql::names::fold;
use crate::sql::plan::Planner;

/// Finds the table and keeps it from being changed or dropped.
pub(super) async fn lock(
    session: &mut Session,
    name: &ObjectName,
    limits: &Limits,
) -> SqlResult<Arc<TableDef>> {
    let search_path = session.search_path();
    loop {
        let txn = session.write_transaction("COPY FROM")?;
        let catalog = txn.newest_catalog();
        let (schema, relation) =
            find_relation(&search_path, &catalog, name)?.ok_or_else(|| undefined_table(name))?;
        let table = match catalog.relation(&schema, &relation) {
            Some(Relation::Table(table)) => table.clone(),
            Some(Relation::View(view)) => {
                return Err(SqlError::new("42809", format!("cannot copy to view \"{}\"", view.name)));
            }
            None => return Err(undefined_table(name)),
        };
        limits.race(txn.lock_table(table.id, TableLockMode::AccessShare)).await??;
        if txn.newest_catalog().table(table.id).is_ok_and(|newest| **newest == *table) {
            return Ok(table);
        }
    }
}

/// The columns that the data has, in its order: those named, or all.
pub(super) fn columns(table: &TableDef, named: &[Ident]) -> SqlResult<Vec<Column>> {
    if named.is_empty() {
        return Ok(table.schema.live().cloned().collect());
    }
    let mut columns: Vec<Column> = Vec::with_capacity(named.len());
    for name in named {
        let name = fold(name);
        let column = table.schema.by_name(&name).ok_or_else(|| {
            let table = &table.name;
            SqlError::new("42703", format!("column \"{name}\" of relation \"{table}\" does not exist"))
        })?;
        if columns.iter().any(|earlier| earlier.id == column.id) {
            return Err(SqlError::new("42701", format!("column \"{name}\" specified more than once")));
        }
        columns.push(column.clone());
    }
    Ok(columns)
}

/// Where the values of all columns come from, given those that the data has.
pub(super) fn plan(session: &mut Session, table: &Arc<TableDef>, columns: &[Column]) -> SqlResult<LoadPlan> {
    let zone = Zone::parse(&session.time_zone()).unwrap_or(Zone::Utc);
    let now = session.transaction_start_micros()?;
    let mut planner = None;
    let mut sources = Vec::new();
    for column in table.schema.live() {
        if let Some(place) = columns.iter().position(|named| named.id == column.id) {
            sources.push(Source::Field(place, FieldReader::new(column.clone(), zone, now)));
            continue;
        }
        if column.default.is_none() {
            let null = datafusion::arrow::array::new_null_array(&arrow_type(&column.column_type), 1);
            sources.push(Source::Constant(null));
            continue;
        }
        if planner.is_none() {
            planner = Some(session.start_statement()?.0);
        }
        if let Some(planner) = &planner {
            sources.push(default_source(planner, column)?);
        }
    }
    Ok(LoadPlan { table: Arc::clone(table), sources })
}

/// A default: evaluated now if that is the same for every row.
fn default_source(planner: &Planner, column: &Column) -> SqlResult<Source> {
    let query = parse_one(&format!("SELECT {}", assign_default(column)))?;
    let plan = planner.analyze(planner.plan_ast(query, &[])?)?;
    let expression = match &plan {
        LogicalPlan::Projection(projection) => projection.expr.first().cloned(),
        _ => None,
    };
    let expression: Expr = expression
        .ok_or_else(|| {
            SqlError::internal(format!("the default of column \"{}\" is no expression", column.name))
        })?
        .unalias();
    let physical = planner.create_physical_expr(expression.clone(), &DFSchema::empty())?;
    if expression.is_volatile() {
        return Ok(Source::Expression(physical));
    }
    Ok(Source::Constant(evaluate(&physical, 1, column)?))
}
