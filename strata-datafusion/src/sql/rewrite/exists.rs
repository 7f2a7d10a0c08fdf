//! EXISTS in a SELECT list: `EXISTS (SELECT … FROM t)` as `(SELECT count(*) > 0 FROM t)`.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    BinaryOperator, Expr, FunctionArg, FunctionArgExpr, FunctionArguments, GroupByExpr, Query, Select,
    SelectItem, SetExpr, TableAlias, TableFactor, TableWithJoins, UnaryOperator, Value, VisitMut, VisitorMut,
};

use super::{call, quoted};
use crate::error::SqlResult;

/// Replaces each EXISTS of an expression, but not those in its subqueries.
pub(super) fn count_instead(expr: &mut Expr) -> SqlResult<()> {
    let mut pass = Pass { depth: 0 };
    match expr.visit(&mut pass) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(error) => Err(error),
    }
}

struct Pass {
    depth: usize,
}

impl VisitorMut for Pass {
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
        if self.depth == 0
            && let Expr::Exists { subquery, negated } = expr
        {
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

/// `count(*) > 0`.
fn some_rows() -> SelectItem {
    let mut count = call("count", Vec::new());
    if let Expr::Function(function) = &mut count
        && let FunctionArguments::List(list) = &mut function.args
    {
        list.args.push(FunctionArg::Unnamed(FunctionArgExpr::Wildcard));
    }
    let zero = Expr::value(Value::Number("0".to_owned(), false));
    let found = Expr::BinaryOp { left: Box::new(count), op: BinaryOperator::Gt, right: Box::new(zero) };
    SelectItem::ExprWithAlias { expr: found, alias: quoted("exists") }
}

fn is_plain(select: &Select) -> bool {
    let grouped = match &select.group_by {
        GroupByExpr::Expressions(expressions, modifiers) => !expressions.is_empty() || !modifiers.is_empty(),
        GroupByExpr::All(_) => true,
    };
    let aggregates = select.projection.iter().any(|item| match item {
        SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } => {
            !matches!(expr, Expr::Value(_) | Expr::Identifier(_) | Expr::CompoundIdentifier(_))
        }
        _ => false,
    });
    !grouped && !aggregates && select.having.is_none() && select.distinct.is_none()
}

fn count_rows(query: &mut Query) {
    if query.limit_clause.is_none()
        && query.fetch.is_none()
        && let SetExpr::Select(select) = query.body.as_mut()
        && is_plain(select)
    {
        query.order_by = None;
        select.projection = vec![some_rows()];
        return;
    }
    // Anything else is counted from outside.
    let Some(mut outer) = empty_select() else { return };
    let inner = query.clone();
    outer.projection = vec![some_rows()];
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
fn empty_select() -> Option<Select> {
    let statement = crate::sql::parse::parse("SELECT 1").ok()?;
    match statement.first()?.ast() {
        datafusion::sql::sqlparser::ast::Statement::Query(query) => match query.body.as_ref() {
            SetExpr::Select(select) => Some(select.as_ref().clone()),
            _ => None,
        },
        _ => None,
    }
}
