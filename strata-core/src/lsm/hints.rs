//! Hints: the newest row that a key was found to have, so that finding it again takes no walk through tables.
//!
//! A hash table beside the tree, as InnoDB's adaptive hash index. What it says stays true, for a row's keys never
//! change and RowIds are not given out twice; it may be out of date: the key may have a newer row by now, and the row
//! may be dead. So a hint helps who asks for the one row that a unique key has: where the hinted row is
//! live, it is that; where not, the tree is asked.
//!
//! Entries are of fixed size, two to a bucket; longer keys have no hints. What a lookup has found takes the place of
//! another; the neighbours that were read with it only fill what is empty. The table is a fixed part of the memory pool,
//! taken when the first hint is given, or not at all where memory is short then.

use std::hash::BuildHasher;
use std::sync::OnceLock;

use parking_lot::RwLock;

use crate::ids::RowId;
use crate::memory::{MemoryPool, Reservation};

const CONSUMER: &str = "key hints";
/// The part of the pool that hints take.
const POOL_PART: usize = 16;
const BYTES_MAX: usize = 1 << 28;
const SHARDS: usize = 64;
/// What fits beside the length byte in three words: an index id and a key of 19 bytes, such as a UUID or two integers.
const PREFIX_BYTES: usize = 23;
/// The row and the prefix.
const ENTRY_WORDS: usize = 4;
const WAYS: usize = 2;
const BUCKET_WORDS: usize = WAYS * ENTRY_WORDS;

/// A prefix with its length in the last byte; no prefix is all zeros.
type Packed = [u64; ENTRY_WORDS - 1];

/// The hints of one tree.
pub(crate) struct Hints {
    pool: MemoryPool,
    hasher: foldhash::fast::RandomState,
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
        Self { pool, hasher: foldhash::fast::RandomState::default(), table: OnceLock::new() }
    }

    /// The largest row that was told for a prefix.
    pub fn get(&self, prefix: &[u8]) -> Option<RowId> {
        let table = self.table.get()?.as_ref()?;
        let packed = pack(prefix)?;
        let (shard, at) = table.place(self.hasher.hash_one(packed));
        let shard = shard.read();
        let bucket = shard.words.get(at..at + BUCKET_WORDS)?;
        let entry = bucket.chunks_exact(ENTRY_WORDS).find(|entry| entry[1..] == packed)?;
        Some(RowId::new(entry[0]))
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
        let Some(packed) = pack(prefix) else { return };
        let Some(table) = self.table.get_or_init(|| Table::new(&self.pool)) else { return };
        let (shard, at) = table.place(self.hasher.hash_one(packed));
        let mut guard = shard.write();
        let shard = &mut *guard;
        let Some(bucket) = shard.words.get_mut(at..at + BUCKET_WORDS) else { return };
        let mut entries = bucket.chunks_exact_mut(ENTRY_WORDS);
        let there = entries.position(|entry| entry[1..] == packed);
        if let Some(way) = there {
            let known = &mut bucket[way * ENTRY_WORDS];
            *known = row.get().max(*known);
            return;
        }
        let empty = bucket.chunks_exact(ENTRY_WORDS).position(|entry| entry[ENTRY_WORDS - 1] == 0);
        let way = match empty {
            Some(way) => way,
            None if displaces => {
                shard.turn = shard.turn.wrapping_add(1);
                shard.turn % WAYS
            }
            None => return,
        };
        let entry = &mut bucket[way * ENTRY_WORDS..][..ENTRY_WORDS];
        entry[0] = row.get();
        entry[1..].copy_from_slice(&packed);
    }
}

impl Table {
    fn new(pool: &MemoryPool) -> Option<Self> {
        let bucket_bytes = BUCKET_WORDS * size_of::<u64>();
        let wanted = (pool.cap() / POOL_PART).min(BYTES_MAX) / bucket_bytes;
        let buckets = (wanted / 2 + 1).next_power_of_two().max(SHARDS);
        let reservation = pool.try_reserve(CONSUMER, buckets * bucket_bytes)?;
        let words = buckets / SHARDS * BUCKET_WORDS;
        let shard = || RwLock::new(Shard { words: vec![0; words].into(), turn: 0 });
        Some(Self { shards: (0..SHARDS).map(|_| shard()).collect(), buckets, _reservation: reservation })
    }

    /// The shard of a hash, and where its bucket is in there.
    fn place(&self, hash: u64) -> (&RwLock<Shard>, usize) {
        let bucket = hash as usize & (self.buckets - 1);
        (&self.shards[bucket % SHARDS], bucket / SHARDS * BUCKET_WORDS)
    }
}

/// `None` where the prefix is too long.
fn pack(prefix: &[u8]) -> Option<Packed> {
    let mut bytes = [0; (PREFIX_BYTES + 1) / size_of::<u64>() * size_of::<u64>()];
    bytes[..PREFIX_BYTES].get_mut(..prefix.len())?.copy_from_slice(prefix);
    bytes[PREFIX_BYTES] = prefix.len() as u8;
    let mut packed = Packed::default();
    for (word, bytes) in packed.iter_mut().zip(bytes.as_chunks().0) {
        *word = u64::from_le_bytes(*bytes);
    }
    Some(packed)
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
    fn prefixes_that_differ_in_length_only_are_not_mixed_up() {
        let hints = hints(1 << 26);
        for len in 4..30 {
            hints.found(&vec![0; len], RowId::new(len as u64));
        }
        for len in 4..30 {
            let expected = (len <= PREFIX_BYTES).then(|| RowId::new(len as u64));
            assert_eq!(hints.get(&vec![0; len]), expected, "{len}");
        }
    }

    #[test]
    fn what_was_found_displaces_and_what_was_beside_does_not() {
        let hints = hints(64 << 10);
        let told = 10_000;
        (0..told).for_each(|key| hints.found(&prefix(key), RowId::new(key)));
        let known =
            |keys: std::ops::Range<u64>| keys.filter(|key| hints.get(&prefix(*key)).is_some()).count();
        let last = known(told - 10..told);
        assert!(last >= 8 && known(0..told) < 200, "{last} of the last ten, {} in all", known(0..told));
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
