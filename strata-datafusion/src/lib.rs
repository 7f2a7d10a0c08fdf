//! SQL and analytics over Strata's storage engine, on DataFusion.

pub mod error;
pub mod postgres;
pub mod provider;
mod pruning;
mod scalar;
pub mod scan;
pub mod session;
pub mod sql;
mod statistics;
