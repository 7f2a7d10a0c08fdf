//! Fields into batches of a table's columns.
//!
//! A [`Loader`] fills a builder for each column that COPY names, a column at a time over the rows of a chunk, and gives
//! a batch of [`BATCH_ROWS`] to its sink whenever that many are there. The other columns get their defaults.

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, new_null_array};
use datafusion::arrow::compute::{CastOptions, cast_with_options, take};
use datafusion::arrow::datatypes::{Field, Schema, SchemaRef};
use datafusion::arrow::record_batch::{RecordBatch, RecordBatchOptions};
use datafusion::physical_expr::PhysicalExpr;
use strata_core::catalog::TableDef;
use strata_core::row::{Column, ColumnBuilder, arrow_type};

use super::convert::FieldReader;
use super::rows::{Cutter, Rows, shorten};
use crate::error::{SqlError, SqlResult};

/// Rows of a batch.
pub(crate) const BATCH_ROWS: usize = 8_192;
/// A batch ends early at so many bytes of fields.
const BATCH_BYTES: usize = 8 << 20;

/// An error of the engine, or one that is in SQL's words already.
#[derive(Debug)]
pub(crate) enum LoadError {
    /// Of the storage engine.
    Engine(strata_core::Error),
    /// Of the data.
    Sql(SqlError),
}

impl From<strata_core::Error> for LoadError {
    fn from(error: strata_core::Error) -> Self {
        Self::Engine(error)
    }
}

impl From<SqlError> for LoadError {
    fn from(error: SqlError) -> Self {
        Self::Sql(error)
    }
}

/// Where a column's values come from.
#[derive(Clone, Debug)]
pub(crate) enum Source {
    /// A field of each row: its place among the fields, and how it is read.
    Field(usize, FieldReader),
    /// One value for all rows, as an array of one.
    Constant(ArrayRef),
    /// An expression without columns, evaluated for each batch.
    Expression(Arc<dyn PhysicalExpr>),
}

/// How rows of fields become rows of a table.
#[derive(Clone, Debug)]
pub(crate) struct LoadPlan {
    /// The table as it is locked.
    pub(crate) table: Arc<TableDef>,
    /// A source for each live column, in order.
    pub(crate) sources: Vec<Source>,
}

impl LoadPlan {
    fn columns(&self) -> impl Iterator<Item = (&Column, &Source)> {
        self.table.schema.live().zip(&self.sources)
    }

    /// The Arrow schema of the batches.
    pub(crate) fn schema(&self) -> SchemaRef {
        let fields = self
            .table
            .schema
            .live()
            .map(|column| Field::new(&column.name, arrow_type(&column.column_type), true));
        Arc::new(Schema::new(fields.collect::<Vec<_>>()))
    }

    /// A batch of these fields' columns (in the order of the fields' places) and the defaults of the others.
    pub(crate) fn complete(
        &self,
        schema: &SchemaRef,
        fields: &[ArrayRef],
        rows: usize,
    ) -> SqlResult<RecordBatch> {
        let mut arrays = Vec::with_capacity(self.sources.len());
        for (column, source) in self.columns() {
            let array = match source {
                Source::Field(place, _) => {
                    fields.get(*place).cloned().ok_or_else(|| SqlError::internal("a column has no field"))?
                }
                Source::Constant(one) => repeat(one, rows)?,
                Source::Expression(expression) => evaluate(expression, rows, column)?,
            };
            if !column.nullable && array.null_count() > 0 {
                return Err(self.not_null(column));
            }
            arrays.push(array);
        }
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        RecordBatch::try_new_with_options(Arc::clone(schema), arrays, &options)
            .map_err(|error| SqlError::internal(error.to_string()))
    }

    fn not_null(&self, column: &Column) -> SqlError {
        let (name, table) = (&column.name, &self.table.name);
        let message =
            format!("null value in column \"{name}\" of relation \"{table}\" violates not-null constraint");
        SqlError::new("23502", message)
    }
}

/// An array of one value, so many times.
fn repeat(one: &ArrayRef, rows: usize) -> SqlResult<ArrayRef> {
    if one.null_count() == one.len() {
        return Ok(new_null_array(one.data_type(), rows));
    }
    let zeros = datafusion::arrow::array::UInt32Array::from(vec![0u32; rows]);
    take(one, &zeros, None).map_err(|error| SqlError::internal(error.to_string()))
}

/// An expression's value for each of so many rows, as the column holds it.
pub(crate) fn evaluate(
    expression: &Arc<dyn PhysicalExpr>,
    rows: usize,
    column: &Column,
) -> SqlResult<ArrayRef> {
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    let input = RecordBatch::try_new_with_options(Arc::new(Schema::empty()), Vec::new(), &options)
        .map_err(|error| SqlError::internal(error.to_string()))?;
    let array = expression.evaluate(&input)?.into_array(rows)?;
    let strict = CastOptions { safe: false, ..CastOptions::default() };
    let exact = cast_with_options(&array, &arrow_type(&column.column_type), &strict)
        .map_err(|error| SqlError::new("22000", error.to_string()))?;
    crate::sql::dml::values::fit_lengths(exact, column)
}

/// Turns rows of fields into batches.
pub(crate) struct Loader {
    plan: Arc<LoadPlan>,
    schema: SchemaRef,
    /// The sources that are fields, in the order of their places, and what they have so far.
    fields: Vec<(FieldReader, ColumnBuilder)>,
    rows: usize,
    bytes: usize,
    total: u64,
}

impl Loader {
    /// A loader by this plan.
    pub(crate) fn new(plan: Arc<LoadPlan>) -> Self {
        let mut fields: Vec<(usize, FieldReader)> = plan
            .sources
            .iter()
            .filter_map(|source| match source {
                Source::Field(place, reader) => Some((*place, reader.clone())),
                Source::Constant(_) | Source::Expression(_) => None,
            })
            .collect();
        fields.sort_by_key(|(place, _)| *place);
        let fields = fields.into_iter().map(|(_, reader)| {
            let builder = ColumnBuilder::new(&reader.column().column_type, BATCH_ROWS);
            (reader, builder)
        });
        let fields = fields.collect();
        Self { schema: plan.schema(), plan, fields, rows: 0, bytes: 0, total: 0 }
    }

    /// How many rows came so far.
    pub(crate) fn total(&self) -> u64 {
        self.total
    }

    /// Takes rows; gives full batches to `sink`.
    pub(crate) fn push<E: From<SqlError>>(
        &mut self,
        cutter: &Cutter,
        rows: &Rows,
        sink: &mut impl FnMut(RecordBatch) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut from = 0;
        while from < rows.len() {
            let until = rows.len().min(from + BATCH_ROWS - self.rows);
            self.convert(cutter, rows, from, until)?;
            self.rows += until - from;
            self.total += u64::try_from(until - from).unwrap_or(u64::MAX);
            from = until;
            if self.rows == BATCH_ROWS {
                self.flush(sink)?;
            }
        }
        self.bytes += cutter.bytes().len();
        if self.bytes >= BATCH_BYTES {
            self.flush(sink)?;
        }
        Ok(())
    }

    /// Gives the rest to `sink`.
    pub(crate) fn flush<E: From<SqlError>>(
        &mut self,
        sink: &mut impl FnMut(RecordBatch) -> Result<(), E>,
    ) -> Result<(), E> {
        self.bytes = 0;
        let rows = std::mem::take(&mut self.rows);
        if rows == 0 {
            return Ok(());
        }
        let arrays: Vec<ArrayRef> = self.fields.iter_mut().map(|(_, builder)| builder.finish()).collect();
        sink(self.plan.complete(&self.schema, &arrays, rows)?)
    }

    /// Reads the fields of some rows, a column at a time. The error is that of the first row that has one.
    fn convert(&mut self, cutter: &Cutter, rows: &Rows, from: usize, until: usize) -> SqlResult<()> {
        let mut first: Option<(usize, usize, SqlError)> = None;
        let mut end = until;
        for (place, (reader, builder)) in self.fields.iter_mut().enumerate() {
            let fields = (from..end).map(|row| rows.field(cutter.bytes(), row, place));
            if let Err(refused) = reader.push(builder, fields) {
                // Only an earlier row's error is of interest from here on.
                end = from + refused.taken;
                first = Some((end, place, *refused.error));
            }
        }
        match first {
            None => Ok(()),
            Some((row, place, error)) => Err(self.locate(error, cutter, rows, row, place)),
        }
    }

    fn locate(&self, error: SqlError, cutter: &Cutter, rows: &Rows, row: usize, place: usize) -> SqlError {
        let (table, line) = (&self.plan.table.name, rows.line(row));
        let Some((reader, _)) = self.fields.get(place) else { return error };
        let Some(field) = rows.field(cutter.bytes(), row, place) else {
            return self.plan.not_null(reader.column()).with_context(format!("COPY {table}, line {line}"));
        };
        let (column, shown) = (&reader.column().name, shorten(field));
        error.with_context(format!("COPY {table}, line {line}, column {column}: \"{shown}\""))
    }
}
