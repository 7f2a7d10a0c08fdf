//! Format version 3: commit records that have many marks on a segment together, and own rows that were written out. All else is of
//! version 2.

mod records;
mod write;

use std::path::Path;
use std::sync::Arc;

use strata_core::maintenance::{MaintenanceMode, MaintenanceOptions};
use strata_core::manifest::{Manifest, SegmentImage};
use strata_core::vfs::MemVfs;
use strata_core::{Database, Options, Result, Sizes};

use crate::files::{DIR, Files, files_of, fixture, system_of, write_to};
use crate::v1::rows::{RUNS, Tables, everything, long, note, run, sorted};
use crate::v1::write::{change, insert};
use crate::v1::{assert_clean, assert_has_every_encoding, assert_same, tables_of};
use records::Forms;
use write::{DELETED, LARGE, LONG, MANY, MANY_KEPT, MANY_TEXT, NOTES, ROWS, changed};

/// Transactions keep few rows in memory.
fn open(vfs: Arc<MemVfs>) -> Result<Database> {
    let memory_bytes = 64 << 20;
    let thresholds = MaintenanceOptions { tail_slots: 16, ..MaintenanceOptions::for_memory(memory_bytes) };
    let sizes = Sizes {
        segment_bytes: 100 << 10,
        bulk_rows: 64,
        own_rows: 600,
        journal_file_bytes: 32 << 10,
        ..Sizes::default()
    };
    let options = Options {
        memory_bytes,
        maintenance: MaintenanceMode::Manual,
        thresholds: Some(thresholds),
        sync_thread: false,
        sizes,
    };
    Database::open_with_vfs(vfs, Path::new(DIR), options)
}

/// What the fixture answers, and what it does once it was gone on with.
fn expected(gone_on: bool) -> Tables {
    let rows = (0..ROWS).filter(|id| !DELETED.contains(id)).map(everything).collect();
    let mut notes: Vec<_> = (0..NOTES).filter(|id| *id != LARGE).map(changed).collect();
    notes.extend([note(LARGE, &long(LARGE)), note(LONG, &long(LONG))]);
    notes.extend((10_010..10_700).chain(12_000..12_020).map(|id| note(id, "of the tail")));
    if gone_on {
        notes.retain(|row| row != &changed(300));
        notes.push(note(300, "changed since"));
        notes.push(note(20_000, "written since"));
    }
    let many = (0..MANY).filter(|id| id % MANY_KEPT == 0).map(|id| note(id, MANY_TEXT)).collect();
    Tables::from([
        ("public.everything".into(), sorted(rows)),
        ("public.notes".into(), sorted(notes)),
        ("public.many".into(), sorted(many)),
        ("public.runs".into(), sorted((0..RUNS).map(run).collect())),
    ])
}

/// Opens files of this version, compares, and goes on with them.
fn assert_usable(files: &Files) {
    let vfs = system_of(files);
    let db = open(vfs.clone()).expect("opens");
    assert!(db.replayed_records() > 3, "the journal has a tail");
    assert_same(&tables_of(&db), &expected(false));
    assert_clean(&db);
    change(&db, "public", "notes", &|id| (id == 300).then(|| Some(note(300, "changed since"))));
    insert(&db, "public", "notes", vec![note(20_000, "written since")]);
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
fn a_database_of_version_3_opens_and_goes_on() {
    assert_usable(&fixture("v3"));
}

/// The program that wrote the fixture still writes such a database.
#[test]
fn the_program_of_today_writes_what_the_fixture_of_version_3_holds() {
    let vfs = Arc::new(MemVfs::new());
    let db = open(vfs.clone()).expect("opens");
    write::write(&db);
    let files = files_of(&vfs);
    assert_usable(&files);
    if let Some(folder) = std::env::var_os("STRATA_WRITE_FIXTURE") {
        write_to(&Path::new(&folder).join("v3"), &files);
    }
}

#[test]
fn the_fixture_of_version_3_has_records_of_every_form() {
    let forms = Forms::of(&fixture("v3"));
    assert!(forms.formats.iter().all(|format| *format == 3), "{:?}", forms.formats);
    let counts = [
        ("single marks", forms.marks),
        ("marks of moved rows", forms.moved),
        ("rows", forms.rows),
        ("many marks, in runs", forms.in_runs),
        ("many marks, as offsets", forms.as_offsets),
        ("many marks without successors", forms.without_successors),
        ("marks on rows that are loaded", forms.on_loaded),
        ("loads", forms.loads),
    ];
    for (form, count) in counts {
        assert!(count > 0, "no {form} in {counts:?}");
    }
}

#[test]
fn the_fixture_of_version_3_has_blocks_of_every_form() {
    let files = fixture("v3");
    let size: usize = files.values().map(Vec::len).sum();
    assert!(size < 640 << 10, "{size} bytes");
    let vfs = system_of(&files);
    let state = Manifest::read(&*vfs, &Path::new(DIR).join("manifest")).expect("reads");
    let segments = || state.heaps.values().flat_map(|heap| heap.segments.values());
    let is_long = |image: &SegmentImage| matches!(image, SegmentImage::Hot { pages } if pages.iter().any(|page| page.block.len_bytes() > 40 << 10));
    assert!(segments().any(|segment| is_long(&segment.image)), "no row has a page of its own");
    let db = open(vfs).expect("opens");
    assert_has_every_encoding(&db);
}
