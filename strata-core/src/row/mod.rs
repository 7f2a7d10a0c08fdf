//! Types, schemas, and the codecs of rows and keys.

pub mod schema;
pub mod types;

pub use schema::{Column, Schema};
pub use types::{ColumnType, Datum, SqlType};
