//! What a manifest must survive.

mod damage;
mod faults;
mod golden;
mod random;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::ids::{BlockId, HeapId, Lsn, RowId, SegmentId, Timestamp};
use crate::manifest::{
    Counters, Edit, HotPageMeta, Manifest, ManifestState, SegmentImage, SsTableMeta, UNNAMED_SEGMENTS_MAX,
};
use crate::vfs::{File, MemVfs, OpenMode, Vfs};

const DIR: &str = "/db";

fn dir() -> &'static Path {
    Path::new(DIR)
}

fn open(vfs: &MemVfs) -> (Manifest, ManifestState) {
    Manifest::open(Arc::new(vfs.clone()), dir()).expect("the manifest opens")
}

fn block(first_page: u64) -> BlockId {
    BlockId::from_extent(first_page, 1).expect("fits")
}

fn manifest_path(vfs: &dyn Vfs) -> PathBuf {
    let names = vfs.read_dir(dir()).expect("the folder is there");
    let mut manifests: Vec<PathBuf> =
        names.into_iter().filter(|name| name.to_string_lossy().starts_with("MANIFEST-")).collect();
    assert_eq!(manifests.len(), 1, "{manifests:?}");
    dir().join(manifests.remove(0))
}

fn read(vfs: &dyn Vfs, path: &Path) -> Vec<u8> {
    let file = vfs.open(path, OpenMode::Read).expect("opens");
    let mut bytes = vec![0; usize::try_from(file.len().expect("len")).expect("small")];
    file.read_exact_at(0, &mut bytes).expect("read");
    bytes
}

/// A copy in which everything is durable.
fn copy(vfs: &MemVfs) -> MemVfs {
    let copied = MemVfs::new();
    copied.create_dir_all(dir()).expect("made");
    for name in vfs.read_dir(dir()).expect("listed") {
        let path = dir().join(name);
        let to = copied.open(&path, OpenMode::CreateNew).expect("created");
        to.write_at(0, &read(vfs, &path)).expect("written");
        to.sync().expect("synced");
    }
    copied.sync_dir(dir()).expect("synced");
    copied
}

fn manifest_file(vfs: &dyn Vfs) -> Arc<dyn File> {
    vfs.open(&manifest_path(vfs), OpenMode::ReadWrite).expect("opens")
}

fn flip(file: &dyn File, offset: u64) {
    let mut byte = [0];
    file.read_exact_at(offset, &mut byte).expect("read");
    file.write_at(offset, &[byte[0] ^ 0x40]).expect("written");
}

#[test]
fn edits_are_there_after_reopening() {
    let vfs = MemVfs::new();
    let (manifest, state) = open(&vfs);
    assert_eq!(state, ManifestState::default());
    let heap = HeapId::new(1);
    let segment = SegmentId::new(0);
    let pages = vec![HotPageMeta { block: block(1), first_slot: 0, rows: 10 }];
    let image = SegmentImage::Hot { pages };
    let created = vec![
        Edit::CreateHeap(heap),
        Edit::PutHeap { heap, row_end: RowId::new(10), live_rows: 10 },
        Edit::PutSegment { heap, segment, image },
        Edit::PutMarks { heap, segment, block: Some(block(2)), dead: 3 },
    ];
    manifest.commit(Lsn::new(100), created).expect("committed");
    manifest.commit(Lsn::new(90), vec![Edit::JournalStart(Lsn::new(95))]).expect("committed");
    let before = manifest.state();
    assert_eq!((before.journal_lsn, before.journal_start), (Lsn::new(100), Lsn::new(95)));
    assert_eq!(before.blocks().collect::<Vec<_>>(), [block(1), block(2)]);
    drop(manifest);
    assert_eq!(Manifest::read(&vfs, dir()).expect("reads"), *before);
    let (manifest, state) = open(&vfs);
    assert_eq!(state, *before);
    let dropped = Edit::PutSegment { heap, segment, image: SegmentImage::Dropped };
    manifest.commit(Lsn::new(100), vec![dropped]).expect("committed");
    let gone = &manifest.state().heaps[&heap].segments[&segment];
    assert_eq!((&gone.image, gone.marks, gone.dead), (&SegmentImage::Dropped, None, 0));
    assert_eq!(manifest.state().blocks().count(), 0);
    assert_eq!(before.blocks().count(), 2, "an older state stays as it was");
}

#[test]
fn a_group_with_an_edit_that_does_not_fit_is_refused_whole() {
    let vfs = MemVfs::new();
    let (manifest, _) = open(&vfs);
    let heap = HeapId::new(1);
    let segment = SegmentId::new(0);
    let column = SegmentImage::Column { block: block(7), slots: 2, rows: 2 };
    manifest
        .commit(
            Lsn::new(9),
            vec![
                Edit::CreateHeap(heap),
                Edit::PutHeap { heap, row_end: RowId::new(5), live_rows: 5 },
                Edit::PutSegment { heap, segment, image: SegmentImage::Dropped },
                Edit::JournalStart(Lsn::new(5)),
            ],
        )
        .expect("committed");
    let before = manifest.state();
    for wrong in [
        Edit::CreateHeap(heap),
        Edit::DropHeap(HeapId::new(2)),
        Edit::RemoveSsTable(block(1)),
        Edit::PutMarks { heap, segment, block: None, dead: 1 },
        Edit::PutMarks { heap, segment: SegmentId::new(1), block: None, dead: 1 },
        Edit::PutSegment { heap, segment, image: column },
        Edit::PutHeap { heap, row_end: RowId::new(4), live_rows: 4 },
        Edit::JournalStart(Lsn::new(4)),
        Edit::JournalStart(Lsn::new(10)),
    ] {
        let edits = vec![Edit::CreateHeap(HeapId::new(8)), wrong.clone()];
        let error = manifest.commit(Lsn::new(9), edits).expect_err("it does not fit");
        assert_eq!(error.kind(), crate::error::ErrorKind::Invalid, "{wrong:?}");
        assert_eq!(manifest.state(), before, "{wrong:?}");
    }
    drop(manifest);
    assert_eq!(open(&vfs).1, *before);
}

#[test]
fn counters_never_fall() {
    let vfs = MemVfs::new();
    let (manifest, _) = open(&vfs);
    let high = Counters { last_commit: Timestamp::new(9), next_heap: 5, ..Counters::default() };
    let low = Counters { last_commit: Timestamp::new(3), next_table: 2, ..Counters::default() };
    manifest.commit(Lsn::new(0), vec![Edit::Counters(high)]).expect("committed");
    manifest.commit(Lsn::new(0), vec![Edit::Counters(low)]).expect("committed");
    let counters = manifest.state().counters;
    assert_eq!((counters.last_commit, counters.next_heap), (Timestamp::new(9), 5));
    assert_eq!(counters.next_table, 2);
}

#[test]
fn blocks_that_overlap_are_noticed() {
    let mut state = ManifestState::default();
    let heap = HeapId::new(1);
    let wide = BlockId::from_extent(10, 4).expect("fits");
    let put = |segment, block| Edit::PutSegment {
        heap,
        segment: SegmentId::new(segment),
        image: SegmentImage::Column { block, slots: 1, rows: 1 },
    };
    state.apply(&Edit::CreateHeap(heap)).expect("fits");
    state.apply(&put(0, wide)).expect("fits");
    state.apply(&put(1, block(14))).expect("fits");
    assert_eq!(state.check(), Ok(()));
    state.apply(&put(2, block(13))).expect("fits");
    assert!(state.check().expect_err("they overlap").contains("overlap"));
}

#[test]
fn heaps_of_more_segments_than_can_be_are_noticed() {
    let mut state = ManifestState::default();
    let half = UNNAMED_SEGMENTS_MAX / 2;
    for number in 1..=3 {
        let heap = HeapId::new(number);
        assert_eq!(state.check(), Ok(()));
        state.apply(&Edit::CreateHeap(heap)).expect("fits");
        for segment in [SegmentId::new(0), SegmentId::new(half + 1)] {
            state.apply(&Edit::PutSegment { heap, segment, image: SegmentImage::Dropped }).expect("fits");
        }
    }
    assert!(state.check().expect_err("too many").contains("segments of heaps are not there"));
}

/// Of a queue, whose rows come and go in turn, the manifest has no more than what is there.
#[test]
fn segments_that_were_dropped_are_forgotten_behind_the_first_that_is_there() {
    let mut state = ManifestState::default();
    let heap = HeapId::new(1);
    let mut apply = |edit: Edit| {
        state.apply(&edit).expect("fits");
        state.heaps[&heap].segments.keys().map(|segment| segment.get()).collect::<Vec<_>>()
    };
    let put = |segment, image| Edit::PutSegment { heap, segment: SegmentId::new(segment), image };
    let column = |segment| put(segment, SegmentImage::Column { block: block(segment), slots: 1, rows: 1 });
    let drop = |segment| put(segment, SegmentImage::Dropped);
    let ends_in = |segment| Edit::PutHeap {
        heap,
        row_end: SegmentId::new(segment).first_row().offset(1),
        live_rows: 0,
    };
    apply(Edit::CreateHeap(heap));
    apply(ends_in(3));
    (0..6).for_each(|segment| _ = apply(column(segment)));
    assert_eq!(apply(drop(1)), [0, 1, 2, 3, 4, 5]);
    assert_eq!(apply(drop(0)), [2, 3, 4, 5]);
    assert_eq!(apply(drop(4)), [2, 3, 4, 5]);
    assert_eq!(apply(drop(2)), [3, 4, 5]);
    // Rows of the journal may go into this one.
    assert_eq!(apply(drop(3)), [3, 4, 5]);
    assert_eq!(apply(ends_in(5)), [5]);
    assert_eq!(apply(drop(5)), [5]);
    assert_eq!(apply(ends_in(6)), [0; 0]);
    assert_eq!(state.heaps[&heap].first_segment(), SegmentId::new(6));
    let mut again = ManifestState::default();
    state.snapshot().iter().for_each(|edit| again.apply(edit).expect("fits"));
    assert_eq!(again.heaps, state.heaps);
}

#[test]
fn a_long_log_is_rewritten_and_the_old_file_removed() {
    let vfs = MemVfs::new();
    let (manifest, _) = Manifest::open_with(Arc::new(vfs.clone()), dir(), 64 << 10).expect("opens");
    let first = manifest_path(&vfs);
    let mut longest = 0;
    for number in 0..200 {
        let counters = Counters { next_load: number, ..Counters::default() };
        manifest.commit(Lsn::new(number), vec![Edit::Counters(counters)]).expect("committed");
        longest = longest.max(manifest_file(&vfs).len().expect("len"));
    }
    assert_ne!(manifest_path(&vfs), first);
    assert!(longest < 300 << 10, "{longest} bytes");
    let before = manifest.state();
    drop(manifest);
    assert_eq!(open(&vfs).1, *before);
}
