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
//! put where it belongs. Nobody reads during replay, and replay prunes between two records only what is older than all that it
//! will push.

use std::sync::Arc;

use crate::ids::Timestamp;
use crate::sync::{ArcSwapOption, Mutex};

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

#[cfg(test)]
thread_local! {
    /// Links that this thread has walked, of all lists: what many questions cost.
    pub(super) static STEPS: std::cell::Cell<u64> = const { std::cell::Cell::new(0) };
}

/// Walks the links, newest first.
pub(super) struct Links<T> {
    next: Option<Arc<Link<T>>>,
}

impl<T> Iterator for Links<T> {
    type Item = Arc<Link<T>>;

    fn next(&mut self) -> Option<Arc<Link<T>>> {
        let link = self.next.take()?;
        #[cfg(test)]
        STEPS.set(STEPS.get() + 1);
        self.next = link.previous();
        Some(link)
    }
}

#[cfg(all(test, not(loom)))]
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
    fn readers_keep_what_they_stand_on_while_links_come_and_go() {
        let count: u64 = if cfg!(miri) { 40 } else { 20_000 };
        let chain = Chain::new();
        chain.push(Timestamp::new(0), 0);
        let newest = || chain.newest().map_or(count, |link| link.at.get());
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    while newest() < count {
                        let mut before = u64::MAX;
                        for link in chain.iter() {
                            assert!(link.at.get() < before && link.value == link.at.get() * 10);
                            before = link.at.get();
                        }
                        std::thread::yield_now();
                    }
                });
            }
            scope.spawn(|| {
                while newest() < count {
                    let links: Vec<_> = chain.iter().take(4).collect();
                    if let [first, _, third, ..] = &links[..] {
                        chain.splice(first, None, Some(third.clone()));
                        chain.cut_after(third);
                    }
                    std::thread::yield_now();
                }
            });
            (1..=count).for_each(|at| drop(chain.push(Timestamp::new(at), at * 10)));
        });
        assert!(values(&chain).len() >= 2);
    }

    #[test]
    fn a_million_links_drop_without_recursion() {
        let chain = Chain::new();
        for at in 0..if cfg!(miri) { 1_000 } else { 1_000_000 } {
            chain.push(Timestamp::new(at), at);
        }
        drop(chain);
    }
}

#[cfg(all(test, loom))]
mod models {
    use super::*;
    use loom::thread;

    fn timestamps(chain: &Chain<u64>) -> Vec<u64> {
        chain.iter().map(|link| link.at.get()).collect()
    }

    /// The pruner drops the only link while the writer adds two: what is added stays.
    #[test]
    fn what_is_pushed_stays_while_the_pruner_clears() {
        loom::model(|| {
            let chain = Arc::new(Chain::new());
            let first = chain.push(Timestamp::new(1), 1);
            let pruner = {
                let chain = Arc::clone(&chain);
                thread::spawn(move || chain.clear_if(&first))
            };
            chain.push(Timestamp::new(2), 2);
            chain.push(Timestamp::new(3), 3);
            pruner.join().expect("no panics");
            let found = timestamps(&chain);
            assert!(found == [3, 2] || found == [3, 2, 1], "{found:?}");
        });
    }

    /// Beside both a reader, which sees links in their order and all that its snapshot needs.
    #[test]
    fn a_reader_finds_its_link_while_others_are_added_and_cut() {
        loom::model(|| {
            let chain = Arc::new(Chain::new());
            (1..=3).for_each(|at| drop(chain.push(Timestamp::new(at), at)));
            let writer = {
                let chain = Arc::clone(&chain);
                thread::spawn(move || drop(chain.push(Timestamp::new(4), 4)))
            };
            let pruner = {
                let chain = Arc::clone(&chain);
                // A snapshot at 2 is live: 2 is kept, 1 goes, and 3 is put anew.
                thread::spawn(move || {
                    let links: Vec<_> = chain.iter().filter(|link| link.at.get() <= 3).collect();
                    chain.splice(&links[0], Some((links[1].at, 2)), links[2].previous());
                })
            };
            let found = timestamps(&chain);
            assert!(found.is_sorted_by(|left, right| left > right), "{found:?}");
            assert!(found.contains(&3) && found.contains(&2), "{found:?}");
            writer.join().expect("no panics");
            pruner.join().expect("no panics");
            assert_eq!(timestamps(&chain), [4, 3, 2]);
        });
    }
}
