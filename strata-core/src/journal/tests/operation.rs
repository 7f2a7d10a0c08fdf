//! Appending, syncing, waiting, truncating.

use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use super::*;
use crate::error::Error;
use crate::vfs::OsVfs;

#[test]
fn records_come_back_with_their_positions() {
    let vfs = MemVfs::new();
    let mut wanted = Vec::new();
    for session in 0..5_u8 {
        let (journal, records) = open(&vfs, SMALL);
        assert_eq!(records, wanted, "session {session}");
        for number in 0..7_u8 {
            let lsn_start = journal.end();
            let payload = vec![session * 10 + number; usize::from(number) * 700];
            let lsn_end = journal.append(&payload);
            wanted.push(Record { lsn_start, lsn_end, payload });
            if number % 3 == 0 {
                assert_eq!(journal.flush().expect("flushed"), lsn_end);
            }
        }
        assert_eq!(journal.flush().expect("flushed"), journal.end());
        assert_eq!(journal.durable(), journal.end());
    }
    let start = wanted[12].lsn_start;
    let (_, records) = open_from(&vfs, start, start, SMALL).expect("opens in the middle");
    assert_eq!(records, wanted[12..]);
}

#[test]
fn concurrent_appenders_are_synced_in_groups_and_all_come_back() {
    const WRITERS: u64 = 6;
    const RECORDS: u64 = 200;
    let folder = tempfile::tempdir().expect("a folder");
    let dir = folder.path().join("journal");
    let vfs: Arc<dyn Vfs> = Arc::new(OsVfs::new());
    let zero = Lsn::new(0);
    let (journal, _) = Journal::open(Arc::clone(&vfs), &dir, zero, zero, options(16 * 4096)).expect("opens");
    let reported = Arc::new(Mutex::new(Vec::new()));
    let sink = Arc::clone(&reported);
    journal.start_sync_thread(Arc::new(move |durable| sink.lock().push(durable.expect("no failure"))));
    std::thread::scope(|scope| {
        for writer in 0..WRITERS {
            let journal = &journal;
            scope.spawn(move || {
                for number in 0..RECORDS {
                    let payload = (writer * RECORDS + number).to_le_bytes();
                    let space = journal.reserve(payload.len()).expect("room");
                    let end = journal.append(&payload);
                    journal.wait_durable(end).expect("durable");
                    assert!(journal.durable() >= end);
                    drop(space);
                }
            });
        }
    });
    let end = journal.end();
    drop(journal);
    let reported = reported.lock();
    assert!(reported.is_sorted() && reported.last() == Some(&end), "{reported:?}");
    assert!((reported.len() as u64) < WRITERS * RECORDS, "{} syncs for as many records", reported.len());
    let (_, replay) = Journal::open(vfs, &dir, zero, end, options(16 * 4096)).expect("opens");
    let mut seen: Vec<u64> = replay
        .map(|record| u64::from_le_bytes(record.expect("intact").payload.try_into().expect("8 bytes")))
        .collect();
    seen.sort_unstable();
    assert_eq!(seen, (0..WRITERS * RECORDS).collect::<Vec<u64>>());
}

#[test]
fn a_flush_by_hand_is_reported_by_the_sync_thread() {
    let vfs = MemVfs::new();
    let (journal, _) = open(&vfs, SMALL);
    let reported = Arc::new(AtomicU64::new(0));
    let sink = Arc::clone(&reported);
    journal.start_sync_thread(Arc::new(move |durable| {
        sink.store(durable.expect("no failure").get(), Ordering::SeqCst);
    }));
    let mut end = Lsn::new(0);
    for _ in 0..50 {
        end = journal.append(b"x");
        journal.flush().expect("flushed");
    }
    drop(journal);
    assert_eq!(reported.load(Ordering::SeqCst), end.get());
}

#[test]
fn truncated_segments_are_used_again() {
    let vfs = MemVfs::new();
    let (journal, _) = open(&vfs, SMALL);
    let mut most = 0;
    for round in 0..60_u8 {
        let end = journal.append(&[round; 3000]);
        journal.flush().expect("flushed");
        journal.truncate_before(end).expect("truncated");
        most = most.max(segment_paths(&vfs).len());
    }
    let end = journal.end();
    assert!(most <= 5, "{most} segments at once");
    drop(journal);
    let (journal, records) = open_from(&vfs, end, end, SMALL).expect("opens");
    assert_eq!((records.len(), journal.end()), (0, end));
    journal.append(b"and on");
    journal.flush().expect("flushed");
    journal.truncate_before(end).expect("truncated");
    assert_eq!(segment_paths(&vfs).len(), 1, "the older epoch is gone");
}

#[test]
fn a_shortened_journal_is_one_short_segment_that_goes_on() {
    let vfs = MemVfs::new();
    let (journal, _) = open(&vfs, 16 << 20);
    let mut end = Lsn::new(0);
    for round in 0..40_u8 {
        let space = journal.reserve(1 << 20).expect("room");
        end = journal.append(&vec![round; 1 << 20]);
        journal.flush().expect("flushed");
        drop(space);
    }
    journal.truncate_before(end).expect("truncated");
    let bytes = || {
        segment_paths(&vfs)
            .iter()
            .map(|path| vfs.open(path, OpenMode::Read).expect("opens").len().expect("len"))
            .sum::<u64>()
    };
    assert!(bytes() >= 16 << 20, "segments are kept for use again");
    let promise = journal.reserve(10).expect("room");
    journal.shorten(end).expect("shortened");
    assert!(bytes() >= 16 << 20, "not while somebody counts on the room");
    drop(promise);
    journal.shorten(end).expect("shortened");
    assert_eq!((segment_paths(&vfs).len(), bytes()), (1, 1 << 20));
    let mut wanted = Vec::new();
    for round in 0..30_u8 {
        let space = journal.reserve(1 << 18).expect("room");
        journal.append(&vec![round; 1 << 18]);
        journal.flush().expect("flushed");
        drop(space);
        wanted.push(vec![round; 1 << 18]);
        if round == 12 {
            // What is not yet below the start stays, over the cut.
            journal.shorten(end).expect("shortened");
        }
    }
    let (_, records) = open_from(&copy(&vfs), end, journal.durable(), 16 << 20).expect("opens");
    assert_eq!(payloads(&records), wanted);
}

#[test]
fn truncation_keeps_what_replay_from_there_needs() {
    let vfs = MemVfs::new();
    let (journal, _) = open(&vfs, SMALL);
    let mut wanted = Vec::new();
    for round in 0..40_u8 {
        let start = journal.end();
        journal.append(&vec![round; 50 + usize::from(round) * 300]);
        journal.flush().expect("flushed");
        journal.truncate_before(start).expect("truncated");
        wanted = vec![vec![round; 50 + usize::from(round) * 300]];
        let now = copy(&vfs);
        let (_, records) = open_from(&now, start, journal.durable(), SMALL).expect("opens");
        assert_eq!(payloads(&records), wanted, "round {round}");
    }
    assert_eq!(wanted.len(), 1);
}

#[test]
fn a_reservation_makes_the_segments_that_the_record_needs() {
    let vfs = MemVfs::new();
    let (journal, _) = open(&vfs, SMALL);
    let before = segment_paths(&vfs).len();
    let space = journal.reserve(50_000).expect("room");
    let made = segment_paths(&vfs).len() - before;
    assert!(made >= 50_000 / 8192, "{made} segments");
    journal.append(&[7; 50_000]);
    journal.flush().expect("flushed");
    assert!(segment_paths(&vfs).len() - before <= made, "the flush made none of its own");
    drop(space);
    let huge = crate::journal::MAX_RECORD_BYTES + 1;
    assert!(matches!(journal.reserve(huge), Err(Error::TooLarge { .. })));
}

/// What both buffers keep is on nobody's account, and so a small part of memory.
#[test]
fn buffers_that_grew_large_beside_memory_are_given_back() {
    let vfs = MemVfs::new();
    let zero = Lsn::new(0);
    let pool = Some(crate::memory::MemoryPool::new(32 << 20));
    let options = JournalOptions { pool, ..options(16 << 20) };
    let (journal, _) = Journal::open(vfs.shared(), Path::new(DIR), zero, zero, options).expect("opens");
    for _ in 0..4 {
        let space = journal.reserve(1 << 20).expect("is there");
        journal.append(&vec![7; 1 << 20]);
        journal.flush().expect("flushed");
        drop(space);
    }
    let kept =
        [journal.shared.pending.lock().buffer.capacity(), journal.shared.writer.lock().buffer.capacity()];
    assert!(kept.iter().all(|bytes| *bytes <= (32 << 20) / 64), "{kept:?} bytes");
}

#[test]
fn waiting_without_a_sync_thread_flushes() {
    let vfs = MemVfs::new();
    let (journal, _) = open(&vfs, SMALL);
    let end = journal.append(b"x");
    assert_eq!(journal.durable(), Lsn::new(0));
    journal.wait_durable(end).expect("durable");
    assert_eq!(journal.durable(), end);
}

/// Thirty-two writers once found too little room together, and each made a segment.
#[test]
fn writers_that_run_out_of_room_together_make_one_segment() {
    // On a real disk: making a segment must take longer than finding too little room.
    let folder = tempfile::tempdir().expect("a folder");
    let (vfs, zero): (Arc<dyn Vfs>, _) = (Arc::new(OsVfs::new()), Lsn::new(0));
    let (journal, _) =
        Journal::open(vfs.clone(), folder.path(), zero, zero, options(64 * 4096)).expect("opens");
    let start = std::sync::Barrier::new(32);
    let spaces: Vec<_> = std::thread::scope(|scope| {
        let reserve = || {
            start.wait();
            journal.reserve(8000).expect("room")
        };
        let writers: Vec<_> = (0..32).map(|_| scope.spawn(reserve)).collect();
        writers.into_iter().map(|writer| writer.join().expect("reserved")).collect()
    });
    // Each may take 8 pages of a segment's 63.
    let count = vfs.read_dir(folder.path()).expect("listed").len();
    assert!(count <= 1 + 32 * 8 / 63, "{count} segments");
    drop(spaces);
}
