//! Which errors are right: each must be one that the state excuses.
//!
//! | error | what excuses it | judged |
//! |---|---|---|
//! | `Io`, `DiskFull` | the disk failed a call since the step, or the client's action, began | here |
//! | `Poisoned` | the disk failed a call since the database was opened | here |
//! | `OutOfMemory` | the plan has little memory; at the end, when all others have gone, [one more commit](super::probe) has enough | here |
//! | `Deadlock` | another client waits, or did while this one waited | here |
//! | `DuplicateKey`, `NotNull`, `TooLarge`, a second primary key | rows and definitions of the newest state; of an index, NULLs that the snapshot shows | by the statement: [`refusal`](super::refusal) |
//! | `AlreadyExists`, `NotFound`, a schema that is not empty | names of the newest state | by the statement: [`refusal`](super::refusal) |
//! | `SerializationFailure` | the row changed after the snapshot | by who locks it |
//! | `ReadConflict` | something changed that was read; or the disk failed when a condition was to be asked of a changed row | by who commits |
//! | `Corrupt` and all others | nothing: what a disk fails is never taken for what was written | here |

use strata_core::Error;

/// What an error that a step met may be due to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Circumstances {
    /// The disk has failed a call since the database was opened.
    pub(super) disk_failed: bool,
    /// It has since the step began, or the action of a client that had to wait.
    pub(super) disk_failed_meanwhile: bool,
    /// Other clients wait, or did meanwhile.
    pub(super) others_waited: bool,
    /// The plan has little memory.
    pub(super) little_memory: bool,
}

/// Fails, in words, where nothing excuses the error.
pub(super) fn excuse(error: &Error, circumstances: Circumstances) -> Result<(), String> {
    let Circumstances { disk_failed, disk_failed_meanwhile, others_waited, little_memory } = circumstances;
    let (excused, state) = match error {
        Error::Io { .. } | Error::DiskFull { .. } => (disk_failed_meanwhile, "the disk works"),
        Error::Poisoned { .. } => (disk_failed, "the disk has never failed"),
        Error::OutOfMemory { .. } => (little_memory, "there is memory"),
        Error::Deadlock => (others_waited, "nobody else waits"),
        _ => (false, "nothing excuses it"),
    };
    match excused {
        true => Ok(()),
        false => Err(format!("{state}, and it said: {error}")),
    }
}
