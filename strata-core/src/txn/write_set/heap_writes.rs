//! One heap's share of a write set.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::RowKey;
use crate::ids::RowId;

/// A row that the transaction wrote.
#[derive(Clone, Debug)]
pub struct OwnRow {
    /// The encoded row.
    pub bytes: Arc<[u8]>,
    /// Its keys in the table's indexes.
    pub keys: Vec<RowKey>,
    written_at: u64,
    removed: Option<(u64, Option<u64>)>,
}

impl OwnRow {
    /// Whether a reader of the writes before `position` sees the row.
    pub fn is_visible(&self, position: u64) -> bool {
        self.written_at < position && self.removed.is_none_or(|(at, _)| at >= position)
    }
}

#[derive(Clone, Copy, Debug)]
struct OwnMark {
    written_at: u64,
    successor: Option<u64>,
    /// Whether the successor is the same row in another place.
    moved: bool,
    /// As which row the transaction's snapshot shows it, where it was moved since.
    seen_as: Option<RowId>,
}

/// The end of a committed row version.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ending {
    pub row: RowId,
    pub successor: Option<RowId>,
    pub moved: bool,
    pub seen_as: Option<RowId>,
}

/// A change to what was there, to be undone. Rows undo themselves: they are in the order they were written.
#[derive(Clone, Copy, Debug)]
enum Change {
    /// A committed row was ended.
    Marked(RowId),
    /// The own row of this ordinal was ended.
    Removed(u64),
    /// The own row of this ordinal got one more key.
    KeyAdded(u64),
}

/// The rows, marks and keys.
#[derive(Clone, Debug, Default)]
pub struct HeapWrites {
    rows: Vec<OwnRow>,
    marks: BTreeMap<RowId, OwnMark>,
    /// Of marks on moved rows: as which row the snapshot shows it, and where it is.
    moved: BTreeMap<RowId, RowId>,
    keys: BTreeMap<RowKey, Vec<u64>>,
    changes: Vec<(u64, Change)>,
}

/// Memory that a row costs here beside its bytes, about.
const ROW_OVERHEAD_BYTES: usize = 96;
const KEY_OVERHEAD_BYTES: usize = 96;
/// Memory that ending a row costs.
pub(super) const MARK_BYTES: usize = 96;
const CHANGE_BYTES: usize = 32;

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

fn place_of(ordinal: u64) -> usize {
    usize::try_from(ordinal).unwrap_or(usize::MAX)
}

impl HeapWrites {
    pub(super) fn insert(&mut self, written_at: u64, bytes: Arc<[u8]>, keys: Vec<RowKey>) -> RowId {
        let ordinal = self.rows.len() as u64;
        for key in &keys {
            self.keys.entry(key.clone()).or_default().push(ordinal);
        }
        self.rows.push(OwnRow { bytes, keys, written_at, removed: None });
        RowId::provisional(ordinal)
    }

    pub(super) fn add_key(&mut self, written_at: u64, row: RowId, key: RowKey) {
        let ordinal = row.provisional_ordinal();
        if let Some(own) = self.rows.get_mut(place_of(ordinal)) {
            own.keys.push(key.clone());
            self.keys.entry(key).or_default().push(ordinal);
            self.changes.push((written_at, Change::KeyAdded(ordinal)));
        }
    }

    pub(super) fn mark(&mut self, written_at: u64, ending: Ending) {
        let Ending { row, moved, seen_as, .. } = ending;
        let successor = ending.successor.map(RowId::provisional_ordinal);
        if row.is_provisional() {
            let ordinal = row.provisional_ordinal();
            if let Some(own) = self.rows.get_mut(place_of(ordinal)) {
                debug_assert!(own.removed.is_none(), "rule 2: a version ends once");
                own.removed = Some((written_at, successor));
                self.changes.push((written_at, Change::Removed(ordinal)));
            }
        } else {
            let before = self.marks.insert(row, OwnMark { written_at, successor, moved, seen_as });
            if let Some(seen) = seen_as {
                self.moved.insert(seen, row);
            }
            debug_assert!(before.is_none(), "rule 2: a version ends once");
            self.changes.push((written_at, Change::Marked(row)));
        }
    }

    /// Undoes the writes from `position` on; returns the memory that they cost.
    pub(super) fn rollback_to(&mut self, position: u64) -> usize {
        let mut freed = 0;
        while let Some((_, change)) = self.changes.pop_if(|(at, _)| *at >= position) {
            freed += self.undo(change);
        }
        while let Some(row) = self.rows.pop_if(|row| row.written_at >= position) {
            freed += row_cost(&row.bytes, &row.keys);
            let ordinal = self.rows.len() as u64;
            for key in &row.keys {
                self.forget_key(key, ordinal);
            }
        }
        freed
    }

    fn undo(&mut self, change: Change) -> usize {
        match change {
            Change::Marked(row) => {
                if let Some(seen) = self.marks.remove(&row).and_then(|mark| mark.seen_as) {
                    self.moved.remove(&seen);
                }
                MARK_BYTES
            }
            Change::Removed(ordinal) => {
                if let Some(row) = self.rows.get_mut(place_of(ordinal)) {
                    row.removed = None;
                }
                MARK_BYTES
            }
            Change::KeyAdded(ordinal) => {
                let key = self.rows.get_mut(place_of(ordinal)).and_then(|row| row.keys.pop());
                key.map_or(0, |key| {
                    self.forget_key(&key, ordinal);
                    added_key_cost(&key)
                })
            }
        }
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
        self.rows.is_empty() && self.marks.is_empty()
    }

    /// The own row of this provisional RowId.
    pub fn row(&self, row: RowId) -> Option<&OwnRow> {
        usize::try_from(row.provisional_ordinal()).ok().and_then(|place| self.rows.get(place))
    }

    /// The own rows that a reader of the writes before `position` sees.
    pub fn visible_rows(&self, position: u64) -> impl Iterator<Item = (RowId, &OwnRow)> {
        self.rows
            .iter()
            .enumerate()
            .filter(move |(_, row)| row.is_visible(position))
            .map(|(ordinal, row)| (RowId::provisional(ordinal as u64), row))
    }

    /// How many own rows there are, removed ones included.
    pub fn row_count(&self) -> usize {
        self.rows.len()
    }

    /// Whether a reader of the writes before `position` sees the committed row as gone.
    pub fn is_marked(&self, row: RowId, position: u64) -> bool {
        let is_gone = |row: &RowId| self.marks.get(row).is_some_and(|mark| mark.written_at < position);
        is_gone(&row) || self.moved.get(&row).is_some_and(is_gone)
    }

    /// The committed rows in `range` that such a reader sees as gone, ascending. A row that was moved since the snapshot is
    /// among them in both its places, of which the snapshot shows one.
    pub fn marked_in(
        &self,
        range: std::ops::Range<RowId>,
        position: u64,
    ) -> impl Iterator<Item = RowId> + use<> {
        let marks = self.marks.range(range.clone());
        let mut rows: Vec<RowId> =
            marks.filter(|(_, mark)| mark.written_at < position).map(|(row, _)| *row).collect();
        if !self.moved.is_empty() {
            rows.extend(self.moved.range(range).map(|(seen, _)| *seen));
            rows.retain(|row| self.is_marked(*row, position));
            rows.sort_unstable();
        }
        rows.into_iter()
    }

    /// How many committed rows such a reader sees as gone.
    pub fn marked_count(&self, position: u64) -> u64 {
        self.marks.values().filter(|mark| mark.written_at < position).count() as u64
    }

    /// The own rows with this key, newest first, whether visible or not.
    pub fn rows_of_key(&self, key: &RowKey) -> impl Iterator<Item = RowId> + '_ {
        self.keys.get(key).into_iter().flatten().rev().map(|ordinal| RowId::provisional(*ordinal))
    }

    /// The own keys of an index from `lower` to `upper`, ascending, with their rows.
    pub fn keys_in(
        &self,
        range: (std::ops::Bound<RowKey>, std::ops::Bound<RowKey>),
    ) -> impl DoubleEndedIterator<Item = (&RowKey, &[u64])> {
        self.keys.range(range).map(|(key, ordinals)| (key, ordinals.as_slice()))
    }

    /// The committed rows that end with the commit, each with the own row that replaces it in the end, and whether that is
    /// the same row in another place.
    pub fn final_marks(&self) -> impl Iterator<Item = (RowId, Option<u64>, bool)> + '_ {
        self.marks.iter().map(|(row, mark)| (*row, self.final_successor(mark.successor), mark.moved))
    }

    /// The own rows that reach the heap, with their ordinals.
    pub fn final_rows(&self) -> impl Iterator<Item = (u64, &OwnRow)> {
        self.rows
            .iter()
            .enumerate()
            .filter(|(_, row)| row.removed.is_none())
            .map(|(ordinal, row)| (ordinal as u64, row))
    }

    /// Follows own rows that own rows replaced, to the one that is left; `None` where the last was deleted.
    fn final_successor(&self, mut successor: Option<u64>) -> Option<u64> {
        while let Some(ordinal) = successor {
            match usize::try_from(ordinal).ok().and_then(|place| self.rows.get(place))?.removed {
                None => return Some(ordinal),
                Some((_, next)) => successor = next,
            }
        }
        None
    }
}
