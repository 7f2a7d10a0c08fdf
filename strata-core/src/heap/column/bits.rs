//! Bit-packing of 1,024 unsigned integers, in the FastLanes order.
//!
//! Widths of 0 to 32 bits are packed in lanes of `u32`, those of 33 to 64 in lanes of `u64`: either way
//! `128 * width` bytes. The `fastlanes` crate has safe kernels for widths known to the compiler and unsafe
//! ones for widths known at run time; a match over the former is all that the latter are. Single values are read by
//! [`get`], with every access checked.
//!
//! Words are little-endian on disk and are used in place. `fsst-rs` does not compile for other machines, so
//! neither does this crate.

use fastlanes::{BitPacking, FL_ORDER};

/// Values in a group.
pub(super) const GROUP: usize = 1024;

/// Bytes that a group packed to `width` bits takes.
pub(super) const fn packed_bytes(width: u8) -> usize {
    width as usize * GROUP / 8
}

/// The bits that `value` needs.
pub(super) const fn width_of(value: u64) -> u8 {
    (u64::BITS - value.leading_zeros()) as u8
}

/// Widths up to this are packed in lanes of `u32`.
pub(super) const NARROW: u8 = 32;

macro_rules! match_width {
    ($width:expr, $arm:ident: $($known:literal)*) => {
        match $width {
            $($known => $arm!($known),)*
            _ => false,
        }
    };
}

/// Appends a group packed to `width` bits, of which no value needs more.
pub(super) fn pack(width: u8, values: &[u64; GROUP], out: &mut Vec<u8>) {
    debug_assert!(values.iter().all(|value| width_of(*value) <= width), "a value exceeds the width");
    let done = if width <= NARROW { pack_narrow(width, values, out) } else { pack_wide(width, values, out) };
    assert!(done, "no value is wider than 64 bits");
}

fn pack_narrow(width: u8, values: &[u64; GROUP], out: &mut Vec<u8>) -> bool {
    let values = values.map(|value| value as u32);
    macro_rules! arm {
        ($known:literal) => {{
            let mut words = [0_u32; 32 * $known];
            u32::pack::<$known, { 32 * $known }>(&values, &mut words);
            out.extend(words.iter().flat_map(|word| word.to_le_bytes()));
            true
        }};
    }
    match_width!(width, arm: 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31 32)
}

fn pack_wide(width: u8, values: &[u64; GROUP], out: &mut Vec<u8>) -> bool {
    macro_rules! arm {
        ($known:literal) => {{
            let mut words = [0_u64; 16 * $known];
            u64::pack::<$known, { 16 * $known }>(values, &mut words);
            out.extend(words.iter().flat_map(|word| word.to_le_bytes()));
            true
        }};
    }
    match_width!(width, arm: 33 34 35 36 37 38 39 40 41 42 43 44 45 46 47 48 49 50 51 52 53 54 55 56 57 58 59 60 61 62 63 64)
}

/// Unpacks a group of a width up to [`NARROW`] from exactly `32 * width` words; false where the counts do not fit.
#[must_use]
pub(super) fn unpack_narrow(width: u8, words: &[u32], out: &mut [u32; GROUP]) -> bool {
    macro_rules! arm {
        ($known:literal) => {
            match <&[u32; 32 * $known]>::try_from(words) {
                Ok(words) => {
                    u32::unpack::<$known, { 32 * $known }>(words, out);
                    true
                }
                Err(_) => false,
            }
        };
    }
    match_width!(width, arm: 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31 32)
}

/// Unpacks a group of a width above [`NARROW`] from exactly `16 * width` words; false where the counts do not fit.
#[must_use]
pub(super) fn unpack_wide(width: u8, words: &[u64], out: &mut [u64; GROUP]) -> bool {
    macro_rules! arm {
        ($known:literal) => {
            match <&[u64; 16 * $known]>::try_from(words) {
                Ok(words) => {
                    u64::unpack::<$known, { 16 * $known }>(words, out);
                    true
                }
                Err(_) => false,
            }
        };
    }
    match_width!(width, arm: 33 34 35 36 37 38 39 40 41 42 43 44 45 46 47 48 49 50 51 52 53 54 55 56 57 58 59 60 61 62 63 64)
}

/// A lane word: `u32` or `u64`.
pub(super) trait Word: Copy {
    /// Bits of a word.
    const BITS: usize;
    /// The word as a `u64`.
    fn widen(self) -> u64;
}

impl Word for u32 {
    const BITS: usize = 32;
    fn widen(self) -> u64 {
        u64::from(self)
    }
}

impl Word for u64 {
    const BITS: usize = 64;
    fn widen(self) -> u64 {
        self
    }
}

/// The value at `index` of a group packed to `width` bits; `None` where index, width or words do not fit together.
pub(super) fn get<W: Word>(width: u8, words: &[W], index: usize) -> Option<u64> {
    let width = usize::from(width);
    if index >= GROUP || width > W::BITS {
        return None;
    }
    if width == 0 {
        return Some(0);
    }
    let lanes = GROUP / W::BITS;
    let lane = index % lanes;
    let order = FL_ORDER.get((index % 128) / 16 - lane / 16)?;
    let row = order * 8 + index / 128;
    let bit = row * width;
    let word = bit / W::BITS;
    let shift = bit % W::BITS;
    let mut value = words.get(lanes * word + lane)?.widen() >> shift;
    let have = W::BITS - shift;
    if have < width {
        value |= words.get(lanes * (word + 1) + lane)?.widen() << have;
    }
    let mask = if width == 64 { u64::MAX } else { (1 << width) - 1 };
    Some(value & mask)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words<const N: usize, T>(bytes: &[u8], read: fn([u8; N]) -> T) -> Vec<T> {
        bytes.chunks_exact(N).map(|chunk| read(chunk.try_into().expect("N bytes"))).collect()
    }

    #[test]
    fn every_width_round_trips_in_bulk_and_one_by_one() {
        for width in 0..=64_u8 {
            let mask = if width == 64 { u64::MAX } else { (1_u64 << width) - 1 };
            let values: [u64; GROUP] = std::array::from_fn(|i| {
                (i as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(9) & mask
            });
            let mut packed = Vec::new();
            pack(width, &values, &mut packed);
            assert_eq!(packed.len(), packed_bytes(width));
            if width <= NARROW {
                let words = words(&packed, u32::from_le_bytes);
                let mut out = [7; GROUP];
                assert!(unpack_narrow(width, &words, &mut out));
                assert_eq!(out.map(u64::from), values);
                assert!((0..GROUP).all(|i| get(width, &words, i) == Some(values[i])), "width {width}");
                assert!(!unpack_narrow(width, &[&words[..], &[0]].concat(), &mut out));
                assert_eq!(get(width, &words, GROUP), None);
            } else {
                let words = words(&packed, u64::from_le_bytes);
                let mut out = [7; GROUP];
                assert!(unpack_wide(width, &words, &mut out));
                assert_eq!(out, values);
                assert!((0..GROUP).all(|i| get(width, &words, i) == Some(values[i])), "width {width}");
                assert!(!unpack_wide(width, &words[1..], &mut out));
            }
        }
    }

    #[test]
    fn widths_count_significant_bits() {
        assert_eq!([0, 1, 2, 255, 256, u64::MAX].map(width_of), [0, 1, 2, 8, 9, 64]);
    }
}
