//! Packing integers: how each group is to be packed, and the bytes of it.

use super::super::bits::{self, GROUP, packed_bytes, width_of};
use super::{HAS_MULTIPLIER, HAS_SLOPES, SLOPE_SHIFT, predicted};
use crate::codec::pad_to_8;

/// How a group is to be packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Plan {
    base: i64,
    slope: i64,
    width: u8,
}

/// The distance from `low` to `high`, which may exceed `i64::MAX`.
fn distance(low: i64, high: i64) -> u64 {
    high.wrapping_sub(low) as u64
}

fn gcd(mut a: u64, mut b: u64) -> u64 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

/// The least and the greatest of some values.
pub(in super::super) fn extremes(values: &[i64]) -> Option<(i64, i64)> {
    let first = *values.first()?;
    // Several at a time, for each has to wait for the one before it.
    let (parts, rest) = values.as_chunks::<4>();
    let mut lows = [first; 4];
    let mut highs = [first; 4];
    for part in parts {
        for ((low, high), value) in lows.iter_mut().zip(&mut highs).zip(part) {
            *low = (*low).min(*value);
            *high = (*high).max(*value);
        }
    }
    let low = lows.iter().chain(rest).min()?;
    let high = highs.iter().chain(rest).max()?;
    Some((*low, *high))
}

/// A quotient. Mostly the divisor is 1, and dividing takes longer than all else.
fn divide(value: u64, multiplier: u64) -> u64 {
    if multiplier == 1 { value } else { value / multiplier }
}

/// The greatest common divisor of all differences; 1 where they are all zero.
fn multiplier(values: &[i64]) -> u64 {
    let Some((low, _)) = extremes(values) else { return 1 };
    let mut common = 0;
    for value in values {
        common = gcd(distance(low, *value), common);
        if common == 1 {
            break;
        }
    }
    common.max(1)
}

/// Chooses base, slope and width of up to 1,024 values whose differences are multiples of `multiplier`.
fn plan(values: &[i64], multiplier: u64) -> Plan {
    let (low, high) = extremes(values).unwrap_or_default();
    let range = distance(low, high);
    let flat = Plan { base: low, slope: 0, width: width_of(range / multiplier) };
    let (Some(&first), Some(&last)) = (values.first(), values.last()) else { return flat };
    // A line can only help where the ends lie far apart. The limit keeps all that follows within i64.
    let rise = (i128::from(last) - i128::from(first)) / i128::from(multiplier);
    if flat.width < 2 || flat.width > 60 || rise.unsigned_abs() < u128::from(range / multiplier / 2) {
        return flat;
    }
    let steps = values.len() as i128 - 1;
    let Ok(slope) = i64::try_from((rise << SLOPE_SHIFT) / steps) else { return flat };
    if slope.unsigned_abs() > 1 << 50 {
        return flat;
    }
    let (mut lowest, mut highest) = (i64::MAX, i64::MIN);
    for (index, value) in values.iter().enumerate() {
        // Both are below 2^61 in size: the width and the slope are bounded.
        let residual = divide(distance(low, *value), multiplier) as i64 - predicted(index, slope);
        lowest = lowest.min(residual);
        highest = highest.max(residual);
    }
    let width = width_of(distance(lowest, highest));
    if width >= flat.width {
        return flat;
    }
    Plan { base: low.wrapping_add((multiplier as i64).wrapping_mul(lowest)), slope, width }
}

/// The packed size of each group of these values, for choosing an encoding and for cutting pages.
pub(in super::super) fn group_bytes(values: &[i64]) -> Vec<usize> {
    let multiplier = multiplier(values);
    values.chunks(GROUP).map(|group| packed_bytes(plan(group, multiplier).width) + 9).collect()
}

/// Appends the content of a page of these values.
pub(in super::super) fn encode(values: &[i64], out: &mut Vec<u8>) {
    let multiplier = multiplier(values);
    let plans: Vec<Plan> = values.chunks(GROUP).map(|group| plan(group, multiplier)).collect();
    let has_slopes = plans.iter().any(|plan| plan.slope != 0);
    let start = out.len();
    let mut flags = 0;
    flags |= if has_slopes { HAS_SLOPES } else { 0 };
    flags |= if multiplier != 1 { HAS_MULTIPLIER } else { 0 };
    out.push(flags);
    pad_to_8(out, start);
    if multiplier != 1 {
        out.extend(multiplier.to_le_bytes());
    }
    out.extend(plans.iter().flat_map(|plan| plan.base.to_le_bytes()));
    if has_slopes {
        out.extend(plans.iter().flat_map(|plan| plan.slope.to_le_bytes()));
    }
    out.extend(plans.iter().map(|plan| plan.width));
    pad_to_8(out, start);
    for (group, plan) in values.chunks(GROUP).zip(&plans) {
        let mut residuals = [0_u64; GROUP];
        for (index, (residual, value)) in residuals.iter_mut().zip(group).enumerate() {
            // Dividing as unsigned is exact only above the base, so the line is taken off after the division.
            let line = predicted(index, plan.slope);
            let raw = value.wrapping_sub(plan.base.wrapping_add((multiplier as i64).wrapping_mul(line)));
            *residual = divide(raw as u64, multiplier);
        }
        bits::pack(plan.width, &residuals, out);
    }
}
