//! What must hold of any bytes that are read as an SSTable, whole or one of its blocks.

use std::sync::Arc;

use crate::block::{BlockHandle, BlockKind, BlockStore, MemBlockStore, ReleaseBlock};
use crate::cache::{Access, CacheOptions, PageCache};
use crate::codec::choices::Choices;
use crate::error::{Error, Result};
use crate::ids::{IndexId, RowId};
use crate::lsm::batch::EntryBatch;
use crate::lsm::hints::Hints;
use crate::lsm::key::{Position, PositionBuf, Probe, hash_prefix, split_prefix};
use crate::lsm::options::TableOptions;
use crate::lsm::sstable::FORMAT;
use crate::lsm::sstable::bloom::{self, Filter};
use crate::lsm::sstable::cursor::RunCursor;
use crate::lsm::sstable::data_block::{DataBlock, DataBlockBuilder};
use crate::lsm::sstable::footer::{FOOTER_BYTES, Footer};
use crate::lsm::sstable::frame::{self, FrameRef};
use crate::lsm::sstable::index_block::{IndexBlock, IndexBlockBuilder, IndexLevel};
use crate::lsm::sstable::table::SsTable;
use crate::lsm::sstable::writer::SsTableWriter;
use crate::lsm::version::Run;
use crate::manifest::SsTableMeta;
use crate::memory::MemoryPool;

/// Frames of a crafted table may overlap, so that a few bytes give many entries: a walk ends here.
const ENTRIES_WALKED: usize = 10_000;

/// A block of a table, a table of any bytes with its checksums mended, or a table of any entries.
pub(crate) fn sstable(data: &[u8]) {
    let mut choices = Choices::new(data);
    match choices.below(8) {
        0 => data_block(choices.rest()),
        1 => index_block(choices.rest(), IndexLevel::Top),
        2 => index_block(choices.rest(), IndexLevel::Partition),
        3 => small_parts(&mut choices),
        4 | 5 => crafted(&mut choices),
        _ => written(&mut choices),
    }
}

/// Entries that are read, in order, make a block that has the same, and finds each.
fn data_block(bytes: &[u8]) {
    let Ok(block) = DataBlock::parse(bytes.to_vec()) else { return };
    let (mut entries, mut batch) = (Vec::new(), EntryBatch::default());
    for interval in 0..block.intervals().min(1000) {
        let outcome = block.read_interval(interval, 0, &mut batch);
        let target =
            batch.get(0).map_or(PositionBuf { prefix: vec![0; 5], row: RowId::MAX }, Position::to_owned);
        let _ = block.find(target.as_position());
        if outcome.is_err() || entries.len() > ENTRIES_WALKED {
            return;
        }
        entries.extend((0..batch.len()).map(|at| batch.get(at).expect("it has so many").to_owned()));
    }
    if !entries.is_sorted_by(|left, right| left.as_position() < right.as_position()) {
        return;
    }
    let mut builder = DataBlockBuilder::default();
    entries.iter().for_each(|entry| builder.add(entry.as_position()));
    let again = DataBlock::parse(builder.finish().to_vec()).expect("what was built is a block");
    let mut found = Vec::new();
    for interval in 0..again.intervals() {
        again.read_interval(interval, 0, &mut batch).expect("what was built is read");
        found.extend((0..batch.len()).map(|at| batch.get(at).expect("it has so many").to_owned()));
    }
    assert_eq!(found, entries);
    for entry in &entries {
        assert_eq!(again.find(entry.as_position()), Ok(Some(entry.row)));
    }
    if block.intervals() <= 1000 && bounds_in_order(&block, &entries) {
        for entry in &entries {
            assert_eq!(block.find(entry.as_position()), Ok(Some(entry.row)), "of the block as it came");
        }
    }
}

/// Whether the intervals lie one behind the other, so that each entry is in one.
fn bounds_in_order(block: &DataBlock, entries: &[PositionBuf]) -> bool {
    let mut batch = EntryBatch::default();
    let mut counted = 0;
    for interval in 0..block.intervals() {
        if block.read_interval(interval, 0, &mut batch).is_err() {
            return false;
        }
        counted += batch.len();
    }
    counted == entries.len()
}

/// An index that is read makes a block that reads as the same, and leads to each of its parts.
fn index_block(bytes: &[u8], level: IndexLevel) {
    let limit = 1 << 40;
    let Ok(block) = IndexBlock::parse(bytes, level, limit) else { return };
    let mut builder = IndexBlockBuilder::default();
    for at in 0..block.len() {
        let position = block.position(at).expect("it has so many");
        let target = block.get(at).expect("it has so many");
        assert_eq!(block.seek(position), at);
        assert_eq!(target.filter.is_some(), level == IndexLevel::Top);
        builder.add(position, target);
    }
    let again = IndexBlock::parse(&builder.take(), level, limit).expect("what was built is a block");
    assert_eq!(again.len(), block.len());
    for at in 0..block.len() {
        assert_eq!((again.position(at), again.get(at)), (block.position(at), block.get(at)));
    }
}

/// Footers, filters and frames.
fn small_parts(choices: &mut Choices<'_>) {
    match choices.below(3) {
        0 => {
            let mut bytes = choices.array::<FOOTER_BYTES>();
            let offset = u64::from_le_bytes(bytes[8..16].try_into().expect("eight bytes"));
            let length = u32::from_le_bytes(bytes[16..20].try_into().expect("four bytes"));
            let checksum = crc32fast::hash(&bytes[..28]);
            bytes[28..].copy_from_slice(&checksum.to_le_bytes());
            let Ok(footer) = Footer::parse(&bytes, offset.wrapping_add(length.into())) else { return };
            assert_eq!(footer.encode(), bytes);
        }
        1 => {
            if let Ok(filter) = Filter::parse(choices.take(1 << 12).to_vec()) {
                for hash in [0, 1, u64::MAX, choices.u64()] {
                    let _ = filter.may_contain(hash);
                }
            }
            let hashes: Vec<u64> = (0..choices.below(200)).map(|_| choices.u64()).collect();
            let filter = Filter::parse(bloom::build(&hashes, 10)).expect("what was built is a filter");
            assert!(hashes.iter().all(|hash| filter.may_contain(*hash)));
        }
        _ => {
            let (offset, mut stored) = (choices.u64(), choices.rest().to_vec());
            let checksum = frame::checksum(offset, &stored);
            stored.extend(checksum.to_le_bytes());
            let Ok(raw) = frame::open(offset, stored) else { return };
            for compress in [false, true] {
                let mut payload = vec![1, 2, 3];
                let at = frame::append(&mut payload, &raw, compress).expect("small");
                assert_eq!(frame::open(at.offset, payload[3..].to_vec()).as_deref(), Ok(&raw[..]));
            }
        }
    }
}

/// Bytes with the footer and the frames' checksums of a table.
fn seal(mut payload: Vec<u8>, entries: u64) -> Vec<u8> {
    let Some(footer_at) = payload.len().checked_sub(FOOTER_BYTES) else { return payload };
    let footer = &payload[footer_at..];
    let top_bytes =
        u32::from_le_bytes(footer[16..20].try_into().expect("four bytes")) % (footer_at as u32 + 1);
    let top = FrameRef { offset: footer_at as u64 - u64::from(top_bytes), len: top_bytes };
    payload[footer_at..].copy_from_slice(&Footer { entries, top }.encode());
    let children = |payload: &mut Vec<u8>, at: FrameRef, level, limit| {
        seal_frame(payload, at);
        let start = at.offset as usize;
        let stored = payload.get(start..start + at.len as usize)?.to_vec();
        let raw = frame::open(at.offset, stored).ok()?;
        let index = IndexBlock::parse(&raw, level, limit).ok()?;
        Some((0..index.len()).filter_map(|at| index.get(at)).collect::<Vec<_>>())
    };
    for part in children(&mut payload, top, IndexLevel::Top, top.offset).unwrap_or_default() {
        if let Some(filter) = part.filter {
            seal_frame(&mut payload, filter);
        }
        for block in children(&mut payload, part.child, IndexLevel::Partition, top.offset).unwrap_or_default()
        {
            seal_frame(&mut payload, block.child);
        }
    }
    payload
}

fn seal_frame(payload: &mut [u8], at: FrameRef) {
    let Ok(start) = usize::try_from(at.offset) else { return };
    let Some(bytes) = payload.get_mut(start..start.saturating_add(at.len as usize)) else { return };
    let Some(checksum_at) = bytes.len().checked_sub(4) else { return };
    let checksum = frame::checksum(at.offset, &bytes[..checksum_at]);
    bytes[checksum_at..].copy_from_slice(&checksum.to_le_bytes());
}

fn open(store: &Arc<dyn BlockStore>, meta: &SsTableMeta) -> Result<Arc<SsTable>> {
    let pool = MemoryPool::new(64 << 20);
    let cache = PageCache::new(Arc::clone(store), pool, CacheOptions::default());
    let owner: Arc<dyn ReleaseBlock> = Arc::clone(&cache) as _;
    let handle = Arc::new(BlockHandle::new(meta.block, owner));
    SsTable::open(cache, handle, meta).map(Arc::new)
}

/// All entries of a table, in the direction of travel; `None` where there are too many.
fn walk(run: &Arc<Run>, reverse: bool) -> Result<Option<Vec<PositionBuf>>> {
    let mut cursor = RunCursor::new(Arc::clone(run), reverse, Access::Point);
    cursor.seek_end()?;
    let mut found = Vec::new();
    while let Some(entry) = cursor.current() {
        found.push(entry.to_owned());
        if found.len() > ENTRIES_WALKED {
            return Ok(None);
        }
        cursor.advance()?;
    }
    Ok(Some(found))
}

/// A table whose checksums hold, though nobody wrote it: forward and backward it has the same entries.
fn crafted(choices: &mut Choices<'_>) {
    let row_base = if choices.below(4) == 3 { choices.u64() } else { 0 };
    let entries = u64::from(choices.u8());
    let payload = seal(choices.rest().to_vec(), entries);
    let store: Arc<dyn BlockStore> = Arc::new(MemBlockStore::new());
    let block = store.write(BlockKind::SsTable, FORMAT, &payload).expect("room");
    let bound = |byte: u8, row: u64| Position { prefix: &[byte; 4], row: RowId::new(row) }.encode();
    let meta = SsTableMeta {
        block,
        level: 0,
        sequence: 0,
        row_base,
        entries,
        payload_bytes: payload.len() as u64,
        smallest: bound(0, u64::MAX - row_base),
        largest: bound(0xFF, 0),
    };
    let assert_damage = |error: &Error| assert!(matches!(error, Error::CorruptBlock { .. }), "{error:?}");
    let table = open(&store, &meta).expect("sound bounds");
    let run = Arc::new(Run::new(0, vec![Arc::clone(&table)]));
    let (forward, backward) = (walk(&run, false), walk(&run, true));
    for error in [forward.as_ref().err(), backward.as_ref().err()].into_iter().flatten() {
        assert_damage(error);
    }
    let Ok(Some(entries)) = forward else { return };
    if let Ok(Some(mut backward)) = backward {
        backward.reverse();
        assert_eq!(entries, backward);
    }
    for entry in entries.iter().take(100) {
        let Some((index, key)) = split_prefix(&entry.prefix) else { continue };
        let probe = Probe::new(index, key, entry.row);
        match table.find(&probe) {
            Ok(found) => assert!(found.is_none_or(|row| row <= entry.row)),
            Err(error) => assert_damage(&error),
        }
    }
}

/// Entries that the bytes choose come back from the tables that they are written to.
fn written(choices: &mut Choices<'_>) {
    let options = TableOptions {
        table_bytes: 256 << choices.below(8),
        block_bytes: 32 << choices.below(6),
        filter_keys: 1 + choices.below(64),
        compress: choices.below(2) == 0,
        ..TableOptions::default()
    };
    let row_base = u64::from(choices.u16());
    let mut entries: Vec<PositionBuf> = Vec::new();
    while !choices.is_empty() {
        let shared = choices.below(32);
        let mut prefix = vec![0, 0, 0, 1 + choices.below(2) as u8];
        prefix.extend(
            entries.last().map_or(&[][..], |last| &last.prefix[4..last.prefix.len().min(4 + shared)]),
        );
        prefix.extend(choices.sized());
        for _ in 0..1 + choices.below(3) {
            let row = RowId::new(u64::from(choices.u32()) << choices.below(28));
            entries.push(PositionBuf { prefix: prefix.clone(), row });
        }
    }
    entries.sort_by(|left, right| left.as_position().cmp(&right.as_position()));
    entries.dedup();
    let store: Arc<dyn BlockStore> = Arc::new(MemBlockStore::new());
    let mut writer = SsTableWriter::new(Arc::clone(&store), MemoryPool::new(64 << 20), options);
    let hints = Hints::new(MemoryPool::new(1 << 20));
    for entry in &entries {
        let (index, key) = split_prefix(&entry.prefix).expect("four bytes of index");
        writer.add(index, key, entry.row).expect("in order");
    }
    let metas = writer.finish().expect("room");
    assert_eq!(metas.iter().map(|meta| meta.entries).sum::<u64>(), entries.len() as u64);
    let tables = metas
        .into_iter()
        .map(|meta| open(&store, &SsTableMeta { row_base, ..meta }).expect("sound bounds"))
        .collect();
    let run = Arc::new(Run::new(0, tables));
    entries.iter_mut().for_each(|entry| entry.row = entry.row.offset(row_base));
    for reverse in [false, true] {
        if let Some(mut found) = walk(&run, reverse).expect("reads") {
            if reverse {
                found.reverse();
            }
            assert!(found == entries, "{} entries written, {} read", entries.len(), found.len());
        }
    }
    for entry in &entries {
        let (index, key) = split_prefix(&entry.prefix).expect("four bytes of index");
        let probe = Probe::new(index, key, entry.row);
        assert_eq!(probe.hash, hash_prefix(&entry.prefix));
        assert!(run.may_contain(&probe).expect("reads"));
        assert_eq!(run.find_and_tell(&probe, &hints).expect("reads"), Some(entry.row));
        let absent = Probe::new(IndexId::new(3), key, RowId::MAX);
        assert_eq!(run.find_and_tell(&absent, &hints).expect("reads"), None);
    }
}
