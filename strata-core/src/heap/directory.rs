//! The segments of a heap: an array by segment number.
//!
//! The commit section appends, maintenance swaps entries, readers load one with two atomic loads. A segment that was dropped has no
//! entry.

use std::sync::Arc;

use arc_swap::ArcSwapOption;

use super::append_list::AppendList;
use super::segment::SegmentEntry;
use crate::ids::SegmentId;

/// The array.
pub(super) struct Directory {
    /// The segment of the first cell.
    first: SegmentId,
    cells: AppendList<ArcSwapOption<SegmentEntry>>,
}

impl Directory {
    /// One of segments from this one on.
    pub fn starting_at(first: SegmentId) -> Self {
        Self { first, cells: AppendList::new() }
    }

    fn place(&self, segment: SegmentId) -> Option<usize> {
        usize::try_from(segment.get().checked_sub(self.first.get())?).ok()
    }

    fn cell(&self, segment: SegmentId) -> Option<&ArcSwapOption<SegmentEntry>> {
        self.cells.get(self.place(segment)?)
    }

    pub fn get(&self, segment: SegmentId) -> Option<Arc<SegmentEntry>> {
        self.cell(segment)?.load_full()
    }

    /// Reads an entry where it stands, without counting a reference.
    pub fn visit<T>(&self, segment: SegmentId, read: impl FnOnce(&SegmentEntry) -> T) -> Option<T> {
        self.cell(segment)?.load().as_deref().map(read)
    }

    /// The entries, in segment order.
    pub fn iter(&self) -> impl Iterator<Item = Arc<SegmentEntry>> {
        self.cells.iter().filter_map(ArcSwapOption::load_full)
    }

    /// Puts a segment at its place (the commit section, or opening); those before it that are not there were dropped.
    pub fn put(&self, entry: Arc<SegmentEntry>) {
        let Some(place) = self.place(entry.id) else {
            return debug_assert!(false, "rule 1: segment {} is before {}", entry.id, self.first);
        };
        while self.cells.len() < place {
            self.cells.push(ArcSwapOption::empty());
        }
        match self.cell(entry.id) {
            Some(cell) => cell.store(Some(entry)),
            None => self.cells.push(ArcSwapOption::new(Some(entry))),
        }
    }

    /// Replaces a segment's entry, or drops it (maintenance).
    pub fn swap(&self, segment: SegmentId, entry: Option<Arc<SegmentEntry>>) {
        if let Some(cell) = self.cell(segment) {
            cell.store(entry);
        }
    }
}
