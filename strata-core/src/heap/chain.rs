//! A list of what commits left behind, newest first.
//!
//! Readers take its newest link without a lock. Behind that they copy a pointer under a lock that only the pruner ever
//! takes too: the commit section neither waits for it nor holds it. (An atomic swap there, as for the newest link, made
//! each dropped link cost a look at every thread: a sixth of the processor under many small commits.)
//!
//! Links are in descending order of their timestamp. There is one writer (the commit section) that pushes, and at
//! most one pruner (maintenance) beside it; both leave every link that a reader may stand on intact. So a
//! reader with a recent snapshot takes one step, and memory goes back as soon as the last reader has left.
//!
//! The writer may push out of order (replay meets marks older than those that the persisted set holds): the link is then
//! put where it belongs. Nobody reads or prunes during replay.

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use parking_lot::Mutex;

use crate::ids::Timestamp;

/// One link: a value and the commit it came with.
pub(super) struct Link<T> {
    pub at: Timestamp,
    pub value: T,
    previous: Mutex<Option<Arc<Link<T>>>>,
}

/// The list.
pub(super) struct Chain<T> {
    newest: ArcSwapOption<Link<T>>,
}

/// What a link costs in memory beside what `T` points to.
pub(super) const fn link_bytes<T>() -> usize {
    size_of::<Link<T>>() + 2 * size_of::<usize>()
}

impl<T> Link<T> {
    fn new(at: Timestamp, value: T, previous: Option<Arc<Link<T>>>) -> Arc<Self> {
        Arc::new(Self { at, value, previous: Mutex::new(previous) })
    }

    /// The link before this one in time.
    pub fn previous(&self) -> Option<Arc<Link<T>>> {
        self.previous.lock().clone()
    }

    /// Another link before this one. What stood there is dropped once the lock is free: it may be a long tail.
    fn set_previous(&self, previous: Option<Arc<Link<T>>>) {
        let before = std::mem::replace(&mut *self.previous.lock(), previous);
        drop(before);
    }
}

impl<T> Drop for Link<T> {
    /// Takes a long tail apart link by link: recursion would exhaust the stack.
    fn drop(&mut self) {
        let mut next = self.previous.get_mut().take();
        while let Some(link) = next {
            next = Arc::into_inner(link).and_then(|mut link| link.previous.get_mut().take());
        }
    }
}

impl<T> Chain<T> {
    pub fn new() -> Self {
        Self { newest: ArcSwapOption::empty() }
    }

    pub fn newest(&self) -> Option<Arc<Link<T>>> {
        self.newest.load_full()
    }

    pub fn is_empty(&self) -> bool {
        self.newest.load().is_none()
    }

    /// The links from the newest on.
    pub fn iter(&self) -> Links<T> {
        Links { next: self.newest() }
    }

    /// Adds a link (the writer), and returns it.
    pub fn push(&self, at: Timestamp, value: T) -> Arc<Link<T>> {
        let newest = self.newest();
        let mut newer: Option<Arc<Link<T>>> = None;
        let mut older = newest;
        while let Some(link) = older.as_ref().filter(|link| link.at > at) {
            let next = link.previous();
            newer = older;
            older = next;
        }
        let link = Link::new(at, value, older);
        match newer {
            Some(newer) => newer.set_previous(Some(Arc::clone(&link))),
            None => self.newest.store(Some(Arc::clone(&link))),
        }
        link
    }

    /// Drops the links that come after `last` (the pruner).
    pub fn cut_after(&self, last: &Link<T>) {
        last.set_previous(None);
    }

    /// Drops all links if `newest` still is the first one (the pruner); what the writer pushes meanwhile stays.
    pub fn clear_if(&self, newest: &Arc<Link<T>>) {
        self.newest.compare_and_swap(newest, None);
    }

    /// Puts `replacement` in the place of the links between `newer` and `older` (the pruner).
    pub fn splice(&self, newer: &Link<T>, replacement: Option<(Timestamp, T)>, older: Option<Arc<Link<T>>>) {
        newer.set_previous(match replacement {
            Some((at, value)) => Some(Link::new(at, value, older)),
            None => older,
        });
    }
}

/// Walks the links, newest first.
pub(super) struct Links<T> {
    next: Option<Arc<Link<T>>>,
}

impl<T> Iterator for Links<T> {
    type Item = Arc<Link<T>>;

    fn next(&mut self) -> Option<Arc<Link<T>>> {
        let link = self.next.take()?;
        self.next = link.previous();
        Some(link)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(chain: &Chain<u64>) -> Vec<(u64, u64)> {
        chain.iter().map(|link| (link.at.get(), link.value)).collect()
    }

    #[test]
    fn late_links_take_their_place() {
        let chain = Chain::new();
        for at in [1, 3, 5, 4, 2, 0, 6] {
            chain.push(Timestamp::new(at), at * 10);
        }
        assert_eq!(values(&chain), [(6, 60), (5, 50), (4, 40), (3, 30), (2, 20), (1, 10), (0, 0)]);
    }

    #[test]
    fn pruning_leaves_the_rest_and_what_readers_hold() {
        let chain = Chain::new();
        for at in 1..=5 {
            chain.push(Timestamp::new(at), at);
        }
        let mut reader = chain.iter();
        assert_eq!(reader.by_ref().take(2).last().map(|link| link.at.get()), Some(4));
        let links: Vec<_> = chain.iter().collect();
        chain.splice(&links[0], Some((Timestamp::new(4), 40)), links[3].previous());
        assert_eq!(values(&chain), [(5, 5), (4, 40), (1, 1)]);
        chain.cut_after(&links[0]);
        assert_eq!(values(&chain), [(5, 5)]);
        chain.push(Timestamp::new(6), 6);
        chain.clear_if(&links[0]);
        assert_eq!(values(&chain), [(6, 6), (5, 5)], "not the newest any more");
        let newest = chain.newest().expect("two links");
        chain.clear_if(&newest);
        assert!(chain.is_empty());
        assert_eq!(reader.next().map(|link| link.at.get()), Some(3));
    }

    #[test]
    fn a_million_links_drop_without_recursion() {
        let chain = Chain::new();
        for at in 0..1_000_000 {
            chain.push(Timestamp::new(at), at);
        }
        drop(chain);
    }
}
