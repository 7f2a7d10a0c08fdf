//! Compaction: SSTables are merged downwards, entries of dead versions dropped.

use super::Maintainer;
use super::unnamed::Unnamed;
use crate::error::Result;

impl Maintainer {
    /// Does one compaction if one is due.
    pub(super) fn compact_once(&self) -> Result<bool> {
        let Some(plan) = self.shared.store.tree.plan_compaction() else { return Ok(false) };
        self.run_compaction(plan)?;
        Ok(true)
    }

    fn run_compaction(&self, plan: crate::lsm::CompactionPlan) -> Result<()> {
        let store = &self.shared.store;
        let outcome = store.tree.compact(&plan, &self.liveness())?;
        // What was garbage was so at a published, hence durable, commit.
        let contains = store.journal.durable();
        let unnamed = Unnamed::new(store, outcome.written);
        self.commit_edits(contains, outcome.edits, unnamed)?;
        store.tree.install(outcome.change)
    }

    /// Merges all tables once, so that all garbage entries go.
    pub(super) fn compact_all(&self) -> Result<()> {
        if let Some(plan) = self.shared.store.tree.plan_full_compaction() {
            self.run_compaction(plan)?;
        }
        Ok(())
    }
}
