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

mod encode;
mod select;

use arrow_buffer::{Buffer, ScalarBuffer};

pub(super) use encode::{encode, extremes, group_bytes};
pub(super) use select::Accept;

use super::bits::{self, GROUP, NARROW, packed_bytes};
use super::position::Positions;
use crate::codec::{Cursor, Damage, Decoded};

const HAS_SLOPES: u8 = 1;
const HAS_MULTIPLIER: u8 = 2;
/// A slope counts 1/1024 of the multiplier a value.
const SLOPE_SHIFT: u32 = 10;
/// From this many values of a group on, unpacking it whole is cheaper than reading them one by one.
const UNPACK_FROM: usize = 48;

/// What the line of a group adds at a place.
fn predicted(index: usize, slope: i64) -> i64 {
    (index as i64).wrapping_mul(slope) >> SLOPE_SHIFT
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
mod tests;
