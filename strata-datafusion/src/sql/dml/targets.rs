//! The rows that an UPDATE or DELETE has found, a piece at a time.

use std::collections::BTreeMap;
use std::sync::Arc;

use datafusion::arrow::array::AsArray;
use datafusion::arrow::datatypes::UInt64Type;
use datafusion::arrow::record_batch::RecordBatch;
use futures::StreamExt;
use futures::stream::{BoxStream, Fuse};
use strata_core::catalog::TableDef;
use strata_core::ids::{ColumnId, RowId};
use strata_core::memory::{MemoryPool, Reservation};
use strata_core::row::Datum;

use super::values::datums;
use crate::error::{SqlError, SqlResult};

/// A piece is no more than this part of memory, where pieces are wanted.
const POOL_PART: usize = 64;
/// Rows of a small table are one piece in any case, so that they are locked in order.
const PIECE_BYTES_MIN: usize = 1 << 20;
/// What an entry costs beside its values, about.
const ENTRY_BYTES: usize = 64;

/// Rows in order, with the new values of each.
pub(super) struct Found {
    pub rows: BTreeMap<RowId, Vec<Datum>>,
    /// What they take of the database's memory.
    memory: Reservation,
}

/// The result of a target query: RowIds with the new values of the columns that are set.
pub(super) struct Targets {
    batches: Fuse<BoxStream<'static, SqlResult<RecordBatch>>>,
    table: Arc<TableDef>,
    columns: Vec<ColumnId>,
    pool: MemoryPool,
    piece_bytes: usize,
}

impl Found {
    fn new(pool: &MemoryPool) -> Self {
        Self { rows: BTreeMap::new(), memory: pool.empty("rows to be changed") }
    }

    /// A target joined twice is updated once, as in Postgres: the first one wins.
    fn add(&mut self, row: RowId, values: Vec<Datum>) -> SqlResult<()> {
        self.memory.grow(ENTRY_BYTES + bytes_of(&values))?;
        self.rows.entry(row).or_insert(values);
        Ok(())
    }
}

/// About how many bytes of memory values take.
pub(super) fn bytes_of(values: &[Datum]) -> usize {
    values.iter().map(Datum::approximate_bytes).sum()
}

impl Targets {
    /// The result of a query, all in one piece.
    pub(super) fn new(
        batches: BoxStream<'static, SqlResult<RecordBatch>>,
        table: &Arc<TableDef>,
        columns: Option<&[ColumnId]>,
        pool: &MemoryPool,
    ) -> Self {
        let columns = columns.unwrap_or_default().to_vec();
        Self {
            batches: batches.fuse(),
            table: table.clone(),
            columns,
            pool: pool.clone(),
            piece_bytes: usize::MAX,
        }
    }

    /// In pieces that are a small part of memory. For a query that names no row twice.
    pub(super) fn in_pieces(self) -> Self {
        Self { piece_bytes: (self.pool.cap() / POOL_PART).max(PIECE_BYTES_MIN), ..self }
    }

    /// The next piece; `None` when there is no more.
    ///
    /// # Errors
    /// Those of the query; 53200 where a piece does not fit into memory.
    pub(super) async fn next(&mut self) -> SqlResult<Option<Found>> {
        let mut found = Found::new(&self.pool);
        while found.memory.bytes() < self.piece_bytes
            && let Some(batch) = self.batches.next().await
        {
            self.add_batch(&batch?, &mut found)?;
        }
        Ok((!found.rows.is_empty()).then_some(found))
    }

    fn add_batch(&self, batch: &RecordBatch, found: &mut Found) -> SqlResult<()> {
        let rows = batch
            .columns()
            .first()
            .and_then(|array| array.as_primitive_opt::<UInt64Type>())
            .ok_or_else(|| SqlError::internal("the target query gives no RowIds"))?;
        let mut values = Vec::new();
        for (id, array) in self.columns.iter().zip(&batch.columns()[1..]) {
            let column = self
                .table
                .schema
                .column(*id)
                .ok_or_else(|| SqlError::internal("a column vanished from its table"))?;
            values.push(datums(array, column)?);
        }
        for place in 0..rows.len() {
            let values = values.iter().map(|column| column[place].clone()).collect();
            found.add(RowId::new(rows.value(place)), values)?;
        }
        Ok(())
    }
}
