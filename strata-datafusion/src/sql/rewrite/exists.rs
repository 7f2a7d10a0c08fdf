//! EXISTS in a SELECT list: `EXISTS (SELECT … FROM t)` as `(SELECT count(*) > 0 FROM t)`. IN is [`quantified`] there.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    BinaryOperator, Expr, FunctionArg, FunctionArgExpr, FunctionArguments, GroupByExpr, Query, Select,
    SelectFlavor, SelectItem, SetExpr, TableAlias, TableFactor, TableWithJoins, UnaryOperator, Value,
    VisitMut, VisitorMut, helpers::attached_token::AttachedToken,
};

use super::{call, quantified, quoted};
use crate::error::SqlResult;

/// Replaces each EXISTS and IN of an expression, but not those in its subqueries.
pub(super) fn count_instead(expr: &mut Expr, names: &mut quantified::Names) -> SqlResult<()> {
    let mut pass = Pass { depth: 0, names };
    match expr.visit(&mut pass) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(error) => Err(error),
    }
}

struct Pass<'a> {
    depth: usize,
    names: &'a mut quantified::Names,
}

impl VisitorMut for Pass<'_> {
    type Break = crate::error::SqlError;

    fn pre_visit_query(&mut self, _query: &mut Query) -> ControlFlow<Self::Break> {
        self.depth += 1;
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _query: &mut Query) -> ControlFlow<Self::Break> {
        self.depth -= 1;
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Self::Break> {
        if self.depth > 0 {
            return ControlFlow::Continue(());
        }
        if let Err(error) = quantified::rewrite(expr, self.names) {
            return ControlFlow::Break(error);
        }
        if let Expr::InSubquery { expr: left, subquery, negated } = expr {
            *expr = quantified::of_membership(left.as_ref().clone(), subquery, *negated, self.names);
        }
        if let Expr::Exists { subquery, negated } = expr {
            let negated = *negated;
            let mut query = subquery.clone();
            count_rows(&mut query);
            let found = Expr::Subquery(query);
            *expr = if negated {
                Expr::UnaryOp { op: UnaryOperator::Not, expr: Box::new(Expr::Nested(Box::new(found))) }
            } else {
                found
            };
        }
        ControlFlow::Continue(())
    }
}

/// `count(*)`.
pub(super) fn count_of_rows() -> Expr {
    let mut count = call("count", Vec::new());
    if let Expr::Function(function) = &mut count
        && let FunctionArguments::List(list) = &mut function.args
    {
        list.args.push(FunctionArg::Unnamed(FunctionArgExpr::Wildcard));
    }
    count
}

/// `count(*) > 0`.
pub(super) fn some_rows() -> Expr {
    let zero = Expr::value(Value::Number("0".to_owned(), false));
    Expr::BinaryOp { left: Box::new(count_of_rows()), op: BinaryOperator::Gt, right: Box::new(zero) }
}

fn counted() -> SelectItem {
    SelectItem::ExprWithAlias { expr: some_rows(), alias: quoted("exists") }
}

/// Whether a SELECT has no GROUP BY, HAVING or DISTINCT.
pub(super) fn is_ungrouped(select: &Select) -> bool {
    let grouped = match &select.group_by {
        GroupByExpr::Expressions(expressions, modifiers) => !expressions.is_empty() || !modifiers.is_empty(),
        GroupByExpr::All(_) => true,
    };
    !grouped && select.having.is_none() && select.distinct.is_none()
}

fn is_plain(select: &Select) -> bool {
    let aggregates = select.projection.iter().any(|item| match item {
        SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } => {
            !matches!(expr, Expr::Value(_) | Expr::Identifier(_) | Expr::CompoundIdentifier(_))
        }
        _ => false,
    });
    is_ungrouped(select) && !aggregates
}

fn count_rows(query: &mut Query) {
    if query.limit_clause.is_none()
        && query.fetch.is_none()
        && let SetExpr::Select(select) = query.body.as_mut()
        && is_plain(select)
    {
        query.order_by = None;
        select.projection = vec![counted()];
        return;
    }
    // Anything else is counted from outside.
    let mut outer = empty_select();
    let inner = query.clone();
    outer.projection = vec![counted()];
    outer.from = vec![TableWithJoins {
        relation: TableFactor::Derived {
            lateral: false,
            subquery: Box::new(inner),
            alias: Some(TableAlias { explicit: true, name: quoted("exists"), columns: Vec::new(), at: None }),
            sample: None,
        },
        joins: Vec::new(),
    }];
    query.with = None;
    query.order_by = None;
    query.limit_clause = None;
    query.fetch = None;
    *query.body = SetExpr::Select(Box::new(outer));
}

/// A SELECT with nothing in it.
pub(super) fn empty_select() -> Select {
    Select {
        select_token: AttachedToken::empty(),
        optimizer_hints: Vec::new(),
        distinct: None,
        select_modifiers: None,
        top: None,
        top_before_distinct: false,
        projection: Vec::new(),
        exclude: None,
        into: None,
        from: Vec::new(),
        lateral_views: Vec::new(),
        prewhere: None,
        selection: None,
        connect_by: Vec::new(),
        group_by: GroupByExpr::Expressions(Vec::new(), Vec::new()),
        cluster_by: Vec::new(),
        distribute_by: Vec::new(),
        sort_by: Vec::new(),
        having: None,
        named_window: Vec::new(),
        window_before_qualify: false,
        qualify: None,
        value_table_mode: None,
        flavor: SelectFlavor::Standard,
    }
}
