//! Casts from and to text.

use std::sync::Arc;

use datafusion::arrow::array::{
    Array, ArrayRef, AsArray, BinaryViewBuilder, BooleanBuilder, Date32Builder, Decimal128Builder,
    FixedSizeBinaryBuilder, Float32Builder, Float64Builder, Int16Builder, Int32Builder, Int64Builder,
    StringViewArray, StringViewBuilder, TimestampMicrosecondBuilder,
};
use datafusion::arrow::compute::cast as arrow_cast;
use datafusion::arrow::datatypes::DataType;
use datafusion::common::ScalarValue;

use super::CastContext;
use crate::error::{SqlError, SqlResult};
use crate::postgres::input::{self, datetime, number};
use crate::postgres::types::{PgType, oid};
use crate::postgres::wire::TextColumn;

fn views(array: &ArrayRef) -> SqlResult<StringViewArray> {
    let views =
        arrow_cast(array, &DataType::Utf8View).map_err(|error| SqlError::internal(error.to_string()))?;
    Ok(views.as_string_view().clone())
}

/// Text of each value.
pub(super) fn to_text(
    array: &ArrayRef,
    from: PgType,
    to: PgType,
    context: &CastContext,
) -> SqlResult<ArrayRef> {
    let from_text = super::is_text(from);
    if from_text && matches!(to.oid, oid::TEXT | oid::NAME | oid::UNKNOWN) || (from == to && to.modifier < 0)
    {
        return Ok(Arc::new(views(array)?));
    }
    // A char's blanks are not part of it; its output would add them.
    let shown = if from.oid == oid::BPCHAR { PgType::new(oid::TEXT) } else { from };
    let column = TextColumn::new(array, shown, context.zone)?;
    let mut builder = StringViewBuilder::with_capacity(array.len());
    let mut buffer = Vec::new();
    for row in 0..array.len() {
        if column.is_null(row) {
            builder.append_null();
            continue;
        }
        buffer.clear();
        column.write_text(row, &mut buffer);
        let mut text =
            std::str::from_utf8(&buffer).map_err(|_| SqlError::internal("a value's text is not UTF-8"))?;
        if from.oid == oid::BOOL {
            text = if text == "t" { "true" } else { "false" };
        }
        match to.oid {
            oid::VARCHAR | oid::BPCHAR => {
                builder.append_value(input::fit_characters(to, text, context.explicit)?);
            }
            oid::CHAR => builder.append_value(text.get(..1).unwrap_or("")),
            oid::JSON if from_text => builder.append_value(input::parse_json(text)?),
            oid::JSONB if from_text => builder.append_value(input::normalize_jsonb(text)?),
            oid::JSON | oid::JSONB => return Err(super::cannot_cast(from, to)),
            _ => builder.append_value(text),
        }
    }
    Ok(Arc::new(builder.finish()))
}

macro_rules! read {
    ($views:expr, $builder:expr, $read:expr) => {{
        let mut builder = $builder;
        for text in $views.iter() {
            match text {
                Some(text) => builder.append_value($read(text)?),
                None => builder.append_null(),
            }
        }
        Arc::new(builder.finish()) as ArrayRef
    }};
}

/// Values read from text.
pub(super) fn from_text(
    array: &ArrayRef,
    to: PgType,
    target: &DataType,
    context: &CastContext,
) -> SqlResult<ArrayRef> {
    let views = views(array)?;
    let (zone, now) = (&context.zone, context.now);
    let rounded = |micros: i64| input::round_fraction(micros, to.modifier);
    Ok(match to.oid {
        oid::BOOL => read!(views, BooleanBuilder::new(), input::parse_bool),
        oid::INT2 => read!(views, Int16Builder::new(), |text| number::parse_int(text, "smallint")),
        oid::INT4 => read!(views, Int32Builder::new(), |text| number::parse_int(text, "integer")),
        oid::INT8 => read!(views, Int64Builder::new(), |text| number::parse_int(text, "bigint")),
        oid::FLOAT4 => read!(views, Float32Builder::new(), number::parse_f32),
        oid::FLOAT8 => read!(views, Float64Builder::new(), number::parse_f64),
        oid::NUMERIC => {
            let DataType::Decimal128(precision, scale) = *target else {
                return Err(SqlError::internal("numeric is not a decimal"));
            };
            let builder = Decimal128Builder::new().with_data_type(target.clone());
            read!(views, builder, |text| number::parse_decimal(text)?.fit(precision, scale))
        }
        oid::DATE => read!(views, Date32Builder::new(), |text| datetime::parse_date(text, zone, now)),
        oid::TIMESTAMP => {
            let builder = TimestampMicrosecondBuilder::new();
            read!(views, builder, |text| datetime::parse_timestamp(text, zone, now).map(rounded))
        }
        oid::TIMESTAMPTZ => {
            let builder = TimestampMicrosecondBuilder::new().with_timezone("UTC");
            read!(views, builder, |text| datetime::parse_timestamptz(text, zone, now).map(rounded))
        }
        oid::BYTEA => read!(views, BinaryViewBuilder::new(), input::parse_bytea),
        oid::UUID => {
            let mut builder = FixedSizeBinaryBuilder::new(16);
            for text in views.iter() {
                match text {
                    Some(text) => builder
                        .append_value(input::parse_uuid(text)?)
                        .map_err(|error| SqlError::internal(error.to_string()))?,
                    None => builder.append_null(),
                }
            }
            Arc::new(builder.finish())
        }
        _ => {
            let values = views.iter().map(|text| match text {
                Some(text) => Ok(input::parse_value(to, text, zone, now)?.cast_to(target)?),
                None => ScalarValue::try_from(target).map_err(SqlError::from),
            });
            let values = values.collect::<SqlResult<Vec<_>>>()?;
            if values.is_empty() {
                return Ok(datafusion::arrow::array::new_empty_array(target));
            }
            ScalarValue::iter_to_array(values)?
        }
    })
}
