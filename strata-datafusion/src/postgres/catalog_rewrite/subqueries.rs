//! Subqueries over system relations, in forms that DataFusion can decorrelate.
//!
//! It wants a correlated scalar subquery to be an aggregate, and its conditions on the outer query to be equalities. In
//! the catalogs such a subquery finds one row at most, by a key: so its value is that of an aggregate over it,
//! conditions on the outer query alone can be tested outside, and in others an outer column can be replaced by the
//! inner one that it equals.

use std::collections::HashSet;
use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::helpers::attached_token::AttachedToken;
use datafusion::sql::sqlparser::ast::{
    BinaryOperator, CaseWhen, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, GroupByExpr,
    Ident, OrderBy, OrderByExpr, OrderByKind, Query, Select, SelectItem, SetExpr, TableFactor,
    TableWithJoins, Value, Visit, VisitMut, Visitor, VisitorMut,
};

use super::emptiness::{has_empty_input, relation_name};
use super::{call, function_name, select_of, take};
use crate::postgres::pg_catalog::is_system_relation;
use crate::sql::names::fold;

/// The sort keys of an ORDER BY clause.
pub(super) fn order_keys(order: OrderBy) -> Option<Vec<OrderByExpr>> {
    match order.kind {
        OrderByKind::Expressions(keys) => Some(keys),
        OrderByKind::All(_) => None,
    }
}

/// The names that a FROM clause of system relations gives; `None` where others are in it.
fn inner_names(from: &[TableWithJoins]) -> Option<HashSet<String>> {
    fn factor(factor: &TableFactor, names: &mut HashSet<String>) -> Option<()> {
        match factor {
            TableFactor::Table { name, alias, args: None, .. } => {
                let (schema, name) = relation_name(name)?;
                if !is_system_relation(schema.as_deref(), &name) {
                    return None;
                }
                names.insert(alias.as_ref().map_or(name, |alias| fold(&alias.name)));
                Some(())
            }
            TableFactor::NestedJoin { table_with_joins, .. } => joined(table_with_joins, names),
            _ => None,
        }
    }
    fn joined(table: &TableWithJoins, names: &mut HashSet<String>) -> Option<()> {
        factor(&table.relation, names)?;
        table.joins.iter().try_for_each(|join| factor(&join.relation, names))
    }
    let mut names = HashSet::new();
    from.iter().try_for_each(|table| joined(table, &mut names))?;
    (!names.is_empty()).then_some(names)
}

/// What an expression refers to.
#[derive(Default)]
struct References<'a> {
    inner_names: Option<&'a HashSet<String>>,
    outer: bool,
    inner: bool,
}

impl Visitor for References<'_> {
    type Break = ();

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        match expr {
            Expr::CompoundIdentifier(parts) => {
                let known = self.inner_names.is_some_and(|names| {
                    parts.iter().rev().nth(1).is_some_and(|qualifier| names.contains(&fold(qualifier)))
                });
                if known {
                    self.inner = true;
                } else {
                    self.outer = true;
                }
            }
            // Without a qualifier it is most likely the subquery's own.
            Expr::Identifier(_) => self.inner = true,
            _ => {}
        }
        ControlFlow::Continue(())
    }
}

/// Whether the expression names the outer query's columns, and the inner one's.
fn references(expr: &Expr, names: &HashSet<String>) -> (bool, bool) {
    let mut found = References { inner_names: Some(names), ..References::default() };
    let _ = expr.visit(&mut found);
    (found.outer, found.inner)
}

fn conjuncts(expr: Expr, found: &mut Vec<Expr>) {
    match expr {
        Expr::BinaryOp { left, op: BinaryOperator::And, right } => {
            conjuncts(*left, found);
            conjuncts(*right, found);
        }
        Expr::Nested(inner) => match *inner {
            inner @ Expr::BinaryOp { op: BinaryOperator::And, .. } => conjuncts(inner, found),
            other => found.push(Expr::Nested(Box::new(other))),
        },
        other => found.push(other),
    }
}

fn all_of(conditions: Vec<Expr>) -> Option<Expr> {
    conditions.into_iter().reduce(|left, right| Expr::BinaryOp {
        left: Box::new(left),
        op: BinaryOperator::And,
        right: Box::new(right),
    })
}

/// Replaces columns by others.
struct Replace<'a>(&'a [(Expr, Expr)]);

impl VisitorMut for Replace<'_> {
    type Break = ();

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if let Some((_, inner)) = self.0.iter().find(|(outer, _)| outer == expr) {
            *expr = inner.clone();
        }
        ControlFlow::Continue(())
    }
}

/// An outer column and the inner one that it equals.
fn equality(condition: &Expr, names: &HashSet<String>) -> Option<(Expr, Expr)> {
    let Expr::BinaryOp { left, op: BinaryOperator::Eq, right } = condition else { return None };
    match (references(left, names), references(right, names)) {
        ((true, false), (false, true)) => Some((left.as_ref().clone(), right.as_ref().clone())),
        ((false, true), (true, false)) => Some((right.as_ref().clone(), left.as_ref().clone())),
        _ => None,
    }
}

fn is_aggregate(expr: &Expr) -> bool {
    const AGGREGATES: &[&str] = &[
        "array_agg",
        "avg",
        "bool_and",
        "bool_or",
        "count",
        "every",
        "first_value",
        "json_agg",
        "max",
        "min",
        "string_agg",
        "sum",
    ];
    match expr {
        Expr::Function(function) => {
            function_name(function).is_some_and(|name| AGGREGATES.contains(&name.as_str()))
        }
        Expr::Nested(inner) | Expr::Cast { expr: inner, .. } => is_aggregate(inner),
        _ => false,
    }
}

/// Rewrites a scalar subquery over system relations that is correlated.
pub(super) fn decorrelate(expr: &mut Expr) {
    let Expr::Subquery(query) = expr else { return };
    let Some(select) = select_of(query) else { return };
    if select.group_by != GroupByExpr::Expressions(Vec::new(), Vec::new()) || select.having.is_some() {
        return;
    }
    let [SelectItem::UnnamedExpr(value) | SelectItem::ExprWithAlias { expr: value, .. }] =
        &select.projection[..]
    else {
        return;
    };
    let Some(names) = inner_names(&select.from) else { return };
    let aggregate = is_aggregate(value);
    if has_empty_input(select) && !aggregate {
        *expr = Expr::value(Value::Null);
        return;
    }
    let value_is_outer = references(value, &names).0;
    let condition_is_outer =
        select.selection.as_ref().is_some_and(|condition| references(condition, &names).0);
    if !value_is_outer && !condition_is_outer {
        return;
    }
    let guard = rewrite_correlated(query, &names, aggregate);
    if let Some(guard) = guard {
        let result = take(expr);
        *expr = Expr::Case {
            case_token: AttachedToken::empty(),
            end_token: AttachedToken::empty(),
            operand: None,
            conditions: vec![CaseWhen { condition: guard, result }],
            else_result: None,
        };
    }
}

/// Gives the condition to be tested outside.
fn rewrite_correlated(query: &mut Query, names: &HashSet<String>, aggregate: bool) -> Option<Expr> {
    let ordering = if aggregate { None } else { query.order_by.take().and_then(order_keys) };
    if !aggregate {
        query.limit_clause = None;
    }
    let SetExpr::Select(select) = query.body.as_mut() else { return None };
    let mut found = Vec::new();
    if let Some(condition) = select.selection.take() {
        conjuncts(condition, &mut found);
    }
    let equalities: Vec<(Expr, Expr)> =
        found.iter().filter_map(|condition| equality(condition, names)).collect();
    let (mut guards, mut kept) = (Vec::new(), Vec::new());
    for mut condition in found {
        match references(&condition, names) {
            (true, false) if !aggregate => guards.push(condition),
            (true, true) if equality(&condition, names).is_none() => {
                let _ = VisitMut::visit(&mut condition, &mut Replace(&equalities));
                kept.push(condition);
            }
            _ => kept.push(condition),
        }
    }
    select.selection = all_of(kept);
    if let [SelectItem::UnnamedExpr(value) | SelectItem::ExprWithAlias { expr: value, .. }] =
        &mut select.projection[..]
    {
        let _ = VisitMut::visit(value, &mut Replace(&equalities));
        if !aggregate {
            let inner = take(value);
            *value = first_value(inner, ordering);
        }
    }
    all_of(guards)
}

fn first_value(value: Expr, ordering: Option<Vec<OrderByExpr>>) -> Expr {
    let mut first = call("first_value", vec![value]);
    if let Expr::Function(Function { args: FunctionArguments::List(list), .. }) = &mut first
        && let Some(keys) = ordering
    {
        list.clauses.push(datafusion::sql::sqlparser::ast::FunctionArgumentClause::OrderBy(keys));
    }
    first
}

/// EXISTS over system relations in a SELECT list, as a count.
pub(super) fn count_for_exists(select: &mut Select) {
    for item in &mut select.projection {
        if let SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } = item {
            exists_in(expr);
        }
    }
}

fn exists_in(expr: &mut Expr) {
    match expr {
        Expr::Exists { subquery, negated } => {
            let negated = *negated;
            if let Some(count) = count_of(subquery) {
                let zero = || Expr::value(Value::Number("0".into(), false));
                *expr = Expr::BinaryOp {
                    left: Box::new(call("coalesce", vec![count, zero()])),
                    op: if negated { BinaryOperator::Eq } else { BinaryOperator::Gt },
                    right: Box::new(zero()),
                };
            }
        }
        Expr::BinaryOp { left, right, .. } => {
            exists_in(left);
            exists_in(right);
        }
        Expr::UnaryOp { expr, .. } | Expr::Nested(expr) | Expr::Cast { expr, .. } => exists_in(expr),
        Expr::Case { conditions, else_result, .. } => {
            for when in conditions {
                exists_in(&mut when.condition);
                exists_in(&mut when.result);
            }
            if let Some(result) = else_result {
                exists_in(result);
            }
        }
        _ => {}
    }
}

fn count_of(query: &Query) -> Option<Expr> {
    let select = select_of(query)?;
    inner_names(&select.from)?;
    if select.group_by != GroupByExpr::Expressions(Vec::new(), Vec::new()) {
        return None;
    }
    let mut counted = query.clone();
    counted.order_by = None;
    counted.limit_clause = None;
    if let SetExpr::Select(select) = counted.body.as_mut() {
        let mut count = call("count", Vec::new());
        if let Expr::Function(Function { args: FunctionArguments::List(list), .. }) = &mut count {
            list.args.push(FunctionArg::Unnamed(FunctionArgExpr::Wildcard));
        }
        select.projection = vec![SelectItem::ExprWithAlias { expr: count, alias: Ident::new("count") }];
    }
    Some(Expr::Subquery(Box::new(counted)))
}
