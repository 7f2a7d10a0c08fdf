//! Moving rows out of nearly empty segments, so that their space can go (ARCHITECTURE.md section 4, "Reclaim").
//!
//! A move is a commit like any other: each row's version ends, with a mark that says *moved*, and the same row stands at the
//! heap's end, with its index entries. Snapshots before it go on seeing the old place, later ones see the new one. Nobody
//! waits for a move, and a move waits for nobody: a row that is locked in any way is passed over, and so is a table
//! that is being altered. Whoever comes to a row that was moved follows it, at any level, as if nothing had happened.

use std::sync::Arc;

use super::shared::Shared;
use super::transaction::{Isolation, Transaction};
use super::view::TableView;
use crate::error::Result;
use crate::heap::SegmentView;
use crate::ids::{HeapId, RowId, SegmentId, TableId};
use crate::txn::{CommitTicket, LockMode, Resource, RowLockMode, TableLockMode};

/// Row bytes after which a move takes no more rows.
const MOVE_BYTES: usize = 8 << 20;

/// What became of segments whose rows were to be moved.
#[derive(Debug, Default)]
pub struct Relocated {
    /// The commit that moves rows, if there were any to be moved.
    pub commit: Option<CommitTicket>,
    /// Segments that have rows which could not be moved now.
    pub passed_over: Vec<SegmentId>,
}

/// Moves the live rows of some segments of a table to the end of its heap. What is too much for one commit is left for another.
///
/// # Errors
/// Those of reading the rows and of a commit; nothing is moved then.
pub fn relocate(
    shared: &Arc<Shared>,
    table: TableId,
    heap: HeapId,
    segments: &[SegmentId],
) -> Result<Relocated> {
    let txn = Transaction::begin(shared.clone(), Isolation::ReadCommitted)?;
    let mode = LockMode::Table(TableLockMode::RowExclusive);
    if !shared.store.locks.try_acquire(txn.id(), &Resource::Table(table), mode) {
        return Ok(Relocated { commit: None, passed_over: segments.to_vec() });
    }
    // While the table is locked, what the newest snapshot says of it holds.
    let view = txn.view();
    if view.catalog().table(table).map(|def| def.heap).ok() != Some(heap) {
        return Ok(Relocated::default());
    }
    let view = view.table(table)?;
    let mut passed_over = Vec::new();
    let mut moving = Moving { txn: &txn, view: &view, bytes: 0 };
    for id in segments {
        let Some(segment) = view.heap().segment(*id, view.view().snapshot().timestamp()) else { continue };
        if !moving.segment(&segment)? {
            passed_over.push(*id);
        }
    }
    let commit = if txn.is_read_only() { None } else { Some(txn.commit()?) };
    Ok(Relocated { commit, passed_over })
}

struct Moving<'a> {
    txn: &'a Transaction,
    view: &'a TableView,
    bytes: usize,
}

impl Moving<'_> {
    /// Moves the rows of a segment; `false` where some were passed over.
    fn segment(&mut self, segment: &SegmentView) -> Result<bool> {
        let mut all = true;
        let end = segment.slots().next_multiple_of(64);
        for slot in self.view.visible_slots(segment, 0..end)? {
            if self.bytes >= MOVE_BYTES {
                break;
            }
            all &= self.row(segment.segment().first_row().offset(u64::from(slot)))?;
        }
        Ok(all)
    }

    /// Moves a row; `false` where somebody has locked it.
    fn row(&mut self, row: RowId) -> Result<bool> {
        // The strongest mode: whoever holds the row in a weaker one would not hold it in its new place.
        let (resource, mode) = (Resource::Row(self.view.def().heap, row), LockMode::Row(RowLockMode::Update));
        if !self.txn.shared().store.locks.try_acquire(self.txn.id(), &resource, mode) {
            return Ok(false);
        }
        // It may have ended since the snapshot.
        if self.view.heap().mark(row)?.is_none() {
            self.bytes += self.txn.move_row(self.view, row)?;
        }
        Ok(true)
    }
}
