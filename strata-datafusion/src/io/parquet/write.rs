//! Batches into a Parquet file.

use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, StringBuilder};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::arrow::record_batch::{RecordBatch, RecordBatchOptions};
use datafusion::parquet::arrow::arrow_writer::ArrowWriterOptions;
use datafusion::parquet::arrow::{ArrowSchemaConverter, ArrowWriter};
use datafusion::parquet::basic::{Compression, LogicalType, Type as PhysicalType, ZstdLevel};
use datafusion::parquet::errors::ParquetError;
use datafusion::parquet::file::properties::WriterProperties;
use datafusion::parquet::schema::types::{SchemaDescriptor, Type, TypePtr};

use crate::error::{SqlError, SqlResult};
use crate::postgres::types::PgType;
use crate::postgres::wire::TextColumn;
use crate::postgres::zone::Zone;
use crate::session::types::ResultField;

/// A row group ends at so many bytes, which are held until then.
const ROW_GROUP_BYTES: usize = 64 << 20;

/// Writes batches as a Parquet file, whose bytes are taken away bit by bit.
pub(crate) struct ParquetEncoder {
    writer: ArrowWriter<Vec<u8>>,
    schema: SchemaRef,
    types: Vec<PgType>,
}

impl ParquetEncoder {
    /// An encoder of a query's columns.
    pub(crate) fn new(fields: &[ResultField], schema: &SchemaRef) -> SqlResult<Self> {
        if let Some((_, field)) = fields
            .iter()
            .enumerate()
            .find(|(place, field)| fields.iter().take(*place).any(|earlier| earlier.name == field.name))
        {
            let message = format!("column \"{}\" specified more than once", field.name);
            return Err(
                SqlError::new("42701", message).with_hint("Columns of a Parquet file need different names.")
            );
        }
        let columns = fields.iter().zip(schema.fields());
        let written =
            columns.map(|(field, arrow)| Field::new(&field.name, written_type(arrow.data_type()), true));
        let schema = Arc::new(Schema::new(written.collect::<Vec<_>>()));
        let properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(ZstdLevel::default()))
            .set_coerce_types(true)
            .set_created_by("Strata".to_owned())
            .build();
        // What Arrow would keep beside Parquet's own schema are forms that only this program has.
        let options = ArrowWriterOptions::new()
            .with_properties(properties)
            .with_skip_arrow_metadata(true)
            .with_parquet_schema(parquet_schema(&schema)?);
        let writer =
            ArrowWriter::try_new_with_options(Vec::new(), Arc::clone(&schema), options).map_err(refused)?;
        let types = fields.iter().map(|field| PgType { oid: field.type_oid, modifier: field.type_modifier });
        Ok(Self { writer, schema, types: types.collect() })
    }

    /// Appends a batch.
    pub(crate) fn write(&mut self, batch: &RecordBatch) -> SqlResult<()> {
        let columns = batch.columns().iter().zip(self.schema.fields()).zip(&self.types);
        let arrays =
            columns.map(|((array, field), pg_type)| written_array(array, field.data_type(), *pg_type));
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        let arrays = arrays.collect::<SqlResult<Vec<_>>>()?;
        let batch = RecordBatch::try_new_with_options(Arc::clone(&self.schema), arrays, &options)
            .map_err(|error| SqlError::internal(error.to_string()))?;
        self.writer.write(&batch).map_err(refused)?;
        if self.writer.in_progress_size() >= ROW_GROUP_BYTES {
            self.writer.flush().map_err(refused)?;
        }
        Ok(())
    }

    #[cfg(test)]
    pub(super) fn writer_flush(&mut self) {
        self.writer.flush().expect("memory takes all bytes");
    }

    /// How many bytes can be taken.
    pub(crate) fn ready(&self) -> usize {
        self.writer.inner().len()
    }

    /// The bytes that follow those taken before.
    pub(crate) fn take(&mut self) -> Vec<u8> {
        std::mem::take(self.writer.inner_mut())
    }

    /// Ends the file; gives its last bytes.
    pub(crate) fn finish(self) -> SqlResult<Vec<u8>> {
        self.writer.into_inner().map_err(refused)
    }
}

fn refused(error: ParquetError) -> SqlError {
    SqlError::new("58030", format!("cannot write Parquet: {error}"))
}

/// The Arrow type that a column is written as.
fn written_type(data_type: &DataType) -> DataType {
    match data_type {
        DataType::Dictionary(_, value) => written_type(value),
        // What Parquet has no type for is text.
        other if has_text_form(other) => DataType::Utf8,
        other => other.clone(),
    }
}

fn has_text_form(data_type: &DataType) -> bool {
    match data_type {
        DataType::Null | DataType::Interval(_) | DataType::Duration(_) => true,
        DataType::List(item)
        | DataType::LargeList(item)
        | DataType::ListView(item)
        | DataType::FixedSizeList(item, _) => has_text_form(item.data_type()),
        _ => false,
    }
}

fn written_array(array: &ArrayRef, written: &DataType, pg_type: PgType) -> SqlResult<ArrayRef> {
    if array.data_type() == written {
        return Ok(Arc::clone(array));
    }
    if !has_text_form(array.data_type()) {
        return cast(array, written).map_err(|error| SqlError::internal(error.to_string()));
    }
    let column = TextColumn::new(array, pg_type, Zone::Utc)?;
    let mut builder = StringBuilder::with_capacity(array.len(), array.len() * 8);
    let mut text = Vec::new();
    for row in 0..array.len() {
        if column.is_null(row) {
            builder.append_null();
            continue;
        }
        text.clear();
        column.write_text(row, &mut text);
        builder.append_value(String::from_utf8_lossy(&text));
    }
    Ok(Arc::new(builder.finish()))
}

/// The Parquet schema, with UUIDs named as such.
fn parquet_schema(schema: &Schema) -> SqlResult<SchemaDescriptor> {
    let plain = ArrowSchemaConverter::new().with_coerce_types(true).convert(schema).map_err(refused)?;
    let fields = plain.root_schema().get_fields().iter().map(name_uuids).collect::<Result<Vec<_>, _>>();
    let root =
        Type::group_type_builder("schema").with_fields(fields.map_err(refused)?).build().map_err(refused)?;
    Ok(SchemaDescriptor::new(Arc::new(root)))
}

fn name_uuids(field: &TypePtr) -> Result<TypePtr, ParquetError> {
    let info = field.get_basic_info();
    match field.as_ref() {
        Type::PrimitiveType {
            physical_type: PhysicalType::FIXED_LEN_BYTE_ARRAY, type_length: 16, ..
        } if info.logical_type_ref().is_none() => {
            let uuid = Type::primitive_type_builder(info.name(), PhysicalType::FIXED_LEN_BYTE_ARRAY)
                .with_length(16)
                .with_repetition(info.repetition())
                .with_logical_type(Some(LogicalType::Uuid));
            Ok(Arc::new(uuid.build()?))
        }
        Type::PrimitiveType { .. } => Ok(Arc::clone(field)),
        Type::GroupType { fields, .. } => {
            let fields = fields.iter().map(name_uuids).collect::<Result<Vec<_>, _>>()?;
            let group = Type::group_type_builder(info.name())
                .with_repetition(info.repetition())
                .with_converted_type(info.converted_type())
                .with_logical_type(info.logical_type_ref().cloned())
                .with_fields(fields);
            Ok(Arc::new(group.build()?))
        }
    }
}
