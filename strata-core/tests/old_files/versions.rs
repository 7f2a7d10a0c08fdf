//! Files of a newer version are refused, with a sentence that says what to do.

use std::ops::Bound::Unbounded;
use std::path::{Path, PathBuf};

use strata_core::block::BlockKind;
use strata_core::heap::MARKS_FORMAT;
use strata_core::manifest::{Manifest, SegmentImage};
use strata_core::vfs::MemVfs;
use strata_core::{Error, Result};

use crate::files::{DIR, Files, files_of, fixture, system_of};
use crate::v1::open;

/// Makes a number of two bytes in a header of 64 one more than the newest there is, and mends the header's checksum.
fn make_newer(header: &mut [u8], at: usize, newest: u16) {
    let number = newest + 1;
    header[at..at + 2].copy_from_slice(&number.to_le_bytes());
    let checksum = crc32fast::hash(&header[..60]);
    header[60..64].copy_from_slice(&checksum.to_le_bytes());
}

/// Where the batches of a journal's file begin, or the groups of a manifest.
fn frames(bytes: &[u8], magic: &[u8]) -> Vec<usize> {
    (0..bytes.len()).step_by(4096).filter(|start| bytes[*start..].starts_with(magic)).collect()
}

/// Changes a batch, whose checksum is at byte 48, or a group (32), and mends its checksums.
fn change_frame(bytes: &mut [u8], start: usize, checksum_at: usize, change: impl FnOnce(&mut [u8])) {
    let length = &bytes[start + checksum_at - 4..start + checksum_at];
    let length = u32::from_le_bytes(length.try_into().expect("four bytes")) as usize;
    let frame = &mut bytes[start..start + 64 + length];
    change(frame);
    let checksum = crc32fast::hash(&[&frame[..checksum_at], &frame[64..]].concat());
    frame[checksum_at..checksum_at + 4].copy_from_slice(&checksum.to_le_bytes());
    let own = crc32fast::hash(&frame[..checksum_at + 4]);
    frame[checksum_at + 4..checksum_at + 8].copy_from_slice(&own.to_le_bytes());
}

/// Changes the last batch of the journal. A recycled file has batches of other segments.
fn change_last_batch(files: &mut Files, change: impl FnOnce(&mut [u8])) {
    let last = |name: &PathBuf| {
        let bytes = &files[name];
        let is_own = |start: &usize| bytes[start + 16..start + 24] == bytes[24..32];
        frames(bytes, b"SJBA").into_iter().rfind(is_own).map(|start| (name.clone(), start))
    };
    let (name, start) = named(files, ".journal").iter().rev().find_map(last).expect("the journal has a tail");
    change_frame(files.get_mut(&name).expect("is there"), start, 48, change);
}

/// Opens and reads everything.
fn read(vfs: std::sync::Arc<MemVfs>) -> Result<()> {
    let db = open(vfs)?;
    let view = db.view();
    for def in view.catalog().tables() {
        let table = view.table(def.id)?;
        for segment in table.segments()? {
            for slot in table.visible_slots(&segment, 0..segment.slots().next_multiple_of(64))? {
                table.row(segment.segment().first_row().offset(u64::from(slot)))?.to_datums(&def.schema)?;
            }
        }
        for index in &def.indexes {
            table.range(index.id, Unbounded, Unbounded, false)?.collect::<Result<Vec<_>>>()?;
        }
    }
    Ok(())
}

fn assert_refused(files: &Files, newest: u16, what: &str) {
    let error = read(system_of(files)).expect_err(what);
    assert!(matches!(error, Error::UnsupportedFormat { .. }), "{what}: {error}");
    let says = error.to_string();
    let version = format!("has format version {}", newest + 1);
    for part in [&version, "a newer Strata wrote it", "Open the database with that version"] {
        assert!(says.contains(part), "{what}: {says}");
    }
}

/// Opening leaves each file as it is.
fn assert_left_alone(files: &Files, what: &str) {
    let vfs = system_of(files);
    open(vfs.clone()).err().expect("is refused");
    let without_lock = |mut files: Files| {
        files.remove(Path::new("LOCK"));
        files
    };
    assert!(without_lock(files_of(&vfs)) == without_lock(files.clone()), "{what}: something was written");
}

fn named(files: &Files, part: &str) -> Vec<PathBuf> {
    files.keys().filter(|name| name.to_string_lossy().contains(part)).cloned().collect()
}

#[test]
fn a_newer_manifest_is_refused_and_left_alone() {
    let mut files = fixture("v1");
    for name in named(&files, "MANIFEST-") {
        make_newer(&mut files.get_mut(&name).expect("is there")[..64], 8, 1);
    }
    assert_refused(&files, 1, "the manifest");
    assert_left_alone(&files, "the manifest");
}

/// The state without the last group is an older one, whose blocks have been used again.
#[test]
fn a_newer_group_of_edits_is_refused_and_left_alone() {
    let fixture = fixture("v1");
    let [name] = &named(&fixture, "MANIFEST-")[..] else { panic!("one manifest") };
    let groups = frames(&fixture[name], b"SMEG");
    assert!(groups.len() > 3, "{groups:?}");
    for start in groups {
        let mut files = fixture.clone();
        change_frame(files.get_mut(name).expect("is there"), start, 32, |group| group[4] = 2);
        let what = format!("the group at {start}");
        assert_refused(&files, 1, &what);
        assert_left_alone(&files, &what);
    }
}

#[test]
fn a_newer_journal_is_refused_and_left_alone() {
    let fixture = fixture("v1");
    let names = named(&fixture, ".journal");
    for name in &names {
        let mut files = fixture.clone();
        make_newer(&mut files.get_mut(name).expect("is there")[..64], 8, 1);
        assert_refused(&files, 1, &name.display().to_string());
        assert_left_alone(&files, &name.display().to_string());
    }
}

/// It is no torn tail: cutting it off would lose commits.
#[test]
fn a_newer_batch_is_refused_and_left_alone() {
    let mut files = fixture("v1");
    change_last_batch(&mut files, |batch| batch[4] = 2);
    assert_refused(&files, 1, "the last batch");
    assert_left_alone(&files, "the last batch");
}

#[test]
fn a_newer_commit_record_is_refused_and_left_alone() {
    const NEWEST: u8 = 3;
    let mut files = fixture("v1");
    change_last_batch(&mut files, |batch| {
        assert_eq!(batch[68], 1, "a record begins with its format");
        batch[68] = NEWEST + 1;
    });
    assert_refused(&files, NEWEST.into(), "the last record");
    assert_left_alone(&files, "the last record");
}

#[test]
fn a_newer_block_of_any_kind_is_refused() {
    let fixture = fixture("v1");
    let state = Manifest::read(&*system_of(&fixture), &Path::new(DIR).join("manifest")).expect("reads");
    let mut blocks: Vec<_> = state.sstables.iter().map(|table| (table.block, BlockKind::SsTable)).collect();
    for segment in state.heaps.values().flat_map(|heap| heap.segments.values()) {
        let kind = match &segment.image {
            SegmentImage::Hot { .. } => BlockKind::RowPage,
            SegmentImage::Column { .. } | SegmentImage::Dropped => BlockKind::ColumnBlock,
        };
        blocks.extend(segment.image.blocks().map(|block| (block, kind)));
        blocks.extend(segment.marks.map(|block| (block, BlockKind::Marks)));
    }
    for kind in [BlockKind::RowPage, BlockKind::ColumnBlock, BlockKind::Marks, BlockKind::SsTable] {
        for (what, at) in [("header", 4), ("contents", 8)] {
            let newest = if (kind, what) == (BlockKind::Marks, "contents") { MARKS_FORMAT } else { 1 };
            let mut files = fixture.clone();
            let bytes = files.get_mut(Path::new("blocks.strata")).expect("is there");
            for (block, _) in blocks.iter().filter(|(_, other)| *other == kind) {
                let start = usize::try_from(block.offset_bytes()).expect("small");
                make_newer(&mut bytes[start..start + 64], at, newest);
            }
            assert_refused(&files, newest, &format!("{kind:?}, its {what}"));
        }
    }
}
