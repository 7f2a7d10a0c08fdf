//! Binary operators: which one an expression means, and what its operands become.
//!
//! DataFusion asks here before it builds a binary expression. Literals in quotes and untyped parameters take the type of
//! the other side; where no operator fits, the error is Postgres' 42883 and not a silent coercion. Arithmetic that may
//! overflow, divide by zero or touch the calendar becomes a call of our functions.

mod assign;
mod calendar;
mod compare;
mod json;
mod number;
mod operand;
mod quantified;

use std::sync::Arc;

use datafusion::common::{DFSchema, Result};
use datafusion::config::ConfigOptions;
use datafusion::logical_expr::planner::{ExprPlanner, PlannerResult, RawBinaryExpr};
use datafusion::logical_expr::{BinaryExpr, Expr, Operator};
use datafusion::sql::sqlparser::ast::BinaryOperator;

pub(crate) use assign::{assignment, check as check_assignment};
pub(crate) use calendar::{CalendarFunction, CalendarOperator};
pub(crate) use number::{Arithmetic, QUOTIENT_SCALE, checked, divide_decimals, like_arguments};
pub(crate) use operand::{Operand, narrow};

use super::cast::cast_call;
use super::types::{PgType, oid};
use crate::error::{SqlError, SqlResult};

/// Plans binary operators.
#[derive(Debug)]
pub(crate) struct OperatorPlanner {
    /// The statement's configuration: what constants mean depends on its zone.
    pub(crate) config: Arc<ConfigOptions>,
}

/// `operator does not exist: integer = text`.
pub(crate) fn no_operator(left: PgType, symbol: &str, right: PgType) -> SqlError {
    let name = |pg_type: PgType| PgType { modifier: -1, ..pg_type }.sql_name();
    SqlError::new("42883", format!("operator does not exist: {} {symbol} {}", name(left), name(right))).with_hint(
        "No operator matches the given name and argument types. You might need to add explicit type casts.",
    )
}

fn binary(left: Expr, op: Operator, right: Expr) -> Expr {
    Expr::BinaryExpr(BinaryExpr::new(Box::new(left), op, Box::new(right)))
}

impl ExprPlanner for OperatorPlanner {
    fn plan_binary_op(&self, expr: RawBinaryExpr, schema: &DFSchema) -> Result<PlannerResult<RawBinaryExpr>> {
        let RawBinaryExpr { op, left, right } = expr;
        let (left, right) = (narrow(left), narrow(right));
        let sides = (Operand::of(&left, schema)?, Operand::of(&right, schema)?);
        let symbol = op.to_string();
        let planned = match &op {
            BinaryOperator::And | BinaryOperator::Or => {
                let operator = if op == BinaryOperator::And { Operator::And } else { Operator::Or };
                Some(binary(boolean(left, sides.0, &symbol)?, operator, boolean(right, sides.1, &symbol)?))
            }
            BinaryOperator::Eq
            | BinaryOperator::NotEq
            | BinaryOperator::Lt
            | BinaryOperator::LtEq
            | BinaryOperator::Gt
            | BinaryOperator::GtEq => {
                let (left, right) = self.compare(left, right, &op, sides, schema)?;
                return Ok(PlannerResult::Planned(binary(left, comparison(&op), right)));
            }
            BinaryOperator::Plus
            | BinaryOperator::Minus
            | BinaryOperator::Multiply
            | BinaryOperator::Divide
            | BinaryOperator::Modulo => Some(arithmetic(left, right, &op, sides)?),
            BinaryOperator::PGExp => Some(power(left, right, sides, &symbol)?),
            BinaryOperator::StringConcat => match concat(left, right, sides)? {
                Ok(planned) => Some(planned),
                Err((left, right)) => {
                    return Ok(PlannerResult::Original(RawBinaryExpr { op, left, right }));
                }
            },
            BinaryOperator::BitwiseAnd
            | BinaryOperator::BitwiseOr
            | BinaryOperator::PGBitwiseXor
            | BinaryOperator::PGBitwiseShiftLeft
            | BinaryOperator::PGBitwiseShiftRight => Some(bitwise(left, right, &op, sides)?),
            BinaryOperator::Arrow | BinaryOperator::LongArrow => {
                Some(json::get(left, right, op == BinaryOperator::LongArrow, sides)?)
            }
            BinaryOperator::Custom(mark) => {
                let marked = assign::plan(mark, left.clone(), sides.0);
                Some(marked.unwrap_or_else(|| quantified::plan(mark, (left, right), sides, schema))?)
            }
            BinaryOperator::Xor | BinaryOperator::BitwiseXor | BinaryOperator::Spaceship => {
                return Err(no_operator(sides.0.shown(), &symbol, sides.1.shown()).into());
            }
            _ => {
                let text = PgType::new(oid::TEXT);
                let (left, right) = (sides.0.settle(left, text)?, sides.1.settle(right, text)?);
                return Ok(PlannerResult::Original(RawBinaryExpr { op, left, right }));
            }
        };
        match planned {
            Some(expr) => Ok(PlannerResult::Planned(expr)),
            None => Err(SqlError::internal("an operator was planned to nothing").into()),
        }
    }

    fn plan_substring(&self, args: Vec<Expr>) -> Result<PlannerResult<Vec<Expr>>> {
        Ok(PlannerResult::Planned(crate::postgres::functions::substr().call(args)))
    }
}

fn comparison(op: &BinaryOperator) -> Operator {
    match op {
        BinaryOperator::Eq => Operator::Eq,
        BinaryOperator::NotEq => Operator::NotEq,
        BinaryOperator::Lt => Operator::Lt,
        BinaryOperator::LtEq => Operator::LtEq,
        BinaryOperator::Gt => Operator::Gt,
        _ => Operator::GtEq,
    }
}

/// An operand of AND or OR.
fn boolean(expr: Expr, side: Operand, symbol: &str) -> SqlResult<Expr> {
    match side {
        Operand::Typed(found) if found.oid != oid::BOOL => Err(SqlError::new(
            "42804",
            format!("argument of {symbol} must be type boolean, not type {}", found.sql_name()),
        )),
        side => side.settle(expr, PgType::new(oid::BOOL)),
    }
}

/// `+`, `-`, `*`, `/` and `%`.
fn arithmetic(left: Expr, right: Expr, op: &BinaryOperator, sides: (Operand, Operand)) -> SqlResult<Expr> {
    let symbol = op.to_string();
    let (left_type, right_type) = match (sides.0.known(), sides.1.known()) {
        (Some(left), Some(right)) => (left, right),
        // A literal or parameter takes the other side's type; beside a time it is mostly an interval.
        (Some(known), None) => (known, calendar::partner(known, op)),
        (None, Some(known)) => (calendar::partner(known, op), known),
        (None, None) => {
            return Err(SqlError::new("42725", format!("operator is not unique: unknown {symbol} unknown"))
                .with_hint(
                    "Could not choose a best candidate operator. You might need to add explicit type casts.",
                ));
        }
    };
    let left = sides.0.settle(left, left_type)?;
    let right = sides.1.settle(right, right_type)?;
    if let Some(planned) = calendar::plan(&left, left_type, op, &right, right_type)? {
        return Ok(planned);
    }
    number::plan(left, left_type, op, right, right_type)
        .unwrap_or_else(|| Err(no_operator(left_type, &symbol, right_type)))
}

fn power(left: Expr, right: Expr, sides: (Operand, Operand), symbol: &str) -> SqlResult<Expr> {
    let float = PgType::new(oid::FLOAT8);
    let side = |expr: Expr, side: Operand| match side {
        Operand::Typed(found) if found.category() != 'N' => {
            Err(no_operator(sides.0.shown(), symbol, sides.1.shown()))
        }
        Operand::Typed(found) if found.oid == oid::FLOAT8 => Ok(expr),
        Operand::Typed(_) => Ok(cast_call(expr, float)),
        other => other.settle(expr, float),
    };
    let (left, right) = (side(left, sides.0)?, side(right, sides.1)?);
    Ok(datafusion::functions::math::expr_fn::power(left, right))
}

/// `||` of text; arrays are DataFusion's: they come back as they were.
fn concat(
    left: Expr,
    right: Expr,
    sides: (Operand, Operand),
) -> SqlResult<std::result::Result<Expr, (Expr, Expr)>> {
    let text = PgType::new(oid::TEXT);
    let is = |side: Operand, category: char| side.known().is_some_and(|found| found.category() == category);
    if is(sides.0, 'A') || is(sides.1, 'A') {
        // A literal beside an array is read as an array of that type, an element as it is.
        let left = match (sides.0, sides.1.known()) {
            (side @ Operand::Literal, Some(array)) => side.settle(left, array)?,
            _ => left,
        };
        let right = match (sides.1, sides.0.known()) {
            (side @ Operand::Literal, Some(array)) => side.settle(right, array)?,
            _ => right,
        };
        return Ok(Err((left, right)));
    }
    let bytes = |side: Operand| side.known().is_some_and(|found| found.oid == oid::BYTEA);
    if bytes(sides.0) || bytes(sides.1) {
        let bytea = PgType::new(oid::BYTEA);
        let (left, right) = (sides.0.settle(left, bytea)?, sides.1.settle(right, bytea)?);
        return Ok(Ok(binary(left, Operator::StringConcat, right)));
    }
    let json = |side: Operand| side.known().is_some_and(|found| found.oid == oid::JSONB);
    if json(sides.0) && json(sides.1)
        || (!is(sides.0, 'S') && !is(sides.1, 'S') && sides.0.known().is_some() && sides.1.known().is_some())
    {
        return Err(no_operator(sides.0.shown(), "||", sides.1.shown()));
    }
    let side = |expr: Expr, side: Operand| match side {
        Operand::Typed(found) if found.category() == 'S' => Ok(expr),
        Operand::Typed(_) => Ok(cast_call(expr, text)),
        other => other.settle(expr, text),
    };
    Ok(Ok(binary(side(left, sides.0)?, Operator::StringConcat, side(right, sides.1)?)))
}

fn bitwise(left: Expr, right: Expr, op: &BinaryOperator, sides: (Operand, Operand)) -> SqlResult<Expr> {
    let operator = match op {
        BinaryOperator::BitwiseAnd => Operator::BitwiseAnd,
        BinaryOperator::BitwiseOr => Operator::BitwiseOr,
        BinaryOperator::PGBitwiseXor => Operator::BitwiseXor,
        BinaryOperator::PGBitwiseShiftLeft => Operator::BitwiseShiftLeft,
        _ => Operator::BitwiseShiftRight,
    };
    let integer = |found: PgType| matches!(found.oid, oid::INT2 | oid::INT4 | oid::INT8);
    let known = [sides.0.known(), sides.1.known()];
    if !known.iter().flatten().all(|found| integer(*found)) {
        return Err(no_operator(sides.0.shown(), &op.to_string(), sides.1.shown()));
    }
    let shift = matches!(operator, Operator::BitwiseShiftLeft | Operator::BitwiseShiftRight);
    let widest = if shift { sides.0.known() } else { number::widest_integer(known) };
    let common = widest.unwrap_or(PgType::new(oid::INT4));
    let side = |expr: Expr, side: Operand| match side {
        Operand::Typed(found) if found.oid == common.oid => Ok(expr),
        Operand::Typed(_) => Ok(cast_call(expr, common)),
        other => other.settle(expr, common),
    };
    Ok(binary(side(left, sides.0)?, operator, side(right, sides.1)?))
}

#[cfg(test)]
mod tests;
