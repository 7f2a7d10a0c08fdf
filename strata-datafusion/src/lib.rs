//! SQL and analytics over Strata's storage engine, on DataFusion.

pub mod error;
pub mod postgres;
pub mod session;
pub mod sql;
