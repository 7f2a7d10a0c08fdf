//! The marks of one commit, or of some that no snapshot tells apart.

use super::dense::{DENSE_MARKS, DenseMarks};
use super::{Successor, bit};

/// One mark of a group.
#[derive(Clone, Copy)]
pub(super) struct Entry {
    pub slot: u16,
    /// See [`Successor::to_raw`].
    successor: u64,
}

/// Marks of ascending slots.
pub(super) enum Group {
    List(Box<[Entry]>),
    Dense(DenseMarks),
}

impl Entry {
    pub fn new(slot: u16, successor: Option<Successor>) -> Self {
        Self { slot, successor: Successor::to_raw(successor) }
    }

    pub fn successor(&self) -> Option<Successor> {
        Successor::from_raw(self.successor)
    }
}

/// Memory that a list of `count` marks takes; no other form takes more.
pub(super) const fn list_bytes(count: usize) -> usize {
    count * size_of::<Entry>()
}

impl Group {
    /// The smaller form of these marks, whose slots ascend.
    pub fn new(entries: Vec<Entry>) -> Self {
        if entries.len() >= DENSE_MARKS {
            let dense = DenseMarks::collect(entries.iter().map(|entry| (entry.slot, entry.successor)));
            if dense.size_bytes() <= list_bytes(entries.len()) {
                return Self::Dense(dense);
            }
        }
        Self::List(entries.into())
    }

    pub fn len(&self) -> usize {
        match self {
            Self::List(entries) => entries.len(),
            Self::Dense(dense) => dense.count() as usize,
        }
    }

    /// Memory of the marks.
    pub fn size_bytes(&self) -> usize {
        match self {
            Self::List(entries) => list_bytes(entries.len()),
            Self::Dense(dense) => dense.size_bytes(),
        }
    }

    pub fn find(&self, slot: u16) -> Option<Entry> {
        match self {
            Self::List(entries) => {
                entries.binary_search_by_key(&slot, |entry| entry.slot).ok().map(|place| entries[place])
            }
            Self::Dense(dense) => dense.find(slot).map(|successor| Entry { slot, successor }),
        }
    }

    pub fn iter(&self) -> impl Iterator<Item = Entry> + '_ {
        let (list, dense) = match self {
            Self::List(entries) => (&entries[..], None),
            Self::Dense(dense) => (&[][..], Some(dense)),
        };
        let dense = dense.into_iter().flat_map(DenseMarks::iter);
        list.iter().copied().chain(dense.map(|(slot, successor)| Entry { slot, successor }))
    }

    /// Calls `visit` with each word of the bitmap that has slots of the group, and those.
    pub fn for_each_word(&self, mut visit: impl FnMut(usize, u64)) {
        match self {
            Self::List(entries) => {
                entries.iter().for_each(|entry| visit(usize::from(entry.slot) / 64, bit(entry.slot)));
            }
            Self::Dense(dense) => {
                let words = dense.words().iter().enumerate();
                words.filter(|(_, word)| **word != 0).for_each(|(place, word)| visit(place, *word));
            }
        }
    }
}
