//! Values as text, as Postgres' output functions print them. All write bytes of UTF-8 without allocating.

pub mod datetime;
pub mod interval;
pub mod number;

use bytes::BufMut;

/// `\x` and hexadecimal digits.
pub fn write_bytea(bytes: &[u8], out: &mut impl BufMut) {
    out.put_slice(b"\\x");
    for byte in bytes {
        write_hex(*byte, out);
    }
}

/// Eight, four, four, four and twelve hexadecimal digits.
pub fn write_uuid(bytes: &[u8], out: &mut impl BufMut) {
    for (index, byte) in bytes.iter().enumerate() {
        if matches!(index, 4 | 6 | 8 | 10) {
            out.put_u8(b'-');
        }
        write_hex(*byte, out);
    }
}

fn write_hex(byte: u8, out: &mut impl BufMut) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    out.put_slice(&[DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
}

/// One element of an array's text: quoted where it could be misread.
pub fn write_array_element(text: &[u8], out: &mut impl BufMut) {
    let special = |byte: &u8| {
        matches!(byte, b'"' | b'\\' | b'{' | b'}' | b',' | b' ' | b'\t' | b'\n' | b'\r' | 11 | 12)
    };
    if !text.is_empty() && !text.iter().any(special) && !text.eq_ignore_ascii_case(b"null") {
        out.put_slice(text);
        return;
    }
    out.put_u8(b'"');
    for byte in text {
        if matches!(byte, b'"' | b'\\') {
            out.put_u8(b'\\');
        }
        out.put_u8(*byte);
    }
    out.put_u8(b'"');
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
    fn bytes_and_uuids_are_hexadecimal() {
        assert_eq!(text(|out| write_bytea(&[0, 0xab, 255], out)), "\\x00abff");
        let id: Vec<u8> = (0..16).collect();
        assert_eq!(text(|out| write_uuid(&id, out)), "00010203-0405-0607-0809-0a0b0c0d0e0f");
    }

    #[test]
    fn array_elements_are_quoted_where_needed() {
        for (element, expected) in
            [("a", "a"), ("", "\"\""), ("NULL", "\"NULL\""), ("a b", "\"a b\""), ("a\"\\", "\"a\\\"\\\\\"")]
        {
            assert_eq!(text(|out| write_array_element(element.as_bytes(), out)), expected);
        }
    }
}
