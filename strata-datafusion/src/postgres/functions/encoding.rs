//! The text forms of bytes that encode() and decode() know.

use crate::error::{SqlError, SqlResult};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Encoding {
    Hex,
    Base64,
    Escape,
}

const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
/// Characters of a line of base64.
const BASE64_LINE: usize = 76;

fn invalid(message: impl Into<String>) -> SqlError {
    SqlError::new("22023", message)
}

impl Encoding {
    pub(super) fn named(name: &str) -> SqlResult<Self> {
        match name.to_ascii_lowercase().as_str() {
            "hex" => Ok(Self::Hex),
            "base64" => Ok(Self::Base64),
            "escape" => Ok(Self::Escape),
            _ => Err(invalid(format!("unrecognized encoding: \"{name}\""))),
        }
    }
}

pub(super) fn encode(bytes: &[u8], encoding: Encoding) -> String {
    match encoding {
        Encoding::Hex => bytes.iter().map(|byte| format!("{byte:02x}")).collect(),
        Encoding::Base64 => encode_base64(bytes),
        Encoding::Escape => {
            let mut text = String::with_capacity(bytes.len());
            for byte in bytes {
                match byte {
                    b'\\' => text.push_str("\\\\"),
                    0 | 128.. => text.push_str(&format!("\\{byte:03o}")),
                    plain => text.push(char::from(*plain)),
                }
            }
            text
        }
    }
}

fn encode_base64(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() / 3 * 4 + 8);
    let mut in_line = 0;
    for group in bytes.chunks(3) {
        if in_line == BASE64_LINE {
            text.push('\n');
            in_line = 0;
        }
        let byte = |place: usize| u32::from(group.get(place).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for place in 0..4 {
            let digit = (bits >> (18 - 6 * place) & 63) as usize;
            text.push(if place > group.len() { '=' } else { char::from(BASE64[digit]) });
        }
        in_line += 4;
    }
    text
}

pub(super) fn decode(text: &str, encoding: Encoding) -> SqlResult<Vec<u8>> {
    match encoding {
        Encoding::Hex => decode_hex(text),
        Encoding::Base64 => decode_base64(text),
        Encoding::Escape => decode_escape(text.as_bytes()),
    }
}

fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\n' | '\t' | '\r')
}

fn decode_hex(text: &str) -> SqlResult<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len() / 2);
    let mut high = None;
    for c in text.chars().filter(|c| !is_blank(*c)) {
        let digit =
            c.to_digit(16).ok_or_else(|| invalid(format!("invalid hexadecimal digit: \"{c}\"")))? as u8;
        match high.take() {
            None => high = Some(digit),
            Some(high) => bytes.push(high << 4 | digit),
        }
    }
    match high {
        None => Ok(bytes),
        Some(_) => Err(invalid("invalid hexadecimal data: odd number of digits")),
    }
}

fn decode_base64(text: &str) -> SqlResult<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
    let (mut bits, mut digits, mut padding) = (0u32, 0, 0);
    for c in text.chars().filter(|c| !is_blank(*c)) {
        let digit = match c {
            '=' => {
                if digits < 2 || padding == 2 {
                    return Err(invalid("unexpected \"=\" while decoding base64 sequence"));
                }
                padding += 1;
                0
            }
            _ => {
                let found = BASE64.iter().position(|digit| char::from(*digit) == c);
                match found {
                    Some(digit) if padding == 0 => digit as u32,
                    _ => {
                        let message = format!("invalid symbol \"{c}\" found while decoding base64 sequence");
                        return Err(invalid(message));
                    }
                }
            }
        };
        bits = bits << 6 | digit;
        digits += 1;
        if digits == 4 {
            bytes.extend_from_slice(&bits.to_be_bytes()[1..4 - padding]);
            (bits, digits) = (0, 0);
        }
    }
    if digits != 0 {
        return Err(invalid("invalid base64 end sequence")
            .with_hint("Input data is missing padding, is truncated, or is otherwise corrupted."));
    }
    Ok(bytes)
}

fn decode_escape(text: &[u8]) -> SqlResult<Vec<u8>> {
    let wrong = || SqlError::new("22P02", "invalid input syntax for type bytea");
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((first, behind)) = rest.split_first() {
        rest = behind;
        if *first != b'\\' {
            bytes.push(*first);
            continue;
        }
        match behind {
            [b'\\', behind @ ..] => {
                bytes.push(b'\\');
                rest = behind;
            }
            [a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', behind @ ..] => {
                bytes.push((a - b'0') << 6 | (b - b'0') << 3 | (c - b'0'));
                rest = behind;
            }
            _ => return Err(wrong()),
        }
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_encoded_is_decoded() {
        let all: Vec<u8> = (0..=255).collect();
        for length in [0, 1, 2, 3, 57, 58, 256] {
            for encoding in [Encoding::Hex, Encoding::Base64, Encoding::Escape] {
                let text = encode(&all[..length], encoding);
                assert_eq!(decode(&text, encoding).unwrap(), all[..length], "{encoding:?} {length}");
            }
        }
    }

    #[test]
    fn what_is_no_encoding_is_refused() {
        for (text, encoding) in [
            ("0", Encoding::Hex),
            ("zz", Encoding::Hex),
            ("AA", Encoding::Base64),
            ("A===", Encoding::Base64),
            ("AA=A", Encoding::Base64),
            ("é", Encoding::Base64),
        ] {
            assert_eq!(decode(text, encoding).unwrap_err().sqlstate, "22023", "{text}");
        }
        assert_eq!(decode("\\9", Encoding::Escape).unwrap_err().sqlstate, "22P02");
    }
}
