//! Choosing among plain values, dictionaries, FSST and ALP for what is not an integer.

use arrow_buffer::NullBuffer;

use super::super::dictionary::{self, Coded};
use super::super::encoding::{Encoding, Form};
use super::super::runs;
use super::super::symbols;
use super::integers::{Codes, dictionary_column};
use super::{DICTIONARY_ENTRIES, Encoded, constant, constant_column, floats, pages, recurs, saves_a_tenth};

/// Bytes of the largest dictionary: it is read whole for one value.
const DICTIONARY_BYTES: usize = 256 << 10;
/// Bytes of strings that FSST is tried on.
const FSST_SAMPLE_BYTES: usize = 64 << 10;
/// Fewer bytes than this do not repay a symbol table.
const FSST_MIN_BYTES: usize = 4 << 10;

/// Encodes values of one width, or strings.
pub(super) fn encode(
    form: Form,
    rows: &[&[u8]],
    nulls: Option<&NullBuffer>,
    page_bytes: usize,
) -> Option<Encoded> {
    let valid = |at: usize| nulls.is_none_or(|nulls| nulls.is_valid(at));
    if let Some(value) = constant(rows.iter().copied().enumerate().filter(|(at, _)| valid(*at))) {
        let entry = value.map(|value| dictionary::encode_bytes(form, &[value]));
        return constant_column(entry, rows.len(), nulls);
    }
    let plain_bytes: usize = rows.iter().map(|row| row.len()).sum();
    let coded = if recurs(rows, runs::count(rows)) { code(form, rows, nulls)? } else { None };
    // FSST makes no string shorter than an eighth, nor than a byte; so it need not be tried against less.
    let least = if form == Form::Strings { rows.len().max(plain_bytes / 8) } else { plain_bytes };
    let fsst = match &coded {
        Some(coded) if coded.bytes <= least => None,
        _ if form == Form::Strings => try_fsst(rows, plain_bytes),
        _ => None,
    };
    let decimals = floats::weigh(form, rows, valid).filter(|decimals| decimals.bytes < plain_bytes);
    let expected = match (&fsst, &decimals) {
        (Some(fsst), _) => fsst.expected_bytes,
        (None, Some(decimals)) => decimals.bytes,
        (None, None) => plain_bytes,
    };
    if let Some(CodedRows { coded, content, codes, bytes }) = coded
        && match decimals {
            // As with integers: a look-up for each value.
            Some(_) => saves_a_tenth(bytes, expected),
            None => bytes < expected,
        }
    {
        return dictionary_column(content, &coded, &codes, page_bytes);
    }
    if let Some(decimals) = decimals
        && decimals.bytes < floats::plain_bytes(rows, page_bytes)
    {
        return decimals.encode(page_bytes);
    }
    if let Some(fsst) = fsst {
        return fsst_column(&fsst, rows, page_bytes);
    }
    let pages = match form {
        Form::Strings => pages::of_strings(rows, page_bytes)?,
        _ => pages::of_fixed(rows, page_bytes),
    };
    Some(Encoded { encoding: Encoding::Plain, auxiliary: None, pages, distinct: None })
}

/// A dictionary of rows.
struct CodedRows<'a> {
    coded: Coded<&'a [u8]>,
    /// The content of its page.
    content: Vec<u8>,
    codes: Codes,
    /// Bytes in all.
    bytes: usize,
}

/// A dictionary of these rows, unless it has too many entries or bytes.
fn code<'a>(form: Form, rows: &[&'a [u8]], nulls: Option<&NullBuffer>) -> Option<Option<CodedRows<'a>>> {
    let valid = |at: usize| nulls.is_none_or(|nulls| nulls.is_valid(at));
    let keys = rows.iter().copied().enumerate().map(|(at, row)| valid(at).then_some(row));
    let Some(coded) = dictionary::build(keys, DICTIONARY_ENTRIES) else { return Some(None) };
    let content = dictionary::encode_bytes(form, &coded.entries)?;
    if content.len() > DICTIONARY_BYTES {
        return Some(None);
    }
    let codes = Codes::weigh(&coded.codes);
    let bytes = codes.bytes + content.len();
    Some(Some(CodedRows { coded, content, codes, bytes }))
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
    let compressor = symbols::train(&sample);
    let (codes, _) = symbols::compress(&compressor, &sample);
    let sample_bytes: usize = sample.iter().map(|row| row.len()).sum();
    let expected = (codes.len() as f64 / sample_bytes.max(1) as f64) * plain_bytes as f64;
    let expected_bytes = expected as usize + 2048;
    (expected_bytes < plain_bytes - plain_bytes / 8).then_some(Fsst { compressor, expected_bytes })
}

fn fsst_column(fsst: &Fsst, rows: &[&[u8]], page_bytes: usize) -> Option<Encoded> {
    let (codes, ends) = symbols::compress(&fsst.compressor, rows);
    let mut start = 0;
    let cut = |end: u64| {
        let end = usize::try_from(end).unwrap_or(codes.len());
        codes.get(std::mem::replace(&mut start, end)..end).unwrap_or_default()
    };
    let compressed: Vec<&[u8]> = ends.into_iter().map(cut).collect();
    let mut table = Vec::new();
    symbols::encode(&fsst.compressor, &mut table);
    let pages = pages::of_strings(&compressed, page_bytes)?;
    Some(Encoded { encoding: Encoding::Fsst, auxiliary: Some(table), pages, distinct: None })
}
