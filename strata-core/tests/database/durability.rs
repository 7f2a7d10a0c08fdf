//! What is committed is there after a restart, in whatever form the rows are by then.

use std::path::Path;
use std::sync::Arc;
use std::task::{Context, Waker};

use crate::common::*;
use strata_core::maintenance::Step;
use strata_core::row::ColumnType;
use strata_core::table::{Isolation, Transaction};
use strata_core::txn::{RowLockMode, block_on};
use strata_core::vfs::{Fault, FaultEffect, FaultVfs, IoKind, MemVfs, OpenMode, SeededRandom, Vfs};
use strata_core::{Database, Error, Options, Result, Sizes};

#[test]
fn rows_survive_a_restart() {
    let vfs = Arc::new(MemVfs::new());
    let db = open(&vfs);
    let table = create_accounts(&db, "accounts");
    insert(&db, table, &[account(1, 10), account(2, 20), account(3, 30)]).expect("inserts");
    let txn = writer(&db, table);
    assert!(add(&txn, &db, table, 2, 5).expect("updates"));
    assert_eq!(find(&txn, &db, table, 2).expect("own write").1[1], account(0, 25)[1]);
    assert_eq!(scan(&db, table), vec![(1, 10), (2, 20), (3, 30)], "nobody else sees it");
    txn.commit().expect("commits").wait().expect("durable");
    let expected = vec![(1, 10), (2, 25), (3, 30)];
    assert_eq!(scan(&db, table), expected);
    assert_clean(&db);
    drop(db);

    let db = open(&vfs);
    assert_eq!(db.replayed_records(), 0, "a clean close leaves nothing to replay");
    assert_eq!(scan(&db, table), expected);
    assert_clean(&db);
}

#[test]
fn a_crash_keeps_what_was_acknowledged_and_nothing_in_part() {
    for seed in 0..40 {
        let vfs = Arc::new(MemVfs::new());
        let db = open(&vfs);
        let table = create_accounts(&db, "accounts");
        insert(&db, table, &[account(1, 100), account(2, 100)]).expect("inserts");
        for round in 0..20 {
            let txn = writer(&db, table);
            add(&txn, &db, table, 1, -1).expect("updates");
            add(&txn, &db, table, 2, 1).expect("updates");
            txn.commit().expect("commits").wait().expect("durable");
            if round % 7 == seed % 7 {
                db.checkpoint().expect("checkpoints");
            }
        }
        let crashed = Arc::new(vfs.crash_clone(&SeededRandom::new(seed)));
        let reopened = open(&crashed);
        assert_eq!(scan(&reopened, table), vec![(1, 80), (2, 120)], "seed {seed}");
        assert_clean(&reopened);
        insert(&reopened, table, &[account(3, 1)]).expect("goes on");
    }
}

#[test]
fn a_bulk_load_is_adopted_whole_and_indexed() {
    let vfs = Arc::new(MemVfs::new());
    let db = open(&vfs);
    let table = create_accounts(&db, "accounts");
    insert(&db, table, &[account(-1, 7)]).expect("inserts");
    assert_eq!(load(&db, table, 0..150_000).expect("loads"), 150_000);
    insert(&db, table, &[account(200_000, 8)]).expect("inserts");
    assert_eq!(scan(&db, table).len(), 150_002);
    let txn = writer(&db, table);
    assert_eq!(find(&txn, &db, table, 149_999).expect("indexed").1[1], account(0, 999)[1]);
    drop(txn);
    let duplicate = load(&db, table, 149_000..180_000).expect_err("149,000 is there");
    assert!(matches!(duplicate, Error::DuplicateKey { .. }), "{duplicate}");
    let duplicate = insert(&db, table, &[account(77, 0)]).expect_err("77 is there");
    assert!(matches!(duplicate, Error::DuplicateKey { .. }), "{duplicate}");

    let crashed = Arc::new(vfs.crash_clone(&SeededRandom::new(3)));
    let reopened = open(&crashed);
    assert_eq!(scan(&reopened, table).len(), 150_002);
    assert_clean(&reopened);
    drop(reopened);
    drop(db);
    let db = open(&vfs);
    assert_eq!(scan(&db, table).len(), 150_002);
    assert_clean(&db);
}

/// Found by the damage tests: the check read the blocks that the manifest names.
#[test]
fn the_check_reads_the_blocks_that_only_the_journal_names() {
    let vfs = Arc::new(MemVfs::new());
    let db = open(&vfs);
    let table = create_accounts(&db, "accounts");
    db.checkpoint().expect("checkpoints");
    let file = vfs.open(&Path::new(DIR).join("blocks.strata"), OpenMode::ReadWrite).expect("is there");
    let first = file.len().expect("is known");
    load(&db, table, 0..20_000).expect("loads");
    assert_clean(&db);
    // The headers of the load's blocks, which are open already.
    for page in (first..file.len().expect("is known")).step_by(4_096) {
        let mut byte = [0];
        file.read_exact_at(page + 40, &mut byte).expect("reads");
        file.write_at(page + 40, &[!byte[0]]).expect("writes");
    }
    let problems = db.check().problems;
    assert!(problems.len() >= 2, "a block of rows and one of keys: {problems:#?}");
}

#[test]
fn freezing_and_compaction_change_no_answer() {
    let vfs = Arc::new(MemVfs::new());
    let db = open(&vfs);
    let table = create_accounts(&db, "accounts");
    for start in (0..140_000).step_by(20_000) {
        let rows: Vec<_> = (start..start + 20_000).map(|id| account(id, id)).collect();
        insert(&db, table, &rows).expect("inserts");
    }
    let txn = writer(&db, table);
    for id in (0..140_000).step_by(3) {
        add(&txn, &db, table, id, 1).expect("updates");
    }
    txn.commit().expect("commits").wait().expect("durable");
    let before = scan(&db, table);
    let held = db.view();
    db.vacuum().expect("vacuums");
    while db.maintain().expect("steps") != Step::Idle {}
    assert_eq!(scan(&db, table), before);
    assert_clean(&db);
    drop(held);
    db.vacuum().expect("vacuums");
    assert_eq!(scan(&db, table), before);
    assert_clean(&db);
    let crashed = Arc::new(vfs.crash_clone(&SeededRandom::new(1)));
    let reopened = open(&crashed);
    assert_eq!(scan(&reopened, table), before);
    assert_clean(&reopened);
}

#[test]
fn truncate_and_drop_give_their_space_back() {
    let vfs = Arc::new(MemVfs::new());
    let db = open(&vfs);
    let table = create_accounts(&db, "accounts");
    load(&db, table, 0..200_000).expect("loads");
    db.vacuum().expect("vacuums");
    let full = db.stats().blocks_used_bytes;
    let mut txn = db.begin(Isolation::ReadCommitted).expect("begins");
    block_on(txn.lock_table(table, strata_core::txn::TableLockMode::AccessExclusive)).expect("locked");
    block_on(txn.truncate(table)).expect("truncates");
    txn.commit().expect("commits").wait().expect("durable");
    assert_eq!(scan(&db, table), vec![]);
    load(&db, table, 5..40_000).expect("the keys are free again");
    db.vacuum().expect("vacuums");
    let after = db.stats().blocks_used_bytes;
    assert!(after < full / 2, "{after} of {full} bytes are in use");
    let crashed = Arc::new(vfs.crash_clone(&SeededRandom::new(9)));
    assert_eq!(scan(&open(&crashed), table).len(), 39_995);
}

#[test]
fn a_second_opener_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let db = Database::open(folder.path(), manual()).expect("opens");
    let refused = Database::open(folder.path(), manual()).err().expect("is refused");
    assert!(matches!(refused, Error::InUse { .. }), "{refused}");
    drop(db);
    Database::open(folder.path(), manual()).expect("opens again");
}

#[test]
fn the_folder_stays_locked_while_a_transaction_outlives_its_database() {
    let folder = tempfile::tempdir().expect("a folder");
    let db = Database::open(folder.path(), manual()).expect("opens");
    let txn = db.begin(Isolation::ReadCommitted).expect("begins");
    drop(db);
    assert!(matches!(Database::open(folder.path(), manual()).err(), Some(Error::InUse { .. })));
    drop(txn);
    Database::open(folder.path(), manual()).expect("opens again");
}

/// Rule 4: the blocks that the edit names may be the ones that opening finds.
#[test]
fn nothing_is_written_after_a_manifest_edit_of_unknown_fate() {
    let disk = Arc::new(MemVfs::new());
    let faults = FaultVfs::new(disk.clone());
    let db = Database::open_with_vfs(Arc::new(faults.clone()), DIR, manual()).expect("opens");
    let table = create_accounts(&db, "accounts");
    insert(&db, table, &[account(1, 10)]).expect("inserts");
    faults.arm(Fault::nth(0, FaultEffect::InputOutput).of(&[IoKind::Sync]).in_path("MANIFEST"));
    db.checkpoint().expect_err("the manifest cannot be synced");
    faults.disarm();
    assert!(matches!(db.checkpoint(), Err(Error::Poisoned { .. })));
    let refused = insert(&db, table, &[account(2, 20)]);
    assert!(matches!(refused, Err(Error::Poisoned { .. })), "{refused:?}");
    assert_eq!(scan(&db, table), vec![(1, 10)]);
    drop(db);
    let db = open(&disk);
    assert_eq!(scan(&db, table), vec![(1, 10)]);
    assert_clean(&db);
}

/// Bug: DDL began from the catalog of a commit that had failed to become durable, and showed what that had made.
#[test]
fn no_ddl_begins_from_a_catalog_whose_fate_is_unknown() {
    let faults = Arc::new(FaultVfs::new(Arc::new(MemVfs::new())));
    let vfs: Arc<dyn Vfs> = faults.clone();
    let options = Options { sync_thread: false, ..manual() };
    let db = Database::open_with_vfs(vfs, Path::new(DIR), options).expect("opens");
    let create = |name: &str| -> Result<Transaction> {
        let mut txn = db.begin(Isolation::ReadCommitted)?;
        let columns = vec![column("id", ColumnType::Int64, false)];
        block_on(txn.change_catalog(|catalog| catalog.create_table("public", name, columns)))?;
        Ok(txn)
    };
    let ticket = create("first").and_then(Transaction::commit).expect("applied");
    faults.arm(Fault::nth(0, FaultEffect::InputOutput).of(&[IoKind::Sync]).for_ever());
    db.sync().expect_err("the disk fails");
    ticket.wait().expect_err("nobody knows");
    let refused = create("second").err();
    assert!(matches!(refused, Some(Error::Poisoned { .. })), "{refused:?}");
}

/// Whoever waits for a row is told that the database has stopped, and not what a commit of unknown fate has made of the row.
#[test]
fn nobody_goes_on_with_a_row_whose_fate_is_unknown() {
    let memory = Arc::new(MemVfs::new());
    let db = open(&memory);
    let table = create_accounts(&db, "accounts");
    insert(&db, table, &[account(1, 10)]).expect("inserts");
    drop(db);
    let faults = FaultVfs::new(memory);
    let options = Options { sync_thread: false, ..manual() };
    let db = Database::open_with_vfs(Arc::new(faults.clone()), Path::new(DIR), options).expect("opens");
    let (first, second) = (writer(&db, table), writer(&db, table));
    let view = second.view().table(table).expect("is there");
    let (row, _) = find(&second, &db, table, 1).expect("is there");
    assert!(add(&first, &db, table, 1, 5).expect("updates"));
    let mut waiting = Box::pin(second.lock_row(&view, row, RowLockMode::NoKeyUpdate));
    assert!(waiting.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    let ticket = first.commit().expect("is applied");
    faults.arm(Fault::nth(0, FaultEffect::InputOutput).of(&[IoKind::Sync]).for_ever());
    db.sync().expect_err("the disk fails");
    ticket.wait().expect_err("nobody knows");
    let refused = block_on(waiting);
    assert!(matches!(refused, Err(Error::Poisoned { .. })), "{refused:?}");
    assert_eq!(scan(&db, table), [(1, 10)]);
}

/// Bug: replay reckoned with the segments that it would make itself, where the commit had placed its rows in smaller ones.
#[test]
fn a_commit_is_replayed_by_who_makes_larger_segments() {
    let vfs = Arc::new(MemVfs::new());
    let open = |vfs: &Arc<MemVfs>, segment_bytes| {
        let sizes = Sizes { segment_bytes, ..Sizes::default() };
        Database::open_with_vfs(vfs.clone(), Path::new(DIR), Options { sizes, ..manual() }).expect("opens")
    };
    let db = open(&vfs, 64);
    let table = create_accounts(&db, "accounts");
    insert(&db, table, &(0..300).map(|id| account(id, 1)).collect::<Vec<_>>()).expect("inserts");
    let expected = scan(&db, table);
    assert_eq!(expected.len(), 300);
    for segment_bytes in [64, 64 << 20] {
        let reopened = open(&Arc::new(vfs.crash_clone(&SeededRandom::new(9))), segment_bytes);
        assert_eq!(scan(&reopened, table), expected);
        assert_clean(&reopened);
    }
}
