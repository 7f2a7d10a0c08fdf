//! Rows in key order: the index's entries merged with the transaction's own keys, less what is not visible.

use std::ops::Bound;
use std::sync::Arc;

use super::view::TableView;
use crate::error::Result;
use crate::heap::Horizon;
use crate::ids::{IndexId, RowId};
use crate::lsm::{RangeCursor, RunMerge, TableRun};
use crate::txn::HeapWrites;

/// An iterator over the visible rows of a range of an index.
pub struct IndexScan {
    table: TableView,
    cursor: RangeCursor,
    committed: Option<(Vec<u8>, RowId)>,
    own: std::iter::Peekable<std::vec::IntoIter<(Arc<[u8]>, RowId)>>,
    /// Of own rows that were written out.
    spilled: Option<RunMerge>,
    spilled_next: Option<(Arc<[u8]>, RowId)>,
    own_next: Option<(Arc<[u8]>, RowId)>,
    reverse: bool,
    index: IndexId,
    /// Entries passed that were not visible.
    passed: usize,
    horizon: Option<Horizon>,
}

/// So many invisible entries are passed without a thought.
const PASSED_FEW: usize = 8;

impl IndexScan {
    pub(super) fn new(
        table: TableView,
        index: IndexId,
        lower: Bound<Vec<u8>>,
        upper: Bound<Vec<u8>>,
        reverse: bool,
    ) -> Result<Self> {
        // In one moment: rows in memory may be written out at any time.
        let (own, spilled) = table
            .with_own(|own, position| {
                let keys = own_keys(own, position, index, (&lower, &upper), reverse);
                let runs: Vec<TableRun> = own.spilled().all_runs().cloned().collect();
                let bounds = (lower.as_ref().map(Vec::as_slice), upper.as_ref().map(Vec::as_slice));
                let merge =
                    (!runs.is_empty()).then(|| RunMerge::range(&runs, index, bounds.0, bounds.1, reverse));
                (keys, merge)
            })
            .unwrap_or_default();
        let tree = &table.view().shared().store.tree;
        let cursor = tree.range(index, lower, upper, reverse, table.row_end());
        let mut scan = Self {
            table,
            cursor,
            committed: None,
            own: own.into_iter().peekable(),
            spilled,
            spilled_next: None,
            own_next: None,
            reverse,
            index,
            passed: 0,
            horizon: None,
        };
        scan.committed = scan.next_committed()?;
        scan.spilled_next = scan.next_spilled()?;
        scan.own_next = scan.next_own()?;
        Ok(scan)
    }

    /// The next entry of the index whose row is visible.
    fn next_committed(&mut self) -> Result<Option<(Vec<u8>, RowId)>> {
        while let Some((key, row)) = self.cursor.next()? {
            if self.table.is_visible(row)? {
                return Ok(Some((key.to_vec(), row)));
            }
            self.passed += 1;
            let many = self.passed > PASSED_FEW;
            let key = if many { key.to_vec() } else { Vec::new() };
            if many || self.cursor.has_leapt() {
                self.note_if_garbage(&key, row);
            }
        }
        Ok(None)
    }

    /// The next visible own row that was written out.
    fn next_spilled(&mut self) -> Result<Option<(Arc<[u8]>, RowId)>> {
        let Some(spilled) = &mut self.spilled else { return Ok(None) };
        while let Some((_, key, row)) = spilled.next()? {
            let row = RowId::provisional(row.get());
            if self.table.is_visible(row)? {
                return Ok(Some((key.into(), row)));
            }
        }
        Ok(None)
    }

    /// The next visible own row.
    fn next_own(&mut self) -> Result<Option<(Arc<[u8]>, RowId)>> {
        let in_memory_first = match (self.own.peek(), &self.spilled_next) {
            (_, None) => true,
            (None, Some(_)) => false,
            (Some((own, _)), Some((spilled, _))) => {
                if self.reverse {
                    own >= spilled
                } else {
                    own <= spilled
                }
            }
        };
        if in_memory_first {
            return Ok(self.own.next());
        }
        let next = self.next_spilled()?;
        Ok(std::mem::replace(&mut self.spilled_next, next))
    }

    /// Sees to it that later scans need not pass an entry again that nobody can see the row of.
    fn note_if_garbage(&mut self, key: &[u8], row: RowId) {
        let store = &self.table.view().shared().store;
        let horizon = self.horizon.get_or_insert_with(|| store.snapshots.horizon());
        let garbage = self.table.heap().garbage(horizon);
        if garbage.is_garbage(row) && self.cursor.note_garbage() && !key.is_empty() {
            store.tree.remove_garbage(self.index, key, &garbage);
        }
    }

    /// The next visible row, with its key.
    pub fn next_entry(&mut self) -> Result<Option<(Vec<u8>, RowId)>> {
        let own_first = match (&self.committed, &self.own_next) {
            (None, None) => return Ok(None),
            (Some(_), None) => false,
            (None, Some(_)) => true,
            (Some((key, _)), Some((own, _))) => {
                if self.reverse {
                    own.as_ref() >= key.as_slice()
                } else {
                    own.as_ref() <= key.as_slice()
                }
            }
        };
        if own_first {
            let next = self.next_own()?;
            return Ok(std::mem::replace(&mut self.own_next, next).map(|(key, row)| (key.to_vec(), row)));
        }
        let next = self.next_committed()?;
        Ok(std::mem::replace(&mut self.committed, next))
    }
}

impl Iterator for IndexScan {
    type Item = Result<RowId>;

    fn next(&mut self) -> Option<Result<RowId>> {
        self.next_entry().map(|entry| entry.map(|(_, row)| row)).transpose()
    }
}

/// The visible own rows in memory, by key.
fn own_keys(
    own: &HeapWrites,
    position: u64,
    index: IndexId,
    (lower, upper): (&Bound<Vec<u8>>, &Bound<Vec<u8>>),
    reverse: bool,
) -> Vec<(Arc<[u8]>, RowId)> {
    let bound = |bound: &Bound<Vec<u8>>, open: Bound<(IndexId, Arc<[u8]>)>| match bound {
        Bound::Included(key) => Bound::Included((index, key.as_slice().into())),
        Bound::Excluded(key) => Bound::Excluded((index, key.as_slice().into())),
        Bound::Unbounded => open,
    };
    let first = Bound::Included((index, [].as_slice().into()));
    let after = Bound::Excluded((IndexId::new(index.get() + 1), [].as_slice().into()));
    let range = (bound(lower, first), bound(upper, after));
    if is_empty(&range) {
        return Vec::new();
    }
    let mut rows = Vec::new();
    for (key, ordinals) in own.keys_in(range) {
        let visible = ordinals.iter().map(|ordinal| RowId::provisional(*ordinal));
        let visible = visible.filter(|row| own.sees(*row, position));
        rows.extend(visible.map(|row| (key.1.clone(), row)));
    }
    if reverse {
        rows.reverse();
    }
    rows
}

/// Whether a range holds nothing; `BTreeMap::range` panics on some of those.
fn is_empty<T: Ord>(range: &(Bound<T>, Bound<T>)) -> bool {
    match range {
        (Bound::Included(lower), Bound::Included(upper)) => lower > upper,
        (
            Bound::Included(lower) | Bound::Excluded(lower),
            Bound::Included(upper) | Bound::Excluded(upper),
        ) => lower >= upper,
        _ => false,
    }
}
