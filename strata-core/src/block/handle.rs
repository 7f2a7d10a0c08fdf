//! A block as its readers share it.
//!
//! Whoever removes a block from the manifest calls [`BlockHandle::mark_obsolete`] once that edit is durable; the
//! extent is released when the last reader lets go. So an extent is reused only when no edit names it and nobody
//! reads it (rule 4). A handle that is never marked keeps its block.
//!
//! That holds only where all readers of a block share one handle, whoever they are: the heap that has adopted the block of a bulk load
//! and a view from before. [`BlockHandles`] sees to it.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};

use parking_lot::Mutex;

use crate::ids::BlockId;

/// Who takes a block back: the page cache, which forgets its pages and then frees its extent.
pub trait ReleaseBlock: Send + Sync {
    /// Takes back a block that nobody names or reads any more.
    fn release(&self, id: BlockId);
}

/// A reader's hold on a block, shared as `Arc<BlockHandle>`.
pub struct BlockHandle {
    id: BlockId,
    owner: Arc<dyn ReleaseBlock>,
    obsolete: AtomicBool,
}

impl BlockHandle {
    /// The handle of a block, of which there must be no other: see [`BlockHandles`].
    pub(crate) fn new(id: BlockId, owner: Arc<dyn ReleaseBlock>) -> Self {
        Self { id, owner, obsolete: AtomicBool::new(false) }
    }

    /// The block.
    pub fn id(&self) -> BlockId {
        self.id
    }

    /// Has the block released when the last holder lets go. The edit that removed it must be durable.
    pub fn mark_obsolete(&self) {
        self.obsolete.store(true, Ordering::Release);
    }
}

impl Drop for BlockHandle {
    fn drop(&mut self) {
        if *self.obsolete.get_mut() {
            self.owner.release(self.id);
        }
    }
}

/// The handles that there are: at most one for each block.
#[derive(Debug, Default)]
pub struct BlockHandles {
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    handles: HashMap<BlockId, Weak<BlockHandle>, foldhash::fast::RandomState>,
    /// So many entries are looked through for those of handles that are gone.
    swept_at: usize,
}

impl BlockHandles {
    /// Entries below which none is taken out.
    const SWEPT_AT: usize = 1_024;

    /// The handle of a block that `owner` takes back. The block must not be obsolete.
    pub fn get(&self, id: BlockId, owner: impl FnOnce() -> Arc<dyn ReleaseBlock>) -> Arc<BlockHandle> {
        let known = &mut *self.known.lock();
        if let Some(handle) = known.handles.get(&id).and_then(Weak::upgrade) {
            debug_assert!(!handle.obsolete.load(Ordering::Relaxed), "{id} is obsolete and named anew");
            return handle;
        }
        let handle = Arc::new(BlockHandle::new(id, owner()));
        known.handles.insert(id, Arc::downgrade(&handle));
        if known.handles.len() > known.swept_at.max(Self::SWEPT_AT) {
            known.handles.retain(|_, handle| handle.strong_count() > 0);
            known.swept_at = 2 * known.handles.len();
        }
        handle
    }
}

impl fmt::Debug for BlockHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let obsolete = self.obsolete.load(Ordering::Relaxed);
        f.debug_struct("BlockHandle")
            .field("id", &self.id)
            .field("obsolete", &obsolete)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use parking_lot::Mutex;

    #[derive(Default)]
    struct Released(Mutex<Vec<BlockId>>);

    impl ReleaseBlock for Released {
        fn release(&self, id: BlockId) {
            self.0.lock().push(id);
        }
    }

    #[test]
    fn a_block_is_released_by_its_last_reader_and_only_when_obsolete() {
        let released = Arc::new(Released::default());
        let kept = BlockId::from_extent(1, 1).expect("fits");
        drop(BlockHandle::new(kept, released.clone()));
        let gone = BlockId::from_extent(2, 1).expect("fits");
        let handle = Arc::new(BlockHandle::new(gone, released.clone()));
        let reader = Arc::clone(&handle);
        handle.mark_obsolete();
        drop(handle);
        assert!(released.0.lock().is_empty());
        drop(reader);
        assert_eq!(*released.0.lock(), [gone]);
    }

    #[test]
    fn all_readers_of_a_block_share_a_handle() {
        let (released, handles) = (Arc::new(Released::default()), BlockHandles::default());
        let get = |place| {
            let id = BlockId::from_extent(place, 1).expect("fits");
            handles.get(id, || released.clone())
        };
        let (first, second, other) = (get(1), get(1), get(2));
        assert!(Arc::ptr_eq(&first, &second) && !Arc::ptr_eq(&first, &other));
        first.mark_obsolete();
        drop(first);
        assert!(released.0.lock().is_empty());
        let id = second.id();
        drop(second);
        assert_eq!(*released.0.lock(), [id]);
        // The extent may be another block's then.
        drop(get(1));
        assert_eq!(released.0.lock().len(), 1);
        (3..10_000).for_each(|place| drop(get(place)));
        assert!(handles.known.lock().handles.len() <= BlockHandles::SWEPT_AT + 1);
    }
}
