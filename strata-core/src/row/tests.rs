//! Rows and arrays of every type, made at random: what goes in comes out, and damage is an error.

use proptest::collection::vec;
use proptest::prelude::*;

use super::samples::{any_type, column, scalar_types, schema, value_of};
use super::*;
use crate::ids::{ColumnId, SchemaVersion};

/// A table's columns, and rows of it.
fn table() -> impl Strategy<Value = (Vec<ColumnType>, Vec<Vec<Datum>>)> {
    vec(any_type(), 0..20).prop_flat_map(|types| {
        let row: Vec<_> = types.iter().map(value_of).collect();
        (Just(types), vec(row, 1..5))
    })
}

fn id(column: usize) -> ColumnId {
    ColumnId::new(column.try_into().expect("few columns"))
}

fn encoded(schema: &Schema, values: &[Datum]) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode_row(schema, values, &mut bytes).expect("values of the columns' types");
    bytes
}

/// Equal to the bit: NaNs are equal, 0 and -0 are not.
fn same(left: &[Datum], right: &[Datum]) -> bool {
    format!("{left:?}") == format!("{right:?}")
}

proptest! {
    #[test]
    fn rows_read_back((types, rows) in table()) {
        let schema = schema(&types);
        for values in &rows {
            let bytes = encoded(&schema, values);
            let row = RowView::new(&bytes, &schema).expect("valid");
            prop_assert!(same(&row.to_datums().expect("valid"), values));
        }
    }

    #[test]
    fn columns_that_a_row_is_too_old_for_read_as_missing((types, rows) in table(), kept in 0_usize..20) {
        let kept = kept.min(types.len());
        let mut columns: Vec<Column> = schema(&types).columns.to_vec();
        for (column, value) in columns.iter_mut().zip(&rows[0]) {
            column.missing = value.clone();
        }
        let new = Schema::new(SchemaVersion::new(2), columns);
        let last = &rows[rows.len() - 1];
        let bytes = encoded(&schema(&types[..kept]), &last[..kept]);
        let row = RowView::new(&bytes, &new).expect("valid");
        let expected = [&last[..kept], &rows[0][kept..]].concat();
        prop_assert!(same(&row.to_datums().expect("valid"), &expected));
        for (column, column_type) in types.iter().enumerate() {
            let mut builder = ColumnBuilder::new(column_type, 2);
            builder.push_rows(&[row, row], id(column)).expect("valid");
            let read = datum_at(&builder.finish(), 1, column_type).expect("in the array");
            prop_assert!(same(&[read], &expected[column..=column]));
        }
    }

    #[test]
    fn dropped_columns_are_written_as_null((types, rows) in table(), dropped in any::<prop::sample::Index>()) {
        prop_assume!(!types.is_empty());
        let dropped = dropped.index(types.len());
        let mut columns = schema(&types).columns.to_vec();
        columns[dropped].dropped = true;
        let schema = Schema::new(SchemaVersion::new(2), columns);
        let bytes = encoded(&schema, &rows[0]);
        let mut expected = rows[0].clone();
        expected[dropped] = Datum::Null;
        let read = RowView::new(&bytes, &schema).and_then(|row| row.to_datums()).expect("valid");
        prop_assert!(same(&read, &expected));
    }

    #[test]
    fn arrays_hold_what_rows_and_values_push((types, rows) in table()) {
        let schema = schema(&types);
        let bytes: Vec<Vec<u8>> = rows.iter().map(|values| encoded(&schema, values)).collect();
        let views: Vec<RowView<'_>> =
            bytes.iter().map(|bytes| RowView::new(bytes, &schema).expect("valid")).collect();
        for (column, column_type) in types.iter().enumerate() {
            let mut from_rows = ColumnBuilder::new(column_type, 0);
            from_rows.push_rows(&views, id(column)).expect("of the column's type");
            let from_rows = from_rows.finish();
            let mut from_values = ColumnBuilder::new(column_type, rows.len());
            for values in &rows {
                from_values.push_datum(&values[column]).expect("of the column's type");
            }
            let from_values = from_values.finish();
            prop_assert_eq!(from_rows.data_type(), &arrow_type(column_type));
            prop_assert_eq!(from_rows.to_data(), from_values.to_data());
            for (index, values) in rows.iter().enumerate() {
                let value = datum_at(&from_rows, index, column_type).expect("in the array");
                prop_assert!(same(&[value], &values[column..=column]));
            }
            prop_assert!(datum_at(&from_rows, rows.len(), column_type).is_err());
        }
    }

    #[test]
    fn arbitrary_bytes_never_panic(types in vec(any_type(), 0..6), bytes in vec(any::<u8>(), 0..200)) {
        read_all(&bytes, &schema(&types));
    }

    #[test]
    fn damaged_rows_never_panic(
        (types, rows) in table(),
        at in any::<prop::sample::Index>(),
        value in any::<u8>(),
        cut in any::<prop::sample::Index>(),
    ) {
        let schema = schema(&types);
        let mut bytes = encoded(&schema, &rows[0]);
        let cut = cut.index(bytes.len());
        prop_assert!(RowView::new(&bytes[..cut], &schema).is_err(), "a row is not its own prefix");
        let at = at.index(bytes.len());
        bytes[at] = value;
        read_all(&bytes, &schema);
    }

    #[test]
    fn comparison_is_a_total_order(
        values in vec(any_type().prop_flat_map(|column_type| value_of(&column_type)), 3)
    ) {
        let [a, b, c] = &values[..] else { unreachable!("three values") };
        prop_assert_eq!(compare(a, b), compare(b, a).reverse());
        prop_assert!(compare(a, a).is_eq());
        if compare(a, b).is_le() && compare(b, c).is_le() {
            prop_assert!(compare(a, c).is_le());
        }
    }
}

/// Reads whatever the bytes hold, in each way there is.
fn read_all(bytes: &[u8], schema: &Schema) {
    let Ok(row) = RowView::new(bytes, schema) else { return };
    for column in schema.columns.iter() {
        let value = row.datum(column.id);
        let mut builder = ColumnBuilder::new(&column.column_type, 1);
        let pushed = builder.push_rows(&[row], column.id);
        assert_eq!(value.is_ok(), pushed.is_ok(), "{value:?} {pushed:?}");
    }
}

#[test]
fn an_array_of_a_billion_elements_that_are_not_there_is_an_error() {
    let types = [ColumnType::Array(Box::new(ColumnType::Int64))];
    let mut bytes = encoded(&schema(&types), &[Datum::Array(vec![Datum::Int64(1)])]);
    let count = bytes.len() - 8 - 1 - 4;
    bytes[count..count + 4].copy_from_slice(&u32::MAX.to_le_bytes());
    let schema = schema(&types);
    let row = RowView::new(&bytes, &schema).expect("the row itself is sound");
    assert!(matches!(row.datum(id(0)), Err(Error::Corrupt { .. })));
}

#[test]
fn a_row_whose_parts_do_not_add_up_is_damaged() {
    let schema = schema(&[ColumnType::Text, ColumnType::Text]);
    let sound = encoded(&schema, &[Datum::Text("a".into()), Datum::Text("é".into())]);
    assert_eq!(sound, [2, 0, 0, 1, 0, 0, 0, 3, 0, 0, 0, b'a', 0xC3, 0xA9]);
    let ends_swapped = [2, 0, 0, 4, 0, 0, 0, 3, 0, 0, 0, b'a', 0xC3, 0xA9];
    let bytes_left_over = [&sound[..], &[0]].concat();
    for bytes in [&ends_swapped[..], &bytes_left_over] {
        assert!(matches!(RowView::new(bytes, &schema), Err(Error::Corrupt { .. })), "{bytes:?}");
    }
    // Structurally sound, but the text's first character is cut.
    let cut_character = [2, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0, b'a', 0xC3, 0xA9];
    let row = RowView::new(&cut_character, &schema).expect("the offsets are in order");
    assert!(matches!(row.text(id(0)), Err(Error::Corrupt { .. })));
    let mut builder = ColumnBuilder::new(&ColumnType::Text, 1);
    assert!(matches!(builder.push_rows(&[row], id(1)), Err(Error::Corrupt { .. })));
}

#[test]
fn an_array_with_bytes_left_over_is_damaged() {
    let schema = schema(&[ColumnType::Array(Box::new(ColumnType::Bool))]);
    let mut bytes = encoded(&schema, &[Datum::Array(vec![Datum::Bool(true)])]);
    bytes.push(0);
    bytes[3] += 1;
    let row = RowView::new(&bytes, &schema).expect("the row itself is sound");
    assert!(matches!(row.datum(id(0)), Err(Error::Corrupt { .. })));
}

#[test]
fn values_of_another_type_are_refused_and_leave_nothing_behind() {
    let nested = ColumnType::Array(Box::new(ColumnType::Array(Box::new(ColumnType::Bool))));
    let cases = [
        (ColumnType::Int64, Datum::Int32(1)),
        (ColumnType::Timestamp, Datum::TimestampTz(1)),
        (
            ColumnType::Array(Box::new(ColumnType::Text)),
            Datum::Array(vec![Datum::Text("a".into()), Datum::Bool(true)]),
        ),
        (nested, Datum::Array(vec![Datum::Array(vec![])])),
    ];
    for (column_type, value) in cases {
        let schema = schema(&[ColumnType::Text, column_type.clone()]);
        let mut bytes = b"before".to_vec();
        assert!(encode_row(&schema, &[Datum::Text("x".into()), value.clone()], &mut bytes).is_err());
        assert_eq!(bytes, b"before", "{value:?}");
        let mut builder = ColumnBuilder::new(&column_type, 1);
        assert!(builder.push_datum(&value).is_err());
        builder.push_null();
        assert_eq!(builder.finish().len(), 1, "{value:?}");
    }
    let schema = schema(&[ColumnType::Text]);
    assert!(encode_row(&schema, &[], &mut Vec::new()).is_err());
}

#[test]
fn a_decimal_of_too_many_digits_is_refused_in_rows_and_passes_through_arrays() {
    let scalar = ColumnType::Decimal { precision: 3, scale: 1 };
    let array = ColumnType::Array(Box::new(scalar.clone()));
    for (column_type, value) in
        [(scalar, Datum::Decimal(1000)), (array, Datum::Array(vec![Datum::Null, Datum::Decimal(-1000)]))]
    {
        let refused = encode_row(
            &schema(std::slice::from_ref(&column_type)),
            std::slice::from_ref(&value),
            &mut Vec::new(),
        );
        assert!(matches!(refused, Err(Error::Invalid(_))), "{value:?}");
        // Sums are wider than what they are made of.
        let mut builder = ColumnBuilder::new(&column_type, 1);
        builder.push_datum(&value).expect("of the type");
        assert_eq!(datum_at(&builder.finish(), 0, &column_type).expect("in the array"), value);
    }
}

#[test]
fn a_row_of_more_columns_than_the_schema_is_refused() {
    let bytes = encoded(&schema(&[ColumnType::Bool, ColumnType::Bool]), &[Datum::Null, Datum::Null]);
    let schema = schema(&[ColumnType::Bool]);
    assert!(RowView::new(&bytes, &schema).is_err());
}

#[test]
fn not_null_is_checked_for_live_columns_only() {
    let mut columns: Vec<Column> = (0..3).map(|id| column(id, ColumnType::Int32)).collect();
    (columns[1].nullable, columns[1].dropped, columns[2].nullable) = (false, true, false);
    let schema = Schema::new(SchemaVersion::new(1), columns);
    assert!(schema.check_not_null(&[Datum::Null, Datum::Null, Datum::Int32(1)]).is_ok());
    let error = schema.check_not_null(&[Datum::Null, Datum::Null, Datum::Null]);
    assert!(matches!(error, Err(Error::NotNull { column }) if column == "c2"));
}

#[test]
fn a_reader_refuses_an_array_of_another_type() {
    for column_type in scalar_types() {
        let array = ColumnBuilder::new(&column_type, 0).finish();
        for other in scalar_types() {
            assert_eq!(
                ColumnReader::new(&array, &other).is_ok(),
                other == column_type,
                "{column_type} {other}"
            );
        }
    }
}

#[test]
fn row_bytes_are_golden() {
    let array = |element_type: ColumnType| ColumnType::Array(Box::new(element_type));
    let types = [
        ColumnType::Bool,
        ColumnType::Text,
        ColumnType::Decimal { precision: 18, scale: 2 },
        ColumnType::Decimal { precision: 19, scale: 2 },
        ColumnType::Int16,
        array(ColumnType::Text),
        ColumnType::Bytes,
        ColumnType::Interval,
        array(ColumnType::Int16),
    ];
    let values = [
        Datum::Bool(true),
        Datum::Text("ab".into()),
        Datum::Decimal(-2),
        Datum::Null,
        Datum::Int16(0x0102),
        Datum::Array(vec![Datum::Text("c".into()), Datum::Null]),
        Datum::Null,
        Datum::Interval { months: 1, days: 2, nanoseconds: 3 },
        Datum::Array(vec![Datum::Null, Datum::Int16(-1)]),
    ];
    #[rustfmt::skip]
    let expected = [
        9, 0,                                             // columns
        0b0100_1000, 0,                                   // columns 3 and 6 are NULL
        1,                                                // 0: true
        0xFE, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF,   // 2: narrow decimal
        0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,   // 3: wide decimal, NULL
        2, 1,                                             // 4
        1, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0,   // 7: months, days, nanoseconds
        2, 0, 0, 0,                                       // where 1 ends
        16, 0, 0, 0,                                      // 5
        16, 0, 0, 0,                                      // 6, NULL
        25, 0, 0, 0,                                      // 8
        b'a', b'b',                                       // 1
        2, 0, 0, 0, 0b10, 1, 0, 0, 0, b'c', 0, 0, 0, 0,   // 5: two elements, the second NULL
        2, 0, 0, 0, 0b01, 0, 0, 0xFF, 0xFF,               // 8: two elements, the first NULL
    ];
    assert_eq!(encoded(&schema(&types), &values), expected);
}

#[test]
fn fixed_values_are_little_endian() {
    let cases = [
        (ColumnType::Int32, Datum::Int32(-2), "feffffff"),
        (ColumnType::Int64, Datum::Int64(258), "0201000000000000"),
        (ColumnType::Float32, Datum::Float32(1.0), "0000803f"),
        (ColumnType::Float64, Datum::Float64(-1.0), "000000000000f0bf"),
        (ColumnType::Date, Datum::Date(1), "01000000"),
        (ColumnType::Time, Datum::Time(1), "0100000000000000"),
        (ColumnType::Timestamp, Datum::Timestamp(1), "0100000000000000"),
        (ColumnType::TimestampTz, Datum::TimestampTz(-1), "ffffffffffffffff"),
        (ColumnType::Uuid, Datum::Uuid(*b"0123456789abcdef"), "30313233343536373839616263646566"),
    ];
    for (column_type, value, expected) in cases {
        let bytes = encoded(&schema(std::slice::from_ref(&column_type)), &[value]);
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, format!("010000{expected}"), "{column_type}");
    }
}
