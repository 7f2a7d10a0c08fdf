//! Format version 1.

pub mod rows;
pub mod write;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound::Unbounded;
use std::path::Path;
use std::sync::Arc;

use strata_core::catalog::Relation;
use strata_core::heap::column::Encoding;
use strata_core::maintenance::{MaintenanceMode, MaintenanceOptions};
use strata_core::manifest::{Manifest, SegmentImage};
use strata_core::row::Datum;
use strata_core::vfs::MemVfs;
use strata_core::{Database, Options, Result, Sizes};

use crate::files::{DIR, Files, files_of, fixture, system_of, write_to};
use rows::Tables;

/// Sizes that take few rows through every form.
pub fn open(vfs: Arc<MemVfs>) -> Result<Database> {
    let memory_bytes = 64 << 20;
    let options = Options {
        memory_bytes,
        maintenance: MaintenanceMode::Manual,
        thresholds: Some(MaintenanceOptions {
            tail_slots: 16,
            ..MaintenanceOptions::for_memory(memory_bytes)
        }),
        sync_thread: false,
        sizes: Sizes {
            segment_bytes: 100 << 10,
            bulk_rows: 64,
            journal_file_bytes: 16 << 10,
            ..Sizes::default()
        },
    };
    Database::open_with_vfs(vfs, Path::new(DIR), options)
}

pub fn assert_clean(db: &Database) {
    let report = db.check();
    assert!(report.is_clean(), "{:#?}", report.problems);
}

/// The rows of all tables, by scans; every index finds as many.
pub fn tables_of(db: &Database) -> Tables {
    let view = db.view();
    let mut tables = Tables::new();
    for def in view.catalog().tables() {
        let table = view.table(def.id).expect("is there");
        let schema = view.catalog().schema_by_id(def.schema_id).expect("has one").name.clone();
        let mut rows = Vec::new();
        for segment in table.segments().expect("reads") {
            for slot in table.visible_slots(&segment, 0..segment.slots().next_multiple_of(64)).expect("reads")
            {
                let row = segment.segment().first_row().offset(u64::from(slot));
                let values = table.row(row).expect("reads").to_datums(&def.schema).expect("reads");
                let live = def.schema.live().map(|column| values[column.id.get() as usize].clone());
                rows.push(live.collect::<Vec<Datum>>());
            }
        }
        for index in &def.indexes {
            let found = table.range(index.id, Unbounded, Unbounded, false).expect("reads");
            let found = found.collect::<Result<Vec<_>>>().expect("reads");
            assert_eq!(found.len(), rows.len(), "rows in index {}", index.name);
        }
        rows.sort_by_key(|row| format!("{:?}", row[0]));
        tables.insert(format!("{schema}.{}", def.name), rows);
    }
    tables
}

pub fn assert_same(found: &Tables, wanted: &Tables) {
    let names = |tables: &Tables| tables.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(found), names(wanted));
    for (name, wanted) in wanted {
        assert_eq!(found[name].len(), wanted.len(), "rows of {name}");
        for (found, wanted) in found[name].iter().zip(wanted) {
            // NaN is a value like any other here.
            assert_eq!(format!("{found:?}"), format!("{wanted:?}"), "a row of {name}");
        }
    }
}

/// Opens files of this version, compares all that there is, and goes on with them.
fn assert_usable(files: &Files) {
    let vfs = system_of(files);
    let db = open(vfs.clone()).expect("opens");
    assert!(db.replayed_records() > 5, "the journal has a tail");
    assert_same(&tables_of(&db), &rows::expected());
    assert_clean(&db);
    let catalog = db.catalog();
    let Some(Relation::View(view)) = catalog.relation("public", "shown") else { panic!("the view is gone") };
    let columns: Vec<&str> = view.column_names.iter().map(String::as_str).collect();
    assert_eq!((view.query.as_str(), columns), (rows::VIEW.0, rows::VIEW.1.to_vec()));
    let everything = catalog.table_by_name("public", "everything").expect("is there");
    let added = everything.schema.by_name("added").expect("is there");
    assert_eq!((added.default.as_deref(), &added.missing), (Some("42"), &Datum::Int64(42)));
    assert_eq!(everything.indexes.iter().map(|index| index.name.as_str()).collect::<Vec<_>>(), rows::INDEXES);

    write::go_on(&db);
    let wanted = rows::expected_after();
    assert_same(&tables_of(&db), &wanted);
    db.vacuum().expect("vacuums");
    assert_same(&tables_of(&db), &wanted);
    assert_clean(&db);
    drop(db);
    let db = open(vfs).expect("opens again");
    assert_eq!(db.replayed_records(), 0);
    assert_same(&tables_of(&db), &wanted);
    assert_clean(&db);
}

#[test]
fn a_database_of_version_1_opens_and_goes_on() {
    assert_usable(&fixture("v1"));
}

/// The program that wrote the fixture still writes such a database, so the fixture can be told from its description.
#[test]
fn the_program_of_today_writes_what_the_fixture_holds() {
    let vfs = Arc::new(MemVfs::new());
    let db = open(vfs.clone()).expect("opens");
    write::write(&db);
    let files = files_of(&vfs);
    assert_usable(&files);
    if let Some(folder) = std::env::var_os("STRATA_WRITE_FIXTURE") {
        write_to(&Path::new(&folder).join("v1"), &files);
    }
}

/// A fixture is worth what it has of each form.
#[test]
fn the_fixture_has_blocks_of_every_form() {
    let files = fixture("v1");
    let size: usize = files.values().map(Vec::len).sum();
    assert!(size < 768 << 10, "{size} bytes");
    let vfs = system_of(&files);
    let state = Manifest::read(&*vfs, &Path::new(DIR).join("manifest")).expect("reads");
    let mut forms: BTreeMap<&str, usize> = BTreeMap::new();
    let mut count = |form| *forms.entry(form).or_default() += 1;
    for table in &state.sstables {
        count(if table.level == 0 { "index, level 0" } else { "index, deeper" });
    }
    // Those in front are forgotten when they are read.
    let behind = state.heaps.values().filter(|heap| heap.first_segment().get() > 0);
    behind.for_each(|_| count("dropped"));
    for segment in state.heaps.values().flat_map(|heap| heap.segments.values()) {
        match &segment.image {
            SegmentImage::Column { slots, rows, .. } if slots == rows => count("full columns"),
            SegmentImage::Column { .. } => count("sparse columns"),
            SegmentImage::Dropped => count("dropped"),
            SegmentImage::Hot { pages } => pages.iter().for_each(|page| {
                count(if page.block.len_bytes() > 40 << 10 { "long row" } else { "row page" });
            }),
        }
        if segment.marks.is_some() {
            count("marks");
        }
    }
    let wanted = [
        "index, level 0",
        "index, deeper",
        "full columns",
        "sparse columns",
        "dropped",
        "long row",
        "row page",
        "marks",
    ];
    for form in wanted {
        assert!(forms.contains_key(form), "no {form} in {forms:?}");
    }
    assert_has_every_encoding(&open(vfs).expect("opens"));
}

pub fn assert_has_every_encoding(db: &Database) {
    let mut encodings = BTreeSet::new();
    let view = db.view();
    for def in view.catalog().tables() {
        for segment in view.table(def.id).expect("is there").segments().expect("reads") {
            if let Some(block) = segment.column_block().expect("reads") {
                encodings.extend(block.columns().iter().map(|column| column.encoding as u8));
            }
        }
    }
    let all = [
        Encoding::Constant,
        Encoding::Plain,
        Encoding::BitPacked,
        Encoding::Dictionary,
        Encoding::Fsst,
        Encoding::Alp,
        Encoding::RunEnd,
        Encoding::RunEndDictionary,
    ];
    assert_eq!(encodings, all.map(|encoding| encoding as u8).into());
}
