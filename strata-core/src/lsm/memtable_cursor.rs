//! Walking a memtable a chunk at a time: the lock is held while a chunk is copied, not between.

use std::sync::Arc;

use crate::error::Result;
use crate::ids::{IndexId, RowId};
use crate::lsm::batch::EntryBatch;
use crate::lsm::key::{Limit, Position, split_prefix};
use crate::lsm::memtable::{ChunkEnd, ChunkScan, Memtable};

/// The first chunk is small, for lookups of a few rows; later ones grow.
const FIRST_CHUNK_ENTRIES: usize = 16;
const CHUNK_ENTRIES_MAX: usize = 256;

/// A cursor over one index of a memtable.
pub(crate) struct MemtableCursor {
    memtable: Arc<dyn Memtable>,
    index: IndexId,
    reverse: bool,
    below: RowId,
    batch: EntryBatch,
    at: usize,
    chunk_entries: usize,
    exhausted: bool,
}

impl MemtableCursor {
    /// A cursor that is nowhere until it is told to seek; it passes entries whose row is not below `below`.
    pub fn new(memtable: Arc<dyn Memtable>, index: IndexId, reverse: bool, below: RowId) -> Self {
        let chunk_entries = FIRST_CHUNK_ENTRIES;
        let batch = EntryBatch::default();
        Self { memtable, index, reverse, below, batch, at: 0, chunk_entries, exhausted: true }
    }

    /// The entry the cursor is on.
    pub fn current(&self) -> Option<Position<'_>> {
        self.batch.get(self.at)
    }

    /// Goes to the first entry within `start`, in the direction of travel, or of the index where `start` is `None` or
    /// in another index.
    pub fn seek(&mut self, start: Option<&Limit>) {
        self.exhausted = false;
        let within = start.and_then(|limit| {
            let (index, key) = split_prefix(&limit.at.prefix)?;
            (index == self.index).then(|| (key, self.beyond(limit)))
        });
        match within {
            Some((key, beyond)) => self.fill(Some(key), beyond),
            None => self.fill(None, None),
        }
    }

    /// Goes on to the next entry in the direction of travel.
    pub fn advance(&mut self) -> Result<()> {
        self.at += 1;
        if self.at < self.batch.len() || self.exhausted {
            return Ok(());
        }
        let Some(last) = self.batch.last().map(Position::to_owned) else { return Ok(()) };
        if let Some((_, key)) = split_prefix(&last.prefix) {
            self.fill(Some(key), Some(last.row));
        }
        Ok(())
    }

    /// The row beyond which those of the limit's own key are within it.
    fn beyond(&self, limit: &Limit) -> Option<RowId> {
        let row = limit.at.row.get();
        let beyond = match (limit.inclusive, self.reverse) {
            (false, _) => row,
            (true, false) => row.checked_add(1)?,
            (true, true) => row.checked_sub(1)?,
        };
        Some(RowId::new(beyond))
    }

    /// Replaces the chunk by the one from `start` on.
    fn fill(&mut self, start: Option<&[u8]>, beyond_row: Option<RowId>) {
        self.batch.clear();
        self.at = 0;
        let (index, reverse, below, limit) = (self.index, self.reverse, self.below, self.chunk_entries);
        let mut read = |start: Option<&[u8]>, beyond_row| {
            let scan = ChunkScan { index, start, beyond_row, reverse, below, limit };
            self.memtable.chunk(&scan, &mut self.batch)
        };
        let mut end = read(start, beyond_row);
        while let ChunkEnd::Resume(key) = &end {
            end = read(Some(key), None);
        }
        self.exhausted = end == ChunkEnd::Exhausted;
        self.chunk_entries = (self.chunk_entries * 2).min(CHUNK_ENTRIES_MAX);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lsm::key::IndexEntry;
    use crate::lsm::memtable::BTreeMemtable;
    use crate::lsm::merge::limits;
    use std::ops::Bound;

    #[test]
    fn chunks_join_without_a_gap_in_both_directions() {
        let index = IndexId::new(1);
        let memtable = Arc::new(BTreeMemtable::default());
        let keys: Vec<[u8; 2]> = (0..300u16).map(u16::to_be_bytes).collect();
        for row in [0, 1, 2] {
            let entry = |key| IndexEntry { index, key, row: RowId::new(row) };
            memtable.insert(&keys.iter().map(|key| entry(key)).collect::<Vec<_>>());
        }
        for reverse in [false, true] {
            let mut cursor = MemtableCursor::new(Arc::clone(&memtable) as _, index, reverse, RowId::new(2));
            let (start, _) = limits(index, Bound::Included(&keys[5]), Bound::Included(&keys[290]), reverse);
            cursor.seek(start.as_ref());
            let mut found = Vec::new();
            while let Some(entry) = cursor.current() {
                found.push((entry.prefix[4..].to_vec(), entry.row.get()));
                cursor.advance().expect("memory");
            }
            let kept: Box<dyn Iterator<Item = &[u8; 2]>> =
                if reverse { Box::new(keys[..=290].iter().rev()) } else { Box::new(keys[5..].iter()) };
            let rows = if reverse { [0, 1] } else { [1, 0] };
            let expected: Vec<_> = kept.flat_map(|key| rows.map(|row| (key.to_vec(), row))).collect();
            assert_eq!(found, expected);
        }
    }
}
