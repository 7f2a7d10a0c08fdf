//! Rows longer than a page, and values that take pages of their own.

use std::sync::{Arc, OnceLock};

use strata_core::catalog::change::NewColumn;
use strata_core::maintenance::Step;
use strata_core::row::{ColumnType, Datum};
use strata_core::table::Transaction;
use strata_core::vfs::MemVfs;
use strata_core::{Database, Options, Result, Sizes};

use crate::image::{Files, files_of};
use crate::rest::squeeze;
use crate::rig::{
    Outcome, begin, commit, def, find, index, load_batch, note_batch, now, open, options, write,
};
use crate::sweep::{Operation, sweep};

/// One that is longer than a page of rows, one that takes several pages of a column.
const BYTES: [usize; 2] = [40_000, 90_000];

/// A table of long rows: one in a column block, one in row pages.
fn image() -> &'static Files {
    static IMAGE: OnceLock<Files> = OnceLock::new();
    IMAGE.get_or_init(|| {
        let vfs = Arc::new(MemVfs::new());
        let db = open(vfs.clone()).expect("opens");
        let mut txn = begin(&db).expect("begins");
        let columns = vec![NewColumn::new("id", ColumnType::Int64), NewColumn::new("note", ColumnType::Text)];
        let table = now(txn.change_catalog(|catalog| catalog.create_table("public", "hot", columns)));
        let table = table.expect("made");
        now(txn.create_index(table, index("hot_pkey", 0, true))).expect("made");
        commit(&db, txn).expect("commits");
        write(&db, "hot", |txn| insert(&db, txn, 0)).expect("inserts");
        db.vacuum().expect("vacuums");
        write(&db, "hot", |txn| insert(&db, txn, 1)).expect("inserts");
        files_of(&vfs)
    })
}

/// Text that nothing compresses much.
fn long(id: i64) -> String {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64.wrapping_mul(id as u64 + 1);
    let letter = |_| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        char::from(b' ' + (state >> 57) as u8 % 90)
    };
    (0..BYTES[id as usize % 2]).map(letter).collect()
}

fn row(id: i64) -> Vec<Datum> {
    vec![Datum::Int64(id), Datum::Text(long(id))]
}

fn insert(db: &Database, txn: &Transaction, id: i64) -> Result<()> {
    now(txn.insert(&def(db, "hot"), &row(id))).map(|_| ())
}

/// A file of the journal has room for a few of them.
fn roomy() -> Options {
    let sizes = Sizes { journal_file_bytes: 256 << 10, ..options().sizes };
    Options { sizes, ..options() }
}

fn sweep_long(operation: Operation) {
    sweep(&Operation { image, options: roomy, ..operation });
}

#[test]
fn writing() {
    let run = |db: &Database| -> Outcome {
        write(db, "hot", |txn| {
            insert(db, txn, 2)?;
            for id in 0..2 {
                squeeze(db);
                let view = txn.view().table(def(db, "hot").id)?;
                let found = find(&view, id)?.expect("is there");
                now(txn.update(&view, found, &[Datum::Int64(id), Datum::Text(long(id + 2))]))?;
            }
            Ok(())
        })
    };
    sweep_long(Operation::change("long rows", run).at_least(10));
}

#[test]
fn loading() {
    let run = |db: &Database| -> Outcome {
        let txn = begin(db)?;
        // Few rows go in one by one, unless they are a segment.
        let rows = note_batch((10..14).map(|id| (id, long(id))));
        load_batch(&txn, def(db, "hot").id, &rows)?;
        commit(db, txn)
    };
    sweep_long(Operation::change("long rows, loaded", run).at_least(8));
}

#[test]
fn reading() {
    let run = |db: &Database| -> Outcome {
        for id in 0..2 {
            squeeze(db);
            let view = db.view().table(def(db, "hot").id)?;
            let found = find(&view, id)?.expect("is there");
            assert_eq!(view.row(found)?.to_datums(&view.def().schema)?, row(id));
        }
        Ok(())
    };
    let persist = |db: &Database| db.checkpoint().expect("checkpoints");
    sweep_long(Operation::read("reading long rows", persist, run).at_least(8));
}

#[test]
fn freezing() {
    let run = |db: &Database| -> Outcome {
        db.checkpoint()?;
        while db.maintain()? != Step::Idle {}
        Ok(())
    };
    let prepare = |db: &Database| write(db, "hot", |txn| insert(db, txn, 2)).expect("inserts");
    sweep_long(Operation::maintenance("long rows, maintained", prepare, run).at_least(15));
}
