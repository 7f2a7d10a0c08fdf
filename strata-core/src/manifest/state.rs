//! The state that the edits build.

use std::collections::BTreeMap;

use crate::ids::{BlockId, HeapId, LoadId, Lsn, RowId, SLOTS_PER_SEGMENT, SegmentId};
use crate::manifest::edit::{Counters, Edit, SegmentImage, SsTableMeta};

/// The most segments that heaps may leave out: see [`HeapState::unnamed_segments`]. A full one has 65,536 rows, or a MiB of them at
/// least: so many would be seventy billion rows, or a terabyte, from one checkpoint to the next.
pub const UNNAMED_SEGMENTS_MAX: u64 = 1 << 20;

/// All that the manifest knows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ManifestState {
    /// The heaps.
    pub heaps: BTreeMap<HeapId, HeapState>,
    /// The SSTables, in the order in which they were added.
    pub sstables: Vec<SsTableMeta>,
    /// Where replay starts.
    pub journal_start: Lsn,
    /// The highest journal position whose effects the blocks contain.
    pub journal_lsn: Lsn,
    /// Index entries of records that end here or before are in SSTables.
    pub index_flushed: Lsn,
    /// Bulk loads that the state has, by where their records end; those before the journal's start are forgotten.
    pub loads: BTreeMap<LoadId, Lsn>,
    /// What is never handed out again.
    pub counters: Counters,
}

/// One heap.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HeapState {
    /// The next RowId, as of the last checkpoint.
    pub row_end: RowId,
    /// The rows that are not marked, as of the last checkpoint.
    pub live_rows: u64,
    /// The segments that were persisted, dropped ones included.
    pub segments: BTreeMap<SegmentId, SegmentState>,
}

/// One segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentState {
    /// Its physical form.
    pub image: SegmentImage,
    /// The block of its marks.
    pub marks: Option<BlockId>,
    /// How many rows are marked.
    pub dead: u32,
}

impl ManifestState {
    /// Makes one change.
    ///
    /// # Errors
    /// Why the edit does not fit the state; the state is as before then.
    pub fn apply(&mut self, edit: &Edit) -> Result<(), String> {
        match edit {
            Edit::AddSsTable(meta) => {
                if self.sstables.iter().any(|other| other.block == meta.block) {
                    return Err(format!("SSTable {} is there already", meta.block));
                }
                self.sstables.push(meta.clone());
            }
            Edit::RemoveSsTable(block) => {
                let found = self.sstables.iter().position(|meta| meta.block == *block);
                let index = found.ok_or_else(|| format!("SSTable {block} is not there"))?;
                self.sstables.remove(index);
            }
            Edit::CreateHeap(heap) => {
                if self.heaps.contains_key(heap) {
                    return Err(format!("heap {heap} is there already"));
                }
                self.heaps.insert(*heap, HeapState::default());
            }
            Edit::DropHeap(heap) => {
                self.heaps.remove(heap).ok_or_else(|| no_heap(*heap))?;
            }
            Edit::PutSegment { heap, segment, image } => self.put_segment(*heap, *segment, image)?,
            Edit::PutMarks { heap, segment, block, dead } => {
                let found = self.heap_mut(*heap)?.segments.get_mut(segment);
                let there = found.filter(|state| state.image != SegmentImage::Dropped);
                let state = there
                    .ok_or_else(|| format!("segment {segment} of heap {heap} is not there to be marked"))?;
                state.marks = *block;
                state.dead = *dead;
            }
            Edit::PutHeap { heap, row_end, live_rows } => {
                let state = self.heap_mut(*heap)?;
                if *row_end < state.row_end {
                    return Err(format!("heap {heap} ends at row {}, not {row_end}", state.row_end));
                }
                state.row_end = *row_end;
                state.live_rows = *live_rows;
                state.forget_dropped();
            }
            Edit::JournalStart(start) => {
                if *start < self.journal_start || *start > self.journal_lsn {
                    let (from, to) = (self.journal_start, self.journal_lsn);
                    return Err(format!("journal start {start} is outside {from} to {to}"));
                }
                self.journal_start = *start;
                self.loads.retain(|_, record_end| *record_end > *start);
            }
            Edit::IndexFlushed(flushed) => {
                if *flushed < self.index_flushed {
                    return Err(format!(
                        "index entries were flushed to {}, not {flushed}",
                        self.index_flushed
                    ));
                }
                self.index_flushed = *flushed;
            }
            Edit::LoadAdopted { load, record_end } => {
                self.loads.insert(*load, *record_end);
            }
            Edit::Counters(counters) => self.counters.raise(counters),
        }
        Ok(())
    }

    fn heap_mut(&mut self, heap: HeapId) -> Result<&mut HeapState, String> {
        self.heaps.get_mut(&heap).ok_or_else(|| no_heap(heap))
    }

    fn put_segment(&mut self, heap: HeapId, segment: SegmentId, image: &SegmentImage) -> Result<(), String> {
        let state = self.heap_mut(heap)?;
        let image = image.clone();
        match state.segments.get_mut(&segment) {
            _ if image == SegmentImage::Dropped => {
                state.segments.insert(segment, SegmentState { image, marks: None, dead: 0 });
                state.forget_dropped();
            }
            Some(state) if state.image == SegmentImage::Dropped => {
                return Err(format!("segment {segment} of heap {heap} was dropped"));
            }
            Some(state) => state.image = image,
            None => {
                state.segments.insert(segment, SegmentState { image, marks: None, dead: 0 });
            }
        }
        Ok(())
    }

    /// Every block that the state names.
    pub fn blocks(&self) -> impl Iterator<Item = BlockId> + '_ {
        let segments = self.heaps.values().flat_map(|heap| heap.segments.values());
        self.sstables.iter().map(|meta| meta.block).chain(segments.flat_map(SegmentState::blocks))
    }

    /// Checks that no two blocks share a page of the store, and that heaps have no more segments than can be.
    ///
    /// # Errors
    /// Which blocks do; how many segments are not there.
    pub fn check(&self) -> Result<(), String> {
        let unnamed = self.heaps.values().map(HeapState::unnamed_segments);
        let unnamed = unnamed.fold(0, u64::saturating_add);
        if unnamed > UNNAMED_SEGMENTS_MAX {
            return Err(format!("{unnamed} segments of heaps are not there"));
        }
        let mut blocks: Vec<BlockId> = self.blocks().collect();
        blocks.sort_unstable();
        for pair in blocks.windows(2) {
            if let [before, after] = pair
                && before.first_page() + before.pages() > after.first_page()
            {
                return Err(format!("blocks {before} and {after} overlap"));
            }
        }
        Ok(())
    }

    /// The edits that make this state out of nothing.
    pub fn snapshot(&self) -> Vec<Edit> {
        let mut edits = vec![
            Edit::JournalStart(self.journal_start),
            Edit::IndexFlushed(self.index_flushed),
            Edit::Counters(self.counters),
        ];
        let loads = self.loads.iter();
        edits.extend(loads.map(|(&load, &record_end)| Edit::LoadAdopted { load, record_end }));
        edits.extend(self.sstables.iter().cloned().map(Edit::AddSsTable));
        for (&heap, state) in &self.heaps {
            edits.push(Edit::CreateHeap(heap));
            let (row_end, live_rows) = (state.row_end, state.live_rows);
            edits.push(Edit::PutHeap { heap, row_end, live_rows });
            for (&segment, state) in &state.segments {
                edits.push(Edit::PutSegment { heap, segment, image: state.image.clone() });
                if state.marks.is_some() || state.dead > 0 {
                    let (block, dead) = (state.marks, state.dead);
                    edits.push(Edit::PutMarks { heap, segment, block, dead });
                }
            }
        }
        edits
    }
}

impl HeapState {
    /// The first segment that the heap has, or will have.
    pub fn first_segment(&self) -> SegmentId {
        let first = self.segments.keys().next().copied();
        first.map_or(self.row_end.segment(), |first| first.min(self.row_end.segment()))
    }

    /// Forgets dropped segments that stand before all others: the heap begins behind them. One that rows are still to be replayed
    /// into stays.
    fn forget_dropped(&mut self) {
        let end = self.row_end.segment();
        while let Some(first) = self.segments.first_entry()
            && first.get().image == SegmentImage::Dropped
            && *first.key() < end
        {
            first.remove();
        }
    }

    /// The segment after the last one that is named, and after that of the last row.
    pub fn segment_end(&self) -> SegmentId {
        let named = self.segments.keys().next_back().map_or(0, |last| last.get().saturating_add(1));
        SegmentId::new(named.max(self.row_end.get().div_ceil(SLOTS_PER_SEGMENT.into())))
    }

    /// How many segments from the first to the end are not named.
    ///
    /// Mostly none: segments are numbered in turn, a checkpoint names all there are, and one that was dropped is named until those
    /// before it have gone too.
    /// But behind the last checkpoint one may be frozen, and so named, before an earlier one. And a heap that was dropped
    /// comes back in replay, with those rows that the journal has: until it is dropped again it begins anywhere, and lacks the
    /// loads that it had.
    pub fn unnamed_segments(&self) -> u64 {
        let all = self.segment_end().get() - self.first_segment().get();
        all.saturating_sub(self.segments.len() as u64)
    }
}

impl SegmentState {
    /// The blocks of the image and of the marks.
    pub fn blocks(&self) -> impl Iterator<Item = BlockId> + '_ {
        self.image.blocks().chain(self.marks)
    }
}

impl SegmentImage {
    /// The blocks that hold it.
    pub fn blocks(&self) -> impl Iterator<Item = BlockId> + '_ {
        let (pages, column) = match self {
            Self::Hot { pages } => (pages.as_slice(), None),
            Self::Column { block, .. } => (&[][..], Some(*block)),
            Self::Dropped => (&[][..], None),
        };
        pages.iter().map(|page| page.block).chain(column)
    }
}

impl Counters {
    fn raise(&mut self, to: &Self) {
        self.last_commit = self.last_commit.max(to.last_commit);
        self.next_heap = self.next_heap.max(to.next_heap);
        self.next_table = self.next_table.max(to.next_table);
        self.next_index = self.next_index.max(to.next_index);
        self.next_schema = self.next_schema.max(to.next_schema);
        self.next_load = self.next_load.max(to.next_load);
        self.next_sstable_sequence = self.next_sstable_sequence.max(to.next_sstable_sequence);
        self.clock_us = self.clock_us.max(to.clock_us);
    }
}

fn no_heap(heap: HeapId) -> String {
    format!("heap {heap} is not there")
}
