//! Steps 1 and 2 of a load, and its doubts: see the [module above](super).

use std::ops::Bound::Included;
use std::sync::Arc;

use super::{DOUBT_BYTES, Doubt, duplicate};
use crate::cache::PageCache;
use crate::catalog::{IndexDef, TableDef};
use crate::error::Result;
use crate::heap::Heap;
use crate::ids::{IndexId, RowId, TxnId};
use crate::lsm::{TableMerge, TableProbe};
use crate::manifest::SsTableMeta;
use crate::memory::Reservation;
use crate::table::keys::key_has_null;
use crate::table::shared::Shared;
use crate::table::transaction::{Transaction, declare_refusal, key_of};
use crate::txn::{RowLockMode, WriteSet};

/// The check of a load's unique keys against its table and its transaction.
pub(in crate::table) struct SealCheck<'a> {
    shared: &'a Shared,
    transaction: TxnId,
    table: &'a TableDef,
    heap: Arc<Heap>,
    writes: &'a WriteSet,
    /// Grows by what the doubts take.
    memory: &'a mut Reservation,
    /// Rows below this are covered by step 2.
    end: RowId,
    doubts: Vec<Doubt>,
}

impl<'a> SealCheck<'a> {
    /// Step 1.
    pub fn new(
        shared: &'a Shared,
        transaction: TxnId,
        table: &'a TableDef,
        writes: &'a WriteSet,
        memory: &'a mut Reservation,
    ) -> Self {
        let heap = shared.store.heaps.get_or_create(table.heap);
        let end = shared.store.with_section(|_| heap.next_row());
        Self { shared, transaction, table, heap, writes, memory, end, doubts: Vec::new() }
    }

    /// Step 2, for the files that a load has of the table's indexes. Returns the row below which the table was looked at.
    ///
    /// # Errors
    /// `DuplicateKey`; those of the block store; `OutOfMemory`.
    pub fn run(mut self, files: &[SsTableMeta]) -> Result<(RowId, Vec<Doubt>)> {
        for index in self.table.indexes.iter().filter(|index| index.unique) {
            let of_index: Vec<_> =
                files.iter().filter(|file| file.index() == Some(index.id)).cloned().collect();
            self.look_up(index, &of_index)?;
        }
        Ok((self.end, self.doubts))
    }

    /// The table, and the transaction's own rows and loads.
    fn look_up(&mut self, index: &IndexDef, files: &[SsTableMeta]) -> Result<()> {
        let probe = TableProbe::open(&self.shared.store.cache, files)?;
        let Some((first, last)) = probe.bounds() else { return Ok(()) };
        let store = &self.shared.store;
        let (first, last) = (Included(first.to_vec()), Included(last.to_vec()));
        let is_free = store.tree.range(index.id, first, last, false, RowId::MAX).next()?.is_none();
        let own = self.writes.heap(self.table.heap);
        if !is_free || own.is_some() {
            let position = self.writes.position();
            let mut merge = TableMerge::open(&store.cache, &[files.to_vec()])?;
            while let Some((key, _)) = merge.next()? {
                let committed = if is_free { None } else { store.newest_row(&self.heap, index.id, key)? };
                let in_writes = match own {
                    Some(own) => own.find_key(&(index.id, key.into()), position)?.is_some(),
                    None => false,
                };
                if (committed.is_none() && !in_writes) || key_has_null(self.table, index, key)? {
                    continue;
                }
                if in_writes {
                    return Err(duplicate(self.table, index.id, key));
                }
                if let Some(row) = committed {
                    self.found(index.id, key, row)?;
                }
            }
        }
        self.look_up_in_loads(index, files)?;
        self.look_up_in_builds(index, files)
    }

    /// The transaction's earlier loads, side by side with this one: in one merge, entries that agree in the ordinal, too,
    /// would be one.
    fn look_up_in_loads(&self, index: &IndexDef, files: &[SsTableMeta]) -> Result<()> {
        let earlier = self.earlier_files(index, false);
        for_each_common_key(&self.shared.store.cache, &earlier, files, |key, _| {
            match key_has_null(self.table, index, key)? {
                true => Ok(()),
                false => Err(duplicate(self.table, index.id, key)),
            }
        })
    }

    /// The committed rows that the transaction has made the index over.
    fn look_up_in_builds(&mut self, index: &IndexDef, files: &[SsTableMeta]) -> Result<()> {
        let built = self.earlier_files(index, true);
        let cache = self.shared.store.cache.clone();
        for_each_common_key(&cache, &built, files, |key, row| match key_has_null(self.table, index, key)? {
            true => Ok(()),
            false => self.found(index.id, key, row),
        })
    }

    /// The files that the transaction's earlier loads, or its builds, have of an index.
    fn earlier_files(&self, index: &IndexDef, absolute: bool) -> Vec<Vec<SsTableMeta>> {
        let loads = self.writes.loads().iter().filter(|load| load.heap == self.table.heap);
        let loads = loads.filter(|load| load.absolute == absolute).map(|load| load.tables_of(index.id));
        loads.filter(|files| !files.is_empty()).collect()
    }

    /// A committed row has a key of the load.
    fn found(&mut self, index: IndexId, key: &[u8], row: RowId) -> Result<()> {
        let own = self.writes.heap(self.table.heap);
        if own.is_some_and(|own| own.is_marked(row, self.writes.position())) {
            return Ok(());
        }
        let store = &self.shared.store;
        if store.locks.row_is_held(self.heap.id(), row, RowLockMode::KeyShare, self.transaction)
            || !store.is_published(&self.heap, row)
        {
            self.memory.grow(DOUBT_BYTES)?;
            self.doubts.push(Doubt { index, row });
            return Ok(());
        }
        // Locks go after the marks have come: who held it until now has not ended the row. What has replaced it, if
        // that was, is above the end.
        if self.heap.mark(row)?.is_none() { Err(duplicate(self.table, index, key)) } else { Ok(()) }
    }
}

/// Calls `visit` with the keys of `new` that some of `earlier` have, and the newest row that has it there.
fn for_each_common_key(
    cache: &Arc<PageCache>,
    earlier: &[Vec<SsTableMeta>],
    new: &[SsTableMeta],
    mut visit: impl FnMut(&[u8], RowId) -> Result<()>,
) -> Result<()> {
    if earlier.is_empty() {
        return Ok(());
    }
    let mut earlier = TableMerge::open(cache, earlier)?;
    let mut new = TableMerge::open(cache, &[new.to_vec()])?;
    let mut held = earlier.next()?;
    while let Some((key, _)) = new.next()? {
        while held.is_some_and(|(held, _)| held < key) {
            held = earlier.next()?;
        }
        if let Some((_, row)) = held.filter(|(held, _)| *held == key) {
            visit(key, row)?;
        }
    }
    Ok(())
}

/// Waits until the fate of each doubtful row is known, and what the check has met is published: the next statement sees
/// nothing that has ended before the load.
///
/// # Errors
/// `DuplicateKey` where one stays; `Deadlock`; those of the block store.
pub(in crate::table) async fn settle(
    transaction: &Transaction,
    table: &TableDef,
    doubts: &[Doubt],
) -> Result<()> {
    let store = &transaction.shared().store;
    let heap = store.heaps.get_or_create(table.heap);
    for Doubt { index, row } in doubts.iter().copied() {
        if heap.mark(row)?.is_some() {
            continue;
        }
        transaction.acquire_row(table.heap, row, RowLockMode::KeyShare).await?;
        store.check_writable()?;
        store.when_published().await?;
        if heap.mark(row)?.is_some() {
            continue;
        }
        let values = heap.row(row)?.to_datums(&table.schema)?;
        let key = table.index(index).map_or(Ok(Vec::new()), |index| key_of(table, index, &values))?;
        let refusal = duplicate(table, index, &key);
        if let Some(view) = transaction.tracked_view(table.id)? {
            declare_refusal(&view, &refusal);
        }
        return Err(refusal);
    }
    store.when_published().await.map(drop)
}
