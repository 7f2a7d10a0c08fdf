//! Work that is large beside the memory there is: it goes in pieces, and what cannot does not keep the rest waiting.

use std::path::Path;
use std::sync::Arc;

use arrow_array::RecordBatch;
use strata_core::catalog::IndexColumn;
use strata_core::catalog::change::NewIndex;
use strata_core::heap::SegmentView;
use strata_core::ids::ColumnId;
use strata_core::maintenance::Step;
use strata_core::manifest::Manifest;
use strata_core::row::{Datum, KeyOrder};
use strata_core::table::Isolation;
use strata_core::txn::block_on;
use strata_core::vfs::MemVfs;
use strata_core::{Database, Error, Options, Result, Sizes};

use crate::common::*;

fn open_within(vfs: &Arc<MemVfs>, memory_bytes: usize) -> Database {
    let options = Options { memory_bytes, ..manual() };
    Database::open_with_vfs(vfs.clone(), DIR, options).expect("opens")
}

/// With 64 MiB, where segments of so many bytes are encoded beside their load.
fn open_beside(beside_bytes: usize) -> Database {
    let sizes = Sizes { beside_bytes, ..Sizes::default() };
    let options = Options { memory_bytes: 64 << 20, sizes, ..manual() };
    Database::open_with_vfs(Arc::new(MemVfs::new()), DIR, options).expect("opens")
}

/// Text that hardly compresses.
fn note(id: i64, width: usize) -> String {
    let mut state = id as u64 + 1;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        char::from(b'!' + (state >> 57) as u8 % 90)
    };
    (0..width).map(|_| next()).collect()
}

fn long_batch(ids: std::ops::Range<i64>, width: usize) -> RecordBatch {
    batch_of(ids.map(|id| (id, 0, note(id, width))))
}

fn index_of(column: u32) -> NewIndex {
    let columns = vec![IndexColumn { column: ColumnId::new(column), order: KeyOrder::default() }];
    NewIndex { name: "other".into(), primary: false, unique: false, constraint: false, columns }
}

/// Files of an index are built in memory.
#[test]
fn the_files_of_an_index_are_a_small_part_of_memory() {
    let vfs = Arc::new(MemVfs::new());
    let db = open_within(&vfs, 16 << 20);
    let table = create_accounts(&db, "accounts");
    let mut txn = db.begin(Isolation::ReadCommitted).expect("begins");
    block_on(txn.create_index(table, index_of(2))).expect("made");
    txn.commit().expect("commits").wait().expect("durable");
    let txn = db.begin(Isolation::ReadCommitted).expect("begins");
    block_on(async {
        let mut load = txn.bulk_load(table).await?;
        load.append(&long_batch(0..20_000, 200))?;
        load.finish().await
    })
    .expect("loads");
    txn.commit().expect("commits").wait().expect("durable");
    let largest = || {
        let state = Manifest::read(&*vfs, &Path::new(DIR).join("manifest")).expect("reads");
        state.sstables.iter().map(|table| table.payload_bytes).max().expect("there are some")
    };
    while db.maintain().expect("works") != Step::Idle {}
    assert!(largest() < 2 << 20, "loaded: {}", largest());
    db.vacuum().expect("works");
    assert!(largest() < 2 << 20, "compacted: {}", largest());
}

#[test]
fn what_views_lead_to_counts_as_memory_of_a_load() {
    let db = open_within(&Arc::new(MemVfs::new()), 64 << 20);
    let table = create_accounts(&db, "accounts");
    let txn = db.begin(Isolation::ReadCommitted).expect("begins");
    let mut load = block_on(txn.bulk_load(table)).expect("begins");
    let before = db.pool().used();
    load.append(&long_batch(0..200, 5_000)).expect("appended");
    let taken = db.pool().used() - before;
    assert!(taken >= 200 * 5_000, "{taken} bytes for a million");
}

#[test]
fn a_batch_larger_than_memory_is_loaded_in_pieces() {
    let db = open_within(&Arc::new(MemVfs::new()), 16 << 20);
    let table = create_accounts(&db, "accounts");
    let txn = db.begin(Isolation::ReadCommitted).expect("begins");
    let loaded: Result<u64> = block_on(async {
        let mut load = txn.bulk_load(table).await?;
        load.append(&long_batch(0..5_000, 4_000))?;
        load.finish().await
    });
    assert_eq!(loaded.expect("fits"), 5_000);
    txn.commit().expect("commits").wait().expect("durable");
    assert_eq!(scan(&db, table).len(), 5_000);
    assert_clean(&db);
}

/// Rows that scatter over three unique indexes of long keys.
fn scattered_batch(ids: std::ops::Range<i64>) -> RecordBatch {
    let spread = |id: i64| id * 7_919 % 60_013;
    batch_of(ids.map(|id| (spread(id) * 3, spread(id), note(spread(id), 240))))
}

/// Sorting keys makes do with what memory there is; a segment cannot.
#[test]
fn the_keys_of_a_load_leave_its_segments_their_memory() {
    for beside_bytes in [1, usize::MAX] {
        let db = open_beside(beside_bytes);
        let table = create_accounts(&db, "accounts");
        let mut txn = db.begin(Isolation::ReadCommitted).expect("begins");
        for (place, name) in [(2, "by_note"), (1, "by_balance")] {
            let index = NewIndex { name: name.into(), unique: true, ..index_of(place) };
            block_on(txn.create_index(table, index)).expect("made");
        }
        txn.commit().expect("commits").wait().expect("durable");
        let _others = db.pool().reserve("others", db.pool().cap() - (18 << 20)).expect("is there");
        let txn = db.begin(Isolation::ReadCommitted).expect("begins");
        let loaded: Result<u64> = block_on(async {
            let mut load = txn.bulk_load(table).await?;
            for start in (0..40_000).step_by(400) {
                load.append(&scattered_batch(start..start + 400))?;
            }
            load.finish().await
        });
        assert_eq!(loaded.expect("fits"), 40_000, "from {beside_bytes} bytes");
    }
}

#[test]
fn a_load_that_has_refused_rows_goes_no_further() {
    let db = open_within(&Arc::new(MemVfs::new()), 64 << 20);
    let table = create_accounts(&db, "accounts");
    let txn = db.begin(Isolation::ReadCommitted).expect("begins");
    let mut load = block_on(txn.bulk_load(table)).expect("begins");
    load.append(&long_batch(0..100, 2_000)).expect("fits");
    // What does not fit the table is refused before anything has come of it.
    assert!(load.append(&long_batch(100..101, 1).project(&[0]).expect("has one")).is_err());
    load.append(&long_batch(100..200, 2_000)).expect("fits");
    let others = db.pool().reserve("others", db.pool().available()).expect("is there");
    assert!(matches!(load.append(&long_batch(200..400, 2_000)), Err(Error::OutOfMemory { .. })));
    drop(others);
    assert!(matches!(load.append(&long_batch(400..600, 2_000)), Err(Error::Invalid(_))));
    assert!(matches!(block_on(load.finish()), Err(Error::Invalid(_))));
    txn.commit().expect("commits").wait().expect("durable");
    assert_eq!(scan(&db, table), []);
    assert_clean(&db);
}

/// What a segment that is being encoded holds does not refuse the rows of the next.
#[test]
fn a_load_waits_for_the_memory_of_its_segment_before() {
    let db = open_beside(1);
    let table = create_accounts(&db, "accounts");
    // A segment has 2 MiB: while it is encoded, it holds three times that.
    let _others = db.pool().reserve("others", db.pool().cap() - (19 << 19)).expect("is there");
    let txn = db.begin(Isolation::ReadCommitted).expect("begins");
    let loaded: Result<u64> = block_on(async {
        let mut load = txn.bulk_load(table).await?;
        for start in (0..6_000).step_by(100) {
            load.append(&long_batch(start..start + 100, 2_000))?;
        }
        load.finish().await
    });
    assert_eq!(loaded.expect("fits"), 6_000);
}

#[test]
fn an_index_is_built_where_the_pool_has_little_left() {
    let db = open_within(&Arc::new(MemVfs::new()), 64 << 20);
    let table = create_accounts(&db, "accounts");
    load(&db, table, 0..70_000).expect("loads");
    while db.maintain().expect("works") != Step::Idle {}
    let others = db.pool().reserve("others", db.pool().cap() - (3 << 20)).expect("is there");
    let mut txn = db.begin(Isolation::ReadCommitted).expect("begins");
    block_on(txn.create_index(table, index_of(1))).expect("built");
    txn.commit().expect("commits").wait().expect("durable");
    drop(others);
    assert_clean(&db);
}

/// A segment that was written with more memory than there is now.
#[test]
fn a_segment_too_large_to_be_frozen_does_not_keep_others_waiting() {
    let vfs = Arc::new(MemVfs::new());
    let large = {
        let db = open_within(&vfs, 256 << 20);
        let large = create_accounts(&db, "large");
        let rows: Vec<_> = (0..2_000)
            .map(|id| {
                let mut row = account(id, 0);
                row[2] = Datum::Text(note(id, 4_000));
                row
            })
            .collect();
        insert(&db, large, &rows).expect("inserted");
        large
    };
    let db = open_within(&vfs, 16 << 20);
    let small = create_accounts(&db, "small");
    let rows: Vec<_> = (0..9_000).map(|id| account(id, 0)).collect();
    insert(&db, small, &rows).expect("inserted");
    // The large one takes no more rows here, which this one finds out.
    insert(&db, large, &[account(2_000, 0)]).expect("inserted");
    db.vacuum().expect("goes on");
    let is_frozen = |table| {
        let segments = db.view().table(table).expect("is there").segments().expect("reads");
        segments.iter().map(SegmentView::is_frozen).collect::<Vec<_>>()
    };
    assert!(!is_frozen(large)[0], "there is not the memory for it");
    assert!(is_frozen(small)[0], "there is for this one");
    assert_clean(&db);
}
