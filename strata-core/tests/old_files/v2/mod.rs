//! Format version 2: marks and commit records that tell moved rows from changed ones. All else is of version 1.

use std::path::Path;
use std::sync::Arc;

use strata_core::block::{BlockKind, BlockStore, FileBlockStore, FileBlockStoreOptions};
use strata_core::heap::{MARKS_FORMAT, MarksImage};
use strata_core::maintenance::{MaintenanceMode, MaintenanceOptions, Step};
use strata_core::manifest::Manifest;
use strata_core::vfs::MemVfs;
use strata_core::{Database, Options, Result, Sizes};

use crate::files::{DIR, Files, files_of, fixture, system_of, write_to};
use crate::v1::rows::{Tables, note};
use crate::v1::write::{begin, change, commit, create_notes, insert};
use crate::v1::{assert_clean, assert_same, tables_of};

/// Segments of some sixty rows.
fn open(vfs: Arc<MemVfs>) -> Result<Database> {
    let memory_bytes = 64 << 20;
    let thresholds = MaintenanceOptions { tail_slots: 16, ..MaintenanceOptions::for_memory(memory_bytes) };
    let options = Options {
        memory_bytes,
        maintenance: MaintenanceMode::Manual,
        thresholds: Some(thresholds),
        sync_thread: false,
        sizes: Sizes { segment_bytes: 2_000, journal_file_bytes: 16 << 10, ..Sizes::default() },
    };
    Database::open_with_vfs(vfs, Path::new(DIR), options)
}

/// Fills a fresh database, which is then to be killed.
fn write(db: &Database) {
    let mut txn = begin(db);
    create_notes(&mut txn, "public", "notes").expect("made");
    commit(db, txn);
    write_notes(db, 0..500);
    change(db, "public", "notes", &|id| (id % 100 != 0).then_some(None));
    // Its snapshot keeps the marks of what is moved.
    let reader = db.view();
    move_rows(db);
    db.checkpoint().expect("checkpoints");
    // The tail of the journal.
    change(db, "public", "notes", &|id| (id == 200).then(|| Some(note(200, "changed"))));
    write_notes(db, 1_000..1_200);
    change(db, "public", "notes", &|id| (id > 1_000).then_some(None));
    move_rows(db);
    drop(reader);
}

fn write_notes(db: &Database, ids: std::ops::Range<i64>) {
    insert(db, "public", "notes", ids.map(|id| note(id, "a note of some length")).collect());
}

/// Moves rows until nothing is due any more.
pub fn move_rows(db: &Database) {
    let mut moves = 0;
    loop {
        match db.maintain().expect("steps") {
            Step::Move => moves += 1,
            Step::Idle => break,
            _ => {}
        }
    }
    assert!(moves > 0, "nothing was moved");
}

/// What the fixture answers, and what it does once it was gone on with.
fn expected(gone_on: bool) -> Tables {
    let text = |id| match id {
        200 => "changed",
        300 if gone_on => "changed since",
        _ => "a note of some length",
    };
    let ids = (0..500).step_by(100).chain([1_000]).chain(gone_on.then_some(2_000));
    let mut rows: Vec<_> = ids.map(|id| note(id, text(id))).collect();
    rows.sort_by_key(|row| format!("{:?}", row[0]));
    Tables::from([("public.notes".into(), rows)])
}

/// Opens files of this version, compares, and goes on with them.
fn assert_usable(files: &Files) {
    let vfs = system_of(files);
    let db = open(vfs.clone()).expect("opens");
    assert!(db.replayed_records() > 3, "the journal has a tail, and a move in it");
    assert_same(&tables_of(&db), &expected(false));
    assert_clean(&db);
    change(&db, "public", "notes", &|id| (id == 300).then(|| Some(note(300, "changed since"))));
    write_notes(&db, 2_000..2_001);
    assert_same(&tables_of(&db), &expected(true));
    db.vacuum().expect("vacuums");
    assert_same(&tables_of(&db), &expected(true));
    assert_clean(&db);
    drop(db);
    let db = open(vfs).expect("opens again");
    assert_same(&tables_of(&db), &expected(true));
    assert_clean(&db);
}

#[test]
fn a_database_of_version_2_opens_and_goes_on() {
    assert_usable(&fixture("v2"));
}

/// The program that wrote the fixture still writes such a database.
#[test]
fn the_program_of_today_writes_what_the_fixture_of_version_2_holds() {
    let vfs = Arc::new(MemVfs::new());
    let db = open(vfs.clone()).expect("opens");
    write(&db);
    let files = files_of(&vfs);
    assert_usable(&files);
    if let Some(folder) = std::env::var_os("STRATA_WRITE_FIXTURE") {
        write_to(&Path::new(&folder).join("v2"), &files);
    }
}

#[test]
fn the_fixture_of_version_2_has_marks_of_moved_rows() {
    let files = fixture("v2");
    let vfs = system_of(&files);
    let state = Manifest::read(&*vfs, &Path::new(DIR).join("manifest")).expect("reads");
    let store = FileBlockStore::open(&*vfs, Path::new(DIR), FileBlockStoreOptions::default()).expect("opens");
    let mut moved = 0;
    for id in state.heaps.values().flat_map(|heap| heap.segments.values()).filter_map(|entry| entry.marks) {
        let (info, payload) = store.read_all(id, BlockKind::Marks).expect("reads");
        assert_eq!(info.format, MARKS_FORMAT);
        let image = MarksImage::decode(id, info.format, &payload).expect("valid");
        let marks = image.groups.iter().flat_map(|group| &group.marks);
        moved += marks.filter(|(_, successor)| successor.is_some_and(|successor| successor.moved)).count();
    }
    assert!(moved > 0, "no mark of a moved row");
}
