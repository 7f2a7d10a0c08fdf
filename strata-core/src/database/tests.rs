//! What needs the inside of a database.

use std::sync::mpsc;
use std::time::Duration;

use super::*;
use crate::error::ErrorKind;
use crate::heap::RowRun;
use crate::ids::{RowId, SegmentId};
use crate::manifest::UNNAMED_SEGMENTS_MAX;
use crate::txn::WriteSet;
use crate::txn::record::{Placement, RecordBody};
use crate::txn::recovery::last_commit;
use crate::vfs::{Fault, FaultEffect, FaultVfs, IoKind, MemVfs, SeededRandom};

/// What the gate met: the sync failed after the record was appended and before the commit was in the queue of those that are
/// told, and whoever waited for it waited for ever.
#[test]
fn a_commit_whose_sync_fails_before_it_is_in_flight_is_told() {
    let vfs = FaultVfs::new(Arc::new(MemVfs::new()));
    let db = Database::open_with_vfs(Arc::new(vfs.clone()), Path::new("/db"), Options::default());
    let db = db.expect("opens");
    let shared = Arc::clone(&db.inner.shared);
    vfs.arm(Fault::nth(0, FaultEffect::DiskFull).of(&[IoKind::Sync]).in_path("journal"));
    let (told, outcome) = mpsc::channel();
    std::thread::spawn(move || {
        let watched = Arc::clone(&shared);
        let until_it_failed = move |_| {
            while watched.store.check_writable().is_ok() {
                std::thread::yield_now();
            }
        };
        let writes = WriteSet::new(shared.store.cache.pool()).expect("fits in memory");
        let on_apply: crate::txn::OnApply = Box::new(until_it_failed);
        let ticket = shared.store.commit(shared.next_txn(), &writes, &mut [], Some(on_apply));
        told.send(ticket.and_then(crate::txn::CommitTicket::wait)).expect("somebody waits");
    });
    let outcome = outcome.recv_timeout(Duration::from_secs(60)).expect("it is told");
    assert!(matches!(outcome, Err(Error::Poisoned { .. })), "{outcome:?}");
}

fn open(vfs: &MemVfs) -> Result<Database> {
    let options = Options { maintenance: MaintenanceMode::Manual, ..Options::default() };
    Database::open_with_vfs(Arc::new(vfs.clone()), Path::new("/db"), options)
}

/// Opens a database whose journal has a row of each of these heaps at the begin of a segment.
fn replayed(rows: &[(u32, u64)]) -> Result<Database> {
    let vfs = MemVfs::new();
    let db = open(&vfs).expect("a new one");
    let store = &db.inner.shared.store;
    for ((heap, segment), timestamp) in rows.iter().zip(last_commit(store).get() + 1..) {
        let mut writes = WriteSet::new(&MemoryPool::new(1 << 20)).expect("memory");
        writes.insert(HeapId::new(*heap), [7].as_slice().into(), Vec::new()).expect("memory");
        let first = SegmentId::new(*segment).first_row();
        let runs = vec![vec![RowRun { first, rows: 1 }]];
        let timestamp = Timestamp::new(timestamp);
        let mut body = RecordBody::encode(&writes);
        store.journal.append(body.finish(&Placement { timestamp, runs, row_bases: Vec::new() }));
    }
    store.journal.flush().expect("flushed");
    open(&vfs.crash_clone(&SeededRandom::new(1)))
}

#[test]
fn rows_where_no_heap_can_have_them_are_refused_and_take_no_memory() {
    let half = UNNAMED_SEGMENTS_MAX / 2;
    let last = RowId::provisional(0).segment().get() - 1;
    for rows in [
        &[(20_000, 1 << 40)][..],
        &[(20_000, last)],
        &[(20_000, 0), (20_000, last)],
        &[(20_000, half), (20_000, 3 * half)],
        &[(20_000, half), (20_001, half), (20_002, half)],
    ] {
        let error = replayed(rows).map(drop).expect_err("no heap is like that");
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{rows:?}: {error}");
    }
}

/// Of a heap that was dropped since only the end may be left.
#[test]
fn the_end_of_a_heap_is_replayed() {
    let db = replayed(&[(20_000, 1_000), (20_000, 1_001), (20_001, 5)]).expect("opens");
    let store = &db.inner.shared.store;
    let end = |heap| store.heaps.get(HeapId::new(heap)).map(|heap| heap.next_row());
    let after = |segment| Some(SegmentId::new(segment).first_row().offset(1));
    assert_eq!([end(20_000), end(20_001)], [after(1_001), after(5)]);
}
