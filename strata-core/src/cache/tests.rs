use super::*;
use crate::block::{BlockKind, MemBlockStore};
use crate::error::Error;

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
