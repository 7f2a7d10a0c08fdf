//! Failing disks and full ones.

use super::*;
use crate::error::{Error, ErrorKind};
use crate::vfs::{Fault, FaultEffect, FaultVfs, IoKind, SeededRandom};

fn heap_edit(number: u32) -> Vec<Edit> {
    vec![Edit::CreateHeap(HeapId::new(number))]
}

#[test]
fn a_full_disk_refuses_the_commit_and_nothing_else() {
    let vfs = MemVfs::new();
    let faults = FaultVfs::new(Arc::new(vfs.clone()));
    let (manifest, _) = Manifest::open(Arc::new(faults.clone()), dir()).expect("opens");
    manifest.commit(Lsn::new(1), heap_edit(1)).expect("committed");
    for (effect, kind) in [
        (FaultEffect::DiskFull, IoKind::Write),
        (FaultEffect::ShortWrite, IoKind::Write),
        (FaultEffect::DiskFull, IoKind::Sync),
    ] {
        let (_, state) = open(&copy(&vfs));
        faults.arm(Fault::nth(0, effect).of(&[kind]));
        // Longer than the room that the last commit left.
        let mut edits = heap_edit(2);
        edits.resize(40_000, Edit::Counters(Counters::default()));
        let error = manifest.commit(Lsn::new(1), edits).expect_err("the disk is full");
        assert_eq!(error.kind(), ErrorKind::Resource, "{effect:?} {kind:?}");
        faults.disarm();
        assert_eq!(manifest.poison_reason(), None);
        assert_eq!((open(&copy(&vfs)).1, manifest.state().heaps.len()), (state, 1));
    }
    manifest.commit(Lsn::new(1), heap_edit(2)).expect("committed");
    drop(manifest);
    assert_eq!(open(&vfs).1.heaps.len(), 2);
}

#[test]
fn a_failed_sync_closes_the_manifest() {
    let vfs = MemVfs::new();
    let faults = FaultVfs::new(Arc::new(vfs.clone()));
    let (manifest, _) = Manifest::open(Arc::new(faults.clone()), dir()).expect("opens");
    manifest.commit(Lsn::new(1), heap_edit(1)).expect("committed");
    faults.arm(Fault::nth(0, FaultEffect::InputOutput).of(&[IoKind::Sync]));
    assert!(matches!(manifest.commit(Lsn::new(1), heap_edit(2)), Err(Error::Io { .. })));
    faults.disarm();
    assert!(matches!(manifest.commit(Lsn::new(1), heap_edit(3)), Err(Error::Poisoned { .. })));
    assert!(manifest.poison_reason().is_some());
    assert_eq!(manifest.state().heaps.len(), 1);
}

/// Fails each call in turn and all behind it, cuts the power there, and opens what is left: every commit that
/// returned is there, the one that failed is there whole or not at all.
#[test]
fn a_power_cut_at_every_call_leaves_whole_groups() {
    for at in 0.. {
        let mut fired = 0;
        for seed in 0..6 {
            let vfs = MemVfs::new();
            let faults = FaultVfs::new(Arc::new(vfs.clone()));
            faults.arm(Fault::nth(at, FaultEffect::InputOutput).for_ever());
            let committed = session(&faults);
            fired = faults.fired();
            let (_, state) = open(&vfs.crash_clone(&SeededRandom::new(seed)));
            let heaps: Vec<u32> = state.heaps.keys().map(|heap| heap.get()).collect();
            let whole = |count: u32| heaps == (0..2 * count).collect::<Vec<u32>>();
            assert!(
                whole(committed) || whole(committed + 1),
                "call {at}, seed {seed}: {committed} groups committed, heaps {heaps:?}"
            );
        }
        if fired == 0 {
            assert!(at > 60, "the session makes {at} calls");
            return;
        }
    }
}

/// Commits groups of two heaps each, over rewritings and a reopening; returns how many commits succeeded.
fn session(vfs: &FaultVfs) -> u32 {
    let mut committed = 0;
    for _ in 0..2 {
        let Ok((manifest, _)) = Manifest::open_with(Arc::new(vfs.clone()), dir(), 4096) else {
            return committed;
        };
        for _ in 0..8 {
            let mut edits = heap_edit(2 * committed);
            edits.extend(heap_edit(2 * committed + 1));
            if manifest.commit(Lsn::new(1), edits).is_err() {
                return committed;
            }
            committed += 1;
        }
    }
    committed
}
