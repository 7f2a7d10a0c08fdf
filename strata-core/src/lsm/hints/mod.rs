//! Hints: the newest row that a key was found to have, so that finding it again takes no walk through tables.
//!
//! A hash table beside the tree, as InnoDB's adaptive hash index. An entry is a word: the row, and a tag of the key rather
//! than the key. So a hint may be of another key, one time in millions, or out of date: the key may have a newer row by now, and the
//! row may be dead. It helps who asks for the one row that a unique key has, and looks at the row: where that is live and
//! has the key, it is the one; else the tree is asked. Nothing has to be invalidated, and keys of any length have hints.
//!
//! A bucket is a line of memory. What a lookup has found takes the place of another; what was read beside it, or is flushed, only
//! fills what is empty. The table is a fixed part of the memory pool, taken with the first lookup's hint that comes when so much is
//! free; others wait until memory is to spare.
//!
//! **Concurrency.** No locks: an entry is one atomic word, which depends on no other. Of two that are written at once one may be
//! lost, or a key may have two, of which the one that stands first counts.

mod bucket;

use std::hash::BuildHasher;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;

use crate::ids::RowId;
use crate::memory::{MemoryPool, Reservation};
use crate::prefetch::LINE_BYTES;
use crate::sync::{AtomicU64, zeroed_words};

use bucket::{Bucket, Hint, Tag};

const CONSUMER: &str = "key hints";
/// The part of the pool that hints take.
const POOL_PART: usize = 16;
const BYTES_MAX: usize = 1 << 31;
const BUCKETS_MIN: usize = 64;
/// Entries of a bucket.
const WAYS: usize = 8;
/// A bucket is as long as a line of memory.
const _: () = assert!(WAYS * size_of::<u64>() == LINE_BYTES);

/// The hints of one tree.
pub(crate) struct Hints {
    pool: MemoryPool,
    /// The same in each process: what a run does depends on nothing else.
    hasher: foldhash::fast::FixedState,
    table: OnceLock<Table>,
    /// Held by who makes the table: it is too large to be made twice.
    making: Mutex<()>,
    turn: Turn,
}

/// Which entry of a full bucket is given up next: on a line of its own, since it changes under those who read the others.
#[derive(Default)]
#[repr(align(64))]
struct Turn(AtomicUsize);

struct Table {
    /// Buckets end to end, after what lies before the first whole line; zeros are empty entries.
    words: Box<[AtomicU64]>,
    first: usize,
    buckets: usize,
    _reservation: Reservation,
}

impl Hints {
    pub fn new(pool: MemoryPool) -> Self {
        let hasher = foldhash::fast::FixedState::default();
        Self { pool, hasher, table: OnceLock::new(), making: Mutex::new(()), turn: Turn::default() }
    }

    /// The largest row that was told for a prefix, or for another one with the same tag; seldom an older one, or none.
    pub fn get(&self, prefix: &[u8]) -> Option<RowId> {
        let (bucket, tag) = self.table.get()?.place(self.hasher.hash_one(prefix))?;
        bucket.get(tag)
    }

    /// Tells a row that a lookup has found.
    pub fn found(&self, prefix: &[u8], row: RowId) {
        self.put(prefix, row, true);
    }

    /// Tells a row that was met without being looked for.
    pub fn beside(&self, prefix: &[u8], row: RowId) {
        self.put(prefix, row, false);
    }

    fn put(&self, prefix: &[u8], row: RowId, displaces: bool) {
        let Some(table) = self.table_to_fill(displaces) else { return };
        let Some((bucket, tag)) = table.place(self.hasher.hash_one(prefix)) else { return };
        if let Some(hint) = Hint::new(tag, row) {
            bucket.put(hint, || displaces.then(|| self.turn.0.fetch_add(1, Ordering::Relaxed)));
        }
    }

    /// The table; if there is none yet, one is made for a lookup, or while memory is to spare.
    fn table_to_fill(&self, is_lookup: bool) -> Option<&Table> {
        if let Some(table) = self.table.get() {
            return Some(table);
        }
        if self.pool.available() < Table::bytes(&self.pool) || !(is_lookup || self.pool.is_to_spare()) {
            return None;
        }
        let _making = self.making.try_lock()?;
        if self.table.get().is_none() {
            let _ = self.table.set(Table::new(&self.pool)?);
        }
        self.table.get()
    }

    /// Forgets all.
    #[cfg(test)]
    pub fn clear(&self) {
        let words = self.table.get().into_iter().flat_map(|table| &table.words);
        words.for_each(|word| word.store(0, Ordering::Relaxed));
    }
}

impl Table {
    /// What it takes of a pool.
    fn bytes(pool: &MemoryPool) -> usize {
        let lines = (pool.cap() / POOL_PART).min(BYTES_MAX) / LINE_BYTES;
        lines.max(BUCKETS_MIN + 1) * LINE_BYTES
    }

    /// `None` where there is not so much memory.
    fn new(pool: &MemoryPool) -> Option<Self> {
        let bytes = Self::bytes(pool);
        let reservation = pool.try_reserve(CONSUMER, bytes)?;
        let words = zeroed_words(bytes / size_of::<u64>())?;
        let first = words.as_ptr().align_offset(LINE_BYTES).min(WAYS);
        // A line goes, so that the first bucket can begin where one does.
        Some(Self { words, first, buckets: bytes / LINE_BYTES - 1, _reservation: reservation })
    }

    /// The bucket of a hash, from its upper half, and the tag, from its lower.
    fn place(&self, hash: u64) -> Option<(Bucket<'_>, Tag)> {
        let bucket = ((hash >> 32) as usize * self.buckets) >> 32;
        let start = self.first + bucket * WAYS;
        Some((Bucket(self.words.get(start..start + WAYS)?), Tag::new(hash)))
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn hints(memory: usize) -> Hints {
        Hints::new(MemoryPool::new(memory))
    }

    /// So many, or so few under Miri, which is a thousand times slower.
    const fn many(count: u64, under_miri: u64) -> u64 {
        if cfg!(miri) { under_miri } else { count }
    }

    fn prefix(key: u64) -> Vec<u8> {
        [&[0, 0, 0, 9][..], &key.to_be_bytes()].concat()
    }

    #[test]
    fn the_largest_row_of_a_prefix_is_kept() {
        let hints = hints(1 << 20);
        assert_eq!(hints.get(&prefix(1)), None);
        hints.found(&prefix(1), RowId::new(7));
        hints.found(&prefix(1), RowId::new(5));
        hints.beside(&prefix(1), RowId::new(6));
        assert_eq!(hints.get(&prefix(1)), Some(RowId::new(7)));
        hints.beside(&prefix(1), RowId::new(8));
        assert_eq!(hints.get(&prefix(1)), Some(RowId::new(8)));
        assert_eq!(hints.get(&prefix(2)), None);
    }

    #[test]
    fn prefixes_of_any_length_have_hints() {
        let hints = hints(1 << many(26, 20));
        let lengths = 4..many(3_000, 100) as usize;
        for len in lengths.clone() {
            hints.found(&vec![0; len], RowId::new(len as u64));
        }
        let is_known = |len: &usize| hints.get(&vec![0; *len]) == Some(RowId::new(*len as u64));
        assert_eq!(lengths.clone().filter(is_known).count(), lengths.len());
    }

    #[test]
    fn rows_that_an_entry_has_no_room_for_have_no_hints() {
        let hints = hints(1 << 20);
        hints.found(&prefix(1), RowId::new((1 << 40) - 1));
        hints.found(&prefix(2), RowId::new(1 << 40));
        assert_eq!(hints.get(&prefix(1)), Some(RowId::new((1 << 40) - 1)));
        assert_eq!(hints.get(&prefix(2)), None);
    }

    #[test]
    fn what_was_found_displaces_and_what_was_beside_does_not() {
        let hints = hints(64 << 10);
        let told = many(10_000, 2_000);
        (0..told).for_each(|key| hints.found(&prefix(key), RowId::new(key)));
        let known =
            |keys: std::ops::Range<u64>| keys.filter(|key| hints.get(&prefix(*key)).is_some()).count();
        let last = known(told - 10..told);
        assert_eq!((last, known(0..told)), (10, BUCKETS_MIN * WAYS));
        (told..2 * told).for_each(|key| hints.beside(&prefix(key), RowId::new(key)));
        assert_eq!((known(told - 10..told), known(told..2 * told)), (last, 0));
        for key in (0..told).filter(|key| hints.get(&prefix(*key)).is_some()) {
            assert_eq!(hints.get(&prefix(key)), Some(RowId::new(key)));
        }
    }

    #[test]
    fn the_table_is_charged_and_waits_until_there_is_memory_for_it() {
        let pool = MemoryPool::new(1 << 20);
        let hints = Hints::new(pool.clone());
        assert_eq!(pool.used(), 0, "nothing is told yet");
        hints.found(&prefix(1), RowId::new(1));
        let charged = pool.used();
        assert!((1 << 14..=1 << 16).contains(&charged), "{charged} bytes");
        drop(hints);
        assert_eq!(pool.used(), 0);

        let all = pool.try_reserve("test", 1 << 20).expect("is free");
        let hints = Hints::new(pool.clone());
        hints.found(&prefix(1), RowId::new(1));
        assert_eq!(hints.get(&prefix(1)), None);
        drop(all);
        let most = pool.try_reserve("test", 7 << 17).expect("is free");
        hints.beside(&prefix(1), RowId::new(1));
        assert_eq!(hints.get(&prefix(1)), None, "nobody has looked for it, and others need the memory");
        hints.found(&prefix(1), RowId::new(1));
        assert_eq!(hints.get(&prefix(1)), Some(RowId::new(1)));
        drop(most);

        let hints = Hints::new(pool.clone());
        hints.beside(&prefix(1), RowId::new(1));
        assert_eq!(hints.get(&prefix(1)), Some(RowId::new(1)), "memory is to spare");
    }

    /// Memory that is no power of two is used whole, and keys are spread over all of it.
    #[test]
    fn nearly_all_keys_have_hints_while_the_table_is_half_full() {
        let memory = 3 << many(19, 15);
        let hints = hints(memory);
        let entries = memory / POOL_PART / size_of::<u64>();
        let keys = entries as u64 / 2;
        (0..keys).for_each(|key| hints.beside(&prefix(key), RowId::new(key)));
        let known = (0..keys).filter(|key| hints.get(&prefix(*key)) == Some(RowId::new(*key))).count();
        assert!(known as u64 > keys / 100 * 97, "{known} of {keys}");
    }

    #[test]
    fn threads_tell_hints_at_once() {
        let hints = hints(1 << 20);
        let (threads, keys, rounds) = (4, many(1_000, 40), many(50, 5));
        std::thread::scope(|scope| {
            for thread in 0..threads {
                let hints = &hints;
                scope.spawn(move || {
                    for round in 0..rounds {
                        for key in 0..keys {
                            let row = RowId::new(key + keys * (round * threads + thread));
                            hints.found(&prefix(key), row);
                            let hint = hints.get(&prefix(key));
                            assert!(hint.is_some_and(|hint| hint.get() % keys == key), "{key}: {hint:?}");
                        }
                    }
                });
            }
        });
        let newest =
            |key: &u64| hints.get(&prefix(*key)) == Some(RowId::new(key + keys * (rounds * threads - 1)));
        let known = (0..keys).filter(newest).count() as u64;
        assert_eq!(known, keys);
    }
}
