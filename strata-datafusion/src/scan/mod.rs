//! Scanning a table: [`StrataScanExec`], the plan, and what runs it.
//!
//! | file | what it holds |
//! |---|---|
//! | `exec` | the plan's node: projection, filters, fetch, access; what optimizer rules ask of a leaf |
//! | `source` | the table as the statement sees it: segments, own rows, columns to arrays |
//! | `filters` | which filters the scan takes, and how they are evaluated |
//! | `index` | rows by an index, where filters pin or narrow its leading columns |
//! | `predicate` | which rows a SERIALIZABLE transaction's scan depends on |
//! | `queue` | the work, cut into morsels, and who does which |
//! | `rows` | from a selection of slots to the rows that pass: late materialisation |
//! | `stream` | one partition: morsels in, batches of 8,192 rows out |
//! | `estimate` | how many rows the filters keep, from a sample |
//!
//! **What is read.** The segments of the snapshot's prefix, less the rows marked at the snapshot or by the
//! transaction itself; then the transaction's own rows. All from one [`TableView`](strata_core::table::TableView), which
//! shows the same whatever is committed, frozen or reclaimed meanwhile.
//!
//! **Work** is handed out a morsel at a time, a segment or a part of one, from a queue that the partitions share. It
//! is made at the first poll and belongs to one run of one plan: `reset_state` and every rewrite give the node a new one.
//! Where partitions run as separate tasks each owns a static range of the morsels instead.
//!
//! **A morsel** is first held against the zone maps of its segment, then of its groups of 1,024 rows. What is left is
//! read in chunks of up to 8,192 rows: a condition's columns, the condition, the next one's columns for the rows that
//! are left, and at last the other columns for the rows that passed all.
//!
//! **Dynamic filters** are read anew for each morsel. One that passes most rows of its first ones is from then on used
//! for zone maps only. A scan with a fetch takes no filter that is offered after planning: it may come from above the limit.

mod estimate;
mod exec;
pub(crate) mod filters;
mod index;
mod predicate;
mod queue;
mod rows;
mod source;
mod stream;

pub(crate) use exec::ScanRequest;
pub use exec::StrataScanExec;
pub(crate) use predicate::read_predicate;
pub(crate) use source::{ColumnSource, ScanSource};
#[cfg(test)]
mod tests;
