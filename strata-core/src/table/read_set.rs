//! What a SERIALIZABLE transaction has read, and whether it still holds (ARCHITECTURE.md section 5).
//!
//! Each read leaves a *predicate* on its table: all rows; the rows with a key of an index, or between two keys; the rows
//! that a filter lets through. A read that found nothing leaves one just so. At commit, neither a row that came after the snapshot
//! nor a row that ended since may match one of them (a row that was only moved is neither): then the transaction would have read the same at its commit
//! timestamp, and transactions are serializable in the order of those (backward validation: Kung and Robinson, "On
//! Optimistic Methods for Concurrency Control", 1981). Transactions that wrote nothing read a snapshot, which is a
//! prefix of that order, and are not checked, unless what they tried to write and gave up told them of something newer: who has
//! a unique key is looked up in the newest state.
//!
//! Predicates are kept within [`MAX_BYTES`] and [`MAX_FILTERS`] a table; past that the whole table counts as read.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;

use super::segment_keys::for_each_key;
use super::shared::Shared;
use crate::catalog::TableDef;
use crate::error::{Error, Result};
use crate::heap::{Changed, Heap, SegmentView};
use crate::ids::{HeapId, IndexId, RowId, TableId, Timestamp};
use crate::row::Schema;
use crate::txn::Precondition;

/// Bytes of keys that are kept a table.
const MAX_BYTES: usize = 1 << 20;
/// What an entry costs beside its bytes, about.
const ENTRY_BYTES: usize = 48;
/// Filters and ranges that are kept a table.
const MAX_FILTERS: usize = 64;

/// A condition on rows that the engine does not know the terms of.
pub trait RowFilter: Send + Sync {
    /// Whether the condition may let one of these rows through. Where it cannot be told, it may.
    fn may_match(&self, segment: &SegmentView, slots: &[u32]) -> bool;
}

/// Which rows of a table a read depends on.
pub enum ReadPredicate {
    /// All.
    Table,
    /// Those that a filter lets through.
    Filter(Arc<dyn RowFilter>),
    /// Those whose key in an index lies between two bounds.
    Keys(IndexId, Bound<Vec<u8>>, Bound<Vec<u8>>),
    /// This one.
    Row(RowId),
}

impl ReadPredicate {
    /// Those with this key in an index.
    pub fn key(index: IndexId, key: &[u8]) -> Self {
        Self::Keys(index, Bound::Included(key.to_vec()), Bound::Included(key.to_vec()))
    }
}

/// Keys of an index between two bounds.
type KeyRange = (IndexId, Bound<Vec<u8>>, Bound<Vec<u8>>);

/// The reads of a transaction.
#[derive(Default)]
pub(super) struct ReadSet {
    tables: Mutex<BTreeMap<(TableId, HeapId), TableReads>>,
    /// Whether something newer than the snapshot was told.
    is_past_snapshot: AtomicBool,
}

struct TableReads {
    def: Arc<TableDef>,
    heap: Arc<Heap>,
    /// The end of the rows that the snapshot sees.
    snapshot_end: RowId,
    whole: bool,
    bytes: usize,
    rows: BTreeSet<RowId>,
    points: BTreeMap<IndexId, BTreeSet<Vec<u8>>>,
    ranges: Vec<KeyRange>,
    filters: Vec<Arc<dyn RowFilter>>,
}

impl ReadSet {
    /// Adds a read of a table as the transaction's snapshot sees it.
    pub fn add(&self, def: &Arc<TableDef>, heap: &Arc<Heap>, snapshot: Timestamp, predicate: ReadPredicate) {
        let mut tables = self.tables.lock();
        let reads = tables.entry((def.id, def.heap)).or_insert_with(|| TableReads {
            def: Arc::clone(def),
            heap: Arc::clone(heap),
            snapshot_end: heap.visible_end(snapshot),
            whole: false,
            bytes: 0,
            rows: BTreeSet::new(),
            points: BTreeMap::new(),
            ranges: Vec::new(),
            filters: Vec::new(),
        });
        reads.add(predicate);
    }

    /// Notes that a read that was added is not of the snapshot, but of the state at the time.
    pub fn note_past_snapshot(&self) {
        self.is_past_snapshot.store(true, Ordering::Relaxed);
    }

    /// Whether the reads must hold even where nothing was written.
    pub fn is_past_snapshot(&self) -> bool {
        self.is_past_snapshot.load(Ordering::Relaxed)
    }
}

impl TableReads {
    fn add(&mut self, predicate: ReadPredicate) {
        if self.whole {
            return;
        }
        match predicate {
            // An index of which it is not known what keys rows have there: it was made since, by the transaction itself.
            ReadPredicate::Keys(index, ..) if self.def.index(index).is_none() => self.whole = true,
            ReadPredicate::Table => self.whole = true,
            ReadPredicate::Filter(filter) => self.filters.push(filter),
            ReadPredicate::Row(row) => self.bytes += usize::from(self.rows.insert(row)) * ENTRY_BYTES,
            ReadPredicate::Keys(index, Bound::Included(lower), Bound::Included(upper)) if lower == upper => {
                let bytes = lower.len() + ENTRY_BYTES;
                self.bytes += usize::from(self.points.entry(index).or_default().insert(lower)) * bytes;
            }
            ReadPredicate::Keys(index, lower, upper) => {
                let range = (index, lower, upper);
                if !self.ranges.contains(&range) {
                    self.bytes += 2 * ENTRY_BYTES + key_bytes(&range.1) + key_bytes(&range.2);
                    self.ranges.push(range);
                }
            }
        }
        self.whole |= self.bytes > MAX_BYTES || self.filters.len() + self.ranges.len() > MAX_FILTERS;
        if self.whole {
            (self.rows, self.points) = (BTreeSet::new(), BTreeMap::new());
            (self.ranges, self.filters) = (Vec::new(), Vec::new());
        }
    }

    /// The table as it was read, with the columns that it has got since at the end: a row is only read by a schema with all of its
    /// columns, and what changed may be newer than the read.
    fn widened(&self, newest: &TableDef) -> Arc<TableDef> {
        let read = &self.def.schema.columns;
        let Some(since) = newest.schema.columns.get(read.len()..).filter(|since| !since.is_empty()) else {
            return Arc::clone(&self.def);
        };
        let columns = read.iter().chain(since).cloned().collect();
        let schema = Schema::new(newest.schema.version, columns);
        Arc::new(TableDef { schema, ..(*self.def).clone() })
    }

    /// Whether what changed matches a predicate. `def` is the table as [`widened`](Self::widened) to hold it.
    fn matches(&self, def: &TableDef, changed: &Changed) -> Result<bool> {
        if self.whole {
            return Ok(true);
        }
        let row = |slot: u32| changed.segment.segment().first_row().offset(slot.into());
        if changed.slots.iter().any(|slot| self.rows.contains(&row(*slot))) {
            return Ok(true);
        }
        if self.filters.iter().any(|filter| filter.may_match(&changed.segment, &changed.slots)) {
            return Ok(true);
        }
        // From the segment as it was listed: the heap may have lost a row that came and ended since.
        for index in &def.indexes {
            let points = self.points.get(&index.id);
            let ranges: Vec<&KeyRange> = self.ranges.iter().filter(|range| range.0 == index.id).collect();
            if points.is_none() && ranges.is_empty() {
                continue;
            }
            let mut has_key = false;
            for_each_key(def, index, &changed.segment, &changed.slots, |_, key, _| {
                has_key |= points.is_some_and(|points| points.contains(key))
                    || ranges.iter().any(|range| is_within(key, range));
                Ok(())
            })?;
            if has_key {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

fn key_bytes(bound: &Bound<Vec<u8>>) -> usize {
    match bound {
        Bound::Included(key) | Bound::Excluded(key) => key.len(),
        Bound::Unbounded => 0,
    }
}

fn is_within(key: &[u8], (_, lower, upper): &KeyRange) -> bool {
    let above = match lower {
        Bound::Included(lower) => key >= lower.as_slice(),
        Bound::Excluded(lower) => key > lower.as_slice(),
        Bound::Unbounded => true,
    };
    above
        && match upper {
            Bound::Included(upper) => key <= upper.as_slice(),
            Bound::Excluded(upper) => key < upper.as_slice(),
            Bound::Unbounded => true,
        }
}

/// The check of a read set against what was committed after the transaction's snapshot, which must be live.
pub(super) struct ReadCheck<'a> {
    shared: &'a Shared,
    tables: Vec<CheckedTable>,
    snapshot: Timestamp,
    /// What was applied up to here has been looked at.
    checked: Timestamp,
    noted: Timestamp,
}

struct CheckedTable {
    reads: TableReads,
    checked_end: RowId,
    noted_end: RowId,
}

impl<'a> ReadCheck<'a> {
    /// A check of the reads at `snapshot`. Takes them out of the set.
    pub fn new(shared: &'a Shared, reads: &ReadSet, snapshot: Timestamp) -> Self {
        let tables = std::mem::take(&mut *reads.tables.lock());
        let tables = tables.into_values().map(|reads| {
            let end = reads.snapshot_end;
            CheckedTable { reads, checked_end: end, noted_end: end }
        });
        Self { shared, tables: tables.collect(), snapshot, checked: snapshot, noted: snapshot }
    }
}

impl Precondition for ReadCheck<'_> {
    fn note(&mut self, last: Timestamp) {
        self.noted = last;
        for table in &mut self.tables {
            table.noted_end = table.reads.heap.next_row();
        }
    }

    fn check(&mut self) -> Result<()> {
        let catalog = self.shared.catalog.latest();
        for table in &mut self.tables {
            let reads = &table.reads;
            // A table that was dropped, or given a new heap, has lost what was read.
            let newest = catalog.table(reads.def.id).ok().filter(|newest| newest.heap == reads.def.heap);
            let newest = newest.ok_or(Error::ReadConflict)?;
            if reads.heap.last_change() > self.checked {
                let new = table.checked_end..table.noted_end;
                let changes = reads.heap.changes(self.snapshot, self.checked, new)?;
                let def = reads.widened(newest);
                for changed in &changes {
                    if reads.matches(&def, changed)? {
                        return Err(Error::ReadConflict);
                    }
                }
            }
            table.checked_end = table.noted_end;
        }
        self.checked = self.noted;
        Ok(())
    }

    fn still_holds(&self) -> bool {
        let catalog = self.shared.catalog.latest();
        self.tables.iter().all(|table| {
            let def = &table.reads.def;
            table.reads.heap.last_change() <= self.checked
                && catalog.table(def.id).is_ok_and(|newest| newest.heap == def.heap)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::IndexColumn;
    use crate::catalog::change::{NewColumn, NewIndex};
    use crate::maintenance::MaintenanceMode;
    use crate::row::{ColumnType, Datum, KeyOrder};
    use crate::table::transaction::key_of;
    use crate::table::{Isolation, Transaction};
    use crate::txn::{RowLockMode, TableLockMode, block_on};
    use crate::{Database, Options, Sizes};

    fn commit(txn: Transaction) {
        txn.commit().expect("commits").wait().expect("durable");
    }

    fn of_small_segments() -> (Database, TableId) {
        let sizes = Sizes { segment_bytes: 8 << 10, ..Sizes::default() };
        let options = Options { sizes, maintenance: MaintenanceMode::Manual, ..Options::default() };
        let db = Database::in_memory(options).expect("opens");
        let mut txn = db.begin(Isolation::ReadCommitted).expect("begins");
        let id = NewColumn::new("id", ColumnType::Int64);
        let table = block_on(txn.change_catalog(|catalog| catalog.create_table("public", "t", vec![id])));
        let table = table.expect("new");
        let column = IndexColumn { column: crate::ids::ColumnId::new(0), order: KeyOrder::default() };
        let columns = vec![column];
        let key = NewIndex { name: "key".into(), primary: true, unique: true, constraint: true, columns };
        block_on(txn.create_index(table, key)).expect("builds");
        commit(txn);
        (db, table)
    }

    /// The check lists a row that came after the snapshot; before it looks at the row's key, the row is deleted and its segment gone.
    #[test]
    fn a_row_that_came_and_went_is_read_from_where_it_was() {
        let (db, table) = of_small_segments();
        let reader = db.begin(Isolation::Serializable).expect("begins");
        let view = reader.view().table(table).expect("is there");
        let index = view.def().indexes[0].id;
        let def = view.def();
        let key = |id| key_of(def, &def.indexes[0], &[Datum::Int64(id)]).expect("encodes");
        assert_eq!(view.first(index, &key(-1)).expect("reads"), None);
        let check = reader.read_check().expect("it has read");
        let reads = &check.tables[0].reads;

        let txn = db.begin(Isolation::ReadCommitted).expect("begins");
        block_on(txn.lock_table(table, TableLockMode::RowExclusive)).expect("free");
        for id in 0..2_000 {
            block_on(txn.insert(def, &[Datum::Int64(id)])).expect("is new");
        }
        commit(txn);
        let new = RowId::ZERO..reads.heap.next_row();
        let changes = reads.heap.changes(check.snapshot, check.snapshot, new).expect("reads");

        let txn = db.begin(Isolation::ReadCommitted).expect("begins");
        block_on(txn.lock_table(table, TableLockMode::RowExclusive)).expect("free");
        let newest = txn.view().table(table).expect("is there");
        for id in 0..2_000 {
            let row = newest.first(index, &key(id)).expect("reads").expect("is there");
            block_on(txn.lock_row(&newest, row, RowLockMode::Update)).expect("free");
            txn.delete(&newest, row).expect("deletes");
        }
        drop(newest);
        commit(txn);
        db.vacuum().expect("reclaims");
        let gone = changes[0].segment.segment().first_row();
        assert!(reads.heap.row(gone).is_err(), "its segment is still there");

        for changed in &changes {
            assert!(!reads.matches(&reads.def, changed).expect("reads"));
        }
    }
}
