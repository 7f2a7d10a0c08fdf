//! Files, directories, time and randomness: all that the engine asks of the system goes through here, so that
//! a test can lose unsynced bytes (`MemVfs`), fail the i-th call (`FaultVfs`),
//! fill the disk (`SmallDisk`) or fix the clock.
//!
//! **Durability.** Bytes written are durable once [`File::sync`] has returned; a file created, renamed or removed
//! is so once [`Vfs::sync_dir`] of its folder has returned; a folder that was made, by that of the one above it ([`make_dir`]). Nothing
//! else is promised.

mod clock;
mod fault;
mod folders;
mod mem;
mod os;
mod random;
mod small_disk;

pub use self::clock::{Clock, ManualClock, SystemClock};
pub use self::fault::{FailedCall, Fault, FaultEffect, FaultVfs, IoKind};
pub use self::folders::make_dir;
pub use self::mem::MemVfs;
pub use self::os::OsVfs;
pub use self::random::{Random, SeededRandom};
pub use self::small_disk::SmallDisk;

use std::fmt::Debug;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// How a file is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenMode {
    /// An existing file, for reading.
    Read,
    /// An existing file, for reading and writing.
    ReadWrite,
    /// A file that must not exist yet, for reading and writing.
    CreateNew,
    /// For reading and writing; made empty if it is not there.
    CreateOrOpen,
}

/// A file system. All paths are those of the system; errors are the system's own.
pub trait Vfs: Send + Sync + Debug {
    /// Opens a file.
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>>;
    /// Makes a directory and those above it.
    fn create_dir_all(&self, path: &Path) -> io::Result<()>;
    /// The names (not paths) of the entries of a directory, in any order.
    fn read_dir(&self, path: &Path) -> io::Result<Vec<PathBuf>>;
    /// Renames a file, replacing what has the new name.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Whether a file or directory is there.
    fn exists(&self, path: &Path) -> io::Result<bool>;
    /// Makes the entries of a directory durable.
    fn sync_dir(&self, path: &Path) -> io::Result<()>;
    /// Takes the exclusive lock of a file that is made if need be; `None` where somebody else holds it. The lock
    /// ends with the value, or the process.
    fn try_lock(&self, path: &Path) -> io::Result<Option<Box<dyn Lock>>>;
}

/// An open file. Reads and writes name their offset; there is no cursor.
pub trait File: Send + Sync + Debug {
    /// Reads at most `buffer.len()` bytes at `offset`; 0 at the end of the file.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize>;
    /// Writes all of `data` at `offset`, growing the file if need be (a gap reads as zeros).
    fn write_at(&self, offset: u64, data: &[u8]) -> io::Result<()>;
    /// Makes all that was written durable, with the length.
    fn sync(&self) -> io::Result<()>;
    /// The length in bytes.
    fn len(&self) -> io::Result<u64>;
    /// Whether the length is zero.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }
    /// Cuts or grows (with zeros) the file.
    fn set_len(&self, len: u64) -> io::Result<()>;
    /// Gives the space of a byte range back to the system; the range then reads as zeros. Fails with `Unsupported`
    /// where the system cannot.
    fn punch_hole(&self, offset: u64, len: u64) -> io::Result<()>;

    /// Reads exactly `buffer.len()` bytes, or fails with `UnexpectedEof`.
    fn read_exact_at(&self, mut offset: u64, mut buffer: &mut [u8]) -> io::Result<()> {
        while !buffer.is_empty() {
            match self.read_at(offset, buffer) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(count) => {
                    offset += count as u64;
                    buffer = &mut buffer[count..];
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// A held file lock; dropping it releases it.
pub trait Lock: Send + Sync + Debug {}
