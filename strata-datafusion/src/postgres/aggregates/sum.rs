//! `sum`: DataFusion's, over arguments that cannot wrap.
//!
//! Types are found more than once: when a statement is planned, and when rules build on what they find. So the type that
//! an argument is coerced to says what the sum's type is, and coercing it again changes nothing: small integers stay 32
//! bits wide, whose sum is a bigint, and bigint becomes numeric, as whose sum is.

use std::sync::{Arc, LazyLock};

use datafusion::arrow::datatypes::{DataType, FieldRef};
use datafusion::common::Result;
use datafusion::functions_aggregate::sum::sum_udaf;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::AggregateOrderSensitivity;
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, GroupsAccumulator, ReversedUDAF, SetMonotonicity, Signature,
    Volatility,
};

use super::widened::Widened;
use crate::error::SqlError;
use crate::postgres::types::PgType;

/// DataFusion's sum over arguments that cannot wrap.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) struct PostgresSum {
    inner: Arc<AggregateUDF>,
    signature: Signature,
}

static SUM: LazyLock<Arc<AggregateUDF>> = LazyLock::new(|| {
    let signature = Signature::user_defined(Volatility::Immutable);
    Arc::new(AggregateUDF::new_from_impl(PostgresSum { inner: sum_udaf(), signature }))
});

/// The sum that is registered.
pub(crate) fn sum() -> Arc<AggregateUDF> {
    Arc::clone(&SUM)
}

/// Whether the values are 32 bits wide, and their sum 64.
fn is_narrow(args: &AccumulatorArgs<'_>) -> bool {
    args.expr_fields.first().is_some_and(|field| field.data_type() == &DataType::Int32)
}

impl AggregateUDFImpl for PostgresSum {
    fn name(&self) -> &str {
        "sum"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, arg_types: &[DataType]) -> Result<Vec<DataType>> {
        let [argument] = arg_types else {
            return Err(SqlError::new("42883", "function sum takes one argument").into());
        };
        Ok(vec![match argument {
            DataType::Int8 | DataType::Int16 | DataType::Int32 | DataType::UInt8 | DataType::UInt16 => {
                DataType::Int32
            }
            DataType::Int64 | DataType::UInt32 => DataType::Decimal128(19, 0),
            DataType::UInt64 => DataType::Decimal128(20, 0),
            DataType::Float16 | DataType::Float32 | DataType::Float64 | DataType::Null => DataType::Float64,
            DataType::Decimal128(..) | DataType::Interval(_) | DataType::Duration(_) => argument.clone(),
            DataType::Decimal32(precision, scale) | DataType::Decimal64(precision, scale) => {
                DataType::Decimal128(*precision, *scale)
            }
            other => {
                let name = PgType::natural(other).sql_name();
                return Err(SqlError::new("42883", format!("function sum({name}) does not exist")).into());
            }
        }])
    }

    fn return_type(&self, arg_types: &[DataType]) -> Result<DataType> {
        match arg_types {
            [DataType::Int32] => Ok(DataType::Int64),
            other => self.inner.return_type(other),
        }
    }

    fn accumulator(&self, args: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        let narrow = is_narrow(&args);
        let inner = self.inner.accumulator(args)?;
        Ok(if narrow { Box::new(Widened(inner)) } else { inner })
    }

    fn state_fields(&self, args: StateFieldsArgs<'_>) -> Result<Vec<FieldRef>> {
        self.inner.state_fields(args)
    }

    fn groups_accumulator_supported(&self, args: AccumulatorArgs<'_>) -> bool {
        self.inner.groups_accumulator_supported(args)
    }

    fn create_groups_accumulator(&self, args: AccumulatorArgs<'_>) -> Result<Box<dyn GroupsAccumulator>> {
        let narrow = is_narrow(&args);
        let inner = self.inner.create_groups_accumulator(args)?;
        Ok(if narrow { Box::new(Widened(inner)) } else { inner })
    }

    fn create_sliding_accumulator(&self, args: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        let narrow = is_narrow(&args);
        let inner = self.inner.create_sliding_accumulator(args)?;
        Ok(if narrow { Box::new(Widened(inner)) } else { inner })
    }

    fn reverse_expr(&self) -> ReversedUDAF {
        ReversedUDAF::Identical
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        AggregateOrderSensitivity::Insensitive
    }

    fn set_monotonicity(&self, data_type: &DataType) -> SetMonotonicity {
        self.inner.inner().set_monotonicity(data_type)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_have_the_types_that_postgres_gives() {
        let function = sum();
        for (argument, coerced, result) in [
            (DataType::Int16, DataType::Int32, DataType::Int64),
            (DataType::Int32, DataType::Int32, DataType::Int64),
            (DataType::Int64, DataType::Decimal128(19, 0), DataType::Decimal128(29, 0)),
            (DataType::Float64, DataType::Float64, DataType::Float64),
        ] {
            let once = function.coerce_types(&[argument]).unwrap();
            assert_eq!(once, [coerced]);
            assert_eq!(function.coerce_types(&once).unwrap(), once, "coercing again changes nothing");
            assert_eq!(function.return_type(&once).unwrap(), result);
        }
        assert!(function.coerce_types(&[DataType::Utf8View]).is_err());
    }
}
