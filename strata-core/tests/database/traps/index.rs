//! Traps of what enters the index tree from the side.

use std::sync::Arc;

use strata_core::Error;
use strata_core::ids::ColumnId;
use strata_core::table::Isolation;
use strata_core::txn::{RowLockMode, block_on};
use strata_core::vfs::MemVfs;

use super::{crash, lazy, load, open_with};
use crate::common::*;

/// (k, r1), deleted, is in the memtable; a bulk load brings (k, r9). A lookup must not meet r1 first.
#[test]
fn first_hit_wins() {
    let vfs = Arc::new(MemVfs::new());
    let db = open_with(&vfs, lazy());
    let table = create_accounts(&db, "accounts");
    insert(&db, table, &[account(7, 1), account(30_000, 1)]).expect("inserts");
    let txn = writer(&db, table);
    let (row, _) = find(&txn, &db, table, 7).expect("is there");
    let view = txn.view().table(table).expect("is there");
    block_on(txn.lock_row(&view, row, RowLockMode::Update)).expect("locked");
    txn.delete(&view, row).expect("deletes");
    txn.commit().expect("commits").wait().expect("durable");
    load(&db, table, 0..20_000).expect("7 is free");
    for db in [db.clone(), open_with(&crash(&vfs, 5), lazy())] {
        let reader = writer(&db, table);
        let found = find(&reader, &db, table, 7).map(|(_, values)| values[1].clone());
        assert_eq!(found, Some(account(7, 8)[1].clone()), "the loaded row is found");
        let twice = insert(&db, table, &[account(7, 2)]);
        assert!(matches!(twice, Err(Error::DuplicateKey { .. })), "{twice:?}");
        // And what comes later stands above the load again.
        add(&reader, &db, table, 7, 100).expect("updates");
        reader.commit().expect("commits").wait().expect("durable");
        let reader = writer(&db, table);
        let found = find(&reader, &db, table, 7).map(|(_, values)| values[1].clone());
        assert_eq!(found, Some(account(7, 108)[1].clone()));
        assert_clean(&db);
    }
}

/// An index is built over old rows while newer ones have its keys already: those of the same transaction. A lookup must
/// meet the newer ones.
#[test]
fn first_hit_wins_backfill() {
    let vfs = Arc::new(MemVfs::new());
    let db = open_with(&vfs, lazy());
    let table = create_accounts(&db, "accounts");
    let rows: Vec<_> = (0..100).map(|id| account(id, id)).collect();
    insert(&db, table, &rows).expect("inserts");
    let mut txn = db.begin(Isolation::ReadCommitted).expect("begins");
    // New versions with the same balance: the index gets those of this transaction, and no entry of those they replace.
    for id in 0..50 {
        assert!(add(&txn, &db, table, id, 0).expect("updates"));
    }
    let mut index = primary_key("by_balance");
    (index.primary, index.columns[0].column) = (false, ColumnId::new(1));
    let index = block_on(txn.create_index(table, index)).expect("builds");
    txn.commit().expect("commits").wait().expect("durable");
    for db in [db.clone(), open_with(&crash(&vfs, 5), lazy())] {
        let view = db.view().table(table).expect("is there");
        let definition = view.def().clone();
        let by_balance = definition.index(index).expect("was made");
        for id in 0..100 {
            let mut key = Vec::new();
            let values = account(id, id);
            strata_core::table::encode_index_key(&definition, by_balance, &values, &mut key).expect("fits");
            assert!(view.first(index, &key).expect("reads").is_some(), "balance {id} is found");
        }
        let twice = insert(&db, table, &[account(200, 7)]);
        assert!(matches!(twice, Err(Error::DuplicateKey { .. })), "{twice:?}");
        let txn = writer(&db, table);
        add(&txn, &db, table, 7, 1_000).expect("updates");
        txn.commit().expect("commits").wait().expect("durable");
        insert(&db, table, &[account(200, 7)]).expect("the balance is free now");
        assert_clean(&db);
    }
}
