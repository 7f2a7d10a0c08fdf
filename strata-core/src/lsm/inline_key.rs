//! A key that lives in the map's node where it is short.

use std::borrow::Borrow;
use std::cmp::Ordering;

/// What fits beside the length byte in 24 bytes.
const INLINE_BYTES: usize = 22;

/// An owned byte string, ordered as its bytes. Integers, dates, UUIDs and pairs of integers need no allocation, and
/// comparing with one touches only the map's node.
#[derive(Clone, Debug)]
pub(crate) enum InlineKey {
    Short(u8, [u8; INLINE_BYTES]),
    Long(Box<[u8]>),
}

impl InlineKey {
    pub fn new(key: &[u8]) -> Self {
        match u8::try_from(key.len()) {
            Ok(len) if key.len() <= INLINE_BYTES => {
                let mut inline = [0; INLINE_BYTES];
                inline[..key.len()].copy_from_slice(key);
                Self::Short(len, inline)
            }
            _ => Self::Long(key.into()),
        }
    }

    /// Whether a key of so many bytes needs no allocation.
    pub fn is_short(key: &[u8]) -> bool {
        key.len() <= INLINE_BYTES
    }

    pub fn as_slice(&self) -> &[u8] {
        match self {
            Self::Short(len, bytes) => &bytes[..usize::from(*len)],
            Self::Long(bytes) => bytes,
        }
    }
}

impl Borrow<[u8]> for InlineKey {
    fn borrow(&self) -> &[u8] {
        self.as_slice()
    }
}

impl PartialEq for InlineKey {
    fn eq(&self, other: &Self) -> bool {
        self.as_slice() == other.as_slice()
    }
}

impl Eq for InlineKey {}

impl PartialOrd for InlineKey {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for InlineKey {
    #[inline]
    fn cmp(&self, other: &Self) -> Ordering {
        match (self, other) {
            // Behind a short key stand zeros: where those decide nothing, one key begins with the other.
            (Self::Short(len, bytes), Self::Short(other_len, other_bytes)) => {
                words(bytes).cmp(&words(other_bytes)).then(len.cmp(other_len))
            }
            _ => self.as_slice().cmp(other.as_slice()),
        }
    }
}

const _: () = assert!(size_of::<InlineKey>() == 24);

/// The bytes as numbers that order as they do. The last two overlap.
#[inline]
fn words(bytes: &[u8; INLINE_BYTES]) -> [u64; 3] {
    let word = |at: usize| bytes[at..].first_chunk().map_or(0, |word| u64::from_be_bytes(*word));
    [word(0), word(8), word(INLINE_BYTES - 8)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_is_that_of_the_bytes_across_both_forms() {
        let mut keys: Vec<Vec<u8>> = (0..40).map(|len| vec![b'a'; len]).collect();
        keys.extend((0..40).map(|len| [vec![b'b'], vec![0; len]].concat()));
        keys.extend((0..23).map(|at| (0..23).map(|byte| if byte == at { 255 } else { 7 }).collect()));
        keys.extend((0..22).map(|at| (0..22).map(|byte| if byte == at { 1 } else { 0 }).collect()));
        keys.extend((0..22).map(|len| vec![0; len]));
        for a in &keys {
            assert_eq!(InlineKey::new(a).as_slice(), a);
            for b in &keys {
                assert_eq!(InlineKey::new(a).cmp(&InlineKey::new(b)), a.cmp(b));
            }
        }
    }
}
