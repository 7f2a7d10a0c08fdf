//! Chunks of text or CSV into batches.

use std::sync::Arc;

use datafusion::arrow::record_batch::RecordBatch;

use super::format::TextFormat;
use super::load::{LoadPlan, Loader};
use super::rows::{Cutter, FieldColumn, Rows};
use crate::error::{SqlError, SqlResult};

/// Reads chunks that are cut anywhere.
pub(crate) struct TextReader {
    cutter: Cutter,
    rows: Rows,
    loader: Loader,
}

impl TextReader {
    /// A reader of data with these columns.
    pub(crate) fn new(format: TextFormat, columns: Vec<FieldColumn>, plan: Arc<LoadPlan>) -> Self {
        let cutter = Cutter::new(format, plan.table.name.clone(), columns);
        Self { cutter, rows: Rows::default(), loader: Loader::new(plan) }
    }

    /// How many rows were read.
    pub(crate) fn total(&self) -> u64 {
        self.loader.total()
    }

    /// Takes a chunk; `sink` gets the batches that are full.
    pub(crate) fn push<E: From<SqlError>>(
        &mut self,
        chunk: &[u8],
        sink: &mut impl FnMut(RecordBatch) -> Result<(), E>,
    ) -> Result<(), E> {
        self.cutter.push(chunk)?;
        self.read(false, sink)
    }

    /// Ends the data; `sink` gets what is left.
    pub(crate) fn finish<E: From<SqlError>>(
        &mut self,
        sink: &mut impl FnMut(RecordBatch) -> Result<(), E>,
    ) -> Result<(), E> {
        self.read(true, sink)?;
        self.loader.flush(sink)
    }

    fn read<E: From<SqlError>>(
        &mut self,
        last: bool,
        sink: &mut impl FnMut(RecordBatch) -> Result<(), E>,
    ) -> Result<(), E> {
        let cut: SqlResult<()> = self.cutter.cut(&mut self.rows, last);
        // The rows before the one that cannot be cut come first, and so do their errors.
        self.loader.push(&self.cutter, &self.rows, sink)?;
        cut?;
        self.cutter.release();
        Ok(())
    }
}
