//! The columns of a table.
//!
//! Column ids are dense from 0 and never reused, and a column's type never changes. A dropped column keeps its
//! place and its type, since older rows still hold it; rows written from then on hold NULL there. So the layout of
//! a stored row follows from how many columns it has, and no schema version need be looked up to read it. A
//! column that a row is too old to have reads as its [`missing`](Column::missing) value.

use std::sync::Arc;

use super::layout::RowLayout;
use super::types::{ColumnType, Datum, SqlType};
use crate::error::{Error, Result};
use crate::ids::{ColumnId, SchemaVersion};

/// One column.
#[derive(Clone, Debug, PartialEq)]
pub struct Column {
    /// Its place in `Schema::columns`.
    pub id: ColumnId,
    /// Its name; unique among the live columns.
    pub name: String,
    /// How it is stored.
    pub column_type: ColumnType,
    /// What SQL calls its type.
    pub sql_type: SqlType,
    /// Whether NULL is allowed.
    pub nullable: bool,
    /// The SQL text of its default expression.
    pub default: Option<String>,
    /// What rows older than the column read as.
    pub missing: Datum,
    /// Whether it has been dropped.
    pub dropped: bool,
}

/// The columns of a table at one schema version, dropped ones included, in the order of their ids.
#[derive(Clone, Debug, PartialEq)]
pub struct Schema {
    /// Grows by one with each ALTER.
    pub version: SchemaVersion,
    /// All columns ever, `columns[i].id == i`.
    pub columns: Arc<[Column]>,
    layout: Arc<RowLayout>,
}

impl Schema {
    /// A schema of these columns, which must be in the order of their ids.
    pub fn new(version: SchemaVersion, columns: Vec<Column>) -> Self {
        debug_assert!(columns.iter().enumerate().all(|(place, column)| column.id.get() as usize == place));
        let layout = RowLayout::of(columns.iter().map(|column| &column.column_type));
        Self { version, columns: columns.into(), layout: layout.into() }
    }

    /// Where the columns stand in a stored row.
    pub fn layout(&self) -> &RowLayout {
        &self.layout
    }

    /// The columns that have not been dropped, in order.
    pub fn live(&self) -> impl Iterator<Item = &Column> {
        self.columns.iter().filter(|column| !column.dropped)
    }

    /// The live column of this name.
    pub fn by_name(&self, name: &str) -> Option<&Column> {
        self.live().find(|column| column.name == name)
    }

    /// The column of this id, dropped or not.
    pub fn column(&self, id: ColumnId) -> Option<&Column> {
        self.columns.get(id.get() as usize)
    }

    /// Checks that no live NOT NULL column is given NULL.
    ///
    /// # Errors
    /// `NotNull`, naming the first such column.
    pub fn check_not_null(&self, values: &[Datum]) -> Result<()> {
        let violated =
            |(column, value): &(&Column, &Datum)| !column.nullable && !column.dropped && value.is_null();
        match self.columns.iter().zip(values).find(violated) {
            Some((column, _)) => Err(Error::NotNull { column: column.name.clone() }),
            None => Ok(()),
        }
    }
}
