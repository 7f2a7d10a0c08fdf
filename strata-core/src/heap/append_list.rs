//! A list that grows at its end while readers index it without a lock.
//!
//! Elements never move: they stand in chunks of doubling size (8, 16, 32, …) that are allocated once. One
//! writer at a time appends (the commit section, or opening).

use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

const FIRST_CHUNK_BITS: u32 = 3;
/// Room for 8 × (2^33 − 1) elements.
const CHUNKS: usize = 33;

/// The list.
pub(super) struct AppendList<T> {
    chunks: [OnceLock<Box<[OnceLock<T>]>>; CHUNKS],
    len: AtomicUsize,
}

/// Where an element stands: chunk, and place in it.
fn place(index: usize) -> (usize, usize) {
    let shifted = index + (1 << FIRST_CHUNK_BITS);
    let chunk = shifted.ilog2();
    ((chunk - FIRST_CHUNK_BITS) as usize, shifted - (1 << chunk))
}

impl<T> AppendList<T> {
    pub fn new() -> Self {
        Self { chunks: [const { OnceLock::new() }; CHUNKS], len: AtomicUsize::new(0) }
    }

    pub fn len(&self) -> usize {
        self.len.load(Ordering::Acquire)
    }

    pub fn get(&self, index: usize) -> Option<&T> {
        if index >= self.len() {
            return None;
        }
        let (chunk, place) = place(index);
        self.chunks.get(chunk)?.get()?.get(place)?.get()
    }

    pub fn last(&self) -> Option<&T> {
        self.get(self.len().checked_sub(1)?)
    }

    pub fn iter(&self) -> impl Iterator<Item = &T> {
        (0..self.len()).filter_map(|index| self.get(index))
    }

    /// Appends an element (the writer).
    pub fn push(&self, value: T) {
        let len = self.len.load(Ordering::Relaxed);
        let (chunk, place) = place(len);
        let elements =
            self.chunks[chunk].get_or_init(|| (0..8_usize << chunk).map(|_| OnceLock::new()).collect());
        let vacant = elements[place].set(value).is_ok();
        debug_assert!(vacant, "one writer");
        self.len.store(len + 1, Ordering::Release);
    }

    /// The first index whose element does not satisfy `below`, all that do standing first.
    pub fn partition_point(&self, below: impl Fn(&T) -> bool) -> usize {
        let (mut low, mut high) = (0, self.len());
        while low < high {
            let middle = low + (high - low) / 2;
            match self.get(middle) {
                Some(element) if below(element) => low = middle + 1,
                _ => high = middle,
            }
        }
        low
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_stay_where_they_were_put() {
        let list = AppendList::new();
        assert!(list.last().is_none());
        for value in 0..1_000_usize {
            assert_eq!(list.get(value), None);
            list.push(value);
            assert_eq!(list.get(value), Some(&value));
        }
        assert!(list.iter().copied().eq(0..1_000));
        assert_eq!((list.len(), list.last()), (1_000, Some(&999)));
        assert_eq!(list.partition_point(|value| *value < 617), 617);
        assert_eq!(list.partition_point(|_| true), 1_000);
    }
}
