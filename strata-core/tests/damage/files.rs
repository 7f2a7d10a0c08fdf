//! The files of a database, and the database on a copy of them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use strata_core::maintenance::{MaintenanceMode, MaintenanceOptions};
use strata_core::vfs::{MemVfs, OpenMode, Vfs};
use strata_core::{Database, Options, Result, Sizes};

/// The database's folder.
pub const DIR: &str = "/db";

/// The file of all blocks.
pub const BLOCKS: &str = "/db/blocks.strata";

/// The files of a database.
pub type Files = BTreeMap<PathBuf, Vec<u8>>;

/// A file system with these files.
pub fn system_of(files: &Files) -> Arc<MemVfs> {
    let vfs = Arc::new(MemVfs::new());
    for folder in folders() {
        vfs.create_dir_all(folder.as_ref()).expect("made");
    }
    for (path, bytes) in files {
        let file = vfs.open(path, OpenMode::CreateNew).expect("made");
        file.write_at(0, bytes).expect("written");
        file.sync().expect("synced");
        vfs.sync_dir(path.parent().expect("is in a folder")).expect("synced");
    }
    vfs
}

/// What stands in a file system.
pub fn files_of(vfs: &Arc<MemVfs>) -> Files {
    let mut files = Files::new();
    for folder in folders() {
        for name in vfs.read_dir(Path::new(&folder)).expect("listed") {
            let path = Path::new(&folder).join(name);
            let Ok(file) = vfs.open(&path, OpenMode::Read) else { continue };
            let mut bytes = vec![0; usize::try_from(file.len().expect("measured")).expect("small")];
            file.read_exact_at(0, &mut bytes).expect("read");
            files.insert(path, bytes);
        }
    }
    files
}

fn folders() -> [String; 3] {
    [DIR.to_owned(), format!("{DIR}/manifest"), format!("{DIR}/journal")]
}

/// Where batches of a journal, or groups of a manifest, begin: at multiples of 4 KiB, with their magic.
pub fn starts_of(bytes: &[u8], magic: &[u8; 4]) -> Vec<usize> {
    (0..bytes.len()).step_by(4_096).filter(|at| bytes[*at..].starts_with(magic)).collect()
}

/// A `u32` as files have it.
pub fn u32_at(bytes: &[u8], at: usize) -> usize {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes")) as usize
}

pub fn open(vfs: Arc<MemVfs>) -> Result<Database> {
    let options = Options {
        memory_bytes: 64 << 20,
        maintenance: MaintenanceMode::Manual,
        sync_thread: false,
        ..Options::default()
    };
    Database::open_with_vfs(vfs, Path::new(DIR), options)
}

/// Sizes that take a few hundred rows through every form.
pub fn open_small(vfs: Arc<MemVfs>) -> Result<Database> {
    let memory_bytes = 64 << 20;
    let options = Options {
        memory_bytes,
        maintenance: MaintenanceMode::Manual,
        thresholds: Some(MaintenanceOptions {
            tail_slots: 32,
            ..MaintenanceOptions::for_memory(memory_bytes)
        }),
        sync_thread: false,
        sizes: Sizes { segment_bytes: 3 << 10, bulk_rows: 100, ..Sizes::default() },
    };
    Database::open_with_vfs(vfs, Path::new(DIR), options)
}
