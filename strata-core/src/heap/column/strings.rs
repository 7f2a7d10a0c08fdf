//! Strings of any length: the content of the pages of plain and FSST-compressed columns.
//!
//! ```text
//! offset  size  field
//! 0       4     bytes of the lengths, a multiple of 8
//! 4       4     bytes of the data
//! 8       …     the length of each string, an integer page; then zeros up to a multiple of 8
//! …       …     the strings' bytes, or codes, one after another
//! ```
//!
//! Lengths take fewer bits than offsets. Loading a page turns them into offsets, so that one string is read
//! without touching its neighbours.

use arrow_buffer::Buffer;

use super::bits::GROUP;
use super::integers::{self, IntegerPage};
use super::position::Positions;
use crate::codec::{Cursor, Damage, Decoded, pad_to_8};

/// Appends the content of a page: `ends` are the ends of each string in `data`, which starts at `start`.
///
/// # Errors
/// `None` where a page would be above 4 GiB.
pub(super) fn encode<'a>(strings: impl Iterator<Item = &'a [u8]> + Clone, out: &mut Vec<u8>) -> Option<()> {
    let lengths: Vec<i64> =
        strings.clone().map(|string| i64::try_from(string.len()).ok()).collect::<Option<_>>()?;
    let data_bytes = u32::try_from(lengths.iter().sum::<i64>()).ok()?;
    let mut packed = Vec::new();
    integers::encode(&lengths, &mut packed);
    pad_to_8(&mut packed, 0);
    out.extend(u32::try_from(packed.len()).ok()?.to_le_bytes());
    out.extend(data_bytes.to_le_bytes());
    out.extend(packed);
    strings.for_each(|string| out.extend(string));
    Some(())
}

/// A page of strings or of their codes, with offsets.
#[derive(Debug)]
pub(super) struct StringPage {
    /// One more than there are strings; ascending, the last one being the length of the data.
    offsets: Vec<u32>,
    data: Buffer,
}

impl StringPage {
    /// Parses a page of `count` strings. The content must be aligned to eight bytes.
    pub fn parse(count: usize, content: &Buffer) -> Decoded<Self> {
        let mut cursor = Cursor::new(content.as_slice());
        let lengths_bytes = cursor.u32()? as usize;
        let data_bytes = cursor.u32()?;
        cursor.take(lengths_bytes)?;
        let data_offset = cursor.offset();
        cursor.take(data_bytes as usize)?;
        cursor.finish()?;
        let packed = content.slice_with_length(8, lengths_bytes);
        let lengths = IntegerPage::parse(count, &packed).map_err(|damage| damage.within(8))?;
        let offsets = offsets_of(&lengths, count, data_bytes)?;
        Ok(Self { offsets, data: content.slice_with_length(data_offset, data_bytes as usize) })
    }

    /// Checks once that every string is UTF-8.
    pub fn check_utf8(&self) -> Decoded<()> {
        let damage = || Damage::at(0, "text is not UTF-8");
        let text = std::str::from_utf8(self.data.as_slice()).map_err(|_| damage())?;
        if text.is_ascii() || self.offsets.iter().all(|offset| text.is_char_boundary(*offset as usize)) {
            return Ok(());
        }
        Err(damage())
    }

    /// The string at a position of the page.
    pub fn get(&self, position: usize) -> Decoded<&[u8]> {
        let bounds = self.offsets.get(position).zip(self.offsets.get(position + 1));
        bounds
            .and_then(|(start, end)| self.data.as_slice().get(*start as usize..*end as usize))
            .ok_or_else(|| Damage::at(0, format!("no string {position} in the page")))
    }

    /// Gives the strings at these positions, counted from `base`, to `sink`.
    pub fn visit(
        &self,
        positions: Positions<'_>,
        base: u32,
        mut sink: impl FnMut(&[u8]) -> Decoded<()>,
    ) -> Decoded<()> {
        positions.try_for_each(base, |at| sink(self.get(at)?))
    }

    /// Bytes held in memory.
    pub fn bytes_in_memory(&self) -> usize {
        self.offsets.len() * 4 + self.data.len()
    }
}

/// Turns lengths into offsets; they must add up to `data_bytes`.
fn offsets_of(lengths: &IntegerPage, count: usize, data_bytes: u32) -> Decoded<Vec<u32>> {
    let damage = || Damage::at(8, format!("string lengths do not add up to {data_bytes}"));
    let mut offsets = Vec::with_capacity(count + 1);
    offsets.push(0_u32);
    let mut end = 0_u32;
    let mut unpacked = [0_i64; GROUP];
    for group in 0..count.div_ceil(GROUP) {
        lengths.unpack(group, &mut unpacked)?;
        for length in unpacked.iter().take(count - group * GROUP) {
            let next = u32::try_from(*length).ok().and_then(|length| end.checked_add(length));
            end = next.filter(|next| *next <= data_bytes).ok_or_else(damage)?;
            offsets.push(end);
        }
    }
    if end == data_bytes { Ok(offsets) } else { Err(damage()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn content(strings: &[&[u8]]) -> Vec<u8> {
        let mut out = Vec::new();
        encode(strings.iter().copied(), &mut out).expect("fits");
        out
    }

    #[test]
    fn strings_round_trip() {
        let long = vec![b'q'; 100_000];
        let strings: Vec<&[u8]> =
            [&b"ab"[..], b"", &long, "ä".as_bytes()].into_iter().cycle().take(2050).collect();
        let page = StringPage::parse(2050, &Buffer::from_slice_ref(content(&strings))).expect("parses");
        page.check_utf8().expect("is UTF-8");
        assert!(strings.iter().enumerate().all(|(i, string)| page.get(i) == Ok(*string)));
        let mut seen = Vec::new();
        let sink = |string: &[u8]| {
            seen.push(string.len());
            Ok(())
        };
        page.visit(Positions::Range(101, 104), 100, sink).expect("visits");
        assert_eq!(seen, [0, 100_000, 2]);
        assert!(page.get(2050).is_err());
    }

    #[test]
    fn golden_bytes() {
        let mut expected = Vec::new();
        expected.extend(24_u32.to_le_bytes());
        expected.extend(4_u32.to_le_bytes());
        expected.extend([0; 8]);
        expected.extend(2_i64.to_le_bytes());
        expected.extend([0; 8]);
        expected.extend(b"abcd");
        assert_eq!(content(&[b"ab", b"cd"]), expected);
    }

    #[test]
    fn a_string_cut_within_a_character_is_found() {
        let page =
            StringPage::parse(2, &Buffer::from_slice_ref(content(&[&[0xC3], &[0xA4]]))).expect("parses");
        assert!(page.check_utf8().is_err());
        let page = StringPage::parse(1, &Buffer::from_slice_ref(content(&[&[0xC3]]))).expect("parses");
        assert!(page.check_utf8().is_err());
    }

    #[test]
    fn lengths_that_do_not_add_up_are_damage() {
        let good = content(&[b"ab", b"cd"]);
        for (offset, value) in [(4, 3_u8), (4, 5), (16, 1), (16, 0xFF), (0, 16), (23, 0x80)] {
            let mut bytes = good.clone();
            bytes[offset] = value;
            assert!(StringPage::parse(2, &Buffer::from_slice_ref(&bytes)).is_err(), "byte {offset}");
        }
    }
}
