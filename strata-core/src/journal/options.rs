//! What can be chosen when a journal is opened.

use crate::error::{Error, Result};
use crate::ids::Lsn;
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
    /// The newest format of a record that the caller reads, where records begin with its number: a journal that has a newer one is
    /// not opened. `None` takes any.
    pub newest_format: Option<u8>,
}

impl JournalOptions {
    pub(super) fn rounded_segment_bytes(&self) -> u64 {
        (self.segment_bytes / ALIGNMENT).max(3) * ALIGNMENT
    }

    /// Refuses records of a format that the caller does not read.
    pub(super) fn check_format(&self, newest: Option<(u8, Lsn)>) -> Result<()> {
        match (self.newest_format, newest) {
            (Some(supported), Some((found, at))) if found > supported => Err(Error::UnsupportedFormat {
                what: format!("the record at position {at} of the journal"),
                found: found.into(),
                supported: supported.into(),
            }),
            _ => Ok(()),
        }
    }
}

impl Default for JournalOptions {
    fn default() -> Self {
        Self { segment_bytes: 16 << 20, recycled_segments: 2, pool: None, newest_format: None }
    }
}
