//! Text and CSV into fields.
//!
//! A [`Cutter`] takes chunks that are cut anywhere. [`Cutter::cut`] finds the rows that are complete; their fields are
//! slices of the bytes that the cutter holds, or of a scratch buffer where escapes had to be resolved. The rows must be
//! used up before [`Cutter::release`] forgets them, so that memory is bounded by a chunk and the longest row.
//!
//! Rows end as the first one does: `\n`, `\r\n` or `\r`. In text a backslash takes the meaning from what follows it, line
//! ends too; in CSV quotes do. `\.` alone on a line ends the data.

mod csv;
mod text;

use memchr::{memchr, memchr_iter, memchr2};

use super::format::{Header, TextFormat};
use crate::error::{SqlError, SqlResult};

/// The longest row.
const MAX_ROW_BYTES: usize = 1 << 30;
/// The start of a field that is NULL.
const NULL: u32 = u32::MAX;
/// Set in the start of a field that stands in the scratch buffer.
const SCRATCH: u32 = 1 << 31;

/// A field: where it starts, with the marks above, and its length.
#[derive(Clone, Copy, Debug)]
struct Field {
    start: u32,
    length: u32,
}

/// Fields of rows, all of the same number.
#[derive(Debug, Default)]
pub(crate) struct Rows {
    columns: usize,
    fields: Vec<Field>,
    lines: Vec<u64>,
    scratch: Vec<u8>,
}

impl Rows {
    /// How many rows there are.
    pub(crate) fn len(&self) -> usize {
        self.lines.len()
    }

    /// The line on which a row ends, from 1.
    pub(crate) fn line(&self, row: usize) -> u64 {
        self.lines.get(row).copied().unwrap_or_default()
    }

    /// A field, `None` if it is NULL. `bytes` are the cutter's.
    pub(crate) fn field<'a>(&'a self, bytes: &'a [u8], row: usize, column: usize) -> Option<&'a [u8]> {
        let field = self.fields.get(row * self.columns + column)?;
        if field.start == NULL {
            return None;
        }
        let (from, start) = match field.start & SCRATCH {
            0 => (bytes, field.start),
            _ => (self.scratch.as_slice(), field.start & !SCRATCH),
        };
        from.get(start as usize..start as usize + field.length as usize)
    }

    fn clear(&mut self, columns: usize) {
        self.columns = columns;
        self.fields.clear();
        self.lines.clear();
        self.scratch.clear();
    }

    fn push_null(&mut self) {
        self.fields.push(Field { start: NULL, length: 0 });
    }

    fn push(&mut self, start: usize, length: usize) {
        // Rows end before 2^30 bytes, and so do the bytes held.
        self.fields.push(Field { start: small(start), length: small(length) });
    }

    fn push_scratch(&mut self, start: usize) {
        let length = self.scratch.len() - start;
        self.fields.push(Field { start: small(start) | SCRATCH, length: small(length) });
    }
}

fn small(size: usize) -> u32 {
    u32::try_from(size).unwrap_or(NULL - 1) & !SCRATCH
}

/// How rows end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LineEnd {
    Unknown,
    Newline,
    CarriageReturn,
    Both,
}

/// Where a row lies: its bytes, and where the next one starts.
#[derive(Clone, Copy, Debug)]
struct Span {
    start: usize,
    end: usize,
    next: usize,
}

/// What is asked of single columns.
#[derive(Clone, Debug)]
pub(crate) struct FieldColumn {
    /// Its name.
    pub(crate) name: String,
    /// A quoted field that reads as NULL's string is NULL too.
    pub(crate) force_null: bool,
    /// NULL's string is no NULL.
    pub(crate) force_not_null: bool,
}

/// Cuts chunks into rows and fields.
#[derive(Debug)]
pub(crate) struct Cutter {
    format: TextFormat,
    table: String,
    columns: Vec<FieldColumn>,
    bytes: Vec<u8>,
    /// Where the first row starts that has not been cut.
    start: usize,
    /// Where the search for its end goes on, and what is known there.
    scan: usize,
    in_quotes: bool,
    escaped: bool,
    line_end: LineEnd,
    line: u64,
    header: Header,
    ended: bool,
}

impl Cutter {
    /// A cutter of rows with these columns. The table's name is for errors.
    pub(crate) fn new(format: TextFormat, table: String, columns: Vec<FieldColumn>) -> Self {
        let header = format.header;
        Self {
            format,
            table,
            columns,
            bytes: Vec::new(),
            start: 0,
            scan: 0,
            in_quotes: false,
            escaped: false,
            line_end: LineEnd::Unknown,
            line: 0,
            header,
            ended: false,
        }
    }

    /// The bytes that fields stand in.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Takes a chunk.
    pub(crate) fn push(&mut self, chunk: &[u8]) -> SqlResult<()> {
        if self.ended {
            return Ok(());
        }
        if self.bytes.len().saturating_add(chunk.len()) > MAX_ROW_BYTES {
            let error = SqlError::new("54000", "a row of COPY data is too long");
            return Err(self.at_line(error.with_detail(format!("The limit is {MAX_ROW_BYTES} bytes."))));
        }
        self.bytes.extend_from_slice(chunk);
        Ok(())
    }

    /// Cuts the complete rows; the last one needs no line end if nothing follows. On an error the rows before it are
    /// there.
    pub(crate) fn cut(&mut self, rows: &mut Rows, last: bool) -> SqlResult<()> {
        rows.clear(self.columns.len());
        while !self.ended {
            let Some(span) = self.next_row(last)? else { break };
            self.line += 1;
            (self.start, self.scan) = (span.next, span.next);
            (self.in_quotes, self.escaped) = (false, false);
            if self.bytes.get(span.start..span.end) == Some(b"\\.") {
                self.ended = true;
                break;
            }
            self.cut_row(span, rows)?;
        }
        Ok(())
    }

    /// Forgets the rows that were cut.
    pub(crate) fn release(&mut self) {
        self.scan -= self.start;
        self.bytes.drain(..self.start);
        self.start = 0;
        if self.ended {
            self.bytes.clear();
        }
    }

    fn cut_row(&mut self, span: Span, rows: &mut Rows) -> SqlResult<()> {
        let before = rows.fields.len();
        let cut = if self.format.csv { self.cut_csv(span, rows) } else { self.cut_text(span, rows) };
        let count = rows.fields.len() - before;
        let header = std::mem::replace(&mut self.header, Header::No);
        if header != Header::No {
            let checked = match header {
                Header::Match => cut.and_then(|()| self.check_header(rows, before)),
                Header::Yes | Header::No => Ok(()),
            };
            rows.clear(self.columns.len());
            return checked;
        }
        let checked = cut.and_then(|()| match self.columns.get(count) {
            _ if count > self.columns.len() => {
                Err(SqlError::new("22P04", "extra data after last expected column"))
            }
            Some(column) => {
                Err(SqlError::new("22P04", format!("missing data for column \"{}\"", column.name)))
            }
            None => Ok(()),
        });
        if let Err(error) = checked {
            rows.fields.truncate(before);
            let row = self.bytes.get(span.start..span.end).unwrap_or_default();
            return Err(error.with_context(row_context(&self.table, self.line, row)));
        }
        rows.lines.push(self.line);
        Ok(())
    }

    fn check_header(&self, rows: &Rows, first: usize) -> SqlResult<()> {
        let found = rows.fields.len() - first;
        let mismatch = |message: String| self.at_line(SqlError::new("22P04", message));
        if found != self.columns.len() {
            let expected = self.columns.len();
            return Err(mismatch(format!(
                "wrong number of fields in header line: got {found}, expected {expected}"
            )));
        }
        for (place, column) in self.columns.iter().enumerate() {
            let name = rows.field(&self.bytes, 0, place).map(String::from_utf8_lossy);
            if name.as_deref() != Some(column.name.as_str()) {
                let shown = name.map_or("null value".to_owned(), |name| format!("\"{name}\""));
                return Err(mismatch(format!(
                    "column name mismatch in header line field {}: got {shown}, expected \"{}\"",
                    place + 1,
                    column.name
                )));
            }
        }
        Ok(())
    }

    /// An error that names the line.
    fn at_line(&self, error: SqlError) -> SqlError {
        error.with_context(format!("COPY {}, line {}", self.table, self.line))
    }

    /// Finds the end of the row at `start`; remembers how far it has looked.
    fn next_row(&mut self, last: bool) -> SqlResult<Option<Span>> {
        loop {
            let rest = self.bytes.get(self.scan..).unwrap_or_default();
            let found = match self.line_end {
                LineEnd::Unknown => memchr2(b'\n', b'\r', rest),
                LineEnd::Newline | LineEnd::Both => memchr(b'\n', rest),
                LineEnd::CarriageReturn => memchr(b'\r', rest),
            };
            let Some(found) = found else {
                self.look(self.bytes.len());
                return if last { self.last_row() } else { Ok(None) };
            };
            let place = self.scan + found;
            self.look(place);
            if self.in_quotes {
                self.line += u64::from(
                    self.bytes.get(place) != Some(&b'\r') || self.line_end == LineEnd::CarriageReturn,
                );
                self.scan = place + 1;
                self.escaped = false;
                continue;
            }
            if !self.format.csv && is_escaped(&self.bytes, self.start, place) {
                self.scan = place + 1;
                continue;
            }
            if self.line_end == LineEnd::Unknown {
                let next = self.bytes.get(place + 1);
                self.line_end = match (self.bytes.get(place), next) {
                    (Some(b'\n'), _) => LineEnd::Newline,
                    (_, Some(b'\n')) => LineEnd::Both,
                    (_, None) if !last => return Ok(None),
                    _ => LineEnd::CarriageReturn,
                };
            }
            return self.span(place).map(Some);
        }
    }

    /// The row whose end was found at `place`.
    fn span(&mut self, place: usize) -> SqlResult<Span> {
        let (start, at) = (self.start, |place: usize| self.bytes.get(place));
        match self.line_end {
            // The first row's end is found at its `\r`, those of others at the `\n`.
            LineEnd::Both if at(place) == Some(&b'\r') => Ok(Span { start, end: place, next: place + 2 }),
            LineEnd::Both if place > start && at(place - 1) == Some(&b'\r') => {
                Ok(Span { start, end: place - 1, next: place + 1 })
            }
            LineEnd::Both => {
                self.line += 1;
                Err(self.at_line(literal(self.format.csv, "newline", "\\n")))
            }
            _ => Ok(Span { start, end: place, next: place + 1 }),
        }
    }

    fn last_row(&mut self) -> SqlResult<Option<Span>> {
        let (start, end) = (self.start, self.bytes.len());
        if start == end {
            return Ok(None);
        }
        if self.in_quotes {
            self.line += 1;
            return Err(self.at_line(SqlError::new("22P04", "unterminated CSV quoted field")));
        }
        Ok(Some(Span { start, end, next: end }))
    }

    /// Brings what is known of quotes up to `place`.
    fn look(&mut self, place: usize) {
        if self.format.csv {
            let bytes = self.bytes.get(self.scan..place).unwrap_or_default();
            if self.format.quote == self.format.escape {
                self.in_quotes ^= memchr_iter(self.format.quote, bytes).count() % 2 == 1;
            } else {
                for byte in bytes {
                    if self.in_quotes && *byte == self.format.escape {
                        self.escaped = !self.escaped;
                        continue;
                    }
                    self.in_quotes ^= *byte == self.format.quote && !self.escaped;
                    self.escaped = false;
                }
            }
        }
        self.scan = place;
    }

    /// Whether a carriage return stands where rows end without one.
    fn has_stray_return(&self, row: &[u8]) -> bool {
        self.line_end == LineEnd::Newline
            && memchr_iter(b'\r', row).any(|place| self.format.csv || !is_escaped(row, 0, place))
    }
}

/// Whether an odd number of backslashes stands before `place`, in the row from `start`.
fn is_escaped(bytes: &[u8], start: usize, place: usize) -> bool {
    let before = bytes.get(start..place).unwrap_or_default();
    before.iter().rev().take_while(|byte| **byte == b'\\').count() % 2 == 1
}

fn literal(csv: bool, what: &str, escape: &str) -> SqlError {
    if csv {
        SqlError::new("22P04", format!("unquoted {what} found in data"))
            .with_hint(format!("Use quoted CSV field to represent {what}."))
    } else {
        SqlError::new("22P04", format!("literal {what} found in data"))
            .with_hint(format!("Use \"{escape}\" to represent {what}."))
    }
}

/// Where an error is, and the row, cut to what fits a line.
fn row_context(table: &str, line: u64, row: &[u8]) -> String {
    format!("COPY {table}, line {line}: \"{}\"", shorten(row))
}

/// The first hundred characters.
pub(crate) fn shorten(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text.get(..text.len().min(400)).unwrap_or_default());
    let mut shown: String = text.chars().take(100).collect();
    if shown.len() < text.len() {
        shown.push_str("...");
    }
    shown
}

#[cfg(test)]
mod tests;
