//! Reading values: many as an Arrow array, or one.

use arrow_array::{ArrayRef, new_null_array};

use super::arrays::Reader;
use super::block::ColumnBlock;
use super::directory::ColumnMeta;
use super::position::{Positions, Selection};
use crate::cache::Access;
use crate::error::{Error, Result};
use crate::row::{Column, ColumnBuilder, Datum, arrow_type};

impl ColumnBlock {
    /// The values of a column in these slots, all of which must be present. A column that came after the block
    /// reads as its `missing` value.
    ///
    /// Strings lie in buffers of the array's own, or in the buffer of the column's dictionary.
    ///
    /// # Errors
    /// `CorruptBlock`, `Io`; `Invalid` where a slot is absent or the column has another type here.
    pub fn read(&self, column: &Column, selection: &Selection, access: Access) -> Result<ArrayRef> {
        let mut list = Vec::new();
        let positions = self.positions(selection, &mut list)?;
        let Some(meta) = self.column_of(column)? else {
            return missing(column, positions.len());
        };
        if meta.null_count == self.rows() {
            return Ok(new_null_array(&arrow_type(&meta.column_type), positions.len()));
        }
        Reader { block: self, meta, positions, access }.array()
    }

    /// The value of a column in a slot, which must be present: a read of one page, and of the dictionary or symbol
    /// table where there is one.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn get(&self, column: &Column, slot: u16) -> Result<Datum> {
        let slot = u32::from(slot);
        if !self.contains(slot) {
            return Err(absent(slot));
        }
        let position = self.presence().map_or(slot, |presence| presence.rank(slot));
        let Some(meta) = self.column_of(column)? else { return Ok(column.missing.clone()) };
        if meta.null_count == self.rows() {
            return Ok(Datum::Null);
        }
        let list = [position];
        let mut found = Datum::Null;
        let reader = Reader { block: self, meta, positions: Positions::List(&list), access: Access::Point };
        reader.one(&mut found)?;
        Ok(found)
    }

    /// The block's column, if it has it.
    pub(super) fn column_of(&self, column: &Column) -> Result<Option<&ColumnMeta>> {
        match self.column(column.id) {
            Some(meta) if meta.column_type != column.column_type => Err(Error::Invalid(format!(
                "column \"{}\" has type {:?} in block {}, not {:?}",
                column.name,
                meta.column_type,
                self.handle().id(),
                column.column_type
            ))),
            found => Ok(found),
        }
    }

    fn positions<'a>(&self, selection: &Selection, list: &'a mut Vec<u32>) -> Result<Positions<'a>> {
        match (selection, self.presence()) {
            (Selection::Range(range), None) if range.end <= self.slots() => {
                Ok(Positions::Range(range.start, range.end))
            }
            (Selection::Range(range), Some(presence)) if range.end <= self.slots() => {
                let (start, end) = (presence.rank(range.start), presence.rank(range.end));
                match end - start == range.end.saturating_sub(range.start) {
                    true => Ok(Positions::Range(start, end)),
                    false => Err(Error::Invalid(format!("slots {range:?} are not all present"))),
                }
            }
            (Selection::Range(range), _) => Err(absent(range.end)),
            (Selection::Slots(slots), presence) => {
                debug_assert!(slots.is_sorted(), "slots ascend");
                if let Some(slot) = slots.iter().find(|slot| !self.contains(**slot)) {
                    return Err(absent(*slot));
                }
                list.extend(slots.iter().map(|slot| presence.map_or(*slot, |presence| presence.rank(*slot))));
                Ok(Positions::List(list))
            }
        }
    }
}

fn absent(slot: u32) -> Error {
    Error::Invalid(format!("slot {slot} has no row in this block"))
}

fn missing(column: &Column, count: usize) -> Result<ArrayRef> {
    if column.missing == Datum::Null {
        return Ok(new_null_array(&arrow_type(&column.column_type), count));
    }
    let mut builder = ColumnBuilder::new(&column.column_type, count);
    (0..count).try_for_each(|_| builder.push_datum(&column.missing))?;
    Ok(builder.finish())
}
