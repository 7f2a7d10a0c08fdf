//! A block as its readers share it.
//!
//! Whoever removes a block from the manifest calls [`BlockHandle::mark_obsolete`] once that edit is durable; the
//! extent is released when the last reader lets go. So an extent is reused only when no edit names it and nobody
//! reads it (rule 4). A handle that is never marked keeps its block.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

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
    /// The handle of a block; at most one is alive for each block.
    pub fn new(id: BlockId, owner: Arc<dyn ReleaseBlock>) -> Self {
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
}
