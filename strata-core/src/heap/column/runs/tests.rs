//! Runs come back however they are read; damage is found.

use proptest::prelude::*;

use super::*;

fn parse(count: usize, content: &[u8]) -> Decoded<RunPage> {
    RunPage::parse(count, &Buffer::from_slice_ref(content))
}

fn decoded(page: &RunPage, positions: Positions<'_>, base: u32) -> Vec<i64> {
    let mut out = Vec::new();
    page.decode(positions, base, &mut out, |value| value).expect("decodes");
    out
}

/// Reads the pages of these values in every way.
fn round_trip(values: &[i64], page_bytes: usize) -> usize {
    let pages = Runs::of(values).pages(page_bytes).expect("fits");
    let ends = pages.iter().skip(1).map(|(first, _)| *first).chain([values.len()]);
    for ((first, content), end) in pages.iter().zip(ends) {
        assert!(first.is_multiple_of(GROUP));
        let expected = &values[*first..end];
        let page = parse(expected.len(), content).expect("parses");
        let base = *first as u32;
        let count = expected.len() as u32;
        assert!((0..expected.len()).all(|at| page.get(at) == Ok(expected[at])));
        assert!(page.get(expected.len()).is_err());
        for (start, stop) in [(0, count), (count / 3, count - count / 4), (count - 1, count), (1, 1)] {
            let found = decoded(&page, Positions::Range(base + start, base + stop), base);
            assert_eq!(found, expected[start as usize..stop as usize]);
        }
        for step in [1, 3, 50, 2000] {
            let list: Vec<u32> = (base..base + count).step_by(step).collect();
            let wanted: Vec<i64> = expected.iter().copied().step_by(step).collect();
            assert_eq!(decoded(&page, Positions::List(&list), base), wanted, "step {step}");
        }
        for inside in [true, false] {
            let accept = Accept { low: 3, high: 9, inside };
            let mut found = Bitmap::default();
            found.push_equal(true, 5);
            page.select(Positions::Range(base, base + count), base, accept, &mut found).expect("selects");
            assert_eq!(found.len(), expected.len() + 5);
            let agrees = |(at, value): (usize, &i64)| found.get(at + 5) == accept.contains(*value);
            assert!(expected.iter().enumerate().all(agrees));
        }
    }
    pages.iter().map(|(_, content)| content.len()).sum()
}

#[test]
fn sorted_and_clustered_values_round_trip() {
    let sorted: Vec<i64> = (0..65_536).map(|at| 8000 + at / 26).collect();
    let bytes = round_trip(&sorted, 32 << 10);
    assert!(bytes < 4000, "{bytes}");
    let clustered: Vec<i64> = (0..5000).map(|at| at / 700 % 3 * 5).collect();
    round_trip(&clustered, 32 << 10);
    round_trip(&[7], 1024);
    round_trip(&[i64::MIN, i64::MIN, i64::MAX, 4, 4, 4], 1024);
}

#[test]
fn runs_are_cut_at_pages() {
    let values: Vec<i64> = (0..30_000).map(|at| at / 3 * 7919 % 100_003).collect();
    let pages = Runs::of(&values).pages(4096).expect("fits");
    assert!(pages.len() > 3, "{}", pages.len());
    round_trip(&values, 4096);
    // One run over all groups, then runs that end within one.
    let mut long = vec![1; 10_000];
    long.extend((0..9000).map(|at| at / 2));
    round_trip(&long, 2048);
}

#[test]
fn runs_are_counted() {
    assert_eq!(count::<i64>(&[]), 0);
    assert_eq!(count(&[1]), 1);
    assert_eq!(count(&[1, 1, 2, 1]), 3);
    assert_eq!(Runs::of(&[1, 1, 2, 1]), Runs { ends: vec![2, 3, 4], values: vec![1, 2, 1] });
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn any_runs_round_trip(
        runs in prop::collection::vec((1_usize..400, -5_i64..15), 1..60),
        page_bytes in 64_usize..20_000,
    ) {
        let values: Vec<i64> =
            runs.into_iter().flat_map(|(count, value)| std::iter::repeat_n(value, count)).collect();
        round_trip(&values, page_bytes);
    }
}

#[test]
fn golden_bytes() {
    let content = Runs::of(&[4, 4, 4, 4, 9]).pages(1024).expect("fits").remove(0).1;
    let mut expected = vec![2, 0, 0, 0, 160, 0, 0, 0];
    // Lengths 4 and 1: the greatest common divisor of their differences is 3, so residuals 1 and 0.
    let mut lengths = vec![2, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0];
    lengths.extend(1_i64.to_le_bytes());
    lengths.extend([1, 0, 0, 0, 0, 0, 0, 0]);
    let mut words = [0; 128];
    words[0] = 1;
    lengths.extend(words);
    expected.extend(lengths);
    let mut values = vec![2, 0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0];
    values.extend(4_i64.to_le_bytes());
    values.extend([1, 0, 0, 0, 0, 0, 0, 0]);
    let mut words = [0; 128];
    words[4] = 1;
    values.extend(words);
    expected.extend(values);
    assert_eq!(content, expected);
}

#[test]
fn forged_pages_are_refused_or_read_without_panic() {
    let values: Vec<i64> = (0..3000).map(|at| at * at / 5000 % 17).collect();
    let content = Runs::of(&values).pages(32 << 10).expect("fits").remove(0).1;
    for at in 0..content.len() {
        for value in [0, 1, 0x7F, 0xFF] {
            let mut bad = content.clone();
            bad[at] = value;
            let Ok(page) = parse(3000, &bad) else { continue };
            let _ = page.get(at);
            let _ = page.decode(Positions::Range(0, 3000), 0, &mut Vec::new(), |value| value);
            let _ = page.decode(Positions::List(&[5, 2999]), 0, &mut Vec::new(), |value| value);
        }
        assert!(parse(3000, &content[..at]).is_err(), "cut at {at}");
    }
}

#[test]
fn bounds_from_disk_are_checked() {
    let content = Runs::of(&[4, 4, 4, 4, 9]).pages(1024).expect("fits").remove(0).1;
    assert!(parse(5, &content).is_ok());
    let refused = |changes: &[(usize, u8)], count: usize, what: &str| {
        let mut bad = content.clone();
        changes.iter().for_each(|(at, value)| bad[*at] = *value);
        let damage = parse(count, &bad).expect_err(what);
        assert!(damage.detail.contains(what), "{what}: {}", damage.detail);
    };
    refused(&[], 4, "do not add up to 4");
    refused(&[], 6, "do not add up to 6");
    refused(&[], 1, "2 runs of 1 values");
    refused(&[(3, 0xFF)], 5, "runs of 5 values");
    refused(&[(7, 0xFF)], 5, "left");
    // A base of 0 is a run of none, one of -1 would go back.
    refused(&[(24, 0)], 5, "do not add up");
    refused(&[(16, 5), (24, 0)], 5, "do not add up");
    refused(&(24..32).map(|at| (at, 0xFF)).collect::<Vec<_>>(), 5, "do not add up");
    refused(&[(32, 65)], 5, "width of 65 bits");
}
