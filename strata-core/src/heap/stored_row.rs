//! One row version, held where it stands.

use std::cell::OnceCell;
use std::sync::Arc;

use super::column::{ColumnBlock, StripRow};
use super::hot::PinnedPage;
use crate::error::{Error, Result};
use crate::ids::ColumnId;
use crate::row::{Datum, RowView, Schema};

/// A row version. It stays readable for as long as this is held.
pub struct StoredRow(Place);

enum Place {
    Hot { page: PinnedPage, index: u32 },
    Column { block: Arc<ColumnBlock>, slot: u16, strip: OnceCell<Option<StripRow>> },
}

impl StoredRow {
    pub(super) fn hot(page: PinnedPage, index: u32) -> Self {
        Self(Place::Hot { page, index })
    }

    pub(super) fn column(block: Arc<ColumnBlock>, slot: u16) -> Self {
        Self(Place::Column { block, slot, strip: OnceCell::new() })
    }

    /// The row's bytes in the row codec; `None` for a frozen row.
    pub fn bytes(&self) -> Option<&[u8]> {
        match &self.0 {
            Place::Hot { page, index } => page.row(*index),
            Place::Column { .. } => None,
        }
    }

    /// The row's value of a column of `schema`.
    ///
    /// # Errors
    /// Those of the block store; `Corrupt`; `Invalid` where the schema has no such column.
    pub fn datum(&self, schema: &Schema, column: ColumnId) -> Result<Datum> {
        match &self.0 {
            Place::Hot { page, index } => RowView::new(hot_bytes(page, *index)?, schema)?.datum(column),
            Place::Column { block, slot, strip } => {
                let column = schema.column(column).ok_or_else(|| unknown(column))?;
                match strip.get() {
                    Some(Some(row)) => row.datum(block, column),
                    _ if column.dropped => Ok(Datum::Null),
                    _ => block.get(column, *slot),
                }
            }
        }
    }

    /// Tells that the row is looked up whole: its values come from its strip then, where there is one.
    pub fn look_up(&self) {
        if let Place::Column { block, slot, strip } = &self.0 {
            strip.get_or_init(|| block.strip_row(*slot));
        }
    }

    /// All values, one for each column of `schema`; those of dropped columns are of no meaning.
    ///
    /// # Errors
    /// As [`datum`](Self::datum).
    pub fn to_datums(&self, schema: &Schema) -> Result<Vec<Datum>> {
        match &self.0 {
            Place::Hot { page, index } => RowView::new(hot_bytes(page, *index)?, schema)?.to_datums(),
            Place::Column { block, slot, strip } => {
                if let Some(row) = strip.get_or_init(|| block.strip_row(*slot)) {
                    return row.datums(block, schema);
                }
                let mut values = Vec::with_capacity(schema.columns.len());
                for column in schema.columns.iter() {
                    values.push(if column.dropped { Datum::Null } else { block.get(column, *slot)? });
                }
                Ok(values)
            }
        }
    }
}

fn hot_bytes(page: &PinnedPage, index: u32) -> Result<&[u8]> {
    page.row(index).ok_or_else(|| Error::Invalid(format!("row {index} is not in its page")))
}

pub(super) fn unknown(column: ColumnId) -> Error {
    Error::Invalid(format!("the table has no column {column}"))
}
