//! Tails that a power cut tore: cut, and never heard of again.

use super::*;
use crate::vfs::SeededRandom;

/// Three flushes, the last of two records of `sizes`. Returns where it begins in the segment, and its length.
fn three_flushes(vfs: &MemVfs, sizes: [u16; 2]) -> (Vec<Vec<u8>>, u64, u64) {
    let (journal, _) = open(vfs, 16 * 4096);
    let wanted = vec![
        b"first".to_vec(),
        vec![1; 300],
        b"second".to_vec(),
        vec![2; sizes[0].into()],
        vec![3; sizes[1].into()],
    ];
    journal.append(&wanted[0]);
    journal.append(&wanted[1]);
    journal.flush().expect("flushed");
    journal.append(&wanted[2]);
    journal.flush().expect("flushed");
    journal.append(&wanted[3]);
    journal.append(&wanted[4]);
    journal.flush().expect("flushed");
    // Header page, a page each for the first two.
    let payload = 4 + u64::from(sizes[0]) + 4 + u64::from(sizes[1]);
    (wanted, 3 * 4096, 64 + payload)
}

/// Opens what is left, goes on, and opens again: no torn byte may return, and the new record must.
fn recovers_to(vfs: &MemVfs, wanted: &[Vec<u8>], what: &str) {
    let (journal, records) = open(vfs, 16 * 4096);
    assert_eq!(payloads(&records), wanted, "{what}");
    journal.append(b"after");
    journal.flush().expect("flushed");
    drop(journal);
    let (_, records) = open(vfs, 16 * 4096);
    let mut with_new = wanted.to_vec();
    with_new.push(b"after".to_vec());
    assert_eq!(payloads(&records), with_new, "{what}, reopened");
}

#[test]
fn a_tail_torn_at_every_byte_is_cut() {
    tear_at([40, 70], 1);
    // Over two pages, a sample.
    tear_at([1500, 2900], 61);
}

fn tear_at(sizes: [u16; 2], step: usize) {
    let vfs = MemVfs::new();
    let (wanted, begin, length) = three_flushes(&vfs, sizes);
    for kept in (0..length).step_by(step) {
        let zeroed = copy(&vfs);
        let zeros = vec![0; usize::try_from(length - kept).expect("small")];
        segment(&zeroed, 0).write_at(begin + kept, &zeros).expect("zeroed");
        recovers_to(&zeroed, &wanted[..3], &format!("zeros behind {kept} bytes of the last batch"));
    }
}

#[test]
fn a_flipped_byte_anywhere_in_the_last_batch_is_a_torn_tail() {
    let vfs = MemVfs::new();
    let (wanted, begin, length) = three_flushes(&vfs, [40, 70]);
    for at in (0..length).filter(|at| !(56..64).contains(at)) {
        let torn = copy(&vfs);
        flip(&*segment(&torn, 0), begin + at);
        recovers_to(&torn, &wanted[..3], &format!("byte {at} flipped"));
    }
}

#[test]
fn a_zero_filled_tail_is_no_frames() {
    let vfs = MemVfs::new();
    let (journal, _) = open(&vfs, 64 * 4096);
    let end = journal.append(b"one");
    journal.flush().expect("flushed");
    drop(journal);
    let (journal, records) = open(&vfs, 64 * 4096);
    assert_eq!(payloads(&records), [b"one".to_vec()]);
    assert_eq!((journal.end(), journal.durable()), (end, end));
}

#[test]
fn an_empty_record_is_a_record() {
    let vfs = MemVfs::new();
    let (journal, _) = open(&vfs, SMALL);
    assert_eq!(journal.append(b""), Lsn::new(4));
    journal.flush().expect("flushed");
    drop(journal);
    let (_, records) = open(&vfs, SMALL);
    assert_eq!(payloads(&records), [Vec::<u8>::new()]);
}

/// TRAPS.md, "Torn or damaged". Of one unsynced flush, frame 3 is lost and frame 4 persisted. Cut at 3, write 3' of
/// the same length, crash again: the old frame 4 follows 3' with a valid checksum, and must not rise from the dead.
#[test]
fn a_frame_of_a_dead_timeline_never_returns() {
    const SEGMENT: u64 = 8 << 20;
    const BATCH: u64 = 1 << 20;
    let vfs = MemVfs::new();
    let (journal, _) = open(&vfs, SEGMENT);
    // Past the first two segments, which are short.
    let first = vec![1; 11 << 19];
    journal.append(&first);
    journal.flush().expect("flushed");
    journal.append(b"frame 2");
    journal.flush().expect("flushed");
    // One flush, two batches: record 3 fills the first of them exactly, record 4 is the second.
    let length = usize::try_from(BATCH).expect("small") - 64 - 4;
    journal.append(&vec![3; length]);
    journal.append(b"frame 4");
    journal.flush().expect("flushed");
    drop(journal);
    let file = segment(&vfs, 2);
    let begins = |at: &u64| read(&*file, *at, 4) == b"SJBA";
    let batches: Vec<u64> = (4096..SEGMENT).step_by(4096).filter(begins).collect();
    let third = batches[batches.len() - 2];
    assert_eq!(batches.last(), Some(&(third + BATCH)), "frame 4 has a batch of its own");
    file.write_at(third, &vec![0; usize::try_from(BATCH).expect("small")]).expect("lost");
    file.sync().expect("synced");

    let (journal, records) = open(&vfs, SEGMENT);
    assert_eq!(payloads(&records), [first.clone(), b"frame 2".to_vec()]);
    journal.append(&vec![33; length]);
    journal.flush().expect("flushed");
    drop(journal);
    for seed in 0..16 {
        let crashed = vfs.crash_clone(&SeededRandom::new(seed));
        let (journal, records) = open(&crashed, SEGMENT);
        let wanted = [first.clone(), b"frame 2".to_vec(), vec![33; length]];
        assert_eq!(payloads(&records), wanted, "seed {seed}");
        journal.append(b"frame 5");
        journal.flush().expect("flushed");
        drop(journal);
        let (_, records) = open(&crashed, SEGMENT);
        assert_eq!(records.len(), 4, "seed {seed}");
    }
}

#[test]
fn a_record_over_several_segments_is_whole_or_not_there() {
    let vfs = MemVfs::new();
    let (journal, _) = open(&vfs, SMALL);
    let large: Vec<u8> = (0..100_000_u32).flat_map(|value| value.to_le_bytes()).collect();
    let before = journal.append(b"before");
    journal.flush().expect("flushed");
    let end = journal.append(&large);
    let _space = journal.reserve(large.len()).expect("room");
    journal.flush().expect("flushed");
    drop(journal);
    let whole = copy(&vfs);
    let (journal, records) = open(&whole, SMALL);
    assert_eq!(payloads(&records), [b"before".to_vec(), large.clone()]);
    assert_eq!(journal.end(), end);

    // Each time a later piece is missing, all of the record is.
    let used = 1 + large.len() / 8192;
    for lost in [1, used / 2, used - 1] {
        let torn = copy(&vfs);
        segment(&torn, lost).write_at(4096, &[0; 8192]).expect("lost");
        for index in lost + 1..segment_paths(&torn).len() {
            segment(&torn, index).write_at(4096, &[0; 8192]).expect("lost");
        }
        let (journal, records) = open(&torn, SMALL);
        assert_eq!(payloads(&records), [b"before".to_vec()], "from segment {lost} on");
        assert_eq!(journal.end(), before);
        journal.append(b"after");
        journal.flush().expect("flushed");
        drop(journal);
        let (_, records) = open(&torn, SMALL);
        assert_eq!(payloads(&records), [b"before".to_vec(), b"after".to_vec()]);
    }
}

#[test]
fn an_unfinished_segment_is_dropped() {
    let vfs = MemVfs::new();
    let (journal, _) = open(&vfs, SMALL);
    journal.append(b"kept");
    journal.flush().expect("flushed");
    drop(journal);
    let path = Path::new(DIR).join(crate::journal::segment::file_name(9));
    for length in [0, 10, 4096, 8192] {
        vfs.open(&path, OpenMode::CreateOrOpen).expect("made").set_len(length).expect("grown");
        let (_, records) = open(&vfs, SMALL);
        assert_eq!(payloads(&records), [b"kept".to_vec()]);
        assert!(!vfs.exists(&path).expect("asked"));
    }
}
