//! The least and the greatest of some values, long ones cut short.

use std::cmp::Ordering;

use arrow_buffer::NullBuffer;

use super::datum;
use super::encoding::Form;
use super::integers;
use super::values::Values;
use crate::codec::{Cursor, Damage, Decoded};
use crate::row::{ColumnType, Datum, compare};

/// Bounds of some values. Without any value, and for arrays, both are NULL: nothing is known.
#[derive(Clone, Debug, PartialEq)]
pub struct Bounds {
    /// No value is less.
    pub min: Datum,
    /// No value is greater.
    pub max: Datum,
    /// Whether `min` is one of the values, rather than the start of one.
    pub min_exact: bool,
    /// Whether `max` is one of the values.
    pub max_exact: bool,
}

/// The least and the greatest of some values, in full; the first of those that are equal.
#[derive(Clone, Debug)]
pub(super) enum Extremes<'a> {
    /// There are no values, or values that have no order.
    None,
    Integers(i64, i64),
    Fixed(Datum, Datum),
    Strings(&'a [u8], &'a [u8]),
}

impl<'a> Extremes<'a> {
    /// The extremes of the rows `start..end`, NULLs left out.
    pub fn of(
        values: &Values<'a>,
        nulls: Option<&NullBuffer>,
        column_type: &ColumnType,
        (start, end): (usize, usize),
    ) -> Decoded<Self> {
        let valid = |at: &usize| nulls.is_none_or(|nulls| nulls.is_valid(*at));
        let extremes = match values {
            Values::Integers(values) => {
                let part = values.get(start..end).unwrap_or_default();
                let found = match nulls {
                    None => integers::extremes(part),
                    Some(_) => {
                        let known = (start..end).zip(part).filter(|(at, _)| valid(at));
                        extremes(known.map(|(_, value)| *value), Ord::cmp)
                    }
                };
                found.map(|(min, max)| Self::Integers(min, max))
            }
            Values::Fixed(width, bytes) => {
                let part = bytes.get(start * width..end * width).unwrap_or_default();
                let known = (start..end).zip(part.chunks_exact(*width)).filter(|(at, _)| valid(at));
                let known: Vec<Datum> =
                    known.map(|(_, value)| datum::of_fixed(column_type, value)).collect::<Decoded<_>>()?;
                extremes(known.into_iter(), compare).map(|(min, max)| Self::Fixed(min, max))
            }
            Values::Strings(_) if matches!(column_type, ColumnType::Array(_)) => None,
            Values::Strings(values) => {
                let part = values.get(start..end).unwrap_or_default();
                let known = (start..end).zip(part).filter(|(at, _)| valid(at)).map(|(_, value)| *value);
                extremes(known, Ord::cmp).map(|(min, max)| Self::Strings(min, max))
            }
        };
        Ok(extremes.unwrap_or(Self::None))
    }

    /// The extremes of these rows and of others of the column that come after them.
    pub fn and(self, later: Self) -> Self {
        fn join<T: Clone>(
            (min, max): (T, T),
            (later_min, later_max): (T, T),
            order: impl Fn(&T, &T) -> Ordering,
        ) -> (T, T) {
            let min = if order(&later_min, &min).is_lt() { later_min } else { min };
            (min, if order(&later_max, &max).is_gt() { later_max } else { max })
        }
        match (self, later) {
            (Self::None, only) | (only, Self::None) => only,
            (Self::Integers(min, max), Self::Integers(other, another)) => {
                let (min, max) = join((min, max), (other, another), Ord::cmp);
                Self::Integers(min, max)
            }
            (Self::Fixed(min, max), Self::Fixed(other, another)) => {
                let (min, max) = join((min, max), (other, another), compare);
                Self::Fixed(min, max)
            }
            (Self::Strings(min, max), Self::Strings(other, another)) => {
                let (min, max) = join((min, max), (other, another), Ord::cmp);
                Self::Strings(min, max)
            }
            _ => unreachable!("values of a column have one form"),
        }
    }

    /// The same as bounds; strings cut to `limit` bytes.
    pub fn bounds(&self, column_type: &ColumnType, limit: usize) -> Decoded<Bounds> {
        let (min, max) = match self {
            Self::None => return Ok(Bounds::NONE),
            Self::Strings(min, max) => return Bounds::of_strings(min, max, column_type, limit),
            Self::Integers(min, max) => {
                (datum::of_integer(column_type, *min)?, datum::of_integer(column_type, *max)?)
            }
            Self::Fixed(min, max) => (min.clone(), max.clone()),
        };
        Ok(Bounds { min, max, min_exact: true, max_exact: true })
    }
}

impl Bounds {
    /// Nothing is known.
    pub(super) const NONE: Bounds =
        Bounds { min: Datum::Null, max: Datum::Null, min_exact: false, max_exact: false };

    fn of_strings(min: &[u8], max: &[u8], column_type: &ColumnType, limit: usize) -> Decoded<Self> {
        let is_text = *column_type == ColumnType::Text;
        let lower = cut(min, limit, is_text);
        let upper = if max.len() <= limit {
            Some(max.to_vec())
        } else {
            successor(cut(max, limit, is_text), is_text)
        };
        Ok(Self {
            min: datum::of_string(column_type, lower)?,
            max: upper.map_or(Ok(Datum::Null), |upper| datum::of_string(column_type, &upper))?,
            min_exact: min.len() <= limit,
            max_exact: max.len() <= limit,
        })
    }

    /// Appends the bounds: a byte of flags, then each bound that there is.
    pub(super) fn encode(&self, form: Form, out: &mut Vec<u8>) {
        let flag = |set: bool, bit: u8| if set { bit } else { 0 };
        out.push(
            flag(self.min != Datum::Null, HAS_MIN)
                | flag(self.max != Datum::Null, HAS_MAX)
                | flag(self.min_exact, MIN_EXACT)
                | flag(self.max_exact, MAX_EXACT),
        );
        for bound in [&self.min, &self.max] {
            encode_bound(bound, form, out);
        }
    }

    /// Reads what [`encode`](Self::encode) wrote.
    pub(super) fn decode(form: Form, column_type: &ColumnType, cursor: &mut Cursor<'_>) -> Decoded<Self> {
        let offset = cursor.offset();
        let flags = cursor.u8()?;
        if flags & !(HAS_MIN | HAS_MAX | MIN_EXACT | MAX_EXACT) != 0 {
            return Err(Damage::at(offset, format!("unknown flags {flags:#x} of bounds")));
        }
        let mut bound = |bit: u8| match flags & bit {
            0 => Ok(Datum::Null),
            _ => decode_bound(form, column_type, cursor),
        };
        let min = bound(HAS_MIN)?;
        let max = bound(HAS_MAX)?;
        let min_exact = flags & MIN_EXACT != 0;
        let max_exact = flags & MAX_EXACT != 0;
        Ok(Self { min, max, min_exact, max_exact })
    }

    /// Bytes of the heap that the bounds hold.
    pub(super) fn heap_bytes(&self) -> usize {
        [&self.min, &self.max]
            .into_iter()
            .map(|bound| match bound {
                Datum::Text(text) => text.capacity(),
                Datum::Bytes(bytes) => bytes.capacity(),
                _ => 0,
            })
            .sum()
    }
}

const HAS_MIN: u8 = 1;
const HAS_MAX: u8 = 2;
const MIN_EXACT: u8 = 4;
const MAX_EXACT: u8 = 8;

fn encode_bound(bound: &Datum, form: Form, out: &mut Vec<u8>) {
    match (form, bound) {
        (Form::Integers, bound) => {
            out.extend(datum::to_integer(bound).map(i64::to_le_bytes).iter().flatten())
        }
        (_, Datum::Text(text)) => encode_string(text.as_bytes(), out),
        (_, Datum::Bytes(bytes)) => encode_string(bytes, out),
        (_, bound) => {
            // NULL has no fixed-width form, and writes nothing.
            let _ = datum::push_fixed(bound, out);
        }
    }
}

fn encode_string(bytes: &[u8], out: &mut Vec<u8>) {
    out.push(u8::try_from(bytes.len()).expect("bounds are cut to less than 255 bytes"));
    out.extend(bytes);
}

fn decode_bound(form: Form, column_type: &ColumnType, cursor: &mut Cursor<'_>) -> Decoded<Datum> {
    let offset = cursor.offset();
    let datum = match form {
        Form::Integers => datum::of_integer(column_type, cursor.i64()?),
        Form::Fixed(width) => datum::of_fixed(column_type, cursor.take(width)?),
        Form::Strings => {
            let length = usize::from(cursor.u8()?);
            datum::of_string(column_type, cursor.take(length)?)
        }
    };
    datum.map_err(|damage| damage.within(offset))
}

/// The least and the greatest; the first of those that are equal.
fn extremes<T: Clone>(
    mut values: impl Iterator<Item = T>,
    order: impl Fn(&T, &T) -> Ordering,
) -> Option<(T, T)> {
    let first = values.next()?;
    Some(values.fold((first.clone(), first), |(min, max), value| {
        if order(&value, &min).is_lt() {
            (value, max)
        } else if order(&value, &max).is_gt() {
            (min, value)
        } else {
            (min, max)
        }
    }))
}

/// At most the first `limit` bytes; of text, whole characters.
fn cut(bytes: &[u8], limit: usize, is_text: bool) -> &[u8] {
    let mut end = bytes.len().min(limit);
    // A byte 10xxxxxx continues a character.
    while is_text && end > 0 && bytes.get(end).is_some_and(|byte| byte & 0xC0 == 0x80) {
        end -= 1;
    }
    bytes.get(..end).unwrap_or_default()
}

/// The least string above all that start with this one; of text, one that is valid too.
fn successor(prefix: &[u8], is_text: bool) -> Option<Vec<u8>> {
    if is_text {
        let mut characters: Vec<char> = std::str::from_utf8(prefix).ok()?.chars().collect();
        while let Some(last) = characters.pop() {
            // The surrogates lie between two ranges of characters.
            let next =
                if last == '\u{D7FF}' { Some('\u{E000}') } else { char::from_u32(u32::from(last) + 1) };
            if let Some(next) = next {
                characters.push(next);
                return Some(characters.into_iter().collect::<String>().into_bytes());
            }
        }
        return None;
    }
    let mut bytes = prefix.to_vec();
    while let Some(last) = bytes.pop() {
        if let Some(next) = last.checked_add(1) {
            bytes.push(next);
            return Some(bytes);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text_bounds(values: &[&str], limit: usize) -> Bounds {
        let values = Values::Strings(values.iter().map(|value| value.as_bytes()).collect());
        let Values::Strings(ref strings) = values else { unreachable!("just made") };
        let extremes = Extremes::of(&values, None, &ColumnType::Text, (0, strings.len())).expect("text");
        extremes.bounds(&ColumnType::Text, limit).expect("text")
    }

    #[test]
    fn long_text_is_cut_at_a_character_and_bounded_from_above() {
        let bounds = text_bounds(&["abcdef", "abcdzz", "abcdü"], 5);
        assert_eq!((bounds.min, bounds.max), (Datum::Text("abcde".into()), Datum::Text("abce".into())));
        assert!(!bounds.min_exact && !bounds.max_exact);
        let bounds = text_bounds(&["a\u{D7FF}xyz", "b"], 4);
        assert_eq!((bounds.min, bounds.max), (Datum::Text("a\u{D7FF}".into()), Datum::Text("b".into())));
        assert!(!bounds.min_exact && bounds.max_exact);
        assert_eq!(text_bounds(&["\u{D7FF}xyz"], 3).max, Datum::Text("\u{E000}".into()));
        assert_eq!(text_bounds(&["\u{10FFFF}xyz"], 4).max, Datum::Null);
    }

    #[test]
    fn bounds_round_trip() {
        let nulls: NullBuffer = [false, true, true].into_iter().collect();
        let floats: Vec<u8> = [9.0, -0.0, f64::NAN].into_iter().flat_map(f64::to_le_bytes).collect();
        let wide: Vec<u8> = [0, i128::MIN, i128::MAX].into_iter().flat_map(i128::to_le_bytes).collect();
        let decimal = ColumnType::Decimal { precision: 38, scale: 0 };
        let cases = [
            (Values::Integers(vec![5, 0, 1]), ColumnType::Bool),
            (Values::Integers(vec![5, i64::MIN, i64::MAX]), ColumnType::Int64),
            (Values::Fixed(8, floats), ColumnType::Float64),
            (Values::Fixed(16, wide), decimal),
            (Values::Strings(vec![b"\xFF", b"a", b"\xFF\xFF\xFF\xFF\xFF"]), ColumnType::Bytes),
            (Values::Strings(vec![b"x"; 3]), ColumnType::Array(Box::new(ColumnType::Text))),
        ];
        for (values, column_type) in cases {
            let of = |rows| Extremes::of(&values, Some(&nulls), &column_type, rows).expect("typed");
            let bounds = of((0, 3)).bounds(&column_type, 4).expect("typed");
            let joined = of((0, 2)).and(of((2, 3))).bounds(&column_type, 4);
            assert_eq!(format!("{joined:?}"), format!("Ok({bounds:?})"));
            let mut bytes = Vec::new();
            bounds.encode(values.form(), &mut bytes);
            let mut cursor = Cursor::new(&bytes);
            let decoded = Bounds::decode(values.form(), &column_type, &mut cursor).expect("decodes");
            assert_eq!(format!("{decoded:?}"), format!("{bounds:?}"));
            assert_eq!(cursor.finish(), Ok(()));
        }
        let values = Values::Integers(vec![1, 2, 3]);
        let none = Extremes::of(&values, Some(&nulls), &ColumnType::Int16, (0, 1)).expect("typed");
        assert_eq!(none.bounds(&ColumnType::Int16, 4), Ok(Bounds::NONE));
    }
}
