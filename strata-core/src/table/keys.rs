//! Index keys of rows.

use crate::catalog::{IndexDef, TableDef};
use crate::error::{Error, Result};
use crate::ids::ColumnId;
use crate::row::{Datum, decode_key, encode_key, strip_key};
use crate::txn::RowKey;

/// A key longer than this is refused: it would not fit an index block with others.
pub const MAX_KEY_BYTES: usize = 2_704;

/// What is set aside for a key before it is encoded.
const KEY_BYTES: usize = 64;

/// Appends the key that a row has in an index.
///
/// # Errors
/// `TooLarge` for a key above [`MAX_KEY_BYTES`].
pub fn encode_index_key(
    table: &TableDef,
    index: &IndexDef,
    values: &[Datum],
    out: &mut Vec<u8>,
) -> Result<()> {
    let start = out.len();
    for column in &index.columns {
        let missing = || Error::Invalid(format!("index \"{}\" names a column that is not there", index.name));
        let place = column.column.get() as usize;
        let value = values.get(place).ok_or_else(missing)?;
        let definition = table.schema.column(column.column).ok_or_else(missing)?;
        encode_key(out, value, &definition.column_type, column.order)?;
    }
    let size = out.len() - start;
    if size > MAX_KEY_BYTES {
        return Err(Error::TooLarge { what: "index key", size: size as u64, limit: MAX_KEY_BYTES as u64 });
    }
    Ok(())
}

/// Whether a row, of which `datum` reads the columns one by one, has this key in an index.
///
/// # Errors
/// What reading the row meets.
pub fn row_has_key(
    table: &TableDef,
    index: &IndexDef,
    key: &[u8],
    datum: impl Fn(ColumnId) -> Result<Datum>,
) -> Result<bool> {
    let mut rest = key;
    for (column, (column_type, order)) in index.columns.iter().zip(table.index_types(index)) {
        let value = datum(column.column)?;
        match strip_key(rest, &value, column_type, order)? {
            Some(others) => rest = others,
            None => return Ok(false),
        }
    }
    Ok(rest.is_empty())
}

/// The keys that a row has in all indexes of its table.
pub fn index_keys(table: &TableDef, values: &[Datum]) -> Result<Vec<RowKey>> {
    let mut keys = Vec::with_capacity(table.indexes.len());
    let mut key = Vec::with_capacity(KEY_BYTES);
    for index in &table.indexes {
        key.clear();
        encode_index_key(table, index, values, &mut key)?;
        keys.push((index.id, key.as_slice().into()));
    }
    Ok(keys)
}

/// Whether a key has a NULL in it: such keys are never duplicates.
pub fn key_has_null(table: &TableDef, index: &IndexDef, mut key: &[u8]) -> Result<bool> {
    for (column_type, order) in table.index_types(index) {
        if decode_key(&mut key, column_type, order)? == Datum::Null {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The values of a key's columns.
pub fn decode_index_key(table: &TableDef, index: &IndexDef, mut key: &[u8]) -> Result<Vec<Datum>> {
    table.index_types(index).map(|(column_type, order)| decode_key(&mut key, column_type, order)).collect()
}
