//! Writing a transaction's own rows out, so that it may write more of them than memory holds.
//!
//! Before each row the table's rows in memory are counted. Once they fill a segment, or take a share of the pool, they are encoded into a
//! column block, as a bulk load's are, and their keys are written as a sorted run; those of indexes that are newer than the rows as runs of
//! their own. The block has the columns that the rows were written with, dropped ones too: going back to a savepoint may bring those back,
//! and give the number of one that was added to another. So rows with a further column begin another block. Sixteen runs are united into
//! one, so that a key is looked up in few. When the transaction commits, the runs become the index files that the commit adopts: without
//! the entries of rows that have ended again, or were undone, whose keys may stand on other rows of lower RowIds (rule 3).
//!
//! Going back to a savepoint may undo an index whose rows are left, and its number may be given again. The keys of such rows are in runs of
//! their own, which are undone with it; and the commit leaves out the keys of indexes that the table does not have.

use super::shared::Shared;
use super::transaction::Transaction;
use crate::block::{BlockKind, ReleaseBlock};
use crate::catalog::TableDef;
use crate::error::{Error, Result};
use crate::heap::{SEGMENT_BYTES, column};
use crate::ids::{HeapId, IndexId, RowId, SLOTS_PER_SEGMENT};
use crate::lsm::{RunMerge, SsTableWriter, TableOptions, TableRun};
use crate::manifest::SsTableMeta;
use crate::row::{ColumnBuilder, RowView};
use crate::txn::{BulkPart, HeapWrites, OwnRow, SpilledKeys, WriteSet};

/// Runs of about one size that are united.
const UNITED_RUNS: usize = 16;
/// What the lock of a key costs that a mass owner holds (`txn::lock`), for as long as its row is not undone.
const KEY_LOCK_BYTES: usize = 5;
/// Own rows in memory may take this share of the pool.
const POOL_SHARE: usize = 8;

impl Transaction {
    /// Writes a table's own rows out if they are many.
    ///
    /// # Errors
    /// `DiskFull`, `OutOfMemory`, `Io`: the rows stay in memory then.
    pub(super) fn spill_if_due(&self, table: &TableDef, writes: &mut WriteSet) -> Result<()> {
        let shared = self.shared();
        let Some(own) = writes.heap(table.heap) else { return Ok(()) };
        let (rows, bytes) = own.rows_in_memory();
        let Some(first) = rows.first() else { return Ok(()) };
        let columns = RowView::new(&first.bytes, &table.schema)?.column_count();
        let is_due = rows.len() >= shared.bulk.own_rows.min(SLOTS_PER_SEGMENT as usize)
            || bytes >= shared.store.pool.cap() / POOL_SHARE
            || bytes as u64 >= SEGMENT_BYTES;
        if !is_due && columns == table.schema.columns.len() {
            return Ok(());
        }
        self.spill(table, writes)
    }

    /// Writes a table's own rows out.
    fn spill(&self, table: &TableDef, writes: &mut WriteSet) -> Result<()> {
        let shared = self.shared();
        let Some(own) = writes.heap(table.heap) else { return Ok(()) };
        let (rows, _) = own.rows_in_memory();
        let Some(first) = rows.first().filter(|_| rows.len() <= SLOTS_PER_SEGMENT as usize) else {
            return Ok(());
        };
        let columns = RowView::new(&first.bytes, &table.schema)?.column_count();
        let store = &shared.store;
        let slots = u32::try_from(rows.len()).map_err(|_| Error::Invalid("a segment is bounded".into()))?;
        let payload = encode(table, columns, rows, slots)?;
        let block = store.cache.store().write(BlockKind::ColumnBlock, column::FORMAT, &payload)?;
        let image = store.heaps.get_or_create(table.heap).unadopted_image(block, slots);
        let keys = write_keys(shared, own).inspect_err(|_| image.discard())?;
        let locks_bytes = unique_keys(table, own) * KEY_LOCK_BYTES;
        if !writes.spill(table.heap, (block, image.clone()), keys.clone(), locks_bytes) {
            image.discard();
            keys.discard();
        }
        unite_runs(shared, writes, table.heap)
    }

    /// Makes of what was written out what the commit adopts.
    ///
    /// # Errors
    /// `DiskFull`, `OutOfMemory`, `Io`, `CorruptBlock`.
    pub(super) fn finish_spilled(&self) -> Result<()> {
        let mut writes = self.writes().write();
        let heaps: Vec<HeapId> = writes.spilled_heaps().collect();
        let catalog = self.newest_catalog();
        for heap in heaps {
            let table = catalog.tables().find(|table| table.heap == heap);
            // The last rows too, so that a scan meets them in the order in which they were written.
            if let Some(table) = table {
                self.spill(table, &mut writes)?;
            }
            let Some(own) = writes.heap(heap) else { continue };
            let blocks = own.spilled().segments().iter().map(|segment| segment.block()).collect();
            let has_index = |id: IndexId| table.is_some_and(|table| table.index(id).is_some());
            let tables = final_tables(self.shared(), own, has_index)?;
            let run = TableRun::open(&self.shared().store.cache, &tables)?;
            let part = BulkPart::new(self.shared().next_load(), heap, blocks, tables, false);
            writes.set_spilled_part(heap, part, run);
        }
        Ok(())
    }
}

/// How many keys of unique indexes the rows in memory have.
fn unique_keys(table: &TableDef, own: &HeapWrites) -> usize {
    let is_unique = |id: IndexId| table.index(id).is_some_and(|index| index.unique);
    own.keys_in_memory().filter(|((index, _), _)| is_unique(*index)).count()
}

/// Rows as a block of so many columns.
fn encode(table: &TableDef, columns: usize, rows: &[OwnRow], slots: u32) -> Result<Vec<u8>> {
    let views = rows.iter().map(|row| RowView::new(&row.bytes, &table.schema));
    let views: Vec<RowView<'_>> = views.collect::<Result<_>>()?;
    let columns = table.schema.columns.iter().take(columns).map(|column| {
        let mut builder = ColumnBuilder::new(&column.column_type, views.len());
        builder.push_rows(&views, column.id)?;
        Ok((column.id, column.column_type.clone(), builder.finish()))
    });
    let columns: Vec<_> = columns.collect::<Result<_>>()?;
    column::encode_block(&columns, None, slots, &column::EncodeOptions::default())
}

fn writer(shared: &Shared) -> SsTableWriter {
    let cache = &shared.store.cache;
    SsTableWriter::new(cache.store().clone(), cache.pool().clone(), TableOptions::default())
}

/// The keys of the rows in memory as runs.
fn write_keys(shared: &Shared, own: &HeapWrites) -> Result<SpilledKeys> {
    let mut keys = SpilledKeys::default();
    write_keys_to(shared, own, &mut keys).inspect_err(|_| keys.discard())?;
    Ok(keys)
}

fn write_keys_to(shared: &Shared, own: &HeapWrites, keys: &mut SpilledKeys) -> Result<()> {
    let later = own.later_indexes();
    let mut run = None;
    let mut of_older = None;
    let mut building = None;
    for ((index, key), ordinals) in own.keys_in_memory() {
        if building != Some(*index) {
            building = Some(*index);
            finish_later(shared, &mut of_older, keys)?;
        }
        let older = later.get(index);
        // A key's rows stand newest first.
        for ordinal in ordinals.iter().rev() {
            let writer = match older.filter(|older| *ordinal < older.end) {
                None => run.get_or_insert_with(|| writer(shared)),
                Some(older) => &mut of_older.get_or_insert_with(|| (older.made_at, writer(shared))).1,
            };
            writer.add(*index, key, RowId::new(*ordinal))?;
        }
    }
    finish_later(shared, &mut of_older, keys)?;
    keys.run = run.map(|writer| finish_run(shared, writer)).transpose()?;
    Ok(())
}

fn finish_later(
    shared: &Shared,
    building: &mut Option<(u64, SsTableWriter)>,
    keys: &mut SpilledKeys,
) -> Result<()> {
    if let Some((made_at, writer)) = building.take() {
        keys.later.push((made_at, finish_run(shared, writer)?));
    }
    Ok(())
}

fn finish_run(shared: &Shared, writer: SsTableWriter) -> Result<TableRun> {
    TableRun::open(&shared.store.cache, &writer.finish()?)
}

/// Unites the last runs, if there are as many of one size.
fn unite_runs(shared: &Shared, writes: &mut WriteSet, heap: HeapId) -> Result<()> {
    loop {
        let Some(own) = writes.heap(heap) else { return Ok(()) };
        let runs = own.spilled().runs();
        let Some(first) = runs.len().checked_sub(UNITED_RUNS) else { return Ok(()) };
        let last = &runs[first..];
        let sizes = || last.iter().map(TableRun::entries);
        if sizes().max().unwrap_or(0) > UNITED_RUNS as u64 / 2 * sizes().min().unwrap_or(0) {
            return Ok(());
        }
        let mut merge = RunMerge::whole(last);
        let mut writer = writer(shared);
        while let Some((index, key, row)) = merge.next()? {
            writer.add(index, key, row)?;
        }
        let united = finish_run(shared, writer)?;
        writes.unite_spilled_runs(heap, first, united);
    }
}

/// The keys of the rows that reach the heap, by index, with the ordinals that the rows have in the load. Those of undone and dropped
/// indexes are left out.
fn final_tables(
    shared: &Shared,
    own: &HeapWrites,
    has_index: impl Fn(IndexId) -> bool,
) -> Result<Vec<SsTableMeta>> {
    let spilled = own.spilled();
    let runs: Vec<TableRun> = spilled.all_runs().cloned().collect();
    let mut merge = RunMerge::whole(&runs);
    let mut tables = Tables { shared, written: Vec::new() };
    let mut building: Option<(IndexId, SsTableWriter)> = None;
    while let Some((index, key, row)) = merge.next()? {
        if !has_index(index) || !own.is_final(row.get()) {
            continue;
        }
        let Some(ordinal) = spilled.dense_ordinal(row.get()) else { continue };
        if building.as_ref().is_none_or(|(last, _)| *last != index) {
            tables.add(building.replace((index, writer(shared))))?;
        }
        if let Some((_, writer)) = &mut building {
            writer.add(index, key, RowId::new(ordinal))?;
        }
    }
    tables.add(building)?;
    Ok(std::mem::take(&mut tables.written))
}

/// Files that are given back unless they are taken out.
struct Tables<'a> {
    shared: &'a Shared,
    written: Vec<SsTableMeta>,
}

impl Tables<'_> {
    fn add(&mut self, ended: Option<(IndexId, SsTableWriter)>) -> Result<()> {
        if let Some((_, writer)) = ended {
            self.written.extend(writer.finish()?);
        }
        Ok(())
    }
}

impl Drop for Tables<'_> {
    fn drop(&mut self) {
        self.written.iter().for_each(|table| self.shared.store.cache.release(table.block));
    }
}
