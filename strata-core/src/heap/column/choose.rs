//! How the writer picks an encoding for the values of a column, and what the encoding makes of them.
//!
//! Whether few values recur is judged on a sample; the sizes that are then compared are exact, but for FSST, which is
//! weighed on a sample too. Ties go to what reads faster: packed integers before dictionaries, dictionaries
//! before FSST.

use std::collections::HashSet;
use std::hash::Hash;

use arrow_buffer::NullBuffer;

use super::bits::GROUP;
use super::dictionary::{self, Coded};
use super::encoding::{Encoding, Form};
use super::integers;
use super::strings;
use super::symbols;
use super::values::Values;

/// Rows looked at to judge how many values are distinct.
const SAMPLE_ROWS: usize = 1024;
/// A sample with more distinct values than this is not worth a dictionary.
const SAMPLE_DISTINCT: usize = SAMPLE_ROWS * 3 / 4;
/// Entries of the largest dictionary.
const DICTIONARY_ENTRIES: usize = 32_768;
/// Bytes of the largest dictionary: it is read whole for one value.
const DICTIONARY_BYTES: usize = 256 << 10;
/// Bytes of strings that FSST is tried on.
const FSST_SAMPLE_BYTES: usize = 64 << 10;
/// Fewer bytes than this do not repay a symbol table.
const FSST_MIN_BYTES: usize = 4 << 10;

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
            encode_integers(values, page_bytes)
        }
        Values::Fixed(width, bytes) => {
            let rows: Vec<&[u8]> = bytes.chunks_exact(*width).collect();
            encode_rows(values.form(), &rows, nulls, page_bytes)
        }
        Values::Strings(rows) => encode_rows(Form::Strings, rows, nulls, page_bytes),
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

/// Whether a sample of the rows has few enough distinct values for a dictionary.
fn recurs<T: Copy + Eq + Hash>(rows: &[T]) -> bool {
    let step = rows.len().div_ceil(SAMPLE_ROWS).max(1);
    let sample: HashSet<T> = rows.iter().step_by(step).copied().collect();
    sample.len() <= SAMPLE_DISTINCT.min(rows.len() / 2)
}

fn encode_integers(values: &[i64], page_bytes: usize) -> Option<Encoded> {
    let sizes = integers::group_bytes(values);
    let packed: usize = sizes.iter().sum();
    if recurs(values) {
        let coded = dictionary::build(values.iter().copied().map(Some), DICTIONARY_ENTRIES);
        if let Some(coded) = coded {
            let code_sizes = integers::group_bytes(&coded.codes);
            let total = code_sizes.iter().sum::<usize>() + coded.entries.len() * 8;
            // A dictionary costs a look-up for each value, so it has to save a tenth.
            if total * 10 < packed * 9 {
                let content = dictionary::encode_integers(&coded.entries)?;
                return Some(dictionary_column(content, &coded, page_bytes));
            }
        }
    }
    let pages = integer_pages(values, &sizes, page_bytes);
    Some(Encoded { encoding: Encoding::BitPacked, auxiliary: None, pages, distinct: None })
}

fn dictionary_column<K>(content: Vec<u8>, coded: &Coded<K>, page_bytes: usize) -> Encoded {
    let sizes = integers::group_bytes(&coded.codes);
    Encoded {
        encoding: Encoding::Dictionary,
        auxiliary: Some(content),
        pages: integer_pages(&coded.codes, &sizes, page_bytes),
        distinct: Some(coded.entries.len()),
    }
}

/// Cuts groups into pages of about `page_bytes`.
fn integer_pages(values: &[i64], sizes: &[usize], page_bytes: usize) -> Vec<(usize, Vec<u8>)> {
    let mut pages = Vec::new();
    let mut first = 0;
    let mut bytes = 0;
    for (group, size) in sizes.iter().enumerate() {
        if bytes > 0 && bytes + size > page_bytes {
            pages.push((first * GROUP, group * GROUP));
            (first, bytes) = (group, 0);
        }
        bytes += size;
    }
    pages.push((first * GROUP, values.len()));
    let encoded = pages.into_iter().map(|(start, end)| {
        let mut content = Vec::new();
        integers::encode(values.get(start..end).unwrap_or_default(), &mut content);
        (start, content)
    });
    encoded.collect()
}

fn encode_rows(form: Form, rows: &[&[u8]], nulls: Option<&NullBuffer>, page_bytes: usize) -> Option<Encoded> {
    let valid = |at: usize| nulls.is_none_or(|nulls| nulls.is_valid(at));
    if let Some(value) = constant(rows.iter().copied().enumerate().filter(|(at, _)| valid(*at))) {
        let entry = value.map(|value| dictionary::encode_bytes(form, &[value]));
        return constant_column(entry, rows.len(), nulls);
    }
    let plain_bytes: usize = rows.iter().map(|row| row.len()).sum();
    let coded = if recurs(rows) { code(form, rows, nulls)? } else { None };
    // FSST makes no string shorter than an eighth, nor than a byte; so it need not be tried against less.
    let least = if form == Form::Strings { rows.len().max(plain_bytes / 8) } else { plain_bytes };
    let fsst = match &coded {
        Some((_, _, total)) if *total <= least => None,
        _ if form == Form::Strings => try_fsst(rows, plain_bytes),
        _ => None,
    };
    let expected = fsst.as_ref().map_or(plain_bytes, |fsst| fsst.expected_bytes);
    if let Some((coded, content, total)) = coded
        && total < expected
    {
        return Some(dictionary_column(content, &coded, page_bytes));
    }
    if let Some(fsst) = fsst {
        let (codes, ends) = symbols::compress(&fsst.compressor, rows);
        let mut start = 0;
        let cut = |end: u64| {
            let end = usize::try_from(end).unwrap_or(codes.len());
            codes.get(std::mem::replace(&mut start, end)..end).unwrap_or_default()
        };
        let compressed: Vec<&[u8]> = ends.into_iter().map(cut).collect();
        let mut table = Vec::new();
        symbols::encode(&fsst.compressor, &mut table);
        let pages = string_pages(&compressed, page_bytes)?;
        return Some(Encoded { encoding: Encoding::Fsst, auxiliary: Some(table), pages, distinct: None });
    }
    let pages = match form {
        Form::Strings => string_pages(rows, page_bytes)?,
        _ => {
            let width = rows.first().map_or(1, |row| row.len());
            let page_rows = (page_bytes / (width * GROUP)).max(1) * GROUP;
            let firsts = (0..rows.len()).step_by(page_rows);
            firsts.zip(rows.chunks(page_rows)).map(|(first, rows)| (first, rows.concat())).collect()
        }
    };
    Some(Encoded { encoding: Encoding::Plain, auxiliary: None, pages, distinct: None })
}

/// A dictionary of rows: codes, content of its page, bytes in all.
type CodedRows<'a> = (Coded<&'a [u8]>, Vec<u8>, usize);

/// A dictionary of these rows, unless it has too many entries or bytes.
fn code<'a>(form: Form, rows: &[&'a [u8]], nulls: Option<&NullBuffer>) -> Option<Option<CodedRows<'a>>> {
    let valid = |at: usize| nulls.is_none_or(|nulls| nulls.is_valid(at));
    let keys = rows.iter().copied().enumerate().map(|(at, row)| valid(at).then_some(row));
    let Some(coded) = dictionary::build(keys, DICTIONARY_ENTRIES) else { return Some(None) };
    let content = dictionary::encode_bytes(form, &coded.entries)?;
    if content.len() > DICTIONARY_BYTES {
        return Some(None);
    }
    let total = integers::group_bytes(&coded.codes).iter().sum::<usize>() + content.len();
    Some(Some((coded, content, total)))
}

struct Fsst {
    compressor: fsst::Compressor,
    expected_bytes: usize,
}

/// A symbol table where FSST, judged on a sample, saves an eighth.
fn try_fsst(rows: &[&[u8]], plain_bytes: usize) -> Option<Fsst> {
    if plain_bytes < FSST_MIN_BYTES {
        return None;
    }
    // Runs of neighbours from all over the column: pages hold neighbours.
    let step = plain_bytes.div_ceil(FSST_SAMPLE_BYTES).max(1);
    let sample: Vec<&[u8]> = rows.chunks(16).step_by(step).flatten().copied().collect();
    let compressor = symbols::train(rows);
    let (codes, _) = symbols::compress(&compressor, &sample);
    let sample_bytes: usize = sample.iter().map(|row| row.len()).sum();
    let expected = (codes.len() as f64 / sample_bytes.max(1) as f64) * plain_bytes as f64;
    let expected_bytes = expected as usize + 2048;
    (expected_bytes < plain_bytes - plain_bytes / 8).then_some(Fsst { compressor, expected_bytes })
}

/// Cuts strings into pages of about `page_bytes`: whole groups, or single strings where a group is larger than
/// two pages.
fn string_pages(rows: &[&[u8]], page_bytes: usize) -> Option<Vec<(usize, Vec<u8>)>> {
    let mut starts = vec![0];
    let mut bytes = 0;
    for (group, members) in rows.chunks(GROUP).enumerate() {
        let first = group * GROUP;
        let size: usize = members.iter().map(|row| row.len() + 1).sum();
        if bytes > 0 && bytes + size > page_bytes {
            starts.push(first);
            bytes = 0;
        }
        if size <= 2 * page_bytes {
            bytes += size;
            continue;
        }
        for (at, row) in (first..).zip(members) {
            if bytes > 0 && bytes + row.len() > page_bytes {
                starts.push(at);
                bytes = 0;
            }
            bytes += row.len() + 1;
        }
        // What follows starts a page of its own.
        bytes = bytes.max(page_bytes);
    }
    let ends = starts.iter().skip(1).copied().chain([rows.len()]);
    let mut pages = Vec::with_capacity(starts.len());
    for (start, end) in starts.iter().zip(ends) {
        let mut content = Vec::new();
        strings::encode(rows.get(*start..end)?.iter().copied(), &mut content)?;
        pages.push((*start, content));
    }
    Some(pages)
}
