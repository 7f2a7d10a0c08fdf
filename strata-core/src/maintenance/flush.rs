//! Flush: sealed memtables become SSTables, and bulk loads become permanent.

use super::Maintainer;
use crate::error::Result;
use crate::ids::Lsn;
use std::collections::BTreeSet;

use super::unnamed::Unnamed;
use crate::ids::HeapId;
use crate::manifest::{Counters, Edit, SegmentImage};
use crate::txn::PendingLoad;

impl Maintainer {
    pub(super) fn flush_is_due(&self) -> bool {
        let store = &self.shared.store;
        store.tree.memtable_bytes() >= self.options.memtable_bytes
            || store.tree.sealed_count() > 0
            || store.with_section(|section| !section.pending_loads.is_empty())
    }

    /// Writes all index entries applied so far as SSTables.
    pub(super) fn flush(&self) -> Result<()> {
        let store = &self.shared.store;
        let (boundary, sealed_at, loads) = store
            .with_section(|section| (store.tree.seal(), store.journal.end(), section.pending_loads.clone()));
        let flushed = store.tree.flush(boundary, &self.liveness())?;
        let unnamed = Unnamed::new(store, flushed.written.iter().copied());
        let mut edits = flushed.edits();
        edits.extend(load_edits(&loads));
        edits.push(Edit::IndexFlushed(sealed_at));
        edits.push(Edit::Counters(self.counters()));
        self.commit_edits(sealed_at, edits, unnamed)?;
        store.tree.install(flushed.change)?;
        self.loads_are_permanent(&loads);
        Ok(())
    }

    pub(super) fn loads_are_permanent(&self, loads: &[PendingLoad]) {
        self.shared.store.with_section(|section| {
            section.pending_loads.retain(|pending| !loads.iter().any(|load| load.load == pending.load));
        });
    }

    /// What must not be handed out again. The last commit belongs to checkpoints alone: replay starts after it.
    pub(super) fn counters(&self) -> Counters {
        Counters {
            next_load: self.shared.peek_load().get(),
            next_sstable_sequence: self.shared.store.tree.next_sequence(),
            ..Counters::default()
        }
    }

    /// Syncs the blocks, waits for the journal, and commits one manifest edit. Heaps that the manifest has not heard
    /// of are made.
    ///
    /// # Errors
    /// Those of the three. After a failed sync, and where the edit may be durable or not, the store is poisoned.
    pub(super) fn commit_edits(&self, contains: Lsn, mut edits: Vec<Edit>, unnamed: Unnamed) -> Result<()> {
        let store = &self.shared.store;
        let known = store.manifest.state();
        let named: BTreeSet<HeapId> = edits.iter().filter_map(named_heap).collect();
        let unknown = named.into_iter().filter(|heap| !known.heaps.contains_key(heap));
        edits.splice(0..0, unknown.map(Edit::CreateHeap).collect::<Vec<_>>());
        store.sync_blocks()?;
        store.journal.wait_durable(contains)?;
        let committed = store.manifest.commit(contains, edits);
        if let Some(reason) = store.manifest.poison_reason() {
            store.poison(&reason);
            if committed.is_err() {
                store.cache.store().keep_freed();
            }
        }
        if committed.is_ok() {
            unnamed.are_named();
        }
        committed
    }
}

/// What names a bulk load's blocks for good; its index files are among those that the flush adds.
pub(super) fn load_edits(loads: &[PendingLoad]) -> Vec<Edit> {
    let mut edits = Vec::new();
    for load in loads {
        for (segment, block, slots) in &load.blocks {
            let image = SegmentImage::Column { block: *block, slots: *slots, rows: *slots };
            edits.push(Edit::PutSegment { heap: load.heap, segment: *segment, image });
        }
        edits.push(load_adopted(load));
    }
    edits
}

/// What has replay pass a load over.
pub(super) fn load_adopted(load: &PendingLoad) -> Edit {
    Edit::LoadAdopted { load: load.load, record_end: load.end }
}

fn named_heap(edit: &Edit) -> Option<HeapId> {
    match edit {
        Edit::PutSegment { heap, .. } | Edit::PutMarks { heap, .. } | Edit::PutHeap { heap, .. } => {
            Some(*heap)
        }
        _ => None,
    }
}
