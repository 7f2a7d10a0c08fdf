//! The catalog: what schemas, tables, indexes and views there are.
//!
//! It is data like any other: rows of system tables ([`system`]), in the same heaps, with fixed heap ids and
//! compiled-in schemas, so DDL is transactional and recovery needs nothing special. In memory it is an immutable
//! [`Catalog`] for each commit that changed it ([`store`]). A transaction with DDL changes a private copy
//! ([`change`]); its commit writes the rows that differ and publishes the copy at its timestamp.
//!
//! DDL transactions take turns (`Resource::Catalog`), so a private copy always builds on the newest one.

pub mod change;
mod objects;
mod store;
pub mod system;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;

pub use objects::{IndexColumn, IndexDef, Relation, SchemaDef, TableDef, ViewDef};
pub use store::{CatalogRows, CatalogStore, read_catalog, read_system_table};

use crate::error::{Error, Result};
use crate::ids::{SchemaId, TableId};

/// The one database there is.
pub const DATABASE_NAME: &str = "strata";
/// The schema that unqualified names are made in.
pub const DEFAULT_SCHEMA_NAME: &str = "public";
const DEFAULT_SCHEMA_ID: SchemaId = SchemaId::new(1);
/// Ids below this are the engine's own.
pub const FIRST_USER_ID: u32 = 16_384;

/// The next ids to hand out; they only grow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counters {
    /// Of schemas and relations.
    pub object: u32,
    /// Of heaps.
    pub heap: u32,
    /// Of indexes.
    pub index: u32,
}

/// The catalog as one commit left it. Cheap to clone and to change: objects are shared.
#[derive(Clone, Debug, PartialEq)]
pub struct Catalog {
    schemas: BTreeMap<SchemaId, Arc<SchemaDef>>,
    relations: BTreeMap<TableId, Relation>,
    names: BTreeMap<(SchemaId, String), TableId>,
    counters: Counters,
}

impl Default for Catalog {
    fn default() -> Self {
        let schema = SchemaDef { id: DEFAULT_SCHEMA_ID, name: DEFAULT_SCHEMA_NAME.to_owned() };
        Self {
            schemas: [(schema.id, Arc::new(schema))].into(),
            relations: BTreeMap::new(),
            names: BTreeMap::new(),
            counters: Counters { object: FIRST_USER_ID, heap: FIRST_USER_ID, index: FIRST_USER_ID },
        }
    }
}

impl Catalog {
    /// The schemas, by id.
    pub fn schemas(&self) -> impl Iterator<Item = &Arc<SchemaDef>> {
        self.schemas.values()
    }

    /// The schema of this name.
    pub fn schema(&self, name: &str) -> Option<&Arc<SchemaDef>> {
        self.schemas.values().find(|schema| schema.name == name)
    }

    /// The schema of this id.
    pub fn schema_by_id(&self, id: SchemaId) -> Option<&Arc<SchemaDef>> {
        self.schemas.get(&id)
    }

    /// All relations, by id.
    pub fn relations(&self) -> impl Iterator<Item = &Relation> {
        self.relations.values()
    }

    /// All tables, by id.
    pub fn tables(&self) -> impl Iterator<Item = &Arc<TableDef>> {
        self.relations.values().filter_map(|relation| match relation {
            Relation::Table(table) => Some(table),
            Relation::View(_) => None,
        })
    }

    /// The relation of this name.
    pub fn relation(&self, schema: &str, name: &str) -> Option<&Relation> {
        let schema = self.schema(schema)?.id;
        self.relations.get(self.names.get(&(schema, name.to_owned()))?)
    }

    /// The relation of this id.
    pub fn relation_by_id(&self, id: TableId) -> Option<&Relation> {
        self.relations.get(&id)
    }

    /// The table of this id.
    ///
    /// # Errors
    /// `NotFound`.
    pub fn table(&self, id: TableId) -> Result<&Arc<TableDef>> {
        match self.relations.get(&id) {
            Some(Relation::Table(table)) => Ok(table),
            _ => Err(Error::NotFound { kind: "table", name: format!("#{id}") }),
        }
    }

    /// The table of this name.
    ///
    /// # Errors
    /// `NotFound`; `Invalid` where it is a view.
    pub fn table_by_name(&self, schema: &str, name: &str) -> Result<&Arc<TableDef>> {
        match self.relation(schema, name) {
            Some(Relation::Table(table)) => Ok(table),
            Some(Relation::View(_)) => Err(Error::Invalid(format!("\"{name}\" is a view, not a table"))),
            None => Err(Error::NotFound { kind: "table", name: name.to_owned() }),
        }
    }

    /// The next ids.
    pub fn counters(&self) -> Counters {
        self.counters
    }
}
