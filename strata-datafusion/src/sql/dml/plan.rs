//! From a DML statement to the query behind it.

use std::sync::Arc;

use datafusion::logical_expr::LogicalPlan;
use datafusion::sql::sqlparser::ast::{ObjectName, SelectItem, Statement as Ast};
use strata_core::catalog::{Catalog, TableDef};
use strata_core::ids::ColumnId;
use strata_core::row::Column;

use super::constants::{self, ConstantRows};
use super::{change, insert, returning};
use crate::error::{SqlError, SqlResult};
use crate::postgres::operators::assignment;
use crate::postgres::types::{PgType, oid};
use crate::session::prepared::result_fields;
use crate::session::types::ResultField;
use crate::sql::ddl::{find_relation, undefined_table};
use crate::sql::names::RelationName;
use crate::sql::plan::Planner;
use crate::sql::rewrite::ASSIGN;

/// What a statement does with the rows of its query.
#[derive(Clone, Debug)]
pub(crate) enum Action {
    /// Each is a row to insert: a value for each live column.
    Insert,
    /// Each is a RowId and the new values of these columns.
    Update(Vec<ColumnId>),
    /// Each is a RowId.
    Delete,
}

/// A planned DML statement.
#[derive(Clone, Debug)]
pub(crate) struct DmlPlan {
    pub(crate) action: Action,
    /// The table, as the catalog has it that the plan was made with.
    pub(crate) table: Arc<TableDef>,
    /// Its name, for planning again.
    pub(crate) name: RelationName,
    /// The query.
    pub(crate) query: LogicalPlan,
    /// The rows that its one table stands for.
    pub(super) rows: Option<Arc<ConstantRows>>,
    /// Whether the query reads nothing but the target's rows, so that single rows can be evaluated again.
    pub(crate) is_simple: bool,
    /// What RETURNING asks for, over the table's columns.
    pub(crate) returning: Option<LogicalPlan>,
}

impl DmlPlan {
    /// What EXPLAIN says is done with the query's rows.
    pub(crate) fn describe(&self) -> String {
        let action = match self.action {
            Action::Insert => "Insert",
            Action::Update(_) => "Update",
            Action::Delete => "Delete",
        };
        format!("{action} on {}.{}", self.name.schema, self.name.relation)
    }

    /// The columns that RETURNING gives.
    pub(crate) fn fields(&self) -> Option<Arc<[ResultField]>> {
        self.returning.as_ref().map(|plan| result_fields(plan.schema()))
    }
}

/// A query that has been written, not planned.
pub(super) struct Rewritten {
    pub(super) action: Action,
    pub(super) sql: String,
    pub(super) is_simple: bool,
    /// Parameters whose type follows from the column that they are assigned to: number from 1, type.
    pub(super) parameters: Vec<(usize, PgType)>,
}

/// The table of a DML statement.
pub(super) struct Target<'a> {
    pub(super) table: &'a TableDef,
    /// How the query names it.
    pub(super) sql_name: String,
    /// The name that its columns are qualified with.
    pub(super) alias: String,
}

/// Plans a statement. Fills in the types of parameters that follow from columns.
pub(crate) fn plan(
    planner: Planner,
    search_path: &[String],
    statement: &Ast,
    parameter_oids: &mut Vec<u32>,
) -> SqlResult<(DmlPlan, Planner)> {
    let catalog = Arc::clone(planner.relations().catalog());
    let (name, alias, returned) = target_of(statement)?;
    let found = find_in(&catalog, search_path, name)?;
    let table = catalog
        .table_by_name(&found.schema, &found.relation)
        .map_err(|_| SqlError::new("42809", format!("cannot change view \"{}\"", found.relation)))?
        .clone();
    let sql_name = format!("{}.{}", quote(&found.schema), quote(&found.relation));
    let alias = alias.unwrap_or_else(|| found.relation.clone());
    let target = Target { table: &table, sql_name, alias };
    let rows = match statement {
        Ast::Insert(statement) => constants::read(&target, statement)?,
        _ => None,
    };
    if let Some(rows) = rows {
        infer(parameter_oids, &rows.parameters);
        let returning =
            returned.map(|items| returning::plan(&planner, &target, items, parameter_oids)).transpose()?;
        let query = rows.plan(&planner)?;
        let plan = DmlPlan {
            action: Action::Insert,
            table: table.clone(),
            name: found,
            query,
            rows: Some(Arc::new(rows)),
            is_simple: true,
            returning,
        };
        return Ok((plan, planner));
    }
    let rewritten = match statement {
        Ast::Insert(statement) => insert::rewrite(&target, statement)?,
        Ast::Update(statement) => change::update(&target, statement)?,
        Ast::Delete(statement) => change::delete(&target, statement)?,
        other => return Err(SqlError::internal(format!("not DML: {other}"))),
    };
    infer(parameter_oids, &rewritten.parameters);
    let query = parse_one(&rewritten.sql)?;
    let returning = match returned {
        Some(items) => Some(returning::plan(&planner, &target, items, parameter_oids)?),
        None => None,
    };
    let planner = match rewritten.action {
        Action::Insert => planner,
        Action::Update(_) | Action::Delete => planner.with_target(found.clone()),
    };
    let query = planner.plan_ast(query, parameter_oids)?;
    let (action, is_simple) = (rewritten.action, rewritten.is_simple);
    let table = table.clone();
    Ok((DmlPlan { action, table, name: found, query, rows: None, is_simple, returning }, planner))
}

/// Gives parameters that have no type yet those of the columns that they go to.
fn infer(parameter_oids: &mut Vec<u32>, known: &[(usize, PgType)]) {
    for (number, pg_type) in known {
        if parameter_oids.len() < *number {
            parameter_oids.resize(*number, 0);
        }
        if parameter_oids[*number - 1] == 0 {
            parameter_oids[*number - 1] = pg_type.oid;
        }
    }
}

/// The table's name, its alias, what RETURNING lists.
pub(super) type TargetParts<'a> = (&'a ObjectName, Option<String>, Option<&'a [SelectItem]>);

fn target_of(statement: &Ast) -> SqlResult<TargetParts<'_>> {
    match statement {
        Ast::Insert(statement) => insert::target(statement),
        Ast::Update(statement) => change::update_target(statement),
        Ast::Delete(statement) => change::delete_target(statement),
        other => Err(SqlError::internal(format!("not DML: {other}"))),
    }
}

fn find_in(catalog: &Catalog, search_path: &[String], name: &ObjectName) -> SqlResult<RelationName> {
    let found = find_relation(search_path, catalog, name)?.ok_or_else(|| undefined_table(name))?;
    Ok(RelationName { schema: found.0, relation: found.1 })
}

pub(crate) fn parse_one(sql: &str) -> SqlResult<Ast> {
    let statement = crate::sql::parse::parse(sql)?.pop().ok_or_else(|| SqlError::syntax("nothing to do"))?;
    Ok(statement.ast().clone())
}

/// An identifier as SQL text that does not fold.
pub(crate) fn quote(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// `expression` as a value of the column; 42804 where its type cannot be assigned to it. Lengths of varchar and char are
/// checked when the value is stored, since a cast would cut where an assignment refuses.
pub(crate) fn assign(expression: &str, column: &Column) -> String {
    assign_as(expression, "expression", &column.name, PgType::from(column.sql_type))
}

/// The same of the column's default.
pub(crate) fn assign_default(column: &Column) -> String {
    let default = column.default.as_deref().unwrap_or("NULL");
    assign_as(default, "default expression", &column.name, PgType::from(column.sql_type))
}

/// The same of what errors call `what`.
pub(crate) fn assign_as(expression: &str, what: &str, column: &str, pg_type: PgType) -> String {
    let mark = assignment(assigned_type(pg_type), what, column).replace('\'', "''");
    format!("\"{ASSIGN}\"({expression}, '{mark}')")
}

/// The type that a value becomes when it is assigned to a column of this one.
pub(crate) fn assigned_type(pg_type: PgType) -> PgType {
    match pg_type.oid {
        oid::VARCHAR | oid::BPCHAR => PgType::new(pg_type.oid),
        _ => pg_type,
    }
}

/// `CAST(literal AS the column's type)`: the literal is of any type that can read it.
pub(super) fn read_as(literal: &str, pg_type: PgType) -> String {
    let name = match pg_type.oid {
        oid::VARCHAR => "varchar".to_owned(),
        // `character` without a length would be one of length 1.
        oid::BPCHAR => "bpchar".to_owned(),
        _ => pg_type.sql_name(),
    };
    format!("CAST({literal} AS {name})")
}
