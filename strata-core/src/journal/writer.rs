//! Writing batches to the active segment.

use std::sync::atomic::Ordering;

use crate::error::{Error, Result};
use crate::ids::Lsn;
use crate::journal::batch::{ALIGNMENT, BatchHeader, HEADER_BYTES, MAX_BATCH_BYTES};
use crate::journal::segment::Segment;
use crate::journal::shared::{ClosedSegment, Shared};

/// The end of the journal's files. Whoever holds it writes.
pub(super) struct Writer {
    pub active: Segment,
    /// Where the next batch begins.
    pub offset: u64,
    pub epoch: u64,
    /// Where the epoch was cut from the one before.
    pub epoch_start: Lsn,
    /// The stream position of the next batch.
    pub position: Lsn,
    /// The checksum that the next batch is chained to.
    pub previous: u32,
    /// The buffer that is not pending: room for a header, else empty.
    pub buffer: Vec<u8>,
}

impl Writer {
    /// Writes and syncs the frames in `buffer`, which begin behind room for a header. The stream is cut into batches
    /// that fill each segment to its end; the header of a further batch goes over bytes that are already written.
    pub fn write(&mut self, shared: &Shared, buffer: &mut Vec<u8>) -> Result<()> {
        let durable = shared.durable();
        let end = buffer.len();
        let mut at = HEADER_BYTES;
        while at < end {
            let mut room = self.active.bytes.saturating_sub(self.offset);
            if room < ALIGNMENT {
                self.switch(shared)?;
                room = self.active.bytes - self.offset;
            }
            let most = usize::try_from(room).unwrap_or(MAX_BATCH_BYTES).min(MAX_BATCH_BYTES);
            let count = (end - at).min(most - HEADER_BYTES);
            let header = BatchHeader {
                epoch: self.epoch,
                segment: self.active.number,
                position: self.position,
                durable,
                previous: self.previous,
                payload_bytes: u32::try_from(count).expect("a batch is at most 1 MiB"),
            };
            let begin = at - HEADER_BYTES;
            let total = header.total_bytes();
            let behind = begin + usize::try_from(total).expect("a batch is at most 1 MiB");
            let (bytes, checksum) = header.encode(&buffer[at..at + count]);
            buffer[begin..at].copy_from_slice(&bytes);
            if buffer.len() < behind {
                buffer.resize(behind, 0);
            }
            self.active
                .file
                .write_at(self.offset, &buffer[begin..behind])
                .map_err(|source| Error::io("write", &self.active.path, source))?;
            self.offset += total;
            self.position = header.end();
            self.previous = checksum;
            shared.space.wrote(total);
            at += count;
        }
        self.sync()?;
        if shared.space.wants_spare() {
            shared.prepare_thread.wake();
        }
        Ok(())
    }

    fn sync(&self) -> Result<()> {
        self.active.file.sync().map_err(|source| Error::io("sync", &self.active.path, source))
    }

    /// Goes on in the next segment.
    fn switch(&mut self, shared: &Shared) -> Result<()> {
        self.sync()?;
        let next = shared.space.take_segment()?;
        let full = std::mem::replace(&mut self.active, next);
        self.offset = ALIGNMENT;
        shared.space.low_water.store(self.active.bytes / 2, Ordering::SeqCst);
        let closed = ClosedSegment { path: full.path, end: self.position, recyclable: true };
        shared.segments.lock().push(closed);
        Ok(())
    }
}
