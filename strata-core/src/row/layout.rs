//! Where the columns of a table stand in its stored rows.
//!
//! A row of `n` columns holds the first `n` of the schema, so a column's offset in the fixed-width area, and
//! its number among the columns of variable length, do not depend on `n`. One table of prefix sums serves
//! rows of every age.

use super::fixed::fixed_width;
use super::types::ColumnType;

/// Bytes of the column count, with which a row starts.
pub(super) const COUNT_BYTES: usize = 2;
/// Bytes of one end offset.
pub(super) const END_BYTES: usize = 4;

/// The prefix sums of a schema's columns.
#[derive(Clone, Debug, PartialEq)]
pub struct RowLayout {
    /// `before[i]`: what the columns below `i` take. One entry more than there are columns.
    before: Vec<Before>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Before {
    fixed_bytes: usize,
    varlen_columns: usize,
}

/// Where one column stands.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Place {
    /// At this byte of the fixed-width area, this wide.
    Fixed { offset: usize, width: usize },
    /// The how-manyth of the columns of variable length.
    Varlen { index: usize },
}

impl RowLayout {
    /// The layout of columns of these types, in the order of their ids.
    pub fn of<'a>(types: impl IntoIterator<Item = &'a ColumnType>) -> Self {
        let mut sum = Before::default();
        let mut before = vec![sum];
        for column_type in types {
            match fixed_width(column_type) {
                Some(width) => sum.fixed_bytes += width,
                None => sum.varlen_columns += 1,
            }
            before.push(sum);
        }
        Self { before }
    }

    /// How many columns the layout knows.
    pub fn column_count(&self) -> usize {
        self.before.len() - 1
    }

    pub(super) fn place(&self, column: usize) -> Option<Place> {
        let (here, next) = (self.before.get(column)?, self.before.get(column + 1)?);
        Some(if here.varlen_columns == next.varlen_columns {
            Place::Fixed { offset: here.fixed_bytes, width: next.fixed_bytes - here.fixed_bytes }
        } else {
            Place::Varlen { index: here.varlen_columns }
        })
    }

    /// The areas of a row of `column_count` columns; `None` where the schema has fewer.
    pub(super) fn areas(&self, column_count: usize) -> Option<Areas> {
        let before = self.before.get(column_count)?;
        let fixed = COUNT_BYTES + column_count.div_ceil(8);
        let ends = fixed + before.fixed_bytes;
        let data = ends + before.varlen_columns * END_BYTES;
        Some(Areas { fixed, ends, data })
    }
}

/// The byte offsets of a row at which its areas start.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Areas {
    /// The fixed-width area; the null bitmap ends here.
    pub(super) fixed: usize,
    /// The end offsets.
    pub(super) ends: usize,
    /// The bytes of the columns of variable length.
    pub(super) data: usize,
}
