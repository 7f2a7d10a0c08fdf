//! Types and values at random, for property tests of whoever stores them. Small alphabets and the edges of each
//! type make ties, shared prefixes and overflows likely.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use super::{Column, ColumnType, Datum, KeyOrder, Schema, SqlType};
use crate::ids::{ColumnId, SchemaVersion};

/// A nullable column with nothing special.
pub(crate) fn column(id: usize, column_type: ColumnType) -> Column {
    Column {
        id: ColumnId::new(id.try_into().expect("few columns")),
        name: format!("c{id}"),
        column_type,
        sql_type: SqlType::default(),
        nullable: true,
        default: None,
        missing: Datum::Null,
        dropped: false,
    }
}

/// A schema of nullable columns of these types.
pub(crate) fn schema(types: &[ColumnType]) -> Schema {
    let columns = types.iter().cloned().enumerate().map(|(id, column_type)| column(id, column_type));
    Schema::new(SchemaVersion::new(1), columns.collect())
}

/// Every type that is no array, decimals of three widths.
pub(crate) fn scalar_types() -> Vec<ColumnType> {
    let decimal = |precision, scale| ColumnType::Decimal { precision, scale };
    vec![
        ColumnType::Bool,
        ColumnType::Int16,
        ColumnType::Int32,
        ColumnType::Int64,
        ColumnType::Float32,
        ColumnType::Float64,
        decimal(3, 1),
        decimal(18, 2),
        decimal(38, 10),
        ColumnType::Text,
        ColumnType::Bytes,
        ColumnType::Date,
        ColumnType::Time,
        ColumnType::Timestamp,
        ColumnType::TimestampTz,
        ColumnType::Interval,
        ColumnType::Uuid,
    ]
}

/// Any type.
pub(crate) fn any_type() -> impl Strategy<Value = ColumnType> {
    (select(scalar_types()), prop::bool::weighted(0.2))
        .prop_map(|(scalar, array)| if array { ColumnType::Array(Box::new(scalar)) } else { scalar })
}

/// Any order of a key's column.
pub(crate) fn any_order() -> impl Strategy<Value = KeyOrder> {
    any::<(bool, bool)>().prop_map(|(descending, nulls_first)| KeyOrder { descending, nulls_first })
}

/// NULL or a value of this type.
pub(crate) fn value_of(column_type: &ColumnType) -> BoxedStrategy<Datum> {
    prop_oneof![1 => Just(Datum::Null), 5 => not_null(column_type)].boxed()
}

fn not_null(column_type: &ColumnType) -> BoxedStrategy<Datum> {
    match column_type {
        ColumnType::Bool => any::<bool>().prop_map(Datum::Bool).boxed(),
        ColumnType::Int16 => prop_oneof![any::<i16>(), select(vec![i16::MIN, -1, 0, 1, i16::MAX])]
            .prop_map(Datum::Int16)
            .boxed(),
        ColumnType::Int32 => int32().prop_map(Datum::Int32).boxed(),
        ColumnType::Int64 => int64().prop_map(Datum::Int64).boxed(),
        ColumnType::Float32 => {
            let edges = vec![
                0.0,
                -0.0,
                1.0,
                f32::NAN,
                -f32::NAN,
                f32::INFINITY,
                f32::NEG_INFINITY,
                f32::MIN_POSITIVE,
            ];
            prop_oneof![any::<u32>().prop_map(f32::from_bits), select(edges)].prop_map(Datum::Float32).boxed()
        }
        ColumnType::Float64 => {
            let edges = vec![
                0.0,
                -0.0,
                1.0,
                f64::NAN,
                -f64::NAN,
                f64::INFINITY,
                f64::NEG_INFINITY,
                f64::MIN_POSITIVE,
            ];
            prop_oneof![any::<u64>().prop_map(f64::from_bits), select(edges)].prop_map(Datum::Float64).boxed()
        }
        ColumnType::Decimal { precision, .. } => {
            let largest = 10_i128.pow(u32::from(*precision)) - 1;
            prop_oneof![-largest..=largest, select(vec![-largest, -1, 0, 1, largest])]
                .prop_map(Datum::Decimal)
                .boxed()
        }
        ColumnType::Text => vec(select(vec!['\0', 'a', 'b', 'é', '\u{10FFFF}']), 0..6)
            .prop_map(|characters| Datum::Text(characters.into_iter().collect()))
            .boxed(),
        ColumnType::Bytes => vec(select(vec![0, 1, 0x7F, 0xFE, 0xFF]), 0..6).prop_map(Datum::Bytes).boxed(),
        ColumnType::Date => int32().prop_map(Datum::Date).boxed(),
        ColumnType::Time => int64().prop_map(Datum::Time).boxed(),
        ColumnType::Timestamp => int64().prop_map(Datum::Timestamp).boxed(),
        ColumnType::TimestampTz => int64().prop_map(Datum::TimestampTz).boxed(),
        ColumnType::Interval => {
            let day = 86_400_000_000_000;
            prop_oneof![(int32(), int32(), int64()), (-1..=1, -31..=31, select(vec![-day, 0, 1, day])),]
                .prop_map(|(months, days, nanoseconds)| Datum::Interval { months, days, nanoseconds })
                .boxed()
        }
        ColumnType::Uuid => {
            prop_oneof![any::<[u8; 16]>(), select(vec![[0; 16], [0xFF; 16]])].prop_map(Datum::Uuid).boxed()
        }
        ColumnType::Array(element_type) => vec(value_of(element_type), 0..10).prop_map(Datum::Array).boxed(),
    }
}

fn int32() -> impl Strategy<Value = i32> {
    prop_oneof![any::<i32>(), select(vec![i32::MIN, -1, 0, 1, i32::MAX])]
}

fn int64() -> impl Strategy<Value = i64> {
    prop_oneof![any::<i64>(), select(vec![i64::MIN, -1, 0, 1, i64::MAX])]
}
