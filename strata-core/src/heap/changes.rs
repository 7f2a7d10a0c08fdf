//! What commits did to a heap since some moment: for transactions that must know whether what they read still holds.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::segment::SegmentEntry;
use super::{Heap, SegmentView};
use crate::error::Result;
use crate::ids::{RowId, SegmentId, Timestamp};

/// Rows of one segment that came or ended.
pub struct Changed {
    /// The segment, as it stands now.
    pub segment: SegmentView,
    /// The slots, ascending.
    pub slots: Vec<u32>,
}

/// Rows that were moved: from where to where, and back.
#[derive(Default)]
struct Moves {
    to: BTreeMap<RowId, RowId>,
    from: BTreeMap<RowId, RowId>,
}

impl Moves {
    fn add(&mut self, from: RowId, to: RowId) {
        self.to.insert(from, to);
        self.from.insert(to, from);
    }

    /// Where a row was before all moves.
    fn origin(&self, row: RowId) -> RowId {
        std::iter::successors(Some(row), |row| self.from.get(row).copied()).last().unwrap_or(row)
    }

    /// Where a row is after all moves.
    fn place(&self, row: RowId) -> RowId {
        std::iter::successors(Some(row), |row| self.to.get(row).copied()).last().unwrap_or(row)
    }
}

impl Heap {
    /// The last commit that was applied to the heap; 0 where that was before the database was opened.
    pub fn last_change(&self) -> Timestamp {
        self.versions.newest().0
    }

    /// What a transaction at `snapshot`, which must be live, has not looked at: the live rows of `new`, and the rows that
    /// the snapshot sees and that ended after `since`. `new` must end where the rows ended between two commits, no earlier than
    /// `since`; of a commit that is applied meanwhile the marks may be seen, or some of them.
    ///
    /// Rows that came and went are in neither, and a row that was moved counts as where it was first: it is neither
    /// new nor ended. What was moved and has ended may be told of again and again, whatever `since`.
    ///
    /// # Errors
    /// Those of the block store where marks must be read.
    pub fn changes(&self, snapshot: Timestamp, since: Timestamp, new: Range<RowId>) -> Result<Vec<Changed>> {
        let snapshot_end = self.visible_end(snapshot);
        let is_new = |entry: &SegmentEntry| has_rows_between(entry, new.start, new.end);
        let mut entries: Vec<Arc<SegmentEntry>> = Vec::new();
        for entry in self.directory.iter() {
            if is_new(&entry) || entry.marks.has_groups() {
                entry.marks.load(&self.env)?;
                entries.push(entry);
            }
        }
        // A row that the snapshot sees may have been moved before `since`, and ended after it: moves are all known first.
        let mut moves = Moves::default();
        let mut ended: BTreeMap<SegmentId, Vec<u32>> = BTreeMap::new();
        for entry in &entries {
            let first = entry.id.first_row();
            entry.marks.later_than(snapshot, |slot, end_ts, successor| match successor {
                Some(successor) if successor.moved => moves.add(first.offset(slot.into()), successor.row),
                _ if end_ts > since && first.offset(slot.into()) < snapshot_end => {
                    ended.entry(entry.id).or_default().push(slot.into());
                }
                _ => {}
            });
        }
        for (segment, marks) in self.passages.lock().iter() {
            marks.later_than(snapshot, |slot, _, successor| {
                if let Some(successor) = successor.filter(|successor| successor.moved) {
                    moves.add(RowId::from_parts(*segment, slot), successor.row);
                }
            });
        }
        // What was moved and then ended has ended.
        for from in moves.to.range(..snapshot_end).map(|(from, _)| *from) {
            let place = moves.place(from);
            let entry = self.directory.get(place.segment());
            if entry.is_none_or(|entry| entry.marks.is_dead(place.slot())) {
                ended.entry(from.segment()).or_default().push(from.slot().into());
            }
        }
        let mut changes = Vec::new();
        for entry in entries {
            let first = entry.id.first_row();
            let mut slots = ended.remove(&entry.id).unwrap_or_default();
            if is_new(&entry) {
                // Where it was before may be new too, and dead when that was looked at.
                let origin = |slot: &u32| moves.origin(first.offset((*slot).into()));
                slots.extend(
                    live_slots(&entry, new.start, new.end).filter(|slot| origin(slot) >= snapshot_end),
                );
            }
            slots.sort_unstable();
            slots.dedup();
            changes.extend(self.changed(entry, slots));
        }
        Ok(changes)
    }

    /// The live rows from `start` on, a segment at a time, as they stand when it is their turn. A commit that is
    /// being applied may be seen in part.
    ///
    /// # Errors
    /// Those of the block store where marks must be read.
    pub fn rows_from(&self, start: RowId) -> impl Iterator<Item = Result<Changed>> + '_ {
        let now = self.end();
        let entries = self.directory.iter().filter(move |entry| has_rows_between(entry, start, now));
        entries.filter_map(move |entry| {
            if let Err(error) = entry.marks.load(&self.env) {
                return Some(Err(error));
            }
            let slots = live_slots(&entry, start, now).collect();
            self.changed(entry, slots).map(Ok)
        })
    }

    fn changed(&self, entry: Arc<SegmentEntry>, slots: Vec<u32>) -> Option<Changed> {
        let count = entry.slots();
        let view = || SegmentView::new(self.env.clone(), entry, count, Timestamp::new(u64::MAX));
        (!slots.is_empty()).then(|| Changed { segment: view(), slots })
    }

    /// How many bulk loads have been adopted since the heap was opened. Whoever reads it, and then an index, finds there the
    /// keys of all loads that it counts.
    pub fn adoptions(&self) -> u64 {
        self.adoptions.load(Ordering::Acquire)
    }

    /// Counts a load whose index files are in the tree (commit section, replay).
    pub fn count_adoption(&self) {
        self.adoptions.fetch_add(1, Ordering::Release);
    }
}

fn has_rows_between(entry: &SegmentEntry, start: RowId, end: RowId) -> bool {
    let first = entry.id.first_row();
    first < end && first.offset(entry.slots().into()) > start
}

fn live_slots(entry: &SegmentEntry, start: RowId, end: RowId) -> impl Iterator<Item = u32> + '_ {
    let first = entry.id.first_row();
    let slot_of = |row: RowId| row.get().saturating_sub(first.get()).min(entry.slots().into()) as u32;
    (slot_of(start)..slot_of(end)).filter(|slot| !entry.marks.is_dead(*slot as u16))
}
