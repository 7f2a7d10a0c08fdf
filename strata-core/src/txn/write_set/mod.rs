//! What a transaction has written and not committed: a log with positions.
//!
//! Each write has a position, counted from 0 over the whole transaction and never given twice. A statement, and an open cursor, reads
//! the *prefix* of writes made before it began: so an UPDATE never meets the rows that it writes itself (no
//! Halloween problem).
//!
//! An own row has a *provisional* RowId, its ordinal among the transaction's rows of that heap, which sorts above
//! all real ones. Own rows that the transaction deletes again never reach the heap. One that replaces a committed row leads back to it
//! ([`HeapWrites::original`]): until the commit that is the row which others meet, and lock.
//!
//! **Savepoints.** [`WriteSet::rollback_to`] cuts the log at a position, at a cost of what it undoes. Readers of the writes before
//! that position are not disturbed. Those that began later would miss what is undone, and take the ordinals that are used again
//! for the rows before: they are left a set of their own ([`WriteSet::copy`]).
//!
//! **Heaps given up.** TRUNCATE and DROP only note that a heap's writes are not to be committed, since a savepoint may bring them back.
//!
//! | module | what |
//! |---|---|
//! | `endings` | which rows have ended, in little memory |
//! | `heap_writes` | one heap's rows, marks and keys, and how they are undone |
//! | `spilled` | own rows that are not kept in memory |
//! | `load` | what a bulk load leaves for the commit to adopt |

mod endings;
mod heap_writes;
mod load;
mod spilled;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;

use heap_writes::Mark;
pub use heap_writes::{FinalMarks, HeapWrites, OwnRow};
pub use load::BulkPart;
pub use spilled::{Spilled, SpilledKeys, SpilledSegment};

use crate::block::ReleaseBlock;
use crate::cache::PageCache;
use crate::error::{Error, Result};
use crate::heap::ColumnImage;
use crate::ids::{BlockId, HeapId, IndexId, LoadId, RowId};
use crate::lsm::TableRun;
use crate::manifest::SsTableMeta;
use crate::memory::{MemoryPool, Reservation};

/// An index key that a row has.
pub type RowKey = (IndexId, Arc<[u8]>);

/// A transaction's private writes.
#[derive(Debug)]
pub struct WriteSet {
    position: u64,
    heaps: BTreeMap<HeapId, HeapWrites>,
    loads: Vec<BulkPart>,
    /// Heaps that the transaction has made obsolete, each with the position of that.
    given_up: Vec<(u64, HeapId)>,
    memory: Reservation,
}

impl WriteSet {
    /// An empty write set that draws on `pool`.
    pub fn new(pool: &MemoryPool) -> Result<Self> {
        Ok(Self {
            position: 0,
            heaps: BTreeMap::new(),
            loads: Vec::new(),
            given_up: Vec::new(),
            memory: pool.reserve("write set", 0)?,
        })
    }

    /// How many writes there were: the position that the next one gets.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// Whether nothing would be committed.
    pub fn is_empty(&self) -> bool {
        self.final_heaps().next().is_none() && self.final_loads().next().is_none()
    }

    /// The writes to one heap.
    pub fn heap(&self, heap: HeapId) -> Option<&HeapWrites> {
        self.heaps.get(&heap)
    }

    /// The writes that a commit makes, by heap.
    pub fn final_heaps(&self) -> impl Iterator<Item = (HeapId, &HeapWrites)> {
        let heaps = self.heaps.iter().map(|(heap, writes)| (*heap, writes));
        heaps.filter(|(heap, writes)| !writes.is_empty() && !self.is_given_up(*heap))
    }

    /// The bulk loads, in order.
    pub fn loads(&self) -> &[BulkPart] {
        &self.loads
    }

    /// The bulk loads that a commit adopts, in order; own rows that were written out are one.
    pub fn final_loads(&self) -> impl Iterator<Item = &BulkPart> {
        let loads = self.loads.iter().filter(|load| !self.is_given_up(load.heap));
        loads.chain(self.final_heaps().filter_map(|(_, writes)| writes.spilled().part()))
    }

    /// The heaps that a commit writes to of which own rows were written out.
    pub fn spilled_heaps(&self) -> impl Iterator<Item = HeapId> {
        let heaps = self.final_heaps().filter(|(_, writes)| !writes.spilled().segments().is_empty());
        heaps.map(|(heap, _)| heap)
    }

    /// The own rows of a heap that are in memory stand in this block now, and their keys in these runs. `false` where they must stay.
    /// The locks of the keys go on taking `locks_bytes` for as long as the rows are not undone.
    pub fn spill(
        &mut self,
        heap: HeapId,
        block: (BlockId, Arc<ColumnImage>),
        keys: SpilledKeys,
        locks_bytes: usize,
    ) -> bool {
        let freed = self.heaps.get_mut(&heap).and_then(|writes| writes.spill(block, keys, locks_bytes));
        self.memory.shrink(freed.unwrap_or(0));
        freed.is_some()
    }

    /// Puts one run of keys in the place of those from `first` on.
    pub fn unite_spilled_runs(&mut self, heap: HeapId, first: usize, united: TableRun) {
        if let Some(writes) = self.heaps.get_mut(&heap) {
            writes.spilled_mut().unite_runs(first, united);
        }
    }

    /// Notes what the commit adopts of the own rows that were written out: their blocks, and the files of `keys`.
    pub fn set_spilled_part(&mut self, heap: HeapId, part: BulkPart, keys: TableRun) {
        if let Some(writes) = self.heaps.get_mut(&heap) {
            writes.spilled_mut().set_part(part, keys);
        }
    }

    /// Adds the keys that own rows which were written out have in an index that was made after them.
    pub fn add_spilled_keys(&mut self, heap: HeapId, keys: TableRun) {
        let written_at = self.next_position();
        self.heaps.entry(heap).or_default().spilled_mut().add_later(written_at, keys);
    }

    /// Adds the files that a bulk load has of an index which was made after it.
    pub fn grow_load(&mut self, load: LoadId, tables: Vec<SsTableMeta>, cache: &Arc<PageCache>) {
        let written_at = self.next_position();
        match self.loads.iter_mut().find(|part| part.load == load) {
            Some(part) => part.grow(written_at, tables, cache),
            None => tables.iter().for_each(|table| cache.release(table.block)),
        }
    }

    fn is_given_up(&self, heap: HeapId) -> bool {
        self.given_up.iter().any(|(_, given_up)| *given_up == heap)
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
        self.memory.grow(heap_writes::row_cost(&bytes, &keys))?;
        let written_at = self.next_position();
        Ok(self.heaps.entry(heap).or_default().insert(written_at, bytes, keys))
    }

    /// Gives own rows a key of an index that was made after them.
    pub fn add_key(&mut self, heap: HeapId, row: RowId, key: RowKey) -> Result<()> {
        self.memory.grow(heap_writes::added_key_cost(&key))?;
        let written_at = self.next_position();
        self.heaps.entry(heap).or_default().add_key(written_at, row, key);
        Ok(())
    }

    /// Ends a row version, committed or own. `successor` is the provisional RowId of the version that replaces it.
    ///
    /// # Errors
    /// `OutOfMemory`; `Invalid` where the transaction has ended it before (rule 2). Nothing is written then.
    pub fn mark(&mut self, heap: HeapId, row: RowId, successor: Option<RowId>) -> Result<()> {
        self.end(heap, Mark { row, successor, moved: false, seen_as: None })
    }

    /// As [`mark`](Self::mark), for a committed row that the transaction's snapshot shows as `seen`: it was moved since.
    pub fn mark_moved(
        &mut self,
        heap: HeapId,
        seen: RowId,
        row: RowId,
        successor: Option<RowId>,
    ) -> Result<()> {
        self.end(heap, Mark { row, successor, moved: false, seen_as: Some(seen) })
    }

    /// Ends a committed row version that is the same as its successor, in another place.
    pub fn move_row(&mut self, heap: HeapId, row: RowId, successor: RowId) -> Result<()> {
        self.end(heap, Mark { row, successor: Some(successor), moved: true, seen_as: None })
    }

    fn end(&mut self, heap: HeapId, mark: Mark) -> Result<()> {
        let writes = self.heaps.entry(heap).or_default();
        if writes.has_ended(mark.row) {
            return Err(Error::Invalid(format!("the transaction has ended row {} before", mark.row)));
        }
        let cost = writes.mark_cost(&mark);
        if cost > 0 {
            self.memory.grow(cost)?;
        }
        let taken = writes.mark(self.position, mark);
        self.position += 1;
        if taken < cost {
            self.memory.shrink(cost - taken);
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
        let undone: usize = self.heaps.values_mut().map(|writes| writes.rollback_to(position)).sum();
        self.memory.shrink(undone);
        self.heaps.retain(|_, writes| {
            let kept = !writes.is_empty();
            if !kept {
                writes.spilled().discard();
            }
            kept
        });
        self.given_up.retain(|(at, _)| *at < position);
        let kept = self.loads.partition_point(|load| load.written_at < position);
        for load in self.loads.drain(kept..) {
            load.discard();
        }
        self.loads.iter_mut().for_each(|load| load.rollback_to(position));
    }

    /// The same writes, for a transaction that leaves these to their readers. Their memory is counted twice where the pool has
    /// room for it, else once.
    pub fn copy(&mut self, pool: &MemoryPool) -> Self {
        let bytes = self.memory.bytes();
        let memory = pool.try_reserve("write set", bytes);
        Self {
            position: self.position,
            heaps: self.heaps.clone(),
            loads: self.loads.clone(),
            given_up: self.given_up.clone(),
            memory: memory.unwrap_or_else(|| self.memory.split(bytes)),
        }
    }

    /// The writes to a heap are not to be committed: the transaction itself has made it obsolete (TRUNCATE, DROP).
    pub fn give_up_heap(&mut self, heap: HeapId) {
        let at = self.next_position();
        self.given_up.push((at, heap));
    }

    /// After a commit: the blocks that it has not adopted are released.
    pub fn discard_given_up(&self) {
        for load in self.loads.iter().filter(|load| self.is_given_up(load.heap)) {
            load.discard();
        }
        for (heap, writes) in &self.heaps {
            if self.is_given_up(*heap) {
                writes.spilled().discard();
            } else {
                writes.spilled().release_runs();
            }
        }
    }

    /// After the end of a transaction that does not commit: the blocks of all loads are released.
    pub fn discard_loads(&self) {
        for load in &self.loads {
            load.discard();
        }
        self.heaps.values().for_each(|writes| writes.spilled().discard());
    }

    fn next_position(&mut self) -> u64 {
        let position = self.position;
        self.position += 1;
        position
    }
}
