//! Batches into DataRow messages.

use std::ops::Range;

use bytes::{BufMut, BytesMut};
use datafusion::arrow::record_batch::RecordBatch;

use super::binary::{with_length, write_binary};
use super::column::TextColumn;
use crate::error::{SqlError, SqlResult};
use crate::postgres::types::PgType;
use crate::postgres::zone::Zone;
use crate::session::ResultField;

/// Writes rows as DataRow messages, whole: tag, length and values.
///
/// Columns are downcast once a batch; after that a value costs one branch and its bytes.
#[derive(Debug)]
pub struct RowEncoder {
    columns: Vec<Column>,
    zone: Zone,
    prepared: Option<(RecordBatch, Vec<TextColumn>)>,
}

#[derive(Clone, Copy, Debug)]
struct Column {
    pg_type: PgType,
    binary: bool,
}

impl RowEncoder {
    /// An encoder of these columns. `formats` are Bind's result formats: none for text, one for all columns, or one for
    /// each; 1 is binary. Timestamps with zone are written in `time_zone`.
    pub fn new(fields: &[ResultField], formats: &[i16], time_zone: &str) -> SqlResult<Self> {
        let format = |index: usize| match formats {
            [] => Ok(0),
            [all] => Ok(*all),
            each => each.get(index).copied().ok_or_else(|| {
                SqlError::new(
                    "08P01",
                    format!(
                        "bind message has {} result formats but query has {} columns",
                        each.len(),
                        fields.len()
                    ),
                )
            }),
        };
        let columns = fields
            .iter()
            .enumerate()
            .map(|(index, field)| {
                let binary = match format(index)? {
                    0 => false,
                    1 => true,
                    other => {
                        return Err(SqlError::new("22023", format!("unsupported format code: {other}")));
                    }
                };
                let pg_type = PgType { oid: field.type_oid, modifier: field.type_modifier };
                Ok(Column { pg_type, binary })
            })
            .collect::<SqlResult<Vec<_>>>()?;
        Ok(Self { columns, zone: Zone::parse(time_zone).unwrap_or(Zone::Utc), prepared: None })
    }

    /// Appends the batch's rows to `out`. Nothing is appended on an error.
    pub fn encode_rows(
        &mut self,
        batch: &RecordBatch,
        rows: Range<usize>,
        out: &mut BytesMut,
    ) -> SqlResult<()> {
        if rows.end > batch.num_rows() || batch.num_columns() != self.columns.len() {
            return Err(SqlError::internal("rows are asked for that the batch does not have"));
        }
        self.prepare(batch)?;
        let start = out.len();
        let result = rows.into_iter().try_for_each(|row| self.encode_row(row, out));
        if result.is_err() {
            out.truncate(start);
        }
        result
    }

    fn prepare(&mut self, batch: &RecordBatch) -> SqlResult<()> {
        // The batch is kept: as long as it lives, no other has its addresses.
        let same = self.prepared.as_ref().is_some_and(|(kept, _)| {
            kept.num_rows() == batch.num_rows()
                && kept.columns().iter().zip(batch.columns()).all(|(a, b)| std::sync::Arc::ptr_eq(a, b))
        });
        if same {
            return Ok(());
        }
        let columns = batch
            .columns()
            .iter()
            .zip(&self.columns)
            .map(|(array, column)| TextColumn::new(array, column.pg_type, self.zone))
            .collect::<SqlResult<Vec<_>>>()?;
        self.prepared = Some((batch.clone(), columns));
        Ok(())
    }

    fn encode_row(&self, row: usize, out: &mut BytesMut) -> SqlResult<()> {
        let Some((_, values)) = &self.prepared else { return Ok(()) };
        let count = i16::try_from(values.len())
            .map_err(|_| SqlError::new("54011", "target lists can have at most 1664 entries"))?;
        out.put_u8(b'D');
        let start = out.len();
        out.put_i32(0);
        out.put_i16(count);
        for (values, column) in values.iter().zip(&self.columns) {
            if values.is_null(row) {
                out.put_i32(-1);
            } else if column.binary {
                with_length(out, |out| write_binary(values, row, out))?;
            } else {
                with_length(out, |out| {
                    values.write_text(row, out);
                    Ok(())
                })?;
            }
        }
        let length = i32::try_from(out.len() - start)
            .map_err(|_| SqlError::new("54000", "a row is too large to be sent"))?;
        if let Some(place) = out.get_mut(start..start + 4) {
            place.copy_from_slice(&length.to_be_bytes());
        }
        Ok(())
    }
}

#[cfg(test)]
#[path = "encoder_tests.rs"]
mod tests;
