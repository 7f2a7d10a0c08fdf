//! Reading values one by one.

use super::arrays::{Reader, no_code, unexpected};
use super::block::Content;
use super::datum;
use super::dictionary::Dictionary;
use super::encoding::Encoding;
use crate::codec::Decoded;
use crate::error::Result;
use crate::row::{ColumnType, Datum};

impl Reader<'_> {
    /// The last of the values, for a reader of one.
    pub fn one(&self, found: &mut Datum) -> Result<()> {
        self.each_datum(|datum| {
            *found = datum;
            Ok(())
        })
    }

    /// Shows the values one by one.
    pub fn each_datum(&self, mut visit: impl FnMut(Datum) -> Result<()>) -> Result<()> {
        let (column_type, encoding) = (&self.meta.column_type, self.meta.encoding);
        let dictionary = if encoding.has_dictionary() { Some(self.dictionary()?) } else { None };
        let symbols = match encoding {
            Encoding::Fsst => Some(self.block.symbols(self.meta, self.access)?),
            _ => None,
        };
        if let (Encoding::Constant, 0, Some(dictionary)) = (encoding, self.meta.null_count, &dictionary) {
            let value = entry(dictionary, column_type, 0)
                .map_err(|damage| self.block.corrupt(self.meta.auxiliary, damage))?;
            return (0..self.positions.len()).try_for_each(|_| visit(value.clone()));
        }
        let mut scratch = Vec::new();
        let mut refused = None;
        let of_integer = |value: i64| match &dictionary {
            Some(dictionary) => entry(dictionary, column_type, usize::try_from(value).unwrap_or(usize::MAX)),
            None => datum::of_integer(column_type, value),
        };
        self.each_page(|page, positions, base| {
            positions.try_for_each(base, |at| {
                let value = match (&page.content, &dictionary) {
                    _ if page.is_null(at) => Datum::Null,
                    (Content::Nothing, Some(dictionary)) => entry(dictionary, column_type, 0)?,
                    (Content::Integers(page), _) => of_integer(page.get(at)?)?,
                    (Content::Runs(page), _) => of_integer(page.get(at)?)?,
                    (Content::Decimals(page), _) => match column_type {
                        ColumnType::Float32 => Datum::Float32(page.get(at)?),
                        _ => Datum::Float64(page.get(at)?),
                    },
                    (Content::Fixed(width, bytes), _) => {
                        let bytes =
                            bytes.as_slice().get(at * width..(at + 1) * width).ok_or_else(unexpected)?;
                        datum::of_fixed(column_type, bytes)?
                    }
                    (Content::Strings(page), _) => match &symbols {
                        Some(symbols) => {
                            let end = symbols.decompress(page.get(at)?, &mut scratch, 0)?;
                            datum::of_string(column_type, scratch.get(..end).unwrap_or_default())?
                        }
                        None => datum::of_string(column_type, page.get(at)?)?,
                    },
                    (Content::Nothing, None) => return Err(unexpected()),
                };
                if refused.is_none() {
                    refused = visit(value).err();
                }
                Ok(())
            })
        })?;
        refused.map_or(Ok(()), Err)
    }
}

/// The value of a dictionary entry.
pub(super) fn entry(dictionary: &Dictionary, column_type: &ColumnType, code: usize) -> Decoded<Datum> {
    let outside = || no_code(code, dictionary.len());
    match dictionary {
        Dictionary::Integers(entries) => {
            datum::of_integer(column_type, *entries.get(code).ok_or_else(outside)?)
        }
        Dictionary::Fixed(width, bytes) => {
            let start = code.checked_mul(*width).ok_or_else(outside)?;
            let bytes = start.checked_add(*width).and_then(|end| bytes.as_slice().get(start..end));
            datum::of_fixed(column_type, bytes.ok_or_else(outside)?)
        }
        Dictionary::Strings(strings) => datum::of_string(column_type, strings.get(code).ok_or_else(outside)?),
    }
}
