use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, Int32Array, IntervalMonthDayNanoArray, RecordBatch};
use datafusion::parquet::basic::LogicalType;
use datafusion::parquet::file::reader::{FileReader, SerializedFileReader};

use super::ParquetEncoder;
use crate::postgres::types::{PgType, oid};
use crate::session::types::ResultField;

fn field(name: &str, type_oid: u32) -> ResultField {
    ResultField {
        name: name.to_owned(),
        type_oid,
        type_size: -1,
        type_modifier: -1,
        table_oid: 0,
        column_number: 0,
    }
}

#[test]
fn columns_have_the_logical_types_that_others_read() {
    let types = [
        ("u", oid::UUID, Some(LogicalType::Uuid)),
        ("t", oid::TEXT, Some(LogicalType::String)),
        ("i", oid::INTERVAL, Some(LogicalType::String)),
        ("d", oid::DATE, Some(LogicalType::Date)),
    ];
    let fields: Vec<ResultField> = types.iter().map(|(name, oid, _)| field(name, *oid)).collect();
    let arrow = types.iter().map(|(name, oid, _)| PgType::new(*oid).field(*name, true).unwrap());
    let schema = Arc::new(datafusion::arrow::datatypes::Schema::new(arrow.collect::<Vec<_>>()));
    let mut encoder = ParquetEncoder::new(&fields, &schema).unwrap();
    encoder.write(&RecordBatch::new_empty(schema)).unwrap();
    let file = bytes::Bytes::from(encoder.finish().unwrap());
    let reader = SerializedFileReader::new(file).unwrap();
    let columns = reader.metadata().file_metadata().schema_descr().columns();
    for (column, (name, _, expected)) in columns.iter().zip(types) {
        assert_eq!(column.logical_type_ref(), expected.as_ref(), "{name}");
    }
}

#[test]
fn bytes_are_taken_while_rows_are_written() {
    let array: ArrayRef = Arc::new(Int32Array::from_iter_values(0..1_000));
    let batch = RecordBatch::try_from_iter_with_nullable([("a", array, true)]).unwrap();
    let mut encoder = ParquetEncoder::new(&[field("a", oid::INT4)], &batch.schema()).unwrap();
    let mut file = Vec::new();
    for _ in 0..3 {
        encoder.write(&batch).unwrap();
        encoder.writer_flush();
        file.extend(encoder.take());
        assert_eq!(encoder.ready(), 0);
    }
    file.extend(encoder.finish().unwrap());
    let reader = SerializedFileReader::new(bytes::Bytes::from(file)).unwrap();
    assert_eq!(reader.metadata().file_metadata().num_rows(), 3_000);
    assert_eq!(reader.metadata().num_row_groups(), 3);
}

#[test]
fn two_columns_of_one_name_are_refused() {
    let array: ArrayRef = Arc::new(IntervalMonthDayNanoArray::from(vec![None]));
    let batch =
        RecordBatch::try_from_iter_with_nullable([("a", array.clone(), true), ("b", array, true)]).unwrap();
    let fields = [field("a", oid::INTERVAL), field("a", oid::INTERVAL)];
    assert_eq!(ParquetEncoder::new(&fields, &batch.schema()).err().unwrap().sqlstate, "42701");
}
