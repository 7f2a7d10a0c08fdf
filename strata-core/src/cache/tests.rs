use super::*;
use crate::block::{BlockKind, MemBlockStore};
use crate::error::Error;
use crate::vfs::{Random, SeededRandom};
use parking_lot::Mutex;
use std::sync::atomic::AtomicBool;

const PAGE: usize = 1_000;

fn cache_of(cap: usize, options: CacheOptions) -> Arc<PageCache> {
    PageCache::new(Arc::new(MemBlockStore::new()), MemoryPool::new(cap), options)
}

fn key(page: u64) -> PageKey {
    PageKey { block: BlockId::from_extent(page / 4, 1).expect("fits"), offset: page % 4 }
}

/// Reads a page and tells whether it was there.
fn read(cache: &PageCache, page: u64, access: Access) -> bool {
    let mut loaded = false;
    let object = cache.get_or_load(key(page), access, || {
        loaded = true;
        Ok((page, PAGE - FRAME_BYTES))
    });
    assert_eq!(*object.expect("loads"), page);
    !loaded
}

fn read_all(cache: &PageCache, pages: std::ops::Range<u64>, access: Access) {
    for page in pages {
        read(cache, page, access);
    }
}

#[test]
fn a_page_is_loaded_once_and_a_failed_load_leaves_nothing() {
    let cache = cache_of(100 * PAGE, CacheOptions::default());
    assert!(!read(&cache, 1, Access::Point));
    assert!(read(&cache, 1, Access::Point));
    let failed = cache.get_or_load::<u64>(key(2), Access::Point, || Err(Error::Cancelled));
    assert!(matches!(failed, Err(Error::Cancelled)));
    assert!(!read(&cache, 2, Access::Point));
    let stats = cache.stats();
    assert_eq!((stats.hits, stats.misses, stats.pages, stats.bytes), (1, 3, 2, 2 * PAGE));
    assert_eq!(cache.pool().used(), 2 * PAGE);
}

#[test]
fn forget_drops_all_pages_of_a_block_and_release_frees_it() {
    let cache = cache_of(100 * PAGE, CacheOptions::default());
    let block = cache.store().write(BlockKind::Marks, 1, b"marks").expect("room");
    for offset in 0..40 {
        cache.get_or_load(PageKey { block, offset }, Access::Point, || Ok((0u8, 10))).expect("loads");
    }
    read(&cache, 400, Access::Point);
    cache.release(block);
    assert_eq!((cache.stats().pages, cache.stats().bytes, cache.pool().used()), (1, PAGE, PAGE));
    assert_eq!(cache.store().used_bytes(), 0);
}

/// A dirty page: holds a reservation until it is written to the store.
struct Dirty {
    frame: Mutex<Option<Reservation>>,
    store: Arc<dyn BlockStore>,
    pinned: AtomicBool,
    order: Arc<Mutex<Vec<u64>>>,
    name: u64,
}

struct DirtyMaker {
    cache: Arc<PageCache>,
    order: Arc<Mutex<Vec<u64>>>,
}

impl DirtyMaker {
    fn new(cache: &Arc<PageCache>) -> Self {
        Self { cache: Arc::clone(cache), order: Arc::default() }
    }

    fn make(&self, name: u64) -> (Arc<Dirty>, DirtyId) {
        let reservation = self.cache.pool().reserve("row pages", PAGE).expect("room");
        let page = Arc::new(Dirty {
            frame: Mutex::new(Some(reservation)),
            store: Arc::clone(self.cache.store()),
            pinned: AtomicBool::new(false),
            order: Arc::clone(&self.order),
            name,
        });
        (Arc::clone(&page), self.cache.insert_dirty(page))
    }
}

impl DirtyPage for Dirty {
    fn size_bytes(&self) -> usize {
        PAGE
    }

    fn is_pinned(&self) -> bool {
        self.pinned.load(Ordering::Relaxed)
    }

    fn write_back(&self) -> Result<()> {
        let mut frame = self.frame.lock();
        assert!(frame.is_some(), "written back twice");
        self.store.write(BlockKind::RowPage, 1, &[0; PAGE])?;
        *frame = None;
        self.order.lock().push(self.name);
        Ok(())
    }
}

#[test]
fn the_cache_keeps_to_its_share_and_evicts_only_as_much_as_it_must() {
    let options = CacheOptions { max_bytes: Some(50 * PAGE), ..CacheOptions::default() };
    let cache = cache_of(100 * PAGE, options);
    for page in 0..500 {
        read(&cache, page, Access::Point);
        assert!(cache.pool().used() <= 50 * PAGE);
    }
    let stats = cache.stats();
    assert_eq!((stats.pages, stats.bytes, stats.evictions), (50, 50 * PAGE, 450));
}

#[test]
fn pages_seen_once_leave_in_the_order_they_came_over_all_shards() {
    let options = CacheOptions { max_bytes: Some(50 * PAGE), ..CacheOptions::default() };
    let cache = cache_of(100 * PAGE, options);
    (0..80).for_each(|page| assert!(!read(&cache, page, Access::Point)));
    let kept: Vec<u64> = (30..80).filter(|page| read(&cache, *page, Access::Point)).collect();
    assert_eq!(kept, (30..80).collect::<Vec<u64>>());
}

#[test]
fn a_scan_does_not_evict_the_hot_set() {
    for (policy, survives) in [(Arc::new(LruK) as Arc<dyn ReplacementPolicy>, true), (Arc::new(Lru), false)] {
        let options = CacheOptions { max_bytes: Some(100 * PAGE), policy, ..CacheOptions::default() };
        let cache = cache_of(200 * PAGE, options);
        for _ in 0..2 {
            read_all(&cache, 0..60, Access::Point);
            read(&cache, 99, Access::Point);
        }
        // Each page of the scan is read several times in a row, as a scan in batches does.
        for page in 1_000..3_000 {
            for _ in 0..4 {
                read(&cache, page, Access::Scan);
            }
        }
        let hot = (0..60).filter(|page| read(&cache, *page, Access::Point)).count();
        assert_eq!(hot, if survives { 60 } else { 0 });
    }
}

#[test]
fn of_pages_seen_once_those_of_a_scan_go_earlier() {
    for (policy, survives) in [(Arc::new(LruK) as Arc<dyn ReplacementPolicy>, true), (Arc::new(Lru), false)] {
        let options = CacheOptions { max_bytes: Some(100 * PAGE), policy, ..CacheOptions::default() };
        let cache = cache_of(200 * PAGE, options);
        read_all(&cache, 0..100, Access::Point);
        read_all(&cache, 1_000..1_100, Access::Scan);
        let kept = (80..100).filter(|page| read(&cache, *page, Access::Point)).count();
        assert_eq!(kept, if survives { 20 } else { 0 });
    }
}

#[test]
fn pinned_pages_do_not_shield_others() {
    let options = CacheOptions { max_bytes: Some(100 * PAGE), ..CacheOptions::default() };
    let cache = cache_of(200 * PAGE, options);
    let load = |page| move || Ok((page, PAGE - FRAME_BYTES));
    let held: Vec<Arc<u64>> =
        (0..90).map(|page| cache.get_or_load(key(page), Access::Point, load(page)).expect("loads")).collect();
    for _ in 0..2 {
        read_all(&cache, 100..110, Access::Point);
    }
    read_all(&cache, 200..1_000, Access::Point);
    assert_eq!((cache.stats().uncached, cache.stats().pages), (0, 100));
    drop(held);
}

#[test]
fn a_table_that_fits_is_kept_by_its_second_scan() {
    let options = CacheOptions { max_bytes: Some(100 * PAGE), ..CacheOptions::default() };
    let cache = cache_of(200 * PAGE, options);
    read_all(&cache, 0..100, Access::Point);
    for _ in 0..3 {
        read_all(&cache, 1_000..1_090, Access::Scan);
    }
    assert!((1_000..1_090).all(|page| read(&cache, page, Access::Scan)));
}

#[test]
fn a_page_held_outside_stays_and_one_that_does_not_fit_is_handed_out_all_the_same() {
    let options = CacheOptions { max_bytes: Some(10 * PAGE), ..CacheOptions::default() };
    let cache = cache_of(20 * PAGE, options);
    let load = |page| move || Ok((page, PAGE - FRAME_BYTES));
    let held: Vec<Arc<u64>> =
        (0..10).map(|page| cache.get_or_load(key(page), Access::Point, load(page)).expect("loads")).collect();
    assert!(!read(&cache, 50, Access::Point));
    assert!(!read(&cache, 50, Access::Point), "all room is pinned");
    assert_eq!(cache.stats().uncached, 2);
    drop(held);
    assert!(!read(&cache, 50, Access::Point));
    assert!(read(&cache, 50, Access::Point));
    let large = cache.get_or_load(key(60), Access::Point, || Ok((60u64, 11 * PAGE))).expect("loads");
    assert_eq!((*large, cache.stats().pages), (60, 10), "it displaces nothing");
}

#[test]
fn the_cache_shrinks_when_another_consumer_reserves() {
    let cache = cache_of(100 * PAGE, CacheOptions::default());
    read_all(&cache, 0..200, Access::Point);
    assert_eq!(cache.stats().bytes, 87 * PAGE, "seven eighths of the pool, in whole pages");
    assert!(cache.pool().try_reserve("memtable", 60 * PAGE).is_none());
    let memtable = cache.pool().reserve("memtable", 60 * PAGE).expect("the cache gives way");
    assert_eq!(cache.stats().bytes, cache.stats().pages * PAGE);
    assert_eq!(cache.pool().used(), 60 * PAGE + cache.stats().bytes);
    assert!(cache.stats().bytes >= 39 * PAGE, "and no more than it must");
    read_all(&cache, 0..200, Access::Point);
    assert!(cache.pool().used() <= 100 * PAGE);
    let rest = cache.pool().reserve("write set", 40 * PAGE).expect("all of it");
    assert_eq!((cache.stats().pages, cache.pool().available()), (0, 0));
    assert!(!read(&cache, 1, Access::Point) && !read(&cache, 1, Access::Point), "nothing can be kept");
    assert!(cache.pool().reserve("write set", 1).is_err());
    drop((memtable, rest));
    assert_eq!(cache.pool().used(), 0);
}

#[test]
fn dirty_pages_are_written_back_in_the_order_of_eviction_with_the_clean_ones() {
    let cache = cache_of(20 * PAGE, CacheOptions { max_bytes: Some(20 * PAGE), ..CacheOptions::default() });
    let maker = DirtyMaker::new(&cache);
    let dirty: Vec<_> = (0..5).map(|name| maker.make(name)).collect();
    read_all(&cache, 0..15, Access::Point);
    cache.touch_dirty(dirty[1].1);
    dirty[2].0.pinned.store(true, Ordering::Relaxed);
    cache.remove_dirty(dirty[3].1);
    read(&cache, 20, Access::Point);
    read(&cache, 21, Access::Point);
    assert_eq!(*maker.order.lock(), [0, 4], "not the hot, the pinned or the removed one");
    read(&cache, 22, Access::Point);
    let stats = cache.stats();
    assert_eq!(
        (stats.write_backs, stats.dirty_pages, stats.evictions),
        (2, 2, 1),
        "then the oldest clean one"
    );
    assert!(dirty[0].0.frame.lock().is_none());
    assert!(cache.pool().used() <= 20 * PAGE);
    let all = cache.pool().reserve("other", 18 * PAGE).expect("the hot one goes too");
    assert_eq!((*maker.order.lock()).as_slice(), [0, 4, 1]);
    assert_eq!((all.bytes(), cache.stats().dirty_pages), (18 * PAGE, 1));
}

#[test]
fn a_page_that_cannot_be_written_stays_and_clean_ones_go_instead() {
    let store = Arc::new(MemBlockStore::with_limit(0));
    let options = CacheOptions { max_bytes: Some(20 * PAGE), ..CacheOptions::default() };
    let cache = PageCache::new(store, MemoryPool::new(20 * PAGE), options);
    let maker = DirtyMaker::new(&cache);
    let dirty: Vec<_> = (0..10).map(|name| maker.make(name)).collect();
    read_all(&cache, 0..30, Access::Point);
    let stats = cache.stats();
    assert_eq!((stats.pages, stats.dirty_pages, stats.write_backs, stats.uncached), (10, 10, 0, 0));
    assert!(stats.write_back_failures > 0);
    let rest = cache.pool().reserve("other", 10 * PAGE).expect("the clean pages");
    assert!(matches!(cache.pool().reserve("other", PAGE), Err(Error::OutOfMemory { .. })));
    assert!(dirty.iter().all(|(page, _)| page.frame.lock().is_some()));
    drop(rest);
}

#[test]
fn a_dirty_page_beyond_the_share_of_clean_ones_is_not_written_for_it() {
    let cache = cache_of(100 * PAGE, CacheOptions { max_bytes: Some(5 * PAGE), ..CacheOptions::default() });
    let maker = DirtyMaker::new(&cache);
    let _dirty: Vec<_> = (0..5).map(|name| maker.make(name)).collect();
    read_all(&cache, 0..30, Access::Point);
    assert_eq!((cache.stats().write_backs, cache.stats().pages), (0, 5));
}

#[test]
fn the_sums_are_right_after_many_threads() {
    let cache = cache_of(60 * PAGE, CacheOptions { shards: 4, ..CacheOptions::default() });
    std::thread::scope(|scope| {
        for seed in 0..4 {
            let cache = &cache;
            scope.spawn(move || {
                let random = SeededRandom::new(seed);
                let maker = DirtyMaker::new(cache);
                for _ in 0..4_000 {
                    match random.below(20) {
                        0 => cache.forget(key(random.below(200)).block),
                        1 => drop(cache.pool().reserve("other", PAGE * random.below(30) as usize)),
                        2 if cache.stats().dirty_pages < 10 => drop(maker.make(0)),
                        3 => {
                            read(cache, random.below(200), Access::Scan);
                        }
                        _ => {
                            read(cache, random.below(200), Access::Point);
                        }
                    }
                    assert!(cache.pool().used() <= 60 * PAGE);
                }
            });
        }
    });
    let stats = cache.stats();
    assert_eq!(stats.bytes, stats.pages * PAGE);
    assert_eq!(cache.pool().used(), stats.bytes + stats.dirty_pages * PAGE);
    let all = cache.pool().reserve("other", 60 * PAGE).expect("everything goes");
    let stats = cache.stats();
    assert_eq!((stats.pages, stats.bytes, stats.dirty_pages), (0, 0, 0));
    drop(all);
}

/// Reads a page by way of a memo and tells whether it was there.
fn recall(cache: &PageCache, memo: &PageMemo<u64>, page: u64) -> bool {
    let mut loaded = false;
    let object = cache.recall(memo, key(page), || {
        loaded = true;
        Ok((page, PAGE - FRAME_BYTES))
    });
    assert_eq!(*object.expect("loads"), page);
    !loaded
}

#[test]
fn a_memo_finds_its_page_and_does_not_hold_it() {
    let cache = cache_of(100 * PAGE, CacheOptions::default());
    let memo = PageMemo::default();
    assert!(!recall(&cache, &memo, 1));
    for _ in 0..1_000 {
        assert!(recall(&cache, &memo, 1));
    }
    let hits = cache.stats().hits;
    assert!((900..=1_000).contains(&hits), "{hits} of 1,000 hits are counted");
    cache.forget(key(1).block);
    assert_eq!(cache.pool().used(), 0);
    assert!(!recall(&cache, &memo, 1), "it is gone, and read again");
    read_all(&cache, 1_000..2_000, Access::Point);
    assert!(!recall(&cache, &memo, 1), "others have taken its place");
}

/// The policy hears of uses that the cache does not see: a remembered page that is read again and again stays.
#[test]
fn a_page_in_use_by_way_of_a_memo_stays() {
    let cache = cache_of(100 * PAGE, CacheOptions::default());
    let memo = PageMemo::default();
    recall(&cache, &memo, 1);
    for page in 1_000..3_000 {
        read(&cache, page, Access::Point);
        assert!(recall(&cache, &memo, 1), "evicted before page {page}");
    }
}

/// Bug: a use at the moment of a page's entry does not count, and those by way of the memo were not told for a while after it, so that
/// the page passed for one that was seen once.
#[test]
fn a_page_in_use_by_way_of_a_memo_since_it_entered_stays() {
    let cache = cache_of(1_000 * PAGE, CacheOptions::default());
    for _ in 0..2 {
        read_all(&cache, 100..970, Access::Point);
        read(&cache, 2_000, Access::Point);
    }
    let memo = PageMemo::default();
    assert_eq!((0..3).filter(|_| recall(&cache, &memo, 1)).count(), 2);
    for page in 3_000..3_200 {
        read(&cache, page, Access::Point);
        assert!(recall(&cache, &memo, 1), "evicted before page {page}");
    }
}
