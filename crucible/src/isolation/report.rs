//! What came of a run.

use std::collections::BTreeMap;
use std::fmt;

use super::anomaly::{Anomaly, Phenomenon};

/// What came of the rounds.
#[derive(Debug, Default)]
pub struct Report {
    /// Rounds run.
    pub rounds: u64,
    /// Transactions that committed.
    pub committed: u64,
    /// Transactions that their clients rolled back.
    pub rolled_back: u64,
    /// Transactions that failed and would be tried again, by the error.
    pub retries: BTreeMap<&'static str, u64>,
    /// Operations in all transactions.
    pub operations: u64,
    /// Anomalies by name, allowed ones too; those seen by the order of time alone apart.
    pub anomalies: BTreeMap<(Phenomenon, bool), usize>,
    /// The first that is forbidden.
    pub forbidden: Option<Anomaly>,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { rounds, committed, rolled_back, retries, operations, anomalies, .. } = self;
        write!(
            f,
            "{rounds} rounds, {committed} committed, {rolled_back} rolled back, {operations} operations"
        )?;
        write!(f, "\n  to be retried: {}", retries.values().sum::<u64>())?;
        for (name, count) in retries {
            write!(f, ", {count} {name}")?;
        }
        for ((phenomenon, by_time), count) in anomalies {
            let time = if *by_time { ", by the order of time" } else { "" };
            write!(f, "\n  {phenomenon}{time}: {count}")?;
        }
        if anomalies.is_empty() {
            f.write_str("\n  no anomaly")?;
        }
        Ok(())
    }
}
