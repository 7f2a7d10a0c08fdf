//! Numbers as text.

use std::fmt::Write as _;

use bytes::BufMut;

const PAIRS: &[u8; 200] = b"0001020304050607080910111213141516171819\
2021222324252627282930313233343536373839\
4041424344454647484950515253545556575859\
6061626364656667686970717273747576777879\
8081828384858687888990919293949596979899";

/// Decimal digits of a number that are being written from the last to the first.
struct Digits {
    buffer: [u8; 48],
    start: usize,
}

impl Digits {
    fn of(mut value: u64) -> Self {
        let mut digits = Self { buffer: [b'0'; 48], start: 48 };
        while value >= 100 {
            digits.push_pair((value % 100) as usize);
            value /= 100;
        }
        if value >= 10 {
            digits.push_pair(value as usize);
        } else {
            digits.push(b'0' + value as u8);
        }
        digits
    }

    fn of_wide(value: u128) -> Self {
        const CHUNK: u128 = 10_000_000_000_000_000_000;
        if let Ok(small) = u64::try_from(value) {
            return Self::of(small);
        }
        let mut digits = Self { buffer: [b'0'; 48], start: 48 };
        let mut rest = value;
        while rest > 0 {
            let chunk = Self::of((rest % CHUNK) as u64);
            rest /= CHUNK;
            let text = chunk.text();
            let end = digits.start;
            digits.start -= text.len();
            digits.buffer[digits.start..end].copy_from_slice(text);
            if rest > 0 {
                // Inner chunks keep their leading zeros.
                digits.start = end - 19;
            }
        }
        digits
    }

    fn push(&mut self, digit: u8) {
        self.start -= 1;
        self.buffer[self.start] = digit;
    }

    fn push_pair(&mut self, pair: usize) {
        self.start -= 2;
        self.buffer[self.start..self.start + 2].copy_from_slice(&PAIRS[pair * 2..pair * 2 + 2]);
    }

    fn text(&self) -> &[u8] {
        &self.buffer[self.start..]
    }
}

/// A whole number.
pub fn write_integer(value: i64, out: &mut impl BufMut) {
    if value < 0 {
        out.put_u8(b'-');
    }
    out.put_slice(Digits::of(value.unsigned_abs()).text());
}

/// A number below 100 in two digits.
pub(super) fn write_pair(value: u32, out: &mut impl BufMut) {
    let start = (value as usize % 100) * 2;
    out.put_slice(&PAIRS[start..start + 2]);
}

/// At least `width` digits.
pub(super) fn write_padded(value: u64, width: usize, out: &mut impl BufMut) {
    let digits = Digits::of(value);
    for _ in digits.text().len()..width {
        out.put_u8(b'0');
    }
    out.put_slice(digits.text());
}

/// `value / 10^scale` with all of its digits after the point.
pub fn write_decimal(value: i128, scale: i8, out: &mut impl BufMut) {
    let digits = Digits::of_wide(value.unsigned_abs());
    let text = digits.text();
    if value < 0 {
        out.put_u8(b'-');
    }
    match usize::try_from(scale) {
        Ok(0) => out.put_slice(text),
        Ok(scale) if text.len() > scale => {
            let (whole, fraction) = text.split_at(text.len() - scale);
            out.put_slice(whole);
            out.put_u8(b'.');
            out.put_slice(fraction);
        }
        Ok(scale) => {
            out.put_slice(b"0.");
            for _ in text.len()..scale {
                out.put_u8(b'0');
            }
            out.put_slice(text);
        }
        Err(_) => {
            out.put_slice(text);
            if value != 0 {
                for _ in 0..scale.unsigned_abs() {
                    out.put_u8(b'0');
                }
            }
        }
    }
}

/// As [`write_decimal`], without zeros at the end of the fraction.
pub fn write_decimal_trimmed(mut value: i128, mut scale: i8, out: &mut impl BufMut) {
    while scale > 0 && value % 10 == 0 {
        value /= 10;
        scale -= 1;
    }
    write_decimal(value, scale, out);
}

/// The shortest text that reads back as the same number.
pub fn write_f64(value: f64, out: &mut impl BufMut) {
    write_float(value.is_nan(), value.is_infinite(), value < 0.0, format_args!("{value:e}"), 15, out);
}

/// The shortest text that reads back as the same number.
pub fn write_f32(value: f32, out: &mut impl BufMut) {
    write_float(value.is_nan(), value.is_infinite(), value < 0.0, format_args!("{value:e}"), 6, out);
}

/// Text on the stack.
struct Stack {
    buffer: [u8; 40],
    used: usize,
}

impl std::fmt::Write for Stack {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        let end = self.used + text.len();
        self.buffer.get_mut(self.used..end).ok_or(std::fmt::Error)?.copy_from_slice(text.as_bytes());
        self.used = end;
        Ok(())
    }
}

/// Rust prints `d.ddde±x` with the shortest digits; Postgres prints the same digits, without an exponent where that is
/// between -4 and `most`.
fn write_float(
    nan: bool,
    infinite: bool,
    negative: bool,
    scientific: std::fmt::Arguments<'_>,
    most: i32,
    out: &mut impl BufMut,
) {
    if nan {
        return out.put_slice(b"NaN");
    }
    if infinite {
        return out.put_slice(if negative { b"-Infinity" } else { b"Infinity" });
    }
    let mut stack = Stack { buffer: [0; 40], used: 0 };
    if stack.write_fmt(scientific).is_err() {
        return;
    }
    let text = &stack.buffer[..stack.used];
    let split = text.iter().position(|byte| *byte == b'e').unwrap_or(text.len());
    let (mantissa, exponent) = text.split_at(split);
    let exponent: i32 =
        exponent.get(1..).and_then(|digits| std::str::from_utf8(digits).ok()?.parse().ok()).unwrap_or(0);
    let mantissa = match mantissa.strip_prefix(b"-") {
        Some(rest) => {
            out.put_u8(b'-');
            rest
        }
        None => mantissa,
    };
    let mut digits = [0u8; 40];
    let mut count = 0;
    for byte in mantissa.iter().filter(|byte| **byte != b'.') {
        digits[count] = *byte;
        count += 1;
    }
    let digits = &digits[..count];
    if exponent < -4 || exponent >= most {
        out.put_slice(mantissa);
        out.put_slice(if exponent < 0 { b"e-" } else { b"e+" });
        write_padded(u64::from(exponent.unsigned_abs()), 2, out);
    } else if exponent < 0 {
        out.put_slice(b"0.");
        for _ in 0..(-exponent - 1) {
            out.put_u8(b'0');
        }
        out.put_slice(digits);
    } else {
        let whole = exponent.unsigned_abs() as usize + 1;
        if digits.len() <= whole {
            out.put_slice(digits);
            for _ in digits.len()..whole {
                out.put_u8(b'0');
            }
        } else {
            out.put_slice(&digits[..whole]);
            out.put_u8(b'.');
            out.put_slice(&digits[whole..]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn integers_print_all_digits() {
        for value in [0, 7, 10, 99, 100, 12_345, -1, i64::MAX, i64::MIN] {
            assert_eq!(text(|out| write_integer(value, out)), value.to_string());
        }
    }

    #[test]
    fn decimals_keep_their_scale() {
        for (value, scale, expected) in [
            (0, 0, "0"),
            (0, 2, "0.00"),
            (5, 2, "0.05"),
            (-5, 1, "-0.5"),
            (12_345, 2, "123.45"),
            (i128::from(u64::MAX) * 10_000_000_000, 4, "18446744073709551615000000.0000"),
            (i128::MAX, 38, "1.70141183460469231731687303715884105727"),
            (7, -2, "700"),
        ] {
            assert_eq!(text(|out| write_decimal(value, scale, out)), expected);
        }
        assert_eq!(text(|out| write_decimal_trimmed(1_500, 3, out)), "1.5");
        assert_eq!(text(|out| write_decimal_trimmed(3_000, 3, out)), "3");
    }

    #[test]
    fn floats_print_as_postgres_does() {
        for (value, expected) in [
            (1000.0, "1000"),
            (0.1, "0.1"),
            (-1.5, "-1.5"),
            (1e14, "100000000000000"),
            (1e15, "1e+15"),
            (0.0001, "0.0001"),
            (0.00001, "1e-05"),
            (1.2345e-10, "1.2345e-10"),
            (f64::NAN, "NaN"),
            (f64::NEG_INFINITY, "-Infinity"),
            (f64::MAX, "1.7976931348623157e+308"),
            (f64::MIN_POSITIVE, "2.2250738585072014e-308"),
            (-0.0, "-0"),
            (123_456.789, "123456.789"),
        ] {
            assert_eq!(text(|out| write_f64(value, out)), expected);
        }
        assert_eq!(text(|out| write_f32(1e6, out)), "1e+06");
        assert_eq!(text(|out| write_f32(123_456.0, out)), "123456");
        assert_eq!(text(|out| write_f32(0.1, out)), "0.1");
    }
}
