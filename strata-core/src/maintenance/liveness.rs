//! Which index entries are garbage: compaction asks the heap (rule 3).

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::Maintainer;
use crate::catalog::Catalog;
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
    /// The catalogs that some snapshot, or a commit that is not published yet, sees.
    pub(super) fn visible_catalogs(&self, horizon: &Horizon) -> Vec<Arc<Catalog>> {
        let timestamps = horizon.live.iter().copied().chain([horizon.published]);
        let mut catalogs: Vec<_> = timestamps.map(|timestamp| self.shared.catalog.at(timestamp)).collect();
        catalogs.push(self.shared.catalog.latest());
        catalogs.dedup_by(|a, b| Arc::ptr_eq(a, b));
        catalogs
    }

    pub(super) fn liveness(&self) -> HeapLiveness {
        let horizon = self.shared.store.snapshots.horizon();
        let (mut heap_of, mut maps) = (HashMap::new(), HashMap::new());
        let mut unique = HashSet::new();
        let memory = GarbageMemory::new(self.shared.store.cache.pool());
        for catalog in self.visible_catalogs(&horizon) {
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
        for catalog in self.visible_catalogs(horizon) {
            heaps.extend(catalog.tables().map(|table| table.heap));
        }
        heaps
    }
}
