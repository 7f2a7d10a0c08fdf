//! Bulk loads that commit while maintenance is at work.

use std::path::Path;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;

use crate::common::*;
use crate::hooked::{Hooked, hooked};
use crate::intercepted::Access;
use strata_core::heap::column::Selection;
use strata_core::ids::{ColumnId, TableId};
use strata_core::table::Isolation;
use strata_core::txn::block_on;
use strata_core::vfs::{MemVfs, Vfs};
use strata_core::{Database, Options, Sizes};

/// The checkpoint of a VACUUM met the rows of a load that it had not counted, and named their block. A rewrite then freed
/// it, and the next checkpoint named the freed block once more.
#[test]
fn a_load_that_commits_during_a_checkpoint_is_named_once() {
    let hook = Hooked::default();
    let vfs: Arc<dyn Vfs> = hooked(&MemVfs::new(), &hook);
    let sizes = Sizes { bulk_rows: 16, ..Sizes::default() };
    let db = Database::open_with_vfs(vfs, Path::new(DIR), Options { sizes, ..manual() }).expect("opens");
    let (other, table) = (create_accounts(&db, "other"), create_accounts(&db, "accounts"));
    insert(&db, other, &[account(1, 0), account(2, 0)]).expect("inserts");
    db.checkpoint().expect("writes");
    // The next block that is written is that of this mark, before the checkpoint comes to the other table.
    delete(&db, other, 0..2);

    let loader = db.clone();
    hook.set(Access::Write, 0, move || {
        let txn = loader.begin(Isolation::ReadCommitted).expect("begins");
        let mut load = block_on(txn.bulk_load(table)).expect("locked");
        load.append(&batch(0..64)).expect("fits");
        block_on(load.finish()).expect("written");
        txn.commit().expect("commits").wait().expect("durable");
        delete(&loader, table, 0..48);
        insert(&loader, table, &[account(1_000, 0)]).expect("begins another segment");
    });
    db.vacuum().expect("reclaims");
    assert!(!hook.is_set(), "the load came in between");
    for id in 2_000..2_010 {
        insert(&db, table, &[account(id, 0)]).expect("inserts");
        db.checkpoint().expect("writes");
    }
    assert_clean(&db);
    let expected: Vec<i64> = (48..64).chain([1_000]).chain(2_000..2_010).collect();
    let found: Vec<i64> = scan(&db, table).into_iter().map(|(id, _)| id).collect();
    assert_eq!(found, expected);
}

/// Deletes those of these accounts that are there.
fn delete(db: &Database, table: TableId, ids: std::ops::Range<i64>) {
    let txn = writer(db, table);
    for id in ids {
        let Some((row, _)) = find(&txn, db, table, id) else { continue };
        let view = txn.view().table(table).expect("is there");
        txn.delete(&view, row).expect("deletes");
    }
    txn.commit().expect("commits").wait().expect("durable");
}

/// The rows have no RowIds yet that the index could name. Bug: it found none of them, ever.
#[test]
fn an_index_after_a_load_of_its_transaction_finds_its_rows() {
    let db = Database::in_memory(manual()).expect("opens");
    let table = create_accounts(&db, "accounts");
    let mut txn = db.begin(Isolation::ReadCommitted).expect("begins");
    block_on(async {
        let mut load = txn.bulk_load(table).await.expect("locked");
        load.append(&batch(0..20_000)).expect("fits");
        load.finish().await.expect("loads");
    });
    let mut by_balance = primary_key("by_balance");
    by_balance.columns[0].column = strata_core::ids::ColumnId::new(1);
    (by_balance.primary, by_balance.unique, by_balance.constraint) = (false, false, false);
    let index = block_on(txn.create_index(table, by_balance)).expect("indexed");
    txn.commit().expect("commits").wait().expect("durable");
    assert_eq!(scan(&db, table).len(), 20_000);
    let view = db.view().table(table).expect("is there");
    let found = view.range(index, std::ops::Bound::Unbounded, std::ops::Bound::Unbounded, false);
    assert_eq!(found.expect("begins").count(), 20_000);
    assert_clean(&db);
}

/// The view held the block for itself, and the heap that adopted it gave it back under the view's eyes.
#[test]
fn a_view_of_an_own_load_outlives_the_commit_and_the_rows() {
    let sizes = Sizes { bulk_rows: 16, ..Sizes::default() };
    let db = Database::in_memory(Options { sizes, ..manual() }).expect("opens");
    let table = create_accounts(&db, "accounts");
    let txn = writer(&db, table);
    let mut load = block_on(txn.bulk_load(table)).expect("locked");
    load.append(&batch(0..250)).expect("fits");
    block_on(load.finish()).expect("written");
    let view = txn.view().table(table).expect("is there");
    txn.commit().expect("commits").wait().expect("durable");
    let read = || {
        let mut ids = Vec::new();
        for segment in view.segments().expect("reads") {
            let slots = view.visible_slots(&segment, 0..segment.slots().next_multiple_of(64)).expect("reads");
            let ids_of = segment.read(&view.def().schema, &[ColumnId::new(0)], &Selection::Slots(slots));
            ids.extend(ids_of.expect("reads")[0].as_primitive::<Int64Type>().values().iter().copied());
        }
        ids
    };
    // Another segment, so that the first has nothing but dead rows.
    insert(&db, table, &[account(9_000, 0)]).expect("inserts");
    delete(&db, table, 0..250);
    for _ in 0..2 {
        db.checkpoint().expect("writes");
        db.vacuum().expect("reclaims");
    }
    for round in 1..6 {
        crate::common::load(&db, table, 20_000 * round..20_000 * round + 17_000).expect("loads");
    }
    assert_eq!(read(), (0..250).collect::<Vec<i64>>());
    drop(view);
    db.checkpoint().expect("writes");
    assert_clean(&db);
}
