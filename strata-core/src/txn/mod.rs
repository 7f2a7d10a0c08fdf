//! Transactions: timestamps, snapshots, write sets, locks, and the commit pipeline.
//!
//! A [`transaction`](crate::table::Transaction) keeps its writes in a [`WriteSet`], reads at a [`Snapshot`] plus a
//! prefix of that set, and takes locks from the [`LockManager`]. [`Store`] commits it.

#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod heaps;
pub mod lock;
mod publish;
pub mod record;
pub mod recovery;
mod snapshot;
mod store;
mod sweep;
mod ticket;
mod write_set;

pub use heaps::HeapSet;
pub use lock::{LockManager, LockMode, LockTicket, Resource, RowLockMode, TableLockMode};
pub use publish::Publisher;
pub use snapshot::{Snapshot, SnapshotRegistry};
pub use store::{CommitSection, Loads, OnApply, PendingLoad, Precondition, Replay, Store, StoreParts};
pub use ticket::{CommitTicket, block_on};
pub use write_set::{BulkPart, HeapWrites, OwnRow, RowKey, Spilled, SpilledKeys, SpilledSegment, WriteSet};
