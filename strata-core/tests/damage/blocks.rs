//! Where the blocks of a database stand, and whose they are.

use std::ops::Range;
use std::path::Path;

use strata_core::Database;
use strata_core::ids::{BlockId, HeapId, SegmentId};
use strata_core::manifest::{HeapState, Manifest, SegmentImage};

use crate::files::{BLOCKS, DIR, Files, open, system_of, u32_at};

/// Bytes of a block's header.
pub const HEADER_BYTES: usize = 64;

/// A block in [`BLOCKS`].
#[derive(Clone, Debug)]
pub struct PlacedBlock {
    /// Its bytes in the file.
    pub range: Range<usize>,
    /// Those of them that a checksum covers: header and payload.
    pub covered: Range<usize>,
    pub owner: Owner,
    pub what: &'static str,
}

/// Whose a block is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Owner {
    /// The catalog's.
    System,
    /// That of all indexes.
    Index,
    /// A segment's of a table.
    Segment(String, SegmentId),
}

impl PlacedBlock {
    fn new(files: &Files, block: BlockId, owner: Owner, what: &'static str) -> Self {
        let start = usize::try_from(block.offset_bytes()).expect("small");
        let range = start..start + usize::try_from(block.len_bytes()).expect("small");
        let payload_bytes = u32_at(&files[Path::new(BLOCKS)], start + 24);
        Self { range, covered: start..start + HEADER_BYTES + payload_bytes, owner, what }
    }

    /// The payload's bytes in the file.
    pub fn payload(&self) -> Range<usize> {
        self.covered.start + HEADER_BYTES..self.covered.end
    }

    pub fn is_column_block(&self) -> bool {
        self.what.ends_with("columns")
    }
}

/// The blocks that the manifest names.
pub fn blocks_of(files: &Files) -> Vec<PlacedBlock> {
    let vfs = system_of(files);
    let state = Manifest::read(&*vfs, &Path::new(DIR).join("manifest")).expect("reads");
    let db = open(vfs).expect("opens");
    let mut blocks = Vec::new();
    for table in &state.sstables {
        let what = if table.level == 0 { "index, level 0" } else { "index, deeper" };
        blocks.push(PlacedBlock::new(files, table.block, Owner::Index, what));
    }
    for (id, heap) in &state.heaps {
        let name = name_of(&db, *id);
        blocks.extend(blocks_of_heap(heap).map(|(segment, block, what)| {
            let owner = name.clone().map_or(Owner::System, |name| Owner::Segment(name, segment));
            PlacedBlock::new(files, block, owner, what)
        }));
    }
    blocks
}

fn name_of(db: &Database, heap: HeapId) -> Option<String> {
    let catalog = db.catalog();
    catalog.tables().find(|table| table.heap == heap).map(|table| table.name.clone())
}

fn blocks_of_heap(heap: &HeapState) -> impl Iterator<Item = (SegmentId, BlockId, &'static str)> {
    heap.segments.iter().flat_map(|(id, segment)| {
        let what = match &segment.image {
            SegmentImage::Column { slots, rows, .. } if slots == rows => "full columns",
            SegmentImage::Column { .. } => "sparse columns",
            SegmentImage::Hot { .. } => "row page",
            SegmentImage::Dropped => "nothing",
        };
        let image = segment.image.blocks().map(move |block| {
            let is_long = what == "row page" && block.len_bytes() > 36 << 10;
            (*id, block, if is_long { "long row" } else { what })
        });
        image.chain(segment.marks.map(|marks| (*id, marks, "marks")))
    })
}
