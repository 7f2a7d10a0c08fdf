//! What clients are doing, so that kills can be aimed and counted.

use std::sync::atomic::{AtomicUsize, Ordering};

/// What a client has under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doing {
    /// INSERT … VALUES.
    Insert,
    /// UPDATE of rows of its own.
    Update,
    /// DELETE of rows of its own, few or many.
    Delete,
    /// UPDATE of the row that all of them update.
    HotRow,
    /// INSERT … SELECT.
    BulkInsert,
    /// COPY.
    Copy,
    /// VACUUM: freezing, compaction and a checkpoint.
    Maintenance,
    /// A query.
    Query,
}

impl Doing {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 8] = [
        Self::Insert,
        Self::Update,
        Self::Delete,
        Self::HotRow,
        Self::BulkInsert,
        Self::Copy,
        Self::Maintenance,
        Self::Query,
    ];
}

/// What one client does at the moment, for others to see.
#[derive(Debug, Default)]
pub(super) struct Board(AtomicUsize);

impl Board {
    pub(super) fn set(&self, doing: Doing) {
        self.0.store(doing as usize + 1, Ordering::SeqCst);
    }

    pub(super) fn get(&self) -> Option<Doing> {
        Doing::ALL.get(self.0.load(Ordering::SeqCst).checked_sub(1)?).copied()
    }
}

/// How many kills met a client at each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Hits([u64; Doing::ALL.len()]);

impl Hits {
    pub(super) fn add(&mut self, doing: Doing) {
        if let Some(count) = self.0.get_mut(doing as usize) {
            *count += 1;
        }
    }

    /// How many met this.
    pub fn of(&self, doing: Doing) -> u64 {
        self.0.get(doing as usize).copied().unwrap_or_default()
    }
}

impl std::fmt::Display for Hits {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (place, doing) in Doing::ALL.into_iter().enumerate() {
            write!(f, "{}{doing:?} {}", if place == 0 { "" } else { ", " }, self.of(doing))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_set_is_what_is_shown() {
        let board = Board::default();
        assert_eq!(board.get(), None);
        let mut hits = Hits::default();
        for doing in Doing::ALL {
            board.set(doing);
            assert_eq!(board.get(), Some(doing));
            hits.add(doing);
            assert_eq!(hits.of(doing), 1);
        }
        assert!(hits.to_string().starts_with("Insert 1, Update 1"), "{hits}");
    }
}
