//! A small generator whose whole state is its seed, so that a run can be named by one number.

use std::ops::Range;
use std::time::{SystemTime, UNIX_EPOCH};

/// SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014).
#[derive(Clone, Debug)]
pub struct Random {
    state: u64,
}

impl Random {
    /// The generator of this seed.
    pub fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    /// A seed that nobody chose.
    pub fn any_seed() -> u64 {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos());
        // Truncation keeps the bits that change.
        Self::new(now as u64 ^ u64::from(std::process::id())).next()
    }

    /// Another generator, independent of what this one gives next.
    pub fn fork(&mut self) -> Self {
        Self::new(self.next())
    }

    /// 64 random bits.
    #[allow(clippy::should_implement_trait)]
    pub fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.state;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    }

    /// A number of the range, which must not be empty. The bias of the remainder is of no matter here.
    pub fn within(&mut self, range: Range<u64>) -> u64 {
        assert!(range.start < range.end, "{range:?} is empty");
        range.start + self.next() % (range.end - range.start)
    }

    /// True `numerator` times of `denominator`.
    pub fn chance(&mut self, numerator: u64, denominator: u64) -> bool {
        self.within(0..denominator) < numerator
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_published_sequence() {
        // From the reference implementation, seed 1234567.
        let mut random = Random::new(1_234_567);
        let first: Vec<u64> = (0..3).map(|_| random.next()).collect();
        assert_eq!(first, [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423]);
    }

    #[test]
    fn within_reaches_both_ends() {
        let mut random = Random::new(7);
        let mut seen = [false; 3];
        for _ in 0..100 {
            seen[usize::try_from(random.within(5..8) - 5).expect("small")] = true;
        }
        assert_eq!(seen, [true; 3]);
    }
}
