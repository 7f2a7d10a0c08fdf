//! Strata's storage engine.
//!
//! A heap in commit order, an index that only locates, and columns that grow underneath. No SQL, no async
//! runtime, no DataFusion: a plain synchronous Rust library. `ARCHITECTURE.md` at the repository's root has the
//! vocabulary and the six rules; each module's doc is its specification.

pub mod block;
pub mod cache;
pub mod catalog;
pub mod check;
mod codec;
mod database;
pub mod error;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;
pub mod heap;
pub mod ids;
pub mod journal;
pub mod lsm;
pub mod maintenance;
pub mod manifest;
pub mod memory;
mod prefetch;
pub mod row;
mod sizes;
mod sync;
pub mod table;
pub mod txn;
pub mod vfs;

pub use database::{Database, DatabaseStats, Options};
pub use error::{Error, ErrorKind, Result};
pub use sizes::Sizes;

/// The README's example, as a test.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
pub struct Readme;
