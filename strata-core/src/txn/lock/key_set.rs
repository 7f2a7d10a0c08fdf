//! A set of keys in about five bytes each: of a key it knows 44 bits of its hash.

/// Bits of a hash that are kept.
const BITS: u32 = 44;
/// The low bits, which a shard keeps.
const VALUE_BITS: u32 = 32;
const SHARDS: usize = 1 << (BITS - VALUE_BITS);
/// More hashes than this are put into shards.
const MAX_SMALL: usize = 8_192;

/// Hashes of keys.
#[derive(Debug)]
pub(super) enum KeySet {
    /// Few: sorted.
    Small(Vec<u64>),
    /// Many: by their high bits, the low bits sorted in each.
    Large(Vec<Vec<u32>>),
}

impl KeySet {
    pub fn new() -> Self {
        Self::Small(Vec::new())
    }

    /// What is kept of a hash.
    pub fn reduce(hash: u64) -> u64 {
        hash >> (u64::BITS - BITS)
    }

    pub fn contains(&self, hash: u64) -> bool {
        match self {
            Self::Small(hashes) => hashes.binary_search(&hash).is_ok(),
            Self::Large(shards) => {
                let (shard, value) = split(hash);
                shards.get(shard).is_some_and(|values| values.binary_search(&value).is_ok())
            }
        }
    }

    pub fn insert(&mut self, hash: u64) {
        match self {
            Self::Small(hashes) => {
                if let Err(place) = hashes.binary_search(&hash) {
                    hashes.insert(place, hash);
                }
                if hashes.len() > MAX_SMALL {
                    let mut large = Self::Large(vec![Vec::new(); SHARDS]);
                    hashes.iter().for_each(|hash| large.insert(*hash));
                    *self = large;
                }
            }
            Self::Large(shards) => {
                let (shard, value) = split(hash);
                let Some(values) = shards.get_mut(shard) else { return };
                if let Err(place) = values.binary_search(&value) {
                    if values.len() == values.capacity() {
                        values.reserve_exact(values.len() / 8 + 4);
                    }
                    values.insert(place, value);
                }
            }
        }
    }
}

fn split(hash: u64) -> (usize, u32) {
    ((hash >> VALUE_BITS) as usize, hash as u32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use xxhash_rust::xxh3::xxh3_64;

    fn hash(key: u64) -> u64 {
        KeySet::reduce(xxh3_64(&key.to_le_bytes()))
    }

    #[test]
    fn it_has_what_was_put_in_and_hardly_anything_else() {
        let mut set = KeySet::new();
        for key in 0..60_000 {
            set.insert(hash(key));
            set.insert(hash(key / 2));
            assert!(set.contains(hash(key / 3)) && !set.contains(hash(key + 1)), "key {key}");
        }
        assert!((0..60_000).all(|key| set.contains(hash(key))));
        assert_eq!((60_000..200_000).filter(|key| set.contains(hash(*key))).count(), 0);
        let KeySet::Large(shards) = set else { panic!("it is large") };
        assert_eq!(shards.iter().map(Vec::len).sum::<usize>(), 60_000);
        let bytes: usize = shards.iter().map(|shard| shard.capacity() * 4).sum();
        assert!(bytes < 60_000 * 8, "{bytes} bytes");
    }
}
