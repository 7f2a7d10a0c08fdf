//! What a SERIALIZABLE transaction has read, and must find as it was when it commits.
//!
//! The level is backward validation: a transaction that writes commits as if it had read then what it read at its snapshot. So each
//! read is noted with the committed rows that it depends on, and at the commit the newest state must have the same. An insertion has
//! read that nobody has its keys, or that somebody has the one it was refused for: that stays read where it is undone.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Bound;
use std::sync::Arc;

use strata_core::catalog::TableDef;
use strata_core::ids::{HeapId, IndexId, TableId};
use strata_core::row::Datum;

use super::filter::Condition;
use super::model::{Row, State, key_of};
use super::verify::is_within;

/// Which rows of a table a read depends on.
pub(super) enum Part {
    /// All.
    Whole,
    /// Those with a key of an index between two bounds, by the definition that the table had: the column may be dropped since.
    Keys(Arc<TableDef>, IndexId, Bound<Vec<u8>>, Bound<Vec<u8>>),
    /// Those that meet a condition.
    Filter(Condition),
}

impl fmt::Debug for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Whole => write!(f, "all"),
            Self::Keys(_, index, lower, upper) => write!(f, "index {index} from {lower:?} to {upper:?}"),
            Self::Filter(condition) => condition.fmt(f),
        }
    }
}

/// A read, and the rows that it depends on: by their tags, the commits that left them.
#[derive(Debug)]
pub(super) struct Read {
    table: TableId,
    part: Part,
    /// Where the rows were. A table that is gone, or was emptied, has lost what was read there, rows or none.
    heap: Option<HeapId>,
    rows: BTreeMap<i64, u64>,
}

impl Part {
    /// One key.
    pub(super) fn key(def: &Arc<TableDef>, index: IndexId, key: Vec<u8>) -> Self {
        Self::Keys(def.clone(), index, Bound::Included(key.clone()), Bound::Included(key))
    }
}

impl Read {
    /// A read of a committed state.
    pub(super) fn of(state: &State, table: TableId, part: Part) -> Self {
        let rows = rows(state, table, &part);
        Self { table, part, heap: heap(state, table), rows }
    }

    /// The reads of an insertion that was let through: of the unique keys that the row has, and the one that it replaces has not.
    pub(super) fn of_free_keys(
        state: &State,
        table: TableId,
        values: &[Datum],
        replaces: Option<&Row>,
    ) -> Vec<Self> {
        let Some(there) = state.tables.get(&table) else { return Vec::new() };
        let unique = there.def.indexes.iter().filter(|index| index.unique);
        let keys = unique.map(|index| (index, there.key(index, values)));
        let kept = |index| replaces.map(|row| there.key(index, &row.all_values(&there.def)).0);
        keys.filter(|(index, (key, has_null))| !has_null && kept(index).as_ref() != Some(key))
            .map(|(index, (key, _))| Self::of(state, table, Part::key(&there.def, index.id, key)))
            .collect()
    }

    /// Whether its condition was asked about rows that it could not read, and so let through: because the disk has failed, or because
    /// they have columns that are newer than the condition.
    pub(super) fn was_blind(&self, newest: &State, disk_failed: bool) -> bool {
        let Part::Filter(condition) = &self.part else { return false };
        let table = newest.tables.get(&self.table);
        let has_grown = table.is_some_and(|table| condition.is_older_than(&table.def));
        condition.was_blind() && (disk_failed || has_grown)
    }

    /// Fails, in words, unless a later state has the same rows there.
    pub(super) fn holds_in(&self, later: &State) -> Result<(), String> {
        let now = rows(later, self.table, &self.part);
        let is_there = heap(later, self.table) == self.heap;
        if is_there && now == self.rows {
            return Ok(());
        }
        let (table, part, before) = (self.table, &self.part, &self.rows);
        Err(format!("a read of {part:?} of table {table} found {before:?}, and there is {now:?}"))
    }
}

fn heap(state: &State, table: TableId) -> Option<HeapId> {
    state.tables.get(&table).map(|table| table.def.heap)
}

fn rows(state: &State, table: TableId, part: &Part) -> BTreeMap<i64, u64> {
    let Some(table) = state.tables.get(&table) else { return BTreeMap::new() };
    let mut rows: BTreeMap<i64, u64> = table.rows.iter().map(|(tag, row)| (*tag, row.stamp)).collect();
    match part {
        Part::Whole => {}
        Part::Keys(def, index, lower, upper) => rows.retain(|tag, _| {
            let index = def.index(*index).expect("it was read through");
            let (key, _) = key_of(def, index, &table.rows[tag].all_values(def));
            is_within(&key, lower, upper)
        }),
        Part::Filter(condition) => rows.retain(|tag, _| condition.holds_of(&table.rows[tag])),
    }
    rows
}
