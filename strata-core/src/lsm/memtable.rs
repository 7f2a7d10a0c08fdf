//! The memtable: the newest entries of the tree, in memory.
//!
//! One ordered map an index, each behind its own `RwLock`: only the commit section writes, so a writer never
//! waits for a writer, and readers of one index do not meet writers of another. The map goes from a key to its
//! rows, so a point lookup compares keys only and builds none. `BTreeMap` was measured at three times the speed of a
//! skip list for this load; the trait is the seam for the next candidate.
//!
//! Lock order: the map of maps, then one index's map. Nothing blocks while holding either.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::ops::Bound;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::RwLock;

use crate::ids::{IndexId, RowId};
use crate::lsm::batch::EntryBatch;
use crate::lsm::inline_key::InlineKey;
use crate::lsm::key::IndexEntry;

/// What one entry is charged beyond its key bytes: the map's node at its usual fill and the row list's worst growth.
pub const ENTRY_OVERHEAD_BYTES: usize = 112;

/// What one chunk may visit without finding anything, before it lets the lock go: a scan at an old snapshot may pass
/// many newer entries, and the commit section must not wait for that.
const VISITED_KEYS_MAX: usize = 1024;

/// A key is *crowded* whenever its rows reach a power of two between these: a hot row's versions are looked through
/// seldom enough to cost little, and no lock is held for long over the many rows of a key that is not unique.
const CROWDED_ROWS: std::ops::RangeInclusive<usize> = 16..=1024;

/// The seam of the tree's in-memory part. All calls may come from any thread; inserts are serialised by the tree.
pub(crate) trait Memtable: Send + Sync {
    /// Adds entries to the set.
    fn insert(&self, entries: &[IndexEntry<'_>]) -> Inserted;
    /// Takes out the entries of `key` for which `drop` says so.
    fn remove(&self, index: IndexId, key: &[u8], drop: &mut dyn FnMut(RowId) -> bool) -> Removed;
    /// As [`remove`](Self::remove), of all keys of an index.
    fn sweep(&self, index: IndexId, drop: &mut dyn FnMut(RowId) -> bool) -> Removed;
    /// The largest row below `below` with exactly this key.
    fn first(&self, index: IndexId, key: &[u8], below: RowId) -> Option<RowId>;
    /// Appends up to `limit` entries with rows below `below` to `out`, in the direction of travel. What is left goes
    /// on after the last of them, or at the key that is returned where the chunk ended without one.
    fn chunk(&self, scan: &ChunkScan<'_>, out: &mut EntryBatch) -> ChunkEnd;
    /// The indexes that have entries, ascending.
    fn indexes(&self) -> Vec<IndexId>;
    /// Entries held.
    fn entries(&self) -> u64;
}

/// What a chunk holds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ChunkScan<'a> {
    pub index: IndexId,
    /// The key to start at, itself included; `None` for the end that the scan comes from.
    pub start: Option<&'a [u8]>,
    /// If set, only the rows of the start key beyond this one, in the direction of travel, are wanted.
    pub beyond_row: Option<RowId>,
    pub reverse: bool,
    pub below: RowId,
    pub limit: usize,
}

/// What an insertion did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Inserted {
    /// What the entries are charged.
    pub bytes: usize,
    /// The entries, by their place in the slice, whose keys have so many rows now that most may be garbage.
    pub crowded: Vec<usize>,
}

/// What a removal took out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Removed {
    pub entries: usize,
    /// What they were charged.
    pub bytes: usize,
}

/// How a chunk ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ChunkEnd {
    /// The limit was reached: more may follow the last entry.
    Full,
    /// Nothing was found in many keys; the next one is this.
    Resume(Vec<u8>),
    /// Nothing is left.
    Exhausted,
}

/// The rows of one key, ascending.
#[derive(Debug)]
enum Rows {
    One(RowId),
    Many(Vec<RowId>),
}

impl Rows {
    fn as_slice(&self) -> &[RowId] {
        match self {
            Self::One(row) => std::slice::from_ref(row),
            Self::Many(rows) => rows,
        }
    }

    /// Adds a row; false where it is there already.
    fn insert(&mut self, row: RowId) -> bool {
        match self {
            Self::One(only) if *only == row => false,
            Self::One(only) => {
                let only = *only;
                *self = Self::Many(vec![only.min(row), only.max(row)]);
                true
            }
            Self::Many(rows) => match rows.last() {
                Some(last) if *last < row => {
                    rows.push(row);
                    true
                }
                _ => match rows.binary_search(&row) {
                    Ok(_) => false,
                    Err(at) => {
                        rows.insert(at, row);
                        true
                    }
                },
            },
        }
    }

    /// The rows of a chunk: those below `below` and beyond `beyond` in the direction of travel, ascending.
    fn select(&self, below: RowId, beyond: Option<RowId>, reverse: bool) -> &[RowId] {
        let rows = self.as_slice();
        let rows = &rows[..rows.partition_point(|row| *row < below)];
        match beyond {
            None => rows,
            Some(beyond) if reverse => &rows[rows.partition_point(|row| *row <= beyond)..],
            Some(beyond) => &rows[..rows.partition_point(|row| *row < beyond)],
        }
    }
}

type IndexMap = BTreeMap<InlineKey, Rows>;

/// The memtable of ordered maps.
#[derive(Default)]
pub(crate) struct BTreeMemtable {
    maps: RwLock<BTreeMap<IndexId, Arc<RwLock<IndexMap>>>>,
    entries: AtomicU64,
}

impl BTreeMemtable {
    fn map(&self, index: IndexId) -> Option<Arc<RwLock<IndexMap>>> {
        self.maps.read().get(&index).cloned()
    }

    fn map_or_new(&self, index: IndexId) -> Arc<RwLock<IndexMap>> {
        match self.map(index) {
            Some(map) => map,
            None => Arc::clone(self.maps.write().entry(index).or_default()),
        }
    }
}

/// The rows of a key. Two short keys are compared as numbers.
fn rows_of<'m>(map: &'m IndexMap, key: &[u8]) -> Option<&'m Rows> {
    if InlineKey::is_short(key) { map.get(&InlineKey::new(key)) } else { map.get(key) }
}

/// Takes rows of a key out. Where none is left, the key is to go too.
fn remove_rows(key: &[u8], rows: &mut Rows, drop: &mut dyn FnMut(RowId) -> bool) -> (Removed, bool) {
    let before = rows.as_slice().len();
    let kept: Vec<RowId> = rows.as_slice().iter().copied().filter(|row| !drop(*row)).collect();
    let entries = before - kept.len();
    let mut bytes = entries * charge(key, false);
    let is_empty = kept.is_empty();
    match kept[..] {
        _ if entries == 0 => {}
        [] => bytes = bytes - charge(key, false) + charge(key, true),
        [only] => *rows = Rows::One(only),
        _ => *rows = Rows::Many(kept),
    }
    (Removed { entries, bytes }, is_empty)
}

/// What an entry is charged, given whether its key was there before.
fn charge(key: &[u8], new_key: bool) -> usize {
    if new_key { ENTRY_OVERHEAD_BYTES + key.len() } else { 2 * size_of::<RowId>() }
}

impl Memtable for BTreeMemtable {
    fn insert(&self, entries: &[IndexEntry<'_>]) -> Inserted {
        let mut inserted = Inserted::default();
        let (mut added, mut place) = (0, 0);
        for run in entries.chunk_by(|a, b| a.index == b.index) {
            let map = self.map_or_new(run[0].index);
            let mut map = map.write();
            for (entry, place) in run.iter().zip(place..) {
                match map.entry(InlineKey::new(entry.key)) {
                    Entry::Occupied(mut there) => {
                        let rows = there.get_mut();
                        if !rows.insert(entry.row) {
                            continue;
                        }
                        let count = rows.as_slice().len();
                        if count.is_power_of_two() && CROWDED_ROWS.contains(&count) {
                            inserted.crowded.push(place);
                        }
                        inserted.bytes += charge(entry.key, false);
                    }
                    Entry::Vacant(free) => {
                        free.insert(Rows::One(entry.row));
                        inserted.bytes += charge(entry.key, true);
                    }
                }
                added += 1;
            }
            place += run.len();
        }
        self.entries.fetch_add(added, Ordering::Relaxed);
        inserted
    }

    fn remove(&self, index: IndexId, key: &[u8], drop: &mut dyn FnMut(RowId) -> bool) -> Removed {
        let Some(map) = self.map(index) else { return Removed::default() };
        let mut map = map.write();
        let Some(rows) = map.get_mut(key) else { return Removed::default() };
        let (removed, is_empty) = remove_rows(key, rows, drop);
        if is_empty {
            map.remove(key);
        }
        self.entries.fetch_sub(removed.entries as u64, Ordering::Relaxed);
        removed
    }

    fn sweep(&self, index: IndexId, drop: &mut dyn FnMut(RowId) -> bool) -> Removed {
        let Some(map) = self.map(index) else { return Removed::default() };
        let mut all = Removed::default();
        map.write().retain(|key, rows| {
            let (removed, is_empty) = remove_rows(key.as_slice(), rows, drop);
            all.entries += removed.entries;
            all.bytes += removed.bytes;
            !is_empty
        });
        self.entries.fetch_sub(all.entries as u64, Ordering::Relaxed);
        all
    }

    fn first(&self, index: IndexId, key: &[u8], below: RowId) -> Option<RowId> {
        let maps = self.maps.read();
        let map = maps.get(&index)?.read();
        rows_of(&map, key)?.select(below, None, false).last().copied()
    }

    fn chunk(&self, scan: &ChunkScan<'_>, out: &mut EntryBatch) -> ChunkEnd {
        let Some(map) = self.map(scan.index) else { return ChunkEnd::Exhausted };
        let map = map.read();
        let start = scan.start.map_or(Bound::Unbounded, Bound::Included);
        if scan.reverse {
            fill(scan, map.range::<[u8], _>((Bound::Unbounded, start)).rev(), out)
        } else {
            fill(scan, map.range::<[u8], _>((start, Bound::Unbounded)), out)
        }
    }

    fn indexes(&self) -> Vec<IndexId> {
        self.maps.read().keys().copied().collect()
    }

    fn entries(&self) -> u64 {
        self.entries.load(Ordering::Relaxed)
    }
}

/// The body of [`Memtable::chunk`] over keys in the direction of travel.
fn fill<'m>(
    scan: &ChunkScan<'_>,
    keys: impl Iterator<Item = (&'m InlineKey, &'m Rows)>,
    out: &mut EntryBatch,
) -> ChunkEnd {
    let before = out.len();
    for (visited, (key, rows)) in keys.enumerate() {
        let key = key.as_slice();
        if visited >= VISITED_KEYS_MAX && out.len() == before {
            return ChunkEnd::Resume(key.to_vec());
        }
        let beyond = if scan.start == Some(key) { scan.beyond_row } else { None };
        let rows = rows.select(scan.below, beyond, scan.reverse);
        let room = (before + scan.limit).saturating_sub(out.len());
        if scan.reverse {
            rows.iter().take(room).for_each(|row| out.push_key(scan.index, key, *row));
        } else {
            rows.iter().rev().take(room).for_each(|row| out.push_key(scan.index, key, *row));
        }
        if out.len() >= before + scan.limit || (visited >= VISITED_KEYS_MAX && out.len() > before) {
            return ChunkEnd::Full;
        }
    }
    ChunkEnd::Exhausted
}

#[cfg(test)]
mod tests {
    use super::*;

    const INDEX: IndexId = IndexId::new(1);

    fn entry(key: &[u8], row: u64) -> IndexEntry<'_> {
        IndexEntry { index: INDEX, key, row: RowId::new(row) }
    }

    fn rows(batch: &EntryBatch) -> Vec<u64> {
        (0..batch.len()).filter_map(|at| batch.get(at)).map(|position| position.row.get()).collect()
    }

    #[test]
    fn inserting_twice_is_inserting_once() {
        let memtable = BTreeMemtable::default();
        let entries = [entry(b"a", 5), entry(b"a", 9), entry(b"a", 7), entry(b"b", 6)];
        assert!(memtable.insert(&entries).bytes > 0);
        assert_eq!(memtable.insert(&entries), Inserted::default());
        assert_eq!(memtable.entries(), 4);
        assert_eq!(memtable.first(INDEX, b"a", RowId::MAX), Some(RowId::new(9)));
        assert_eq!(memtable.first(INDEX, b"a", RowId::new(9)), Some(RowId::new(7)));
        assert_eq!(memtable.first(INDEX, b"a", RowId::new(5)), None);
        assert_eq!(memtable.first(INDEX, b"c", RowId::MAX), None);
        assert_eq!(memtable.first(IndexId::new(2), b"a", RowId::MAX), None);
    }

    #[test]
    fn removing_takes_only_what_it_is_told_and_gives_its_charge_back() {
        let memtable = BTreeMemtable::default();
        let charged = memtable.insert(&[entry(b"a", 5), entry(b"a", 9), entry(b"a", 7)]).bytes;
        let some = memtable.remove(INDEX, b"a", &mut |row| row.get() < 9);
        assert_eq!(some.entries, 2);
        assert_eq!(memtable.first(INDEX, b"a", RowId::new(9)), None);
        assert_eq!(memtable.first(INDEX, b"a", RowId::MAX), Some(RowId::new(9)));
        assert_eq!(memtable.remove(INDEX, b"a", &mut |_| false), Removed::default());
        let rest = memtable.remove(INDEX, b"a", &mut |_| true);
        assert_eq!((rest.entries, some.bytes + rest.bytes), (1, charged));
        assert_eq!((memtable.first(INDEX, b"a", RowId::MAX), memtable.entries()), (None, 0));
    }

    #[test]
    fn sweeping_is_removing_from_every_key() {
        let memtable = BTreeMemtable::default();
        let other = IndexEntry { index: IndexId::new(2), key: b"a", row: RowId::new(5) };
        let entries = [entry(b"a", 5), entry(b"b", 6), entry(b"b", 7), entry(b"b", 9), entry(b"c", 8)];
        let charged = memtable.insert(&entries).bytes;
        memtable.insert(&[other]);
        let some = memtable.sweep(INDEX, &mut |row| row.get() < 8);
        assert_eq!((some.entries, memtable.entries()), (3, 3));
        let first = |key: &[u8]| memtable.first(INDEX, key, RowId::MAX).map(RowId::get);
        assert_eq!([first(b"a"), first(b"b"), first(b"c")], [None, Some(9), Some(8)]);
        assert_eq!(memtable.first(INDEX, b"b", RowId::new(9)), None);
        assert_eq!(memtable.sweep(INDEX, &mut |_| false), Removed::default());
        let rest = memtable.sweep(INDEX, &mut |_| true);
        assert_eq!((rest.entries, some.bytes + rest.bytes), (2, charged));
        assert_eq!(memtable.first(other.index, b"a", RowId::MAX), Some(other.row), "it is of another index");
    }

    #[test]
    fn a_key_is_crowded_at_each_doubling_of_its_rows() {
        let memtable = BTreeMemtable::default();
        let mut crowded_at = Vec::new();
        for row in 1..3_000 {
            let inserted = memtable.insert(&[entry(b"b", 1), entry(b"a", row)]);
            if !inserted.crowded.is_empty() {
                assert_eq!(inserted.crowded, [1]);
                crowded_at.push(row);
            }
        }
        assert_eq!(crowded_at, [16, 32, 64, 128, 256, 512, 1024]);
    }

    #[test]
    fn chunks_split_a_key_and_go_on_behind_its_last_row() {
        let memtable = BTreeMemtable::default();
        memtable.insert(&[entry(b"a", 1), entry(b"a", 2), entry(b"a", 3), entry(b"b", 4)]);
        let mut scan = ChunkScan {
            index: INDEX,
            start: None,
            beyond_row: None,
            reverse: false,
            below: RowId::MAX,
            limit: 2,
        };
        let mut batch = EntryBatch::default();
        assert_eq!(memtable.chunk(&scan, &mut batch), ChunkEnd::Full);
        (scan.start, scan.beyond_row) = (Some(&b"a"[..]), Some(RowId::new(2)));
        assert_eq!(memtable.chunk(&scan, &mut batch), ChunkEnd::Full);
        assert_eq!(rows(&batch), [3, 2, 1, 4]);
        (scan.start, scan.beyond_row, scan.reverse, scan.limit) =
            (Some(&b"a"[..]), Some(RowId::new(1)), true, 9);
        batch.clear();
        assert_eq!(memtable.chunk(&scan, &mut batch), ChunkEnd::Exhausted);
        assert_eq!(rows(&batch), [2, 3]);
    }

    #[test]
    fn a_scan_below_all_rows_lets_the_lock_go_now_and_then() {
        let memtable = BTreeMemtable::default();
        let keys: Vec<[u8; 4]> = (0..3000u32).map(u32::to_be_bytes).collect();
        memtable.insert(&keys.iter().map(|key| entry(key, 7)).collect::<Vec<_>>());
        let scan = ChunkScan {
            index: INDEX,
            start: None,
            beyond_row: None,
            reverse: false,
            below: RowId::new(7),
            limit: 64,
        };
        let mut batch = EntryBatch::default();
        let end = memtable.chunk(&scan, &mut batch);
        assert_eq!(end, ChunkEnd::Resume(1024u32.to_be_bytes().to_vec()));
        assert_eq!(batch.len(), 0);
    }
}
