//! The first bytes of sorted keys, side by side: what most comparisons of a search need, in a cache line or two.
//!
//! Keys of one block share a prefix as a rule, which says nothing; the *head* of a key is the eight bytes after that, as a
//! big-endian number, with zeros where the key is shorter. Heads order as keys do, as far as they differ.

use std::cmp::Ordering;

use crate::lsm::sstable::data_block::common_len;

/// The heads of some sorted keys.
#[derive(Debug)]
pub(crate) struct Heads {
    /// What all keys begin with.
    common: Box<[u8]>,
    heads: Box<[u64]>,
}

impl Heads {
    /// The heads of these keys, which ascend.
    pub fn new(keys: &[&[u8]]) -> Self {
        let (first, last) =
            (keys.first().copied().unwrap_or_default(), keys.last().copied().unwrap_or_default());
        let common = common_len(first, last);
        let heads = keys.iter().map(|key| head(key.get(common..).unwrap_or_default())).collect();
        Self { common: first.get(..common).unwrap_or_default().into(), heads }
    }

    pub fn size_bytes(&self) -> usize {
        self.common.len() + self.heads.len() * size_of::<u64>()
    }

    /// How many of the keys come before `target`. Where a head does not tell, `is_before` looks at the key itself.
    ///
    /// # Errors
    /// Those of `is_before`.
    pub fn partition_point<E>(
        &self,
        target: &[u8],
        mut is_before: impl FnMut(usize) -> Result<bool, E>,
    ) -> Result<usize, E> {
        let Some(rest) = target.strip_prefix(&*self.common) else {
            return Ok(if *target < *self.common { 0 } else { self.heads.len() });
        };
        let wanted = head(rest);
        let (mut low, mut high) = (0, self.heads.len());
        while low < high {
            let middle = low + (high - low) / 2;
            let before = match self.heads[middle].cmp(&wanted) {
                Ordering::Less => true,
                Ordering::Greater => false,
                Ordering::Equal => is_before(middle)?,
            };
            if before {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        Ok(low)
    }
}

fn head(rest: &[u8]) -> u64 {
    let mut bytes = [0; 8];
    let length = rest.len().min(bytes.len());
    bytes[..length].copy_from_slice(&rest[..length]);
    u64::from_be_bytes(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn search(keys: &[&[u8]], target: &[u8]) -> (usize, usize) {
        let mut looked = 0;
        let found = Heads::new(keys).partition_point(target, |place| {
            looked += 1;
            Ok::<_, ()>(keys[place] < target)
        });
        (found.expect("never fails"), looked)
    }

    #[test]
    fn heads_tell_keys_apart_and_keys_decide_where_they_do_not() {
        let keys: Vec<Vec<u8>> = [
            &b"tab"[..],
            b"tab\0",
            b"tab\0\0",
            b"tabaaaaaaaa",
            b"tabaaaaaaaab",
            b"tabaaaaaaaac",
            b"tabb",
            b"tabbb",
        ]
        .map(<[u8]>::to_vec)
        .to_vec();
        let keys: Vec<&[u8]> = keys.iter().map(Vec::as_slice).collect();
        let targets = [
            &b""[..],
            b"ta",
            b"tab",
            b"tab\0",
            b"tab\0\0",
            b"tab\0\0\0",
            b"tabaaaaaaa",
            b"tabaaaaaaaa",
            b"tabaaaaaaaabz",
            b"tabaaaaaaaad",
            b"tabaz",
            b"tabb",
            b"tabba",
            b"tabc",
            b"tac",
            b"u",
            b"sab",
        ];
        for target in targets {
            let expected = keys.iter().filter(|key| **key < target).count();
            assert_eq!(search(&keys, target).0, expected, "{target:?}");
        }
        assert_eq!(search(&[], b"a").0, 0);
    }

    #[test]
    fn keys_that_differ_early_are_not_looked_at() {
        let keys: Vec<[u8; 12]> = (0..100_u64)
            .map(|number| {
                let mut key = [7; 12];
                key[4..].copy_from_slice(&(number * 3).to_be_bytes());
                key
            })
            .collect();
        let keys: Vec<&[u8]> = keys.iter().map(|key| &key[..]).collect();
        assert_eq!(search(&keys, &[&[7; 4][..], &100_u64.to_be_bytes()].concat()), (34, 0));
        assert_eq!(search(&keys, &[&[7; 4][..], &99_u64.to_be_bytes()].concat()), (33, 1));
    }
}
