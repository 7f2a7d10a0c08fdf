//! Conditions, marked by an operator that takes booleans only: DataFusion takes numbers for conditions, too.

use datafusion::sql::sqlparser::ast::{BinaryOperator, Expr, Select, UnaryOperator, Value};

/// What the operator of a mark starts with; behind it stands what the condition is an argument of.
pub(crate) const CONDITION: &str = "condition of ";

/// Marks WHERE and HAVING.
pub(super) fn mark_select(select: &mut Select) {
    if let Some(condition) = &mut select.selection {
        mark_as(condition, "WHERE");
    }
    if let Some(condition) = &mut select.having {
        mark_as(condition, "HAVING");
    }
}

/// Marks the conditions that are parts of an expression.
pub(super) fn mark(expr: &mut Expr) {
    match expr {
        Expr::Case { operand: None, conditions, .. } => {
            conditions.iter_mut().for_each(|when| mark_as(&mut when.condition, "CASE/WHEN"));
        }
        Expr::UnaryOp { op: UnaryOperator::Not, expr } => mark_as(expr, "NOT"),
        Expr::Function(function) => {
            if let Some(condition) = &mut function.filter {
                mark_as(condition, "FILTER");
            }
        }
        _ => {}
    }
}

fn mark_as(condition: &mut Expr, what: &str) {
    if is_boolean(condition) {
        return;
    }
    let inner = std::mem::replace(condition, Expr::value(Value::Null));
    *condition = Expr::BinaryOp {
        left: Box::new(inner),
        op: BinaryOperator::Custom(format!("{CONDITION}{what}")),
        right: Box::new(Expr::value(Value::Null)),
    };
}

/// Whether an expression is a boolean by its shape.
fn is_boolean(expr: &Expr) -> bool {
    match expr {
        Expr::Nested(inner) => is_boolean(inner),
        Expr::BinaryOp { op, .. } => matches!(
            op,
            BinaryOperator::And
                | BinaryOperator::Or
                | BinaryOperator::Eq
                | BinaryOperator::NotEq
                | BinaryOperator::Lt
                | BinaryOperator::LtEq
                | BinaryOperator::Gt
                | BinaryOperator::GtEq
        ),
        Expr::UnaryOp { op, .. } => matches!(op, UnaryOperator::Not),
        Expr::IsNull(_)
        | Expr::IsNotNull(_)
        | Expr::IsTrue(_)
        | Expr::IsNotTrue(_)
        | Expr::IsFalse(_)
        | Expr::IsNotFalse(_)
        | Expr::IsUnknown(_)
        | Expr::IsNotUnknown(_)
        | Expr::IsDistinctFrom(..)
        | Expr::IsNotDistinctFrom(..)
        | Expr::InList { .. }
        | Expr::InSubquery { .. }
        | Expr::Between { .. }
        | Expr::Like { .. }
        | Expr::ILike { .. }
        | Expr::SimilarTo { .. }
        | Expr::RLike { .. }
        | Expr::Exists { .. }
        | Expr::AnyOp { .. }
        | Expr::AllOp { .. } => true,
        _ => false,
    }
}
