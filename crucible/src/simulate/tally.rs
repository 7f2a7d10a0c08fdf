//! What runs have done, so that an engine that refuses everything, or never does what a simulation is for, does not pass.

use std::cell::RefCell;
use std::fmt;
use std::rc::Rc;

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Did {
    /// A transaction that wrote committed, and was told so.
    Commit,
    /// So did a SERIALIZABLE one.
    SerializableCommit,
    /// So did one with a bulk load.
    Load,
    /// So did one that changed the catalog.
    Definition,
    /// So did one above READ COMMITTED.
    SnapshotDefinition,
    /// Views were made, replaced or renamed by a transaction that committed.
    View,
    /// Schemas were made or dropped by one.
    Schema,
    /// A column was made NOT NULL.
    NotNull,
    /// A column was not made NOT NULL, for NULLs that were there.
    NullMet,
    /// A statement read by a catalog that was not the newest any more.
    OlderCatalog,
    /// A statement read its snapshot by a catalog that was newer.
    NewerCatalog,
    /// An index was built over a table that was there.
    IndexBuild,
    /// A transaction committed that had written rows of its own out.
    Spill,
    /// A scan with a condition.
    Filter,
    /// A client gave up what it waited for.
    GiveUp,
    /// A segment of rows became a column block.
    Freeze,
    /// A column block was written again without its garbage.
    SparseRewrite,
    /// A commit of maintenance moved rows out of nearly empty segments.
    Move,
    /// Memtables became files.
    Flush,
    /// Files were merged.
    Compaction,
    /// The journal's start moved up.
    Checkpoint,
    /// A page left the cache to make room.
    Eviction,
}

impl Did {
    /// All there is to count.
    pub const ALL: [Self; 22] = [
        Self::Commit,
        Self::SerializableCommit,
        Self::Load,
        Self::Definition,
        Self::SnapshotDefinition,
        Self::View,
        Self::Schema,
        Self::NotNull,
        Self::NullMet,
        Self::OlderCatalog,
        Self::NewerCatalog,
        Self::IndexBuild,
        Self::Spill,
        Self::Filter,
        Self::GiveUp,
        Self::Freeze,
        Self::SparseRewrite,
        Self::Move,
        Self::Flush,
        Self::Compaction,
        Self::Checkpoint,
        Self::Eviction,
    ];
}

/// How often each was done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally([u64; Did::ALL.len()]);

impl Tally {
    /// How often this was done.
    pub fn of(&self, did: Did) -> u64 {
        self.0[did as usize]
    }

    /// It was done so many times more.
    pub fn add(&mut self, did: Did, times: u64) {
        self.0[did as usize] += times;
    }

    /// All that another run did too.
    pub fn add_all(&mut self, other: &Self) {
        Did::ALL.into_iter().for_each(|did| self.add(did, other.of(did)));
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, did) in Did::ALL.into_iter().enumerate() {
            let comma = if place == 0 { "" } else { ", " };
            write!(f, "{comma}{did:?} {}", self.of(did))?;
        }
        Ok(())
    }
}

/// The tally of a run, which the world and its clients share.
#[derive(Clone, Debug, Default)]
pub(super) struct SharedTally(Rc<RefCell<Tally>>);

impl SharedTally {
    pub(super) fn add(&self, did: Did, times: u64) {
        self.0.borrow_mut().add(did, times);
    }

    pub(super) fn get(&self) -> Tally {
        self.0.borrow().clone()
    }
}
