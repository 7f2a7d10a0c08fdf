//! From SQL text to logical plans.

pub mod names;
pub(crate) mod output;
pub mod parse;
pub(crate) mod plan;
