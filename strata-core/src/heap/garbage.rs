//! Which row versions nobody can see any more.
//!
//! A version is garbage when it was marked at or before `published` and no live snapshot lies between its birth and its
//! end. Birth is the `row_end` that each live snapshot sees: so one long reader pins what it can see, not all
//! that came after it. The answer is exact where marks are resident, and "no" where they are not. It never becomes
//! "no" again: a new snapshot is at `published` or later.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;

use super::Heap;
use super::marks::BITS_BYTES;
use super::segment::SegmentEntry;
use crate::ids::{IndexId, RowId, SegmentId, Timestamp};
use crate::lsm::Liveness;
use crate::memory::{MemoryPool, Reservation};

/// The snapshots that are live at a moment, and the newest one that a reader may take.
#[derive(Clone, Debug, Default)]
pub struct Horizon {
    /// The newest published commit.
    pub published: Timestamp,
    /// The live snapshots, ascending.
    pub live: Vec<Timestamp>,
}

/// A horizon with what it sees of one heap.
pub struct GarbageProbe<'a> {
    heap: &'a Heap,
    seen: Seen,
}

/// What a horizon sees of one heap.
struct Seen {
    /// A mark up to here is garbage whatever the row's birth.
    oldest: Timestamp,
    published: Timestamp,
    /// The live snapshots, each with the end of its rows.
    live: Vec<(Timestamp, RowId)>,
}

/// The garbage of a heap at a horizon, for who asks about very many rows while commits go on.
///
/// Each commit since the horizon leaves a link in the heap's list and one in the marks of each segment that it touched,
/// and asking about a dead row walks them. Here the former are walked once, and the latter once a segment: its garbage is
/// kept as a bitmap. What the horizon calls garbage was marked before it, so later commits add nothing.
pub struct GarbageMap {
    heap: Arc<Heap>,
    horizon: Horizon,
    seen: OnceLock<Seen>,
    segments: Mutex<HashMap<SegmentId, Vec<u64>, foldhash::fast::RandomState>>,
    memory: Arc<GarbageMemory>,
}

/// The memory of the bitmaps that belong together. Once no more is to be had, rows of further segments are asked about one by
/// one: a flush is what frees memory, and must not look for some at every row.
pub struct GarbageMemory {
    reservation: Mutex<Reservation>,
    limit: usize,
    is_full: AtomicBool,
}

/// The part of the pool that bitmaps take at most.
const POOL_PART: usize = 64;

impl GarbageMemory {
    /// None yet.
    pub fn new(pool: &MemoryPool) -> Arc<Self> {
        let reservation = Mutex::new(pool.empty("garbage of segments"));
        Arc::new(Self { reservation, limit: pool.cap() / POOL_PART, is_full: AtomicBool::new(false) })
    }

    /// Takes what a bitmap needs.
    fn take(&self) -> bool {
        if self.is_full.load(Ordering::Relaxed) {
            return false;
        }
        let mut reservation = self.reservation.lock();
        let is_taken = reservation.bytes() + BITS_BYTES <= self.limit && reservation.grow(BITS_BYTES).is_ok();
        self.is_full.store(!is_taken, Ordering::Relaxed);
        is_taken
    }
}

impl Heap {
    /// Asks for garbage at this horizon, which may be an old one: its snapshots may have ended.
    pub fn garbage(&self, horizon: &Horizon) -> GarbageProbe<'_> {
        GarbageProbe { heap: self, seen: self.seen_by(horizon) }
    }

    fn seen_by(&self, horizon: &Horizon) -> Seen {
        debug_assert!(horizon.live.is_sorted());
        let row_end = |snapshot: &Timestamp| self.versions.seen_by(*snapshot).row_end;
        let live = horizon.live.iter().map(|snapshot| (*snapshot, row_end(snapshot))).collect();
        let oldest = horizon.live.first().map_or(horizon.published, |first| horizon.published.min(*first));
        Seen { oldest, published: horizon.published, live }
    }

    /// Asks for the garbage of very many rows.
    pub fn garbage_map(self: Arc<Self>, horizon: Horizon, memory: &Arc<GarbageMemory>) -> GarbageMap {
        let (seen, segments) = (OnceLock::new(), Mutex::default());
        GarbageMap { heap: self, horizon, seen, segments, memory: Arc::clone(memory) }
    }

    /// The segment of a row that may be garbage; otherwise, whether it is.
    fn dead(&self, row: RowId) -> std::result::Result<Arc<SegmentEntry>, bool> {
        if row >= self.end() {
            return Err(false);
        }
        let entry = self.directory.get(row.segment()).ok_or(true)?;
        if entry.marks.is_loaded() && entry.marks.is_dead(row.slot()) { Ok(entry) } else { Err(false) }
    }
}

impl GarbageMap {
    /// Whether nobody can see the row.
    pub fn is_garbage(&self, row: RowId) -> bool {
        let entry = match self.heap.dead(row) {
            Ok(entry) => entry,
            Err(is_garbage) => return is_garbage,
        };
        let seen = self.seen.get_or_init(|| self.heap.seen_by(&self.horizon));
        let mut segments = self.segments.lock();
        let words = match segments.entry(entry.id) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(new) if self.memory.take() => new.insert(seen.words(&entry)),
            Entry::Vacant(_) => return seen.is_garbage(&entry, row),
        };
        let slot = usize::from(row.slot());
        words.get(slot / 64).is_some_and(|word| word >> (slot % 64) & 1 == 1)
    }
}

#[cfg(test)]
impl GarbageMap {
    pub(super) fn has_bitmaps(&self) -> bool {
        !self.segments.lock().is_empty()
    }
}

impl Liveness for GarbageProbe<'_> {
    fn is_garbage(&self, _: IndexId, row: RowId) -> bool {
        GarbageProbe::is_garbage(self, row)
    }

    fn index_exists(&self, _: IndexId) -> bool {
        true
    }

    fn is_unique(&self, _: IndexId) -> bool {
        false
    }
}

impl GarbageProbe<'_> {
    /// Whether nobody can see the row.
    pub fn is_garbage(&self, row: RowId) -> bool {
        self.heap.dead(row).map_or_else(|is_garbage| is_garbage, |entry| self.seen.is_garbage(&entry, row))
    }

    /// The garbage of a segment whose marks are loaded: a bit for each slot.
    pub(super) fn words(&self, entry: &SegmentEntry) -> Vec<u64> {
        self.seen.words(entry)
    }

    /// How many slots of a segment are garbage, reclaimed ones included. Marks that have not been read since opening
    /// are older than any snapshot.
    pub(super) fn count(&self, entry: &SegmentEntry) -> u32 {
        if entry.marks.dead() == 0 || !entry.marks.is_loaded() {
            return entry.marks.dead();
        }
        self.words(entry).iter().map(|word| word.count_ones()).sum()
    }
}

impl Seen {
    /// Whether nobody can see a row that is dead.
    fn is_garbage(&self, entry: &SegmentEntry, row: RowId) -> bool {
        let end_ts = entry.marks.end_after(row.slot(), self.oldest);
        end_ts.is_none_or(|end_ts| self.has_ended(row, end_ts))
    }

    /// Whether a row with this end is garbage.
    fn has_ended(&self, row: RowId, end_ts: Timestamp) -> bool {
        end_ts <= self.published
            && !self.live.iter().any(|(snapshot, row_end)| row < *row_end && *snapshot < end_ts)
    }

    fn words(&self, entry: &SegmentEntry) -> Vec<u64> {
        debug_assert!(entry.marks.is_loaded());
        let mut words = entry.marks.dead_words();
        entry.marks.later_than(self.oldest, |slot, end_ts, _| {
            if !self.has_ended(RowId::from_parts(entry.id, slot), end_ts) {
                words[usize::from(slot) / 64] &= !(1 << (slot % 64));
            }
        });
        words
    }
}
