//! A file system that fails on demand.
//!
//! [`FaultVfs`] passes everything on to another file system, counts the calls, and fails the one (or those) that a
//! [`Fault`] picks. A sweep runs one operation again and again, failing its first call, its second, and so on, until
//! it succeeds because there is no such call any more; each time the operation must report the failure and leave
//! nothing half done.
//!
//! A call that fails has no effect on the file system below, but for [`FaultEffect::ShortWrite`]. So after a failed
//! sync the bytes are still unsynced there; what a crash clone then shows is what a system may do.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use super::{File, Lock, OpenMode, Vfs};

/// The kinds of calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IoKind {
    /// [`Vfs::open`].
    Open,
    /// [`File::read_at`].
    Read,
    /// [`File::write_at`].
    Write,
    /// [`File::sync`].
    Sync,
    /// [`File::len`].
    Len,
    /// [`File::set_len`].
    SetLen,
    /// [`File::punch_hole`].
    PunchHole,
    /// [`Vfs::create_dir_all`].
    CreateDir,
    /// [`Vfs::read_dir`].
    ReadDir,
    /// [`Vfs::rename`].
    Rename,
    /// [`Vfs::remove`].
    Remove,
    /// [`Vfs::exists`].
    Exists,
    /// [`Vfs::sync_dir`].
    SyncDir,
    /// [`Vfs::try_lock`].
    Lock,
}

impl IoKind {
    const COUNT: usize = Self::Lock as usize + 1;

    /// Whether a full disk can be the answer.
    fn takes_space(self) -> bool {
        matches!(self, Self::Open | Self::Write | Self::Sync | Self::SetLen | Self::CreateDir | Self::Rename)
    }
}

/// What happens to a call that is picked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultEffect {
    /// It fails with EIO.
    InputOutput,
    /// It fails with ENOSPC. Picks only calls that take space.
    DiskFull,
    /// It returns half of the bytes (at least one), which is no error: callers must ask for the rest. Picks only
    /// reads of two bytes or more.
    ShortRead,
    /// It writes half of the bytes, then fails with ENOSPC. Picks only writes.
    ShortWrite,
}

/// Picks calls and tells how they fail.
#[derive(Clone, Debug)]
pub struct Fault {
    at: u64,
    times: u64,
    effect: FaultEffect,
    kinds: Vec<IoKind>,
    path_part: Option<String>,
}

impl Fault {
    /// Of the calls that match, the one with index `at` (from 0) fails, once.
    pub fn nth(at: u64, effect: FaultEffect) -> Self {
        Self { at, times: 1, effect, kinds: Vec::new(), path_part: None }
    }

    /// Only calls of these kinds match.
    pub fn of(mut self, kinds: &[IoKind]) -> Self {
        self.kinds = kinds.to_vec();
        self
    }

    /// Only calls on paths that contain `part` match.
    pub fn in_path(mut self, part: &str) -> Self {
        self.path_part = Some(part.to_owned());
        self
    }

    /// All matching calls from that one on fail.
    pub fn for_ever(mut self) -> Self {
        self.times = u64::MAX;
        self
    }

    fn matches(&self, kind: IoKind, path: &Path, len: usize) -> bool {
        let effect_fits = match self.effect {
            FaultEffect::InputOutput => true,
            FaultEffect::DiskFull => kind.takes_space(),
            FaultEffect::ShortRead => kind == IoKind::Read && len > 1,
            FaultEffect::ShortWrite => kind == IoKind::Write,
        };
        let in_path =
            self.path_part.as_ref().is_none_or(|part| path.to_string_lossy().contains(part.as_str()));
        effect_fits && in_path && (self.kinds.is_empty() || self.kinds.contains(&kind))
    }
}

/// A file system that fails on demand. Clones share the fault and the counts.
#[derive(Clone, Debug)]
pub struct FaultVfs {
    inner: Arc<dyn Vfs>,
    faults: Arc<Faults>,
}

#[derive(Debug, Default)]
struct Faults {
    armed: Mutex<Option<(Fault, u64)>>,
    counts: [AtomicU64; IoKind::COUNT],
    fired: Mutex<Vec<FailedCall>>,
}

/// A call that was failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailedCall {
    /// What it was.
    pub kind: IoKind,
    /// The file or directory; of a rename, the new name.
    pub path: PathBuf,
}

impl Faults {
    /// Counts a call; `Some` where it is to fail.
    fn pick(&self, kind: IoKind, path: &Path, len: usize) -> Option<FaultEffect> {
        self.counts[kind as usize].fetch_add(1, Ordering::SeqCst);
        let mut armed = self.armed.lock();
        let (fault, seen) = armed.as_mut().filter(|(fault, _)| fault.matches(kind, path, len))?;
        let index = *seen;
        *seen += 1;
        let due = index >= fault.at && index - fault.at < fault.times;
        if !due {
            return None;
        }
        self.fired.lock().push(FailedCall { kind, path: path.to_owned() });
        Some(fault.effect)
    }

    /// Counts a call that has no short form, and fails it if it is picked.
    fn check(&self, kind: IoKind, path: &Path) -> io::Result<()> {
        self.pick(kind, path, 0).map_or(Ok(()), |effect| Err(error_of(effect)))
    }
}

fn error_of(effect: FaultEffect) -> io::Error {
    match effect {
        FaultEffect::InputOutput | FaultEffect::ShortRead => rustix::io::Errno::IO.into(),
        FaultEffect::DiskFull | FaultEffect::ShortWrite => rustix::io::Errno::NOSPC.into(),
    }
}

impl FaultVfs {
    /// Passes all on to `inner`, until armed.
    pub fn new(inner: Arc<dyn Vfs>) -> Self {
        Self { inner, faults: Arc::default() }
    }

    /// Arms a fault, in place of the one before; its count of matching calls starts here.
    pub fn arm(&self, fault: Fault) {
        *self.faults.armed.lock() = Some((fault, 0));
    }

    /// Lets everything succeed again.
    pub fn disarm(&self) {
        *self.faults.armed.lock() = None;
    }

    /// How many calls were failed so far.
    pub fn fired(&self) -> u64 {
        self.faults.fired.lock().len() as u64
    }

    /// The calls that were failed so far, in order.
    pub fn failed_calls(&self) -> Vec<FailedCall> {
        self.faults.fired.lock().clone()
    }

    /// How many calls of one kind there were so far, failed ones included.
    pub fn count(&self, kind: IoKind) -> u64 {
        self.faults.counts[kind as usize].load(Ordering::SeqCst)
    }

    /// How many calls there were so far, failed ones included.
    pub fn total(&self) -> u64 {
        self.faults.counts.iter().map(|count| count.load(Ordering::SeqCst)).sum()
    }
}

impl Vfs for FaultVfs {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        self.faults.check(IoKind::Open, path)?;
        let inner = self.inner.open(path, mode)?;
        Ok(Arc::new(FaultFile { inner, path: path.to_owned(), faults: Arc::clone(&self.faults) }))
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        self.faults.check(IoKind::CreateDir, path)?;
        self.inner.create_dir_all(path)
    }

    fn read_dir(&self, path: &Path) -> io::Result<Vec<PathBuf>> {
        self.faults.check(IoKind::ReadDir, path)?;
        self.inner.read_dir(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.faults.check(IoKind::Rename, to)?;
        self.inner.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.faults.check(IoKind::Remove, path)?;
        self.inner.remove(path)
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        self.faults.check(IoKind::Exists, path)?;
        self.inner.exists(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.faults.check(IoKind::SyncDir, path)?;
        self.inner.sync_dir(path)
    }

    fn try_lock(&self, path: &Path) -> io::Result<Option<Box<dyn Lock>>> {
        self.faults.check(IoKind::Lock, path)?;
        self.inner.try_lock(path)
    }
}

#[derive(Debug)]
struct FaultFile {
    inner: Arc<dyn File>,
    path: PathBuf,
    faults: Arc<Faults>,
}

impl File for FaultFile {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        match self.faults.pick(IoKind::Read, &self.path, buffer.len()) {
            None => self.inner.read_at(offset, buffer),
            Some(FaultEffect::ShortRead) => {
                let half = buffer.len() / 2;
                self.inner.read_at(offset, &mut buffer[..half])
            }
            Some(effect) => Err(error_of(effect)),
        }
    }

    fn write_at(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let effect = match self.faults.pick(IoKind::Write, &self.path, data.len()) {
            None => return self.inner.write_at(offset, data),
            Some(effect) => effect,
        };
        if effect == FaultEffect::ShortWrite {
            self.inner.write_at(offset, &data[..data.len() / 2])?;
        }
        Err(error_of(effect))
    }

    fn sync(&self) -> io::Result<()> {
        self.faults.check(IoKind::Sync, &self.path)?;
        self.inner.sync()
    }

    fn len(&self) -> io::Result<u64> {
        self.faults.check(IoKind::Len, &self.path)?;
        self.inner.len()
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.faults.check(IoKind::SetLen, &self.path)?;
        self.inner.set_len(len)
    }

    fn punch_hole(&self, offset: u64, len: u64) -> io::Result<()> {
        self.faults.check(IoKind::PunchHole, &self.path)?;
        self.inner.punch_hole(offset, len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vfs::MemVfs;

    fn file() -> (FaultVfs, Arc<dyn File>) {
        let vfs = FaultVfs::new(Arc::new(MemVfs::new()));
        let file = vfs.open(Path::new("/a"), OpenMode::CreateNew).expect("create");
        (vfs, file)
    }

    #[test]
    fn the_picked_call_fails_and_the_others_do_not() {
        let (vfs, file) = file();
        vfs.arm(Fault::nth(1, FaultEffect::InputOutput).of(&[IoKind::Write]));
        file.write_at(0, b"one").expect("the first");
        file.sync().expect("another kind");
        assert_eq!(file.write_at(3, b"two").expect_err("the second").raw_os_error(), Some(5));
        file.write_at(3, b"TWO").expect("the third");
        assert_eq!((vfs.fired(), vfs.count(IoKind::Write), vfs.total()), (1, 3, 5));
        vfs.arm(Fault::nth(0, FaultEffect::DiskFull).for_ever());
        assert_eq!(file.read_at(0, &mut [0; 3]).expect("reads take no space"), 3);
        for _ in 0..3 {
            let error = file.set_len(10).expect_err("full");
            assert_eq!(error.kind(), io::ErrorKind::StorageFull);
        }
        vfs.disarm();
        file.set_len(10).expect("disarmed");
    }

    #[test]
    fn short_reads_are_completed_and_short_writes_leave_half() {
        let (vfs, file) = file();
        file.write_at(0, b"abcdefgh").expect("write");
        vfs.arm(Fault::nth(0, FaultEffect::ShortRead));
        let mut bytes = [0; 8];
        file.read_exact_at(0, &mut bytes).expect("asks for the rest");
        assert_eq!((&bytes, vfs.fired(), vfs.count(IoKind::Read)), (b"abcdefgh", 1, 2));
        vfs.arm(Fault::nth(0, FaultEffect::ShortRead));
        assert_eq!(file.read_at(0, &mut bytes).expect("no error"), 4);
        vfs.arm(Fault::nth(0, FaultEffect::ShortWrite));
        assert!(file.write_at(0, b"12345678").is_err());
        file.read_exact_at(0, &mut bytes).expect("read");
        assert_eq!(&bytes, b"1234efgh");
    }

    #[test]
    fn a_path_narrows_the_fault() {
        let (vfs, file) = file();
        let other = vfs.open(Path::new("/journal-1"), OpenMode::CreateNew).expect("create");
        vfs.arm(Fault::nth(0, FaultEffect::InputOutput).in_path("journal"));
        file.sync().expect("another path");
        assert!(other.sync().is_err());
    }
}
