//! Commit and replay: the code that makes a commit's effects on a heap (rule 5).

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::hot::{HotImage, PageSlot, Resident};
use super::marks::{BITS_BYTES, DenseMarks, Marks, Successor, group_bytes};
use super::row_page::{HEADER_BYTES, MAX_SLOTTED_ROW, PAGE_BYTES, PageAddress, SLOT_BYTES};
use super::segment::{ColumnImage, Image, SegmentEntry};
use super::versions::{VERSION_BYTES, Version};
use super::{Heap, Tail};
use crate::error::Result;
use crate::ids::{BlockId, RowId, SLOTS_PER_SEGMENT, SegmentId, Timestamp};
use crate::memory::Reservation;

/// Consecutive rows of one segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RowRun {
    /// The first row.
    pub first: RowId,
    /// How many.
    pub rows: u32,
}

/// What a commit needs of a heap, in hand before its record is appended. What is left over goes back on drop.
pub struct Prepared {
    memory: Reservation,
}

/// Memory of a page slot, a segment and their places in the lists, roughly.
const PAGE_OVERHEAD: usize = 512;
const SEGMENT_OVERHEAD: usize = 4_096;

impl Prepared {
    /// Splits what is asked off the reservation.
    fn take(&mut self, bytes: usize) -> Option<Reservation> {
        let enough = self.memory.bytes() >= bytes;
        debug_assert!(enough, "the commit section allocates {bytes} bytes that were not prepared");
        enough.then(|| self.memory.split(bytes))
    }
}

/// The rows that a commit inserts into a heap.
#[derive(Clone, Copy, Debug, Default)]
pub struct NewRows {
    /// How many.
    pub rows: usize,
    /// Their bytes.
    pub bytes: usize,
    /// Segments that they begin, at most.
    pub segments: usize,
}

impl NewRows {
    /// Memory that they may need: each two neighbouring pages of a segment hold more than one page's worth.
    fn page_bytes(&self) -> usize {
        if self.rows == 0 {
            return 0;
        }
        let total = self.bytes + self.rows * SLOT_BYTES;
        let pages = 2 * (total / MAX_SLOTTED_ROW) + 1 + self.segments;
        pages * (PAGE_BYTES + PAGE_OVERHEAD)
            + self.bytes / PAGE_BYTES * PAGE_BYTES
            + self.segments * SEGMENT_OVERHEAD
    }
}

impl Heap {
    /// Gets ready for a commit of new rows and of marks on `marked`: reserves memory, loads the marks of the segments
    /// concerned. Outside the commit section.
    ///
    /// # Errors
    /// `OutOfMemory`; those of the block store where marks must be read. Nothing has been done then.
    pub fn prepare(&self, new: NewRows, marked: &[RowId]) -> Result<Prepared> {
        self.register_sealed();
        let mut segments: Vec<SegmentId> = marked.iter().map(|row| row.segment()).collect();
        segments.sort_unstable();
        segments.dedup();
        for segment in &segments {
            if let Some(entry) = self.directory.get(*segment) {
                entry.marks.make_ready(&self.env)?;
            }
        }
        let marks = segments.len() * group_bytes(0) + (group_bytes(marked.len()) - group_bytes(0));
        let bytes = new.page_bytes() + marks + VERSION_BYTES;
        Ok(Prepared { memory: self.env.pool.reserve("rows of a commit", bytes)? })
    }

    /// Gets ready for many marks on a segment too, of which the group takes `bytes` bytes at most.
    ///
    /// # Errors
    /// As [`prepare`](Self::prepare).
    pub fn prepare_dense(&self, segment: SegmentId, bytes: usize, prepared: &mut Prepared) -> Result<()> {
        let mut bytes = group_bytes(0) + bytes;
        match self.directory.get(segment) {
            Some(entry) => entry.marks.make_ready(&self.env)?,
            // The commit adopts it.
            None => bytes += BITS_BYTES,
        }
        prepared.memory.grow(bytes)
    }

    /// Where the next row goes, if it is inserted as the next one.
    pub fn next_row(&self) -> RowId {
        self.next_start(&self.tail.lock())
    }

    fn next_start(&self, tail: &Tail) -> RowId {
        let end = self.end();
        let hot = |entry: &Arc<SegmentEntry>| matches!(entry.image, Image::Hot(_));
        if end.slot() == 0
            || tail.bytes < self.segment_bytes && self.directory.get(end.segment()).is_some_and(|e| hot(&e))
        {
            end
        } else {
            end.segment().next().first_row()
        }
    }

    /// Lets the next row begin a segment, where the open one has at least so many slots (commit section): it can be
    /// frozen then, and the slots that it lacks stay a hole.
    pub fn seal_tail(&self, slots: u32) {
        let tail = &mut *self.tail.lock();
        if u32::from(self.end().slot()) >= slots {
            self.seal_page(tail);
            tail.bytes = self.segment_bytes;
        }
    }

    /// Lets the page that rows are appended to be evicted; the next row begins another. For replay where memory is short: a heap that
    /// was dropped since has such a page too, and there may be very many.
    pub fn let_go_of_tail_page(&self) {
        self.seal_page(&mut self.tail.lock());
        self.register_sealed();
    }

    /// The RowIds that the next rows, of these lengths in bytes, get. Changes nothing.
    pub fn place(&self, lengths: &[u32]) -> Vec<RowRun> {
        let tail = self.tail.lock();
        let mut next = self.next_start(&tail);
        let mut bytes = if next == self.end() && next.slot() != 0 { tail.bytes } else { 0 };
        let mut runs: Vec<RowRun> = Vec::new();
        for length in lengths {
            if bytes >= self.segment_bytes {
                next = next.segment().next().first_row();
            }
            if next.slot() == 0 {
                bytes = 0;
            }
            match runs.last_mut() {
                Some(run) if next.slot() != 0 && run.first.offset(run.rows.into()) == next => run.rows += 1,
                _ => runs.push(RowRun { first: next, rows: 1 }),
            }
            bytes += u64::from(*length);
            next = next.next();
        }
        runs
    }

    /// The first RowId of the next segment: where a bulk load is adopted.
    pub fn next_segment(&self) -> SegmentId {
        let end = self.end();
        if end.slot() == 0 { end.segment() } else { end.segment().next() }
    }

    /// Appends the rows of a run, in order (commit section, replay): takes exactly `run.rows` of them from `rows`. Those
    /// that the manifest has are skipped.
    pub fn apply_inserts(
        &self,
        run: &RowRun,
        rows: &mut dyn Iterator<Item = &[u8]>,
        prepared: &mut Prepared,
    ) {
        debug_assert!(u32::from(run.first.slot()) + run.rows <= SLOTS_PER_SEGMENT, "a run is of one segment");
        let tail = &mut *self.tail.lock();
        let done = self.persisted_end.get().saturating_sub(run.first.get()).min(run.rows.into()) as u32;
        if done > 0 {
            tail.repeated = true;
            rows.take(done as usize).for_each(drop);
        }
        let first = run.first.offset(done.into());
        let count = run.rows - done;
        if count == 0 {
            return;
        }
        debug_assert!(first >= self.end(), "rule 1: row {first} is below the end {}", self.end());
        match self.directory.get(first.segment()).map(|entry| entry.image.clone()) {
            Some(Image::Column(_)) => {
                // Frozen after the checkpoint that replay starts from: the rows are in the image, not in the count.
                tail.repeated = true;
                rows.take(count as usize).for_each(drop);
                tail.live_rows += i64::from(count);
                self.seal_page(tail);
            }
            Some(Image::Hot(hot)) => self.append(tail, &hot, first, rows.take(count as usize), prepared),
            None if first.slot() > 0 => {
                // Replay of a heap dropped since: the rows before these were in the manifest, and nothing of it is now.
                tail.repeated = true;
                rows.take(count as usize).for_each(drop);
                self.seal_page(tail);
            }
            None => {
                let hot = self.start_segment(tail, first.segment());
                self.append(tail, &hot, first, rows.take(count as usize), prepared);
            }
        }
        self.end.store(first.offset(count.into()).get(), Ordering::Release);
    }

    /// A new hot segment.
    fn start_segment(&self, tail: &mut Tail, segment: SegmentId) -> Arc<HotImage> {
        self.seal_page(tail);
        tail.bytes = 0;
        let hot = Arc::new(HotImage::new(self.env.clone()));
        let marks = Arc::new(Marks::new(self.id, segment, None, 0));
        self.directory.put(Arc::new(SegmentEntry {
            id: segment,
            image: Image::Hot(Arc::clone(&hot)),
            marks,
        }));
        hot
    }

    fn seal_page(&self, tail: &mut Tail) {
        if let Some(page) = tail.page.take() {
            self.sealed.lock().push(page);
        }
    }

    fn append<'r>(
        &self,
        tail: &mut Tail,
        hot: &HotImage,
        first: RowId,
        rows: impl Iterator<Item = &'r [u8]>,
        prepared: &mut Prepared,
    ) {
        let mut rows = rows.peekable();
        let mut next = first;
        while let Some(row) = rows.peek() {
            let address = PageAddress { heap: self.id, segment: first.segment(), first_slot: next.slot() };
            if row.len() > MAX_SLOTTED_ROW {
                self.seal_page(tail);
                let bytes = HEADER_BYTES + row.len();
                let page = PageSlot::resident(address, Resident::jumbo(address, row, prepared.take(bytes)));
                hot.push(Arc::clone(&page), bytes as u64);
                self.sealed.lock().push(page);
                tail.bytes += row.len() as u64;
                rows.next();
                next = next.next();
                tail.live_rows += 1;
                continue;
            }
            let resident = tail.page.as_ref().and_then(|page| page.resident_page());
            let mut appender = resident
                .as_ref()
                .and_then(|resident| resident.appendable())
                .map(|page| page.appender().expect("rule 1: the commit section is the only writer"));
            if let Some(appender) = appender.as_mut().filter(|appender| appender.fits(row.len())) {
                while let Some(row) = rows.next_if(|row| appender.append(row)) {
                    tail.bytes += row.len() as u64;
                    tail.live_rows += 1;
                    next = next.next();
                }
                continue;
            }
            drop(appender);
            self.seal_page(tail);
            let memory = prepared.take(PAGE_BYTES);
            let page = PageSlot::resident(address, Resident::append_page(address, memory));
            hot.push(Arc::clone(&page), PAGE_BYTES as u64);
            tail.page = Some(page);
        }
    }

    /// Marks rows as ended by commit `end_ts`, each with its successor if it has one (commit section, replay). Rows
    /// whose segment is gone, and those that are marked already, are left alone.
    pub fn apply_marks(
        &self,
        end_ts: Timestamp,
        marks: &[(RowId, Option<Successor>)],
        prepared: &mut Prepared,
    ) {
        let mut sorted = Vec::new();
        let marks = if marks.is_sorted_by_key(|(row, _)| *row) {
            marks
        } else {
            sorted.extend_from_slice(marks);
            sorted.sort_unstable_by_key(|(row, _)| *row);
            &sorted
        };
        let mut ended = 0;
        for group in marks.chunk_by(|left, right| left.0.segment() == right.0.segment()) {
            let segment = group[0].0.segment();
            let Some(entry) = self.directory.get(segment) else { continue };
            debug_assert!(group.iter().all(|(row, _)| *row < self.end()), "rule 2: a mark on a row to come");
            ended += entry.marks.apply(end_ts, group, |bytes| prepared.take(bytes));
            self.list_prunable(&entry);
        }
        self.count_ended(ended, marks.len());
    }

    /// As [`apply_marks`](Self::apply_marks), for many marks on one segment.
    pub fn apply_dense(
        &self,
        end_ts: Timestamp,
        segment: SegmentId,
        marks: DenseMarks,
        prepared: &mut Prepared,
    ) {
        let count = marks.count() as usize;
        let mut ended = 0;
        if let Some(entry) = self.directory.get(segment) {
            ended = entry.marks.apply_dense(end_ts, marks, |bytes| prepared.take(bytes));
            self.list_prunable(&entry);
        }
        self.count_ended(ended, count);
    }

    fn list_prunable(&self, entry: &SegmentEntry) {
        if entry.marks.has_groups() && !entry.marks.listed.swap(true, Ordering::SeqCst) {
            self.prunable.lock().push(entry.id);
        }
    }

    /// Notes that so many rows have ended, of those that were to.
    fn count_ended(&self, ended: u32, marks: usize) {
        let mut tail = self.tail.lock();
        tail.live_rows -= i64::from(ended);
        tail.repeated |= ended as usize != marks;
    }

    /// Makes a column block of `rows` rows in `slots` slots the segment `segment`, which must be
    /// [`next_segment`](Self::next_segment) (commit section, replay). Does nothing where the manifest has it.
    pub fn adopt(&self, segment: SegmentId, block: BlockId, slots: u32, rows: u32) {
        debug_assert!(slots > 0 && slots <= SLOTS_PER_SEGMENT && rows == slots, "a load has no holes");
        let tail = &mut *self.tail.lock();
        let end = segment.first_row().offset(slots.into());
        if end <= self.persisted_end {
            tail.repeated = true;
            return;
        }
        debug_assert!(segment.first_row() >= self.end(), "rule 1: a load lands below the end {}", self.end());
        if self.directory.get(segment).is_some() {
            // Rewritten after the checkpoint that replay starts from.
            tail.repeated = true;
        } else {
            let image = ColumnImage::new(self.env.clone(), self.handle(block), slots, rows);
            let marks = Arc::new(Marks::new(self.id, segment, None, 0));
            let image = Image::Column(Arc::new(image));
            self.directory.put(Arc::new(SegmentEntry { id: segment, image, marks }));
        }
        tail.live_rows += i64::from(slots);
        self.seal_page(tail);
        tail.bytes = 0;
        self.end.store(end.get(), Ordering::Release);
    }

    /// Ends a commit: snapshots from `ts` on see what was applied. `live_delta` is what the commit adds to the count of
    /// rows; in replay, effects that were there already do not count again.
    pub fn seal_commit(&self, ts: Timestamp, live_delta: i64) {
        let tail = &mut *self.tail.lock();
        let counted = tail.live_rows - tail.sealed_live_rows;
        let repeated = std::mem::take(&mut tail.repeated);
        debug_assert!(
            repeated || counted == live_delta,
            "rule 5: {counted} rows counted, {live_delta} announced"
        );
        tail.sealed_live_rows = tail.live_rows;
        let row_end = self.end();
        let (_, newest) = self.versions.newest();
        if repeated && counted == 0 && newest.row_end == row_end {
            return;
        }
        let live_rows = u64::try_from(tail.live_rows).unwrap_or(0);
        self.versions.push(ts, Version { row_end, live_rows });
    }
}
