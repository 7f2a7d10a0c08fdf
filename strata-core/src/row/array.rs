//! The bytes of an array in a row: `[u32 count][null bitmap][elements]`.
//!
//! Elements of fixed width stand one after the other, NULLs keeping their width; others are each preceded by
//! their length (`u32`, 0 for NULL). A set bit is a NULL.

use super::damaged;
use super::fixed::{fixed_width, read_fixed, write_fixed};
use super::types::{ColumnType, Datum};
use super::value::DatumRef;
use crate::error::{Error, Result};

const WHAT: &str = "array value";
/// Bytes before an element that has no fixed width.
const LENGTH_BYTES: usize = size_of::<u32>();

/// Appends an array whose elements [`DatumRef::check_type`] has seen.
pub(crate) fn encode_array(elements: &[Datum], element_type: &ColumnType, out: &mut Vec<u8>) -> Result<()> {
    out.extend_from_slice(&length(elements.len())?.to_le_bytes());
    let bitmap = out.len();
    out.resize(bitmap + elements.len().div_ceil(8), 0);
    for (index, _) in elements.iter().enumerate().filter(|(_, element)| element.is_null()) {
        out[bitmap + index / 8] |= 1 << (index % 8);
    }
    for element in elements {
        match fixed_width(element_type) {
            Some(width) => {
                let start = out.len();
                out.resize(start + width, 0);
                if !element.is_null() {
                    write_fixed(&element.borrowed(), &mut out[start..]);
                }
            }
            None => {
                let bytes = match element {
                    Datum::Text(text) => text.as_bytes(),
                    Datum::Bytes(bytes) => bytes,
                    _ => &[],
                };
                out.extend_from_slice(&length(bytes.len())?.to_le_bytes());
                out.extend_from_slice(bytes);
            }
        }
    }
    Ok(())
}

fn length(size: usize) -> Result<u32> {
    u32::try_from(size).map_err(|_| Error::TooLarge {
        what: "an array",
        size: u64::try_from(size).unwrap_or(u64::MAX),
        limit: u64::from(u32::MAX),
    })
}

/// Reads an array back.
pub(crate) fn decode_array(element_type: &ColumnType, bytes: &[u8]) -> Result<Vec<Datum>> {
    let short = || damaged(WHAT, bytes.len(), "it ends before its elements do");
    let (count, rest) = bytes.split_first_chunk().ok_or_else(short)?;
    let count = usize::try_from(u32::from_le_bytes(*count)).map_err(|_| short())?;
    let (bitmap, mut rest) = rest.split_at_checked(count.div_ceil(8)).ok_or_else(short)?;
    let is_null = |index: usize| bitmap.get(index / 8).is_some_and(|byte| byte >> (index % 8) & 1 == 1);

    // In memory an element is larger than in a row, and far larger than the bit of it that the bitmap has: none is made room
    // for whose bytes are not there.
    let width_least = fixed_width(element_type).unwrap_or(LENGTH_BYTES);
    if count.checked_mul(width_least).is_none_or(|bytes| bytes > rest.len()) {
        return Err(short());
    }
    let mut elements = Vec::with_capacity(count);
    for index in 0..count {
        let width = match fixed_width(element_type) {
            Some(width) => width,
            None => {
                let (length, after) = rest.split_first_chunk().ok_or_else(short)?;
                rest = after;
                usize::try_from(u32::from_le_bytes(*length)).map_err(|_| short())?
            }
        };
        let (element, after) = rest.split_at_checked(width).ok_or_else(short)?;
        rest = after;
        elements.push(if is_null(index) {
            Datum::Null
        } else {
            read_value(element_type, element)?.to_datum()
        });
    }
    if !rest.is_empty() {
        return Err(damaged(WHAT, bytes.len() - rest.len(), "bytes follow its last element"));
    }
    Ok(elements)
}

/// Reads the value of any type from its bytes.
pub(super) fn read_value<'a>(column_type: &ColumnType, bytes: &'a [u8]) -> Result<DatumRef<'a>> {
    match column_type {
        ColumnType::Text => Ok(DatumRef::Text(read_text(bytes)?)),
        ColumnType::Bytes => Ok(DatumRef::Bytes(bytes)),
        ColumnType::Array(element_type) if matches!(**element_type, ColumnType::Array(_)) => {
            Err(Error::Unsupported("arrays of arrays are not supported".into()))
        }
        ColumnType::Array(element_type) => Ok(DatumRef::Array(decode_array(element_type, bytes)?.into())),
        _ => read_fixed(column_type, bytes),
    }
}

/// The bytes as UTF-8.
pub(super) fn read_text(bytes: &[u8]) -> Result<&str> {
    std::str::from_utf8(bytes).map_err(|error| damaged("text value", error.valid_up_to(), "it is not UTF-8"))
}
