//! What one client knows of what it wrote.

use std::collections::BTreeMap;

use super::operation::Operation;

/// Rows under one tag, in both tables of pairs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pair {
    /// How many in each table.
    pub(super) rows: u64,
    /// How often they were updated.
    pub(super) version: u64,
}

/// What a client was told is committed, and what it was not told the end of.
#[derive(Clone, Debug)]
pub(super) struct ClientModel {
    /// The client's number.
    pub(super) client: u64,
    /// Tags in the tables of pairs.
    pub(super) pairs: BTreeMap<u64, Pair>,
    /// Tags in the bulk table, with their rows.
    pub(super) bulk: BTreeMap<u64, u64>,
    /// How often it raised the counter.
    pub(super) steps: u64,
    /// The transaction whose COMMIT got no answer.
    pub(super) in_doubt: Option<Operation>,
    next_tag: u64,
}

impl ClientModel {
    pub(super) fn new(client: u64) -> Self {
        Self { client, pairs: BTreeMap::new(), bulk: BTreeMap::new(), steps: 0, in_doubt: None, next_tag: 0 }
    }

    /// A tag that no transaction has had, committed or not.
    pub(super) fn new_tag(&mut self) -> u64 {
        self.next_tag += 1;
        (self.client + 1) * 1_000_000 + self.next_tag
    }

    /// The operation is committed.
    pub(super) fn apply(&mut self, operation: Operation) {
        match operation {
            Operation::Insert { tag, rows } => {
                self.pairs.insert(tag, Pair { rows, version: 0 });
            }
            Operation::Update { tag } => {
                if let Some(pair) = self.pairs.get_mut(&tag) {
                    pair.version += 1;
                }
            }
            Operation::Delete { tag } => {
                self.pairs.remove(&tag);
            }
            Operation::Bulk { tag, rows } | Operation::Copy { tag, rows } => {
                self.bulk.insert(tag, rows);
            }
            Operation::BulkDelete { tag } => {
                self.bulk.remove(&tag);
            }
            Operation::Step => self.steps += 1,
        }
    }

    /// This model, and where a transaction is in doubt the one in which it committed.
    pub(super) fn possible(&self) -> (Self, Option<Self>) {
        let mut without = self.clone();
        let with = without.in_doubt.take().map(|operation| {
            let mut with = without.clone();
            with.apply(operation);
            with
        });
        (without, with)
    }

    /// Whether both say the same of what is stored.
    pub(super) fn same_rows(&self, other: &Self) -> bool {
        self.pairs == other.pairs && self.bulk == other.bulk && self.steps == other.steps
    }

    /// The first thing in which what is stored departs from this.
    pub(super) fn difference(&self, stored: &Self) -> String {
        let client = self.client;
        if self.steps != stored.steps {
            return format!("client {client}: {} steps acknowledged, {} there", self.steps, stored.steps);
        }
        let tags = self.pairs.keys().chain(stored.pairs.keys());
        for tag in tags {
            let (expected, found) = (self.pairs.get(tag), stored.pairs.get(tag));
            if expected != found {
                return format!(
                    "client {client}, pairs of tag {tag}: expected {expected:?}, found {found:?}"
                );
            }
        }
        for tag in self.bulk.keys().chain(stored.bulk.keys()) {
            let (expected, found) = (self.bulk.get(tag), stored.bulk.get(tag));
            if expected != found {
                return format!("client {client}, bulk of tag {tag}: expected {expected:?}, found {found:?}");
            }
        }
        format!("client {client}: no difference")
    }
}

/// The client that made a tag.
pub(super) fn client_of(tag: u64) -> Option<usize> {
    usize::try_from(tag / 1_000_000).ok()?.checked_sub(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transaction_in_doubt_gives_two_worlds() {
        let mut model = ClientModel::new(3);
        let tag = model.new_tag();
        assert_eq!(client_of(tag), Some(3));
        model.apply(Operation::Insert { tag, rows: 2 });
        model.in_doubt = Some(Operation::Delete { tag });
        let (without, with) = model.possible();
        assert_eq!(without.pairs.get(&tag), Some(&Pair { rows: 2, version: 0 }));
        assert!(with.expect("a second world").pairs.is_empty());
    }

    #[test]
    fn differences_name_the_tag() {
        let mut model = ClientModel::new(0);
        let tag = model.new_tag();
        model.apply(Operation::Insert { tag, rows: 2 });
        let stored = ClientModel::new(0);
        assert!(!model.same_rows(&stored));
        assert!(model.difference(&stored).contains(&tag.to_string()));
    }
}
