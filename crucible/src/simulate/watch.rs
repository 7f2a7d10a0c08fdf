//! A file system that tells of each call which changes what a power cut leaves: sync, create, rename, remove.

use std::io;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;

use strata_core::vfs::{File, Lock, MemVfs, OpenMode, Vfs};

/// Hears of a call before and after it.
pub(super) trait Watcher: Send + Sync + std::fmt::Debug {
    fn call(&self, files: &MemVfs, what: &str);
}

/// Passes all on, and tells.
#[derive(Clone, Debug)]
pub(super) struct WatchVfs {
    files: MemVfs,
    watcher: Arc<dyn Watcher>,
}

impl WatchVfs {
    pub(super) fn new(files: MemVfs, watcher: Arc<dyn Watcher>) -> Self {
        Self { files, watcher }
    }

    fn watched<T>(&self, name: &str, path: &Path, call: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        self.watcher.call(&self.files, &format!("before {name} {}", path.display()));
        let done = call();
        self.watcher.call(&self.files, &format!("after {name} {}", path.display()));
        done
    }
}

impl Vfs for WatchVfs {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        let opened = if self.files.exists(path)? {
            self.files.open(path, mode)?
        } else {
            self.watched("create", path, || self.files.open(path, mode))?
        };
        Ok(Arc::new(WatchFile { file: opened, path: path.to_owned(), vfs: self.clone() }))
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        self.files.create_dir_all(path)
    }

    fn read_dir(&self, path: &Path) -> io::Result<Vec<PathBuf>> {
        self.files.read_dir(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.watched("rename to", to, || self.files.rename(from, to))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.watched("remove", path, || self.files.remove(path))
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        self.files.exists(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.watched("sync folder", path, || self.files.sync_dir(path))
    }

    fn try_lock(&self, path: &Path) -> io::Result<Option<Box<dyn Lock>>> {
        self.files.try_lock(path)
    }
}

#[derive(Debug)]
struct WatchFile {
    file: Arc<dyn File>,
    path: PathBuf,
    vfs: WatchVfs,
}

impl File for WatchFile {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        self.file.read_at(offset, buffer)
    }

    fn write_at(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.file.write_at(offset, data)
    }

    fn sync(&self) -> io::Result<()> {
        self.vfs.watched("sync", &self.path, || self.file.sync())
    }

    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }

    fn punch_hole(&self, offset: u64, len: u64) -> io::Result<()> {
        self.file.punch_hole(offset, len)
    }
}
