//! UPDATE and DELETE into the query that finds their target rows.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    AssignmentTarget, Delete, Expr, FromTable, ObjectName, Query, TableFactor, TableWithJoins, Update,
    UpdateTableFromKind, Visit, Visitor,
};

use super::insert::{is_default, placeholder, qualified};
use super::plan::{Action, Rewritten, Target, TargetParts, assign, assign_default, quote};
use crate::error::{SqlError, SqlResult};
use crate::postgres::types::PgType;
use crate::sql::names::{self, fold};

pub(super) fn update_target(statement: &Update) -> SqlResult<TargetParts<'_>> {
    if !statement.order_by.is_empty() || statement.limit.is_some() {
        return Err(SqlError::syntax("UPDATE takes no ORDER BY or LIMIT"));
    }
    let (name, alias) = table_name(&statement.table)?;
    Ok((name, alias, statement.returning.as_deref()))
}

pub(super) fn delete_target(statement: &Delete) -> SqlResult<TargetParts<'_>> {
    if !statement.order_by.is_empty() || statement.limit.is_some() || !statement.tables.is_empty() {
        return Err(SqlError::syntax("DELETE takes no ORDER BY or LIMIT"));
    }
    let (FromTable::WithFromKeyword(tables) | FromTable::WithoutKeyword(tables)) = &statement.from;
    let [table] = tables.as_slice() else {
        return Err(SqlError::syntax("DELETE names one table"));
    };
    let (name, alias) = table_name(table)?;
    Ok((name, alias, statement.returning.as_deref()))
}

fn table_name(table: &TableWithJoins) -> SqlResult<(&ObjectName, Option<String>)> {
    match &table.relation {
        TableFactor::Table { name, alias, .. } if table.joins.is_empty() => {
            Ok((name, alias.as_ref().map(|alias| fold(&alias.name))))
        }
        other => Err(SqlError::syntax(format!("\"{other}\" cannot be changed"))),
    }
}

/// `SELECT t._rowid, CAST(value AS type), … FROM t[, other] WHERE condition`.
pub(super) fn update(target: &Target<'_>, statement: &Update) -> SqlResult<Rewritten> {
    let mut selected = vec![qualified(&target.alias, "_rowid")];
    let mut columns = Vec::with_capacity(statement.assignments.len());
    let mut parameters = Vec::new();
    let mut simple = statement.from.is_none();
    for assignment in &statement.assignments {
        let AssignmentTarget::ColumnName(name) = &assignment.target else {
            return Err(SqlError::unsupported("UPDATE ... SET (a, b) = ... is not supported"));
        };
        let name = names::parts(name)?.pop().unwrap_or_default();
        let column = target.table.schema.by_name(&name).ok_or_else(|| {
            let table = &target.table.name;
            SqlError::new("42703", format!("column \"{name}\" of relation \"{table}\" does not exist"))
        })?;
        if columns.contains(&column.id) {
            return Err(SqlError::syntax(format!("multiple assignments to same column \"{name}\"")));
        }
        let pg_type = PgType::from(column.sql_type);
        if let Some(number) = placeholder(&assignment.value) {
            parameters.push((number, pg_type));
        }
        let value = if is_default(&assignment.value) {
            assign_default(column)
        } else {
            assign(&assignment.value.to_string(), column)
        };
        selected.push(format!("{value} AS \"_v{}\"", columns.len()));
        columns.push(column.id);
        simple &= !has_query(&assignment.value);
    }
    let others = match &statement.from {
        Some(UpdateTableFromKind::AfterSet(tables) | UpdateTableFromKind::BeforeSet(tables)) => {
            tables.as_slice()
        }
        None => &[],
    };
    let sql = query(target, &selected, others, statement.selection.as_ref());
    let is_simple = simple && !statement.selection.as_ref().is_some_and(has_query);
    Ok(Rewritten { action: Action::Update(columns), sql, is_simple, parameters })
}

/// `SELECT t._rowid FROM t[, other] WHERE condition`.
pub(super) fn delete(target: &Target<'_>, statement: &Delete) -> SqlResult<Rewritten> {
    let others = statement.using.as_deref().unwrap_or_default();
    let selected = [qualified(&target.alias, "_rowid")];
    let sql = query(target, &selected, others, statement.selection.as_ref());
    let is_simple = others.is_empty() && !statement.selection.as_ref().is_some_and(has_query);
    Ok(Rewritten { action: Action::Delete, sql, is_simple, parameters: Vec::new() })
}

fn query(
    target: &Target<'_>,
    selected: &[String],
    others: &[TableWithJoins],
    condition: Option<&Expr>,
) -> String {
    let mut sql =
        format!("SELECT {} FROM {} AS {}", selected.join(", "), target.sql_name, quote(&target.alias));
    for other in others {
        sql.push_str(&format!(", {other}"));
    }
    if let Some(condition) = condition {
        sql.push_str(&format!(" WHERE {condition}"));
    }
    sql
}

/// Whether an expression holds a subquery.
fn has_query(expression: &Expr) -> bool {
    struct Find;
    impl Visitor for Find {
        type Break = ();
        fn pre_visit_query(&mut self, _query: &Query) -> ControlFlow<()> {
            ControlFlow::Break(())
        }
    }
    expression.visit(&mut Find).is_break()
}
