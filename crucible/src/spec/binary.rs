//! Binary values as PostgreSQL prints them, so that one expectation serves both protocols.
//!
//! Written against PostgreSQL's send and output functions and independent of Strata's own, which it tests. Times with a zone
//! print in UTC, which is what the spec tests' sessions use.

use tokio_postgres::types::{Kind, Type};

use super::calendar::{date_text, interval_text, time_text, timestamp_text};

/// A value in text, or why the bytes are none of this type.
pub fn text_of(ty: &Type, bytes: &[u8]) -> Result<String, String> {
    if let Kind::Array(element) = ty.kind() {
        return array_text(element, bytes);
    }
    Ok(match *ty {
        Type::BOOL => match bytes {
            [0] => "f".to_owned(),
            [1] => "t".to_owned(),
            other => return Err(format!("boolean of {other:?}")),
        },
        Type::INT2 => i16::from_be_bytes(fixed(bytes)?).to_string(),
        Type::INT4 => i32::from_be_bytes(fixed(bytes)?).to_string(),
        Type::INT8 => i64::from_be_bytes(fixed(bytes)?).to_string(),
        Type::OID => u32::from_be_bytes(fixed(bytes)?).to_string(),
        Type::FLOAT4 => {
            let value = f32::from_be_bytes(fixed(bytes)?);
            float_text(f64::from(value), &format!("{value:e}"), 6)
        }
        Type::FLOAT8 => {
            let value = f64::from_be_bytes(fixed(bytes)?);
            float_text(value, &format!("{value:e}"), 15)
        }
        Type::NUMERIC => numeric_text(bytes)?,
        Type::BYTEA => format!("\\x{}", hex(bytes)),
        Type::DATE => date_text(i32::from_be_bytes(fixed(bytes)?)),
        Type::TIME => time_text(i64::from_be_bytes(fixed(bytes)?)),
        Type::TIMESTAMP => timestamp_text(i64::from_be_bytes(fixed(bytes)?), ""),
        Type::TIMESTAMPTZ => timestamp_text(i64::from_be_bytes(fixed(bytes)?), "+00"),
        Type::INTERVAL => {
            let mut input = Input(bytes);
            let (micros, days, months) = (input.i64()?, input.i32()?, input.i32()?);
            input.end()?;
            interval_text(months, days, micros)
        }
        Type::UUID => {
            let bytes: [u8; 16] = fixed(bytes)?;
            let digits = hex(&bytes);
            [0..8, 8..12, 12..16, 16..20, 20..32].map(|range| &digits[range]).join("-")
        }
        Type::JSONB => match bytes.split_first() {
            Some((1, text)) => utf8(text)?,
            _ => return Err("jsonb without its version byte".to_owned()),
        },
        Type::TEXT
        | Type::VARCHAR
        | Type::BPCHAR
        | Type::NAME
        | Type::CHAR
        | Type::JSON
        | Type::UNKNOWN
        | Type::VOID => utf8(bytes)?,
        _ => return Err(format!("no text form of binary {ty} is known here")),
    })
}

fn utf8(bytes: &[u8]) -> Result<String, String> {
    String::from_utf8(bytes.to_vec()).map_err(|error| error.to_string())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn fixed<const SIZE: usize>(bytes: &[u8]) -> Result<[u8; SIZE], String> {
    bytes.try_into().map_err(|_| format!("{} bytes where {SIZE} belong", bytes.len()))
}

/// Shortest digits that read back as the value; scientific below 1e-4 and from `limit` digits on.
fn float_text(value: f64, scientific: &str, limit: i32) -> String {
    if value.is_nan() {
        return "NaN".to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 { "Infinity" } else { "-Infinity" }.to_owned();
    }
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let (sign, mantissa) = mantissa.strip_prefix('-').map_or(("", mantissa), |rest| ("-", rest));
    if value != 0.0 && !(-4..limit).contains(&exponent) {
        let direction = if exponent < 0 { '-' } else { '+' };
        return format!("{sign}{mantissa}e{direction}{:02}", exponent.abs());
    }
    let digits: String = mantissa.chars().filter(char::is_ascii_digit).collect();
    format!("{sign}{}", place_point(&digits, exponent + 1))
}

/// Digits with a decimal point behind the first `point` of them, which may be negative or more than there are.
fn place_point(digits: &str, point: i32) -> String {
    let count = i32::try_from(digits.len()).unwrap_or(i32::MAX);
    let zeros = |many: i32| "0".repeat(usize::try_from(many).unwrap_or(0));
    if point <= 0 {
        return format!("0.{}{digits}", zeros(-point));
    }
    if point >= count {
        return format!("{digits}{}", zeros(point - count));
    }
    let (whole, fraction) = digits.split_at(usize::try_from(point).unwrap_or(0));
    format!("{whole}.{fraction}")
}

/// `numeric_send`: digits of base 10,000, the first of which has the given weight.
fn numeric_text(bytes: &[u8]) -> Result<String, String> {
    let mut input = Input(bytes);
    let (count, weight) = (input.i16()?, input.i16()?);
    let (sign, scale) = (input.u16()?, input.u16()?);
    let digits = (0..count).map(|_| input.i16()).collect::<Result<Vec<_>, _>>()?;
    input.end()?;
    match sign {
        0xC000 => return Ok("NaN".to_owned()),
        0xD000 => return Ok("Infinity".to_owned()),
        0xF000 => return Ok("-Infinity".to_owned()),
        0 | 0x4000 => {}
        other => return Err(format!("numeric with sign {other:#x}")),
    }
    // Digit groups by the power of 10,000 they stand for.
    let group = |power: i32| {
        let index = usize::try_from(i32::from(weight) - power).ok();
        index.and_then(|index| digits.get(index)).copied().unwrap_or(0)
    };
    let mut whole: String =
        (0..=i32::from(weight)).rev().map(|power| format!("{:04}", group(power))).collect();
    whole = whole.trim_start_matches('0').to_owned();
    if whole.is_empty() {
        whole.push('0');
    }
    let groups = i32::from(scale).div_euclid(4) + 1;
    let fraction: String = (1..=groups).map(|power| format!("{:04}", group(-power))).collect();
    let sign = if sign == 0x4000 { "-" } else { "" };
    Ok(match scale {
        0 => format!("{sign}{whole}"),
        scale => format!("{sign}{whole}.{}", &fraction[..usize::from(scale)]),
    })
}

/// `array_send`: dimensions, then the elements in row-major order.
fn array_text(element: &Type, bytes: &[u8]) -> Result<String, String> {
    let mut input = Input(bytes);
    let (dimensions, _has_nulls, oid) = (input.i32()?, input.i32()?, input.u32()?);
    if oid != element.oid() {
        return Err(format!("array of {element} holds elements of type {oid}"));
    }
    let mut lengths = Vec::new();
    for _ in 0..dimensions {
        lengths.push(usize::try_from(input.i32()?).map_err(|error| error.to_string())?);
        if input.i32()? != 1 {
            return Err("an array that does not start at 1".to_owned());
        }
    }
    if lengths.is_empty() {
        input.end()?;
        return Ok("{}".to_owned());
    }
    let text = array_level(element, &lengths, &mut input)?;
    input.end()?;
    Ok(text)
}

fn array_level(element: &Type, lengths: &[usize], input: &mut Input<'_>) -> Result<String, String> {
    let Some((length, inner)) = lengths.split_first() else {
        return array_element(element, input);
    };
    let parts = (0..*length).map(|_| array_level(element, inner, input)).collect::<Result<Vec<_>, _>>()?;
    Ok(format!("{{{}}}", parts.join(",")))
}

fn array_element(element: &Type, input: &mut Input<'_>) -> Result<String, String> {
    let Ok(length) = usize::try_from(input.i32()?) else { return Ok("NULL".to_owned()) };
    let text = text_of(element, input.take(length)?)?;
    let special = |character: char| "{}\",\\".contains(character) || character.is_ascii_whitespace();
    if !text.is_empty() && !text.contains(special) && !text.eq_ignore_ascii_case("null") {
        return Ok(text);
    }
    Ok(format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"")))
}

/// Bytes, read from the front.
struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], String> {
        let (front, rest) = self.0.split_at_checked(count).ok_or("the value ends early")?;
        self.0 = rest;
        Ok(front)
    }

    fn array<const SIZE: usize>(&mut self) -> Result<[u8; SIZE], String> {
        fixed(self.take(SIZE)?)
    }

    fn i16(&mut self) -> Result<i16, String> {
        self.array().map(i16::from_be_bytes)
    }

    fn u16(&mut self) -> Result<u16, String> {
        self.array().map(u16::from_be_bytes)
    }

    fn i32(&mut self) -> Result<i32, String> {
        self.array().map(i32::from_be_bytes)
    }

    fn u32(&mut self) -> Result<u32, String> {
        self.array().map(u32::from_be_bytes)
    }

    fn i64(&mut self) -> Result<i64, String> {
        self.array().map(i64::from_be_bytes)
    }

    fn end(&self) -> Result<(), String> {
        if self.0.is_empty() { Ok(()) } else { Err(format!("{} bytes too many", self.0.len())) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numeric(weight: i16, sign: u16, scale: u16, digits: &[i16]) -> String {
        let mut bytes = Vec::new();
        bytes.extend(i16::try_from(digits.len()).expect("few").to_be_bytes());
        bytes.extend(weight.to_be_bytes());
        bytes.extend(sign.to_be_bytes());
        bytes.extend(scale.to_be_bytes());
        bytes.extend(digits.iter().flat_map(|digit| digit.to_be_bytes()));
        text_of(&Type::NUMERIC, &bytes).expect("a numeric")
    }

    #[test]
    fn numerics_print_with_their_scale() {
        assert_eq!(numeric(0, 0, 0, &[]), "0");
        assert_eq!(numeric(0, 0, 2, &[]), "0.00");
        assert_eq!(numeric(1, 0, 0, &[1]), "10000");
        assert_eq!(numeric(1, 0x4000, 3, &[1, 2345, 6780]), "-12345.678");
        assert_eq!(numeric(-1, 0, 4, &[5]), "0.0005");
        assert_eq!(numeric(-2, 0, 8, &[5]), "0.00000005");
        assert_eq!(numeric(0, 0xC000, 0, &[]), "NaN");
    }

    #[test]
    fn floats_print_as_shortest_digits() {
        let cases = [
            (0.0, "0"),
            (-0.0, "-0"),
            (1000.0, "1000"),
            (0.1, "0.1"),
            (-2.5, "-2.5"),
            (1e14, "100000000000000"),
            (1e15, "1e+15"),
            (1.5e300, "1.5e+300"),
            (1e-4, "0.0001"),
            (1e-5, "1e-05"),
            (f64::INFINITY, "Infinity"),
        ];
        for (value, text) in cases {
            assert_eq!(text_of(&Type::FLOAT8, &value.to_be_bytes()).as_deref(), Ok(text));
        }
        assert_eq!(text_of(&Type::FLOAT4, &1e6f32.to_be_bytes()).as_deref(), Ok("1e+06"));
        assert_eq!(text_of(&Type::FLOAT4, &0.1f32.to_be_bytes()).as_deref(), Ok("0.1"));
    }

    #[test]
    fn array_elements_are_quoted_where_needed() {
        let mut bytes: Vec<u8> = [1i32, 1, 25, 4, 1].iter().flat_map(|number| number.to_be_bytes()).collect();
        for text in ["a", "b c", "null"] {
            bytes.extend(i32::try_from(text.len()).expect("short").to_be_bytes());
            bytes.extend(text.as_bytes());
        }
        bytes.extend((-1i32).to_be_bytes());
        assert_eq!(text_of(&Type::TEXT_ARRAY, &bytes).as_deref(), Ok("{a,\"b c\",\"null\",NULL}"));
    }

    #[test]
    fn bytes_of_another_size_are_refused() {
        assert!(text_of(&Type::INT4, &[0; 8]).is_err());
        assert!(text_of(&Type::NUMERIC, &[0; 3]).is_err());
    }
}
