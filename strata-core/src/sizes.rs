//! The sizes at which storage takes its next form.

use crate::block::FileBlockStoreOptions;
use crate::heap::SEGMENT_BYTES;
use crate::ids::SLOTS_PER_SEGMENT;
use crate::journal::JournalOptions;
use crate::lsm::LsmOptions;
use crate::manifest::REWRITE_BYTES;
use crate::table::{BESIDE_FROM_BYTES, MIN_BULK_ROWS, usual_encode_threads};

/// Sizes at which files, segments and loads take their next form. Small ones take a small database through every
/// form there is: for tests and simulations. A database may be opened with others than it was written with.
#[derive(Clone, Debug)]
pub struct Sizes {
    /// Row bytes at which a segment takes no more rows; of a bulk load, bytes of Arrow data. A thirty-second of the memory is
    /// the most, so that there is room to freeze it.
    pub segment_bytes: u64,
    /// Bulk loads of fewer rows go in as ordinary ones.
    pub bulk_rows: usize,
    /// Segments of a bulk load of so many bytes are encoded by threads beside whoever brings the next rows.
    pub beside_bytes: usize,
    /// How many threads that takes: by default one for each core, up to four; where it is one, whoever brings the rows encodes them.
    /// With none, such a segment waits until the next one is full: for simulations, which have no threads.
    pub encode_threads: usize,
    /// Own rows of a transaction in a table that are kept in memory; a segment at most.
    pub own_rows: usize,
    /// Length of a file of the journal, in bytes.
    pub journal_file_bytes: u64,
    /// By how many bytes the manifest grows before it is rewritten.
    pub manifest_growth_bytes: u64,
    /// When the block file gives space back.
    pub blocks: FileBlockStoreOptions,
    /// Of the index.
    pub index: LsmOptions,
}

impl Default for Sizes {
    fn default() -> Self {
        Self {
            segment_bytes: SEGMENT_BYTES,
            bulk_rows: MIN_BULK_ROWS,
            beside_bytes: BESIDE_FROM_BYTES,
            encode_threads: usual_encode_threads(),
            own_rows: SLOTS_PER_SEGMENT as usize,
            journal_file_bytes: JournalOptions::default().segment_bytes,
            manifest_growth_bytes: REWRITE_BYTES,
            blocks: FileBlockStoreOptions::default(),
            index: LsmOptions::default(),
        }
    }
}
