//! Room on the disk, before it is needed.
//!
//! `free` bytes are left in the active segment and in the prepared ones behind it. What is promised to writers and
//! what is appended but not yet written must fit; a reservation that does not makes segments until it does. Where the disk has no
//! room for one of them, the others are given up again, from the last one on, so that there is room for what is smaller: a flush above
//! all, which may be what makes room.

use std::collections::VecDeque;
use std::io::ErrorKind;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use crate::error::{Error, Result};
use crate::journal::batch::{ALIGNMENT, HEADER_BYTES, MAX_BATCH_BYTES};
use crate::journal::record::{FRAME_BYTES, MAX_RECORD_BYTES};
use crate::journal::segment::{Segment, SegmentHeader, file_name};
use crate::journal::shared::{Shared, SharedRef};
use crate::memory::{MemoryPool, Reservation};
use crate::vfs::Vfs;

/// An epoch's segments grow from the first, short one; so many more ends can break a batch in two.
const SHORT_SEGMENTS: u64 = 3;

/// An epoch begins in a short segment, since opening waits for it to be filled, and goes on in longer ones.
const FIRST_BYTES: u64 = 1 << 20;

/// The length of an epoch's first segment, where the others have at most `segment_bytes`.
pub(super) fn first_bytes(segment_bytes: u64) -> u64 {
    segment_bytes.min(FIRST_BYTES)
}

/// Prepared segments and what is promised of them.
pub(super) struct Space {
    pub vfs: Arc<dyn Vfs>,
    pub dir: PathBuf,
    pub segment_bytes: u64,
    pub pool: Option<MemoryPool>,
    pub free: AtomicU64,
    pub promised: AtomicU64,
    /// Below this much in `free` a spare segment is wanted: half of the active one.
    pub low_water: AtomicU64,
    pub ready: Mutex<VecDeque<Segment>>,
    /// Held while a segment is made.
    pub preparer: Mutex<Preparer>,
}

/// What making a segment takes.
pub(super) struct Preparer {
    pub epoch: u64,
    pub next_segment: u64,
    /// How long it will be: four times the one before, up to the full size.
    pub next_bytes: u64,
    /// Truncated segments that can be used again.
    pub recycled: Vec<PathBuf>,
}

impl Space {
    /// Makes segments ready until what is promised fits.
    fn prepare_promised(&self, shared: &Shared) -> Result<()> {
        while !self.suffices(shared) {
            let mut preparer = self.preparer.lock();
            // Of all who found too little, the first makes the segment that the others wait for.
            if !self.suffices(shared) {
                self.prepare_locked(&mut preparer)?;
            }
        }
        Ok(())
    }

    /// Makes a segment ready unless there is one.
    pub fn prepare_spare(&self) -> Result<()> {
        let mut preparer = self.preparer.lock();
        if self.has_spare() {
            return Ok(());
        }
        self.prepare_locked(&mut preparer)
    }

    /// Gives up what nobody was promised, but for a spare that is wanted anyway.
    ///
    /// Numbers of segments that were given up are handed out again, so each must be gone for good before the one before it goes: if
    /// the power fails, none stands behind a segment that is made, or an epoch that begins, under a lower number. Where that
    /// cannot be had, this ends.
    fn give_up_unpromised(&self, shared: &Shared) {
        let mut preparer = self.preparer.lock();
        // The one that could not be made is behind them all.
        let mut gone = self.remove(preparer.next_segment);
        while gone.is_ok()
            && let Some(segment) = self.take_unpromised(shared)
        {
            debug_assert_eq!(segment.number + 1, preparer.next_segment, "numbers have no gaps");
            preparer.next_segment = segment.number;
            preparer.next_bytes = segment.bytes;
            gone = self.remove(segment.number);
        }
        if let Err(error) = gone {
            tracing::warn!(%error, "journal segments that nobody needs are kept");
        }
    }

    /// Takes the last prepared segment away if all promises are kept without it.
    fn take_unpromised(&self, shared: &Shared) -> Option<Segment> {
        let mut ready = self.ready.lock();
        let room = ready.back()?.bytes - ALIGNMENT;
        // First the room, then the look: who reserves meanwhile finds too little and waits for the preparer, or is seen here.
        let left = self.free.fetch_sub(room, Ordering::SeqCst) - room;
        let is_wanted = ready.len() == 1 && left < self.low_water.load(Ordering::SeqCst);
        if is_wanted || !self.suffices(shared) {
            self.free.fetch_add(room, Ordering::SeqCst);
            return None;
        }
        ready.pop_back()
    }

    /// Removes a segment's file for good, if it is there.
    pub fn remove(&self, segment: u64) -> Result<()> {
        let path = self.dir.join(file_name(segment));
        let gone = match self.vfs.remove(&path) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
            _ => self.vfs.sync_dir(&self.dir),
        };
        gone.map_err(|source| Error::io("remove", &path, source))
    }

    fn prepare_locked(&self, preparer: &mut Preparer) -> Result<()> {
        let bytes = preparer.next_bytes;
        let header = SegmentHeader {
            epoch: preparer.epoch,
            segment: preparer.next_segment,
            cut: None,
            file_bytes: bytes,
        };
        let recycled = preparer.recycled.pop();
        let segment = Segment::prepare(&*self.vfs, &self.dir, header, recycled.as_deref())?;
        preparer.next_segment += 1;
        preparer.next_bytes = bytes.saturating_mul(4).min(self.segment_bytes);
        self.free.fetch_add(segment.bytes - ALIGNMENT, Ordering::SeqCst);
        self.ready.lock().push_back(segment);
        Ok(())
    }

    pub fn first_bytes(&self) -> u64 {
        first_bytes(self.segment_bytes)
    }

    fn has_spare(&self) -> bool {
        !self.ready.lock().is_empty()
    }

    /// Whether the active segment is more than half full and none stands behind it.
    pub fn wants_spare(&self) -> bool {
        self.free.load(Ordering::SeqCst) < self.low_water.load(Ordering::SeqCst) && !self.has_spare()
    }

    /// The next segment to write to.
    pub fn take_segment(&self) -> Result<Segment> {
        loop {
            if let Some(segment) = self.ready.lock().pop_front() {
                return Ok(segment);
            }
            self.prepare_spare()?;
        }
    }

    /// Accounts bytes that a batch took.
    pub fn wrote(&self, bytes: u64) {
        self.free.fetch_sub(bytes, Ordering::SeqCst);
    }

    fn suffices(&self, shared: &Shared) -> bool {
        let in_flight = shared.in_flight();
        let unwritten = if in_flight == 0 { 0 } else { self.cost(in_flight) };
        let promised = self.promised.load(Ordering::SeqCst);
        promised.saturating_add(unwritten) <= self.free.load(Ordering::SeqCst)
    }

    /// The most that `bytes` of stream can take in the files: its last page's padding, a header for each batch, and
    /// a batch broken in two at each end of a segment.
    fn cost(&self, bytes: u64) -> u64 {
        let batches = bytes / (MAX_BATCH_BYTES - HEADER_BYTES) as u64 + 1;
        let segments = bytes / (self.segment_bytes - ALIGNMENT) + 1;
        bytes.next_multiple_of(ALIGNMENT) + (batches + 2 * segments + SHORT_SEGMENTS) * ALIGNMENT
    }
}

/// Room for one record, held until the record is durable. Dropping it gives the promise back.
#[must_use]
pub struct JournalSpace {
    shared: SharedRef,
    cost: u64,
    /// The bytes that the record takes in the pending buffer and in the one being written.
    _memory: Option<Reservation>,
}

impl std::fmt::Debug for JournalSpace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("JournalSpace").field("cost", &self.cost).finish_non_exhaustive()
    }
}

impl JournalSpace {
    /// Room for a record of `bytes`.
    pub(super) fn reserve(shared: &SharedRef, bytes: usize) -> Result<Self> {
        if bytes > MAX_RECORD_BYTES {
            let (size, limit) = (bytes as u64, MAX_RECORD_BYTES as u64);
            return Err(Error::TooLarge { what: "a journal record", size, limit });
        }
        shared.check_latch()?;
        let memory = match &shared.space.pool {
            Some(pool) => Some(pool.reserve("the journal", bytes + FRAME_BYTES)?),
            None => None,
        };
        let cost = shared.space.cost((bytes + FRAME_BYTES) as u64);
        shared.space.promised.fetch_add(cost, Ordering::SeqCst);
        let space = Self { shared: Arc::clone(shared), cost, _memory: memory };
        if let Err(error) = shared.space.prepare_promised(shared) {
            drop(space);
            shared.space.give_up_unpromised(shared);
            return Err(error);
        }
        Ok(space)
    }
}

impl Drop for JournalSpace {
    fn drop(&mut self) {
        self.shared.space.promised.fetch_sub(self.cost, Ordering::SeqCst);
    }
}
