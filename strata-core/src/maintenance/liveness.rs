//! Which index entries are garbage: compaction asks the heap (rule 3).

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::Maintainer;
use crate::catalog::system::SystemTable;
use crate::heap::{GarbageMap, GarbageMemory, Horizon};
use crate::ids::{HeapId, IndexId, RowId};
use crate::lsm::Liveness;

/// The heaps and the horizon at one instant. A version that is garbage stays so.
pub(super) struct HeapLiveness {
    heap_of: HashMap<IndexId, Arc<GarbageMap>>,
    unique: HashSet<IndexId>,
}

impl Liveness for HeapLiveness {
    fn is_garbage(&self, index: IndexId, row: RowId) -> bool {
        self.heap_of.get(&index).is_some_and(|garbage| garbage.is_garbage(row))
    }

    fn index_exists(&self, index: IndexId) -> bool {
        self.heap_of.contains_key(&index)
    }

    fn is_unique(&self, index: IndexId) -> bool {
        self.unique.contains(&index)
    }
}

impl Maintainer {
    pub(super) fn liveness(&self) -> HeapLiveness {
        let horizon = self.shared.store.snapshots.horizon();
        let (mut heap_of, mut maps) = (HashMap::new(), HashMap::new());
        let mut unique = HashSet::new();
        let memory = GarbageMemory::new(self.shared.store.cache.pool());
        for catalog in self.shared.catalog.in_use(&horizon) {
            for table in catalog.tables().filter(|table| !table.indexes.is_empty()) {
                let map = maps.entry(table.heap).or_insert_with(|| {
                    let heap = self.shared.store.heaps.get_or_create(table.heap);
                    Arc::new(heap.garbage_map(horizon.clone(), &memory))
                });
                heap_of.extend(table.indexes.iter().map(|index| (index.id, Arc::clone(map))));
                unique.extend(table.indexes.iter().filter(|index| index.unique).map(|index| index.id));
            }
        }
        HeapLiveness { heap_of, unique }
    }

    /// The heaps that some catalog in use names; the others belonged to dropped or truncated tables.
    pub(super) fn used_heaps(&self, horizon: &Horizon) -> HashSet<HeapId> {
        let mut heaps: HashSet<HeapId> = SystemTable::ALL.iter().map(|table| table.heap()).collect();
        for catalog in self.shared.catalog.in_use(horizon) {
            heaps.extend(catalog.tables().map(|table| table.heap));
        }
        heaps
    }
}

#[cfg(test)]
mod tests {
    use crate::maintenance::rig::{create_table, in_memory};
    use crate::table::Isolation;
    use crate::txn::block_on;

    /// Between the horizon and the look at the catalogs, a table is published, read, and dropped.
    #[test]
    fn a_table_that_comes_and_goes_after_the_horizon_is_kept_for_its_reader() {
        let db = in_memory();
        let horizon = db.maintainer().shared.store.snapshots.horizon();
        let table = create_table(&db, 1);
        let reader = db.view();
        let heap = reader.table(table).expect("is there").def().heap;
        let mut txn = db.begin(Isolation::ReadCommitted).expect("begins");
        block_on(txn.change_catalog(|catalog| catalog.drop_relation(table))).expect("dropped");
        txn.commit().expect("commits").wait().expect("durable");
        assert!(db.maintainer().used_heaps(&horizon).contains(&heap));
    }
}
