//! Own rows that a transaction no longer keeps in memory.
//!
//! Once there are many, the own rows of a table are written to a column block, a segment at a time, and their keys to a sorted run. They keep
//! their provisional RowIds: a segment begins at an ordinal that is a multiple of 65,536, and ordinals that its block has no rows
//! for are never given. Ordinals of what is written are not given again after it is undone, so that an entry of a run names one
//! row for ever; entries of rows that were undone are passed over.
//!
//! **An index that is made after some of the rows** may be undone while they stay, and another may get its id then (`IndexId`s count within
//! a transaction's catalog). So the keys that they have in it are in runs of their own, which are forgotten with it, and are never united with
//! the others.
//!
//! The commit adopts the blocks as it adopts those of a bulk load ([`BulkPart`]). Rows in them that the transaction has ended again, or
//! that were undone, are dead from the start: the commit marks them.

use std::sync::Arc;

use super::load::BulkPart;
use crate::error::Result;
use crate::heap::ColumnImage;
use crate::ids::{BlockId, IndexId, RowId, SLOTS_PER_SEGMENT};
use crate::lsm::TableRun;

/// When each of some rows was written: ascending.
#[derive(Clone, Debug)]
enum Positions {
    Step { first: u64, step: u64, count: u32 },
    List { first: u64, offsets: Arc<[u32]> },
}

impl Positions {
    /// `None` where they are too far apart.
    fn new(positions: &[u64]) -> Option<Self> {
        let first = positions.first().copied()?;
        let step = positions.get(1).map_or(1, |second| second - first);
        if positions.iter().zip(0..).all(|(at, place)| *at == first + step * place) {
            return Some(Self::Step { first, step, count: u32::try_from(positions.len()).ok()? });
        }
        let offsets = positions.iter().map(|at| u32::try_from(at - first));
        Some(Self::List { first, offsets: offsets.collect::<std::result::Result<_, _>>().ok()? })
    }

    /// How many are before `position`.
    fn before(&self, position: u64) -> u32 {
        match self {
            Self::Step { first, step, count } => {
                let before = position.saturating_sub(*first).div_ceil((*step).max(1));
                u32::try_from(before).map_or(*count, |before| before.min(*count))
            }
            Self::List { first, offsets } => {
                let Some(room) = position.checked_sub(*first) else { return 0 };
                offsets.partition_point(|offset| u64::from(*offset) < room) as u32
            }
        }
    }
}

/// A segment of own rows in a column block.
#[derive(Clone, Debug)]
pub struct SpilledSegment {
    /// The ordinal of its first row.
    first: u64,
    block: BlockId,
    image: Arc<ColumnImage>,
    written_at: Positions,
    /// Slots whose rows have not been undone: those before this.
    kept: u32,
    /// Memory that the locks of the kept rows' keys are counted with.
    locks_bytes: usize,
}

impl SpilledSegment {
    /// The provisional RowId of its first row.
    pub fn first_row(&self) -> RowId {
        RowId::provisional(self.first)
    }

    /// Its rows as readers hold them.
    pub fn image(&self) -> &Arc<ColumnImage> {
        &self.image
    }

    /// How many of its rows were written before `position` and not undone.
    pub fn rows_before(&self, position: u64) -> u32 {
        self.written_at.before(position).min(self.kept)
    }

    fn rollback_to(&mut self, position: u64) -> usize {
        let kept = self.rows_before(position);
        // As if each row had as many keys. A segment has 65,536 rows.
        let locks_bytes = self.locks_bytes * kept as usize / self.kept.max(1) as usize;
        self.kept = kept;
        std::mem::replace(&mut self.locks_bytes, locks_bytes) - locks_bytes
    }

    /// Slots of rows that have been undone.
    pub fn undone(&self) -> std::ops::Range<u32> {
        self.kept..self.image.slots()
    }

    /// The block, and its slots.
    pub fn block(&self) -> (BlockId, u32) {
        (self.block, self.image.slots())
    }
}

/// What has been written of one heap's own rows.
#[derive(Clone, Debug, Default)]
pub struct Spilled {
    segments: Vec<SpilledSegment>,
    /// The keys of the rows, of all indexes; the rows of a run are those of later ordinals than those of the runs before it.
    runs: Vec<TableRun>,
    /// The ordinal that the rows of each run begin at.
    run_starts: Vec<u64>,
    /// Keys that rows have in indexes which were made after them, each run with the time of that. Of two runs of an index
    /// the later one has the later rows, and `runs` has those after them.
    later: Vec<(u64, TableRun)>,
    /// What the commit adopts, once it has been made.
    part: Option<(BulkPart, TableRun)>,
}

/// The keys of rows that are written out.
#[derive(Clone, Debug, Default)]
pub struct SpilledKeys {
    /// Those of indexes that were there before the rows.
    pub run: Option<TableRun>,
    /// Those of each index that was made after rows, and when that was.
    pub later: Vec<(u64, TableRun)>,
}

impl SpilledKeys {
    /// Nothing will name the runs.
    pub fn discard(&self) {
        self.run.iter().chain(self.later.iter().map(|(_, run)| run)).for_each(TableRun::discard);
    }
}

impl Spilled {
    /// Adds a segment whose rows were written at these positions, and whose keys' locks take so much memory.
    pub(super) fn push(
        &mut self,
        first: u64,
        (block, image): (BlockId, Arc<ColumnImage>),
        positions: &[u64],
        keys: SpilledKeys,
        locks_bytes: usize,
    ) -> bool {
        let Some(written_at) = Positions::new(positions) else { return false };
        debug_assert!(first.is_multiple_of(SLOTS_PER_SEGMENT.into()));
        let kept = image.slots();
        self.segments.push(SpilledSegment { first, block, image, written_at, kept, locks_bytes });
        if let Some(keys) = keys.run {
            self.runs.push(keys);
            self.run_starts.push(first);
        }
        self.later.extend(keys.later);
        true
    }

    /// The segments.
    pub fn segments(&self) -> &[SpilledSegment] {
        &self.segments
    }

    /// Adds the keys that rows have in an index that was made at `written_at`.
    pub(super) fn add_later(&mut self, written_at: u64, keys: TableRun) {
        self.later.push((written_at, keys));
    }

    /// Gives back the keys of indexes that were made from `position` on.
    pub(super) fn forget_later(&mut self, position: u64) {
        for (_, run) in self.later.extract_if(.., |(at, _)| *at >= position) {
            run.discard();
        }
    }

    /// Whether there are keys.
    pub fn has_keys(&self) -> bool {
        !self.runs.is_empty() || !self.later.is_empty()
    }

    /// All runs of keys: for each index, those of later rows first.
    pub fn all_runs(&self) -> impl Iterator<Item = &TableRun> {
        self.runs.iter().rev().chain(self.later.iter().rev().map(|(_, run)| run))
    }

    /// The runs of keys of indexes that were there before their rows, those of earlier rows first.
    pub fn runs(&self) -> &[TableRun] {
        &self.runs
    }

    /// Puts one run in the place of those from `first` on.
    pub(super) fn unite_runs(&mut self, first: usize, united: TableRun) {
        for run in self.runs.drain(first..) {
            run.discard();
        }
        self.runs.push(united);
        self.run_starts.truncate(first + 1);
    }

    /// The segment and slot of an ordinal.
    pub(super) fn find(&self, ordinal: u64) -> Option<(&SpilledSegment, u32)> {
        let after = self.segments.partition_point(|segment| segment.first <= ordinal);
        let segment = self.segments.get(after.checked_sub(1)?)?;
        let slot = u32::try_from(ordinal - segment.first).ok()?;
        (slot < segment.image.slots()).then_some((segment, slot))
    }

    /// For each of the segments that have rows: the place that its ordinals begin at where holes are left out.
    pub fn bases(&self) -> impl Iterator<Item = (&SpilledSegment, u64)> {
        self.segments.iter().zip((0..).step_by(SLOTS_PER_SEGMENT as usize))
    }

    /// The ordinal of a row where holes between segments are left out.
    pub fn dense_ordinal(&self, ordinal: u64) -> Option<u64> {
        let place = self.segments.partition_point(|segment| segment.first <= ordinal).checked_sub(1)?;
        let slot = ordinal - self.segments.get(place)?.first;
        Some(place as u64 * u64::from(SLOTS_PER_SEGMENT) + slot)
    }

    pub(super) fn rows_before(&self, position: u64) -> u64 {
        self.segments.iter().map(|segment| u64::from(segment.rows_before(position))).sum()
    }

    /// The rows with a key, newest first: also those that have ended or have been undone.
    ///
    /// # Errors
    /// `CorruptBlock`, `Io`, `OutOfMemory`.
    pub fn rows_of_key(
        &self,
        index: IndexId,
        key: &[u8],
        mut visit: impl FnMut(RowId) -> bool,
    ) -> Result<()> {
        for run in self.all_runs() {
            let mut at_most = RowId::MAX;
            while let Some(row) = run.find(index, key, at_most)? {
                if visit(RowId::provisional(row.get())) {
                    return Ok(());
                }
                let Some(below) = row.get().checked_sub(1) else { break };
                at_most = RowId::new(below);
            }
        }
        Ok(())
    }

    /// Undoes the rows written from `position` on; returns the memory of their keys' locks.
    pub(super) fn rollback_to(&mut self, position: u64) -> usize {
        let mut freed = 0;
        while let Some(last) = self.segments.last_mut() {
            freed += last.rollback_to(position);
            if last.kept > 0 {
                break;
            }
            last.image.discard();
            self.segments.pop();
        }
        let end = self.segments.last().map_or(0, |last| last.first + 1);
        let kept = self.run_starts.partition_point(|start| *start < end);
        self.run_starts.truncate(kept);
        self.runs.drain(kept..).for_each(|run| run.discard());
        freed
    }

    /// What the commit adopts.
    pub fn part(&self) -> Option<&BulkPart> {
        self.part.as_ref().map(|(part, _)| part)
    }

    /// The keys of the rows in it that reach the heap.
    pub fn part_keys(&self) -> Option<&TableRun> {
        self.part.as_ref().map(|(_, keys)| keys)
    }

    /// Notes what the commit adopts: all segments, and the files of their keys, which are this run.
    pub(super) fn set_part(&mut self, part: BulkPart, keys: TableRun) {
        self.part = Some((part, keys));
    }

    /// The commit has adopted the blocks; its files of keys are others than these.
    pub(super) fn release_runs(&self) {
        self.all_runs().for_each(TableRun::discard);
    }

    /// No commit will adopt anything.
    pub(super) fn discard(&self) {
        self.release_runs();
        self.segments.iter().for_each(|segment| segment.image.discard());
        self.part.iter().for_each(|(_, keys)| keys.discard());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_tell_how_many_rows_a_reader_sees() {
        for positions in [vec![7], (0..500).map(|place| 9 + 2 * place).collect(), vec![4, 5, 9, 10, 700]] {
            let compact = Positions::new(&positions).expect("fits");
            for position in 0..1_100 {
                let expected = positions.iter().filter(|at| **at < position).count();
                assert_eq!(compact.before(position) as usize, expected, "{positions:?} before {position}");
            }
        }
        assert!(Positions::new(&[0, 1, 1 << 40]).is_none());
    }
}
