//! What a statement reads: a snapshot, a prefix of its transaction's own writes, and the catalog of that instant.

use std::ops::{Bound, Range};
use std::sync::Arc;

use parking_lot::RwLock;

use super::index_scan::IndexScan;
use super::keys::row_has_key;
use super::read_set::{ReadPredicate, ReadSet};
use super::row::TableRow;
use super::savepoint::ViewToken;
use super::shared::Shared;
use crate::catalog::{Catalog, TableDef};
use crate::error::{Error, Result};
use crate::heap::{ColumnImage, Heap, SegmentView, StoredRow};
use crate::ids::{IndexId, RowId, TableId};
use crate::txn::{HeapWrites, Snapshot, WriteSet};

/// One instant of the database, with own writes where there are some. Cheap to clone; may cross threads and
/// outlive its statement, and goes on showing the same.
#[derive(Clone)]
pub struct ReadView {
    shared: Arc<Shared>,
    snapshot: Snapshot,
    pub(super) own: Option<OwnWrites>,
    reads: Option<Arc<ReadSet>>,
    catalog: Arc<Catalog>,
    /// Whether the catalog is the newest there is, with the transaction's own changes, and not that of the snapshot.
    is_by_newest_catalog: bool,
}

/// A prefix of a transaction's writes.
#[derive(Clone)]
pub(super) struct OwnWrites {
    pub(super) writes: Arc<RwLock<WriteSet>>,
    pub(super) position: u64,
    /// Tells the transaction that there is a reader.
    pub(super) _token: ViewToken,
}

impl ReadView {
    pub(super) fn new(
        shared: Arc<Shared>,
        snapshot: Snapshot,
        own: Option<OwnWrites>,
        reads: Option<Arc<ReadSet>>,
        catalog: Option<Arc<Catalog>>,
    ) -> Self {
        let is_by_newest_catalog = catalog.is_some();
        let catalog = catalog.unwrap_or_else(|| shared.catalog.at(snapshot.timestamp()));
        Self { shared, snapshot, own, reads, catalog, is_by_newest_catalog }
    }

    /// The snapshot.
    pub fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    /// The catalog, with the transaction's own DDL.
    pub fn catalog(&self) -> &Arc<Catalog> {
        &self.catalog
    }

    /// A table of the catalog.
    ///
    /// # Errors
    /// `NotFound`.
    pub fn table(&self, id: TableId) -> Result<TableView> {
        self.clone().into_table(id)
    }

    /// The same, for who needs the view for one table.
    ///
    /// # Errors
    /// `NotFound`.
    pub fn into_table(self, id: TableId) -> Result<TableView> {
        let def = self.catalog.table(id)?.clone();
        let heap = self.shared.store.heaps.get_or_create(def.heap);
        // A heap that only this transaction knows is nobody else's to change.
        let is_shared = !self.is_by_newest_catalog || {
            let latest = self.shared.catalog.latest();
            latest.table(id).is_ok_and(|latest| latest.heap == def.heap)
        };
        let reads = self.reads.clone().filter(|_| is_shared);
        let row_end = heap.visible_end(self.snapshot.timestamp());
        Ok(TableView { view: self, def, heap, row_end, reads })
    }

    pub(super) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }
}

/// One table as a statement sees it.
///
/// In a SERIALIZABLE transaction each read leaves a [predicate](ReadPredicate). What reads by conditions that the engine
/// does not know tells them with [`declare`](Self::declare), or every scan counts as one of the whole table.
#[derive(Clone)]
pub struct TableView {
    view: ReadView,
    def: Arc<TableDef>,
    heap: Arc<Heap>,
    /// The RowId below which the snapshot sees the inserts.
    row_end: RowId,
    /// Where reads are noted, if they are.
    reads: Option<Arc<ReadSet>>,
}

impl TableView {
    /// The table's definition.
    pub fn def(&self) -> &Arc<TableDef> {
        &self.def
    }

    /// The view that it is of.
    pub fn view(&self) -> &ReadView {
        &self.view
    }

    pub(super) fn heap(&self) -> &Arc<Heap> {
        &self.heap
    }

    /// The RowId below which the snapshot sees the inserts.
    pub(super) fn row_end(&self) -> RowId {
        self.row_end
    }

    /// Whether the snapshot sees a committed row.
    fn is_live(&self, row: RowId) -> Result<bool> {
        Ok(row < self.row_end && self.heap.is_unmarked(row, self.view.snapshot.timestamp())?)
    }

    /// Whether reads are noted: the transaction is SERIALIZABLE.
    pub fn is_tracked(&self) -> bool {
        self.reads.is_some()
    }

    /// The view with this predicate noted; what is read through it then must depend on no other rows.
    #[must_use]
    pub fn declare(self, predicate: ReadPredicate) -> Self {
        self.note(|| predicate);
        self.untracked()
    }

    /// The view for reads that the transaction's outcome does not depend on, such as estimates.
    #[must_use]
    pub fn untracked(mut self) -> Self {
        self.reads = None;
        self
    }

    /// Notes a read, where reads are noted.
    pub(super) fn note(&self, predicate: impl FnOnce() -> ReadPredicate) {
        if let Some(reads) = &self.reads {
            reads.add(&self.def, &self.heap, self.view.snapshot.timestamp(), predicate());
        }
    }

    /// Notes a read of the newest state in place of the snapshot's, where reads are noted.
    pub(super) fn note_newest(&self, predicate: impl FnOnce() -> ReadPredicate) {
        self.note(predicate);
        self.reads.iter().for_each(|reads| reads.note_past_snapshot());
    }

    pub(super) fn with_own<T>(&self, read: impl FnOnce(&HeapWrites, u64) -> T) -> Option<T> {
        let own = self.view.own.as_ref()?;
        let writes = own.writes.read();
        writes.heap(self.def.heap).map(|heap| read(heap, own.position))
    }

    /// Exactly how many rows the statement sees.
    pub fn row_count(&self) -> u64 {
        self.note(|| ReadPredicate::Table);
        let committed = self.heap.live_rows(self.view.snapshot.timestamp());
        let (added, removed) = self
            .with_own(|own, position| (own.visible_count(position), own.marked_count(position)))
            .unwrap_or((0, 0));
        committed + self.own_load_rows() + added - removed
    }

    /// Whether the statement sees rows that its transaction has loaded in bulk: no index finds them before they commit.
    pub fn has_own_loads(&self) -> bool {
        self.own_load_rows() > 0
    }

    /// Whether an index finds all that the statement sees. What its transaction has loaded in bulk, and what it has
    /// made an index over, is found there once it commits; and an index that was made after the snapshot lacks rows that
    /// had ended by then. Until then a scan must answer.
    pub fn index_is_whole(&self, index: IndexId) -> bool {
        self.index_is_as_old_as_the_snapshot(index) && !self.has_unadopted_files(index)
    }

    /// Or the snapshot sees no row at all that it could lack.
    fn index_is_as_old_as_the_snapshot(&self, index: IndexId) -> bool {
        let view = &self.view;
        if !view.is_by_newest_catalog || self.row_end == RowId::ZERO {
            return true;
        }
        let catalog = view.shared.catalog.at(view.snapshot.timestamp());
        catalog.table(self.def.id).is_ok_and(|table| table.index(index).is_some())
    }

    /// Whether the transaction has made files of the index that no tree has yet.
    fn has_unadopted_files(&self, index: IndexId) -> bool {
        let Some(own) = &self.view.own else { return false };
        let writes = own.writes.read();
        let mut loads = writes.loads().iter().filter(|load| load.is_visible(own.position));
        loads.any(|load| !load.tables_of(index).is_empty())
    }

    fn own_load_rows(&self) -> u64 {
        let Some(own) = &self.view.own else { return 0 };
        let writes = own.writes.read();
        let loads = writes.loads().iter();
        loads
            .filter(|load| load.heap == self.def.heap && load.is_visible(own.position))
            .map(|load| load.rows)
            .sum()
    }

    /// The rows in `range`, committed or own, that the transaction itself has ended, ascending.
    pub fn own_marked(&self, range: Range<RowId>) -> Vec<RowId> {
        self.with_own(|own, position| own.marked_in(range, position).collect()).unwrap_or_default()
    }

    /// The slots of `range` in a segment that the statement sees, ascending.
    pub fn visible_slots(&self, segment: &SegmentView, range: Range<u32>) -> Result<Vec<u32>> {
        let words = segment.visible(range.clone())?;
        let mut slots = Vec::new();
        for (place, word) in words.iter().enumerate() {
            let mut rest = *word;
            while rest != 0 {
                slots.push(range.start + (place as u32) * 64 + rest.trailing_zeros());
                rest &= rest - 1;
            }
        }
        let first = segment.segment().first_row();
        let own = self.own_marked(first.offset(u64::from(range.start))..first.offset(u64::from(range.end)));
        if !own.is_empty() {
            slots.retain(|slot| own.binary_search(&first.offset(u64::from(*slot))).is_err());
        }
        Ok(slots)
    }

    /// Whether the statement sees the row.
    pub fn is_visible(&self, row: RowId) -> Result<bool> {
        if row.is_provisional() {
            let seen = self.with_own(|own, position| own.sees(row, position));
            return Ok(seen.unwrap_or(false));
        }
        self.note(|| ReadPredicate::Row(row));
        if self.with_own(|own, position| own.is_marked(row, position)).unwrap_or(false) {
            return Ok(false);
        }
        self.is_live(row)
    }

    /// The row of this RowId, whether visible or not.
    ///
    /// # Errors
    /// `NotFound` where there is none; what reading it meets.
    pub fn row(&self, row: RowId) -> Result<TableRow> {
        if row.is_provisional() {
            let own = self.with_own(|own, _| {
                let in_memory = own.row(row).map(|own| OwnPlace::Memory(own.bytes.clone()));
                in_memory.or_else(|| {
                    let (segment, slot) = own.spilled_place(row)?;
                    Some(OwnPlace::Block(segment.image().clone(), slot))
                })
            });
            return match own.flatten() {
                Some(OwnPlace::Memory(bytes)) => Ok(TableRow::Own(bytes)),
                Some(OwnPlace::Block(image, slot)) => {
                    Ok(TableRow::Stored(self.heap.unadopted_row(&image, slot)?))
                }
                None => Err(Error::NotFound { kind: "row", name: row.to_string() }),
            };
        }
        Ok(TableRow::Stored(self.heap.row(row)?))
    }

    /// The visible row with this key of a unique index (all columns, none NULL).
    pub fn first(&self, index: IndexId, key: &[u8]) -> Result<Option<RowId>> {
        Ok(self.find(index, key, |_| ())?.map(|(row, _)| row))
    }

    /// As [`first`](Self::first), with the row itself, for who reads the row: what finding it has read is not read again.
    pub fn first_row(&self, index: IndexId, key: &[u8]) -> Result<Option<(RowId, TableRow)>> {
        Ok(match self.find(index, key, StoredRow::look_up)? {
            Some((row, Some(stored))) => Some((row, TableRow::Stored(stored))),
            Some((row, None)) => Some((row, self.row(row)?)),
            None => None,
        })
    }

    /// The row, and what is known of it; `prepare` comes before the first look at it.
    fn find(
        &self,
        index: IndexId,
        key: &[u8],
        prepare: impl Fn(&StoredRow),
    ) -> Result<Option<(RowId, Option<StoredRow>)>> {
        self.note(|| ReadPredicate::key(index, key));
        let own = self.with_own(|own, position| own.find_key(&(index, key.into()), position));
        if let Some(row) = own.transpose()?.flatten() {
            return Ok(Some((row, None)));
        }
        let is_marked = |row| self.with_own(|own, position| own.is_marked(row, position)).unwrap_or(false);
        // A key is unique: the row that a snapshot sees with it is the newest below the snapshot's end.
        if let Some((row, stored)) = self.hinted(index, key, prepare) {
            return Ok((!is_marked(row)).then_some((row, Some(stored))));
        }
        // Rule 3: the first entry below the snapshot's end is the newest version; it decides.
        let tree = &self.view.shared.store.tree;
        let Some(row) = tree.first(index, key, self.row_end)? else { return Ok(None) };
        if is_marked(row) {
            return Ok(None);
        }
        Ok(self.is_live(row)?.then_some((row, None)))
    }

    /// The row that the tree's hint leads to, if it is live and has the key. A hint may be of any row: what is damaged there
    /// is told by who has to read it.
    fn hinted(&self, index: IndexId, key: &[u8], prepare: impl Fn(&StoredRow)) -> Option<(RowId, StoredRow)> {
        let row = self.view.shared.store.tree.hint(index, key).filter(|row| *row < self.row_end)?;
        let index = self.def.index(index)?;
        let stored = self.heap.unmarked_row(row, self.view.snapshot.timestamp()).ok()??;
        prepare(&stored);
        let datum = |column| stored.datum(&self.def.schema, column);
        row_has_key(&self.def, index, key, datum).unwrap_or(false).then_some((row, stored))
    }

    /// The visible rows with this key of an index, newest first.
    pub fn rows_of_key(&self, index: IndexId, key: &[u8]) -> Result<IndexScan> {
        let upper = key.to_vec();
        self.range(index, Bound::Included(key.to_vec()), Bound::Included(upper), false)
    }

    /// The visible rows with keys of an index between two bounds, in key order.
    pub fn range(
        &self,
        index: IndexId,
        lower: Bound<Vec<u8>>,
        upper: Bound<Vec<u8>>,
        reverse: bool,
    ) -> Result<IndexScan> {
        self.note(|| ReadPredicate::Keys(index, lower.clone(), upper.clone()));
        IndexScan::new(self.clone().untracked(), index, lower, upper, reverse)
    }
}

/// Where an own row is.
enum OwnPlace {
    Memory(Arc<[u8]>),
    Block(Arc<ColumnImage>, u16),
}

#[cfg(test)]
mod tests;
