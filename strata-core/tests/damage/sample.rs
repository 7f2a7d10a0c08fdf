//! Small databases in all the forms that rows have, as files, and all that they answer.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use arrow_array::{ArrayRef, Int64Array, RecordBatch, StringViewArray};
use strata_core::Database;
use strata_core::catalog::IndexColumn;
use strata_core::catalog::change::{NewColumn, NewIndex};
use strata_core::ids::{ColumnId, TableId};
use strata_core::row::{ColumnType, Datum, KeyOrder};
use strata_core::table::Isolation;
use strata_core::txn::{TableLockMode, block_on};
use strata_core::vfs::MemVfs;

use crate::answers::{Answers, answers};
use crate::blocks::{PlacedBlock, blocks_of};
use crate::files::{DIR, Files, files_of, open, open_small, starts_of, system_of};

/// A database as it was left.
pub struct Kept {
    pub files: Files,
    pub answers: Answers,
    /// Those that the manifest names.
    pub blocks: Vec<PlacedBlock>,
    /// The answers before the last commit, if the database was not closed: that commit may count as torn.
    before: Option<Answers>,
}

impl Kept {
    fn new(vfs: &Arc<MemVfs>, answers: Answers, before: Option<Answers>) -> Self {
        let files = files_of(vfs);
        Self { blocks: blocks_of(&files), files, answers, before }
    }

    /// Whether the check is run as well in the so many-th try: in each, or in some, where it takes longer than the answers.
    pub fn is_checked(&self, try_number: usize) -> bool {
        let covered_bytes: usize = self.blocks.iter().map(|block| block.covered.len()).sum();
        covered_bytes < 400 << 10 || try_number.is_multiple_of(6)
    }

    /// The other answers that a change of these bytes may give: without the last commit, if one is of its batch.
    pub fn may_be_torn(&self, file: &Path, bytes: &Range<usize>) -> Option<&Answers> {
        let before = self.before.as_ref()?;
        let journals =
            self.files.iter().filter(|(path, _)| path.extension().is_some_and(|ext| ext == "journal"));
        let last_batch = |bytes: &[u8]| starts_of(bytes, b"SJBA").pop();
        let (last, begin) =
            journals.filter_map(|(path, bytes)| Some((path, last_batch(bytes)?))).next_back()?;
        (file == last && bytes.end > begin).then_some(before)
    }
}

/// Closed: everything is in the manifest.
pub fn closed() -> Kept {
    let vfs = Arc::new(MemVfs::new());
    let db = lived_in(&vfs);
    let answers = answers(&db);
    drop(db);
    Kept::new(&vfs, answers, None)
}

/// Killed: the last commits are in the journal only.
pub fn killed() -> Kept {
    let vfs = Arc::new(MemVfs::new());
    let db = lived_in(&vfs);
    let table = db.catalog().tables().find(|table| table.name == "people").expect("is there").id;
    for turn in 0..5 {
        write(&db, table, 300 + turn * 10..305 + turn * 10, turn * 10..turn * 10 + 2);
    }
    let before = answers(&db);
    write(&db, table, 400..402, 90..91);
    let answers = answers(&db);
    Kept::new(&vfs, answers, Some(before))
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
    let answers = answers(&db);
    drop(db);
    Kept::new(&vfs, answers, None)
}

/// Small enough to try much: `cold` in full and sparse column blocks with marks, `hot` in row pages, `long` in pages of
/// one row; indexes of two levels.
pub fn every_form() -> Kept {
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
    let answers = answers(&db);
    drop(db);
    let kept = Kept::new(&vfs, answers, None);
    for form in
        ["index, level 0", "index, deeper", "full columns", "sparse columns", "row page", "long row", "marks"]
    {
        assert!(kept.blocks.iter().any(|block| block.what == form), "no {form}");
    }
    kept
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
    let answers = answers(&db);
    drop(db);
    Kept::new(&vfs, answers, None)
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
