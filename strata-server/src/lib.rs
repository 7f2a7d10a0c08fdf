//! The Postgres wire server of Strata.
//!
//! ```no_run
//! # async fn example(engine: std::sync::Arc<strata_datafusion::session::Engine>) -> Result<(), Box<dyn std::error::Error>> {
//! use strata_server::{Server, ServerOptions};
//!
//! let server = Server::start(engine, ServerOptions::default()).await?;
//! println!("psql -h 127.0.0.1 -p {}", server.local_addr().port());
//! server.shutdown().await;
//! # Ok(())
//! # }
//! ```
//!
//! Three layers: [`frame`], [`frontend`] and [`backend`] turn bytes into messages and back and do nothing else; `connection` knows the
//! protocol; [`wire`] and [`server`] do the I/O. What statements mean is the `Session`'s, in `strata-datafusion`.

pub mod backend;
mod cancel;
mod connection;
pub mod frame;
pub mod frontend;
mod runtime;
mod server;
mod size;
mod wire;

pub use runtime::{connection_runtime, open_database};
pub use server::{Server, ServerOptions, StartError};
pub use size::parse_size;
