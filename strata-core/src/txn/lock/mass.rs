//! Row locks of transactions that hold many: a bitmap per segment, owner, strength and savepoint.
//!
//! An owner has up to [`MAX_BITMAPS`] of a strength in a segment; a row that is locked after further savepoints is given back with the last
//! of those.

use std::collections::HashMap;

use super::modes::{LockMode, RowLockMode};
use crate::ids::{HeapId, RowId, SegmentId, TxnId};

/// So many single locks of one segment before a bitmap is begun.
const SINGLE_LOCKS: u32 = 128;
/// Bitmaps of one owner and strength in a segment.
const MAX_BITMAPS: usize = 4;
const WORDS: usize = 1 << 10;

type SegmentKey = (HeapId, SegmentId);

#[derive(Debug)]
struct Owner {
    txn: TxnId,
    mode: RowLockMode,
    /// The savepoint that the rows were locked after.
    savepoint: u64,
    bits: Box<[u64; WORDS]>,
}

impl Owner {
    fn has(&self, slot: u16) -> bool {
        self.bits[usize::from(slot >> 6)] >> (slot & 63) & 1 == 1
    }
}

/// The bitmaps, and how many locks each transaction has asked of each segment.
#[derive(Debug, Default)]
pub(super) struct MassLocks {
    owners: HashMap<SegmentKey, Vec<Owner>, foldhash::fast::RandomState>,
    asked: HashMap<TxnId, HashMap<SegmentKey, u32, foldhash::fast::RandomState>, foldhash::fast::RandomState>,
}

impl MassLocks {
    pub(super) fn conflicts(&self, txn: TxnId, heap: HeapId, row: RowId, mode: LockMode) -> bool {
        !self.owners.is_empty()
            && self.owners.get(&(heap, row.segment())).is_some_and(|owners| {
                owners.iter().any(|owner| {
                    owner.txn != txn && owner.has(row.slot()) && LockMode::Row(owner.mode).conflicts(mode)
                })
            })
    }

    pub(super) fn covers(&self, txn: TxnId, heap: HeapId, row: RowId, mode: RowLockMode) -> bool {
        !self.owners.is_empty()
            && self.owners.get(&(heap, row.segment())).is_some_and(|owners| {
                owners.iter().any(|owner| owner.txn == txn && owner.mode >= mode && owner.has(row.slot()))
            })
    }

    /// Counts a lock that nobody contends for, and holds it in a bitmap once the transaction has many there.
    pub(super) fn try_take(
        &mut self,
        txn: TxnId,
        heap: HeapId,
        row: RowId,
        mode: RowLockMode,
        savepoint: u64,
    ) -> bool {
        let segment = (heap, row.segment());
        let count = self.asked.entry(txn).or_default().entry(segment).or_insert(0);
        *count += 1;
        if *count <= SINGLE_LOCKS {
            return false;
        }
        let owners = self.owners.entry(segment).or_default();
        let own = owners.iter_mut().filter(|owner| owner.txn == txn && owner.mode == mode);
        let (count, last) = own.fold((0, None), |(count, _), owner| (count + 1, Some(owner)));
        let owner = match last {
            Some(last) if last.savepoint == savepoint || count == MAX_BITMAPS => last,
            _ => {
                owners.push(Owner { txn, mode, savepoint, bits: Box::new([0; WORDS]) });
                let Some(owner) = owners.last_mut() else { return false };
                owner
            }
        };
        owner.bits[usize::from(row.slot() >> 6)] |= 1 << (row.slot() & 63);
        true
    }

    /// Takes a row out of all bitmaps; its owners hold it singly from now on.
    pub(super) fn evict_row(&mut self, heap: HeapId, row: RowId) -> Vec<(TxnId, RowLockMode, u64)> {
        let Some(owners) = self.owners.get_mut(&(heap, row.segment())) else { return Vec::new() };
        let mut evicted = Vec::new();
        for owner in owners.iter_mut().filter(|owner| owner.has(row.slot())) {
            owner.bits[usize::from(row.slot() >> 6)] &= !(1 << (row.slot() & 63));
            evicted.push((owner.txn, owner.mode, owner.savepoint));
        }
        evicted
    }

    /// Ends the bitmaps of what was taken after a savepoint, or a later one.
    pub(super) fn release_since(&mut self, txn: TxnId, savepoint: u64) {
        for segment in self.asked.get(&txn).into_iter().flat_map(HashMap::keys) {
            if let Some(owners) = self.owners.get_mut(segment) {
                owners.retain(|owner| owner.txn != txn || owner.savepoint < savepoint);
            }
        }
    }

    /// Ends all of a transaction's bitmaps. Rows with waiters were evicted before, so nobody need be woken.
    pub(super) fn release(&mut self, txn: TxnId) {
        for segment in self.asked.remove(&txn).into_iter().flat_map(HashMap::into_keys) {
            if let Some(owners) = self.owners.get_mut(&segment) {
                owners.retain(|owner| owner.txn != txn);
                if owners.is_empty() {
                    self.owners.remove(&segment);
                }
            }
        }
    }
}
