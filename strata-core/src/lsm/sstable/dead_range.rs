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

    /// Adds the stretch that follows at once in the direction of travel.
    pub fn join(&mut self, range: &DeadRange, reverse: bool) {
        if reverse {
            self.range.first = range.first.clone();
        } else {
            self.range.last = range.last.clone();
        }
        self.range.entries += range.entries;
        self.known = self.known.max(range.entries);
    }

    /// What is worth being known, if it is.
    pub fn end(self) -> Option<DeadRange> {
        let grown = self.range.entries - self.known;
        (self.range.entries >= ENTRIES_MIN && grown >= GROWTH_MIN).then_some(self.range)
    }
}
