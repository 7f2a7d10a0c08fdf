//! What a journal must survive.

mod crash;
mod damage;
mod faults;
mod operation;
mod refused;
mod torn;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::error::Result;
use crate::ids::Lsn;
use crate::journal::{Journal, JournalOptions, Record};
use crate::vfs::{File, MemVfs, OpenMode, Vfs, make_dir};

const DIR: &str = "/db/journal";
/// A header page and two pages for batches.
const SMALL: u64 = 3 * 4096;

fn options(segment_bytes: u64) -> JournalOptions {
    JournalOptions { segment_bytes, recycled_segments: 2, pool: None, newest_format: None }
}

fn open_from(
    vfs: &dyn VfsRef,
    start: Lsn,
    min_end: Lsn,
    segment_bytes: u64,
) -> Result<(Journal, Vec<Record>)> {
    let (journal, replay) =
        Journal::open(vfs.shared(), Path::new(DIR), start, min_end, options(segment_bytes))?;
    let records: Result<Vec<Record>> = replay.collect();
    Ok((journal, records?))
}

fn open(vfs: &MemVfs, segment_bytes: u64) -> (Journal, Vec<Record>) {
    open_from(vfs, Lsn::new(0), Lsn::new(0), segment_bytes).expect("the journal opens")
}

fn payloads(records: &[Record]) -> Vec<Vec<u8>> {
    records.iter().map(|record| record.payload.clone()).collect()
}

/// The segment files, in order.
fn segment_paths(vfs: &dyn Vfs) -> Vec<PathBuf> {
    let mut names = vfs.read_dir(Path::new(DIR)).expect("the folder is there");
    names.sort();
    names.into_iter().map(|name| Path::new(DIR).join(name)).collect()
}

fn segment(vfs: &dyn Vfs, index: usize) -> Arc<dyn File> {
    vfs.open(&segment_paths(vfs)[index], OpenMode::ReadWrite).expect("the segment opens")
}

fn read(file: &dyn File, offset: u64, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    file.read_exact_at(offset, &mut bytes).expect("the bytes are there");
    bytes
}

fn flip(file: &dyn File, offset: u64) {
    let byte = read(file, offset, 1)[0];
    file.write_at(offset, &[byte ^ 0x40]).expect("written");
}

/// A copy in which everything is durable and nothing else happened.
fn copy(vfs: &MemVfs) -> MemVfs {
    let copied = MemVfs::new();
    make_dir(&copied, Path::new(DIR)).expect("made");
    for path in segment_paths(vfs) {
        let from = vfs.open(&path, OpenMode::Read).expect("opens");
        let bytes = read(&*from, 0, usize::try_from(from.len().expect("len")).expect("small"));
        let to = copied.open(&path, OpenMode::CreateNew).expect("created");
        to.write_at(0, &bytes).expect("written");
        to.sync().expect("synced");
    }
    copied.sync_dir(Path::new(DIR)).expect("synced");
    copied
}

/// A file system that can be handed to a journal.
trait VfsRef {
    fn shared(&self) -> Arc<dyn Vfs>;
}

impl<T: Vfs + Clone + 'static> VfsRef for T {
    fn shared(&self) -> Arc<dyn Vfs> {
        Arc::new(self.clone())
    }
}
