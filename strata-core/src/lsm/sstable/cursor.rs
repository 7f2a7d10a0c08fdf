//! Walking a run, forward or backward, a restart interval at a time.

use std::sync::Arc;

use crate::cache::Access;
use crate::error::Result;
use crate::lsm::batch::EntryBatch;
use crate::lsm::key::{Limit, Position};
use crate::lsm::sstable::codec::Malformed;
use crate::lsm::sstable::data_block::DataBlock;
use crate::lsm::sstable::dead_range::Streak;
use crate::lsm::sstable::frame::damaged;
use crate::lsm::sstable::index_block::IndexBlock;
use crate::lsm::sstable::table::SsTable;
use crate::lsm::version::Run;

/// From this block on, a walk counts as a scan to the page cache.
const BLOCKS_OF_A_SCAN: u32 = 16;

/// A cursor over the tables of one run. Owns what it reads from; holds no lock.
pub(crate) struct RunCursor {
    run: Arc<Run>,
    reverse: bool,
    access: Access,
    blocks_read: u32,
    table: usize,
    place: Option<Place>,
    batch: EntryBatch,
    at: usize,
    /// Whether stretches of garbage are leapt over, and noted.
    leaps: bool,
    /// Whether one was leapt over.
    leapt: bool,
    /// The garbage up to the current entry, and whether that was said to be garbage too.
    streak: Option<Streak>,
    noted: bool,
}

/// Where in a table the cursor is.
struct Place {
    top: Arc<IndexBlock>,
    partition_at: usize,
    partition: Arc<IndexBlock>,
    block_at: usize,
    block: Arc<DataBlock>,
    block_offset: u64,
    interval: usize,
}

/// Which part of an enclosing one to go to.
#[derive(Clone, Copy)]
enum Part<'a> {
    First,
    Last,
    /// The one that a position, as the table stores it, belongs to.
    Of(Position<'a>),
}

impl RunCursor {
    /// A cursor that is nowhere until it is told to seek.
    pub fn new(run: Arc<Run>, reverse: bool, access: Access) -> Self {
        Self {
            run,
            reverse,
            access,
            blocks_read: 0,
            table: 0,
            place: None,
            batch: EntryBatch::default(),
            at: 0,
            leaps: false,
            leapt: false,
            streak: None,
            noted: false,
        }
    }

    /// One for readers that take no interest in garbage: it leaps over what it, or others, found to be that.
    pub fn leaping(mut self) -> Self {
        self.leaps = true;
        self
    }

    /// Whether it has leapt over garbage.
    pub fn has_leapt(&self) -> bool {
        self.leapt
    }

    /// Says that the current entry is garbage.
    pub fn note_garbage(&mut self) {
        if !self.leaps || self.noted || self.place.is_none() {
            return;
        }
        let Some(entry) = self.batch.get(self.at) else { return };
        match &mut self.streak {
            Some(streak) if streak.table == self.table => streak.extend(entry, self.reverse),
            _ => {
                let next = Streak::begin(self.table, entry);
                let before = self.streak.replace(next);
                publish(&self.run, before);
            }
        }
        self.noted = true;
    }

    fn end_streak(&mut self) {
        self.noted = false;
        publish(&self.run, self.streak.take());
    }

    /// The entry the cursor is on.
    pub fn current(&self) -> Option<Position<'_>> {
        self.place.as_ref()?;
        self.batch.get(self.at)
    }

    /// Goes to the first entry of the run, in the direction of travel.
    pub fn seek_end(&mut self) -> Result<()> {
        let tables = self.run.tables().len();
        self.end_streak();
        self.table = if self.reverse { tables.saturating_sub(1) } else { 0 };
        self.enter_table(if self.reverse { Part::Last } else { Part::First })?;
        self.leap()
    }

    /// Goes to the first entry within `start`, in the direction of travel; reads nothing where the tables show that
    /// it is beyond `end`.
    pub fn seek(&mut self, start: &Limit, end: Option<&Limit>) -> Result<()> {
        self.end_streak();
        self.place = None;
        let run = Arc::clone(&self.run);
        let target = start.at.as_position();
        if self.reverse {
            let after = run.tables().partition_point(|table| table.smallest() <= target);
            let Some(table) = after.checked_sub(1) else { return Ok(()) };
            self.table = table;
        } else {
            self.table = run.tables().partition_point(|table| table.largest() < target);
        }
        let Some(table) = run.tables().get(self.table) else { return Ok(()) };
        let beyond = match end {
            Some(end) if self.reverse => !end.admits_from_below(table.largest()),
            Some(end) => !end.admits_from_above(table.smallest()),
            None => false,
        };
        if beyond {
            return Ok(());
        }
        self.enter_table(Part::Of(table.to_stored(target)))?;
        while let Some(entry) = self.current() {
            let within =
                if self.reverse { start.admits_from_above(entry) } else { start.admits_from_below(entry) };
            if within {
                break;
            }
            self.step_on()?;
        }
        self.leap()
    }

    /// Goes on to the next entry in the direction of travel.
    pub fn advance(&mut self) -> Result<()> {
        if !std::mem::take(&mut self.noted) && self.streak.is_some() {
            self.end_streak();
        }
        let before = self.at;
        self.step_on()?;
        // A new batch begins at its end.
        let same = if self.reverse { self.at < before } else { self.at > before };
        if same { Ok(()) } else { self.leap() }
    }

    /// Leaves a stretch of garbage that the current entry is in.
    fn leap(&mut self) -> Result<()> {
        if !self.leaps {
            return Ok(());
        }
        let run = Arc::clone(&self.run);
        while let Some(entry) = self.current()
            && let Some(table) = run.tables().get(self.table)
            && let Some(range) = table.dead_range().filter(|range| range.contains(entry))
        {
            match &mut self.streak {
                Some(streak) if streak.table == self.table => streak.join(&range),
                _ => {
                    let before = self.streak.replace(Streak::leapt(self.table, &range));
                    publish(&run, before);
                }
            }
            self.leapt = true;
            let (left, reverse) = (self.table, self.reverse);
            let end = if reverse { range.first.as_position() } else { range.last.as_position() };
            self.enter_table(Part::Of(table.to_stored(end)))?;
            // It enters some entries before the end, and so before the whole stretch where that is short: to stop at
            // whatever is outside the stretch would be to go back.
            let is_on_the_way = |entry: Position<'_>| if reverse { entry >= end } else { entry <= end };
            while self.table == left && self.current().is_some_and(is_on_the_way) {
                self.step_on()?;
            }
        }
        Ok(())
    }

    fn step_on(&mut self) -> Result<()> {
        let next = if self.reverse { self.at.checked_sub(1) } else { Some(self.at + 1) };
        match next {
            Some(next) if next < self.batch.len() => {
                self.at = next;
                Ok(())
            }
            _ => self.next_interval(),
        }
    }

    fn step(&self, at: usize, len: usize) -> Option<usize> {
        if self.reverse { at.checked_sub(1) } else { Some(at + 1).filter(|next| *next < len) }
    }

    fn far_end(&self) -> Part<'static> {
        if self.reverse { Part::Last } else { Part::First }
    }

    fn next_interval(&mut self) -> Result<()> {
        let Some(place) = self.place.take() else { return Ok(()) };
        let run = Arc::clone(&self.run);
        let Some(table) = run.tables().get(self.table) else { return Ok(()) };
        let far_end = self.far_end();
        if let Some(interval) = self.step(place.interval, place.block.intervals()) {
            return self.enter_interval(table, Place { interval, ..place });
        }
        if let Some(block_at) = self.step(place.block_at, place.partition.len()) {
            return self.enter_block(
                table,
                place.top,
                place.partition_at,
                place.partition,
                block_at,
                far_end,
            );
        }
        if let Some(partition_at) = self.step(place.partition_at, place.top.len()) {
            return self.enter_partition(table, place.top, partition_at, far_end);
        }
        if let Some(next) = self.step(self.table, run.tables().len()) {
            self.table = next;
            return self.enter_table(far_end);
        }
        Ok(())
    }

    fn enter_table(&mut self, part: Part<'_>) -> Result<()> {
        self.place = None;
        let run = Arc::clone(&self.run);
        let Some(table) = run.tables().get(self.table) else { return Ok(()) };
        let top = Arc::clone(table.top()?);
        let at = choose(&top, part);
        self.enter_partition(table, top, at, part)
    }

    fn enter_partition(
        &mut self,
        table: &SsTable,
        top: Arc<IndexBlock>,
        at: usize,
        part: Part<'_>,
    ) -> Result<()> {
        let Some(target) = top.get(at) else { return Ok(()) };
        let partition = table.partition(target.child, self.access)?;
        let block_at = choose(&partition, part);
        self.enter_block(table, top, at, partition, block_at, part)
    }

    fn enter_block(
        &mut self,
        table: &SsTable,
        top: Arc<IndexBlock>,
        partition_at: usize,
        partition: Arc<IndexBlock>,
        block_at: usize,
        part: Part<'_>,
    ) -> Result<()> {
        let Some(target) = partition.get(block_at) else { return Ok(()) };
        let block_offset = target.child.offset;
        self.blocks_read += 1;
        if self.blocks_read == BLOCKS_OF_A_SCAN {
            self.access = Access::Scan;
        }
        let block = table.data_block(target.child, self.access)?;
        let last = block.intervals() - 1;
        let interval = match part {
            Part::First => 0,
            Part::Last => last,
            Part::Of(position) => {
                let before = block.interval_before(position);
                let before = before.map_err(|malformed| damaged(table.block(), block_offset, malformed))?;
                if self.reverse { last.min(before + 1) } else { before }
            }
        };
        let place = Place { top, partition_at, partition, block_at, block, block_offset, interval };
        self.enter_interval(table, place)
    }

    fn enter_interval(&mut self, table: &SsTable, place: Place) -> Result<()> {
        place
            .block
            .read_interval(place.interval, table.row_base(), &mut self.batch)
            .map_err(|malformed: Malformed| damaged(table.block(), place.block_offset, malformed))?;
        self.at = if self.reverse { self.batch.len() - 1 } else { 0 };
        self.place = Some(place);
        Ok(())
    }
}

impl Drop for RunCursor {
    fn drop(&mut self) {
        self.end_streak();
    }
}

/// Lets the table of a streak know of it.
fn publish(run: &Run, streak: Option<Streak>) {
    if let Some(streak) = streak
        && let Some(table) = run.tables().get(streak.table)
        && let Some(range) = streak.end()
    {
        table.note_dead(range);
    }
}

/// The part of `index` to go to. A position behind all parts belongs to the last: a walk from there leaves it.
fn choose(index: &IndexBlock, part: Part<'_>) -> usize {
    let last = index.len() - 1;
    match part {
        Part::First => 0,
        Part::Last => last,
        Part::Of(position) => index.seek(position).min(last),
    }
}
