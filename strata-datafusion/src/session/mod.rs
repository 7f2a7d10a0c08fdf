//! A [`Session`] is one connection's state: its transaction, its settings, its prepared statements' plans.

pub mod types;

pub use types::{
    CopyFormat, CopyOut, Outcome, Parameter, ResultField, RowStream, RowsTag, TransactionStatus,
};
