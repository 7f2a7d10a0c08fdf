//! A Parquet file into batches of a table's columns.
//!
//! Columns are matched by name. What the file has must fit the column without loss of meaning: numbers of any kind for
//! numbers, the same kind of time for times, text for everything, which the type's input function then reads.

use std::fs::File;

use datafusion::arrow::array::{Array, ArrayRef, AsArray};
use datafusion::arrow::compute::{CastOptions, cast, cast_with_options};
use datafusion::arrow::datatypes::{DataType, Schema};
use datafusion::arrow::record_batch::RecordBatch;
use datafusion::parquet::arrow::ProjectionMask;
use datafusion::parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use strata_core::row::{Column, ColumnBuilder, arrow_type};

use crate::error::{SqlError, SqlResult};
use crate::io::convert::FieldReader;
use crate::io::file::file_error;
use crate::io::load::{BATCH_ROWS, LoadError, LoadPlan, Source};
use crate::io::rows::shorten;
use crate::postgres::types::PgType;

/// Reads the file's values of these columns; `sink` gets the batches.
pub(crate) fn read(
    path: &str,
    columns: &[Column],
    plan: &LoadPlan,
    sink: &mut dyn FnMut(RecordBatch) -> Result<(), LoadError>,
) -> Result<(), LoadError> {
    let file = File::open(path).map_err(|error| file_error("open", path, &error))?;
    let refused = |error: &dyn std::fmt::Display| {
        SqlError::new("22023", format!("could not read file \"{path}\" as Parquet: {error}"))
    };
    let builder = ParquetRecordBatchReaderBuilder::try_new(file).map_err(|error| refused(&error))?;
    let found = find_columns(path, columns, plan, builder.schema())?;
    let mask = ProjectionMask::roots(builder.parquet_schema(), found.iter().copied());
    let names: Vec<String> = columns.iter().map(|column| column.name.clone()).collect();
    let readers = readers(plan, columns.len())?;
    let reader = builder.with_projection(mask).with_batch_size(BATCH_ROWS).build();
    let schema = plan.schema();
    let mut before = 0;
    for batch in reader.map_err(|error| refused(&error))? {
        let batch = batch.map_err(|error| refused(&error))?;
        let mut arrays = Vec::with_capacity(columns.len());
        for (name, reader) in names.iter().zip(&readers) {
            let array =
                batch.column_by_name(name).ok_or_else(|| SqlError::internal("a column was not read"))?;
            let converted = convert(array, reader).map_err(|refused| match refused.place {
                Some((row, shown)) => refused.error.with_context(format!(
                    "COPY {}, row {}, column {name}: \"{shown}\"",
                    plan.table.name,
                    before + row + 1
                )),
                None => refused.error.with_context(format!("COPY {}, column {name}", plan.table.name)),
            });
            arrays.push(converted?);
        }
        before += batch.num_rows();
        sink(plan.complete(&schema, &arrays, batch.num_rows())?)?;
    }
    Ok(())
}

/// The places in the file of the table's columns.
fn find_columns(path: &str, columns: &[Column], plan: &LoadPlan, schema: &Schema) -> SqlResult<Vec<usize>> {
    let in_file = || {
        let names: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
        format!("The file's columns are: {}.", names.join(", "))
    };
    let mut found = Vec::with_capacity(columns.len());
    for column in columns {
        let place = schema.index_of(&column.name).map_err(|_| {
            SqlError::new("42703", format!("file \"{path}\" has no column \"{}\"", column.name))
                .with_detail(in_file())
                .with_hint("Name the columns to copy: COPY table (column, ...) FROM ...")
        })?;
        found.push(place);
    }
    let whole = columns.len() == plan.table.schema.live().count();
    let extra = schema.fields().iter().find(|field| plan.table.schema.by_name(field.name()).is_none());
    match extra {
        Some(field) if whole => {
            let (name, table) = (field.name(), &plan.table.name);
            let message = format!("column \"{name}\" of file \"{path}\" is not in table \"{table}\"");
            Err(SqlError::new("22P04", message).with_detail(in_file()))
        }
        _ => Ok(found),
    }
}

/// The readers of the columns that come from the file, in their order.
fn readers(plan: &LoadPlan, count: usize) -> SqlResult<Vec<FieldReader>> {
    let reader = |wanted: usize| {
        let found = plan.sources.iter().find_map(|source| match source {
            Source::Field(place, reader) if *place == wanted => Some(reader.clone()),
            _ => None,
        });
        found.ok_or_else(|| SqlError::internal("a column has no source"))
    };
    (0..count).map(reader).collect()
}

/// Why an array was refused, and the row and value that it is about, if it is one.
struct Refused {
    place: Option<(usize, String)>,
    error: Box<SqlError>,
}

impl From<SqlError> for Refused {
    fn from(error: SqlError) -> Self {
        Self { place: None, error: error.into() }
    }
}

/// The array as the table's column holds it.
fn convert(array: &ArrayRef, reader: &FieldReader) -> Result<ArrayRef, Refused> {
    let column = reader.column();
    let wanted = arrow_type(&column.column_type);
    let kind = Kind::of(array.data_type());
    let internal = |error: datafusion::arrow::error::ArrowError| SqlError::internal(error.to_string());
    match kind {
        Kind::Text => {
            let texts = cast(array, &DataType::BinaryView).map_err(internal)?;
            return read_texts(&texts, reader);
        }
        Kind::Bytes if Kind::of(&wanted) == Kind::Text => {
            let texts = cast(array, &DataType::BinaryView).map_err(internal)?;
            return read_texts(&texts, reader);
        }
        _ => {}
    }
    if *array.data_type() == wanted {
        return Ok(array.clone());
    }
    if !fits(array.data_type(), &wanted) {
        let pg_type = PgType::from(column.sql_type).sql_name();
        let message =
            format!("column \"{}\" is of type {pg_type}, the file has {}", column.name, array.data_type());
        return Err(SqlError::new("42804", message).into());
    }
    let strict = CastOptions { safe: false, ..CastOptions::default() };
    cast_with_options(array, &wanted, &strict).map_err(|error| {
        let message = format!("a value of the file is out of range for column \"{}\"", column.name);
        SqlError::new("22003", message).with_detail(error.to_string()).into()
    })
}

fn read_texts(texts: &ArrayRef, reader: &FieldReader) -> Result<ArrayRef, Refused> {
    let texts = texts.as_binary_view();
    let mut builder = ColumnBuilder::new(&reader.column().column_type, texts.len());
    // NULLs are counted when the row is put together.
    reader.push(&mut builder, texts.iter()).map_err(|refused| {
        let row = refused.taken;
        let shown = if texts.is_valid(row) { shorten(texts.value(row)) } else { "NULL".to_owned() };
        Refused { place: Some((row, shown)), error: refused.error }
    })?;
    Ok(builder.finish())
}

/// Kinds of types between which values go without a loss of meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Null,
    Boolean,
    Integer,
    Decimal,
    Float,
    Text,
    Bytes,
    FixedBytes(i32),
    Date,
    Time,
    Timestamp,
    Instant,
    Interval,
    List,
    Other,
}

impl Kind {
    fn of(data_type: &DataType) -> Self {
        match data_type {
            DataType::Null => Self::Null,
            DataType::Boolean => Self::Boolean,
            other if other.is_integer() => Self::Integer,
            other if other.is_decimal() => Self::Decimal,
            other if other.is_floating() => Self::Float,
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => Self::Text,
            DataType::Binary | DataType::LargeBinary | DataType::BinaryView => Self::Bytes,
            DataType::FixedSizeBinary(length) => Self::FixedBytes(*length),
            DataType::Date32 | DataType::Date64 => Self::Date,
            DataType::Time32(_) | DataType::Time64(_) => Self::Time,
            DataType::Timestamp(_, None) => Self::Timestamp,
            DataType::Timestamp(_, Some(_)) => Self::Instant,
            DataType::Interval(_) => Self::Interval,
            DataType::List(_)
            | DataType::LargeList(_)
            | DataType::ListView(_)
            | DataType::FixedSizeList(..) => Self::List,
            DataType::Dictionary(_, value) => Self::of(value),
            _ => Self::Other,
        }
    }
}

fn fits(found: &DataType, wanted: &DataType) -> bool {
    use Kind as K;
    match (Kind::of(found), Kind::of(wanted)) {
        (K::Null, _) => true,
        (K::Integer, K::Integer | K::Decimal | K::Float) => true,
        (K::Decimal, K::Decimal | K::Float) | (K::Float, K::Float | K::Decimal) => true,
        (K::Date, K::Timestamp) | (K::FixedBytes(_), K::Bytes) => true,
        (K::List, K::List) => match (item(found), item(wanted)) {
            (Some(found), Some(wanted)) => fits(found, wanted),
            _ => false,
        },
        (K::Other, _) => false,
        (found, wanted) => found == wanted,
    }
}

fn item(data_type: &DataType) -> Option<&DataType> {
    match data_type {
        DataType::List(item)
        | DataType::LargeList(item)
        | DataType::ListView(item)
        | DataType::FixedSizeList(item, _) => Some(item.data_type()),
        _ => None,
    }
}
