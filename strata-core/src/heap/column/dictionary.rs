//! Dictionaries: the distinct values of a column of one block, sorted, in a page of their own.
//!
//! ```text
//! offset  size   field
//! 0       4      count n
//! 4       4      0
//! 8       8 n    integers, i64
//!      or w n    values of w bytes
//!      or 4 n    end of each string in what follows, u32; then the strings
//! ```
//!
//! Which of the three it is follows from the column's form. A constant column has a dictionary of one entry, and no codes.

use std::hash::Hash;
use std::sync::Arc;

use arrow_array::builder::make_view;
use arrow_buffer::Buffer;
use foldhash::{HashMap, HashMapExt};

use super::encoding::Form;
use crate::codec::{Cursor, Damage, Decoded};
use crate::row::ColumnType;

/// The entries of a dictionary and the code of each row.
#[derive(Debug)]
pub(super) struct Coded<K> {
    /// Sorted and distinct.
    pub entries: Vec<K>,
    /// The place of each row's value; NULLs repeat the code before.
    pub codes: Vec<i64>,
}

/// Builds a dictionary of at most `limit` entries for these rows; `None` for a NULL.
pub(super) fn build<K: Copy + Ord + Hash>(
    rows: impl Iterator<Item = Option<K>>,
    limit: usize,
) -> Option<Coded<K>> {
    let mut places: HashMap<K, usize> = HashMap::new();
    let mut codes: Vec<usize> = Vec::with_capacity(rows.size_hint().0);
    for row in rows {
        let next = places.len();
        let code = match row {
            Some(key) => *places.entry(key).or_insert(next),
            None => codes.last().copied().unwrap_or(0),
        };
        if places.len() > limit {
            return None;
        }
        codes.push(code);
    }
    let mut sorted: Vec<(K, usize)> = places.into_iter().collect();
    sorted.sort_unstable();
    let mut ranks = vec![0_i64; sorted.len().max(1)];
    for (rank, (_, place)) in (0_i64..).zip(&sorted) {
        ranks[*place] = rank;
    }
    let codes = codes.into_iter().map(|place| ranks[place]).collect();
    Some(Coded { entries: sorted.into_iter().map(|(key, _)| key).collect(), codes })
}

fn header(count: usize, out: &mut Vec<u8>) -> Option<()> {
    out.extend(u32::try_from(count).ok()?.to_le_bytes());
    out.extend([0; 4]);
    Some(())
}

/// The content of a dictionary page of integers.
pub(super) fn encode_integers(entries: &[i64]) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    header(entries.len(), &mut out)?;
    out.extend(entries.iter().flat_map(|entry| entry.to_le_bytes()));
    Some(out)
}

/// The content of a dictionary page of values of one width, or of strings.
pub(super) fn encode_bytes(form: Form, entries: &[&[u8]]) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    header(entries.len(), &mut out)?;
    if form == Form::Strings {
        let mut end = 0_u32;
        for entry in entries {
            end = end.checked_add(u32::try_from(entry.len()).ok()?)?;
            out.extend(end.to_le_bytes());
        }
    }
    entries.iter().for_each(|entry| out.extend(*entry));
    Some(out)
}

/// A dictionary in memory.
#[derive(Debug)]
pub(super) enum Dictionary {
    /// Of integers.
    Integers(Vec<i64>),
    /// Of values of this width.
    Fixed(usize, Buffer),
    /// Of strings.
    Strings(StringDictionary),
}

/// The entries of a string dictionary as views of one buffer, made once, which decoded arrays share.
#[derive(Debug)]
pub(super) struct StringDictionary {
    /// One for each entry, of buffer 0.
    pub views: Vec<u128>,
    /// All entries, one after another.
    pub data: Buffer,
    ends: Vec<u32>,
    /// The buffers of an array of these views, made once: arrays share this list too.
    pub buffers: Arc<[Buffer]>,
}

impl StringDictionary {
    /// The entry of this code.
    pub fn get(&self, code: usize) -> Option<&[u8]> {
        let end = *self.ends.get(code)? as usize;
        let start = match code.checked_sub(1) {
            Some(before) => *self.ends.get(before)? as usize,
            None => 0,
        };
        self.data.as_slice().get(start..end)
    }
}

impl Dictionary {
    /// Parses a dictionary of the form; text must be UTF-8.
    pub fn parse(form: Form, column_type: &ColumnType, content: &Buffer) -> Decoded<Self> {
        let mut cursor = Cursor::new(content.as_slice());
        let count = cursor.u32()? as usize;
        cursor.take(4)?;
        let parsed = match form {
            Form::Integers => {
                let bytes = cursor.take(count.saturating_mul(8))?;
                let read = |chunk: &[u8]| chunk.try_into().map_or(0, i64::from_le_bytes);
                Self::Integers(bytes.chunks_exact(8).map(read).collect())
            }
            Form::Fixed(width) => {
                let start = cursor.offset();
                let bytes = cursor.take(count.saturating_mul(width))?.len();
                Self::Fixed(width, content.slice_with_length(start, bytes))
            }
            Form::Strings => {
                let is_text = *column_type == ColumnType::Text;
                return parse_strings(count, is_text, cursor, content).map(Self::Strings);
            }
        };
        cursor.finish()?;
        Ok(parsed)
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        match self {
            Self::Integers(entries) => entries.len(),
            Self::Fixed(width, bytes) => bytes.len() / (*width).max(1),
            Self::Strings(strings) => strings.views.len(),
        }
    }

    /// Bytes held in memory.
    pub fn bytes_in_memory(&self) -> usize {
        match self {
            Self::Integers(entries) => entries.len() * 8,
            Self::Fixed(_, bytes) => bytes.len(),
            Self::Strings(strings) => strings.views.len() * 20 + strings.data.len(),
        }
    }
}

fn parse_strings(
    count: usize,
    is_text: bool,
    mut cursor: Cursor<'_>,
    content: &Buffer,
) -> Decoded<StringDictionary> {
    let ends_bytes = cursor.take(count.saturating_mul(4))?;
    let data = content.slice(cursor.offset());
    let bytes = data.as_slice();
    let mut ends = Vec::with_capacity(count);
    let mut views = Vec::with_capacity(count);
    let mut start = 0_u32;
    for (index, chunk) in ends_bytes.chunks_exact(4).enumerate() {
        let end = chunk.try_into().map_or(0, u32::from_le_bytes);
        let Some(entry) = bytes.get(start as usize..end as usize) else {
            return Err(Damage::at(
                8 + index * 4,
                format!("dictionary entry {start}..{end} of {}", bytes.len()),
            ));
        };
        if is_text && std::str::from_utf8(entry).is_err() {
            return Err(Damage::at(cursor.offset() + start as usize, "dictionary entry is not UTF-8"));
        }
        views.push(make_view(entry, 0, start));
        ends.push(end);
        start = end;
    }
    if start as usize != bytes.len() {
        return Err(Damage::at(cursor.offset(), "dictionary entries do not add up"));
    }
    let buffers = if bytes.is_empty() { Arc::from([]) } else { Arc::from([data.clone()]) };
    Ok(StringDictionary { views, data, ends, buffers })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(form: Form, column_type: &ColumnType, content: &[u8]) -> Decoded<Dictionary> {
        Dictionary::parse(form, column_type, &Buffer::from_slice_ref(content))
    }

    #[test]
    fn codes_are_places_in_the_sorted_entries() {
        let rows = [None, Some("b"), Some("a"), None, Some("c"), Some("a")];
        let coded = build(rows.into_iter(), 3).expect("three entries");
        assert_eq!(coded.entries, ["a", "b", "c"]);
        // The leading NULL repeats the first code given, whatever that is.
        assert_eq!(coded.codes[1..], [1, 0, 0, 2, 0]);
        assert!(build(rows.into_iter(), 2).is_none());
        assert_eq!(build([None::<i64>].into_iter(), 0).map(|coded| coded.codes), Some(vec![0]));
    }

    #[test]
    fn strings_round_trip_as_views_of_one_buffer() {
        let entries: [&[u8]; 3] = [b"", b"a long entry, not inlined", "ü".as_bytes()];
        let content = encode_bytes(Form::Strings, &entries).expect("fits");
        let Ok(Dictionary::Strings(strings)) = parse(Form::Strings, &ColumnType::Text, &content) else {
            panic!("strings expected");
        };
        for (code, entry) in entries.into_iter().enumerate() {
            assert_eq!(strings.get(code), Some(entry));
            assert_eq!(strings.views[code], make_view(entry, 0, 0));
        }
        assert_eq!(strings.get(3), None);
    }

    #[test]
    fn golden_bytes() {
        let content = encode_bytes(Form::Strings, &[b"ab", b"c"]).expect("fits");
        assert_eq!(content, [2, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0, b'a', b'b', b'c']);
        let content = encode_integers(&[-2]).expect("fits");
        assert_eq!(content, [1, 0, 0, 0, 0, 0, 0, 0, 254, 255, 255, 255, 255, 255, 255, 255]);
        let content = encode_bytes(Form::Fixed(4), &[&[1, 2, 3, 4]]).expect("fits");
        assert_eq!(content, [1, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4]);
    }

    #[test]
    fn damage_is_an_error() {
        let content = encode_bytes(Form::Strings, &[b"ab", b"c"]).expect("fits");
        for (at, value) in [(0, 1), (0, 3), (3, 255), (8, 3), (8, 200), (12, 2), (16, 0xFF)] {
            let mut bad = content.clone();
            bad[at] = value;
            let damaged = parse(Form::Strings, &ColumnType::Text, &bad).is_err();
            assert!(damaged || (at, value) == (8, 3), "byte {at}");
        }
        assert!(parse(Form::Integers, &ColumnType::Int64, &[255; 8]).is_err());
        assert!(parse(Form::Fixed(16), &ColumnType::Uuid, &[1, 0, 0, 0, 0, 0, 0, 0, 9]).is_err());
    }
}
