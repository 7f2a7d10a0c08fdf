//! What replaced a row version.

use crate::ids::RowId;

/// The version that replaced a row. One number, in memory and on disk: its RowId, which has no bit 63 since it is of the heap;
/// that bit where the row was moved; all ones for none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Successor {
    /// The version.
    pub row: RowId,
    /// Whether maintenance moved the row: nothing of it has changed. Else an UPDATE made the version.
    pub moved: bool,
}

/// No successor: the row was deleted.
const NONE: u64 = u64::MAX;
const MOVED: u64 = 1 << 63;

impl Successor {
    /// The number of a successor, or of none.
    pub(in crate::heap) fn to_raw(successor: Option<Self>) -> u64 {
        successor.map_or(NONE, |successor| successor.row.get() | if successor.moved { MOVED } else { 0 })
    }

    /// The successor of this number.
    pub(in crate::heap) fn from_raw(raw: u64) -> Option<Self> {
        (raw != NONE).then(|| Self { row: RowId::new(raw & !MOVED), moved: raw & MOVED != 0 })
    }
}

impl From<RowId> for Successor {
    /// The version that an UPDATE made.
    fn from(row: RowId) -> Self {
        Self { row, moved: false }
    }
}
