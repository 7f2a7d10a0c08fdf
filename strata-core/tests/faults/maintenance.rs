//! Steps of maintenance: none of them changes what the database answers.

use std::sync::{Arc, OnceLock};

use strata_core::maintenance::Step;
use strata_core::table::Transaction;
use strata_core::txn::TableLockMode;
use strata_core::vfs::{Fault, FaultEffect, FaultVfs, IoKind, MemVfs, SeededRandom};
use strata_core::{Database, Result};

use crate::image::{self, Files, settled_image};
use crate::judge::assert_reopens;
use crate::refusal::{assert_refuses, is_poisoned};
use crate::rest::squeeze;
use crate::rig::{
    Outcome, assert_clean, begin, change, commit, contents, create, def, insert, load, now, open, write,
};
use crate::sweep::{Operation, sweep};

#[test]
fn checkpoint() {
    let run = |db: &Database| -> Outcome { Ok(db.checkpoint()?) };
    sweep(&Operation::maintenance("checkpoint", |_| (), run));
}

/// Flush, compaction and freezing, one step after the other.
#[test]
fn steps() {
    let prepare = |db: &Database| {
        for turn in 0..2 {
            let from = 2_000 + 100 * turn;
            write(db, "hot", |txn| insert(db, txn, "hot", from..from + 70)).expect("inserts");
            db.checkpoint().expect("checkpoints");
        }
    };
    let run = |db: &Database| -> Outcome {
        while db.maintain()? != Step::Idle {}
        Ok(())
    };
    sweep(&Operation::maintenance("steps", prepare, run));
}

/// The last rows of nearly empty segments are moved, and the segments go.
#[test]
fn moving_rows() {
    fn image() -> &'static Files {
        static IMAGE: OnceLock<Files> = OnceLock::new();
        settled_image(&IMAGE, |db| {
            let few_are_left = |txn: &Transaction| -> Result<()> {
                (70..300).step_by(50).try_for_each(|id| change(db, txn, "cold", id..id + 49, true))
            };
            write(db, "cold", few_are_left).expect("deletes");
        })
    }
    let run = |db: &Database| -> Outcome {
        while db.stats().moves == 0 {
            assert_ne!(db.maintain()?, Step::Idle, "no rows were moved");
        }
        Ok(())
    };
    let operation = Operation::maintenance("moves", |_| (), run).at_least(15);
    sweep(&Operation { image, ..operation });
}

/// Of a segment in columns more than half is garbage: it is written again without that.
#[test]
fn rewriting_a_sparse_segment() {
    fn image() -> &'static Files {
        static IMAGE: OnceLock<Files> = OnceLock::new();
        settled_image(&IMAGE, |db| {
            write(db, "cold", |txn| change(db, txn, "cold", 130..175, true)).expect("deletes");
            assert!(has_sparse_segment(db).expect("reads"));
        })
    }
    let run = |db: &Database| -> Outcome {
        while has_sparse_segment(db)? {
            assert_ne!(db.maintain()?, Step::Idle, "no segment was rewritten");
        }
        Ok(())
    };
    let operation = Operation::maintenance("a sparse rewrite", |_| (), run).at_least(15);
    sweep(&Operation { image, ..operation });
}

/// Whether half of a column block is garbage.
fn has_sparse_segment(db: &Database) -> Result<bool> {
    let table = db.view().table(def(db, "cold").id)?;
    for segment in table.segments()? {
        let live = table.visible_slots(&segment, 0..segment.slots().next_multiple_of(64))?.len();
        let Some(block) = segment.column_block()? else { continue };
        if 2 * live <= block.rows() as usize {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Everything: frozen segments become sparse, dead ones go.
#[test]
fn vacuum() {
    let prepare = |db: &Database| {
        write(db, "cold", |txn| change(db, txn, "cold", 100..180, true)).expect("deletes");
        write(db, "cold", |txn| change(db, txn, "cold", 220..300, true)).expect("deletes");
        write(db, "cold", |txn| insert(db, txn, "cold", 2_000..2_040)).expect("inserts");
    };
    let run = |db: &Database| -> Outcome { Ok(db.vacuum()?) };
    sweep(&Operation::maintenance("vacuum", prepare, run));
}

/// The heap of a dropped table, and one that was truncated.
#[test]
fn dropping_heaps() {
    let prepare = |db: &Database| {
        let mut txn = begin(db).expect("begins");
        for (name, drops) in [("cold", true), ("loaded", false)] {
            let id = def(db, name).id;
            now(txn.lock_table(id, TableLockMode::AccessExclusive)).expect("locks");
            if drops {
                now(txn.drop_relation(id)).expect("drops");
            } else {
                now(txn.truncate(id)).expect("truncates");
            }
        }
        commit(db, txn).expect("commits");
    };
    let run = |db: &Database| -> Outcome {
        while db.maintain()? != Step::Idle {}
        Ok(())
    };
    sweep(&Operation::maintenance("dropping heaps", prepare, run));
}

/// TRAPS "Extents": a load, its table's end and the freeing of its extents all lie after the journal's start. Replay meets
/// the load again, and its extents are somebody else's by then.
#[test]
fn replay_does_not_adopt_the_load_of_a_dropped_table() {
    let vfs = Arc::new(MemVfs::new());
    let db = open(vfs.clone()).expect("opens");
    let mut txn = begin(&db).expect("begins");
    create(&mut txn, "hot").expect("made");
    let gone = create(&mut txn, "gone").expect("made");
    load(&txn, gone, 0..150).expect("loads");
    commit(&db, txn).expect("commits");
    assert_eq!(db.maintain().expect("steps"), Step::Flush);
    let mut txn = begin(&db).expect("begins");
    now(txn.lock_table(gone, TableLockMode::AccessExclusive)).expect("locks");
    now(txn.drop_relation(gone)).expect("drops");
    commit(&db, txn).expect("commits");
    while db.maintain().expect("steps") != Step::Idle {}
    for from in [0, 100] {
        write(&db, "hot", |txn| insert(&db, txn, "hot", from..from + 70)).expect("inserts");
        while db.maintain().expect("steps") != Step::Idle {}
    }
    let before = contents(&db).expect("reads");
    let reopened = open(Arc::new(vfs.crash_clone(&SeededRandom::new(1)))).expect("opens");
    assert!(reopened.replayed_records() > 2, "no checkpoint was made");
    for _ in 0..3 {
        assert_eq!(contents(&reopened).expect("reads"), before);
        assert_clean(&reopened);
        reopened.vacuum().expect("vacuums");
        write(&reopened, "hot", |txn| change(&reopened, txn, "hot", 0..1, false)).expect("goes on");
        write(&reopened, "hot", |txn| change(&reopened, txn, "hot", 0..1, true)).expect("goes on");
        write(&reopened, "hot", |txn| insert(&reopened, txn, "hot", 0..1)).expect("goes on");
    }
}

/// The sync of a manifest edit fails: the edit may be on the disk, and name blocks that nobody uses now. Pages that are evicted
/// later must not go there.
#[test]
fn blocks_of_an_edit_in_doubt_are_not_overwritten() {
    let memory = Arc::new(MemVfs::new());
    let faults = FaultVfs::new(memory.clone());
    let db = open(Arc::new(faults.clone())).expect("opens");
    let mut txn = begin(&db).expect("begins");
    create(&mut txn, "hot").expect("made");
    commit(&db, txn).expect("commits");
    db.checkpoint().expect("checkpoints");
    write(&db, "hot", |txn| insert(&db, txn, "hot", 0..200)).expect("inserts");
    let before = contents(&db).expect("reads");
    db.check();
    faults.arm(Fault::nth(0, FaultEffect::InputOutput).of(&[IoKind::Sync]).in_path("MANIFEST"));
    db.vacuum().expect_err("the edit is in doubt");
    faults.disarm();
    squeeze(&db);
    assert!(db.stats().cache.write_backs > 0, "pages were evicted");
    let written = image::system_of(&image::files_of(&memory));
    drop(db);
    assert_reopens(written, &[&before], "with the edit");
}

/// Bug: where shortening the journal failed so that it took no more records, checkpoints went on.
#[test]
fn a_journal_that_shortening_has_closed_takes_no_checkpoint() {
    let mut closed = 0;
    for at in 0.. {
        let faults = FaultVfs::new(image::system_of(image::image()));
        let db = open(Arc::new(faults.clone())).expect("opens");
        // So that the journal is longer than it need be.
        write(&db, "hot", |txn| insert(&db, txn, "hot", 1_000..1_300)).expect("inserts");
        faults.arm(Fault::nth(at, FaultEffect::InputOutput).in_path("journal").for_ever());
        let outcome = db.vacuum();
        faults.disarm();
        if faults.fired() == 0 {
            break;
        }
        let what = format!("call {at}, which gave {outcome:?}");
        if is_poisoned(&db, &what) {
            closed += 1;
            assert_refuses(&db, &what);
        }
    }
    assert!(closed > 0, "the journal was never closed");
}
