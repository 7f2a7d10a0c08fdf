//! Correctness of the whole: what no layer can test alone.
//!
//! - [`spec`]: sqllogictest files over the wire, through both protocols, and again after restarts of the server; the same files
//!   run against PostgreSQL, which is where their expectations come from.
//! - [`crash`]: clients write while the server is killed; what was acknowledged must be there, what was not must not be there in
//!   part.
//! - [`concurrency`]: clients that get in each other's way, and questions whose answers must hold at every instant.
//! - [`isolation`]: concurrent clients of the engine, and a checker of what they saw.
//! - [`simulate`]: the engine alone, in a world that a seed determines.
//! - [`limits`]: the engine with data larger than memory, a reader that never ends, a full disk.
//! - [`soak`]: many threads on the engine, tiny caches, constant maintenance, invariants in the data.
//!
//! The first three drive a server in a process of its own ([`process`]), as a user would. The others need no more than
//! strata-core: `--no-default-features` builds it in seconds.

#[cfg(feature = "server")]
pub mod concurrency;
#[cfg(feature = "server")]
pub mod crash;
pub mod isolation;
pub mod limits;
#[cfg(feature = "server")]
pub mod process;
pub mod random;
#[cfg(feature = "server")]
pub mod serve;
pub mod simulate;
pub mod soak;
#[cfg(feature = "server")]
pub mod spec;
