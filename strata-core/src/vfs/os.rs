//! The system's own file system.
//!
//! Reads and writes are `pread` and `pwrite`; [`File::sync`] is `fdatasync`, which includes the length. A lock is
//! an advisory lock on an open file, so the system drops it when the process dies, however it dies.

use std::fs;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{File, Lock, OpenMode, Vfs};

/// The system's own file system.
#[derive(Clone, Copy, Debug, Default)]
pub struct OsVfs;

impl OsVfs {
    /// The system's own file system.
    pub fn new() -> Self {
        Self
    }
}

impl Vfs for OsVfs {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        let mut options = fs::OpenOptions::new();
        options.read(true);
        match mode {
            OpenMode::Read => &mut options,
            OpenMode::ReadWrite => options.write(true),
            OpenMode::CreateNew => options.write(true).create_new(true),
            OpenMode::CreateOrOpen => options.write(true).create(true).truncate(false),
        };
        Ok(Arc::new(OsFile { file: options.open(path)? }))
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        fs::create_dir_all(path)
    }

    fn read_dir(&self, path: &Path) -> io::Result<Vec<PathBuf>> {
        fs::read_dir(path)?.map(|entry| Ok(PathBuf::from(entry?.file_name()))).collect()
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        path.try_exists()
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        fs::File::open(path)?.sync_all()
    }

    fn try_lock(&self, path: &Path) -> io::Result<Option<Box<dyn Lock>>> {
        Ok(OsLock::take(path)?.map(|lock| Box::new(lock) as Box<dyn Lock>))
    }
}

#[derive(Debug)]
struct OsFile {
    file: fs::File,
}

impl File for OsFile {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        self.file.read_at(buffer, offset)
    }

    fn write_at(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.file.write_all_at(data, offset)
    }

    fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }

    #[cfg(target_os = "linux")]
    fn punch_hole(&self, offset: u64, len: u64) -> io::Result<()> {
        use rustix::fs::FallocateFlags;
        if len == 0 {
            return Ok(());
        }
        let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        rustix::fs::fallocate(&self.file, flags, offset, len).map_err(io::Error::from)
    }

    #[cfg(not(target_os = "linux"))]
    fn punch_hole(&self, _offset: u64, _len: u64) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

/// A lock of an open file.
#[derive(Debug)]
struct OsLock {
    file: fs::File,
}

impl OsLock {
    fn take(path: &Path) -> io::Result<Option<Self>> {
        let file = fs::OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Self { file })),
            Err(fs::TryLockError::WouldBlock) => Ok(None),
            Err(fs::TryLockError::Error(error)) => Err(error),
        }
    }
}

impl Drop for OsLock {
    /// Closing the file would leave the lock to a child process that another thread has just forked, until it executes
    /// its program.
    fn drop(&mut self) {
        if let Err(error) = self.file.unlock() {
            tracing::warn!(%error, "cannot unlock the database's folder");
        }
    }
}

impl Lock for OsLock {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_written_read_cut_punched_and_renamed() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let vfs = OsVfs::new();
        let path = folder.path().join("a");
        assert!(vfs.open(&path, OpenMode::Read).is_err());
        let file = vfs.open(&path, OpenMode::CreateNew).expect("create");
        assert!(vfs.open(&path, OpenMode::CreateNew).is_err());
        file.write_at(4096, &[7; 8192]).expect("write");
        assert_eq!(file.len().expect("len"), 12_288);
        match file.punch_hole(4096, 4096) {
            Ok(()) => {
                let mut page = [1; 4096];
                file.read_exact_at(4096, &mut page).expect("read");
                assert_eq!(page, [0; 4096]);
                assert_eq!(file.len().expect("len"), 12_288);
            }
            Err(error) => assert_eq!(error.kind(), io::ErrorKind::Unsupported),
        }
        file.set_len(8192 + 10).expect("cut");
        let mut rest = [0; 10];
        file.read_exact_at(8192, &mut rest).expect("read");
        assert_eq!(rest, [7; 10]);
        assert_eq!(
            file.read_exact_at(8193, &mut rest).expect_err("past the end").kind(),
            io::ErrorKind::UnexpectedEof
        );
        file.sync().expect("sync");
        let renamed = folder.path().join("b");
        vfs.rename(&path, &renamed).expect("rename");
        vfs.sync_dir(folder.path()).expect("sync the folder");
        assert_eq!(vfs.read_dir(folder.path()).expect("list"), vec![PathBuf::from("b")]);
        vfs.remove(&renamed).expect("remove");
        assert!(!vfs.exists(&renamed).expect("exists"));
    }

    #[test]
    fn a_lock_is_exclusive_until_dropped() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("LOCK");
        let held = OsVfs.try_lock(&path).expect("lock").expect("free");
        assert!(OsVfs.try_lock(&path).expect("lock").is_none());
        drop(held);
        assert!(OsVfs.try_lock(&path).expect("lock").is_some());
    }

    /// A child process between fork and exec has the file too.
    #[test]
    fn a_dropped_lock_is_free_though_the_file_is_still_open_elsewhere() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("LOCK");
        let held = OsLock::take(&path).expect("lock").expect("free");
        let inherited = held.file.try_clone().expect("duplicates");
        drop(held);
        assert!(OsVfs.try_lock(&path).expect("lock").is_some());
        drop(inherited);
    }
}
