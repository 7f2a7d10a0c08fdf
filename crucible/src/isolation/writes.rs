//! Who wrote which value, and what became of it.

use std::collections::{HashMap, HashSet};

use super::history::{History, Key, Operation, Outcome, State, Transaction, Value};

/// The writes of one transaction that it has not undone, as it goes on.
#[derive(Debug, Default)]
pub struct OwnWrites {
    log: Vec<(Key, Value, State)>,
    savepoints: Vec<(u32, usize)>,
}

impl OwnWrites {
    /// Takes a step, and gives what it undid.
    pub fn apply(&mut self, operation: &Operation) -> Vec<Value> {
        match operation {
            Operation::Write { key, value, state, .. } => self.log.push((*key, *value, *state)),
            Operation::Savepoint(name) => self.savepoints.push((*name, self.log.len())),
            Operation::RollbackTo(name) => {
                let Some(place) = self.savepoints.iter().rposition(|(other, _)| other == name) else {
                    return Vec::new();
                };
                self.savepoints.truncate(place + 1);
                let length = self.savepoints[place].1;
                return self.log.drain(length..).map(|(_, value, _)| value).collect();
            }
            Operation::ReadList { .. } | Operation::Read { .. } | Operation::Scan { .. } => {}
        }
        Vec::new()
    }

    /// The values that it wrote to a key, in order.
    pub fn of(&self, wanted: Key) -> impl Iterator<Item = Value> {
        self.log.iter().filter(move |(key, ..)| *key == wanted).map(|(_, value, _)| *value)
    }

    /// What a key is by its last write.
    pub fn last(&self, wanted: Key) -> Option<(Value, State)> {
        self.log.iter().rev().find(|(key, ..)| *key == wanted).map(|(_, value, state)| (*value, *state))
    }

    /// The keys it wrote to.
    pub fn keys(&self) -> HashSet<Key> {
        self.log.iter().map(|(key, ..)| *key).collect()
    }

    /// The keys with their last writes.
    pub fn finals(&self) -> HashMap<Key, (Value, State)> {
        self.log.iter().map(|(key, value, state)| (*key, (*value, *state))).collect()
    }
}

/// What became of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Committed, the last of its transaction to that key.
    Final,
    /// Committed, but the same transaction replaced it.
    Intermediate,
    /// Rolled back, with its transaction or to a savepoint.
    Undone,
}

/// A write of the history.
#[derive(Clone, Copy, Debug)]
pub struct Written {
    /// Whose it is.
    pub transaction: usize,
    /// Of which key.
    pub key: Key,
    /// The version it replaced.
    pub base: Option<Value>,
    /// What the key was then.
    pub state: State,
    /// What became of it.
    pub fate: Fate,
}

/// All writes of a history.
#[derive(Debug)]
pub struct Writes {
    by_value: HashMap<Value, Written>,
    committed: Vec<bool>,
}

impl Writes {
    /// Reads the writes off a history. A commit whose outcome is unknown counts as committed if a committed transaction read
    /// of it.
    pub fn of(history: &History) -> Self {
        let mut committed: Vec<bool> = history
            .transactions
            .iter()
            .map(|transaction| transaction.outcome == Outcome::Committed)
            .collect();
        if history.transactions.iter().any(|transaction| transaction.outcome == Outcome::Unknown) {
            let seen = seen_values(history, &committed);
            for (transaction, committed) in history.transactions.iter().zip(&mut committed) {
                let wrote_seen = |operation: &Operation| matches!(operation, Operation::Write { value, .. } if seen.contains(value));
                *committed |=
                    transaction.outcome == Outcome::Unknown && transaction.operations().any(wrote_seen);
            }
        }
        let mut by_value = HashMap::new();
        for (place, transaction) in history.transactions.iter().enumerate() {
            let finals = committed[place].then(|| replayed(transaction));
            for operation in transaction.operations() {
                let Operation::Write { key, value, base, state } = operation else { continue };
                let fate = match &finals {
                    Some((undone, _)) if undone.contains(value) => Fate::Undone,
                    Some((_, own)) if own.get(key).is_some_and(|(last, _)| last == value) => Fate::Final,
                    Some(_) => Fate::Intermediate,
                    None => Fate::Undone,
                };
                let written = Written { transaction: place, key: *key, base: *base, state: *state, fate };
                let before = by_value.insert(*value, written);
                assert!(before.is_none(), "value {value} is written twice: a history that cannot be judged");
            }
        }
        Self { by_value, committed }
    }

    /// The write of a value.
    pub fn get(&self, value: Value) -> Option<&Written> {
        self.by_value.get(&value)
    }

    /// Whether a transaction took effect.
    pub fn is_committed(&self, transaction: usize) -> bool {
        self.committed[transaction]
    }

    /// All writes that took effect.
    pub fn effective(&self) -> impl Iterator<Item = (Value, &Written)> {
        let all = self.by_value.iter().map(|(value, written)| (*value, written));
        all.filter(|(_, written)| written.fate != Fate::Undone)
    }

    /// Whether the value was written to this key and took effect.
    pub fn is_effective(&self, key: Key, value: Value) -> bool {
        self.get(value).is_some_and(|written| written.key == key && written.fate != Fate::Undone)
    }
}

/// What a transaction undid, and what it left.
fn replayed(transaction: &Transaction) -> (HashSet<Value>, HashMap<Key, (Value, State)>) {
    let mut own = OwnWrites::default();
    let undone = transaction.operations().flat_map(|operation| own.apply(operation)).collect();
    (undone, own.finals())
}

fn seen_values(history: &History, committed: &[bool]) -> HashSet<Value> {
    let mut seen = HashSet::new();
    let committed = history.transactions.iter().zip(committed).filter(|(_, committed)| **committed);
    for operation in committed.flat_map(|(transaction, _)| transaction.operations()) {
        match operation {
            Operation::ReadList { values, .. } => seen.extend(values.iter().copied()),
            Operation::Read { value, .. } => drop(seen.insert(*value)),
            Operation::Scan { found, .. } => seen.extend(found.iter().map(|(_, value)| *value)),
            Operation::Write { base, .. } => seen.extend(*base),
            Operation::Savepoint(_) | Operation::RollbackTo(_) => {}
        }
    }
    seen
}
