//! Transactions on rows.

use strata_core::Database;

use crate::rig::{Outcome, change, insert, now, write, writer};
use crate::sweep::{Operation, sweep};

#[test]
fn insert_and_commit() {
    let run = |db: &Database| -> Outcome { write(db, "hot", |txn| insert(db, txn, "hot", 500..505)) };
    sweep(&Operation::change("insert", run));
}

#[test]
fn update_and_delete_of_hot_and_cold_rows() {
    let run = |db: &Database| -> Outcome {
        write(db, "cold", |txn| {
            now(txn.lock_table(crate::rig::def(db, "hot").id, strata_core::txn::TableLockMode::RowExclusive))?;
            change(db, txn, "cold", 150..155, false)?;
            change(db, txn, "cold", 210..215, true)?;
            change(db, txn, "hot", 0..3, true)?;
            change(db, txn, "hot", 10..13, false)
        })
    };
    sweep(&Operation::change("update and delete", run));
}

#[test]
fn a_record_longer_than_the_journal_file() {
    let run = |db: &Database| -> Outcome { write(db, "hot", |txn| insert(db, txn, "hot", 1_000..1_300)) };
    sweep(&Operation::change("a long record", run));
}

#[test]
fn rollback() {
    let run = |db: &Database| -> Outcome {
        let txn = writer(db, "cold")?;
        change(db, &txn, "cold", 150..155, true)?;
        insert(db, &txn, "cold", 900..903)?;
        txn.rollback();
        Ok(())
    };
    sweep(&Operation::maintenance("rollback", |_| (), run));
}
