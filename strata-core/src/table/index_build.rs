//! CREATE INDEX: the keys of all rows there are, sorted into files that the commit adopts.
//!
//! The table is locked with `Share`, so no writer of it is in flight: every row of it is published, and the rows that
//! come later find the index in the catalog (TRAPS: DDL against DML). The index id is new, so its files cannot
//! stand above newer entries of the same key (rule 3). Rows that had ended by then have no entry, so the index serves no snapshot
//! older than its commit: see [`TableView::index_is_whole`].

use std::sync::Arc;

use super::key_sorter::KeySorter;
use super::keys::key_has_null;
use super::segment_keys::{BATCH_ROWS, for_each_key};
use super::transaction::{Transaction, key_of};
use super::view::TableView;
use crate::catalog::change::NewIndex;
use crate::catalog::{IndexDef, TableDef};
use crate::error::{Error, Result};
use crate::ids::{IndexId, RowId, TableId};
use crate::row::Datum;
use crate::txn::{BulkPart, TableLockMode};

impl Transaction {
    /// Makes an index over the rows of a table, waiting for its writers to end.
    ///
    /// # Errors
    /// `DuplicateKey` where a unique index meets a key twice, `NotNull` where a primary key meets NULL, and those of
    /// [`Catalog::create_index`](crate::catalog::Catalog::create_index). There is no such index then. `Unsupported` after a
    /// bulk load of the table in the same transaction: its rows have no RowIds yet that index files could name.
    pub async fn create_index(&mut self, table: TableId, index: NewIndex) -> Result<IndexId> {
        self.lock_table(table, TableLockMode::Share).await?;
        let heap = self.newest_catalog().table(table)?.heap;
        let is_written = {
            let writes = self.writes().read();
            writes.loads().iter().any(|load| load.heap == heap && load.rows > 0)
                || writes.heap(heap).is_some_and(|own| !own.spilled().segments().is_empty())
        };
        if is_written {
            let message = "an index cannot be made in the transaction that has loaded rows of the table in bulk; \
                           commit the rows first, or make the index before them";
            return Err(Error::Unsupported(message.into()));
        }
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
        let cache = &self.shared().store.cache;
        let mut sorter = KeySorter::new(cache.clone(), def.clone(), made.clone())?;
        let contents = view.contents()?;
        for segment in contents.segments {
            add_segment(&view, &segment, &made, &mut sorter)?;
        }
        let files = sorter.finish()?;
        let part = BulkPart::new(self.shared().next_load(), def.heap, Vec::new(), files, true);
        self.add_load(part);
        self.add_own_rows(&view, &def, &made, &contents.own_rows)?;
        Ok(id)
    }

    /// Gives the transaction's own rows their keys in a new index.
    fn add_own_rows(
        &self,
        view: &TableView,
        def: &Arc<TableDef>,
        index: &IndexDef,
        rows: &[(RowId, Arc<[u8]>)],
    ) -> Result<()> {
        let mut own = Vec::new();
        for (row, _) in rows {
            let values = view.row(*row)?.to_datums(&def.schema)?;
            check_not_null(def, index, &values)?;
            own.push((key_of(def, index, &values)?, *row));
        }
        if own.is_empty() {
            return Ok(());
        }
        if index.unique {
            self.check_own_unique(def, index, &mut own)?;
        }
        let mut writes = self.writes().write();
        for (key, row) in own {
            writes.add_key(def.heap, row, (index.id, key.into()))?;
        }
        Ok(())
    }

    fn check_own_unique(&self, def: &TableDef, index: &IndexDef, own: &mut [(Vec<u8>, RowId)]) -> Result<()> {
        own.sort();
        let duplicate =
            |key: &[u8]| Error::DuplicateKey { table: def.id, index: index.id, key: key.to_vec() };
        for pair in own.windows(2) {
            if pair[0].0 == pair[1].0 && !key_has_null(def, index, &pair[0].0)? {
                return Err(duplicate(&pair[0].0));
            }
        }
        let writes = self.writes().read();
        let files: Vec<_> = writes.loads().iter().map(|load| load.tables_of(index.id)).collect();
        let mut merge = crate::lsm::TableMerge::open(&self.shared().store.cache, &files)?;
        let mut own = own.iter().peekable();
        while let Some((key, _)) = merge.next()? {
            while own.peek().is_some_and(|(own, _)| own.as_slice() < key) {
                own.next();
            }
            if own.peek().is_some_and(|(own, _)| own == key) && !key_has_null(def, index, key)? {
                return Err(duplicate(key));
            }
        }
        Ok(())
    }
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
    segment: &crate::heap::SegmentView,
    index: &IndexDef,
    sorter: &mut KeySorter,
) -> Result<()> {
    let def = view.def();
    let mut start = 0;
    while start < segment.slots() {
        let end = segment.slots().min(start + BATCH_ROWS);
        let slots = view.visible_slots(segment, start..end)?;
        start = end;
        for_each_key(def, index, segment, &slots, |values, key, row| {
            check_not_null(def, index, values)?;
            sorter.add(key, row)
        })?;
    }
    Ok(())
}
