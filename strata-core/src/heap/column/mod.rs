//! Column blocks: the cold form of a segment.
//!
//! A block holds the rows of one segment column by column. Each column is cut into *pages* of whole groups of 1,024
//! rows (single strings where those are large), about 32 KiB each: the unit of I/O, of checksums and of caching. Beside them a
//! column may have a page for its dictionary or symbol table, and has one for the statistics of its groups. Opening a
//! block reads its header and [directory](ColumnMeta), which stay in memory; all else goes through the page cache.
//!
//! | [`Encoding`] | for |
//! |---|---|
//! | constant | one value, or only NULLs |
//! | plain | real floats, wide decimals, uuids, intervals; strings that nothing shortens |
//! | bit-packed | integers, dates, times, decimals of 64 bits: distance from a base or a line, by group |
//! | dictionary | few distinct values of any type |
//! | FSST | other strings |
//! | ALP | floats that began as decimals |
//! | run-end | sorted or clustered values: runs of integers, or of a dictionary's codes |
//!
//! Pages are lz4 where that saves an eighth; they are cached decompressed. Every encoding finds the value of a slot in
//! constant time within one page (runs by binary search), and decodes ranges and lists of slots into Arrow arrays.
//!
//! A *sparse* block has fewer rows than slots: a presence bitmap gives each slot its position by rank. All that is said
//! of groups and zones counts positions.
//!
//! Lookups that come again find whole rows in [strips], which stand beside the pages in the cache.
//!
//! Blocks are immutable; reading takes no lock but the cache's. The writer ([`encode_block`]) is a pure function. All
//! bytes from disk are checked before use, every page by its checksum first: damage is `CorruptBlock`, which names
//! the block and the offset, and leaves other pages readable. The bytes are described in `docs/format/column-block.md`.

mod alp;
mod arrays;
mod bitmap;
mod bits;
mod block;
mod bounds;
mod choose;
mod datum;
mod dictionary;
mod directory;
mod encoding;
mod filter;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod header;
mod integers;
mod page;
mod position;
mod presence;
mod read;
mod runs;
mod scalar;
mod statistics;
mod strings;
mod strip_columns;
mod strips;
mod symbols;
mod types;
mod unchecked;
mod values;
mod views;
mod writer;

pub use block::{ColumnBlock, Zones};
pub use bounds::Bounds;
pub use directory::ColumnMeta;
pub use encoding::Encoding;
pub use filter::Comparison;
pub use header::Origin;
pub use position::Selection;
pub use presence::Presence;
pub use statistics::Zone;
pub(in crate::heap) use strips::{STRIP_ROWS, StripBuilder, StripRow};
pub use writer::{EncodeOptions, encode_block};

/// The format version of the payload.
pub const FORMAT: u16 = 1;

#[cfg(test)]
mod tests;
