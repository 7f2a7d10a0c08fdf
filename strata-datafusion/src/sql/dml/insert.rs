//! INSERT into the query that yields its rows: one value for each live column of the table.

use datafusion::sql::sqlparser::ast::{Expr, Insert, Query, SelectItem, SetExpr, TableObject, Value};
use strata_core::row::Column;

use super::plan::{Action, Rewritten, Target, TargetParts, assign, assign_default, quote, read_as};
use crate::error::{SqlError, SqlResult};
use crate::postgres::types::PgType;
use crate::sql::names::{self, fold};

pub(super) fn target(statement: &Insert) -> SqlResult<TargetParts<'_>> {
    let TableObject::TableName(name) = &statement.table else {
        return Err(SqlError::unsupported("INSERT into a function is not supported"));
    };
    if statement.on.is_some() {
        return Err(SqlError::unsupported("INSERT ... ON CONFLICT is not supported"));
    }
    let alias = statement.table_alias.as_ref().map(|alias| fold(&alias.alias));
    Ok((name, alias, statement.returning.as_deref()))
}

pub(super) fn rewrite(target: &Target<'_>, statement: &Insert) -> SqlResult<Rewritten> {
    let columns: Vec<&Column> = target.table.schema.live().collect();
    let named = named_columns(target, statement, &columns)?;
    let mut parameters = Vec::new();
    let Some(source) = &statement.source else {
        // INSERT … DEFAULT VALUES.
        let values: Vec<String> = columns.iter().map(|column| assign_default(column)).collect();
        let sql = format!("SELECT {}", values.join(", "));
        return Ok(Rewritten { action: Action::Insert, sql, is_simple: true, parameters });
    };
    let sql = match source.body.as_ref() {
        SetExpr::Values(values) if is_plain(source) => {
            let mut rows = Vec::with_capacity(values.rows.len());
            for row in &values.rows {
                rows.push(values_row(
                    &row.content,
                    &columns,
                    &named,
                    statement.columns.is_empty(),
                    &mut parameters,
                )?);
            }
            format!("VALUES {}", rows.join(", "))
        }
        _ => {
            // Without a list of columns there may be fewer values, where that can be seen.
            let given = outputs(source).filter(|_| statement.columns.is_empty());
            let count = given.map_or(named.len(), |given| given.len().min(named.len()));
            select_rows(source, &columns, &named[..count], &mut parameters)
        }
    };
    Ok(Rewritten { action: Action::Insert, sql, is_simple: true, parameters })
}

pub(super) fn is_plain(query: &Query) -> bool {
    query.with.is_none() && query.order_by.is_none() && query.limit_clause.is_none()
}

/// For each column of the statement's list its place among the live columns.
pub(super) fn named_columns(
    target: &Target<'_>,
    statement: &Insert,
    columns: &[&Column],
) -> SqlResult<Vec<usize>> {
    if statement.columns.is_empty() {
        return Ok((0..columns.len()).collect());
    }
    let mut places = Vec::with_capacity(statement.columns.len());
    for name in &statement.columns {
        let name = names::parts(name)?.pop().unwrap_or_default();
        let place = columns.iter().position(|column| column.name == name).ok_or_else(|| {
            let table = &target.table.name;
            SqlError::new("42703", format!("column \"{name}\" of relation \"{table}\" does not exist"))
        })?;
        if places.contains(&place) {
            return Err(SqlError::new("42701", format!("column \"{name}\" specified more than once")));
        }
        places.push(place);
    }
    Ok(places)
}

fn values_row(
    cells: &[Expr],
    columns: &[&Column],
    named: &[usize],
    may_be_short: bool,
    parameters: &mut Vec<(usize, PgType)>,
) -> SqlResult<String> {
    if cells.len() > named.len() {
        return Err(SqlError::syntax("INSERT has more expressions than target columns"));
    }
    if cells.len() < named.len() && !may_be_short {
        return Err(SqlError::syntax("INSERT has more target columns than expressions"));
    }
    let mut row: Vec<Option<String>> = vec![None; columns.len()];
    for (cell, place) in cells.iter().zip(named) {
        let pg_type = PgType::from(columns[*place].sql_type);
        if let Some(number) = placeholder(cell) {
            parameters.push((number, pg_type));
        }
        if !is_default(cell) {
            row[*place] = Some(assign(&cell.to_string(), columns[*place]));
        }
    }
    let row: Vec<String> = row
        .into_iter()
        .zip(columns)
        .map(|(cell, column)| cell.unwrap_or_else(|| assign_default(column)))
        .collect();
    Ok(format!("({})", row.join(", ")))
}

fn select_rows(
    source: &Query,
    columns: &[&Column],
    named: &[usize],
    parameters: &mut Vec<(usize, PgType)>,
) -> String {
    let names: Vec<String> = (0..named.len()).map(|place| format!("\"_c{place}\"")).collect();
    let open = open_outputs(source);
    let values: Vec<String> = columns
        .iter()
        .enumerate()
        .map(|(place, column)| match named.iter().position(|named| *named == place) {
            Some(from) => {
                let value = format!("\"_s\".\"_c{from}\"");
                let pg_type = PgType::from(column.sql_type);
                match open.get(from) {
                    Some(Some(output)) => {
                        parameters.extend(placeholder(output).map(|number| (number, pg_type)));
                        read_as(&value, pg_type)
                    }
                    _ => assign(&value, column),
                }
            }
            None => assign_default(column),
        })
        .collect();
    format!("SELECT {} FROM ({source}) AS \"_s\" ({})", values.join(", "), names.join(", "))
}

/// The outputs of a SELECT; `None` where a `*` hides some.
fn outputs(source: &Query) -> Option<Vec<&Expr>> {
    let SetExpr::Select(select) = source.body.as_ref() else { return None };
    let outputs = select.projection.iter().map(|item| match item {
        SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } => Some(expr),
        _ => None,
    });
    outputs.collect()
}

/// The outputs of a SELECT that are literals or parameters, whose type is that of the column they go to.
fn open_outputs(source: &Query) -> Vec<Option<&Expr>> {
    let is_open = |expr: &Expr| match expr {
        Expr::Value(value) => matches!(
            value.value,
            Value::SingleQuotedString(_)
                | Value::EscapedStringLiteral(_)
                | Value::Placeholder(_)
                | Value::Null
        ),
        _ => false,
    };
    outputs(source).unwrap_or_default().into_iter().map(|expr| is_open(expr).then_some(expr)).collect()
}

/// Whether a value is the keyword DEFAULT.
pub(super) fn is_default(cell: &Expr) -> bool {
    match cell {
        Expr::Identifier(word) => word.quote_style.is_none() && word.value.eq_ignore_ascii_case("default"),
        _ => false,
    }
}

/// The number of a parameter that stands alone.
pub(crate) fn placeholder(cell: &Expr) -> Option<usize> {
    match cell {
        Expr::Value(value) => match &value.value {
            Value::Placeholder(text) => text.strip_prefix('$')?.parse().ok(),
            _ => None,
        },
        Expr::Nested(inner) => placeholder(inner),
        _ => None,
    }
}

/// Quotes a column behind its table's name.
pub(super) fn qualified(alias: &str, column: &str) -> String {
    format!("{}.{}", quote(alias), quote(column))
}
