//! Batches into text and CSV.

use std::ops::Range;

use datafusion::arrow::record_batch::RecordBatch;
use memchr::{memchr, memchr2, memchr3};

use super::format::{Header, TextFormat};
use crate::error::SqlResult;
use crate::postgres::types::PgType;
use crate::postgres::wire::TextColumn;
use crate::postgres::zone::Zone;

/// Writes rows in a text format.
#[derive(Clone, Debug)]
pub(crate) struct Encoder {
    format: TextFormat,
    columns: Vec<OutColumn>,
    zone: Zone,
}

/// A column that is written.
#[derive(Clone, Debug)]
pub(crate) struct OutColumn {
    /// Its name, for the header.
    pub(crate) name: String,
    /// Its type.
    pub(crate) pg_type: PgType,
    /// Whether its values are always quoted.
    pub(crate) force_quote: bool,
}

impl Encoder {
    /// An encoder of these columns; timestamps with zone are written in `zone`.
    pub(crate) fn new(format: TextFormat, columns: Vec<OutColumn>, zone: Zone) -> Self {
        Self { format, columns, zone }
    }

    /// Writes the header line, if there is one.
    pub(crate) fn header(&self, out: &mut Vec<u8>) {
        if self.format.header == Header::No {
            return;
        }
        for (place, column) in self.columns.iter().enumerate() {
            if place > 0 {
                out.push(self.format.delimiter);
            }
            let start = out.len();
            out.extend_from_slice(column.name.as_bytes());
            self.escape(start, false, out);
        }
        out.push(b'\n');
    }

    /// The columns of a batch, ready to be written.
    pub(crate) fn prepare(&self, batch: &RecordBatch) -> SqlResult<Vec<TextColumn>> {
        let columns = batch.columns().iter().zip(&self.columns);
        columns.map(|(array, column)| TextColumn::new(array, column.pg_type, self.zone)).collect()
    }

    /// Writes rows of prepared columns, until they are all written or `limit` bytes are there; gives the next row.
    pub(crate) fn rows(
        &self,
        values: &[TextColumn],
        rows: Range<usize>,
        limit: usize,
        out: &mut Vec<u8>,
    ) -> usize {
        for row in rows.clone() {
            if out.len() >= limit {
                return row;
            }
            for (place, (values, column)) in values.iter().zip(&self.columns).enumerate() {
                if place > 0 {
                    out.push(self.format.delimiter);
                }
                if values.is_null(row) {
                    out.extend_from_slice(&self.format.null);
                    continue;
                }
                let start = out.len();
                values.write_text(row, out);
                self.escape(start, column.force_quote, out);
            }
            out.push(b'\n');
        }
        rows.end
    }

    /// Escapes the value that `out` ends with.
    fn escape(&self, start: usize, force: bool, out: &mut Vec<u8>) {
        if self.format.csv { self.escape_csv(start, force, out) } else { self.escape_text(start, out) }
    }

    fn escape_text(&self, start: usize, out: &mut Vec<u8>) {
        let delimiter = self.format.delimiter;
        let special = |byte: &u8| *byte == b'\\' || *byte == delimiter || (8..=13).contains(byte);
        let value = out.get(start..).unwrap_or_default();
        let Some(first) = value.iter().position(special) else { return };
        let rest = out.split_off(start + first);
        for byte in rest {
            let letter = match byte {
                8 => b'b',
                9 => b't',
                10 => b'n',
                11 => b'v',
                12 => b'f',
                13 => b'r',
                b'\\' => b'\\',
                byte if byte == delimiter => byte,
                byte => {
                    out.push(byte);
                    continue;
                }
            };
            out.extend_from_slice(&[b'\\', letter]);
        }
    }

    fn escape_csv(&self, start: usize, force: bool, out: &mut Vec<u8>) {
        let TextFormat { delimiter, quote, escape, null, .. } = &self.format;
        let value = out.get(start..).unwrap_or_default();
        let quoted = force
            || value == null.as_slice()
            || memchr3(*delimiter, *quote, b'\n', value).is_some()
            || memchr(b'\r', value).is_some()
            // It would end the data if it stood alone on its line.
            || (self.columns.len() == 1 && value == b"\\.");
        if !quoted {
            return;
        }
        if memchr2(*quote, *escape, value).is_none() {
            out.insert(start, *quote);
            out.push(*quote);
            return;
        }
        let value = out.split_off(start);
        out.push(*quote);
        for byte in value {
            if byte == *quote || byte == *escape {
                out.push(*escape);
            }
            out.push(byte);
        }
        out.push(*quote);
    }
}
