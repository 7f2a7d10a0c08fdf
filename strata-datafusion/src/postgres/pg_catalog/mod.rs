//! The system catalogs: what clients ask to learn what there is.
//!
//! `relations.tsv` lists the relations of PostgreSQL 15's `pg_catalog` and `information_schema` with their columns:
//! schema, name, OID, relkind, and columns as `name:type OID`, with `!` where NULL is not allowed. Types that do not
//! exist here are given as the nearest that does. Rows are made from the statement's [`Catalog`] when the relation is
//! scanned; a relation without a maker of rows is empty, as it would be in a database that does not use the feature.
//!
//! | object | OID |
//! |---|---|
//! | relations and schemas made by users | their id (16384 and up, one sequence) |
//! | `pg_catalog`, `public`, `information_schema` | 11, 2200, 13000 |
//! | system tables; system views | as in PostgreSQL; 12001 to 12999 |
//! | an index | 2^30 + its id |
//! | the constraint that an index enforces | 2^30 + 2^28 + the index's id |
//! | a column's default | 2^30 + 2^29 + (table's id * 2048 + attnum) mod 2^29 |
//! | a role: the one there is | 10 |

pub(crate) mod definition;
pub(crate) mod functions;
mod naming;
mod objects;
mod relation;
mod rows;
mod server;
mod statistics;
mod types;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;

use datafusion::arrow::datatypes::SchemaRef;
use datafusion::datasource::provider_as_source;
use datafusion::logical_expr::TableSource;
use strata_core::catalog::{Catalog, IndexDef, Relation, ViewDef};
use strata_core::ids::{ColumnId, IndexId, SchemaId, TableId};

pub(crate) use naming::{is_always_empty, is_system_relation};
pub(crate) use relation::{Maker, Scan, SystemRelation, system_relations};
pub(crate) use rows::{Rows, Value};

use crate::postgres::types::PgType;

/// The schema with the system catalogs.
pub(crate) const PG_CATALOG: &str = "pg_catalog";
/// The schema with the SQL standard's views.
pub(crate) const INFORMATION_SCHEMA: &str = "information_schema";
/// The role that owns everything.
pub(crate) const OWNER: &str = "strata";

/// OIDs of objects that nobody made.
pub(crate) mod fixed {
    pub(crate) const PG_CATALOG: i64 = 11;
    pub(crate) const PUBLIC: i64 = 2200;
    pub(crate) const INFORMATION_SCHEMA: i64 = 13_000;
    pub(crate) const DATABASE: i64 = 5;
    pub(crate) const OWNER: i64 = 10;
    pub(crate) const HEAP: i64 = 2;
    pub(crate) const BTREE: i64 = 403;
}

const INDEXES: i64 = 1 << 30;
const CONSTRAINTS: i64 = INDEXES + (1 << 28);
const DEFAULTS: i64 = INDEXES + (1 << 29);

/// A relation's OID.
pub(crate) fn table_oid(id: TableId) -> i64 {
    i64::from(id.get())
}

/// A schema's OID.
pub(crate) fn schema_oid(id: SchemaId, name: &str) -> i64 {
    if name == strata_core::catalog::DEFAULT_SCHEMA_NAME { fixed::PUBLIC } else { i64::from(id.get()) }
}

/// An index's OID.
pub(crate) fn index_oid(id: IndexId) -> i64 {
    INDEXES + i64::from(id.get())
}

/// The OID of the constraint that an index enforces.
pub(crate) fn constraint_oid(id: IndexId) -> i64 {
    CONSTRAINTS + i64::from(id.get())
}

/// The OID of a column's default.
pub(crate) fn default_oid(table: TableId, column: ColumnId) -> i64 {
    DEFAULTS + ((i64::from(table.get()) * 2048 + attnum(column)) & ((1 << 29) - 1))
}

/// A column's number, from 1.
pub(crate) fn attnum(column: ColumnId) -> i64 {
    i64::from(column.get()) + 1
}

/// Whether the index enforces a constraint.
pub(crate) fn is_constraint(index: &IndexDef) -> bool {
    index.primary || index.constraint
}

/// pg_type.typname.
pub(crate) fn type_name(oid: u32) -> &'static str {
    types::facts(oid).map_or("???", |facts| facts.name)
}

/// The columns of the catalog's views, by the view.
pub(crate) type ViewColumns = BTreeMap<TableId, Vec<(String, PgType)>>;

/// The system relation of this name. `view_schema` plans a view, for its columns; it is asked only by relations that
/// list them.
pub(crate) fn system_relation(
    catalog: &Arc<Catalog>,
    schema: &str,
    name: &str,
    view_schema: &dyn Fn(&str, &ViewDef) -> Option<SchemaRef>,
) -> Option<Arc<dyn TableSource>> {
    let relation = relation::find(schema, name)?;
    let mut views = ViewColumns::new();
    if relation.lists_columns() {
        for view in catalog.relations() {
            if let Relation::View(view) = view
                && let Some(schema) = catalog.schema_by_id(view.schema_id)
                && let Some(columns) = view_schema(&schema.name, view)
            {
                let columns = columns.fields().iter().map(|field| {
                    (crate::sql::output::shown_name(field.name()).to_owned(), PgType::of_field(field))
                });
                views.insert(view.id, columns.collect());
            }
        }
    }
    Some(provider_as_source(Arc::new(relation::SystemTable::new(relation, Arc::clone(catalog), views))))
}
