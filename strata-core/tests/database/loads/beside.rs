//! Segments of a load that are encoded beside whoever brings the next rows (`table/segment_encoder`).

use super::*;
use strata_core::row::Datum;
use strata_core::vfs::MemVfs;

fn beside() -> Options {
    let sizes = Sizes { beside_bytes: 1, ..small().sizes };
    Options { sizes, ..small() }
}

#[test]
fn segments_come_in_the_order_of_their_rows() {
    let vfs = Arc::new(MemVfs::new());
    let open = || Database::open_with_vfs(vfs.clone(), DIR, beside()).expect("opens");
    let db = open();
    let table = create_accounts(&db, "accounts");
    let txn = db.begin(Isolation::ReadCommitted).expect("begins");
    let mut load = block_on(txn.bulk_load(table)).expect("begins");
    // Batches that end where segments do not, and one of many segments.
    for part in [0..7, 7..40, 40..1_000, 1_000..1_001, 1_001..1_300] {
        load.append(&rows_of(&range(part))).expect("appended");
    }
    assert_eq!(block_on(load.finish()).expect("loads"), 1_300);
    commit(txn).expect("commits");
    drop(db);
    let db = open();
    let view = db.view().table(table).expect("is there");
    let segments = view.segments().expect("reads").len();
    assert!(segments > 8, "{segments} segments");
    let index = view.def().primary_key().expect("has one").id;
    let found = |id| view.first(index, &key(&db, table, id)).expect("reads").expect("is there");
    let rows: Vec<RowId> = range(0..1_300).into_iter().map(found).collect();
    assert!(rows.is_sorted(), "rows lie in the order in which they came");
    for (id, row) in rows.into_iter().enumerate() {
        let values = view.row(row).expect("reads").to_datums(&view.def().schema).expect("reads");
        assert_eq!(values[0], Datum::Int64(id as i64));
    }
    assert_clean(&db);
}

#[test]
fn a_load_that_is_not_finished_leaves_no_blocks_and_no_memory() {
    let db = Arc::new(Database::in_memory(beside()).expect("opens"));
    let table = create_accounts(&db, "accounts");
    commit(loaded(&db, table, &range(0..10))).expect("commits");
    let (blocks, memory) = (|| db.stats().blocks_used_bytes, || db.pool().used());
    let before = (blocks(), memory());
    let txn = db.begin(Isolation::ReadCommitted).expect("begins");
    let mut load = block_on(txn.bulk_load(table)).expect("begins");
    load.append(&rows_of(&range(100..1_000))).expect("appended");
    // One is being encoded.
    drop(load);
    assert_eq!((blocks(), memory()), before);
    // Its last key is there already, which is found when all is encoded.
    let ids: Vec<i64> = (100..1_000).chain([9]).collect();
    assert_duplicate(load_into(&txn, table, &ids));
    assert_eq!(blocks(), before.0);
}
