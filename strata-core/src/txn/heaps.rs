//! The heaps of a database by id.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::RwLock;

use crate::heap::{Heap, HeapEnv};
use crate::ids::HeapId;

/// The heaps there are. Its lock is a leaf, held only to look one up or to add one.
pub struct HeapSet {
    env: HeapEnv,
    segment_bytes: u64,
    heaps: RwLock<BTreeMap<HeapId, Arc<Heap>>>,
}

impl HeapSet {
    /// No heaps yet. Their segments take no more rows after so many row bytes.
    pub fn new(env: HeapEnv, segment_bytes: u64) -> Self {
        Self { env, segment_bytes, heaps: RwLock::new(BTreeMap::new()) }
    }

    /// Row bytes after which a segment takes no more rows.
    pub fn segment_bytes(&self) -> u64 {
        self.segment_bytes
    }

    /// The heap of this id.
    pub fn get(&self, id: HeapId) -> Option<Arc<Heap>> {
        self.heaps.read().get(&id).cloned()
    }

    /// The heap of this id, made empty if it is not there.
    pub fn get_or_create(&self, id: HeapId) -> Arc<Heap> {
        if let Some(heap) = self.get(id) {
            return heap;
        }
        let create = || Heap::create(id, self.env.clone()).with_segment_bytes(self.segment_bytes);
        self.heaps.write().entry(id).or_insert_with(|| Arc::new(create())).clone()
    }

    /// Adds a heap that was opened from the manifest.
    pub fn insert(&self, heap: Heap) {
        let heap = heap.with_segment_bytes(self.segment_bytes);
        self.heaps.write().insert(heap.id(), Arc::new(heap));
    }

    /// Removes a heap; readers that hold it go on.
    pub fn remove(&self, id: HeapId) -> Option<Arc<Heap>> {
        self.heaps.write().remove(&id)
    }

    /// All heaps.
    pub fn all(&self) -> Vec<Arc<Heap>> {
        self.heaps.read().values().cloned().collect()
    }

    /// What heaps are made with.
    pub fn env(&self) -> &HeapEnv {
        &self.env
    }
}
