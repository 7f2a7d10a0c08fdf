//! The keys that rows of a segment have in an index, made from the columns that they consist of.

use super::keys::encode_index_key;
use crate::catalog::{IndexDef, TableDef};
use crate::error::Result;
use crate::heap::SegmentView;
use crate::heap::column::Selection;
use crate::ids::{ColumnId, RowId};
use crate::row::{ColumnReader, Datum};

/// Rows that are read at a time.
pub(super) const BATCH_ROWS: u32 = 8_192;

/// Calls `visit` for each of `slots`, which have rows: with the row's values in the columns of the index (those of
/// others are of no meaning), its key, and its RowId.
///
/// # Errors
/// Those of the block store and of `visit`; `TooLarge`.
pub(super) fn for_each_key(
    table: &TableDef,
    index: &IndexDef,
    segment: &SegmentView,
    slots: &[u32],
    mut visit: impl FnMut(&[Datum], &[u8], RowId) -> Result<()>,
) -> Result<()> {
    let ids: Vec<ColumnId> = index.columns.iter().map(|column| column.column).collect();
    let first_row = segment.segment().first_row();
    let mut values = vec![Datum::Null; table.schema.columns.len()];
    let mut key = Vec::new();
    for slots in slots.chunks(BATCH_ROWS as usize) {
        let arrays = segment.read(&table.schema, &ids, &Selection::Slots(slots.to_vec()))?;
        let types = ids.iter().map(|id| table.schema.column(*id).map(|column| &column.column_type));
        let readers = arrays.iter().zip(types).filter_map(|(array, column_type)| {
            column_type.map(|column_type| ColumnReader::new(array.as_ref(), column_type))
        });
        let readers: Vec<ColumnReader<'_>> = readers.collect::<Result<_>>()?;
        for (place, slot) in slots.iter().enumerate() {
            for (id, reader) in ids.iter().zip(&readers) {
                values[id.get() as usize] = reader.value(place)?.to_datum();
            }
            key.clear();
            encode_index_key(table, index, &values, &mut key)?;
            visit(&values, &key, first_row.offset(u64::from(*slot)))?;
        }
    }
    Ok(())
}
