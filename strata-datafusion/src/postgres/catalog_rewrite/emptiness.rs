//! Queries of relations that are always empty.
//!
//! Their result is empty whatever it is computed of, so subqueries in it, which may have no plan, become NULL.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    Expr, Join, JoinOperator, ObjectName, Select, SelectItem, TableFactor, TableWithJoins, Value, Visit,
    Visitor,
};

use crate::postgres::pg_catalog::is_always_empty;
use crate::sql::names::fold;

/// The schema, if it is given, and the name of a relation.
pub(super) fn relation_name(name: &ObjectName) -> Option<(Option<String>, String)> {
    let part = |place: usize| name.0.get(place).and_then(|part| part.as_ident()).map(fold);
    match name.0.len() {
        1 => Some((None, part(0)?)),
        2 => Some((Some(part(0)?), part(1)?)),
        _ => None,
    }
}

fn is_empty_factor(factor: &TableFactor) -> bool {
    match factor {
        TableFactor::Table { name, args: None, .. } => {
            relation_name(name).is_some_and(|(schema, name)| is_always_empty(schema.as_deref(), &name))
        }
        TableFactor::NestedJoin { table_with_joins, .. } => is_empty_join(table_with_joins),
        _ => false,
    }
}

fn is_empty_join(joined: &TableWithJoins) -> bool {
    let mut empty = is_empty_factor(&joined.relation);
    for Join { relation, join_operator, .. } in &joined.joins {
        match join_operator {
            JoinOperator::Join(_) | JoinOperator::Inner(_) | JoinOperator::CrossJoin(_) => {
                empty = empty || is_empty_factor(relation);
            }
            JoinOperator::Left(_) | JoinOperator::LeftOuter(_) => {}
            // The other side may give rows.
            _ => return false,
        }
    }
    empty
}

/// Whether the FROM clause has no rows.
pub(super) fn has_empty_input(select: &Select) -> bool {
    select.from.iter().any(is_empty_join)
}

struct FindSubquery;

impl Visitor for FindSubquery {
    type Break = ();

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        match expr {
            Expr::Subquery(_) | Expr::Exists { .. } | Expr::InSubquery { .. } => ControlFlow::Break(()),
            Expr::Function(function) => match function.args {
                datafusion::sql::sqlparser::ast::FunctionArguments::Subquery(_) => ControlFlow::Break(()),
                _ => ControlFlow::Continue(()),
            },
            _ => ControlFlow::Continue(()),
        }
    }
}

fn has_subquery(expr: &Expr) -> bool {
    expr.visit(&mut FindSubquery).is_break()
}

/// Replaces what is not computed of an empty input.
pub(super) fn drop_unneeded(select: &mut Select) {
    if !has_empty_input(select) {
        return;
    }
    for item in &mut select.projection {
        if let SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } = item
            && has_subquery(expr)
        {
            *expr = Expr::value(Value::Null);
        }
    }
    if let Some(condition) = &mut select.selection
        && has_subquery(condition)
    {
        *condition = Expr::value(Value::Boolean(false));
    }
}
