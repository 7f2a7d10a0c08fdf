//! Which rows a transaction has ended: by segment, in as little memory as their order allows.
//!
//! A mark is the slot that ends, the position of the write, and the own row that replaces it, if one does. What a statement
//! writes in the order of a scan ascends in all three by fixed steps: a [`Run`], whatever its length. A segment whose marks are in no
//! order has a [`Table`] once it has many, with 8 bytes for each slot: bounded by the rows there are, and never searched.
//!
//! Which committed row an own one has replaced is noted in the same form, by the own row: the two ascend together, too.

use std::collections::BTreeMap;
use std::ops::Range;

use crate::ids::{RowId, SLOTS_PER_SEGMENT, SegmentId};

/// The end of one row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ending {
    /// The position of the write.
    pub at: u64,
    /// The ordinal of the own row that replaces it.
    pub successor: Option<u64>,
}

/// The ended rows.
#[derive(Clone, Debug, Default)]
pub struct Endings {
    segments: BTreeMap<SegmentId, Segment>,
}

#[derive(Clone, Debug)]
struct Segment {
    form: Form,
    /// How many marks.
    count: u32,
    /// The positions of all lie in here.
    first: u64,
    last: u64,
}

#[derive(Clone, Debug)]
enum Form {
    /// Of ascending slots.
    Runs(Vec<Run>),
    Table(Box<Table>),
}

/// Consecutive slots whose positions ascend by one step, and whose successors by one (or that have none).
#[derive(Clone, Copy, Debug)]
struct Run {
    slot: u16,
    /// Slots after the first.
    more: u16,
    /// By how much positions ascend.
    step: u32,
    at: u64,
    /// [`NONE`] for none.
    successor: u64,
}

/// For each slot what it has, less the least position and ordinal at the time when the table was made.
#[derive(Clone, Debug)]
struct Table {
    base_at: u64,
    base_successor: u64,
    /// [`FREE`] where there is no mark.
    at: Box<[u32]>,
    /// [`FREE`] where there is none.
    successor: Box<[u32]>,
}

const NONE: u64 = u64::MAX;
const FREE: u32 = u32::MAX;
const SLOTS: usize = SLOTS_PER_SEGMENT as usize;
/// A segment with more runs than this has a table.
const MAX_RUNS: usize = 4_096;
/// Runs that the list of a segment begins with.
const FIRST_RUNS: usize = 4;
/// Memory of a segment's entry, about.
const SEGMENT_BYTES: usize = 160;

/// For how many runs a list of so many has room.
fn capacity(runs: usize) -> usize {
    runs.next_power_of_two().max(FIRST_RUNS)
}

impl Run {
    fn last(&self) -> u16 {
        self.slot + self.more
    }

    fn get(&self, slot: u16) -> Option<Ending> {
        let place = u64::from(slot.checked_sub(self.slot).filter(|place| *place <= self.more)?);
        let successor = (self.successor != NONE).then(|| self.successor + place);
        Some(Ending { at: self.at + place * u64::from(self.step), successor })
    }

    /// Takes the slot behind the last one in, if it goes on as the run does.
    fn push(&mut self, slot: u16, ending: Ending) -> bool {
        let place = u64::from(self.more) + 1;
        let goes_on = match ending.successor {
            None => self.successor == NONE,
            Some(successor) => self.successor != NONE && self.successor + place == successor,
        };
        if self.last().checked_add(1) != Some(slot) || !goes_on {
            return false;
        }
        if self.more == 0 {
            let step = ending.at.checked_sub(self.at).and_then(|step| u32::try_from(step).ok());
            let Some(step) = step else { return false };
            self.step = step;
        } else if self.at + place * u64::from(self.step) != ending.at {
            return false;
        }
        self.more += 1;
        true
    }

    /// The run without the slots whose positions are `position` or later; `None` where none is left.
    fn before(mut self, position: u64) -> Option<Self> {
        let kept = match position.checked_sub(self.at).filter(|room| *room > 0)? {
            room if self.step > 0 => room.div_ceil(u64::from(self.step)),
            _ => u64::MAX,
        };
        self.more = self.more.min(u16::try_from(kept - 1).unwrap_or(u16::MAX));
        Some(self)
    }
}

impl Table {
    fn new(base_at: u64, base_successor: u64) -> Self {
        let free = || vec![FREE; SLOTS].into_boxed_slice();
        Self { base_at, base_successor, at: free(), successor: free() }
    }

    fn get(&self, slot: u16) -> Option<Ending> {
        let at = *self.at.get(usize::from(slot)).filter(|at| **at != FREE)?;
        let successor = *self.successor.get(usize::from(slot))?;
        let successor = (successor != FREE).then(|| self.base_successor + u64::from(successor));
        Some(Ending { at: self.base_at + u64::from(at), successor })
    }

    /// Whether the mark fits.
    fn put(&mut self, slot: u16, ending: Ending) -> bool {
        let offset = |value: u64, base: u64| {
            value
                .checked_sub(base)
                .and_then(|offset| u32::try_from(offset).ok())
                .filter(|offset| *offset != FREE)
        };
        let successor = match ending.successor {
            None => Some(FREE),
            Some(successor) => offset(successor, self.base_successor),
        };
        let (Some(at), Some(successor)) = (offset(ending.at, self.base_at), successor) else { return false };
        self.at[usize::from(slot)] = at;
        self.successor[usize::from(slot)] = successor;
        true
    }
}

impl Segment {
    fn new(at: u64) -> Self {
        Self { form: Form::Runs(Vec::new()), count: 0, first: at, last: at }
    }

    fn get(&self, slot: u16) -> Option<Ending> {
        match &self.form {
            Form::Runs(runs) => {
                let after = runs.partition_point(|run| run.slot <= slot);
                runs.get(after.checked_sub(1)?)?.get(slot)
            }
            Form::Table(table) => table.get(slot),
        }
    }

    fn iter(&self, slots: Range<u32>) -> impl Iterator<Item = (u16, Ending)> + '_ {
        let (runs, table) = match &self.form {
            Form::Runs(runs) => (&runs[..], None),
            Form::Table(table) => (&[][..], Some(table)),
        };
        let first = runs.partition_point(|run| u32::from(run.last()) < slots.start);
        let of_runs = runs[first..].iter().take_while({
            let end = slots.end;
            move |run| u32::from(run.slot) < end
        });
        let (start, end) = (slots.start, slots.end);
        let of_runs = of_runs.flat_map(move |run| {
            let inside = start.max(run.slot.into())..end.min(u32::from(run.last()) + 1);
            inside.filter_map(move |slot| Some((slot as u16, run.get(slot as u16)?)))
        });
        let of_table = table.into_iter().flat_map(move |table| {
            slots.clone().filter_map(move |slot| Some((slot as u16, table.get(slot as u16)?)))
        });
        of_runs.chain(of_table)
    }

    fn put(&mut self, slot: u16, ending: Ending) {
        (self.first, self.last) = (self.first.min(ending.at), self.last.max(ending.at));
        self.count += 1;
        if let Form::Table(table) = &mut self.form {
            if table.put(slot, ending) {
                return;
            }
            // Out of a table's reach.
            self.form = Form::Runs(self.runs());
        }
        let Form::Runs(runs) = &mut self.form else { return };
        let after = runs.partition_point(|run| run.slot <= slot);
        if let Some(run) = after.checked_sub(1).and_then(|before| runs.get_mut(before))
            && run.push(slot, ending)
        {
            return;
        }
        if runs.len() >= MAX_RUNS
            && let Some(table) = self.table(slot, ending)
        {
            self.form = Form::Table(Box::new(table));
            return;
        }
        let Form::Runs(runs) = &mut self.form else { return };
        let capacity = capacity(runs.len() + 1);
        runs.reserve_exact(capacity - runs.len());
        let run = Run { slot, more: 0, step: 0, at: ending.at, successor: ending.successor.unwrap_or(NONE) };
        runs.insert(after, run);
    }

    /// All marks in a table, if they fit.
    fn table(&self, slot: u16, ending: Ending) -> Option<Table> {
        let all = || self.iter(0..SLOTS_PER_SEGMENT).chain([(slot, ending)]);
        let base_successor = all().filter_map(|(_, ending)| ending.successor).min().unwrap_or(0);
        let mut table = Table::new(self.first, base_successor);
        all().all(|(slot, ending)| table.put(slot, ending)).then_some(table)
    }

    /// All marks in runs.
    fn runs(&self) -> Vec<Run> {
        let mut runs: Vec<Run> = Vec::new();
        for (slot, ending) in self.iter(0..SLOTS_PER_SEGMENT) {
            if !runs.last_mut().is_some_and(|run| run.push(slot, ending)) {
                let successor = ending.successor.unwrap_or(NONE);
                runs.push(Run { slot, more: 0, step: 0, at: ending.at, successor });
            }
        }
        runs
    }

    /// What one more mark may add to the memory.
    fn growth_bytes(&self) -> usize {
        match &self.form {
            Form::Runs(runs) => {
                let longer = size_of::<Run>() * (capacity(runs.len() + 1) - capacity(runs.len()));
                if runs.len() < MAX_RUNS { longer } else { longer.max(size_of::<u32>() * 2 * SLOTS) }
            }
            Form::Table(_) => 0,
        }
    }

    fn size_bytes(&self) -> usize {
        SEGMENT_BYTES
            + match &self.form {
                Form::Runs(runs) => capacity(runs.len()) * size_of::<Run>(),
                Form::Table(_) => size_of::<u32>() * 2 * SLOTS,
            }
    }

    /// Forgets the marks written at `position` or later.
    fn rollback_to(&mut self, position: u64) {
        match &mut self.form {
            Form::Runs(runs) => {
                runs.retain_mut(|run| {
                    let kept = run.before(position);
                    kept.is_some_and(|kept| {
                        *run = kept;
                        true
                    })
                });
                runs.shrink_to(capacity(runs.len()));
                self.count = runs.iter().map(|run| u32::from(run.more) + 1).sum();
            }
            Form::Table(table) => {
                for place in 0..SLOTS {
                    let at = table.at[place];
                    if at != FREE && table.base_at + u64::from(at) >= position {
                        table.at[place] = FREE;
                        self.count -= 1;
                    }
                }
            }
        }
        self.last = self.last.min(position.saturating_sub(1));
    }
}

impl Endings {
    /// Whether none.
    pub fn is_empty(&self) -> bool {
        self.segments.is_empty()
    }

    /// The end of a row.
    pub fn get(&self, row: RowId) -> Option<Ending> {
        self.segments.get(&row.segment())?.get(row.slot())
    }

    /// What ending one more row may add to the memory.
    pub fn growth_bytes(&self, row: RowId) -> usize {
        let new = SEGMENT_BYTES + FIRST_RUNS * size_of::<Run>();
        self.segments.get(&row.segment()).map_or(new, Segment::growth_bytes)
    }

    /// Ends a row. Returns what that adds to the memory.
    pub fn put(&mut self, row: RowId, ending: Ending) -> usize {
        debug_assert!(self.get(row).is_none(), "rule 2: a version ends once");
        let mut before = 0;
        let segment = self.segments.entry(row.segment());
        let segment = segment.and_modify(|segment| before = segment.size_bytes());
        let segment = segment.or_insert_with(|| Segment::new(ending.at));
        segment.put(row.slot(), ending);
        segment.size_bytes().saturating_sub(before)
    }

    /// Forgets the ends that were written at `position` or later. Costs a look at each segment, and the marks of those
    /// that have such.
    /// Returns the memory that this frees.
    pub fn rollback_to(&mut self, position: u64) -> usize {
        let mut freed = 0;
        self.segments.retain(|_, segment| {
            if segment.last < position {
                return true;
            }
            let before = segment.size_bytes();
            segment.rollback_to(position);
            let kept = segment.count > 0;
            freed += before - if kept { segment.size_bytes() } else { 0 };
            kept
        });
        freed
    }

    /// Those of rows in `range`, ascending.
    pub fn range(&self, range: Range<RowId>) -> impl Iterator<Item = (RowId, Ending)> + '_ {
        let end = range.end.segment();
        let end = if range.end.slot() == 0 { end } else { end.next() };
        let segments = (range.start < range.end).then(|| self.segments.range(range.start.segment()..end));
        let segments = segments.into_iter().flatten();
        segments.flat_map(move |(id, segment)| {
            let first = id.first_row();
            let slots =
                |row: RowId| row.get().saturating_sub(first.get()).min(SLOTS_PER_SEGMENT.into()) as u32;
            let inside = segment.iter(slots(range.start)..slots(range.end));
            inside.map(move |(slot, ending)| (first.offset(slot.into()), ending))
        })
    }

    /// How many were written before `position`.
    pub fn count_before(&self, position: u64) -> u64 {
        let counts = self.segments.values().map(|segment| {
            if segment.last < position {
                u64::from(segment.count)
            } else if segment.first >= position {
                0
            } else {
                segment.iter(0..SLOTS_PER_SEGMENT).filter(|(_, ending)| ending.at < position).count() as u64
            }
        });
        counts.sum()
    }

    /// All of them by segment: how many, and which.
    pub fn segments(
        &self,
    ) -> impl Iterator<Item = (SegmentId, u32, impl Iterator<Item = (u16, Ending)> + '_)> + '_ {
        let segments = self.segments.iter();
        segments.map(|(id, segment)| (*id, segment.count, segment.iter(0..SLOTS_PER_SEGMENT)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(endings: &Endings) -> u64 {
        endings.segments.values().map(|segment| u64::from(segment.count)).sum()
    }

    fn size_bytes(endings: &Endings) -> usize {
        endings.segments.values().map(Segment::size_bytes).sum()
    }

    /// What a map of all would say.
    fn check(endings: &Endings, model: &BTreeMap<RowId, Ending>, position: u64) {
        assert_eq!(count(endings), model.len() as u64);
        let all = RowId::ZERO..RowId::new(9 << 16);
        assert_eq!(
            endings.range(all).collect::<Vec<_>>(),
            model.iter().map(|(row, end)| (*row, *end)).collect::<Vec<_>>()
        );
        let some = RowId::new(70_000)..RowId::new((2 << 16) + 9);
        assert!(endings.range(some.clone()).map(|(row, _)| row).eq(model.range(some).map(|(row, _)| *row)));
        let before = model.values().filter(|ending| ending.at < position).count() as u64;
        assert_eq!(endings.count_before(position), before);
        for row in (0..4_u64 << 16).step_by(97).map(RowId::new) {
            assert_eq!(endings.get(row), model.get(&row).copied(), "{row}");
        }
    }

    fn run(rows: impl Iterator<Item = (u64, Option<u64>)>) -> (Endings, BTreeMap<RowId, Ending>) {
        let (mut endings, mut model) = (Endings::default(), BTreeMap::new());
        for (place, (row, successor)) in rows.enumerate() {
            let ending = Ending { at: 100 + 2 * place as u64, successor };
            let bound = size_bytes(&endings) + endings.growth_bytes(RowId::new(row));
            let before = endings.segments.get(&RowId::new(row).segment()).map_or(0, Segment::size_bytes);
            let added = endings.put(RowId::new(row), ending);
            let after = endings.segments[&RowId::new(row).segment()].size_bytes();
            assert!(after <= before + added);
            if place % 101 == 0 {
                let bytes = size_bytes(&endings);
                assert!(bytes <= bound, "{bytes} bytes, {bound} announced");
            }
            model.insert(RowId::new(row), ending);
        }
        (endings, model)
    }

    fn undo(endings: &mut Endings, model: &mut BTreeMap<RowId, Ending>, position: u64) {
        let before = size_bytes(endings);
        let freed = endings.rollback_to(position);
        assert_eq!(size_bytes(endings), before - freed);
        model.retain(|_, ending| ending.at < position);
        check(endings, model, position / 2);
    }

    #[test]
    fn rows_that_end_in_the_order_of_a_scan_are_runs() {
        for successor in [false, true] {
            let (mut endings, mut model) = run((5..200_000).map(|row| (row, successor.then_some(row - 5))));
            assert!(size_bytes(&endings) < 4 * (SEGMENT_BYTES + FIRST_RUNS * size_of::<Run>()) + 1);
            check(&endings, &model, 200_000);
            // Between the two writes of an update, and at a mark's own position.
            undo(&mut endings, &mut model, 300_001);
            undo(&mut endings, &mut model, 200_000);
            undo(&mut endings, &mut model, 101);
            assert_eq!(count(&endings), 1);
            undo(&mut endings, &mut model, 100);
            assert!(endings.is_empty());
        }
    }

    #[test]
    fn rows_in_no_order_cost_eight_bytes_of_their_segment_each() {
        // A step that meets every row of four segments once.
        let rows = 4_u64 << 16;
        let order = (0..rows).map(|place| (place * 70_003 % rows, (place % 5 > 0).then_some(place)));
        let (mut endings, mut model) = run(order);
        assert_eq!(size_bytes(&endings), 4 * (SEGMENT_BYTES + 8 * SLOTS));
        check(&endings, &model, 70_000);
        undo(&mut endings, &mut model, 300_000);
        undo(&mut endings, &mut model, 7_000);
        // What is written again after the undoing.
        for row in
            (0..rows).map(RowId::new).filter(|row| !model.contains_key(row)).take(3_000).collect::<Vec<_>>()
        {
            let ending = Ending { at: 1 << 40, successor: Some(7) };
            endings.put(row, ending);
            model.insert(row, ending);
        }
        check(&endings, &model, 1 << 40);
        undo(&mut endings, &mut model, 0);
    }

    #[test]
    fn marks_before_and_between_runs_keep_their_order() {
        let rows = [9, 7, 8, 10, 11, 3, 70_000, 12, 1, 2, 65_535, 65_536];
        let (mut endings, mut model) = run(rows.into_iter().map(|row| (row, None)));
        check(&endings, &model, 108);
        undo(&mut endings, &mut model, 109);
    }
}
