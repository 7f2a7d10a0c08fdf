//! The engine through its public face: durability, transactions, savepoints.

mod common;
mod durability;
mod savepoints;
mod serializable;
mod transactions;
