//! Write sets that are larger than what a transaction keeps in memory.

use strata_core::table::Transaction;
use strata_core::txn::TableLockMode;
use strata_core::{Database, Options, Result, Sizes};

use crate::rest::squeeze;
use crate::rig::{Outcome, change, commit, def, find, insert, now, options, write, writer};
use crate::sweep::{Operation, sweep};

/// So few own rows are kept in memory that a hundred and forty are enough for runs of keys to be united.
pub fn few_own_rows() -> Options {
    let sizes = Sizes { own_rows: 8, ..options().sizes };
    Options { sizes, ..options() }
}

fn sweep_spilled(operation: Operation) {
    sweep(&Operation { options: few_own_rows, ..operation });
}

/// Inserts, then changes committed rows and rows that are in blocks of the transaction's own, with cold caches.
fn write_much(db: &Database, txn: &Transaction) -> Result<()> {
    insert(db, txn, "cold", 1_000..1_020)?;
    change(db, txn, "cold", 150..160, false)?;
    squeeze(db);
    change(db, txn, "cold", 1_003..1_006, false)?;
    change(db, txn, "cold", 1_010..1_013, true)?;
    squeeze(db);
    change(db, txn, "cold", 152..154, true)
}

#[test]
fn inserts_and_their_commit() {
    let run = |db: &Database| -> Outcome { write(db, "cold", |txn| insert(db, txn, "cold", 1_000..1_140)) };
    sweep_spilled(Operation::change("spilled inserts", run).at_least(60));
}

#[test]
fn updates_and_deletes_and_their_commit() {
    let run = |db: &Database| -> Outcome { write(db, "cold", |txn| write_much(db, txn)) };
    sweep_spilled(Operation::change("spilled changes", run).at_least(60));
}

#[test]
fn rollback() {
    let run = |db: &Database| -> Outcome {
        let txn = writer(db, "cold")?;
        write_much(db, &txn)?;
        txn.rollback();
        Ok(())
    };
    sweep_spilled(Operation::maintenance("spilled, rolled back", |_| (), run).at_least(40));
}

/// The savepoint stands in the middle of a block.
#[test]
fn going_back_to_a_savepoint() {
    let run = |db: &Database| -> Outcome {
        let mut txn = writer(db, "cold")?;
        insert(db, &txn, "cold", 1_000..1_020)?;
        let savepoint = txn.savepoint();
        write_much_more(db, &txn)?;
        txn.rollback_to(&savepoint)?;
        squeeze(db);
        change(db, &txn, "cold", 1_002..1_004, true)?;
        insert(db, &txn, "cold", 1_030..1_040)?;
        commit(db, txn)
    };
    sweep_spilled(Operation::change("spilled, undone in part", run).at_least(40));
}

fn write_much_more(db: &Database, txn: &Transaction) -> Result<()> {
    insert(db, txn, "cold", 1_020..1_040)?;
    change(db, txn, "cold", 1_005..1_008, false)?;
    change(db, txn, "cold", 150..160, true)
}

/// What is read while the rows are in the transaction's own blocks.
#[test]
fn reading_own_rows() {
    let run = |db: &Database| -> Outcome {
        let txn = writer(db, "cold")?;
        now(txn.lock_table(def(db, "hot").id, TableLockMode::RowExclusive))?;
        insert(db, &txn, "cold", 1_000..1_020)?;
        change(db, &txn, "cold", 150..155, true)?;
        squeeze(db);
        let view = txn.view().table(def(db, "cold").id)?;
        let own = find(&view, 1_003)?.expect("is there");
        assert_eq!(view.row(own)?.to_datums(&view.def().schema)?, crate::rig::row(1_003));
        squeeze(db);
        let index = view.def().primary_key().expect("has one").id;
        let found = view.range(index, std::ops::Bound::Unbounded, std::ops::Bound::Unbounded, true)?;
        assert_eq!(found.collect::<Result<Vec<_>>>()?.len() as u64, view.row_count());
        squeeze(db);
        let contents = view.contents()?;
        let mut rows = contents.own_rows.len();
        for segment in &contents.segments {
            rows += view.visible_slots(segment, 0..segment.slots().next_multiple_of(64))?.len();
        }
        assert_eq!(rows as u64, view.row_count());
        Ok(())
    };
    sweep_spilled(Operation::maintenance("reading spilled rows", |_| (), run).at_least(20));
}
