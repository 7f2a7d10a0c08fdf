//! What names of relations say: which are of the system, and which of those never have rows.

use super::relation::find;
use super::{INFORMATION_SCHEMA, PG_CATALOG};

/// Whether the relation has no rows in any database, so that a query that joins it has none either.
pub(crate) fn is_always_empty(schema: Option<&str>, name: &str) -> bool {
    match schema {
        None | Some(PG_CATALOG) => find(PG_CATALOG, name).is_some_and(|relation| relation.is_empty()),
        Some(INFORMATION_SCHEMA) => {
            find(INFORMATION_SCHEMA, name).is_some_and(|relation| relation.is_empty())
        }
        Some(_) => false,
    }
}

/// Whether there is a system relation of this name.
pub(crate) fn is_system_relation(schema: Option<&str>, name: &str) -> bool {
    find(schema.unwrap_or(PG_CATALOG), name).is_some()
}
