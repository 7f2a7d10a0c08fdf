//! A load, and its counterpart, that comes in between at any read of the other.

use std::path::Path;
use std::sync::Arc;

use super::*;
use crate::hooked::Hooked;
use crate::intercepted::Access;
use strata_core::vfs::{Fault, FaultEffect, FaultVfs, IoKind, MemVfs, Vfs};

const LOADED: i64 = 4_000;

/// A table whose keys lie around those from 0 to [`LOADED`], on files that run the hook.
fn hooked(hook: &Hooked) -> (Database, TableId) {
    opened(crate::hooked::hooked(&MemVfs::new(), hook))
}

fn opened(vfs: Arc<dyn Vfs>) -> (Database, TableId) {
    let sizes = Sizes { bulk_rows: 8, segment_bytes: 16 << 10, ..Sizes::default() };
    let db = Database::open_with_vfs(vfs, Path::new(DIR), Options { sizes, ..manual() });
    let db = db.expect("opens");
    let table = create_accounts(&db, "accounts");
    insert(&db, table, &[account(-1, 0), account(LOADED, 0)]).expect("inserts");
    (db, table)
}

/// Whatever a load has looked at by then, it meets a key that others commit before it does.
#[test]
fn a_row_that_comes_at_any_read_of_a_load() {
    let keys: Vec<i64> = (0..LOADED).chain([LOADED + 1]).collect();
    let mut reads = 0;
    for (place, id) in [(1, 0), (2, LOADED / 2), (3, LOADED - 1)] {
        for skipped in 0.. {
            let hook = Hooked::default();
            let (db, table) = hooked(&hook);
            let txn = db.begin(Isolation::ReadCommitted).expect("begins");
            let mut load = block_on(txn.bulk_load(table)).expect("begins");
            load.append(&rows_of(&keys)).expect("appends");
            let other = db.clone();
            hook.set(Access::Read, skipped, move || {
                insert(&other, table, &[account(id, place)]).expect("nobody has it yet");
            });
            let outcome = block_on(load.finish()).and_then(|_| commit(txn));
            if hook.is_set() {
                hook.clear();
                outcome.expect("nothing came in between");
                assert_eq!(scan(&db, table).len() as i64, LOADED + 3);
                break;
            }
            reads += 1;
            assert_duplicate(outcome);
            assert_eq!(scan(&db, table), vec![(-1, 0), (id, place), (LOADED, 0)]);
            assert_clean(&db);
        }
    }
    assert!(reads > 10, "{reads} reads");
}

/// What comes while the commit looks at what came before is looked at, too.
#[test]
fn a_row_that_comes_at_any_read_of_the_commit_of_a_load() {
    for skipped in 0.. {
        let hook = Hooked::default();
        let (db, table) = hooked(&hook);
        let keys: Vec<i64> = (0..LOADED).filter(|id| *id != LOADED / 2).collect();
        let txn = loaded(&db, table, &keys);
        insert(&db, table, &[account(LOADED / 2, 0)]).expect("nobody has it");
        let other = db.clone();
        hook.set(Access::Read, skipped, move || {
            insert(&other, table, &[account(7, 0)]).expect("nobody has it yet");
        });
        let outcome = commit(txn);
        if hook.is_set() {
            hook.clear();
            outcome.expect("nothing came in between");
            assert!(skipped > 0, "the commit reads nothing");
            break;
        }
        assert_duplicate(outcome);
        assert!(ids(&db, table).contains(&7));
        assert_clean(&db);
    }
}

/// A row that is gone by the time that its key is found is in nobody's way.
#[test]
fn a_deletion_that_comes_at_any_read_of_the_commit_of_a_load() {
    let mut commits = 0;
    for skipped in 0.. {
        let hook = Hooked::default();
        let (db, table) = hooked(&hook);
        let txn = loaded(&db, table, &range(0..LOADED));
        insert(&db, table, &[account(7, 0)]).expect("nobody has it yet");
        let other = db.clone();
        hook.set(Access::Read, skipped, move || commit(deleted(&other, table, &[7])).expect("deletes"));
        let outcome = commit(txn);
        if hook.is_set() {
            hook.clear();
            assert_duplicate(outcome);
            break;
        }
        match outcome {
            Ok(()) => commits += 1,
            refused => assert_duplicate(refused),
        }
        assert_clean(&db);
    }
    assert!(commits > 0, "what has ended is in the way");
}

/// Whatever an insert has looked at by then, it meets its key in a load that commits before it does.
#[test]
fn a_load_that_comes_at_any_read_of_an_insert() {
    for skipped in 0.. {
        let hook = Hooked::default();
        let (db, table) = hooked(&hook);
        let keys: Vec<i64> = (0..LOADED).filter(|id| *id != 7).collect();
        commit(loaded(&db, table, &keys)).expect("commits");
        let other = db.clone();
        hook.set(Access::Read, skipped, move || {
            let keys: Vec<i64> = [7].into_iter().chain(LOADED + 1..LOADED + 100).collect();
            commit(loaded(&other, table, &keys)).expect("nobody has it yet");
        });
        let outcome = insert(&db, table, &[account(7, 70)]);
        if hook.is_set() {
            hook.clear();
            outcome.expect("nothing came in between");
            assert!(skipped > 0, "the insert reads nothing");
            break;
        }
        assert_duplicate(outcome);
        assert!(scan(&db, table).contains(&(7, 7)));
        assert_clean(&db);
    }
}

/// Then nothing was done, and nothing is held.
#[test]
fn a_read_that_fails_in_the_commit_of_a_load() {
    for at in 0.. {
        let faults = FaultVfs::new(Arc::new(MemVfs::new()));
        let (db, table) = opened(Arc::new(faults.clone()));
        let keys: Vec<i64> = (0..LOADED).filter(|id| *id != LOADED / 2).collect();
        let txn = loaded(&db, table, &keys);
        insert(&db, table, &[account(LOADED / 2, 0)]).expect("nobody has it");
        faults.arm(Fault::nth(at, FaultEffect::InputOutput).of(&[IoKind::Read]));
        let outcome = commit(txn);
        faults.disarm();
        if faults.fired() == 0 {
            outcome.expect("all could be read");
            assert!(at > 0, "the commit reads nothing");
            break;
        }
        assert!(matches!(outcome, Err(Error::Io { .. })), "{outcome:?}");
        assert_eq!(scan(&db, table), [(-1, 0), (LOADED / 2, 0), (LOADED, 0)]);
        commit(loaded(&db, table, &keys)).expect("is not kept waiting");
        assert_clean(&db);
    }
}
