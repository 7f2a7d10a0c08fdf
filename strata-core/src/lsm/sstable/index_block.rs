//! Index blocks: where the parts of a table are, by the last position of each.
//!
//! The same form serves both levels. An entry of a *partition* leads to a data block; one of the *top* index leads to
//! a partition and the bloom filter of its keys. An entry's position is at or after the last entry of what it
//! leads to, and before the first entry of what follows.

use std::convert::Infallible;

use crate::ids::RowId;
use crate::lsm::key::{Position, PositionBuf};
use crate::lsm::sstable::codec::{Input, Malformed, put_len, put_varint};
use crate::lsm::sstable::data_block::common_len;
use crate::lsm::sstable::frame::FrameRef;
use crate::lsm::sstable::heads::Heads;

/// What an entry leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct IndexTarget {
    /// The data block, or the partition.
    pub child: FrameRef,
    /// The filter of the partition's keys; only in a top index.
    pub filter: Option<FrameRef>,
}

/// Which of the two levels an index block belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum IndexLevel {
    Top,
    Partition,
}

/// Builds one index block.
#[derive(Debug, Default)]
pub(crate) struct IndexBlockBuilder {
    bytes: Vec<u8>,
    entries: u32,
}

impl IndexBlockBuilder {
    pub fn size_bytes(&self) -> usize {
        self.bytes.len()
    }

    pub fn add(&mut self, last: Position<'_>, target: IndexTarget) {
        put_len(&mut self.bytes, last.prefix.len());
        self.bytes.extend_from_slice(last.prefix);
        put_varint(&mut self.bytes, last.row.get());
        for frame in std::iter::once(target.child).chain(target.filter) {
            put_varint(&mut self.bytes, frame.offset);
            put_varint(&mut self.bytes, u64::from(frame.len));
        }
        self.entries += 1;
    }

    /// The block's bytes; the builder starts afresh.
    pub fn take(&mut self) -> Vec<u8> {
        let mut bytes = std::mem::take(&mut self.bytes);
        bytes.extend_from_slice(&self.entries.to_le_bytes());
        self.entries = 0;
        bytes
    }
}

/// An index block as read from a table, taken apart.
#[derive(Debug)]
pub(crate) struct IndexBlock {
    prefixes: Vec<u8>,
    ends: Vec<u32>,
    rows: Vec<RowId>,
    targets: Vec<IndexTarget>,
    heads: Heads,
}

impl IndexBlock {
    /// Reads a block whose frames must lie below `limit` in the payload.
    pub fn parse(bytes: &[u8], level: IndexLevel, limit: u64) -> Result<Self, Malformed> {
        let body =
            bytes.len().checked_sub(size_of::<u32>()).ok_or(Malformed("an index block without a trailer"))?;
        let count = Input::new(bytes, body).u32()?;
        let mut block = Self {
            prefixes: Vec::new(),
            ends: Vec::new(),
            rows: Vec::new(),
            targets: Vec::new(),
            heads: Heads::new(&[]),
        };
        let mut input = Input::new(&bytes[..body], 0);
        while !input.is_at_end() {
            let len = input.varint_len()?;
            block.prefixes.extend_from_slice(input.take(len)?);
            block.ends.push(
                u32::try_from(block.prefixes.len()).map_err(|_| Malformed("an index block too large"))?,
            );
            block.rows.push(RowId::new(input.varint()?));
            let child = read_frame(&mut input, limit)?;
            let filter = match level {
                IndexLevel::Top => Some(read_frame(&mut input, limit)?),
                IndexLevel::Partition => None,
            };
            block.targets.push(IndexTarget { child, filter });
            let last = block.targets.len() - 1;
            if last > 0 && block.position(last) <= block.position(last - 1) {
                return Err(Malformed("an index block out of order"));
            }
        }
        if block.targets.is_empty() || u32::try_from(block.targets.len()) != Ok(count) {
            return Err(Malformed("an index block whose count is wrong"));
        }
        let keys = (0..block.len()).filter_map(|at| block.position(at).map(|position| position.prefix));
        block.heads = Heads::new(&keys.collect::<Vec<_>>());
        Ok(block)
    }

    pub fn size_bytes(&self) -> usize {
        self.heads.size_bytes()
            + self.prefixes.len()
            + self.targets.len() * (size_of::<IndexTarget>() + size_of::<RowId>() + 4)
    }

    pub fn len(&self) -> usize {
        self.targets.len()
    }

    pub fn get(&self, at: usize) -> Option<IndexTarget> {
        self.targets.get(at).copied()
    }

    /// The first part that can hold an entry at or after `target`; `len()` where none can.
    pub fn seek(&self, target: Position<'_>) -> usize {
        let found = self.heads.partition_point(target.prefix, |at| {
            Ok::<_, Infallible>(self.position(at).is_some_and(|last| last < target))
        });
        let Ok(found) = found;
        found
    }

    pub fn position(&self, at: usize) -> Option<Position<'_>> {
        let start = if at == 0 { 0 } else { *self.ends.get(at - 1)? };
        let prefix = self.prefixes.get(start as usize..*self.ends.get(at)? as usize)?;
        Some(Position { prefix, row: *self.rows.get(at)? })
    }
}

fn read_frame(input: &mut Input<'_>, limit: u64) -> Result<FrameRef, Malformed> {
    let offset = input.varint()?;
    let len = u32::try_from(input.varint()?).map_err(|_| Malformed("a frame too long"))?;
    match offset.checked_add(u64::from(len)) {
        Some(end) if end <= limit => Ok(FrameRef { offset, len }),
        _ => Err(Malformed("a frame beyond the end of its table")),
    }
}

/// A short position at or after `last` and before `next`.
pub(crate) fn separator(last: Position<'_>, next: Position<'_>) -> PositionBuf {
    if last.prefix == next.prefix {
        return last.to_owned();
    }
    // The shortest beginning of `next` that sorts after `last`'s prefix, unless it is `next` whole.
    let len = common_len(last.prefix, next.prefix) + 1;
    match next.prefix.get(..len) {
        Some(short) if len < next.prefix.len() && len < last.prefix.len() => {
            PositionBuf { prefix: short.to_vec(), row: RowId::MAX }
        }
        _ => last.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn position(prefix: &[u8], row: u64) -> Position<'_> {
        Position { prefix, row: RowId::new(row) }
    }

    fn target(offset: u64) -> IndexTarget {
        IndexTarget { child: FrameRef { offset, len: 10 }, filter: Some(FrameRef { offset: 500, len: 69 }) }
    }

    #[test]
    fn separators_lie_between_and_are_short() {
        let pairs = [
            ((&b"0000abcdef"[..], 5), (&b"0000abx123"[..], 9), 7),
            ((b"0000ab", 5), (b"0000abc", 9), 6),
            ((b"0000ab", 5), (b"0000ab", 4), 6),
            ((b"0000abcd", 5), (b"0000b", 4), 8),
            ((b"0000a", 5), (b"0000bcde", 4), 5),
        ];
        for ((last, last_row), (next, next_row), len) in pairs {
            let (last, next) = (position(last, last_row), position(next, next_row));
            let between = separator(last, next);
            assert!(last <= between.as_position() && between.as_position() < next, "{between:?}");
            assert_eq!(between.prefix.len(), len);
        }
    }

    #[test]
    fn seeks_to_the_first_part_that_can_hold_the_target() {
        let mut builder = IndexBlockBuilder::default();
        builder.add(position(b"0000b", 7), target(0));
        builder.add(position(b"0000b", 3), target(10));
        builder.add(position(b"0000d", u64::MAX), target(20));
        let bytes = builder.take();
        let block = IndexBlock::parse(&bytes, IndexLevel::Top, 600).expect("just built");
        let seek = |prefix: &[u8], row| block.seek(position(prefix, row));
        assert_eq!([seek(b"0000a", 0), seek(b"0000b", 7), seek(b"0000b", 6)], [0, 0, 1]);
        assert_eq!([seek(b"0000b", 2), seek(b"0000d", 5), seek(b"0000e", 5)], [2, 3, 3]);
        assert_eq!(block.get(1), Some(target(10)));
        assert!(IndexBlock::parse(&bytes, IndexLevel::Top, 568).is_err(), "a frame past the limit");
    }

    #[test]
    fn damaged_bytes_never_panic() {
        let mut builder = IndexBlockBuilder::default();
        for at in 0..20u64 {
            builder.add(position(&at.to_be_bytes(), at), target(at));
        }
        let bytes = builder.take();
        for at in 0..bytes.len() {
            for flip in [0x01, 0x80, 0xff] {
                let mut bytes = bytes.clone();
                bytes[at] ^= flip;
                if let Ok(block) = IndexBlock::parse(&bytes, IndexLevel::Top, 600) {
                    block.seek(position(b"x", 0));
                }
            }
        }
        assert!(IndexBlock::parse(&[], IndexLevel::Top, 600).is_err());
        assert!(IndexBlock::parse(&[0; 4], IndexLevel::Top, 600).is_err());
    }
}
