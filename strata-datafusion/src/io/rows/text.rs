//! The fields of a row of Postgres' text format: backslash escapes, `\N` for NULL.

use memchr::{memchr, memchr_iter, memchr2};

use super::{Cutter, Rows, Span, literal};
use crate::error::SqlResult;

impl Cutter {
    pub(super) fn cut_text(&self, span: Span, rows: &mut Rows) -> SqlResult<()> {
        let row = self.bytes.get(span.start..span.end).unwrap_or_default();
        if self.has_stray_return(row) {
            return Err(literal(false, "carriage return", "\\r"));
        }
        let mut start = 0;
        if memchr(b'\\', row).is_none() {
            for end in memchr_iter(self.format.delimiter, row).chain([row.len()]) {
                self.push_plain(span.start + start, row.get(start..end).unwrap_or_default(), rows);
                start = end + 1;
            }
            return Ok(());
        }
        loop {
            let (length, has_escapes) = self.field_length(row.get(start..).unwrap_or_default());
            let field = row.get(start..start + length).unwrap_or_default();
            if has_escapes && field != self.format.null {
                let first = rows.scratch.len();
                resolve(field, &mut rows.scratch);
                rows.push_scratch(first);
            } else {
                self.push_plain(span.start + start, field, rows);
            }
            start += length + 1;
            if start > row.len() {
                return Ok(());
            }
        }
    }

    pub(super) fn push_plain(&self, start: usize, field: &[u8], rows: &mut Rows) {
        if field == self.format.null { rows.push_null() } else { rows.push(start, field.len()) }
    }

    /// Up to the delimiter, and whether there are backslashes before it.
    fn field_length(&self, row: &[u8]) -> (usize, bool) {
        let (mut from, mut has_escapes) = (0, false);
        while let Some(found) = memchr2(self.format.delimiter, b'\\', row.get(from..).unwrap_or_default()) {
            let place = from + found;
            if row.get(place) == Some(&self.format.delimiter) {
                return (place, has_escapes);
            }
            has_escapes = true;
            from = place + 2;
        }
        (row.len(), has_escapes)
    }
}

/// Resolves backslash escapes.
fn resolve(field: &[u8], out: &mut Vec<u8>) {
    let mut rest = field;
    while let Some(place) = memchr(b'\\', rest) {
        let (before, after) = rest.split_at(place);
        out.extend_from_slice(before);
        rest = match after {
            [_, digit @ b'0'..=b'7', tail @ ..] => octal(*digit, tail, out),
            [_, b'x', tail @ ..] if tail.first().is_some_and(u8::is_ascii_hexdigit) => hexadecimal(tail, out),
            [_, other, tail @ ..] => {
                out.push(match other {
                    b'b' => 8,
                    b'f' => 12,
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    b'v' => 11,
                    other => *other,
                });
                tail
            }
            // A backslash at the end of the data.
            _ => {
                out.push(b'\\');
                &[]
            }
        };
    }
    out.extend_from_slice(rest);
}

fn octal<'a>(first: u8, rest: &'a [u8], out: &mut Vec<u8>) -> &'a [u8] {
    let more = rest.iter().take(2).take_while(|byte| matches!(byte, b'0'..=b'7')).count();
    let (digits, tail) = rest.split_at(more);
    let value = digits.iter().fold(u32::from(first - b'0'), |sum, digit| sum * 8 + u32::from(digit - b'0'));
    // As Postgres: the lower eight bits.
    out.push(value.to_le_bytes()[0]);
    tail
}

fn hexadecimal<'a>(rest: &'a [u8], out: &mut Vec<u8>) -> &'a [u8] {
    let count = rest.iter().take(2).take_while(|byte| byte.is_ascii_hexdigit()).count();
    let (digits, tail) = rest.split_at(count);
    let value = digits.iter().fold(0u8, |sum, digit| {
        sum << 4 | char::from(*digit).to_digit(16).and_then(|digit| u8::try_from(digit).ok()).unwrap_or(0)
    });
    out.push(value);
    tail
}
