//! Folders as lists of files, in memory and on disk.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use strata_core::vfs::{MemVfs, OpenMode, Vfs};

/// Where a database is in its file system.
pub const DIR: &str = "/db";

const FOLDERS: [&str; 3] = ["", "manifest", "journal"];

/// Files by their path within the database's folder.
pub type Files = BTreeMap<PathBuf, Vec<u8>>;

/// The fixture of this name.
pub fn fixture(name: &str) -> Files {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name);
    let mut files = Files::new();
    for folder in FOLDERS {
        for entry in fs::read_dir(root.join(folder)).expect("the fixture is there") {
            let path = entry.expect("readable").path();
            if path.is_file() {
                let name = path.strip_prefix(&root).expect("is below").to_owned();
                files.insert(name, fs::read(&path).expect("readable"));
            }
        }
    }
    files
}

/// Writes files into a folder of the disk.
pub fn write_to(folder: &Path, files: &Files) {
    for (name, bytes) in files {
        let path = folder.join(name);
        fs::create_dir_all(path.parent().expect("is in a folder")).expect("made");
        fs::write(path, bytes).expect("written");
    }
}

/// A file system in memory that has these files, durably.
pub fn system_of(files: &Files) -> Arc<MemVfs> {
    let vfs = Arc::new(MemVfs::new());
    for folder in FOLDERS {
        vfs.create_dir_all(&Path::new(DIR).join(folder)).expect("made");
    }
    for (name, bytes) in files {
        let path = Path::new(DIR).join(name);
        let file = vfs.open(&path, OpenMode::CreateNew).expect("made");
        file.write_at(0, bytes).expect("written");
        file.sync().expect("synced");
        vfs.sync_dir(path.parent().expect("is in a folder")).expect("synced");
    }
    vfs
}

/// All files of a database, synced or not.
pub fn files_of(vfs: &MemVfs) -> Files {
    let mut files = Files::new();
    for folder in FOLDERS {
        for name in vfs.read_dir(&Path::new(DIR).join(folder)).expect("is there") {
            let name = Path::new(folder).join(name);
            let Ok(file) = vfs.open(&Path::new(DIR).join(&name), OpenMode::Read) else { continue };
            let mut bytes = vec![0; usize::try_from(file.len().expect("measured")).expect("small")];
            file.read_exact_at(0, &mut bytes).expect("read");
            files.insert(name, bytes);
        }
    }
    files
}
