//! Floats come back to the bit, decimals small; damage is found.

use std::cmp::Ordering;

use proptest::prelude::*;

use super::super::bitmap::Bitmap;
use super::super::filter::Comparison;
use super::*;
use crate::row::compare::compare_floats;

const COMPARISONS: [Comparison; 6] =
    [Comparison::Eq, Comparison::Ne, Comparison::Lt, Comparison::Le, Comparison::Gt, Comparison::Ge];

fn parse(count: usize, width: usize, content: &[u8]) -> Decoded<AlpPage> {
    AlpPage::parse(count, width, &Buffer::from_slice_ref(content))
}

/// The page of these values and its bytes; read back whole, in part and one by one.
fn round_trip<F: Float>(values: &[F]) -> Option<usize> {
    let content = decimals(values, |_| true)?.page(0, values.len()).expect("fits");
    let page = parse(values.len(), F::BYTES, &content).expect("parses");
    let bits = |values: &[F]| values.iter().map(|value| value.bits()).collect::<Vec<_>>();
    let end = u32::try_from(values.len()).expect("small");
    for (start, end) in [(0, end), (end / 3, end - end / 4)] {
        let mut out = Vec::new();
        page.decode::<F>(Positions::Range(start + 9, end + 9), 9, &mut out).expect("decodes");
        assert_eq!(bits(&out), bits(&values[start as usize..end as usize]));
    }
    for step in [1, 7, 100] {
        let list: Vec<u32> = (9..9 + end).step_by(step).collect();
        let mut out = Vec::new();
        page.decode::<F>(Positions::List(&list), 9, &mut out).expect("decodes");
        let expected: Vec<F> = values.iter().copied().step_by(step).collect();
        assert_eq!(bits(&out), bits(&expected), "step {step}");
    }
    for (at, value) in values.iter().enumerate() {
        assert_eq!(page.get::<F>(at).expect("is there").bits(), value.bits(), "value {at}");
    }
    check_select(&page, values);
    Some(content.len())
}

fn check_select<F: Float>(page: &AlpPage, values: &[F]) {
    let literals = [f64::NAN, 0.0, -0.0, f64::INFINITY, f64::MIN].map(F::narrow).into_iter();
    for literal in literals.chain(values.iter().copied().step_by(values.len() / 3 + 1)) {
        let order = |value: F| compare_floats(value.widen(), literal.widen());
        for comparison in COMPARISONS {
            let mut found = Bitmap::default();
            let end = u32::try_from(values.len()).expect("small");
            page.select(Positions::Range(1, end), 0, comparison, order, &mut found).expect("selects");
            for (at, value) in values.iter().enumerate().skip(1) {
                let expected = comparison.accepts(order(*value));
                assert_eq!(found.get(at - 1), expected, "{at}: {comparison:?} {}", literal.widen());
            }
        }
    }
}

/// Values that no integer gives, among others.
fn specials() -> Vec<f64> {
    let odd = [
        -0.0,
        f64::INFINITY,
        f64::NEG_INFINITY,
        f64::NAN,
        f64::from_bits(0x7FF0_0000_0000_0001),
        f64::from_bits(0xFFF8_DEAD_BEEF_0001),
        f64::from_bits(1),
        f64::MIN_POSITIVE / 3.0,
        f64::MAX,
        f64::MIN,
        1e300,
        std::f64::consts::PI,
        9_007_199_254_740_993.0,
    ];
    (0..2100).map(|at| if at % 50 == 17 { odd[at / 50 % odd.len()] } else { at as f64 / 100.0 }).collect()
}

#[test]
fn values_that_are_no_decimals_come_back_to_the_bit() {
    let values = specials();
    let bytes = round_trip(&values).expect("is worth it");
    assert!(bytes < 2100 * 3, "{bytes}");
    let narrow: Vec<f32> = values.iter().map(|value| *value as f32).collect();
    round_trip(&narrow).expect("is worth it");
    // A signalling NaN does not survive a conversion.
    let mut narrow = vec![1.5_f32; 1100];
    narrow[700] = f32::from_bits(0x7F80_0001);
    round_trip(&narrow).expect("is worth it");
    round_trip(&[f64::NAN; 3]);
    assert_eq!(round_trip::<f64>(&[]), None);
}

#[test]
fn decimals_of_each_group_have_a_pair_of_their_own() {
    let places = [1.0, 10.0, 100.0, 1e4, 1e6, 1e-3];
    let values: Vec<f64> = (0..6 * 1024).map(|at| (at * 37 % 991) as f64 / places[at / 1024]).collect();
    let found = decimals(&values, |_| true).expect("is worth it");
    let bytes = round_trip(&values).expect("is worth it");
    let content = found.page(0, values.len()).expect("fits");
    let page = parse(values.len(), 8, &content).expect("parses");
    let distinct: std::collections::BTreeSet<Pair> = page.pairs.iter().copied().collect();
    assert!(distinct.len() > 2, "{distinct:?}");
    assert!(bytes < values.len() * 2, "{bytes}");
    assert_eq!(content.len(), bytes);
}

#[test]
fn prices_take_the_bits_of_their_cents() {
    let values: Vec<f64> = (0..4096).map(|at| f64::from(90_000 + at * 7919 % 104_950) / 100.0).collect();
    let bytes = round_trip(&values).expect("is worth it");
    assert!(bytes < 4096 * 19 / 8 + 100, "{bytes}");
}

#[test]
fn real_doubles_are_not_worth_it() {
    let values: Vec<f64> = (1..3000).map(|at| f64::from(at).sqrt().sin()).collect();
    assert!(decimals(&values, |_| true).is_none());
}

#[test]
fn nulls_are_no_exceptions() {
    let mut values = vec![2.5_f64; 1024];
    values[5] = f64::NAN;
    let found = decimals(&values, |at| at != 5).expect("is worth it");
    let with_null = found.page(0, 1024).expect("fits").len();
    let found = decimals(&values, |_| true).expect("is worth it");
    assert_eq!(found.page(0, 1024).expect("fits").len(), with_null + 10);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn any_bits_among_decimals_round_trip(
        odd in prop::collection::vec((any::<u16>(), any::<u64>()), 0..200),
        digits in 0_i32..7,
        count in 1_usize..2500,
        start in -1_000_000_i64..1_000_000,
    ) {
        let mut values: Vec<f64> =
            (0..count as i64).map(|at| (start + at * at % 1009) as f64 / 10_f64.powi(digits)).collect();
        for (place, bits) in odd {
            values[usize::from(place) % count] = f64::from_bits(bits);
        }
        round_trip(&values);
        let narrow: Vec<f32> = values.iter().map(|value| *value as f32).collect();
        round_trip(&narrow);
    }

    #[test]
    fn what_an_integer_stands_for_never_falls(integer in any::<i64>(), exponent in 0_u8..19, factor in 0_u8..19) {
        prop_assume!(factor <= exponent);
        let pair = Pair::new(exponent, factor).expect("a pair");
        let next = integer.saturating_add(1);
        prop_assert_ne!(compare_floats(pair.decode(integer), pair.decode(next)), Ordering::Greater);
        prop_assert_ne!(
            f32::narrow(pair.decode(integer)).partial_cmp(&f32::narrow(pair.decode(next))),
            Some(Ordering::Greater)
        );
    }
}

#[test]
fn golden_bytes() {
    let mut values = vec![0.5_f64; 1024];
    values[2] = -0.0;
    let content = decimals(&values, |_| true).expect("is worth it").page(0, 1024).expect("fits");
    // An integer page of one group: flags and zeros, base 5, width 0 and zeros.
    let integers = [[0; 8], [5, 0, 0, 0, 0, 0, 0, 0], [0; 8]].concat();
    let mut expected = vec![24, 0, 0, 0, 1, 0, 0, 0];
    expected.extend(integers);
    expected.extend([1, 0]);
    expected.extend([2, 0]);
    expected.extend([0, 0, 0, 0, 0, 0, 0, 0x80]);
    assert_eq!(content, expected);
}

/// Reads all that a page has, in every way.
fn exercise(count: usize, width: usize, content: &[u8]) {
    let Ok(page) = parse(count, width, content) else { return };
    let end = u32::try_from(count).expect("small");
    for at in (0..count).step_by(97) {
        let _ = page.get::<f64>(at);
    }
    let _ = page.decode::<f64>(Positions::Range(0, end), 0, &mut Vec::new());
    let _ = page.decode::<f32>(Positions::List(&[0, 5, end - 1]), 0, &mut Vec::new());
    let order = |value: f64| compare_floats(value, 1.0);
    let _ = page.select(Positions::Range(0, end), 0, Comparison::Lt, order, &mut Bitmap::default());
    assert!(page.get::<f64>(1 << 20).is_err());
}

#[test]
fn forged_pages_are_refused_or_read_without_panic() {
    let values = specials();
    let content = decimals(&values, |_| true).expect("is worth it").page(0, 2100).expect("fits");
    exercise(2100, 8, &content);
    // All of the headers and the end; of the packed words some.
    let places = (0..content.len()).filter(|at| *at < 80 || at % 61 == 0 || at + 500 > content.len());
    for at in places {
        for value in [0, 1, 0x7F, 0xFF] {
            let mut bad = content.clone();
            bad[at] = value;
            exercise(2100, 8, &bad);
        }
        assert!(parse(2100, 8, &content[..at]).is_err(), "cut at {at}");
    }
    for count in [1, 1024, 2099, 70_000] {
        exercise(count, 8, &content);
    }
    assert!(parse(2100, 4, &content).is_err());
}

#[test]
fn bounds_from_disk_are_checked() {
    let mut values = vec![0.5_f64; 1024];
    (values[2], values[9]) = (-0.0, f64::NAN);
    let content = decimals(&values, |_| true).expect("is worth it").page(0, 1024).expect("fits");
    let refused = |changes: &[(usize, u8)], what: &str| {
        let mut bad = content.clone();
        changes.iter().for_each(|(at, value)| bad[*at] = *value);
        let damage = parse(1024, 8, &bad).expect_err(what);
        assert!(damage.detail.contains(what), "{what}: {}", damage.detail);
    };
    refused(&[(24, 65)], "width of 65 bits");
    refused(&[(32, 19)], "exponent 19 and factor 0");
    refused(&[(33, 2)], "exponent 1 and factor 2");
    refused(&[(34, 9)], "out of order");
    refused(&[(36, 1)], "out of order");
    refused(&[(37, 4)], "beyond the page");
    refused(&[(7, 0xFF)], "exceptions of 1024 values");
    refused(&[(4, 1)], "10 bytes too many");
    refused(&[(3, 0xFF)], "left");
}
