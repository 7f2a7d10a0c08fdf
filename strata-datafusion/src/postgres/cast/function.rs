//! The function `"::"(value, oid, modifier)`.

use std::sync::{Arc, LazyLock};

use datafusion::arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::{Result, ScalarValue};
use datafusion::config::ConfigOptions;
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::simplify::{ExprSimplifyResult, SimplifyContext};
use datafusion::logical_expr::{
    Cast, ColumnarValue, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
    Volatility, lit,
};

use super::{CastContext, cannot_cast, cast_array, castable, target_arrow};
use crate::error::{SqlError, SqlResult};
use crate::postgres::input::number::parse_decimal;
use crate::postgres::types::{PgType, oid};
use crate::postgres::zone::Zone;
use crate::sql::rewrite::CAST;

/// The cast.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) struct CastFunction {
    signature: Signature,
}

static FUNCTION: LazyLock<Arc<ScalarUDF>> = LazyLock::new(|| {
    // Stable: what timestamps with zone mean depends on the session's zone, and 'now' on the transaction.
    let signature = Signature::any(3, Volatility::Stable);
    Arc::new(ScalarUDF::new_from_impl(CastFunction { signature }))
});

impl CastFunction {
    /// The function, as it is registered.
    pub(crate) fn udf() -> Arc<ScalarUDF> {
        Arc::clone(&FUNCTION)
    }
}

/// A cast of an expression.
pub(crate) fn cast_call(expr: Expr, to: PgType) -> Expr {
    Expr::ScalarFunction(ScalarFunction::new_udf(
        CastFunction::udf(),
        vec![expr, lit(i64::from(to.oid)), lit(i64::from(to.modifier))],
    ))
}

/// The zone that the configuration names.
pub(crate) fn session_zone(config: &ConfigOptions) -> Zone {
    config.execution.time_zone.as_deref().and_then(Zone::parse).unwrap_or(Zone::Utc)
}

fn integer(value: Option<&ScalarValue>) -> SqlResult<i64> {
    match value {
        Some(ScalarValue::Int64(Some(value))) => Ok(*value),
        Some(ScalarValue::Int32(Some(value))) => Ok(i64::from(*value)),
        _ => Err(SqlError::internal("a cast without a type")),
    }
}

fn wanted(oid: Option<&ScalarValue>, modifier: Option<&ScalarValue>) -> SqlResult<PgType> {
    let oid = u32::try_from(integer(oid)?);
    let modifier = i32::try_from(integer(modifier)?);
    match (oid, modifier) {
        (Ok(oid), Ok(modifier)) => Ok(PgType { oid, modifier }),
        _ => Err(SqlError::internal("a cast to no type")),
    }
}

/// The result's field.
fn target_field(from: &Field, value: Option<&ScalarValue>, to: PgType) -> SqlResult<Field> {
    let source = PgType::of_field(from);
    if from.data_type() != &DataType::Null && !castable(source, to) {
        return Err(cannot_cast(source, to));
    }
    let mut data_type = target_arrow(from.data_type(), to)?;
    // The digits of a literal are known.
    if to == PgType::new(oid::NUMERIC)
        && let Some(text) = value.and_then(|value| value.try_as_str().flatten())
        && let Ok(value) = parse_decimal(text).and_then(|exact| exact.unconstrained())
    {
        data_type = value.data_type();
    }
    // A numeric that took the digits of its value is what its Arrow type says.
    let own = to == PgType::new(oid::NUMERIC) && data_type != to.arrow()?;
    let field = Field::new("cast", data_type, true);
    Ok(if own || PgType::natural(field.data_type()) == to {
        field
    } else {
        field.with_metadata(to.metadata())
    })
}

impl ScalarUDFImpl for CastFunction {
    fn name(&self) -> &str {
        CAST
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arg_types: &[DataType]) -> Result<DataType> {
        Err(SqlError::internal("a cast's type depends on its arguments").into())
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        let [from, ..] = args.arg_fields else {
            return Err(SqlError::internal("a cast without a value").into());
        };
        let value = |index: usize| args.scalar_arguments.get(index).copied().flatten();
        let to = wanted(value(1), value(2))?;
        Ok(Arc::new(target_field(from, value(0), to)?.with_nullable(from.is_nullable())))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let scalar = |index: usize| match args.args.get(index) {
            Some(ColumnarValue::Scalar(value)) => Some(value),
            _ => None,
        };
        let to = wanted(scalar(1), scalar(2))?;
        let (Some(value), Some(from)) = (args.args.first(), args.arg_fields.first()) else {
            return Err(SqlError::internal("a cast without a value").into());
        };
        let context = CastContext {
            zone: session_zone(&args.config_options),
            now: chrono::Utc::now().timestamp_micros(),
            explicit: true,
        };
        let target = args.return_field.data_type();
        let source = PgType::of_field(from);
        match value {
            ColumnarValue::Array(array) => {
                Ok(ColumnarValue::Array(cast_array(array, source, to, target, &context)?))
            }
            ColumnarValue::Scalar(value) => {
                let array = cast_array(&value.to_array()?, source, to, target, &context)?;
                Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&array, 0)?))
            }
        }
    }

    fn simplify(&self, args: Vec<Expr>, info: &SimplifyContext) -> Result<ExprSimplifyResult> {
        let [value, Expr::Literal(oid, _), Expr::Literal(modifier, _)] = &args[..] else {
            return Ok(ExprSimplifyResult::Original(args));
        };
        let to = wanted(Some(oid), Some(modifier))?;
        if matches!(value, Expr::Literal(..)) || to.modifier >= 0 {
            return Ok(ExprSimplifyResult::Original(args));
        }
        let from = info.get_data_type(value)?;
        let target = target_arrow(&from, to)?;
        // What only widens is left to DataFusion, which knows how to see a column through it.
        let widens = matches!(
            (&from, &target),
            (DataType::Int16, DataType::Int32 | DataType::Int64)
                | (DataType::Int32, DataType::Int64)
                | (DataType::Int16 | DataType::Int32, DataType::Float64)
        );
        let natural = PgType::natural(&target) == to;
        if widens && natural {
            let value = args.into_iter().next().unwrap_or_else(|| lit(ScalarValue::Null));
            return Ok(ExprSimplifyResult::Simplified(Expr::Cast(Cast::new(Box::new(value), target))));
        }
        Ok(ExprSimplifyResult::Original(args))
    }
}
