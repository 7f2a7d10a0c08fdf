//! `avg`, exact for exact numbers.
//!
//! `avg(x)` is planned as the quotient of `sum(x)` and `count(x)`: a query that also asks for one of them computes it
//! once.

use std::sync::{Arc, LazyLock};

use datafusion::arrow::array::{Array, ArrayRef, AsArray, Float64Array};
use datafusion::arrow::compute::cast as arrow_cast;
use datafusion::arrow::datatypes::{DataType, Float64Type, Int64Type, IntervalMonthDayNanoType};
use datafusion::common::Result;
use datafusion::functions_aggregate::count::count_udaf;
use datafusion::logical_expr::expr::{AggregateFunction, WindowFunction};
use datafusion::logical_expr::planner::{ExprPlanner, PlannerResult, RawAggregateExpr, RawWindowExpr};
use datafusion::logical_expr::{
    AggregateUDF, ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
    WindowFunctionDefinition,
};

use super::sum;
use crate::error::SqlError;
use crate::postgres::cast::target_arrow;
use crate::postgres::operators::{
    CalendarFunction, CalendarOperator, QUOTIENT_SCALE, divide_decimals, like_arguments,
};
use crate::postgres::types::{PgType, oid};

/// `sum / count`, NULL where nothing was counted.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Mean {
    signature: Signature,
}

static MEAN: LazyLock<Arc<ScalarUDF>> = LazyLock::new(|| {
    let signature = Signature::any(2, Volatility::Immutable);
    Arc::new(ScalarUDF::new_from_impl(Mean { signature }))
});

/// The digits after the point that the mean of exact numbers has.
const MEAN_SCALE: i8 = QUOTIENT_SCALE;

impl Mean {
    fn of(&self, sums: &ArrayRef, counts: &ArrayRef, target: &DataType) -> Result<ArrayRef> {
        let counts = arrow_cast(counts, &DataType::Int64)?;
        let counts = counts.as_primitive::<Int64Type>();
        if let DataType::Decimal128(..) = target {
            // Where nothing was counted the sum is NULL, and so is the quotient.
            let divisors = counts.unary_opt::<_, datafusion::arrow::datatypes::Decimal128Type>(|count| {
                (count != 0).then(|| i128::from(count))
            });
            let divisors = divisors.with_data_type(DataType::Decimal128(19, 0));
            let exact = target_arrow(sums.data_type(), PgType::new(oid::NUMERIC))?;
            let sums = arrow_cast(sums, &exact)?;
            return divide_decimals(&sums, &(Arc::new(divisors) as ArrayRef), target);
        }
        let sums = arrow_cast(sums, &DataType::Float64)?;
        let means: Float64Array = sums
            .as_primitive::<Float64Type>()
            .iter()
            .zip(counts.iter())
            .map(|pair| match pair {
                #[allow(clippy::cast_precision_loss)]
                (Some(sum), Some(count)) if count != 0 => Some(sum / count as f64),
                _ => None,
            })
            .collect();
        Ok(Arc::new(means))
    }
}

impl ScalarUDFImpl for Mean {
    fn name(&self) -> &str {
        "mean"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arg_types: &[DataType]) -> Result<DataType> {
        Ok(match arg_types.first() {
            Some(DataType::Decimal128(_, scale)) => DataType::Decimal128(38, (*scale).max(MEAN_SCALE)),
            Some(DataType::Int64) => DataType::Decimal128(38, MEAN_SCALE),
            Some(interval @ DataType::Interval(_)) => interval.clone(),
            _ => DataType::Float64,
        })
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let arrays = ColumnarValue::values_to_arrays(&args.args)?;
        let [sums, counts] = &arrays[..] else {
            return Err(SqlError::internal("a mean needs a sum and a count").into());
        };
        if sums
            .data_type()
            .equals_datatype(&DataType::Interval(datafusion::arrow::datatypes::IntervalUnit::MonthDayNano))
        {
            debug_assert!(sums.as_primitive_opt::<IntervalMonthDayNanoType>().is_some());
            let counts = arrow_cast(counts, &DataType::Float64)?;
            let mean =
                CalendarFunction::apply(CalendarOperator::IntervalOverNumber, &[Arc::clone(sums), counts])?;
            return like_arguments(&args.args, mean);
        }
        let means = self.of(sums, counts, args.return_field.data_type())?;
        like_arguments(&args.args, means)
    }
}

/// Plans `avg`.
#[derive(Debug)]
pub(crate) struct AggregatePlanner;

impl ExprPlanner for AggregatePlanner {
    fn plan_aggregate(&self, expr: RawAggregateExpr) -> Result<PlannerResult<RawAggregateExpr>> {
        if expr.func.name() != "avg" {
            return Ok(PlannerResult::Original(expr));
        }
        let RawAggregateExpr { args, distinct, filter, order_by, null_treatment, .. } = expr;
        let one = |function: Arc<AggregateUDF>| {
            Expr::AggregateFunction(AggregateFunction::new_udf(
                function,
                args.clone(),
                distinct,
                filter.clone(),
                order_by.clone(),
                null_treatment,
            ))
        };
        Ok(PlannerResult::Planned(MEAN.call(vec![one(sum()), one(count_udaf())])))
    }

    fn plan_window(&self, expr: RawWindowExpr) -> Result<PlannerResult<RawWindowExpr>> {
        let is_avg = matches!(&expr.func_def, WindowFunctionDefinition::AggregateUDF(function) if function.name() == "avg");
        if !is_avg {
            return Ok(PlannerResult::Original(expr));
        }
        let one = |function: Arc<AggregateUDF>| {
            let mut window =
                WindowFunction::new(WindowFunctionDefinition::AggregateUDF(function), expr.args.clone());
            window.params.partition_by = expr.partition_by.clone();
            window.params.order_by = expr.order_by.clone();
            window.params.window_frame = expr.window_frame.clone();
            window.params.filter = expr.filter.clone();
            window.params.null_treatment = expr.null_treatment;
            window.params.distinct = expr.distinct;
            Expr::WindowFunction(Box::new(window))
        };
        Ok(PlannerResult::Planned(MEAN.call(vec![one(sum()), one(count_udaf())])))
    }
}

#[cfg(test)]
mod tests {
    use datafusion::common::ScalarValue;

    use super::*;

    fn mean_of(sum: ScalarValue, count: i64) -> ScalarValue {
        let mean = Mean { signature: Signature::any(2, Volatility::Immutable) };
        let sums = sum.to_array().unwrap();
        let target = mean.return_type(&[sums.data_type().clone()]).unwrap();
        let counts = ScalarValue::Int64(Some(count)).to_array().unwrap();
        ScalarValue::try_from_array(&mean.of(&sums, &counts, &target).unwrap(), 0).unwrap()
    }

    #[test]
    fn means_of_exact_numbers_are_exact() {
        assert_eq!(
            mean_of(ScalarValue::Int64(Some(10)), 3),
            ScalarValue::Decimal128(Some(33_333_333_333_333_333), 38, 16)
        );
        assert_eq!(
            mean_of(ScalarValue::Decimal128(Some(150), 25, 2), 4),
            ScalarValue::Decimal128(Some(3_750_000_000_000_000), 38, 16)
        );
        assert_eq!(mean_of(ScalarValue::Float64(Some(1.0)), 4), ScalarValue::Float64(Some(0.25)));
    }

    #[test]
    fn nothing_counted_is_null() {
        assert_eq!(mean_of(ScalarValue::Int64(None), 0), ScalarValue::Decimal128(None, 38, 16));
    }
}
