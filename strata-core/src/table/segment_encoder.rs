//! Encoding the segments of a bulk load, beside whoever brings the rows of the next.
//!
//! One segment is under way at a time, on threads of its own: its rows, in one piece, and its block stay charged until it is
//! collected. Small segments, which are those of a small memory, are encoded at once by the caller, for what the allocator
//! keeps for each thread counts there. Nothing here does I/O.
//!
//! A simulation has no threads. There a segment that would have some is under way all the same, and is encoded by whoever
//! collects it: what a load does, and in which order, is then the same on any machine.

use std::thread::JoinHandle;

use arrow_array::{Array, RecordBatch};

use crate::error::{Error, Result};
use crate::heap::column::{self, EncodeOptions};
use crate::ids::ColumnId;
use crate::memory::Reservation;
use crate::row::ColumnType;

/// Columns that are encoded at a time.
const MAX_THREADS: usize = 4;
/// Segments of fewer bytes of Arrow data are encoded by the caller (see [`BulkSizes`](super::BulkSizes)).
pub const BESIDE_FROM_BYTES: usize = 4 << 20;

/// How many threads encode a segment where nobody says: as many as there are cores, up to [`MAX_THREADS`].
pub fn usual_threads() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from).min(MAX_THREADS)
}

/// The rows of a segment, not encoded yet.
pub(super) struct Segment {
    pub columns: Vec<(ColumnId, ColumnType)>,
    /// The rows, one batch after the other.
    pub batches: Vec<RecordBatch>,
    pub rows: u32,
    /// Bytes of Arrow data.
    pub bytes: usize,
    /// What the batches take, the columns in one piece, and the block.
    pub memory: Reservation,
}

/// A segment as a block is to hold it.
pub(super) struct EncodedSegment {
    pub payload: Vec<u8>,
    pub rows: u32,
    _memory: Reservation,
}

/// Encodes segments in the order in which they come.
pub(super) struct SegmentEncoder {
    /// Bytes of Arrow data from which on a segment has threads of its own.
    beside_from: usize,
    /// How many, the one that has the others work among them. Where it is one, the caller's serves as well.
    threads: usize,
    under_way: Option<UnderWay>,
}

enum UnderWay {
    Thread(JoinHandle<Result<EncodedSegment>>),
    /// There are no threads.
    Waiting(Box<Segment>),
}

impl SegmentEncoder {
    /// See [`Sizes::encode_threads`](crate::Sizes::encode_threads).
    pub fn new(beside_from: usize, threads: usize) -> Self {
        Self { beside_from, threads, under_way: None }
    }

    /// Encodes a segment: at once, or on threads of its own, to be [collected](Self::collect). None may be under way.
    ///
    /// # Errors
    /// `Invalid` where the arrays do not fit together; `TooLarge`; `Io` where the system gives no thread.
    pub fn start(&mut self, segment: Segment) -> Result<Option<EncodedSegment>> {
        debug_assert!(self.under_way.is_none(), "one segment at a time");
        let threads = self.threads;
        if threads == 1 || segment.bytes < self.beside_from {
            return segment.encode(1).map(Some);
        }
        if threads == 0 {
            self.under_way = Some(UnderWay::Waiting(Box::new(segment)));
            return Ok(None);
        }
        let thread =
            std::thread::Builder::new().name("strata-encode".into()).spawn(move || segment.encode(threads));
        let thread = thread.map_err(|error| Error::io("start a thread for", "a bulk load", error))?;
        self.under_way = Some(UnderWay::Thread(thread));
        Ok(None)
    }

    /// Whether a segment is under way.
    pub fn is_busy(&self) -> bool {
        self.under_way.is_some()
    }

    /// The segment that is under way, if one is, when it is done.
    ///
    /// # Errors
    /// Those of [`start`](Self::start).
    pub fn collect(&mut self) -> Result<Option<EncodedSegment>> {
        match self.under_way.take() {
            None => Ok(None),
            Some(UnderWay::Waiting(segment)) => segment.encode(1).map(Some),
            Some(UnderWay::Thread(thread)) => {
                thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)).map(Some)
            }
        }
    }
}

impl Drop for SegmentEncoder {
    fn drop(&mut self) {
        // Its memory is given back before the load is gone; what came of it is nobody's concern any more.
        if let Some(UnderWay::Thread(thread)) = self.under_way.take() {
            let _ = thread.join();
        }
    }
}

impl Segment {
    fn encode(self, threads: usize) -> Result<EncodedSegment> {
        let mut columns = Vec::with_capacity(self.columns.len());
        for (place, (id, column_type)) in self.columns.into_iter().enumerate() {
            let parts = self.batches.iter().filter_map(|batch| batch.columns().get(place));
            let parts: Vec<&dyn Array> = parts.map(AsRef::as_ref).collect();
            let whole =
                arrow_select::concat::concat(&parts).map_err(|error| Error::Invalid(error.to_string()))?;
            columns.push((id, column_type, whole));
        }
        drop(self.batches);
        let options = EncodeOptions { threads, ..EncodeOptions::default() };
        let payload = column::encode_block(&columns, None, self.rows, &options)?;
        Ok(EncodedSegment { payload, rows: self.rows, _memory: self.memory })
    }
}
