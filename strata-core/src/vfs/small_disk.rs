//! A disk of a given size over another file system.
//!
//! A file takes the bytes up to its length; writing over what is there takes none, as on a file system that does not copy
//! on write. What would go past the size fails with ENOSPC and has no effect.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use super::{File, Lock, OpenMode, Vfs};

/// The disk. Clones share it.
#[derive(Clone, Debug)]
pub struct SmallDisk {
    inner: Arc<dyn Vfs>,
    space: Arc<Space>,
}

#[derive(Debug)]
struct Space {
    size: AtomicU64,
    used: AtomicU64,
    refused: AtomicU64,
}

impl Space {
    fn take(&self, bytes: u64) -> io::Result<()> {
        let size = self.size.load(Ordering::SeqCst);
        let fits = |used: u64| used.checked_add(bytes).filter(|sum| *sum <= size);
        if bytes > 0 && self.used.fetch_update(Ordering::SeqCst, Ordering::SeqCst, fits).is_err() {
            self.refused.fetch_add(1, Ordering::SeqCst);
            return Err(io::ErrorKind::StorageFull.into());
        }
        Ok(())
    }

    fn give_back(&self, bytes: u64) {
        self.used.fetch_sub(bytes, Ordering::SeqCst);
    }
}

impl SmallDisk {
    /// A disk without a limit, so far, over an empty file system.
    pub fn new(inner: Arc<dyn Vfs>) -> Self {
        let (size, used, refused) = (AtomicU64::new(u64::MAX), AtomicU64::new(0), AtomicU64::new(0));
        Self { inner, space: Arc::new(Space { size, used, refused }) }
    }

    /// Lets so many bytes more be written, and no others.
    pub fn leave(&self, bytes: u64) {
        self.space.size.store(self.used() + bytes, Ordering::SeqCst);
    }

    /// Ends the limit.
    pub fn grow(&self) {
        self.space.size.store(u64::MAX, Ordering::SeqCst);
    }

    /// Bytes that files take.
    pub fn used(&self) -> u64 {
        self.space.used.load(Ordering::SeqCst)
    }

    /// How many calls have failed for want of space.
    pub fn refused(&self) -> u64 {
        self.space.refused.load(Ordering::SeqCst)
    }

    fn len_of(&self, path: &Path) -> u64 {
        let file = self.inner.open(path, OpenMode::Read);
        file.and_then(|file| file.len()).unwrap_or(0)
    }
}

impl Vfs for SmallDisk {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        let inner = self.inner.open(path, mode)?;
        Ok(Arc::new(SmallFile { inner, space: self.space.clone(), growing: Mutex::new(()) }))
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        self.inner.create_dir_all(path)
    }

    fn read_dir(&self, path: &Path) -> io::Result<Vec<PathBuf>> {
        self.inner.read_dir(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let replaced = self.len_of(to);
        self.inner.rename(from, to)?;
        self.space.give_back(replaced);
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let removed = self.len_of(path);
        self.inner.remove(path)?;
        self.space.give_back(removed);
        Ok(())
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        self.inner.exists(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.inner.sync_dir(path)
    }

    fn try_lock(&self, path: &Path) -> io::Result<Option<Box<dyn Lock>>> {
        self.inner.try_lock(path)
    }
}

#[derive(Debug)]
struct SmallFile {
    inner: Arc<dyn File>,
    space: Arc<Space>,
    /// Held from the look at the length to its change.
    growing: Mutex<()>,
}

impl File for SmallFile {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        self.inner.read_at(offset, buffer)
    }

    fn write_at(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let _growing = self.growing.lock();
        self.space.take((offset + data.len() as u64).saturating_sub(self.inner.len()?))?;
        self.inner.write_at(offset, data)
    }

    fn sync(&self) -> io::Result<()> {
        self.inner.sync()
    }

    fn len(&self) -> io::Result<u64> {
        self.inner.len()
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let _growing = self.growing.lock();
        let before = self.inner.len()?;
        self.space.take(len.saturating_sub(before))?;
        self.inner.set_len(len)?;
        self.space.give_back(before.saturating_sub(len));
        Ok(())
    }

    fn punch_hole(&self, offset: u64, len: u64) -> io::Result<()> {
        self.inner.punch_hole(offset, len)
    }
}
