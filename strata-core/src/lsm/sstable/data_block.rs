//! Data blocks: prefix-compressed entries with restart points.
//!
//! A block holds at least one entry. Each entry shares `shared` bytes of its prefix with the one before; every
//! [`RESTART_INTERVAL`]th is a *restart*, which shares none and gives its row in full, the others give the row as a
//! difference, so that the index of a freshly loaded key costs about four bytes an entry. A lookup searches the
//! restarts by halving, then walks one interval comparing only bytes that can differ; it copies nothing.

use std::cmp::Ordering;
use std::sync::atomic::{self, AtomicBool};

use crate::ids::RowId;
use crate::lsm::batch::EntryBatch;
use crate::lsm::hints::Hints;
use crate::lsm::key::Position;
use crate::lsm::sstable::codec::{Input, Malformed, add_zigzag, put_len, put_varint, zigzag_between};
use crate::lsm::sstable::heads::Heads;

/// Entries from one restart to the next.
pub(crate) const RESTART_INTERVAL: u32 = 16;
const U32_BYTES: usize = size_of::<u32>();

/// Builds one block after another, reusing its buffers.
#[derive(Debug, Default)]
pub(crate) struct DataBlockBuilder {
    bytes: Vec<u8>,
    restarts: Vec<u32>,
    since_restart: u32,
    last_prefix: Vec<u8>,
    last_row: u64,
}

impl DataBlockBuilder {
    pub fn is_empty(&self) -> bool {
        self.restarts.is_empty()
    }

    /// The block's size if it were finished now.
    pub fn size_bytes(&self) -> usize {
        self.bytes.len() + (self.restarts.len() + 1) * U32_BYTES
    }

    /// Adds an entry that sorts after all others.
    pub fn add(&mut self, entry: Position<'_>) {
        let row = entry.row.get();
        let restart = self.is_empty() || self.since_restart == RESTART_INTERVAL;
        let shared = if restart { 0 } else { common_len(&self.last_prefix, entry.prefix) };
        if restart {
            self.restarts
                .push(u32::try_from(self.bytes.len()).expect("a block ends at a few KiB and one key"));
            self.since_restart = 0;
        }
        put_len(&mut self.bytes, shared);
        put_len(&mut self.bytes, entry.prefix.len() - shared);
        self.bytes.extend_from_slice(&entry.prefix[shared..]);
        if restart {
            self.bytes.extend_from_slice(&row.to_le_bytes());
        } else {
            put_varint(&mut self.bytes, zigzag_between(self.last_row, row));
        }
        self.since_restart += 1;
        self.last_prefix.truncate(shared);
        self.last_prefix.extend_from_slice(&entry.prefix[shared..]);
        self.last_row = row;
    }

    /// Appends the trailer and hands the block out; [`clear`](Self::clear) starts the next one.
    pub fn finish(&mut self) -> &[u8] {
        for restart in &self.restarts {
            self.bytes.extend_from_slice(&restart.to_le_bytes());
        }
        let count = u32::try_from(self.restarts.len()).expect("fewer restarts than bytes");
        self.bytes.extend_from_slice(&count.to_le_bytes());
        &self.bytes
    }

    pub fn clear(&mut self) {
        self.bytes.clear();
        self.restarts.clear();
        self.since_restart = 0;
        self.last_prefix.clear();
        self.last_row = 0;
    }
}

/// A block as read from a table: the bytes, where the restarts are, and the heads of their keys.
#[derive(Debug)]
pub(crate) struct DataBlock {
    bytes: Vec<u8>,
    entries_end: usize,
    restarts: usize,
    heads: Heads,
    /// Whether the hints know of the entries.
    told: AtomicBool,
}

/// One entry in its encoded form.
struct RawEntry<'a> {
    shared: usize,
    rest: &'a [u8],
    row: u64,
}

impl DataBlock {
    /// Checks the trailer and the restarts; the other entries are checked as they are read.
    pub fn parse(bytes: Vec<u8>) -> Result<Self, Malformed> {
        let count_at =
            bytes.len().checked_sub(U32_BYTES).ok_or(Malformed("a data block without a trailer"))?;
        let restarts = usize::try_from(Input::new(&bytes, count_at).u32()?)
            .map_err(|_| Malformed("too many restarts"))?;
        let entries_end = restarts
            .checked_mul(U32_BYTES)
            .and_then(|len| count_at.checked_sub(len))
            .ok_or(Malformed("more restarts than the block can hold"))?;
        if restarts == 0 {
            return Err(Malformed("a data block without entries"));
        }
        let entries = bytes.get(..entries_end).unwrap_or_default();
        let key = |interval: usize| {
            let at = Input::new(&bytes, entries_end + interval * U32_BYTES).u32()?;
            let at = usize::try_from(at).map_err(|_| Malformed("a restart is out of range"))?;
            Ok(read_entry(&mut Input::new(entries, at), true, 0, 0)?.rest)
        };
        let heads = Heads::new(&(0..restarts).map(key).collect::<Result<Vec<_>, Malformed>>()?);
        Ok(Self { bytes, entries_end, restarts, heads, told: AtomicBool::new(false) })
    }

    pub fn size_bytes(&self) -> usize {
        self.bytes.len() + self.heads.size_bytes()
    }

    /// Runs of entries that [`read_interval`](Self::read_interval) can read.
    pub fn intervals(&self) -> usize {
        self.restarts
    }

    /// The row of the first entry at or after `target`, if that entry has the target's prefix.
    pub fn find(&self, target: Position<'_>) -> Result<Option<RowId>, Malformed> {
        let interval = self.interval_before(target)?;
        let (start, end) = self.bounds(interval)?;
        let mut input = self.input(start);
        let mut matched = 0; // bytes that the entry before has in common with the target
        let (mut length, mut row) = (0, 0);
        while input.at() < end {
            let restart = input.at() == start;
            let entry = read_entry(&mut input, restart, length, row)?;
            (length, row) = (entry.shared + entry.rest.len(), entry.row);
            if entry.shared > matched {
                continue; // differs from the target where its predecessor does: still before it
            }
            let wanted = target.prefix.get(entry.shared..).unwrap_or_default();
            match entry.rest.cmp(wanted) {
                Ordering::Less => matched = entry.shared + common_len(entry.rest, wanted),
                Ordering::Equal if row <= target.row.get() => return Ok(Some(RowId::new(row))),
                Ordering::Equal => matched = target.prefix.len(),
                Ordering::Greater => return Ok(None),
            }
        }
        if interval + 1 < self.restarts {
            // All of the interval is before the target; then the next restart is the first that is not.
            let entry = read_entry(&mut self.input(self.restart(interval + 1)?), true, 0, 0)?;
            if entry.rest == target.prefix && entry.row <= target.row.get() {
                return Ok(Some(RowId::new(entry.row)));
            }
        }
        Ok(None)
    }

    /// Tells the hints of all entries, if they have not been told: whoever reads an entry that is damaged says so.
    pub fn tell_once(&self, row_base: u64, hints: &Hints) {
        if self.told.load(atomic::Ordering::Relaxed) || self.told.swap(true, atomic::Ordering::Relaxed) {
            return;
        }
        let mut entries = EntryBatch::default();
        for interval in 0..self.restarts {
            if self.read_interval(interval, row_base, &mut entries).is_ok() {
                let entries = (0..entries.len()).filter_map(|at| entries.get(at));
                entries.for_each(|entry| hints.beside(entry.prefix, entry.row));
            }
        }
    }

    /// The interval that holds the first entry at or after `target`, or the one before that.
    pub fn interval_before(&self, target: Position<'_>) -> Result<usize, Malformed> {
        let before = self.heads.partition_point(target.prefix, |interval| {
            let entry = read_entry(&mut self.input(self.restart(interval)?), true, 0, 0)?;
            Ok(Position { prefix: entry.rest, row: RowId::new(entry.row) } < target)
        })?;
        Ok(before.saturating_sub(1))
    }

    /// Decodes the entries from restart `interval` to the next one into `out`, their rows `row_base` higher.
    pub fn read_interval(
        &self,
        interval: usize,
        row_base: u64,
        out: &mut EntryBatch,
    ) -> Result<(), Malformed> {
        out.clear();
        let (start, end) = self.bounds(interval)?;
        let mut input = self.input(start);
        let (mut length, mut row) = (0, 0);
        while input.at() < end {
            let restart = input.at() == start;
            let entry = read_entry(&mut input, restart, length, row)?;
            (length, row) = (entry.shared + entry.rest.len(), entry.row);
            let absolute = row.checked_add(row_base).ok_or(Malformed("a row beyond the last RowId"))?;
            if !out.push_shared(entry.shared, entry.rest, RowId::new(absolute)) {
                return Err(Malformed("an entry shares more than there is"));
            }
        }
        if out.len() == 0 { Err(Malformed("an interval without entries")) } else { Ok(()) }
    }

    fn input(&self, at: usize) -> Input<'_> {
        Input::new(self.bytes.get(..self.entries_end).unwrap_or_default(), at)
    }

    fn restart(&self, interval: usize) -> Result<usize, Malformed> {
        let at = Input::new(&self.bytes, self.entries_end + interval * U32_BYTES).u32()?;
        usize::try_from(at).map_err(|_| Malformed("a restart is out of range"))
    }

    /// Where an interval starts and ends.
    fn bounds(&self, interval: usize) -> Result<(usize, usize), Malformed> {
        let end = if interval + 1 < self.restarts { self.restart(interval + 1)? } else { self.entries_end };
        Ok((self.restart(interval)?, end))
    }
}

/// Reads the entry at the input's place, given its predecessor's prefix length and row.
#[inline]
fn read_entry<'a>(
    input: &mut Input<'a>,
    restart: bool,
    length: usize,
    row: u64,
) -> Result<RawEntry<'a>, Malformed> {
    let shared = input.varint_len()?;
    let rest = input.varint_len()?;
    let rest = input.take(rest)?;
    if restart {
        if shared != 0 {
            return Err(Malformed("a restart shares bytes"));
        }
        return Ok(RawEntry { shared, rest, row: input.u64()? });
    }
    if shared > length {
        return Err(Malformed("an entry shares more than there is"));
    }
    Ok(RawEntry { shared, rest, row: add_zigzag(row, input.varint()?) })
}

pub(crate) fn common_len(a: &[u8], b: &[u8]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn build(entries: &[(Vec<u8>, u64)]) -> DataBlock {
        let mut builder = DataBlockBuilder::default();
        for (prefix, row) in entries {
            builder.add(Position { prefix, row: RowId::new(*row) });
        }
        let size = builder.size_bytes();
        let bytes = builder.finish().to_vec();
        assert_eq!(bytes.len(), size);
        DataBlock::parse(bytes).expect("just built")
    }

    /// Keys where some extend others, rows descending within each.
    fn entries() -> Vec<(Vec<u8>, u64)> {
        let mut all = Vec::new();
        for number in 0..60u64 {
            let key = format!("{:02}{}", number / 3, "x".repeat(usize::try_from(number % 3).expect("small")));
            all.extend((0..number % 5).rev().map(|row| (key.clone().into_bytes(), row * 10 + number)));
        }
        all
    }

    #[test]
    fn every_lookup_agrees_with_a_walk_over_the_list() {
        let entries = entries();
        let block = build(&entries);
        let mut targets: Vec<Vec<u8>> = entries.iter().map(|(prefix, _)| prefix.clone()).collect();
        targets.extend([&b""[..], b"0", b"05xxx", b"05y", b"zz", b"19xxa"].map(<[u8]>::to_vec));
        for target in &targets {
            for row in (0..110).chain([u64::MAX]) {
                let expected = entries
                    .iter()
                    .find(|(prefix, at)| prefix == target && *at <= row)
                    .map(|(_, at)| RowId::new(*at));
                let found = block.find(Position { prefix: target, row: RowId::new(row) });
                assert_eq!(found, Ok(expected), "{target:?} below {row}");
            }
        }
    }

    #[test]
    fn intervals_give_all_entries_back() {
        let entries = entries();
        let block = build(&entries);
        let (mut batch, mut found) = (EntryBatch::default(), Vec::new());
        for interval in 0..block.intervals() {
            block.read_interval(interval, 1000, &mut batch).expect("intact");
            found.extend((0..batch.len()).filter_map(|at| batch.get(at)).map(Position::to_owned));
        }
        let expected: Vec<_> = entries
            .iter()
            .map(|(prefix, row)| Position { prefix, row: RowId::new(row + 1000) }.to_owned())
            .collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn golden_bytes() {
        let mut builder = DataBlockBuilder::default();
        for (prefix, row) in [(&b"\0\0\0\x01ab"[..], 9u64), (b"\0\0\0\x01ab", 7), (b"\0\0\0\x01ac", 10)] {
            builder.add(Position { prefix, row: RowId::new(row) });
        }
        let expected = [
            &[0, 6, 0, 0, 0, 1, b'a', b'b', 9, 0, 0, 0, 0, 0, 0, 0][..], // restart: shares none, row in full
            &[6, 0, 3],                                                  // the same key, two rows less
            &[5, 1, b'c', 6],                                            // three rows more
            &[0, 0, 0, 0],                                               // the restart
            &[1, 0, 0, 0],                                               // one restart
        ];
        assert_eq!(builder.finish(), expected.concat());
    }

    #[test]
    fn damaged_bytes_never_panic() {
        let block = build(&entries());
        let mut batch = EntryBatch::default();
        for at in 0..block.bytes.len() {
            for flip in [0x01, 0x80, 0xff] {
                let mut bytes = block.bytes.clone();
                bytes[at] ^= flip;
                let Ok(damaged) = DataBlock::parse(bytes) else { continue };
                let _ = damaged.find(Position { prefix: b"07x", row: RowId::MAX });
                for interval in 0..damaged.intervals().min(100) {
                    let _ = damaged.read_interval(interval, 0, &mut batch);
                }
            }
        }
        assert!(DataBlock::parse(vec![0; 4]).is_err());
        assert!(DataBlock::parse(vec![0xff; 4]).is_err());
        assert!(DataBlock::parse(vec![]).is_err());
    }
}
