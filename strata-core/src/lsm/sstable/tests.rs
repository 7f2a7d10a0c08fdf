//! Whole tables: golden bytes, damage, splitting, row bases.

use std::sync::Arc;

use parking_lot::Mutex;

use crate::block::{BlockHandle, BlockInfo, BlockKind, BlockStore, MemBlockStore, ReleaseBlock};
use crate::cache::{Access, CacheOptions, PageCache};
use crate::error::{Error, ErrorKind, Result};
use crate::ids::{BlockId, IndexId, RowId};
use crate::lsm::hints::Hints;
use crate::lsm::key::{Limit, Position, PositionBuf, Probe, split_prefix};
use crate::lsm::options::TableOptions;
use crate::lsm::sstable::cursor::RunCursor;
use crate::lsm::sstable::dead_range::DeadRange;
use crate::lsm::sstable::table::SsTable;
use crate::lsm::sstable::writer::SsTableWriter;
use crate::lsm::version::Run;
use crate::manifest::SsTableMeta;
use crate::memory::MemoryPool;

const INDEX: IndexId = IndexId::new(1);

/// A store that hands out one byte of every payload changed.
#[derive(Debug, Default)]
struct Flipping {
    inner: MemBlockStore,
    /// Offset in the payload, and what the byte is xored with.
    flip: Mutex<Option<(u64, u8)>>,
}

impl BlockStore for Flipping {
    fn write(&self, kind: BlockKind, format: u16, payload: &[u8]) -> Result<BlockId> {
        self.inner.write(kind, format, payload)
    }

    fn info(&self, id: BlockId, expected: BlockKind) -> Result<BlockInfo> {
        self.inner.info(id, expected)
    }

    fn read(&self, id: BlockId, offset: u64, buffer: &mut [u8]) -> Result<()> {
        self.inner.read(id, offset, buffer)?;
        if let Some((at, flip)) = *self.flip.lock()
            && let Some(at) = at.checked_sub(offset)
            && let Some(byte) = buffer.get_mut(usize::try_from(at).expect("small"))
        {
            *byte ^= flip;
        }
        Ok(())
    }

    fn read_all(&self, id: BlockId, expected: BlockKind) -> Result<(BlockInfo, Vec<u8>)> {
        self.inner.read_all(id, expected)
    }

    fn sync(&self) -> Result<()> {
        self.inner.sync()
    }

    fn adopt(&self, id: BlockId) -> Result<()> {
        self.inner.adopt(id)
    }

    fn finish_recovery(&self) -> Result<()> {
        self.inner.finish_recovery()
    }

    fn free(&self, id: BlockId) {
        self.inner.free(id);
    }

    fn keep_freed(&self) {
        self.inner.keep_freed();
    }

    fn used_bytes(&self) -> u64 {
        self.inner.used_bytes()
    }

    fn total_bytes(&self) -> u64 {
        self.inner.total_bytes()
    }
}

fn small() -> TableOptions {
    TableOptions { table_bytes: 1 << 20, block_bytes: 128, filter_keys: 16, ..TableOptions::default() }
}

fn write(store: &Arc<Flipping>, options: TableOptions, entries: &[(Vec<u8>, u64)]) -> Vec<SsTableMeta> {
    let store: Arc<dyn BlockStore> = Arc::clone(store) as _;
    let mut writer = SsTableWriter::new(store, MemoryPool::new(64 << 20), options);
    for (key, row) in entries {
        writer.add(INDEX, key, RowId::new(*row)).expect("in order");
    }
    writer.finish().expect("room")
}

/// A table with a cache of its own, so that nothing is remembered from before.
fn open(store: &Arc<Flipping>, meta: &SsTableMeta) -> Arc<SsTable> {
    let pool = MemoryPool::new(64 << 20);
    let cache = PageCache::new(Arc::clone(store) as _, pool, CacheOptions::default());
    let owner: Arc<dyn ReleaseBlock> = Arc::clone(&cache) as _;
    let handle = Arc::new(BlockHandle::new(meta.block, owner));
    Arc::new(SsTable::open(cache, handle, meta).expect("sound bounds"))
}

/// Three rows a key, in order.
fn entries(keys: u64) -> Vec<(Vec<u8>, u64)> {
    let key = |number: u64| format!("key{:04}", number * 2).into_bytes();
    (0..keys).flat_map(|number| [9, 5, 2].map(|row| (key(number), number * 10 + row))).collect()
}

fn walk(run: Arc<Run>, reverse: bool) -> Result<Vec<PositionBuf>> {
    let mut cursor = RunCursor::new(run, reverse, Access::Scan);
    let mut found = Vec::new();
    cursor.seek_end()?;
    while let Some(entry) = cursor.current() {
        found.push(entry.to_owned());
        cursor.advance()?;
    }
    Ok(found)
}

fn find(table: &SsTable, key: &[u8], row: u64) -> Result<Option<u64>> {
    Ok(table.find(&Probe::new(INDEX, key, RowId::new(row)))?.map(RowId::get))
}

fn positions(entries: &[(Vec<u8>, u64)], row_base: u64) -> Vec<PositionBuf> {
    let prefix = |key: &[u8]| [&[0, 0, 0, 1], key].concat();
    entries
        .iter()
        .map(|(key, row)| PositionBuf { prefix: prefix(key), row: RowId::new(row + row_base) })
        .collect()
}

#[test]
fn golden_bytes_of_a_table() {
    let store = Arc::new(Flipping::default());
    let entries = [(b"ab".to_vec(), 9), (b"ab".to_vec(), 7), (b"ac".to_vec(), 10)];
    let metas = write(&store, TableOptions::default(), &entries);
    let [meta] = &metas[..] else { panic!("one table") };
    let (_, payload) = store.read_all(meta.block, BlockKind::SsTable).expect("written");
    let hex: String = payload.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(hex, GOLDEN.concat());
    assert_eq!((meta.entries, meta.payload_bytes, meta.row_base), (3, payload.len() as u64, 0));
    assert_eq!(meta.smallest, b"\0\0\0\x01ab\xff\xff\xff\xff\xff\xff\xff\xf6");
    assert_eq!(meta.largest, b"\0\0\0\x01ac\xff\xff\xff\xff\xff\xff\xff\xf5");
}

/// As docs/format/sstable.md takes it apart.
const GOLDEN: [&str; 10] = [
    // the data block
    "00060000000161620900000000000000060003050163060000000001000000",
    // its compression and checksum
    "007f955d95",
    // the filter
    "0000000002010000000000000000000000000000000000080002000004000000",
    "0000000000000000000004000000000000000001100000002040000000000001",
    "00004b988e",
    // the partition: (ac, 10) at 0, 36 bytes
    "060000000161630a002401000000",
    "005b336766",
    // the top index: (ac, 10) at 105, its filter at 36
    "060000000161630a6913244501000000",
    "0045a5df21",
    // the footer
    "03000000000000007c00000000000000150000000000000053735431de62e70a",
];

#[test]
fn lookups_and_walks_see_every_entry_with_the_base_added() {
    let store = Arc::new(Flipping::default());
    let entries = entries(200);
    let mut meta = write(&store, small(), &entries).remove(0);
    meta.row_base = 1 << 16;
    let table = open(&store, &meta);
    assert!(table.top().expect("intact").len() > 5, "several partitions");
    assert_eq!(table.meta(0, 0), meta);
    for (key, row) in &entries {
        let row = row + meta.row_base;
        assert_eq!(find(&table, key, row).expect("intact"), Some(row));
        assert_eq!(find(&table, key, row + 1).expect("intact"), Some(row));
    }
    for absent in [&b"key0001"[..], b"key000", b"key00020", b"a", b"z"] {
        assert_eq!(find(&table, absent, u64::MAX - 1).expect("intact"), None);
    }
    assert_eq!(find(&table, b"key0000", meta.row_base).expect("intact"), None);
    assert_eq!(find(&table, b"key0000", 5).expect("intact"), None);
    let mut expected = positions(&entries, meta.row_base);
    let run = Arc::new(Run::new(0, vec![table]));
    assert_eq!(walk(Arc::clone(&run), false).expect("intact"), expected);
    expected.reverse();
    assert_eq!(walk(run, true).expect("intact"), expected);
}

#[test]
fn a_flipped_byte_gives_an_error_or_the_right_answer() {
    for compress in [false, true] {
        let store = Arc::new(Flipping::default());
        let entries = entries(40);
        let meta = write(&store, TableOptions { compress, ..small() }, &entries).remove(0);
        let expected = positions(&entries, 0);
        for at in 0..meta.payload_bytes {
            *store.flip.lock() = Some((at, 0x10));
            let table = open(&store, &meta);
            let mut errors = 0;
            for (key, row) in entries.iter().step_by(4) {
                errors += usize::from(check_answer(find(&table, key, *row), &Some(*row), &meta));
                errors += usize::from(check_answer(find(&table, b"key0001", *row), &None, &meta));
            }
            let run = Arc::new(Run::new(0, vec![table]));
            errors += usize::from(check_answer(
                walk(run, at.is_multiple_of(2)),
                &expected_in(&expected, at),
                &meta,
            ));
            assert!(errors > 0, "nobody noticed the byte at {at}");
        }
    }
}

fn expected_in(expected: &[PositionBuf], at: u64) -> Vec<PositionBuf> {
    let mut expected = expected.to_vec();
    if at.is_multiple_of(2) {
        expected.reverse();
    }
    expected
}

/// Whether it is an error, which then names the block; otherwise it must be what is expected.
fn check_answer<T: PartialEq + std::fmt::Debug>(found: Result<T>, expected: &T, meta: &SsTableMeta) -> bool {
    match found {
        Ok(found) => {
            assert_eq!(&found, expected);
            false
        }
        Err(Error::CorruptBlock { block, offset, .. }) => {
            assert_eq!(block, meta.block);
            assert!(offset < meta.payload_bytes + 64);
            true
        }
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn a_block_of_another_kind_or_format_is_refused() {
    let store = Arc::new(Flipping::default());
    let mut meta = write(&store, small(), &entries(3)).remove(0);
    let (_, payload) = store.read_all(meta.block, BlockKind::SsTable).expect("written");
    meta.block = store.write(BlockKind::SsTable, 2, &payload).expect("room");
    let found = find(&open(&store, &meta), b"key0000", 9);
    assert!(matches!(found, Err(Error::UnsupportedFormat { found: 2, .. })), "{found:?}");
    meta.block = store.write(BlockKind::RowPage, 1, &payload).expect("room");
    assert_eq!(find(&open(&store, &meta), b"key0000", 9).expect_err("wrong kind").kind(), ErrorKind::Corrupt);
    meta.block = store.write(BlockKind::SsTable, 1, &payload[1..]).expect("room");
    assert_eq!(find(&open(&store, &meta), b"key0000", 9).expect_err("too short").kind(), ErrorKind::Corrupt);
}

#[test]
fn bounds_that_are_none_are_refused() {
    let store = Arc::new(Flipping::default());
    let meta = write(&store, small(), &entries(3)).remove(0);
    let pool = MemoryPool::new(1 << 20);
    let cache = PageCache::new(Arc::clone(&store) as _, pool, CacheOptions::default());
    let (smallest, largest) = (meta.largest.clone(), meta.smallest.clone());
    let bad = [
        SsTableMeta { smallest: vec![1, 2], ..meta.clone() },
        SsTableMeta { smallest, largest, ..meta.clone() },
        SsTableMeta { row_base: u64::MAX, ..meta.clone() },
    ];
    for meta in bad {
        let owner: Arc<dyn ReleaseBlock> = Arc::clone(&cache) as _;
        let handle = Arc::new(BlockHandle::new(meta.block, owner));
        let found = SsTable::open(Arc::clone(&cache), handle, &meta);
        assert_eq!(found.expect_err("no bounds").kind(), ErrorKind::Corrupt);
    }
}

#[test]
fn tables_split_between_keys_unless_one_key_is_too_large() {
    let store = Arc::new(Flipping::default());
    let options = TableOptions { table_bytes: 1000, block_bytes: 100, ..small() };
    let mut entries: Vec<(Vec<u8>, u64)> = entries(100);
    let hot = b"key0100".to_vec();
    entries.retain(|(key, _)| *key != hot);
    let at = entries.partition_point(|(key, _)| *key < hot);
    entries.splice(at..at, (0..4000).rev().map(|row| (hot.clone(), row * 1_000_003)));
    let metas = write(&store, options, &entries);
    assert!(metas.len() > 5, "{}", metas.len());
    let tables: Vec<_> = metas.iter().map(|meta| open(&store, meta)).collect();
    for pair in tables.windows(2) {
        let (left, right) = (pair[0].largest().prefix, pair[1].smallest().prefix);
        assert!(left != right || split_prefix(left).is_some_and(|(_, key)| key == hot), "{left:?}");
    }
    let run = Arc::new(Run::new(0, tables));
    assert_eq!(walk(Arc::clone(&run), false).expect("intact"), positions(&entries, 0));
    let hints = Hints::new(MemoryPool::new(1 << 20));
    for row in [0, 1, 2000, 3998, 3999] {
        let probe = Probe::new(INDEX, &hot, RowId::new(row * 1_000_003 + 5));
        assert_eq!(run.find_and_tell(&probe, &hints).expect("intact"), Some(RowId::new(row * 1_000_003)));
    }
}

#[test]
fn a_writer_out_of_order_or_dropped_leaves_nothing_behind() {
    let store = Arc::new(Flipping::default());
    let options = TableOptions { table_bytes: 1000, ..small() };
    let mut writer = SsTableWriter::new(Arc::clone(&store) as _, MemoryPool::new(64 << 20), options);
    for (key, row) in entries(400) {
        writer.add(INDEX, &key, RowId::new(row)).expect("in order");
    }
    assert!(store.used_bytes() > 0);
    assert!(writer.add(INDEX, b"a", RowId::ZERO).is_err());
    drop(writer);
    assert_eq!(store.used_bytes(), 0);
}

#[test]
fn where_the_pool_is_short_tables_end_early() {
    let store = Arc::new(Flipping::default());
    let pool = MemoryPool::new(1 << 20);
    let options = TableOptions { compress: false, ..TableOptions::default() };
    let mut writer = SsTableWriter::new(Arc::clone(&store) as _, pool.clone(), options);
    let mut key = vec![0; 1000];
    for number in 0..4000u32 {
        key[..4].copy_from_slice(&number.to_be_bytes());
        key[4..].fill(number as u8);
        writer.add(INDEX, &key, RowId::ZERO).expect("one MiB is enough");
    }
    let metas = writer.finish().expect("room");
    assert!(metas.len() >= 4, "{}", metas.len());
    assert!(metas.iter().all(|meta| meta.payload_bytes <= 1 << 20));
    assert_eq!(pool.used(), 0);
}

#[test]
fn a_walk_from_a_position_starts_there_in_both_directions() {
    let store = Arc::new(Flipping::default());
    let entries = entries(60);
    let meta = write(&store, small(), &entries).remove(0);
    let run = Arc::new(Run::new(0, vec![open(&store, &meta)]));
    let expected = positions(&entries, 0);
    let between = positions(&[(b"key0001".to_vec(), 4), (b"a".to_vec(), 1), (b"z".to_vec(), 1)], 0);
    for at in expected.iter().chain(&between) {
        for (reverse, inclusive) in [(false, false), (false, true), (true, false), (true, true)] {
            let mut cursor = RunCursor::new(Arc::clone(&run), reverse, Access::Point);
            cursor.seek(&Limit { at: at.clone(), inclusive }, None).expect("intact");
            let position = at.as_position();
            let admits = |entry: Position<'_>| match (reverse, inclusive) {
                (false, false) => entry > position,
                (false, true) => entry >= position,
                (true, false) => entry < position,
                (true, true) => entry <= position,
            };
            let mut within = expected.iter().filter(|entry| admits(entry.as_position()));
            let first = if reverse { within.next_back() } else { within.next() };
            assert_eq!(cursor.current(), first.map(PositionBuf::as_position), "{at:?} {reverse} {inclusive}");
        }
    }
}

#[test]
fn a_walk_leaves_a_stretch_of_garbage_at_its_far_end_however_short_the_stretch() {
    let store = Arc::new(Flipping::default());
    let entries = entries(60);
    let meta = write(&store, small(), &entries).remove(0);
    let expected = positions(&entries, 0);
    for (first, len) in (0..expected.len()).flat_map(|first| [1, 2, 17, 40].map(|len| (first, len))) {
        let Some(dead) = expected.get(first..first + len) else { continue };
        let table = open(&store, &meta);
        let (start, end) = (dead[0].clone(), dead[len - 1].clone());
        table.note_dead(DeadRange { first: start.clone(), last: end.clone(), entries: 64 });
        let run = Arc::new(Run::new(0, vec![table]));
        for reverse in [false, true] {
            let mut cursor = RunCursor::new(Arc::clone(&run), reverse, Access::Point).leaping();
            let at = if reverse { end.clone() } else { start.clone() };
            cursor.seek(&Limit { at, inclusive: true }, None).expect("intact");
            let next = if reverse { first.checked_sub(1) } else { Some(first + len) };
            let next = next.and_then(|next| expected.get(next));
            assert_eq!(cursor.current(), next.map(PositionBuf::as_position), "{len} from {first}, {reverse}");
        }
    }
}
