//! Where a page's owner last found it: reading it again takes no search of the cache.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use parking_lot::RwLock;

use super::{Access, PageCache, PageKey};
use crate::error::Result;

/// Remembers one page, and does not hold it: it is evicted as if nobody remembered it.
#[derive(Debug)]
pub struct PageMemo<T> {
    page: RwLock<Weak<T>>,
    /// The cache's clock when the policy last heard of the page's use.
    told: AtomicU64,
    /// Hits that are not counted yet. Counting may lose some, where threads meet.
    hits: AtomicU32,
}

/// Hits that are counted at a time.
const COUNTED_HITS: u32 = 64;
/// The policy hears of a use again once so small a part of the cache has been replaced.
const TOLD_PART: u64 = 64;

impl<T> Default for PageMemo<T> {
    fn default() -> Self {
        Self { page: RwLock::new(Weak::new()), told: AtomicU64::new(0), hits: AtomicU32::new(0) }
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
        let moment = self.moment();
        let since = moment.now.saturating_sub(memo.told.load(Ordering::Relaxed));
        if since <= moment.resident / TOLD_PART
            && let Some(page) = memo.page.read().upgrade()
        {
            let hits = memo.hits.load(Ordering::Relaxed) + 1;
            memo.hits.store(hits % COUNTED_HITS, Ordering::Relaxed);
            if hits == COUNTED_HITS {
                self.shard(key).hits.fetch_add(hits.into(), Ordering::Relaxed);
            }
            return Ok(page);
        }
        let page = self.get_or_load(key, Access::Point, load)?;
        *memo.page.write() = Arc::downgrade(&page);
        memo.told.store(self.moment().now, Ordering::Relaxed);
        Ok(page)
    }
}
