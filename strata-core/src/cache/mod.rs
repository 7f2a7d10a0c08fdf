//! The page cache: parsed pages of immutable blocks, and the dirty pages of the heap, within the memory pool.
//!
//! **Clean pages** are objects keyed by block and offset, whatever type their owner parses them into. A page is
//! pinned while somebody outside holds its `Arc`; it is never evicted then. Bytes are charged to the pool; what does
//! not fit, even after evicting, is handed out without being kept. Owners that read a page again and again keep a
//! [`PageMemo`] of it; who comes by one while the page is being evicted holds it longer than it is charged. So do readers of
//! pages that share what they hold (strips): these are not pinned.
//!
//! **Dirty pages** are charged by their own reservations. They are evicted in the same order, after
//! [`DirtyPage::write_back`].
//!
//! **Eviction** takes the page of lowest rank over all shards, by the [`ReplacementPolicy`]; LRU-K first. The cache
//! keeps to a share of the pool of its own accord, and as a [`Reclaimer`] gives way to whoever else needs memory.
//!
//! **Concurrency.** A hit takes its shard's lock shared. No lock is held during `load`, `write_back` or the drop of a
//! page, and no two locks together. Two threads that miss the same page both load it; the first to finish wins.

mod count;
mod dirty;
mod ghosts;
mod memo;
mod policy;
mod queue;
mod shard;
#[cfg(test)]
mod tests;

pub use self::memo::PageMemo;
pub use self::policy::{History, Lru, LruK, Moment, Rank, ReplacementPolicy};

use std::any::Any;
use std::fmt;
use std::hash::BuildHasher;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};

use self::count::StripedCount;
use self::dirty::DirtyPages;
use self::shard::{Object, Shard};
use crate::block::{BlockHandle, BlockHandles, BlockStore, ReleaseBlock};
use crate::error::Result;
use crate::ids::BlockId;
use crate::memory::{MemoryPool, Reclaimer, Reservation};

/// What a cached page costs beside its own bytes: map, order and queue entries.
const FRAME_BYTES: usize = 192;

/// How often eviction looks further up before it takes any page: so often that the last time nothing is too high.
const ROUNDS: u32 = 17;

const CONSUMER: &str = "page cache";

/// Names a page: a place in a block's payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PageKey {
    /// The block.
    pub block: BlockId,
    /// The byte offset in its payload.
    pub offset: u64,
}

/// How a page is used, which tells how likely it is to be wanted again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// By a lookup.
    Point,
    /// By a scan: it enters cold and displaces no page that was seen twice.
    Scan,
}

/// A page whose bytes are not in a block yet, or no longer the same.
pub trait DirtyPage: Send + Sync {
    /// Bytes of memory that writing it back frees.
    fn size_bytes(&self) -> usize;
    /// Whether it must stay for now. Called under a lock of the cache: must not call the cache.
    fn is_pinned(&self) -> bool;
    /// Writes the page to a block and drops its frame, with the reservation. On error the page stays as it was.
    /// Runs while somebody waits for memory: it must do without the cache and without `MemoryPool::reserve`.
    fn write_back(&self) -> Result<()>;
}

/// Names a dirty page in the cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DirtyId(u64);

/// How a [`PageCache`] is set up.
#[derive(Clone, Debug)]
pub struct CacheOptions {
    /// The most its clean pages take; without it, seven eighths of the pool.
    pub max_bytes: Option<usize>,
    /// Locks that the pages are spread over.
    pub shards: usize,
    /// Which page goes first.
    pub policy: Arc<dyn ReplacementPolicy>,
}

impl Default for CacheOptions {
    fn default() -> Self {
        Self { max_bytes: None, shards: 16, policy: Arc::new(LruK) }
    }
}

/// What the cache has done since it was made, and what it holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CacheStats {
    /// Pages found.
    pub hits: u64,
    /// Pages loaded.
    pub misses: u64,
    /// Clean pages evicted.
    pub evictions: u64,
    /// Dirty pages written back to make room.
    pub write_backs: u64,
    /// Attempts to do so that failed; the pages stay.
    pub write_back_failures: u64,
    /// Pages handed out without being kept, for want of memory.
    pub uncached: u64,
    /// Clean pages held.
    pub pages: usize,
    /// Bytes charged for them.
    pub bytes: usize,
    /// Dirty pages held.
    pub dirty_pages: usize,
}

/// The page cache.
pub struct PageCache {
    store: Arc<dyn BlockStore>,
    pool: MemoryPool,
    policy: Arc<dyn ReplacementPolicy>,
    max_bytes: usize,
    hasher: foldhash::fast::RandomState,
    shards: Box<[Shard]>,
    dirty: DirtyPages,
    handles: BlockHandles,
    /// Pages that have entered so far: the policies' clock.
    clock: AtomicU64,
    pages: AtomicUsize,
    bytes: AtomicUsize,
    /// Hits by way of memos.
    recalled: StripedCount,
    evictions: AtomicU64,
    write_backs: AtomicU64,
    write_back_failures: AtomicU64,
    uncached: AtomicU64,
}

impl PageCache {
    /// An empty cache of the pages of `store`, registered with `pool` as a reclaimer.
    pub fn new(store: Arc<dyn BlockStore>, pool: MemoryPool, options: CacheOptions) -> Arc<Self> {
        let cache = Arc::new(Self {
            store,
            max_bytes: options.max_bytes.unwrap_or(pool.cap() / 8 * 7),
            pool: pool.clone(),
            policy: options.policy,
            hasher: foldhash::fast::RandomState::default(),
            shards: (0..options.shards.max(1)).map(|_| Shard::new()).collect(),
            dirty: DirtyPages::new(),
            handles: BlockHandles::default(),
            clock: AtomicU64::new(0),
            pages: AtomicUsize::new(0),
            bytes: AtomicUsize::new(0),
            recalled: StripedCount::default(),
            evictions: AtomicU64::new(0),
            write_backs: AtomicU64::new(0),
            write_back_failures: AtomicU64::new(0),
            uncached: AtomicU64::new(0),
        });
        let reclaimer: Weak<Self> = Arc::downgrade(&cache);
        pool.register(reclaimer);
        cache
    }

    /// The store whose pages are cached.
    pub fn store(&self) -> &Arc<dyn BlockStore> {
        &self.store
    }

    /// The handle that all readers of a block share. Once it is obsolete, the last of them gives the block back.
    pub fn handle(self: &Arc<Self>, id: BlockId) -> Arc<BlockHandle> {
        self.handles.get(id, || Arc::clone(self) as Arc<dyn ReleaseBlock>)
    }

    /// The pool that the pages are charged to.
    pub fn pool(&self) -> &MemoryPool {
        &self.pool
    }

    /// The page of `key`, if it is there. A page is read as the type it was loaded as.
    pub fn get<T: Send + Sync + 'static>(&self, key: PageKey, access: Access) -> Option<Arc<T>> {
        let shard = self.shard(key);
        let object = shard.get(key, access, &*self.policy, self.moment())?;
        shard.hits.fetch_add(1, Ordering::Relaxed);
        object.downcast::<T>().ok()
    }

    /// The page of `key`; if it is not there, what `load` returns, kept and charged with the bytes it names. A page
    /// is read as the type it was loaded as. Where memory is short the loaded page is returned without being kept.
    ///
    /// # Errors
    /// Those of `load`.
    pub fn get_or_load<T: Send + Sync + 'static>(
        &self,
        key: PageKey,
        access: Access,
        load: impl FnOnce() -> Result<(T, usize)>,
    ) -> Result<Arc<T>> {
        let shard = self.shard(key);
        let policy = &*self.policy;
        if let Some(object) = shard.get(key, access, policy, self.moment()) {
            shard.hits.fetch_add(1, Ordering::Relaxed);
            match object.downcast::<T>() {
                Ok(page) => return Ok(page),
                Err(_) => debug_assert!(false, "{key:?} is cached as another type"),
            }
        } else {
            shard.misses.fetch_add(1, Ordering::Relaxed);
        }
        let (page, bytes) = load()?;
        let page = Arc::new(page);
        let Some(reservation) = self.make_room(bytes.saturating_add(FRAME_BYTES)) else {
            self.uncached.fetch_add(1, Ordering::Relaxed);
            return Ok(page);
        };
        self.clock.fetch_add(1, Ordering::Relaxed);
        let charged = reservation.bytes();
        let object: Object = Arc::clone(&page) as Arc<dyn Any + Send + Sync>;
        // Counted before it is in, so that the eviction of this page cannot take the sums below zero.
        self.pages.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(charged, Ordering::Relaxed);
        let earlier = shard.insert(key, access, object, reservation, policy, self.moment());
        let Some(earlier) = earlier else {
            return Ok(page);
        };
        self.discount(1, charged);
        Ok(earlier.downcast::<T>().unwrap_or(page))
    }

    /// Drops the pages of a block, which nobody reads any more.
    pub fn forget(&self, block: BlockId) {
        for shard in &self.shards {
            let (pages, bytes) = shard.forget(block);
            self.discount(pages, bytes);
        }
    }

    /// Takes a dirty page into the order of eviction. Its memory is its own to account for.
    pub fn insert_dirty(&self, page: Arc<dyn DirtyPage>) -> DirtyId {
        self.clock.fetch_add(1, Ordering::Relaxed);
        self.dirty.insert(page, &*self.policy, self.moment())
    }

    /// Notes a use of a dirty page; nothing happens where it has gone.
    pub fn touch_dirty(&self, id: DirtyId) {
        self.dirty.touch(id, &*self.policy, self.moment());
    }

    /// Lets go of a dirty page without writing it; nothing happens where it has gone. A write-back under way goes on.
    pub fn remove_dirty(&self, id: DirtyId) {
        self.dirty.remove(id);
    }

    /// What the cache has done, and what it holds.
    pub fn stats(&self) -> CacheStats {
        let sum = |count: fn(&Shard) -> &AtomicU64| {
            self.shards.iter().map(|shard| count(shard).load(Ordering::Relaxed)).sum()
        };
        CacheStats {
            hits: sum(|shard| &shard.hits) + self.recalled.sum(),
            misses: sum(|shard| &shard.misses),
            evictions: self.evictions.load(Ordering::Relaxed),
            write_backs: self.write_backs.load(Ordering::Relaxed),
            write_back_failures: self.write_back_failures.load(Ordering::Relaxed),
            uncached: self.uncached.load(Ordering::Relaxed),
            pages: self.pages.load(Ordering::Relaxed),
            bytes: self.bytes.load(Ordering::Relaxed),
            dirty_pages: self.dirty.len(),
        }
    }

    fn shard(&self, key: PageKey) -> &Shard {
        let hash = self.hasher.hash_one(key);
        // The upper half, since the shard's own map uses the lower bits.
        let index = (hash >> 32) as usize % self.shards.len();
        &self.shards[index]
    }

    fn moment(&self) -> Moment {
        let resident = self.pages.load(Ordering::Relaxed) as u64;
        Moment { now: self.clock.load(Ordering::Relaxed), resident }
    }

    fn discount(&self, pages: usize, bytes: usize) {
        self.pages.fetch_sub(pages, Ordering::Relaxed);
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    fn make_room(&self, bytes: usize) -> Option<Reservation> {
        if bytes > self.max_bytes {
            return None;
        }
        loop {
            let over = (self.bytes.load(Ordering::Relaxed) + bytes).saturating_sub(self.max_bytes);
            if over == 0
                && let Some(reservation) = self.pool.try_reserve(CONSUMER, bytes)
            {
                return Some(reservation);
            }
            let missing = over.max(bytes.saturating_sub(self.pool.available())).max(1);
            // Writing dirty pages back brings the pool room, but the clean pages none within their share.
            if self.evict(missing, over == 0) == 0 {
                return None;
            }
        }
    }

    /// Evicts about `wanted` bytes, lowest rank first; returns how many it freed.
    fn evict(&self, wanted: usize, mut may_write: bool) -> usize {
        let mut freed = 0;
        let mut failures = 0;
        while freed < wanted {
            // A source that fails brings its lowest ranks up to date. Where many fail in a row, much is out of date: each
            // round looks further up. At last only pinned pages can be left, or the lowest page of some shard will do.
            let round = u32::try_from(failures / self.shards.len()).unwrap_or(u32::MAX);
            let evicted = if round < ROUNDS {
                self.evict_lowest(&mut may_write, round)
            } else {
                match self.evict_any(&mut may_write) {
                    Some(bytes) => Some(bytes),
                    None => break,
                }
            };
            match evicted {
                Some(bytes) => {
                    freed += bytes;
                    failures = 0;
                }
                None => failures += 1,
            }
        }
        freed
    }

    /// Evicts the page that ranks lowest of all, by what the sources say; `None` where that was out of date.
    fn evict_lowest(&self, may_write: &mut bool, round: u32) -> Option<usize> {
        let dirty = if *may_write { self.dirty.lowest() } else { Rank::HIGHEST };
        let mut lowest = (dirty, None);
        let mut second = Rank::HIGHEST;
        for shard in &self.shards {
            let rank = shard.lowest();
            if rank < lowest.0 {
                second = lowest.0;
                lowest = (rank, Some(shard));
            } else {
                second = second.min(rank);
            }
        }
        // A little beyond the second lowest, lest two shards take turns over every page.
        let beyond = (self.moment().resident / 64).max(1).saturating_mul(16_u64.saturating_pow(round));
        let limit = Rank(second.0.saturating_add(beyond));
        match lowest {
            (_, Some(shard)) => self.evict_clean(shard, limit),
            (Rank::HIGHEST, None) => None,
            (_, None) => self.evict_dirty(limit, may_write),
        }
    }

    /// Evicts the lowest page of one shard, the shards taking turns; `None` where all pages are pinned.
    fn evict_any(&self, may_write: &mut bool) -> Option<usize> {
        let turn = self.evictions.load(Ordering::Relaxed) as usize % self.shards.len();
        let (later, sooner) = self.shards.split_at(turn);
        let mut shards = sooner.iter().chain(later);
        let clean = shards.find_map(|shard| self.evict_clean(shard, Rank::HIGHEST));
        clean.or_else(|| if *may_write { self.evict_dirty(Rank::HIGHEST, may_write) } else { None })
    }

    fn evict_clean(&self, shard: &Shard, limit: Rank) -> Option<usize> {
        let bytes = shard.evict(limit, &*self.policy, self.moment())?;
        self.discount(1, bytes);
        self.evictions.fetch_add(1, Ordering::Relaxed);
        Some(bytes)
    }

    /// Writes a dirty page back. After a failure no other is tried: it would most likely fail too.
    fn evict_dirty(&self, limit: Rank, may_write: &mut bool) -> Option<usize> {
        let policy = &*self.policy;
        let (id, page) = self.dirty.take(limit, policy, self.moment())?;
        let bytes = page.size_bytes();
        let result = page.write_back();
        self.dirty.settle(id, result.is_ok(), policy, self.moment());
        if let Err(error) = result {
            tracing::warn!(%error, "cannot write a dirty page back");
            self.write_back_failures.fetch_add(1, Ordering::Relaxed);
            *may_write = false;
            return None;
        }
        self.write_backs.fetch_add(1, Ordering::Relaxed);
        Some(bytes)
    }
}

impl Reclaimer for PageCache {
    fn reclaim(&self, bytes: usize) -> usize {
        // A little more than asked for, so that a consumer that grows in small steps does not ask at each of them.
        self.evict(bytes.max(self.pool.cap() / 256), true)
    }
}

impl ReleaseBlock for PageCache {
    fn release(&self, id: BlockId) {
        self.forget(id);
        self.store.free(id);
    }
}

impl fmt::Debug for PageCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PageCache").field("stats", &self.stats()).finish_non_exhaustive()
    }
}
