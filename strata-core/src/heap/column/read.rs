//! Reading values: many as an Arrow array, or one.

use std::sync::Arc;

use arrow_array::types::{
    ArrowPrimitiveType, Date32Type, Decimal128Type, Float32Type, Float64Type, Int16Type, Int32Type,
    Int64Type, IntervalMonthDayNanoType, Time64MicrosecondType, TimestampMicrosecondType,
};
use arrow_array::{
    ArrayRef, BinaryViewArray, BooleanArray, FixedSizeBinaryArray, PrimitiveArray, new_null_array,
};
use arrow_buffer::{
    BooleanBuffer, BooleanBufferBuilder, Buffer, IntervalMonthDayNano, NullBuffer, ScalarBuffer,
};

use super::block::{ColumnBlock, Content, DataPage};
use super::bytes::{Damage, Decoded};
use super::datum;
use super::dictionary::{Dictionary, StringDictionary};
use super::directory::ColumnMeta;
use super::encoding::{Encoding, Form};
use super::position::{Positions, Selection};
use super::unchecked;
use super::views::ViewBuilder;
use crate::cache::Access;
use crate::error::{Error, Result};
use crate::row::{Column, ColumnBuilder, ColumnType, Datum, arrow_type};

impl ColumnBlock {
    /// The values of a column in these slots, all of which must be present. A column that came after the block
    /// reads as its `missing` value.
    ///
    /// Strings lie in buffers of the array's own, or in the buffer of the column's dictionary.
    ///
    /// # Errors
    /// `CorruptBlock`, `Io`; `Invalid` where a slot is absent or the column has another type here.
    pub fn read(&self, column: &Column, selection: &Selection, access: Access) -> Result<ArrayRef> {
        let mut list = Vec::new();
        let positions = self.positions(selection, &mut list)?;
        let Some(meta) = self.column_of(column)? else {
            return missing(column, positions.len());
        };
        if meta.null_count == self.rows() {
            return Ok(new_null_array(&arrow_type(&meta.column_type), positions.len()));
        }
        Reader { block: self, meta, positions, access }.array()
    }

    /// The value of a column in a slot, which must be present: a read of one page, and of the dictionary or symbol
    /// table where there is one.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn get(&self, column: &Column, slot: u16) -> Result<Datum> {
        let slot = u32::from(slot);
        if !self.contains(slot) {
            return Err(absent(slot));
        }
        let position = self.presence().map_or(slot, |presence| presence.rank(slot));
        let Some(meta) = self.column_of(column)? else { return Ok(column.missing.clone()) };
        if meta.null_count == self.rows() {
            return Ok(Datum::Null);
        }
        let list = [position];
        let mut found = Datum::Null;
        let reader = Reader { block: self, meta, positions: Positions::List(&list), access: Access::Point };
        reader.one(&mut found)?;
        Ok(found)
    }

    /// The block's column, if it has it.
    pub(super) fn column_of(&self, column: &Column) -> Result<Option<&ColumnMeta>> {
        match self.column(column.id) {
            Some(meta) if meta.column_type != column.column_type => Err(Error::Invalid(format!(
                "column \"{}\" has type {:?} in block {}, not {:?}",
                column.name,
                meta.column_type,
                self.handle().id(),
                column.column_type
            ))),
            found => Ok(found),
        }
    }

    fn positions<'a>(&self, selection: &Selection, list: &'a mut Vec<u32>) -> Result<Positions<'a>> {
        match (selection, self.presence()) {
            (Selection::Range(range), None) if range.end <= self.slots() => {
                Ok(Positions::Range(range.start, range.end))
            }
            (Selection::Range(range), Some(presence)) if range.end <= self.slots() => {
                let (start, end) = (presence.rank(range.start), presence.rank(range.end));
                match end - start == range.end.saturating_sub(range.start) {
                    true => Ok(Positions::Range(start, end)),
                    false => Err(Error::Invalid(format!("slots {range:?} are not all present"))),
                }
            }
            (Selection::Range(range), _) => Err(absent(range.end)),
            (Selection::Slots(slots), presence) => {
                debug_assert!(slots.is_sorted(), "slots ascend");
                if let Some(slot) = slots.iter().find(|slot| !self.contains(**slot)) {
                    return Err(absent(*slot));
                }
                list.extend(slots.iter().map(|slot| presence.map_or(*slot, |presence| presence.rank(*slot))));
                Ok(Positions::List(list))
            }
        }
    }
}

fn absent(slot: u32) -> Error {
    Error::Invalid(format!("slot {slot} has no row in this block"))
}

fn missing(column: &Column, count: usize) -> Result<ArrayRef> {
    if column.missing == Datum::Null {
        return Ok(new_null_array(&arrow_type(&column.column_type), count));
    }
    let mut builder = ColumnBuilder::new(&column.column_type, count);
    (0..count).try_for_each(|_| builder.push_datum(&column.missing))?;
    Ok(builder.finish())
}

/// Gathers which values are not NULL.
struct Validity(Option<BooleanBufferBuilder>);

impl Validity {
    fn push(&mut self, page: &DataPage, positions: Positions<'_>, base: u32) {
        let Some(builder) = &mut self.0 else { return };
        match (&page.validity, positions) {
            (None, positions) => builder.append_n(positions.len(), true),
            (Some(validity), Positions::Range(start, end)) => {
                builder.append_buffer(&validity.slice((start - base) as usize, (end - start) as usize));
            }
            (Some(validity), Positions::List(list)) => {
                list.iter().for_each(|at| builder.append(validity.value((at - base) as usize)));
            }
        }
    }

    fn finish(self) -> Option<NullBuffer> {
        let nulls = NullBuffer::new(self.0?.build());
        (nulls.null_count() > 0).then_some(nulls)
    }
}

fn unexpected() -> Damage {
    Damage::at(0, "page of another form")
}

fn no_code(code: usize, entries: usize) -> Damage {
    Damage::at(0, format!("code {code} of a dictionary of {entries}"))
}

/// One read of one column.
struct Reader<'a> {
    block: &'a ColumnBlock,
    meta: &'a ColumnMeta,
    positions: Positions<'a>,
    access: Access,
}

impl Reader<'_> {
    fn array(&self) -> Result<ArrayRef> {
        // Integers of narrower types were widened by the writer; narrowing them gives them back.
        match (&self.meta.column_type, self.meta.form) {
            (ColumnType::Bool, _) => {
                let (values, nulls) = self.integers(|value| value != 0)?;
                Ok(Arc::new(BooleanArray::new(BooleanBuffer::from(values), nulls)))
            }
            (ColumnType::Int16, _) => self.primitive::<Int16Type>(|value| value as i16),
            (ColumnType::Int32, _) => self.primitive::<Int32Type>(|value| value as i32),
            (ColumnType::Int64, _) => self.primitive::<Int64Type>(|value| value),
            (ColumnType::Date, _) => self.primitive::<Date32Type>(|value| value as i32),
            (ColumnType::Time, _) => self.primitive::<Time64MicrosecondType>(|value| value),
            (ColumnType::Timestamp | ColumnType::TimestampTz, _) => {
                self.primitive::<TimestampMicrosecondType>(|value| value)
            }
            (ColumnType::Decimal { .. }, Form::Integers) => self.primitive::<Decimal128Type>(i128::from),
            (ColumnType::Decimal { .. }, _) => self.fixed::<Decimal128Type, 16>(i128::from_le_bytes),
            (ColumnType::Float32, _) => self.fixed::<Float32Type, 4>(f32::from_le_bytes),
            (ColumnType::Float64, _) => self.fixed::<Float64Type, 8>(f64::from_le_bytes),
            (ColumnType::Interval, _) => self.fixed::<IntervalMonthDayNanoType, 16>(interval),
            (ColumnType::Uuid, _) => {
                let (bytes, nulls) = self.fixed_bytes()?;
                let array = FixedSizeBinaryArray::try_new(16, Buffer::from_vec(bytes), nulls);
                Ok(Arc::new(array.map_err(|error| self.refused(&error))?))
            }
            (ColumnType::Text | ColumnType::Bytes, _) => self.views(),
            (ColumnType::Array(_), _) => self.lists(),
        }
    }

    fn refused(&self, error: &dyn std::error::Error) -> Error {
        self.block.corrupt(self.meta.auxiliary, Damage::at(0, error.to_string()))
    }

    fn validity(&self) -> Validity {
        let capacity = if self.meta.null_count > 0 { Some(self.positions.len()) } else { None };
        Validity(capacity.map(BooleanBufferBuilder::new))
    }

    fn each_page(&self, visit: impl FnMut(&DataPage, Positions<'_>, u32) -> Decoded<()>) -> Result<()> {
        self.block.each_page(self.meta, self.positions, self.access, visit)
    }

    /// The validity of a constant column, whose pages have nothing else.
    fn constant_nulls(&self) -> Result<Option<NullBuffer>> {
        let mut validity = self.validity();
        if self.meta.null_count > 0 {
            self.each_page(|page, positions, base| {
                validity.push(page, positions, base);
                Ok(())
            })?;
        }
        Ok(validity.finish())
    }

    /// Values of a bit-packed column, or codes of a dictionary, and which are NULL.
    fn packed<T>(&self, convert: impl Fn(i64) -> T + Copy) -> Result<(Vec<T>, Option<NullBuffer>)> {
        let mut values = Vec::with_capacity(self.positions.len());
        let mut validity = self.validity();
        self.each_page(|page, positions, base| {
            validity.push(page, positions, base);
            match &page.content {
                Content::Integers(page) => page.decode(positions, base, &mut values, convert),
                _ => Err(unexpected()),
            }
        })?;
        Ok((values, validity.finish()))
    }

    /// The place in the dictionary of each value, all of them within it, and which are NULL.
    fn codes(&self, dictionary: &Dictionary) -> Result<(Vec<usize>, Option<NullBuffer>)> {
        if self.meta.encoding == Encoding::Constant {
            return Ok((vec![0; self.positions.len()], self.constant_nulls()?));
        }
        // A negative code becomes one that no dictionary reaches.
        let (codes, nulls) = self.packed(|code| usize::try_from(code).unwrap_or(usize::MAX))?;
        match codes.iter().find(|code| **code >= dictionary.len()) {
            None => Ok((codes, nulls)),
            Some(code) => Err(self.block.corrupt(self.meta.auxiliary, no_code(*code, dictionary.len()))),
        }
    }

    fn dictionary(&self) -> Result<Arc<Dictionary>> {
        self.block.dictionary(self.meta, self.access)
    }

    fn integers<T: Copy>(&self, convert: impl Fn(i64) -> T + Copy) -> Result<(Vec<T>, Option<NullBuffer>)> {
        if self.meta.encoding == Encoding::BitPacked {
            return self.packed(convert);
        }
        let dictionary = self.dictionary()?;
        let Dictionary::Integers(entries) = dictionary.as_ref() else {
            return Err(self.block.corrupt(self.meta.auxiliary, unexpected()));
        };
        let (codes, nulls) = self.codes(&dictionary)?;
        let entries: Vec<T> = entries.iter().map(|entry| convert(*entry)).collect();
        Ok((codes.into_iter().filter_map(|code| entries.get(code).copied()).collect(), nulls))
    }

    fn primitive<T: ArrowPrimitiveType>(
        &self,
        convert: impl Fn(i64) -> T::Native + Copy,
    ) -> Result<ArrayRef> {
        let (values, nulls) = self.integers(convert)?;
        Ok(self.finish_primitive::<T>(values, nulls))
    }

    fn finish_primitive<T: ArrowPrimitiveType>(
        &self,
        values: Vec<T::Native>,
        nulls: Option<NullBuffer>,
    ) -> ArrayRef {
        let array = PrimitiveArray::<T>::new(values.into(), nulls);
        Arc::new(array.with_data_type(arrow_type(&self.meta.column_type)))
    }

    fn fixed<T: ArrowPrimitiveType, const N: usize>(
        &self,
        read: fn([u8; N]) -> T::Native,
    ) -> Result<ArrayRef> {
        let (bytes, nulls) = self.fixed_bytes()?;
        let values = bytes.chunks_exact(N).filter_map(|chunk| chunk.try_into().ok().map(read)).collect();
        Ok(self.finish_primitive::<T>(values, nulls))
    }

    fn fixed_bytes(&self) -> Result<(Vec<u8>, Option<NullBuffer>)> {
        let Form::Fixed(width) = self.meta.form else {
            return Err(self.block.corrupt(self.meta.auxiliary, unexpected()));
        };
        let mut out = Vec::with_capacity(self.positions.len() * width);
        if self.meta.encoding != Encoding::Plain {
            let dictionary = self.dictionary()?;
            let (codes, nulls) = self.codes(&dictionary)?;
            if let Dictionary::Fixed(_, entries) = dictionary.as_ref() {
                let entry = |code: usize| entries.as_slice().get(code * width..(code + 1) * width);
                codes.into_iter().filter_map(entry).for_each(|entry| out.extend(entry));
            }
            return Ok((out, nulls));
        }
        let mut validity = self.validity();
        self.each_page(|page, positions, base| {
            validity.push(page, positions, base);
            let Content::Fixed(_, bytes) = &page.content else { return Err(unexpected()) };
            let value = |start: usize, count: usize| {
                bytes.as_slice().get(start * width..(start + count) * width).ok_or_else(unexpected)
            };
            match positions {
                Positions::Range(start, end) => {
                    out.extend(value((start - base) as usize, (end - start) as usize)?);
                }
                Positions::List(list) => {
                    for at in list {
                        out.extend(value((at - base) as usize, 1)?);
                    }
                }
            }
            Ok(())
        })?;
        Ok((out, validity.finish()))
    }

    fn views(&self) -> Result<ArrayRef> {
        if matches!(self.meta.encoding, Encoding::Constant | Encoding::Dictionary) {
            let dictionary = self.dictionary()?;
            let (codes, nulls) = self.codes(&dictionary)?;
            let Dictionary::Strings(StringDictionary { views: entries, buffers, .. }) = dictionary.as_ref()
            else {
                return Err(self.block.corrupt(self.meta.auxiliary, unexpected()));
            };
            let views: Vec<u128> = codes.into_iter().filter_map(|code| entries.get(code).copied()).collect();
            return self.finish_views(views, Arc::clone(buffers), nulls);
        }
        let mut builder = ViewBuilder::new(self.positions.len(), self.meta.column_type == ColumnType::Text);
        let mut validity = self.validity();
        let symbols = match self.meta.encoding {
            Encoding::Fsst => Some(self.block.symbols(self.meta, self.access)?),
            _ => None,
        };
        self.each_page(|page, positions, base| {
            validity.push(page, positions, base);
            let Content::Strings(page) = &page.content else { return Err(unexpected()) };
            page.visit(positions, base, |string| match &symbols {
                Some(symbols) => builder.push_compressed(symbols, string),
                None => {
                    builder.push(string);
                    Ok(())
                }
            })
        })?;
        let (views, buffers) = builder.finish();
        self.finish_views(views, buffers.into(), validity.finish())
    }

    fn finish_views(
        &self,
        views: Vec<u128>,
        buffers: Arc<[Buffer]>,
        nulls: Option<NullBuffer>,
    ) -> Result<ArrayRef> {
        let views = ScalarBuffer::from(views);
        if self.meta.column_type == ColumnType::Text {
            return Ok(Arc::new(unchecked::string_view_array(views, buffers, nulls)));
        }
        let array = BinaryViewArray::try_new(views, buffers, nulls);
        Ok(Arc::new(array.map_err(|error| self.refused(&error))?))
    }

    fn lists(&self) -> Result<ArrayRef> {
        let mut builder = ColumnBuilder::new(&self.meta.column_type, self.positions.len());
        self.each_datum(|datum| builder.push_datum(&datum))?;
        Ok(builder.finish())
    }

    fn one(&self, found: &mut Datum) -> Result<()> {
        self.each_datum(|datum| {
            *found = datum;
            Ok(())
        })
    }

    /// Shows the values one by one.
    fn each_datum(&self, mut visit: impl FnMut(Datum) -> Result<()>) -> Result<()> {
        let (column_type, encoding) = (&self.meta.column_type, self.meta.encoding);
        let dictionary = match encoding {
            Encoding::Constant | Encoding::Dictionary => Some(self.dictionary()?),
            _ => None,
        };
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
        self.each_page(|page, positions, base| {
            positions.try_for_each(base, |at| {
                let value = match (&page.content, &dictionary) {
                    _ if page.is_null(at) => Datum::Null,
                    (Content::Nothing, Some(dictionary)) => entry(dictionary, column_type, 0)?,
                    (Content::Integers(page), Some(dictionary)) => {
                        entry(dictionary, column_type, usize::try_from(page.get(at)?).unwrap_or(usize::MAX))?
                    }
                    (Content::Integers(page), None) => datum::of_integer(column_type, page.get(at)?)?,
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

fn interval(bytes: [u8; 16]) -> IntervalMonthDayNano {
    match datum::of_fixed(&ColumnType::Interval, &bytes) {
        Ok(Datum::Interval { months, days, nanoseconds }) => {
            IntervalMonthDayNano::new(months, days, nanoseconds)
        }
        _ => IntervalMonthDayNano::ZERO,
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
