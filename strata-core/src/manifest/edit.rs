//! What an edit can say.

use crate::ids::{BlockId, HeapId, IndexId, LoadId, Lsn, RowId, SegmentId, Timestamp};

/// One sorted run of index entries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SsTableMeta {
    /// Where it is.
    pub block: BlockId,
    /// Its level; 0 is searched first.
    pub level: u8,
    /// Its age within level 0: larger is newer.
    pub sequence: u64,
    /// What is added to each RowId in it; 0 once they are absolute.
    pub row_base: u64,
    /// How many entries it has.
    pub entries: u64,
    /// The length of the block's payload.
    pub payload_bytes: u64,
    /// Its first physical key.
    pub smallest: Vec<u8>,
    /// Its last physical key.
    pub largest: Vec<u8>,
}

impl SsTableMeta {
    /// The index of its first entry; `None` where the key is too short to have one.
    pub fn index(&self) -> Option<IndexId> {
        self.smallest.first_chunk::<4>().map(|bytes| IndexId::new(u32::from_be_bytes(*bytes)))
    }
}

/// One row page of a hot segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HotPageMeta {
    /// Where it is.
    pub block: BlockId,
    /// The slot of its first row.
    pub first_slot: u16,
    /// How many rows it holds.
    pub rows: u32,
}

/// The physical form of a segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SegmentImage {
    /// Row pages, ascending by slot.
    Hot {
        /// The pages.
        pages: Vec<HotPageMeta>,
    },
    /// A column block.
    Column {
        /// Where it is.
        block: BlockId,
        /// Slots that it covers.
        slots: u32,
        /// Rows that it holds; fewer than `slots` in a sparse one.
        rows: u32,
    },
    /// All of it was garbage. Stays in the state, so that replay knows.
    Dropped,
}

/// Numbers that only grow. An edit raises each to what it says; none ever falls.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// The highest commit timestamp.
    pub last_commit: Timestamp,
    /// The next heap id.
    pub next_heap: u32,
    /// The next table id.
    pub next_table: u32,
    /// The next index id.
    pub next_index: u32,
    /// The next schema id.
    pub next_schema: u32,
    /// The next bulk load.
    pub next_load: u64,
    /// The next SSTable sequence.
    pub next_sstable_sequence: u64,
    /// The latest wall clock seen, in microseconds since 1970.
    pub clock_us: u64,
}

/// One change of the state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Edit {
    /// Adds an SSTable, behind those there are.
    AddSsTable(SsTableMeta),
    /// Removes the SSTable in a block.
    RemoveSsTable(BlockId),
    /// Adds an empty heap.
    CreateHeap(HeapId),
    /// Removes a heap with all its segments and marks.
    DropHeap(HeapId),
    /// Sets the physical form of a segment. `Dropped` drops its marks too.
    PutSegment {
        /// The heap.
        heap: HeapId,
        /// The segment.
        segment: SegmentId,
        /// Its form.
        image: SegmentImage,
    },
    /// Sets the marks of a segment that is there.
    PutMarks {
        /// The heap.
        heap: HeapId,
        /// The segment.
        segment: SegmentId,
        /// The block that holds the marks; `None` where there are none.
        block: Option<BlockId>,
        /// How many rows are marked.
        dead: u32,
    },
    /// Sets the extent of a heap.
    PutHeap {
        /// The heap.
        heap: HeapId,
        /// Its next RowId.
        row_end: RowId,
        /// Its rows that are not marked.
        live_rows: u64,
    },
    /// Moves the journal start forward. Loads whose records end there are forgotten: replay cannot meet them.
    JournalStart(Lsn),
    /// All index entries of records that end here or before are in SSTables.
    IndexFlushed(Lsn),
    /// The blocks and files of a bulk load are named by the manifest: replay passes its part of the record over.
    LoadAdopted {
        /// The load.
        load: LoadId,
        /// Where its record ends.
        record_end: Lsn,
    },
    /// Raises counters.
    Counters(Counters),
}
