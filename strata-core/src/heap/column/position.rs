//! Which rows of a block to read: by slot for callers, by position within.
//!
//! A row's *slot* is its place in the segment, its *position* its place among the rows that the block has. The two
//! differ in sparse blocks only.

use std::ops::Range;

use super::bits::GROUP;

/// The slots of a segment to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selection {
    /// All slots of the range; each must be present.
    Range(Range<u32>),
    /// These slots, ascending; each must be present.
    Slots(Vec<u32>),
}

impl Selection {
    /// How many slots are selected.
    pub fn len(&self) -> usize {
        match self {
            Self::Range(range) => range.len(),
            Self::Slots(slots) => slots.len(),
        }
    }

    /// Whether nothing is selected.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Ascending positions of a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Positions<'a> {
    /// `start..end`.
    Range(u32, u32),
    /// One by one.
    List(&'a [u32]),
}

impl<'a> Positions<'a> {
    /// How many positions there are.
    pub fn len(self) -> usize {
        match self {
            Self::Range(start, end) => end.saturating_sub(start) as usize,
            Self::List(list) => list.len(),
        }
    }

    /// The first and the last position.
    pub fn bounds(self) -> Option<(u32, u32)> {
        match self {
            Self::Range(start, end) => (start < end).then(|| (start, end - 1)),
            Self::List(list) => Some((*list.first()?, *list.last()?)),
        }
    }

    /// Those below `end`, and the rest.
    pub fn split_at(self, end: u32) -> (Positions<'a>, Positions<'a>) {
        match self {
            Self::Range(start, stop) => {
                let middle = end.clamp(start, stop.max(start));
                (Self::Range(start, middle), Self::Range(middle, stop))
            }
            Self::List(list) => {
                let (head, tail) = list.split_at(list.partition_point(|position| *position < end));
                (Self::List(head), Self::List(tail))
            }
        }
    }

    /// Calls `visit` with each position less `base`.
    pub fn try_for_each<E>(self, base: u32, mut visit: impl FnMut(usize) -> Result<(), E>) -> Result<(), E> {
        match self {
            Self::Range(start, end) => {
                (start..end).try_for_each(|at| visit((at.saturating_sub(base)) as usize))
            }
            Self::List(list) => list.iter().try_for_each(|at| visit(at.saturating_sub(base) as usize)),
        }
    }

    /// The parts that fall into one group of 1,024 each, counted from `base`: the group and its positions.
    pub fn groups(self, base: u32) -> impl Iterator<Item = (usize, Positions<'a>)> {
        let mut rest = self;
        std::iter::from_fn(move || {
            let (first, _) = rest.bounds()?;
            let group = (first.saturating_sub(base)) as usize / GROUP;
            let end = u32::try_from((group + 1) * GROUP).ok().and_then(|end| end.checked_add(base));
            let (head, tail) = rest.split_at(end.unwrap_or(u32::MAX));
            rest = tail;
            Some((group, head))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_split_by_group_from_their_base() {
        let parts: Vec<_> = Positions::Range(1000, 3100).groups(0).collect();
        let expected = [(0, Positions::Range(1000, 1024)), (1, Positions::Range(1024, 2048))];
        assert_eq!(parts[..2], expected);
        assert_eq!(parts[2..], [(2, Positions::Range(2048, 3072)), (3, Positions::Range(3072, 3100))]);
        let list = [1030, 1031, 5000];
        let parts: Vec<_> = Positions::List(&list).groups(1024).collect();
        assert_eq!(parts, [(0, Positions::List(&list[..2])), (3, Positions::List(&list[2..]))]);
        assert_eq!(Positions::Range(5, 5).groups(0).count(), 0);
        assert_eq!(Positions::List(&[]).bounds(), None);
    }
}
