//! Where a page's owner last found it: reading it again takes no search of the cache.
//!
//! As pages that point to each other in LeanStore (Leis et al., ICDE 2018) and Umbra, but weakly: the cache need not
//! find who points to a page before it evicts it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use parking_lot::RwLock;

use super::{Access, PageCache, PageKey};
use crate::error::Result;

/// Remembers one page, and does not hold it: it is evicted as if nobody remembered it. No two lines of memory share it.
#[derive(Debug)]
#[repr(align(32))]
pub struct PageMemo<T: ?Sized> {
    page: RwLock<Option<Weak<T>>>,
    /// The cache's clock when the policy last heard of the page's use.
    told: AtomicU64,
}

/// The policy hears of a use again once so small a part of the cache has been replaced.
const TOLD_PART: u64 = 64;

impl<T: ?Sized> Default for PageMemo<T> {
    fn default() -> Self {
        Self { page: RwLock::new(None), told: AtomicU64::new(0) }
    }
}

impl<T: ?Sized> PageMemo<T> {
    /// Lets go of a page that leaves the cache: of its frame, which a memo keeps, without its charge, until then. For pages
    /// so small, or with frames so large, that this matters: they call it when they are dropped.
    pub fn forget(&self, page: &Arc<T>) {
        self.page.write().take_if(|known| std::ptr::addr_eq(known.as_ptr(), Arc::as_ptr(page)));
    }

    /// Whether it keeps the frame of a page.
    #[cfg(test)]
    pub fn keeps_frame(&self) -> bool {
        self.page.read().is_some()
    }
}

impl PageCache {
    /// As [`get_or_load`](Self::get_or_load) for a lookup, by way of what `memo` remembers. A memo is of one key.
    ///
    /// # Errors
    /// Those of `load`.
    pub fn recall<T: Send + Sync + 'static>(
        &self,
        memo: &PageMemo<T>,
        key: PageKey,
        load: impl FnOnce() -> Result<(T, usize)>,
    ) -> Result<Arc<T>> {
        if let Some(page) = self.remembered(memo) {
            return Ok(page);
        }
        let mut is_new = false;
        let page = self.get_or_load(key, Access::Point, || {
            is_new = true;
            load()
        })?;
        if is_new {
            self.note_entry(memo);
        } else {
            self.remember(memo, &page);
        }
        Ok(page)
    }

    /// The page that was remembered, if it is still there, and the policy has heard of its use not long ago. To be used, this
    /// counts as a hit.
    pub fn remembered<T: ?Sized>(&self, memo: &PageMemo<T>) -> Option<Arc<T>> {
        self.remembered_with(memo, |_| ())
    }

    /// As [`remembered`](Self::remembered), and tells beforehand where the page stands, if it does, for who
    /// prefetches a part of it.
    pub fn remembered_with<T: ?Sized>(
        &self,
        memo: &PageMemo<T>,
        stands_at: impl FnOnce(*const T),
    ) -> Option<Arc<T>> {
        let moment = self.moment();
        let since = moment.now.saturating_sub(memo.told.load(Ordering::Relaxed));
        if since > moment.resident / TOLD_PART {
            return None;
        }
        let page = {
            let page = memo.page.read();
            let page = page.as_ref()?;
            stands_at(page.as_ptr());
            page.upgrade()?
        };
        self.recalled.add();
        Some(page)
    }

    /// Remembers a page that a lookup has just found. Not one that entered at this very moment: the policy does not count its
    /// use yet, and would not hear of those to come, so that the page would pass for one that was seen once.
    pub fn remember<T: ?Sized>(&self, memo: &PageMemo<T>, page: &Arc<T>) {
        let now = self.moment().now;
        if memo.told.swap(now, Ordering::Relaxed) < now {
            *memo.page.write() = Some(Arc::downgrade(page));
        }
    }

    /// The memo's page has just entered: what was remembered is gone, or will be once its last reader lets go.
    pub fn note_entry<T: ?Sized>(&self, memo: &PageMemo<T>) {
        *memo.page.write() = None;
        memo.told.store(self.moment().now, Ordering::Relaxed);
    }
}
