//! Bulk loads in the pieces that they are made of: a writer that another thread drives, what it seals, and its adoption. Each
//! may be dropped, or refused, with blocks and files already written.

use std::ops::Range;

use strata_core::table::{Isolation, SealedLoad, Transaction};
use strata_core::txn::{RowLockMode, TableLockMode};
use strata_core::{Database, Error, Result};

use crate::rest::squeeze;
use crate::rig::{Outcome, batch, begin, change, commit, def, find, insert, note, note_batch, now, writer};
use crate::sweep::{Operation, sweep};

/// Has another thread bring rows and seal them.
fn seal(db: &Database, txn: &Transaction, name: &str, ids: Range<i64>) -> Result<SealedLoad> {
    let mut writer = now(txn.bulk_writer(def(db, name).id))?;
    let drive = move || {
        for start in ids.clone().step_by(50) {
            writer.append(&batch(start..ids.end.min(start + 50)))?;
        }
        writer.seal()
    };
    std::thread::scope(|scope| scope.spawn(drive).join().expect("does not panic"))
}

fn adopt(txn: &Transaction, sealed: SealedLoad, count: u64) -> Result<()> {
    let adopted = now(sealed.adopt(txn))?;
    assert_eq!(adopted, count);
    Ok(())
}

/// One of the rows of `cold` that are there.
const TAKEN: i64 = 250;

#[test]
fn sealed_loads_beside_other_writes() {
    let run = |db: &Database| -> Outcome {
        let txn = writer(db, "cold")?;
        change(db, &txn, "cold", 280..290, true)?;
        squeeze(db);
        // The keys of rows that the transaction itself has ended, and of which pages are read for that.
        let mut writer = now(txn.bulk_writer(def(db, "cold").id))?;
        writer.append(&batch(280..290))?;
        writer.append(&batch(1_000..1_150))?;
        adopt(&txn, writer.seal()?, 160)?;
        change(db, &txn, "cold", 150..152, false)?;
        let sealed = seal(db, &txn, "loaded", 2_000..2_150)?;
        squeeze(db);
        adopt(&txn, sealed, 150)?;
        // So few that they go in one by one.
        let sealed = seal(db, &txn, "cold", 2_000..2_020)?;
        adopt(&txn, sealed, 20)?;
        commit(db, txn)
    };
    sweep(&Operation::change("sealed loads", run).at_least(25));
}

/// Nobody adopts what was written.
#[test]
fn loads_that_are_dropped() {
    let run = |db: &Database| -> Outcome {
        let txn = writer(db, "hot")?;
        let mut unfinished = now(txn.bulk_writer(def(db, "loaded").id))?;
        unfinished.append(&batch(3_000..3_150))?;
        drop(unfinished);
        drop(seal(db, &txn, "cold", 1_000..1_150)?);
        let sealed = seal(db, &txn, "cold", 1_000..1_150)?;
        insert(db, &txn, "hot", 500..502)?;
        match now(sealed.adopt(&txn)) {
            Err(Error::Invalid(_)) => {}
            Ok(_) => panic!("what the transaction wrote since was not looked at"),
            Err(failed) => return Err(failed.into()),
        }
        txn.rollback();
        Ok(())
    };
    sweep(&Operation::maintenance("loads dropped", |_| (), run).at_least(12));
}

/// A key is taken, which shows when the load is sealed: its blocks and files are written by then. What it told is a read, of
/// which SERIALIZABLE makes sure at the commit.
#[test]
fn a_load_that_is_refused_when_it_is_sealed() {
    let run = |db: &Database| -> Outcome {
        let mut txn = db.begin(Isolation::Serializable)?;
        now(txn.lock_table(def(db, "cold").id, TableLockMode::RowExclusive))?;
        let savepoint = txn.savepoint();
        let mut writer = now(txn.bulk_writer(def(db, "cold").id))?;
        writer.append(&batch(1_000..1_150))?;
        writer.append(&batch(TAKEN..TAKEN + 1))?;
        squeeze(db);
        match writer.seal() {
            Err(Error::DuplicateKey { .. }) => txn.rollback_to(&savepoint)?,
            Ok(_) => panic!("a key is there twice"),
            Err(failed) => return Err(failed.into()),
        }
        let sealed = seal(db, &txn, "cold", 1_000..1_120)?;
        adopt(&txn, sealed, 120)?;
        commit(db, txn)
    };
    sweep(&Operation::change("a load refused", run).at_least(20));
}

/// Another transaction is deleting a row with a key of the load, and gives that up: the row is read for what it says.
#[test]
fn a_load_that_is_refused_when_it_is_adopted() {
    let run = |db: &Database| -> Outcome {
        let other = writer(db, "cold")?;
        let view = other.view().table(def(db, "cold").id)?;
        let row = find(&view, TAKEN)?.expect("is there");
        now(other.lock_row(&view, row, RowLockMode::Update))?;
        other.delete(&view, row)?;
        let txn = begin(db)?;
        let mut writer = now(txn.bulk_writer(def(db, "cold").id))?;
        writer.append(&note_batch((1_000..1_150).chain([TAKEN]).map(|id| (id, note(id)))))?;
        let sealed = writer.seal()?;
        drop(view);
        other.rollback();
        squeeze(db);
        match now(sealed.adopt(&txn)) {
            Err(Error::DuplicateKey { .. }) => Ok(()),
            Ok(_) => panic!("a key is there twice"),
            Err(failed) => Err(failed.into()),
        }
    };
    sweep(&Operation::maintenance("a load in doubt", |_| (), run).at_least(10));
}
