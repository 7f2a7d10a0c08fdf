//! How the writer picks an encoding for the values of a column, and what the encoding makes of them.
//!
//! Whether few values recur, and which decimals floats may be, is judged on samples; the sizes that are then compared are exact,
//! but for FSST and for lz4 on plain floats, which are weighed on samples too. Ties go to what reads faster: packed integers
//! before dictionaries, dictionaries before FSST.

mod floats;
mod integers;
mod pages;
mod rows;

use std::collections::HashSet;
use std::hash::Hash;

use arrow_buffer::NullBuffer;

use super::dictionary;
use super::encoding::{Encoding, Form};
use super::values::Values;

/// Rows looked at to judge how many values are distinct.
const SAMPLE_ROWS: usize = 1024;
/// A sample with more distinct values than this is not worth a dictionary.
const SAMPLE_DISTINCT: usize = SAMPLE_ROWS * 3 / 4;
/// Entries of the largest dictionary.
const DICTIONARY_ENTRIES: usize = 32_768;
/// Runs that are shorter than this on average decode no faster than packed values.
const RUN_ROWS: usize = 4;

/// A column encoded, but for the frames of its pages.
#[derive(Debug)]
pub(super) struct Encoded {
    pub encoding: Encoding,
    /// The content of the dictionary's or symbol table's page.
    pub auxiliary: Option<Vec<u8>>,
    /// The data pages: the first row of each, and its content.
    pub pages: Vec<(usize, Vec<u8>)>,
    /// How many distinct values there are, if that came to light.
    pub distinct: Option<usize>,
}

/// Encodes a column of at least one row; `None` where a page would be above 4 GiB.
pub(super) fn encode(values: &Values<'_>, nulls: Option<&NullBuffer>, page_bytes: usize) -> Option<Encoded> {
    let valid = |at: usize| nulls.is_none_or(|nulls| nulls.is_valid(at));
    match values {
        Values::Integers(values) => {
            if let Some(value) = constant(values.iter().copied().enumerate().filter(|(at, _)| valid(*at))) {
                let entry = value.map(|value| dictionary::encode_integers(&[value]));
                return constant_column(entry, values.len(), nulls);
            }
            integers::encode(values, page_bytes)
        }
        Values::Fixed(width, bytes) => {
            let rows: Vec<&[u8]> = bytes.chunks_exact(*width).collect();
            rows::encode(values.form(), &rows, nulls, page_bytes)
        }
        Values::Strings(rows) => rows::encode(Form::Strings, rows, nulls, page_bytes),
    }
}

/// `Some(None)` where there is no value, `Some(Some(value))` where there is but one.
fn constant<T: Copy + PartialEq>(mut values: impl Iterator<Item = (usize, T)>) -> Option<Option<T>> {
    let Some((_, first)) = values.next() else { return Some(None) };
    values.all(|(_, value)| value == first).then_some(Some(first))
}

/// A column of one entry, or of NULLs; it has a data page only for the sake of its NULLs.
fn constant_column(
    entry: Option<Option<Vec<u8>>>,
    rows: usize,
    nulls: Option<&NullBuffer>,
) -> Option<Encoded> {
    let distinct = usize::from(entry.is_some());
    let auxiliary = match entry {
        Some(content) => Some(content?),
        None => None,
    };
    let null_count = nulls.map_or(0, NullBuffer::null_count);
    let pages = if null_count > 0 && null_count < rows { vec![(0, Vec::new())] } else { Vec::new() };
    Some(Encoded { encoding: Encoding::Constant, auxiliary, pages, distinct: Some(distinct) })
}

/// Whether few enough values are distinct for a dictionary: by a sample of the rows, or because they come in runs.
fn recurs<T: Copy + Eq + Hash>(rows: &[T], runs: usize) -> bool {
    let step = rows.len().div_ceil(SAMPLE_ROWS).max(1);
    let sample: HashSet<T> = rows.iter().step_by(step).copied().collect();
    sample.len() <= SAMPLE_DISTINCT.min(rows.len() / 2) || are_long(runs, rows.len())
}

/// Whether so many runs of so many rows are long enough to be kept as runs.
fn are_long(runs: usize, rows: usize) -> bool {
    runs.saturating_mul(RUN_ROWS) <= rows
}

/// Whether one size is smaller than another by a tenth: what a costlier way of reading has to save.
fn saves_a_tenth(bytes: usize, of: usize) -> bool {
    bytes * 10 < of * 9
}
