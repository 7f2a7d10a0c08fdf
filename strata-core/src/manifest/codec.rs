//! Edits as bytes: a tag, then fields of fixed width, little-endian; byte strings and lists behind a `u32` count.

use crate::codec::{Cursor, Damage, Decoded, put_count, put_sized, put_u32, put_u64};
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

fn put_sstable(meta: &SsTableMeta, out: &mut Vec<u8>) {
    put_u64(out, meta.block.raw());
    out.push(meta.level);
    for value in [meta.sequence, meta.row_base, meta.entries, meta.payload_bytes] {
        put_u64(out, value);
    }
    for key in [&meta.smallest, &meta.largest] {
        put_sized(out, key);
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

/// Reads edits, one after another, from bytes whose checksum was verified; lengths are still checked before they are
/// believed.
pub(super) struct Reader<'a> {
    fields: Cursor<'a>,
}

impl<'a> Reader<'a> {
    pub fn new(fields: Cursor<'a>) -> Self {
        Self { fields }
    }

    /// Fails unless all bytes have been read.
    pub fn finish(&self) -> Decoded<()> {
        self.fields.finish()
    }

    /// The next edit.
    pub fn edit(&mut self) -> Decoded<Edit> {
        Ok(match self.fields.u8()? {
            ADD_SSTABLE => Edit::AddSsTable(self.sstable()?),
            REMOVE_SSTABLE => Edit::RemoveSsTable(self.fields.block()?),
            CREATE_HEAP => Edit::CreateHeap(self.heap()?),
            DROP_HEAP => Edit::DropHeap(self.heap()?),
            PUT_SEGMENT => {
                Edit::PutSegment { heap: self.heap()?, segment: self.segment()?, image: self.image()? }
            }
            PUT_MARKS => Edit::PutMarks {
                heap: self.heap()?,
                segment: self.segment()?,
                block: match self.fields.u64()? {
                    0 => None,
                    raw => {
                        let block = BlockId::from_raw(raw);
                        Some(block.ok_or_else(|| self.damage("a block id has no pages"))?)
                    }
                },
                dead: self.fields.u32()?,
            },
            PUT_HEAP => Edit::PutHeap {
                heap: self.heap()?,
                row_end: RowId::new(self.fields.u64()?),
                live_rows: self.fields.u64()?,
            },
            JOURNAL_START => Edit::JournalStart(Lsn::new(self.fields.u64()?)),
            INDEX_FLUSHED => Edit::IndexFlushed(Lsn::new(self.fields.u64()?)),
            LOAD_ADOPTED => Edit::LoadAdopted {
                load: LoadId::new(self.fields.u64()?),
                record_end: Lsn::new(self.fields.u64()?),
            },
            COUNTERS => Edit::Counters(self.counters()?),
            kind => return Err(self.damage(format!("edits of kind {kind} are not known"))),
        })
    }

    fn damage(&self, detail: impl Into<String>) -> Damage {
        Damage::at(self.fields.offset(), detail)
    }

    fn heap(&mut self) -> Decoded<HeapId> {
        self.fields.u32().map(HeapId::new)
    }

    fn segment(&mut self) -> Decoded<SegmentId> {
        self.fields.u64().map(SegmentId::new)
    }

    fn sstable(&mut self) -> Decoded<SsTableMeta> {
        Ok(SsTableMeta {
            block: self.fields.block()?,
            level: self.fields.u8()?,
            sequence: self.fields.u64()?,
            row_base: self.fields.u64()?,
            entries: self.fields.u64()?,
            payload_bytes: self.fields.u64()?,
            smallest: self.fields.sized()?.to_vec(),
            largest: self.fields.sized()?.to_vec(),
        })
    }

    fn image(&mut self) -> Decoded<SegmentImage> {
        Ok(match self.fields.u8()? {
            IMAGE_DROPPED => SegmentImage::Dropped,
            IMAGE_HOT => {
                let count = self.fields.u32()? as usize;
                let needed = count.checked_mul(HOT_PAGE_BYTES);
                if needed.is_none_or(|needed| needed > self.fields.remaining()) {
                    return Err(self.damage("a list of pages is cut short"));
                }
                let mut pages = Vec::with_capacity(count);
                for _ in 0..count {
                    let (block, first_slot) = (self.fields.block()?, self.fields.u16()?);
                    pages.push(HotPageMeta { block, first_slot, rows: self.fields.u32()? });
                }
                SegmentImage::Hot { pages }
            }
            IMAGE_COLUMN => SegmentImage::Column {
                block: self.fields.block()?,
                slots: self.fields.u32()?,
                rows: self.fields.u32()?,
            },
            kind => return Err(self.damage(format!("segment images of kind {kind} are not known"))),
        })
    }

    fn counters(&mut self) -> Decoded<Counters> {
        Ok(Counters {
            last_commit: Timestamp::new(self.fields.u64()?),
            next_heap: self.fields.u32()?,
            next_table: self.fields.u32()?,
            next_index: self.fields.u32()?,
            next_schema: self.fields.u32()?,
            next_load: self.fields.u64()?,
            next_sstable_sequence: self.fields.u64()?,
            clock_us: self.fields.u64()?,
        })
    }
}
