//! What an error says of where the damage is.

use std::ops::Range;

use crate::files::BLOCKS;

const PAGE_BYTES: usize = 4_096;

/// A place that an error names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedPlace {
    pub file: String,
    /// The byte of the file.
    pub offset: usize,
    /// The bytes of the block, if it names one.
    pub extent: Option<Range<usize>>,
}

/// The place that an error names: `FILE is damaged at offset N`, `block FIRST+PAGES is damaged at byte N`. What was found
/// there may be said in the same words: the first ones tell where.
pub fn place_in(text: &str) -> Option<NamedPlace> {
    let (before, after) = text.split_once(" is damaged at ")?;
    place_of(before, after)
}

fn place_of(before: &str, after: &str) -> Option<NamedPlace> {
    let (unit, number) = after.split_once(' ')?;
    let offset: usize = number.split([':', ' ']).next()?.parse().ok()?;
    let mut words = before.rsplit(' ');
    let name = words.next()?;
    if unit == "offset" {
        return Some(NamedPlace { file: name.to_owned(), offset, extent: None });
    }
    let (first, pages) = name.split_once('+').filter(|_| words.next() == Some("block"))?;
    let (first, pages) = (first.parse::<usize>().ok()?, pages.parse::<usize>().ok()?);
    let extent = first * PAGE_BYTES..(first + pages) * PAGE_BYTES;
    Some(NamedPlace { file: BLOCKS.to_owned(), offset: extent.start + offset, extent: Some(extent) })
}

#[test]
fn places_are_read_from_errors() {
    let file = "/db/journal/0000000000000001.journal is damaged at offset 4096: no batch";
    let name = "/db/journal/0000000000000001.journal";
    let named = NamedPlace { file: name.into(), offset: 4_096, extent: None };
    assert_eq!(place_in(file), Some(named));
    let block =
        "table \"a\" row 7: block 12+3 is damaged at byte 64 of its extent: row is damaged at offset 3";
    let extent = 12 * PAGE_BYTES..15 * PAGE_BYTES;
    let named = NamedPlace { file: BLOCKS.into(), offset: extent.start + 64, extent: Some(extent) };
    assert_eq!(place_in(block), Some(named));
    assert_eq!(place_in("block 12 of the list is damaged"), None);
}
