//! Which row versions nobody can see any more.
//!
//! A version is garbage when it was marked at or before `published` and no live snapshot lies between its birth and its
//! end. Birth is the `row_end` that each live snapshot sees: so one long reader pins what it can see, not all
//! that came after it. The answer is exact where marks are resident, and "no" where they are not. It never becomes
//! "no" again: a new snapshot is at `published` or later.

use super::Heap;
use super::segment::SegmentEntry;
use crate::ids::{IndexId, RowId, Timestamp};
use crate::lsm::Liveness;

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
    /// A mark up to here is garbage whatever the row's birth.
    oldest: Timestamp,
    published: Timestamp,
    /// The live snapshots, each with the end of its rows.
    live: Vec<(Timestamp, RowId)>,
}

impl Heap {
    /// Asks for garbage at this horizon, which may be an old one: its snapshots may have ended.
    pub fn garbage(&self, horizon: &Horizon) -> GarbageProbe<'_> {
        debug_assert!(horizon.live.is_sorted());
        let live: Vec<_> = horizon
            .live
            .iter()
            .map(|snapshot| (*snapshot, self.versions.seen_by(*snapshot).row_end))
            .collect();
        let oldest = horizon.live.first().map_or(horizon.published, |first| horizon.published.min(*first));
        GarbageProbe { heap: self, oldest, published: horizon.published, live }
    }

    /// Whether nobody can see the row, answered from what is resident. For many rows, [`Heap::garbage`] is cheaper.
    pub fn is_garbage(&self, row: RowId, horizon: &Horizon) -> bool {
        let entry = self.directory.get(row.segment());
        if entry.is_some_and(|entry| !entry.marks.is_dead(row.slot())) {
            return false;
        }
        self.garbage(horizon).is_garbage(row)
    }
}

impl Liveness for GarbageProbe<'_> {
    fn is_garbage(&self, _: IndexId, row: RowId) -> bool {
        GarbageProbe::is_garbage(self, row)
    }

    fn index_exists(&self, _: IndexId) -> bool {
        true
    }
}

impl GarbageProbe<'_> {
    /// Whether nobody can see the row.
    pub fn is_garbage(&self, row: RowId) -> bool {
        if row >= self.heap.end() {
            return false;
        }
        let Some(entry) = self.heap.directory.get(row.segment()) else { return true };
        let marks = &entry.marks;
        if !marks.is_loaded() || !marks.is_dead(row.slot()) {
            return false;
        }
        marks.end_after(row.slot(), self.oldest).is_none_or(|end_ts| self.has_ended(row, end_ts))
    }

    /// Whether a row with this end is garbage.
    fn has_ended(&self, row: RowId, end_ts: Timestamp) -> bool {
        end_ts <= self.published
            && !self.live.iter().any(|(snapshot, row_end)| row < *row_end && *snapshot < end_ts)
    }

    /// The garbage of a segment whose marks are loaded: a bit for each slot.
    pub(super) fn words(&self, entry: &SegmentEntry) -> Vec<u64> {
        debug_assert!(entry.marks.is_loaded());
        let mut words = entry.marks.dead_words();
        entry.marks.later_than(self.oldest, |slot, end_ts, _| {
            if !self.has_ended(RowId::from_parts(entry.id, slot), end_ts) {
                words[usize::from(slot) / 64] &= !(1 << (slot % 64));
            }
        });
        words
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
