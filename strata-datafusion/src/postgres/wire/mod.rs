//! Values on the wire, in Postgres' text and binary formats.

mod binary;
pub mod column;
mod encoder;
mod parameter;
mod point;

pub use column::TextColumn;
pub use encoder::RowEncoder;
pub use parameter::{decode_parameter, decode_parameter_in, null_parameter};
pub use point::PointRows;
pub(crate) use point::can_send;
