//! Bit-packed integers: the content of the pages of integer columns, of dictionary codes and of string lengths.
//!
//! ```text
//! offset  size   field
//! 0       1      flags: bit 0 slopes follow, bit 1 a multiplier follows; other bits 0
//! 1       7      0
//! 8       8      multiplier m, u64, only with bit 1 (else 1)
//! …       8 g    base of each group, i64
//! …       8 g    slope of each group, i64, only with bit 0 (else 0)
//! …       g      width of each group in bits, 0 to 64; then zeros up to a multiple of 8
//! …       128 w  each group's residuals packed to its width, FastLanes order
//! ```
//!
//! `g` is the number of values over 1,024, rounded up. The value at `i` of a group is
//! `base + m * (residual[i] + (i * slope >> 10))`, all in wrapping 64-bit arithmetic. A slope of zero is frame of
//! reference; other slopes take the growth out of sorted columns, where the residual is the distance from a straight
//! line. The multiplier is the greatest common divisor of the page's differences: times in whole seconds, prices in whole
//! units. A last group that is not full is padded with residuals of zero.

use arrow_buffer::{Buffer, ScalarBuffer};

use super::bits::{self, GROUP, NARROW, packed_bytes, width_of};
use super::bytes::{Cursor, Damage, Decoded, pad_to_8};
use super::position::Positions;

const HAS_SLOPES: u8 = 1;
const HAS_MULTIPLIER: u8 = 2;
/// A slope counts 1/1024 of the multiplier a value.
const SLOPE_SHIFT: u32 = 10;
/// From this many values of a group on, unpacking it whole is cheaper than reading them one by one.
const UNPACK_FROM: usize = 48;

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

fn predicted(index: usize, slope: i64) -> i64 {
    (index as i64).wrapping_mul(slope) >> SLOPE_SHIFT
}

fn gcd(mut a: u64, mut b: u64) -> u64 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

/// The greatest common divisor of all differences; 1 where they are all zero.
fn multiplier(values: &[i64]) -> u64 {
    let Some(&low) = values.iter().min() else { return 1 };
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
    let low = values.iter().copied().min().unwrap_or(0);
    let high = values.iter().copied().max().unwrap_or(0);
    let range = distance(low, high);
    let flat = Plan { base: low, slope: 0, width: width_of(range / multiplier) };
    let (Some(&first), Some(&last)) = (values.first(), values.last()) else { return flat };
    // A line can only help where the ends lie far apart. The limit keeps all that follows within i128 and i64.
    let rise = (i128::from(last) - i128::from(first)) / i128::from(multiplier);
    if flat.width < 2 || flat.width > 60 || rise.unsigned_abs() < u128::from(range / multiplier / 2) {
        return flat;
    }
    let steps = values.len() as i128 - 1;
    let Ok(slope) = i64::try_from((rise << SLOPE_SHIFT) / steps) else { return flat };
    if slope.unsigned_abs() > 1 << 50 {
        return flat;
    }
    let mut lowest = i128::MAX;
    let mut highest = i128::MIN;
    for (index, value) in values.iter().enumerate() {
        let quotient = i128::from(distance(low, *value) / multiplier);
        let residual = quotient - i128::from(predicted(index, slope));
        lowest = lowest.min(residual);
        highest = highest.max(residual);
    }
    let (Ok(spread), Ok(shift)) = (u64::try_from(highest - lowest), i64::try_from(lowest)) else {
        return flat;
    };
    let width = width_of(spread);
    if width >= flat.width {
        return flat;
    }
    Plan { base: low.wrapping_add((multiplier as i64).wrapping_mul(shift)), slope, width }
}

/// The packed size of each group of these values, for choosing an encoding and for cutting pages.
pub(super) fn group_bytes(values: &[i64]) -> Vec<usize> {
    let multiplier = multiplier(values);
    values.chunks(GROUP).map(|group| packed_bytes(plan(group, multiplier).width) + 9).collect()
}

/// Appends the content of a page of these values.
pub(super) fn encode(values: &[i64], out: &mut Vec<u8>) {
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
            *residual = raw as u64 / multiplier;
        }
        bits::pack(plan.width, &residuals, out);
    }
}

#[derive(Clone, Copy, Debug)]
struct Group {
    base: i64,
    slope: i64,
    width: u8,
    /// Where its words start, in units of 128 bytes.
    start: u32,
}

/// A page of integers, its headers parsed and all bounds checked, its values still packed.
#[derive(Debug)]
pub(super) struct IntegerPage {
    multiplier: u64,
    groups: Vec<Group>,
    narrow: ScalarBuffer<u32>,
    wide: ScalarBuffer<u64>,
}

impl IntegerPage {
    /// Parses a page of `count` values. The content must be aligned to eight bytes.
    pub fn parse(count: usize, content: &Buffer) -> Decoded<Self> {
        let mut cursor = Cursor::new(content.as_slice());
        let flags = cursor.u8()?;
        if flags & !(HAS_SLOPES | HAS_MULTIPLIER) != 0 {
            return Err(Damage::at(0, format!("unknown flags {flags:#x} of an integer page")));
        }
        cursor.take(7)?;
        let multiplier = if flags & HAS_MULTIPLIER != 0 { cursor.u64()? } else { 1 };
        let groups = count.div_ceil(GROUP);
        let bases = cursor.take(groups * 8)?;
        let slopes = cursor.take(if flags & HAS_SLOPES != 0 { groups * 8 } else { 0 })?;
        let widths = cursor.take(groups)?;
        cursor.take(groups.next_multiple_of(8) - groups)?;
        let words_offset = cursor.offset();
        let mut slopes = slopes.chunks_exact(8);
        let mut start = 0_u32;
        let mut parsed = Vec::with_capacity(groups);
        for (base, width) in bases.chunks_exact(8).zip(widths) {
            if *width > 64 {
                return Err(Damage::at(words_offset, format!("width of {width} bits")));
            }
            let slope = slopes.next().map_or(0, little_i64);
            parsed.push(Group { base: little_i64(base), slope, width: *width, start });
            start += u32::from(*width);
        }
        let bytes = start as usize * packed_bytes(1);
        cursor.take(bytes)?;
        cursor.finish()?;
        let words = content.slice_with_length(words_offset, bytes);
        if words.as_ptr().align_offset(8) != 0 {
            return Err(Damage::at(words_offset, "integer page at an odd offset"));
        }
        let narrow = ScalarBuffer::new(words.clone(), 0, bytes / 4);
        let wide = ScalarBuffer::new(words, 0, bytes / 8);
        Ok(Self { multiplier, groups: parsed, narrow, wide })
    }

    fn group(&self, index: usize) -> Decoded<Group> {
        self.groups.get(index).copied().ok_or_else(|| Damage::at(0, format!("no group {index} in the page")))
    }

    fn narrow_words(&self, group: Group) -> Decoded<&[u32]> {
        let start = group.start as usize * 32;
        self.narrow.get(start..start + usize::from(group.width) * 32).ok_or_else(outside)
    }

    fn wide_words(&self, group: Group) -> Decoded<&[u64]> {
        let start = group.start as usize * 16;
        self.wide.get(start..start + usize::from(group.width) * 16).ok_or_else(outside)
    }

    fn value(&self, group: Group, index: usize, residual: u64) -> i64 {
        let line = predicted(index, group.slope) as u64;
        group.base.wrapping_add(residual.wrapping_add(line).wrapping_mul(self.multiplier) as i64)
    }

    /// The value at a position of the page.
    pub fn get(&self, position: usize) -> Decoded<i64> {
        let group = self.group(position / GROUP)?;
        let index = position % GROUP;
        let residual = if group.width <= NARROW {
            bits::get(group.width, self.narrow_words(group)?, index)
        } else {
            bits::get(group.width, self.wide_words(group)?, index)
        };
        Ok(self.value(group, index, residual.ok_or_else(outside)?))
    }

    /// All 1,024 values of a group, padding included.
    pub fn unpack(&self, index: usize, out: &mut [i64; GROUP]) -> Decoded<()> {
        let group = self.group(index)?;
        if group.width == 0 && group.slope == 0 {
            out.fill(group.base);
            return Ok(());
        }
        if group.width <= NARROW {
            let mut residuals = [0_u32; GROUP];
            if !bits::unpack_narrow(group.width, self.narrow_words(group)?, &mut residuals) {
                return Err(outside());
            }
            for (out, residual) in out.iter_mut().zip(residuals) {
                *out = i64::from(residual);
            }
        } else {
            let mut residuals = [0_u64; GROUP];
            if !bits::unpack_wide(group.width, self.wide_words(group)?, &mut residuals) {
                return Err(outside());
            }
            for (out, residual) in out.iter_mut().zip(residuals) {
                *out = residual as i64;
            }
        }
        if group.slope != 0 {
            for (index, out) in out.iter_mut().enumerate() {
                *out = out.wrapping_add(predicted(index, group.slope));
            }
        }
        let multiplier = self.multiplier as i64;
        for out in out.iter_mut() {
            *out = group.base.wrapping_add(out.wrapping_mul(multiplier));
        }
        Ok(())
    }

    /// Appends the values at these positions, counted from `base`.
    pub fn decode<T>(
        &self,
        positions: Positions<'_>,
        base: u32,
        out: &mut Vec<T>,
        convert: impl Fn(i64) -> T,
    ) -> Decoded<()> {
        let mut values = [0_i64; GROUP];
        for (group, members) in positions.groups(base) {
            if members.len() < UNPACK_FROM {
                members.try_for_each(base, |at| {
                    out.push(convert(self.get(at)?));
                    Ok(())
                })?;
                continue;
            }
            self.unpack(group, &mut values)?;
            match members {
                Positions::Range(start, end) => {
                    let first = (start - base) as usize % GROUP;
                    let chosen = values.get(first..first + (end - start) as usize).ok_or_else(outside)?;
                    out.extend(chosen.iter().map(|value| convert(*value)));
                }
                Positions::List(list) => {
                    out.extend(list.iter().map(|at| convert(values[(at - base) as usize % GROUP])));
                }
            }
        }
        Ok(())
    }

    /// Bytes held in memory.
    pub fn bytes_in_memory(&self) -> usize {
        self.groups.len() * size_of::<Group>() + self.wide.len() * 8
    }
}

fn little_i64(bytes: &[u8]) -> i64 {
    bytes.try_into().map_or(0, i64::from_le_bytes)
}

fn outside() -> Damage {
    Damage::at(0, "packed words end early")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round_trip(values: &[i64]) -> (IntegerPage, usize) {
        let mut content = Vec::new();
        encode(values, &mut content);
        let bytes = content.len();
        let page = IntegerPage::parse(values.len(), &Buffer::from_slice_ref(&content)).expect("parses");
        let mut out = Vec::new();
        let end = u32::try_from(values.len()).expect("small");
        page.decode(Positions::Range(0, end), 0, &mut out, |value| value).expect("decodes");
        assert_eq!(out, values);
        assert!((0..values.len()).all(|i| page.get(i) == Ok(values[i])));
        (page, bytes)
    }

    #[test]
    fn extremes_and_odd_counts_round_trip() {
        round_trip(&[]);
        round_trip(&[i64::MIN]);
        round_trip(&[i64::MIN, i64::MAX, 0, -1, 1]);
        round_trip(&[i64::MIN, 0, i64::MIN + 2]);
        let growing: Vec<i64> = (0..3000).map(|i| i64::MIN + i * 3_000_000_000_000_000).collect();
        round_trip(&growing);
        let vast: Vec<i64> = (0..1024_i64).map(|i| i64::MIN.wrapping_add(i.wrapping_mul(1 << 54))).collect();
        round_trip(&vast);
        let falling: Vec<i64> = (0..2049).map(|i| i64::MAX - i * 7 + (i % 3)).collect();
        round_trip(&falling);
    }

    #[test]
    fn a_sequence_takes_no_bits_and_seconds_no_microseconds() {
        let sequence: Vec<i64> = (1..=4096).collect();
        let (_, bytes) = round_trip(&sequence);
        assert_eq!(bytes, 8 + 4 * 16 + 8);
        let seconds: Vec<i64> = (0..1024).map(|i| (i * 37 % 64) * 1_000_000).collect();
        let (_, bytes) = round_trip(&seconds);
        assert_eq!(bytes, 8 + 8 + 8 + 8 + packed_bytes(6));
    }

    #[test]
    fn sparse_and_dense_lists_agree_with_the_range() {
        let values: Vec<i64> = (0..5000).map(|i| i * i % 977 - 400).collect();
        let (page, _) = round_trip(&values);
        for step in [1, 3, 20, 100, 700] {
            let list: Vec<u32> = (7..12_000).filter(|at| *at >= 7_000 && at % step == 0).collect();
            let mut out = Vec::new();
            page.decode(Positions::List(&list), 7_000, &mut out, |value| value).expect("decodes");
            let expected: Vec<i64> = list.iter().map(|at| values[*at as usize - 7_000]).collect();
            assert_eq!(out, expected, "step {step}");
        }
    }

    #[test]
    fn golden_bytes() {
        let mut out = Vec::new();
        encode(&[10, 13, 11, 10, 12], &mut out);
        let mut expected = vec![0_u8; 8];
        expected.extend(10_i64.to_le_bytes());
        expected.extend([2, 0, 0, 0, 0, 0, 0, 0]);
        let mut words = [0_u8; 256];
        // Values 0 to 4 lie in row 0 of lanes 0 to 4: the low bits of the first five words.
        (words[4], words[8], words[16]) = (3, 1, 2);
        expected.extend(words);
        assert_eq!(out, expected);
    }

    #[test]
    fn damage_is_an_error() {
        let mut content = Vec::new();
        encode(&[1, 2, 3, 900], &mut content);
        let parse = |bytes: &[u8]| IntegerPage::parse(4, &Buffer::from_slice_ref(bytes));
        assert!(parse(&content).is_ok());
        assert!(parse(&content[..content.len() - 1]).is_err());
        assert!(parse(&[&content[..], &[0]].concat()).is_err());
        let mut flags = content.clone();
        flags[0] = 4;
        assert!(parse(&flags).is_err());
        let mut width = content.clone();
        width[16] = 65;
        assert!(parse(&width).is_err());
        assert!(parse(&content).expect("parses").get(5000).is_err());
    }
}
