//! What must hold of any bytes that are read as a row or as a key; and types and values that bytes choose.

use super::compare::compare;
use super::key::{KeyOrder, KeyPart, decode_key, encode_key, encode_key_prefix, prefix_successor};
use super::{Column, ColumnBuilder, ColumnType, Datum, RowView, Schema, SqlType, datum_at, encode_row};
use crate::codec::choices::Choices;
use crate::ids::{ColumnId, SchemaVersion};

const SCALARS: [ColumnType; 18] = [
    ColumnType::Bool,
    ColumnType::Int16,
    ColumnType::Int32,
    ColumnType::Int64,
    ColumnType::Float32,
    ColumnType::Float64,
    ColumnType::Decimal { precision: 3, scale: 1 },
    ColumnType::Decimal { precision: 18, scale: 2 },
    ColumnType::Decimal { precision: 19, scale: 0 },
    ColumnType::Decimal { precision: 38, scale: 10 },
    ColumnType::Text,
    ColumnType::Bytes,
    ColumnType::Date,
    ColumnType::Time,
    ColumnType::Timestamp,
    ColumnType::TimestampTz,
    ColumnType::Interval,
    ColumnType::Uuid,
];

/// Any type.
pub(crate) fn any_type(choices: &mut Choices<'_>) -> ColumnType {
    let scalar = |at: usize| SCALARS[at % SCALARS.len()].clone();
    match choices.below(36) {
        at if at < 30 => scalar(at),
        at => ColumnType::Array(Box::new(scalar(at + choices.below(18)))),
    }
}

/// NULL or a value of this type.
pub(crate) fn any_value(column_type: &ColumnType, choices: &mut Choices<'_>) -> Datum {
    match choices.below(8) {
        0 => Datum::Null,
        _ => not_null(column_type, choices),
    }
}

/// A value of this type.
pub(crate) fn not_null(column_type: &ColumnType, choices: &mut Choices<'_>) -> Datum {
    match column_type {
        ColumnType::Bool => Datum::Bool(choices.u8() & 1 == 1),
        ColumnType::Int16 => Datum::Int16(integer(choices) as i16),
        ColumnType::Int32 => Datum::Int32(integer(choices) as i32),
        ColumnType::Int64 => Datum::Int64(integer(choices)),
        ColumnType::Float32 => Datum::Float32(f32::from_bits(choices.u32())),
        ColumnType::Float64 => Datum::Float64(f64::from_bits(choices.u64())),
        ColumnType::Decimal { precision, .. } => {
            let limit = 10_i128.pow(u32::from(*precision));
            Datum::Decimal(i128::from_le_bytes(choices.array()) % limit)
        }
        ColumnType::Text => Datum::Text(String::from_utf8_lossy(choices.sized()).into_owned()),
        ColumnType::Bytes => Datum::Bytes(choices.sized().to_vec()),
        ColumnType::Date => Datum::Date(integer(choices) as i32),
        ColumnType::Time => Datum::Time(integer(choices)),
        ColumnType::Timestamp => Datum::Timestamp(integer(choices)),
        ColumnType::TimestampTz => Datum::TimestampTz(integer(choices)),
        ColumnType::Interval => Datum::Interval {
            months: integer(choices) as i32,
            days: integer(choices) as i32,
            nanoseconds: integer(choices),
        },
        ColumnType::Uuid => Datum::Uuid(choices.array()),
        ColumnType::Array(element_type) => {
            let count = choices.below(6);
            Datum::Array((0..count).map(|_| any_value(element_type, choices)).collect())
        }
    }
}

/// An integer of any size, small ones often.
fn integer(choices: &mut Choices<'_>) -> i64 {
    match choices.below(4) {
        0 => i64::from(choices.u8() as i8),
        1 => i64::from(choices.u16() as i16),
        2 => [i64::MIN, i64::MAX, i64::from(i32::MIN), i64::from(i32::MAX)][choices.below(4)],
        _ => choices.u64() as i64,
    }
}

/// Columns of any types, some dropped, some with a value for rows that are older than they.
fn any_schema(choices: &mut Choices<'_>) -> Schema {
    let count = choices.below(12);
    let column = |id: u32| {
        let column_type = any_type(choices);
        let missing = any_value(&column_type, choices);
        let dropped = choices.below(8) == 7;
        column_of(id, column_type, missing, dropped)
    };
    Schema::new(SchemaVersion::new(1), (0..count as u32).map(column).collect())
}

/// A nullable column.
pub(crate) fn column_of(id: u32, column_type: ColumnType, missing: Datum, dropped: bool) -> Column {
    Column {
        id: ColumnId::new(id),
        name: String::new(),
        column_type,
        sql_type: SqlType::default(),
        nullable: true,
        default: None,
        missing,
        dropped,
    }
}

/// Compares so that NaN equals itself and -0 differs from 0.
pub(crate) fn same(left: &Datum, right: &Datum) -> bool {
    format!("{left:?}") == format!("{right:?}")
}

/// A row of any schema, of any bytes: what is read is written and read again as the same, alone and into an array.
pub(crate) fn row(data: &[u8]) {
    let mut choices = Choices::new(data);
    let schema = any_schema(&mut choices);
    if choices.below(2) == 0 {
        let values: Vec<Datum> =
            schema.columns.iter().map(|column| any_value(&column.column_type, &mut choices)).collect();
        let mut bytes = Vec::new();
        encode_row(&schema, &values, &mut bytes).expect("values of the types");
        let view = RowView::new(&bytes, &schema).expect("what was encoded is a row");
        for (column, value) in schema.columns.iter().zip(&values) {
            let found = view.datum(column.id).expect("what was encoded is read");
            let expected = if column.dropped { &Datum::Null } else { value };
            assert!(same(&found, expected), "{found:?} was written as {expected:?}");
        }
        return;
    }
    let bytes = choices.rest();
    let Ok(view) = RowView::new(bytes, &schema) else { return };
    for column in schema.columns.iter() {
        let read = view.datum(column.id);
        let mut builder = ColumnBuilder::new(&column.column_type, 1);
        let pushed = builder.push_row(&view, column.id);
        let mut many = ColumnBuilder::new(&column.column_type, 2);
        let twice = many.push_rows(&[view, view], column.id);
        assert_eq!((read.is_ok(), read.is_ok()), (pushed.is_ok(), twice.is_ok()), "{column:?}");
        let Ok(value) = read else { continue };
        assert_eq!(view.is_null(column.id).expect("the schema has it"), value.is_null());
        for (array, at) in [(builder.finish(), 0), (many.finish(), 1)] {
            let found = datum_at(&array, at, &column.column_type).expect("of the type");
            assert!(same(&found, &value), "{found:?} in an array, {value:?} alone");
        }
    }
    let Ok(values) = view.to_datums() else { return };
    let mut again = Vec::new();
    // A decimal may have more digits than its column takes: readable, and not to be written.
    if encode_row(&schema, &values, &mut again).is_err() {
        return;
    }
    let view = RowView::new(&again, &schema).expect("what was encoded is a row");
    for (column, value) in schema.columns.iter().zip(&values).filter(|(column, _)| !column.dropped) {
        let found = view.datum(column.id).expect("what was encoded is read");
        assert!(same(&found, value), "{found:?} was written as {value:?}");
    }
}

/// Two keys: they sort as their values do. And any bytes as a key: what is read is written and read again as equal.
pub(crate) fn key(data: &[u8]) {
    let mut choices = Choices::new(data);
    let count = 1 + choices.below(3);
    let parts: Vec<KeyPart> = (0..count)
        .map(|_| KeyPart {
            column_type: any_type(&mut choices),
            order: KeyOrder { descending: choices.below(2) == 1, nulls_first: choices.below(2) == 1 },
        })
        .collect();
    if choices.below(2) == 0 {
        let left: Vec<Datum> = parts.iter().map(|part| any_value(&part.column_type, &mut choices)).collect();
        let right: Vec<Datum> = (parts.iter().zip(&left))
            .map(|(part, left)| match choices.below(3) {
                0 => left.clone(),
                _ => any_value(&part.column_type, &mut choices),
            })
            .collect();
        sort_alike(&parts, &left, &right, choices.rest());
        return;
    }
    let bytes = choices.rest();
    let mut rest = bytes;
    for part in &parts {
        let before = rest;
        let Ok(value) = decode_key(&mut rest, &part.column_type, part.order) else { return };
        assert!(rest.len() < before.len(), "a column of a key has bytes");
        let mut again = Vec::new();
        encode_key(&mut again, &value, &part.column_type, part.order).expect("a value of the type");
        let mut reread = again.as_slice();
        let found = decode_key(&mut reread, &part.column_type, part.order).expect("what was encoded is read");
        assert!(reread.is_empty() && compare(&found, &value).is_eq(), "{found:?} was written as {value:?}");
    }
}

fn sort_alike(parts: &[KeyPart], left: &[Datum], right: &[Datum], tail: &[u8]) {
    let key_of = |values: &[Datum]| {
        let mut key = Vec::new();
        encode_key_prefix(&mut key, values, parts).expect("values of the types");
        key
    };
    let (left_key, right_key) = (key_of(left), key_of(right));
    let columns = parts.iter().zip(left.iter().zip(right));
    let mut orders = columns.map(|(part, (left, right))| part.order.compare(left, right));
    let order = orders.find(|order| order.is_ne()).unwrap_or(std::cmp::Ordering::Equal);
    assert_eq!(left_key.cmp(&right_key), order, "{left:?} and {right:?}");
    if order.is_ne() {
        let longer = [&left_key[..], tail].concat();
        assert_eq!(longer.cmp(&right_key), order, "{left:?} with bytes behind it and {right:?}");
        let successor = prefix_successor(&left_key).expect("a key starts with a tag");
        assert!(longer < successor && (right_key < left_key || right_key >= successor));
    }
    let mut rest = left_key.as_slice();
    for (part, value) in parts.iter().zip(left) {
        let found = decode_key(&mut rest, &part.column_type, part.order).expect("what was encoded is read");
        assert!(compare(&found, value).is_eq(), "{found:?} was written as {value:?}");
    }
    assert!(rest.is_empty());
}
