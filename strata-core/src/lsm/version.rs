//! Versions: which tables the tree consists of, as readers see it.
//!
//! A version is immutable and shared; a reader that holds one holds its tables, and so their blocks.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::error::Result;
use crate::ids::{BlockId, RowId};
use crate::lsm::hints::Hints;
use crate::lsm::key::Probe;
use crate::lsm::sstable::table::SsTable;
use crate::manifest::SsTableMeta;

/// Levels of the tree: 0 holds runs ordered by sequence, the others one run each.
pub const LEVELS: u8 = 7;

/// Tables that do not overlap, in order: what is searched as one.
///
/// Neighbours may share a key, whose rows then go on from one to the next.
#[derive(Debug, Default)]
pub(crate) struct Run {
    sequence: u64,
    tables: Vec<Arc<SsTable>>,
}

impl Run {
    /// A run of these tables, which must not overlap. Sorts them.
    pub fn new(sequence: u64, mut tables: Vec<Arc<SsTable>>) -> Self {
        tables.sort_by(|a, b| a.smallest().cmp(&b.smallest()));
        debug_assert!(tables.windows(2).all(|pair| pair[0].largest() < pair[1].smallest()), "{tables:?}");
        Self { sequence, tables }
    }

    /// The place of a level-0 run among runs and memtables: larger is newer. Meaningless at other levels.
    pub fn sequence(&self) -> u64 {
        self.sequence
    }

    pub fn tables(&self) -> &[Arc<SsTable>] {
        &self.tables
    }

    pub fn bytes(&self) -> u64 {
        self.tables.iter().map(|table| table.payload_bytes()).sum()
    }

    /// The largest row with the probe's prefix that is at most the probe's row; an ordinal, in a load that no tree has.
    pub fn find(&self, probe: &Probe) -> Result<Option<RowId>> {
        self.table_of(probe).map_or(Ok(None), |table| table.find(probe))
    }

    /// As [`find`](Self::find), in the tree. The hints are told of it.
    pub fn find_and_tell(&self, probe: &Probe, hints: &Hints) -> Result<Option<RowId>> {
        match self.table_of(probe) {
            Some(table) => table.find_and_tell(probe, hints),
            None => Ok(None),
        }
    }

    /// False where the run has no entry with the probe's prefix and a row of at most the probe's.
    pub fn may_contain(&self, probe: &Probe) -> Result<bool> {
        self.table_of(probe).map_or(Ok(false), |table| table.may_contain(probe))
    }

    fn table_of(&self, probe: &Probe) -> Option<&SsTable> {
        let target = probe.position();
        let at = self.tables.partition_point(|table| table.largest() < target);
        Some(self.tables.get(at)?)
    }
}

/// The tables of the tree at one moment.
#[derive(Debug, Default)]
pub struct Version {
    /// The runs of level 0, newest first.
    level_0: Vec<Arc<Run>>,
    /// Level 1 at index 0. Empty levels have empty runs.
    deeper: Vec<Arc<Run>>,
}

/// A table at its place.
#[derive(Clone, Debug)]
pub(crate) struct PlacedTable {
    pub level: u8,
    pub sequence: u64,
    pub table: Arc<SsTable>,
}

impl Version {
    /// The version that consists of these tables.
    pub(crate) fn new(placed: Vec<PlacedTable>) -> Self {
        let sequences: BTreeSet<u64> =
            placed.iter().filter(|at| at.level == 0).map(|at| at.sequence).collect();
        let select = |level, sequence: Option<u64>| {
            let chosen =
                placed.iter().filter(|at| at.level == level && sequence.is_none_or(|s| s == at.sequence));
            Arc::new(Run::new(sequence.unwrap_or(0), chosen.map(|at| Arc::clone(&at.table)).collect()))
        };
        Self {
            level_0: sequences.iter().rev().map(|sequence| select(0, Some(*sequence))).collect(),
            deeper: (1..LEVELS).map(|level| select(level, None)).collect(),
        }
    }

    /// The runs of level 0, newest first.
    pub(crate) fn level_0(&self) -> &[Arc<Run>] {
        &self.level_0
    }

    /// The runs of levels 1 and on.
    pub(crate) fn deeper(&self) -> &[Arc<Run>] {
        &self.deeper
    }

    /// The run of a level from 1 on.
    pub(crate) fn level(&self, level: u8) -> Option<&Arc<Run>> {
        self.deeper.get(usize::from(level).checked_sub(1)?)
    }

    /// All tables with their places.
    pub(crate) fn placed(&self) -> Vec<PlacedTable> {
        let place = |level, run: &Arc<Run>| {
            let sequence = run.sequence();
            let tables = run.tables().iter();
            tables.map(|table| PlacedTable { level, sequence, table: Arc::clone(table) }).collect::<Vec<_>>()
        };
        let upper = self.level_0.iter().flat_map(|run| place(0, run));
        let deeper = (1..LEVELS).zip(&self.deeper).flat_map(|(level, run)| place(level, run));
        upper.chain(deeper).collect()
    }

    /// What the manifest says of each table.
    pub fn metas(&self) -> Vec<SsTableMeta> {
        self.placed().iter().map(|at| at.table.meta(at.level, at.sequence)).collect()
    }

    /// Runs of level 0: what every lookup may have to search. Many of them mean that compaction lags behind.
    pub fn level_0_runs(&self) -> usize {
        self.level_0.len()
    }

    /// Entries of all tables, those of dead rows included.
    pub fn entries(&self) -> u64 {
        self.placed().iter().map(|at| at.table.entries()).sum()
    }

    /// Payload bytes of all tables.
    pub fn bytes(&self) -> u64 {
        self.placed().iter().map(|at| at.table.payload_bytes()).sum()
    }
}

/// What a flush or a compaction changes in the tree, once its edit is durable.
#[derive(Clone, Debug, Default)]
#[must_use = "the tree goes on with its old tables until the change is installed"]
pub struct VersionChange {
    /// Memtables that are in tables now, by sequence.
    pub(crate) flushed: Vec<u64>,
    /// Tables the manifest names now; those that the tree has already move to the place given here.
    pub(crate) added: Vec<SsTableMeta>,
    /// Tables the manifest names no more.
    pub(crate) removed: Vec<BlockId>,
}

impl VersionChange {
    /// Whether there is nothing to install.
    pub fn is_empty(&self) -> bool {
        self.flushed.is_empty() && self.added.is_empty() && self.removed.is_empty()
    }
}
