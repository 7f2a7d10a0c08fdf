use std::sync::Arc;

use datafusion::arrow::array::ArrayRef;
use datafusion::arrow::datatypes::Schema;
use datafusion::common::ScalarValue;

use super::*;
use crate::postgres::types::oid;
use crate::postgres::wire::decode_parameter;

fn field(pg_type: PgType) -> ResultField {
    ResultField {
        name: "x".to_owned(),
        type_oid: pg_type.oid,
        type_size: pg_type.size(),
        type_modifier: pg_type.modifier,
        table_oid: 0,
        column_number: 0,
    }
}

/// The one value of a one-row result, `None` for NULL.
fn encode(pg_type: PgType, value: &ScalarValue, format: i16) -> Option<Vec<u8>> {
    let array: ArrayRef = value.to_array().unwrap();
    let schema =
        Schema::new(vec![pg_type.field("x", true).unwrap().with_data_type(array.data_type().clone())]);
    let batch = RecordBatch::try_new(Arc::new(schema), vec![array]).unwrap();
    let mut out = BytesMut::new();
    let mut encoder = RowEncoder::new(&[field(pg_type)], &[format], "Europe/Berlin").unwrap();
    encoder.encode_rows(&batch, 0..1, &mut out).unwrap();
    assert_eq!(out[0], b'D');
    assert_eq!(i32::from_be_bytes(out[1..5].try_into().unwrap()) as usize, out.len() - 1);
    assert_eq!(out[5..7], [0, 1]);
    match i32::from_be_bytes(out[7..11].try_into().unwrap()) {
        -1 => None,
        length => {
            assert_eq!(length as usize, out.len() - 11);
            Some(out[11..].to_vec())
        }
    }
}

/// A text of each type as Postgres prints it.
const SAMPLES: &[(u32, i32, &str)] = &[
    (oid::BOOL, -1, "t"),
    (oid::INT2, -1, "-7"),
    (oid::INT4, -1, "42"),
    (oid::INT8, -1, "-9223372036854775808"),
    (oid::FLOAT4, -1, "1.5"),
    (oid::FLOAT8, -1, "1e+100"),
    (oid::NUMERIC, -1, "123.45"),
    (oid::NUMERIC, ((15 << 16) | 2) + 4, "-0.50"),
    (oid::TEXT, -1, "héllo"),
    (oid::VARCHAR, 14, "ab"),
    (oid::BPCHAR, 9, "ab   "),
    (oid::BYTEA, -1, "\\x00ff"),
    (oid::DATE, -1, "2024-03-15"),
    (oid::TIME, -1, "04:05:06.7"),
    (oid::TIMESTAMP, -1, "2024-03-15 12:00:00"),
    (oid::TIMESTAMPTZ, -1, "2024-07-15 12:00:00+02"),
    (oid::INTERVAL, -1, "1 mon 2 days 03:00:00"),
    (oid::UUID, -1, "00010203-0405-0607-0809-0a0b0c0d0e0f"),
    (oid::JSON, -1, "{\"b\":1}"),
    (oid::JSONB, -1, "{\"b\": 1}"),
    (oid::OID, -1, "4294967295"),
    (1007, -1, "{1,NULL,3}"),
    (1009, -1, "{a,\"b c\",NULL,\"\"}"),
    (1185, -1, "{\"2024-07-15 12:00:00+02\"}"),
    (1231, -1, "{1.5,22}"),
];

#[test]
fn every_type_prints_what_it_reads() {
    for (oid, modifier, text) in SAMPLES {
        let pg_type = PgType::with_modifier(*oid, *modifier);
        let value = crate::postgres::input::parse_value(
            PgType::with_modifier(*oid, *modifier),
            text,
            &Zone::parse("Europe/Berlin").unwrap(),
            0,
        )
        .unwrap();
        let encoded = encode(pg_type, &value, 0).unwrap();
        assert_eq!(String::from_utf8(encoded).unwrap(), *text, "{}", pg_type.sql_name());
    }
}

#[test]
fn every_type_survives_its_binary_format() {
    for (oid, _, text) in SAMPLES {
        let value = crate::postgres::input::parse_value(
            PgType::new(*oid),
            text,
            &Zone::parse("Europe/Berlin").unwrap(),
            0,
        )
        .unwrap();
        let binary = encode(PgType::new(*oid), &value, 1).unwrap();
        let back = decode_parameter(*oid, true, &binary).unwrap();
        assert_eq!(back, value, "{text}");
    }
}

#[test]
fn null_has_no_bytes() {
    assert_eq!(encode(PgType::new(oid::INT4), &ScalarValue::Int32(None), 0), None);
    assert_eq!(encode(PgType::new(oid::TEXT), &ScalarValue::Null, 1), None);
}

#[test]
fn formats_are_checked() {
    let fields = [field(PgType::new(oid::INT4)), field(PgType::new(oid::INT4))];
    assert!(RowEncoder::new(&fields, &[0, 1], "UTC").is_ok());
    assert_eq!(RowEncoder::new(&fields, &[2], "UTC").unwrap_err().sqlstate, "22023");
    assert!(RowEncoder::new(&fields, &[], "UTC").is_ok());
}

#[test]
fn vectors_of_the_catalogs_have_blanks_and_count_from_0() {
    use datafusion::arrow::array::ListArray;
    use datafusion::arrow::datatypes::Int16Type;
    let list = ListArray::from_iter_primitive::<Int16Type, _, _>([Some([Some(2), Some(4)])]);
    let value = ScalarValue::List(std::sync::Arc::new(list));
    let vector = PgType::new(oid::INT2VECTOR);
    assert_eq!(encode(vector, &value, 0).unwrap(), b"2 4");
    let binary = encode(vector, &value, 1).unwrap();
    let head = [0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 21, 0, 0, 0, 2, 0, 0, 0, 0];
    assert_eq!(binary.get(..20), Some(&head[..]));
    assert_eq!(binary.get(20..26), Some(&[0, 0, 0, 2, 0, 2][..]));
}
