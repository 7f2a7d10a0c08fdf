//! "Journaled, then refused": what can fail fails before the record is appended, with nothing done.

use std::sync::Arc;

use strata_core::row::Datum;
use strata_core::txn::block_on;
use strata_core::vfs::{Fault, FaultEffect, FaultVfs, IoKind, MemVfs};
use strata_core::{Database, Error, Options};

use super::{crash, lazy};
use crate::common::*;

/// A pool that has too little, for any step of preparing.
#[test]
fn journaled_then_refused() {
    let vfs = Arc::new(MemVfs::new());
    let db = open_with(&vfs, Options { memory_bytes: 24 << 20, ..lazy() });
    let table = create_accounts(&db, "accounts");
    insert(&db, table, &[account(1, 10)]).expect("inserts");
    let (mut refused, mut committed) = (0, 0);
    for left_bytes in (0..64).map(|step| step * (96 << 10)) {
        let txn = writer(&db, table);
        add(&txn, &db, table, 1, 1).expect("updates");
        for id in 0..40 {
            let row = vec![
                Datum::Int64(1_000 * (committed + 1) + id),
                Datum::Int64(0),
                Datum::Text("x".repeat(20_000)),
            ];
            block_on(txn.insert(&def(&db, table), &row)).expect("inserts");
        }
        let before = db.stats();
        // The page cache would give way: take what it has too.
        let mut hog = db.pool().reserve("test", 0).expect("nothing");
        let mut step = 16 << 20;
        while step >= 4_096 {
            if hog.grow(step).is_err() {
                step /= 2;
            }
        }
        hog.shrink(left_bytes);
        let outcome = txn.commit();
        drop(hog);
        match outcome {
            Ok(ticket) => {
                ticket.wait().expect("durable");
                committed += 1;
            }
            Err(Error::OutOfMemory { .. }) => {
                refused += 1;
                assert_eq!(db.stats().journal_bytes, before.journal_bytes, "nothing was journaled");
                assert_eq!(db.stats().last_commit, before.last_commit);
            }
            Err(other) => panic!("{other}"),
        }
    }
    assert!(refused > 10 && committed > 0, "{refused} refused, {committed} committed");
    expect_balance(&db, table, 10 + committed);
    assert_clean(&db);
    let reopened = open_with(&crash(&vfs, 3), lazy());
    expect_balance(&reopened, table, 10 + committed);
    assert_clean(&reopened);
}

/// The marks of a segment must be read from disk, and cannot be.
#[test]
fn journaled_then_refused_for_unreadable_marks() {
    let memory = Arc::new(MemVfs::new());
    let db = open_with(&memory, lazy());
    let table = create_accounts(&db, "accounts");
    insert(&db, table, &[account(1, 10), account(2, 20)]).expect("inserts");
    let txn = writer(&db, table);
    add(&txn, &db, table, 1, 0).expect("updates");
    let (row, _) = find(&txn, &db, table, 2).expect("is there");
    txn.commit().expect("commits").wait().expect("durable");
    drop(db);

    let vfs = FaultVfs::new(memory.clone());
    let db = Database::open_with_vfs(Arc::new(vfs.clone()), DIR, lazy()).expect("opens");
    let txn = writer(&db, table);
    // By its RowId alone: nothing has asked for the marks before the commit does.
    txn.delete(&txn.view().table(table).expect("is there"), row).expect("deletes");
    let before = db.stats();
    vfs.arm(Fault::nth(0, FaultEffect::InputOutput).of(&[IoKind::Read]).for_ever());
    let refused = txn.commit().expect_err("the marks cannot be read");
    vfs.disarm();
    assert!(matches!(refused, Error::Io { .. }), "{refused}");
    assert_eq!(db.stats().journal_bytes, before.journal_bytes, "nothing was journaled");
    assert_eq!(scan(&db, table), [(1, 10), (2, 20)]);
    let txn = writer(&db, table);
    add(&txn, &db, table, 2, 1).expect("goes on");
    txn.commit().expect("commits").wait().expect("durable");
    let reopened = open_with(&crash(&memory, 0), lazy());
    assert_eq!(scan(&reopened, table), [(1, 10), (2, 21)]);
    assert_clean(&reopened);
}

/// The disk has no room for the record.
#[test]
fn journaled_then_refused_for_a_full_disk() {
    let memory = Arc::new(MemVfs::new());
    let vfs = FaultVfs::new(memory.clone());
    let db = Database::open_with_vfs(Arc::new(vfs.clone()), DIR, lazy()).expect("opens");
    let table = create_accounts(&db, "accounts");
    insert(&db, table, &[account(1, 10)]).expect("inserts");
    let row = |id| vec![Datum::Int64(id), Datum::Int64(0), Datum::Text("x".repeat(24 << 20))];
    let before = db.stats();
    vfs.arm(Fault::nth(0, FaultEffect::DiskFull).for_ever());
    let refused = insert(&db, table, &[row(2)]).expect_err("there is no room");
    assert!(matches!(refused, Error::DiskFull { .. }), "{refused}");
    assert_eq!(db.stats().journal_bytes, before.journal_bytes, "nothing was journaled");
    assert_eq!(scan(&db, table), [(1, 10)], "reads go on");
    vfs.disarm();
    insert(&db, table, &[row(2)]).expect("there is room again");
    let reopened = open_with(&crash(&memory, 0), lazy());
    assert_eq!(scan(&reopened, table), [(1, 10), (2, 0)]);
    assert_clean(&reopened);
}

fn expect_balance(db: &Database, table: strata_core::ids::TableId, balance: i64) {
    let reader = writer(db, table);
    let (_, values) = find(&reader, db, table, 1).expect("is there");
    assert_eq!(values[1], Datum::Int64(balance));
}
