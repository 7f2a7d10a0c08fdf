//! The runtime of connections and point plans, and the file system that its databases are opened through.
//!
//! A point plan reads blocks on the thread that serves its connection. While such a read waits for the disk, the other
//! connections of that thread must not: [`HandOver`] tells tokio first, which moves them to another thread. On threads of
//! other kinds (analytics, maintenance, the journal) it costs one look at a thread-local.

use std::cell::Cell;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use strata_core::vfs::{File, Lock, OpenMode, OsVfs, Vfs};
use strata_core::{Database, Options};
use tokio::runtime::{Builder, Runtime};

thread_local! {
    static SERVES_CONNECTIONS: Cell<bool> = const { Cell::new(false) };
}

/// The runtime that [`Server`](crate::Server) runs on: a thread for each core.
///
/// # Errors
/// If the system has no threads to give.
pub fn connection_runtime() -> io::Result<Runtime> {
    Builder::new_multi_thread()
        .thread_name("connections")
        .on_thread_start(|| SERVES_CONNECTIONS.set(true))
        .enable_all()
        .build()
}

/// Opens a database whose disk reads do not hold up a [`connection_runtime`].
///
/// # Errors
/// Those of [`Database::open`].
pub fn open_database(path: impl AsRef<Path>, options: Options) -> strata_core::Result<Database> {
    Database::open_with_vfs(Arc::new(HandOver), path, options)
}

fn hand_over<T>(call: impl FnOnce() -> T) -> T {
    if SERVES_CONNECTIONS.get() { tokio::task::block_in_place(call) } else { call() }
}

/// The system's files; a thread that serves connections hands them over for as long as a call takes.
#[derive(Clone, Copy, Debug)]
struct HandOver;

impl Vfs for HandOver {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        let file = hand_over(|| OsVfs.open(path, mode))?;
        Ok(Arc::new(HandOverFile { file }))
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        hand_over(|| OsVfs.create_dir_all(path))
    }

    fn read_dir(&self, path: &Path) -> io::Result<Vec<PathBuf>> {
        hand_over(|| OsVfs.read_dir(path))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        hand_over(|| OsVfs.rename(from, to))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        hand_over(|| OsVfs.remove(path))
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        hand_over(|| OsVfs.exists(path))
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        hand_over(|| OsVfs.sync_dir(path))
    }

    fn try_lock(&self, path: &Path) -> io::Result<Option<Box<dyn Lock>>> {
        OsVfs.try_lock(path)
    }
}

#[derive(Debug)]
struct HandOverFile {
    file: Arc<dyn File>,
}

impl File for HandOverFile {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        hand_over(|| self.file.read_at(offset, buffer))
    }

    fn write_at(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        hand_over(|| self.file.write_at(offset, data))
    }

    fn sync(&self) -> io::Result<()> {
        hand_over(|| self.file.sync())
    }

    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        hand_over(|| self.file.set_len(len))
    }

    fn punch_hole(&self, offset: u64, len: u64) -> io::Result<()> {
        hand_over(|| self.file.punch_hole(offset, len))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// One thread serves two connections; one of them blocks in a call, and the other goes on meanwhile.
    #[test]
    fn a_blocked_call_does_not_hold_up_the_other_tasks_of_its_thread() {
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .on_thread_start(|| SERVES_CONNECTIONS.set(true))
            .enable_all()
            .build()
            .expect("threads");
        let (sender, receiver) = std::sync::mpsc::channel();
        let reader = runtime.spawn(async move {
            // Until the other task has run; in vain if it waits for this one.
            hand_over(|| receiver.recv_timeout(Duration::from_secs(20)))
        });
        runtime.spawn(async move { sender.send(()).expect("the reader waits") });
        let read = runtime.block_on(reader).expect("no panic");
        assert!(read.is_ok(), "the second task waited for the first");
    }
}
