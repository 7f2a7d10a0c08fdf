//! Whether two engines gave the same answer.
//!
//! Sums, counts, minima and maxima have the same scale everywhere and must be equal digit by digit. Averages and quotients have
//! scales that differ by engine, and doubles in DuckDB: they must be equal once both are rounded to the coarser scale. Trailing
//! blanks of fixed-length text do not count. Rows are compared in order, and where that fails without regard to it, since rows
//! that tie may come in any order.

use std::fmt;

use crate::client::Answer;

/// A row that is not as expected.
#[derive(Debug, PartialEq, Eq)]
pub struct Difference {
    found: Option<String>,
    expected: Option<String>,
}

impl fmt::Display for Difference {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = |row: &Option<String>| row.clone().unwrap_or_else(|| "nothing".to_owned());
        write!(formatter, "found {}, expected {}", text(&self.found), text(&self.expected))
    }
}

/// The rows in which answers differ.
pub fn compare(found: &Answer, expected: &Answer) -> Vec<Difference> {
    let in_order = differences(found, expected);
    if in_order.is_empty() {
        return in_order;
    }
    let (mut found, mut expected) = (found.clone(), expected.clone());
    found.sort();
    expected.sort();
    differences(&found, &expected)
}

fn differences(found: &Answer, expected: &Answer) -> Vec<Difference> {
    let text = |row: &Vec<Option<String>>| {
        row.iter().map(|cell| cell.as_deref().unwrap_or("NULL")).collect::<Vec<_>>().join("|")
    };
    let rows = 0..found.len().max(expected.len());
    let pairs = rows.map(|row| (found.get(row), expected.get(row)));
    let different = pairs.filter(|(found, expected)| match (found, expected) {
        (Some(found), Some(expected)) => !same_row(found, expected),
        _ => true,
    });
    different
        .map(|(found, expected)| Difference { found: found.map(text), expected: expected.map(text) })
        .collect()
}

fn same_row(found: &[Option<String>], expected: &[Option<String>]) -> bool {
    let same = |(found, expected): (&Option<String>, &Option<String>)| match (found, expected) {
        (Some(found), Some(expected)) => same_cell(found.trim_end(), expected.trim_end()),
        (found, expected) => found == expected,
    };
    found.len() == expected.len() && found.iter().zip(expected).all(same)
}

fn same_cell(found: &str, expected: &str) -> bool {
    if found == expected {
        return true;
    }
    let (Some(found), Some(expected)) = (Decimal::parse(found), Decimal::parse(expected)) else {
        return false;
    };
    let scale = found.scale.min(expected.scale);
    found.rounded(scale) == expected.rounded(scale)
}

/// A decimal number: digits, and how many of them follow the point.
struct Decimal {
    units: i128,
    scale: u32,
}

impl Decimal {
    fn parse(text: &str) -> Option<Self> {
        let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
        let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        let unsigned = whole.strip_prefix('-').unwrap_or(whole);
        if !digits(unsigned) || !digits(fraction) || unsigned.is_empty() {
            return None;
        }
        let units = format!("{whole}{fraction}").parse().ok()?;
        Some(Self { units, scale: u32::try_from(fraction.len()).ok()? })
    }

    /// The number in units of a scale that is no finer, half away from zero.
    fn rounded(&self, scale: u32) -> Option<i128> {
        let divisor = 10i128.checked_pow(self.scale.checked_sub(scale)?)?;
        let half = divisor / 2;
        let away = if self.units < 0 { -half } else { half };
        Some(self.units.checked_add(away)? / divisor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(rows: &[&[&str]]) -> Answer {
        rows.iter().map(|row| row.iter().map(|cell| Some((*cell).to_owned())).collect()).collect()
    }

    #[test]
    fn averages_are_equal_at_the_coarser_scale() {
        assert!(same_cell("25.537587116854997", "25.5375871169"));
        assert!(same_cell("-0.0355", "-0.036"));
        assert!(!same_cell("25.5375871180", "25.5375871169"));
        assert!(!same_cell("1.01", "1.02"));
        assert!(!same_cell("10", "11"));
    }

    #[test]
    fn text_is_compared_as_text() {
        assert!(same_cell("1995-01-01", "1995-01-01"));
        assert!(!same_cell("1995-01-01", "1995-01-02"));
        assert!(!same_cell("", "0"));
    }

    #[test]
    fn rows_may_tie_but_not_miss() {
        let one = answer(&[&["a", "1"], &["b", "1"]]);
        let other = answer(&[&["b", "1"], &["a", "1"]]);
        assert!(compare(&one, &other).is_empty());
        assert_eq!(compare(&one, &answer(&[&["a", "1"]])).len(), 1);
        let null: Answer = vec![vec![None]];
        assert_eq!(compare(&null, &answer(&[&["NULL"]])).len(), 1);
    }
}
