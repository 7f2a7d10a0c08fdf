//! Small databases in all the forms that rows have, as files, and all that they answer.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow_array::{ArrayRef, Int64Array, RecordBatch, StringViewArray};
use strata_core::catalog::IndexColumn;
use strata_core::catalog::change::{NewColumn, NewIndex};
use strata_core::ids::{ColumnId, TableId};
use strata_core::maintenance::MaintenanceMode;
use strata_core::row::{ColumnType, Datum, KeyOrder, SqlType};
use strata_core::table::{Isolation, ReadView};
use strata_core::txn::{TableLockMode, block_on};
use strata_core::vfs::{MemVfs, OpenMode, Vfs};
use strata_core::{Database, Options, Result};

const DIR: &str = "/db";

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

/// Opens a copy of the files and asks for everything.
///
/// # Errors
/// What the engine, or its check, has to say.
pub fn read(files: &Files) -> std::result::Result<Answers, String> {
    let vfs = Arc::new(MemVfs::new());
    for (path, bytes) in files {
        let parent = path.parent().expect("is in a folder");
        vfs.create_dir_all(parent).expect("made");
        let file = vfs.open(path, OpenMode::CreateNew).expect("made");
        file.write_at(0, bytes).expect("written");
        file.sync().expect("synced");
        vfs.sync_dir(parent).expect("synced");
    }
    let db = open(vfs).map_err(|error| error.to_string())?;
    let answers = answers(&db).map_err(|error| error.to_string())?;
    if db.stats().blocks_used_bytes > 256 << 10 {
        // The check of a large database takes seconds; its blocks are read above.
        return Ok(answers);
    }
    let report = db.check();
    if report.is_clean() { Ok(answers) } else { Err(report.problems.join("; ")) }
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

fn create(db: &Database, name: &str) -> TableId {
    let column = |name: &str, column_type| NewColumn {
        name: name.into(),
        column_type,
        sql_type: SqlType::default(),
        nullable: true,
        default: None,
        missing: Datum::Null,
    };
    let index = |name: String, number, unique| NewIndex {
        name,
        primary: unique,
        unique,
        constraint: unique,
        columns: vec![IndexColumn { column: ColumnId::new(number), order: KeyOrder::default() }],
    };
    let mut txn = db.begin(Isolation::ReadCommitted).expect("begins");
    let columns = vec![column("id", ColumnType::Int64), column("note", ColumnType::Text)];
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
