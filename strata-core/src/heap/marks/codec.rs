//! The payload of a marks block, format 2. Byte table: `docs/format/marks.md`.
//!
//! Dead slots stand as a bitmap, or as runs where that is shorter. The groups that live snapshots still told apart follow,
//! oldest first. Everything is verified before it is used.

use super::Successor;
use crate::codec::{Cursor, Damage, Decoded};
use crate::error::{Error, Result};
use crate::ids::{BlockId, HeapId, SLOTS_PER_SEGMENT, SegmentId, Timestamp};

/// The newest format version of the payload.
pub const MARKS_FORMAT: u16 = 2;
/// The first format that tells moved rows from changed ones.
const MOVED_FORMAT: u16 = 2;
/// Words of 64 slots in a segment.
pub(in crate::heap) const WORDS: usize = (SLOTS_PER_SEGMENT / 64) as usize;

const FORM_BITMAP: u8 = 0;
const FORM_RUNS: u8 = 1;
const HEADER_BYTES: usize = 32;

/// Slots that ended with one commit, ascending, each with what replaced it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MarkGroup {
    /// The commit.
    pub end_ts: Timestamp,
    /// The slots.
    pub marks: Vec<(u16, Option<Successor>)>,
}

/// The delete marks of a segment at one moment, as a block holds them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MarksImage {
    /// The heap.
    pub heap: HeapId,
    /// The segment.
    pub segment: SegmentId,
    /// A bit for each slot; set where the row is dead. 1,024 words.
    pub dead: Vec<u64>,
    /// The newest commit among those whose groups have been collapsed.
    pub floor: Timestamp,
    /// Groups that were not collapsed yet, oldest first; their slots are among the dead.
    pub groups: Vec<MarkGroup>,
}

impl MarksImage {
    /// How many slots are dead.
    pub fn dead_count(&self) -> u32 {
        self.dead.iter().map(|word| word.count_ones()).sum()
    }

    /// The payload of a block.
    pub fn encode(&self) -> Vec<u8> {
        debug_assert_eq!(self.dead.len(), WORDS);
        let runs = self.runs();
        let sparse = 4 + 4 * runs.len() < WORDS * 8;
        let mut out = Vec::with_capacity(HEADER_BYTES + WORDS * 8);
        out.extend(self.heap.get().to_le_bytes());
        out.extend([if sparse { FORM_RUNS } else { FORM_BITMAP }, 0, 0, 0]);
        out.extend(self.segment.get().to_le_bytes());
        out.extend(self.floor.get().to_le_bytes());
        out.extend(self.dead_count().to_le_bytes());
        out.extend(count(self.groups.len()));
        if sparse {
            out.extend(count(runs.len()));
            for (first, last) in runs {
                out.extend(first.to_le_bytes());
                out.extend(last.to_le_bytes());
            }
        } else {
            out.extend(self.dead.iter().flat_map(|word| word.to_le_bytes()));
        }
        for group in &self.groups {
            out.extend(group.end_ts.get().to_le_bytes());
            out.extend(count(group.marks.len()));
            out.extend(group.marks.iter().flat_map(|(slot, _)| slot.to_le_bytes()));
            for (_, successor) in &group.marks {
                out.extend(Successor::to_raw(*successor).to_le_bytes());
            }
        }
        out
    }

    /// Reads a payload of this format back.
    ///
    /// # Errors
    /// `CorruptBlock` naming `block` and the offset of what is wrong.
    pub fn decode(block: BlockId, format: u16, payload: &[u8]) -> Result<Self> {
        let mut reader = Reader { fields: Cursor::new(payload), format };
        reader.image().map_err(|Damage { offset, detail }| Error::CorruptBlock {
            block,
            offset: offset as u64,
            detail,
        })
    }

    /// The dead slots as runs: first and last slot of each.
    fn runs(&self) -> Vec<(u16, u16)> {
        let mut runs: Vec<(u16, u16)> = Vec::new();
        for slot in set_slots(&self.dead) {
            match runs.last_mut() {
                Some((_, last)) if *last + 1 == slot => *last = slot,
                _ => runs.push((slot, slot)),
            }
        }
        runs
    }
}

/// The set bits of a segment's bitmap, ascending.
pub(in crate::heap) fn set_slots(words: &[u64]) -> impl Iterator<Item = u16> {
    words.iter().enumerate().flat_map(|(index, word)| {
        let mut rest = *word;
        std::iter::from_fn(move || {
            let bit = rest.trailing_zeros();
            rest &= rest.wrapping_sub(1);
            (bit < 64).then(|| (index * 64) as u16 + bit as u16)
        })
    })
}

/// A count of at most 65,536.
fn count(count: usize) -> [u8; 4] {
    u32::try_from(count).expect("a segment has 65,536 slots").to_le_bytes()
}

struct Reader<'a> {
    fields: Cursor<'a>,
    format: u16,
}

impl Reader<'_> {
    fn damage<T>(&self, detail: String) -> Decoded<T> {
        Err(Damage::at(self.fields.offset(), detail))
    }

    /// A count that some format field gives and that a segment's slots bound.
    fn count(&mut self) -> Decoded<usize> {
        let count = self.fields.u32()?;
        if count > SLOTS_PER_SEGMENT {
            return self.damage(format!("a count of {count} exceeds a segment's slots"));
        }
        Ok(count as usize)
    }

    fn image(&mut self) -> Decoded<MarksImage> {
        let heap = HeapId::new(self.fields.u32()?);
        let [form, ..] = self.fields.array::<4>()?;
        let segment = SegmentId::new(self.fields.u64()?);
        let floor = Timestamp::new(self.fields.u64()?);
        let dead_count = self.count()?;
        let group_count = self.count()?;
        let dead = match form {
            FORM_BITMAP => (0..WORDS).map(|_| self.fields.u64()).collect::<Decoded<Vec<u64>>>()?,
            FORM_RUNS => self.runs()?,
            form => return self.damage(format!("unknown form {form} of marks")),
        };
        let mut image = MarksImage { heap, segment, dead, floor, groups: Vec::new() };
        if image.dead_count() as usize != dead_count {
            return self
                .damage(format!("{} slots are dead, the header says {dead_count}", image.dead_count()));
        }
        let mut newest = Timestamp::new(0);
        for _ in 0..group_count {
            let group = self.group(&image.dead)?;
            if group.end_ts < newest || group.end_ts.get() == 0 {
                return self.damage(format!("a group of commit {} follows commit {newest}", group.end_ts));
            }
            newest = group.end_ts;
            image.groups.push(group);
        }
        self.fields.finish()?;
        Ok(image)
    }

    fn runs(&mut self) -> Decoded<Vec<u64>> {
        let mut dead = vec![0_u64; WORDS];
        let mut free = 0;
        for _ in 0..self.count()? {
            let (first, last) = (u32::from(self.fields.u16()?), u32::from(self.fields.u16()?));
            if first < free || last < first {
                return self.damage(format!("a run {first}..={last} of dead slots after slot {free}"));
            }
            for slot in first..=last {
                dead[slot as usize / 64] |= 1 << (slot % 64);
            }
            free = last + 1;
        }
        Ok(dead)
    }

    fn group(&mut self, dead: &[u64]) -> Decoded<MarkGroup> {
        let end_ts = Timestamp::new(self.fields.u64()?);
        let slots = (0..self.count()?).map(|_| self.fields.u16()).collect::<Decoded<Vec<u16>>>()?;
        if !slots.is_sorted_by(|left, right| left < right) {
            return self.damage("the slots of a group do not ascend".to_owned());
        }
        if let Some(slot) = slots.iter().find(|slot| dead[usize::from(**slot) / 64] & 1 << (**slot % 64) == 0)
        {
            return self.damage(format!("slot {slot} has an end and is not dead"));
        }
        let mut marks = Vec::with_capacity(slots.len());
        for slot in slots {
            let successor = Successor::from_raw(self.fields.u64()?);
            if self.format < MOVED_FORMAT && successor.is_some_and(|successor| successor.moved) {
                return self.damage("a moved row in a format that has none".to_owned());
            }
            marks.push((slot, successor));
        }
        Ok(MarkGroup { end_ts, marks })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::RowId;

    fn image(slots: impl IntoIterator<Item = u16>, groups: Vec<MarkGroup>) -> MarksImage {
        let mut dead = vec![0; WORDS];
        for slot in slots {
            dead[usize::from(slot) / 64] |= 1 << (slot % 64);
        }
        let (heap, segment, floor) = (HeapId::new(0x0403_0201), SegmentId::new(0x0605), Timestamp::new(9));
        MarksImage { heap, segment, dead, floor, groups }
    }

    fn few() -> MarksImage {
        let marks = vec![(65_535, None), (65_534, Some(RowId::new(0x77).into()))].into_iter().rev().collect();
        image([1, 2, 3, 70, 65_534, 65_535], vec![MarkGroup { end_ts: Timestamp::new(10), marks }])
    }

    fn block() -> BlockId {
        BlockId::from_extent(1, 1).expect("fits")
    }

    #[test]
    fn golden_bytes_of_few_marks() {
        #[rustfmt::skip]
        let golden = [
            1, 2, 3, 4,  1, 0, 0, 0,  5, 6, 0, 0, 0, 0, 0, 0,  9, 0, 0, 0, 0, 0, 0, 0,  6, 0, 0, 0,  1, 0, 0, 0,
            3, 0, 0, 0,  1, 0, 3, 0,  70, 0, 70, 0,  0xFE, 0xFF, 0xFF, 0xFF,
            10, 0, 0, 0, 0, 0, 0, 0,  2, 0, 0, 0,  0xFE, 0xFF, 0xFF, 0xFF,
            0x77, 0, 0, 0, 0, 0, 0, 0,  0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF,
        ];
        assert_eq!(few().encode(), golden);
        assert_eq!(MarksImage::decode(block(), MARKS_FORMAT, &golden).expect("valid"), few());
    }

    #[test]
    fn a_moved_row_is_told_from_a_changed_one() {
        let moved = Successor { row: RowId::new(0x77), moved: true };
        let group = MarkGroup { end_ts: Timestamp::new(10), marks: vec![(3, Some(moved)), (4, None)] };
        let image = image([3, 4], vec![group]);
        let bytes = image.encode();
        let successors = [0x77, 0, 0, 0, 0, 0, 0, 0x80, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF];
        assert_eq!(bytes[bytes.len() - 16..], successors);
        assert_eq!(MarksImage::decode(block(), MARKS_FORMAT, &bytes).expect("valid"), image);
        assert!(MarksImage::decode(block(), 1, &bytes).is_err(), "format 1 has no moved rows");
        assert_eq!(MarksImage::decode(block(), 1, &few().encode()).expect("valid"), few());
    }

    #[test]
    fn golden_bytes_of_many_marks() {
        let many = image((0..=65_535).step_by(2), Vec::new());
        let bytes = many.encode();
        assert_eq!(bytes.len(), 32 + 8_192);
        assert_eq!((bytes[4], &bytes[24..32]), (0, &[0, 0x80, 0, 0, 0, 0, 0, 0][..]));
        assert!(bytes[32..].iter().all(|byte| *byte == 0x55));
        assert_eq!(MarksImage::decode(block(), MARKS_FORMAT, &bytes).expect("valid"), many);
        let all = image(0..=65_535, Vec::new());
        assert_eq!(all.encode().len(), 32 + 4 + 4);
        assert_eq!(MarksImage::decode(block(), MARKS_FORMAT, &all.encode()).expect("valid"), all);
    }

    #[test]
    fn damage_is_refused() {
        let good = few().encode();
        for length in 0..good.len() {
            assert!(MarksImage::decode(block(), MARKS_FORMAT, &good[..length]).is_err(), "cut at {length}");
        }
        for (at, byte) in [(4, 2), (24, 7), (28, 2), (32, 4), (36, 4), (48, 0), (57, 9), (60, 0xFF), (63, 0)]
        {
            let mut bad = good.clone();
            bad[at] = byte;
            let outcome = MarksImage::decode(block(), MARKS_FORMAT, &bad);
            if at == 48 {
                assert!(outcome.is_err(), "a group of commit 0");
            } else {
                assert!(matches!(outcome, Err(Error::CorruptBlock { .. })), "byte {at}");
            }
        }
        assert!(MarksImage::decode(block(), MARKS_FORMAT, &[good, vec![0]].concat()).is_err(), "more bytes");
    }
}
