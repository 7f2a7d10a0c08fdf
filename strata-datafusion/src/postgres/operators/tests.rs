use datafusion::common::ScalarValue;
use datafusion::logical_expr::{ExprSchemable, lit};

use super::*;

fn plan(left: Expr, op: BinaryOperator, right: Expr) -> Result<Expr> {
    let planner = OperatorPlanner { config: Arc::new(ConfigOptions::default()) };
    let raw = RawBinaryExpr { op, left, right };
    match planner.plan_binary_op(raw, &DFSchema::empty())? {
        PlannerResult::Planned(expr) => Ok(expr),
        PlannerResult::Original(raw) => Ok(binary(raw.left, Operator::Eq, raw.right)),
    }
}

fn typed(text: &str, oid: u32) -> Expr {
    cast_call(lit(text), PgType::new(oid))
}

fn result_type(expr: &Expr) -> PgType {
    PgType::of_field(expr.to_field(&DFSchema::empty()).unwrap().1.as_ref())
}

fn sqlstate(result: Result<Expr>) -> &'static str {
    SqlError::from(result.unwrap_err()).sqlstate
}

#[test]
fn whole_number_literals_are_int4() {
    let sum = plan(lit(1i64), BinaryOperator::Plus, lit(2i64)).unwrap();
    assert_eq!(result_type(&sum).oid, oid::INT4);
    let large = plan(lit(1i64), BinaryOperator::Plus, lit(3_000_000_000i64)).unwrap();
    assert_eq!(result_type(&large).oid, oid::INT8);
}

#[test]
fn types_that_do_not_meet_are_refused() {
    let error = plan(typed("a", oid::TEXT), BinaryOperator::Eq, lit(1i64)).unwrap_err();
    assert_eq!(SqlError::from(error).message, "operator does not exist: text = integer");
    assert_eq!(sqlstate(plan(typed("2024-01-01", oid::DATE), BinaryOperator::Lt, lit(1i64))), "42883");
    assert_eq!(sqlstate(plan(lit(1i64), BinaryOperator::And, lit(true))), "42804");
    assert_eq!(sqlstate(plan(lit("a"), BinaryOperator::Plus, lit("b"))), "42725");
}

#[test]
fn literals_take_the_type_of_the_other_side() {
    let compared = plan(typed("2024-01-01", oid::DATE), BinaryOperator::Lt, lit("2024-02-01")).unwrap();
    let Expr::BinaryExpr(BinaryExpr { right, .. }) = compared else { unreachable!() };
    assert_eq!(result_type(&right).oid, oid::DATE);
    let moved = plan(typed("2024-01-01", oid::TIMESTAMPTZ), BinaryOperator::Plus, lit("1 day")).unwrap();
    assert_eq!(result_type(&moved).oid, oid::TIMESTAMPTZ);
}

#[test]
fn a_date_is_compared_with_a_constant_timestamp_as_a_date() {
    let column = typed("2024-01-01", oid::DATE);
    let bound =
        plan(typed("1998-12-01", oid::DATE), BinaryOperator::Minus, typed("90 days", oid::INTERVAL)).unwrap();
    assert_eq!(result_type(&bound).oid, oid::TIMESTAMP);
    let compared = plan(column, BinaryOperator::LtEq, bound).unwrap();
    let Expr::BinaryExpr(BinaryExpr { right, .. }) = compared else { unreachable!() };
    assert_eq!(*right, lit(ScalarValue::Date32(Some(10_471))));
}

#[test]
fn dates_subtract_to_days() {
    let days =
        plan(typed("2024-03-01", oid::DATE), BinaryOperator::Minus, typed("2024-02-01", oid::DATE)).unwrap();
    assert_eq!(result_type(&days).oid, oid::INT4);
}
