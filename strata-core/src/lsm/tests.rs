//! The tree as a whole: named interleavings here, a random model in `tests/model.rs`.

mod model;

use std::collections::BTreeSet;
use std::ops::Bound;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::block::{BlockStore, MemBlockStore};
use crate::cache::{CacheOptions, PageCache};
use crate::ids::{IndexId, RowId};
use crate::lsm::{
    CompactionOutcome, FlushOutcome, IndexEntry, IndexTree, Liveness, LsmOptions, RangeCursor, SsTableWriter,
    TableOptions,
};
use crate::manifest::{Edit, ManifestState, SsTableMeta};
use crate::memory::MemoryPool;

pub(crate) const PK: IndexId = IndexId::new(1);

/// Garbage and dropped indexes, as a test says.
#[derive(Default)]
pub(crate) struct Marked {
    garbage: Mutex<BTreeSet<(IndexId, RowId)>>,
    dropped: Mutex<BTreeSet<IndexId>>,
    unique: Mutex<BTreeSet<IndexId>>,
}

impl Liveness for Marked {
    fn is_garbage(&self, index: IndexId, row: RowId) -> bool {
        self.garbage.lock().contains(&(index, row))
    }

    fn index_exists(&self, index: IndexId) -> bool {
        !self.dropped.lock().contains(&index)
    }

    fn is_unique(&self, index: IndexId) -> bool {
        self.unique.lock().contains(&index)
    }
}

/// A tree with a manifest beside it, which does what the maintenance does.
pub(crate) struct Bench {
    pub cache: Arc<PageCache>,
    pub store: Arc<MemBlockStore>,
    pub tree: IndexTree,
    pub manifest: ManifestState,
    pub marked: Marked,
    pub options: LsmOptions,
}

impl Bench {
    pub fn new(options: LsmOptions) -> Self {
        let store = Arc::new(MemBlockStore::new());
        let pool = MemoryPool::new(64 << 20);
        let cache = PageCache::new(Arc::clone(&store) as Arc<dyn BlockStore>, pool, CacheOptions::default());
        let tree = IndexTree::open(Arc::clone(&cache), &[], 0, options.clone()).expect("an empty tree opens");
        Self { cache, store, tree, manifest: ManifestState::default(), marked: Marked::default(), options }
    }

    /// Tables of a few entries and levels of a few tables, so that little data makes a deep tree.
    pub fn small() -> Self {
        let table =
            TableOptions { table_bytes: 600, block_bytes: 100, filter_keys: 20, ..TableOptions::default() };
        Self::new(LsmOptions {
            table,
            level_0_runs: 3,
            level_1_bytes: 2000,
            level_growth: 3,
            compaction_bytes: 4000,
        })
    }

    pub fn apply(&self, entries: &[(IndexId, &[u8], u64)]) {
        let entries: Vec<IndexEntry<'_>> = entries
            .iter()
            .map(|(index, key, row)| IndexEntry { index: *index, key, row: RowId::new(*row) })
            .collect();
        let key_bytes = entries.iter().map(|entry| entry.key.len()).sum();
        let reservation = self.tree.reserve(entries.len(), key_bytes).expect("the pool is large");
        self.tree.apply(&entries, reservation);
    }

    pub fn bulk_tables(&self, entries: &[(IndexId, &[u8], u64)], row_base: u64) -> Vec<SsTableMeta> {
        let store: Arc<dyn BlockStore> = Arc::clone(&self.store) as _;
        let mut writer = SsTableWriter::new(store, self.cache.pool().clone(), self.options.table.clone());
        for (index, key, ordinal) in entries {
            writer.add(*index, key, RowId::new(*ordinal)).expect("in order");
        }
        let mut tables = writer.finish().expect("room");
        tables.iter_mut().for_each(|meta| meta.row_base = row_base);
        tables
    }

    pub fn adopt(&self, entries: &[(IndexId, &[u8], u64)], row_base: u64) -> Vec<SsTableMeta> {
        self.tree.adopt(self.bulk_tables(entries, row_base)).expect("sound bounds")
    }

    fn commit(&mut self, edits: &[Edit]) {
        for edit in edits {
            self.manifest.apply(edit).expect("the edit fits the state");
        }
    }

    pub fn install_flush(&mut self, outcome: FlushOutcome) {
        self.commit(&outcome.edits());
        self.tree.install(outcome.change).expect("sound bounds");
    }

    pub fn install_compaction(&mut self, outcome: CompactionOutcome) {
        self.commit(&outcome.edits);
        self.tree.install(outcome.change).expect("sound bounds");
    }

    pub fn flush(&mut self) {
        let boundary = self.tree.seal();
        let outcome = self.tree.flush(boundary, &self.marked).expect("room");
        self.install_flush(outcome);
    }

    /// One compaction, if one is due; with `full`, whether due or not.
    pub fn compact(&mut self, full: bool) -> Option<CompactionOutcomeCounts> {
        let plan = if full { self.tree.plan_full_compaction() } else { self.tree.plan_compaction() };
        let outcome = self.tree.compact(&plan?, &self.marked).expect("intact");
        let counts = CompactionOutcomeCounts { read: outcome.entries_read, dropped: outcome.entries_dropped };
        self.install_compaction(outcome);
        Some(counts)
    }

    pub fn first(&self, key: &[u8], below: u64) -> Option<u64> {
        self.tree.first(PK, key, RowId::new(below)).expect("intact").map(RowId::get)
    }

    pub fn check(&self) {
        let report = self.tree.check().expect("readable");
        assert_eq!(report.problems, Vec::<String>::new());
    }
}

/// Cursors travel between the threads of a query and outlive the call that made them.
const _: () = {
    const fn travels<T: Send + 'static>() {}
    travels::<crate::lsm::RangeCursor>();
    travels::<crate::lsm::RowsOfKey>();
    travels::<SsTableWriter>();
};

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct CompactionOutcomeCounts {
    pub read: u64,
    pub dropped: u64,
}

#[test]
fn first_hit_wins_a_bulk_load_covers_the_memtable_below_it() {
    // (k, r1), deleted, is in the memtable; COPY ingests (k, r9). A lookup must find r9, not r1.
    let mut bench = Bench::small();
    bench.apply(&[(PK, b"k", 1)]);
    bench.adopt(&[(PK, b"k", 1)], 8);
    assert_eq!(bench.first(b"k", 100), Some(9));
    assert_eq!(bench.first(b"k", 9), Some(1));
    // The older memtable is flushed after the adoption, and still belongs below it.
    bench.flush();
    assert_eq!(bench.first(b"k", 100), Some(9));
    assert_eq!(bench.manifest.sstables.len(), 2);
    bench.check();
    // So it does after a restart.
    bench.tree =
        IndexTree::open(Arc::clone(&bench.cache), &bench.manifest.sstables, 0, bench.options.clone())
            .expect("opens");
    assert_eq!(bench.first(b"k", 100), Some(9));
    bench.compact(true);
    assert_eq!((bench.first(b"k", 100), bench.first(b"k", 9)), (Some(9), Some(1)));
    bench.check();
}

#[test]
fn first_hit_wins_a_backfill_enters_below_the_newer_tail() {
    // The mirror image: the old rows of an index build come first, the tail of newer ones on top.
    let mut bench = Bench::small();
    bench.adopt(&[(PK, b"k", 1), (PK, b"l", 2)], 0);
    bench.apply(&[(PK, b"k", 9)]);
    assert_eq!((bench.first(b"k", 100), bench.first(b"k", 9)), (Some(9), Some(1)));
    bench.flush();
    bench.check();
    assert_eq!(
        (bench.first(b"k", 100), bench.first(b"k", 9), bench.first(b"k", 1)),
        (Some(9), Some(1), None)
    );
}

#[test]
fn a_younger_bulk_load_does_not_sink_below_an_unflushed_memtable() {
    let mut bench = Bench::small();
    bench.apply(&[(PK, b"k", 1)]);
    for row in 0..5 {
        bench.adopt(&[(PK, b"k", 0)], 10 + row);
        assert_eq!(bench.compact(false), None, "nothing below the memtable and the journal may move");
        assert_eq!(bench.compact(true), None);
    }
    bench.flush();
    assert!(bench.compact(false).is_some());
    assert_eq!((bench.first(b"k", 100), bench.first(b"k", 10)), (Some(14), Some(1)));
    bench.check();
}

#[test]
fn a_source_with_only_later_rows_does_not_end_the_search() {
    let mut bench = Bench::small();
    bench.apply(&[(PK, b"k", 1)]);
    bench.flush();
    bench.apply(&[(PK, b"k", 7), (PK, b"k", 9)]);
    bench.flush();
    bench.apply(&[(PK, b"k", 12)]);
    let found: Vec<_> = [20, 12, 9, 7, 1, 0].map(|below| bench.first(b"k", below)).to_vec();
    assert_eq!(found, [Some(12), Some(9), Some(7), Some(1), None, None]);
}

#[test]
fn a_compaction_leaves_out_garbage_and_dropped_indexes() {
    let mut bench = Bench::small();
    let gone = IndexId::new(7);
    bench.apply(&[(PK, b"a", 1), (PK, b"a", 2), (PK, b"b", 3), (gone, b"z", 4)]);
    bench.flush();
    bench.apply(&[(PK, b"c", 5)]);
    bench.flush();
    bench.marked.garbage.lock().insert((PK, RowId::new(1)));
    bench.marked.dropped.lock().insert(gone);
    assert_eq!(bench.compact(true), Some(CompactionOutcomeCounts { read: 5, dropped: 2 }));
    assert_eq!((bench.first(b"a", 9), bench.first(b"a", 2)), (Some(2), None));
    assert_eq!(bench.tree.first(gone, b"z", RowId::MAX).expect("intact"), None);
    assert_eq!(bench.tree.version().entries(), 3);
    // A flush leaves it out as well, and where nothing is left there is no table.
    bench.apply(&[(PK, b"a", 1), (gone, b"y", 2)]);
    bench.flush();
    assert_eq!(bench.manifest.sstables.len(), 1);
}

#[test]
fn blocks_go_when_the_last_reader_goes() {
    let mut bench = Bench::small();
    for row in 0..6 {
        bench.apply(&[(PK, b"a", row), (PK, b"b", row + 10)]);
        bench.flush();
    }
    let mut cursor = bench.tree.range(PK, Bound::Unbounded, Bound::Unbounded, false, RowId::MAX);
    assert!(cursor.next().expect("intact").is_some());
    let before = bench.store.used_bytes();
    bench.compact(true);
    assert!(bench.store.used_bytes() > before, "inputs stay for the cursor");
    let mut rest = 0;
    while cursor.next().expect("intact").is_some() {
        rest += 1;
    }
    assert_eq!(rest, 11);
    drop(cursor);
    assert!(bench.store.used_bytes() < before, "inputs are gone");
    bench.check();
}

#[test]
fn a_failed_flush_frees_what_it_wrote_and_keeps_the_memtable() {
    let mut bench = Bench::small();
    bench.store = Arc::new(MemBlockStore::with_limit(2 * 4096));
    let pool = MemoryPool::new(64 << 20);
    bench.cache = PageCache::new(Arc::clone(&bench.store) as _, pool, CacheOptions::default());
    bench.tree = IndexTree::open(Arc::clone(&bench.cache), &[], 0, bench.options.clone()).expect("opens");
    let keys: Vec<[u8; 4]> = (0..2000u32).map(u32::to_be_bytes).collect();
    let entries: Vec<_> = keys.iter().zip(1..).map(|(key, row)| (PK, &key[..], row)).collect();
    bench.apply(&entries);
    let boundary = bench.tree.seal();
    assert!(bench.tree.flush(boundary, &bench.marked).is_err());
    assert_eq!(bench.store.used_bytes(), 0);
    assert_eq!(bench.first(&keys[77], 5000), Some(78));
    assert_eq!(bench.tree.sealed_count(), 1);
}

#[test]
fn memory_of_a_memtable_is_given_back_with_it() {
    let mut bench = Bench::small();
    let before = bench.cache.pool().used();
    bench.apply(&[(PK, b"a", 1), (PK, b"a", 2), (PK, b"b", 3)]);
    assert!(bench.tree.memtable_bytes() > 0);
    assert_eq!(bench.cache.pool().used(), before + bench.tree.memtable_bytes());
    bench.flush();
    assert_eq!((bench.tree.memtable_bytes(), bench.tree.sealed_bytes()), (0, 0));
    assert_eq!(bench.cache.pool().used(), before + bench.cache.stats().bytes);
}

#[test]
fn a_flush_tells_the_hints_of_unique_keys() {
    let mut bench = Bench::small();
    let other = IndexId::new(2);
    bench.marked.unique.lock().insert(PK);
    bench.marked.garbage.lock().insert((PK, RowId::new(5)));
    bench.apply(&[
        (PK, b"a", 1),
        (PK, b"a", 3),
        (PK, b"b", 2),
        (PK, b"b", 5),
        (PK, b"c", 4),
        (other, b"a", 9),
    ]);
    let hint = |bench: &Bench, index, key: &[u8]| bench.tree.hint(index, key).map(RowId::get);
    assert_eq!(hint(&bench, PK, b"a"), None, "it is in the memtable");
    bench.flush();
    let known = [b"a", b"b", b"c", b"d"].map(|key| hint(&bench, PK, key));
    assert_eq!(known, [Some(3), Some(2), Some(4), None]);
    assert_eq!(hint(&bench, other, b"a"), None, "its keys may have many rows");
}

#[test]
fn garbage_of_a_hot_key_leaves_the_memtable() {
    let bench = Bench::small();
    for row in 0..100 {
        bench.apply(&[(PK, b"counter", row)]);
        if row > 0 {
            bench.marked.garbage.lock().insert((PK, RowId::new(row - 1)));
        }
    }
    assert_eq!(bench.tree.remove_garbage(PK, b"counter", &bench.marked), 99);
    assert_eq!((bench.first(b"counter", 100), bench.first(b"counter", 99)), (Some(99), None));
}

#[test]
fn a_range_leaps_over_rows_that_are_too_new_in_both_directions() {
    let mut bench = Bench::small();
    let old: Vec<(IndexId, &[u8], u64)> = vec![(PK, b"a", 1), (PK, b"b", 2), (PK, b"c", 3)];
    bench.apply(&old);
    bench.flush();
    let hot: Vec<(IndexId, &[u8], u64)> = (10..2000).map(|row| (PK, &b"b"[..], row)).collect();
    bench.apply(&hot);
    bench.flush();
    for reverse in [false, true] {
        let mut cursor = bench.tree.range(PK, Bound::Unbounded, Bound::Unbounded, reverse, RowId::new(12));
        let mut found = Vec::new();
        while let Some((_, row)) = cursor.next().expect("intact") {
            found.push(row.get());
        }
        assert_eq!(found, if reverse { [3, 2, 10, 11, 1] } else { [1, 11, 10, 2, 3] });
    }
    let misses = bench.cache.stats().misses;
    let mut rows = bench.tree.rows_of_key(PK, b"b", RowId::new(10)).expect("intact");
    assert_eq!(rows.next().expect("intact"), Some(RowId::new(2)));
    assert_eq!(rows.next().expect("intact"), None);
    assert!(bench.cache.stats().misses - misses < 10, "the new rows were read");
}

#[test]
fn a_pool_full_of_memtables_can_be_flushed() {
    let mut bench = Bench::small();
    let pool = MemoryPool::new(8 << 20);
    bench.cache = PageCache::new(Arc::clone(&bench.store) as _, pool.clone(), CacheOptions::default());
    bench.tree = IndexTree::open(Arc::clone(&bench.cache), &[], 0, LsmOptions::default()).expect("opens");
    let mut row = 0u64;
    while let Ok(reservation) = bench.tree.reserve(1000, 8000) {
        let keys: Vec<[u8; 8]> = (row..row + 1000).map(u64::to_be_bytes).collect();
        let entries: Vec<IndexEntry<'_>> =
            keys.iter().map(|key| IndexEntry { index: PK, key, row: RowId::new(row) }).collect();
        bench.tree.apply(&entries, reservation);
        row += 1000;
    }
    let rest = pool.available();
    let hog = pool.reserve("test", rest).expect("what is there");
    bench.flush();
    drop(hog);
    assert_eq!(bench.first(&5u64.to_be_bytes(), 5000), Some(0));
    assert_eq!(bench.tree.version().entries(), row);
}

#[test]
fn an_entry_in_two_sources_is_handed_out_once() {
    // As after a replay past a flush; with the heap's very first row.
    let mut bench = Bench::small();
    let entries: Vec<(IndexId, &[u8], u64)> = vec![(PK, b"a", 0), (PK, b"a", 1), (PK, b"b", 2)];
    bench.apply(&entries);
    bench.flush();
    bench.apply(&entries);
    for reverse in [false, true] {
        let upper = Bound::Included(b"b".to_vec());
        let mut cursor = bench.tree.range(PK, Bound::Included(b"a".to_vec()), upper, reverse, RowId::MAX);
        let mut found = Vec::new();
        while let Some((_, row)) = cursor.next().expect("intact") {
            found.push(row.get());
        }
        assert_eq!(found, if reverse { [2, 0, 1] } else { [1, 0, 2] });
    }
    let mut upper = bench.tree.range(PK, Bound::Unbounded, Bound::Included(b"a".to_vec()), true, RowId::MAX);
    assert_eq!(upper.next().expect("intact"), Some((&b"a"[..], RowId::new(0))));
    let mut rows = bench.tree.rows_of_key(PK, b"a", RowId::MAX).expect("intact");
    let found = [(); 3].map(|()| rows.next().expect("intact").map(RowId::get));
    assert_eq!(found, [Some(1), Some(0), None]);
    bench.check();
}

/// Goes over this many entries, saying of each that it is garbage.
fn walk_over_garbage(cursor: &mut RangeCursor, entries: usize) {
    for _ in 0..entries {
        assert!(cursor.next().expect("intact").is_some());
        assert!(!cursor.note_garbage(), "it stands in a table");
    }
}

#[test]
fn a_stretch_of_garbage_that_two_walks_found_at_once_sends_no_walk_round_in_circles() {
    let bench = Bench::new(LsmOptions::default());
    let keys: Vec<[u8; 4]> = (0..200u32).map(u32::to_be_bytes).collect();
    let entries: Vec<_> = keys.iter().zip(0..).map(|(key, row)| (PK, &key[..], row)).collect();
    assert_eq!(bench.adopt(&entries, 0).len(), 1);
    let from = |number: usize| {
        let lower = Bound::Included(keys[number].to_vec());
        bench.tree.range(PK, lower, Bound::Unbounded, false, RowId::MAX)
    };
    // The first walk is at the end of what is decoded at a time; what the second one finds covers all of that, and
    // a little more, which the first one then leaps over.
    let mut first = from(65);
    walk_over_garbage(&mut first, 15);
    walk_over_garbage(&mut from(0), 81);
    walk_over_garbage(&mut first, 1);
    assert!(first.has_leapt());
    drop(first);
    let mut back = bench.tree.range(PK, Bound::Unbounded, Bound::Unbounded, true, RowId::MAX);
    let mut found: Vec<Vec<u8>> = Vec::new();
    while let Some((key, _)) = back.next().expect("intact") {
        assert!(found.last().is_none_or(|last| key < &last[..]), "{key:?} comes after {:?}", found.last());
        found.push(key.to_vec());
    }
    assert!(found.len() < keys.len(), "it leaps too");
    let living: Vec<Vec<u8>> = keys[82..].iter().rev().map(|key| key.to_vec()).collect();
    assert_eq!(found[..living.len()], living, "the living are all there");
}

#[test]
fn the_checker_sees_an_older_row_above_a_newer_one() {
    let mut bench = Bench::small();
    bench.apply(&[(PK, b"k", 9), (PK, b"l", 3)]);
    bench.flush();
    bench.check();
    // What an index build that enters from above would do.
    bench.apply(&[(PK, b"k", 5)]);
    let report = bench.tree.check().expect("readable");
    assert_eq!((report.problems.len(), report.entries, report.tables), (1, 3, 1));
}
