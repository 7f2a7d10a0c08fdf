//! Key locks of transactions that hold many: a set of hashes per owner.
//!
//! A hash may be that of another key too (of ten million keys held, two or three in a million others meet one): whoever asks for such
//! a key waits for the owner for nothing, and then has it. The owner itself never takes a hash for its own lock: it looks whether
//! anybody else has the key, also where others wait behind it for a key that it may not have.
//!
//! **Savepoints.** Each has a set of its own, up to [`MAX_SETS`]; what is taken after further ones is given back with the last of those.

use std::collections::HashMap;

use super::key_set::KeySet;
use crate::ids::TxnId;

/// So many single key locks of a transaction before a set is begun.
const SINGLE_LOCKS: u64 = 1_024;
/// Sets of one owner.
const MAX_SETS: usize = 16;

#[derive(Debug, Default)]
struct Owner {
    /// The savepoints, ascending, and what was taken after them.
    sets: Vec<(u64, KeySet)>,
}

/// The sets, by owner, and how many keys each transaction has asked for.
#[derive(Debug, Default)]
pub(super) struct MassKeys {
    asked: HashMap<TxnId, u64, foldhash::fast::RandomState>,
    owners: HashMap<TxnId, Owner, foldhash::fast::RandomState>,
}

impl Owner {
    /// The savepoint of the set that has the hash.
    fn find(&self, hash: u64) -> Option<u64> {
        self.sets.iter().find(|(_, set)| set.contains(hash)).map(|(savepoint, _)| *savepoint)
    }
}

impl MassKeys {
    /// Others that may hold the key of this hash, each with the savepoint that it was taken after.
    pub fn others(&self, txn: TxnId, hash: u64) -> impl Iterator<Item = (TxnId, u64)> + '_ {
        let others = self.owners.iter().filter(move |(owner, _)| **owner != txn);
        others.filter_map(move |(owner, sets)| Some((*owner, sets.find(hash)?)))
    }

    /// Counts a lock that nobody contends for, and holds it in a set once the transaction has many.
    pub fn try_take(&mut self, txn: TxnId, hash: u64, savepoint: u64) -> bool {
        let asked = self.asked.entry(txn).or_default();
        *asked += 1;
        if *asked <= SINGLE_LOCKS {
            return false;
        }
        let owner = self.owners.entry(txn).or_default();
        if owner.find(hash).is_some() {
            return true;
        }
        if owner.sets.len() < MAX_SETS && owner.sets.last().is_none_or(|(last, _)| *last < savepoint) {
            owner.sets.push((savepoint, KeySet::new()));
        }
        if let Some((_, set)) = owner.sets.last_mut() {
            set.insert(hash);
        }
        true
    }

    /// Whether there is a set that [`release_since`](Self::release_since) would end.
    pub fn has_since(&self, txn: TxnId, savepoint: u64) -> bool {
        self.owners.get(&txn).is_some_and(|owner| owner.sets.iter().any(|(taken, _)| *taken >= savepoint))
    }

    /// Ends what was taken after a savepoint, or a later one. Keys with waiters are held singly, so nobody need be woken.
    pub fn release_since(&mut self, txn: TxnId, savepoint: u64) {
        if let Some(owner) = self.owners.get_mut(&txn) {
            owner.sets.retain(|(taken, _)| *taken < savepoint);
        }
    }

    /// Ends all of a transaction's sets.
    pub fn release(&mut self, txn: TxnId) {
        self.asked.remove(&txn);
        self.owners.remove(&txn);
    }
}
