//! Values on the wire, in Postgres' text and binary formats.

mod parameter;

pub use parameter::{decode_parameter, null_parameter};
