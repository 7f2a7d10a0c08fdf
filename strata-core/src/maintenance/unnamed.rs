//! Blocks on their way into the manifest.

use crate::block::ReleaseBlock;
use crate::ids::BlockId;
use crate::txn::Store;

/// Blocks that are written and that no edit names yet. Dropped, it frees them.
pub(super) struct Unnamed<'a> {
    store: &'a Store,
    blocks: Vec<BlockId>,
}

impl<'a> Unnamed<'a> {
    pub(super) fn new(store: &'a Store, blocks: impl IntoIterator<Item = BlockId>) -> Self {
        Self { store, blocks: blocks.into_iter().collect() }
    }

    pub(super) fn extend(&mut self, blocks: impl IntoIterator<Item = BlockId>) {
        self.blocks.extend(blocks);
    }

    /// The edit that names them is durable.
    pub(super) fn are_named(mut self) {
        self.blocks.clear();
    }
}

impl Drop for Unnamed<'_> {
    fn drop(&mut self) {
        self.blocks.iter().for_each(|block| self.store.cache.release(*block));
    }
}
