//! What commits did to a heap since some moment: for transactions that must know whether what they read still holds.

use super::{Heap, SegmentView};
use crate::error::Result;
use crate::ids::{RowId, Timestamp};

/// Rows of one segment that came or ended.
pub struct Changed {
    /// The segment, as it stands now.
    pub segment: SegmentView,
    /// The slots, ascending.
    pub slots: Vec<u32>,
}

impl Heap {
    /// The last commit that was applied to the heap; 0 where that was before the database was opened.
    pub fn last_change(&self) -> Timestamp {
        self.versions.newest().0
    }

    /// The live rows from `end` on, and the rows below `snapshot_end` that ended after `since`. Rows that came and
    /// went meanwhile are in neither. A live snapshot must keep the marks after `since` apart from those before it.
    /// A commit that is being applied may be seen in part.
    ///
    /// # Errors
    /// Those of the block store where marks must be read.
    pub fn changes(&self, since: Timestamp, end: RowId, snapshot_end: RowId) -> Result<Vec<Changed>> {
        let now = self.end();
        let mut changes = Vec::new();
        for entry in self.directory.iter() {
            let first = entry.id.first_row();
            let has_new = first < now && first.offset(entry.slots().into()) > end;
            if !has_new && !entry.marks.has_groups() {
                continue;
            }
            entry.marks.load(&self.env)?;
            let mut slots = Vec::new();
            entry.marks.later_than(since, |slot, _| {
                if first.offset(slot.into()) < snapshot_end {
                    slots.push(u32::from(slot));
                }
            });
            if has_new {
                let slots_of =
                    |row: RowId| row.get().saturating_sub(first.get()).min(entry.slots().into()) as u32;
                let new = slots_of(end)..slots_of(now);
                slots.extend(new.filter(|slot| !entry.marks.is_dead(*slot as u16)));
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
