//! Bulk loads: column blocks and index files that a commit adopts.

use strata_core::Database;
use strata_core::txn::TableLockMode;

use crate::rig::{Outcome, begin, change, commit, def, load, now, writer};
use crate::sweep::{Operation, sweep};

#[test]
fn load_into_a_filled_table() {
    let run = |db: &Database| -> Outcome {
        let txn = begin(db)?;
        load(&txn, def(db, "cold").id, 1_000..1_250)?;
        commit(db, txn)
    };
    sweep(&Operation::change("bulk load", run));
}

#[test]
fn two_loads_and_other_writes_in_one_transaction() {
    let run = |db: &Database| -> Outcome {
        let txn = writer(db, "hot")?;
        now(txn.lock_table(def(db, "cold").id, TableLockMode::RowExclusive))?;
        change(db, &txn, "hot", 20..22, false)?;
        load(&txn, def(db, "loaded").id, 1_000..1_120)?;
        load(&txn, def(db, "loaded").id, 2_000..2_120)?;
        change(db, &txn, "cold", 290..292, true)?;
        commit(db, txn)
    };
    sweep(&Operation::change("two bulk loads", run));
}

#[test]
fn a_load_of_few_rows() {
    let run = |db: &Database| -> Outcome {
        let txn = begin(db)?;
        load(&txn, def(db, "cold").id, 1_000..1_030)?;
        commit(db, txn)
    };
    sweep(&Operation::change("a small load", run));
}

#[test]
fn a_load_that_is_given_up() {
    let run = |db: &Database| -> Outcome {
        let txn = begin(db)?;
        load(&txn, def(db, "cold").id, 1_000..1_250)?;
        let mut unfinished = now(txn.bulk_load(def(db, "loaded").id))?;
        unfinished.append(&crate::rig::batch(3_000..3_150))?;
        drop(unfinished);
        txn.rollback();
        Ok(())
    };
    sweep(&Operation::maintenance("a load given up", |_| (), run));
}
