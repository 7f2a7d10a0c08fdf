//! A column block open for reading: its directory in memory, its pages in the page cache.

use std::fmt;
use std::sync::Arc;

use arrow_buffer::{BooleanBuffer, Buffer};

use super::FORMAT;
use super::alp::AlpPage;
use super::bits::GROUP;
use super::dictionary::Dictionary;
use super::directory::{ColumnMeta, Directory, Extent, Unreadable, place_of_column};
use super::encoding::{Encoding, Form};
use super::header::{HEADER_BYTES, Header, Origin};
use super::integers::IntegerPage;
use super::page::{self, FRAME_BYTES, Opened, PagePlace};
use super::position::Positions;
use super::presence::Presence;
use super::runs::RunPage;
use super::statistics::{Shape, Statistics, Zone};
use super::strings::StringPage;
use super::strips::Strips;
use super::symbols::SymbolTable;
use crate::block::{BlockHandle, BlockKind, HEADER_BYTES as BLOCK_HEADER_BYTES};
use crate::cache::{Access, PageCache, PageKey, PageMemo};
use crate::codec::{Damage, Decoded};
use crate::error::{Error, Result};
use crate::ids::{ColumnId, SchemaVersion};
use crate::row::{ColumnType, DistinctSketch};

/// Where strips stand in the page cache: past any page, before what is kept of the open block.
const FIRST_STRIP: u64 = 1 << 62;

/// A frozen segment. Cheap to hold: reading goes through the page cache.
pub struct ColumnBlock {
    cache: Arc<PageCache>,
    handle: Arc<BlockHandle>,
    header: Header,
    directory: Directory,
    /// Where the pages start in the payload.
    pages_start: u64,
    /// Of the columns, in the directory's order.
    memos: Box<[ColumnMemos]>,
    strips: Strips,
}

/// Where the pages of a column were last found.
#[derive(Default)]
struct ColumnMemos {
    dictionary: PageMemo<Dictionary>,
    symbols: PageMemo<SymbolTable>,
    data: Box<[PageMemo<DataPage>]>,
}

impl fmt::Debug for ColumnBlock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ColumnBlock").field("id", &self.handle.id()).field("header", &self.header).finish()
    }
}

/// A data page in memory.
#[derive(Debug)]
pub(super) struct DataPage {
    /// Which values are not NULL; `None` where all are not.
    pub validity: Option<BooleanBuffer>,
    pub content: Content,
}

/// What a data page holds.
#[derive(Debug)]
pub(super) enum Content {
    /// Nothing but validity: the column is constant.
    Nothing,
    /// Integers or codes.
    Integers(IntegerPage),
    /// Runs of integers or codes.
    Runs(RunPage),
    /// Floats as decimals.
    Decimals(AlpPage),
    /// Values of this width.
    Fixed(usize, Buffer),
    /// Strings, or FSST codes.
    Strings(StringPage),
}

impl DataPage {
    /// Whether the value at a position of the page is NULL.
    pub fn is_null(&self, position: usize) -> bool {
        self.validity.as_ref().is_some_and(|validity| position < validity.len() && !validity.value(position))
    }

    fn parse(meta: &ColumnMeta, opened: Opened) -> Decoded<(Self, usize)> {
        let Opened { values, validity, content } = opened;
        let bytes = content.len() + validity.as_ref().map_or(0, |validity| validity.len() / 8);
        let (content, extra_bytes) = match (meta.encoding, meta.form) {
            (Encoding::Constant, _) => (Content::Nothing, 0),
            (Encoding::Dictionary | Encoding::BitPacked, _) | (Encoding::Plain, Form::Integers) => {
                let page = IntegerPage::parse(values, &content)?;
                let bytes = page.bytes_in_memory();
                (Content::Integers(page), bytes)
            }
            (Encoding::RunEnd | Encoding::RunEndDictionary, _) => {
                let page = RunPage::parse(values, &content)?;
                let bytes = page.bytes_in_memory();
                (Content::Runs(page), bytes)
            }
            (Encoding::Alp, Form::Fixed(width)) => {
                let page = AlpPage::parse(values, width, &content)?;
                let bytes = page.bytes_in_memory();
                (Content::Decimals(page), bytes)
            }
            (Encoding::Plain | Encoding::Fsst, Form::Fixed(width)) => {
                if content.len() != values * width {
                    let detail = format!("{} bytes for {values} values of {width}", content.len());
                    return Err(Damage::at(0, detail));
                }
                (Content::Fixed(width, content), 0)
            }
            (encoding, _) => {
                let page = StringPage::parse(values, &content)?;
                if encoding == Encoding::Plain && meta.column_type == ColumnType::Text {
                    page.check_utf8()?;
                }
                let bytes = page.bytes_in_memory();
                (Content::Strings(page), bytes)
            }
        };
        Ok((Self { validity, content }, bytes.max(extra_bytes) + size_of::<Self>()))
    }
}

impl ColumnBlock {
    /// Opens a block: reads and checks header and directory, nothing else.
    ///
    /// # Errors
    /// `CorruptBlock`, `UnsupportedFormat`, `Io`.
    pub fn open(cache: Arc<PageCache>, handle: Arc<BlockHandle>) -> Result<Self> {
        let id = handle.id();
        let corrupt = |base: usize, damage: Damage| corrupt_block(&handle, base as u64, damage);
        let info = cache.store().info(id, BlockKind::ColumnBlock)?;
        if info.format != FORMAT {
            return Err(Error::UnsupportedFormat {
                what: format!("column block {id}"),
                found: u32::from(info.format),
                supported: u32::from(FORMAT),
            });
        }
        let mut header_bytes = [0; HEADER_BYTES];
        cache.store().read(id, 0, &mut header_bytes)?;
        let header = Header::decode(&header_bytes).map_err(|damage| corrupt(0, damage))?;
        let pages_start = HEADER_BYTES as u64 + u64::from(header.directory_bytes);
        let expected = pages_start + u64::from(header.pages_bytes);
        if expected != info.payload_bytes {
            let detail = format!("payload of {} bytes, {expected} expected", info.payload_bytes);
            return Err(corrupt(44, Damage::at(0, detail)));
        }
        let mut bytes = vec![0; header.directory_bytes as usize];
        cache.store().read(id, HEADER_BYTES as u64, &mut bytes)?;
        let directory = Directory::decode(&header, &bytes).map_err(|reason| match reason {
            Unreadable::Damaged(damage) => corrupt(HEADER_BYTES, damage),
            Unreadable::Newer { column, encoding } => Error::UnsupportedFormat {
                what: format!("the encoding of column {column} of block {id}"),
                found: encoding.into(),
                supported: (Encoding::NEWEST as u8).into(),
            },
        })?;
        let memos = directory.columns.iter().map(|column| ColumnMemos {
            data: (0..column.page_count()).map(|_| PageMemo::default()).collect(),
            ..ColumnMemos::default()
        });
        let memos = memos.collect();
        let strips = Strips::new(header.rows, header.pages_bytes);
        Ok(Self { cache, handle, header, directory, pages_start, memos, strips })
    }

    /// The block's place in the store.
    pub fn handle(&self) -> &Arc<BlockHandle> {
        &self.handle
    }

    /// Slots of the segment, present or not.
    pub fn slots(&self) -> u32 {
        self.header.slots
    }

    /// Rows: the slots that are present.
    pub fn rows(&self) -> u32 {
        self.header.rows
    }

    /// Groups of 1,024 rows, the last one perhaps not full.
    pub fn groups(&self) -> usize {
        self.header.rows.div_ceil(GROUP as u32) as usize
    }

    /// Which slots are present; `None` where all are.
    pub fn presence(&self) -> Option<&Presence> {
        self.directory.presence.as_ref()
    }

    /// Whether a slot has a row.
    pub fn contains(&self, slot: u32) -> bool {
        self.presence().map_or(slot < self.header.slots, |presence| presence.contains(slot))
    }

    /// The schema version that the rows were written with.
    pub fn schema_version(&self) -> SchemaVersion {
        self.header.schema_version
    }

    /// Where the rows come from.
    pub fn origin(&self) -> Origin {
        self.header.origin
    }

    /// What is known of a column; `None` if it came after the block.
    pub fn column(&self, id: ColumnId) -> Option<&ColumnMeta> {
        self.directory.columns.get(self.place_of(id)?)
    }

    /// Where in the directory a column stands.
    fn place_of(&self, id: ColumnId) -> Option<usize> {
        place_of_column(&self.directory.columns, id, |column| column.id)
    }

    /// The columns that the block has, ascending by id.
    pub fn columns(&self) -> &[ColumnMeta] {
        &self.directory.columns
    }

    /// Bytes that the open block holds, cached pages apart.
    pub fn bytes_in_memory(&self) -> usize {
        let memos = self
            .memos
            .iter()
            .map(|column| size_of::<ColumnMemos>() + column.data.len() * size_of::<PageMemo<DataPage>>());
        size_of::<Self>()
            + self.directory.bytes_in_memory()
            + memos.sum::<usize>()
            + self.strips.bytes_in_memory()
    }

    /// Bounds and NULLs of each group of 1,024 rows of a column; `None` for a column that the block lacks.
    pub fn zones(&self, id: ColumnId) -> Result<Option<Zones>> {
        let Some(meta) = self.column(id) else { return Ok(None) };
        if self.header.rows == 0 {
            return Ok(None);
        }
        self.statistics(meta).map(|statistics| Some(Zones(statistics)))
    }

    /// The zone of one group.
    pub fn zone(&self, id: ColumnId, group: usize) -> Result<Option<Zone>> {
        Ok(self.zones(id)?.and_then(|zones| zones.as_slice().get(group).cloned()))
    }

    /// The sketch of a column's distinct values; `None` for a column that the block lacks.
    pub fn sketch(&self, id: ColumnId) -> Result<Option<DistinctSketch>> {
        Ok(self.zones(id)?.map(|zones| zones.0.sketch.clone()))
    }

    fn statistics(&self, meta: &ColumnMeta) -> Result<Arc<Statistics>> {
        let extent = meta.statistics;
        let shape = Shape {
            form: meta.form,
            column_type: &meta.column_type,
            rows: self.header.rows,
            has_nulls: meta.null_count > 0,
        };
        self.load(meta, extent, Access::Point, None, |opened| {
            let statistics = Statistics::decode(shape, opened.content.as_slice())?;
            let bytes = statistics.bytes_in_memory();
            Ok((statistics, bytes))
        })
    }

    /// The dictionary of a column that has one.
    pub(super) fn dictionary(&self, meta: &ColumnMeta, access: Access) -> Result<Arc<Dictionary>> {
        let memo = self.memos_of(meta).map(|memos| &memos.dictionary);
        self.load(meta, meta.auxiliary, access, memo, |opened| {
            let dictionary = Dictionary::parse(meta.form, &meta.column_type, &opened.content)?;
            if meta.encoding == Encoding::Constant && dictionary.len() != 1 {
                return Err(Damage::at(0, format!("constant column of {} values", dictionary.len())));
            }
            let bytes = dictionary.bytes_in_memory();
            Ok((dictionary, bytes))
        })
    }

    /// The symbol table of an FSST column.
    pub(super) fn symbols(&self, meta: &ColumnMeta, access: Access) -> Result<Arc<SymbolTable>> {
        let memo = self.memos_of(meta).map(|memos| &memos.symbols);
        self.load(meta, meta.auxiliary, access, memo, |opened| {
            Ok((SymbolTable::parse(opened.content.as_slice())?, size_of::<SymbolTable>()))
        })
    }

    /// A data page, by its place in the column's list.
    pub(super) fn page(&self, meta: &ColumnMeta, index: usize, access: Access) -> Result<Arc<DataPage>> {
        let extent = meta.page_extent(index);
        let rows = meta.page_rows(index, self.header.rows);
        let (Some(extent), Some((first, end))) = (extent, rows) else {
            let damage = Damage::at(0, format!("column {} has no page {index}", meta.id));
            return Err(corrupt_block(&self.handle, 0, damage));
        };
        let memo = self.memos_of(meta).and_then(|memos| memos.data.get(index));
        self.load(meta, extent, access, memo, |opened| {
            if opened.values != (end - first) as usize {
                let detail = format!("page of {} values, {} expected", opened.values, end - first);
                return Err(Damage::at(8, detail));
            }
            DataPage::parse(meta, opened).map_err(|damage| damage.within(FRAME_BYTES))
        })
    }

    fn load<T: Send + Sync + 'static>(
        &self,
        meta: &ColumnMeta,
        extent: Extent,
        access: Access,
        memo: Option<&PageMemo<T>>,
        parse: impl FnOnce(Opened) -> Decoded<(T, usize)>,
    ) -> Result<Arc<T>> {
        let id = self.handle.id();
        let offset = self.pages_start + u64::from(extent.offset);
        let key = PageKey { block: id, offset };
        let load = || {
            let mut bytes = page::buffer(extent.bytes as usize);
            self.cache.store().read(id, offset, bytes.as_slice_mut())?;
            let place = PagePlace { column: meta.id.get(), offset: extent.offset };
            page::open(place, bytes.into()).and_then(parse).map_err(|damage| self.corrupt(extent, damage))
        };
        match memo {
            Some(memo) if access == Access::Point => self.cache.recall(memo, key, load),
            _ => self.cache.get_or_load(key, access, load),
        }
    }

    fn memos_of(&self, meta: &ColumnMeta) -> Option<&ColumnMemos> {
        self.memos.get(self.place_of(meta.id)?)
    }

    pub(super) fn strips(&self) -> &Strips {
        &self.strips
    }

    pub(super) fn cache(&self) -> &Arc<PageCache> {
        &self.cache
    }

    /// Where a strip stands in the page cache.
    pub(super) fn strip_key(&self, strip: u32) -> PageKey {
        PageKey { block: self.handle.id(), offset: FIRST_STRIP + u64::from(strip) }
    }

    /// The error for damage found in a page.
    pub(super) fn corrupt(&self, extent: Extent, damage: Damage) -> Error {
        corrupt_block(&self.handle, self.pages_start + u64::from(extent.offset), damage)
    }

    /// Shows each data page that holds some of these positions to `visit`, with those positions and the page's first.
    pub(super) fn each_page(
        &self,
        meta: &ColumnMeta,
        positions: Positions<'_>,
        access: Access,
        mut visit: impl FnMut(&DataPage, Positions<'_>, u32) -> Decoded<()>,
    ) -> Result<()> {
        let mut rest = positions;
        while let Some((position, _)) = rest.bounds() {
            let index = meta.page_of(position).unwrap_or(usize::MAX);
            let page = self.page(meta, index, access)?;
            let (first, end) = meta.page_rows(index, self.header.rows).unwrap_or((0, u32::MAX));
            let (head, tail) = rest.split_at(end);
            let extent = meta.page_extent(index).unwrap_or_default();
            visit(&page, head, first).map_err(|damage| self.corrupt(extent, damage.within(FRAME_BYTES)))?;
            rest = tail;
        }
        Ok(())
    }
}

/// The zones of a column, as the page cache has them.
#[derive(Clone, Debug)]
pub struct Zones(Arc<Statistics>);

impl Zones {
    /// One for each group of 1,024 rows.
    pub fn as_slice(&self) -> &[Zone] {
        &self.0.zones
    }
}

fn corrupt_block(handle: &BlockHandle, payload_offset: u64, damage: Damage) -> Error {
    let offset = BLOCK_HEADER_BYTES as u64 + payload_offset + damage.offset as u64;
    Error::CorruptBlock { block: handle.id(), offset, detail: damage.detail }
}
