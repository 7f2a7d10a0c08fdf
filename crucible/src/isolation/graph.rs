//! The dependency graph: which transaction, or statement, came after which, and why.
//!
//! | edge | from | to |
//! |---|---|---|
//! | ww | who wrote a version | who wrote the next |
//! | wr | who wrote a version | who saw it |
//! | rw | who saw a version | who wrote the next: an anti-dependency |
//! | time | who had ended | who began later, in the same process or in any |
//!
//! Of the edges of time only those are kept that do not follow from others.
//!
//! For READ COMMITTED, whose transactions may see several instants, there is a second form, where each statement that reads
//! is a node of its own beside its transaction: what it saw comes before it, and the anti-dependencies are its
//! own. All other edges are the order of commits, so that a cycle in which no two anti-dependencies follow each other shows a
//! statement that saw one commit and not an earlier one.

use std::collections::HashMap;

use super::history::{History, Key, Outcome, Value};
use super::orders::Orders;
use super::reads::{Observation, Sight};
use super::writes::Writes;

/// Why one node comes after another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Dependency {
    /// It wrote the next version.
    Ww,
    /// It saw the version.
    Wr,
    /// It wrote the next version of what the other saw.
    Rw {
        /// Whether the other saw it by a predicate read.
        predicate: bool,
    },
    /// It began after the other had ended.
    Time,
}

/// An edge.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Edge {
    /// Why.
    pub dependency: Dependency,
    /// The node that comes later.
    pub to: usize,
    /// Of which key; any for edges of time.
    pub key: Key,
    /// The version that the earlier one wrote or saw.
    pub before: Value,
    /// The version that the later one saw or wrote.
    pub after: Value,
}

/// Which order of time between transactions a history is held to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimeOrder {
    /// None.
    None,
    /// That of each client.
    Process,
    /// Whatever had ended before another began, by the one clock.
    RealTime,
}

/// The graph. The first nodes are the transactions, by their places.
#[derive(Debug)]
pub struct Graph {
    /// The edges from each node, the most telling first.
    pub edges: Vec<Vec<Edge>>,
    /// Of statements: which transaction, which statement of it.
    pub statements: Vec<(usize, usize)>,
    transactions: usize,
}

impl Graph {
    /// The graph of transactions.
    pub fn of_transactions(
        history: &History,
        writes: &Writes,
        orders: &Orders,
        observations: &[Observation],
        time: TimeOrder,
    ) -> Self {
        let count = history.transactions.len();
        let mut graph = Self { edges: vec![Vec::new(); count], statements: Vec::new(), transactions: count };
        graph.add_versions(orders);
        for observation in observations {
            graph.add_read(orders, observation, observation.reader);
            graph.add_overwrites(orders, observation, observation.reader);
        }
        let spans = transaction_spans(history, writes);
        graph.finish(spans, time);
        graph
    }

    /// The graph of transactions and of the statements that read.
    pub fn of_statements(
        history: &History,
        writes: &Writes,
        orders: &Orders,
        observations: &[Observation],
        time: TimeOrder,
    ) -> Self {
        let count = history.transactions.len();
        let mut graph = Self { edges: vec![Vec::new(); count], statements: Vec::new(), transactions: count };
        graph.add_versions(orders);
        let mut spans = transaction_spans(history, writes);
        let mut nodes = HashMap::new();
        for observation in observations {
            graph.add_read(orders, observation, observation.reader);
            if observation.sight == Sight::Locked {
                continue;
            }
            let place = (observation.reader, observation.statement);
            let node = *nodes.entry(place).or_insert_with(|| {
                let node = graph.edges.len();
                let transaction = &history.transactions[place.0];
                let statement = &transaction.statements[place.1];
                let (process, invoked, returned) =
                    (transaction.process, statement.invoked, statement.returned);
                spans.push(Span { node, process, invoked, returned });
                graph.edges.push(Vec::new());
                graph.statements.push(place);
                node
            });
            graph.add_read(orders, observation, node);
            graph.add_overwrites(orders, observation, node);
        }
        graph.finish(spans, time);
        graph
    }

    /// The transaction that a node is, or is a statement of.
    pub fn transaction(&self, node: usize) -> usize {
        match node.checked_sub(self.transactions) {
            Some(place) => self.statements[place].0,
            None => node,
        }
    }

    /// A node's name.
    pub fn name(&self, node: usize) -> String {
        match node.checked_sub(self.transactions) {
            Some(place) => {
                let (transaction, statement) = self.statements[place];
                format!("statement {} of T{transaction}", statement + 1)
            }
            None => format!("T{node}"),
        }
    }

    fn add(&mut self, from: usize, edge: Edge) {
        if from != edge.to {
            self.edges[from].push(edge);
        }
    }

    fn add_versions(&mut self, orders: &Orders) {
        for (key, chain) in &orders.chains {
            let last = chain.versions.last().into_iter();
            let onward = last.flat_map(|last| chain.unseen.iter().map(move |unseen| (last, unseen)));
            let pairs = chain.versions.windows(2).map(|pair| (&pair[0], &pair[1]));
            for (before, after) in pairs.chain(onward) {
                if let (Some(from), Some(to)) = (before.writer, after.writer) {
                    let (before, after) = (before.value, after.value);
                    self.add(from, Edge { dependency: Dependency::Ww, to, key: *key, before, after });
                }
            }
        }
    }

    fn add_read(&mut self, orders: &Orders, observation: &Observation, node: usize) {
        let Some(chain) = orders.chains.get(&observation.key) else { return };
        let seen = chain.versions[observation.low];
        if let Some(from) = seen.writer {
            let (key, before, after) = (observation.key, seen.value, seen.value);
            self.add(from, Edge { dependency: Dependency::Wr, to: node, key, before, after });
        }
    }

    fn add_overwrites(&mut self, orders: &Orders, observation: &Observation, node: usize) {
        let Some(chain) = orders.chains.get(&observation.key) else { return };
        let seen = chain.versions[observation.high];
        let dependency = Dependency::Rw { predicate: observation.sight == Sight::Predicate };
        let next = chain.versions.get(observation.high + 1);
        let next = next.map_or(chain.unseen.as_slice(), std::slice::from_ref);
        for next in next {
            if let Some(to) = next.writer {
                let (key, before, after) = (observation.key, seen.value, next.value);
                self.add(node, Edge { dependency, to, key, before, after });
            }
        }
    }

    fn finish(&mut self, spans: Vec<Span>, time: TimeOrder) {
        for (from, to) in time_edges(spans, time) {
            let (key, value) = (Key(0), Value::NONE);
            self.add(from, Edge { dependency: Dependency::Time, to, key, before: value, after: value });
        }
        for edges in &mut self.edges {
            edges.sort_unstable();
            edges.dedup_by_key(|edge| (edge.to, edge.dependency));
        }
    }
}

/// When a node was under way.
#[derive(Clone, Copy, Debug)]
struct Span {
    node: usize,
    process: usize,
    invoked: u64,
    returned: u64,
}

fn transaction_spans(history: &History, writes: &Writes) -> Vec<Span> {
    let all = history.transactions.iter().enumerate();
    all.filter(|(node, _)| writes.is_committed(*node))
        .map(|(node, transaction)| Span {
            node,
            process: transaction.process,
            invoked: transaction.invoked,
            // Nobody was told: it may have taken effect at any time since.
            returned: if transaction.outcome == Outcome::Unknown { u64::MAX } else { transaction.returned },
        })
        .collect()
}

/// From each node to those that began after it had ended, but for what follows from a third between them.
fn time_edges(spans: Vec<Span>, time: TimeOrder) -> Vec<(usize, usize)> {
    match time {
        TimeOrder::None => Vec::new(),
        TimeOrder::RealTime => reduced(spans),
        TimeOrder::Process => {
            let mut by_process = HashMap::<usize, Vec<Span>>::new();
            for span in spans {
                by_process.entry(span.process).or_default().push(span);
            }
            by_process.into_values().flat_map(reduced).collect()
        }
    }
}

fn reduced(spans: Vec<Span>) -> Vec<(usize, usize)> {
    let mut moments: Vec<(u64, bool, Span)> = Vec::with_capacity(spans.len() * 2);
    for span in spans {
        moments.push((span.invoked, false, span));
        moments.push((span.returned, true, span));
    }
    moments.sort_unstable_by_key(|(moment, is_end, _)| (*moment, *is_end));
    let mut edges = Vec::new();
    let mut ended = Vec::<Span>::new();
    for (_, is_end, span) in moments {
        if is_end {
            ended.retain(|other| other.returned >= span.invoked);
            ended.push(span);
        } else {
            edges.extend(ended.iter().map(|other| (other.node, span.node)));
        }
    }
    edges
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(node: usize, invoked: u64, returned: u64) -> Span {
        Span { node, process: node % 2, invoked, returned }
    }

    #[test]
    fn only_the_last_that_ended_precede() {
        // 0 and 1 overlap, 2 begins after both, 3 after 2.
        let spans = vec![span(0, 1, 4), span(1, 2, 5), span(2, 6, 7), span(3, 8, 9)];
        let mut edges = time_edges(spans.clone(), TimeOrder::RealTime);
        edges.sort_unstable();
        assert_eq!(edges, [(0, 2), (1, 2), (2, 3)]);
        let mut edges = time_edges(spans.clone(), TimeOrder::Process);
        edges.sort_unstable();
        assert_eq!(edges, [(0, 2), (1, 3)]);
        assert!(time_edges(spans, TimeOrder::None).is_empty());
    }

    #[test]
    fn one_that_goes_on_precedes_nobody() {
        let spans = vec![span(0, 1, u64::MAX), span(1, 2, 3), span(2, 4, 5)];
        assert_eq!(time_edges(spans, TimeOrder::RealTime), [(1, 2)]);
    }
}
