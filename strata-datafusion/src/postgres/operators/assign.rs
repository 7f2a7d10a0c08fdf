//! The marks that the pass over a query leaves as operators: conditions, and values that are assigned to columns.

use datafusion::logical_expr::Expr;

use super::{Operand, boolean};
use crate::error::{SqlError, SqlResult};
use crate::postgres::cast::{assignable, cast_call};
use crate::postgres::types::{PgType, oid};

/// What the operator of an assignment starts with; behind it stand the type's OID and modifier, what is assigned, and
/// the column.
const ASSIGNMENT: &str = "assignment of ";

/// The operator that assigns to a column; `what` is what errors call the value.
pub(crate) fn assignment(pg_type: PgType, what: &str, column: &str) -> String {
    format!("{ASSIGNMENT}{},{},{what},{column}", pg_type.oid, pg_type.modifier)
}

/// The expression that a mark means.
pub(super) fn plan(mark: &str, value: Expr, side: Operand) -> Option<SqlResult<Expr>> {
    if let Some(what) = mark.strip_prefix(crate::sql::rewrite::CONDITION) {
        return Some(boolean(value, side, what));
    }
    let mut parts = mark.strip_prefix(ASSIGNMENT)?.splitn(4, ',');
    let oid = parts.next()?.parse().ok()?;
    let modifier = parts.next()?.parse().ok()?;
    let (what, column) = (parts.next()?, parts.next()?);
    Some(assign(value, side, PgType { oid, modifier }, what, column))
}

fn assign(value: Expr, side: Operand, to: PgType, what: &str, column: &str) -> SqlResult<Expr> {
    let text_for_document = |found: &PgType| shares_form_with_text(to) && is_text(*found);
    let known = side.known().filter(|found| !(text_for_document(found) && may_have_lost_its_type(&value)));
    check(known, to, what, column)?;
    // A parameter's type is the column's; anything else of an open type is read as one.
    let value = if side == Operand::Parameter { side.settle(value, to)? } else { value };
    Ok(cast_call(value, to))
}

/// A type whose values DataFusion takes for text.
fn shares_form_with_text(pg_type: PgType) -> bool {
    matches!(pg_type.element().unwrap_or(pg_type).oid, oid::JSON | oid::JSONB)
}

fn is_text(pg_type: PgType) -> bool {
    pg_type.element().unwrap_or(pg_type).oid == oid::TEXT
}

/// What DataFusion derives a type for by the Arrow types of its parts alone, so that json comes out as text, and the columns
/// of queries that such values come from. They are read as what they are assigned to, which refuses what is no document.
fn may_have_lost_its_type(value: &Expr) -> bool {
    match value {
        Expr::Alias(alias) => may_have_lost_its_type(&alias.expr),
        Expr::ScalarFunction(function) => {
            matches!(
                function.name(),
                "coalesce" | "nullif" | "greatest" | "least" | "array_agg" | "make_array"
            )
        }
        Expr::Column(_)
        | Expr::Case(_)
        | Expr::ScalarSubquery(_)
        | Expr::AggregateFunction(_)
        | Expr::WindowFunction(_) => true,
        _ => false,
    }
}

/// 42804 where a value of this type cannot be assigned to a column; `None` is a literal.
pub(crate) fn check(from: Option<PgType>, to: PgType, what: &str, column: &str) -> SqlResult<()> {
    let name = |pg_type: PgType| PgType { modifier: -1, ..pg_type }.sql_name();
    match from {
        Some(found) if !assignable(found, to) => Err(SqlError::new(
            "42804",
            format!("column \"{column}\" is of type {} but {what} is of type {}", name(to), name(found)),
        )
        .with_hint("You will need to rewrite or cast the expression.")),
        _ => Ok(()),
    }
}
