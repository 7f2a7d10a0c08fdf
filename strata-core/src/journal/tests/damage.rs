//! Bytes that were durable and are not intact: an error that names file and offset, never a silent loss.

use super::*;
use crate::error::Error;

fn expect_damage(vfs: &MemVfs, start: Lsn, min_end: Lsn, file_index: usize, wanted_offset: u64, what: &str) {
    let name = segment_paths(vfs)[file_index].display().to_string();
    match open_from(vfs, start, min_end, 16 * 4096) {
        Err(Error::Corrupt { file, offset, .. }) => {
            assert_eq!((file, offset), (name, wanted_offset), "{what}");
        }
        other => panic!("{what}: {:?}", other.map(|(_, records)| records)),
    }
}

fn flushed(vfs: &MemVfs, payloads: &[&[u8]]) -> Vec<Lsn> {
    let (journal, _) = open(vfs, 16 * 4096);
    let flush_one = |payload: &&[u8]| {
        journal.append(payload);
        journal.flush().expect("flushed")
    };
    payloads.iter().map(flush_one).collect()
}

#[test]
fn damage_in_the_middle_is_told_from_a_torn_tail_by_a_later_batch() {
    let vfs = MemVfs::new();
    flushed(&vfs, &[b"alpha", b"beta", b"gamma"]);
    let zero = Lsn::new(0);
    for batch in 0..2 {
        let begin = 4096 * (batch + 1);
        for at in (0..64 + 4 + 4).filter(|at| !(56..64).contains(at)) {
            let damaged = copy(&vfs);
            flip(&*segment(&damaged, 0), begin + at);
            expect_damage(&damaged, zero, zero, 0, begin, &format!("batch {batch}, byte {at}"));
        }
        let damaged = copy(&vfs);
        segment(&damaged, 0).write_at(begin, &[0; 4096]).expect("zeroed");
        expect_damage(&damaged, zero, zero, 0, begin, "a page of zeros");
    }
}

#[test]
fn damage_in_an_earlier_segment_is_proven_by_a_later_one() {
    let vfs = MemVfs::new();
    let (journal, _) = open(&vfs, SMALL);
    for number in 0..10_u8 {
        journal.append(&[number; 100]);
        journal.flush().expect("flushed");
    }
    drop(journal);
    let damaged = copy(&vfs);
    flip(&*segment(&damaged, 1), 8192 + 64);
    expect_damage(&damaged, Lsn::new(0), Lsn::new(0), 1, 8192, "the last batch of the second segment");
    // A whole segment gone: found at the end of the one before it.
    let damaged = copy(&vfs);
    damaged.remove(&segment_paths(&damaged)[2]).expect("removed");
    expect_damage(&damaged, Lsn::new(0), Lsn::new(0), 1, 3 * 4096, "a segment is gone");
}

#[test]
fn damage_below_a_cut_is_proven_by_the_next_epoch() {
    let vfs = MemVfs::new();
    flushed(&vfs, &[b"alpha"]);
    flushed(&vfs, &[]);
    let damaged = copy(&vfs);
    flip(&*segment(&damaged, 0), 4096 + 66);
    expect_damage(&damaged, Lsn::new(0), Lsn::new(0), 0, 4096, "the only batch of the first epoch");
}

#[test]
fn damage_of_the_last_batch_is_proven_by_the_manifest() {
    let vfs = MemVfs::new();
    let ends = flushed(&vfs, &[b"alpha", b"beta"]);
    let damaged = copy(&vfs);
    flip(&*segment(&damaged, 0), 8192 + 66);
    expect_damage(&damaged, Lsn::new(0), ends[1], 0, 8192, "the manifest builds on it");
    let (_, records) = open_from(&damaged, Lsn::new(0), ends[0], 16 * 4096).expect("the rest is not needed");
    assert_eq!(payloads(&records), [b"alpha".to_vec()]);
}

/// Rule 6, TRAPS.md "Two logs": a journal that ends before what the manifest builds on is refused.
#[test]
fn a_journal_that_ends_before_the_manifest_is_refused() {
    let vfs = MemVfs::new();
    let ends = flushed(&vfs, &[b"alpha", b"beta"]);
    let needed = Lsn::new(ends[1].get() + 1);
    match open_from(&vfs, Lsn::new(0), needed, 16 * 4096) {
        Err(Error::JournalTruncated { end, needed: told, .. }) => assert_eq!((end, told), (ends[1], needed)),
        other => panic!("{:?}", other.map(|(_, records)| records)),
    }
    let empty = MemVfs::new();
    match open_from(&empty, Lsn::new(0), needed, 16 * 4096) {
        Err(Error::JournalTruncated { end, .. }) => assert_eq!(end, Lsn::new(0)),
        other => panic!("{:?}", other.map(|(_, records)| records)),
    }
}

#[test]
fn a_damaged_segment_header_with_batches_behind_it_is_damage() {
    let vfs = MemVfs::new();
    flushed(&vfs, &[b"alpha"]);
    for at in 0..64 {
        let damaged = copy(&vfs);
        flip(&*segment(&damaged, 0), at);
        expect_damage(&damaged, Lsn::new(0), Lsn::new(0), 0, 0, &format!("byte {at}"));
    }
}

#[test]
fn a_journal_whose_beginning_is_gone_is_refused() {
    let vfs = MemVfs::new();
    let (journal, _) = open(&vfs, SMALL);
    let mut ends = Vec::new();
    for number in 0..6_u8 {
        ends.push(journal.append(&[number; 100]));
        journal.flush().expect("flushed");
    }
    drop(journal);
    vfs.remove(&segment_paths(&vfs)[0]).expect("removed");
    expect_damage(&vfs, Lsn::new(0), Lsn::new(0), 0, 0, "the first segment is gone");
    let (_, records) = open_from(&vfs, ends[1], ends[1], SMALL).expect("from the second segment on");
    assert_eq!(records.len(), 4);
}

#[test]
fn verify_reads_without_changing_anything() {
    let vfs = MemVfs::new();
    let ends = flushed(&vfs, &[b"alpha", b"beta"]);
    let before = segment_paths(&vfs);
    let dir = Path::new(DIR);
    let end = crate::journal::verify(&vfs, dir, Lsn::new(0), ends[1]).expect("intact");
    assert_eq!((end, segment_paths(&vfs)), (ends[1], before));
}

#[test]
fn a_batch_chained_to_another_one_does_not_continue_the_stream() {
    use crate::journal::batch::BatchHeader;
    let vfs = MemVfs::new();
    flushed(&vfs, &[b"alpha", b"beta"]);
    let file = segment(&vfs, 0);
    let bytes = read(&*file, 8192, 64 + 8);
    let (mut header, _) =
        BatchHeader::decode(bytes.first_chunk().expect("64 bytes"), 1).expect("known").expect("intact");
    header.previous ^= 1;
    file.write_at(8192, &header.encode(&bytes[64..]).0).expect("written");
    let (_, records) = open(&vfs, 16 * 4096);
    assert_eq!(payloads(&records), [b"alpha".to_vec()]);
}

/// A power cut takes no length from a file that was synced at it: whatever stood behind the cut is lost, torn or not.
#[test]
fn a_file_cut_short_is_damage_at_every_length() {
    let vfs = MemVfs::new();
    let (journal, _) = open(&vfs, SMALL);
    journal.append(b"first");
    journal.flush().expect("flushed");
    journal.append(b"second");
    journal.flush().expect("flushed");
    drop(journal);
    let path = segment_paths(&vfs).pop().expect("one");
    let len = vfs.open(&path, OpenMode::Read).expect("opens").len().expect("measured");
    for kept in (64..len).step_by(61).chain([4096, 8192, len - 1]) {
        let cut = copy(&vfs);
        cut.open(&path, OpenMode::ReadWrite).expect("opens").set_len(kept).expect("cut");
        let error = open_from(&cut, Lsn::new(0), Lsn::new(0), SMALL).expect_err("commits are lost");
        assert!(matches!(&error, Error::Corrupt { offset, .. } if *offset == kept), "{kept}: {error}");
    }
}

/// Makes a batch at this offset one of a newer version, and mends the header's checksum: the rest may be laid out in any way.
fn make_newer(vfs: &MemVfs, file_index: usize, offset: u64) {
    let file = segment(vfs, file_index);
    let mut header = read(&*file, offset, 56);
    header[4] = 2;
    let checksum = crc32fast::hash(&header[..52]);
    header[52..].copy_from_slice(&checksum.to_le_bytes());
    file.write_at(offset, &header).expect("written");
}

fn contents(vfs: &MemVfs) -> Vec<(PathBuf, Vec<u8>)> {
    let files = segment_paths(vfs).into_iter().enumerate();
    files
        .map(|(index, path)| {
            let file = segment(vfs, index);
            (path, read(&*file, 0, usize::try_from(file.len().expect("measured")).expect("small")))
        })
        .collect()
}

fn expect_newer(vfs: &MemVfs, start: Lsn, segment_bytes: u64, what: &str) {
    let before = contents(vfs);
    let opened = open_from(vfs, start, Lsn::new(0), segment_bytes).map(|(_, records)| records);
    assert!(matches!(opened, Err(Error::UnsupportedFormat { found: 2, .. })), "{what}: {opened:?}");
    assert!(contents(vfs) == before, "{what}: something was written");
}

#[test]
fn a_newer_batch_is_refused_not_cut_off() {
    let vfs = MemVfs::new();
    flushed(&vfs, &[b"alpha", b"beta", b"gamma"]);
    for batch in 0..3 {
        let newer = copy(&vfs);
        make_newer(&newer, 0, 4096 * (batch + 1));
        expect_newer(&newer, Lsn::new(0), 16 * 4096, &format!("batch {batch}"));
    }
    // Behind a hole, which alone would be a torn tail.
    let newer = copy(&vfs);
    make_newer(&newer, 0, 3 * 4096);
    segment(&newer, 0).write_at(2 * 4096, &[0; 4096]).expect("zeroed");
    expect_newer(&newer, Lsn::new(0), 16 * 4096, "behind a hole");
}

#[test]
fn a_newer_batch_is_seen_in_each_segment_and_without_its_header() {
    let vfs = MemVfs::new();
    let (journal, _) = open(&vfs, SMALL);
    let mut end = Lsn::new(0);
    for number in 0..6_u8 {
        end = journal.append(&[number; 100]);
        journal.flush().expect("flushed");
    }
    drop(journal);
    let last = (0..segment_paths(&vfs).len())
        .rfind(|index| read(&*segment(&vfs, *index), 4096, 4) == b"SJBA")
        .expect("there are batches");
    let newer = copy(&vfs);
    make_newer(&newer, last, 4096);
    expect_newer(&newer, Lsn::new(0), SMALL, "the first of a segment");
    expect_newer(&newer, end, SMALL, "the first of a segment, looking for the beginning");
    for path in segment_paths(&newer).drain(last + 1..) {
        newer.remove(&path).expect("removed");
    }
    segment(&newer, last).write_at(0, &[0; 64]).expect("zeroed");
    expect_newer(&newer, Lsn::new(0), SMALL, "a file that seems to be unfinished");
}

/// What a recycled file held before counts as nothing, whoever wrote it.
#[test]
fn a_newer_batch_of_another_segment_counts_as_nothing() {
    let vfs = MemVfs::new();
    flushed(&vfs, &[b"alpha", b"beta"]);
    let file = segment(&vfs, 0);
    let mut header = read(&*file, 2 * 4096, 56);
    header[16] ^= 0x40;
    file.write_at(2 * 4096, &header).expect("written");
    make_newer(&vfs, 0, 2 * 4096);
    let (_, records) = open(&vfs, 16 * 4096);
    assert_eq!(payloads(&records), [b"alpha".to_vec()]);
}

#[test]
fn a_newer_record_is_refused_if_records_tell_their_format() {
    let vfs = MemVfs::new();
    let ends = flushed(&vfs, &[b"\x03 known", b"\x04 newer", b"\x01 old", b""]);
    let open_for = |vfs: &MemVfs, newest_format| {
        let options = JournalOptions { newest_format, ..options(16 * 4096) };
        let zero = Lsn::new(0);
        Journal::open(vfs.shared(), Path::new(DIR), zero, zero, options).map(|(_, replay)| replay.count())
    };
    let before = contents(&vfs);
    match open_for(&vfs, Some(3)) {
        Err(Error::UnsupportedFormat { what, found: 4, supported: 3 }) => {
            assert_eq!(what, format!("the record at position {} of the journal", ends[0]));
        }
        other => panic!("{other:?}"),
    }
    assert!(contents(&vfs) == before, "something was written");
    assert_eq!(open_for(&copy(&vfs), Some(4)).expect("all are known"), 4);
    assert_eq!(open_for(&copy(&vfs), None).expect("any will do"), 4);
}
