//! Publication: what happens to commits once the journal has synced them.
//!
//! The journal's sync thread holds the [`Publisher`], and nothing else of the database: so closing a database never waits
//! for, or ends on, that thread.

use std::collections::VecDeque;
use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;

use super::lock::LockManager;
use super::snapshot::SnapshotRegistry;
use super::ticket::{CommitOutcome, CommitTicket};
use crate::error::{Error, Result};
use crate::heap::Heap;
use crate::ids::{HeapId, Lsn, RowId, Timestamp, TxnId};
use crate::journal::JournalSpace;

/// A commit that is applied and not known to be durable.
#[derive(Debug)]
pub(super) struct InFlight {
    pub(super) timestamp: Timestamp,
    pub(super) end: Lsn,
    pub(super) txn: TxnId,
    /// Where it replaced rows.
    pub(super) heaps: Vec<Arc<Heap>>,
    pub(super) outcome: CommitOutcome,
    /// Of others, who are told when this is published; with what, where it is not that.
    pub(super) told: Vec<(CommitOutcome, Option<Error>)>,
    /// Room in the journal, held until the record is durable.
    pub(super) _space: JournalSpace,
}

impl InFlight {
    fn successor(&self, heap: HeapId, row: RowId) -> Option<RowId> {
        let heap = self.heaps.iter().find(|known| known.id() == heap)?;
        // Where the marks cannot be read, waiters find the successor by themselves, or fail there.
        heap.mark(row).ok().flatten().and_then(|mark| mark.successor)
    }
}

/// Publishes commits in timestamp order.
#[derive(Debug)]
pub struct Publisher {
    snapshots: Arc<SnapshotRegistry>,
    locks: Arc<LockManager>,
    in_flight: Mutex<VecDeque<InFlight>>,
    poison: OnceLock<String>,
    /// What the journal failed with. Set with the queue locked, which is emptied then.
    journal_failure: OnceLock<String>,
}

impl Publisher {
    pub(super) fn new(last_commit: Timestamp) -> Arc<Self> {
        Arc::new(Self {
            snapshots: SnapshotRegistry::new(last_commit),
            locks: LockManager::new(),
            in_flight: Mutex::new(VecDeque::new()),
            poison: OnceLock::new(),
            journal_failure: OnceLock::new(),
        })
    }

    pub(super) fn snapshots(&self) -> &Arc<SnapshotRegistry> {
        &self.snapshots
    }

    pub(super) fn locks(&self) -> &Arc<LockManager> {
        &self.locks
    }

    pub(super) fn check_writable(&self) -> Result<()> {
        match self.poison.get() {
            Some(reason) => Err(Error::Poisoned { reason: reason.clone() }),
            None => Ok(()),
        }
    }

    pub(super) fn poison(&self, reason: &str) {
        self.poison.get_or_init(|| reason.to_owned());
    }

    /// Whether the journal has reported its failure: it reports nothing more.
    pub(super) fn journal_has_failed(&self) -> bool {
        self.journal_failure.get().is_some()
    }

    /// Adds a commit; called in the commit section, so in timestamp order.
    pub(super) fn push(&self, commit: InFlight) {
        self.in_flight.lock().push_back(commit);
    }

    /// A ticket that settles once all that is applied is published: with `refusal`, if there is one. Where that is never
    /// published, it says so instead. Called in the commit section, where what is applied is in flight or published.
    pub(super) fn when_published(&self, refusal: Option<Error>) -> CommitTicket {
        let mut in_flight = self.in_flight.lock();
        let Some(last) = in_flight.back_mut() else {
            let published = self.check_writable().map(|()| self.snapshots.published());
            return CommitTicket::settled(published.and_then(|at| refusal.map_or(Ok(at), Err)));
        };
        let (outcome, ticket) = CommitOutcome::new();
        last.told.push((outcome, refusal));
        ticket
    }

    /// Publishes what is durable, releases its locks and settles its tickets; or says to all in flight that the journal has failed.
    /// Called by the journal.
    pub fn on_durable(&self, durable: Result<Lsn>) {
        let mut settled = Vec::new();
        let mut in_flight = self.in_flight.lock();
        let outcome = match durable {
            Ok(durable) => {
                while in_flight.front().is_some_and(|commit| commit.end <= durable) {
                    settled.extend(in_flight.pop_front());
                }
                if let Some(last) = settled.last() {
                    self.snapshots.publish(last.timestamp);
                }
                Ok(())
            }
            Err(error) => {
                let reason = self.journal_failure.get_or_init(|| error.to_string());
                self.poison(reason);
                settled.extend(in_flight.drain(..));
                Err(reason)
            }
        };
        drop(in_flight);
        self.settle(settled, outcome.map_err(String::as_str));
    }

    /// Settles what has come into the queue after the journal had reported on it: records are appended before.
    pub(super) fn catch_up(&self, durable: Lsn) {
        self.on_durable(Ok(durable));
        if let Some(reason) = self.journal_failure.get() {
            let left = self.in_flight.lock().drain(..).collect();
            self.settle(left, Err(reason));
        }
    }

    fn settle(&self, commits: Vec<InFlight>, durable: std::result::Result<(), &str>) {
        for commit in commits {
            self.locks.release_committed(commit.txn, |heap, row| commit.successor(heap, row));
            let InFlight { timestamp, outcome, told, _space: space, heaps, .. } = commit;
            // Who is told finds all given back that the commit held.
            drop((space, heaps));
            let settled = match durable {
                Ok(()) => Ok(timestamp),
                Err(reason) => Err(Error::Poisoned { reason: reason.to_owned() }),
            };
            for (outcome, refusal) in told {
                outcome.settle(settled.clone().and_then(|at| refusal.map_or(Ok(at), Err)));
            }
            outcome.settle(settled);
        }
    }
}
