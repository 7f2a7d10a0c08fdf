//! One share of the clean pages: a map behind a lock that hits take shared.

use std::any::Any;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::{Mutex, RwLock};

use super::ghosts::Ghosts;
use super::policy::{History, Moment, Rank, ReplacementPolicy};
use super::queue::{EvictionQueue, Standing};
use super::{Access, PageKey};
use crate::ids::BlockId;
use crate::memory::Reservation;

pub(super) type Object = Arc<dyn Any + Send + Sync>;

struct Frame {
    object: Object,
    history: History,
    stay: u64,
    reservation: Reservation,
}

/// One share of the clean pages.
///
/// No lock is held together with another, nor while a page is loaded, written or dropped.
pub(super) struct Shard {
    frames: RwLock<Frames>,
    /// The lowest rank in `frames.queue`, read without the lock to choose a shard.
    lowest: AtomicU64,
    ghosts: Mutex<Ghosts<PageKey>>,
    pub(super) hits: AtomicU64,
    pub(super) misses: AtomicU64,
}

struct Frames {
    by_key: HashMap<PageKey, Frame, foldhash::fast::RandomState>,
    /// The same keys in order, so that a block's pages are found together.
    keys: BTreeSet<PageKey>,
    queue: EvictionQueue<PageKey>,
    next_stay: u64,
}

impl Frames {
    fn remove(&mut self, key: PageKey) -> Option<Frame> {
        self.keys.remove(&key);
        self.by_key.remove(&key)
    }
}

impl Shard {
    pub(super) fn new() -> Self {
        let frames = Frames {
            by_key: HashMap::default(),
            keys: BTreeSet::new(),
            queue: EvictionQueue::new(),
            next_stay: 0,
        };
        Self {
            frames: RwLock::new(frames),
            lowest: AtomicU64::new(u64::MAX),
            ghosts: Mutex::new(Ghosts::new()),
            hits: AtomicU64::new(0),
            misses: AtomicU64::new(0),
        }
    }

    pub(super) fn get(
        &self,
        key: PageKey,
        access: Access,
        policy: &dyn ReplacementPolicy,
        moment: Moment,
    ) -> Option<Object> {
        let frames = self.frames.read();
        let frame = frames.by_key.get(&key)?;
        policy.touch(&frame.history, access, moment);
        Some(Arc::clone(&frame.object))
    }

    /// Adds a page; where another thread has added it meanwhile, that one stays and is returned.
    pub(super) fn insert(
        &self,
        key: PageKey,
        access: Access,
        object: Object,
        reservation: Reservation,
        policy: &dyn ReplacementPolicy,
        moment: Moment,
    ) -> Option<Object> {
        let remembered = self.ghosts.lock().take(key);
        let mut frames = self.frames.write();
        if let Some(frame) = frames.by_key.get(&key) {
            policy.touch(&frame.history, access, moment);
            return Some(Arc::clone(&frame.object));
        }
        let history = History::default();
        policy.admit(&history, access, moment, remembered);
        let stay = frames.next_stay;
        frames.next_stay += 1;
        frames.queue.push(key, stay, policy.rank(&history));
        frames.keys.insert(key);
        frames.by_key.insert(key, Frame { object, history, stay, reservation });
        self.lowest.store(frames.queue.lowest().0, Ordering::Relaxed);
        None
    }

    /// A lower bound of the rank of this shard's pages.
    pub(super) fn lowest(&self) -> Rank {
        Rank(self.lowest.load(Ordering::Relaxed))
    }

    /// Evicts the page of lowest rank if that is at most `limit`; returns the bytes it took. A pinned page is passed
    /// over and its rank raised.
    pub(super) fn evict(&self, limit: Rank, policy: &dyn ReplacementPolicy, moment: Moment) -> Option<usize> {
        let mut guard = self.frames.write();
        let frames = &mut *guard;
        let mut pinned = Vec::new();
        let mut victim = None;
        loop {
            let by_key = &frames.by_key;
            let top = frames.queue.pop(limit, |key, stay| match by_key.get(&key) {
                Some(frame) if frame.stay == stay => Standing::Present(policy.rank(&frame.history)),
                _ => Standing::Gone,
            });
            let Some((key, stay)) = top else { break };
            let Some(frame) = frames.by_key.get(&key) else { continue };
            // Under the exclusive lock nobody can take a new reference, so a count of one means unpinned.
            if Arc::strong_count(&frame.object) > 1 {
                policy.defer(&frame.history, moment);
                pinned.push((key, stay, policy.rank(&frame.history)));
                continue;
            }
            victim = frames.remove(key).map(|frame| (key, frame));
            break;
        }
        for (key, stay, rank) in pinned {
            frames.queue.push(key, stay, rank);
        }
        let resident = frames.by_key.len();
        self.lowest.store(frames.queue.lowest().0, Ordering::Relaxed);
        drop(guard);
        let (key, frame) = victim?;
        let last = frame.history.last.load(Ordering::Relaxed);
        self.ghosts.lock().remember(key, last, resident.max(64));
        Some(frame.reservation.bytes())
    }

    /// Drops the pages of a block; returns how many, and their bytes.
    pub(super) fn forget(&self, block: BlockId) -> (usize, usize) {
        let mut guard = self.frames.write();
        let frames = &mut *guard;
        let range = PageKey { block, offset: 0 }..=PageKey { block, offset: u64::MAX };
        let keys: Vec<PageKey> = frames.keys.range(range).copied().collect();
        let gone: Vec<Frame> = keys.iter().filter_map(|key| frames.remove(*key)).collect();
        let by_key = &frames.by_key;
        frames.queue.tidy(by_key.len(), |key, stay| by_key.get(&key).is_some_and(|frame| frame.stay == stay));
        self.lowest.store(frames.queue.lowest().0, Ordering::Relaxed);
        drop(guard);
        (gone.len(), gone.iter().map(|frame| frame.reservation.bytes()).sum())
    }
}
