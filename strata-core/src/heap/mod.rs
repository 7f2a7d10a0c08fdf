//! Heaps: the row versions of each table.

pub mod column;
