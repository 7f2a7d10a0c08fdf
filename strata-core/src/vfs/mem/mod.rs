//! A file system in memory that can lose what was not synced, in the way of pebble's `vfs.MemFS` crash clones.
//!
//! **What a power cut may do** ([`MemVfs::crash_clone`]): per file, keep none, all, a prefix or any subset of the
//! changes since its last [`File::sync`], writes torn at 512-byte sectors; per directory, keep none, all, a prefix
//! or any subset of the creates, renames and removes since its last [`Vfs::sync_dir`]. A rename is never torn, and
//! belongs to the directory of its new name. A directory that was made since the last sync of the one above it may be gone with
//! all that is in it.
//!
//! **Concurrency.** `space` is locked shared by reads and writes of files and exclusively by namespace changes and
//! `crash_clone`, so a clone is one instant of the whole file system. Lock order: `space`, then one file's content.

mod content;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::RwLock;

use self::content::Content;
use super::{File, Lock, OpenMode, Random, Vfs};

/// A file system in memory. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct MemVfs {
    space: Arc<RwLock<Space>>,
}

#[derive(Debug, Default)]
struct Space {
    files: BTreeMap<PathBuf, Arc<Node>>,
    directories: BTreeSet<PathBuf>,
    /// Those that were there at a sync of the one above them.
    durable_directories: BTreeSet<PathBuf>,
    /// The names as of the last sync of each directory.
    durable: BTreeMap<PathBuf, Arc<Node>>,
    /// What was done to names since, in order.
    unsynced: Vec<NameChange>,
    locks: BTreeSet<PathBuf>,
}

#[derive(Debug, Default)]
struct Node {
    content: RwLock<Content>,
}

#[derive(Clone, Debug)]
enum NameChange {
    Create { path: PathBuf, node: Arc<Node> },
    Rename { from: PathBuf, to: PathBuf, node: Arc<Node> },
    Remove { path: PathBuf },
}

impl NameChange {
    fn directory(&self) -> Option<&Path> {
        match self {
            Self::Create { path, .. } | Self::Rename { to: path, .. } | Self::Remove { path } => {
                path.parent()
            }
        }
    }

    fn apply(&self, names: &mut BTreeMap<PathBuf, Arc<Node>>) {
        match self {
            Self::Create { path, node } => {
                names.insert(path.clone(), Arc::clone(node));
            }
            Self::Rename { from, to, node } => {
                if names.get(from).is_some_and(|found| Arc::ptr_eq(found, node)) {
                    names.remove(from);
                }
                names.insert(to.clone(), Arc::clone(node));
            }
            Self::Remove { path } => {
                names.remove(path);
            }
        }
    }
}

impl Space {
    fn change(&mut self, change: NameChange) {
        change.apply(&mut self.files);
        self.unsynced.push(change);
    }

    fn has_directory(&self, path: &Path) -> bool {
        is_root(path) || self.directories.contains(path)
    }

    /// The directories that a power cut may leave: of those not synced `keep` tells.
    fn surviving_directories(&self, mut keep: impl FnMut() -> bool) -> BTreeSet<PathBuf> {
        let mut kept = BTreeSet::new();
        // Each comes after those above it.
        for path in &self.directories {
            let is_reachable = path.parent().is_none_or(|parent| is_root(parent) || kept.contains(parent));
            if is_root(path) || is_reachable && (self.durable_directories.contains(path) || keep()) {
                kept.insert(path.clone());
            }
        }
        kept
    }

    fn need_parent(&self, path: &Path) -> io::Result<()> {
        match path.parent() {
            Some(parent) if self.has_directory(parent) => Ok(()),
            _ => Err(io::ErrorKind::NotFound.into()),
        }
    }
}

fn is_root(path: &Path) -> bool {
    ["", "/", "."].iter().any(|root| path == Path::new(root))
}

impl MemVfs {
    /// An empty file system.
    pub fn new() -> Self {
        Self::default()
    }

    /// What a power cut at this moment may leave, by the choices of `random`. The original goes on as before; in
    /// the clone everything is durable and no lock is held.
    pub fn crash_clone(&self, random: &dyn Random) -> Self {
        let space = self.space.write();
        let mut names = space.durable.clone();
        let all = space.unsynced.len();
        let mode = random.below(4);
        let kept_first = random.below(all as u64 + 1) as usize;
        for (position, change) in space.unsynced.iter().enumerate() {
            let keep = match mode {
                0 => false,
                1 => true,
                2 => position < kept_first,
                _ => random.chance(1, 2),
            };
            if keep {
                change.apply(&mut names);
            }
        }
        let directories = space.surviving_directories(|| mode == 1 || mode != 0 && random.chance(1, 2));
        let is_there =
            |path: &Path| path.parent().is_some_and(|parent| is_root(parent) || directories.contains(parent));
        let files: BTreeMap<PathBuf, Arc<Node>> = names
            .into_iter()
            .filter(|(path, _)| is_there(path))
            .map(|(path, node)| {
                let content = node.content.read().crashed(random);
                (path, Arc::new(Node { content: RwLock::new(content) }))
            })
            .collect();
        let clone = Space {
            durable: files.clone(),
            files,
            durable_directories: directories.clone(),
            directories,
            unsynced: Vec::new(),
            locks: BTreeSet::new(),
        };
        Self { space: Arc::new(RwLock::new(clone)) }
    }
}

impl Vfs for MemVfs {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        let mut space = self.space.write();
        if space.has_directory(path) {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        let node = match (space.files.get(path), mode) {
            (Some(_), OpenMode::CreateNew) => return Err(io::ErrorKind::AlreadyExists.into()),
            (Some(node), _) => Arc::clone(node),
            (None, OpenMode::Read | OpenMode::ReadWrite) => return Err(io::ErrorKind::NotFound.into()),
            (None, OpenMode::CreateNew | OpenMode::CreateOrOpen) => {
                space.need_parent(path)?;
                let node = Arc::new(Node::default());
                space.change(NameChange::Create { path: path.to_owned(), node: Arc::clone(&node) });
                node
            }
        };
        let writable = mode != OpenMode::Read;
        Ok(Arc::new(MemFile { space: Arc::clone(&self.space), node, writable }))
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        let mut space = self.space.write();
        if path.ancestors().any(|ancestor| space.files.contains_key(ancestor)) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        space.directories.extend(path.ancestors().map(Path::to_owned));
        Ok(())
    }

    fn read_dir(&self, path: &Path) -> io::Result<Vec<PathBuf>> {
        let space = self.space.read();
        if !space.has_directory(path) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let entries = space.files.keys().chain(space.directories.iter());
        Ok(entries
            .filter(|entry| entry.parent() == Some(path))
            .filter_map(|entry| entry.file_name().map(PathBuf::from))
            .collect())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut space = self.space.write();
        let node = space.files.get(from).cloned().ok_or(io::ErrorKind::NotFound)?;
        space.need_parent(to)?;
        if from != to {
            space.change(NameChange::Rename { from: from.to_owned(), to: to.to_owned(), node });
        }
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut space = self.space.write();
        if !space.files.contains_key(path) {
            return Err(io::ErrorKind::NotFound.into());
        }
        space.change(NameChange::Remove { path: path.to_owned() });
        Ok(())
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        let space = self.space.read();
        Ok(space.files.contains_key(path) || space.has_directory(path))
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        let mut space = self.space.write();
        if !space.has_directory(path) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let (synced, rest): (Vec<_>, Vec<_>) = std::mem::take(&mut space.unsynced)
            .into_iter()
            .partition(|change| change.directory() == Some(path));
        space.unsynced = rest;
        let below = |entry: &&PathBuf| entry.parent() == Some(path);
        let made: Vec<_> = space.directories.iter().filter(below).cloned().collect();
        space.durable_directories.extend(made);
        for change in synced {
            change.apply(&mut space.durable);
        }
        Ok(())
    }

    fn try_lock(&self, path: &Path) -> io::Result<Option<Box<dyn Lock>>> {
        let mut space = self.space.write();
        space.need_parent(path)?;
        if !space.locks.insert(path.to_owned()) {
            return Ok(None);
        }
        if !space.files.contains_key(path) {
            space.change(NameChange::Create { path: path.to_owned(), node: Arc::default() });
        }
        Ok(Some(Box::new(MemLock { space: Arc::clone(&self.space), path: path.to_owned() })))
    }
}

#[derive(Debug)]
struct MemFile {
    space: Arc<RwLock<Space>>,
    node: Arc<Node>,
    writable: bool,
}

impl MemFile {
    fn change(&self, end: Option<u64>, change: impl FnOnce(&mut Content)) -> io::Result<()> {
        if !self.writable {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        if end.is_none_or(|end| end > i64::MAX as u64) {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        let _space = self.space.read();
        change(&mut self.node.content.write());
        Ok(())
    }
}

impl File for MemFile {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let _space = self.space.read();
        Ok(self.node.content.read().read(offset, buffer))
    }

    fn write_at(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.change(offset.checked_add(data.len() as u64), |content| {
            if !data.is_empty() {
                content.write(offset, data);
            }
        })
    }

    fn sync(&self) -> io::Result<()> {
        let _space = self.space.read();
        self.node.content.write().sync();
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        let _space = self.space.read();
        Ok(self.node.content.read().len())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.change(Some(len), |content| content.set_len(len))
    }

    fn punch_hole(&self, offset: u64, len: u64) -> io::Result<()> {
        self.change(offset.checked_add(len), |content| content.punch(offset, len))
    }
}

#[derive(Debug)]
struct MemLock {
    space: Arc<RwLock<Space>>,
    path: PathBuf,
}

impl Lock for MemLock {}

impl Drop for MemLock {
    fn drop(&mut self) {
        self.space.write().locks.remove(&self.path);
    }
}
