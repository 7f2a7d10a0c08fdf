//! Packed integers come back, cost what they should, and damage is found.

use super::super::bitmap::Bitmap;
use super::super::bits::packed_bytes;
use super::*;

fn round_trip(values: &[i64]) -> (IntegerPage, usize) {
    let mut content = Vec::new();
    encode(values, &mut content);
    let bytes = content.len();
    let page = IntegerPage::parse(values.len(), &Buffer::from_slice_ref(&content)).expect("parses");
    let mut out = Vec::new();
    let end = u32::try_from(values.len()).expect("small");
    page.decode(Positions::Range(0, end), 0, &mut out, |value| value).expect("decodes");
    assert_eq!(out, values);
    assert!((0..values.len()).all(|i| page.get(i) == Ok(values[i])));
    (page, bytes)
}

#[test]
fn extremes_and_odd_counts_round_trip() {
    round_trip(&[]);
    round_trip(&[i64::MIN]);
    round_trip(&[i64::MIN, i64::MAX, 0, -1, 1]);
    round_trip(&[i64::MIN, 0, i64::MIN + 2]);
    let growing: Vec<i64> = (0..3000).map(|i| i64::MIN + i * 3_000_000_000_000_000).collect();
    round_trip(&growing);
    let vast: Vec<i64> = (0..1024_i64).map(|i| i64::MIN.wrapping_add(i.wrapping_mul(1 << 54))).collect();
    round_trip(&vast);
    let falling: Vec<i64> = (0..2049).map(|i| i64::MAX - i * 7 + (i % 3)).collect();
    round_trip(&falling);
}

#[test]
fn a_sequence_takes_no_bits_and_seconds_no_microseconds() {
    let sequence: Vec<i64> = (1..=4096).collect();
    let (_, bytes) = round_trip(&sequence);
    assert_eq!(bytes, 8 + 4 * 16 + 8);
    let seconds: Vec<i64> = (0..1024).map(|i| (i * 37 % 64) * 1_000_000).collect();
    let (_, bytes) = round_trip(&seconds);
    assert_eq!(bytes, 8 + 8 + 8 + 8 + packed_bytes(6));
}

#[test]
fn sparse_and_dense_lists_agree_with_the_range() {
    let values: Vec<i64> = (0..5000).map(|i| i * i % 977 - 400).collect();
    let (page, _) = round_trip(&values);
    for step in [1, 3, 20, 100, 700] {
        let list: Vec<u32> = (7..12_000).filter(|at| *at >= 7_000 && at % step == 0).collect();
        let mut out = Vec::new();
        page.decode(Positions::List(&list), 7_000, &mut out, |value| value).expect("decodes");
        let expected: Vec<i64> = list.iter().map(|at| values[*at as usize - 7_000]).collect();
        assert_eq!(out, expected, "step {step}");
    }
}

#[test]
fn golden_bytes() {
    let mut out = Vec::new();
    encode(&[10, 13, 11, 10, 12], &mut out);
    let mut expected = vec![0_u8; 8];
    expected.extend(10_i64.to_le_bytes());
    expected.extend([2, 0, 0, 0, 0, 0, 0, 0]);
    let mut words = [0_u8; 256];
    // Values 0 to 4 lie in row 0 of lanes 0 to 4: the low bits of the first five words.
    (words[4], words[8], words[16]) = (3, 1, 2);
    expected.extend(words);
    assert_eq!(out, expected);
}

#[test]
fn damage_is_an_error() {
    let mut content = Vec::new();
    encode(&[1, 2, 3, 900], &mut content);
    let parse = |bytes: &[u8]| IntegerPage::parse(4, &Buffer::from_slice_ref(bytes));
    assert!(parse(&content).is_ok());
    assert!(parse(&content[..content.len() - 1]).is_err());
    assert!(parse(&[&content[..], &[0]].concat()).is_err());
    let mut flags = content.clone();
    flags[0] = 4;
    assert!(parse(&flags).is_err());
    let mut width = content.clone();
    width[16] = 65;
    assert!(parse(&width).is_err());
    assert!(parse(&content).expect("parses").get(5000).is_err());
}

/// A page of one group that has this multiplier and base, a width of 64 bits, and these residuals first.
fn page_of(multiplier: u64, base: i64, residuals: &[u64]) -> IntegerPage {
    let mut content = vec![0; 8];
    content[0] = HAS_MULTIPLIER;
    content.extend(multiplier.to_le_bytes());
    content.extend(base.to_le_bytes());
    content.extend([64, 0, 0, 0, 0, 0, 0, 0]);
    let mut words = vec![0; packed_bytes(64)];
    // Values 0 to 15 lie in row 0 of lanes 0 to 15, and take all of it.
    for (word, residual) in words.chunks_exact_mut(8).zip(residuals) {
        word.copy_from_slice(&residual.to_le_bytes());
    }
    content.extend(words);
    IntegerPage::parse(GROUP, &Buffer::from_slice_ref(&content)).expect("parses")
}

#[test]
fn values_that_wrap_around_are_selected_by_what_they_are() {
    let residuals = [0, 1, 2, u64::MAX, u64::MAX - 1, 1 << 63, (1 << 63) - 1];
    let multipliers = [1, 2, 1 << 63, (1 << 63) + 1, u64::MAX];
    let bases = [i64::MIN, -1, 0, 1, 2, 7, i64::MAX];
    for (multiplier, base) in multipliers.iter().flat_map(|by| bases.map(|base| (*by, base))) {
        let page = page_of(multiplier, base, &residuals);
        let mut values = Vec::new();
        page.decode(Positions::Range(0, 1024), 0, &mut values, |value| value).expect("decodes");
        let expected = residuals.map(|by| base.wrapping_add(by.wrapping_mul(multiplier) as i64));
        assert_eq!(values[..7], expected);
        let bounds: Vec<i128> = values[..8].iter().map(|value| i128::from(*value)).collect();
        for (low, high) in bounds.iter().flat_map(|low| bounds.iter().map(|high| (*low, *high))) {
            for inside in [true, false] {
                let accept = Accept { low, high, inside };
                let mut found = Bitmap::with_capacity(values.len());
                page.select(Positions::Range(0, 1024), 0, accept, &mut found).expect("selects");
                for (at, value) in values.iter().enumerate() {
                    let what = format!("{value} of {base} and {multiplier}, {accept:?}");
                    assert_eq!(found.get(at), accept.contains(*value), "{what}");
                }
            }
        }
    }
}
