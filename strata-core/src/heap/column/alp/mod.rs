//! ALP: floats that began as decimals, as packed integers. The content of the data pages of an ALP column.
//!
//! After Afroozeh, Kuffó and Boncz, "ALP: Adaptive Lossless floating-Point Compression", SIGMOD 2024. Each group of
//! 1,024 values has an exponent `e` and a factor `f`, found by sampling; a value is the integer `d` for which
//! `(d * 10^f) * 10^-e` is that value to the bit. The integers are packed as those of any column. A value that no integer
//! gives (infinities, NaNs, -0, real doubles) is an *exception*: its place and its bits follow, and the integer before it is
//! repeated so that it takes no width.
//!
//! ```text
//! offset  size  field
//! 0       4     bytes n of the integers, a multiple of 8
//! 4       4     exceptions x
//! 8       n     the integers (integers.rs), then zeros up to a multiple of 8
//! …       2 g   exponent (u8, at most 18) and factor (u8, at most the exponent) of each group
//! …       2 x   place of each exception in the page, u16, ascending
//! …       w x   bits of each exception, w = 4 or 8 bytes
//! ```
//!
//! The arithmetic is in `f64`, each product rounded to nearest even, `f32` rounded once more at the end. It never falls as the integer
//! grows, so a comparison with a literal is an interval of integers in each group.

mod decimal;
mod encode;
mod select;

use arrow_buffer::Buffer;

pub(super) use decimal::Float;
pub(super) use encode::{Decimals, decimals};

use self::decimal::Pair;
use super::bits::GROUP;
use super::integers::IntegerPage;
use super::position::Positions;
use crate::codec::{Cursor, Damage, Decoded};

/// Values of a page, at most: places have 16 bits.
const MAX_VALUES: usize = 1 << 16;

/// A page of floats, its bounds checked, its integers still packed.
#[derive(Debug)]
pub(super) struct AlpPage {
    integers: IntegerPage,
    /// One for each group.
    pairs: Vec<Pair>,
    /// Where the exceptions are, ascending.
    places: Vec<u16>,
    /// Their bits.
    exceptions: Vec<u64>,
}

impl AlpPage {
    /// Parses a page of `count` values of `width` bytes. The content must be aligned to eight bytes.
    pub fn parse(count: usize, width: usize, content: &Buffer) -> Decoded<Self> {
        let mut cursor = Cursor::new(content.as_slice());
        let integer_bytes = cursor.u32()? as usize;
        let exception_count = cursor.u32()? as usize;
        if count > MAX_VALUES || exception_count > count || !matches!(width, 4 | 8) {
            let detail = format!("{exception_count} exceptions of {count} values of {width} bytes");
            return Err(Damage::at(4, detail));
        }
        cursor.take(integer_bytes)?;
        let packed = content.slice_with_length(8, integer_bytes);
        let integers = IntegerPage::parse(count, &packed).map_err(|damage| damage.within(8))?;
        let pairs_offset = cursor.offset();
        let pair = |numbers: &[u8]| match numbers {
            [exponent, factor] => Pair::new(*exponent, *factor)
                .ok_or_else(|| Damage::at(pairs_offset, format!("exponent {exponent} and factor {factor}"))),
            _ => Err(outside()),
        };
        let pairs =
            cursor.take(count.div_ceil(GROUP) * 2)?.chunks_exact(2).map(pair).collect::<Decoded<_>>()?;
        let places_offset = cursor.offset();
        let places = cursor.take(exception_count * 2)?.chunks_exact(2);
        let places: Vec<u16> = places.map(|chunk| chunk.try_into().map_or(0, u16::from_le_bytes)).collect();
        let ascend = places.is_sorted_by(|left, right| left < right);
        if !ascend || places.last().is_some_and(|last| usize::from(*last) >= count) {
            return Err(Damage::at(places_offset, "exceptions out of order or beyond the page"));
        }
        let bits = |chunk: &[u8]| chunk.iter().rev().fold(0, |bits, byte| bits << 8 | u64::from(*byte));
        let exceptions = cursor.take(exception_count * width)?.chunks_exact(width).map(bits).collect();
        cursor.finish()?;
        Ok(Self { integers, pairs, places, exceptions })
    }

    fn pair(&self, group: usize) -> Decoded<Pair> {
        self.pairs.get(group).copied().ok_or_else(outside)
    }

    /// The exceptions from one place of the page to another: their places and bits.
    fn exceptions(&self, start: usize, end: usize) -> impl Iterator<Item = (usize, u64)> {
        let first = self.places.partition_point(|place| usize::from(*place) < start);
        let places = self.places.iter().zip(&self.exceptions).skip(first);
        places.map(|(place, bits)| (usize::from(*place), *bits)).take_while(move |(place, _)| *place < end)
    }

    /// The value at a position of the page.
    pub fn get<F: Float>(&self, position: usize) -> Decoded<F> {
        if let Some((_, bits)) = self.exceptions(position, position + 1).next() {
            return Ok(F::of_bits(bits));
        }
        let integer = self.integers.get(position)?;
        Ok(F::narrow(self.pair(position / GROUP)?.decode(integer)))
    }

    /// Appends the values at these positions, counted from `base`.
    pub fn decode<F: Float>(&self, positions: Positions<'_>, base: u32, out: &mut Vec<F>) -> Decoded<()> {
        for (group, members) in positions.groups(base) {
            let (up, down) = self.pair(group)?.multipliers();
            let before = out.len();
            self.integers.decode(members, base, out, |integer| F::narrow(integer as f64 * up * down))?;
            let Some((first, last)) = members.bounds() else { continue };
            let (first, last) = ((first - base) as usize, (last - base) as usize);
            let decoded = out.get_mut(before..).unwrap_or_default();
            for (place, bits) in self.exceptions(first, last + 1) {
                let index = match members {
                    Positions::Range(..) => Ok(place - first),
                    Positions::List(list) => list.binary_search(&(place as u32 + base)),
                };
                if let Some(value) = index.ok().and_then(|index| decoded.get_mut(index)) {
                    *value = F::of_bits(bits);
                }
            }
        }
        Ok(())
    }

    /// Bytes held in memory.
    pub fn bytes_in_memory(&self) -> usize {
        self.integers.bytes_in_memory() + self.pairs.len() * 2 + self.places.len() * 10
    }
}

fn outside() -> Damage {
    Damage::at(0, "decimals end early")
}

#[cfg(test)]
mod tests;
