//! Small databases in all the forms that rows have, as files, and all that they answer.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow_array::{ArrayRef, Int64Array, RecordBatch, StringViewArray};
use strata_core::catalog::IndexColumn;
use strata_core::catalog::change::{NewColumn, NewIndex};
use strata_core::ids::{BlockId, ColumnId, TableId};
use strata_core::maintenance::{MaintenanceMode, MaintenanceOptions};
use strata_core::manifest::{Manifest, SegmentImage};
use strata_core::row::{ColumnType, Datum, KeyOrder};
use strata_core::table::{Isolation, ReadView};
use strata_core::txn::{TableLockMode, block_on};
use strata_core::vfs::{MemVfs, OpenMode, Vfs};
use strata_core::{Database, Options, Result, Sizes};

const DIR: &str = "/db";

/// The file of all blocks.
pub const BLOCKS: &str = "/db/blocks.strata";

/// Of large segments and indexes, one row in so many is read: some of each page.
const STRIDE: usize = 499;

/// The files of a database.
pub type Files = BTreeMap<PathBuf, Vec<u8>>;

/// Every row of every table, through the scan and through each index.
pub type Answers = Vec<String>;

/// A database as it was left.
pub struct Kept {
    pub files: Files,
    pub answers: Answers,
    /// The answers before the last commit, if the database was not closed: that commit may count as torn.
    before: Option<Answers>,
}

impl Kept {
    /// The other answers that a change of this byte may give: without the last commit, if the byte is of its batch.
    pub fn may_be_torn(&self, file: &Path, offset: usize) -> Option<&Answers> {
        let before = self.before.as_ref()?;
        let batches =
            |bytes: &[u8]| (0..bytes.len()).step_by(4096).rfind(|at| bytes[*at..].starts_with(b"SJBA"));
        let journals =
            self.files.iter().filter(|(path, _)| path.extension().is_some_and(|ext| ext == "journal"));
        let (last, begin) = journals.filter_map(|(path, bytes)| Some((path, batches(bytes)?))).next_back()?;
        (file == last && offset >= begin).then_some(before)
    }
}

/// A closed database with blocks of every kind and form, and where they stand.
pub struct Sample {
    pub kept: Kept,
    pub blocks: Vec<PlacedBlock>,
}

/// A block in [`BLOCKS`].
#[derive(Debug)]
pub struct PlacedBlock {
    /// Its bytes in the file.
    pub range: Range<usize>,
    pub owner: Owner,
    pub what: &'static str,
}

/// Whose a block is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Owner {
    /// The catalog's.
    System,
    /// That of all indexes.
    Index,
    /// A table's.
    Table(String),
}

/// What one table answers.
pub struct TableAnswers {
    /// All rows.
    pub scan: std::result::Result<Answers, String>,
    /// All rows, each found by its key.
    pub lookups: std::result::Result<Answers, String>,
}

/// Closed: everything is in the manifest.
pub fn closed() -> Kept {
    let vfs = Arc::new(MemVfs::new());
    let db = lived_in(&vfs);
    let answers = answers(&db).expect("reads");
    drop(db);
    Kept { files: files_of(&vfs), answers, before: None }
}

/// Killed: the last commits are in the journal only.
pub fn killed() -> Kept {
    let vfs = Arc::new(MemVfs::new());
    let db = lived_in(&vfs);
    let table = db.catalog().tables().find(|table| table.name == "people").expect("is there").id;
    for turn in 0..5 {
        write(&db, table, 300 + turn * 10..305 + turn * 10, turn * 10..turn * 10 + 2);
    }
    let before = answers(&db).expect("reads");
    write(&db, table, 400..402, 90..91);
    let answers = answers(&db).expect("reads");
    let files = files_of(&vfs);
    Kept { files, answers, before: Some(before) }
}

/// More rows than a segment holds, in column blocks, some of them dead.
pub fn frozen() -> Kept {
    let vfs = Arc::new(MemVfs::new());
    let db = open(vfs.clone()).expect("opens");
    let table = create(&db, "people");
    let txn = db.begin(Isolation::ReadCommitted).expect("begins");
    block_on(async {
        let mut load = txn.bulk_load(table).await?;
        load.append(&batch(0..66_000))?;
        load.finish().await
    })
    .expect("loads");
    commit(&db, txn);
    write(&db, table, 70_000..70_003, 5..9);
    let answers = answers(&db).expect("reads");
    drop(db);
    Kept { files: files_of(&vfs), answers, before: None }
}

/// Small enough to try much: `cold` in full and sparse column blocks with marks, `hot` in row pages, `long` in pages of
/// one row; indexes of two levels.
pub fn every_form() -> Sample {
    let vfs = Arc::new(MemVfs::new());
    let db = open_small(vfs.clone()).expect("opens");
    let (hot, cold, long) = (create(&db, "hot"), create(&db, "cold"), create_long(&db));
    let txn = db.begin(Isolation::ReadCommitted).expect("begins");
    block_on(async {
        let mut load = txn.bulk_load(cold).await?;
        for start in [0, 100, 200, 300] {
            load.append(&batch(start..start + 100))?;
        }
        load.finish().await
    })
    .expect("loads");
    commit(&db, txn);
    for place in 0..7 {
        write(&db, cold, 0..0, place * 17..place * 17 + 12);
    }
    db.vacuum().expect("vacuums");
    write(&db, cold, 0..0, 320..335);
    let txn = db.begin(Isolation::ReadCommitted).expect("begins");
    block_on(txn.lock_table(long, TableLockMode::RowExclusive)).expect("locked");
    let def = db.catalog().table(long).expect("is there").clone();
    for id in 0..3 {
        let body = Datum::Text(format!("{id} ").repeat(20_000));
        block_on(txn.insert(&def, &[Datum::Int64(id), body])).expect("inserted");
    }
    commit(&db, txn);
    for turn in 0..3 {
        write(&db, hot, turn * 20..turn * 20 + 15, turn * 10..turn * 10 + 5);
        db.checkpoint().expect("checkpoints");
    }
    let answers = answers(&db).expect("reads");
    drop(db);
    let kept = Kept { files: files_of(&vfs), answers, before: None };
    Sample { blocks: blocks_of(&kept.files), kept }
}

fn create_long(db: &Database) -> TableId {
    let mut txn = db.begin(Isolation::ReadCommitted).expect("begins");
    let columns = vec![NewColumn::new("id", ColumnType::Int64), NewColumn::new("body", ColumnType::Text)];
    let table = block_on(txn.change_catalog(|catalog| catalog.create_table("public", "long", columns)));
    let table = table.expect("made");
    block_on(txn.create_index(table, index("long_pkey".into(), 0, true))).expect("indexed");
    commit(db, txn);
    table
}

/// The blocks that the manifest names.
fn blocks_of(files: &Files) -> Vec<PlacedBlock> {
    let vfs = system_of(files);
    let state = Manifest::read(&*vfs, &Path::new(DIR).join("manifest")).expect("reads");
    let db = open_small(vfs).expect("opens");
    let mut blocks = Vec::new();
    let mut add = |block: BlockId, owner: &Owner, what| {
        let start = usize::try_from(block.offset_bytes()).expect("small");
        let range = start..start + usize::try_from(block.len_bytes()).expect("small");
        blocks.push(PlacedBlock { range, owner: owner.clone(), what });
    };
    for table in &state.sstables {
        add(table.block, &Owner::Index, if table.level == 0 { "index, level 0" } else { "index, deeper" });
    }
    for (id, heap) in &state.heaps {
        let catalog = db.catalog();
        let table = catalog.tables().find(|table| table.heap == *id);
        let owner = table.map_or(Owner::System, |table| Owner::Table(table.name.clone()));
        for segment in heap.segments.values() {
            let what = match &segment.image {
                SegmentImage::Column { slots, rows, .. } if slots == rows => "full columns",
                SegmentImage::Column { .. } => "sparse columns",
                SegmentImage::Hot { .. } => "row page",
                SegmentImage::Dropped => "nothing",
            };
            for block in segment.image.blocks() {
                let is_long = what == "row page" && block.len_bytes() > 36 << 10;
                add(block, &owner, if is_long { "long row" } else { what });
            }
            if let Some(marks) = segment.marks {
                add(marks, &owner, "marks");
            }
        }
    }
    for form in
        ["index, level 0", "index, deeper", "full columns", "sparse columns", "row page", "long row", "marks"]
    {
        assert!(blocks.iter().any(|block| block.what == form), "no {form}");
    }
    blocks
}

/// The fixture of version 1, closed: column blocks of every encoding.
pub fn every_encoding() -> Kept {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/v1");
    let mut files = Files::new();
    for folder in ["", "manifest", "journal"] {
        for entry in std::fs::read_dir(root.join(folder)).expect("the fixture is there") {
            let path = entry.expect("readable").path();
            if path.is_file() {
                let name = path.strip_prefix(&root).expect("is below");
                files.insert(Path::new(DIR).join(name), std::fs::read(&path).expect("readable"));
            }
        }
    }
    let vfs = system_of(&files);
    let db = open(vfs.clone()).expect("opens");
    db.vacuum().expect("vacuums");
    let answers = answers(&db).expect("reads");
    drop(db);
    Kept { files: files_of(&vfs), answers, before: None }
}

/// Opens a copy of the files and asks each table by itself.
///
/// # Errors
/// What opening has to say.
pub fn read_tables(files: &Files) -> std::result::Result<BTreeMap<String, TableAnswers>, String> {
    let db = open_small(system_of(files)).map_err(|error| error.to_string())?;
    let view = db.view();
    let tables = view.catalog().tables().map(|def| {
        let text = |answers: Result<Answers>| answers.map_err(|error| error.to_string());
        let answers = TableAnswers { scan: text(scan(&view, def.id)), lookups: text(look_up(&view, def.id)) };
        (def.name.clone(), answers)
    });
    Ok(tables.collect())
}

fn scan(view: &ReadView, table: TableId) -> Result<Answers> {
    let table = view.table(table)?;
    let mut answers = Vec::new();
    for segment in table.segments()? {
        for slot in table.visible_slots(&segment, 0..segment.slots().next_multiple_of(64))? {
            let row = segment.segment().first_row().offset(u64::from(slot));
            answers.push(format!("{:?}", table.row(row)?.to_datums(&table.def().schema)?));
        }
    }
    answers.sort_unstable();
    Ok(answers)
}

fn look_up(view: &ReadView, table: TableId) -> Result<Answers> {
    let table = view.table(table)?;
    let def = table.def();
    let index = def.primary_key().expect("has one");
    let mut answers = Vec::new();
    for id in -1..410 {
        let mut key = Vec::new();
        strata_core::table::encode_index_key(def, index, &[Datum::Int64(id), Datum::Null], &mut key)?;
        if let Some(row) = table.first(index.id, &key)? {
            answers.push(format!("{:?}", table.row(row)?.to_datums(&def.schema)?));
        }
    }
    answers.sort_unstable();
    Ok(answers)
}

/// Opens a copy of the files and asks for everything.
///
/// # Errors
/// What the engine, or its check, has to say.
pub fn read(files: &Files) -> std::result::Result<Answers, String> {
    let db = open(system_of(files)).map_err(|error| error.to_string())?;
    let answers = answers(&db).map_err(|error| error.to_string())?;
    if db.stats().blocks_used_bytes > 256 << 10 {
        // The check of a large database takes seconds; its blocks are read above.
        return Ok(answers);
    }
    let report = db.check();
    if report.is_clean() { Ok(answers) } else { Err(report.problems.join("; ")) }
}

/// A file system with these files.
fn system_of(files: &Files) -> Arc<MemVfs> {
    let vfs = Arc::new(MemVfs::new());
    for folder in [DIR.to_owned(), format!("{DIR}/manifest"), format!("{DIR}/journal")] {
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

/// Two tables that have seen checkpoints, updates, deletes and reused extents.
fn lived_in(vfs: &Arc<MemVfs>) -> Database {
    let db = open(vfs.clone()).expect("opens");
    let people = create(&db, "people");
    let places = create(&db, "places");
    for turn in 0..6 {
        write(&db, people, turn * 20..turn * 20 + 15, turn * 10..turn * 10 + 5);
        write(&db, places, turn * 5..turn * 5 + 3, 0..0);
        db.checkpoint().expect("checkpoints");
    }
    db.vacuum().expect("vacuums");
    db
}

fn open(vfs: Arc<MemVfs>) -> Result<Database> {
    let options = Options {
        memory_bytes: 64 << 20,
        maintenance: MaintenanceMode::Manual,
        sync_thread: false,
        ..Options::default()
    };
    Database::open_with_vfs(vfs, Path::new(DIR), options)
}

/// Sizes that take a few hundred rows through every form.
fn open_small(vfs: Arc<MemVfs>) -> Result<Database> {
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

fn index(name: String, number: u32, unique: bool) -> NewIndex {
    let columns = vec![IndexColumn { column: ColumnId::new(number), order: KeyOrder::default() }];
    NewIndex { name, primary: unique, unique, constraint: unique, columns }
}

fn create(db: &Database, name: &str) -> TableId {
    let mut txn = db.begin(Isolation::ReadCommitted).expect("begins");
    let columns = vec![NewColumn::new("id", ColumnType::Int64), NewColumn::new("note", ColumnType::Text)];
    let table = block_on(txn.change_catalog(|catalog| catalog.create_table("public", name, columns)));
    let table = table.expect("made");
    block_on(txn.create_index(table, index(format!("{name}_pkey"), 0, true))).expect("indexed");
    block_on(txn.create_index(table, index(format!("{name}_note"), 1, false))).expect("indexed");
    commit(db, txn);
    table
}

fn note(id: i64) -> String {
    format!("note {} of row {id}", id * 7919 % 101)
}

fn batch(ids: std::ops::Range<i64>) -> RecordBatch {
    let notes: StringViewArray = ids.clone().map(|id| Some(note(id))).collect();
    let ids: Int64Array = ids.collect();
    let columns = [("id", Arc::new(ids) as ArrayRef, true), ("note", Arc::new(notes) as ArrayRef, true)];
    RecordBatch::try_from_iter_with_nullable(columns).expect("columns fit")
}

/// One transaction: new rows, others updated, every third of those deleted.
fn write(db: &Database, table: TableId, new: std::ops::Range<i64>, old: std::ops::Range<i64>) {
    let txn = db.begin(Isolation::ReadCommitted).expect("begins");
    block_on(txn.lock_table(table, TableLockMode::RowExclusive)).expect("locked");
    let def = db.catalog().table(table).expect("is there").clone();
    for id in new {
        block_on(txn.insert(&def, &[Datum::Int64(id), Datum::Text(note(id))])).expect("inserted");
    }
    let view = txn.view().table(table).expect("is there");
    for id in old {
        let mut key = Vec::new();
        let index = def.primary_key().expect("has one");
        let values = [Datum::Int64(id), Datum::Null];
        strata_core::table::encode_index_key(&def, index, &values, &mut key).expect("fits");
        let Some(row) = view.first(index.id, &key).expect("reads") else { continue };
        if id % 3 == 0 {
            txn.delete(&view, row).expect("deleted");
        } else {
            let values = [Datum::Int64(id), Datum::Text(format!("changed {id}"))];
            block_on(txn.update(&view, row, &values)).expect("updated");
        }
    }
    commit(db, txn);
}

fn commit(db: &Database, txn: strata_core::table::Transaction) {
    let ticket = txn.commit().expect("commits");
    db.sync().expect("synced");
    ticket.wait().expect("durable");
}

fn answers(db: &Database) -> Result<Answers> {
    let view = db.view();
    let mut answers = Vec::new();
    for table in view.catalog().tables() {
        table_answers(&view, table.id, &mut answers)?;
    }
    answers.sort_unstable();
    Ok(answers)
}

fn table_answers(view: &ReadView, table: TableId, answers: &mut Answers) -> Result<()> {
    let table = view.table(table)?;
    let name = &table.def().name;
    answers.push(format!("{name} counts {}", table.row_count()));
    for segment in table.segments()? {
        let slots = table.visible_slots(&segment, 0..segment.slots().next_multiple_of(64))?;
        for slot in slots.iter().step_by(stride(slots.len())) {
            let row = segment.segment().first_row().offset(u64::from(*slot));
            let values = table.row(row)?.to_datums(&table.def().schema)?;
            answers.push(format!("{name} {row}: {values:?}"));
        }
    }
    for index in &table.def().indexes {
        let unbounded = std::ops::Bound::Unbounded;
        let stride = stride(usize::try_from(table.row_count()).expect("small"));
        for (place, row) in table.range(index.id, unbounded.clone(), unbounded, false)?.enumerate() {
            // All are asked for, so that no error is skipped.
            let row = row?;
            if place % stride == 0 {
                answers.push(format!("{} {row}", index.name));
            }
        }
    }
    Ok(())
}

fn stride(rows: usize) -> usize {
    if rows > 10 * STRIDE { STRIDE } else { 1 }
}

fn files_of(vfs: &Arc<MemVfs>) -> Files {
    let mut files = Files::new();
    for folder in [DIR.to_owned(), format!("{DIR}/manifest"), format!("{DIR}/journal")] {
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
