//! Comparing a column with a literal without decoding it.
//!
//! A comparison accepts an interval of values. For packed integers the interval is moved into the domain of each group's
//! residuals, where most groups turn out to lie wholly within or outside: base and width bound them. For a
//! dictionary the comparison is made once for each entry; the accepted codes are again an interval if the entries are
//! sorted as the type is, else a table. Runs are compared once each. For ALP the interval is moved to the integers of each
//! group, and exceptions are compared one by one. Other encodings are left to the caller, on decoded arrays.

use std::cmp::Ordering;
use std::ops::Range;

use super::alp::Float;
use super::arrays::unexpected;
use super::bitmap::Bitmap;
use super::block::{ColumnBlock, Content, DataPage};
use super::datum;
use super::dictionary::Dictionary;
use super::directory::ColumnMeta;
use super::encoding::{Encoding, Form};
use super::integers::Accept;
use super::position::Positions;
use super::scalar::entry;
use crate::cache::Access;
use crate::codec::Decoded;
use crate::error::{Error, Result};
use crate::row::compare::compare_floats;
use crate::row::{Column, ColumnType, Datum, compare};

/// A comparison of a column's value with a literal, in the order of [`compare`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// Equal.
    Eq,
    /// Not equal.
    Ne,
    /// Less.
    Lt,
    /// Less or equal.
    Le,
    /// Greater.
    Gt,
    /// Greater or equal.
    Ge,
}

impl Comparison {
    /// Whether values in this order compare so.
    pub(super) fn accepts(self, order: Ordering) -> bool {
        match self {
            Self::Eq => order.is_eq(),
            Self::Ne => order.is_ne(),
            Self::Lt => order.is_lt(),
            Self::Le => order.is_le(),
            Self::Gt => order.is_gt(),
            Self::Ge => order.is_ge(),
        }
    }

    /// The integers that compare so with a literal.
    fn interval(self, literal: i128) -> Accept {
        let (low, high) = match self {
            Self::Eq | Self::Ne => (literal, literal),
            Self::Lt => (i128::MIN, literal - 1),
            Self::Le => (i128::MIN, literal),
            Self::Gt => (literal + 1, i128::MAX),
            Self::Ge => (literal, i128::MAX),
        };
        Accept { low, high, inside: self != Self::Ne }
    }
}

/// The literal as an integer, if it has the column's type and that is an integer.
fn integer_literal(column_type: &ColumnType, literal: &Datum) -> Option<i128> {
    match (column_type, literal) {
        // Decimals of any size are integers, whether or not they fit the column's form.
        (ColumnType::Decimal { .. }, Datum::Decimal(value)) => {
            // The interval reaches one further.
            Some((*value).clamp(i128::MIN + 1, i128::MAX - 1))
        }
        _ => datum::to_integer(literal)
            .filter(|value| datum::of_integer(column_type, *value).as_ref() == Ok(literal))
            .map(i128::from),
    }
}

impl ColumnBlock {
    /// Which rows of a range of slots have a value that compares so with a literal of the column's type: a bit for each
    /// slot of the range, the first in the lowest place; NULLs and absent slots are not set. `None` where the
    /// encoding, or a column that the block lacks, would have to be decoded first.
    ///
    /// # Errors
    /// `CorruptBlock`, `Io`; `Invalid` where the range reaches beyond the slots or the column has another type here.
    pub fn filter(
        &self,
        column: &Column,
        comparison: Comparison,
        literal: &Datum,
        range: Range<u32>,
    ) -> Result<Option<Vec<u64>>> {
        if range.end > self.slots() || range.start > range.end {
            return Err(Error::Invalid(format!("slots {range:?} of a block of {}", self.slots())));
        }
        let Some(meta) = self.column_of(column)? else { return Ok(None) };
        let rank = |slot: u32| self.presence().map_or(slot, |presence| presence.rank(slot));
        let positions = (rank(range.start), rank(range.end));
        let count = (positions.1 - positions.0) as usize;
        let found = if literal.is_null() || meta.null_count == self.rows() {
            let mut none = Bitmap::with_capacity(count);
            none.push_equal(false, count);
            Some(none)
        } else {
            self.filter_column(meta, comparison, literal, positions)?
        };
        let Some(found) = found else { return Ok(None) };
        let found = match self.presence() {
            Some(presence) => found.spread(presence.words(), range.start as usize, range.end as usize),
            None => found,
        };
        Ok(Some(found.into_words()))
    }

    fn filter_column(
        &self,
        meta: &ColumnMeta,
        comparison: Comparison,
        literal: &Datum,
        positions: (u32, u32),
    ) -> Result<Option<Bitmap>> {
        match meta.encoding {
            Encoding::BitPacked | Encoding::RunEnd => match integer_literal(&meta.column_type, literal) {
                Some(literal) => self
                    .filter_packed(meta, &Codes::Interval(comparison.interval(literal)), positions)
                    .map(Some),
                None => Ok(None),
            },
            Encoding::Constant | Encoding::Dictionary | Encoding::RunEndDictionary => {
                if meta.form == Form::Integers && integer_literal(&meta.column_type, literal).is_none() {
                    return Ok(None);
                }
                let dictionary = self.dictionary(meta, Access::Scan)?;
                let codes = accepted(&dictionary, &meta.column_type, comparison, literal)
                    .map_err(|damage| self.corrupt(meta.auxiliary, damage))?;
                self.filter_packed(meta, &codes, positions).map(Some)
            }
            Encoding::Alp => match (&meta.column_type, literal) {
                (ColumnType::Float32, Datum::Float32(literal)) => {
                    let order = |value: f32| compare_floats(value.into(), (*literal).into());
                    self.filter_decimals(meta, comparison, order, positions).map(Some)
                }
                (ColumnType::Float64, Datum::Float64(literal)) => {
                    let order = |value: f64| compare_floats(value, *literal);
                    self.filter_decimals(meta, comparison, order, positions).map(Some)
                }
                _ => Ok(None),
            },
            Encoding::Plain | Encoding::Fsst => Ok(None),
        }
    }

    fn filter_packed(&self, meta: &ColumnMeta, codes: &Codes, (start, end): (u32, u32)) -> Result<Bitmap> {
        let mut found = Bitmap::with_capacity((end - start) as usize);
        if meta.encoding == Encoding::Constant && meta.null_count == 0 {
            found.push_equal(codes.accept(0), (end - start) as usize);
            return Ok(found);
        }
        self.each_page(meta, Positions::Range(start, end), Access::Scan, |page, positions, base| {
            let before = found.len();
            match (&page.content, codes) {
                (Content::Nothing, codes) => found.push_equal(codes.accept(0), positions.len()),
                (Content::Integers(page), Codes::Interval(accept)) => {
                    page.select(positions, base, *accept, &mut found)?;
                }
                (Content::Runs(page), Codes::Interval(accept)) => {
                    page.select(positions, base, *accept, &mut found)?;
                }
                (Content::Integers(page), Codes::Table(table)) => {
                    let mut matches = Vec::with_capacity(positions.len());
                    page.decode(positions, base, &mut matches, |code| in_table(table, code))?;
                    push_bools(&matches, &mut found);
                }
                (Content::Runs(page), Codes::Table(table)) => {
                    let mut matches = Vec::with_capacity(positions.len());
                    page.decode(positions, base, &mut matches, |code| in_table(table, code))?;
                    push_bools(&matches, &mut found);
                }
                _ => return Err(unexpected()),
            }
            clear_nulls(page, positions, base, before, &mut found);
            Ok(())
        })?;
        Ok(found)
    }

    fn filter_decimals<F: Float>(
        &self,
        meta: &ColumnMeta,
        comparison: Comparison,
        order: impl Fn(F) -> Ordering,
        (start, end): (u32, u32),
    ) -> Result<Bitmap> {
        let mut found = Bitmap::with_capacity((end - start) as usize);
        self.each_page(meta, Positions::Range(start, end), Access::Scan, |page, positions, base| {
            let before = found.len();
            let Content::Decimals(decimals) = &page.content else { return Err(unexpected()) };
            decimals.select(positions, base, comparison, &order, &mut found)?;
            clear_nulls(page, positions, base, before, &mut found);
            Ok(())
        })?;
        Ok(found)
    }
}

/// Clears the bits of a page's NULLs, the page's first bit being `before`.
fn clear_nulls(page: &DataPage, positions: Positions<'_>, base: u32, before: usize, found: &mut Bitmap) {
    if let (Some(validity), Positions::Range(start, _)) = (&page.validity, positions) {
        let first = (start - base) as usize;
        found.retain(before, |at| validity.value(first + at));
    }
}

/// The codes of a dictionary, or the integers, that a comparison accepts.
enum Codes {
    Interval(Accept),
    Table(Vec<bool>),
}

impl Codes {
    fn accept(&self, code: i64) -> bool {
        match self {
            Self::Interval(accept) => accept.contains(code),
            Self::Table(table) => in_table(table, code),
        }
    }
}

fn in_table(table: &[bool], code: i64) -> bool {
    usize::try_from(code).ok().and_then(|code| table.get(code)).copied().unwrap_or(false)
}

fn push_bools(bools: &[bool], found: &mut Bitmap) {
    for chunk in bools.chunks(64) {
        let word = (0..).zip(chunk).fold(0_u64, |word, (at, bit)| word | u64::from(*bit) << at);
        found.push_words(&[word], 0, chunk.len());
    }
}

/// Compares each entry with the literal.
fn accepted(
    dictionary: &Dictionary,
    column_type: &ColumnType,
    comparison: Comparison,
    literal: &Datum,
) -> Decoded<Codes> {
    let test = |code| Ok(comparison.accepts(compare(&entry(dictionary, column_type, code)?, literal)));
    let table: Vec<bool> = (0..dictionary.len()).map(test).collect::<Decoded<_>>()?;
    for inside in [true, false] {
        let mut members =
            (0_i128..).zip(&table).filter(|(_, accepted)| **accepted == inside).map(|(code, _)| code);
        let low = members.next();
        let high = members.last().or(low);
        let count = table.iter().filter(|accepted| **accepted == inside).count();
        let (low, high) = (low.unwrap_or(0), high.unwrap_or(-1));
        if high - low + 1 == count as i128 {
            return Ok(Codes::Interval(Accept { low, high, inside }));
        }
    }
    Ok(Codes::Table(table))
}
