//! One resource's holders and those who wait for it.

use std::collections::VecDeque;
use std::sync::Arc;

use super::modes::LockMode;
use super::ticket::Waiter;
use crate::ids::TxnId;

/// One strength that a transaction holds.
#[derive(Clone, Copy, Debug)]
struct Holder {
    txn: TxnId,
    mode: LockMode,
    /// The savepoint that it was taken after; 0 for none.
    savepoint: u64,
    /// It may be that the transaction holds another key of the same hash, and not this one.
    presumed: bool,
}

/// What becomes of a request that does not want to wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// Somebody else goes first.
    MustWait,
    /// The transaction held it as strongly as that before.
    Held,
    /// It held it, and holds it more strongly now.
    HeldMore,
    /// It did not hold it, and does now.
    NewlyHeld,
}

#[derive(Debug, Default)]
pub(super) struct LockQueue {
    holders: Vec<Holder>,
    waiters: VecDeque<(Arc<Waiter>, LockMode)>,
}

impl LockQueue {
    pub(super) fn is_holder(&self, txn: TxnId) -> bool {
        self.holders.iter().any(|holder| holder.txn == txn)
    }

    pub(super) fn is_idle(&self) -> bool {
        self.holders.is_empty() && self.waiters.is_empty()
    }

    pub(super) fn conflicts_with_holders(&self, txn: TxnId, mode: LockMode) -> bool {
        self.holders.iter().any(|holder| holder.txn != txn && holder.mode.conflicts(mode))
    }

    fn conflicts_with_waiters(&self, mode: LockMode) -> bool {
        self.waiters.iter().any(|(_, wanted)| wanted.conflicts(mode))
    }

    /// Whether the transaction holds it as strongly as that. One that is only presumed to does not where another holds it for sure.
    fn covers(&self, txn: TxnId, mode: LockMode) -> bool {
        let mut own = self.holders.iter().filter(|holder| holder.txn == txn && holder.mode.covers(mode));
        own.any(|holder| !holder.presumed || !self.conflicts_with_holders(txn, mode))
    }

    /// Grants if no holder conflicts, and nobody who would is waiting already (holders skip the queue).
    pub(super) fn try_grant(&mut self, txn: TxnId, mode: LockMode, savepoint: u64) -> Answer {
        let holds = self.is_holder(txn);
        if self.covers(txn, mode) {
            return Answer::Held;
        }
        if self.conflicts_with_holders(txn, mode) || (!holds && self.conflicts_with_waiters(mode)) {
            return Answer::MustWait;
        }
        self.force_holder(txn, mode, savepoint);
        if holds { Answer::HeldMore } else { Answer::NewlyHeld }
    }

    pub(super) fn force_holder(&mut self, txn: TxnId, mode: LockMode, savepoint: u64) {
        self.holders.push(Holder { txn, mode, savepoint, presumed: false });
    }

    /// As [`force_holder`](Self::force_holder), for one that may hold another key instead. Others wait for it; it waits for them
    /// as if it did not hold this one.
    pub(super) fn presume_holder(&mut self, txn: TxnId, mode: LockMode, savepoint: u64) {
        self.holders.push(Holder { txn, mode, savepoint, presumed: true });
    }

    pub(super) fn enqueue(&mut self, waiter: Arc<Waiter>, mode: LockMode) {
        if self.is_holder(waiter.txn) {
            self.waiters.push_front((waiter, mode));
        } else {
            self.waiters.push_back((waiter, mode));
        }
    }

    pub(super) fn has_waiters(&self) -> bool {
        !self.waiters.is_empty()
    }

    pub(super) fn take_waiters(&mut self) -> VecDeque<(Arc<Waiter>, LockMode)> {
        std::mem::take(&mut self.waiters)
    }

    /// Lets these wait before those who wait already, but for holders who ask for more.
    pub(super) fn put_ahead(&mut self, mut waiters: VecDeque<(Arc<Waiter>, LockMode)>) {
        let asking_for_more =
            self.waiters.iter().take_while(|(waiter, _)| self.is_holder(waiter.txn)).count();
        let mut behind = self.waiters.split_off(asking_for_more);
        self.waiters.append(&mut waiters);
        self.waiters.append(&mut behind);
    }

    pub(super) fn remove(&mut self, waiter: &Arc<Waiter>) {
        self.waiters.retain(|(other, _)| !Arc::ptr_eq(other, waiter));
    }

    pub(super) fn release(&mut self, txn: TxnId) {
        self.holders.retain(|holder| holder.txn != txn);
    }

    /// Ends what was taken after a savepoint, or a later one.
    pub(super) fn release_since(&mut self, txn: TxnId, savepoint: u64) {
        self.holders.retain(|holder| holder.txn != txn || holder.savepoint < savepoint);
    }

    /// Grants, in order, to all whom nobody blocks (see [`blockers_of`](Self::blockers_of)): whoever stands behind one that is
    /// blocked, and does not conflict with it, is not blocked by it. Tells who became a holder.
    pub(super) fn grant_ready(&mut self) -> Vec<(Arc<Waiter>, bool)> {
        let mut granted = Vec::new();
        let mut place = 0;
        while let Some((waiter, mode)) = self.waiters.get(place) {
            if self.conflicting_ahead(place, *mode).next().is_some()
                || self.conflicts_with_holders(waiter.txn, *mode)
            {
                place += 1;
                continue;
            }
            let newly_held = !self.is_holder(waiter.txn);
            let Some((waiter, mode)) = self.waiters.remove(place) else { break };
            self.force_holder(waiter.txn, mode, waiter.savepoint);
            granted.push((waiter, newly_held));
        }
        granted
    }

    /// Waiters before a place in the queue that a mode conflicts with.
    fn conflicting_ahead(&self, place: usize, mode: LockMode) -> impl Iterator<Item = TxnId> {
        let ahead = self.waiters.iter().take(place);
        ahead.filter(move |(_, wanted)| wanted.conflicts(mode)).map(|(waiter, _)| waiter.txn)
    }

    /// Those that must go before `txn`, which waits here: conflicting holders, and conflicting waiters ahead.
    pub(super) fn blockers_of(&self, txn: TxnId) -> Vec<TxnId> {
        let Some(place) = self.waiters.iter().position(|(waiter, _)| waiter.txn == txn) else {
            return Vec::new();
        };
        let Some((_, mode)) = self.waiters.get(place) else { return Vec::new() };
        let holders = self.holders.iter().filter(|holder| holder.txn != txn && holder.mode.conflicts(*mode));
        holders.map(|holder| holder.txn).chain(self.conflicting_ahead(place, *mode)).collect()
    }
}
