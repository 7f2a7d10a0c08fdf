//! Rows of plain columns into DataRow messages, without Arrow arrays between.

use std::sync::Arc;

use bytes::{BufMut, BytesMut};
use datafusion::arrow::datatypes::{Field, Schema};
use datafusion::arrow::record_batch::{RecordBatch, RecordBatchOptions};
use futures::StreamExt;
use strata_core::catalog::TableDef;
use strata_core::ids::ColumnId;
use strata_core::row::{ColumnBuilder, ColumnType, Datum, arrow_type};

use super::binary::{EPOCH_DAYS, EPOCH_MICROS, with_length, write_numeric};
use crate::error::{SqlError, SqlResult};
use crate::postgres::format::{self, datetime, number};
use crate::postgres::types::oid;
use crate::postgres::zone::Zone;
use crate::session::types::{ResultField, RowStream, RowsTag};

/// A few rows, all there.
#[derive(Clone, Debug)]
pub struct PointRows {
    /// The columns, in order.
    pub fields: Arc<[ResultField]>,
    pub(crate) table: Arc<TableDef>,
    /// The table's columns that they are.
    pub(crate) columns: Arc<[ColumnId]>,
    pub(crate) rows: Vec<Vec<Datum>>,
    pub(crate) time_zone: Arc<str>,
}

/// Whether values of this type can be sent from here.
pub(crate) fn can_send(column_type: &ColumnType) -> bool {
    !matches!(column_type, ColumnType::Interval | ColumnType::Array(_))
}

impl PointRows {
    /// How many rows there are.
    pub fn count(&self) -> usize {
        self.rows.len()
    }

    /// Appends the rows as DataRow messages. `is_binary` tells the format of a column. Nothing is appended on an error.
    pub fn encode(&self, is_binary: impl Fn(usize) -> bool, out: &mut BytesMut) -> SqlResult<()> {
        let start = out.len();
        let result = self.rows.iter().try_for_each(|row| self.encode_row(row, &is_binary, out));
        if result.is_err() {
            out.truncate(start);
        }
        result
    }

    fn encode_row(
        &self,
        row: &[Datum],
        is_binary: &impl Fn(usize) -> bool,
        out: &mut BytesMut,
    ) -> SqlResult<()> {
        let count = i16::try_from(row.len())
            .map_err(|_| SqlError::new("54011", "target lists can have at most 1664 entries"))?;
        out.put_u8(b'D');
        let start = out.len();
        out.put_i32(0);
        out.put_i16(count);
        for (place, (value, field)) in row.iter().zip(self.fields.iter()).enumerate() {
            if value.is_null() {
                out.put_i32(-1);
                continue;
            }
            let scale = match self.columns.get(place).and_then(|id| self.table.schema.column(*id)) {
                Some(column) => scale_of(&column.column_type),
                None => 0,
            };
            with_length(out, |out| match is_binary(place) {
                true => write_binary(value, field, scale, out),
                false => self.write_text(value, field, scale, out),
            })?;
        }
        let length = i32::try_from(out.len() - start)
            .map_err(|_| SqlError::new("54000", "a row is too large to be sent"))?;
        if let Some(place) = out.get_mut(start..start + 4) {
            place.copy_from_slice(&length.to_be_bytes());
        }
        Ok(())
    }

    fn write_text(&self, value: &Datum, field: &ResultField, scale: i8, out: &mut BytesMut) -> SqlResult<()> {
        match value {
            Datum::Bool(value) => out.put_u8(if *value { b't' } else { b'f' }),
            Datum::Int16(value) => number::write_integer(i64::from(*value), out),
            Datum::Int32(value) => number::write_integer(i64::from(*value), out),
            Datum::Int64(value) => number::write_integer(*value, out),
            Datum::Float32(value) => number::write_f32(*value, out),
            Datum::Float64(value) => number::write_f64(*value, out),
            Datum::Decimal(value) if field.type_modifier < 0 && field.type_oid == oid::NUMERIC => {
                number::write_decimal_trimmed(*value, scale, out);
            }
            Datum::Decimal(value) => number::write_decimal(*value, scale, out),
            Datum::Text(value) => write_characters(value, field, out),
            Datum::Bytes(value) => format::write_bytea(value, out),
            Datum::Uuid(value) => format::write_uuid(value, out),
            Datum::Date(value) => datetime::write_date(*value, out),
            Datum::Time(value) => datetime::write_time(*value, out),
            Datum::Timestamp(value) => datetime::write_timestamp(*value, out),
            Datum::TimestampTz(value) => {
                let zone = Zone::parse(&self.time_zone).unwrap_or(Zone::Utc);
                datetime::write_timestamptz(*value, &zone, out);
            }
            Datum::Null | Datum::Interval { .. } | Datum::Array(_) => return Err(unsendable()),
        }
        Ok(())
    }

    /// The same rows as a stream, for whoever wants only some of them at a time.
    pub fn into_stream(self) -> SqlResult<RowStream> {
        let mut arrays = Vec::with_capacity(self.columns.len());
        let mut fields = Vec::with_capacity(self.columns.len());
        for (place, (id, field)) in self.columns.iter().zip(self.fields.iter()).enumerate() {
            let column = self.table.schema.column(*id).ok_or_else(unsendable)?;
            let mut builder = ColumnBuilder::new(&column.column_type, self.rows.len());
            for row in &self.rows {
                builder.push_datum(row.get(place).unwrap_or(&Datum::Null))?;
            }
            arrays.push(builder.finish());
            fields.push(Field::new(&field.name, arrow_type(&column.column_type), true));
        }
        let schema = Arc::new(Schema::new(fields));
        let options = RecordBatchOptions::new().with_row_count(Some(self.rows.len()));
        let batch = RecordBatch::try_new_with_options(Arc::clone(&schema), arrays, &options)
            .map_err(|error| SqlError::internal(error.to_string()))?;
        Ok(RowStream {
            fields: self.fields,
            schema,
            batches: futures::stream::iter([Ok(batch)]).boxed(),
            tag: RowsTag::Select,
            time_zone: self.time_zone,
        })
    }
}

fn unsendable() -> SqlError {
    SqlError::internal("a value of a point plan cannot be sent")
}

fn scale_of(column_type: &ColumnType) -> i8 {
    match column_type {
        ColumnType::Decimal { scale, .. } => i8::try_from(*scale).unwrap_or(0),
        _ => 0,
    }
}

/// `char(n)` is held without the blanks at its end.
fn write_characters(text: &str, field: &ResultField, out: &mut BytesMut) {
    out.put_slice(text.as_bytes());
    let pg_type = crate::postgres::types::PgType { oid: field.type_oid, modifier: field.type_modifier };
    if pg_type.oid == oid::BPCHAR
        && let Some(length) = pg_type.length()
    {
        out.put_bytes(b' ', length.saturating_sub(text.chars().count()));
    }
}

fn write_binary(value: &Datum, field: &ResultField, scale: i8, out: &mut BytesMut) -> SqlResult<()> {
    let infinite_day = |days: i32| matches!(days, i32::MAX | i32::MIN);
    let infinite = |micros: i64| matches!(micros, i64::MAX | i64::MIN);
    match value {
        Datum::Bool(value) => out.put_u8(u8::from(*value)),
        Datum::Int16(value) => out.put_i16(*value),
        Datum::Int32(value) => out.put_i32(*value),
        Datum::Int64(value) if field.type_oid == oid::INT8 => out.put_i64(*value),
        // oid and its aliases are unsigned.
        Datum::Int64(value) => {
            out.put_u32(u32::try_from(*value).map_err(|_| SqlError::new("22003", "integer out of range"))?)
        }
        Datum::Float32(value) => out.put_f32(*value),
        Datum::Float64(value) => out.put_f64(*value),
        Datum::Decimal(value) => write_numeric(*value, scale, out),
        Datum::Text(value) => {
            if field.type_oid == oid::JSONB {
                out.put_u8(1);
            }
            write_characters(value, field, out);
        }
        Datum::Bytes(value) => out.put_slice(value),
        Datum::Uuid(value) => out.put_slice(value),
        Datum::Date(days) if infinite_day(*days) => out.put_i32(*days),
        Datum::Date(days) => out.put_i32(days.saturating_sub(EPOCH_DAYS)),
        Datum::Time(value) => out.put_i64(*value),
        Datum::Timestamp(value) | Datum::TimestampTz(value) if infinite(*value) => out.put_i64(*value),
        Datum::Timestamp(value) | Datum::TimestampTz(value) => {
            out.put_i64(value.saturating_sub(EPOCH_MICROS));
        }
        Datum::Null | Datum::Interval { .. } | Datum::Array(_) => return Err(unsendable()),
    }
    Ok(())
}
