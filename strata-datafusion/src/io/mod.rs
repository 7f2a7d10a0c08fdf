//! Rows in and out of the database in the formats of COPY: Postgres' text, CSV, Parquet.
//!
//! ```text
//!  bytes ─▶ rows (Cutter: chunks cut anywhere into fields) ─▶ convert (fields into column builders)
//!        ─▶ load (batches of 8,192 rows, defaults) ─▶ a bulk load, or rows one by one
//!  batches ─▶ encode (text, CSV) or parquet ─▶ bytes
//! ```
//!
//! | file | what it holds |
//! |---|---|
//! | `format` | what a text format looks like |
//! | `rows` | text and CSV into fields, which stay slices of the input wherever they can |
//! | `convert` | the fields of a column into values, a column at a time |
//! | `load` | fields into batches of the table's columns |
//! | `reader` | the three together |
//! | `encode` | batches into text and CSV |
//! | `parquet` | batches into Parquet and back |
//! | `file` | files that are not there until they are complete |
//!
//! Nothing here knows of sessions: `sql::copy` drives it. All of it is synchronous and runs on threads that may wait.

pub(crate) mod convert;
pub(crate) mod encode;
pub(crate) mod file;
pub(crate) mod format;
pub(crate) mod load;
pub(crate) mod parquet;
pub(crate) mod reader;
pub(crate) mod rows;
