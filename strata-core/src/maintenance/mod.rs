//! Background work: flush, compaction, checkpoint, freeze, reclamation.
//!
//! Each kind of work is a *step*: [`Maintainer::step`] looks at the state, does the most urgent one that is due and
//! says which. A database runs steps on a thread of its own, or, opened with [`MaintenanceMode::Manual`], whenever its
//! user asks, so that a simulation has no threads. Steps run one at a time; commits and readers go on meanwhile.
//!
//! Every step that changes what the manifest says follows one order: write blocks, sync them, wait until the journal
//! is durable up to what they contain (rule 6), commit one manifest edit, install the change in memory.
//!
//! | what failed | the blocks written | the database |
//! |---|---|---|
//! | anything before the edit | freed | goes on with what else is due; a later step tries again |
//! | the disk was full | freed | gives back first what nobody sees any more, then goes on |
//! | a sync of blocks | freed | poisoned |
//! | the edit's own write or sync | kept, and nothing that is freed later is reused: the edit may be durable | poisoned |
//!
//! Rows that are moved out of nearly empty segments are a commit like any other ([`relocate`](crate::table::relocate)).
//!
//! Bulk loads become permanent with the first flush or checkpoint after them and before any step that could
//! free their blocks: a replay that met their record again would adopt foreign bytes (TRAPS: Extents). Those into a
//! table that has been dropped are passed over by replay from the edit on that drops its heap.

mod checkpoint;
mod compaction;
mod failures;
mod flush;
mod liveness;
mod options;
mod pass;
mod reclaim;
#[cfg(test)]
mod rig;
mod thread;
mod unnamed;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

pub use options::{MaintenanceMode, MaintenanceOptions};
pub use thread::MaintenanceThread;

use failures::Failures;
use pass::Pass;

use crate::error::{Error, Result};
use crate::ids::{HeapId, SegmentId};
use crate::table::Shared;

/// What a step did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Memtables became SSTables.
    Flush,
    /// SSTables were merged.
    Compaction,
    /// The journal's start moved up.
    Checkpoint,
    /// The last rows of nearly empty segments were moved to the end of their heap.
    Move,
    /// A cooled segment became a column block, a sparse one was rewritten, or a dead one was dropped. Or something stood in
    /// the way of that, or of a move, and is left until the next checkpoint.
    Reclaim,
    /// Nothing was due.
    Idle,
}

/// No step runs while this is held.
pub(crate) struct Pause<'a> {
    _turn: parking_lot::MutexGuard<'a, ()>,
}

/// Does maintenance, one step at a time.
pub struct Maintainer {
    shared: Arc<Shared>,
    options: MaintenanceOptions,
    /// Steps take turns, whoever asks for them.
    turn: Mutex<()>,
    /// Segments that could not be worked on until the next checkpoint.
    skipped: Mutex<BTreeSet<(HeapId, SegmentId)>>,
    /// Segments on which work has failed, until there is no other work or the next checkpoint.
    failed: Mutex<BTreeSet<(HeapId, SegmentId)>>,
    /// Commits that moved rows out of nearly empty segments.
    moves: AtomicU64,
}

impl Maintainer {
    /// A maintainer of this database.
    pub fn new(shared: Arc<Shared>, options: MaintenanceOptions) -> Self {
        Self {
            shared,
            options,
            turn: Mutex::new(()),
            skipped: Mutex::default(),
            failed: Mutex::default(),
            moves: AtomicU64::new(0),
        }
    }

    /// Does the most urgent work that is due.
    ///
    /// # Errors
    /// `DiskFull`, `OutOfMemory` and others that a later step may not meet; after `Poisoned` none will succeed.
    pub fn step(&self) -> Result<Step> {
        let _turn = self.turn.lock();
        self.shared.store.check_writable()?;
        self.prune();
        let mut failures = Failures::default();
        if let Some(step) = self.urgent(&mut failures)? {
            return Ok(step);
        }
        let reclaimed = self.reclaim_due();
        match failures.note(self, reclaimed)?.flatten() {
            Some(step) => Ok(step),
            None if failures.has_full_disk() && self.free_once()? => Ok(Step::Reclaim),
            None => failures.outcome().map(|()| Step::Idle),
        }
    }

    /// Does the most urgent work that is due of what nobody may wait for: memtables, files of the index and the journal that grow
    /// with each commit. What fails does not keep the others from being done.
    fn urgent(&self, failures: &mut Failures) -> Result<Option<Step>> {
        if self.flush_is_due() && failures.note(self, self.flush())?.is_some() {
            return Ok(Some(Step::Flush));
        }
        if failures.note(self, self.compact_once())? == Some(true) {
            return Ok(Some(Step::Compaction));
        }
        let is_due = self.journal_bytes() >= self.options.journal_bytes;
        if is_due && failures.note(self, self.checkpoint_now())?.is_some() {
            return Ok(Some(Step::Checkpoint));
        }
        Ok(None)
    }

    /// Makes everything committed so far part of the manifest, so that opening replays nothing of it.
    pub fn checkpoint(&self) -> Result<()> {
        let _turn = self.turn.lock();
        self.shared.store.check_writable()?;
        self.with_room(|| self.checkpoint_now())
    }

    /// Does all the work there is: seals long tails, freezes every sealed segment, drops garbage, compacts, checkpoints. VACUUM.
    pub fn run_to_end(&self) -> Result<()> {
        let _turn = self.turn.lock();
        self.shared.store.check_writable()?;
        self.prune();
        self.seal_tails();
        self.with_room(|| self.vacuum())
    }

    /// Does work again that the disk had no room for, as long as there is something to give back.
    fn with_room(&self, work: impl Fn() -> Result<()>) -> Result<()> {
        loop {
            match work() {
                Err(Error::DiskFull { .. }) if self.free_once()? => {}
                outcome => return outcome,
            }
        }
    }

    fn vacuum(&self) -> Result<()> {
        let mut failures = Failures::default();
        self.flush()?;
        while failures.note(self, self.compact_once())? == Some(true) {}
        self.checkpoint_now()?;
        let mut pass = Pass::begin(&self.shared.store.heaps.all());
        // What failed is passed over from here on, so that this comes to an end.
        while failures.note(self, self.reclaim_once(true, Some(&mut pass)))? != Some(None) {
            self.prune();
            self.urgent(&mut failures)?;
        }
        failures.note(self, self.compact_all())?;
        self.checkpoint_now()?;
        self.shorten_journal()?;
        failures.outcome()
    }

    /// So that VACUUM leaves few rows in row pages, which take more room than column blocks and longer to scan.
    fn seal_tails(&self) {
        let store = &self.shared.store;
        for heap in store.heaps.all() {
            store.with_section(|_| heap.seal_tail(self.options.tail_slots));
        }
    }

    /// Leaves the folder as small as it gets: a checkpoint, then no more of the journal than the next commit needs.
    pub fn close(&self) -> Result<()> {
        self.checkpoint()?;
        self.shorten_journal()
    }

    /// Where there is no room for a shorter journal beside the longer one, that stays.
    fn shorten_journal(&self) -> Result<()> {
        let store = &self.shared.store;
        let shortened = store.journal.shorten(store.manifest.state().journal_start);
        // It may have closed the journal; no step goes on then as if there were one.
        if let Some(reason) = store.journal.poison_reason() {
            store.poison(&reason);
        }
        match shortened {
            Err(error @ Error::DiskFull { .. }) if store.check_writable().is_ok() => {
                tracing::warn!(%error, "the journal keeps its length");
                Ok(())
            }
            shortened => shortened,
        }
    }

    /// How many commits have moved rows out of nearly empty segments since opening, those included whose fate is unknown.
    pub fn moves(&self) -> u64 {
        self.moves.load(Ordering::Relaxed)
    }

    /// Keeps steps from running until the value is dropped.
    pub(crate) fn pause(&self) -> Pause<'_> {
        Pause { _turn: self.turn.lock() }
    }

    fn prune(&self) {
        let horizon = self.shared.store.snapshots.horizon();
        let oldest = horizon.live.first().copied().unwrap_or(horizon.published).min(horizon.published);
        self.shared.catalog.prune(oldest);
        for heap in self.shared.store.heaps.all() {
            heap.prune(&horizon.live, horizon.published);
        }
    }

    fn journal_bytes(&self) -> u64 {
        let start = self.shared.store.manifest.state().journal_start;
        self.shared.store.journal.end().get().saturating_sub(start.get())
    }
}
