//! Keys sort as their values do, read back as equal ones, and damage is an error.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::row::samples::{any_order, any_type, value_of};

/// The columns of a key, and two keys of them that often share values.
fn two_keys() -> impl Strategy<Value = (Vec<KeyPart>, Vec<Datum>, Vec<Datum>)> {
    let part = (any_type(), any_order()).prop_map(|(column_type, order)| KeyPart { column_type, order });
    vec(part, 1..4).prop_flat_map(|parts| {
        let values: Vec<_> = parts.iter().map(|part| value_of(&part.column_type)).collect();
        let shared = vec(any::<bool>(), parts.len());
        (Just(parts), values.clone(), values, shared).prop_map(|(parts, left, mut right, shared)| {
            for ((right, left), _) in right.iter_mut().zip(&left).zip(shared).filter(|(_, shared)| *shared) {
                right.clone_from(left);
            }
            (parts, left, right)
        })
    })
}

fn key_of(values: &[Datum], parts: &[KeyPart]) -> Vec<u8> {
    let mut key = Vec::new();
    encode_key_prefix(&mut key, values, parts).expect("values of the parts' types");
    key
}

fn compare_keys(left: &[Datum], right: &[Datum], parts: &[KeyPart]) -> Ordering {
    let columns = parts.iter().zip(left.iter().zip(right));
    columns
        .map(|(part, (left, right))| part.order.compare(left, right))
        .find(|order| order.is_ne())
        .unwrap_or(Ordering::Equal)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn keys_sort_as_their_values_whatever_follows(
        (parts, left, right) in two_keys(),
        after_left in any::<[u8; 2]>(),
        after_right in any::<[u8; 2]>(),
    ) {
        let (left_key, right_key) = (key_of(&left, &parts), key_of(&right, &parts));
        let order = compare_keys(&left, &right, &parts);
        prop_assert_eq!(left_key.cmp(&right_key), order);
        if order.is_ne() {
            prop_assert!(!left_key.starts_with(&right_key) && !right_key.starts_with(&left_key));
            let (left_key, right_key) = ([&left_key[..], &after_left].concat(), [&right_key[..], &after_right].concat());
            prop_assert_eq!(left_key.cmp(&right_key), order);
        }
    }

    #[test]
    fn a_key_is_taken_apart_by_its_values_and_no_others((parts, left, right) in two_keys()) {
        let key = key_of(&left, &parts);
        let mut rest = key.as_slice();
        for (part, (value, other)) in parts.iter().zip(left.iter().zip(&right)) {
            let strip = |value| strip_key(rest, value, &part.column_type, part.order).expect("typed");
            let is_same = part.order.compare(value, other).is_eq();
            prop_assert_eq!(strip(other).is_some(), is_same, "{:?} and {:?}", value, other);
            let others = strip(value).expect("is its value");
            prop_assert!(others.len() < rest.len());
            rest = others;
        }
        prop_assert!(rest.is_empty());
    }

    #[test]
    fn keys_read_back_as_equal_values((parts, values, _) in two_keys()) {
        let key = key_of(&values, &parts);
        let mut rest = key.as_slice();
        let read: Vec<Datum> = parts
            .iter()
            .map(|part| decode_key(&mut rest, &part.column_type, part.order).expect("valid"))
            .collect();
        prop_assert!(rest.is_empty());
        prop_assert_eq!(compare_keys(&read, &values, &parts), Ordering::Equal, "{:?}", read);
        prop_assert_eq!(key_of(&read, &parts), key);
    }

    #[test]
    fn keys_with_a_prefix_lie_between_it_and_its_successor((parts, left, right) in two_keys(), columns in 0_usize..3) {
        let columns = columns.min(parts.len());
        let prefix = key_of(&left[..columns], &parts);
        let key = key_of(&right, &parts);
        let within = key >= prefix && prefix_successor(&prefix).is_none_or(|end| key < end);
        prop_assert_eq!(within, compare_keys(&left[..columns], &right, &parts[..columns]).is_eq());
    }

    #[test]
    fn arbitrary_and_damaged_keys_never_panic(
        (parts, values, _) in two_keys(),
        bytes in vec(any::<u8>(), 0..40),
        at in any::<prop::sample::Index>(),
        flipped in any::<u8>(),
    ) {
        let mut key = key_of(&values, &parts);
        let cut = at.index(key.len());
        prop_assert!(read(&key[..cut], &parts).is_err());
        key[cut] ^= flipped;
        for bytes in [&key, &bytes] {
            if let Ok(values) = read(bytes, &parts) {
                prop_assert_eq!(values.len(), parts.len());
            }
        }
    }
}

fn read(mut key: &[u8], parts: &[KeyPart]) -> Result<Vec<Datum>> {
    parts.iter().map(|part| decode_key(&mut key, &part.column_type, part.order)).collect()
}

#[test]
fn successors_skip_trailing_ff() {
    assert_eq!(prefix_successor(&[1, 0xFF, 0xFF]), Some(vec![2]));
    assert_eq!(prefix_successor(&[1, 2]), Some(vec![1, 3]));
    assert_eq!(prefix_successor(&[0xFF]), None);
    assert_eq!(prefix_successor(&[]), None);
}

#[test]
fn what_sql_calls_equal_has_one_key() {
    let interval = |months, days, nanoseconds| Datum::Interval { months, days, nanoseconds };
    let day = 86_400_000_000_000;
    let cases = [
        (ColumnType::Float64, Datum::Float64(0.0), Datum::Float64(-0.0)),
        (ColumnType::Float32, Datum::Float32(f32::NAN), Datum::Float32(-f32::NAN)),
        (ColumnType::Interval, interval(1, 0, 0), interval(0, 30, 0)),
        (ColumnType::Interval, interval(0, -1, 0), interval(0, 0, -day)),
    ];
    for (column_type, left, right) in cases {
        let parts = [KeyPart { column_type, order: KeyOrder::default() }];
        assert_eq!(key_of(&[left], &parts), key_of(&[right], &parts));
    }
}

#[test]
fn a_bound_may_have_more_digits_than_the_column() {
    let column_type = ColumnType::Decimal { precision: 2, scale: 0 };
    let parts = [KeyPart { column_type, order: KeyOrder::default() }];
    assert!(key_of(&[Datum::Decimal(1_000)], &parts) > key_of(&[Datum::Decimal(99)], &parts));
}

#[test]
fn refused_values_leave_nothing_behind() {
    let part = KeyPart { column_type: ColumnType::Int16, order: KeyOrder::default() };
    let parts = [part.clone(), part];
    let mut key = vec![7];
    for values in [&[Datum::Int16(1), Datum::Int64(1)][..], &[Datum::Null, Datum::Null, Datum::Null]] {
        assert!(encode_key_prefix(&mut key, values, &parts).is_err());
        assert_eq!(key, [7]);
    }
    assert!(has_null(&[Datum::Int16(1), Datum::Null]) && !has_null(&[Datum::Int16(1)]));
}

#[test]
fn key_bytes_are_golden() {
    let interval = Datum::Interval { months: 0, days: 0, nanoseconds: 1 };
    let cases = [
        (ColumnType::Bool, Datum::Bool(true), "0101"),
        (ColumnType::Int16, Datum::Int16(-1), "017fff"),
        (ColumnType::Int32, Datum::Int32(1), "0180000001"),
        (ColumnType::Int64, Datum::Int64(258), "018000000000000102"),
        (ColumnType::Float32, Datum::Float32(-1.0), "01407fffff"),
        (ColumnType::Float64, Datum::Float64(1.0), "01bff0000000000000"),
        (ColumnType::Float64, Datum::Float64(-f64::NAN), "01fff8000000000000"),
        (
            ColumnType::Decimal { precision: 3, scale: 1 },
            Datum::Decimal(1),
            "0180000000000000000000000000000001",
        ),
        (ColumnType::Text, Datum::Text("a\0b".into()), "016100ff620000"),
        (ColumnType::Bytes, Datum::Bytes(vec![0xFF]), "01ff0000"),
        (ColumnType::Date, Datum::Date(-1), "017fffffff"),
        (ColumnType::Time, Datum::Time(1), "018000000000000001"),
        (ColumnType::Timestamp, Datum::Timestamp(1), "018000000000000001"),
        (ColumnType::TimestampTz, Datum::TimestampTz(1), "018000000000000001"),
        (ColumnType::Interval, interval, "0180000000000000000000000000000001"),
        (ColumnType::Uuid, Datum::Uuid([0x11; 16]), "0111111111111111111111111111111111"),
        (
            ColumnType::Array(Box::new(ColumnType::Int16)),
            Datum::Array(vec![Datum::Int16(1), Datum::Null]),
            "010180010200",
        ),
    ];
    let hex = |key: &[u8]| key.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    for (column_type, value, expected) in cases {
        let parts = [KeyPart { column_type, order: KeyOrder::default() }];
        assert_eq!(hex(&key_of(&[value], &parts)), expected, "{}", parts[0].column_type);
    }
    let descending = KeyOrder { descending: true, nulls_first: true };
    let parts = [KeyPart { column_type: ColumnType::Text, order: descending }];
    assert_eq!(hex(&key_of(&[Datum::Text("a\0".into())], &parts)), "019eff00ffff");
    assert_eq!(hex(&key_of(&[Datum::Null], &parts)), "00");
    let parts = [KeyPart { column_type: ColumnType::Text, order: KeyOrder::default() }];
    assert_eq!(hex(&key_of(&[Datum::Null], &parts)), "02");
}
