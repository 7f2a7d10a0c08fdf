//! What passes between a [`Session`](super::Session) and the wire.

use std::sync::Arc;

use bytes::Bytes;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::arrow::record_batch::RecordBatch;
use futures::stream::BoxStream;

use crate::error::SqlError;
pub use crate::postgres::wire::PointRows;

/// Where a connection stands, as ReadyForQuery tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TransactionStatus {
    /// No transaction block.
    Idle,
    /// In a transaction block.
    InTransaction,
    /// In a transaction block that failed: only ROLLBACK is accepted.
    Failed,
}

/// A result column, as RowDescription tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResultField {
    /// The column's name.
    pub name: String,
    /// The Postgres type.
    pub type_oid: u32,
    /// Its size in bytes, negative for variable.
    pub type_size: i16,
    /// Its modifier, -1 for none.
    pub type_modifier: i32,
    /// The table it comes from, 0 for none.
    pub table_oid: u32,
    /// Its column number there, 0 for none.
    pub column_number: i16,
}

/// Rows on their way to a client.
pub struct RowStream {
    /// The columns, in order.
    pub fields: Arc<[ResultField]>,
    /// The batches' Arrow schema.
    pub schema: SchemaRef,
    /// The batches; ends early with an error.
    pub batches: BoxStream<'static, Result<RecordBatch, SqlError>>,
    /// What the command tag says.
    pub tag: RowsTag,
    /// The zone that timestamps are shown in.
    pub time_zone: Arc<str>,
}

/// The command tag that follows rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RowsTag {
    /// `SELECT n`, n counted by whoever sends the rows.
    Select,
    /// A tag that is known already: `INSERT 0 3` of an INSERT … RETURNING, `EXPLAIN`, `SHOW`.
    Fixed(String),
}

/// How COPY data is framed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CopyFormat {
    /// Tab-separated text or CSV: format code 0.
    Text,
    /// Binary or Parquet bytes: format code 1.
    Binary,
}

/// COPY … TO STDOUT.
pub struct CopyOut {
    /// The overall format code.
    pub format: CopyFormat,
    /// How many columns.
    pub columns: usize,
    /// The bytes, cut at row ends for text.
    pub data: BoxStream<'static, Result<Bytes, SqlError>>,
    /// Set once the stream has ended: how many rows it held.
    pub rows: Arc<std::sync::atomic::AtomicU64>,
}

/// What a statement came to.
pub enum Outcome {
    /// An empty query string.
    Empty,
    /// Done; the command tag.
    Command(String),
    /// Rows follow.
    Rows(RowStream),
    /// A few rows, all there.
    Point(PointRows),
    /// COPY … FROM STDIN: call `Session::copy_in` for each chunk, then `finish_copy` or `abort_copy`.
    CopyIn {
        /// The overall format code.
        format: CopyFormat,
        /// How many columns.
        columns: usize,
    },
    /// COPY … TO STDOUT.
    CopyOut(CopyOut),
}

impl Outcome {
    /// With rows as a stream, however they came.
    pub fn streamed(self) -> Result<Self, SqlError> {
        Ok(match self {
            Self::Point(rows) => Self::Rows(rows.into_stream()?),
            other => other,
        })
    }
}

/// A parameter as Bind brings it.
#[derive(Clone, Debug)]
pub struct Parameter<'a> {
    /// Whether the bytes are in binary format.
    pub binary: bool,
    /// The value; `None` for NULL.
    pub value: Option<&'a [u8]>,
}
