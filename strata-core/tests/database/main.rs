//! The engine through its public face: durability, transactions.

mod common;
mod durability;
mod serializable;
mod transactions;
