//! Comparisons: which types may meet, and as what they meet.

use std::sync::{Arc, LazyLock};

use datafusion::arrow::array::{ArrayRef, AsArray, Decimal128Array};
use datafusion::arrow::datatypes::{DataType, IntervalMonthDayNano, IntervalMonthDayNanoType, IntervalUnit};
use datafusion::common::{DFSchema, Result, ScalarValue};
use datafusion::logical_expr::simplify::SimplifyContext;
use datafusion::logical_expr::{
    ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility, lit,
};
use datafusion::optimizer::simplify_expressions::ExprSimplifier;
use datafusion::sql::sqlparser::ast::BinaryOperator;

use super::{Operand, OperatorPlanner, no_operator};
use crate::error::{SqlError, SqlResult};
use crate::postgres::cast::{cast_call, is_reference};
use crate::postgres::format::datetime::DAY;
use crate::postgres::types::{PgType, oid};

/// The type that two types are compared as, or that rows of both have; `None` if they do not meet.
pub(crate) fn comparable(left: PgType, right: PgType) -> Option<PgType> {
    if left.oid == right.oid {
        return (left.oid != oid::JSON).then_some(left);
    }
    if let (Some(left), Some(right)) = (left.element(), right.element()) {
        return (left.category() == right.category()).then(|| comparable(left, right)?.array()).flatten();
    }
    let either = |wanted: u32| left.oid == wanted || right.oid == wanted;
    let of = |oid: u32| Some(PgType::new(oid));
    match (left.category(), right.category()) {
        ('N', 'N') if is_reference(left.oid) || is_reference(right.oid) => of(oid::INT8),
        // A single beside an exact number becomes a double.
        ('N', 'N') if either(oid::FLOAT8) || either(oid::FLOAT4) => of(oid::FLOAT8),
        ('N', 'N') if either(oid::NUMERIC) => of(oid::NUMERIC),
        ('N', 'N') if either(oid::INT8) => of(oid::INT8),
        ('N', 'N') => of(oid::INT4),
        ('S' | 'Z' | 'X', 'S' | 'Z' | 'X') => of(oid::TEXT),
        ('D', 'D') if either(oid::TIME) => None,
        ('D', 'D') if either(oid::TIMESTAMPTZ) => of(oid::TIMESTAMPTZ),
        ('D', 'D') => of(oid::TIMESTAMP),
        _ => None,
    }
}

/// The expression as it meets others of type `common`: DataFusion widens whole and exact numbers by itself.
pub(super) fn unify(expr: Expr, found: PgType, common: PgType) -> Expr {
    let item = |pg_type: PgType| pg_type.element().unwrap_or(pg_type);
    let left_alone = matches!(item(common).oid, oid::NUMERIC | oid::INT4 | oid::INT8 | oid::TEXT)
        && !is_reference(item(found).oid);
    if found.oid == common.oid || left_alone && item(found).category() != 'U' {
        return expr;
    }
    cast_call(expr, PgType { modifier: -1, ..common })
}

impl OperatorPlanner {
    /// The two sides of a comparison.
    pub(crate) fn compare(
        &self,
        left: Expr,
        right: Expr,
        op: &BinaryOperator,
        sides: (Operand, Operand),
        _schema: &DFSchema,
    ) -> SqlResult<(Expr, Expr)> {
        let text = PgType::new(oid::TEXT);
        let (left_type, right_type) = match (sides.0.known(), sides.1.known()) {
            (Some(left), Some(right)) => (left, right),
            (Some(known), None) | (None, Some(known)) => (known, known),
            (None, None) => (text, text),
        };
        let common = comparable(left_type, right_type)
            .ok_or_else(|| no_operator(sides.0.shown(), &op.to_string(), sides.1.shown()))?;
        let left = sides.0.settle(left, left_type)?;
        let right = sides.1.settle(right, right_type)?;
        if common.oid == oid::INTERVAL {
            return Ok((interval_key(left), interval_key(right)));
        }
        if left_type.oid == oid::DATE && right_type.oid == oid::TIMESTAMP {
            if let Some(day) = self.as_day(&right, op) {
                return Ok((left, day));
            }
        } else if left_type.oid == oid::TIMESTAMP
            && right_type.oid == oid::DATE
            && let Some(day) = self.as_day(&left, &mirrored(op))
        {
            return Ok((day, right));
        }
        Ok((unify(left, left_type, common), unify(right, right_type, common)))
    }

    /// A constant timestamp as the date that says the same of a date: `d < 2024-01-01 12:00` is `d < 2024-01-02`. So the
    /// column itself is compared, and not a cast of it that no index or zone map sees through.
    fn as_day(&self, timestamp: &Expr, op: &BinaryOperator) -> Option<Expr> {
        let constant = timestamp.column_refs().is_empty() && !timestamp.any_column_refs();
        if !constant || timestamp.contains_outer() || has_parameter(timestamp) {
            return None;
        }
        let context = SimplifyContext::builder().with_config_options(Arc::clone(&self.config)).build();
        let folded = ExprSimplifier::new(context).simplify(timestamp.clone()).ok()?;
        let Expr::Literal(ScalarValue::TimestampMicrosecond(Some(micros), None), _) = folded else {
            return None;
        };
        if micros == i64::MAX || micros == i64::MIN {
            return None;
        }
        let floor = micros.div_euclid(DAY);
        let ceiling = floor + i64::from(micros.rem_euclid(DAY) != 0);
        let day = match op {
            BinaryOperator::Lt | BinaryOperator::GtEq => ceiling,
            BinaryOperator::LtEq | BinaryOperator::Gt => floor,
            _ if floor == ceiling => floor,
            _ => return None,
        };
        Some(lit(ScalarValue::Date32(Some(i32::try_from(day).ok()?))))
    }
}

fn has_parameter(expr: &Expr) -> bool {
    use datafusion::common::tree_node::TreeNode;
    expr.exists(|expr| Ok(matches!(expr, Expr::Placeholder(_) | Expr::ScalarSubquery(_)))).unwrap_or(true)
}

fn mirrored(op: &BinaryOperator) -> BinaryOperator {
    match op {
        BinaryOperator::Lt => BinaryOperator::Gt,
        BinaryOperator::LtEq => BinaryOperator::GtEq,
        BinaryOperator::Gt => BinaryOperator::Lt,
        BinaryOperator::GtEq => BinaryOperator::LtEq,
        other => other.clone(),
    }
}

/// The length of an interval in nanoseconds, with months of thirty days: by this intervals are ordered.
#[derive(Debug, PartialEq, Eq, Hash)]
struct IntervalKey {
    signature: Signature,
}

static KEY: LazyLock<Arc<ScalarUDF>> = LazyLock::new(|| {
    let signature =
        Signature::exact(vec![DataType::Interval(IntervalUnit::MonthDayNano)], Volatility::Immutable);
    Arc::new(ScalarUDF::new_from_impl(IntervalKey { signature }))
});

fn interval_key(interval: Expr) -> Expr {
    KEY.call(vec![interval])
}

/// Nanoseconds, a month counted as thirty days.
pub(crate) fn interval_length(interval: IntervalMonthDayNano) -> i128 {
    let days = i128::from(interval.months) * 30 + i128::from(interval.days);
    days * i128::from(DAY) * 1_000 + i128::from(interval.nanoseconds)
}

impl ScalarUDFImpl for IntervalKey {
    fn name(&self) -> &str {
        "interval_length"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arg_types: &[DataType]) -> Result<DataType> {
        Ok(DataType::Decimal128(38, 0))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [array] = &ColumnarValue::values_to_arrays(&args.args)?[..] else {
            return Err(SqlError::internal("an interval is missing").into());
        };
        let lengths: Decimal128Array = array
            .as_primitive::<IntervalMonthDayNanoType>()
            .iter()
            .map(|interval| interval.map(interval_length))
            .collect();
        let lengths = lengths.with_data_type(DataType::Decimal128(38, 0));
        let array: ArrayRef = Arc::new(lengths);
        super::number::like_arguments(&args.args, array)
    }
}
