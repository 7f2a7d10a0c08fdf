//! Arithmetic that says when it leaves the range: integers (22003), floats that become infinite (22003), and division by
//! zero (22012).

use std::sync::{Arc, LazyLock};

use datafusion::arrow::array::{
    Array, ArrayRef, ArrowNativeTypeOp, AsArray, Decimal128Array, PrimitiveArray,
};
use datafusion::arrow::compute::kernels::arity::{try_binary, try_unary};
use datafusion::arrow::datatypes::{
    ArrowPrimitiveType, DataType, Decimal128Type, Float32Type, Float64Type, Int16Type, Int32Type, Int64Type,
    i256,
};
use datafusion::arrow::error::ArrowError;
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::{
    ColumnarValue, Expr, Operator, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility, lit,
};
use datafusion::sql::sqlparser::ast::BinaryOperator;

use super::binary;
use crate::error::{SqlError, SqlResult};
use crate::postgres::cast::cast_call;
use crate::postgres::input::number::decimal_digits;
use crate::postgres::types::{PgType, oid};

/// Digits after the point that a quotient has at least.
pub(crate) const QUOTIENT_SCALE: i8 = 16;
/// A product with more digits after the point than this is rounded to those of its factors.
const PRODUCT_SCALE: i8 = 18;

/// A function's result: a scalar if all arguments are.
pub(crate) fn like_arguments(args: &[ColumnarValue], array: ArrayRef) -> Result<ColumnarValue> {
    if args.iter().all(|arg| matches!(arg, ColumnarValue::Scalar(_))) && array.len() == 1 {
        return Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&array, 0)?));
    }
    Ok(ColumnarValue::Array(array))
}

/// What a checked function does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Arithmetic {
    Add,
    Subtract,
    Multiply,
    Divide,
    Modulo,
    Negate,
}

impl Arithmetic {
    const ALL: [Arithmetic; 6] =
        [Self::Add, Self::Subtract, Self::Multiply, Self::Divide, Self::Modulo, Self::Negate];

    fn name(self) -> &'static str {
        match self {
            Self::Add => "+",
            Self::Subtract => "-",
            Self::Multiply => "*",
            Self::Divide => "/",
            Self::Modulo => "%",
            Self::Negate => "- ",
        }
    }
}

/// Checked arithmetic on two numbers of one type.
#[derive(Debug, PartialEq, Eq, Hash)]
struct CheckedFunction {
    arithmetic: Arithmetic,
    signature: Signature,
}

static FUNCTIONS: LazyLock<Vec<Arc<ScalarUDF>>> = LazyLock::new(|| {
    Arithmetic::ALL
        .iter()
        .map(|arithmetic| {
            let count = if *arithmetic == Arithmetic::Negate { 1 } else { 2 };
            let signature = Signature::any(count, Volatility::Immutable);
            Arc::new(ScalarUDF::new_from_impl(CheckedFunction { arithmetic: *arithmetic, signature }))
        })
        .collect()
});

/// A call of checked arithmetic; the operands have one type already.
pub(crate) fn checked(arithmetic: Arithmetic, args: Vec<Expr>) -> Expr {
    let index = Arithmetic::ALL.iter().position(|other| *other == arithmetic).unwrap_or(0);
    FUNCTIONS[index].call(args)
}

/// The widest of the integers.
pub(super) fn widest_integer(types: [Option<PgType>; 2]) -> Option<PgType> {
    types.into_iter().flatten().max_by_key(|found| match found.oid {
        oid::INT2 => 0,
        oid::INT4 => 1,
        _ => 2,
    })
}

fn is_integer(found: PgType) -> bool {
    matches!(found.oid, oid::INT2 | oid::INT4 | oid::INT8)
}

/// The expression of arithmetic on numbers; `None` if these are none.
pub(super) fn plan(
    left: Expr,
    left_type: PgType,
    op: &BinaryOperator,
    right: Expr,
    right_type: PgType,
) -> Option<SqlResult<Expr>> {
    if left_type.category() != 'N' || right_type.category() != 'N' {
        return None;
    }
    let arithmetic = match op {
        BinaryOperator::Plus => Arithmetic::Add,
        BinaryOperator::Minus => Arithmetic::Subtract,
        BinaryOperator::Multiply => Arithmetic::Multiply,
        BinaryOperator::Divide => Arithmetic::Divide,
        _ => Arithmetic::Modulo,
    };
    let to = |expr: Expr, found: PgType, wanted: PgType| {
        if found.oid == wanted.oid { expr } else { cast_call(expr, wanted) }
    };
    if is_integer(left_type) && is_integer(right_type) {
        let common = widest_integer([Some(left_type), Some(right_type)])?;
        return Some(Ok(checked(
            arithmetic,
            vec![to(left, left_type, common), to(right, right_type, common)],
        )));
    }
    let float = |found: PgType| matches!(found.oid, oid::FLOAT4 | oid::FLOAT8);
    if float(left_type) || float(right_type) {
        if arithmetic == Arithmetic::Modulo {
            return None;
        }
        let both_single = left_type.oid == oid::FLOAT4 && right_type.oid == oid::FLOAT4;
        let common = PgType::new(if both_single { oid::FLOAT4 } else { oid::FLOAT8 });
        return Some(Ok(checked(
            arithmetic,
            vec![to(left, left_type, common), to(right, right_type, common)],
        )));
    }
    if !matches!((left_type.oid, right_type.oid), (oid::NUMERIC, _) | (_, oid::NUMERIC)) {
        return None;
    }
    // Whole numbers become exact ones with the digits they can have.
    let numeric = PgType::new(oid::NUMERIC);
    let exact = |expr: Expr, found: PgType| match &expr {
        Expr::Literal(ScalarValue::Int32(Some(value)), _) => exact_literal(i128::from(*value)),
        Expr::Literal(ScalarValue::Int64(Some(value)), _) => exact_literal(i128::from(*value)),
        _ => to(expr, found, numeric),
    };
    let (left, right) = (exact(left, left_type), exact(right, right_type));
    let scale = |found: PgType| match found.numeric_parts() {
        Some((_, scale)) => scale,
        None if is_integer(found) => 0,
        None => crate::postgres::types::UNCONSTRAINED_NUMERIC.1,
    };
    let plain = match arithmetic {
        Arithmetic::Add => Some(Operator::Plus),
        Arithmetic::Subtract => Some(Operator::Minus),
        Arithmetic::Modulo => Some(Operator::Modulo),
        // DataFusion's own product is fast, and has room for what is usual.
        Arithmetic::Multiply if scale(left_type) + scale(right_type) <= PRODUCT_SCALE => {
            Some(Operator::Multiply)
        }
        _ => None,
    };
    Some(Ok(match plain {
        Some(operator) => binary(left, operator, right),
        None => checked(arithmetic, vec![left, right]),
    }))
}

/// A whole number with just the digits it has.
fn exact_literal(value: i128) -> Expr {
    let digits = u8::try_from(decimal_digits(value)).unwrap_or(38);
    lit(ScalarValue::Decimal128(Some(value), digits, 0))
}

fn decimal_parts(data_type: &DataType) -> Option<(u8, i8)> {
    match data_type {
        DataType::Decimal128(precision, scale) => Some((*precision, *scale)),
        _ => None,
    }
}

/// The type of a decimal product or quotient.
fn decimal_result(arithmetic: Arithmetic, left: (u8, i8), right: (u8, i8)) -> DataType {
    let widest = left.1.max(right.1);
    match arithmetic {
        Arithmetic::Divide => DataType::Decimal128(38, widest.max(QUOTIENT_SCALE)),
        Arithmetic::Multiply => DataType::Decimal128(38, widest),
        _ => DataType::Decimal128(left.0, left.1),
    }
}

fn division_by_zero() -> ArrowError {
    ArrowError::from_external_error(Box::new(SqlError::new("22012", "division by zero")))
}

fn out_of_range(data_type: &DataType) -> ArrowError {
    let message = match data_type {
        DataType::Float32 | DataType::Float64 => "value out of range: overflow".to_owned(),
        DataType::Decimal128(..) => "value overflows numeric format".to_owned(),
        other => format!("{} out of range", PgType::natural(other).sql_name()),
    };
    ArrowError::from_external_error(Box::new(SqlError::new("22003", message)))
}

fn integers<T: ArrowPrimitiveType>(arithmetic: Arithmetic, arrays: &[ArrayRef]) -> Result<ArrayRef>
where
    T::Native: ArrowNativeTypeOp,
{
    let range = |_: ArrowError| out_of_range(&T::DATA_TYPE);
    let apply = |left: T::Native, right: T::Native| match arithmetic {
        Arithmetic::Add => left.add_checked(right).map_err(range),
        Arithmetic::Subtract => left.sub_checked(right).map_err(range),
        Arithmetic::Multiply => left.mul_checked(right).map_err(range),
        _ if right.is_zero() => Err(division_by_zero()),
        Arithmetic::Divide => left.div_checked(right).map_err(range),
        // The least integer modulo -1 is 0, which the checked operation takes for an overflow.
        _ => Ok(left.mod_wrapping(right)),
    };
    primitive::<T>(arithmetic, arrays, apply, |value| value.neg_checked().map_err(range))
}

fn floats<T: ArrowPrimitiveType>(arithmetic: Arithmetic, arrays: &[ArrayRef]) -> Result<ArrayRef>
where
    T::Native: ArrowNativeTypeOp + Into<f64>,
{
    let finite = |value: T::Native| -> bool {
        let value: f64 = value.into();
        value.is_finite()
    };
    let apply = |left: T::Native, right: T::Native| {
        if arithmetic == Arithmetic::Divide && right.is_zero() {
            return Err(division_by_zero());
        }
        let result = match arithmetic {
            Arithmetic::Add => left.add_wrapping(right),
            Arithmetic::Subtract => left.sub_wrapping(right),
            Arithmetic::Multiply => left.mul_wrapping(right),
            _ => left.div_wrapping(right),
        };
        if !finite(result) && finite(left) && finite(right) {
            return Err(out_of_range(&T::DATA_TYPE));
        }
        Ok(result)
    };
    primitive::<T>(arithmetic, arrays, apply, |value| Ok(value.neg_wrapping()))
}

fn primitive<T: ArrowPrimitiveType>(
    arithmetic: Arithmetic,
    arrays: &[ArrayRef],
    apply: impl Fn(T::Native, T::Native) -> std::result::Result<T::Native, ArrowError>,
    negate: impl Fn(T::Native) -> std::result::Result<T::Native, ArrowError>,
) -> Result<ArrayRef> {
    let result: PrimitiveArray<T> = match (arithmetic, arrays) {
        (Arithmetic::Negate, [only]) => try_unary(only.as_primitive::<T>(), negate)?,
        (_, [left, right]) => try_binary(left.as_primitive::<T>(), right.as_primitive::<T>(), apply)?,
        _ => return Err(SqlError::internal("an operand is missing").into()),
    };
    Ok(Arc::new(result))
}

/// The quotient of `left / right`, rounded half away from zero.
fn divide(left: i128, right: i128, shift: i32) -> Option<i128> {
    // left * 10^shift / right, in 128 bits where that suffices.
    let up = u32::try_from(shift).ok();
    if let Some(up) = up
        && let Some(numerator) = 10i128.checked_pow(up).and_then(|factor| left.checked_mul(factor))
    {
        let (quotient, rest) = (numerator.checked_div(right)?, numerator.checked_rem(right)?);
        let away = rest.unsigned_abs() >= right.unsigned_abs().div_ceil(2) && rest != 0;
        let sign = if (numerator < 0) == (right < 0) { 1 } else { -1 };
        return Some(if away { quotient + sign } else { quotient });
    }
    let ten = i256::from_i128(10);
    let power = |exponent: u32| (0..exponent).try_fold(i256::ONE, |power, _| power.checked_mul(ten));
    let (numerator, denominator) = match up {
        Some(up) => (i256::from_i128(left).checked_mul(power(up)?)?, i256::from_i128(right)),
        None => (i256::from_i128(left), i256::from_i128(right).checked_mul(power(shift.unsigned_abs())?)?),
    };
    let quotient = numerator.checked_div(denominator)?;
    let rest = numerator.checked_rem(denominator)?;
    let twice = rest.wrapping_abs().checked_mul(i256::from_i128(2))?;
    let positive = (numerator < i256::ZERO) == (denominator < i256::ZERO);
    let away = if rest != i256::ZERO && twice >= denominator.wrapping_abs() {
        i256::from_i128(if positive { 1 } else { -1 })
    } else {
        i256::ZERO
    };
    quotient.checked_add(away)?.to_i128()
}

/// The product with `drop` digits fewer after the point.
fn multiply(left: i128, right: i128, drop: u32) -> Option<i128> {
    let product = i256::from_i128(left).checked_mul(i256::from_i128(right))?;
    let ten = i256::from_i128(10);
    let divisor = (0..drop).try_fold(i256::ONE, |power, _| power.checked_mul(ten))?;
    let (quotient, rest) = (product.checked_div(divisor)?, product.checked_rem(divisor)?);
    let twice = rest.wrapping_abs().checked_mul(i256::from_i128(2))?;
    let away = match (rest != i256::ZERO && twice >= divisor, product < i256::ZERO) {
        (false, _) => 0,
        (true, true) => -1,
        (true, false) => 1,
    };
    quotient.checked_add(i256::from_i128(away))?.to_i128()
}

/// The quotients of two decimal arrays, as decimals of type `target`.
pub(crate) fn divide_decimals(left: &ArrayRef, right: &ArrayRef, target: &DataType) -> Result<ArrayRef> {
    decimals(Arithmetic::Divide, &[Arc::clone(left), Arc::clone(right)], target)
}

fn decimals(arithmetic: Arithmetic, arrays: &[ArrayRef], target: &DataType) -> Result<ArrayRef> {
    let limit = 10u128.pow(38);
    let within = |value: Option<i128>| {
        value.filter(|value| value.unsigned_abs() < limit).ok_or_else(|| out_of_range(target))
    };
    let Some((_, scale)) = decimal_parts(target) else {
        return Err(SqlError::internal("a decimal result is none").into());
    };
    let result: Decimal128Array = match (arithmetic, arrays) {
        (Arithmetic::Negate, [only]) => {
            try_unary::<_, _, Decimal128Type>(only.as_primitive::<Decimal128Type>(), |value| {
                within(value.checked_neg())
            })?
        }
        (_, [left, right]) => {
            let scale_of =
                |array: &ArrayRef| decimal_parts(array.data_type()).map_or(0, |(_, scale)| i32::from(scale));
            let (left_scale, right_scale) = (scale_of(left), scale_of(right));
            let (left, right) =
                (left.as_primitive::<Decimal128Type>(), right.as_primitive::<Decimal128Type>());
            if arithmetic == Arithmetic::Divide {
                let shift = i32::from(scale) + right_scale - left_scale;
                try_binary(left, right, |left, right| match right {
                    0 => Err(division_by_zero()),
                    _ => within(divide(left, right, shift)),
                })?
            } else {
                let drop = u32::try_from(left_scale + right_scale - i32::from(scale)).unwrap_or(0);
                try_binary(left, right, |left, right| within(multiply(left, right, drop)))?
            }
        }
        _ => return Err(SqlError::internal("an operand is missing").into()),
    };
    Ok(Arc::new(result.with_data_type(target.clone())))
}

impl ScalarUDFImpl for CheckedFunction {
    fn name(&self) -> &str {
        self.arithmetic.name()
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arg_types: &[DataType]) -> Result<DataType> {
        match (arg_types.first(), arg_types.get(1)) {
            (Some(left @ DataType::Decimal128(..)), Some(right)) => {
                match (decimal_parts(left), decimal_parts(right)) {
                    (Some(left), Some(right)) => Ok(decimal_result(self.arithmetic, left, right)),
                    _ => Err(SqlError::internal("the operands of a numeric operator differ").into()),
                }
            }
            (Some(DataType::Null), Some(other)) => Ok(other.clone()),
            (Some(only), _) => Ok(only.clone()),
            (None, _) => Err(SqlError::internal("an operand is missing").into()),
        }
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let arrays = ColumnarValue::values_to_arrays(&args.args)?;
        let array = match args.return_field.data_type() {
            DataType::Int16 => integers::<Int16Type>(self.arithmetic, &arrays)?,
            DataType::Int32 => integers::<Int32Type>(self.arithmetic, &arrays)?,
            DataType::Int64 => integers::<Int64Type>(self.arithmetic, &arrays)?,
            DataType::Float32 => floats::<Float32Type>(self.arithmetic, &arrays)?,
            DataType::Float64 => floats::<Float64Type>(self.arithmetic, &arrays)?,
            target @ DataType::Decimal128(..) => decimals(self.arithmetic, &arrays, target)?,
            other => {
                return Err(SqlError::internal(format!("there is no arithmetic on {other}")).into());
            }
        };
        like_arguments(&args.args, array)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotients_are_rounded_in_any_width() {
        assert_eq!(divide(1, 3, 16), Some(3_333_333_333_333_333));
        assert_eq!(divide(2, 3, 16), Some(6_666_666_666_666_667));
        assert_eq!(divide(-5, 2, 0), Some(-3));
        let large = 10i128.pow(37);
        assert_eq!(divide(large, 3 * large, 16), Some(3_333_333_333_333_333));
        assert_eq!(divide(large, 1, 16), None);
        assert_eq!(divide(25, 1, -1), Some(3));
    }

    #[test]
    fn products_are_rounded_once() {
        assert_eq!(multiply(15, 15, 1), Some(23));
        assert_eq!(multiply(-15, 15, 1), Some(-23));
        assert_eq!(multiply(10i128.pow(30), 10i128.pow(20), 16), Some(10i128.pow(34)));
        assert_eq!(multiply(10i128.pow(38), 10i128.pow(38), 0), None);
    }
}
