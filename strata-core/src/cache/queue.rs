//! Pages in the order of eviction, brought up to date lazily.
//!
//! Each resident page has one entry, with the rank it had when it was last looked at. Ranks only rise, so an entry at
//! the top whose rank is still right is the true minimum; one that is out of date goes back in at its new rank.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;
use std::fmt::Debug;

use super::policy::Rank;

#[derive(Clone, Copy, Debug)]
struct Entry<K> {
    rank: Rank,
    /// Tells apart the stays of one key in the cache.
    stay: u64,
    key: K,
}

impl<K> PartialEq for Entry<K> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl<K> Eq for Entry<K> {}

impl<K> PartialOrd for Entry<K> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<K> Ord for Entry<K> {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.rank, self.stay).cmp(&(other.rank, other.stay))
    }
}

/// The order of eviction of one shard.
#[derive(Debug)]
pub struct EvictionQueue<K> {
    heap: BinaryHeap<Reverse<Entry<K>>>,
}

/// What has become of the page that an entry stands for.
pub enum Standing {
    /// It stays in the cache for the same stay and has this rank.
    Present(Rank),
    /// It has gone.
    Gone,
}

impl<K: Copy + Debug> EvictionQueue<K> {
    /// No pages.
    pub fn new() -> Self {
        Self { heap: BinaryHeap::new() }
    }

    /// Adds a page.
    pub fn push(&mut self, key: K, stay: u64, rank: Rank) {
        self.heap.push(Reverse(Entry { rank, stay, key }));
    }

    /// Takes out the page of lowest rank, unless that is above `limit`; its true rank is told by `standing`.
    pub fn pop(&mut self, limit: Rank, mut standing: impl FnMut(K, u64) -> Standing) -> Option<(K, u64)> {
        loop {
            let Reverse(top) = self.heap.peek().filter(|Reverse(top)| top.rank <= limit)?;
            let Entry { rank, stay, key } = *top;
            self.heap.pop();
            match standing(key, stay) {
                Standing::Gone => {}
                Standing::Present(now) if now == rank => return Some((key, stay)),
                Standing::Present(now) => self.push(key, stay, now),
            }
        }
    }

    /// A lower bound of the rank of all pages; the highest where there are none.
    pub fn lowest(&self) -> Rank {
        self.heap.peek().map_or(Rank::HIGHEST, |Reverse(top)| top.rank)
    }

    /// Drops the entries of pages that have gone, once they outnumber the `present` ones.
    pub fn tidy(&mut self, present: usize, mut is_present: impl FnMut(K, u64) -> bool) {
        if self.heap.len() > 2 * present + 64 {
            self.heap.retain(|Reverse(entry)| is_present(entry.key, entry.stay));
        }
    }
}
