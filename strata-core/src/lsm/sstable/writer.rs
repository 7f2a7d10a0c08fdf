//! Writing SSTables: entries in order go in, tables of about the target size come out.

use std::sync::Arc;

use crate::block::{BlockKind, BlockStore};
use crate::error::{Error, Result};
use crate::ids::{BlockId, IndexId, RowId};
use crate::lsm::key::{Position, PositionBuf, hash_prefix};
use crate::lsm::options::TableOptions;
use crate::lsm::sstable::FORMAT;
use crate::lsm::sstable::bloom;
use crate::lsm::sstable::data_block::DataBlockBuilder;
use crate::lsm::sstable::footer::Footer;
use crate::lsm::sstable::frame::{self, FrameRef};
use crate::lsm::sstable::index_block::{IndexBlockBuilder, IndexTarget, separator};
use crate::manifest::SsTableMeta;
use crate::memory::{MemoryPool, Reservation};

/// How the buffer of a table grows.
const GROWTH_BYTES: usize = 1 << 20;

/// Writes entries, added in strictly ascending order, into one table or several that do not overlap.
///
/// Its buffer is charged to the pool; where the pool has no more, a table ends early. A writer that is dropped
/// before [`finish`](Self::finish) frees what it has written.
pub struct SsTableWriter {
    store: Arc<dyn BlockStore>,
    pool: MemoryPool,
    options: TableOptions,
    building: Option<TableBuilder>,
    written: Vec<SsTableMeta>,
    prefix: Vec<u8>,
    prepaid_bytes: usize,
}

impl SsTableWriter {
    /// A writer into `store`. Nothing is written or reserved before the first entry.
    pub fn new(store: Arc<dyn BlockStore>, pool: MemoryPool, options: TableOptions) -> Self {
        Self {
            store,
            pool,
            options,
            building: None,
            written: Vec::new(),
            prefix: Vec::new(),
            prepaid_bytes: 0,
        }
    }

    /// Tells that the caller holds a reservation of so many bytes for this writer, which it uses first.
    pub(crate) fn prepaid(mut self, bytes: usize) -> Self {
        self.prepaid_bytes = bytes;
        self
    }

    /// Adds an entry. `row` may be an ordinal, to which the `row_base` of the table's meta is added later.
    ///
    /// # Errors
    /// `Invalid` where the entry does not sort after the one before; `OutOfMemory`, `DiskFull`, `Io`.
    pub fn add(&mut self, index: IndexId, key: &[u8], row: RowId) -> Result<()> {
        let mut prefix = std::mem::take(&mut self.prefix);
        prefix.clear();
        prefix.extend_from_slice(&index.get().to_be_bytes());
        prefix.extend_from_slice(key);
        let result = self.add_position(Position { prefix: &prefix, row });
        self.prefix = prefix;
        result
    }

    pub(crate) fn add_position(&mut self, entry: Position<'_>) -> Result<()> {
        if let Some(table) = &mut self.building {
            if entry <= table.last.as_position() {
                return Err(Error::Invalid("index entries were added out of order".to_owned()));
            }
            if table.is_full(entry, &self.options) || !table.make_room(entry) {
                self.cut()?;
            }
        }
        let table = match &mut self.building {
            Some(table) => table,
            empty => empty.insert(TableBuilder::new(&self.pool, self.prepaid_bytes, entry)?),
        };
        table.add(entry, &self.options)
    }

    /// Writes what is left and hands over the tables, in order: at level 0, sequence 0, row base 0. They are
    /// durable after the store's next sync; whoever has them sees to it that they are named or freed.
    pub fn finish(mut self) -> Result<Vec<SsTableMeta>> {
        self.cut()?;
        Ok(std::mem::take(&mut self.written))
    }

    /// Ends the table that is being built.
    fn cut(&mut self) -> Result<()> {
        if let Some(table) = self.building.take() {
            let meta = table.finish(self.store.as_ref(), &self.options)?;
            self.written.push(meta);
        }
        Ok(())
    }
}

impl Drop for SsTableWriter {
    fn drop(&mut self) {
        free_all(self.store.as_ref(), self.written.iter().map(|meta| meta.block));
    }
}

/// Frees blocks that nothing names.
pub(crate) fn free_all(store: &dyn BlockStore, blocks: impl Iterator<Item = BlockId>) {
    blocks.for_each(|block| store.free(block));
}

/// What an entry may take: in its block, the buffers of the last one, and the indexes of both levels.
fn room_for(entry: Position<'_>) -> usize {
    4 * entry.prefix.len() + 64
}

/// One table in the making.
struct TableBuilder {
    payload: Vec<u8>,
    prepaid_bytes: usize,
    reservation: Reservation,
    block: DataBlockBuilder,
    partition: IndexBlockBuilder,
    /// Of the distinct prefixes of the partition.
    hashes: Vec<u64>,
    top: IndexBlockBuilder,
    first: PositionBuf,
    last: PositionBuf,
    entries: u64,
}

impl TableBuilder {
    fn new(pool: &MemoryPool, prepaid_bytes: usize, first: Position<'_>) -> Result<Self> {
        let needed = GROWTH_BYTES.max(room_for(first));
        let mut reservation = pool.empty("index file writer");
        if needed > prepaid_bytes {
            reservation.grow(needed - prepaid_bytes)?;
        }
        Ok(Self {
            payload: Vec::new(),
            prepaid_bytes,
            reservation,
            block: DataBlockBuilder::default(),
            partition: IndexBlockBuilder::default(),
            hashes: Vec::new(),
            top: IndexBlockBuilder::default(),
            first: first.to_owned(),
            last: PositionBuf { prefix: Vec::new(), row: RowId::MAX },
            entries: 0,
        })
    }

    fn size_bytes(&self) -> usize {
        self.payload.len()
            + self.block.size_bytes()
            + self.partition.size_bytes()
            + self.top.size_bytes()
            + self.hashes.len() * size_of::<u64>()
    }

    /// Whether the table ends before `next`: at the target size, but within a key only when it is far beyond, since
    /// tables that share a key must be compacted together.
    fn is_full(&self, next: Position<'_>, options: &TableOptions) -> bool {
        let size = self.payload.len() + self.block.size_bytes();
        size >= options.table_bytes
            && (next.prefix != self.last.prefix || size >= options.table_bytes.saturating_mul(2))
    }

    /// Reserves what another entry may take; false where the pool has no more.
    fn make_room(&mut self, next: Position<'_>) -> bool {
        let needed = self.size_bytes() + room_for(next);
        let held = self.prepaid_bytes + self.reservation.bytes();
        if needed <= held {
            return true;
        }
        let growth = GROWTH_BYTES.max(needed - held);
        if self.reservation.grow(growth).is_err() {
            return false;
        }
        self.payload.reserve_exact(growth);
        true
    }

    fn add(&mut self, entry: Position<'_>, options: &TableOptions) -> Result<()> {
        if self.block.size_bytes() >= options.block_bytes && !self.block.is_empty() {
            self.finish_block(Some(entry), options)?;
        }
        if self.hashes.is_empty() || entry.prefix != self.last.prefix {
            self.hashes.push(hash_prefix(entry.prefix));
        }
        self.block.add(entry);
        self.last.prefix.clear();
        self.last.prefix.extend_from_slice(entry.prefix);
        self.last.row = entry.row;
        self.entries += 1;
        Ok(())
    }

    fn finish_block(&mut self, next: Option<Position<'_>>, options: &TableOptions) -> Result<()> {
        let last = self.last.as_position();
        let bound = next.map_or_else(|| last.to_owned(), |next| separator(last, next));
        let child = frame::append(&mut self.payload, self.block.finish(), options.compress)?;
        self.block.clear();
        self.partition.add(bound.as_position(), IndexTarget { child, filter: None });
        let full =
            self.partition.size_bytes() >= options.block_bytes || self.hashes.len() >= options.filter_keys;
        if full || next.is_none() {
            self.finish_partition(bound.as_position(), options)?;
        }
        Ok(())
    }

    fn finish_partition(&mut self, bound: Position<'_>, options: &TableOptions) -> Result<()> {
        let filter = bloom::build(&self.hashes, options.filter_bits_per_key);
        self.hashes.clear();
        let filter = frame::append(&mut self.payload, &filter, false)?;
        let child = frame::append(&mut self.payload, &self.partition.take(), options.compress)?;
        self.top.add(bound, IndexTarget { child, filter: Some(filter) });
        Ok(())
    }

    fn finish(mut self, store: &dyn BlockStore, options: &TableOptions) -> Result<SsTableMeta> {
        self.finish_block(None, options)?;
        let top: FrameRef = frame::append(&mut self.payload, &self.top.take(), options.compress)?;
        self.payload.extend_from_slice(&Footer { entries: self.entries, top }.encode());
        let block = store.write(BlockKind::SsTable, FORMAT, &self.payload)?;
        Ok(SsTableMeta {
            block,
            level: 0,
            sequence: 0,
            row_base: 0,
            entries: self.entries,
            payload_bytes: self.payload.len() as u64,
            smallest: self.first.as_position().encode(),
            largest: self.last.as_position().encode(),
        })
    }
}
