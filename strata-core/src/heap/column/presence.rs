//! Which slots of a sparse segment have a row, and where it is.

use crate::codec::{Damage, Decoded};
use crate::ids::SLOTS_PER_SEGMENT;

/// A bitmap over the slots of a segment with constant-time rank: a row's position in its columns is the count of
/// present slots before its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Presence {
    words: Box<[u64]>,
    /// Set bits before each word; a segment has at most 65,536 slots, so the last word starts below that.
    ranks: Box<[u16]>,
    slots: u32,
    rows: u32,
}

impl Presence {
    /// A bitmap of `slots` slots. Bits from there on must be zero.
    pub(super) fn new(words: &[u64], slots: u32) -> Decoded<Self> {
        let count = slots.div_ceil(64) as usize;
        let tail = words.get(count..).unwrap_or_default();
        let last_bits = slots % 64;
        let overhang =
            count > 0 && last_bits != 0 && words.get(count - 1).is_some_and(|word| word >> last_bits != 0);
        if slots > SLOTS_PER_SEGMENT || words.len() < count || overhang || tail.iter().any(|word| *word != 0)
        {
            return Err(Damage::at(0, format!("presence bitmap does not fit {slots} slots")));
        }
        let words: Box<[u64]> = words.iter().take(count).copied().collect();
        let mut rows = 0;
        let mut ranks = Vec::with_capacity(count);
        for word in &words {
            let rank = u16::try_from(rows).map_err(|_| Damage::at(0, "presence bitmap too long"))?;
            ranks.push(rank);
            rows += word.count_ones();
        }
        Ok(Self { words, ranks: ranks.into(), slots, rows })
    }

    /// The bitmap: bit `slot % 64` of word `slot / 64`.
    pub fn words(&self) -> &[u64] {
        &self.words
    }

    /// How many slots have a row.
    pub fn rows(&self) -> u32 {
        self.rows
    }

    /// Whether the slot has a row.
    pub fn contains(&self, slot: u32) -> bool {
        self.words.get(slot as usize / 64).is_some_and(|word| word >> (slot % 64) & 1 != 0)
    }

    /// How many slots below this one have a row: the position of the slot's row if it has one.
    pub fn rank(&self, slot: u32) -> u32 {
        let index = slot as usize / 64;
        match (self.words.get(index), self.ranks.get(index)) {
            (Some(word), Some(rank)) => u32::from(*rank) + (word & ((1 << (slot % 64)) - 1)).count_ones(),
            _ => self.rows,
        }
    }

    /// Bytes held in memory.
    pub(super) fn bytes_in_memory(&self) -> usize {
        self.words.len() * 10
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rank_counts_the_present_slots_before() {
        let mut words = vec![0_u64; 1024];
        let present = [0_u32, 63, 64, 700, 65_535];
        for slot in present {
            words[slot as usize / 64] |= 1 << (slot % 64);
        }
        let presence = Presence::new(&words, 65_536).expect("fits");
        assert_eq!(presence.rows(), 5);
        for (position, slot) in present.into_iter().enumerate() {
            assert!(presence.contains(slot));
            assert_eq!(presence.rank(slot) as usize, position);
        }
        assert!(!presence.contains(1) && !presence.contains(70_000));
        assert_eq!((presence.rank(65), presence.rank(70_000)), (3, 5));
    }

    #[test]
    fn all_slots_present_keeps_the_ranks_within_range() {
        let presence = Presence::new(&[u64::MAX; 1024], 65_536).expect("fits");
        assert_eq!((presence.rows(), presence.rank(65_535)), (65_536, 65_535));
    }

    #[test]
    fn bits_past_the_slots_are_refused() {
        assert!(Presence::new(&[1 << 10], 10).is_err());
        assert!(Presence::new(&[1, 1], 10).is_err());
        assert!(Presence::new(&[], 10).is_err());
        assert!(Presence::new(&[1 << 9], 10).is_ok());
    }
}
