//! Choosing among packed integers, dictionaries and runs.

use super::super::dictionary::{self, Coded};
use super::super::encoding::Encoding;
use super::super::integers;
use super::super::runs::{self, Runs};
use super::{DICTIONARY_ENTRIES, Encoded, are_long, pages, recurs, saves_a_tenth};

/// The codes of a dictionary, weighed.
#[derive(Debug)]
pub(super) struct Codes {
    runs: Option<Runs>,
    /// Bytes that their pages take.
    pub bytes: usize,
}

impl Codes {
    /// Weighs these codes; NULLs repeat the code before, so that they join its run.
    pub fn weigh(codes: &[i64]) -> Self {
        let packed = integers::group_bytes(codes).iter().sum();
        match long_runs(codes, packed) {
            Some((runs, bytes)) => Self { runs: Some(runs), bytes },
            None => Self { runs: None, bytes: packed },
        }
    }
}

/// The runs of these values if they are long and take a tenth less than `others`, and their bytes.
fn long_runs(values: &[i64], others: usize) -> Option<(Runs, usize)> {
    if !are_long(runs::count(values), values.len()) {
        return None;
    }
    let runs = Runs::of(values);
    let bytes = runs.bytes();
    saves_a_tenth(bytes, others).then_some((runs, bytes))
}

/// Encodes integers of which at least two differ.
pub(super) fn encode(values: &[i64], page_bytes: usize) -> Option<Encoded> {
    let sizes = integers::group_bytes(values);
    let packed: usize = sizes.iter().sum();
    let run_count = runs::count(values);
    let runs = long_runs(values, packed);
    let direct = runs.as_ref().map_or(packed, |(_, bytes)| *bytes);
    if recurs(values, run_count)
        && let Some(coded) = dictionary::build(values.iter().copied().map(Some), DICTIONARY_ENTRIES)
    {
        let codes = Codes::weigh(&coded.codes);
        // A dictionary costs a look-up for each value.
        if saves_a_tenth(codes.bytes + coded.entries.len() * 8, direct) {
            let content = dictionary::encode_integers(&coded.entries)?;
            return dictionary_column(content, &coded, &codes, page_bytes);
        }
    }
    let (encoding, pages) = match runs {
        Some((runs, _)) => (Encoding::RunEnd, runs.pages(page_bytes)?),
        None => (Encoding::BitPacked, pages::of_integers(values, &sizes, page_bytes)),
    };
    Some(Encoded { encoding, auxiliary: None, pages, distinct: None })
}

/// A column of codes, packed or in runs, and its dictionary.
pub(super) fn dictionary_column<K>(
    content: Vec<u8>,
    coded: &Coded<K>,
    codes: &Codes,
    page_bytes: usize,
) -> Option<Encoded> {
    let (encoding, pages) = match &codes.runs {
        Some(runs) => (Encoding::RunEndDictionary, runs.pages(page_bytes)?),
        None => {
            let sizes = integers::group_bytes(&coded.codes);
            (Encoding::Dictionary, pages::of_integers(&coded.codes, &sizes, page_bytes))
        }
    };
    Some(Encoded { encoding, auxiliary: Some(content), pages, distinct: Some(coded.entries.len()) })
}
