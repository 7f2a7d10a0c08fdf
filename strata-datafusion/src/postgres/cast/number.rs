//! Casts between numbers, and between booleans and integers: rounded, and refused where the range is left.

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Decimal128Array, PrimitiveArray};
use datafusion::arrow::compute::cast as arrow_cast;
use datafusion::arrow::datatypes::{
    ArrowPrimitiveType, DataType, Decimal128Type, Float32Type, Float64Type, Int16Type, Int32Type, Int64Type,
};

use crate::error::{SqlError, SqlResult};
use crate::postgres::input::number::{field_overflow, parse_decimal, rescale};
use crate::postgres::types::{PgType, oid};

/// `integer out of range`.
pub(crate) fn out_of_range(to: PgType) -> SqlError {
    SqlError::new("22003", format!("{} out of range", PgType::new(to.oid).sql_name()))
}

/// A number as it is cast.
#[derive(Clone, Copy)]
enum Number {
    Integer(i64),
    Float(f64),
    Decimal(i128, u32),
}

impl Number {
    /// Rounded: floats half to even, decimals half away from zero.
    fn integer(self) -> Option<i64> {
        match self {
            Number::Integer(value) => Some(value),
            Number::Float(value) => {
                let rounded = value.round_ties_even();
                // 2^63 is the first float that is too large.
                let fits = (-9_223_372_036_854_775_808.0..9_223_372_036_854_775_808.0).contains(&rounded);
                #[allow(clippy::cast_possible_truncation)]
                fits.then_some(rounded as i64)
            }
            Number::Decimal(value, scale) => i64::try_from(rescale(value, scale, 0)?).ok(),
        }
    }

    fn float(self) -> Option<f64> {
        match self {
            #[allow(clippy::cast_precision_loss)]
            Number::Integer(value) => Some(value as f64),
            Number::Float(value) => Some(value),
            Number::Decimal(value, scale) => Some(decimal_to_f64(value, scale)),
        }
    }

    fn decimal(self, scale: u32) -> SqlResult<Option<i128>> {
        Ok(match self {
            Number::Integer(value) => rescale(i128::from(value), 0, scale),
            Number::Decimal(value, from) => rescale(value, from, scale),
            Number::Float(value) if value.is_finite() => {
                // Fifteen significant digits, as Postgres takes of a double.
                let exact = parse_decimal(&format!("{value:.14e}"))?;
                rescale(exact.unscaled, exact.scale, scale)
            }
            Number::Float(value) => {
                return Err(SqlError::unsupported(format!("numeric \"{value}\" is not supported")));
            }
        })
    }
}

/// The nearest double.
pub(crate) fn decimal_to_f64(value: i128, scale: u32) -> f64 {
    const EXACT: u128 = 1 << 53;
    if value.unsigned_abs() < EXACT && scale <= 22 {
        // Both are exact, so the quotient is rounded once.
        #[allow(clippy::cast_precision_loss)]
        return value as f64 / 10f64.powi(scale.cast_signed());
    }
    format!("{value}e-{scale}").parse().unwrap_or(f64::NAN)
}

/// The numbers of an array.
fn numbers(array: &ArrayRef) -> SqlResult<Vec<Option<Number>>> {
    fn of<T: ArrowPrimitiveType>(
        array: &ArrayRef,
        number: impl Fn(T::Native) -> Number,
    ) -> Vec<Option<Number>> {
        array.as_primitive::<T>().iter().map(|value| value.map(&number)).collect()
    }
    let widened = |data_type: DataType| {
        arrow_cast(array, &data_type).map_err(|error| SqlError::internal(error.to_string()))
    };
    Ok(match array.data_type() {
        DataType::Boolean => array
            .as_boolean()
            .iter()
            .map(|value| value.map(|value| Number::Integer(i64::from(value))))
            .collect(),
        DataType::Int16 => of::<Int16Type>(array, |value| Number::Integer(i64::from(value))),
        DataType::Int32 => of::<Int32Type>(array, |value| Number::Integer(i64::from(value))),
        DataType::Int64 => of::<Int64Type>(array, Number::Integer),
        DataType::Float32 => of::<Float32Type>(array, |value| Number::Float(f64::from(value))),
        DataType::Float64 => of::<Float64Type>(array, Number::Float),
        DataType::Decimal128(_, scale) => {
            let scale = u32::try_from(*scale).unwrap_or(0);
            of::<Decimal128Type>(array, |value| Number::Decimal(value, scale))
        }
        DataType::UInt64 => {
            of::<Decimal128Type>(&widened(DataType::Decimal128(20, 0))?, |value| Number::Decimal(value, 0))
        }
        _ => of::<Int64Type>(&widened(DataType::Int64)?, Number::Integer),
    })
}

fn collect<T: ArrowPrimitiveType>(
    numbers: &[Option<Number>],
    to: PgType,
    convert: impl Fn(Number) -> Option<T::Native>,
) -> SqlResult<ArrayRef> {
    let values = numbers
        .iter()
        .map(|number| number.map(|number| convert(number).ok_or_else(|| out_of_range(to))).transpose())
        .collect::<SqlResult<PrimitiveArray<T>>>()?;
    Ok(Arc::new(values))
}

/// Casts numbers and booleans.
pub(super) fn cast_number(array: &ArrayRef, to: PgType, target: &DataType) -> SqlResult<ArrayRef> {
    if array.data_type() == target {
        return Ok(Arc::clone(array));
    }
    let numbers = numbers(array)?;
    match to.oid {
        oid::BOOL => {
            let values: BooleanArray = numbers
                .iter()
                .map(|number| number.and_then(Number::integer).map(|value| value != 0))
                .collect();
            Ok(Arc::new(values))
        }
        oid::INT2 => collect::<Int16Type>(&numbers, to, |number| number.integer()?.try_into().ok()),
        oid::INT4 => collect::<Int32Type>(&numbers, to, |number| number.integer()?.try_into().ok()),
        oid::INT8 => collect::<Int64Type>(&numbers, to, Number::integer),
        oid::FLOAT4 => collect::<Float32Type>(&numbers, to, |number| {
            let wide = number.float()?;
            #[allow(clippy::cast_possible_truncation)]
            let narrow = wide as f32;
            let lost = narrow.is_infinite() != wide.is_infinite() || (narrow == 0.0) != (wide == 0.0);
            (!lost).then_some(narrow)
        }),
        oid::FLOAT8 => collect::<Float64Type>(&numbers, to, Number::float),
        oid::NUMERIC => {
            let DataType::Decimal128(precision, scale) = *target else {
                return Err(SqlError::internal("numeric is not a decimal"));
            };
            let digits = u32::try_from(scale).unwrap_or(0);
            let limit = 10i128.checked_pow(u32::from(precision)).map_or(u128::MAX, i128::unsigned_abs);
            let values = numbers
                .iter()
                .map(|number| match number {
                    None => Ok(None),
                    Some(number) => match number.decimal(digits)? {
                        Some(value) if value.unsigned_abs() < limit => Ok(Some(value)),
                        _ => Err(field_overflow(precision, scale)),
                    },
                })
                .collect::<SqlResult<Decimal128Array>>()?;
            Ok(Arc::new(values.with_data_type(target.clone())))
        }
        // OIDs and their aliases are unsigned 32 bits; negative integers wrap, as in Postgres.
        _ => collect::<Int64Type>(&numbers, to, |number| {
            let value = number.integer()?;
            let wrapped = i32::try_from(value).map(|value| i64::from(value.cast_unsigned()));
            u32::try_from(value).map(i64::from).or(wrapped).ok()
        }),
    }
}
