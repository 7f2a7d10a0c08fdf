//! Compaction: tables are merged downwards, entries of dead rows are dropped on the way.
//!
//! [`plan`](plan::plan) is a pure function of the version; [`IndexTree::compact`](crate::lsm::IndexTree::compact) carries
//! a plan out. Levels hold ten times as much as the one above; when one is too full, the tables whose keys
//! overlap least below go down. One compaction runs at a time; flushes and adoptions may happen meanwhile.
//!
//! **Rule 3 is kept** by what a plan may take:
//! - From level 0, the *oldest* runs, without a gap, and none that is newer than a source which is not in the manifest yet
//!   (a sealed memtable, an adopted table): so nothing sinks below an older one.
//! - Of a run only *clusters*: tables that share a key at their ends go together, since the first of them holds
//!   the larger rows of that key.
//! - From the level below, every table that shares a key with what comes down.

pub mod plan;
pub mod run;

#[cfg(test)]
mod tests;
