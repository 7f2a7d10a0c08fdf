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
use crate::ids::{RowId, SegmentId};

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

impl TableView {
    /// Where the rows are that the statement sees.
    pub fn contents(&self) -> Result<TableContents> {
        self.note(|| ReadPredicate::Table);
        let segments = self.heap().segments(self.view().snapshot().timestamp());
        let mut contents = TableContents { segments, own_rows: Vec::new(), has_own_writes: false };
        if let Some(own) = &self.view().own {
            self.add_own(own, &mut contents);
        }
        Ok(contents)
    }

    /// The segments alone, for who knows that there are no own rows beside them.
    pub fn segments(&self) -> Result<Vec<SegmentView>> {
        self.contents().map(|contents| contents.segments)
    }

    fn add_own(&self, own: &OwnWrites, contents: &mut TableContents) {
        let (heap, position) = (self.heap(), own.position);
        let writes = own.writes.read();
        if let Some(own) = writes.heap(heap.id()) {
            for segment in own.spilled().segments() {
                let slots = segment.rows_before(position);
                if slots > 0 {
                    let (id, image) = (segment.first_row().segment(), segment.image().clone());
                    contents.segments.push(heap.unadopted_rows(id, image, slots));
                }
            }
            let rows = own.visible_rows(position).map(|(row, own)| (row, own.bytes.clone()));
            contents.own_rows.extend(rows);
            contents.has_own_writes = own.has_writes(position);
        }
        let loads = writes.loads().iter();
        let loads = loads.filter(|load| load.heap == heap.id() && load.is_visible(position));
        for (place, (block, slots)) in (0..).zip(loads.flat_map(|load| load.segments())) {
            let segment = own_load_segment(place);
            contents.segments.push(heap.unadopted_segment(segment, block.clone(), slots));
            contents.has_own_writes = true;
        }
    }
}

/// Where the blocks of bulk loads that have not committed stand: above every committed segment.
fn own_load_segment(place: u64) -> SegmentId {
    RowId::provisional((1 << 62) | place << 16).segment()
}
