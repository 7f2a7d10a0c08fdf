//! What each read saw of the orders, and what is wrong with it by itself.
//!
//! A read of a key that its transaction has written must show just that; any other shows a version that a committed
//! transaction left. Where a row is not found, several versions may explain it (unborn, moved, deleted): the observation is the
//! span of them. The true one is not before its first and not after its last, so the dependencies that follow
//! from the two ends hold for sure, and none is invented.

use std::collections::HashMap;

use super::anomaly::{Anomaly, Phenomenon};
use super::history::{Group, History, Key, Operation, State, Value};
use super::orders::{Chain, Orders};
use super::writes::{Fate, OwnWrites, Writes};

/// How a version came to be seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sight {
    /// By a read of this key, at the statement's snapshot.
    Item,
    /// By a predicate read, at the statement's snapshot.
    Predicate,
    /// Under the lock of a writer: the newest version, whatever the snapshot.
    Locked,
}

/// A read of versions that others wrote.
#[derive(Clone, Copy, Debug)]
pub struct Observation {
    /// The transaction.
    pub reader: usize,
    /// Which of its statements.
    pub statement: usize,
    /// The key.
    pub key: Key,
    /// The first place in the key's order that explains what was seen.
    pub low: usize,
    /// The last one.
    pub high: usize,
    /// How it was seen.
    pub sight: Sight,
}

/// Goes through all committed transactions.
pub fn observe(history: &History, writes: &Writes, orders: &Orders) -> (Vec<Observation>, Vec<Anomaly>) {
    let mut observer =
        Observer { writes, orders, observations: Vec::new(), anomalies: Vec::new(), reader: 0, statement: 0 };
    for (reader, transaction) in history.transactions.iter().enumerate() {
        if !writes.is_committed(reader) {
            continue;
        }
        observer.reader = reader;
        let mut own = OwnWrites::default();
        for (place, statement) in transaction.statements.iter().enumerate() {
            observer.statement = place;
            for operation in &statement.operations {
                observer.take(operation, &own);
                own.apply(operation);
            }
        }
    }
    (observer.observations, observer.anomalies)
}

struct Observer<'a> {
    writes: &'a Writes,
    orders: &'a Orders,
    observations: Vec<Observation>,
    anomalies: Vec<Anomaly>,
    reader: usize,
    statement: usize,
}

impl Observer<'_> {
    fn take(&mut self, operation: &Operation, own: &OwnWrites) {
        match operation {
            Operation::ReadList { key, values } => self.list(*key, values, own),
            Operation::Read { key, value } => self.register(*key, *value, own),
            Operation::Scan { group, found } => self.scan(*group, found, own),
            Operation::Write { key, base: Some(base), .. } => self.base(*key, *base, own),
            Operation::Write { base: None, .. } | Operation::Savepoint(_) | Operation::RollbackTo(_) => {}
        }
    }

    fn list(&mut self, key: Key, values: &[Value], own: &OwnWrites) {
        let mine: Vec<Value> = own.of(key).collect();
        let Some(others) = values.strip_suffix(mine.as_slice()) else {
            let text = format!("read {key} as {values:?} after it had appended {mine:?}");
            return self.report(Phenomenon::Internal, None, text);
        };
        for (place, value) in others.iter().enumerate() {
            if others[..place].contains(value) {
                self.report(
                    Phenomenon::DuplicateElement,
                    None,
                    format!("{value} is twice in {key}: {values:?}"),
                );
            }
            let is_last = place + 1 == others.len();
            self.check_foreign(key, *value, is_last);
        }
        if mine.is_empty() {
            self.see(key, others.last().copied().unwrap_or(Value::NONE), Sight::Item);
        }
    }

    fn register(&mut self, key: Key, value: Value, own: &OwnWrites) {
        if let Some((mine, state)) = own.last(key) {
            let expected = if state == State::Gone { Value::NONE } else { mine };
            if value != expected {
                let text = format!("read {key} as {value} where it had left {expected}");
                self.report(Phenomenon::Internal, None, text);
            }
            return;
        }
        if value != Value::NONE {
            self.check_foreign(key, value, true);
            return self.see(key, value, Sight::Item);
        }
        let Some(chain) = self.orders.chains.get(&key) else { return };
        let high = last_where(chain, |state| state == State::Gone);
        self.push(key, 0, high, Sight::Item);
    }

    fn scan(&mut self, group: Group, found: &[(Key, Value)], own: &OwnWrites) {
        let mut by_key = HashMap::new();
        for (key, value) in found {
            if let Some(other) = by_key.insert(*key, *value) {
                let text = format!("a scan of group {} found {key} twice: {other} and {value}", group.0);
                self.report(Phenomenon::DuplicateElement, None, text);
            }
        }
        for (key, (value, state)) in own.finals() {
            let expected = (state == State::In(group)).then_some(value);
            if by_key.get(&key).copied() != expected {
                let text = format!(
                    "a scan of group {} found {key} as {:?} where it had left {value}, {state:?}",
                    group.0,
                    by_key.get(&key)
                );
                self.report(Phenomenon::Internal, None, text);
            }
        }
        let mine = own.keys();
        for (key, value) in by_key.iter().filter(|(key, _)| !mine.contains(*key)) {
            self.check_foreign(*key, *value, true);
            if self.writes.get(*value).is_some_and(|written| written.state != State::In(group)) {
                let text = format!("a scan of group {} found {key} as {value}, which is not in it", group.0);
                self.report(Phenomenon::GarbageRead, Some(*value), text);
            }
            self.see(*key, *value, Sight::Predicate);
        }
        let orders = self.orders;
        let members = orders.members.get(&group).map(Vec::as_slice).unwrap_or_default();
        for key in members.iter().filter(|key| !mine.contains(*key) && !by_key.contains_key(*key)) {
            let Some(chain) = orders.chains.get(key) else { continue };
            let high = last_where(chain, |state| state != State::In(group));
            self.push(*key, 0, high, Sight::Predicate);
        }
    }

    fn base(&mut self, key: Key, base: Value, own: &OwnWrites) {
        if let Some((mine, _)) = own.last(key) {
            if base != mine {
                let text = format!("replaced {base} of {key} where it had left {mine}");
                self.report(Phenomenon::Internal, None, text);
            }
            return;
        }
        if base != Value::NONE {
            self.check_foreign(key, base, true);
        }
        self.see(key, base, Sight::Locked);
    }

    /// What a version that others wrote must be: written to this key, committed, and if it is the newest
    /// seen, the last of its transaction.
    fn check_foreign(&mut self, key: Key, value: Value, is_newest: bool) {
        let Some(written) = self.writes.get(value).filter(|written| written.key == key) else {
            return self.report(Phenomenon::GarbageRead, None, format!("saw {value} in {key}"));
        };
        match written.fate {
            _ if written.transaction == self.reader => {
                let text = format!("saw {value} in {key} where it should not see its own write");
                self.report(Phenomenon::Internal, None, text);
            }
            Fate::Undone => {
                let text = format!("saw {value} in {key}, which was rolled back");
                self.report(Phenomenon::G1a, Some(value), text);
            }
            Fate::Intermediate if is_newest => {
                let text = format!("saw {value} in {key}, which its writer replaced before it committed");
                self.report(Phenomenon::G1b, Some(value), text);
            }
            Fate::Intermediate | Fate::Final => {}
        }
    }

    /// An observation of just this version, if it has a place.
    fn see(&mut self, key: Key, value: Value, sight: Sight) {
        let place = self.orders.chains.get(&key).and_then(|chain| chain.place(value));
        if let Some(place) = place {
            self.push(key, place, place, sight);
        }
    }

    fn push(&mut self, key: Key, low: usize, high: usize, sight: Sight) {
        let (reader, statement) = (self.reader, self.statement);
        self.observations.push(Observation { reader, statement, key, low, high, sight });
    }

    fn report(&mut self, phenomenon: Phenomenon, value: Option<Value>, text: String) {
        let writer = value.and_then(|value| self.writes.get(value)).map(|written| written.transaction);
        let mut transactions = vec![self.reader];
        transactions.extend(writer.filter(|writer| *writer != self.reader));
        let text = format!("T{} {text}", self.reader);
        self.anomalies.push(Anomaly::of_reads(phenomenon, transactions, text));
    }
}

fn last_where(chain: &Chain, holds: impl Fn(State) -> bool) -> usize {
    chain.versions.iter().rposition(|version| holds(version.state)).unwrap_or(0)
}
