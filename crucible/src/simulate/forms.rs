//! In which form the segments of a database are, and what maintenance has made of them.

use std::collections::BTreeMap;

use strata_core::heap::Image;
use strata_core::ids::{HeapId, SegmentId};
use strata_core::{Database, Error};

use super::tally::{Did, SharedTally};

/// By segment, the rows of its column block, if it has one.
pub(super) struct Forms(BTreeMap<(HeapId, SegmentId), Option<u32>>);

impl Forms {
    /// As a snapshot taken now shows them.
    ///
    /// # Errors
    /// Those of the block store.
    pub(super) fn of(database: &Database) -> Result<Self, Error> {
        let view = database.view();
        let mut forms = BTreeMap::new();
        for table in view.catalog().tables() {
            for segment in view.table(table.id)?.segments()? {
                let rows = match segment.image() {
                    Image::Hot(_) => None,
                    Image::Column(block) => Some(block.rows()),
                };
                forms.insert((table.heap, segment.segment()), rows);
            }
        }
        Ok(Self(forms))
    }

    /// Counts what has changed since.
    pub(super) fn count_changes(&self, later: &Self, tally: &SharedTally) {
        for (segment, rows) in &later.0 {
            match (self.0.get(segment), rows) {
                (Some(None), Some(_)) => tally.add(Did::Freeze, 1),
                (Some(Some(before)), Some(now)) if now < before => tally.add(Did::SparseRewrite, 1),
                _ => {}
            }
        }
    }
}
