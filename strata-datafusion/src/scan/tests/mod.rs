//! Scans of real tables, compared with the same rows in memory.

mod leaf;
mod random;
mod world;
