//! The lock manager: rows, unique keys, tables and the catalog.
//!
//! Locks live here and never in pages, and are gone with the process. A request that cannot be granted queues
//! (first come, first served; a holder that asks for more goes ahead of the queue) and its [`LockTicket`] is
//! awaited: no thread is held. When a request has to wait, the wait-for graph is searched from it; a cycle
//! refuses the request that closed it with [`Error::Deadlock`].
//!
//! **Mass owners.** A transaction that holds many rows of one segment holds them in a bitmap ([`mass`]), so that
//! an UPDATE of a million rows costs 8 KiB per 65,536 of them; one that holds many keys holds their hashes ([`mass_keys`]), in five
//! bytes each. A row or a key that somebody waits for is made a single lock of the owner, which the waiters queue behind.
//!
//! **Savepoints.** What was taken after a savepoint can be given back alone ([`LockManager::release_since`]). A mass owner with more
//! than a few savepoints may keep some locks until it goes back to an earlier one.
//!
//! One lock guards the whole table; it is a leaf but for the ticket's own. Nothing blocks under it, and no waker
//! runs under it that could take it again: wakers only schedule.

mod key_set;
mod mass;
mod mass_keys;
mod modes;
mod queue;
#[cfg(test)]
mod tests;
mod ticket;

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use parking_lot::Mutex;
use xxhash_rust::xxh3::xxh3_64_with_seed;

pub use modes::{LockMode, Resource, RowLockMode, TableLockMode};
pub use ticket::LockTicket;

use key_set::KeySet;
use mass::MassLocks;
use mass_keys::MassKeys;
use queue::{Answer, LockQueue};
use ticket::Waiter;

use crate::error::Error;
use crate::ids::{HeapId, IndexId, RowId, TxnId};

/// All locks of a database.
#[derive(Debug)]
pub struct LockManager {
    table: Mutex<LockTable>,
}

#[derive(Debug, Default)]
struct LockTable {
    /// Of the hashes of keys: nobody can tell in advance which meet.
    seed: u64,
    queues: HashMap<Resource, LockQueue, foldhash::fast::RandomState>,
    mass: MassLocks,
    mass_keys: MassKeys,
    held: HashMap<TxnId, HeldLocks, foldhash::fast::RandomState>,
    waiting: HashMap<TxnId, Resource, foldhash::fast::RandomState>,
}

/// What one transaction holds singly. A resource may be there twice.
#[derive(Debug, Default)]
struct HeldLocks {
    /// The transaction's last savepoint; 0 for none.
    savepoint: u64,
    /// Held to the end.
    kept: Vec<Resource>,
    /// Taken after a savepoint, ascending.
    since: Vec<(u64, Resource)>,
}

impl HeldLocks {
    fn all(&self) -> impl Iterator<Item = &Resource> {
        self.kept.iter().chain(self.since.iter().map(|(_, resource)| resource))
    }

    fn push(&mut self, resource: Resource, savepoint: u64) {
        match savepoint {
            0 => self.kept.push(resource),
            _ => {
                // A mass owner's lock is made single long after it was taken.
                let place = self.since.partition_point(|(taken, _)| *taken <= savepoint);
                self.since.insert(place, (savepoint, resource));
            }
        }
    }
}

impl LockManager {
    /// A manager that holds no lock.
    pub fn new() -> Arc<Self> {
        Self::with_seed(RandomState::new().hash_one(()))
    }

    /// One that hashes keys in a known way.
    fn with_seed(seed: u64) -> Arc<Self> {
        Arc::new(Self { table: Mutex::new(LockTable { seed, ..LockTable::default() }) })
    }

    /// Asks for a lock. Held until [`release_all`](Self::release_all) of the transaction.
    ///
    /// # Errors
    /// The ticket fails with [`Error::Deadlock`] where waiting would never end.
    pub fn acquire(self: &Arc<Self>, txn: TxnId, resource: Resource, mode: LockMode) -> LockTicket {
        let mut table = self.table.lock();
        if table.try_grant(txn, &resource, mode) {
            return LockTicket::granted();
        }
        let waiter = Waiter::new(txn, table.savepoint_of(txn));
        table.enqueue(&resource, mode, &waiter);
        if table.closes_cycle(txn) {
            table.remove_waiter(&resource, &waiter);
            waiter.refuse(Error::Deadlock);
        }
        LockTicket::waiting(self.clone(), waiter)
    }

    /// Asks for a lock that must be free: the ticket has it, or fails with [`Error::LockTimeout`]. Who does not wait never stands in
    /// the queue, where it would be in the way of others and part of their cycles.
    pub fn acquire_now(self: &Arc<Self>, txn: TxnId, resource: &Resource, mode: LockMode) -> LockTicket {
        if self.try_acquire(txn, resource, mode) {
            return LockTicket::granted();
        }
        let waiter = Waiter::new(txn, 0);
        waiter.refuse(Error::LockTimeout);
        LockTicket::waiting(self.clone(), waiter)
    }

    /// Asks for a lock that must be free; `false` where it is not.
    pub fn try_acquire(&self, txn: TxnId, resource: &Resource, mode: LockMode) -> bool {
        self.table.lock().try_grant(txn, resource, mode)
    }

    /// Whether any other transaction holds the row in a mode that conflicts.
    pub fn row_is_held(&self, heap: HeapId, row: RowId, mode: RowLockMode, but_for: TxnId) -> bool {
        self.table.lock().conflicts(but_for, &Resource::Row(heap, row), LockMode::Row(mode))
    }

    /// Ends all of a transaction's locks and grants what that makes free.
    pub fn release_all(&self, txn: TxnId) {
        let mut table = self.table.lock();
        let freed = table.held.remove(&txn).unwrap_or_default();
        for resource in freed.all() {
            table.release(txn, resource);
        }
        table.mass.release(txn);
        table.mass_keys.release(txn);
    }

    /// A transaction has made a savepoint: what it takes from here on counts as taken after it. The numbers of its savepoints grow.
    pub fn mark_savepoint(&self, txn: TxnId, savepoint: u64) {
        self.table.lock().held.entry(txn).or_default().savepoint = savepoint;
    }

    /// The unique keys that a transaction took after a savepoint, or a later one, and holds; `None` where it holds too many to
    /// name them.
    pub fn keys_since(&self, txn: TxnId, savepoint: u64) -> Option<Vec<(IndexId, Box<[u8]>)>> {
        let table = self.table.lock();
        if table.mass_keys.has_since(txn, savepoint) {
            return None;
        }
        let Some(held) = table.held.get(&txn) else { return Some(Vec::new()) };
        let since = held.since.iter().rev().take_while(|(taken, _)| *taken >= savepoint);
        let keys = since.filter_map(|(_, resource)| match resource {
            Resource::Key(index, key) => Some((*index, key.clone())),
            _ => None,
        });
        Some(keys.collect())
    }

    /// Ends the locks that a transaction took after a savepoint, or a later one, and grants what that makes free.
    pub fn release_since(&self, txn: TxnId, savepoint: u64) {
        let mut table = self.table.lock();
        let Some(held) = table.held.get_mut(&txn) else { return };
        let first = held.since.partition_point(|(taken, _)| *taken < savepoint);
        let freed: Vec<_> = held.since.drain(first..).collect();
        for (_, resource) in freed {
            if let Some(queue) = table.queues.get_mut(&resource) {
                queue.release_since(txn, savepoint);
            }
            table.grant_ready(&resource);
        }
        table.mass.release_since(txn, savepoint);
        table.mass_keys.release_since(txn, savepoint);
    }

    /// Ends the locks of a transaction that committed. Who waits for a row that it replaced goes on waiting, in
    /// order, for the `successor`; so a row that is always contended is had by all in turn.
    pub fn release_committed(&self, txn: TxnId, successor: impl Fn(HeapId, RowId) -> Option<RowId>) {
        // Outside the lock: `successor` asks the heap.
        let contended = self.table.lock().contended_rows(txn);
        let moves: Vec<(HeapId, RowId, RowId)> = contended
            .into_iter()
            .filter_map(|(heap, row)| successor(heap, row).map(|next| (heap, row, next)))
            .collect();
        for (heap, row, next) in moves {
            self.table.lock().move_waiters(heap, row, next);
        }
        self.release_all(txn);
    }

    /// How many locks are held, mass-held rows and keys not counted; for views and tests.
    pub fn held_count(&self) -> usize {
        self.table.lock().held.values().map(|held| held.all().count()).sum()
    }

    fn give_up(&self, waiter: &Arc<Waiter>) {
        let mut table = self.table.lock();
        let txn = waiter.txn;
        if let Some(resource) = table.waiting.get(&txn).cloned() {
            table.remove_waiter(&resource, waiter);
        }
    }
}

impl LockTable {
    fn conflicts(&self, txn: TxnId, resource: &Resource, mode: LockMode) -> bool {
        let by_mass = match resource {
            Resource::Row(heap, row) => self.mass.conflicts(txn, *heap, *row, mode),
            Resource::Key(index, key) => self.mass_keys.others(txn, self.hash(*index, key)).next().is_some(),
            _ => false,
        };
        by_mass || self.queues.get(resource).is_some_and(|queue| queue.conflicts_with_holders(txn, mode))
    }

    fn try_grant(&mut self, txn: TxnId, resource: &Resource, mode: LockMode) -> bool {
        let savepoint = self.savepoint_of(txn);
        if let Resource::Row(heap, row) = resource
            && let LockMode::Row(row_mode) = mode
        {
            if self.mass.covers(txn, *heap, *row, row_mode) {
                return true;
            }
            if !self.queues.contains_key(resource) && !self.mass.conflicts(txn, *heap, *row, mode) {
                if self.mass.try_take(txn, *heap, *row, row_mode, savepoint) {
                    return true;
                }
            } else if self.mass.conflicts(txn, *heap, *row, mode) {
                return false;
            }
        }
        if let Resource::Key(index, key) = resource
            && !self.queues.get(resource).is_some_and(|queue| queue.is_holder(txn))
        {
            let hash = self.hash(*index, key);
            if self.mass_keys.others(txn, hash).next().is_some() {
                return false;
            }
            if !self.queues.contains_key(resource) && self.mass_keys.try_take(txn, hash, savepoint) {
                return true;
            }
        }
        let answer = self.queues.entry(resource.clone()).or_default().try_grant(txn, mode, savepoint);
        // What is held more strongly since a savepoint is to be found when that is gone back to. What was held before is noted.
        let is_noted = match answer {
            Answer::MustWait => return false,
            Answer::Held => true,
            Answer::HeldMore => savepoint == 0,
            Answer::NewlyHeld => false,
        };
        if !is_noted {
            self.held.entry(txn).or_default().push(resource.clone(), savepoint);
        }
        true
    }

    fn hash(&self, index: IndexId, key: &[u8]) -> u64 {
        KeySet::reduce(xxh3_64_with_seed(key, self.seed.wrapping_add(index.get().into())))
    }

    fn savepoint_of(&self, txn: TxnId) -> u64 {
        self.held.get(&txn).map_or(0, |held| held.savepoint)
    }

    /// The rows that a transaction holds and others wait for. Those are held singly, whoever holds many.
    fn contended_rows(&self, txn: TxnId) -> Vec<(HeapId, RowId)> {
        if self.waiting.is_empty() {
            return Vec::new();
        }
        let held = self.held.get(&txn).into_iter().flat_map(HeldLocks::all);
        held.filter_map(|resource| match resource {
            Resource::Row(heap, row) if self.queues.get(resource).is_some_and(LockQueue::has_waiters) => {
                Some((*heap, *row))
            }
            _ => None,
        })
        .collect()
    }

    /// Puts all who wait for `from` at the head of the queue of `to`, in their order. Whoever would wait for ever
    /// there is refused: a lock of `to` may have been taken meanwhile by one that waits for them.
    fn move_waiters(&mut self, heap: HeapId, row: RowId, next: RowId) {
        let Some(queue) = self.queues.get_mut(&Resource::Row(heap, row)) else { return };
        let moved = queue.take_waiters();
        let to = &Resource::Row(heap, next);
        if let Some((first, _)) = moved.front() {
            self.make_single(first.txn, to);
        }
        for (waiter, _) in &moved {
            waiter.move_to(next);
            self.waiting.insert(waiter.txn, to.clone());
        }
        let waiters: Vec<_> = moved.iter().map(|(waiter, _)| waiter.clone()).collect();
        self.queues.entry(to.clone()).or_default().put_ahead(moved);
        self.grant_ready(to);
        for waiter in waiters {
            if self.waiting.contains_key(&waiter.txn) && self.closes_cycle(waiter.txn) {
                self.remove_waiter(to, &waiter);
                waiter.refuse(Error::Deadlock);
            }
        }
    }

    /// Queues a request.
    fn enqueue(&mut self, resource: &Resource, mode: LockMode, waiter: &Arc<Waiter>) {
        self.make_single(waiter.txn, resource);
        self.queues.entry(resource.clone()).or_default().enqueue(waiter.clone(), mode);
        self.waiting.insert(waiter.txn, resource.clone());
    }

    /// Makes the mass-held locks that `waiter` meets single ones, so that release finds the queue.
    fn make_single(&mut self, waiter: TxnId, resource: &Resource) {
        let owners: Vec<(TxnId, LockMode, u64)> = match resource {
            Resource::Row(heap, row) => {
                let owners = self.mass.evict_row(*heap, *row).into_iter();
                owners.map(|(owner, mode, savepoint)| (owner, LockMode::Row(mode), savepoint)).collect()
            }
            Resource::Key(index, key) => {
                let owners = self.mass_keys.others(waiter, self.hash(*index, key));
                owners.map(|(owner, savepoint)| (owner, LockMode::Exclusive, savepoint)).collect()
            }
            Resource::Catalog | Resource::Table(_) => return,
        };
        for (owner, mode, savepoint) in owners {
            let queue = self.queues.entry(resource.clone()).or_default();
            match resource {
                Resource::Row(..) => queue.force_holder(owner, mode, savepoint),
                // A key stays in its owner's set: the next who waits meets it there again.
                _ if queue.is_holder(owner) => continue,
                _ => queue.presume_holder(owner, mode, savepoint),
            }
            self.held.entry(owner).or_default().push(resource.clone(), savepoint);
        }
    }

    fn remove_waiter(&mut self, resource: &Resource, waiter: &Arc<Waiter>) {
        self.waiting.remove(&waiter.txn);
        if let Some(queue) = self.queues.get_mut(resource) {
            queue.remove(waiter);
        }
        self.grant_ready(resource);
    }

    fn release(&mut self, txn: TxnId, resource: &Resource) {
        if let Some(queue) = self.queues.get_mut(resource) {
            queue.release(txn);
        }
        self.grant_ready(resource);
    }

    fn grant_ready(&mut self, resource: &Resource) {
        let Some(queue) = self.queues.get_mut(resource) else { return };
        for (waiter, newly_held) in queue.grant_ready() {
            self.waiting.remove(&waiter.txn);
            if newly_held || waiter.savepoint > 0 {
                self.held.entry(waiter.txn).or_default().push(resource.clone(), waiter.savepoint);
            }
            waiter.grant();
        }
        if queue.is_idle() {
            self.queues.remove(resource);
        }
    }

    /// Whether following "waits for" from `start` leads back to it.
    fn closes_cycle(&self, start: TxnId) -> bool {
        let mut stack = vec![start];
        let mut seen = std::collections::HashSet::new();
        while let Some(txn) = stack.pop() {
            let Some(queue) = self.waiting.get(&txn).and_then(|resource| self.queues.get(resource)) else {
                continue;
            };
            for blocker in queue.blockers_of(txn) {
                if blocker == start {
                    return true;
                }
                if seen.insert(blocker) {
                    stack.push(blocker);
                }
            }
        }
        false
    }
}
