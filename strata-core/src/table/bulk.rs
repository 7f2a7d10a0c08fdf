//! Bulk load: rows straight into column blocks, keys into sorted index files.
//!
//! Blocks and files hold *ordinals relative to the load* (`segment << 16 | slot`, from 0); the commit adopts them at
//! a segment boundary and adds the base. The load holds `RowExclusive` on the table, as other writers do: it keeps none of
//! them off. How its keys stay unique is told in [`unique`](super::unique).
//! Loads of less than [`MIN_ROWS`] (see [`BulkSizes`]) go in as ordinary rows.
//!
//! Memory stays bounded: a segment of rows, with the text that their views lead to, the segment before it, which is
//! [encoded](super::segment_encoder) meanwhile, and a run of keys for each index. A batch that is larger than a segment goes in pieces.
//!
//! [`BulkLoad`] borrows its transaction. Where the rows come from another thread, a [`BulkWriter`] takes them there:
//! it owns what it needs, does all I/O and the uniqueness checks, and ends as a [`SealedLoad`], which the
//! transaction then adopts, waiting for whoever is deleting rows with its keys. From sealing to adoption the transaction must
//! write nothing, and not go back to a savepoint.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_schema::DataType;
use parking_lot::RwLock;

use super::key_sorter::KeySorter;
use super::keys::encode_index_key;
use super::segment_encoder::{EncodedSegment, Segment, SegmentEncoder};
use super::shared::Shared;
use super::transaction::{Transaction, declare_refusal};
use super::unique::Doubt;
use super::unique::seal::{SealCheck, settle};
use super::view::TableView;
use crate::block::{BlockKind, ReleaseBlock};
use crate::catalog::TableDef;
use crate::error::{Error, Result};
use crate::heap::column;
use crate::ids::{BlockId, ColumnId, RowId, SLOTS_PER_SEGMENT, SegmentId, TableId, TxnId};
use crate::manifest::SsTableMeta;
use crate::memory::Reservation;
use crate::row::{ColumnReader, Datum};
use crate::txn::{BulkPart, TableLockMode, WriteSet};

/// Loads below this many rows take the row path.
pub const MIN_ROWS: usize = 16_384;
/// Rows that are inserted one by one before others have a turn.
const ROWS_BETWEEN_YIELDS: usize = 256;

/// Sizes at which a load takes its next form.
#[derive(Clone, Copy, Debug)]
pub struct BulkSizes {
    /// Loads of fewer rows take the row path.
    pub rows: usize,
    /// A segment ends early at so many bytes of Arrow data.
    pub segment_bytes: u64,
    /// Segments of so many bytes are encoded by threads beside whoever brings the next rows.
    pub beside_bytes: usize,
    /// How many threads that takes; with none, the segment is encoded when it is collected.
    pub encode_threads: usize,
    /// Own rows of a transaction in a table that are kept in memory.
    pub own_rows: usize,
}

/// A bulk load in progress. Dropped before [`finish`](Self::finish), it leaves nothing behind.
pub struct BulkLoad<'t> {
    transaction: &'t Transaction,
    writer: BulkWriter,
}

/// The part of a bulk load that any thread can drive. Dropped before it is sealed, it leaves nothing behind.
pub struct BulkWriter {
    shared: Arc<Shared>,
    transaction: TxnId,
    /// How often the transaction had gone back to a savepoint: once more, and the load is not its own any more.
    returns: u64,
    writes: Arc<RwLock<WriteSet>>,
    table: Arc<TableDef>,
    pending: Vec<RecordBatch>,
    pending_rows: usize,
    pending_bytes: Reservation,
    sorters: Vec<KeySorter>,
    encoder: SegmentEncoder,
    blocks: Vec<(BlockId, u32)>,
    /// Files of keys, once it is being sealed.
    tables: Vec<SsTableMeta>,
    /// Whether rows were refused: what came of those before is not known then.
    has_failed: bool,
    /// Where the transaction is SERIALIZABLE.
    reads: Option<TableView>,
}

/// A load whose blocks and files are written and checked. Dropped before it is adopted, it leaves nothing behind.
pub struct SealedLoad {
    shared: Arc<Shared>,
    transaction: TxnId,
    returns: u64,
    table: Arc<TableDef>,
    form: Sealed,
    doubts: Vec<Doubt>,
    /// Where the transaction's writes ended when they were checked.
    position: u64,
    /// What the rows of [`Sealed::Rows`], and the doubts, take.
    _memory: Reservation,
}

enum Sealed {
    /// Too few rows for a segment: they go in as ordinary ones.
    Rows(Vec<RecordBatch>),
    /// `None` once adopted.
    Part(Option<BulkPart>),
}

impl Transaction {
    /// Begins a bulk load into a table.
    ///
    /// # Errors
    /// `NotFound`, `Deadlock`.
    pub async fn bulk_load(&self, table: TableId) -> Result<BulkLoad<'_>> {
        Ok(BulkLoad { transaction: self, writer: self.bulk_writer(table).await? })
    }

    /// As [`bulk_load`](Self::bulk_load), for rows that another thread brings.
    ///
    /// # Errors
    /// `NotFound`, `Deadlock`.
    pub async fn bulk_writer(&self, table: TableId) -> Result<BulkWriter> {
        self.lock_table(table, TableLockMode::RowExclusive).await?;
        let table = self.newest_catalog().table(table)?.clone();
        let reads = self.tracked_view(table.id)?;
        let pending_bytes = self.shared().store.pool.reserve("bulk load", 0)?;
        let cache = &self.shared().store.cache;
        let sorters = table.indexes.iter();
        let sorters = sorters.map(|index| KeySorter::new(cache.clone(), table.clone(), index.clone()));
        let sorters = sorters.collect::<Result<_>>()?;
        let sizes = self.shared().bulk;
        Ok(BulkWriter {
            shared: self.shared().clone(),
            transaction: self.id(),
            returns: self.timeline.returns(),
            writes: self.writes().clone(),
            table,
            pending: Vec::new(),
            pending_rows: 0,
            pending_bytes,
            sorters,
            encoder: SegmentEncoder::new(sizes.beside_bytes, sizes.encode_threads),
            blocks: Vec::new(),
            tables: Vec::new(),
            has_failed: false,
            reads,
        })
    }

    /// Inserts rows one by one: a column for each live column of the table, in order. The table must be locked with
    /// `RowExclusive`.
    ///
    /// # Errors
    /// As [`insert`](Self::insert), and `Invalid` for columns that do not fit.
    pub async fn insert_batch(&self, table: &TableDef, batch: &RecordBatch) -> Result<u64> {
        let live: Vec<_> = table.schema.live().collect();
        check_count(batch, live.len())?;
        let readers = live.iter().zip(batch.columns());
        let readers: Vec<ColumnReader<'_>> = readers
            .map(|(column, array)| ColumnReader::new(array.as_ref(), &column.column_type))
            .collect::<Result<_>>()?;
        let rows = batch.num_rows();
        let mut values = vec![Datum::Null; table.schema.columns.len()];
        for place in 0..rows {
            for (column, reader) in live.iter().zip(&readers) {
                values[column.id.get() as usize] = reader.value(place)?.to_datum();
            }
            self.insert(table, &values).await?;
            if place % ROWS_BETWEEN_YIELDS == ROWS_BETWEEN_YIELDS - 1 {
                Yield::default().await;
            }
        }
        Ok(rows as u64)
    }
}

/// Lets the other tasks of an executor's thread run.
#[derive(Default)]
struct Yield {
    yielded: bool,
}

impl Future for Yield {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if std::mem::replace(&mut self.yielded, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    }
}

impl BulkLoad<'_> {
    /// The table as it is locked.
    pub fn table(&self) -> &Arc<TableDef> {
        self.writer.table()
    }

    /// As [`BulkWriter::append`].
    pub fn append(&mut self, batch: &RecordBatch) -> Result<()> {
        self.writer.append(batch)
    }

    /// Ends the load; its rows are part of the transaction from here on. Returns how many there are.
    ///
    /// # Errors
    /// As [`BulkWriter::seal`] and [`SealedLoad::adopt`].
    pub async fn finish(self) -> Result<u64> {
        self.writer.seal()?.adopt(self.transaction).await
    }
}

impl SealedLoad {
    /// Makes the rows part of the transaction that the load was begun by. Returns how many there are.
    ///
    /// # Errors
    /// `Invalid` for another transaction, and where that has written since, went back to a savepoint, or gave the table another
    /// index or another heap; `DuplicateKey` and `Deadlock`, as [`Transaction::insert`].
    pub async fn adopt(mut self, transaction: &Transaction) -> Result<u64> {
        if transaction.id() != self.transaction {
            return Err(Error::Invalid("a bulk load belongs to another transaction".into()));
        }
        if transaction.timeline.returns() != self.returns {
            return Err(Error::Invalid("the transaction went back to a savepoint during a bulk load".into()));
        }
        // Its rows would miss in an index that was made since, and go to a heap that the table no longer has.
        let catalog = transaction.newest_catalog();
        let newest = catalog.table(self.table.id)?;
        let indexes = |table: &TableDef| table.indexes.iter().map(|index| index.id).collect::<Vec<_>>();
        if newest.heap != self.table.heap || indexes(newest) != indexes(&self.table) {
            return Err(Error::Invalid("the table was changed during a bulk load".into()));
        }
        match &mut self.form {
            Sealed::Rows(batches) => {
                let mut rows = 0;
                for batch in std::mem::take(batches) {
                    rows += transaction.insert_batch(&self.table, &batch).await?;
                }
                Ok(rows)
            }
            Sealed::Part(part) => {
                settle(transaction, &self.table, &self.doubts).await?;
                if transaction.position() != self.position {
                    let message = "the transaction has written since the load was checked";
                    return Err(Error::Invalid(message.into()));
                }
                let Some(part) = part.take() else { return Ok(0) };
                transaction.note_claims(&self.table);
                let rows = part.rows;
                transaction.add_load(part);
                Ok(rows)
            }
        }
    }
}

impl Drop for SealedLoad {
    fn drop(&mut self) {
        let Sealed::Part(Some(part)) = &self.form else { return };
        give_back(&self.shared, &part.blocks, &part.tables);
    }
}

impl BulkWriter {
    /// The table as it is locked.
    pub fn table(&self) -> &Arc<TableDef> {
        &self.table
    }

    /// Adds rows: a column for each live column of the table, in order, of the types of
    /// [`arrow_type`](crate::row::arrow_type).
    ///
    /// # Errors
    /// `Invalid` for columns that do not fit, `NotNull`; and `DuplicateKey` within the load, `DiskFull`, `OutOfMemory`, after
    /// which the load takes no more rows and cannot be finished.
    pub fn append(&mut self, batch: &RecordBatch) -> Result<()> {
        self.check(batch)?;
        self.check_whole()?;
        let appended = self.append_rows(batch);
        self.has_failed = appended.is_err();
        appended
    }

    /// What has failed goes no further.
    fn check_whole(&self) -> Result<()> {
        match self.has_failed {
            true => Err(Error::Invalid("a bulk load goes on after rows were refused".into())),
            false => Ok(()),
        }
    }

    fn append_rows(&mut self, batch: &RecordBatch) -> Result<()> {
        let most = usize::try_from(self.shared.bulk.segment_bytes).unwrap_or(usize::MAX);
        let mut offset = 0;
        while offset < batch.num_rows() {
            let room = SLOTS_PER_SEGMENT as usize - self.pending_rows;
            let rows = room.min(batch.num_rows() - offset);
            let (slice, bytes) = beginning(&batch.slice(offset, rows), most);
            let rows = slice.num_rows();
            self.reserve(bytes)?;
            self.pending.push(slice);
            self.pending_rows += rows;
            offset += rows;
            if self.pending_rows == SLOTS_PER_SEGMENT as usize || self.pending_bytes.bytes() >= most {
                self.write_segment()?;
            }
        }
        Ok(())
    }

    fn check(&self, batch: &RecordBatch) -> Result<()> {
        let live: Vec<_> = self.table.schema.live().collect();
        check_count(batch, live.len())?;
        for (column, array) in live.iter().zip(batch.columns()) {
            let expected = crate::row::arrow_type(&column.column_type);
            if *array.data_type() != expected {
                let found = array.data_type();
                return Err(Error::Invalid(format!("column \"{}\" is {expected}, not {found}", column.name)));
            }
            if !column.nullable && array.null_count() > 0 {
                return Err(Error::NotNull { column: column.name.clone() });
            }
        }
        Ok(())
    }

    /// Writes what is left, and checks that no key is there twice.
    ///
    /// # Errors
    /// As [`append`](Self::append), and `DuplicateKey` against the table.
    pub fn seal(mut self) -> Result<SealedLoad> {
        self.check_whole()?;
        let position = self.writes.read().position();
        let mut doubts = Vec::new();
        let form = if self.segments() == 0 && self.pending_rows < self.shared.bulk.rows {
            Sealed::Rows(std::mem::take(&mut self.pending))
        } else {
            Sealed::Part(Some(self.seal_part(&mut doubts)?))
        };
        let held = self.pending_bytes.bytes();
        Ok(SealedLoad {
            shared: self.shared.clone(),
            transaction: self.transaction,
            returns: self.returns,
            table: self.table.clone(),
            form,
            doubts,
            position,
            _memory: self.pending_bytes.split(held),
        })
    }

    fn seal_part(&mut self, doubts: &mut Vec<Doubt>) -> Result<BulkPart> {
        self.write_segment()?;
        for sorter in std::mem::take(&mut self.sorters) {
            self.tables.extend(sorter.finish()?);
        }
        self.collect_segment()?;
        let (writes, memory) = (self.writes.read(), &mut self.pending_bytes);
        let check = SealCheck::new(&self.shared, self.transaction, &self.table, &writes, memory);
        let checked = check.run(&self.tables);
        drop(writes);
        let (checked_end, found) = checked
            .inspect_err(|refusal| self.reads.iter().for_each(|view| declare_refusal(view, refusal)))?;
        *doubts = found;
        let load = self.shared.next_load();
        let (blocks, tables) = (std::mem::take(&mut self.blocks), std::mem::take(&mut self.tables));
        let part = BulkPart::new(load, self.table.heap, blocks, tables, false);
        Ok(part.checked_below(checked_end))
    }

    /// Has the rows that are pending encoded, and writes the segment before.
    fn write_segment(&mut self) -> Result<()> {
        if self.pending_rows == 0 {
            return Ok(());
        }
        // The columns in one piece, and encoded; before the keys, which make do with what is left.
        let bytes = self.pending_bytes.bytes();
        self.reserve(2 * bytes)?;
        let batches = std::mem::take(&mut self.pending);
        let rows = std::mem::take(&mut self.pending_rows);
        self.add_keys(&batches)?;
        self.collect_segment()?;
        let columns =
            self.table.schema.live().map(|column| (column.id, column.column_type.clone())).collect();
        let rows = u32::try_from(rows).expect("a segment is bounded");
        let memory = self.pending_bytes.split(3 * bytes);
        let at_once = self.encoder.start(Segment { columns, batches, rows, bytes, memory })?;
        at_once.map_or(Ok(()), |segment| self.write_block(&segment))
    }

    /// Segments that were begun: those that are written, and the one that is being encoded.
    fn segments(&self) -> u64 {
        self.blocks.len() as u64 + u64::from(self.encoder.is_busy())
    }

    /// Waits for the segment that is being encoded, if one is, and writes it.
    fn collect_segment(&mut self) -> Result<()> {
        let segment = self.encoder.collect()?;
        segment.map_or(Ok(()), |segment| self.write_block(&segment))
    }

    fn write_block(&mut self, segment: &EncodedSegment) -> Result<()> {
        let store = self.shared.store.cache.store();
        let block = store.write(BlockKind::ColumnBlock, column::FORMAT, &segment.payload)?;
        self.blocks.push((block, segment.rows));
        Ok(())
    }

    /// Reserves memory for rows, if need be that of the segment that is being encoded.
    fn reserve(&mut self, bytes: usize) -> Result<()> {
        match self.pending_bytes.grow(bytes) {
            Err(Error::OutOfMemory { .. }) => {
                self.collect_segment()?;
                self.pending_bytes.grow(bytes)
            }
            done => done,
        }
    }

    fn add_keys(&mut self, batches: &[RecordBatch]) -> Result<()> {
        let first = RowId::from_parts(SegmentId::new(self.segments()), 0);
        let mut values = vec![Datum::Null; self.table.schema.columns.len()];
        let mut key = Vec::new();
        for (sorter, index) in self.sorters.iter_mut().zip(&self.table.indexes) {
            let keyed = |id: ColumnId| index.columns.iter().any(|column| column.column == id);
            let live = self.table.schema.live().enumerate();
            let columns: Vec<_> = live.filter(|(_, column)| keyed(column.id)).collect();
            let mut row = first;
            for batch in batches {
                let readers = columns.iter().map(|(place, column)| {
                    Ok((column.id, ColumnReader::new(batch.column(*place).as_ref(), &column.column_type)?))
                });
                let readers: Vec<(ColumnId, ColumnReader<'_>)> = readers.collect::<Result<_>>()?;
                for place in 0..batch.num_rows() {
                    for (id, reader) in &readers {
                        values[id.get() as usize] = reader.value(place)?.to_datum();
                    }
                    key.clear();
                    encode_index_key(&self.table, index, &values, &mut key)?;
                    sorter.add(&key, row)?;
                    row = row.offset(1);
                }
            }
        }
        Ok(())
    }
}

fn check_count(batch: &RecordBatch, columns: usize) -> Result<()> {
    match batch.num_columns() == columns {
        true => Ok(()),
        false => Err(Error::Invalid(format!("{} columns for a table of {columns}", batch.num_columns()))),
    }
}

/// The first rows of a batch, at least one, that take no more than so many bytes or not much more; and what they take.
fn beginning(batch: &RecordBatch, most: usize) -> (RecordBatch, usize) {
    let mut rows = batch.num_rows();
    loop {
        let slice = batch.slice(0, rows);
        let bytes = slice.columns().iter().map(array_bytes).sum();
        if bytes <= most || rows == 1 {
            return (slice, bytes);
        }
        rows = rows.div_ceil(2);
    }
}

/// What an array holds, with the bytes that views lead to.
fn array_bytes(array: &ArrayRef) -> usize {
    let long = |views: &[u128]| -> usize {
        // A view's length stands first; short values are in the view itself.
        views.iter().map(|view| *view as u32 as usize).filter(|length| *length > 12).sum()
    };
    let beside = match array.data_type() {
        DataType::Utf8View => long(array.as_string_view().views()),
        DataType::BinaryView => long(array.as_binary_view().views()),
        _ => 0,
    };
    array.to_data().get_slice_memory_size().unwrap_or(0) + beside
}

impl Drop for BulkWriter {
    fn drop(&mut self) {
        give_back(&self.shared, &self.blocks, &self.tables);
    }
}

/// Lets go of what nobody has adopted.
fn give_back(shared: &Shared, blocks: &[(BlockId, u32)], tables: &[SsTableMeta]) {
    for block in blocks.iter().map(|(block, _)| *block).chain(tables.iter().map(|table| table.block)) {
        shared.store.cache.release(block);
    }
}
