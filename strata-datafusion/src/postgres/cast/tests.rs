use datafusion::common::ScalarValue;

use super::*;

fn cast(value: ScalarValue, from: u32, to: PgType) -> SqlResult<ScalarValue> {
    let array = value.to_array().unwrap();
    let target = target_arrow(array.data_type(), to)?;
    let zone = Zone::parse("Europe/Berlin").unwrap();
    let context = CastContext { zone, now: 0, explicit: true };
    // An exact number has the digits that its Arrow type says.
    let from = if from == oid::NUMERIC { PgType::natural(array.data_type()) } else { PgType::new(from) };
    let array = cast_array(&array, from, to, &target, &context)?;
    Ok(ScalarValue::try_from_array(&array, 0).unwrap())
}

fn decimal(value: i128, precision: u8, scale: i8) -> ScalarValue {
    ScalarValue::Decimal128(Some(value), precision, scale)
}

#[test]
fn numbers_round_as_postgres_rounds() {
    let int4 = PgType::new(oid::INT4);
    assert_eq!(cast(decimal(17, 2, 1), oid::NUMERIC, int4).unwrap(), ScalarValue::Int32(Some(2)));
    assert_eq!(cast(decimal(-25, 2, 1), oid::NUMERIC, int4).unwrap(), ScalarValue::Int32(Some(-3)));
    for (value, rounded) in [(2.5, 2), (3.5, 4), (-0.5, 0), (1.7, 2)] {
        let cast = cast(ScalarValue::Float64(Some(value)), oid::FLOAT8, int4).unwrap();
        assert_eq!(cast, ScalarValue::Int32(Some(rounded)));
    }
    let numeric = PgType::numeric(5, 2);
    assert_eq!(cast(ScalarValue::Float64(Some(1.005)), oid::FLOAT8, numeric).unwrap(), decimal(101, 5, 2));
    assert_eq!(cast(decimal(1_999_999, 10, 6), oid::NUMERIC, numeric).unwrap(), decimal(200, 5, 2));
}

#[test]
fn what_leaves_the_range_is_refused() {
    let too_large = ScalarValue::Int64(Some(3_000_000_000));
    let error = cast(too_large.clone(), oid::INT8, PgType::new(oid::INT4)).unwrap_err();
    assert_eq!((error.sqlstate, error.message.as_str()), ("22003", "integer out of range"));
    assert_eq!(cast(too_large, oid::INT8, PgType::numeric(5, 2)).unwrap_err().sqlstate, "22003");
    let huge = ScalarValue::Float64(Some(1e300));
    assert_eq!(cast(huge.clone(), oid::FLOAT8, PgType::new(oid::FLOAT4)).unwrap_err().sqlstate, "22003");
    assert_eq!(cast(huge, oid::FLOAT8, PgType::new(oid::INT8)).unwrap_err().sqlstate, "22003");
}

#[test]
fn there_are_casts_that_do_not_exist() {
    let error = cast(ScalarValue::Int32(Some(1)), oid::INT4, PgType::new(oid::DATE)).unwrap_err();
    assert_eq!((error.sqlstate, error.message.as_str()), ("42846", "cannot cast type integer to date"));
    assert!(!castable(PgType::new(oid::INT8), PgType::new(oid::BOOL)));
    assert!(castable(PgType::new(oid::INT4), PgType::new(oid::BOOL)));
    assert!(castable(PgType::new(1007), PgType::new(1016)));
}

#[test]
fn text_is_read_and_written() {
    let text = |text: &str| ScalarValue::Utf8View(Some(text.to_owned()));
    assert_eq!(cast(text(" 7 "), oid::TEXT, PgType::new(oid::INT8)).unwrap(), ScalarValue::Int64(Some(7)));
    assert_eq!(cast(text("x"), oid::TEXT, PgType::new(oid::INT8)).unwrap_err().sqlstate, "22P02");
    assert_eq!(
        cast(ScalarValue::Boolean(Some(true)), oid::BOOL, PgType::new(oid::TEXT)).unwrap(),
        text("true")
    );
    assert_eq!(cast(decimal(150, 5, 2), oid::NUMERIC, PgType::new(oid::TEXT)).unwrap(), text("1.50"));
    let varchar = PgType::with_modifier(oid::VARCHAR, 6);
    assert_eq!(cast(text("abc"), oid::TEXT, varchar).unwrap(), text("ab"));
    let list = cast(text("{1,2}"), oid::TEXT, PgType::new(1007)).unwrap();
    let wider = cast(list, 1007, PgType::new(1016)).unwrap();
    assert_eq!(cast(wider, 1016, PgType::new(oid::TEXT)).unwrap(), text("{1,2}"));
}

#[test]
fn timestamps_pass_through_the_sessions_zone() {
    let noon = 1_710_504_000_000_000;
    let utc = ScalarValue::TimestampMicrosecond(Some(noon), Some("UTC".into()));
    let local = ScalarValue::TimestampMicrosecond(Some(noon + 3_600_000_000), None);
    assert_eq!(cast(utc.clone(), oid::TIMESTAMPTZ, PgType::new(oid::TIMESTAMP)).unwrap(), local);
    assert_eq!(cast(local, oid::TIMESTAMP, PgType::new(oid::TIMESTAMPTZ)).unwrap(), utc);
    let day = ScalarValue::Date32(Some(19_797));
    let midnight = cast(day.clone(), oid::DATE, PgType::new(oid::TIMESTAMPTZ)).unwrap();
    assert_eq!(
        midnight,
        ScalarValue::TimestampMicrosecond(Some(noon - 13 * 3_600_000_000), Some("UTC".into()))
    );
    assert_eq!(cast(midnight, oid::TIMESTAMPTZ, PgType::new(oid::DATE)).unwrap(), day);
}
