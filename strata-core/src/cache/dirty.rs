//! The dirty pages: in the same order of eviction as the clean ones, written back before they go.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::RwLock;

use super::policy::{History, Moment, Rank, ReplacementPolicy};
use super::queue::{EvictionQueue, Standing};
use super::{Access, DirtyId, DirtyPage};

struct Entry {
    page: Arc<dyn DirtyPage>,
    history: History,
}

struct Pages {
    by_id: HashMap<DirtyId, Entry, foldhash::fast::RandomState>,
    queue: EvictionQueue<DirtyId>,
    next_id: u64,
}

/// The dirty pages. Its lock is not held while a page is written back.
pub(super) struct DirtyPages {
    pages: RwLock<Pages>,
    lowest: AtomicU64,
}

impl DirtyPages {
    pub(super) fn new() -> Self {
        let pages = Pages { by_id: HashMap::default(), queue: EvictionQueue::new(), next_id: 0 };
        Self { pages: RwLock::new(pages), lowest: AtomicU64::new(u64::MAX) }
    }

    pub(super) fn insert(
        &self,
        page: Arc<dyn DirtyPage>,
        policy: &dyn ReplacementPolicy,
        moment: Moment,
    ) -> DirtyId {
        let history = History::default();
        policy.admit(&history, Access::Point, moment, None);
        let mut pages = self.pages.write();
        let id = DirtyId(pages.next_id);
        pages.next_id += 1;
        pages.queue.push(id, 0, policy.rank(&history));
        pages.by_id.insert(id, Entry { page, history });
        self.lowest.store(pages.queue.lowest().0, Ordering::Relaxed);
        id
    }

    pub(super) fn touch(&self, id: DirtyId, policy: &dyn ReplacementPolicy, moment: Moment) {
        if let Some(entry) = self.pages.read().by_id.get(&id) {
            policy.touch(&entry.history, Access::Point, moment);
        }
    }

    pub(super) fn remove(&self, id: DirtyId) -> bool {
        let mut guard = self.pages.write();
        let pages = &mut *guard;
        let entry = pages.by_id.remove(&id);
        let by_id = &pages.by_id;
        pages.queue.tidy(by_id.len(), |id, _| by_id.contains_key(&id));
        self.lowest.store(pages.queue.lowest().0, Ordering::Relaxed);
        drop(guard);
        entry.is_some()
    }

    pub(super) fn len(&self) -> usize {
        self.pages.read().by_id.len()
    }

    pub(super) fn lowest(&self) -> Rank {
        Rank(self.lowest.load(Ordering::Relaxed))
    }

    /// The unpinned page of lowest rank, if that is at most `limit`. It is out of the queue until [`settle`](Self::settle).
    pub(super) fn take(
        &self,
        limit: Rank,
        policy: &dyn ReplacementPolicy,
        moment: Moment,
    ) -> Option<(DirtyId, Arc<dyn DirtyPage>)> {
        let mut guard = self.pages.write();
        let pages = &mut *guard;
        let by_id = &pages.by_id;
        let mut pinned = Vec::new();
        let mut victim = None;
        while let Some((id, _)) = pages.queue.pop(limit, |id, _| match by_id.get(&id) {
            Some(entry) => Standing::Present(policy.rank(&entry.history)),
            None => Standing::Gone,
        }) {
            let Some(entry) = by_id.get(&id) else { continue };
            if entry.page.is_pinned() {
                policy.defer(&entry.history, moment);
                pinned.push((id, policy.rank(&entry.history)));
                continue;
            }
            victim = Some((id, Arc::clone(&entry.page)));
            break;
        }
        for (id, rank) in pinned {
            pages.queue.push(id, 0, rank);
        }
        self.lowest.store(pages.queue.lowest().0, Ordering::Relaxed);
        victim
    }

    /// Tells what became of a page taken: written back, it goes; otherwise it is due again later.
    pub(super) fn settle(&self, id: DirtyId, written: bool, policy: &dyn ReplacementPolicy, moment: Moment) {
        let mut guard = self.pages.write();
        let pages = &mut *guard;
        let gone = if written {
            pages.by_id.remove(&id)
        } else {
            if let Some(entry) = pages.by_id.get(&id) {
                policy.defer(&entry.history, moment);
                pages.queue.push(id, 0, policy.rank(&entry.history));
            }
            None
        };
        self.lowest.store(pages.queue.lowest().0, Ordering::Relaxed);
        drop(guard);
        drop(gone);
    }
}
