//! Whether floats are worth being decimals.

use super::super::alp::{self, Decimals, Float};
use super::super::bits::GROUP;
use super::super::encoding::{Encoding, Form};
use super::super::page;
use super::{Encoded, pages};

/// Decimals, and the sizes of their groups.
#[derive(Debug)]
pub(super) struct Weighed {
    decimals: Decimals,
    sizes: Vec<usize>,
    rows: usize,
    /// Bytes that their pages take.
    pub bytes: usize,
}

/// The rows as decimals, if they are floats and a sample promises that they get smaller.
pub(super) fn weigh(form: Form, rows: &[&[u8]], valid: impl Fn(usize) -> bool) -> Option<Weighed> {
    let decimals = match form {
        Form::Fixed(4) => alp::decimals(&floats::<f32>(rows), valid),
        Form::Fixed(8) => alp::decimals(&floats::<f64>(rows), valid),
        _ => None,
    }?;
    let sizes = decimals.group_bytes();
    let bytes = sizes.iter().sum();
    Some(Weighed { decimals, sizes, rows: rows.len(), bytes })
}

fn floats<F: Float>(rows: &[&[u8]]) -> Vec<F> {
    let bits = |row: &&[u8]| row.iter().rev().fold(0, |bits, byte| bits << 8 | u64::from(*byte));
    rows.iter().map(|row| F::of_bits(bits(row))).collect()
}

impl Weighed {
    /// The column.
    pub fn encode(&self, page_bytes: usize) -> Option<Encoded> {
        let page = |(first, end): (usize, usize)| {
            let (start, end) = (first * GROUP, (end * GROUP).min(self.rows));
            Some((start, self.decimals.page(start, end)?))
        };
        let pages = pages::cut(&self.sizes, page_bytes).into_iter().map(page).collect::<Option<_>>()?;
        Some(Encoded { encoding: Encoding::Alp, auxiliary: None, pages, distinct: None })
    }
}

/// About how many bytes these rows take plain, as lz4 leaves a page from their middle.
pub(super) fn plain_bytes(rows: &[&[u8]], page_bytes: usize) -> usize {
    let bytes: usize = rows.iter().map(|row| row.len()).sum();
    let width = bytes / rows.len().max(1);
    let count = (page_bytes / width.max(1)).max(GROUP);
    let start = rows.len().saturating_sub(count) / 2;
    let page = rows.iter().skip(start).take(count).copied().collect::<Vec<_>>().concat();
    let kept = page::stored_bytes(&page);
    (bytes as f64 * (kept as f64 / page.len().max(1) as f64)) as usize
}
