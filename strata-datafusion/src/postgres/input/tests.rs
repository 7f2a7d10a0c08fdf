use super::*;

fn parse(oid: u32, text: &str) -> SqlResult<ScalarValue> {
    parse_value(PgType::new(oid), text, &Zone::Utc, 0)
}

#[test]
fn scalars_are_read() {
    assert_eq!(parse(oid::BOOL, "t").unwrap(), ScalarValue::Boolean(Some(true)));
    assert_eq!(parse(oid::INT4, " 42 ").unwrap(), ScalarValue::Int32(Some(42)));
    assert_eq!(parse(oid::FLOAT8, "1e3").unwrap(), ScalarValue::Float64(Some(1000.0)));
    assert_eq!(parse(oid::BYTEA, "\\x00ff").unwrap(), ScalarValue::BinaryView(Some(vec![0, 255])));
    assert_eq!(parse(oid::BYTEA, "a\\\\\\001").unwrap(), ScalarValue::BinaryView(Some(vec![b'a', b'\\', 1])));
    let id: Vec<u8> = (0..16).collect();
    for text in ["00010203-0405-0607-0809-0a0b0c0d0e0f", "{000102030405060708090A0B0C0D0E0F}"] {
        assert_eq!(parse(oid::UUID, text).unwrap(), ScalarValue::FixedSizeBinary(16, Some(id.clone())));
    }
}

#[test]
fn what_is_no_value_is_22p02() {
    for (oid, text) in [
        (oid::BOOL, "maybe"),
        (oid::INT4, "4x"),
        (oid::INT4, ""),
        (oid::FLOAT8, "one"),
        (oid::NUMERIC, "1.2.3"),
        (oid::UUID, "0001"),
        (oid::JSON, "{"),
        (oid::INTERVAL, "1 fortnightly"),
    ] {
        let error = parse(oid, text).unwrap_err();
        assert!(matches!(error.sqlstate, "22P02" | "22007"), "{text}: {error}");
    }
    assert_eq!(parse(oid::INT4, "4x").unwrap_err().message, "invalid input syntax for type integer: \"4x\"");
    assert_eq!(parse(oid::INT2, "40000").unwrap_err().sqlstate, "22003");
}

#[test]
fn characters_fit_their_type() {
    let varchar = PgType::with_modifier(oid::VARCHAR, 7);
    assert_eq!(fit_characters(varchar, "äöü  ", false).unwrap(), "äöü");
    assert_eq!(fit_characters(varchar, "äöüß", false).unwrap_err().sqlstate, "22001");
    assert_eq!(fit_characters(varchar, "äöüß", true).unwrap(), "äöü");
    let character = PgType::with_modifier(oid::BPCHAR, 9);
    assert_eq!(fit_characters(character, "ab   ", false).unwrap(), "ab");
}

#[test]
fn jsonb_is_normalized_and_json_is_not() {
    assert_eq!(
        normalize_jsonb(r#"{"bb":1.50, "a" : [1,{}], "bb":2}"#).unwrap(),
        r#"{"a": [1, {}], "bb": 2}"#
    );
    assert_eq!(parse_json(r#"{"b":1, "a":2}"#).unwrap(), r#"{"b":1, "a":2}"#);
    assert_eq!(normalize_jsonb("1.500").unwrap(), "1.500");
}

#[test]
fn fractions_round_to_their_digits() {
    assert_eq!(round_fraction(1_499_999, 0), 1_000_000);
    assert_eq!(round_fraction(1_500_000, 0), 2_000_000);
    assert_eq!(round_fraction(1_234_567, 3), 1_235_000);
    assert_eq!(round_fraction(1_234_567, -1), 1_234_567);
}
