//! One heap's share of a write set.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::RowKey;
use super::endings::{Ending, Endings};
use super::spilled::{Spilled, SpilledKeys, SpilledSegment};
use crate::error::Result;
use crate::heap::{ColumnImage, DENSE_MARKS, DenseMarks};
use crate::ids::{BlockId, IndexId, RowId, SLOTS_PER_SEGMENT, SegmentId};

/// A row that the transaction wrote.
#[derive(Clone, Debug)]
pub struct OwnRow {
    /// The encoded row.
    pub bytes: Arc<[u8]>,
    /// Its keys in the table's indexes.
    pub keys: Vec<RowKey>,
    written_at: u64,
}

/// A row version that is to end, committed or own.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mark {
    pub row: RowId,
    /// The own row that replaces it.
    pub successor: Option<RowId>,
    /// Whether the successor is the same row in another place.
    pub moved: bool,
    /// As which row the transaction's snapshot shows it, where it was moved since.
    pub seen_as: Option<RowId>,
}

/// What a commit ends in one segment.
#[derive(Debug, PartialEq, Eq)]
pub enum FinalMarks {
    /// Few rows, each with the own row that replaces it in the end, and whether that is the same row in another place.
    Few(Vec<(RowId, Option<u64>, bool)>),
    /// Many, with those ordinals.
    Many(SegmentId, DenseMarks),
}

/// The rows, marks and keys.
#[derive(Clone, Debug, Default)]
pub struct HeapWrites {
    /// Own rows that were written out: those before the rest.
    spilled: Spilled,
    /// The ordinal of the first row in memory.
    first: u64,
    rows: Vec<OwnRow>,
    /// Memory of those.
    rows_bytes: usize,
    /// Of committed rows.
    marks: Endings,
    /// Of own rows.
    removed: Endings,
    /// For each own row that replaces a committed one, at once or through other own rows, that one, in the place of a successor: so it is
    /// found as well when the own row has been written out.
    originals: Endings,
    /// Of marks on moved rows: as which row the snapshot shows it, and where it is.
    moved: BTreeMap<RowId, RowId>,
    /// Rows that the transaction itself moves.
    moving: BTreeSet<RowId>,
    keys: BTreeMap<RowKey, Vec<u64>>,
    /// Keys that rows in memory got in indexes that were made after them.
    keys_added: Vec<AddedKey>,
}

/// A key that a row in memory got later.
#[derive(Clone, Copy, Debug)]
struct AddedKey {
    written_at: u64,
    ordinal: u64,
    index: IndexId,
}

/// Which rows in memory are older than an index.
#[derive(Clone, Copy, Debug)]
pub struct OlderRows {
    /// When the index was made.
    pub made_at: u64,
    /// Their ordinals are below this.
    pub end: u64,
}

/// Memory that a row costs here beside its bytes, about.
const ROW_OVERHEAD_BYTES: usize = 96;
const KEY_OVERHEAD_BYTES: usize = 96;
/// Memory that a mark on a row that is moved costs beside.
const MOVED_BYTES: usize = 96;
const CHANGE_BYTES: usize = size_of::<AddedKey>();

/// Memory that a row costs.
pub(super) fn row_cost(bytes: &[u8], keys: &[RowKey]) -> usize {
    bytes.len() + ROW_OVERHEAD_BYTES + keys.iter().map(key_cost).sum::<usize>()
}

/// Memory that a key costs which a row gets later.
pub(super) fn added_key_cost(key: &RowKey) -> usize {
    key_cost(key) + CHANGE_BYTES
}

fn key_cost((_, key): &RowKey) -> usize {
    key.len() + KEY_OVERHEAD_BYTES
}

impl HeapWrites {
    pub(super) fn insert(&mut self, written_at: u64, bytes: Arc<[u8]>, keys: Vec<RowKey>) -> RowId {
        let ordinal = self.first + self.rows.len() as u64;
        self.rows_bytes += row_cost(&bytes, &keys);
        for key in &keys {
            self.keys.entry(key.clone()).or_default().push(ordinal);
        }
        self.rows.push(OwnRow { bytes, keys, written_at });
        RowId::provisional(ordinal)
    }

    pub(super) fn add_key(&mut self, written_at: u64, row: RowId, key: RowKey) {
        let ordinal = row.provisional_ordinal();
        let place = self.place_of(ordinal);
        if let Some(own) = place.and_then(|place| self.rows.get_mut(place)) {
            self.rows_bytes += added_key_cost(&key);
            let index = key.0;
            own.keys.push(key.clone());
            self.keys.entry(key).or_default().push(ordinal);
            self.keys_added.push(AddedKey { written_at, ordinal, index });
        }
    }

    /// Memory that a mark takes at most.
    pub(super) fn mark_cost(&self, mark: &Mark) -> usize {
        let moved = if mark.moved || mark.seen_as.is_some() { MOVED_BYTES } else { 0 };
        let original = self.replacement(mark).map_or(0, |(own, _)| self.originals.growth_bytes(own));
        moved + original + self.endings_of(mark.row).growth_bytes(mark.row)
    }

    /// The own row that takes a committed row's place with this mark, and that row. Who only moves rows does nothing else with them.
    fn replacement(&self, mark: &Mark) -> Option<(RowId, RowId)> {
        let own = mark.successor.filter(|_| !mark.moved)?;
        Some((own, self.original(mark.row)?))
    }

    /// The committed row whose place a row has: itself, or for an own one what it has replaced, through however many versions. `None` for
    /// one that is new.
    pub fn original(&self, row: RowId) -> Option<RowId> {
        if row.is_provisional() { self.originals.get(row)?.successor.map(RowId::new) } else { Some(row) }
    }

    /// Whether the transaction has ended this row version.
    pub(super) fn has_ended(&self, row: RowId) -> bool {
        self.endings_of(row).get(row).is_some()
    }

    /// Those that the row's end is among.
    fn endings_of(&self, row: RowId) -> &Endings {
        if row.is_provisional() { &self.removed } else { &self.marks }
    }

    /// Ends a row; returns the memory that the mark takes.
    pub(super) fn mark(&mut self, written_at: u64, mark: Mark) -> usize {
        let mut cost = self.replacement(&mark).map_or(0, |(own, original)| {
            self.originals.put(own, Ending { at: written_at, successor: Some(original.get()) })
        });
        let ending = Ending { at: written_at, successor: mark.successor.map(RowId::provisional_ordinal) };
        if mark.row.is_provisional() {
            return cost + self.removed.put(mark.row, ending);
        }
        cost += self.marks.put(mark.row, ending);
        if let Some(seen) = mark.seen_as {
            self.moved.insert(seen, mark.row);
            cost += MOVED_BYTES;
        }
        if mark.moved {
            self.moving.insert(mark.row);
            cost += MOVED_BYTES;
        }
        cost
    }

    /// Undoes the writes from `position` on; returns the memory that they cost.
    pub(super) fn rollback_to(&mut self, position: u64) -> usize {
        let endings = [&mut self.marks, &mut self.removed, &mut self.originals];
        let mut freed: usize = endings.into_iter().map(|endings| endings.rollback_to(position)).sum();
        let special = self.moved.len() + self.moving.len();
        self.moved.retain(|_, row| self.marks.get(*row).is_some());
        self.moving.retain(|row| self.marks.get(*row).is_some());
        freed += (special - self.moved.len() - self.moving.len()) * MOVED_BYTES;
        while let Some(AddedKey { ordinal, .. }) =
            self.keys_added.pop_if(|added| added.written_at >= position)
        {
            let place = self.place_of(ordinal);
            if let Some(key) = place.and_then(|place| self.rows.get_mut(place)).and_then(|row| row.keys.pop())
            {
                self.forget_key(&key, ordinal);
                self.rows_bytes -= added_key_cost(&key);
                freed += added_key_cost(&key);
            }
        }
        while let Some(row) = self.rows.pop_if(|row| row.written_at >= position) {
            let cost = row_cost(&row.bytes, &row.keys);
            self.rows_bytes -= cost;
            freed += cost;
            let ordinal = self.first + self.rows.len() as u64;
            for key in &row.keys {
                self.forget_key(key, ordinal);
            }
        }
        if self.rows.is_empty() {
            freed += self.spilled.rollback_to(position);
        }
        self.spilled.forget_later(position);
        freed
    }

    fn forget_key(&mut self, key: &RowKey, ordinal: u64) {
        let Some(ordinals) = self.keys.get_mut(key) else { return };
        // What is undone was mostly written last.
        if let Some(place) = ordinals.iter().rposition(|other| *other == ordinal) {
            ordinals.remove(place);
        }
        if ordinals.is_empty() {
            self.keys.remove(key);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rows.is_empty() && self.spilled.segments().is_empty() && self.marks.is_empty()
    }

    /// The place of an ordinal among the rows in memory.
    fn place_of(&self, ordinal: u64) -> Option<usize> {
        usize::try_from(ordinal.checked_sub(self.first)?).ok()
    }

    /// The own rows that were written out.
    pub fn spilled(&self) -> &Spilled {
        &self.spilled
    }

    /// The same, for the commit.
    pub(super) fn spilled_mut(&mut self) -> &mut Spilled {
        &mut self.spilled
    }

    /// The own rows in memory, and what they take.
    pub fn rows_in_memory(&self) -> (&[OwnRow], usize) {
        (&self.rows, self.rows_bytes)
    }

    /// The ordinal of the first of them.
    pub fn first_in_memory(&self) -> u64 {
        self.first
    }

    /// The keys of the rows in memory, in order.
    pub fn keys_in_memory(&self) -> impl Iterator<Item = (&RowKey, &[u64])> {
        self.keys.iter().map(|(key, ordinals)| (key, ordinals.as_slice()))
    }

    /// The indexes that were made after rows which are in memory.
    pub fn later_indexes(&self) -> BTreeMap<IndexId, OlderRows> {
        let mut later: BTreeMap<IndexId, OlderRows> = BTreeMap::new();
        for added in &self.keys_added {
            let new = OlderRows { made_at: added.written_at, end: 0 };
            let rows = later.entry(added.index).or_insert(new);
            rows.end = rows.end.max(added.ordinal + 1);
        }
        later
    }

    /// Lets go of the rows in memory, which stand in a block now, and their keys in runs. Returns the memory that this frees, of which
    /// the locks of the keys keep `locks_bytes`; `None` where it cannot be.
    pub(super) fn spill(
        &mut self,
        block: (BlockId, Arc<ColumnImage>),
        keys: SpilledKeys,
        locks_bytes: usize,
    ) -> Option<usize> {
        let positions: Vec<u64> = self.rows.iter().map(|row| row.written_at).collect();
        if !self.spilled.push(self.first, block, &positions, keys, locks_bytes) {
            return None;
        }
        let end = self.first + self.rows.len() as u64;
        self.first = end.next_multiple_of(SLOTS_PER_SEGMENT.into());
        self.rows = Vec::new();
        self.keys = BTreeMap::new();
        self.keys_added = Vec::new();
        Some(std::mem::take(&mut self.rows_bytes).saturating_sub(locks_bytes))
    }

    /// The own row of this provisional RowId, if it is in memory.
    pub fn row(&self, row: RowId) -> Option<&OwnRow> {
        self.rows.get(self.place_of(row.provisional_ordinal())?)
    }

    /// The own rows in memory that a reader of the writes before `position` sees.
    pub fn visible_rows(&self, position: u64) -> impl Iterator<Item = (RowId, &OwnRow)> {
        let rows = self.rows.iter().take_while(move |row| row.written_at < position).enumerate();
        rows.map(|(place, row)| (RowId::provisional(self.first + place as u64), row))
            .filter(move |(row, _)| !self.is_removed(*row, position))
    }

    /// Whether such a reader sees this own row.
    pub fn sees(&self, row: RowId, position: u64) -> bool {
        let is_written = match self.row(row) {
            Some(own) => own.written_at < position,
            None => self
                .spilled
                .find(row.provisional_ordinal())
                .is_some_and(|(segment, slot)| slot < segment.rows_before(position)),
        };
        is_written && !self.is_removed(row, position)
    }

    /// Where an own row is that was written out.
    pub fn spilled_place(&self, row: RowId) -> Option<(&SpilledSegment, u16)> {
        let (segment, slot) = self.spilled.find(row.provisional_ordinal())?;
        Some((segment, u16::try_from(slot).ok()?))
    }

    /// Whether there is such an own row, visible or not.
    pub fn has_row(&self, row: RowId) -> bool {
        self.row(row).is_some() || self.spilled.find(row.provisional_ordinal()).is_some()
    }

    fn is_removed(&self, row: RowId, position: u64) -> bool {
        self.removed.get(row).is_some_and(|ending| ending.at < position)
    }

    /// How many own rows were written before `position`, removed ones included.
    fn written_count(&self, position: u64) -> u64 {
        let in_memory = self.rows.partition_point(|row| row.written_at < position) as u64;
        in_memory + self.spilled.rows_before(position)
    }

    /// How many own rows such a reader sees.
    pub fn visible_count(&self, position: u64) -> u64 {
        self.written_count(position) - self.removed.count_before(position)
    }

    /// Whether anything was written before `position`. Own rows that are removed again count: a segment of them is read still.
    pub fn has_writes(&self, position: u64) -> bool {
        self.written_count(position) > 0 || self.marked_count(position) > 0
    }

    /// Whether own rows were removed again.
    pub fn has_removed(&self) -> bool {
        !self.removed.is_empty()
    }

    /// Of each segment that was written out: its place, and the slots that are dead from the start.
    pub fn spilled_dead(&self) -> impl Iterator<Item = (u64, DenseMarks)> + '_ {
        self.spilled.bases().filter_map(|(segment, base)| {
            let (first, slots) = (segment.first_row(), u64::from(segment.block().1));
            let removed = self.removed.range(first..first.offset(slots)).map(|(row, _)| row.slot());
            let dead = removed.chain(segment.undone().map(|slot| slot as u16));
            let dead = DenseMarks::collect(dead.map(|slot| (slot, DenseMarks::NONE)));
            (dead.count() > 0).then_some((base, dead))
        })
    }

    /// Whether the row with this ordinal reaches the heap.
    pub fn is_final(&self, ordinal: u64) -> bool {
        self.sees(RowId::provisional(ordinal), u64::MAX)
    }

    /// How many own rows are in memory, removed ones included.
    pub fn row_count(&self) -> usize {
        self.rows.len()
    }

    /// Whether a reader of the writes before `position` sees the committed row as gone.
    pub fn is_marked(&self, row: RowId, position: u64) -> bool {
        let is_gone = |row: RowId| self.marks.get(row).is_some_and(|mark| mark.at < position);
        is_gone(row) || self.moved.get(&row).is_some_and(|row| is_gone(*row))
    }

    /// The rows in `range`, committed or own, that such a reader sees as gone, ascending. A row that was moved since the snapshot is
    /// among them in both its places, of which the snapshot shows one.
    pub fn marked_in(
        &self,
        range: std::ops::Range<RowId>,
        position: u64,
    ) -> impl Iterator<Item = RowId> + use<> {
        let marks = self.endings_of(range.start).range(range.clone());
        let mut rows: Vec<RowId> = marks.filter(|(_, mark)| mark.at < position).map(|(row, _)| row).collect();
        if !self.moved.is_empty() && !range.start.is_provisional() {
            rows.extend(self.moved.range(range).map(|(seen, _)| *seen));
            rows.retain(|row| self.is_marked(*row, position));
            rows.sort_unstable();
        }
        rows.into_iter()
    }

    /// How many committed rows such a reader sees as gone.
    pub fn marked_count(&self, position: u64) -> u64 {
        self.marks.count_before(position)
    }

    /// The newest own row with this key that such a reader sees.
    ///
    /// # Errors
    /// Those of the block store, where rows were written out.
    pub fn find_key(&self, key: &RowKey, position: u64) -> Result<Option<RowId>> {
        let found = self.rows_of_key(key).find(|row| self.sees(*row, position));
        if found.is_some() || !self.spilled.has_keys() {
            return Ok(found);
        }
        let mut found = None;
        self.spilled.rows_of_key(key.0, &key.1, |row| {
            found = self.sees(row, position).then_some(row);
            found.is_some()
        })?;
        Ok(found)
    }

    /// The own rows in memory with this key, newest first, whether visible or not.
    pub fn rows_of_key(&self, key: &RowKey) -> impl Iterator<Item = RowId> + '_ {
        self.keys.get(key).into_iter().flatten().rev().map(|ordinal| RowId::provisional(*ordinal))
    }

    /// The own keys of an index from `lower` to `upper`, ascending, with their rows, of rows in memory.
    pub fn keys_in(
        &self,
        range: (std::ops::Bound<RowKey>, std::ops::Bound<RowKey>),
    ) -> impl DoubleEndedIterator<Item = (&RowKey, &[u64])> {
        self.keys.range(range).map(|(key, ordinals)| (key, ordinals.as_slice()))
    }

    /// The committed rows that end with the commit, by segment.
    pub fn final_marks(&self) -> impl Iterator<Item = FinalMarks> + '_ {
        self.marks.segments().map(|(segment, count, endings)| {
            let first = segment.first_row();
            let last = |ending: Ending| self.final_successor(ending.successor);
            if count as usize >= DENSE_MARKS && self.moving.is_empty() {
                let marks = endings.map(|(slot, ending)| (slot, last(ending).unwrap_or(DenseMarks::NONE)));
                return FinalMarks::Many(segment, DenseMarks::collect(marks));
            }
            let marks = endings.map(|(slot, ending)| {
                let row = first.offset(slot.into());
                (row, last(ending), self.moving.contains(&row))
            });
            FinalMarks::Few(marks.collect())
        })
    }

    /// The own rows in memory that reach the heap, with their ordinals.
    pub fn final_rows(&self) -> impl Iterator<Item = (u64, &OwnRow)> {
        let rows = self.rows.iter().enumerate().map(|(place, row)| (self.first + place as u64, row));
        rows.filter(|(ordinal, _)| self.removed.get(RowId::provisional(*ordinal)).is_none())
    }

    /// Follows own rows that own rows replaced, to the one that is left; `None` where the last was deleted.
    fn final_successor(&self, mut successor: Option<u64>) -> Option<u64> {
        if self.removed.is_empty() {
            return successor;
        }
        while let Some(ordinal) = successor {
            match self.removed.get(RowId::provisional(ordinal)) {
                None => return Some(ordinal),
                Some(ending) => successor = ending.successor,
            }
        }
        None
    }
}
