//! Comparing packed integers with an interval.

use super::super::bitmap::Bitmap;
use super::super::bits::{self, GROUP, NARROW};
use super::super::position::Positions;
use super::{Group, IntegerPage, outside};
use crate::codec::Decoded;

/// The integers from `low` to `high`, or with `inside` false all others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) struct Accept {
    pub low: i128,
    pub high: i128,
    pub inside: bool,
}

impl Accept {
    /// Whether the integer is one of them.
    pub fn contains(self, value: i64) -> bool {
        (self.low <= i128::from(value) && i128::from(value) <= self.high) == self.inside
    }
}

impl IntegerPage {
    /// Appends a bit for each of these positions, counted from `base`: whether its value is accepted.
    pub fn select(
        &self,
        positions: Positions<'_>,
        base: u32,
        accept: Accept,
        found: &mut Bitmap,
    ) -> Decoded<()> {
        for (index, members) in positions.groups(base) {
            let Positions::Range(start, end) = members else {
                members.try_for_each(base, |at| {
                    found.push_equal(accept.contains(self.get(at)?), 1);
                    Ok(())
                })?;
                continue;
            };
            let first = (start - base) as usize % GROUP;
            let end = first + (end - start) as usize;
            match self.residuals_of(self.group(index)?, accept) {
                Residuals::All => found.push_equal(accept.inside, end - first),
                Residuals::None => found.push_equal(!accept.inside, end - first),
                Residuals::Between(low, high) => {
                    let words = self.compare_residuals(index, low, high)?;
                    let words = if accept.inside { words } else { words.map(|word| !word) };
                    found.push_words(&words, first, end);
                }
                Residuals::Unknown => {
                    let mut values = [0; GROUP];
                    self.unpack(index, &mut values)?;
                    found.push_words(&masks(&values, |value| accept.contains(value)), first, end);
                }
            }
        }
        Ok(())
    }

    /// The residuals of a group whose values lie between the bounds of `accept`.
    fn residuals_of(&self, group: Group, accept: Accept) -> Residuals {
        let multiplier = i128::from(self.multiplier);
        let most = if group.width == 64 { u64::MAX } else { (1 << group.width) - 1 };
        let low_value = i128::from(group.base);
        // What is beyond 128 bits is beyond 64 too, where values wrap around.
        let high_value = low_value.saturating_add(multiplier.saturating_mul(i128::from(most)));
        if group.slope != 0 || multiplier == 0 || high_value > i128::from(i64::MAX) {
            return Residuals::Unknown;
        }
        if accept.high < low_value || accept.low > high_value || accept.low > accept.high {
            return Residuals::None;
        }
        if accept.low <= low_value && accept.high >= high_value {
            return Residuals::All;
        }
        // Both lie between zero and `most` now, so nothing is lost in 64 bits.
        let low = (accept.low.max(low_value) - low_value + multiplier - 1) / multiplier;
        let high = (accept.high.min(high_value) - low_value) / multiplier;
        match (u64::try_from(low), u64::try_from(high)) {
            (Ok(low), Ok(high)) if low <= high => Residuals::Between(low, high),
            _ => Residuals::None,
        }
    }

    /// A bit for each residual of a group: whether it lies between the bounds.
    fn compare_residuals(&self, index: usize, low: u64, high: u64) -> Decoded<[u64; GROUP / 64]> {
        let group = self.group(index)?;
        let unpacked = if group.width <= NARROW {
            let mut residuals = [0_u32; GROUP];
            // Bounds of a narrow group are narrow.
            let (low, span) = (low as u32, (high - low) as u32);
            bits::unpack_narrow(group.width, self.narrow_words(group)?, &mut residuals)
                .then(|| masks(&residuals, |residual| residual.wrapping_sub(low) <= span))
        } else {
            let mut residuals = [0_u64; GROUP];
            bits::unpack_wide(group.width, self.wide_words(group)?, &mut residuals)
                .then(|| masks(&residuals, |residual| residual.wrapping_sub(low) <= high - low))
        };
        unpacked.ok_or_else(outside)
    }
}

/// Where the residuals of accepted values lie.
enum Residuals {
    /// All residuals are of values between the bounds.
    All,
    /// None is.
    None,
    /// Those from the first to the second.
    Between(u64, u64),
    /// It cannot be told without the values.
    Unknown,
}

/// A bit for each value: whether it passes.
fn masks<T: Copy>(values: &[T; GROUP], test: impl Fn(T) -> bool) -> [u64; GROUP / 64] {
    let mut words = [0; GROUP / 64];
    for (word, chunk) in words.iter_mut().zip(values.chunks_exact(64)) {
        for (at, value) in chunk.iter().enumerate() {
            *word |= u64::from(test(*value)) << at;
        }
    }
    words
}
