//! SSTables: immutable sorted runs of entries, one block of the block store each.
//!
//! Layout of a payload (docs/format/sstable.md has the bytes): data blocks, with the filter and the index of every
//! partition behind its data blocks; then the top index; then the footer. Everything but the footer is a
//! [`frame`], checksummed, and cached as a parsed object through the page cache under its offset. A point lookup
//! reads at most a filter, a partition's index and one data block; the top index stays with the open table.
//!
//! A table may hold *ordinals* instead of RowIds (bulk load): `row_base` is added as entries are read.
//!
//! **Corruption.** Whatever the bytes, reading gives an answer or `CorruptBlock` with block and offset; lengths are
//! checked against what is there before anything is allocated.

pub(crate) mod bloom;
pub(crate) mod codec;
pub(crate) mod cursor;
pub(crate) mod data_block;
mod dead_range;
pub(crate) mod footer;
pub(crate) mod frame;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod heads;
pub(crate) mod index_block;
pub(crate) mod table;
pub(crate) mod writer;

/// The format version of the payload, in the block's header.
pub(crate) const FORMAT: u16 = 1;

/// Where a payload starts in its extent.
pub(crate) const PAYLOAD_OFFSET: u64 = 64;

#[cfg(test)]
mod tests;
