//! Functions of numbers.

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, Decimal128Array, Int32Array, Int64Array};
use datafusion::arrow::datatypes::{DataType, Decimal128Type};
use datafusion::logical_expr::Volatility;

use super::definition::{Call, Definition, Variant};
use super::template::{format_number, fraction_places};
use crate::error::{SqlError, SqlResult};
use crate::postgres::format::number::write_decimal;
use crate::postgres::input::number::{parse_decimal, rescale};
use crate::postgres::types::{UNCONSTRAINED_NUMERIC, oid};

pub(super) const FUNCTIONS: &[Definition] = &[
    Definition {
        name: "mod",
        volatility: Volatility::Immutable,
        variants: &[
            Variant { args: &[oid::INT4, oid::INT4], result: oid::INT4, body: mod_int },
            Variant { args: &[oid::INT8, oid::INT8], result: oid::INT8, body: mod_long },
        ],
    },
    Definition {
        name: "div",
        volatility: Volatility::Immutable,
        variants: &[Variant { args: &[oid::INT8, oid::INT8], result: oid::INT8, body: div_long }],
    },
    Definition {
        name: "width_bucket",
        volatility: Volatility::Immutable,
        variants: &[Variant {
            args: &[oid::FLOAT8, oid::FLOAT8, oid::FLOAT8, oid::INT4],
            result: oid::INT4,
            body: width_bucket,
        }],
    },
    Definition {
        name: "to_number",
        volatility: Volatility::Stable,
        variants: &[Variant { args: &[oid::TEXT, oid::TEXT], result: oid::NUMERIC, body: to_number }],
    },
];

fn division_by_zero() -> SqlError {
    SqlError::new("22012", "division by zero")
}

fn long_pairs(call: &Call<'_>, apply: impl Fn(i64, i64) -> Option<i64>) -> SqlResult<Int64Array> {
    let (left, right) = (call.longs(0)?, call.longs(1)?);
    left.iter()
        .zip(right.iter())
        .map(|pair| match pair {
            (Some(_), Some(0)) => Err(division_by_zero()),
            (Some(left), Some(right)) => {
                apply(left, right).map(Some).ok_or_else(|| SqlError::new("22003", "bigint out of range"))
            }
            _ => Ok(None),
        })
        .collect()
}

fn mod_long(call: &Call<'_>) -> SqlResult<ArrayRef> {
    Ok(Arc::new(long_pairs(call, |left, right| Some(left.wrapping_rem(right)))?))
}

fn mod_int(call: &Call<'_>) -> SqlResult<ArrayRef> {
    let rests = long_pairs(call, |left, right| Some(left.wrapping_rem(right)))?;
    let rests: Int32Array = rests.iter().map(|rest| rest.and_then(|rest| i32::try_from(rest).ok())).collect();
    Ok(Arc::new(rests))
}

fn div_long(call: &Call<'_>) -> SqlResult<ArrayRef> {
    Ok(Arc::new(long_pairs(call, i64::checked_div)?))
}

fn width_bucket(call: &Call<'_>) -> SqlResult<ArrayRef> {
    let (values, lows, highs, counts) = (call.doubles(0)?, call.doubles(1)?, call.doubles(2)?, call.ints(3)?);
    let buckets = (0..call.rows).map(|row| {
        if call.any_null(row) {
            return Ok(None);
        }
        let (value, low, high, count) =
            (values.value(row), lows.value(row), highs.value(row), counts.value(row));
        if count <= 0 {
            return Err(SqlError::new("2201G", "count must be greater than zero"));
        }
        if low == high || !(low.is_finite() && high.is_finite()) || value.is_nan() {
            return Err(SqlError::new("2201G", "lower bound cannot equal upper bound"));
        }
        let share = (value - low) / (high - low);
        #[allow(clippy::cast_possible_truncation)]
        let bucket = if share < 0.0 {
            0
        } else if share >= 1.0 {
            count.checked_add(1).ok_or_else(|| SqlError::new("22003", "integer out of range"))?
        } else {
            (share * f64::from(count)) as i32 + 1
        };
        Ok(Some(bucket))
    });
    Ok(Arc::new(buckets.collect::<SqlResult<Int32Array>>()?))
}

/// to_char of a number.
pub(super) fn to_char(call: &Call<'_>) -> SqlResult<ArrayRef> {
    let templates = call.texts(1)?;
    let array = call.array(0)?;
    let scale = match array.data_type() {
        DataType::Decimal128(_, scale) => Some(u32::try_from(*scale).unwrap_or(0)),
        _ => None,
    };
    let doubles = if scale.is_none() { Some(call.doubles(0)?) } else { None };
    call.text_rows(|row| {
        let template = templates.value(row);
        let places = fraction_places(template);
        let wanted = u32::try_from(places).unwrap_or(0);
        let (unscaled, from) = match (&doubles, scale) {
            (None, Some(scale)) => (array.as_primitive::<Decimal128Type>().value(row), scale),
            (Some(doubles), _) => {
                let exact = parse_decimal(&format!("{:.14e}", doubles.value(row)))?;
                (exact.unscaled, exact.scale)
            }
            (None, None) => return Err(SqlError::internal("a number is none")),
        };
        let value = rescale(unscaled, from, wanted).unwrap_or(0);
        let mut digits = Vec::new();
        write_decimal(
            value.checked_abs().unwrap_or(i128::MAX),
            i8::try_from(places).unwrap_or(0),
            &mut digits,
        );
        let digits = String::from_utf8(digits).unwrap_or_default();
        Ok(Some(format_number(value < 0, &digits, template)))
    })
}

fn to_number(call: &Call<'_>) -> SqlResult<ArrayRef> {
    let texts = call.texts(0)?;
    let (precision, scale) = UNCONSTRAINED_NUMERIC;
    let numbers = (0..call.rows).map(|row| {
        if call.any_null(row) {
            return Ok(None);
        }
        let text = texts.value(row);
        let negative = text.contains('-') || text.contains('<');
        let digits: String = text.chars().filter(|c| c.is_ascii_digit() || *c == '.').collect();
        let exact = parse_decimal(&digits)?.fit(precision, scale)?;
        Ok(Some(if negative { -exact } else { exact }))
    });
    let numbers = numbers.collect::<SqlResult<Decimal128Array>>()?;
    Ok(Arc::new(numbers.with_data_type(DataType::Decimal128(precision, scale))))
}
