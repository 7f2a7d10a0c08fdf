//! Stretches of a table in which every entry is garbage, as walks found them.
//!
//! A table never changes and garbage stays garbage, so such a stretch stays one: later walks leap over it. A queue, whose
//! dead entries stand in front of the living, would otherwise be walked from its start at every look for the first job,
//! until a compaction happens to take its tables. One stretch is known for each table, in memory only: the longest.

use crate::lsm::key::{Position, PositionBuf};

/// Shorter ones are walked.
const ENTRIES_MIN: u64 = 64;
/// By how much a stretch must have grown to be noted anew.
const GROWTH_MIN: u64 = 16;

/// A stretch, both ends included.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DeadRange {
    pub first: PositionBuf,
    pub last: PositionBuf,
    /// At least so many are in it.
    pub entries: u64,
}

impl DeadRange {
    pub fn contains(&self, entry: Position<'_>) -> bool {
        self.first.as_position() <= entry && entry <= self.last.as_position()
    }
}

/// A stretch that one walk has found so far.
#[derive(Debug)]
pub(super) struct Streak {
    /// The table, by its place in the run.
    pub table: usize,
    range: DeadRange,
    /// Entries that the table knew of already.
    known: u64,
}

impl Streak {
    pub fn begin(table: usize, entry: Position<'_>) -> Self {
        let (first, last) = (entry.to_owned(), entry.to_owned());
        Self { table, range: DeadRange { first, last, entries: 1 }, known: 0 }
    }

    /// One that begins with a stretch that was leapt over.
    pub fn leapt(table: usize, range: &DeadRange) -> Self {
        Self { table, range: range.clone(), known: range.entries }
    }

    /// Adds the next entry in the direction of travel.
    pub fn extend(&mut self, entry: Position<'_>, reverse: bool) {
        let end = if reverse { &mut self.range.first } else { &mut self.range.last };
        end.prefix.clear();
        end.prefix.extend_from_slice(entry.prefix);
        end.row = entry.row;
        self.range.entries += 1;
    }

    /// Adds a stretch that the next entry in the direction of travel is in. Another walk may have found it meanwhile, and
    /// it may reach back over what this one has.
    pub fn join(&mut self, range: &DeadRange) {
        let own = &mut self.range;
        let (first, last) = (range.first.as_position(), range.last.as_position());
        let is_apart = last < own.first.as_position() || own.last.as_position() < first;
        // What both have counts once; where neither has all of the other, how much that is nobody knows.
        own.entries = if is_apart { own.entries + range.entries } else { own.entries.max(range.entries) };
        if first < own.first.as_position() {
            own.first = range.first.clone();
        }
        if own.last.as_position() < last {
            own.last = range.last.clone();
        }
        self.known = self.known.max(range.entries);
    }

    /// What is worth being known, if it is.
    pub fn end(self) -> Option<DeadRange> {
        let grown = self.range.entries - self.known;
        (self.range.entries >= ENTRIES_MIN && grown >= GROWTH_MIN).then_some(self.range)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::RowId;

    fn entry(number: u8) -> PositionBuf {
        PositionBuf { prefix: vec![0, 0, 0, 1, number], row: RowId::ZERO }
    }

    fn range(first: u8, last: u8) -> DeadRange {
        DeadRange { first: entry(first), last: entry(last), entries: u64::from(last - first) + 1 }
    }

    /// A streak of a walk over these entries, in that order.
    fn walked(first: u8, last: u8) -> Streak {
        let reverse = last < first;
        let mut streak = Streak::begin(0, entry(first).as_position());
        let rest =
            if reverse { (last..first).rev().collect::<Vec<_>>() } else { (first + 1..=last).collect() };
        rest.into_iter().for_each(|number| streak.extend(entry(number).as_position(), reverse));
        streak
    }

    #[test]
    fn a_joined_stretch_is_all_that_either_had_and_no_entry_counts_twice() {
        let joined = |mut streak: Streak, range: DeadRange| {
            streak.join(&range);
            (streak.range, streak.known)
        };
        for (from, to) in [(65, 79), (79, 65)] {
            assert_eq!(joined(walked(from, to), range(0, 80)), (range(0, 80), 81), "it had none of its own");
        }
        assert_eq!(joined(walked(0, 63), range(64, 99)), (range(0, 99), 36), "end to end");
        assert_eq!(joined(walked(99, 64), range(0, 63)), (range(0, 99), 64), "end to end");
        for (streak, found) in [(walked(0, 63), range(50, 99)), (walked(99, 50), range(0, 63))] {
            let known = found.entries;
            let union = DeadRange { entries: 64, ..range(0, 99) };
            assert_eq!(joined(streak, found), (union, known), "of 100, it is sure of 64");
        }
    }

    #[test]
    fn what_another_walk_has_noted_is_not_noted_anew() {
        let mut streak = walked(65, 79);
        streak.join(&range(0, 80));
        (81..96).for_each(|number| streak.extend(entry(number).as_position(), false));
        assert_eq!(streak.end(), None, "it has grown by 15");
        let mut streak = walked(65, 79);
        streak.join(&range(0, 80));
        (81..97).for_each(|number| streak.extend(entry(number).as_position(), false));
        assert_eq!(streak.end(), Some(range(0, 96)));
    }
}
