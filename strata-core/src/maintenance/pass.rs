//! One pass over all segments, which ends whatever commits beside it: VACUUM.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use crate::heap::Heap;
use crate::ids::{HeapId, SegmentId};

/// The segments that a pass goes over: those that are there when it begins, each of which it encodes once. Without that an
/// update for each segment that is encoded would keep it from ending.
#[derive(Debug)]
pub(super) struct Pass {
    /// The segment that each heap's next row goes to.
    ends: HashMap<HeapId, SegmentId>,
    done: BTreeSet<(HeapId, SegmentId)>,
}

impl Pass {
    pub(super) fn begin(heaps: &[Arc<Heap>]) -> Self {
        let ends = heaps.iter().map(|heap| (heap.id(), heap.next_row().segment()));
        Self { ends: ends.collect(), done: BTreeSet::new() }
    }

    /// Whether there is something for the pass to do with a segment.
    pub(super) fn covers(&self, heap: HeapId, segment: SegmentId) -> bool {
        self.ends.get(&heap).is_some_and(|end| segment < *end) && !self.done.contains(&(heap, segment))
    }

    /// Leaves segments alone from here on: they were encoded, or that failed.
    pub(super) fn leave(&mut self, heap: HeapId, segments: &[SegmentId]) {
        self.done.extend(segments.iter().map(|segment| (heap, *segment)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Database;
    use crate::ids::{RowId, TableId};
    use crate::maintenance::rig::{create_table, in_memory};
    use crate::table::Isolation;
    use crate::txn::{RowLockMode, TableLockMode, block_on};

    fn delete(db: &Database, table: TableId, row: RowId) {
        let txn = db.begin(Isolation::ReadCommitted).expect("begins");
        block_on(txn.lock_table(table, TableLockMode::RowExclusive)).expect("free");
        let view = txn.view().into_table(table).expect("is there");
        block_on(txn.lock_row(&view, row, RowLockMode::Update)).expect("free");
        txn.delete(&view, row).expect("deleted");
        txn.commit().expect("commits").wait().expect("durable");
    }

    /// Each row that ends makes its segment worth encoding again.
    #[test]
    fn a_pass_ends_whatever_ends_beside_it() {
        let db = in_memory();
        let table = create_table(&db, 10_000);
        db.vacuum().expect("vacuums");
        let maintainer = db.maintainer();
        let mut pass = Pass::begin(&maintainer.shared.store.heaps.all());
        let steps = (0..20).take_while(|row| {
            delete(&db, table, RowId::new(*row));
            maintainer.prune();
            maintainer.reclaim_once(true, Some(&mut pass)).expect("works").is_some()
        });
        assert_eq!(steps.count(), 1, "it encodes the one segment");
    }
}
