//! Checkpoint: the manifest learns all that was committed before position L, and the journal starts at L.
//!
//! Pages and marks are written while commits go on, and may hold more than was committed at L: replay makes the same
//! effects at the same addresses again (rule 5), and heaps count what it really adds. The edit carries the journal's
//! end as it was once all blocks were written (rule 6).

use super::Maintainer;
use super::flush::load_edits;
use super::unnamed::Unnamed;
use crate::error::Result;
use crate::heap::Install;
use crate::manifest::{Counters, Edit};

impl Maintainer {
    pub(super) fn checkpoint_now(&self) -> Result<()> {
        let store = &self.shared.store;
        let (boundary, start, last_commit, loads) = store.with_section(|section| {
            (store.tree.seal(), store.journal.end(), section.last, section.pending_loads.clone())
        });
        let flushed = store.tree.flush(boundary, &self.liveness())?;
        let mut unnamed = Unnamed::new(store, flushed.written.iter().copied());
        let mut edits = flushed.edits();
        // Before the heaps' own edits: those may know the segments in a newer form.
        edits.extend(load_edits(&loads));
        let mut installs = Vec::new();
        for heap in store.heaps.all() {
            let checkpoint = heap.checkpoint()?;
            unnamed.extend(checkpoint.written);
            edits.extend(checkpoint.edits);
            installs.push(checkpoint.install);
        }
        edits.push(Edit::IndexFlushed(start));
        edits.push(Edit::JournalStart(start));
        edits.push(Edit::Counters(Counters { last_commit, ..self.counters() }));
        let contains = store.journal.end();
        self.commit_edits(contains, edits, unnamed)?;
        store.tree.install(flushed.change)?;
        installs.into_iter().for_each(Install::run);
        self.loads_are_permanent(&loads);
        self.skipped.lock().clear();
        self.failed.lock().clear();
        store.journal.truncate_before(start)
    }
}
