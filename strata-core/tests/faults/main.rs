//! Fails the i-th call to the file system, for every i, in each public operation of a database.
//!
//! Whatever fails: the operation took effect whole or not at all, what was published stays readable, a failed sync ends
//! writing, opening again finds all that was acknowledged, and nothing is left over: locks, snapshots, memory,
//! extents, files. See `sweep`.

mod batches;
mod bulk;
mod bulk_writer;
mod calls;
mod ddl;
mod filters;
mod image;
mod isolation;
mod judge;
mod long;
mod maintenance;
mod opening;
mod reads;
mod refusal;
mod rest;
mod rig;
mod savepoints;
mod spilled;
mod sweep;
mod writes;
