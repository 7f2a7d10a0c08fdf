//! From SQL text to logical plans.

pub(crate) mod copy;
pub(crate) mod ddl;
pub(crate) mod dml;
pub(crate) mod explain;
pub(crate) mod lock;
pub mod names;
pub(crate) mod output;
pub mod parse;
pub(crate) mod plan;
pub(crate) mod point;
pub mod rewrite;
mod series;
pub(crate) mod target;
