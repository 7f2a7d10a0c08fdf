//! Set-returning functions.
//!
//! In FROM, a function's one column is named after its alias. In a SELECT list without FROM, `generate_series(…)` moves
//! to FROM; with one, it becomes `unnest` of a list.

use datafusion::sql::sqlparser::ast::{
    Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, Ident, ObjectName, Select, SelectItem,
    TableAlias, TableAliasColumnDef, TableFactor, TableFunctionArgs, TableWithJoins,
};

use super::{call, quoted};
use crate::error::{SqlError, SqlResult};
use crate::sql::names::fold;

/// The function that makes a list of a series.
pub(crate) const SERIES_LIST: &str = "generate_series_list";

/// The folded name without `pg_catalog`.
pub(super) fn bare_function_name(name: &ObjectName) -> Option<String> {
    match &name.0[..] {
        [name] => name.as_ident().map(fold),
        [schema, name] if schema.as_ident().map(fold).as_deref() == Some("pg_catalog") => {
            name.as_ident().map(fold)
        }
        _ => None,
    }
}

fn is_series(expr: &Expr) -> bool {
    matches!(expr, Expr::Function(function)
        if bare_function_name(&function.name).as_deref() == Some("generate_series"))
}

/// Moves series out of a SELECT list.
pub(super) fn move_series(select: &mut Select) -> SqlResult<()> {
    let from_is_empty = select.from.is_empty();
    let mut moved = None;
    for item in &mut select.projection {
        let (SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. }) = item else { continue };
        if !is_series(expr) {
            continue;
        }
        let Expr::Function(function) = expr else { continue };
        if from_is_empty && moved.is_none() && constant_arguments(function) {
            let column = quoted("generate_series");
            let taken = std::mem::replace(expr, Expr::Identifier(column.clone()));
            let Expr::Function(function) = taken else { continue };
            let FunctionArguments::List(list) = function.args else { continue };
            let name = ObjectName::from(vec![column.clone()]);
            moved = Some(function_in_from(name, Some(alias_of(column)), list.args));
        } else {
            function.name = ObjectName::from(vec![Ident::new(SERIES_LIST)]);
            let list = expr.clone();
            *expr = call("unnest", vec![list]);
        }
    }
    if let Some(relation) = moved {
        select.from.push(TableWithJoins { relation, joins: Vec::new() });
    }
    Ok(())
}

/// Whether no argument can refer to a column.
fn constant_arguments(function: &Function) -> bool {
    let FunctionArguments::List(list) = &function.args else { return false };
    list.args.iter().all(|arg| match arg {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => is_constant(expr),
        _ => false,
    })
}

fn is_constant(expr: &Expr) -> bool {
    match expr {
        Expr::Value(_) | Expr::TypedString(_) | Expr::Interval(_) => true,
        Expr::UnaryOp { expr, .. } | Expr::Cast { expr, .. } | Expr::Nested(expr) => is_constant(expr),
        Expr::BinaryOp { left, right, .. } => is_constant(left) && is_constant(right),
        Expr::Function(function) => constant_arguments(function) || function.args == FunctionArguments::None,
        _ => false,
    }
}

fn function_in_from(name: ObjectName, alias: Option<TableAlias>, args: Vec<FunctionArg>) -> TableFactor {
    TableFactor::Table {
        name,
        alias,
        args: Some(TableFunctionArgs { args, settings: None }),
        with_hints: Vec::new(),
        version: None,
        with_ordinality: false,
        partitions: Vec::new(),
        json_path: None,
        sample: None,
        index_hints: Vec::new(),
    }
}

fn alias_of(name: Ident) -> TableAlias {
    TableAlias {
        explicit: true,
        columns: vec![TableAliasColumnDef::from_name(name.value.clone())],
        name,
        at: None,
    }
}

/// Names the column of a function in FROM.
pub(super) fn name_function(factor: &mut TableFactor) -> SqlResult<()> {
    if let TableFactor::Function { lateral: _, name, args, with_ordinality: false, alias } = factor {
        *factor = function_in_from(name.clone(), alias.take(), std::mem::take(args));
    }
    let TableFactor::Table { name, alias, args: Some(arguments), .. } = factor else { return Ok(()) };
    let Some(function) = bare_function_name(name) else {
        return Err(SqlError::new("42883", format!("function {name} does not exist")));
    };
    if arguments.settings.is_some() {
        return Err(SqlError::syntax("syntax error at or near \"SETTINGS\""));
    }
    *name = ObjectName::from(vec![Ident::new(function.clone())]);
    match alias {
        None => *alias = Some(alias_of(quoted(function))),
        Some(alias) if alias.columns.is_empty() => {
            alias.columns.push(TableAliasColumnDef::from_name(fold(&alias.name)));
            if let Some(column) = alias.columns.last_mut() {
                column.name.quote_style = Some('"');
            }
        }
        Some(_) => {}
    }
    Ok(())
}
