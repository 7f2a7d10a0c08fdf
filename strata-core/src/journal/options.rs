//! What can be chosen when a journal is opened.

use crate::journal::batch::ALIGNMENT;
use crate::memory::MemoryPool;

/// Sizes of the journal's files, and its memory.
#[derive(Clone, Debug)]
pub struct JournalOptions {
    /// Length of a segment file in bytes, header page included. Rounded to whole pages of 4 KiB, three at least.
    pub segment_bytes: u64,
    /// How many truncated segments to keep for reuse. A reused segment costs no zero-filling.
    pub recycled_segments: usize,
    /// Where reservations take the memory of the records that wait for their sync; `None` leaves it uncounted.
    pub pool: Option<MemoryPool>,
}

impl JournalOptions {
    pub(super) fn rounded_segment_bytes(&self) -> u64 {
        (self.segment_bytes / ALIGNMENT).max(3) * ALIGNMENT
    }
}

impl Default for JournalOptions {
    fn default() -> Self {
        Self { segment_bytes: 16 << 20, recycled_segments: 2, pool: None }
    }
}
