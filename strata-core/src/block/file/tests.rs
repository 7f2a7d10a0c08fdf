use super::*;
use crate::vfs::{Fault, FaultEffect, FaultVfs, IoKind, MemVfs, OsVfs, SeededRandom, SmallDisk, make_dir};

const PAGE: u64 = BlockId::PAGE_BYTES;

fn folder() -> &'static Path {
    Path::new("/db")
}

fn mem() -> MemVfs {
    let vfs = MemVfs::new();
    make_dir(&vfs, folder()).expect("folder");
    vfs
}

fn options() -> FileBlockStoreOptions {
    FileBlockStoreOptions { slack_bytes: 4 * PAGE, punch_bytes: 8 * PAGE }
}

fn open(vfs: &dyn Vfs) -> FileBlockStore {
    FileBlockStore::open(vfs, folder(), options()).expect("opens")
}

fn open_empty(vfs: &dyn Vfs) -> FileBlockStore {
    let store = open(vfs);
    store.finish_recovery().expect("nothing to recover");
    store
}

fn payload(len: usize, seed: u8) -> Vec<u8> {
    (0..len).map(|index| (index as u8).wrapping_mul(31).wrapping_add(seed)).collect()
}

fn raw(vfs: &dyn Vfs) -> Arc<dyn File> {
    vfs.open(&folder().join(BLOCKS_FILE), OpenMode::ReadWrite).expect("there")
}

fn is_corrupt<T: std::fmt::Debug>(result: Result<T>, block: BlockId) -> bool {
    matches!(result, Err(Error::CorruptBlock { block: named, .. }) if named == block)
}

#[test]
fn payloads_of_every_size_class_come_back_after_a_restart() {
    let vfs = mem();
    let store = open_empty(&vfs);
    let small = SMALL_BYTES - HEADER_BYTES;
    let lens = [0, 1, 4_032, 4_033, small - 1, small, small + 1, small + 4_096, small + 9_000, 700_000];
    let mut written = Vec::new();
    for (index, len) in lens.into_iter().enumerate() {
        let bytes = payload(len, index as u8);
        let id = store.write(BlockKind::ColumnBlock, 3, &bytes).expect("room");
        written.push((id, bytes));
    }
    store.sync().expect("sync");
    assert_eq!(raw(&vfs).len().expect("len"), store.total_bytes(), "the last page is whole");
    drop(store);
    let store = open(&vfs);
    for (id, _) in &written {
        store.adopt(*id).expect("in use");
    }
    store.finish_recovery().expect("recovered");
    assert_eq!(store.used_bytes(), store.total_bytes());
    for (id, bytes) in &written {
        let (info, found) = store.read_all(*id, BlockKind::ColumnBlock).expect("intact");
        assert_eq!((info.format, info.payload_bytes), (3, bytes.len() as u64));
        assert_eq!(info, store.info(*id, BlockKind::ColumnBlock).expect("intact"));
        assert!(&found == bytes, "{} bytes differ", bytes.len());
        let mut part = vec![0; bytes.len() / 2];
        store.read(*id, (bytes.len() / 3) as u64, &mut part).expect("within");
        assert!(part == bytes[bytes.len() / 3..][..part.len()]);
    }
}

#[test]
fn a_flipped_byte_anywhere_is_found_and_other_blocks_go_on() {
    let vfs = mem();
    let store = open_empty(&vfs);
    let hurt = store.write(BlockKind::SsTable, 1, &payload(5_000, 1)).expect("room");
    let other = store.write(BlockKind::SsTable, 1, &payload(5_000, 2)).expect("room");
    let file = raw(&vfs);
    for at in (0..5_064).step_by(61) {
        let mut byte = [0];
        file.read_exact_at(hurt.offset_bytes() + at, &mut byte).expect("read");
        file.write_at(hurt.offset_bytes() + at, &[byte[0] ^ 0x10]).expect("write");
        assert!(is_corrupt(store.read_all(hurt, BlockKind::SsTable), hurt), "byte {at}");
        file.write_at(hurt.offset_bytes() + at, &byte).expect("write");
    }
    store.read_all(hurt, BlockKind::SsTable).expect("mended");
    store.read_all(other, BlockKind::SsTable).expect("untouched");
    assert!(is_corrupt(store.read_all(other, BlockKind::RowPage), other), "another kind");
}

#[test]
fn swapped_blocks_are_found() {
    let vfs = mem();
    let store = open_empty(&vfs);
    let one = store.write(BlockKind::RowPage, 1, &payload(4_000, 1)).expect("room");
    let two = store.write(BlockKind::RowPage, 1, &payload(4_000, 2)).expect("room");
    let file = raw(&vfs);
    let mut bytes = [vec![0; 4_096], vec![0; 4_096]];
    file.read_exact_at(one.offset_bytes(), &mut bytes[0]).expect("read");
    file.read_exact_at(two.offset_bytes(), &mut bytes[1]).expect("read");
    file.write_at(one.offset_bytes(), &bytes[1]).expect("write");
    file.write_at(two.offset_bytes(), &bytes[0]).expect("write");
    for id in [one, two] {
        assert!(is_corrupt(store.info(id, BlockKind::RowPage), id));
        assert!(is_corrupt(store.read_all(id, BlockKind::RowPage), id));
    }
}

#[test]
fn a_file_that_ends_too_early_names_the_block_and_allocates_nothing_for_it() {
    let vfs = mem();
    let store = open_empty(&vfs);
    let kept = store.write(BlockKind::Marks, 1, b"kept").expect("room");
    let cut = store.write(BlockKind::Marks, 1, &payload(300_000, 1)).expect("room");
    raw(&vfs).set_len(cut.offset_bytes() + PAGE).expect("cut");
    assert!(is_corrupt(store.read_all(cut, BlockKind::Marks), cut));
    assert!(is_corrupt(store.read(cut, 8_000, &mut [0; 10]), cut));
    store.read_all(kept, BlockKind::Marks).expect("others go on");
    // The largest extent an id can name: 64 GiB.
    let huge = BlockId::from_extent(cut.first_page() + 100, (1 << 24) - 1).expect("fits");
    assert!(is_corrupt(store.read_all(huge, BlockKind::Marks), huge));
    // An intact header does not make a buffer of what the file does not hold.
    let info = BlockInfo { kind: BlockKind::Marks, format: 1, payload_bytes: 1 << 35, payload_crc: 0 };
    let header = BlockHeader { id: huge, info }.encode();
    raw(&vfs).write_at(huge.offset_bytes(), &header).expect("write");
    let error = store.read_all(huge, BlockKind::Marks).expect_err("too short").to_string();
    assert!(error.contains("the file ends at byte"), "before allocating: {error}");
    assert!(is_corrupt(store.read(huge, u64::MAX, &mut [0; 10]), huge));
    assert!(is_corrupt(store.read(kept, PAGE - 70, &mut [0; 10]), kept), "beyond the extent");
}

#[test]
fn replay_never_writes_into_what_the_journal_may_still_name() {
    let vfs = mem();
    let store = open_empty(&vfs);
    let in_manifest = store.write(BlockKind::ColumnBlock, 1, b"manifest").expect("room");
    let in_journal = store.write(BlockKind::ColumnBlock, 1, b"journal").expect("room");
    let orphan = store.write(BlockKind::ColumnBlock, 1, b"orphan").expect("room");
    store.sync().expect("sync");
    drop(store);
    let store = open(&vfs);
    store.adopt(in_manifest).expect("in use");
    let evicted = store.write(BlockKind::RowPage, 1, b"evicted").expect("room");
    assert!(evicted.first_page() > orphan.first_page());
    store.adopt(in_journal).expect("in use");
    assert_eq!(store.read_all(in_journal, BlockKind::ColumnBlock).expect("intact").1, b"journal");
    store.free(in_manifest);
    assert!(store.write(BlockKind::RowPage, 1, b"").expect("room").first_page() > evicted.first_page());
    store.finish_recovery().expect("recovered");
    let reused = [(); 2].map(|()| store.write(BlockKind::RowPage, 1, b"").expect("room"));
    assert_eq!(reused, [in_manifest, orphan]);
}

#[test]
fn a_full_disk_is_an_error_that_leaks_nothing() {
    let vfs = FaultVfs::new(Arc::new(mem()));
    let store = open_empty(&vfs);
    let kept = store.write(BlockKind::ColumnBlock, 1, &payload(10_000, 1)).expect("room");
    let before = (store.used_bytes(), store.total_bytes());
    for effect in [FaultEffect::DiskFull, FaultEffect::ShortWrite] {
        for at in 0.. {
            vfs.arm(Fault::nth(at, effect).of(&[IoKind::Write]));
            let fired = vfs.fired();
            let result = store.write(BlockKind::ColumnBlock, 1, &payload(300_000, 2));
            if vfs.fired() == fired {
                assert_eq!(at, 3, "head, middle and tail");
                store.free(result.expect("no call is left to fail"));
                break;
            }
            assert!(matches!(result, Err(Error::DiskFull { .. })), "{result:?}");
            assert_eq!(store.used_bytes(), before.0);
            assert_eq!(store.total_bytes(), before.1, "cut to what is there");
        }
    }
    vfs.arm(Fault::nth(0, FaultEffect::InputOutput).of(&[IoKind::Write]));
    assert!(matches!(store.write(BlockKind::Marks, 1, b"x"), Err(Error::Io { .. })));
    assert_eq!(store.used_bytes(), before.0);
    vfs.disarm();
    store.sync().expect("a failed write latches nothing");
    store.read_all(kept, BlockKind::ColumnBlock).expect("intact");
}

#[test]
fn where_the_file_cannot_grow_what_was_freed_is_used() {
    let disk = SmallDisk::new(Arc::new(mem()));
    let store = open_empty(&disk);
    let blocks: Vec<_> = (0..3)
        .map(|seed| store.write(BlockKind::ColumnBlock, 1, &payload(30_000, seed)).expect("room"))
        .collect();
    disk.leave(0);
    let refused = store.write(BlockKind::Marks, 1, b"x");
    assert!(matches!(refused, Err(Error::DiskFull { .. })), "{refused:?}");
    store.free(blocks[1]);
    let id = store.write(BlockKind::Marks, 1, b"x").expect("there are free pages");
    assert_eq!(id.first_page(), blocks[1].first_page());
}

#[test]
fn a_failed_sync_latches_the_store() {
    let vfs = FaultVfs::new(Arc::new(mem()));
    let store = open_empty(&vfs);
    let id = store.write(BlockKind::Marks, 1, b"x").expect("room");
    vfs.arm(Fault::nth(0, FaultEffect::InputOutput).of(&[IoKind::Sync]));
    assert!(matches!(store.sync(), Err(Error::Io { .. })));
    vfs.disarm();
    assert!(matches!(store.sync(), Err(Error::Poisoned { .. })), "the pages may be gone");
    let refused = store.write(BlockKind::Marks, 1, b"y");
    assert!(matches!(refused, Err(Error::Poisoned { .. })));
    assert_eq!(store.read_all(id, BlockKind::Marks).expect("reads go on").1, b"x");
}

#[test]
fn sync_does_nothing_when_nothing_was_written() {
    let vfs = FaultVfs::new(Arc::new(mem()));
    let store = open_empty(&vfs);
    store.write(BlockKind::Marks, 1, b"x").expect("room");
    store.sync().expect("sync");
    store.sync().expect("sync");
    assert_eq!(vfs.count(IoKind::Sync), 1);
}

#[test]
fn short_reads_are_completed() {
    let vfs = FaultVfs::new(Arc::new(mem()));
    let store = open_empty(&vfs);
    let id = store.write(BlockKind::Marks, 1, &payload(200_000, 1)).expect("room");
    for at in 0..2 {
        vfs.arm(Fault::nth(at, FaultEffect::ShortRead));
        let fired = vfs.fired();
        assert!(store.read_all(id, BlockKind::Marks).expect("whole").1 == payload(200_000, 1));
        assert_eq!(vfs.fired(), fired + 1);
    }
}

#[test]
fn freed_space_is_punched_and_a_free_tail_cut_and_neither_failing_hurts() {
    for failing in [false, true] {
        let vfs = FaultVfs::new(Arc::new(mem()));
        let store = open_empty(&vfs);
        let ids: Vec<BlockId> =
            (0..40).map(|_| store.write(BlockKind::RowPage, 1, &payload(4_000, 9)).expect("room")).collect();
        if failing {
            vfs.arm(
                Fault::nth(0, FaultEffect::InputOutput).of(&[IoKind::PunchHole, IoKind::SetLen]).for_ever(),
            );
        }
        ids[..16].iter().for_each(|id| store.free(*id));
        assert_eq!(vfs.count(IoKind::PunchHole), if failing { 9 } else { 2 });
        let mut byte = [0];
        raw(&vfs).read_exact_at(100, &mut byte).expect("read");
        assert_eq!(byte[0] == 0, !failing, "punched");
        ids[17..].iter().for_each(|id| store.free(*id));
        assert_eq!(store.used_bytes(), PAGE);
        let len = raw(&vfs).len().expect("len");
        assert!(failing || len <= 17 * PAGE + 8 * PAGE, "{len}");
        store.read_all(ids[16], BlockKind::RowPage).expect("untouched");
        vfs.disarm();
        let again = store.write(BlockKind::RowPage, 1, &payload(50_000, 3)).expect("room");
        assert_eq!(again.first_page(), 0, "reused");
        assert!(store.read_all(again, BlockKind::RowPage).expect("intact").1 == payload(50_000, 3));
    }
}

#[test]
fn what_was_synced_survives_every_crash() {
    let vfs = mem();
    let store = open_empty(&vfs);
    let mut synced = Vec::new();
    for round in 0..6u8 {
        let bytes = payload(3_000 * usize::from(round) + 10, round);
        let id = store.write(BlockKind::ColumnBlock, 1, &bytes).expect("room");
        store.sync().expect("sync");
        synced.push((id, bytes));
        let unsynced = store.write(BlockKind::ColumnBlock, 1, &payload(9_000, 77)).expect("room");
        for seed in 0..30 {
            let crashed = vfs.crash_clone(&SeededRandom::new(seed));
            let store = open(&crashed);
            for (id, bytes) in &synced {
                store.adopt(*id).expect("in use");
                assert!(
                    &store.read_all(*id, BlockKind::ColumnBlock).expect("intact").1 == bytes,
                    "seed {seed}"
                );
            }
            match store.read_all(unsynced, BlockKind::ColumnBlock) {
                Ok((_, bytes)) => assert!(bytes == payload(9_000, 77), "seed {seed}"),
                Err(error) => assert!(matches!(error, Error::CorruptBlock { .. }), "seed {seed}: {error}"),
            }
        }
        store.free(unsynced);
    }
}

#[test]
fn threads_write_read_and_free_in_a_real_file() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let store = FileBlockStore::open(&OsVfs, folder.path(), options()).expect("opens");
    store.finish_recovery().expect("nothing to recover");
    std::thread::scope(|scope| {
        for thread in 0..4u8 {
            let store = &store;
            scope.spawn(move || {
                let mut held: Vec<(BlockId, usize)> = Vec::new();
                for round in 0..150usize {
                    let len = round * 977 % 40_000;
                    let id = store.write(BlockKind::RowPage, 1, &payload(len, thread)).expect("room");
                    held.push((id, len));
                    if round % 3 > 0 {
                        let (id, len) = held.swap_remove(round * 7 % held.len());
                        let found = store.read_all(id, BlockKind::RowPage).expect("intact").1;
                        assert!(found == payload(len, thread));
                        store.free(id);
                    }
                }
                for (id, len) in held {
                    assert!(
                        store.read_all(id, BlockKind::RowPage).expect("intact").1 == payload(len, thread)
                    );
                    store.free(id);
                }
            });
        }
    });
    assert_eq!(store.used_bytes(), 0);
    assert!(store.total_bytes() < 8 * PAGE);
}
