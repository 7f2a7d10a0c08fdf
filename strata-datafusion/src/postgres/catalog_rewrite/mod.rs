//! A pass over a statement before it is planned, for what clients' catalog queries are written in.
//!
//! - `x::regclass` and its kin become calls (`registered`), as does their text in the result,
//! - `OPERATOR(pg_catalog.~)` becomes the operator, a collation that changes nothing goes,
//! - `(x).field` is a call too,
//! - `ARRAY(SELECT …)` becomes an aggregate, `generate_subscripts` an `unnest`,
//! - subqueries over system relations take forms that can be decorrelated (`subqueries`),
//! - what a relation that is always empty joins is not computed (`emptiness`).
//!
//! The pass is a pure function of the syntax tree: it knows system relations by their names.

mod emptiness;
mod registered;
mod subqueries;

use std::collections::HashSet;
use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    AccessExpr, BinaryOperator, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgumentClause,
    FunctionArgumentList, FunctionArguments, Ident, ObjectName, Query, Select, SelectItem, SetExpr,
    Statement, Subscript, TableFactor, TableWithJoins, Value, ValueWithSpan, VisitMut, VisitorMut,
};

use super::pg_catalog::{INFORMATION_SCHEMA, PG_CATALOG};
use crate::sql::names::fold;
use crate::sql::output::unique_name;

/// Rewrites a statement in place.
pub(crate) fn rewrite(statement: &mut Statement) {
    let _ = statement.visit(&mut Pass);
    if let Statement::Query(query) = statement {
        registered::show_results(&mut query.body);
    }
}

struct Pass;

impl VisitorMut for Pass {
    type Break = ();

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<()> {
        tell_apart(select);
        emptiness::drop_unneeded(select);
        subqueries::count_for_exists(select);
        for item in &mut select.projection {
            if let SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } = item {
                rows_to_unnest(expr);
            }
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<()> {
        if let TableFactor::Function { name, .. } | TableFactor::Table { name, args: Some(_), .. } = factor {
            strip_schema(name);
        }
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        match expr {
            Expr::Function(function) => {
                strip_schema(&mut function.name);
                if let Some(array) = array_of_subquery(function) {
                    *expr = array;
                }
            }
            Expr::BinaryOp { op, .. }
            | Expr::AnyOp { compare_op: op, .. }
            | Expr::AllOp { compare_op: op, .. } => {
                if let BinaryOperator::PGCustomBinaryOperator(parts) = op
                    && let Some(plain) = plain_operator(parts)
                {
                    *op = plain;
                }
                matched_operator(expr);
            }
            Expr::Collate { expr: inner, collation } if changes_nothing(collation) => *expr = take(inner),
            Expr::Like { pattern, escape_char, .. } | Expr::ILike { pattern, escape_char, .. } => {
                escape_by_backslash(pattern, escape_char);
            }
            Expr::Cast { .. } => registered::cast(expr),
            Expr::CompoundFieldAccess { root, access_chain } => {
                count_from_one(root, access_chain);
                if let (Expr::Nested(inner), [AccessExpr::Dot(Expr::Identifier(field))]) =
                    (root.as_mut(), &access_chain[..])
                {
                    let field = Expr::value(Value::SingleQuotedString(fold(field)));
                    *expr = call("get_field", vec![take(inner), field]);
                }
            }
            Expr::Subquery(_) => subqueries::decorrelate(expr),
            _ => {}
        }
        ControlFlow::Continue(())
    }
}

/// Takes the expression, and leaves NULL.
fn take(expr: &mut Expr) -> Expr {
    std::mem::replace(expr, Expr::value(Value::Null))
}

/// A call of a function.
fn call(name: &str, args: Vec<Expr>) -> Expr {
    Expr::Function(Function {
        name: ObjectName::from(vec![Ident::new(name)]),
        uses_odbc_syntax: false,
        parameters: FunctionArguments::None,
        args: FunctionArguments::List(FunctionArgumentList {
            duplicate_treatment: None,
            args: args.into_iter().map(|arg| FunctionArg::Unnamed(FunctionArgExpr::Expr(arg))).collect(),
            clauses: Vec::new(),
        }),
        filter: None,
        null_treatment: None,
        over: None,
        within_group: Vec::new(),
    })
}

/// The folded name of a function called without a schema.
fn function_name(function: &Function) -> Option<String> {
    match &function.name.0[..] {
        [name] => name.as_ident().map(fold),
        _ => None,
    }
}

/// `pg_catalog.f` is `f`.
fn strip_schema(name: &mut ObjectName) {
    if let [schema, _] = &name.0[..]
        && schema.as_ident().is_some_and(|schema| fold(schema) == PG_CATALOG)
    {
        name.0.remove(0);
    }
}

/// The operator that `OPERATOR(pg_catalog.…)` names.
fn plain_operator(parts: &[String]) -> Option<BinaryOperator> {
    let (symbol, schema) = parts.split_last()?;
    if !schema.iter().all(|schema| schema.eq_ignore_ascii_case(PG_CATALOG)) {
        return None;
    }
    Some(match symbol.as_str() {
        "~" => BinaryOperator::PGRegexMatch,
        "~*" => BinaryOperator::PGRegexIMatch,
        "!~" => BinaryOperator::PGRegexNotMatch,
        "!~*" => BinaryOperator::PGRegexNotIMatch,
        "~~" => BinaryOperator::PGLikeMatch,
        "~~*" => BinaryOperator::PGILikeMatch,
        "!~~" => BinaryOperator::PGNotLikeMatch,
        "!~~*" => BinaryOperator::PGNotILikeMatch,
        "=" => BinaryOperator::Eq,
        "<>" | "!=" => BinaryOperator::NotEq,
        "<" => BinaryOperator::Lt,
        "<=" => BinaryOperator::LtEq,
        ">" => BinaryOperator::Gt,
        ">=" => BinaryOperator::GtEq,
        "+" => BinaryOperator::Plus,
        "-" => BinaryOperator::Minus,
        "*" => BinaryOperator::Multiply,
        "/" => BinaryOperator::Divide,
        "||" => BinaryOperator::StringConcat,
        _ => return None,
    })
}

/// The parser reads `OPERATOR(…)` as binding less than AND binds: `a OPERATOR(~) b AND c` may come as
/// `a OPERATOR(~) (b AND c)`. A match of text with a condition means the other grouping.
fn matched_operator(expr: &mut Expr) {
    let Expr::BinaryOp { left, op, right } = expr else { return };
    let matches_text = matches!(
        op,
        BinaryOperator::PGRegexMatch
            | BinaryOperator::PGRegexIMatch
            | BinaryOperator::PGRegexNotMatch
            | BinaryOperator::PGRegexNotIMatch
    );
    if let (true, Expr::BinaryOp { left: pattern, op: BinaryOperator::And, right: condition }) =
        (matches_text, right.as_mut())
    {
        let first =
            Expr::BinaryOp { left: Box::new(take(left)), op: op.clone(), right: Box::new(take(pattern)) };
        let condition = take(condition);
        *expr = Expr::BinaryOp { left: Box::new(first), op: BinaryOperator::And, right: Box::new(condition) };
    }
}

/// Whether a collation is the only one there is, by any of its names.
fn changes_nothing(collation: &ObjectName) -> bool {
    let name =
        collation.0.last().and_then(|name| name.as_ident()).map(|name| name.value.to_ascii_lowercase());
    name.is_some_and(|name| matches!(name.as_str(), "default" | "c" | "posix" | "ucs_basic"))
}

/// `ARRAY(SELECT x … ORDER BY y)` as `array_or_empty((SELECT array_agg(x ORDER BY y) …))`.
fn array_of_subquery(function: &mut Function) -> Option<Expr> {
    if function_name(function)? != "array" {
        return None;
    }
    let FunctionArguments::Subquery(query) = &mut function.args else { return None };
    if let Some(options) = storage_options(query) {
        return Some(call("array_or_empty", vec![options]));
    }
    let ordering = query.order_by.take();
    let SetExpr::Select(select) = query.body.as_mut() else { return None };
    let [SelectItem::UnnamedExpr(item) | SelectItem::ExprWithAlias { expr: item, .. }] =
        &mut select.projection[..]
    else {
        return None;
    };
    let element = take(item);
    let mut aggregate = call("array_agg", vec![element.clone()]);
    if let Expr::Function(aggregate) = &mut aggregate
        && let FunctionArguments::List(list) = &mut aggregate.args
        && let Some(mut keys) = ordering.and_then(subqueries::order_keys)
    {
        for key in &mut keys {
            // ORDER BY 1 means the element.
            if matches!(&key.expr, Expr::Value(value) if matches!(value.value, Value::Number(..))) {
                key.expr = element.clone();
            }
        }
        list.clauses.push(FunctionArgumentClause::OrderBy(keys));
    }
    *item = aggregate;
    let mut subquery = Expr::Subquery(query.clone());
    subqueries::decorrelate(&mut subquery);
    Some(call("array_or_empty", vec![subquery]))
}

/// The argument of `SELECT … FROM unnest(x.reloptions)`. Relations have no storage options here, so a list of them is
/// as empty as a list made of them.
fn storage_options(query: &Query) -> Option<Expr> {
    let [TableWithJoins { relation, .. }] = &select_of(query)?.from[..] else { return None };
    let (name, argument) = match relation {
        TableFactor::Table { name, args: Some(args), .. } => (name, args.args.first()?),
        TableFactor::Function { name, args, .. } => (name, args.first()?),
        TableFactor::UNNEST { array_exprs, .. } => return array_exprs.first().filter(is_options).cloned(),
        _ => return None,
    };
    let FunctionArg::Unnamed(FunctionArgExpr::Expr(argument)) = argument else { return None };
    (name.to_string() == "unnest" && is_options(&argument)).then(|| argument.clone())
}

fn is_options(expr: &&Expr) -> bool {
    matches!(expr, Expr::CompoundIdentifier(parts) if parts.last().is_some_and(|name| fold(name) == "reloptions"))
}

/// Functions of arrays that give rows, in a SELECT list: `generate_subscripts(x, 1)`, and
/// `information_schema._pg_expandarray(x)`, which gives pairs of the element `x` and its number `n`.
fn rows_to_unnest(expr: &mut Expr) {
    match expr {
        Expr::Function(function) => {
            let list = match rows_function(function).as_deref() {
                Some("generate_subscripts") => "array_subscripts",
                Some("_pg_expandarray") => "array_expanded",
                _ => return,
            };
            function.name = ObjectName::from(vec![Ident::new(list)]);
            let list = take(expr);
            *expr = call("unnest", vec![list]);
        }
        Expr::CompoundFieldAccess { root, access_chain } => {
            let mut root = root.as_mut();
            while let Expr::Nested(inner) = root {
                root = inner;
            }
            let (Expr::Function(function), [AccessExpr::Dot(Expr::Identifier(field))]) =
                (root, &access_chain[..])
            else {
                return;
            };
            let FunctionArguments::List(arguments) = &function.args else { return };
            let Some(FunctionArg::Unnamed(FunctionArgExpr::Expr(array))) = arguments.args.first() else {
                return;
            };
            if rows_function(function).as_deref() == Some("_pg_expandarray") {
                let array = array.clone();
                let list = if fold(field) == "n" { call("array_numbers", vec![array]) } else { array };
                *expr = call("unnest", vec![list]);
            }
        }
        _ => {}
    }
}

/// The folded name of a function of one of the system's schemas.
fn rows_function(function: &Function) -> Option<String> {
    let (name, schema) = function.name.0.split_last()?;
    let of_system = |schema: &Ident| matches!(fold(schema).as_str(), PG_CATALOG | INFORMATION_SCHEMA);
    let known = schema.iter().all(|part| part.as_ident().is_some_and(of_system));
    known.then(|| name.as_ident().map(fold)).flatten()
}

/// The vectors of the catalogs count from 0, arrays from 1.
fn count_from_one(root: &Expr, chain: &mut [AccessExpr]) {
    fn is_vector(expr: &Expr) -> bool {
        const VECTORS: [&str; 5] = ["indkey", "indclass", "indoption", "indcollation", "proargtypes"];
        let name = match expr {
            Expr::Identifier(name) => Some(name),
            Expr::CompoundIdentifier(parts) => parts.last(),
            _ => None,
        };
        name.is_some_and(|name| VECTORS.contains(&fold(name).as_str()))
    }
    let mut vector = is_vector(root);
    for access in chain {
        match access {
            AccessExpr::Dot(field) => vector = is_vector(field),
            AccessExpr::Subscript(Subscript::Index { index }) if vector => {
                let counted = take(index);
                *index = Expr::BinaryOp {
                    left: Box::new(counted),
                    op: BinaryOperator::Plus,
                    right: Box::new(Expr::value(Value::Number("1".into(), false))),
                };
                vector = false;
            }
            AccessExpr::Subscript(_) => vector = false,
        }
    }
}

/// `LIKE … ESCAPE` of another character than the backslash.
fn escape_by_backslash(pattern: &mut Expr, escape: &mut Option<ValueWithSpan>) {
    if let Some(ValueWithSpan { value, .. }) = escape
        && *value != Value::SingleQuotedString("\\".to_owned())
    {
        let value = Expr::value(value.clone());
        let old = take(pattern);
        *pattern = call("like_escape", vec![old, value]);
        *escape = None;
    }
}

/// Tells columns apart that are written alike.
fn tell_apart(select: &mut Select) {
    let mut seen = HashSet::new();
    for (position, item) in select.projection.iter_mut().enumerate() {
        if let SelectItem::UnnamedExpr(expr) = item
            && !seen.insert(expr.to_string())
        {
            let alias = Ident::with_quote('"', unique_name("?column?", position));
            *item = SelectItem::ExprWithAlias { expr: take(expr), alias };
        }
    }
}

/// The query of a scalar subquery or the like, if it is one SELECT.
fn select_of(query: &Query) -> Option<&Select> {
    match query.body.as_ref() {
        SetExpr::Select(select) if query.with.is_none() => Some(select),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
