//! The engine's values as DataFusion's scalars, and back.

use datafusion::common::ScalarValue;
use datafusion::error::{DataFusionError, Result};
use strata_core::row::{ColumnBuilder, ColumnType, Datum};

/// The engine's errors as DataFusion carries them; `SqlError::from` finds them there.
pub(crate) fn engine_error(error: strata_core::Error) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}

/// A value of a column as a scalar of the column's Arrow type.
pub(crate) fn datum_to_scalar(value: &Datum, column_type: &ColumnType) -> Result<ScalarValue> {
    let mut builder = ColumnBuilder::new(column_type, 1);
    builder.push_datum(value).map_err(engine_error)?;
    ScalarValue::try_from_array(&builder.finish(), 0)
}

/// The value of a column that equals a scalar, where there is one whose place among the column's values is sure:
/// `None` for another type, another scale, a NaN.
pub(crate) fn scalar_to_datum(value: &ScalarValue, column_type: &ColumnType) -> Option<Datum> {
    if value.is_null() {
        return Some(Datum::Null);
    }
    let datum = match (value, column_type) {
        (ScalarValue::Boolean(Some(value)), ColumnType::Bool) => Datum::Bool(*value),
        (_, ColumnType::Int16) => Datum::Int16(integer(value)?.try_into().ok()?),
        (_, ColumnType::Int32) => Datum::Int32(integer(value)?.try_into().ok()?),
        (_, ColumnType::Int64) => Datum::Int64(integer(value)?),
        (ScalarValue::Float32(Some(value)), ColumnType::Float32) if !value.is_nan() => Datum::Float32(*value),
        (ScalarValue::Float64(Some(value)), ColumnType::Float64) if !value.is_nan() => Datum::Float64(*value),
        (ScalarValue::Decimal128(Some(value), _, scale), ColumnType::Decimal { scale: expected, .. })
            if u8::try_from(*scale).ok() == Some(*expected) =>
        {
            Datum::Decimal(*value)
        }
        (
            ScalarValue::Utf8(Some(value))
            | ScalarValue::LargeUtf8(Some(value))
            | ScalarValue::Utf8View(Some(value)),
            ColumnType::Text,
        ) => Datum::Text(value.clone()),
        (
            ScalarValue::Binary(Some(value))
            | ScalarValue::LargeBinary(Some(value))
            | ScalarValue::BinaryView(Some(value)),
            ColumnType::Bytes,
        ) => Datum::Bytes(value.clone()),
        (ScalarValue::Date32(Some(value)), ColumnType::Date) => Datum::Date(*value),
        (ScalarValue::Time64Microsecond(Some(value)), ColumnType::Time) => Datum::Time(*value),
        (ScalarValue::TimestampMicrosecond(Some(value), None), ColumnType::Timestamp) => {
            Datum::Timestamp(*value)
        }
        (ScalarValue::TimestampMicrosecond(Some(value), Some(_)), ColumnType::TimestampTz) => {
            Datum::TimestampTz(*value)
        }
        (ScalarValue::FixedSizeBinary(16, Some(value)), ColumnType::Uuid) => {
            Datum::Uuid(value.as_slice().try_into().ok()?)
        }
        _ => return None,
    };
    Some(datum)
}

fn integer(value: &ScalarValue) -> Option<i64> {
    Some(match value {
        ScalarValue::Int8(Some(value)) => i64::from(*value),
        ScalarValue::Int16(Some(value)) => i64::from(*value),
        ScalarValue::Int32(Some(value)) => i64::from(*value),
        ScalarValue::Int64(Some(value)) => *value,
        ScalarValue::UInt8(Some(value)) => i64::from(*value),
        ScalarValue::UInt16(Some(value)) => i64::from(*value),
        ScalarValue::UInt32(Some(value)) => i64::from(*value),
        ScalarValue::UInt64(Some(value)) => i64::try_from(*value).ok()?,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_become_scalars_and_come_back() {
        let cases = [
            (ColumnType::Bool, Datum::Bool(true)),
            (ColumnType::Int16, Datum::Int16(-3)),
            (ColumnType::Int32, Datum::Int32(i32::MAX)),
            (ColumnType::Int64, Datum::Int64(i64::MIN)),
            (ColumnType::Float64, Datum::Float64(-0.5)),
            (ColumnType::Decimal { precision: 15, scale: 2 }, Datum::Decimal(-12_345)),
            (ColumnType::Text, Datum::Text("née".into())),
            (ColumnType::Bytes, Datum::Bytes(vec![0, 255])),
            (ColumnType::Date, Datum::Date(-1)),
            (ColumnType::Time, Datum::Time(86_399_999_999)),
            (ColumnType::Timestamp, Datum::Timestamp(-7)),
            (ColumnType::TimestampTz, Datum::TimestampTz(1)),
            (ColumnType::Uuid, Datum::Uuid([9; 16])),
            (ColumnType::Text, Datum::Null),
        ];
        for (column_type, value) in cases {
            let scalar = datum_to_scalar(&value, &column_type).expect("a value of the type");
            assert_eq!(scalar.data_type(), strata_core::row::arrow_type(&column_type));
            assert_eq!(scalar_to_datum(&scalar, &column_type), Some(value));
        }
    }

    #[test]
    fn a_scalar_that_no_value_equals_is_none() {
        let decimal = ColumnType::Decimal { precision: 10, scale: 2 };
        assert_eq!(scalar_to_datum(&ScalarValue::Decimal128(Some(5), 10, 1), &decimal), None);
        assert_eq!(scalar_to_datum(&ScalarValue::Int64(Some(1 << 40)), &ColumnType::Int32), None);
        assert_eq!(scalar_to_datum(&ScalarValue::Float64(Some(f64::NAN)), &ColumnType::Float64), None);
        assert_eq!(scalar_to_datum(&ScalarValue::Utf8(Some("1".into())), &ColumnType::Int32), None);
        let local = ScalarValue::TimestampMicrosecond(Some(0), None);
        assert_eq!(scalar_to_datum(&local, &ColumnType::TimestampTz), None);
    }
}
