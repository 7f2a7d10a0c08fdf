//! What makes the SQL here Postgres' SQL: its types, its wire formats, its operators, casts and functions.

pub(crate) mod aggregates;
pub(crate) mod analyzer;
pub mod cast;
pub(crate) mod catalog_rewrite;
pub mod format;
pub mod functions;
pub(crate) mod information_schema;
pub mod input;
pub(crate) mod operators;
pub(crate) mod pg_catalog;
pub mod type_planner;
pub mod types;
pub mod wire;
pub mod zone;
