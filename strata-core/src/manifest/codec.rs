//! Edits as bytes: a tag, then fields of fixed width, little-endian; byte strings and lists behind a `u32` count.

use crate::ids::{BlockId, HeapId, LoadId, Lsn, RowId, SegmentId, Timestamp};
use crate::manifest::edit::{Counters, Edit, HotPageMeta, SegmentImage, SsTableMeta};

const ADD_SSTABLE: u8 = 1;
const REMOVE_SSTABLE: u8 = 2;
const CREATE_HEAP: u8 = 3;
const DROP_HEAP: u8 = 4;
const PUT_SEGMENT: u8 = 5;
const PUT_MARKS: u8 = 6;
const PUT_HEAP: u8 = 7;
const JOURNAL_START: u8 = 8;
const COUNTERS: u8 = 9;
const INDEX_FLUSHED: u8 = 10;
const LOAD_ADOPTED: u8 = 11;

const IMAGE_DROPPED: u8 = 0;
const IMAGE_HOT: u8 = 1;
const IMAGE_COLUMN: u8 = 2;

/// Bytes of one page in a hot image.
const HOT_PAGE_BYTES: usize = 14;

/// Why bytes are no edit.
pub(super) type DecodeError = &'static str;

/// Appends an edit.
pub(super) fn encode(edit: &Edit, out: &mut Vec<u8>) {
    match edit {
        Edit::AddSsTable(meta) => {
            out.push(ADD_SSTABLE);
            put_sstable(meta, out);
        }
        Edit::RemoveSsTable(block) => {
            out.push(REMOVE_SSTABLE);
            put_u64(out, block.raw());
        }
        Edit::CreateHeap(heap) => {
            out.push(CREATE_HEAP);
            put_u32(out, heap.get());
        }
        Edit::DropHeap(heap) => {
            out.push(DROP_HEAP);
            put_u32(out, heap.get());
        }
        Edit::PutSegment { heap, segment, image } => {
            out.push(PUT_SEGMENT);
            put_u32(out, heap.get());
            put_u64(out, segment.get());
            put_image(image, out);
        }
        Edit::PutMarks { heap, segment, block, dead } => {
            out.push(PUT_MARKS);
            put_u32(out, heap.get());
            put_u64(out, segment.get());
            put_u64(out, block.map_or(0, BlockId::raw));
            put_u32(out, *dead);
        }
        Edit::PutHeap { heap, row_end, live_rows } => {
            out.push(PUT_HEAP);
            put_u32(out, heap.get());
            put_u64(out, row_end.get());
            put_u64(out, *live_rows);
        }
        Edit::JournalStart(lsn) => {
            out.push(JOURNAL_START);
            put_u64(out, lsn.get());
        }
        Edit::IndexFlushed(lsn) => {
            out.push(INDEX_FLUSHED);
            put_u64(out, lsn.get());
        }
        Edit::LoadAdopted { load, record_end } => {
            out.push(LOAD_ADOPTED);
            put_u64(out, load.get());
            put_u64(out, record_end.get());
        }
        Edit::Counters(counters) => {
            out.push(COUNTERS);
            put_counters(counters, out);
        }
    }
}

fn put_u32(out: &mut Vec<u8>, value: u32) {
    out.extend_from_slice(&value.to_le_bytes());
}

fn put_u64(out: &mut Vec<u8>, value: u64) {
    out.extend_from_slice(&value.to_le_bytes());
}

fn put_count(out: &mut Vec<u8>, count: usize) {
    put_u32(out, u32::try_from(count).expect("keys and segments have far fewer than 2^32 elements"));
}

fn put_sstable(meta: &SsTableMeta, out: &mut Vec<u8>) {
    put_u64(out, meta.block.raw());
    out.push(meta.level);
    for value in [meta.sequence, meta.row_base, meta.entries, meta.payload_bytes] {
        put_u64(out, value);
    }
    for key in [&meta.smallest, &meta.largest] {
        put_count(out, key.len());
        out.extend_from_slice(key);
    }
}

fn put_image(image: &SegmentImage, out: &mut Vec<u8>) {
    match image {
        SegmentImage::Dropped => out.push(IMAGE_DROPPED),
        SegmentImage::Hot { pages } => {
            out.push(IMAGE_HOT);
            put_count(out, pages.len());
            for page in pages {
                put_u64(out, page.block.raw());
                out.extend_from_slice(&page.first_slot.to_le_bytes());
                put_u32(out, page.rows);
            }
        }
        SegmentImage::Column { block, slots, rows } => {
            out.push(IMAGE_COLUMN);
            put_u64(out, block.raw());
            put_u32(out, *slots);
            put_u32(out, *rows);
        }
    }
}

fn put_counters(counters: &Counters, out: &mut Vec<u8>) {
    put_u64(out, counters.last_commit.get());
    for value in [counters.next_heap, counters.next_table, counters.next_index, counters.next_schema] {
        put_u32(out, value);
    }
    for value in [counters.next_load, counters.next_sstable_sequence, counters.clock_us] {
        put_u64(out, value);
    }
}

/// Reads edits from bytes that were verified by checksum; lengths are still checked before they are believed.
pub(super) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8], DecodeError> {
        let (taken, rest) = self.rest.split_at_checked(count).ok_or("an edit is cut short")?;
        self.rest = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let (taken, rest) = self.rest.split_first_chunk::<N>().ok_or("an edit is cut short")?;
        self.rest = rest;
        Ok(*taken)
    }

    fn u8(&mut self) -> Result<u8, DecodeError> {
        self.array::<1>().map(|[byte]| byte)
    }

    pub fn u32(&mut self) -> Result<u32, DecodeError> {
        self.array().map(u32::from_le_bytes)
    }

    pub fn u64(&mut self) -> Result<u64, DecodeError> {
        self.array().map(u64::from_le_bytes)
    }

    fn count(&mut self) -> Result<usize, DecodeError> {
        usize::try_from(self.u32()?).map_err(|_| "a count exceeds the address space")
    }

    fn block(&mut self) -> Result<BlockId, DecodeError> {
        BlockId::from_raw(self.u64()?).ok_or("a block id has no pages")
    }

    fn bytes(&mut self) -> Result<Vec<u8>, DecodeError> {
        let count = self.count()?;
        self.take(count).map(<[u8]>::to_vec)
    }

    /// The next edit.
    pub fn edit(&mut self) -> Result<Edit, DecodeError> {
        Ok(match self.u8()? {
            ADD_SSTABLE => Edit::AddSsTable(self.sstable()?),
            REMOVE_SSTABLE => Edit::RemoveSsTable(self.block()?),
            CREATE_HEAP => Edit::CreateHeap(self.heap()?),
            DROP_HEAP => Edit::DropHeap(self.heap()?),
            PUT_SEGMENT => {
                Edit::PutSegment { heap: self.heap()?, segment: self.segment()?, image: self.image()? }
            }
            PUT_MARKS => Edit::PutMarks {
                heap: self.heap()?,
                segment: self.segment()?,
                block: match self.u64()? {
                    0 => None,
                    raw => Some(BlockId::from_raw(raw).ok_or("a block id has no pages")?),
                },
                dead: self.u32()?,
            },
            PUT_HEAP => {
                Edit::PutHeap { heap: self.heap()?, row_end: RowId::new(self.u64()?), live_rows: self.u64()? }
            }
            JOURNAL_START => Edit::JournalStart(Lsn::new(self.u64()?)),
            INDEX_FLUSHED => Edit::IndexFlushed(Lsn::new(self.u64()?)),
            LOAD_ADOPTED => {
                Edit::LoadAdopted { load: LoadId::new(self.u64()?), record_end: Lsn::new(self.u64()?) }
            }
            COUNTERS => Edit::Counters(self.counters()?),
            _ => return Err("an edit of a kind that this program does not know"),
        })
    }

    fn heap(&mut self) -> Result<HeapId, DecodeError> {
        self.u32().map(HeapId::new)
    }

    fn segment(&mut self) -> Result<SegmentId, DecodeError> {
        self.u64().map(SegmentId::new)
    }

    fn sstable(&mut self) -> Result<SsTableMeta, DecodeError> {
        Ok(SsTableMeta {
            block: self.block()?,
            level: self.u8()?,
            sequence: self.u64()?,
            row_base: self.u64()?,
            entries: self.u64()?,
            payload_bytes: self.u64()?,
            smallest: self.bytes()?,
            largest: self.bytes()?,
        })
    }

    fn image(&mut self) -> Result<SegmentImage, DecodeError> {
        Ok(match self.u8()? {
            IMAGE_DROPPED => SegmentImage::Dropped,
            IMAGE_HOT => {
                let count = self.count()?;
                let needed = count.checked_mul(HOT_PAGE_BYTES).filter(|needed| *needed <= self.rest.len());
                needed.ok_or("a list of pages is cut short")?;
                let mut pages = Vec::with_capacity(count);
                for _ in 0..count {
                    let (block, first_slot) = (self.block()?, u16::from_le_bytes(self.array()?));
                    pages.push(HotPageMeta { block, first_slot, rows: self.u32()? });
                }
                SegmentImage::Hot { pages }
            }
            IMAGE_COLUMN => {
                SegmentImage::Column { block: self.block()?, slots: self.u32()?, rows: self.u32()? }
            }
            _ => return Err("a segment image of a kind that this program does not know"),
        })
    }

    fn counters(&mut self) -> Result<Counters, DecodeError> {
        Ok(Counters {
            last_commit: Timestamp::new(self.u64()?),
            next_heap: self.u32()?,
            next_table: self.u32()?,
            next_index: self.u32()?,
            next_schema: self.u32()?,
            next_load: self.u64()?,
            next_sstable_sequence: self.u64()?,
            clock_us: self.u64()?,
        })
    }
}
