//! A database as a kill left it: rows in all forms, and a journal to replay.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use strata_core::Database;
use strata_core::maintenance::Step;
use strata_core::vfs::{MemVfs, OpenMode, Vfs, make_dir};

use crate::rig::{DIR, begin, change, commit, create, def, insert, load, open, write};

pub type Files = BTreeMap<PathBuf, Vec<u8>>;

/// `cold` stands in column blocks, one of them sparse, some rows marked; `hot` in row pages; `loaded` was loaded by
/// the last commits, which only the journal has, with changes of the other two.
pub fn image() -> &'static Files {
    static IMAGE: OnceLock<Files> = OnceLock::new();
    IMAGE.get_or_init(|| {
        let vfs = Arc::new(MemVfs::new());
        let db = open(vfs.clone()).expect("opens");
        fill(&db);
        files_of(&vfs)
    })
}

/// The same after all maintenance, and after a change that asks for more.
pub fn settled_image(made: &'static OnceLock<Files>, change: fn(&Database)) -> &'static Files {
    made.get_or_init(|| {
        let vfs = system_of(image());
        let db = open(vfs.clone()).expect("opens");
        db.checkpoint().expect("checkpoints");
        while db.maintain().expect("steps") != Step::Idle {}
        change(&db);
        db.checkpoint().expect("checkpoints");
        files_of(&vfs)
    })
}

fn fill(db: &Database) {
    let mut txn = begin(db).expect("begins");
    for name in ["cold", "hot", "loaded"] {
        create(&mut txn, name).expect("made");
    }
    load(&txn, txn.newest_catalog().table_by_name("public", "cold").expect("made").id, 0..300)
        .expect("loads");
    commit(db, txn).expect("commits");
    write(db, "cold", |txn| change(db, txn, "cold", 0..70, true)).expect("deletes");
    db.vacuum().expect("vacuums");
    write(db, "hot", |txn| insert(db, txn, "hot", 0..40)).expect("inserts");
    db.checkpoint().expect("checkpoints");
    write(db, "hot", |txn| change(db, txn, "hot", 0..5, false)).expect("updates");
    write(db, "cold", |txn| change(db, txn, "cold", 200..210, true)).expect("deletes");
    db.checkpoint().expect("checkpoints");
    write(db, "hot", |txn| insert(db, txn, "hot", 100..110)).expect("inserts");
    write(db, "cold", |txn| change(db, txn, "cold", 120..125, false)).expect("updates");
    let txn = begin(db).expect("begins");
    load(&txn, def(db, "loaded").id, 0..150).expect("loads");
    commit(db, txn).expect("commits");
    write(db, "hot", |txn| change(db, txn, "hot", 30..33, true)).expect("deletes");
}

/// All files, as they are written, synced or not.
pub fn files_of(vfs: &MemVfs) -> Files {
    let mut files = Files::new();
    for folder in [DIR.to_owned(), format!("{DIR}/manifest"), format!("{DIR}/journal")] {
        for name in vfs.read_dir(Path::new(&folder)).unwrap_or_default() {
            let path = Path::new(&folder).join(name);
            let Ok(file) = vfs.open(&path, OpenMode::Read) else { continue };
            let mut bytes = vec![0; usize::try_from(file.len().expect("measured")).expect("small")];
            file.read_exact_at(0, &mut bytes).expect("read");
            files.insert(path, bytes);
        }
    }
    files
}

/// A file system that has these files, durably.
pub fn system_of(files: &Files) -> Arc<MemVfs> {
    let vfs = Arc::new(MemVfs::new());
    for (path, bytes) in files {
        let parent = path.parent().expect("is in a folder");
        make_dir(&*vfs, parent).expect("made");
        let file = vfs.open(path, OpenMode::CreateNew).expect("made");
        file.write_at(0, bytes).expect("written");
        file.sync().expect("synced");
        vfs.sync_dir(parent).expect("synced");
    }
    vfs
}
