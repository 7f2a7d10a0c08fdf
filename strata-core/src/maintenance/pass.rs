//! One pass over all segments, which ends whatever commits beside it: VACUUM.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use crate::heap::Heap;
use crate::ids::{HeapId, SegmentId};

/// The segments that a pass goes over: those that are there when it begins, each of which it encodes once. Without that an
/// update for each segment that is encoded would keep it from ending.
#[derive(Debug)]
pub(super) struct Pass {
    /// The segment that each heap's next row goes to.
    ends: HashMap<HeapId, SegmentId>,
    done: BTreeSet<(HeapId, SegmentId)>,
}

impl Pass {
    pub(super) fn begin(heaps: &[Arc<Heap>]) -> Self {
        let ends = heaps.iter().map(|heap| (heap.id(), heap.next_row().segment()));
        Self { ends: ends.collect(), done: BTreeSet::new() }
    }

    /// Whether there is something for the pass to do with a segment.
    pub(super) fn covers(&self, heap: HeapId, segment: SegmentId) -> bool {
        self.ends.get(&heap).is_some_and(|end| segment < *end) && !self.done.contains(&(heap, segment))
    }

    /// Leaves segments alone from here on: they were encoded, or that failed.
    pub(super) fn leave(&mut self, heap: HeapId, segments: &[SegmentId]) {
        self.done.extend(segments.iter().map(|segment| (heap, *segment)));
    }
}
