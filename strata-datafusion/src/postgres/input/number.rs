//! Numbers from text.

use std::str::FromStr;

use datafusion::common::ScalarValue;

use super::invalid;
use crate::error::{SqlError, SqlResult};

/// The most digits of a number.
const MOST_DIGITS: usize = 38;

fn out_of_range(type_name: &str, text: &str) -> SqlError {
    SqlError::new("22003", format!("value \"{text}\" is out of range for type {type_name}"))
}

/// A whole number: decimal, or with 0x, 0o, 0b; underscores between digits.
pub fn parse_int<T: TryFrom<i128> + FromStr>(text: &str, type_name: &str) -> SqlResult<T> {
    let trimmed = text.trim_matches(|c: char| c.is_ascii_whitespace());
    if let Ok(value) = trimmed.parse::<T>() {
        return Ok(value);
    }
    let (negative, digits) = match trimmed.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, trimmed.strip_prefix('+').unwrap_or(trimmed)),
    };
    let (radix, digits) = match digits.get(..2).map(str::to_ascii_lowercase).as_deref() {
        Some("0x") => (16, &digits[2..]),
        Some("0o") => (8, &digits[2..]),
        Some("0b") => (2, &digits[2..]),
        _ => (10, digits),
    };
    let plain = digits.replace('_', "");
    let well_formed = !plain.is_empty()
        && !digits.ends_with('_')
        && !digits.contains("__")
        && plain.chars().all(|digit| digit.is_digit(radix));
    if !well_formed {
        return Err(invalid(type_name, text));
    }
    let value = i128::from_str_radix(&plain, radix).map_err(|_| out_of_range(type_name, trimmed))?;
    T::try_from(if negative { -value } else { value }).map_err(|_| out_of_range(type_name, trimmed))
}

/// An OID: unsigned, 32 bits.
pub fn parse_oid(text: &str) -> SqlResult<u32> {
    let value: i64 = parse_int(text, "oid")?;
    // Negative ones wrap, as in Postgres.
    u32::try_from(value)
        .or_else(|_| i32::try_from(value).map(|value| value.cast_unsigned()))
        .map_err(|_| out_of_range("oid", text))
}

/// A double.
pub fn parse_f64(text: &str) -> SqlResult<f64> {
    parse_float(text, "double precision")
}

/// A single.
pub fn parse_f32(text: &str) -> SqlResult<f32> {
    parse_float(text, "real")
}

fn parse_float<T: FromStr + Copy + Into<f64>>(text: &str, type_name: &str) -> SqlResult<T> {
    let trimmed = text.trim_matches(|c: char| c.is_ascii_whitespace());
    let value: T = trimmed.parse().map_err(|_| invalid(type_name, text))?;
    let wide: f64 = value.into();
    let digits = trimmed.bytes().any(|byte| byte.is_ascii_digit());
    let mantissa = trimmed.split(['e', 'E']).next().unwrap_or(trimmed);
    let nonzero = mantissa.bytes().any(|byte| matches!(byte, b'1'..=b'9'));
    if digits && (wide.is_infinite() || (wide == 0.0 && nonzero)) {
        return Err(SqlError::new("22003", format!("\"{trimmed}\" is out of range for type {type_name}")));
    }
    Ok(value)
}

/// An exact number: `unscaled / 10^scale`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exact {
    /// The digits.
    pub unscaled: i128,
    /// How many follow the point; never negative.
    pub scale: u32,
}

/// `numeric field overflow` with the bound that was exceeded.
pub fn field_overflow(precision: u8, scale: i8) -> SqlError {
    let whole = i32::from(precision) - i32::from(scale);
    SqlError::new("22003", "numeric field overflow").with_detail(format!(
        "A field with precision {precision}, scale {scale} must round to an absolute value less than {}.",
        if whole == 0 { "1".to_owned() } else { format!("10^{whole}") }
    ))
}

impl Exact {
    /// Rounded half away from zero to `scale`, as `numeric(precision, scale)`.
    pub fn fit(self, precision: u8, scale: i8) -> SqlResult<i128> {
        let wanted = u32::from(scale.unsigned_abs());
        let value =
            rescale(self.unscaled, self.scale, wanted).ok_or_else(|| field_overflow(precision, scale))?;
        let limit = 10i128.checked_pow(u32::from(precision)).unwrap_or(i128::MAX);
        if value.unsigned_abs() >= limit.unsigned_abs() {
            return Err(field_overflow(precision, scale));
        }
        Ok(value)
    }

    /// As a decimal with just the digits it has.
    pub fn unconstrained(self) -> SqlResult<ScalarValue> {
        let digits = decimal_digits(self.unscaled).max(self.scale).max(1);
        let (precision, scale) = match (u8::try_from(digits), i8::try_from(self.scale)) {
            (Ok(precision), Ok(scale)) if precision <= 38 => (precision, scale),
            _ => return Err(too_many_digits()),
        };
        Ok(ScalarValue::Decimal128(Some(self.unscaled), precision, scale))
    }
}

fn too_many_digits() -> SqlError {
    SqlError::new("22003", "numeric value has more than the 38 digits that are supported")
}

/// The number of decimal digits, 1 for zero.
pub fn decimal_digits(value: i128) -> u32 {
    value.unsigned_abs().checked_ilog10().map_or(1, |log| log + 1)
}

/// Changes the scale, rounding half away from zero.
pub fn rescale(value: i128, from: u32, to: u32) -> Option<i128> {
    if to >= from {
        return value.checked_mul(10i128.checked_pow(to - from)?);
    }
    let Some(divisor) = 10i128.checked_pow(from - to) else { return Some(0) };
    let (quotient, rest) = (value / divisor, value % divisor);
    let up = rest.unsigned_abs() >= divisor.unsigned_abs().div_ceil(2);
    Some(if up { quotient + value.signum() } else { quotient })
}

/// An exact number, with an exponent or not.
pub fn parse_decimal(text: &str) -> SqlResult<Exact> {
    let error = || invalid("numeric", text);
    let trimmed = text.trim_matches(|c: char| c.is_ascii_whitespace());
    let (negative, rest) = match trimmed.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, trimmed.strip_prefix('+').unwrap_or(trimmed)),
    };
    if ["nan", "inf", "infinity"].iter().any(|word| rest.eq_ignore_ascii_case(word)) {
        return Err(SqlError::unsupported(format!("numeric \"{trimmed}\" is not supported")));
    }
    let (mantissa, exponent) = match rest.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().map_err(|_| error())?),
        None => (rest, 0),
    };
    let mut unscaled: i128 = 0;
    let mut significant = 0usize;
    let mut scale: i32 = 0;
    let (mut digits, mut point) = (0usize, false);
    for byte in mantissa.bytes() {
        match byte {
            b'0'..=b'9' => {
                digits += 1;
                if significant > 0 || byte != b'0' {
                    significant += 1;
                }
                if significant > MOST_DIGITS {
                    return Err(too_many_digits());
                }
                unscaled = unscaled * 10 + i128::from(byte - b'0');
                scale += i32::from(point);
            }
            b'.' if !point => point = true,
            b'_' if digits > 0 => {}
            _ => return Err(error()),
        }
    }
    if digits == 0 {
        return Err(error());
    }
    let scale = scale.checked_sub(exponent).ok_or_else(error)?;
    let value = if negative { -unscaled } else { unscaled };
    if unscaled == 0 {
        return Ok(Exact { unscaled: 0, scale: scale.clamp(0, 38).unsigned_abs() });
    }
    match u32::try_from(scale) {
        Ok(scale) if scale <= 38 => Ok(Exact { unscaled: value, scale }),
        // What lies beyond 38 digits after the point cannot be held: it rounds.
        Ok(scale) => Ok(Exact { unscaled: rescale(value, scale, 38).unwrap_or(0), scale: 38 }),
        Err(_) => {
            let unscaled = 10i128
                .checked_pow(scale.unsigned_abs())
                .and_then(|factor| value.checked_mul(factor))
                .filter(|value| decimal_digits(*value) as usize <= MOST_DIGITS)
                .ok_or_else(too_many_digits)?;
            Ok(Exact { unscaled, scale: 0 })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exact_numbers_keep_their_digits() {
        for (text, unscaled, scale) in [
            ("1.50", 150, 2),
            ("-.5", -5, 1),
            ("1e3", 1000, 0),
            ("1.5e-3", 15, 4),
            ("12.5E1", 125, 0),
            ("0.000", 0, 3),
            ("99999999999999999999999999999999999999", 99_999_999_999_999_999_999_999_999_999_999_999_999, 0),
        ] {
            assert_eq!(parse_decimal(text).unwrap(), Exact { unscaled, scale }, "{text}");
        }
        assert_eq!(parse_decimal("1e40").unwrap_err().sqlstate, "22003");
        assert_eq!(parse_decimal("NaN").unwrap_err().sqlstate, "0A000");
        assert_eq!(parse_decimal(".").unwrap_err().sqlstate, "22P02");
    }

    #[test]
    fn fitting_rounds_half_away_from_zero() {
        assert_eq!(parse_decimal("1.005").unwrap().fit(5, 2).unwrap(), 101);
        assert_eq!(parse_decimal("-1.005").unwrap().fit(5, 2).unwrap(), -101);
        assert_eq!(parse_decimal("1.0049").unwrap().fit(5, 2).unwrap(), 100);
        assert_eq!(parse_decimal("999.995").unwrap().fit(5, 2).unwrap_err().sqlstate, "22003");
    }

    #[test]
    fn integers_take_other_radices() {
        assert_eq!(parse_int::<i32>("0xff", "integer").unwrap(), 255);
        assert_eq!(parse_int::<i32>("1_000", "integer").unwrap(), 1000);
        assert_eq!(parse_int::<i64>("-9223372036854775808", "bigint").unwrap(), i64::MIN);
        assert_eq!(parse_int::<i32>("2147483648", "integer").unwrap_err().sqlstate, "22003");
        assert_eq!(parse_oid("-1").unwrap(), u32::MAX);
    }

    #[test]
    fn floats_out_of_range_are_refused() {
        assert!(parse_f64("infinity").unwrap().is_infinite());
        assert!(parse_f64("NaN").unwrap().is_nan());
        assert_eq!(parse_f64("1e400").unwrap_err().sqlstate, "22003");
        assert_eq!(parse_f64("1e-400").unwrap_err().sqlstate, "22003");
        assert_eq!(parse_f32("1e39").unwrap_err().sqlstate, "22003");
        assert_eq!(parse_f64("0e5").unwrap(), 0.0);
    }
}
