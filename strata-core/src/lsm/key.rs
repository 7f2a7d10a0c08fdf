//! Keys of the tree: entries, their order and their encoded form.
//!
//! An entry is (index, key, row). The order is index ascending, key ascending as bytes, **row descending**, so
//! that the newest version of a key comes first. Inside the tree, index and key travel together as the
//! *prefix*: `u32 BE index ++ key`; where an entry needs to be one byte string (the bounds of a table in the
//! manifest) it is `prefix ++ u64 BE !row`. Comparing is always done by (prefix, row), never on the concatenation,
//! so nothing here needs keys to be prefix-free.

use std::cmp::Ordering;
use std::ops::Bound;

use crate::ids::{IndexId, RowId};

/// An entry to be added: the row of that RowId has that key in that index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IndexEntry<'a> {
    /// The index, which is one key space of the tree.
    pub index: IndexId,
    /// The encoded key.
    pub key: &'a [u8],
    /// The row version.
    pub row: RowId,
}

/// Bytes of the index id in front of a key.
pub(crate) const INDEX_BYTES: usize = 4;
/// Bytes of the row behind a key in the encoded form.
const ROW_BYTES: usize = 8;

/// A place in the tree's order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Position<'a> {
    /// `u32 BE index ++ key`.
    pub prefix: &'a [u8],
    /// The row; a larger one sorts earlier.
    pub row: RowId,
}

impl Ord for Position<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.prefix.cmp(other.prefix).then_with(|| other.row.cmp(&self.row))
    }
}

impl PartialOrd for Position<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Position<'_> {
    /// The owned twin.
    pub fn to_owned(self) -> PositionBuf {
        PositionBuf { prefix: self.prefix.to_vec(), row: self.row }
    }

    /// `prefix ++ u64 BE !row`.
    pub fn encode(self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.prefix.len() + ROW_BYTES);
        bytes.extend_from_slice(self.prefix);
        bytes.extend_from_slice(&(!self.row.get()).to_be_bytes());
        bytes
    }
}

/// An owned [`Position`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PositionBuf {
    pub prefix: Vec<u8>,
    pub row: RowId,
}

impl PositionBuf {
    /// Reads what [`Position::encode`] wrote; `None` where it is too short to hold an index and a row.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let (prefix, row) = bytes.split_last_chunk::<ROW_BYTES>()?;
        if prefix.len() < INDEX_BYTES {
            return None;
        }
        Some(Self { prefix: prefix.to_vec(), row: RowId::new(!u64::from_be_bytes(*row)) })
    }

    pub fn as_position(&self) -> Position<'_> {
        Position { prefix: &self.prefix, row: self.row }
    }
}

/// `u32 BE index ++ key`.
pub(crate) fn prefix_of(index: IndexId, key: &[u8]) -> Vec<u8> {
    let mut prefix = Vec::with_capacity(INDEX_BYTES + key.len());
    prefix.extend_from_slice(&index.get().to_be_bytes());
    prefix.extend_from_slice(key);
    prefix
}

/// The index and the key of a prefix; `None` where it is shorter than an index id.
pub(crate) fn split_prefix(prefix: &[u8]) -> Option<(IndexId, &[u8])> {
    let (index, key) = prefix.split_first_chunk::<INDEX_BYTES>()?;
    Some((IndexId::new(u32::from_be_bytes(*index)), key))
}

/// The hash that bloom filters use.
pub(crate) fn hash_prefix(prefix: &[u8]) -> u64 {
    xxhash_rust::xxh3::xxh3_64(prefix)
}

const PROBE_INLINE_BYTES: usize = 60;

/// What a point lookup carries from source to source: the prefix, on the stack where it is short, and its hash.
pub(crate) struct Probe {
    inline: [u8; PROBE_INLINE_BYTES],
    len: usize,
    heap: Vec<u8>,
    /// The largest row that is asked for.
    row: RowId,
    /// [`hash_prefix`] of the prefix.
    pub hash: u64,
}

impl Probe {
    /// A lookup of the entries of `key` with a row of at most `row`.
    pub fn new(index: IndexId, key: &[u8], row: RowId) -> Self {
        let len = INDEX_BYTES + key.len();
        let mut probe = Self { inline: [0; PROBE_INLINE_BYTES], len, heap: Vec::new(), row, hash: 0 };
        if let Some(buffer) = probe.inline.get_mut(..len) {
            let (head, tail) = buffer.split_at_mut(INDEX_BYTES);
            head.copy_from_slice(&index.get().to_be_bytes());
            tail.copy_from_slice(key);
        } else {
            probe.heap = prefix_of(index, key);
        }
        probe.hash = hash_prefix(probe.position().prefix);
        probe
    }

    pub fn position(&self) -> Position<'_> {
        let prefix = if self.heap.is_empty() { &self.inline[..self.len] } else { &self.heap[..] };
        Position { prefix, row: self.row }
    }
}

/// One end of a range of positions.
#[derive(Clone, Debug)]
pub(crate) struct Limit {
    pub at: PositionBuf,
    /// Whether an entry exactly there is within.
    pub inclusive: bool,
}

impl Limit {
    /// Where the entries of `index` from `bound` on start.
    pub fn lower(index: IndexId, bound: Bound<&[u8]>) -> Self {
        match bound {
            Bound::Included(key) => Self::new(index, key, RowId::MAX, true),
            Bound::Excluded(key) => Self::new(index, key, RowId::ZERO, false),
            Bound::Unbounded => Self::new(index, &[], RowId::MAX, true),
        }
    }

    /// Where the entries of `index` up to `bound` end; `None` for "with the last index there is".
    pub fn upper(index: IndexId, bound: Bound<&[u8]>) -> Option<Self> {
        match bound {
            Bound::Included(key) => Some(Self::new(index, key, RowId::ZERO, true)),
            Bound::Excluded(key) => Some(Self::new(index, key, RowId::MAX, false)),
            Bound::Unbounded => {
                let next = index.get().checked_add(1)?;
                Some(Self::new(IndexId::new(next), &[], RowId::MAX, false))
            }
        }
    }

    fn new(index: IndexId, key: &[u8], row: RowId, inclusive: bool) -> Self {
        Self { at: PositionBuf { prefix: prefix_of(index, key), row }, inclusive }
    }

    /// Whether `position` is within a range that starts here.
    pub fn admits_from_below(&self, position: Position<'_>) -> bool {
        match position.cmp(&self.at.as_position()) {
            Ordering::Less => false,
            Ordering::Equal => self.inclusive,
            Ordering::Greater => true,
        }
    }

    /// Whether `position` is within a range that ends here.
    pub fn admits_from_above(&self, position: Position<'_>) -> bool {
        match position.cmp(&self.at.as_position()) {
            Ordering::Less => true,
            Ordering::Equal => self.inclusive,
            Ordering::Greater => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn position(prefix: &[u8], row: u64) -> Position<'_> {
        Position { prefix, row: RowId::new(row) }
    }

    #[test]
    fn rows_descend_within_a_key_and_a_prefix_sorts_before_its_extension() {
        assert!(position(b"\0\0\0\x01a", 9) < position(b"\0\0\0\x01a", 3));
        assert!(position(b"\0\0\0\x01a", 0) < position(b"\0\0\0\x01a\0", u64::MAX));
        assert!(position(b"\0\0\0\x01z", 0) < position(b"\0\0\0\x02", 5));
    }

    #[test]
    fn encoded_positions_have_golden_bytes_and_come_back() {
        let encoded = position(b"\0\0\0\x07ab", 258).encode();
        assert_eq!(encoded, b"\0\0\0\x07ab\xff\xff\xff\xff\xff\xff\xfe\xfd");
        let decoded = PositionBuf::decode(&encoded).expect("was encoded");
        assert_eq!(decoded.as_position(), position(b"\0\0\0\x07ab", 258));
        assert_eq!(PositionBuf::decode(&encoded[..11]), None);
    }

    #[test]
    fn long_and_short_probes_hash_alike() {
        for len in [0, 1, 55, 56, 57, 500] {
            let key = vec![7u8; len];
            let probe = Probe::new(IndexId::new(3), &key, RowId::MAX);
            assert_eq!(probe.position().prefix, prefix_of(IndexId::new(3), &key));
            assert_eq!(probe.hash, hash_prefix(&prefix_of(IndexId::new(3), &key)));
        }
    }
}
