//! Files of a database that are not what was written: bytes changed, ends cut off, blocks in each other's place.
//!
//! The answers stay what they were, or an error names what is damaged: the file, or the block, and a byte of it. Never
//! another answer, never a panic, never memory or time without bound: no allocation goes by a length that nothing vouches
//! for. What is not damaged stays readable. The check finds what a checksum of a block in use covers, and nothing elsewhere.
//!
//! One case is no error: a change in the last batch of a journal that was not closed reads as a torn tail, and costs the
//! commits in it. A batch is known to have been synced by what was written after it (the next batch, an edit of the
//! manifest), and after the last one nothing was. To tell the two apart would take a second write, and a second sync, for each
//! commit. A database that was closed has no such batch: its manifest builds on the end of its journal.

mod allocator;
mod answers;
mod apart;
mod blocks;
mod column_pages;
mod files;
mod flips;
mod judge;
mod lengths;
mod named;
mod places;
mod rows;
mod sample;
mod swaps;
