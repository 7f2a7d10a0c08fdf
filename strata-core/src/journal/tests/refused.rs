//! A reservation that is refused leaves the disk as it was.

use super::*;
use crate::error::Error;
use crate::vfs::{Fault, FaultEffect, FaultVfs, IoKind, SeededRandom, SmallDisk};

const MIB: u64 = 1 << 20;

fn open_on(disk: &SmallDisk, segment_bytes: u64) -> Journal {
    open_from(disk, Lsn::new(0), Lsn::new(0), segment_bytes).expect("opens").0
}

fn write(journal: &Journal, payload: &[u8]) {
    let space = journal.reserve(payload.len()).expect("room");
    journal.append(payload);
    journal.flush().expect("flushed");
    drop(space);
}

/// One refused commit of 6 MiB once kept four files of the journal, which the flush had no room beside.
#[test]
fn a_refused_reservation_gives_its_segments_up() {
    let vfs = MemVfs::new();
    let disk = SmallDisk::new(Arc::new(vfs.clone()));
    let journal = open_on(&disk, MIB);
    write(&journal, b"before");
    let before = (disk.used(), segment_paths(&vfs));
    disk.leave(4 * MIB + MIB / 2);
    for _ in 0..3 {
        assert!(matches!(journal.reserve(6 << 20), Err(Error::DiskFull { .. })));
        assert_eq!((disk.used(), segment_paths(&vfs)), before);
    }
    // It was no more than promised: what fits is still granted.
    write(&journal, &[1; 3 << 20]);
    disk.grow();
    write(&journal, &[2; 6 << 20]);
    drop(journal);
    let (_, records) = open(&vfs, MIB);
    assert_eq!(payloads(&records), [b"before".to_vec(), vec![1; 3 << 20], vec![2; 6 << 20]]);
}

/// Files grow within an epoch: the one that is given up is as long when it is made again.
#[test]
fn a_segment_that_was_given_up_is_made_anew_of_the_same_length() {
    let vfs = MemVfs::new();
    let disk = SmallDisk::new(Arc::new(vfs.clone()));
    let journal = open_on(&disk, 16 * MIB);
    let before = disk.used();
    disk.leave(5 * MIB);
    assert!(matches!(journal.reserve(10 << 20), Err(Error::DiskFull { .. })));
    assert_eq!(disk.used(), before);
    let _space = journal.reserve(4 << 20).expect("a file of 4 MiB fits");
    assert_eq!(disk.used(), before + 4 * MIB);
}

#[test]
fn what_is_promised_to_others_is_kept() {
    let vfs = MemVfs::new();
    let disk = SmallDisk::new(Arc::new(vfs.clone()));
    let journal = open_on(&disk, MIB);
    let promised = journal.reserve(5 << 19).expect("room");
    let used = disk.used();
    disk.leave(4 * MIB);
    assert!(matches!(journal.reserve(6 << 20), Err(Error::DiskFull { .. })));
    assert_eq!(disk.used(), used);
    disk.leave(0);
    journal.append(&[3; 5 << 19]);
    journal.flush().expect("it was promised");
    drop((promised, journal));
    let (_, records) = open(&vfs, MIB);
    assert_eq!(payloads(&records), [vec![3; 5 << 19]]);
}

/// Where a spare is wanted anyway, one stays.
#[test]
fn a_spare_that_is_wanted_is_kept() {
    let vfs = MemVfs::new();
    let disk = SmallDisk::new(Arc::new(vfs.clone()));
    let journal = open_on(&disk, MIB);
    write(&journal, &[1; 3 << 18]);
    let before = disk.used();
    disk.leave(4 * MIB + MIB / 2);
    assert!(matches!(journal.reserve(6 << 20), Err(Error::DiskFull { .. })));
    assert_eq!(disk.used(), before + MIB);
    assert!(!journal.shared.space.wants_spare());
}

/// Writers whose promises came and were kept while others were refused and gave up.
#[test]
fn promises_are_kept_beside_refused_reservations() {
    let disk = SmallDisk::new(Arc::new(MemVfs::new()));
    let journal = open_on(&disk, 16 * 4096);
    disk.leave(MIB);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                for _ in 0..60 {
                    let refused = journal.reserve(2 << 20);
                    assert!(matches!(refused, Err(Error::DiskFull { .. })));
                }
            });
            scope.spawn(|| {
                for _ in 0..200 {
                    // Who comes while a refused one holds all the room is refused too.
                    let Ok(space) = journal.reserve(20_000) else { continue };
                    let end = journal.append(&[7; 20_000]);
                    journal.wait_durable(end).expect("it was promised");
                    drop(space);
                    let start = journal.durable();
                    journal.truncate_before(start).expect("truncated");
                }
            });
        }
    });
    assert_eq!(journal.poison_reason(), None);
}

/// The last segment had its header when its preparation failed, and could not be removed at once. An epoch that begins under a lower
/// number must not find it behind itself.
#[test]
fn a_half_made_segment_goes_before_those_in_front_of_it() {
    let vfs = MemVfs::new();
    let removes = FaultVfs::new(Arc::new(vfs.clone()));
    let syncs = FaultVfs::new(Arc::new(removes.clone()));
    let zero = Lsn::new(0);
    let (journal, _) = open_from(&syncs, zero, zero, SMALL).expect("opens");
    (0..3).for_each(|_| write(&journal, &[1; 9000]));
    syncs.arm(Fault::nth(3, FaultEffect::InputOutput).of(&[IoKind::SyncDir]));
    removes.arm(Fault::nth(0, FaultEffect::InputOutput).of(&[IoKind::Remove]));
    assert!(matches!(journal.reserve(60_000), Err(Error::Io { .. })));
    assert_eq!((syncs.fired(), removes.fired()), (1, 1));
    let start = journal.durable();
    journal.truncate_before(start).expect("truncated");
    journal.shorten(start).expect("shortened");
    write(&journal, &[2; 300]);
    drop(journal);
    let (_, records) = open_from(&vfs, start, start, SMALL).expect("opens");
    assert_eq!(payloads(&records), [[2; 300]]);
}

/// The power fails while an epoch begins under the number of a segment that was given up: those behind it must not come back.
#[test]
fn segments_that_were_given_up_do_not_come_back_behind_a_new_epoch() {
    let vfs = MemVfs::new();
    let faults = FaultVfs::new(Arc::new(vfs.clone()));
    let disk = SmallDisk::new(Arc::new(faults.clone()));
    let journal = open_on(&disk, SMALL);
    write(&journal, &[1; 3000]);
    disk.leave(4 * SMALL);
    assert!(matches!(journal.reserve(60_000), Err(Error::DiskFull { .. })));
    faults.arm(Fault::nth(0, FaultEffect::InputOutput).of(&[IoKind::SyncDir, IoKind::Remove]).for_ever());
    journal.shorten(Lsn::new(0)).expect_err("the folder is not synced");
    for seed in 0..100 {
        let crashed = vfs.crash_clone(&SeededRandom::new(seed));
        let (_, records) = open_from(&crashed, Lsn::new(0), journal.durable(), SMALL)
            .unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        assert_eq!(payloads(&records), [[1; 3000]], "seed {seed}");
    }
}

/// Fails every call of a session in turn, cuts the power there, and looks at what is left.
#[test]
fn giving_up_segments_loses_nothing_durable_whatever_call_fails() {
    for at in 0.. {
        let mut fired = 0;
        for seed in 0..3 {
            let vfs = MemVfs::new();
            let faults = FaultVfs::new(Arc::new(vfs.clone()));
            faults.arm(Fault::nth(at, FaultEffect::InputOutput).for_ever());
            let (start, durable) = session(&faults);
            fired = faults.fired();
            let crashed = vfs.crash_clone(&SeededRandom::new(seed));
            let (_, records) = open_from(&crashed, start, durable, SMALL)
                .unwrap_or_else(|error| panic!("call {at}, seed {seed}: {error}"));
            let end = records.last().map_or(start, |record| record.lsn_end);
            assert!(end >= durable, "call {at}, seed {seed}");
            assert!(records.iter().all(|record| record.payload == [9; 3000]), "call {at}, seed {seed}");
        }
        if fired == 0 {
            assert!(at > 50, "the session makes {at} calls");
            return;
        }
    }
}

/// Writes, and between that has reservations refused, now and then right before the journal is shortened; returns the last start and
/// what was durable at the end.
fn session(vfs: &FaultVfs) -> (Lsn, Lsn) {
    let disk = SmallDisk::new(Arc::new(vfs.clone()));
    let mut start = Lsn::new(0);
    let Ok((journal, _)) = open_from(&disk, start, start, SMALL) else { return (start, start) };
    for number in 0..4 {
        disk.leave(3 * SMALL);
        assert!(journal.reserve(60_000).is_err());
        let Ok(space) = journal.reserve(3000) else { break };
        journal.append(&[9; 3000]);
        if journal.flush().is_err() {
            break;
        }
        drop(space);
        start = journal.durable();
        let _ = journal.truncate_before(start);
        if number % 2 == 1 {
            disk.leave(3 * SMALL);
            assert!(journal.reserve(60_000).is_err());
            let _ = journal.shorten(start);
        }
    }
    (start, journal.durable())
}
