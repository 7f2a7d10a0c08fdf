//! What keeps replay within the memory that the database ran in.
//!
//! While a database is open, maintenance prunes what commits leave behind, and garbage leaves the memtables as keys are written
//! and scanned. So the journal may hold commits that never were in memory together, all that they left. Replay takes the same
//! away now and then, and before it gives up for want of memory. It has no reader: whatever a replayed commit has ended,
//! nobody will see. So what is left is no more than what was there when that commit was made.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use super::record::RecordBody;
use super::store::Store;
use crate::heap::{GarbageProbe, Heap, Horizon};
use crate::ids::{HeapId, IndexId, RowId, Timestamp};
use crate::lsm::Liveness;

/// Journal bytes after which the heaps are pruned. Their records leave half a MiB behind, about: eight times as much.
const PRUNE_BYTES: u64 = 64 << 10;

/// Memtables are swept once they have this part of memory, and then whenever they have twice what the last sweep left.
const MEMORY_PART: usize = 16;

/// What replay has touched, and when it was cleaned last.
pub(super) struct Sweeper {
    /// Heaps with commits since the last prune.
    touched: BTreeSet<HeapId>,
    /// Journal bytes since then.
    bytes: u64,
    /// The heaps of the indexes that entries were added to.
    heap_of: HashMap<IndexId, HeapId, foldhash::fast::RandomState>,
    /// Memtable bytes at which the next sweep is due.
    sweep_at: usize,
    least_sweep_at: usize,
}

impl Sweeper {
    /// One that has seen nothing yet, for a process of so many bytes.
    pub fn new(memory_bytes: usize) -> Self {
        let least_sweep_at = memory_bytes / MEMORY_PART;
        let (touched, heap_of) = (BTreeSet::new(), HashMap::default());
        Self { touched, bytes: 0, heap_of, sweep_at: least_sweep_at, least_sweep_at }
    }

    /// Notes a record of so many bytes that was applied, with or without its index entries, and cleans up if that is due.
    pub fn applied(&mut self, store: &Store, body: &RecordBody, bytes: u64, with_index: bool, at: Timestamp) {
        for section in body.sections() {
            self.touched.insert(section.heap);
            if with_index {
                self.heap_of.extend(body.entries(section).map(|(index, ..)| (index, section.heap)));
            }
        }
        self.touched.extend(body.loads().iter().map(|load| load.heap));
        self.bytes += bytes;
        if self.bytes >= PRUNE_BYTES {
            self.prune(store, at);
        }
        if memtable_bytes(store) >= self.sweep_at {
            self.clean(store, at);
        }
    }

    /// Takes away all that nobody needs after commit `at`.
    fn clean(&mut self, store: &Store, at: Timestamp) {
        // Garbage is told sooner from marks without groups.
        self.prune(store, at);
        let heaps = self.heap_of.iter();
        let heaps: Vec<(IndexId, Option<Arc<Heap>>)> =
            heaps.map(|(index, heap)| (*index, store.heaps.get(*heap))).collect();
        let horizon = Horizon { published: at, live: Vec::new() };
        let probes = heaps.iter().map(|(index, heap)| {
            let garbage = heap.as_ref().map(|heap| heap.garbage(&horizon));
            (*index, garbage)
        });
        store.tree.sweep_garbage(&Replayed(probes.collect()));
        self.heap_of.retain(|_, heap| store.heaps.get(*heap).is_some());
        self.sweep_at = self.least_sweep_at.max(2 * memtable_bytes(store));
    }

    /// As [`clean`](Self::clean), where there is no memory for the next record: tail pages may be evicted then too.
    pub fn make_room(&mut self, store: &Store, at: Timestamp) {
        self.clean(store, at);
        store.heaps.all().iter().for_each(|heap| heap.let_go_of_tail_page());
    }

    fn prune(&mut self, store: &Store, at: Timestamp) {
        for heap in std::mem::take(&mut self.touched) {
            if let Some(heap) = store.heaps.get(heap) {
                heap.prune(&[], at);
            }
        }
        self.bytes = 0;
    }
}

fn memtable_bytes(store: &Store) -> usize {
    store.tree.memtable_bytes() + store.tree.sealed_bytes()
}

/// The garbage of the heaps that replay has indexed rows of; `None` for one that has been let go.
struct Replayed<'a>(HashMap<IndexId, Option<GarbageProbe<'a>>>);

impl Liveness for Replayed<'_> {
    fn is_garbage(&self, index: IndexId, row: RowId) -> bool {
        self.0
            .get(&index)
            .is_some_and(|garbage| garbage.as_ref().is_none_or(|garbage| garbage.is_garbage(row)))
    }

    fn index_exists(&self, _: IndexId) -> bool {
        true
    }

    fn is_unique(&self, _: IndexId) -> bool {
        false
    }
}
