//! Torn tails and damaged middles.

use super::*;
use crate::error::Error;
use crate::manifest::group::GroupHeader;

/// Three commits in one file; returns the states after each and where the groups begin.
fn three_commits(vfs: &MemVfs) -> (Vec<ManifestState>, [u64; 3]) {
    let (manifest, _) = open(vfs);
    let states = (1..=3)
        .map(|number| {
            // No zero byte: zeros over the end of the group change it.
            let heap = HeapId::new(number * 0x0101_0101);
            manifest.commit(Lsn::new(number.into()), vec![Edit::CreateHeap(heap)]).expect("committed");
            ManifestState::clone(&manifest.state())
        })
        .collect();
    // The header page, one group of snapshot, then these.
    (states, [2 * 4096, 3 * 4096, 4 * 4096])
}

const GROUP_BYTES: u64 = 64 + 8 + 4 + 5;

fn expect_damage(vfs: &MemVfs, wanted: u64, what: &str) {
    let name = manifest_path(vfs).display().to_string();
    match Manifest::open(Arc::new(vfs.clone()), dir()) {
        Err(Error::Corrupt { file, offset, .. }) => assert_eq!((file, offset), (name, wanted), "{what}"),
        other => panic!("{what}: {:?}", other.map(|(_, state)| state)),
    }
}

#[test]
fn a_tail_torn_at_every_byte_was_never_committed() {
    let vfs = MemVfs::new();
    let (states, [_, _, last]) = three_commits(&vfs);
    for kept in 0..=GROUP_BYTES {
        let wanted = if kept == GROUP_BYTES { &states[2] } else { &states[1] };
        let zeroed = copy(&vfs);
        // The group, and the proof that follows once it is synced.
        manifest_file(&zeroed).write_at(last + kept, &[0; 8192]).expect("zeroed");
        assert_eq!(open(&zeroed).1, *wanted, "zeros behind {kept} bytes");
        assert_eq!(open(&zeroed).1, *wanted, "zeros behind {kept} bytes, opened again");
    }
}

/// What is left of a file that was cut short is whole groups, and looks like an older state: but the blocks of that have been
/// used again.
#[test]
fn a_file_cut_to_any_length_is_an_error() {
    // Wherever the group begins that finds too little room.
    for small in 0..16 {
        let vfs = MemVfs::new();
        let (manifest, _) = open(&vfs);
        let commit = |heaps: std::ops::Range<u32>| {
            let edits = heaps.map(|heap| Edit::CreateHeap(HeapId::new(heap))).collect();
            manifest.commit(Lsn::new(1), edits).expect("committed");
        };
        (0..small).for_each(|number| commit(number..number + 1));
        commit(100..16_000);
        commit(20_000..20_001);
        let len = manifest_file(&vfs).len().expect("measured");
        assert!(len > 64 << 10, "{len}");
        for kept in (0..len).step_by(4096).flat_map(|page| [page, page + 100, page + 4095]) {
            let cut = copy(&vfs);
            manifest_file(&cut).set_len(kept).expect("cut");
            let opened = Manifest::open(Arc::new(cut), dir()).map(|(_, state)| state.heaps.len());
            assert!(matches!(opened, Err(Error::Corrupt { .. })), "cut to {kept} bytes: {opened:?} heaps");
        }
    }
}

#[test]
fn a_damaged_group_in_the_middle_is_an_error() {
    let vfs = MemVfs::new();
    let (_, groups) = three_commits(&vfs);
    for begin in [4096, groups[0], groups[1]] {
        for at in (0..GROUP_BYTES).filter(|at| !(40..64).contains(at)) {
            let damaged = copy(&vfs);
            flip(&*manifest_file(&damaged), begin + at);
            expect_damage(&damaged, begin, &format!("group at {begin}, byte {at}"));
        }
    }
}

/// Each commit leaves a proof behind its group, so that the last one is not taken for a torn tail either.
#[test]
fn a_damaged_last_group_is_an_error() {
    let vfs = MemVfs::new();
    let (_, [_, _, last]) = three_commits(&vfs);
    for at in (0..GROUP_BYTES).filter(|at| !(40..64).contains(at)) {
        let damaged = copy(&vfs);
        flip(&*manifest_file(&damaged), last + at);
        expect_damage(&damaged, last, &format!("byte {at}"));
    }
}

#[test]
fn a_damaged_file_header_is_an_error() {
    let vfs = MemVfs::new();
    three_commits(&vfs);
    for at in 0..64 {
        let damaged = copy(&vfs);
        flip(&*manifest_file(&damaged), at);
        expect_damage(&damaged, 0, &format!("byte {at}"));
    }
}

/// The last group of a snapshot has nothing behind it that could prove it.
#[test]
fn a_damaged_snapshot_is_an_error() {
    let vfs = MemVfs::new();
    let (manifest, _) = open(&vfs);
    drop(manifest);
    assert_eq!(&read(&vfs, &manifest_path(&vfs))[2 * 4096..], [0; 14 * 4096], "room for groups to come");
    flip(&*manifest_file(&vfs), 4096 + 70);
    expect_damage(&vfs, 4096, "the only group");
}

#[test]
fn a_length_beyond_the_file_is_a_torn_group_and_allocates_nothing() {
    let vfs = MemVfs::new();
    let (states, [_, _, last]) = three_commits(&vfs);
    let header = GroupHeader { number: 1, sequence: 3, previous: 0, payload_bytes: 1 << 30, room: 0 };
    manifest_file(&vfs).write_at(last, &header.encode(b"").0).expect("written");
    manifest_file(&vfs).write_at(last + 4096, &[0; 4096]).expect("the proof is gone");
    assert_eq!(open(&vfs).1, states[1]);
}

#[test]
fn a_missing_or_damaged_current_is_an_error() {
    let vfs = MemVfs::new();
    three_commits(&vfs);
    let current = dir().join("CURRENT");
    for at in 0..read(&vfs, &current).len() {
        let damaged = copy(&vfs);
        flip(&*damaged.open(&current, OpenMode::ReadWrite).expect("opens"), at as u64);
        let opened = Manifest::open(Arc::new(damaged), dir());
        assert!(matches!(opened, Err(Error::Corrupt { file, .. }) if file.ends_with("CURRENT")), "byte {at}");
    }
    vfs.remove(&current).expect("removed");
    let opened = Manifest::open(Arc::new(vfs), dir());
    assert!(matches!(opened, Err(Error::Corrupt { detail, .. }) if detail.contains("CURRENT")));
}

#[test]
fn an_interrupted_first_opening_is_started_again() {
    let vfs = MemVfs::new();
    drop(open(&vfs));
    vfs.remove(&dir().join("CURRENT")).expect("removed");
    let (manifest, state) = open(&vfs);
    assert_eq!(state, ManifestState::default());
    manifest.commit(Lsn::new(1), vec![Edit::CreateHeap(HeapId::new(1))]).expect("committed");
    drop(manifest);
    assert_eq!(open(&vfs).1.heaps.len(), 1);
}
