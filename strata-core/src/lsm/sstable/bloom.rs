//! Blocked bloom filters: all probes of a key fall into one 64-byte line, so a lookup misses the cache once.
//!
//! Follows Putze, Sanders and Singler, "Cache-, Hash- and Space-Efficient Bloom Filters" (2007). The line is picked
//! by the upper half of the hash, six bits in it by the lower half, remixed. About 10 bits a key give 1 to 2 % of
//! false positives. The formulas are part of the format: docs/format/sstable.md.

use crate::lsm::sstable::codec::Malformed;

pub(crate) const LINE_BYTES: usize = 64;
const LINE_BITS: usize = LINE_BYTES * 8;
const PROBES: u32 = 6;
const BITS_OF_A_PROBE: u32 = 9;
const _: () = assert!(1 << BITS_OF_A_PROBE == LINE_BITS);

/// Builds the filter of these hashes (see `key::hash_prefix`).
pub(crate) fn build(hashes: &[u64], bits_per_key: usize) -> Vec<u8> {
    let lines = (hashes.len() * bits_per_key).div_ceil(LINE_BITS).max(1);
    let mut filter = vec![0; lines * LINE_BYTES];
    for hash in hashes {
        let line = line_of(*hash, lines) * LINE_BYTES;
        for bit in bits_of(*hash) {
            filter[line + bit / 8] |= 1 << (bit % 8);
        }
    }
    filter
}

/// A filter as read from a table.
#[derive(Debug)]
pub(crate) struct Filter {
    bytes: Vec<u8>,
}

impl Filter {
    pub fn parse(bytes: Vec<u8>) -> Result<Self, Malformed> {
        if bytes.is_empty() || !bytes.len().is_multiple_of(LINE_BYTES) {
            return Err(Malformed("a filter is no whole number of lines"));
        }
        Ok(Self { bytes })
    }

    pub fn size_bytes(&self) -> usize {
        self.bytes.len()
    }

    /// False only where the key is certainly not there.
    #[inline]
    pub fn may_contain(&self, hash: u64) -> bool {
        let start = line_of(hash, self.bytes.len() / LINE_BYTES) * LINE_BYTES;
        let Some(line) = self.bytes.get(start..start + LINE_BYTES) else { return true };
        bits_of(hash).all(|bit| line[bit / 8] & (1 << (bit % 8)) != 0)
    }
}

fn line_of(hash: u64, lines: usize) -> usize {
    (((hash >> 32) * lines as u64) >> 32) as usize
}

fn bits_of(hash: u64) -> impl Iterator<Item = usize> {
    let mixed = (hash & 0xffff_ffff).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (0..PROBES).map(move |probe| (mixed >> (64 - BITS_OF_A_PROBE * (probe + 1))) as usize % LINE_BITS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::IndexId;
    use crate::lsm::key::{hash_prefix, prefix_of};

    fn hash(number: u64) -> u64 {
        hash_prefix(&prefix_of(IndexId::new(1), &number.to_be_bytes()))
    }

    #[test]
    fn no_false_negatives_and_few_false_positives() {
        for keys in [1u64, 50, 1000, 40_000] {
            let hashes: Vec<u64> = (0..keys).map(hash).collect();
            let filter = Filter::parse(build(&hashes, 10)).expect("just built");
            assert!(hashes.iter().all(|hash| filter.may_contain(*hash)));
            let hits = (1_000_000..1_100_000).filter(|number| filter.may_contain(hash(*number))).count();
            assert!(hits < 2_000, "{hits} of 100,000 absent keys pass a filter of {keys}");
        }
    }

    #[test]
    fn golden_bits() {
        let set: Vec<usize> = bits_of(0x0123_4567_89ab_cdef).collect();
        let filter = build(&[0x0123_4567_89ab_cdef], 10);
        assert_eq!(set, [364, 300, 146, 73, 349, 362]);
        assert_eq!(filter.iter().map(|byte| byte.count_ones()).sum::<u32>(), 6);
    }

    #[test]
    fn odd_lengths_are_refused() {
        assert!(Filter::parse(Vec::new()).is_err());
        assert!(Filter::parse(vec![0; 65]).is_err());
    }
}
