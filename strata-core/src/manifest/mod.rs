//! The manifest: the log of edits that maps logical to physical.
//!
//! **State** ([`ManifestState`]) is plain data: which blocks hold which segments, marks and index entries, where the
//! journal starts, and the counters that are never reused. An [`Edit`] changes it; [`ManifestState::apply`] is pure
//! and is the only code that does.
//!
//! **Log.** `MANIFEST-NNNNNN` is a header page, then groups of edits, each on a 4 KiB boundary with checksums and
//! chained to the one before it (`docs/format/manifest.md` has the byte tables). The first groups are a snapshot:
//! the edits that make the state out of nothing. `CURRENT` names the file in use. A new file with a new snapshot is
//! written at each opening and past a size; `CURRENT` is then replaced by a rename, and the folder synced.
//!
//! **Commit.** A group is all or none, and part of the database once it is synced; the next one is written only
//! then. An empty group is written behind each synced one at once, for the next to overwrite. So only what no
//! intact group follows can be a torn tail, and a group that was synced is not that for long:
//!
//! | evidence | verdict |
//! |---|---|
//! | a group of another version stands there, or behind it | `UnsupportedFormat`; nothing is written |
//! | the file is shorter than a group says | damage: `Corrupt` with file and offset |
//! | the group belongs to the snapshot | damage: `Corrupt` with file and offset |
//! | an intact group of this file stands behind it | damage: `Corrupt` with file and offset |
//! | none | torn tail: the group was never committed |
//!
//! A file that was cut short looks like an older state, whose blocks have been used again: so each group tells how long the
//! file was, and no cut leaves only groups that tell of less.
//!
//! **Failure.** Room is made (zeros, synced) before a group is written: a full disk shows there, with nothing done.
//! A failure of the group's own write or sync latches: every later commit fails with `Poisoned`.
//!
//! **Rule 6** is the caller's to keep: [`Manifest::commit`] takes the highest journal position whose effects the
//! named blocks contain, and the journal must be durable to there.
//!
//! **Locks.** `log` is held over I/O by commits; readers of the state take none.

mod codec;
mod current;
mod edit;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod group;
mod log;
mod state;
mod store;

#[cfg(test)]
mod tests;

pub use edit::{Counters, Edit, HotPageMeta, SegmentImage, SsTableMeta};
pub use state::{HeapState, ManifestState, SegmentState, UNNAMED_SEGMENTS_MAX};
pub use store::{FoundManifest, Manifest, REWRITE_BYTES};
