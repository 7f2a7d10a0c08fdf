//! Loads and writers at the other levels.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use super::*;
use strata_core::heap::SegmentView;
use strata_core::table::{ReadPredicate, RowFilter};
use strata_core::txn::TableLockMode;

const LEVELS: [Isolation; 3] = [Isolation::ReadCommitted, Isolation::RepeatableRead, Isolation::Serializable];

/// Begins a transaction whose snapshot, if it has one, is of now.
fn begin(db: &Database, table: TableId, level: Isolation) -> Transaction {
    let txn = db.begin(level).expect("begins");
    block_on(txn.lock_table(table, TableLockMode::RowExclusive)).expect("locks");
    assert!(txn.view().table(table).is_ok());
    txn
}

/// Keys are unique whatever a transaction sees.
#[test]
fn one_key_at_every_pair_of_levels() {
    for (load_level, writer_level) in LEVELS.into_iter().flat_map(|load| LEVELS.map(|writer| (load, writer)))
    {
        for load_is_first in [false, true] {
            let db = memory();
            let table = create_accounts(&db, "accounts");
            let (load, quiet) = (begin(&db, table, load_level), begin(&db, table, writer_level));
            load_into(&load, table, &range(0..20)).expect("loads");
            block_on(quiet.insert(&def(&db, table), &account(7, 1))).expect("inserts");
            let (first, second) = if load_is_first { (load, quiet) } else { (quiet, load) };
            commit(first).expect("commits first");
            assert_duplicate(commit(second));
            assert_eq!(ids(&db, table), if load_is_first { range(0..20) } else { vec![7] });
            // Statements that begin after a commit meet it, whatever their snapshot is.
            let (load, quiet) = (begin(&db, table, load_level), begin(&db, table, writer_level));
            insert(&db, table, &[account(100, 0)]).expect("inserts");
            assert_duplicate(load_into(&load, table, &range(90..110)));
            assert_duplicate(block_on(quiet.insert(&def(&db, table), &account(7, 1))));
            assert_clean(&db);
        }
    }
}

/// Each reads what the other writes: in no order of the two would both have read so.
#[test]
fn a_load_of_what_was_read_meanwhile() {
    for load_is_first in [false, true] {
        let db = memory();
        let (from, to) = (create_accounts(&db, "from"), create_accounts(&db, "to"));
        let (load, other) =
            (begin(&db, from, Isolation::Serializable), begin(&db, to, Isolation::Serializable));
        for txn in [&load, &other] {
            for table in [from, to] {
                assert_eq!(txn.view().table(table).expect("is there").row_count(), 0);
            }
        }
        load_into(&load, to, &range(0..20)).expect("loads");
        block_on(other.lock_table(from, TableLockMode::RowExclusive)).expect("locks");
        block_on(other.insert(&def(&db, from), &account(1, 1))).expect("inserts");
        let (first, second) = if load_is_first { (load, other) } else { (other, load) };
        commit(first).expect("commits first");
        let outcome = commit(second);
        assert!(matches!(outcome, Err(Error::ReadConflict)), "{outcome:?}");
    }
}

/// A load that is refused has read that the key is taken, and its transaction may go on from a savepoint.
#[test]
fn a_refused_load_counts_as_a_read_of_the_key() {
    for waits in [false, true] {
        let db = memory();
        let (table, other) = (create_accounts(&db, "accounts"), create_accounts(&db, "other"));
        insert(&db, table, &[account(7, 0)]).expect("inserts");
        let mut txn = db.begin(Isolation::Serializable).expect("begins");
        block_on(txn.lock_table(other, TableLockMode::RowExclusive)).expect("locked");
        block_on(txn.insert(&def(&db, other), &account(1, 0))).expect("inserts");
        let before = txn.savepoint();
        let undecided = waits.then(|| {
            let deleter = writer(&db, table);
            let row = committed(&db, &deleter, table, 7);
            deleter.delete(&deleter.view().table(table).expect("is there"), row).expect("deletes");
            deleter
        });
        let refused = thread::scope(|scope| {
            if let Some(deleter) = undecided {
                scope.spawn(|| {
                    thread::sleep(Duration::from_millis(50));
                    deleter.rollback();
                });
            }
            load_into(&txn, table, &range(0..20))
        });
        assert_duplicate(refused);
        txn.rollback_to(&before).expect("goes back");
        let deleter = writer(&db, table);
        let row = committed(&db, &deleter, table, 7);
        deleter.delete(&deleter.view().table(table).expect("is there"), row).expect("deletes");
        commit(deleter).expect("commits");
        let outcome = commit(txn);
        assert!(matches!(outcome, Err(Error::ReadConflict)), "{outcome:?}");
    }
}

/// Lets nothing through; whenever it is asked, somebody commits, or tries to.
struct Restless {
    db: Database,
    table: TableId,
    asked: AtomicU64,
    /// How many commits were done before it answered.
    beside: AtomicU64,
}

const MOST: u64 = 40;

impl RowFilter for Restless {
    fn may_match(&self, _: &SegmentView, _: &[u32]) -> bool {
        let asked = self.asked.fetch_add(1, Ordering::Relaxed) as i64;
        let (db, table) = (self.db.clone(), self.table);
        let (sender, done) = mpsc::channel();
        thread::spawn(move || {
            insert(&db, table, &[account(1_000 + asked, 0)]).expect("inserts");
            let _ = sender.send(());
        });
        if (asked as u64) < MOST && done.recv_timeout(Duration::from_millis(200)).is_ok() {
            self.beside.fetch_add(1, Ordering::Relaxed);
        }
        false
    }
}

/// Others commit during each check of what they committed during the one before. In its turn they wait.
#[test]
fn a_commit_whose_check_is_never_done_takes_a_turn() {
    let db = memory();
    let table = create_accounts(&db, "accounts");
    let txn = begin(&db, table, Isolation::Serializable);
    load_into(&txn, table, &range(0..20)).expect("loads");
    let (asked, beside) = (AtomicU64::new(0), AtomicU64::new(0));
    let filter = Arc::new(Restless { db: (*db).clone(), table, asked, beside });
    let view = txn.view().table(table).expect("is there");
    drop(view.declare(ReadPredicate::Filter(filter.clone())).segments().expect("reads"));
    insert(&db, table, &[account(100, 0)]).expect("inserts");
    commit(txn).expect("has its turn");
    let (asked, beside) = (filter.asked.load(Ordering::Relaxed), filter.beside.load(Ordering::Relaxed));
    assert!(beside >= 2, "others wait from the start: {beside} of {asked}");
    assert_eq!(asked, beside + 1, "the last check is in the turn");
    assert!(asked < MOST, "it has no turn");
    assert_clean(&db);
}
