//! What the journal's users and its threads share.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use parking_lot::{Condvar, Mutex};

use crate::error::{Error, Result};
use crate::ids::Lsn;
use crate::journal::batch::HEADER_BYTES;
use crate::journal::recovery::OldSegment;
use crate::journal::sleeper::Sleeper;
use crate::journal::space::Space;
use crate::journal::writer::Writer;

/// A pending buffer that grew beyond this, or beyond its part of memory, is given back after its flush.
const KEPT_BUFFER_BYTES: usize = 4 << 20;
/// What is kept is on nobody's account: so small a part of memory.
const KEPT_BUFFER_PART: usize = 64;

/// The journal's state. See the module doc for the order of its locks.
pub(super) struct Shared {
    pub pending: Mutex<Pending>,
    /// The end of what was appended.
    pub appended: AtomicU64,
    /// The end of what is synced.
    pub durable: AtomicU64,
    pub writer: Mutex<Writer>,
    pub space: Space,
    /// Segments that are not written to any more, ascending.
    pub segments: Mutex<Vec<ClosedSegment>>,
    pub latch: OnceLock<String>,
    pub waiters: Mutex<()>,
    pub durable_changed: Condvar,
    pub sync_thread: Sleeper,
    pub prepare_thread: Sleeper,
    pub stopping: AtomicBool,
}

/// Records that no flush has taken yet.
pub(super) struct Pending {
    /// Room for a batch header, then frames.
    pub buffer: Vec<u8>,
    pub end: Lsn,
}

/// A segment that waits for truncation.
pub(super) struct ClosedSegment {
    pub path: PathBuf,
    pub end: Lsn,
    /// Made in this epoch, so that no replay reads it.
    pub recyclable: bool,
}

impl ClosedSegment {
    /// One that is removed, never used again.
    pub fn unused(path: PathBuf, end: Lsn) -> Self {
        Self { path, end, recyclable: false }
    }
}

impl From<OldSegment> for ClosedSegment {
    fn from(old: OldSegment) -> Self {
        Self::unused(old.path, old.end)
    }
}

impl Shared {
    pub fn durable(&self) -> Lsn {
        Lsn::new(self.durable.load(Ordering::SeqCst))
    }

    /// Bytes of the stream that are appended and not yet durable.
    pub fn in_flight(&self) -> u64 {
        let durable = self.durable.load(Ordering::SeqCst);
        self.appended.load(Ordering::SeqCst).saturating_sub(durable)
    }

    pub fn check_latch(&self) -> Result<()> {
        match self.latch.get() {
            Some(reason) => Err(Error::Poisoned { reason: reason.clone() }),
            None => Ok(()),
        }
    }

    /// Writes and syncs what was appended before the call.
    pub fn flush(&self) -> Result<Lsn> {
        let mut writer = self.writer.lock();
        self.check_latch()?;
        let mut buffer = std::mem::take(&mut writer.buffer);
        debug_assert_eq!(buffer.len(), HEADER_BYTES);
        let end = {
            let mut pending = self.pending.lock();
            if pending.buffer.len() == HEADER_BYTES {
                writer.buffer = buffer;
                return Ok(self.durable());
            }
            std::mem::swap(&mut pending.buffer, &mut buffer);
            pending.end
        };
        let written = writer.write(self, &mut buffer);
        if buffer.capacity() > self.kept_buffer_bytes() {
            buffer = Vec::new();
        }
        buffer.clear();
        buffer.resize(HEADER_BYTES, 0);
        writer.buffer = buffer;
        if let Err(error) = written {
            self.poison(&error);
            return Err(error);
        }
        self.durable.store(end.get(), Ordering::SeqCst);
        drop(writer);
        self.notify_waiters();
        Ok(end)
    }

    fn kept_buffer_bytes(&self) -> usize {
        let part = self.space.pool.as_ref().map(|pool| pool.cap() / KEPT_BUFFER_PART);
        part.map_or(KEPT_BUFFER_BYTES, |part| part.min(KEPT_BUFFER_BYTES))
    }

    pub fn poison(&self, error: &Error) {
        let reason = format!("a journal write failed: {error}");
        tracing::error!(%reason, "the journal is closed for writing");
        // The first failure stays.
        let _ = self.latch.set(reason);
        let mut pending = self.pending.lock();
        pending.buffer = vec![0; HEADER_BYTES];
        drop(pending);
        self.notify_waiters();
    }

    fn notify_waiters(&self) {
        drop(self.waiters.lock());
        self.durable_changed.notify_all();
    }
}

/// Shared state behind a journal and its threads.
pub(super) type SharedRef = Arc<Shared>;
