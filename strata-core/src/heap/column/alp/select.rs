//! Comparing floats with a literal, on their integers.

use std::cmp::Ordering;

use super::super::bitmap::Bitmap;
use super::super::filter::Comparison;
use super::super::integers::Accept;
use super::super::position::Positions;
use super::decimal::{Float, Pair};
use super::{AlpPage, outside};
use crate::codec::Decoded;

impl AlpPage {
    /// Appends a bit for each of these positions, counted from `base`: whether its value compares so with what `order`
    /// compares values with. That order must be the order of floats.
    pub fn select<F: Float>(
        &self,
        positions: Positions<'_>,
        base: u32,
        comparison: Comparison,
        order: impl Fn(F) -> Ordering,
        found: &mut Bitmap,
    ) -> Decoded<()> {
        let mut known: Option<(Pair, Accept)> = None;
        for (group, members) in positions.groups(base) {
            let pair = self.pair(group)?;
            let accept = match known {
                Some((same, accept)) if same == pair => accept,
                _ => accepted(comparison, |integer| order(F::narrow(pair.decode(integer)))),
            };
            known = Some((pair, accept));
            let before = found.len();
            self.integers.select(members, base, accept, found)?;
            let (first, last) = members.bounds().ok_or_else(outside)?;
            let (first, last) = ((first - base) as usize, (last - base) as usize);
            for (place, bits) in self.exceptions(first, last + 1) {
                let index = match members {
                    Positions::Range(..) => Ok(place - first),
                    Positions::List(list) => list.binary_search(&(place as u32 + base)),
                };
                if let Ok(index) = index {
                    found.set(before + index, comparison.accepts(order(F::of_bits(bits))));
                }
            }
        }
        Ok(())
    }
}

/// The integers that compare so, given an order that never falls as they grow.
fn accepted(comparison: Comparison, order: impl Fn(i64) -> Ordering) -> Accept {
    let not_less = first(|integer| order(integer).is_ge());
    let greater = first(|integer| order(integer).is_gt());
    let (low, high) = match comparison {
        Comparison::Eq | Comparison::Ne => (not_less, greater - 1),
        Comparison::Lt => (i128::MIN, not_less - 1),
        Comparison::Le => (i128::MIN, greater - 1),
        Comparison::Gt => (greater, i128::MAX),
        Comparison::Ge => (not_less, i128::MAX),
    };
    Accept { low, high, inside: comparison != Comparison::Ne }
}

/// The least 64-bit integer that passes a test which all larger ones pass too; one above them all if none does.
fn first(passes: impl Fn(i64) -> bool) -> i128 {
    let (mut low, mut high) = (i128::from(i64::MIN), i128::from(i64::MAX) + 1);
    while low < high {
        let middle = (low + high) >> 1;
        match i64::try_from(middle) {
            Ok(integer) if !passes(integer) => low = middle + 1,
            _ => high = middle,
        }
    }
    low
}
