//! An open SSTable: point lookups and access to its parts through the page cache.

use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwapOption;

use crate::block::BlockHandle;
use crate::block::{BlockKind, BlockStore};
use crate::cache::{Access, PageCache, PageKey};
use crate::error::{Error, Result};
use crate::ids::{BlockId, RowId};
use crate::lsm::hints::Hints;
use crate::lsm::key::{Position, PositionBuf, Probe};
use crate::lsm::sstable::FORMAT;
use crate::lsm::sstable::bloom::Filter;
use crate::lsm::sstable::codec::Malformed;
use crate::lsm::sstable::data_block::DataBlock;
use crate::lsm::sstable::dead_range::DeadRange;
use crate::lsm::sstable::footer::{FOOTER_BYTES, Footer};
use crate::lsm::sstable::frame::{self, FrameRef, damaged};
use crate::lsm::sstable::index_block::{IndexBlock, IndexLevel};
use crate::manifest::SsTableMeta;

/// A table that readers share. Opening one reads nothing; the first lookup reads footer and top index.
pub(crate) struct SsTable {
    cache: Arc<PageCache>,
    handle: Arc<BlockHandle>,
    /// Added to the rows as stored.
    row_base: u64,
    entries: u64,
    payload_bytes: u64,
    /// With the row base added.
    smallest: PositionBuf,
    largest: PositionBuf,
    /// Kept while the table is open; charged to the cache, which it pins a page of.
    top: OnceLock<Arc<IndexBlock>>,
    /// Where it has nothing but garbage, as far as walks have found.
    dead: ArcSwapOption<DeadRange>,
}

impl SsTable {
    /// Opens the table that `meta` describes.
    ///
    /// # Errors
    /// `CorruptBlock` where the meta's bounds are no positions or in no order.
    pub fn open(cache: Arc<PageCache>, handle: Arc<BlockHandle>, meta: &SsTableMeta) -> Result<Self> {
        let bound = |bytes: &[u8]| {
            let stored = PositionBuf::decode(bytes)?;
            let row = RowId::new(stored.row.get().checked_add(meta.row_base)?);
            Some(PositionBuf { row, ..stored })
        };
        let bounds = (bound(&meta.smallest), bound(&meta.largest));
        let (Some(smallest), Some(largest)) = bounds else {
            return Err(damaged(
                meta.block,
                0,
                Malformed("the manifest's bounds of the table are no positions"),
            ));
        };
        if smallest.as_position() > largest.as_position() {
            return Err(damaged(
                meta.block,
                0,
                Malformed("the manifest's bounds of the table are in no order"),
            ));
        }
        let (row_base, entries, payload_bytes) = (meta.row_base, meta.entries, meta.payload_bytes);
        let top = OnceLock::new();
        let dead = ArcSwapOption::empty();
        Ok(Self { cache, handle, row_base, entries, payload_bytes, smallest, largest, top, dead })
    }

    /// A stretch of nothing but garbage.
    pub fn dead_range(&self) -> Option<Arc<DeadRange>> {
        self.dead.load_full()
    }

    /// Learns of one; the longest is kept.
    pub fn note_dead(&self, range: DeadRange) {
        if self.dead.load().as_ref().is_none_or(|known| known.entries < range.entries) {
            self.dead.store(Some(Arc::new(range)));
        }
    }

    /// What the manifest says of the table at that place.
    pub fn meta(&self, level: u8, sequence: u64) -> SsTableMeta {
        let stored = |bound: &PositionBuf| {
            let row = RowId::new(bound.row.get() - self.row_base);
            Position { prefix: &bound.prefix, row }.encode()
        };
        SsTableMeta {
            block: self.block(),
            level,
            sequence,
            row_base: self.row_base,
            entries: self.entries,
            payload_bytes: self.payload_bytes,
            smallest: stored(&self.smallest),
            largest: stored(&self.largest),
        }
    }

    pub fn block(&self) -> BlockId {
        self.handle.id()
    }

    pub fn handle(&self) -> &Arc<BlockHandle> {
        &self.handle
    }

    pub fn entries(&self) -> u64 {
        self.entries
    }

    pub fn payload_bytes(&self) -> u64 {
        self.payload_bytes
    }

    pub fn row_base(&self) -> u64 {
        self.row_base
    }

    pub fn smallest(&self) -> Position<'_> {
        self.smallest.as_position()
    }

    pub fn largest(&self) -> Position<'_> {
        self.largest.as_position()
    }

    /// `position` with the row as the table stores it; the last one of its prefix where the base is above the row.
    pub fn to_stored<'a>(&self, position: Position<'a>) -> Position<'a> {
        Position { row: RowId::new(position.row.get().saturating_sub(self.row_base)), ..position }
    }

    /// The largest row with the probe's prefix that is at most the probe's row.
    pub fn find(&self, probe: &Probe) -> Result<Option<RowId>> {
        Ok(self.locate(probe)?.map(|(row, _)| row))
    }

    /// As [`find`](Self::find), for a table of the tree: the hints are told of the row, and of its neighbours when the
    /// first lookup comes by.
    pub fn find_and_tell(&self, probe: &Probe, hints: &Hints) -> Result<Option<RowId>> {
        let Some((row, block)) = self.locate(probe)? else { return Ok(None) };
        hints.found(probe.position().prefix, row);
        block.tell_once(self.row_base, hints);
        Ok(Some(row))
    }

    /// The row that a probe finds, and the block that has it.
    fn locate(&self, probe: &Probe) -> Result<Option<(RowId, Arc<DataBlock>)>> {
        let Some((partition, target)) = self.partition_of(probe)? else { return Ok(None) };
        let Some(found) = partition.get(partition.seek(target)) else { return Ok(None) };
        let damaged = |malformed| damaged(self.block(), found.child.offset, malformed);
        let block = self.data_block(found.child, Access::Point)?;
        let Some(row) = block.find(target).map_err(damaged)? else { return Ok(None) };
        let row = row.get().checked_add(self.row_base).map(RowId::new);
        let row = row.ok_or_else(|| damaged(Malformed("a row beyond the last RowId")))?;
        Ok(Some((row, block)))
    }

    /// False where no entry has the probe's prefix and a row of at most the probe's.
    pub fn may_contain(&self, probe: &Probe) -> Result<bool> {
        Ok(self.partition_of(probe)?.is_some())
    }

    /// The partition that holds what the probe looks for, and that as the table stores it; `None` where bounds or
    /// filter exclude it.
    fn partition_of<'a>(&self, probe: &'a Probe) -> Result<Option<(Arc<IndexBlock>, Position<'a>)>> {
        let target = probe.position();
        let outside = target.prefix < &self.smallest.prefix[..] || target > self.largest.as_position();
        if outside || target.row.get() < self.row_base {
            return Ok(None);
        }
        let target = self.to_stored(target);
        let top = self.top()?;
        let Some(part) = top.get(top.seek(target)) else { return Ok(None) };
        if let Some(filter) = part.filter
            && !self.filter(filter)?.may_contain(probe.hash)
        {
            return Ok(None);
        }
        Ok(Some((self.partition(part.child, Access::Point)?, target)))
    }

    /// The top index.
    pub fn top(&self) -> Result<&Arc<IndexBlock>> {
        if let Some(top) = self.top.get() {
            return Ok(top);
        }
        let (footer_at, footer) = self.footer()?;
        let top = self.page(footer_at, Access::Point, || {
            let bytes = frame::read(self.store(), self.block(), footer.top)?;
            IndexBlock::parse(&bytes, IndexLevel::Top, footer.top.offset)
                .map(|index| (index.size_bytes(), index))
                .map_err(|malformed| damaged(self.block(), footer.top.offset, malformed))
        })?;
        Ok(self.top.get_or_init(|| top))
    }

    /// A partition's index.
    pub fn partition(&self, at: FrameRef, access: Access) -> Result<Arc<IndexBlock>> {
        self.parsed(at, access, |bytes| {
            let index = IndexBlock::parse(&bytes, IndexLevel::Partition, self.payload_bytes)?;
            Ok((index.size_bytes(), index))
        })
    }

    /// A data block.
    pub fn data_block(&self, at: FrameRef, access: Access) -> Result<Arc<DataBlock>> {
        self.parsed(at, access, |bytes| {
            let block = DataBlock::parse(bytes)?;
            Ok((block.size_bytes(), block))
        })
    }

    fn filter(&self, at: FrameRef) -> Result<Arc<Filter>> {
        self.parsed(at, Access::Point, |bytes| {
            let filter = Filter::parse(bytes)?;
            Ok((filter.size_bytes(), filter))
        })
    }

    /// Reads header and footer, and checks them against the meta.
    fn footer(&self) -> Result<(u64, Footer)> {
        let info = self.store().info(self.block(), BlockKind::SsTable)?;
        if info.format != FORMAT {
            return Err(Error::UnsupportedFormat {
                what: "index file".to_owned(),
                found: u32::from(info.format),
                supported: u32::from(FORMAT),
            });
        }
        let malformed = |detail| damaged(self.block(), 0, Malformed(detail));
        if info.payload_bytes != self.payload_bytes {
            return Err(malformed("its length is not what the manifest says"));
        }
        let footer_at = (self.payload_bytes.checked_sub(FOOTER_BYTES as u64))
            .ok_or_else(|| malformed("it is shorter than its footer"))?;
        let mut bytes = [0; FOOTER_BYTES];
        self.store().read(self.block(), footer_at, &mut bytes)?;
        let footer = Footer::parse(&bytes, footer_at)
            .map_err(|malformed| damaged(self.block(), footer_at, malformed))?;
        if footer.entries != self.entries {
            return Err(malformed("its count of entries is not what the manifest says"));
        }
        Ok((footer_at, footer))
    }

    fn parsed<T: Send + Sync + 'static>(
        &self,
        at: FrameRef,
        access: Access,
        parse: impl FnOnce(Vec<u8>) -> std::result::Result<(usize, T), Malformed>,
    ) -> Result<Arc<T>> {
        self.page(at.offset, access, || {
            let bytes = frame::read(self.store(), self.block(), at)?;
            parse(bytes).map_err(|malformed| damaged(self.block(), at.offset, malformed))
        })
    }

    fn page<T: Send + Sync + 'static>(
        &self,
        offset: u64,
        access: Access,
        load: impl FnOnce() -> Result<(usize, T)>,
    ) -> Result<Arc<T>> {
        let key = PageKey { block: self.block(), offset };
        self.cache.get_or_load(key, access, || load().map(|(size, page)| (page, size + size_of::<T>())))
    }

    fn store(&self) -> &dyn BlockStore {
        self.cache.store().as_ref()
    }
}

impl std::fmt::Debug for SsTable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SsTable")
            .field("block", &self.block())
            .field("entries", &self.entries)
            .field("smallest", &self.smallest)
            .field("largest", &self.largest)
            .finish_non_exhaustive()
    }
}
