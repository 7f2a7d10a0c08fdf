//! Transactions on rows.

use strata_core::Database;

use crate::image::{image, system_of};
use crate::rest::take_all;
use crate::rig::{Outcome, change, def, find, insert, now, open, write, writer};
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

/// The new version and the mark of the old one: both, or none.
#[test]
fn an_update_without_memory_does_nothing() {
    let db = open(system_of(image())).expect("opens");
    let mut refused = 0;
    for free in (0..3_000).step_by(8) {
        let txn = writer(&db, "hot").expect("begins");
        let view = txn.view().table(def(&db, "hot").id).expect("is there");
        let row = find(&view, 20).expect("reads").expect("is there");
        let mut held = take_all(db.pool());
        held.first_mut().expect("there is much").shrink(free);
        let updated = now(txn.update(&view, row, &crate::rig::row(20)));
        drop(held);
        let seen = txn.view().table(def(&db, "hot").id).expect("is there");
        assert_eq!(
            seen.contents().expect("reads").own_rows.len(),
            usize::from(updated.is_ok()),
            "{free} bytes free: {updated:?}"
        );
        assert_eq!(seen.is_visible(row).expect("reads"), updated.is_err(), "{free} bytes free: {updated:?}");
        refused += usize::from(updated.is_err());
    }
    assert!((1..370).contains(&refused), "{refused} were refused");
}
