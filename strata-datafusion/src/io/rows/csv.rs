//! The fields of a row of CSV.

use memchr::{memchr, memchr_iter};

use super::{Cutter, Rows, Span, literal};
use crate::error::{SqlError, SqlResult};

impl Cutter {
    pub(super) fn cut_csv(&self, span: Span, rows: &mut Rows) -> SqlResult<()> {
        let row = self.bytes.get(span.start..span.end).unwrap_or_default();
        let first = rows.fields.len();
        let mut start = 0;
        if memchr(self.format.quote, row).is_none() {
            if self.has_stray_return(row) {
                return Err(literal(true, "carriage return", "\\r"));
            }
            for end in memchr_iter(self.format.delimiter, row).chain([row.len()]) {
                let field = row.get(start..end).unwrap_or_default();
                self.push_unquoted(span.start + start, field, first, rows);
                start = end + 1;
            }
            return Ok(());
        }
        loop {
            let rest = row.get(start..).unwrap_or_default();
            let length = self.cut_field(span.start + start, rest, first, rows)?;
            start += length + 1;
            if start > row.len() {
                return Ok(());
            }
        }
    }

    fn push_unquoted(&self, start: usize, field: &[u8], first: usize, rows: &mut Rows) {
        let is_null = field == self.format.null;
        let column = self.columns.get(rows.fields.len() - first);
        if is_null && !column.is_some_and(|column| column.force_not_null) {
            rows.push_null();
        } else {
            rows.push(start, field.len());
        }
    }

    /// Cuts the field that `rest` starts with; gives its length in the row.
    fn cut_field(&self, start: usize, rest: &[u8], first: usize, rows: &mut Rows) -> SqlResult<usize> {
        if rest.first() != Some(&self.format.quote) {
            let length = memchr(self.format.delimiter, rest).unwrap_or(rest.len());
            let field = rest.get(..length).unwrap_or_default();
            if memchr(self.format.quote, field).is_none() {
                if self.has_stray_return(field) {
                    return Err(literal(true, "carriage return", "\\r"));
                }
                self.push_unquoted(start, field, first, rows);
                return Ok(length);
            }
            return self.cut_escaped(rest, first, rows);
        }
        // Most quoted fields hold no quote.
        let inner = rest.get(1..).unwrap_or_default();
        let end = memchr(self.format.quote, inner);
        let plain = end.filter(|end| {
            let after = inner.get(end + 1);
            let escape = self.format.escape;
            (after.is_none() || after == Some(&self.format.delimiter))
                && (escape == self.format.quote
                    || memchr(escape, inner.get(..*end).unwrap_or_default()).is_none())
        });
        match plain {
            Some(length) => {
                let field = inner.get(..length).unwrap_or_default();
                if self.is_quoted_null(field, first, rows) {
                    rows.push_null();
                } else {
                    rows.push(start + 1, length);
                }
                Ok(length + 2)
            }
            None => self.cut_escaped(rest, first, rows),
        }
    }

    fn is_quoted_null(&self, field: &[u8], first: usize, rows: &Rows) -> bool {
        field == self.format.null
            && self.columns.get(rows.fields.len() - first).is_some_and(|column| column.force_null)
    }

    /// As [`cut_field`](Self::cut_field), with quotes or escapes inside.
    fn cut_escaped(&self, rest: &[u8], first: usize, rows: &mut Rows) -> SqlResult<usize> {
        let from = rows.scratch.len();
        let (mut place, mut in_quotes) = (0, false);
        while let Some(byte) = rest.get(place) {
            place += 1;
            if in_quotes {
                let next = rest.get(place);
                if *byte == self.format.escape
                    && let Some(next) = next
                    && (*next == self.format.escape || *next == self.format.quote)
                {
                    rows.scratch.push(*next);
                    place += 1;
                } else if *byte == self.format.quote {
                    in_quotes = false;
                } else {
                    rows.scratch.push(*byte);
                }
            } else if *byte == self.format.delimiter {
                place -= 1;
                break;
            } else if *byte == self.format.quote {
                in_quotes = true;
            } else if *byte == b'\r' && self.has_stray_return(b"\r") {
                return Err(literal(true, "carriage return", "\\r"));
            } else {
                rows.scratch.push(*byte);
            }
        }
        if in_quotes {
            return Err(SqlError::new("22P04", "unterminated CSV quoted field"));
        }
        let field = rows.scratch.get(from..).unwrap_or_default();
        if self.is_quoted_null(field, first, rows) {
            rows.scratch.truncate(from);
            rows.push_null();
        } else {
            rows.push_scratch(from);
        }
        Ok(place)
    }
}
