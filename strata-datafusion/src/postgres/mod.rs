//! What makes the SQL here Postgres' SQL: its types, its wire formats, its operators, casts and functions.

pub mod format;
pub mod input;
pub mod type_planner;
pub mod types;
pub mod wire;
pub mod zone;
