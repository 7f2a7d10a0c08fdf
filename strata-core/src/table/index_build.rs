//! CREATE INDEX: the keys of all rows there are, sorted into files that the commit adopts.
//!
//! The table is locked with `Share`, so no writer of it is in flight: every row of it is published, and the rows that
//! come later find the index in the catalog (TRAPS: DDL against DML). The index id is new, so its files cannot
//! stand above newer entries of the same key (rule 3). Rows that had ended by then have no entry, so the index serves no snapshot
//! older than its commit: see [`TableView::index_is_whole`].
//!
//! What the transaction itself has written before has no RowIds yet that such files could name. So the keys go where those of an index
//! are that was there before the rows, and are undone by their position:
//!
//! | rows | keys |
//! |---|---|
//! | committed | files with RowIds, a load without rows ([`BulkPart::absolute`]) |
//! | loaded in bulk | files with the load's ordinals, which the load takes up |
//! | own ones that were written out | a run with their ordinals ([`Spilled`](crate::txn::Spilled)) |
//! | own ones in memory | the write set |
//!
//! The columns of a primary key are never NULL from then on. Above READ COMMITTED the transaction goes on reading its snapshot, by the new
//! definition: so none may be NULL there either.
//!
//! A unique index is checked within each of them as its keys are sorted, and between them in one pass at the end. What comes later is
//! checked as it is for every index: an INSERT, or a load, looks into all of these places.

use std::sync::Arc;

use super::key_sorter::KeySorter;
use super::segment_keys::{BATCH_ROWS, for_each_key};
use super::transaction::{Isolation, Transaction, key_of};
use super::unique::build::check_apart;
use super::view::TableView;
use crate::catalog::change::NewIndex;
use crate::catalog::{IndexDef, TableDef};
use crate::error::{Error, Result};
use crate::heap::SegmentView;
use crate::heap::column::Selection;
use crate::ids::{ColumnId, IndexId, RowId, SegmentId, TableId};
use crate::lsm::TableRun;
use crate::manifest::SsTableMeta;
use crate::row::Datum;
use crate::txn::{BulkPart, TableLockMode};

impl Transaction {
    /// Makes an index over the rows of a table, waiting for its writers to end.
    ///
    /// # Errors
    /// `DuplicateKey` where a unique index meets a key twice, `NotNull` where a primary key meets NULL, and those of
    /// [`Catalog::create_index`](crate::catalog::Catalog::create_index). There is no such index then.
    pub async fn create_index(&mut self, table: TableId, index: NewIndex) -> Result<IndexId> {
        self.lock_table(table, TableLockMode::Share).await?;
        let before = self.savepoint();
        let built = self.build_index(table, index).await;
        if built.is_err() {
            self.rollback_to(&before)?;
        }
        built
    }

    async fn build_index(&mut self, table: TableId, index: NewIndex) -> Result<IndexId> {
        let id = self.change_catalog(|catalog| catalog.create_index(table, index)).await?;
        let view = self.latest_view().table(table)?;
        let def = view.def().clone();
        let made = def.index(id).ok_or_else(|| Error::Invalid("the index vanished".into()))?.clone();
        if made.primary && self.isolation() != Isolation::ReadCommitted {
            check_shown(&self.view().into_table(table)?, &made)?;
        }
        let cache = &self.shared().store.cache;
        let rows = view.parts();
        let committed = rows.committed.into_iter();
        let files =
            self.sort_keys(&view, &made, committed.map(|segment| (segment.segment().first_row(), segment)))?;
        let part = BulkPart::new(self.shared().next_load(), def.heap, Vec::new(), files, true);
        self.add_load(part);
        for (load, segments) in rows.loaded {
            let places = (0..).map(|place| RowId::from_parts(SegmentId::new(place), 0));
            let files = self.sort_keys(&view, &made, places.zip(segments))?;
            self.writes().write().grow_load(load, files, cache);
        }
        let spilled = rows.spilled.into_iter();
        let ordinal = |segment: &SegmentView| segment.segment().first_row().provisional_ordinal();
        let spilled = spilled.map(|segment| (RowId::new(ordinal(&segment)), segment));
        let files = self.sort_keys(&view, &made, spilled)?;
        let run = TableRun::open(cache, &files)?;
        if !files.is_empty() {
            self.writes().write().add_spilled_keys(def.heap, run);
        }
        let in_memory = self.add_own_rows(&view, &def, &made, &rows.in_memory)?;
        if made.unique {
            let mut sorted = vec![files];
            let writes = self.writes().read();
            let loads = writes.loads().iter().filter(|load| load.heap == def.heap);
            sorted.extend(loads.map(|load| load.tables_of(id)));
            drop(writes);
            check_apart(cache, &def, &made, sorted, in_memory)?;
        }
        Ok(id)
    }

    /// Files of the keys of the visible rows of some segments, each with what its rows count from in the files.
    fn sort_keys(
        &self,
        view: &TableView,
        index: &IndexDef,
        segments: impl Iterator<Item = (RowId, SegmentView)>,
    ) -> Result<Vec<SsTableMeta>> {
        let cache = self.shared().store.cache.clone();
        let mut sorter = KeySorter::new(cache, view.def().clone(), index.clone())?;
        for (first, segment) in segments {
            add_segment(view, &segment, first, index, &mut sorter)?;
        }
        sorter.finish()
    }

    /// Gives the transaction's own rows in memory their keys in a new index; returns those, ascending.
    fn add_own_rows(
        &self,
        view: &TableView,
        def: &Arc<TableDef>,
        index: &IndexDef,
        rows: &[(RowId, Arc<[u8]>)],
    ) -> Result<Vec<Arc<[u8]>>> {
        let mut own = Vec::new();
        for (row, _) in rows {
            let values = view.row(*row)?.to_datums(&def.schema)?;
            check_not_null(def, index, &values)?;
            own.push((Arc::<[u8]>::from(key_of(def, index, &values)?), *row));
        }
        let mut writes = self.writes().write();
        for (key, row) in &own {
            writes.add_key(def.heap, *row, (index.id, key.clone()))?;
        }
        let mut keys: Vec<_> = own.into_iter().map(|(key, _)| key).collect();
        keys.sort_unstable();
        Ok(keys)
    }
}

/// Makes sure that no row that a statement sees has NULL in a column of an index.
fn check_shown(view: &TableView, index: &IndexDef) -> Result<()> {
    let schema = &view.def().schema;
    let columns: Vec<ColumnId> = index.columns.iter().map(|column| column.column).collect();
    for segment in view.segments()? {
        let mut start = 0;
        while start < segment.slots() {
            let end = segment.slots().min(start + BATCH_ROWS);
            let slots = view.visible_slots(&segment, start..end)?;
            start = end;
            let arrays = segment.read(schema, &columns, &Selection::Slots(slots))?;
            let mut with_null = columns.iter().zip(&arrays).filter(|(_, array)| array.null_count() > 0);
            if let Some((column, _)) = with_null.next() {
                let column = schema.column(*column).map(|column| column.name.clone());
                return Err(Error::NotNull { column: column.unwrap_or_default() });
            }
        }
    }
    Ok(())
}

fn check_not_null(def: &TableDef, index: &IndexDef, values: &[Datum]) -> Result<()> {
    for column in index.columns.iter().filter(|_| index.primary) {
        let place = column.column.get() as usize;
        if values.get(place).is_none_or(|value| *value == Datum::Null) {
            let column = def.schema.columns.get(place).map(|column| column.name.clone()).unwrap_or_default();
            return Err(Error::NotNull { column });
        }
    }
    Ok(())
}

fn add_segment(
    view: &TableView,
    segment: &SegmentView,
    first: RowId,
    index: &IndexDef,
    sorter: &mut KeySorter,
) -> Result<()> {
    let def = view.def();
    let seen_first = segment.segment().first_row().get();
    let mut start = 0;
    while start < segment.slots() {
        let end = segment.slots().min(start + BATCH_ROWS);
        let slots = view.visible_slots(segment, start..end)?;
        start = end;
        for_each_key(def, index, segment, &slots, |values, key, row| {
            check_not_null(def, index, values)?;
            sorter.add(key, first.offset(row.get() - seen_first))
        })?;
    }
    Ok(())
}
