//! Files in memory that run something once, in the middle of what the engine does.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use strata_core::vfs::{File, Lock, MemVfs, OpenMode, Random, Vfs};

/// Before which access to the blocks something is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum On {
    Read,
    Write,
}

/// What is run, and after how many more accesses.
type Hook = (On, u64, Box<dyn FnOnce() + Send>);

/// What is to be run next.
#[derive(Clone, Default)]
pub struct Hooked(Arc<Mutex<Option<Hook>>>);

impl Hooked {
    /// Runs `action` before the access that comes after `skipped` of its kind.
    pub fn set(&self, on: On, skipped: u64, action: impl FnOnce() + Send + 'static) {
        *self.0.lock().expect("not poisoned") = Some((on, skipped, Box::new(action)));
    }

    /// Whether it has not been run yet.
    pub fn is_set(&self) -> bool {
        self.0.lock().expect("not poisoned").is_some()
    }

    /// Runs nothing.
    pub fn clear(&self) {
        *self.0.lock().expect("not poisoned") = None;
    }

    fn reach(&self, on: On) {
        let mut hook = self.0.lock().expect("not poisoned");
        match &mut *hook {
            Some((kind, skipped, _)) if *kind == on && *skipped > 0 => *skipped -= 1,
            Some((kind, ..)) if *kind == on => {
                let due = hook.take();
                // What runs reads and writes blocks, too.
                drop(hook);
                if let Some((_, _, action)) = due {
                    action();
                }
            }
            _ => {}
        }
    }
}

impl std::fmt::Debug for Hooked {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Hooked")
    }
}

/// See the module.
#[derive(Debug)]
pub struct HookedVfs {
    inner: MemVfs,
    hook: Hooked,
}

impl HookedVfs {
    /// No files, and this hook.
    pub fn new(hook: Hooked) -> Self {
        Self { inner: MemVfs::new(), hook }
    }

    /// What a power cut leaves, without the hook.
    pub fn crash(&self, random: &dyn Random) -> MemVfs {
        self.inner.crash_clone(random)
    }
}

#[derive(Debug)]
struct HookedFile {
    inner: Arc<dyn File>,
    hook: Hooked,
}

impl Vfs for HookedVfs {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        let inner = self.inner.open(path, mode)?;
        let is_blocks = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("blocks"));
        let hook = if is_blocks { self.hook.clone() } else { Hooked::default() };
        Ok(Arc::new(HookedFile { inner, hook }))
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

impl File for HookedFile {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        self.hook.reach(On::Read);
        self.inner.read_at(offset, buffer)
    }

    fn write_at(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.hook.reach(On::Write);
        self.inner.write_at(offset, data)
    }

    fn sync(&self) -> io::Result<()> {
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
