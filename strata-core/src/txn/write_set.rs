//! What a transaction has written and not committed: a log with positions.
//!
//! Each write has a position, counted from 0 over the whole transaction. A statement, and an open cursor, reads
//! the *prefix* of writes made before it began: so an UPDATE never meets the rows that it writes itself (no
//! Halloween problem). Rolling back to a savepoint, or undoing one statement, cuts the log at a position.
//!
//! An own row has a *provisional* RowId, its ordinal among the transaction's rows of that heap, which sorts above
//! all real ones. Own rows that the transaction deletes again never reach the heap.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::error::Result;
use crate::ids::{HeapId, IndexId, LoadId, RowId};
use crate::manifest::SsTableMeta;
use crate::memory::{MemoryPool, Reservation};

/// An index key that a row has.
pub type RowKey = (IndexId, Arc<[u8]>);

/// A row that the transaction wrote.
#[derive(Clone, Debug)]
pub struct OwnRow {
    /// The encoded row.
    pub bytes: Arc<[u8]>,
    /// Its keys in the table's indexes.
    pub keys: Vec<RowKey>,
    written_at: u64,
    removed: Option<(u64, Option<u64>)>,
}

impl OwnRow {
    /// Whether a reader of the writes before `position` sees the row.
    pub fn is_visible(&self, position: u64) -> bool {
        self.written_at < position && self.removed.is_none_or(|(at, _)| at >= position)
    }
}

#[derive(Clone, Copy, Debug)]
struct OwnMark {
    written_at: u64,
    successor: Option<u64>,
}

/// Column blocks and index files that a bulk load has written and the commit will adopt.
#[derive(Clone, Debug)]
pub struct BulkPart {
    /// Ties the parts of one load together, for recovery.
    pub load: LoadId,
    /// The heap that gets the rows.
    pub heap: HeapId,
    /// The column blocks in order, each one segment: block, slots (all present).
    pub blocks: Vec<(crate::ids::BlockId, u32)>,
    /// Sorted index files; ordinals count segments of the load (`segment << 16 | slot`), unless `absolute`.
    pub tables: Vec<SsTableMeta>,
    /// Whether the index files hold real RowIds already (CREATE INDEX).
    pub absolute: bool,
    /// Rows in all blocks.
    pub rows: u64,
    written_at: u64,
}

/// One heap's share of the write set.
#[derive(Debug, Default)]
pub struct HeapWrites {
    rows: Vec<OwnRow>,
    marks: BTreeMap<RowId, OwnMark>,
    keys: BTreeMap<RowKey, Vec<u64>>,
}

/// A transaction's private writes.
#[derive(Debug)]
pub struct WriteSet {
    position: u64,
    heaps: BTreeMap<HeapId, HeapWrites>,
    loads: Vec<BulkPart>,
    memory: Reservation,
}

/// Memory that a row costs here beside its bytes, about.
const ROW_OVERHEAD_BYTES: usize = 96;
const KEY_OVERHEAD_BYTES: usize = 96;
const MARK_BYTES: usize = 64;

impl WriteSet {
    /// An empty write set that draws on `pool`.
    pub fn new(pool: &MemoryPool) -> Result<Self> {
        Ok(Self {
            position: 0,
            heaps: BTreeMap::new(),
            loads: Vec::new(),
            memory: pool.reserve("write set", 0)?,
        })
    }

    /// How many writes there are: the position that the next one gets.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// Whether nothing would be committed.
    pub fn is_empty(&self) -> bool {
        self.heaps.is_empty() && self.loads.is_empty()
    }

    /// The writes to one heap.
    pub fn heap(&self, heap: HeapId) -> Option<&HeapWrites> {
        self.heaps.get(&heap)
    }

    /// The writes by heap.
    pub fn heaps(&self) -> impl Iterator<Item = (HeapId, &HeapWrites)> {
        self.heaps.iter().map(|(heap, writes)| (*heap, writes))
    }

    /// The bulk loads, in order.
    pub fn loads(&self) -> &[BulkPart] {
        &self.loads
    }

    /// Bytes of memory held.
    pub fn size_bytes(&self) -> usize {
        self.memory.bytes()
    }

    /// Adds a row; returns its provisional RowId.
    ///
    /// # Errors
    /// `OutOfMemory`: the row is not added.
    pub fn insert(&mut self, heap: HeapId, bytes: Arc<[u8]>, keys: Vec<RowKey>) -> Result<RowId> {
        let key_bytes: usize = keys.iter().map(|(_, key)| key.len() + KEY_OVERHEAD_BYTES).sum();
        self.memory.grow(bytes.len() + ROW_OVERHEAD_BYTES + key_bytes)?;
        let written_at = self.next_position();
        let writes = self.heaps.entry(heap).or_default();
        let ordinal = writes.rows.len() as u64;
        for key in &keys {
            writes.keys.entry(key.clone()).or_default().push(ordinal);
        }
        writes.rows.push(OwnRow { bytes, keys, written_at, removed: None });
        Ok(RowId::provisional(ordinal))
    }

    /// Gives own rows a key of an index that was made after them.
    pub fn add_key(&mut self, heap: HeapId, row: RowId, key: RowKey) -> Result<()> {
        self.memory.grow(key.1.len() + KEY_OVERHEAD_BYTES)?;
        let ordinal = row.provisional_ordinal();
        if let Some(writes) = self.heaps.get_mut(&heap)
            && let Some(own) = usize::try_from(ordinal).ok().and_then(|place| writes.rows.get_mut(place))
        {
            own.keys.push(key.clone());
            writes.keys.entry(key).or_default().push(ordinal);
        }
        Ok(())
    }

    /// Ends a row version, committed or own. `successor` is the provisional RowId of the version that replaces it.
    pub fn mark(&mut self, heap: HeapId, row: RowId, successor: Option<RowId>) -> Result<()> {
        self.memory.grow(MARK_BYTES)?;
        let written_at = self.next_position();
        let successor = successor.map(RowId::provisional_ordinal);
        let writes = self.heaps.entry(heap).or_default();
        if row.is_provisional() {
            let place = usize::try_from(row.provisional_ordinal()).ok();
            if let Some(own) = place.and_then(|place| writes.rows.get_mut(place)) {
                debug_assert!(own.removed.is_none(), "rule 2: a version ends once");
                own.removed = Some((written_at, successor));
            }
        } else {
            let before = writes.marks.insert(row, OwnMark { written_at, successor });
            debug_assert!(before.is_none(), "rule 2: a version ends once");
        }
        Ok(())
    }

    /// Adds a bulk load's result.
    pub fn add_load(&mut self, mut part: BulkPart) {
        part.written_at = self.next_position();
        self.loads.push(part);
    }

    /// Undoes all writes from `position` on.
    pub fn rollback_to(&mut self, position: u64) {
        for writes in self.heaps.values_mut() {
            writes.rollback_to(position);
        }
        self.heaps.retain(|_, writes| !writes.rows.is_empty() || !writes.marks.is_empty());
        self.loads.retain(|load| load.written_at < position);
    }

    /// Drops the writes to a heap that the transaction itself has made obsolete (TRUNCATE, DROP).
    pub fn forget_heap(&mut self, heap: HeapId) {
        self.heaps.remove(&heap);
        self.loads.retain(|load| load.heap != heap);
    }

    fn next_position(&mut self) -> u64 {
        let position = self.position;
        self.position += 1;
        position
    }
}

impl BulkPart {
    /// A part that has not been added to a write set yet.
    pub fn new(
        load: LoadId,
        heap: HeapId,
        blocks: Vec<(crate::ids::BlockId, u32)>,
        tables: Vec<SsTableMeta>,
        absolute: bool,
    ) -> Self {
        let rows = blocks.iter().map(|(_, slots)| u64::from(*slots)).sum();
        Self { load, heap, blocks, tables, absolute, rows, written_at: 0 }
    }

    /// Its files of one index, in order.
    pub fn tables_of(&self, index: IndexId) -> Vec<SsTableMeta> {
        self.tables.iter().filter(|table| table.index() == Some(index)).cloned().collect()
    }

    /// Whether a reader of the writes before `position` sees the load.
    pub fn is_visible(&self, position: u64) -> bool {
        self.written_at < position
    }
}

impl HeapWrites {
    /// The own row of this provisional RowId.
    pub fn row(&self, row: RowId) -> Option<&OwnRow> {
        usize::try_from(row.provisional_ordinal()).ok().and_then(|place| self.rows.get(place))
    }

    /// The own rows that a reader of the writes before `position` sees.
    pub fn visible_rows(&self, position: u64) -> impl Iterator<Item = (RowId, &OwnRow)> {
        self.rows
            .iter()
            .enumerate()
            .filter(move |(_, row)| row.is_visible(position))
            .map(|(ordinal, row)| (RowId::provisional(ordinal as u64), row))
    }

    /// How many own rows there are, removed ones included.
    pub fn row_count(&self) -> usize {
        self.rows.len()
    }

    /// Whether a reader of the writes before `position` sees the committed row as gone.
    pub fn is_marked(&self, row: RowId, position: u64) -> bool {
        self.marks.get(&row).is_some_and(|mark| mark.written_at < position)
    }

    /// The committed rows in `range` that such a reader sees as gone, ascending.
    pub fn marked_in(
        &self,
        range: std::ops::Range<RowId>,
        position: u64,
    ) -> impl Iterator<Item = RowId> + '_ {
        self.marks.range(range).filter(move |(_, mark)| mark.written_at < position).map(|(row, _)| *row)
    }

    /// How many committed rows such a reader sees as gone.
    pub fn marked_count(&self, position: u64) -> u64 {
        self.marks.values().filter(|mark| mark.written_at < position).count() as u64
    }

    /// The own rows with this key, newest first, whether visible or not.
    pub fn rows_of_key(&self, key: &RowKey) -> impl Iterator<Item = RowId> + '_ {
        self.keys.get(key).into_iter().flatten().rev().map(|ordinal| RowId::provisional(*ordinal))
    }

    /// The own keys of an index from `lower` to `upper`, ascending, with their rows.
    pub fn keys_in(
        &self,
        range: (std::ops::Bound<RowKey>, std::ops::Bound<RowKey>),
    ) -> impl DoubleEndedIterator<Item = (&RowKey, &[u64])> {
        self.keys.range(range).map(|(key, ordinals)| (key, ordinals.as_slice()))
    }

    /// The committed rows that end with the commit, each with the own row that replaces it in the end.
    pub fn final_marks(&self) -> impl Iterator<Item = (RowId, Option<u64>)> + '_ {
        self.marks.iter().map(|(row, mark)| (*row, self.final_successor(mark.successor)))
    }

    /// The own rows that reach the heap, with their ordinals.
    pub fn final_rows(&self) -> impl Iterator<Item = (u64, &OwnRow)> {
        self.rows
            .iter()
            .enumerate()
            .filter(|(_, row)| row.removed.is_none())
            .map(|(ordinal, row)| (ordinal as u64, row))
    }

    /// Follows own rows that own rows replaced, to the one that is left; `None` where the last was deleted.
    fn final_successor(&self, mut successor: Option<u64>) -> Option<u64> {
        while let Some(ordinal) = successor {
            match usize::try_from(ordinal).ok().and_then(|place| self.rows.get(place))?.removed {
                None => return Some(ordinal),
                Some((_, next)) => successor = next,
            }
        }
        None
    }

    fn rollback_to(&mut self, position: u64) {
        while let Some(row) = self.rows.last() {
            if row.written_at < position {
                break;
            }
            let ordinal = self.rows.len() as u64 - 1;
            for key in self.rows.pop().into_iter().flat_map(|row| row.keys) {
                if let Some(ordinals) = self.keys.get_mut(&key) {
                    ordinals.retain(|other| *other != ordinal);
                    if ordinals.is_empty() {
                        self.keys.remove(&key);
                    }
                }
            }
        }
        for row in &mut self.rows {
            if row.removed.is_some_and(|(at, _)| at >= position) {
                row.removed = None;
            }
        }
        self.marks.retain(|_, mark| mark.written_at < position);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAP: HeapId = HeapId::new(7);

    fn key(bytes: &[u8]) -> RowKey {
        (IndexId::new(1), bytes.into())
    }

    fn set() -> WriteSet {
        WriteSet::new(&MemoryPool::new(1 << 20)).expect("an empty set costs nothing")
    }

    #[test]
    fn a_reader_sees_the_prefix_before_it() {
        let mut writes = set();
        let first = writes.insert(HEAP, b"a".as_slice().into(), vec![key(b"a")]).expect("memory");
        let before = writes.position();
        let second = writes.insert(HEAP, b"b".as_slice().into(), vec![key(b"b")]).expect("memory");
        writes.mark(HEAP, first, Some(second)).expect("memory");
        writes.mark(HEAP, RowId::new(3), None).expect("memory");
        let heap = writes.heap(HEAP).expect("written to");
        let seen = |position| heap.visible_rows(position).map(|(row, _)| row).collect::<Vec<_>>();
        assert_eq!(seen(before), vec![first]);
        assert_eq!(seen(writes.position()), vec![second]);
        assert!(!heap.is_marked(RowId::new(3), before));
        assert!(heap.is_marked(RowId::new(3), writes.position()));
    }

    #[test]
    fn rolling_back_restores_what_the_position_showed() {
        let mut writes = set();
        let first = writes.insert(HEAP, b"a".as_slice().into(), vec![key(b"a")]).expect("memory");
        let savepoint = writes.position();
        let second = writes.insert(HEAP, b"b".as_slice().into(), vec![key(b"a")]).expect("memory");
        writes.mark(HEAP, first, Some(second)).expect("memory");
        writes.mark(HEAP, RowId::new(9), None).expect("memory");
        writes.rollback_to(savepoint);
        let heap = writes.heap(HEAP).expect("the first row is left");
        assert_eq!(heap.rows_of_key(&key(b"a")).collect::<Vec<_>>(), vec![first]);
        assert_eq!(heap.final_rows().count(), 1);
        assert_eq!(heap.final_marks().count(), 0);
        writes.rollback_to(0);
        assert!(writes.is_empty());
    }

    #[test]
    fn a_committed_row_is_replaced_by_the_last_of_its_own_versions() {
        let mut writes = set();
        let first = writes.insert(HEAP, b"1".as_slice().into(), vec![]).expect("memory");
        writes.mark(HEAP, RowId::new(5), Some(first)).expect("memory");
        let second = writes.insert(HEAP, b"2".as_slice().into(), vec![]).expect("memory");
        writes.mark(HEAP, first, Some(second)).expect("memory");
        let heap = writes.heap(HEAP).expect("written to");
        assert_eq!(heap.final_marks().collect::<Vec<_>>(), vec![(RowId::new(5), Some(1))]);
        assert_eq!(heap.final_rows().map(|(ordinal, _)| ordinal).collect::<Vec<_>>(), vec![1]);
        writes.mark(HEAP, second, None).expect("memory");
        let heap = writes.heap(HEAP).expect("written to");
        assert_eq!(heap.final_marks().collect::<Vec<_>>(), vec![(RowId::new(5), None)]);
    }
}
