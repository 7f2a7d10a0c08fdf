//! Makes the heap's hot pages, marks and adopted segments part of the manifest, while commits go on.
//!
//! What is written is the heap as its newest sealed commit left it, with marks that may be newer: the position that the
//! edit bears covers them (rule 6). Page blocks may hold rows past `row_end` too; the manifest's row count cuts them off. Marks
//! on rows past `row_end` are left to replay, so that the count of live rows is that of the rows written.

use std::sync::Arc;

use super::hot::{HotImage, PageSlot};
use super::marks::MARKS_FORMAT;
use super::segment::{Image, SegmentEntry};
use super::{DurableSegment, Heap};
use crate::block::BlockHandle;
use crate::block::BlockKind;
use crate::error::Result;
use crate::ids::{BlockId, RowId};
use crate::manifest::{Edit, HotPageMeta, SegmentImage};

/// What to do once a manifest edit is durable: swap images, let go of the blocks that it freed. If the edit fails, drop
/// it.
#[must_use = "the edit and the heap in memory differ until this has run"]
pub struct Install(Box<dyn FnOnce() + Send>);

impl Install {
    pub(super) fn new(action: impl FnOnce() + Send + 'static) -> Self {
        Self(Box::new(action))
    }

    /// Does it.
    pub fn run(self) {
        (self.0)();
    }
}

/// A checkpoint of one heap: blocks are written, not synced.
pub struct HeapCheckpoint {
    /// For the manifest, all in one group; empty where nothing has changed.
    pub edits: Vec<Edit>,
    /// Blocks that only the edits name: to be freed if those do not come to be. Pages keep theirs for the next time.
    pub written: Vec<BlockId>,
    /// For when they are durable.
    pub install: Install,
}

/// What a checkpoint writes of one segment.
struct Capture {
    entry: Arc<SegmentEntry>,
    slots: u32,
    /// The image, if the manifest does not have it.
    image: Option<SegmentImage>,
    pages: Vec<(Arc<PageSlot>, Arc<BlockHandle>)>,
    marks: Option<Arc<BlockHandle>>,
    dead: u32,
}

impl Heap {
    /// Writes what the manifest lacks. Every record up to the position that replay will start from has been applied and sealed.
    ///
    /// # Errors
    /// Those of the block store. Nothing is lost then; the next checkpoint goes on from here.
    pub fn checkpoint(self: &Arc<Self>) -> Result<HeapCheckpoint> {
        self.register_sealed();
        let (_, version) = self.versions.newest();
        let mut captures = Vec::new();
        for entry in self.directory.iter().take_while(|entry| entry.id.first_row() < version.row_end) {
            match self.capture(entry, version.row_end) {
                Ok(capture) => captures.push(capture),
                Err(error) => {
                    let unnamed = captures.iter().filter_map(|capture: &Capture| capture.marks.as_ref());
                    unnamed.for_each(|block| block.mark_obsolete());
                    return Err(error);
                }
            }
        }
        let live: i64 =
            captures.iter().map(|capture| i64::from(capture.slots) - i64::from(capture.dead)).sum();
        debug_assert!(live >= 0, "rule 5: {live} live rows");
        let live_rows = u64::try_from(live).unwrap_or(0);
        let edits = self.edits(&captures, version.row_end, live_rows);
        let written = captures.iter().filter_map(|capture| Some(capture.marks.as_ref()?.id())).collect();
        let heap = Arc::clone(self);
        let install = Install::new(move || heap.install_checkpoint(captures, version.row_end, live_rows));
        Ok(HeapCheckpoint { edits, written, install })
    }

    fn capture(&self, entry: Arc<SegmentEntry>, row_end: RowId) -> Result<Capture> {
        let slots = entry.slots_below(row_end);
        let known = self.durable.lock().segments.get(&entry.id).copied().unwrap_or_default();
        let mut pages = Vec::new();
        let image = match &entry.image {
            Image::Hot(hot) => self.capture_pages(hot, slots, known, &mut pages)?,
            Image::Column(_) if known.named => None,
            Image::Column(column) => Some(SegmentImage::Column {
                block: column.handle().id(),
                slots: column.slots(),
                rows: column.rows(),
            }),
        };
        let (_, mut dead) = entry.marks.stored();
        let mut marks = None;
        if let Some(captured) = entry.marks.capture(slots)
            && captured.dead_count() != dead
        {
            dead = captured.dead_count();
            let store = self.env.cache.store();
            marks = Some(self.handle(store.write(BlockKind::Marks, MARKS_FORMAT, &captured.encode())?));
        }
        Ok(Capture { entry, slots, image, pages, marks, dead })
    }

    fn capture_pages(
        &self,
        hot: &HotImage,
        slots: u32,
        known: DurableSegment,
        pages: &mut Vec<(Arc<PageSlot>, Arc<BlockHandle>)>,
    ) -> Result<Option<SegmentImage>> {
        let mut metas = Vec::new();
        let mut changed = !known.named || known.slots != slots;
        for page in hot.pages.iter().take_while(|page| page.first_slot() < slots) {
            let rows = page.count().min(slots - page.first_slot());
            let (block, fresh) = page.persist(&self.env, rows)?;
            changed |= fresh;
            let first_slot = u16::try_from(page.first_slot()).expect("slots are 16 bits wide");
            metas.push(HotPageMeta { block: block.id(), first_slot, rows });
            pages.push((Arc::clone(page), block));
        }
        debug_assert_eq!(
            metas.iter().map(|meta| meta.rows).sum::<u32>(),
            slots,
            "rule 5: all rows are written"
        );
        Ok(changed.then_some(SegmentImage::Hot { pages: metas }))
    }

    fn edits(&self, captures: &[Capture], row_end: RowId, live_rows: u64) -> Vec<Edit> {
        let mut edits = Vec::new();
        for capture in captures {
            let (heap, segment) = (self.id, capture.entry.id);
            if let Some(image) = &capture.image {
                edits.push(Edit::PutSegment { heap, segment, image: image.clone() });
            }
            if let Some(block) = &capture.marks {
                edits.push(Edit::PutMarks { heap, segment, block: Some(block.id()), dead: capture.dead });
            }
        }
        let durable = self.durable.lock();
        if !edits.is_empty() || (durable.row_end, durable.live_rows) != (row_end, live_rows) {
            edits.push(Edit::PutHeap { heap: self.id, row_end, live_rows });
        }
        edits
    }

    fn install_checkpoint(&self, captures: Vec<Capture>, row_end: RowId, live_rows: u64) {
        let mut durable = self.durable.lock();
        debug_assert!(row_end >= durable.row_end, "rule 6: the durable end goes back");
        (durable.row_end, durable.live_rows) = (row_end, live_rows);
        for capture in captures {
            let known = DurableSegment { slots: capture.slots, named: true };
            durable.segments.insert(capture.entry.id, known);
            if capture.image.is_some() {
                for (page, block) in capture.pages {
                    page.set_named(block);
                }
            }
            if let Some(block) = capture.marks
                && let Some(old) = capture.entry.marks.set_stored(Some(block), capture.dead)
            {
                old.mark_obsolete();
            }
        }
    }
}
