//! The block store: immutable, typed, versioned, checksummed extents.
//!
//! A block is written once, whole, and never overwritten (rule 4). Its extent starts with a 64-byte header
//! (`header::BlockHeader`) and the payload follows; the tail of the last 4 KiB page is zeros. A block is
//! durable once [`BlockStore::sync`] has returned after the write.
//!
//! The store does not know which blocks belong to the database: the manifest and the journal do. At open it is
//! told by [`BlockStore::adopt`]; until [`BlockStore::finish_recovery`] new extents come only from past the end
//! of what is adopted and of the file.

mod extents;
mod file;
mod handle;
mod header;
mod memory;

pub use self::file::{BLOCKS_FILE, FileBlockStore, FileBlockStoreOptions};
pub use self::handle::{BlockHandle, BlockHandles, ReleaseBlock};
pub(crate) use self::header::HEADER_BYTES;
pub use self::memory::MemBlockStore;

use std::fmt::Debug;

use crate::error::Result;
use crate::ids::BlockId;

/// What a block holds. Numbers are never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum BlockKind {
    /// A slotted page of row versions (heap).
    RowPage = 1,
    /// A frozen segment (heap).
    ColumnBlock = 2,
    /// The delete marks of a segment (heap).
    Marks = 3,
    /// A sorted run of index entries (lsm).
    SsTable = 4,
}

impl BlockKind {
    /// The kind with this number on disk.
    pub fn from_number(number: u8) -> Option<Self> {
        [Self::RowPage, Self::ColumnBlock, Self::Marks, Self::SsTable]
            .into_iter()
            .find(|kind| *kind as u8 == number)
    }
}

/// What a block's header tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockInfo {
    /// What it holds.
    pub kind: BlockKind,
    /// The format version of the payload.
    pub format: u16,
    /// The payload's length in bytes.
    pub payload_bytes: u64,
    /// CRC-32 of the payload.
    pub payload_crc: u32,
}

/// A store of blocks. Swappable: a file, or memory.
pub trait BlockStore: Send + Sync + Debug {
    /// Writes a new block. Durable after [`sync`](Self::sync).
    ///
    /// # Errors
    /// `DiskFull`, `Io`; `TooLarge` above what a [`BlockId`] can name. Nothing is kept then.
    fn write(&self, kind: BlockKind, format: u16, payload: &[u8]) -> Result<BlockId>;

    /// Reads and verifies a block's header: magic, version, kind, its own address, its own checksum.
    fn info(&self, id: BlockId, expected: BlockKind) -> Result<BlockInfo>;

    /// Reads `buffer.len()` bytes of the payload at `offset`. The bytes are *not* verified here: kinds that read in
    /// parts carry a checksum for each part.
    fn read(&self, id: BlockId, offset: u64, buffer: &mut [u8]) -> Result<()>;

    /// Reads a whole payload and verifies its checksum.
    fn read_all(&self, id: BlockId, expected: BlockKind) -> Result<(BlockInfo, Vec<u8>)>;

    /// Makes all blocks written so far durable.
    fn sync(&self) -> Result<()>;

    /// Marks an extent as in use, at open.
    fn adopt(&self, id: BlockId) -> Result<()>;

    /// Ends recovery: what is not adopted is free from here on.
    fn finish_recovery(&self) -> Result<()>;

    /// Gives an extent back, for reuse at once. The caller vouches that the edit which freed it is durable (or that
    /// no edit ever named it) and that no reader holds it: `handle::BlockHandle` sees to both.
    fn free(&self, id: BlockId);

    /// Reuses nothing that is freed from now on: an edit of the manifest may be durable, or not, so what it names and
    /// what it no longer names must both stay as they are. The next opening collects.
    fn keep_freed(&self);

    /// Bytes of all extents in use.
    fn used_bytes(&self) -> u64;

    /// Bytes the store takes on the device, free extents included.
    fn total_bytes(&self) -> u64;
}
