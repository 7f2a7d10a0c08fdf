//! The index: one LSM tree for all indexes of a database.
//!
//! An entry is (index, key, row): no value, no timestamp. *The index locates, the heap decides*: whether a row is
//! visible is never asked here; a reader passes `below`, where its snapshot's rows end. The tree is a set
//! that only grows; compaction drops the entries of garbage by asking [`Liveness`]. Order: index, key, row
//! **descending**, so that the newest version of a key comes first.
//!
//! # Shape
//! Entries enter the active *memtable*. [`IndexTree::seal`] ends it; [`IndexTree::flush`] writes sealed ones as *runs*
//! of level 0; [compaction] merges runs downwards, one run a level. A run is a list of SSTables that do not
//! overlap. A bulk load writes its tables with [`SsTableWriter`] and puts them on top with [`IndexTree::adopt`].
//!
//! # Rule 3
//! For any key, a source that is searched earlier holds only larger rows. The search order is: active memtable; sealed
//! memtables and level-0 runs by descending *sequence*; levels 1 and on. Every source takes its sequence when it is
//! sealed or adopted, not when it is written, so a memtable that is flushed after a younger bulk load was adopted still
//! takes its place below it. The rows of one index belong to one heap (a TRUNCATE takes new indexes).
//! During replay, tables may hold entries that replay adds again above them; when it has ended, the memtable has all of
//! them from the journal start on, and the rule holds with "no smaller" for "larger".
//!
//! # Change
//! Flush and compaction are three steps, so that nothing is visible before it is durable: write the tables, commit the
//! manifest edit (the caller, after a sync of the store), [`IndexTree::install`] the change. A reader holds its version,
//! the version its tables, a table its block: files vanish when nobody reads them.
//!
//! # Hints
//! Who asks for the one row of a unique key need not walk through the tables: [`IndexTree::hint`] remembers the newest row that a
//! lookup has found, or a flush has met. It may be out of date, or another key's; the row itself tells whether it is the one.
//!
//! # Garbage
//! Entries of rows that nobody sees go with a flush or a compaction. Before that, those of a key that is updated all day
//! leave the memtable when the key is written ([`IndexTree::apply`] says when it is worth it), and walks leap over long
//! stretches of them, as a queue has them in front ([`RangeCursor::note_garbage`]). Replay sweeps the memtables instead
//! ([`IndexTree::sweep_garbage`]).
//!
//! # Memory
//! Memtables are charged by reservations that the writer made ahead ([`IndexTree::reserve`]); table pages are charged to
//! the page cache; a table that is being written is charged to the pool.
//!
//! # Crash behaviour
//! Memtables are rebuilt by replay. A table belongs to the tree when the manifest, or the commit record of a bulk
//! load, names it.

mod batch;
mod check;
pub mod compaction;
mod flush;
mod hints;
mod inline_key;
mod key;
mod memtable;
mod memtable_cursor;
mod merge;
mod options;
pub(crate) mod sstable;
mod table_merge;
mod table_run;
mod tree;
mod version;

#[cfg(test)]
mod tests;

use crate::ids::{IndexId, RowId};

pub use check::{CheckReport, PROBLEMS_MAX};
pub use compaction::plan::{CompactionPlan, PlannedInput};
pub use compaction::run::CompactionOutcome;
pub use flush::FlushOutcome;
pub use key::IndexEntry;
pub use memtable::ENTRY_OVERHEAD_BYTES;
pub use merge::{RangeCursor, RowsOfKey};
pub use options::{LsmOptions, TableOptions};
pub use sstable::writer::SsTableWriter;
pub use table_merge::{TableMerge, TableProbe, find_in_tables};
pub use table_run::{RunMerge, TableRun};
pub use tree::IndexTree;
pub use version::{LEVELS, Version, VersionChange};

/// What flush and compaction ask about the rows that entries lead to.
///
/// Asked for every entry, some of the time under a lock that commits take: must be fast, must not read from disk, and
/// must not call the tree.
pub trait Liveness: Send + Sync {
    /// Whether no snapshot, live or to come, sees the row.
    fn is_garbage(&self, index: IndexId, row: RowId) -> bool;
    /// Whether anybody may read the index, now or later; one that is being built counts.
    fn index_exists(&self, index: IndexId) -> bool;
    /// Whether a snapshot sees at most one row with a key of the index, so that hints of its keys are of use.
    fn is_unique(&self, index: IndexId) -> bool;
}
