//! Finding the pair of each group, and the bytes of a page.
//!
//! As in the paper, sampling has two levels: a few groups of the column try all pairs and leave at most five; each
//! group then picks among those.

use std::collections::BTreeMap;

use super::super::bits::{GROUP, width_of};
use super::super::integers;
use super::decimal::{Float, Pair};
use crate::codec::pad_to_8;

/// Groups of a column that try all pairs.
const SAMPLED_GROUPS: usize = 8;
/// Values of a group that a pair is tried on.
const SAMPLED_VALUES: usize = 32;
/// Pairs that are left for each group to choose from.
const CANDIDATES: usize = 5;

/// A column of floats as integers, pairs and exceptions.
#[derive(Debug)]
pub(in super::super) struct Decimals {
    integers: Vec<i64>,
    pairs: Vec<Pair>,
    /// Place in the column and bits, ascending.
    exceptions: Vec<(usize, u64)>,
    value_bytes: usize,
}

/// Up to 32 values from all over these.
fn sample<F: Float>(values: &[F]) -> impl Iterator<Item = F> + Clone {
    values.iter().step_by(values.len().div_ceil(SAMPLED_VALUES).max(1)).copied()
}

/// About how many bits the sampled values take with a pair.
fn cost<F: Float>(pair: Pair, values: impl Iterator<Item = F>) -> usize {
    let (mut count, mut exceptions) = (0, 0);
    let (mut low, mut high) = (i64::MAX, i64::MIN);
    for value in values {
        count += 1;
        match pair.encode(value) {
            Some(integer) => (low, high) = (low.min(integer), high.max(integer)),
            None => exceptions += 1,
        }
    }
    let width = if low > high { 0 } else { width_of(high.wrapping_sub(low) as u64) };
    count * usize::from(width) + exceptions * (F::BYTES + 2) * 8
}

/// The pairs that suit the column; none where sampled groups are no smaller for it.
fn candidates<F: Float>(values: &[F]) -> Vec<Pair> {
    let groups = values.len().div_ceil(GROUP);
    let mut wins: BTreeMap<Pair, usize> = BTreeMap::new();
    let (mut plain_bits, mut packed_bits) = (0, 0);
    for group in values.chunks(GROUP).step_by(groups.div_ceil(SAMPLED_GROUPS).max(1)) {
        let sample = sample(group);
        let best = Pair::all(F::LARGEST_EXPONENT).map(|pair| (cost(pair, sample.clone()), pair)).min();
        if let Some((bits, pair)) = best {
            *wins.entry(pair).or_default() += 1;
            packed_bits += bits;
        }
        plain_bits += sample.count() * F::BYTES * 8;
    }
    if packed_bits >= plain_bits {
        return Vec::new();
    }
    let mut ranked: Vec<(usize, Pair)> = wins.into_iter().map(|(pair, wins)| (wins, pair)).collect();
    ranked.sort_unstable_by(|left, right| right.cmp(left));
    ranked.into_iter().take(CANDIDATES).map(|(_, pair)| pair).collect()
}

/// The column as decimals, if a sample promises that it gets smaller. What is not `valid` may become any value.
pub(in super::super) fn decimals<F: Float>(values: &[F], valid: impl Fn(usize) -> bool) -> Option<Decimals> {
    let candidates = candidates(values);
    if candidates.is_empty() {
        return None;
    }
    let mut found = Decimals {
        integers: Vec::with_capacity(values.len()),
        pairs: Vec::with_capacity(values.len().div_ceil(GROUP)),
        exceptions: Vec::new(),
        value_bytes: F::BYTES,
    };
    for group in values.chunks(GROUP) {
        let pair = match candidates.as_slice() {
            [only] => *only,
            several => several.iter().copied().min_by_key(|pair| cost(*pair, sample(group)))?,
        };
        found.pairs.push(pair);
        let mut last = group.iter().find_map(|value| pair.encode(*value)).unwrap_or(0);
        for value in group {
            let place = found.integers.len();
            match pair.encode(*value) {
                Some(integer) => last = integer,
                None if valid(place) => found.exceptions.push((place, value.bits())),
                None => {}
            }
            found.integers.push(last);
        }
    }
    Some(found)
}

impl Decimals {
    /// About how many bytes each group takes.
    pub fn group_bytes(&self) -> Vec<usize> {
        let mut sizes: Vec<usize> =
            integers::group_bytes(&self.integers).iter().map(|size| size + 2).collect();
        for (place, _) in &self.exceptions {
            if let Some(size) = sizes.get_mut(place / GROUP) {
                *size += 2 + self.value_bytes;
            }
        }
        sizes
    }

    /// The content of a page of the values from one place to another; `start` is that of a group.
    pub fn page(&self, start: usize, end: usize) -> Option<Vec<u8>> {
        let mut packed = Vec::new();
        integers::encode(self.integers.get(start..end)?, &mut packed);
        pad_to_8(&mut packed, 0);
        let below = |place: usize| self.exceptions.partition_point(|(at, _)| *at < place);
        let exceptions = self.exceptions.get(below(start)..below(end))?;
        let mut out = Vec::with_capacity(packed.len() + exceptions.len() * 10);
        out.extend(u32::try_from(packed.len()).ok()?.to_le_bytes());
        out.extend(u32::try_from(exceptions.len()).ok()?.to_le_bytes());
        out.extend(packed);
        let pairs = self.pairs.get(start / GROUP..end.div_ceil(GROUP))?;
        out.extend(pairs.iter().flat_map(|pair| pair.numbers()));
        for (place, _) in exceptions {
            out.extend(u16::try_from(place - start).ok()?.to_le_bytes());
        }
        for (_, bits) in exceptions {
            out.extend(bits.to_le_bytes().iter().take(self.value_bytes));
        }
        Some(out)
    }
}
