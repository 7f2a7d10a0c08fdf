//! The names of things: one newtype for each number that must not be mixed up with another.
//!
//! All are plain integers on disk (little-endian, the width of the inner type). None dereferences to its
//! integer, and none converts implicitly.

use std::fmt;

/// Slots of one segment: 2^16.
pub const SLOTS_PER_SEGMENT: u32 = 1 << 16;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        pub struct $name($inner);

        impl $name {
            /// Wraps the raw number.
            pub const fn new(raw: $inner) -> Self {
                Self(raw)
            }

            /// The raw number, as it stands on disk.
            pub const fn get(self) -> $inner {
                self.0
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.0)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }
    };
}

id! {
    /// Names one row version of one heap for ever: `segment << 16 | slot`. Handed out in commit order (rule 1).
    ///
    /// Bit 63 marks a *provisional* RowId: a row of a write set that has not committed. These sort above all
    /// real ones.
    RowId(u64)
}
id! {
    /// A segment of a heap: the RowIds that share their upper 48 bits.
    SegmentId(u64)
}
id! {
    /// A heap: the row versions of one table, in commit order. TRUNCATE gives a table a new heap. Never reused.
    HeapId(u32)
}
id! {
    /// A table of the catalog. Never reused.
    TableId(u32)
}
id! {
    /// A schema (namespace) of the catalog. Never reused.
    SchemaId(u32)
}
id! {
    /// An index: one key space of the LSM tree. Never reused.
    IndexId(u32)
}
id! {
    /// A column of a table, stable under ADD, DROP and RENAME. Never reused within its table.
    ColumnId(u32)
}
id! {
    /// The version of a table's list of columns; grows by one with each ALTER.
    SchemaVersion(u32)
}
id! {
    /// A commit timestamp, dense from 1. A snapshot is one of these; 0 sees nothing.
    Timestamp(u64)
}
id! {
    /// A byte position in the journal's logical stream. Only grows, over all segments and epochs.
    Lsn(u64)
}
id! {
    /// A transaction in this process's life; not durable.
    TxnId(u64)
}
id! {
    /// A bulk load: ties its column blocks and index files to the commit record that adopts them.
    LoadId(u64)
}

impl RowId {
    const PROVISIONAL: u64 = 1 << 63;

    /// The first RowId of a heap.
    pub const ZERO: RowId = RowId(0);
    /// Above every RowId, provisional ones too.
    pub const MAX: RowId = RowId(u64::MAX);

    /// The RowId of `slot` in `segment`.
    pub const fn from_parts(segment: SegmentId, slot: u16) -> Self {
        Self(segment.0 << 16 | slot as u64)
    }

    /// The `ordinal`-th row that a transaction wrote, before it has a place in the heap.
    pub const fn provisional(ordinal: u64) -> Self {
        Self(Self::PROVISIONAL | ordinal)
    }

    /// Whether the row belongs to a write set rather than to the heap.
    pub const fn is_provisional(self) -> bool {
        self.0 & Self::PROVISIONAL != 0
    }

    /// The position in the write set of a provisional RowId.
    pub const fn provisional_ordinal(self) -> u64 {
        self.0 & !Self::PROVISIONAL
    }

    /// The segment that holds the row.
    pub const fn segment(self) -> SegmentId {
        SegmentId(self.0 >> 16)
    }

    /// The row's place in its segment.
    pub const fn slot(self) -> u16 {
        self.0 as u16
    }

    /// The RowId after this one, in the next segment if this is the last slot.
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }

    /// The RowId `count` places further on.
    pub const fn offset(self, count: u64) -> Self {
        Self(self.0 + count)
    }
}

impl SegmentId {
    /// The RowId of the segment's first slot.
    pub const fn first_row(self) -> RowId {
        RowId(self.0 << 16)
    }

    /// The following segment.
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

/// Names one extent of the block store: `first page << 24 | pages`, a page being 4 KiB. So an id tells where
/// the extent is and how long, and no directory of extents is needed.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BlockId(u64);

impl BlockId {
    /// The unit of extents in bytes.
    pub const PAGE_BYTES: u64 = 4096;
    const PAGES_BITS: u32 = 24;

    /// The extent of `pages` pages from page `first_page` on; `None` where either does not fit.
    pub const fn from_extent(first_page: u64, pages: u64) -> Option<Self> {
        if first_page >> (64 - Self::PAGES_BITS) != 0 || pages == 0 || pages >> Self::PAGES_BITS != 0 {
            return None;
        }
        Some(Self(first_page << Self::PAGES_BITS | pages))
    }

    /// Reads an id back from disk; `None` for an extent of no pages.
    pub const fn from_raw(raw: u64) -> Option<Self> {
        if raw & ((1 << Self::PAGES_BITS) - 1) == 0 { None } else { Some(Self(raw)) }
    }

    /// The id as it stands on disk; never zero.
    pub const fn raw(self) -> u64 {
        self.0
    }

    /// The extent's first page.
    pub const fn first_page(self) -> u64 {
        self.0 >> Self::PAGES_BITS
    }

    /// The extent's length in pages.
    pub const fn pages(self) -> u64 {
        self.0 & ((1 << Self::PAGES_BITS) - 1)
    }

    /// The byte offset of the extent in the store.
    pub const fn offset_bytes(self) -> u64 {
        self.first_page() * Self::PAGE_BYTES
    }

    /// The extent's length in bytes.
    pub const fn len_bytes(self) -> u64 {
        self.pages() * Self::PAGE_BYTES
    }
}

impl fmt::Debug for BlockId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BlockId({}+{})", self.first_page(), self.pages())
    }
}

impl fmt::Display for BlockId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}+{}", self.first_page(), self.pages())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn row_id_parts_round_trip_and_provisional_ids_sort_last() {
        let row = RowId::from_parts(SegmentId::new(7), 65_535);
        assert_eq!((row.segment(), row.slot()), (SegmentId::new(7), 65_535));
        assert_eq!(row.next(), SegmentId::new(8).first_row());
        assert!(RowId::provisional(0) > RowId::from_parts(SegmentId::new(1 << 40), 0));
        assert_eq!(RowId::provisional(5).provisional_ordinal(), 5);
    }

    #[test]
    fn block_id_refuses_what_does_not_fit() {
        let id = BlockId::from_extent(3, 8).expect("fits");
        assert_eq!((id.offset_bytes(), id.len_bytes()), (12_288, 32_768));
        assert_eq!(BlockId::from_raw(id.raw()), Some(id));
        assert_eq!(BlockId::from_extent(1 << 40, 1), None);
        assert_eq!(BlockId::from_extent(0, 1 << 24), None);
        assert_eq!(BlockId::from_extent(0, 0), None);
        assert_eq!(BlockId::from_raw(0), None);
    }
}
