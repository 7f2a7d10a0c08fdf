//! Transactions that keep one snapshot, while others commit: what they check before they write, and at their commit.

use std::ops::Bound::{Excluded, Included};

use strata_core::table::{Isolation, Locked, TableView, Transaction, encode_index_key};
use strata_core::txn::{RowLockMode, TableLockMode};
use strata_core::vfs::{Fault, FaultEffect, IoKind};
use strata_core::{Database, Error, Result};

use crate::rest::squeeze;
use crate::rig::{Outcome, Stopped, change, commit, contents, def, find, insert, now, row, write};
use crate::sweep::{Operation, start, sweep};

pub fn begin(db: &Database, level: Isolation) -> Result<Transaction> {
    let txn = db.begin(level)?;
    now(txn.lock_table(def(db, "cold").id, TableLockMode::RowExclusive))?;
    Ok(txn)
}

/// Another transaction replaces rows by such that are the same: a change, for whoever has read them.
pub fn meanwhile(db: &Database, ids: &[i64]) -> Outcome {
    write(db, "cold", |txn| ids.iter().try_for_each(|id| replace(db, txn, *id)))
}

/// Rows that are not read, and rows of which one is.
pub const OTHERS: &[i64] = &[130, 131, 190, 191];
const READ: &[i64] = &[190, 243];

pub fn sweep_beside(operation: Operation, beside: fn(&Database)) {
    sweep(&Operation { beside, ..operation });
}

fn replace(db: &Database, txn: &Transaction, id: i64) -> Result<()> {
    let view = txn.view().table(def(db, "cold").id)?;
    let found = find(&view, id)?.expect("is there");
    let found = match now(txn.lock_row(&view, found, RowLockMode::Update))? {
        Locked::Current => found,
        Locked::Moved(newest) => newest,
        Locked::Gone => panic!("row {id} is there"),
    };
    now(txn.update(&view, found, &row(id))).map(|_| ())
}

fn key(view: &TableView, id: i64) -> Result<Vec<u8>> {
    let index = view.def().primary_key().expect("has one");
    let mut key = Vec::new();
    encode_index_key(view.def(), index, &row(id), &mut key)?;
    Ok(key)
}

/// Leaves predicates of all kinds but the whole table's.
fn read(db: &Database, txn: &Transaction) -> Result<()> {
    let view = txn.view().table(def(db, "cold").id)?;
    let index = view.def().primary_key().expect("has one").id;
    let found = find(&view, 250)?.expect("is there");
    assert!(view.is_visible(found)?);
    assert_eq!(find(&view, 10)?, None);
    let range = view.range(index, Included(key(&view, 240)?), Excluded(key(&view, 245)?), false)?;
    assert_eq!(range.collect::<Result<Vec<_>>>()?.len(), 5);
    Ok(())
}

/// Reads, lets others commit.
fn begin_and_read(db: &Database) -> std::result::Result<Transaction, Stopped> {
    let txn = begin(db, Isolation::Serializable)?;
    read(db, &txn)?;
    meanwhile(db, OTHERS)?;
    insert(db, &txn, "cold", 900..903)?;
    squeeze(db);
    Ok(txn)
}

/// Else the sweep of it fails nothing of the check.
#[test]
fn what_was_committed_meanwhile_is_read_at_the_commit() {
    let rig = start(&Operation::change("SERIALIZABLE", |_| Ok(())));
    let txn = begin_and_read(&rig.db).expect("reads");
    let before = rig.faults.count(IoKind::Read);
    commit(&rig.db, txn).expect("commits");
    let reads = rig.faults.count(IoKind::Read) - before;
    assert!(reads > 2, "{reads}");
}

#[test]
fn what_a_serializable_transaction_read_is_looked_at_again() {
    let run = |db: &Database| -> Outcome {
        let txn = begin_and_read(db)?;
        commit(db, txn)
    };
    sweep_beside(Operation::change("SERIALIZABLE", run).at_least(25), |db| {
        meanwhile(db, OTHERS).expect("commits")
    });
}

#[test]
fn a_read_that_does_not_hold_any_more_is_told() {
    let run = |db: &Database| -> Outcome {
        let txn = begin(db, Isolation::Serializable)?;
        read(db, &txn)?;
        meanwhile(db, READ)?;
        insert(db, &txn, "cold", 900..903)?;
        squeeze(db);
        match commit(db, txn) {
            Err(Stopped::Refused(Error::ReadConflict)) => Ok(()),
            Ok(()) => panic!("a row that was read is another"),
            failed => failed,
        }
    };
    sweep_beside(Operation::maintenance("SERIALIZABLE, refused", |_| (), run).at_least(20), |db| {
        meanwhile(db, READ).expect("commits")
    });
}

/// What cannot be read may be what conflicts: a check that goes on without it lets a transaction through.
#[test]
fn a_check_that_cannot_read_lets_nothing_through() {
    lets_nothing_through("SERIALIZABLE, unread", read, 0);
}

/// Fails each call of a commit whose transaction has read a row that has ended since, of more calls than `least`.
pub fn lets_nothing_through(name: &'static str, read: fn(&Database, &Transaction) -> Result<()>, least: u64) {
    for at in 0.. {
        let rig = start(&Operation::change(name, |_| Ok(())));
        let txn = begin(&rig.db, Isolation::Serializable).expect("begins");
        read(&rig.db, &txn).expect("reads");
        write(&rig.db, "cold", |txn| change(&rig.db, txn, "cold", 243..244, true)).expect("deletes");
        insert(&rig.db, &txn, "cold", 900..903).expect("inserts");
        let before = contents(&rig.db).expect("reads");
        squeeze(&rig.db);
        rig.faults.arm(Fault::nth(at, FaultEffect::InputOutput));
        let outcome = commit(&rig.db, txn);
        rig.faults.disarm();
        let unread = matches!(outcome, Err(Stopped::Refused(Error::Io { .. })));
        let told = matches!(outcome, Err(Stopped::Refused(Error::ReadConflict)));
        assert!(told || unread, "call {at}: {outcome:?}");
        assert!(contents(&rig.db).expect("reads") == before, "call {at}: something was committed");
        if rig.faults.fired() == 0 {
            assert!(told && at > least, "call {at}: {outcome:?}");
            break;
        }
    }
}

#[test]
fn repeatable_read() {
    let run = |db: &Database| -> Outcome {
        let txn = begin(db, Isolation::RepeatableRead)?;
        read(db, &txn)?;
        meanwhile(db, OTHERS)?;
        squeeze(db);
        for id in 240..243 {
            replace(db, &txn, id)?;
        }
        insert(db, &txn, "cold", 900..903)?;
        squeeze(db);
        commit(db, txn)
    };
    sweep_beside(Operation::change("REPEATABLE READ", run).at_least(20), |db| {
        meanwhile(db, OTHERS).expect("commits")
    });
}

#[test]
fn a_row_that_was_changed_after_the_snapshot_is_told() {
    let run = |db: &Database| -> Outcome {
        let txn = begin(db, Isolation::RepeatableRead)?;
        read(db, &txn)?;
        meanwhile(db, READ)?;
        squeeze(db);
        match replace(db, &txn, 190) {
            Err(Error::SerializationFailure) => Ok(()),
            Ok(()) => panic!("the row is another"),
            Err(failed) => Err(failed.into()),
        }
    };
    sweep_beside(Operation::maintenance("REPEATABLE READ, refused", |_| (), run).at_least(10), |db| {
        meanwhile(db, READ).expect("commits")
    });
}
