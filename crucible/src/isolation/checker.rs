//! The checker: from a history to the anomalies in it.
//!
//! It infers the order of each key's versions ([`orders`](super::orders)), looks at each read by itself
//! ([`reads`](super::reads)), builds the dependency graph ([`graph`](super::graph)) and finds its cycles
//! ([`cycles`](super::cycles)). It is sound: every anomaly that it reports is one. It finds every cycle's component, and of
//! each component some cycles.

use std::collections::{BTreeMap, HashSet};
use std::fmt::{self, Write as _};

use super::anomaly::{Anomaly, Level, Phenomenon};
use super::cycles::{self, Pass};
use super::graph::{Graph, TimeOrder};
use super::history::History;
use super::orders::Orders;
use super::reads::observe;
use super::writes::Writes;

/// What was found in a history.
#[derive(Debug, Default)]
pub struct Findings {
    /// All anomalies, allowed ones too.
    pub anomalies: Vec<Anomaly>,
}

/// Checks a history that is to be of this level. READ COMMITTED is held to one snapshot a statement, too.
pub fn check(history: &History, level: Level, time: TimeOrder) -> Findings {
    let writes = Writes::of(history);
    let (orders, mut anomalies) = Orders::infer(history, &writes);
    let (observations, found) = observe(history, &writes, &orders);
    anomalies.extend(found);
    show_transactions(&mut anomalies, history);
    let graph = Graph::of_transactions(history, &writes, &orders, &observations, time);
    let passes = [Pass::Writes, Pass::Reads, Pass::Nonadjacent, Pass::All];
    anomalies.extend(cycles::find(&graph, history, &passes));
    if level == Level::ReadCommitted {
        let graph = Graph::of_statements(history, &writes, &orders, &observations, time);
        let split = cycles::find(&graph, history, &[Pass::Nonadjacent]);
        anomalies.extend(split.into_iter().filter(|found| found.phenomenon == Phenomenon::SplitStatement));
    }
    Findings { anomalies }
}

/// Adds the transactions to the first finding of each name.
fn show_transactions(anomalies: &mut [Anomaly], history: &History) {
    let mut shown = HashSet::new();
    for anomaly in anomalies.iter_mut().filter(|anomaly| shown.insert(anomaly.phenomenon)) {
        for place in &anomaly.transactions {
            let _ = write!(anomaly.description, "\n    T{place}: {}", history.transactions[*place]);
        }
    }
}

impl Findings {
    /// The first anomaly that the level forbids.
    pub fn first_forbidden(&self, level: Level) -> Option<&Anomaly> {
        self.anomalies.iter().find(|anomaly| anomaly.phenomenon.is_forbidden(level))
    }

    /// Whether there is one of this name.
    pub fn has(&self, phenomenon: Phenomenon) -> bool {
        self.anomalies.iter().any(|anomaly| anomaly.phenomenon == phenomenon)
    }

    /// How many there are of each name, those that take the order of time apart.
    pub fn counts(&self) -> BTreeMap<(Phenomenon, bool), usize> {
        let mut counts = BTreeMap::new();
        for anomaly in &self.anomalies {
            *counts.entry((anomaly.phenomenon, anomaly.by_time)).or_insert(0) += 1;
        }
        counts
    }
}

impl fmt::Display for Anomaly {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let time = if self.by_time { ", by the order of time" } else { "" };
        write!(f, "{}{time}: {}", self.phenomenon, self.description)
    }
}
