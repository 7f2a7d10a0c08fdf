//! SQL and analytics over Strata's storage engine, on DataFusion.

pub mod error;
pub mod session;
