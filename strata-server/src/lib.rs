//! The Postgres wire server of Strata.

pub mod frame;
pub mod frontend;
mod size;
pub use size::parse_size;
