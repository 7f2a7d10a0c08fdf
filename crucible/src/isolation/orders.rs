//! The order of each key's versions.
//!
//! A list tells it: what one read shows is the order of all that it holds, and the longest read holds the others, or the answers
//! contradict each other. Where the list read last ends, and for registers and rows throughout, the versions that
//! writers replaced under their locks go on. Two committed writes that replaced the same version are a lost write.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::anomaly::{Anomaly, Phenomenon};
use super::history::{Group, History, Key, Operation, State, Value};
use super::writes::Writes;

/// A version of a key.
#[derive(Clone, Copy, Debug)]
pub struct Version {
    /// Its value; [`Value::NONE`] for what was there before the first.
    pub value: Value,
    /// Who wrote it; nobody the first.
    pub writer: Option<usize>,
    /// What the key was then.
    pub state: State,
}

/// The versions of one key.
#[derive(Debug)]
pub struct Chain {
    /// In order; the first is [`Value::NONE`].
    pub versions: Vec<Version>,
    /// Committed values that nobody saw and of which nobody knows what they replaced: they came after all others.
    pub unseen: Vec<Version>,
    places: HashMap<Value, usize>,
}

impl Chain {
    fn new() -> Self {
        let first = Version { value: Value::NONE, writer: None, state: State::Gone };
        Self { versions: vec![first], unseen: Vec::new(), places: [(Value::NONE, 0)].into() }
    }

    fn push(&mut self, version: Version) {
        self.places.insert(version.value, self.versions.len());
        self.versions.push(version);
    }

    /// Where a value is in the order.
    pub fn place(&self, value: Value) -> Option<usize> {
        self.places.get(&value).copied()
    }
}

/// The orders of all keys.
#[derive(Debug, Default)]
pub struct Orders {
    /// By key.
    pub chains: BTreeMap<Key, Chain>,
    /// The keys that were ever in a group.
    pub members: HashMap<Group, Vec<Key>>,
}

/// What is known of one key.
#[derive(Debug, Default)]
struct Evidence {
    values: Vec<Value>,
    longest: Vec<Value>,
    longest_reader: usize,
    successors: HashMap<Value, Vec<Value>>,
}

impl Orders {
    /// Infers the orders, and tells what contradicts itself.
    pub fn infer(history: &History, writes: &Writes) -> (Self, Vec<Anomaly>) {
        let mut anomalies = Vec::new();
        let mut evidence = BTreeMap::<Key, Evidence>::new();
        let mut members = HashMap::<Group, HashSet<Key>>::new();
        for (value, written) in writes.effective() {
            let known = evidence.entry(written.key).or_default();
            known.values.push(value);
            if let Some(base) = written.base {
                known.successors.entry(base).or_default().push(value);
            }
            if let State::In(group) = written.state {
                members.entry(group).or_default().insert(written.key);
            }
        }
        read_lists(history, writes, &mut evidence, &mut anomalies);
        let mut orders = Self::default();
        for (key, mut known) in evidence {
            known.values.sort_unstable();
            known.successors.values_mut().for_each(|values| values.sort_unstable());
            orders.chains.insert(key, chain(key, &known, writes, &mut anomalies));
        }
        let sorted = |keys: HashSet<Key>| {
            let mut keys: Vec<Key> = keys.into_iter().collect();
            keys.sort_unstable();
            keys
        };
        orders.members = members.into_iter().map(|(group, keys)| (group, sorted(keys))).collect();
        (orders, anomalies)
    }
}

/// Finds the longest read of each list, and reads that are no prefix of it.
fn read_lists(
    history: &History,
    writes: &Writes,
    evidence: &mut BTreeMap<Key, Evidence>,
    anomalies: &mut Vec<Anomaly>,
) {
    for pass in ["longest", "others"] {
        for (reader, transaction) in history.transactions.iter().enumerate() {
            if !writes.is_committed(reader) {
                continue;
            }
            for operation in transaction.operations() {
                let Operation::ReadList { key, values } = operation else { continue };
                let mut distinct = HashSet::new();
                let values: Vec<Value> = values
                    .iter()
                    .copied()
                    .filter(|value| writes.is_effective(*key, *value) && distinct.insert(*value))
                    .collect();
                let known = evidence.entry(*key).or_default();
                if pass == "longest" {
                    if values.len() > known.longest.len() {
                        known.longest = values;
                        known.longest_reader = reader;
                    }
                } else if !known.longest.starts_with(&values) {
                    let text = format!(
                        "{key} was read as {values:?} and as {:?}: neither is how the other began",
                        known.longest
                    );
                    let transactions = vec![reader, known.longest_reader];
                    anomalies.push(Anomaly::of_reads(Phenomenon::IncompatibleOrder, transactions, text));
                }
            }
        }
    }
}

fn chain(key: Key, known: &Evidence, writes: &Writes, anomalies: &mut Vec<Anomaly>) -> Chain {
    let version = |value: Value| {
        let written = writes.get(value).expect("only written values are evidence");
        Version { value, writer: Some(written.transaction), state: written.state }
    };
    let mut branches: Vec<_> = known.successors.iter().filter(|(_, values)| values.len() > 1).collect();
    branches.sort_unstable();
    for (base, values) in branches {
        let writers = values.iter().filter_map(|value| Some(writes.get(*value)?.transaction)).collect();
        let text = format!("{key}: {values:?} all replaced {base}");
        anomalies.push(Anomaly::of_reads(Phenomenon::LostWrite, writers, text));
    }
    let mut chain = Chain::new();
    let mut last = Value::NONE;
    for value in &known.longest {
        let base = writes.get(*value).and_then(|written| written.base);
        let forked = |base| known.successors.get(&base).is_some_and(|values| values.len() > 1);
        if let Some(base) = base.filter(|base| *base != last && !forked(*base)) {
            let text = format!("{key}: {value} follows {last}, but was written over {base}");
            let writer = writes.get(*value).map(|written| written.transaction);
            let transactions = vec![writer.unwrap_or_default(), known.longest_reader];
            anomalies.push(Anomaly::of_reads(Phenomenon::IncompatibleOrder, transactions, text));
        }
        chain.push(version(*value));
        last = *value;
    }
    while let Some(next) = known
        .successors
        .get(&last)
        .and_then(|values| values.iter().find(|value| chain.place(**value).is_none()))
    {
        chain.push(version(*next));
        last = *next;
    }
    let unseen = known.values.iter().filter(|value| chain.place(**value).is_none());
    chain.unseen = unseen
        .filter(|value| writes.get(**value).is_some_and(|written| written.base.is_none()))
        .map(|value| version(*value))
        .collect();
    chain
}
