//! A file system that calls something before the accesses to some of its files.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use strata_core::vfs::{File, Lock, OpenMode, Vfs};

/// What is done to a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    Read,
    Write,
    Sync,
}

/// What is called.
pub trait Intercept: fmt::Debug + Send + Sync + 'static {
    /// Whether it is for the accesses to this file.
    fn is_for(&self, path: &Path) -> bool;

    /// Called before each.
    fn before(&self, access: Access);
}

/// See the module.
#[derive(Debug)]
pub struct InterceptedVfs<I> {
    pub inner: Arc<dyn Vfs>,
    pub with: Arc<I>,
}

#[derive(Debug)]
struct InterceptedFile<I> {
    inner: Arc<dyn File>,
    with: Arc<I>,
}

impl<I: Intercept> Vfs for InterceptedVfs<I> {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        let inner = self.inner.open(path, mode)?;
        Ok(match self.with.is_for(path) {
            true => Arc::new(InterceptedFile { inner, with: self.with.clone() }),
            false => inner,
        })
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        self.inner.create_dir_all(path)
    }

    fn read_dir(&self, path: &Path) -> io::Result<Vec<PathBuf>> {
        self.inner.read_dir(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.inner.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.inner.remove(path)
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

impl<I: Intercept> File for InterceptedFile<I> {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        self.with.before(Access::Read);
        self.inner.read_at(offset, buffer)
    }

    fn write_at(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.with.before(Access::Write);
        self.inner.write_at(offset, data)
    }

    fn sync(&self) -> io::Result<()> {
        self.with.before(Access::Sync);
        self.inner.sync()
    }

    fn len(&self) -> io::Result<u64> {
        self.inner.len()
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.inner.set_len(len)
    }

    fn punch_hole(&self, offset: u64, len: u64) -> io::Result<()> {
        self.inner.punch_hole(offset, len)
    }
}
