//! Changes to a private copy of the catalog. Each checks all that can be checked without reading rows, and either
//! takes effect whole or fails.

use std::sync::Arc;

use super::objects::{IndexColumn, IndexDef, Relation, SchemaDef, TableDef, ViewDef};
use super::{Catalog, DEFAULT_SCHEMA_NAME};
use crate::error::{Error, Result};
use crate::ids::{ColumnId, HeapId, IndexId, SchemaId, SchemaVersion, TableId};
use crate::row::{Column, ColumnType, Datum, Schema, SqlType};

/// A column to be made.
#[derive(Clone, Debug)]
pub struct NewColumn {
    /// Its name.
    pub name: String,
    /// How it is stored.
    pub column_type: ColumnType,
    /// What SQL calls its type.
    pub sql_type: SqlType,
    /// Whether NULL is allowed.
    pub nullable: bool,
    /// The SQL text of its default.
    pub default: Option<String>,
    /// What existing rows read as, for ADD COLUMN.
    pub missing: Datum,
}

/// An index to be made.
#[derive(Clone, Debug)]
pub struct NewIndex {
    /// Its name.
    pub name: String,
    /// Whether it is the primary key.
    pub primary: bool,
    /// Whether it is unique.
    pub unique: bool,
    /// Whether it belongs to a constraint.
    pub constraint: bool,
    /// Its columns.
    pub columns: Vec<IndexColumn>,
}

fn exists(kind: &'static str, name: &str) -> Error {
    Error::AlreadyExists { kind, name: name.to_owned() }
}

fn missing(kind: &'static str, name: &str) -> Error {
    Error::NotFound { kind, name: name.to_owned() }
}

impl Catalog {
    /// Makes a schema.
    pub fn create_schema(&mut self, name: &str) -> Result<SchemaId> {
        if self.schema(name).is_some() {
            return Err(exists("schema", name));
        }
        let id = SchemaId::new(self.next_object());
        self.schemas.insert(id, Arc::new(SchemaDef { id, name: name.to_owned() }));
        Ok(id)
    }

    /// Drops an empty schema. What is in it must have been dropped before.
    pub fn drop_schema(&mut self, name: &str) -> Result<()> {
        let id = self.schema(name).ok_or_else(|| missing("schema", name))?.id;
        if name == DEFAULT_SCHEMA_NAME {
            return Err(Error::Invalid(format!("schema \"{name}\" is required by the database")));
        }
        if self.relations.values().any(|relation| relation.schema_id() == id) {
            return Err(Error::Invalid(format!("schema \"{name}\" is not empty")));
        }
        self.schemas.remove(&id);
        Ok(())
    }

    /// Makes a table without indexes.
    pub fn create_table(&mut self, schema: &str, name: &str, columns: Vec<NewColumn>) -> Result<TableId> {
        let schema_id = self.free_name(schema, name)?;
        for (place, column) in columns.iter().enumerate() {
            if columns.iter().take(place).any(|other| other.name == column.name) {
                return Err(exists("column", &column.name));
            }
        }
        let id = TableId::new(self.next_object());
        let columns = columns.into_iter().enumerate().map(|(place, column)| column.at(place)).collect();
        let table = TableDef {
            id,
            schema_id,
            name: name.to_owned(),
            heap: self.next_heap(),
            schema: Schema::new(SchemaVersion::new(1), columns),
            indexes: Vec::new(),
        };
        self.put(Relation::Table(Arc::new(table)));
        Ok(id)
    }

    /// Makes a view.
    pub fn create_view(
        &mut self,
        schema: &str,
        name: &str,
        query: &str,
        column_names: Vec<String>,
    ) -> Result<TableId> {
        let schema_id = self.free_name(schema, name)?;
        let id = TableId::new(self.next_object());
        let view = ViewDef { id, schema_id, name: name.to_owned(), query: query.to_owned(), column_names };
        self.put(Relation::View(Arc::new(view)));
        Ok(id)
    }

    /// Drops a table with its indexes, or a view.
    pub fn drop_relation(&mut self, id: TableId) -> Result<()> {
        let relation = self.relations.remove(&id).ok_or_else(|| missing("relation", &id.to_string()))?;
        self.names.remove(&(relation.schema_id(), relation.name().to_owned()));
        Ok(())
    }

    /// Renames a relation.
    pub fn rename_relation(&mut self, id: TableId, name: &str) -> Result<()> {
        let relation = self.relations.get(&id).ok_or_else(|| missing("relation", &id.to_string()))?.clone();
        let schema = self.schema_by_id(relation.schema_id()).map(|schema| schema.name.clone());
        self.free_name(&schema.unwrap_or_default(), name)?;
        self.drop_relation(id)?;
        self.put(match relation {
            Relation::Table(table) => {
                Relation::Table(Arc::new(TableDef { name: name.to_owned(), ..(*table).clone() }))
            }
            Relation::View(view) => {
                Relation::View(Arc::new(ViewDef { name: name.to_owned(), ..(*view).clone() }))
            }
        });
        Ok(())
    }

    /// Adds an index. Its entries are the caller's to make.
    pub fn create_index(&mut self, table: TableId, index: NewIndex) -> Result<IndexId> {
        let mut def = (**self.table(table)?).clone();
        if self.index_name_taken(def.schema_id, &index.name) {
            return Err(exists("relation", &index.name));
        }
        if index.primary && def.primary_key().is_some() {
            let message = format!("multiple primary keys for table \"{}\" are not allowed", def.name);
            return Err(Error::Invalid(message));
        }
        if index.columns.is_empty() {
            return Err(Error::Invalid("an index needs at least one column".into()));
        }
        for column in &index.columns {
            match def.schema.column(column.column) {
                Some(found) if matches!(found.column_type, ColumnType::Array(_)) => {
                    let message = format!("column \"{}\" of an array type cannot be indexed", found.name);
                    return Err(Error::Unsupported(message));
                }
                Some(found) if !found.dropped => {}
                _ => return Err(missing("column", &column.column.to_string())),
            }
        }
        if index.primary {
            let keyed = |id: ColumnId| index.columns.iter().any(|column| column.column == id);
            let columns = def
                .schema
                .columns
                .iter()
                .map(|column| Column { nullable: column.nullable && !keyed(column.id), ..column.clone() });
            def.schema = Schema::new(def.schema.version, columns.collect());
        }
        let id = self.next_index();
        let made = IndexDef {
            id,
            name: index.name,
            primary: index.primary,
            unique: index.unique || index.primary,
            constraint: index.constraint || index.primary,
            columns: index.columns,
        };
        def.indexes.insert(if made.primary { 0 } else { def.indexes.len() }, made);
        self.put(Relation::Table(Arc::new(def)));
        Ok(id)
    }

    /// Drops an index.
    pub fn drop_index(&mut self, table: TableId, index: IndexId) -> Result<()> {
        let mut def = (**self.table(table)?).clone();
        def.indexes.retain(|other| other.id != index);
        self.put(Relation::Table(Arc::new(def)));
        Ok(())
    }

    /// The table and index of this index name.
    pub fn find_index(&self, schema: &str, name: &str) -> Option<(TableId, IndexId)> {
        let schema = self.schema(schema)?.id;
        self.tables().filter(|table| table.schema_id == schema).find_map(|table| {
            let index = table.indexes.iter().find(|index| index.name == name)?;
            Some((table.id, index.id))
        })
    }

    /// Adds a column behind the others.
    pub fn add_column(&mut self, table: TableId, column: NewColumn) -> Result<ColumnId> {
        let (mut def, mut columns) = self.columns_of(table)?;
        if def.schema.by_name(&column.name).is_some() {
            return Err(exists("column", &column.name));
        }
        if columns.len() >= usize::from(u16::MAX) {
            return Err(Error::Invalid("a table has at most 65,534 columns in its life".into()));
        }
        let made = column.at(columns.len());
        let id = made.id;
        columns.push(made);
        def.schema = Schema::new(SchemaVersion::new(def.schema.version.get() + 1), columns);
        self.put(Relation::Table(Arc::new(def)));
        Ok(id)
    }

    /// Drops a column, with the indexes that it is part of.
    pub fn drop_column(&mut self, table: TableId, column: ColumnId) -> Result<()> {
        let (mut def, mut columns) = self.columns_of(table)?;
        let place = column.get() as usize;
        let dropped = columns.get_mut(place).ok_or_else(|| missing("column", &column.to_string()))?;
        dropped.dropped = true;
        dropped.nullable = true;
        dropped.default = None;
        def.indexes.retain(|index| index.columns.iter().all(|key| key.column != column));
        def.schema = Schema::new(SchemaVersion::new(def.schema.version.get() + 1), columns);
        self.put(Relation::Table(Arc::new(def)));
        Ok(())
    }

    /// Changes a column's name, nullability or default.
    pub fn alter_column(
        &mut self,
        table: TableId,
        column: ColumnId,
        change: impl FnOnce(&mut Column),
    ) -> Result<()> {
        let (mut def, mut columns) = self.columns_of(table)?;
        let place = column.get() as usize;
        let altered = columns.get_mut(place).ok_or_else(|| missing("column", &column.to_string()))?;
        change(altered);
        let name = altered.name.clone();
        if columns.iter().filter(|other| !other.dropped && other.name == name).count() > 1 {
            return Err(exists("column", &name));
        }
        def.schema = Schema::new(SchemaVersion::new(def.schema.version.get() + 1), columns);
        self.put(Relation::Table(Arc::new(def)));
        Ok(())
    }

    /// Gives a table a new, empty heap and new indexes: TRUNCATE.
    pub fn truncate(&mut self, table: TableId) -> Result<()> {
        let mut def = (**self.table(table)?).clone();
        def.heap = self.next_heap();
        for index in &mut def.indexes {
            index.id = self.next_index();
        }
        self.put(Relation::Table(Arc::new(def)));
        Ok(())
    }

    fn columns_of(&self, table: TableId) -> Result<(TableDef, Vec<Column>)> {
        let def = (**self.table(table)?).clone();
        let columns = def.schema.columns.to_vec();
        Ok((def, columns))
    }

    pub(super) fn put(&mut self, relation: Relation) {
        self.names.insert((relation.schema_id(), relation.name().to_owned()), relation.id());
        self.relations.insert(relation.id(), relation);
    }

    /// The schema's id, if no relation or index in it has this name.
    fn free_name(&self, schema: &str, name: &str) -> Result<SchemaId> {
        let id = self.schema(schema).ok_or_else(|| missing("schema", schema))?.id;
        if self.index_name_taken(id, name) {
            return Err(exists("relation", name));
        }
        Ok(id)
    }

    fn index_name_taken(&self, schema: SchemaId, name: &str) -> bool {
        self.names.contains_key(&(schema, name.to_owned()))
            || self
                .tables()
                .filter(|table| table.schema_id == schema)
                .any(|table| table.indexes.iter().any(|index| index.name == name))
    }

    fn next_object(&mut self) -> u32 {
        self.counters.object += 1;
        self.counters.object - 1
    }

    fn next_heap(&mut self) -> HeapId {
        self.counters.heap += 1;
        HeapId::new(self.counters.heap - 1)
    }

    fn next_index(&mut self) -> IndexId {
        self.counters.index += 1;
        IndexId::new(self.counters.index - 1)
    }
}

impl NewColumn {
    /// A column that may be NULL, with no default.
    pub fn new(name: impl Into<String>, column_type: ColumnType) -> Self {
        let (sql_type, missing) = (SqlType::default(), Datum::Null);
        Self { name: name.into(), column_type, sql_type, nullable: true, default: None, missing }
    }

    /// The same, never NULL.
    #[must_use]
    pub fn not_null(self) -> Self {
        Self { nullable: false, ..self }
    }

    fn at(self, place: usize) -> Column {
        Column {
            id: ColumnId::new(u32::try_from(place).expect("columns are bounded below 65,535")),
            name: self.name,
            column_type: self.column_type,
            sql_type: self.sql_type,
            nullable: self.nullable,
            default: self.default,
            missing: self.missing,
            dropped: false,
        }
    }
}
