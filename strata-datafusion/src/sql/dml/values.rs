//! From the batches of a query to values of columns.

use datafusion::arrow::array::{Array, ArrayRef};
use datafusion::arrow::compute::{CastOptions, cast_with_options};
use strata_core::row::{Column, ColumnBuilder, ColumnReader, Datum, arrow_type};

use crate::error::{SqlError, SqlResult};
use crate::postgres::types::{PgType, oid};

/// The values of one column, one for each row.
pub(crate) fn datums(array: &ArrayRef, column: &Column) -> SqlResult<Vec<Datum>> {
    let exact = exactly(array, column)?;
    let reader = ColumnReader::new(exact.as_ref(), &column.column_type)?;
    let mut values = Vec::with_capacity(exact.len());
    for place in 0..exact.len() {
        let mut value = reader.value(place)?.to_datum();
        check_length(&mut value, column)?;
        values.push(value);
    }
    Ok(values)
}

/// The array as the engine stores the column.
pub(crate) fn exactly(array: &ArrayRef, column: &Column) -> SqlResult<ArrayRef> {
    let wanted = arrow_type(&column.column_type);
    if *array.data_type() == wanted {
        return Ok(array.clone());
    }
    let strict = CastOptions { safe: false, ..CastOptions::default() };
    cast_with_options(array, &wanted, &strict).map_err(|error| SqlError::new("22000", error.to_string()))
}

/// The texts of a column as [`check_length`] has them.
pub(crate) fn fit_lengths(array: ArrayRef, column: &Column) -> SqlResult<ArrayRef> {
    let pg_type = PgType::from(column.sql_type);
    if !matches!(pg_type.oid, oid::VARCHAR | oid::BPCHAR) {
        return Ok(array);
    }
    let mut builder = ColumnBuilder::new(&column.column_type, array.len());
    for value in datums(&array, column)? {
        builder.push_datum(&value)?;
    }
    Ok(builder.finish())
}

/// varchar(n) and char(n): too long is an error, unless what is beyond is spaces. A char is held without the spaces at
/// its end: they count in no comparison, and its output adds them.
pub(crate) fn check_length(value: &mut Datum, column: &Column) -> SqlResult<()> {
    check_length_of(value, PgType::from(column.sql_type))
}

/// The same for a type.
pub(crate) fn check_length_of(value: &mut Datum, pg_type: PgType) -> SqlResult<()> {
    if !matches!(pg_type.oid, oid::VARCHAR | oid::BPCHAR) {
        return Ok(());
    }
    let (Some(limit), Datum::Text(text)) = (pg_type.length(), value) else { return Ok(()) };
    let count = text.chars().count();
    if count > limit {
        let cut = text.char_indices().nth(limit).map_or(text.len(), |(byte, _)| byte);
        if text[cut..].chars().any(|c| c != ' ') {
            let kind = if pg_type.oid == oid::BPCHAR { "character" } else { "character varying" };
            return Err(SqlError::new("22001", format!("value too long for type {kind}({limit})")));
        }
        text.truncate(cut);
    }
    if pg_type.oid == oid::BPCHAR {
        text.truncate(text.trim_end_matches(' ').len());
    }
    Ok(())
}
