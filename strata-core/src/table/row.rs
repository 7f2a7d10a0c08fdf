//! One row, wherever it is.

use std::sync::Arc;

use crate::error::Result;
use crate::heap::StoredRow;
use crate::ids::ColumnId;
use crate::row::{Datum, RowView, Schema};

/// A row of the heap, or of a write set. Holds where it stands in memory, uncharged if the cache lets go of that: not to be kept.
pub enum TableRow {
    /// Written by the transaction itself.
    Own(Arc<[u8]>),
    /// In the heap.
    Stored(StoredRow),
}

impl TableRow {
    /// The value of one column.
    pub fn datum(&self, schema: &Schema, column: ColumnId) -> Result<Datum> {
        match self {
            Self::Own(bytes) => RowView::new(bytes, schema)?.datum(column),
            Self::Stored(row) => row.datum(schema, column),
        }
    }

    /// The values of all columns, dropped ones too, in the order of their ids.
    pub fn to_datums(&self, schema: &Schema) -> Result<Vec<Datum>> {
        match self {
            Self::Own(bytes) => RowView::new(bytes, schema)?.to_datums(),
            Self::Stored(row) => row.to_datums(schema),
        }
    }
}
