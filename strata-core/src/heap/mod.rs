//! Heaps: the row versions of each table, in commit order.
//!
//! A [`Heap`] is an array of [segments](segment), each an image of up to 65,536 rows (row pages while hot, a
//! [column block](column) once frozen) and the [delete marks](marks) on them. Nothing in it is ever changed in place: rows are
//! appended, marks are added, images are replaced by others of the same rows.
//!
//! **Commit section.** [`Heap::prepare`] runs outside and does all that can fail: it reserves memory, loads the marks
//! that will be added to, and registers sealed pages with the page cache. [`Heap::place`], [`Heap::apply_inserts`],
//! [`Heap::apply_marks`], [`Heap::adopt`] and [`Heap::seal_commit`] are called by one thread at a time; they do no I/O, do
//! not fail, and take no lock that is held over I/O.
//!
//! **Readers** hold no lock at all: a snapshot's view is the prefix below [`Heap::visible_end`], less the marks that
//! ended by then. [`Heap::segments`] hands out (image, marks) pairs that stay good for as long as they are held.
//!
//! **Maintenance** ([`Heap::checkpoint`], [`Heap::freeze`], …) writes new blocks and returns manifest edits with an
//! *install* step. The caller syncs the block store, commits the edits at the journal's end as it was after
//! the call (rule 6), and installs when they are durable. One maintenance call on a heap at a time, from the call to its install.
//!
//! **Replay** calls the same `prepare` and `apply_*` (rule 5). Rows below the persisted end are skipped; rows from there on
//! whose segment has been frozen since are counted and skipped (a segment is dropped only when all of it is below); marks are set where the segment still is. All of it
//! may be done twice. Maintenance starts after replay.
//!
//! **Counting.** `live_rows` is kept by what `apply_*` really did, and what a checkpoint persists is exactly the rows below its
//! `row_end` less the dead of the mark sets it wrote. So it comes out right after a replay that overlaps them.

mod append_list;
mod append_page;
mod apply;
mod chain;
mod changes;
mod checkpoint;
pub mod column;
mod directory;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod garbage;
mod hot;
mod marks;
mod read;
mod rewrite;
mod row_page;
mod segment;
mod stored_row;
mod versions;
mod view;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

pub use apply::{NewRows, Prepared, RowRun};
pub use changes::Changed;
pub use checkpoint::{HeapCheckpoint, Install};
pub use garbage::{GarbageMap, GarbageMemory, GarbageProbe, Horizon};
pub use marks::{DENSE_MARKS, DenseMarks, MARKS_FORMAT, Mark, MarkGroup, Marks, MarksImage, Successor};
pub use rewrite::{SegmentChange, SegmentStatus};
pub use row_page::{MAX_SLOTTED_ROW, PAGE_BYTES, PageAddress, ROW_PAGE_FORMAT, RowPage};
pub use segment::{ColumnImage, Image, SegmentEntry};
pub use stored_row::StoredRow;
pub use view::SegmentView;

use crate::block::BlockHandle;
use crate::cache::PageCache;
use crate::error::{Error, Result};
use crate::ids::{BlockId, HeapId, RowId, SLOTS_PER_SEGMENT, SegmentId, Timestamp};
use crate::manifest::{HeapState, SegmentImage, SegmentState, UNNAMED_SEGMENTS_MAX};
use crate::memory::MemoryPool;
use directory::Directory;
use hot::{HotImage, PageSlot};
use versions::{Version, Versions};

/// Row bytes after which a segment takes no more rows.
pub const SEGMENT_BYTES: u64 = 64 << 20;

/// What heaps share.
#[derive(Clone)]
pub struct HeapEnv {
    /// Reads blocks, evicts pages; knows the block store.
    pub cache: Arc<PageCache>,
    /// The process's memory.
    pub pool: MemoryPool,
}

/// The row versions of one table.
pub struct Heap {
    id: HeapId,
    env: HeapEnv,
    directory: Directory,
    versions: Versions,
    /// The RowId after the last row applied. Readers of a snapshot look at `versions` instead.
    end: AtomicU64,
    /// How many bulk loads it has taken in since it was opened.
    adoptions: AtomicU64,
    /// Rows below this are in the manifest's images: replay skips them.
    persisted_end: RowId,
    segment_bytes: u64,
    /// The commit section's own state; taken for moments, never over I/O.
    tail: Mutex<Tail>,
    /// Pages that are sealed and not yet registered with the page cache.
    sealed: Mutex<Vec<Arc<PageSlot>>>,
    /// Segments with groups of marks that may be collapsed.
    prunable: Mutex<Vec<SegmentId>>,
    /// Marks of segments that were dropped, while a live snapshot is older than some of them: whoever follows a row
    /// from that snapshot to its newest version comes through rows that nobody sees (TRAPS "The lost successor").
    passages: Mutex<BTreeMap<SegmentId, Arc<Marks>>>,
    /// Entries that were replaced: kept until only this list has them, so that the commit section, which holds one for a
    /// moment, never is the last to let go and so to free blocks.
    replaced: Mutex<Vec<Arc<SegmentEntry>>>,
    /// What the durable manifest has; maintenance only.
    durable: Mutex<Durable>,
}

/// Where the next row goes.
#[derive(Default)]
struct Tail {
    /// The page that rows are appended to, of the segment of `end`.
    page: Option<Arc<PageSlot>>,
    /// Row bytes of the segment of `end`.
    bytes: u64,
    /// Rows that are not marked, as applied.
    live_rows: i64,
    /// `live_rows` as the last commit left it.
    sealed_live_rows: i64,
    /// Whether the commit being applied found some of its effects done (replay).
    repeated: bool,
}

/// The manifest's view of the heap.
struct Durable {
    row_end: RowId,
    live_rows: u64,
    /// Per segment: slots below `row_end`, and whether the manifest has an image of it.
    segments: BTreeMap<SegmentId, DurableSegment>,
}

#[derive(Clone, Copy, Default)]
struct DurableSegment {
    /// Slots below the durable `row_end`.
    slots: u32,
    /// Whether the manifest names the image that the directory has (a hot one changes page by page).
    named: bool,
}

impl std::fmt::Debug for Heap {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Heap").field("id", &self.id).finish_non_exhaustive()
    }
}

impl Heap {
    /// A heap without rows.
    pub fn create(id: HeapId, env: HeapEnv) -> Self {
        let durable = Durable { row_end: RowId::ZERO, live_rows: 0, segments: BTreeMap::new() };
        Self::with(id, env, Directory::starting_at(SegmentId::new(0)), durable)
    }

    /// The heap that the manifest describes. Reads nothing.
    ///
    /// # Errors
    /// `Corrupt` where the description is not that of a heap.
    pub fn open(id: HeapId, env: HeapEnv, state: &HeapState) -> Result<Self> {
        check_segments(state).map_err(|detail| damaged(id, detail))?;
        let directory = Directory::starting_at(state.first_segment());
        let mut durable =
            Durable { row_end: state.row_end, live_rows: state.live_rows, segments: BTreeMap::new() };
        for (segment, described) in &state.segments {
            let Some(entry) = open_segment(id, &env, *segment, described)? else { continue };
            let slots = entry.slots_below(state.row_end);
            durable.segments.insert(*segment, DurableSegment { slots, named: true });
            directory.put(Arc::new(entry));
        }
        Ok(Self::with(id, env, directory, durable))
    }

    fn with(id: HeapId, env: HeapEnv, directory: Directory, durable: Durable) -> Self {
        let (row_end, live_rows) = (durable.row_end, durable.live_rows);
        let live = i64::try_from(live_rows).unwrap_or(i64::MAX);
        let bytes = match directory.get(row_end.segment()).as_deref() {
            Some(SegmentEntry { image: Image::Hot(hot), .. }) => hot.bytes(),
            _ => 0,
        };
        let tail = Tail { bytes, live_rows: live, sealed_live_rows: live, ..Tail::default() };
        Self {
            id,
            env,
            directory,
            versions: Versions::new(Version { row_end, live_rows }),
            end: AtomicU64::new(row_end.get()),
            adoptions: AtomicU64::new(0),
            persisted_end: row_end,
            segment_bytes: SEGMENT_BYTES,
            tail: Mutex::new(tail),
            sealed: Mutex::default(),
            prunable: Mutex::default(),
            passages: Mutex::default(),
            replaced: Mutex::default(),
            durable: Mutex::new(durable),
        }
    }

    /// The heap with segments that take no more rows after so many row bytes, rather than [`SEGMENT_BYTES`].
    #[must_use]
    pub fn with_segment_bytes(mut self, segment_bytes: u64) -> Self {
        self.segment_bytes = segment_bytes;
        self
    }

    /// The heap's name.
    pub fn id(&self) -> HeapId {
        self.id
    }

    /// The RowId after the last row applied.
    fn end(&self) -> RowId {
        RowId::new(self.end.load(Ordering::Acquire))
    }

    /// Shortens the list of versions and collapses groups of marks: what no live snapshot (ascending), and none at
    /// `published` or later, can tell apart. Called now and then by one thread at a time: maintenance, and before it replay.
    pub fn prune(&self, live_snapshots: &[Timestamp], published: Timestamp) {
        debug_assert!(live_snapshots.is_sorted());
        self.register_sealed();
        self.reap();
        self.versions.prune(live_snapshots, published);
        let segments = std::mem::take(&mut *self.prunable.lock());
        for segment in segments {
            let Some(entry) = self.directory.get(segment) else { continue };
            let marks = &entry.marks;
            marks.prune(live_snapshots, published);
            marks.listed.store(false, Ordering::SeqCst);
            if marks.has_groups() && !marks.listed.swap(true, Ordering::SeqCst) {
                self.prunable.lock().push(segment);
            }
        }
        self.passages.lock().retain(|_, marks| {
            marks.prune(live_snapshots, published);
            marks.has_groups()
        });
    }

    /// Lets go of all blocks: the edit that drops the heap is durable. Readers may go on.
    pub fn retire(&self) {
        for entry in self.directory.iter() {
            entry.retire_image();
            if let (Some(block), _) = entry.marks.stored() {
                block.mark_obsolete();
            }
        }
    }

    /// Takes an entry that the directory no longer has, and whose image the durable manifest no longer names.
    fn retire_entry(&self, entry: Arc<SegmentEntry>) {
        entry.retire_image();
        self.replaced.lock().push(entry);
        self.reap();
    }

    /// Lets go of replaced entries that nobody reads any more.
    fn reap(&self) {
        let mut replaced = self.replaced.lock();
        let unread = replaced.extract_if(.., |entry| Arc::strong_count(entry) == 1).collect::<Vec<_>>();
        drop(replaced);
        drop(unread);
    }

    /// Tells the page cache of pages sealed meanwhile.
    fn register_sealed(&self) {
        let pages = std::mem::take(&mut *self.sealed.lock());
        for page in pages {
            page.register(&self.env);
        }
    }

    fn handle(&self, block: BlockId) -> Arc<BlockHandle> {
        self.env.cache.handle(block)
    }
}

fn damaged(heap: HeapId, detail: impl std::fmt::Display) -> Error {
    Error::Corrupt { file: "MANIFEST".to_owned(), offset: 0, detail: format!("heap {heap}: {detail}") }
}

/// Checks that the heap's segments have numbers that segments can have: each takes a place in the directory, and so do those
/// that are not named.
fn check_segments(state: &HeapState) -> std::result::Result<(), String> {
    let (end, unnamed) = (state.segment_end(), state.unnamed_segments());
    if end > RowId::provisional(0).segment() {
        return Err(format!("segments up to {end}, which no rows have"));
    }
    if unnamed > UNNAMED_SEGMENTS_MAX {
        return Err(format!("{unnamed} of its segments up to {end} are not there"));
    }
    Ok(())
}

fn open_segment(
    heap: HeapId,
    env: &HeapEnv,
    segment: SegmentId,
    state: &SegmentState,
) -> Result<Option<SegmentEntry>> {
    let wrong = |detail: String| damaged(heap, format!("segment {segment}: {detail}"));
    let image = match &state.image {
        SegmentImage::Hot { pages } => {
            let hot = HotImage::new(env.clone());
            for page in pages {
                let first = u32::from(page.first_slot);
                if first != hot.slots() || page.rows == 0 || first + page.rows > SLOTS_PER_SEGMENT {
                    return Err(wrong(format!("a page of {} rows at slot {first}", page.rows)));
                }
                let address = PageAddress { heap, segment, first_slot: page.first_slot };
                let slot = PageSlot::stored(address, env.cache.handle(page.block), page.rows);
                hot.push(slot, page.block.len_bytes());
            }
            Image::Hot(Arc::new(hot))
        }
        SegmentImage::Column { block, slots, rows } => {
            if *slots > SLOTS_PER_SEGMENT || rows > slots {
                return Err(wrong(format!("{rows} rows in {slots} slots")));
            }
            Image::Column(Arc::new(ColumnImage::new(env.clone(), env.cache.handle(*block), *slots, *rows)))
        }
        SegmentImage::Dropped => return Ok(None),
    };
    let block = state.marks.map(|block| env.cache.handle(block));
    let marks = Arc::new(Marks::new(heap, segment, block, state.dead));
    Ok(Some(SegmentEntry { id: segment, image, marks }))
}

#[cfg(test)]
mod tests;
