//! The journal: one logical stream of commit records, made durable in groups.
//!
//! **Stream.** A record is framed as `u32 length ++ payload` (see [`record`]); an [`Lsn`](crate::ids::Lsn) is a byte
//! position in the stream of frames. Batch headers, padding, segments and epochs do not count, so positions only
//! grow, over the whole life of a database.
//!
//! **Layout.** A folder of segment files (`docs/format/journal.md` has the byte tables). A segment is
//! a header page, then batches. A batch carries a piece of the stream of at most 1 MiB, begins on a 4 KiB boundary
//! and is never rewritten; a record may span batches and segments. A batch is chained to the one before it by
//! position and checksum, and tells in `durable` what was known to be synced when it was written.
//!
//! **Group commit.** [`Journal::append`] copies into the pending buffer under a short lock. [`Journal::flush`] takes
//! the whole buffer, writes it and syncs, while new records collect. Segments are filled with zeros and synced (or
//! recycled) before they are used, so that the sync of a batch changes no file metadata.
//!
//! **Epochs.** Each opening starts an epoch in a segment of its own, whose header names the *cut*: the position where
//! the epoch begins. Whatever older epochs hold at or past the cut is dead and never read again. Before that header
//! is written, the kept tail that is not known to be durable is rewritten and synced. [`Journal::shorten`] starts one too.
//!
//! **Recovery** reads the stream up to the first batch that is not intact, at position X:
//!
//! | evidence | verdict |
//! |---|---|
//! | X, or a place behind it, has a batch of another version | `UnsupportedFormat`; nothing is written |
//! | a file is shorter than its header says | damage: `Corrupt` with file and offset |
//! | a later epoch's cut lies beyond X | damage: `Corrupt` with file and offset |
//! | an intact batch of that epoch, at that place or later, says `durable` > X | damage: `Corrupt` with file and offset |
//! | the manifest builds on a position beyond the last whole record before X | `JournalTruncated` where nothing stands at X, else `Corrupt` |
//! | none | torn tail: cut behind the last whole record |
//!
//! **Failure.** A failed write or sync latches: the outcome of what was appended is unknown, and every later flush
//! fails with `Poisoned`. [`Journal::reserve`] is where a full disk or a full pool shows, before anything is appended; it leaves
//! the disk as it was then.
//!
//! **Locks**, in order: `writer` (held over writes and syncs) → `preparer` (held over the making of segments) →
//! `segments`, `ready`, `pending`, `waiters` (short, never nested, never over I/O). `append` takes `pending` only.

mod batch;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod options;
mod record;
mod recovery;
mod replay;
mod segment;
mod shared;
mod shorten;
mod sleeper;
mod space;
mod store;
mod sync_thread;
mod walk;
mod window;
mod writer;

#[cfg(test)]
mod tests;

pub use options::JournalOptions;
pub use record::{MAX_RECORD_BYTES, Record};
pub use recovery::verify;
pub use replay::Replay;
pub use space::JournalSpace;
pub use store::Journal;
