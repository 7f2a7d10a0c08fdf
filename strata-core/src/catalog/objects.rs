//! What the catalog describes: schemas, tables, indexes, views.

use std::sync::Arc;

use crate::ids::{ColumnId, HeapId, IndexId, SchemaId, TableId};
use crate::row::{ColumnType, KeyOrder, Schema};

/// A schema (namespace).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SchemaDef {
    /// Its id.
    pub id: SchemaId,
    /// Its name, unique in the database.
    pub name: String,
}

/// A column of an index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IndexColumn {
    /// The table's column.
    pub column: ColumnId,
    /// How its values sort.
    pub order: KeyOrder,
}

/// An index: primary, unique or neither, all one structure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IndexDef {
    /// Its id.
    pub id: IndexId,
    /// Its name, unique in the schema.
    pub name: String,
    /// Whether it is the primary key.
    pub primary: bool,
    /// Whether two live rows may not share a key without NULLs.
    pub unique: bool,
    /// Whether it was made by a UNIQUE constraint (or PRIMARY KEY) rather than CREATE INDEX.
    pub constraint: bool,
    /// Its columns, in order.
    pub columns: Vec<IndexColumn>,
}

/// A table.
#[derive(Clone, Debug, PartialEq)]
pub struct TableDef {
    /// Its id.
    pub id: TableId,
    /// The schema it is in.
    pub schema_id: SchemaId,
    /// Its name, unique among the relations of the schema.
    pub name: String,
    /// The heap with its rows; TRUNCATE gives another.
    pub heap: HeapId,
    /// Its columns.
    pub schema: Schema,
    /// Its indexes, the primary key first.
    pub indexes: Vec<IndexDef>,
}

impl TableDef {
    /// The primary key's index.
    pub fn primary_key(&self) -> Option<&IndexDef> {
        self.indexes.iter().find(|index| index.primary)
    }

    /// The index of this id.
    pub fn index(&self, id: IndexId) -> Option<&IndexDef> {
        self.indexes.iter().find(|index| index.id == id)
    }

    /// The types and orders of an index's columns.
    pub fn index_types<'a>(
        &'a self,
        index: &'a IndexDef,
    ) -> impl Iterator<Item = (&'a ColumnType, KeyOrder)> + 'a {
        index
            .columns
            .iter()
            .filter_map(|column| Some((&self.schema.column(column.column)?.column_type, column.order)))
    }
}

/// A view: a name for a query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ViewDef {
    /// Its id, from the same numbers as tables'.
    pub id: TableId,
    /// The schema it is in.
    pub schema_id: SchemaId,
    /// Its name, unique among the relations of the schema.
    pub name: String,
    /// The query's text.
    pub query: String,
    /// The names given to its columns; empty for the query's own.
    pub column_names: Vec<String>,
}

/// A relation of the catalog.
#[derive(Clone, Debug, PartialEq)]
pub enum Relation {
    /// A table.
    Table(Arc<TableDef>),
    /// A view.
    View(Arc<ViewDef>),
}

impl Relation {
    /// Its id.
    pub fn id(&self) -> TableId {
        match self {
            Self::Table(table) => table.id,
            Self::View(view) => view.id,
        }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        match self {
            Self::Table(table) => &table.name,
            Self::View(view) => &view.name,
        }
    }

    /// The schema it is in.
    pub fn schema_id(&self) -> SchemaId {
        match self {
            Self::Table(table) => table.schema_id,
            Self::View(view) => view.schema_id,
        }
    }
}
