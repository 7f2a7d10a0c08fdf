//! Hints: the newest row that a key was found to have, so that finding it again takes no walk through tables.
//!
//! A hash table beside the tree, as InnoDB's adaptive hash index. An entry is a word: the row, and a tag of the key rather
//! than the key. So a hint may be of another key, one time in millions, or out of date: the key may have a newer row by now, and the
//! row may be dead. It helps who asks for the one row that a unique key has, and looks at the row: where that is live and
//! has the key, it is the one; else the tree is asked. Nothing has to be invalidated, and keys of any length have hints.
//!
//! A bucket is as long as a line of memory. What a lookup has found takes the place of another; the neighbours that were read
//! with it only fill what is empty. The table is a fixed part of the memory pool, taken when the first hint is given, or not
//! at all where memory is short then.

use std::hash::BuildHasher;
use std::sync::OnceLock;

use parking_lot::RwLock;

use crate::ids::RowId;
use crate::memory::{MemoryPool, Reservation};

const CONSUMER: &str = "key hints";
/// The part of the pool that hints take.
const POOL_PART: usize = 16;
const BYTES_MAX: usize = 1 << 31;
const SHARDS: usize = 64;
/// Entries of a bucket.
const WAYS: usize = 8;
/// Bits of the tag; the others are the row's. Rows beyond 2^40 have no hints.
const TAG_BITS: u32 = 24;

/// The hints of one tree.
pub(crate) struct Hints {
    pool: MemoryPool,
    /// The same in each process: what a run does depends on nothing else.
    hasher: foldhash::fast::FixedState,
    table: OnceLock<Option<Table>>,
}

struct Table {
    shards: Box<[RwLock<Shard>]>,
    /// A power of two.
    buckets: usize,
    _reservation: Reservation,
}

struct Shard {
    /// Buckets end to end; zeros are empty entries.
    words: Box<[u64]>,
    /// Which entry of a full bucket is given up next.
    turn: usize,
}

impl Hints {
    pub fn new(pool: MemoryPool) -> Self {
        Self { pool, hasher: foldhash::fast::FixedState::default(), table: OnceLock::new() }
    }

    /// The largest row that was told for a prefix, or for another one with the same tag.
    pub fn get(&self, prefix: &[u8]) -> Option<RowId> {
        let table = self.table.get()?.as_ref()?;
        let (shard, at, tag) = table.place(self.hasher.hash_one(prefix));
        let shard = shard.read();
        let entry = shard.words.get(at..at + WAYS)?.iter().find(|entry| tag_of(**entry) == tag)?;
        Some(RowId::new(entry >> TAG_BITS))
    }

    /// Tells a row that a lookup has found.
    pub fn found(&self, prefix: &[u8], row: RowId) {
        self.put(prefix, row, true);
    }

    /// Tells a row that was read beside what a lookup has found.
    pub fn beside(&self, prefix: &[u8], row: RowId) {
        self.put(prefix, row, false);
    }

    fn put(&self, prefix: &[u8], row: RowId, displaces: bool) {
        if row.get() >> (u64::BITS - TAG_BITS) != 0 {
            return;
        }
        let Some(table) = self.table.get_or_init(|| Table::new(&self.pool)) else { return };
        let (shard, at, tag) = table.place(self.hasher.hash_one(prefix));
        let mut guard = shard.write();
        let shard = &mut *guard;
        let Some(bucket) = shard.words.get_mut(at..at + WAYS) else { return };
        let new = row.get() << TAG_BITS | tag;
        if let Some(known) = bucket.iter_mut().find(|entry| tag_of(**entry) == tag) {
            *known = new.max(*known);
        } else if let Some(empty) = bucket.iter_mut().find(|entry| **entry == 0) {
            *empty = new;
        } else if displaces {
            shard.turn = shard.turn.wrapping_add(1);
            bucket[shard.turn % WAYS] = new;
        }
    }

    /// Forgets all.
    #[cfg(test)]
    pub fn clear(&self) {
        let table = self.table.get().and_then(Option::as_ref);
        table.iter().flat_map(|table| &table.shards).for_each(|shard| shard.write().words.fill(0));
    }
}

impl Table {
    fn new(pool: &MemoryPool) -> Option<Self> {
        let bucket_bytes = WAYS * size_of::<u64>();
        let wanted = (pool.cap() / POOL_PART).min(BYTES_MAX) / bucket_bytes;
        let buckets = (wanted / 2 + 1).next_power_of_two().max(SHARDS);
        let reservation = pool.try_reserve(CONSUMER, buckets * bucket_bytes)?;
        let words = buckets / SHARDS * WAYS;
        let shard = || RwLock::new(Shard { words: vec![0; words].into(), turn: 0 });
        Some(Self { shards: (0..SHARDS).map(|_| shard()).collect(), buckets, _reservation: reservation })
    }

    /// The shard of a hash, where its bucket is in there, and what tells it from others of the bucket: not zero.
    fn place(&self, hash: u64) -> (&RwLock<Shard>, usize, u64) {
        let bucket = hash as usize & (self.buckets - 1);
        let tag = (hash >> (u64::BITS - TAG_BITS)).max(1);
        (&self.shards[bucket % SHARDS], bucket / SHARDS * WAYS, tag)
    }
}

fn tag_of(entry: u64) -> u64 {
    entry & ((1 << TAG_BITS) - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hints(memory: usize) -> Hints {
        Hints::new(MemoryPool::new(memory))
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
        let hints = hints(1 << 26);
        for len in 4..3_000 {
            hints.found(&vec![0; len], RowId::new(len as u64));
        }
        let known =
            (4..3_000).filter(|len| hints.get(&vec![0; *len]) == Some(RowId::new(*len as u64))).count();
        assert_eq!(known, 2_996);
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
        let told = 10_000;
        (0..told).for_each(|key| hints.found(&prefix(key), RowId::new(key)));
        let known =
            |keys: std::ops::Range<u64>| keys.filter(|key| hints.get(&prefix(*key)).is_some()).count();
        let last = known(told - 10..told);
        assert_eq!((last, known(0..told)), (10, SHARDS * WAYS));
        (told..2 * told).for_each(|key| hints.beside(&prefix(key), RowId::new(key)));
        assert_eq!((known(told - 10..told), known(told..2 * told)), (last, 0));
        for key in (0..told).filter(|key| hints.get(&prefix(*key)).is_some()) {
            assert_eq!(hints.get(&prefix(key)), Some(RowId::new(key)));
        }
    }

    #[test]
    fn the_table_is_charged_and_done_without_where_memory_is_short() {
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
    }
}
