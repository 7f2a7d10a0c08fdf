//! Many slots of one segment that ended with one commit: a bitmap, and what replaced them in runs.
//!
//! What an UPDATE of a whole table writes in the order of the scan are successors that ascend by one: a run. Where they do not, they are
//! kept as 32-bit offsets, one for each slot. Either way a mark costs a few bytes or bits, not 16 bytes as in a list.

use super::codec::{WORDS, set_slots};
use crate::codec::{Cursor, Damage, Decoded, put_count, put_u32, put_u64};

/// So many marks of a segment before a bitmap is worth while.
pub const DENSE_MARKS: usize = 512;
/// No successor.
const NONE: u64 = DenseMarks::NONE;
const FORM_RUNS: u8 = 0;
const FORM_OFFSETS: u8 = 1;
/// The same among offsets.
const NO_OFFSET: u32 = u32::MAX;

/// Slots, each with a number that names its successor (all ones for none).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DenseMarks {
    words: Box<[u64; WORDS]>,
    count: u32,
    successors: Successors,
}

/// The successors of the slots, in their order.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Successors {
    Runs(Box<[Run]>),
    Offsets { base: u64, offsets: Box<[u32]> },
}

/// Successors that ascend by one, or slots that have none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// The successor of the first slot.
    pub first: u64,
    /// Slots up to the end of the run, counted from the first of all.
    pub end: u32,
}

impl DenseMarks {
    /// The number of no successor.
    pub const NONE: u64 = u64::MAX;

    /// Marks of ascending slots with the numbers of their successors.
    pub fn collect(marks: impl Iterator<Item = (u16, u64)>) -> Self {
        let mut words = Box::new([0; WORDS]);
        let mut runs = RunBuilder::default();
        for (slot, successor) in marks {
            words[usize::from(slot) / 64] |= 1 << (slot % 64);
            runs.push(successor, 1);
        }
        Self { words, count: runs.count, successors: runs.finish() }
    }

    /// How many slots.
    pub fn count(&self) -> u32 {
        self.count
    }

    /// The slots as a bitmap.
    pub fn words(&self) -> &[u64; WORDS] {
        &self.words
    }

    /// The runs that the successors make: the first, and how many; those that do not ascend stand alone.
    pub fn runs(&self) -> impl Iterator<Item = (u64, u32)> + '_ {
        let (runs, offsets, base) = match &self.successors {
            Successors::Runs(runs) => (&runs[..], &[][..], 0),
            Successors::Offsets { base, offsets } => (&[][..], &offsets[..], *base),
        };
        let starts = std::iter::once(0).chain(runs.iter().map(|run| run.end));
        let of_runs = starts.zip(runs).map(|(start, run)| (run.first, run.end - start));
        of_runs.chain(offsets.iter().map(move |offset| (successor_at(base, *offset), 1)))
    }

    /// How many runs [`runs`](Self::runs) tells of.
    pub fn run_count(&self) -> usize {
        match &self.successors {
            Successors::Runs(runs) => runs.len(),
            Successors::Offsets { offsets, .. } => offsets.len(),
        }
    }

    /// The same slots with other successors: `map` gives for a run what replaces its beginning, and how much of it.
    pub fn map(&self, mut map: impl FnMut(u64, u32) -> (u64, u32)) -> Self {
        let mut runs = RunBuilder::default();
        for (mut first, mut count) in self.runs() {
            while count > 0 {
                let (mapped, taken) = if first == NONE { (NONE, count) } else { map(first, count) };
                let taken = taken.clamp(1, count);
                runs.push(mapped, taken);
                count -= taken;
                first = if first == NONE { NONE } else { first + u64::from(taken) };
            }
        }
        Self { words: self.words.clone(), count: self.count, successors: runs.finish() }
    }

    /// Whether the slot is among them, and if so its successor.
    pub fn find(&self, slot: u16) -> Option<u64> {
        let (place, bit) = (usize::from(slot) / 64, slot % 64);
        let (before, rest) = self.words.split_at(place);
        let word = rest.first()?;
        if word >> bit & 1 == 0 {
            return None;
        }
        let rank: u32 = before.iter().map(|word| word.count_ones()).sum();
        Some(self.successor(rank + (word & ((1 << bit) - 1)).count_ones()))
    }

    fn successor(&self, rank: u32) -> u64 {
        match &self.successors {
            Successors::Runs(runs) => {
                let place = runs.partition_point(|run| run.end <= rank);
                let start = place.checked_sub(1).map_or(0, |before| runs[before].end);
                runs.get(place).map_or(NONE, |run| after(run.first, rank - start))
            }
            Successors::Offsets { base, offsets } => {
                offsets.get(rank as usize).map_or(NONE, |offset| successor_at(*base, *offset))
            }
        }
    }

    /// All slots, ascending, with their successors.
    pub fn iter(&self) -> impl Iterator<Item = (u16, u64)> + '_ {
        let successors =
            self.runs().flat_map(|(first, count)| (0..count).map(move |place| after(first, place)));
        set_slots(&self.words[..]).zip(successors)
    }

    /// Writes the bitmap and the successors (docs/format/commit-record.md).
    pub fn encode(&self, out: &mut Vec<u8>) {
        self.words.iter().for_each(|word| put_u64(out, *word));
        match &self.successors {
            Successors::Runs(runs) => {
                out.push(FORM_RUNS);
                put_count(out, runs.len());
                for (first, count) in self.runs() {
                    put_u64(out, first);
                    put_u32(out, count);
                }
            }
            Successors::Offsets { base, offsets } => {
                out.push(FORM_OFFSETS);
                put_u64(out, *base);
                offsets.iter().for_each(|offset| put_u32(out, *offset));
            }
        }
    }

    /// Reads marks back whose successors are all below `limit`.
    pub(crate) fn decode(fields: &mut Cursor<'_>, limit: u64) -> Decoded<Self> {
        let mut words = Box::new([0; WORDS]);
        for word in words.iter_mut() {
            *word = fields.u64()?;
        }
        let count: u32 = words.iter().map(|word| word.count_ones()).sum();
        let mut runs = RunBuilder::default();
        match fields.u8()? {
            FORM_RUNS => {
                for _ in 0..fields.u32()? {
                    let (first, more) = (fields.u64()?, fields.u32()?);
                    let end = if first == NONE { Some(0) } else { first.checked_add(more.into()) };
                    if end.is_none_or(|end| end > limit) || more == 0 || more > count - runs.count {
                        let detail =
                            format!("{more} successors from {first} on, of {count} marks and {limit} rows");
                        return Err(Damage::at(fields.offset(), detail));
                    }
                    runs.push(first, more);
                }
            }
            FORM_OFFSETS => {
                let base = fields.u64()?;
                for _ in 0..count {
                    let offset = fields.u32()?;
                    let successor = (offset != NO_OFFSET).then(|| base.checked_add(offset.into()));
                    match successor {
                        None => runs.push(NONE, 1),
                        Some(Some(successor)) if successor < limit => runs.push(successor, 1),
                        _ => {
                            let detail = format!("successor {offset} from {base} on, of {limit} rows");
                            return Err(Damage::at(fields.offset(), detail));
                        }
                    }
                }
            }
            form => return Err(Damage::at(fields.offset(), format!("unknown form {form} of successors"))),
        }
        if runs.count != count {
            return Err(Damage::at(fields.offset(), format!("{} successors of {count} marks", runs.count)));
        }
        Ok(Self { words, count, successors: runs.finish() })
    }

    /// Memory that it takes.
    pub fn size_bytes(&self) -> usize {
        let successors = match &self.successors {
            Successors::Runs(runs) => size_of_val(&runs[..]),
            Successors::Offsets { offsets, .. } => size_of_val(&offsets[..]),
        };
        WORDS * 8 + successors
    }

    /// Memory that a set takes at most which [`map`](Self::map) makes of this, where that breaks runs in `breaks` places.
    pub fn bytes_after_map(&self, breaks: usize) -> usize {
        let runs = (self.run_count() + breaks) * size_of::<Run>();
        WORDS * 8 + runs.min(self.count as usize * size_of::<Run>())
    }
}

/// The successor `place` slots after the first of a run.
fn after(first: u64, place: u32) -> u64 {
    if first == NONE { NONE } else { first + u64::from(place) }
}

fn successor_at(base: u64, offset: u32) -> u64 {
    if offset == NO_OFFSET { NONE } else { base + u64::from(offset) }
}

/// Joins successors to runs.
#[derive(Default)]
struct RunBuilder {
    runs: Vec<Run>,
    count: u32,
}

impl RunBuilder {
    fn push(&mut self, first: u64, count: u32) {
        let start = self.runs.len().checked_sub(2).map_or(0, |place| self.runs[place].end);
        self.count += count;
        match self.runs.last_mut() {
            Some(last) if after(last.first, last.end - start) == first => last.end = self.count,
            _ => self.runs.push(Run { first, end: self.count }),
        }
    }

    fn finish(self) -> Successors {
        let runs_bytes = self.runs.len() * size_of::<Run>();
        if runs_bytes > self.count as usize * size_of::<u32>()
            && let Some(offsets) = self.offsets()
        {
            return offsets;
        }
        Successors::Runs(self.runs.into())
    }

    /// The same as offsets, if they fit.
    fn offsets(&self) -> Option<Successors> {
        let named = || self.runs.iter().filter(|run| run.first != NONE);
        let base = named().map(|run| run.first).min().unwrap_or(0);
        let mut offsets = Vec::with_capacity(self.count as usize);
        let mut start = 0;
        for run in &self.runs {
            for place in 0..run.end - start {
                let offset = match after(run.first, place) {
                    NONE => NO_OFFSET,
                    successor => {
                        u32::try_from(successor - base).ok().filter(|offset| *offset != NO_OFFSET)?
                    }
                };
                offsets.push(offset);
            }
            start = run.end;
        }
        Some(Successors::Offsets { base, offsets: offsets.into() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(marks: &[(u16, u64)]) -> DenseMarks {
        let dense = DenseMarks::collect(marks.iter().copied());
        assert_eq!(dense.iter().collect::<Vec<_>>(), marks);
        assert_eq!(dense.count() as usize, marks.len());
        for slot in 0..=u16::MAX {
            let expected = marks.binary_search_by_key(&slot, |mark| mark.0).ok().map(|place| marks[place].1);
            assert_eq!(dense.find(slot), expected, "slot {slot}");
        }
        let mut bytes = Vec::new();
        dense.encode(&mut bytes);
        let limit = marks.iter().filter_map(|mark| mark.1.checked_add(1)).max().unwrap_or(0);
        assert_eq!(DenseMarks::decode(&mut Cursor::new(&bytes), limit), Ok(dense.clone()));
        if limit > 0 {
            assert!(DenseMarks::decode(&mut Cursor::new(&bytes), limit - 1).is_err(), "a row too far");
        }
        for length in (0..bytes.len()).step_by(511) {
            assert!(
                DenseMarks::decode(&mut Cursor::new(&bytes[..length]), limit).is_err(),
                "cut at {length}"
            );
        }
        dense
    }

    #[test]
    fn an_update_in_the_order_of_the_scan_is_one_run() {
        let marks: Vec<_> = (0..=u16::MAX).map(|slot| (slot, 1_000 + u64::from(slot))).collect();
        assert_eq!(check(&marks).run_count(), 1);
        let deleted: Vec<_> = (3..60_000).step_by(2).map(|slot| (slot, NONE)).collect();
        let dense = check(&deleted);
        assert_eq!((dense.run_count(), dense.size_bytes()), (1, WORDS * 8 + size_of::<Run>()));
    }

    #[test]
    fn successors_in_no_order_cost_four_bytes_each() {
        let marks: Vec<_> = (0..20_000_u16)
            .map(|slot| {
                (slot, if slot % 7 == 0 { NONE } else { u64::from(slot) * 7_919 % 65_536 + (5 << 33) })
            })
            .collect();
        let dense = check(&marks);
        assert_eq!(dense.size_bytes(), WORDS * 8 + 4 * 20_000);
        let wide: Vec<_> = (0..999_u16).map(|slot| (slot, (u64::from(slot) * 7 % 5) << 40)).collect();
        assert!(check(&wide).size_bytes() > WORDS * 8 + 4 * 999, "offsets do not fit");
    }

    #[test]
    fn runs_break_where_what_they_name_does() {
        let marks: Vec<_> =
            (0..3_000_u16).map(|slot| (slot, if slot < 1_000 { NONE } else { slot.into() })).collect();
        let dense = DenseMarks::collect(marks.iter().copied());
        // What is named from 2,048 on stands elsewhere.
        let mapped = dense.map(|first, count| match 2_048_u64.checked_sub(first) {
            Some(left) if left > 0 => (first + 10, count.min(left as u32)),
            _ => (first + 5_000, count),
        });
        let expected = marks.iter().map(|(slot, successor)| match *successor {
            NONE => (*slot, NONE),
            low if low < 2_048 => (*slot, low + 10),
            high => (*slot, high + 5_000),
        });
        assert_eq!(mapped.iter().collect::<Vec<_>>(), expected.collect::<Vec<_>>());
        assert_eq!((dense.run_count(), mapped.run_count()), (2, 3));
        assert!(mapped.size_bytes() <= dense.bytes_after_map(1));
    }
}
