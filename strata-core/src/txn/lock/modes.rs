//! What is locked, how strongly, and which strengths conflict: PostgreSQL's tables (manual, section 13.3).

use crate::ids::{HeapId, IndexId, RowId, TableId};

/// What a lock is on.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Resource {
    /// The catalog as a whole: DDL takes turns.
    Catalog,
    /// A table.
    Table(TableId),
    /// A row version.
    Row(HeapId, RowId),
    /// A key of a unique index.
    Key(IndexId, Box<[u8]>),
}

/// How strongly a row is locked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RowLockMode {
    /// The key may not change: what an inserter of the same key asks. Of this version: an update that keeps the key is let by, and its
    /// successor is not locked.
    KeyShare,
    /// The row may not change.
    Share,
    /// The row will change, its keys will not.
    NoKeyUpdate,
    /// The row will go, or its keys will change.
    Update,
}

/// How strongly a table is locked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs)]
pub enum TableLockMode {
    AccessShare,
    RowShare,
    RowExclusive,
    ShareUpdateExclusive,
    Share,
    ShareRowExclusive,
    Exclusive,
    AccessExclusive,
}

/// A lock's strength on any resource. Keys and the catalog know only `Exclusive`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LockMode {
    /// Of a row.
    Row(RowLockMode),
    /// Of a table.
    Table(TableLockMode),
    /// Of a key or the catalog.
    Exclusive,
}

impl LockMode {
    /// Whether two transactions may not hold these at once.
    pub fn conflicts(self, other: Self) -> bool {
        match (self, other) {
            (Self::Row(a), Self::Row(b)) => row_conflict(a, b),
            (Self::Table(a), Self::Table(b)) => table_conflict(a, b),
            _ => true,
        }
    }

    /// Whether holding this makes asking for `other` needless.
    pub fn covers(self, other: Self) -> bool {
        match (self, other) {
            (Self::Row(a), Self::Row(b)) => a >= b,
            (Self::Table(a), Self::Table(b)) => {
                TABLE_MODES.iter().all(|&mode| !table_conflict(b, mode) || table_conflict(a, mode))
            }
            (Self::Exclusive, Self::Exclusive) => true,
            _ => false,
        }
    }
}

fn row_conflict(a: RowLockMode, b: RowLockMode) -> bool {
    use RowLockMode::{KeyShare, NoKeyUpdate, Share, Update};
    match (a.min(b), a.max(b)) {
        (KeyShare, other) => other == Update,
        (Share, other) => other >= NoKeyUpdate,
        _ => true,
    }
}

const TABLE_MODES: [TableLockMode; 8] = {
    use TableLockMode::*;
    [
        AccessShare,
        RowShare,
        RowExclusive,
        ShareUpdateExclusive,
        Share,
        ShareRowExclusive,
        Exclusive,
        AccessExclusive,
    ]
};

fn table_conflict(a: TableLockMode, b: TableLockMode) -> bool {
    use TableLockMode::*;
    let (low, high) = (a.min(b), a.max(b));
    match low {
        AccessShare => high == AccessExclusive,
        RowShare => high >= Exclusive,
        RowExclusive => high >= Share,
        ShareUpdateExclusive => true,
        Share => high != Share,
        ShareRowExclusive | Exclusive | AccessExclusive => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// PostgreSQL's table 13.2, row by row: which later modes each conflicts with.
    #[test]
    fn table_conflicts_are_postgres() {
        let expected = [
            0b1000_0000,
            0b1100_0000,
            0b1111_0000,
            0b1111_1000,
            0b1110_1100,
            0b1111_1100,
            0b1111_1110,
            0b1111_1111,
        ];
        for (place, &mode) in TABLE_MODES.iter().enumerate() {
            let mut bits = 0u32;
            for (other_place, &other) in TABLE_MODES.iter().enumerate() {
                bits |= u32::from(table_conflict(mode, other)) << other_place;
            }
            assert_eq!(bits, expected[place], "{mode:?}");
        }
    }

    /// PostgreSQL's table 13.3.
    #[test]
    fn row_conflicts_are_postgres() {
        use RowLockMode::*;
        let modes = [KeyShare, Share, NoKeyUpdate, Update];
        let expected = [0b1000, 0b1100, 0b1110, 0b1111];
        for (place, &mode) in modes.iter().enumerate() {
            let bits = modes.iter().enumerate().fold(0u32, |bits, (other_place, &other)| {
                bits | u32::from(row_conflict(mode, other)) << other_place
            });
            assert_eq!(bits, expected[place], "{mode:?}");
        }
    }

    #[test]
    fn a_stronger_lock_covers_a_weaker_one() {
        let row = |mode| LockMode::Row(mode);
        assert!(row(RowLockMode::Update).covers(row(RowLockMode::KeyShare)));
        assert!(!row(RowLockMode::Share).covers(row(RowLockMode::NoKeyUpdate)));
        let table = |mode| LockMode::Table(mode);
        assert!(table(TableLockMode::AccessExclusive).covers(table(TableLockMode::Share)));
        assert!(!table(TableLockMode::Share).covers(table(TableLockMode::RowExclusive)));
    }
}
