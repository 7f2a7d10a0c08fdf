//! SQL and analytics over Strata's storage engine, on DataFusion.
//!
//! Embedded, a [`Session`](session::Session) is a connection without a wire, and a
//! [`StrataTable`](provider::StrataTable) is a DataFusion `TableProvider` over the same rows:
//!
//! ```
//! use std::sync::Arc;
//! use datafusion::arrow::array::{Int64Array, RecordBatch, StringArray};
//! use datafusion::arrow::datatypes::{DataType, Field, Schema};
//! use datafusion::dataframe::DataFrameWriteOptions;
//! use datafusion::prelude::{SessionConfig, SessionContext};
//! use strata_core::{Database, Options};
//! use strata_datafusion::provider::{StatementContext, StrataTable};
//! use strata_datafusion::session::{Engine, EngineOptions, Session, SessionOptions};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # tokio::runtime::Runtime::new()?.block_on(async {
//! let folder = tempfile::tempdir()?;
//! let db = Database::open(folder.path().join("db"), Options { memory_bytes: 64 << 20, ..Options::default() })?;
//! let engine = Engine::new(db.clone(), EngineOptions::default())?;
//! let mut session = Session::new(engine, SessionOptions::default());
//!
//! // Rows, in a transaction.
//! session.query("CREATE TABLE readings (id bigint PRIMARY KEY, place text)", &[]).await?;
//! session.query("BEGIN; INSERT INTO readings VALUES (1, 'here'), (2, 'there'); COMMIT", &[]).await?;
//!
//! // An Arrow batch.
//! let schema = Arc::new(Schema::new(vec![
//!     Field::new("id", DataType::Int64, false),
//!     Field::new("place", DataType::Utf8, true),
//! ]));
//! let places = StringArray::from(vec!["here", "here", "there"]);
//! let batch = RecordBatch::try_new(schema, vec![Arc::new(Int64Array::from(vec![3, 4, 5])), Arc::new(places)])?;
//! assert_eq!(session.append("readings", &batch).await?, 3);
//!
//! // The same rows through DataFusion's own API, at one instant, and out as Parquet.
//! let view = db.view();
//! let table = StrataTable::new(view.catalog().table_by_name("public", "readings")?);
//! let config = SessionConfig::new().with_extension(Arc::new(StatementContext::new(view)));
//! let context = SessionContext::new_with_config(config);
//! context.register_table("readings", Arc::new(table))?;
//! let counts = context.sql("SELECT place, count(*) AS n FROM readings GROUP BY place ORDER BY n").await?;
//! let path = folder.path().join("counts.parquet");
//! counts.write_parquet(&path.to_string_lossy(), DataFrameWriteOptions::new(), None).await?;
//! let back = context.read_parquet(path.to_string_lossy().to_string(), Default::default()).await?;
//! let back = back.collect().await?;
//! assert_eq!(back.iter().map(RecordBatch::num_rows).sum::<usize>(), 2);
//! # Ok(())
//! # })
//! # }
//! ```

pub mod error;
mod io;
pub mod postgres;
pub mod provider;
mod pruning;
mod scalar;
pub mod scan;
pub mod session;
pub mod sql;
mod statistics;
