//! A block store in memory: for databases without a folder, and for tests.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::RwLock;

use super::extents::ExtentAllocator;
use super::header::{HEADER_BYTES, pages_for};
use super::{BlockInfo, BlockKind, BlockStore};
use crate::error::{Error, Result};
use crate::ids::BlockId;

/// A block store in memory. Nothing is durable; ids are handed out as in a file.
#[derive(Debug)]
pub struct MemBlockStore {
    state: RwLock<State>,
    limit_bytes: u64,
}

#[derive(Debug)]
struct State {
    extents: ExtentAllocator,
    blocks: HashMap<BlockId, Block>,
}

#[derive(Clone, Debug)]
struct Block {
    info: BlockInfo,
    payload: Arc<[u8]>,
}

impl Default for MemBlockStore {
    fn default() -> Self {
        Self::new()
    }
}

impl MemBlockStore {
    /// An empty store without a limit.
    pub fn new() -> Self {
        Self::with_limit(u64::MAX)
    }

    /// An empty store that answers `DiskFull` when its extents would exceed `limit_bytes`.
    pub fn with_limit(limit_bytes: u64) -> Self {
        let mut extents = ExtentAllocator::recovering(0);
        extents.finish_recovery();
        Self { state: RwLock::new(State { extents, blocks: HashMap::new() }), limit_bytes }
    }

    fn block(&self, id: BlockId) -> Result<Block> {
        let found = self.state.read().blocks.get(&id).cloned();
        found.ok_or_else(|| Error::CorruptBlock { block: id, offset: 0, detail: "no such block".to_owned() })
    }

    fn typed(&self, id: BlockId, expected: BlockKind) -> Result<Block> {
        let block = self.block(id)?;
        if block.info.kind != expected {
            let detail = format!("expected kind {expected:?}, found {:?}", block.info.kind);
            return Err(Error::CorruptBlock { block: id, offset: 6, detail });
        }
        Ok(block)
    }
}

impl BlockStore for MemBlockStore {
    fn write(&self, kind: BlockKind, format: u16, payload: &[u8]) -> Result<BlockId> {
        let pages = pages_for(payload.len())?;
        let info = BlockInfo {
            kind,
            format,
            payload_bytes: payload.len() as u64,
            payload_crc: crc32fast::hash(payload),
        };
        let block = Block { info, payload: payload.into() };
        let full = Error::DiskFull { what: "a block" };
        let mut state = self.state.write();
        if (state.extents.used_pages() + pages).saturating_mul(BlockId::PAGE_BYTES) > self.limit_bytes {
            return Err(full);
        }
        let id = state.extents.allocate(pages).ok_or(full)?;
        state.blocks.insert(id, block);
        Ok(id)
    }

    fn info(&self, id: BlockId, expected: BlockKind) -> Result<BlockInfo> {
        Ok(self.typed(id, expected)?.info)
    }

    fn read(&self, id: BlockId, offset: u64, buffer: &mut [u8]) -> Result<()> {
        let block = self.block(id)?;
        let source = usize::try_from(offset)
            .ok()
            .and_then(|start| block.payload.get(start..start.checked_add(buffer.len())?));
        let Some(source) = source else {
            let detail = format!(
                "{} bytes wanted at payload offset {offset} of {}",
                buffer.len(),
                block.info.payload_bytes
            );
            return Err(Error::CorruptBlock {
                block: id,
                offset: offset.saturating_add(HEADER_BYTES as u64),
                detail,
            });
        };
        buffer.copy_from_slice(source);
        Ok(())
    }

    fn read_all(&self, id: BlockId, expected: BlockKind) -> Result<(BlockInfo, Vec<u8>)> {
        let block = self.typed(id, expected)?;
        Ok((block.info, block.payload.to_vec()))
    }

    fn sync(&self) -> Result<()> {
        Ok(())
    }

    fn adopt(&self, id: BlockId) -> Result<()> {
        self.block(id).map(|_| ())
    }

    fn finish_recovery(&self) -> Result<()> {
        Ok(())
    }

    fn free(&self, id: BlockId) {
        let mut state = self.state.write();
        let removed = state.blocks.remove(&id);
        if removed.is_some() {
            state.extents.free(id);
            state.extents.cut_tail(0);
        }
        drop(state);
        debug_assert!(removed.is_some(), "block {id} freed while not in use");
    }

    fn keep_freed(&self) {
        self.state.write().extents.keep_freed();
    }

    fn used_bytes(&self) -> u64 {
        self.state.read().extents.used_pages() * BlockId::PAGE_BYTES
    }

    fn total_bytes(&self) -> u64 {
        self.state.read().extents.used_pages() * BlockId::PAGE_BYTES
    }
}
