//! Failing disks and full ones.

use super::*;
use crate::error::{Error, ErrorKind};
use crate::memory::MemoryPool;
use crate::vfs::{Fault, FaultEffect, FaultVfs, IoKind, SeededRandom};

fn faulty(vfs: &MemVfs) -> FaultVfs {
    FaultVfs::new(Arc::new(vfs.clone()))
}

#[test]
fn a_full_disk_shows_when_room_is_reserved_and_the_journal_goes_on() {
    let vfs = MemVfs::new();
    let faults = faulty(&vfs);
    let (journal, _) = open_from(&faults, Lsn::new(0), Lsn::new(0), SMALL).expect("opens");
    let end = journal.append(b"before");
    for (effect, kinds) in [
        (FaultEffect::DiskFull, [IoKind::Open].as_slice()),
        (FaultEffect::DiskFull, &[IoKind::Write]),
        (FaultEffect::ShortWrite, &[IoKind::Write]),
        (FaultEffect::DiskFull, &[IoKind::Sync]),
    ] {
        faults.arm(Fault::nth(0, effect).of(kinds).in_path("/db/journal/"));
        let error = journal.reserve(20_000).expect_err("the disk is full");
        assert_eq!(error.kind(), ErrorKind::Resource, "{effect:?} {kinds:?}: {error}");
        faults.disarm();
    }
    assert_eq!(journal.flush().expect("there was room for this"), end);
    let space = journal.reserve(20_000).expect("room again");
    let undisturbed = MemVfs::new();
    let (other, _) = open(&undisturbed, SMALL);
    other.append(b"before");
    other.flush().expect("flushed");
    let _other_space = other.reserve(20_000).expect("there is room");
    let files = |vfs| segment_paths(vfs).len();
    assert_eq!(files(&vfs), files(&undisturbed), "what was refused holds no room");
    journal.append(&[1; 20_000]);
    journal.flush().expect("flushed");
    drop((space, journal));
    let (_, records) = open(&vfs, SMALL);
    assert_eq!(payloads(&records), [b"before".to_vec(), vec![1; 20_000]]);
}

/// What was reserved can be written on a disk that has no byte left.
#[test]
fn reserved_records_are_written_on_a_full_disk() {
    let vfs = MemVfs::new();
    for seed in 0..30_u64 {
        let faults = faulty(&vfs);
        let (journal, _) = open_from(&faults, Lsn::new(0), Lsn::new(0), SMALL).expect("opens");
        let sizes = [10, 4000, 4028, 8128, 300, 9000 + usize::try_from(seed).expect("small") * 131, 50];
        let spaces: Vec<_> = sizes.iter().map(|size| journal.reserve(*size).expect("room")).collect();
        let opened = segment_paths(&vfs).len();
        for (index, size) in sizes.iter().enumerate() {
            journal.append(&vec![5; *size]);
            if (seed >> (index % 5)) & 1 == 0 {
                journal.flush().expect("written");
            }
        }
        journal.flush().expect("written");
        assert_eq!(segment_paths(&vfs).len(), opened, "seed {seed}: a flush made a segment");
        drop(spaces);
    }
}

#[test]
fn a_full_pool_shows_when_room_is_reserved() {
    let vfs = MemVfs::new();
    let pool = MemoryPool::new(1000);
    let options = JournalOptions { pool: Some(pool.clone()), ..options(SMALL) };
    let zero = Lsn::new(0);
    let (journal, _) = Journal::open(Arc::new(vfs), Path::new(DIR), zero, zero, options).expect("opens");
    let space = journal.reserve(600).expect("room");
    assert!(pool.used() >= 600);
    assert!(matches!(journal.reserve(600), Err(Error::OutOfMemory { .. })));
    drop(space);
    assert_eq!(pool.used(), 0);
}

#[test]
fn a_failed_write_or_sync_closes_the_journal() {
    for kind in [IoKind::Write, IoKind::Sync] {
        let vfs = MemVfs::new();
        let faults = faulty(&vfs);
        let (journal, _) = open_from(&faults, Lsn::new(0), Lsn::new(0), SMALL).expect("opens");
        let first = journal.append(b"first");
        journal.flush().expect("flushed");
        let second = journal.append(b"second");
        faults.arm(Fault::nth(0, FaultEffect::InputOutput).of(&[kind]));
        assert!(matches!(journal.flush(), Err(Error::Io { .. })), "{kind:?}");
        faults.disarm();
        assert_eq!(journal.durable(), first);
        journal.append(b"third");
        assert!(matches!(journal.flush(), Err(Error::Poisoned { .. })));
        assert!(matches!(journal.wait_durable(second), Err(Error::Poisoned { .. })));
        assert!(matches!(journal.reserve(1), Err(Error::Poisoned { .. })));
        assert!(journal.wait_durable(first).is_ok());
        assert!(journal.poison_reason().is_some_and(|reason| reason.contains("journal")));
        drop(journal);
        let (_, records) = open_from(&vfs, Lsn::new(0), first, SMALL).expect("reopens");
        let found = payloads(&records);
        assert!(found == [b"first".to_vec()] || found == [b"first".to_vec(), b"second".to_vec()]);
    }
}

#[test]
fn the_sync_thread_reports_a_failure_once_and_wakes_waiters() {
    let vfs = MemVfs::new();
    let faults = faulty(&vfs);
    let (journal, _) = open_from(&faults, Lsn::new(0), Lsn::new(0), SMALL).expect("opens");
    let failures = Arc::new(std::sync::atomic::AtomicU64::new(0));
    let sink = Arc::clone(&failures);
    journal.start_sync_thread(Arc::new(move |durable| {
        if durable.is_err() {
            sink.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        }
    }));
    journal.wait_durable(journal.append(b"fine")).expect("durable");
    faults.arm(Fault::nth(0, FaultEffect::InputOutput).of(&[IoKind::Sync]).for_ever());
    let lost = journal.append(b"lost");
    assert!(matches!(journal.wait_durable(lost), Err(Error::Poisoned { .. })));
    drop(journal);
    assert_eq!(failures.load(std::sync::atomic::Ordering::SeqCst), 1);
}

/// Fails every call of a session in turn, cuts the power there, and looks at what is left.
#[test]
fn whatever_call_fails_nothing_durable_is_lost() {
    for at in 0.. {
        let mut fired = 0;
        for seed in 0..4 {
            let vfs = MemVfs::new();
            let (journal, _) = open(&vfs, SMALL);
            let kept = journal.append(&[9; 5000]);
            journal.flush().expect("flushed");
            drop(journal);
            let faults = faulty(&vfs);
            faults.arm(Fault::nth(at, FaultEffect::InputOutput).for_ever());
            let (start, durable) = session(&faults).unwrap_or((Lsn::new(0), kept));
            fired = faults.fired();
            let crashed = vfs.crash_clone(&SeededRandom::new(seed));
            let (_, records) = open_from(&crashed, start, durable, SMALL)
                .unwrap_or_else(|error| panic!("call {at}, seed {seed}: {error}"));
            let end = records.last().map_or(start, |record| record.lsn_end);
            assert!(end >= durable, "call {at}, seed {seed}");
            for record in records {
                let length = if record.lsn_start == Lsn::new(0) { 5000 } else { 3000 };
                assert_eq!(record.payload, vec![9; length], "call {at}, seed {seed}");
            }
        }
        if fired == 0 {
            assert!(at > 50, "the session makes {at} calls");
            return;
        }
    }
}

/// Opens, writes over several segments and truncates; returns the last start and what was durable at the end; `None`
/// if not even opening worked.
fn session(vfs: &FaultVfs) -> Option<(Lsn, Lsn)> {
    let (journal, _) = open_from(vfs, Lsn::new(0), Lsn::new(0), SMALL).ok()?;
    let mut truncated = Lsn::new(0);
    for number in 0..12 {
        let Ok(space) = journal.reserve(3000) else { break };
        journal.append(&[9; 3000]);
        if journal.flush().is_err() {
            break;
        }
        // Segments are recycled on the way.
        let start = journal.durable();
        drop(space);
        if number % 3 == 2 {
            truncated = start;
            let _ = if number == 8 { journal.shorten(start) } else { journal.truncate_before(start) };
        }
    }
    Some((truncated, journal.durable()))
}

/// A kill leaves unsynced bytes that the next opening shows. Once shown they must survive a power cut, also where they are not in
/// the last file, whose header is made durable too.
#[test]
fn what_an_opening_showed_survives_a_power_cut() {
    for is_last_file in [true, false] {
        let vfs = MemVfs::new();
        let faults = faulty(&vfs);
        let (journal, _) = open_from(&faults, Lsn::new(0), Lsn::new(0), SMALL).expect("opens");
        journal.append(b"synced");
        journal.flush().expect("flushed");
        let space = (!is_last_file).then(|| journal.reserve(20_000).expect("room"));
        journal.append(b"written, not synced");
        faults.arm(Fault::nth(0, FaultEffect::InputOutput).of(&[IoKind::Sync]));
        journal.flush().expect_err("the sync fails");
        assert_eq!(segment_paths(&vfs).len() == 1, is_last_file);
        drop((space, journal));
        let (journal, shown) = open(&vfs, SMALL);
        assert_eq!(shown.len(), 2);
        drop(journal);
        for seed in 0..20 {
            let (_, found) = open(&vfs.crash_clone(&SeededRandom::new(seed)), SMALL);
            assert_eq!(found, shown, "seed {seed}");
        }
    }
}

/// A full segment whose end is the start of replay tells the position until the next one has a durable batch.
#[test]
fn truncation_waits_for_a_durable_batch_behind_a_full_segment() {
    let vfs = MemVfs::new();
    let faults = faulty(&vfs);
    let (zero, options) = (Lsn::new(0), JournalOptions { recycled_segments: 0, ..options(SMALL) });
    let (journal, _) = Journal::open(faults.shared(), Path::new(DIR), zero, zero, options).expect("opens");
    for _ in 0..2 {
        journal.append(b"a page");
        journal.flush().expect("flushed");
    }
    let durable = journal.durable();
    journal.append(b"in the next segment");
    let _space = journal.reserve(0).expect("room");
    // The first sync closes the full segment, the second is that of the new batch.
    faults.arm(Fault::nth(1, FaultEffect::InputOutput).of(&[IoKind::Sync]));
    journal.flush().expect_err("the sync fails");
    faults.disarm();
    journal.truncate_before(durable).expect("truncated");
    for seed in 0..20 {
        let crashed = vfs.crash_clone(&SeededRandom::new(seed));
        let (journal, _) = open_from(&crashed, durable, durable, SMALL)
            .unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        assert!(journal.end() >= durable);
    }
}

/// A segment's header was written, its sync failed, and the process was killed: the next opening finds the header, and goes on behind
/// it. A power cut must not then take away what it built on.
#[test]
fn a_header_that_an_opening_found_survives_a_power_cut() {
    for at in 0.. {
        let vfs = MemVfs::new();
        let faults = faulty(&vfs);
        let zero = Lsn::new(0);
        let (journal, _) = open_from(&faults, zero, zero, SMALL).expect("opens");
        for payload in [vec![1; 9000], vec![2; 9000]] {
            let space = journal.reserve(payload.len()).expect("room");
            journal.append(&payload);
            journal.flush().expect("flushed");
            drop(space);
        }
        faults.arm(Fault::nth(at, FaultEffect::InputOutput).for_ever());
        let shortened = journal.shorten(zero);
        drop(journal);
        let (journal, found) = open(&vfs, SMALL);
        assert_eq!(found.len(), 2, "call {at}");
        journal.append(b"third");
        journal.flush().expect("flushed");
        drop(journal);
        for seed in 0..20 {
            let cut = vfs.crash_clone(&SeededRandom::new(seed));
            let (_, found) = open_from(&cut, zero, zero, SMALL)
                .unwrap_or_else(|error| panic!("call {at}, seed {seed}: {error}"));
            assert_eq!(found.len(), 3, "call {at}, seed {seed}");
        }
        // So too while the next opening is under way.
        for during in 0..30 {
            let faults = faulty(&vfs);
            faults.arm(Fault::nth(during, FaultEffect::InputOutput).for_ever());
            drop(open_from(&faults, zero, zero, SMALL));
            let cut = vfs.crash_clone(&SeededRandom::new(during));
            let (_, found) = open_from(&cut, zero, zero, SMALL)
                .unwrap_or_else(|error| panic!("call {at}, opening call {during}: {error}"));
            assert_eq!(found.len(), 3, "call {at}, opening call {during}");
        }
        if shortened.is_ok() && faults.fired() == 0 {
            break;
        }
    }
}
