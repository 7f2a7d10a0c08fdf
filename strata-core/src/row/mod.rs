//! Types, schemas, and the codecs of rows and keys.
//!
//! | module | what it holds |
//! |---|---|
//! | [`types`], [`schema`] | what columns are and what stands in them |
//! | [`value`] | [`DatumRef`], a borrowed [`Datum`]; type check, size |
//! | [`compare`](mod@compare) | the total order of values, as Postgres has it |
//! | [`display`] | values as text, for messages |
//! | [`layout`], [`codec`], `fixed`, `array` | the bytes of a stored row (`docs/format/row.md`) |
//! | [`key`] | the bytes of an index key, which sort as the values do (`docs/format/key.md`) |
//! | [`arrow`], [`builder`] | to Arrow arrays and back |
//! | [`sketch`] | about how many distinct values a column has |

mod array;
pub mod arrow;
pub mod builder;
pub mod codec;
pub mod compare;
pub mod display;
mod fixed;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
pub mod key;
pub mod layout;
pub mod schema;
pub mod sketch;
pub mod types;
pub mod value;

pub(crate) use array::{decode_array, encode_array};
pub use arrow::{ColumnReader, arrow_type, datum_at};
pub use builder::ColumnBuilder;
pub use codec::{MAX_ROW_BYTES, RowView, encode_row, encode_row_with};
pub use compare::compare;
pub use display::describe_key;
pub use key::{
    KeyOrder, KeyPart, decode_key, encode_key, encode_key_prefix, encode_key_value, has_null,
    prefix_successor, strip_key,
};
pub use layout::RowLayout;
pub use schema::{Column, Schema};
pub use sketch::DistinctSketch;
pub use types::{ColumnType, Datum, SqlType};
pub use value::DatumRef;

use crate::error::Error;

/// Bytes of a row or key that are not what an encoder writes. Whoever read them adds where they came from.
fn damaged(what: &str, offset: usize, detail: impl Into<String>) -> Error {
    Error::Corrupt {
        file: what.to_owned(),
        offset: u64::try_from(offset).unwrap_or(u64::MAX),
        detail: detail.into(),
    }
}

#[cfg(test)]
pub(crate) mod samples;
#[cfg(test)]
mod tests;
