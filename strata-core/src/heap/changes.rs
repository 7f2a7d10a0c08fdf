//! What commits did to a heap since some moment: for transactions that must know whether what they read still holds.

use std::collections::BTreeMap;
use std::sync::Arc;

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

    /// The live rows from `end` on, and the rows below `snapshot_end` that ended after `since`. Rows that came and
    /// went meanwhile are in neither, and a row that was moved counts as where it was first: it is neither new nor ended. A live
    /// snapshot must keep the marks after `since` apart from those before it. A commit that is being applied may be seen
    /// in part.
    ///
    /// # Errors
    /// Those of the block store where marks must be read.
    pub fn changes(&self, since: Timestamp, end: RowId, snapshot_end: RowId) -> Result<Vec<Changed>> {
        let now = self.end();
        let mut entries: Vec<Arc<SegmentEntry>> = Vec::new();
        for entry in self.directory.iter() {
            let first = entry.id.first_row();
            let has_new = first < now && first.offset(entry.slots().into()) > end;
            if has_new || entry.marks.has_groups() {
                entry.marks.load(&self.env)?;
                entries.push(entry);
            }
        }
        // A row is moved to a later place, of a commit that marks are looked at after: so moves are all known first.
        let mut moves = Moves::default();
        let mut ended: BTreeMap<SegmentId, Vec<u32>> = BTreeMap::new();
        for entry in &entries {
            let first = entry.id.first_row();
            entry.marks.later_than(since, |slot, _, successor| match successor {
                Some(successor) if successor.moved => moves.add(first.offset(slot.into()), successor.row),
                _ if first.offset(slot.into()) < snapshot_end => {
                    ended.entry(entry.id).or_default().push(slot.into());
                }
                _ => {}
            });
        }
        for (segment, marks) in self.passages.lock().iter() {
            marks.later_than(since, |slot, _, successor| {
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
            if first < now && first.offset(entry.slots().into()) > end {
                let slots_of =
                    |row: RowId| row.get().saturating_sub(first.get()).min(entry.slots().into()) as u32;
                let new = slots_of(end)..slots_of(now);
                slots.extend(new.filter(|slot| {
                    let row = first.offset((*slot).into());
                    !entry.marks.is_dead(*slot as u16) && moves.origin(row) >= end
                }));
            }
            if slots.is_empty() {
                continue;
            }
            slots.sort_unstable();
            slots.dedup();
            let count = entry.slots();
            let segment = SegmentView::new(self.env.clone(), entry, count, Timestamp::new(u64::MAX));
            changes.push(Changed { segment, slots });
        }
        Ok(changes)
    }
}
