//! What a scan reads: the segments of a table, and the own rows that no segment has.
//!
//! A transaction goes on writing while a scan reads. Its own rows may be written out at any time, and are then in a segment that was not
//! there before. So segments and rows are looked at in one moment; who looked at them one after the other would miss rows, or meet them
//! twice. Marks may be asked for later: they are by RowId and position, which stay.

use std::sync::Arc;

use super::read_set::ReadPredicate;
use super::view::{OwnWrites, TableView};
use crate::error::Result;
use crate::heap::SegmentView;
use crate::ids::{LoadId, RowId, SegmentId};

/// Where the rows are that a statement sees in a table. See the module.
pub struct TableContents {
    /// The committed segments in the snapshot's prefix, and those that the transaction has written itself, ascending. Rows of
    /// them that the transaction itself has ended are the reader's to mask: [`TableView::own_marked`].
    pub segments: Vec<SegmentView>,
    /// The rows of the transaction's own that the statement sees and that no segment has, in the order they were written.
    pub own_rows: Vec<(RowId, Arc<[u8]>)>,
    /// Whether the transaction has written to the table before the statement. Where not, there is neither an own row nor an own mark on
    /// one of the segments.
    pub has_own_writes: bool,
}

/// The same, by where the rows have come from.
pub(super) struct TableParts {
    pub committed: Vec<SegmentView>,
    /// Of own rows that were written out.
    pub spilled: Vec<SegmentView>,
    /// Of each of the transaction's bulk loads that have rows.
    pub loaded: Vec<(LoadId, Vec<SegmentView>)>,
    pub in_memory: Vec<(RowId, Arc<[u8]>)>,
    pub has_own_writes: bool,
}

impl TableView {
    /// Where the rows are that the statement sees.
    pub fn contents(&self) -> Result<TableContents> {
        self.note(|| ReadPredicate::Table);
        let parts = self.parts();
        let mut segments = parts.committed;
        segments.extend(parts.spilled);
        segments.extend(parts.loaded.into_iter().flat_map(|(_, segments)| segments));
        Ok(TableContents { segments, own_rows: parts.in_memory, has_own_writes: parts.has_own_writes })
    }

    /// The segments alone, for who knows that there are no own rows beside them.
    pub fn segments(&self) -> Result<Vec<SegmentView>> {
        self.contents().map(|contents| contents.segments)
    }

    pub(super) fn parts(&self) -> TableParts {
        let mut parts = TableParts {
            committed: self.heap().segments(self.view().snapshot().timestamp()),
            spilled: Vec::new(),
            loaded: Vec::new(),
            in_memory: Vec::new(),
            has_own_writes: false,
        };
        if let Some(own) = &self.view().own {
            self.add_own(own, &mut parts);
        }
        parts
    }

    fn add_own(&self, own: &OwnWrites, parts: &mut TableParts) {
        let (heap, position) = (self.heap(), own.position);
        let writes = own.writes.read();
        if let Some(own) = writes.heap(heap.id()) {
            for segment in own.spilled().segments() {
                let slots = segment.rows_before(position);
                if slots > 0 {
                    let (id, image) = (segment.first_row().segment(), segment.image().clone());
                    parts.spilled.push(heap.unadopted_rows(id, image, slots));
                }
            }
            let rows = own.visible_rows(position).map(|(row, own)| (row, own.bytes.clone()));
            parts.in_memory.extend(rows);
            parts.has_own_writes = own.has_writes(position);
        }
        let loads = writes.loads().iter();
        let mut places = 0..;
        for load in loads.filter(|load| load.heap == heap.id() && load.is_visible(position)) {
            let segments = load.segments().zip(&mut places).map(|((block, slots), place)| {
                heap.unadopted_segment(own_load_segment(place), block.clone(), slots)
            });
            let segments: Vec<_> = segments.collect();
            if !segments.is_empty() {
                parts.loaded.push((load.load, segments));
                parts.has_own_writes = true;
            }
        }
    }
}

/// Where the blocks of bulk loads that have not committed stand: above every committed segment.
fn own_load_segment(place: u64) -> SegmentId {
    RowId::provisional((1 << 62) | place << 16).segment()
}
