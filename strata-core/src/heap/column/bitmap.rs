//! A bitmap that grows at its end: the answer of a comparison, a bit for each row.

/// Bits in words of 64, the first in the lowest place of the first word. Bits past the end are zero.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Bitmap {
    words: Vec<u64>,
    bits: usize,
}

/// The lowest `count` bits set, `count` up to 64.
fn low(count: usize) -> u64 {
    if count >= 64 { u64::MAX } else { (1 << count) - 1 }
}

/// 64 bits from bit `start` on; zeros past the end.
fn bits_at(words: &[u64], start: usize) -> u64 {
    let shift = start % 64;
    let word = |index: usize| words.get(index).copied().unwrap_or(0);
    let first = word(start / 64) >> shift;
    if shift == 0 { first } else { first | word(start / 64 + 1) << (64 - shift) }
}

impl Bitmap {
    /// Room for so many bits.
    pub fn with_capacity(bits: usize) -> Self {
        Self { words: Vec::with_capacity(bits.div_ceil(64)), bits: 0 }
    }

    /// Appends the lowest `count` bits of a word, `count` up to 64.
    fn push(&mut self, word: u64, count: usize) {
        let word = word & low(count);
        let shift = self.bits % 64;
        match self.words.last_mut() {
            Some(last) if shift != 0 => {
                *last |= word << shift;
                if shift + count > 64 {
                    self.words.push(word >> (64 - shift));
                }
            }
            _ if count > 0 => self.words.push(word),
            _ => {}
        }
        self.bits += count;
    }

    /// Appends `count` equal bits.
    pub fn push_equal(&mut self, value: bool, count: usize) {
        let word = if value { u64::MAX } else { 0 };
        (0..count).step_by(64).for_each(|done| self.push(word, (count - done).min(64)));
    }

    /// Appends the bits `start..end` of some words.
    pub fn push_words(&mut self, words: &[u64], start: usize, end: usize) {
        (start..end).step_by(64).for_each(|at| self.push(bits_at(words, at), (end - at).min(64)));
    }

    /// Clears the bits from `first` on for which `keep` is false, asked by their distance from `first`.
    pub fn retain(&mut self, first: usize, keep: impl Fn(usize) -> bool) {
        for at in first..self.bits {
            if !keep(at - first)
                && let Some(word) = self.words.get_mut(at / 64)
            {
                *word &= !(1 << (at % 64));
            }
        }
    }

    /// One bit; false past the end.
    pub fn get(&self, at: usize) -> bool {
        self.words.get(at / 64).is_some_and(|word| word >> (at % 64) & 1 != 0)
    }

    /// Sets or clears a bit that is there.
    pub fn set(&mut self, at: usize, value: bool) {
        if at < self.bits
            && let Some(word) = self.words.get_mut(at / 64)
        {
            *word = *word & !(1 << (at % 64)) | u64::from(value) << (at % 64);
        }
    }

    /// How many bits there are.
    pub fn len(&self) -> usize {
        self.bits
    }

    /// Spreads the bits over the set bits of `present`, from its bit `start` to `end`: a bit for each slot from a bit for
    /// each row.
    pub fn spread(self, present: &[u64], start: usize, end: usize) -> Bitmap {
        let mut spread = Self::with_capacity(end.saturating_sub(start));
        let mut taken = 0;
        for at in (start..end).step_by(64) {
            let count = (end - at).min(64);
            let mut slots = bits_at(present, at) & low(count);
            let mut rows = bits_at(&self.words, taken);
            taken += slots.count_ones() as usize;
            let mut word = 0;
            while slots != 0 {
                let lowest = slots & slots.wrapping_neg();
                if rows & 1 != 0 {
                    word |= lowest;
                }
                rows >>= 1;
                slots ^= lowest;
            }
            spread.push(word, count);
        }
        spread
    }

    /// The words.
    pub fn into_words(self) -> Vec<u64> {
        self.words
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bits(bitmap: Bitmap) -> Vec<bool> {
        let count = bitmap.len();
        let words = bitmap.into_words();
        assert_eq!(words.len(), count.div_ceil(64));
        (0..words.len() * 64).map(|at| words[at / 64] >> (at % 64) & 1 != 0).take(count).collect()
    }

    #[test]
    fn pieces_at_any_offset_join() {
        let source = [0x0123_4567_89AB_CDEF, 0xFEDC_BA98_7654_3210, 0x5555_5555_5555_5555];
        let bit = |at: usize| source[at / 64] >> (at % 64) & 1 != 0;
        let mut bitmap = Bitmap::with_capacity(10);
        let mut expected = Vec::new();
        for (start, end) in [(0, 5), (3, 67), (60, 192), (7, 7), (1, 128), (0, 64)] {
            bitmap.push_words(&source, start, end);
            expected.extend((start..end).map(bit));
            bitmap.push_equal(end % 2 == 0, end);
            expected.extend(std::iter::repeat_n(end % 2 == 0, end));
        }
        assert_eq!(bits(bitmap), expected);
    }

    #[test]
    fn rows_spread_over_the_slots_that_have_one() {
        let present = [0xF0F0_0000_0000_00F1, 0xFF];
        let mut rows = Bitmap::default();
        rows.push_words(&[0b1010_1010_1010_1010_1010], 0, 20);
        let spread = bits(rows.spread(&present, 4, 72));
        let mut rank = 0;
        for (at, found) in spread.into_iter().enumerate() {
            let slot = at + 4;
            let is_present = present[slot / 64] >> (slot % 64) & 1 != 0;
            assert_eq!(found, is_present && rank % 2 == 1, "slot {slot}");
            rank += usize::from(is_present);
        }
    }

    #[test]
    fn retain_clears_from_the_first_on() {
        let mut bitmap = Bitmap::default();
        bitmap.push_equal(true, 70);
        bitmap.retain(60, |at| at % 2 == 0);
        let expected: Vec<bool> = (0..70).map(|at| at < 60 || at % 2 == 0).collect();
        assert_eq!(bits(bitmap), expected);
    }
}
