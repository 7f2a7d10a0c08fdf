//! A run of decoded entries in two flat buffers: what a source hands to its cursor at a time.

use crate::ids::{IndexId, RowId};
use crate::lsm::key::Position;

/// Entries in ascending order, prefixes end to end in one buffer.
#[derive(Debug, Default)]
pub(crate) struct EntryBatch {
    bytes: Vec<u8>,
    ends: Vec<usize>,
    rows: Vec<RowId>,
}

impl EntryBatch {
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
        self.rows.clear();
    }

    pub fn len(&self) -> usize {
        self.rows.len()
    }

    pub fn get(&self, index: usize) -> Option<Position<'_>> {
        let row = *self.rows.get(index)?;
        let start = if index == 0 { 0 } else { *self.ends.get(index - 1)? };
        Some(Position { prefix: self.bytes.get(start..*self.ends.get(index)?)?, row })
    }

    pub fn last(&self) -> Option<Position<'_>> {
        self.get(self.len().checked_sub(1)?)
    }

    /// Appends the entry of a memtable.
    pub fn push_key(&mut self, index: IndexId, key: &[u8], row: RowId) {
        self.bytes.extend_from_slice(&index.get().to_be_bytes());
        self.bytes.extend_from_slice(key);
        self.close(row);
    }

    /// Appends an entry that shares `shared` bytes with the one before; false where that one is shorter.
    pub fn push_shared(&mut self, shared: usize, rest: &[u8], row: RowId) -> bool {
        let end = self.bytes.len();
        let start = match self.ends.len() {
            0 | 1 => 0,
            len => self.ends[len - 2],
        };
        if shared > end - start || (self.ends.is_empty() && shared > 0) {
            return false;
        }
        self.bytes.extend_from_within(start..start + shared);
        self.bytes.extend_from_slice(rest);
        self.close(row);
        true
    }

    fn close(&mut self, row: RowId) {
        self.ends.push(self.bytes.len());
        self.rows.push(row);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shared_prefixes_unfold_and_too_long_ones_are_refused() {
        let mut batch = EntryBatch::default();
        assert!(!batch.push_shared(1, b"x", RowId::ZERO));
        assert!(batch.push_shared(0, b"abcd", RowId::new(4)));
        assert!(batch.push_shared(2, b"z", RowId::new(3)));
        assert!(batch.push_shared(3, b"", RowId::new(2)));
        assert!(!batch.push_shared(4, b"", RowId::new(1)));
        let found: Vec<_> = (0..batch.len()).filter_map(|at| batch.get(at)).collect();
        let expected = [(&b"abcd"[..], 4), (b"abz", 3), (b"abz", 2)];
        assert_eq!(found, expected.map(|(prefix, row)| Position { prefix, row: RowId::new(row) }));
        assert_eq!(batch.last(), found.last().copied());
    }
}
