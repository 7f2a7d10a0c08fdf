//! Which page goes first.
//!
//! A policy is a pure function over what is remembered of a page: two moments in one [`History`]. Time counts misses:
//! the clock stands still while nothing enters the cache, so a hit writes nothing shared but the page's own history, and
//! needs no exclusive lock. The cache evicts the page of lowest [`Rank`].

use std::fmt::Debug;
use std::sync::atomic::{AtomicU64, Ordering};

use super::Access;

/// A page's place in the order of eviction; lowest goes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rank(pub u64);

impl Rank {
    /// Above the rank of every page.
    pub const HIGHEST: Rank = Rank(u64::MAX);
}

/// Now, as policies see it.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// Misses since the cache was made.
    pub now: u64,
    /// Pages in the cache.
    pub resident: u64,
}

/// What is remembered of one page.
#[derive(Debug, Default)]
pub struct History {
    /// The moment of the last reference; 0 for none.
    pub last: AtomicU64,
    /// The moment of the reference before it; 0 for none.
    pub previous: AtomicU64,
}

impl History {
    fn get(&self) -> (u64, u64) {
        (self.last.load(Ordering::Relaxed), self.previous.load(Ordering::Relaxed))
    }

    fn set(&self, last: u64, previous: u64) {
        self.last.store(last, Ordering::Relaxed);
        self.previous.store(previous, Ordering::Relaxed);
    }
}

/// Decides the order of eviction.
///
/// **Invariant.** While a page stays in the cache its rank never falls: the cache keeps ranks in a heap and brings
/// them up to date only when they reach its top. A race between two touches may lose one of them, no more.
pub trait ReplacementPolicy: Send + Sync + Debug {
    /// A page enters; `remembered` is when it was last referenced before it was evicted, if that is still known.
    fn admit(&self, history: &History, access: Access, moment: Moment, remembered: Option<u64>);
    /// A page is referenced.
    fn touch(&self, history: &History, access: Access, moment: Moment);
    /// A page was due but could not go (it is pinned): its rank must rise.
    fn defer(&self, history: &History, moment: Moment);
    /// The page's place.
    fn rank(&self, history: &History) -> Rank;
}

/// LRU-K with K = 2 (O'Neil, O'Neil and Weikum 1993): the page whose second last reference is longest ago goes first,
/// those referenced once before all others.
///
/// **Scans.** Repeated references of one scan are correlated: they count once until an eighth of the cache has been
/// replaced. A page that a scan brings in ranks as if it had come in when half the cache was younger; so a scan
/// displaces its own pages first, then what else was seen once, and never a page that was seen twice.
#[derive(Clone, Copy, Debug, Default)]
pub struct LruK;

const SEEN_TWICE: u64 = 1 << 63;

/// The moment that a scan's reference counts as.
fn scan_reference(moment: Moment) -> u64 {
    moment.now.saturating_sub(moment.resident / 2).max(1)
}

impl ReplacementPolicy for LruK {
    fn admit(&self, history: &History, access: Access, moment: Moment, remembered: Option<u64>) {
        match access {
            Access::Point => history.set(moment.now, remembered.unwrap_or(0)),
            Access::Scan => history.set(scan_reference(moment), 0),
        }
    }

    fn touch(&self, history: &History, access: Access, moment: Moment) {
        let (last, previous) = history.get();
        let (reference, correlated) = match access {
            Access::Point => (moment.now, 0),
            Access::Scan => (scan_reference(moment), moment.resident / 8),
        };
        if reference > last.saturating_add(correlated) {
            history.set(reference, last.max(previous));
        }
    }

    fn defer(&self, history: &History, moment: Moment) {
        // Being held is being used: the page then also leaves the ranks that are looked through first.
        let (last, previous) = history.get();
        history.set(moment.now.max(last), last.max(previous.saturating_add(1)));
    }

    fn rank(&self, history: &History) -> Rank {
        match history.get() {
            (last, 0) => Rank(last),
            (_, previous) => Rank(SEEN_TWICE | previous),
        }
    }
}

/// Least recently used first: what LRU-K is measured against, and a second implementation of the seam.
#[derive(Clone, Copy, Debug, Default)]
pub struct Lru;

impl ReplacementPolicy for Lru {
    fn admit(&self, history: &History, _access: Access, moment: Moment, _remembered: Option<u64>) {
        history.set(moment.now, 0);
    }

    fn touch(&self, history: &History, _access: Access, moment: Moment) {
        history.set(moment.now, 0);
    }

    fn defer(&self, history: &History, moment: Moment) {
        history.set(moment.now, 0);
    }

    fn rank(&self, history: &History) -> Rank {
        Rank(history.get().0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(now: u64) -> Moment {
        Moment { now, resident: 80 }
    }

    #[test]
    fn lru_k_orders_by_the_second_last_reference() {
        let (once, twice, twice_longer_ago) = (History::default(), History::default(), History::default());
        LruK.admit(&twice_longer_ago, Access::Point, at(1), None);
        LruK.admit(&twice, Access::Point, at(2), None);
        LruK.touch(&twice, Access::Point, at(3));
        LruK.touch(&twice_longer_ago, Access::Point, at(90));
        LruK.admit(&once, Access::Point, at(95), None);
        assert!(LruK.rank(&once) < LruK.rank(&twice_longer_ago));
        assert!(LruK.rank(&twice_longer_ago) < LruK.rank(&twice));
    }

    #[test]
    fn references_of_one_scan_count_once_and_enter_cold() {
        let (scanned, point) = (History::default(), History::default());
        LruK.admit(&point, Access::Point, at(100), None);
        LruK.admit(&scanned, Access::Scan, at(110), None);
        assert!(LruK.rank(&scanned) < LruK.rank(&point));
        LruK.admit(&scanned, Access::Scan, at(10), None);
        let entered = LruK.rank(&scanned);
        LruK.touch(&scanned, Access::Scan, at(11));
        assert_eq!(LruK.rank(&scanned), entered);
        LruK.touch(&scanned, Access::Scan, at(200));
        assert!(LruK.rank(&scanned) > LruK.rank(&point), "another scan counts");
    }

    #[test]
    fn a_page_that_comes_back_is_remembered() {
        let (back, new) = (History::default(), History::default());
        LruK.admit(&back, Access::Point, at(50), Some(20));
        LruK.admit(&new, Access::Point, at(51), None);
        assert!(LruK.rank(&new) < LruK.rank(&back));
    }

    #[test]
    fn no_rank_ever_falls() {
        use crate::vfs::{Random, SeededRandom};
        let random = SeededRandom::new(3);
        for policy in [&LruK as &dyn ReplacementPolicy, &Lru] {
            for _ in 0..200 {
                let history = History::default();
                let mut now = 1 + random.below(500);
                policy.admit(&history, Access::Point, at(now), None);
                for _ in 0..20 {
                    let before = policy.rank(&history);
                    match random.below(3) {
                        0 => policy.touch(&history, Access::Point, at(now)),
                        1 => policy.touch(&history, Access::Scan, at(now)),
                        _ => policy.defer(&history, at(now)),
                    }
                    assert!(policy.rank(&history) >= before, "{policy:?} {history:?} at {now}");
                    now += random.below(60);
                }
            }
        }
    }
}
