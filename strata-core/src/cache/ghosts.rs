//! When pages that have left were last referenced, for as long as LRU-K needs to know.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;

/// The last references of pages that were evicted, oldest forgotten first.
#[derive(Debug)]
pub struct Ghosts<K> {
    last: HashMap<K, u64, foldhash::fast::RandomState>,
    order: VecDeque<(K, u64)>,
}

impl<K: Copy + Eq + Hash> Ghosts<K> {
    /// None.
    pub fn new() -> Self {
        Self { last: HashMap::default(), order: VecDeque::new() }
    }

    /// Remembers a page, and at most `limit` in all.
    pub fn remember(&mut self, key: K, last: u64, limit: usize) {
        self.last.insert(key, last);
        self.order.push_back((key, last));
        while self.order.len() > limit {
            self.forget_oldest();
        }
    }

    /// The last reference of a page that comes back.
    pub fn take(&mut self, key: K) -> Option<u64> {
        self.last.remove(&key)
    }

    fn forget_oldest(&mut self) {
        if let Some((key, last)) = self.order.pop_front()
            && self.last.get(&key) == Some(&last)
        {
            self.last.remove(&key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_is_forgotten_and_a_newer_stay_is_kept() {
        let mut ghosts = Ghosts::new();
        ghosts.remember(1, 10, 2);
        ghosts.remember(1, 20, 2);
        ghosts.remember(2, 30, 2);
        assert_eq!(ghosts.take(1), Some(20));
        assert_eq!(ghosts.take(1), None);
        ghosts.remember(3, 40, 2);
        assert_eq!(ghosts.take(2), Some(30));
        ghosts.remember(4, 50, 1);
        assert_eq!((ghosts.take(3), ghosts.take(4)), (None, Some(50)));
    }
}
