//! Decoding positions of a column into Arrow arrays.

use std::cell::Cell;
use std::sync::Arc;

use arrow_array::types::{
    ArrowPrimitiveType, Date32Type, Decimal128Type, Float32Type, Float64Type, Int16Type, Int32Type,
    Int64Type, IntervalMonthDayNanoType, Time64MicrosecondType, TimestampMicrosecondType,
};
use arrow_array::{ArrayRef, BinaryViewArray, BooleanArray, FixedSizeBinaryArray, PrimitiveArray};
use arrow_buffer::{
    BooleanBuffer, BooleanBufferBuilder, Buffer, IntervalMonthDayNano, NullBuffer, ScalarBuffer,
};

use super::alp::Float;
use super::block::{ColumnBlock, Content, DataPage};
use super::datum;
use super::dictionary::{Dictionary, StringDictionary};
use super::directory::ColumnMeta;
use super::encoding::{Encoding, Form};
use super::position::Positions;
use super::unchecked;
use super::views::ViewBuilder;
use crate::cache::Access;
use crate::codec::{Damage, Decoded};
use crate::error::{Error, Result};
use crate::row::{ColumnBuilder, ColumnType, Datum, arrow_type};

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

pub(super) fn unexpected() -> Damage {
    Damage::at(0, "page of another form")
}

pub(super) fn no_code(code: usize, entries: usize) -> Damage {
    Damage::at(0, format!("code {code} of a dictionary of {entries}"))
}

/// One read of one column.
pub(super) struct Reader<'a> {
    pub block: &'a ColumnBlock,
    pub meta: &'a ColumnMeta,
    pub positions: Positions<'a>,
    pub access: Access,
}

impl Reader<'_> {
    /// The values as an array of the column's type.
    pub fn array(&self) -> Result<ArrayRef> {
        let is_alp = self.meta.encoding == Encoding::Alp;
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
            (ColumnType::Float32, _) if is_alp => self.decimals::<Float32Type>(),
            (ColumnType::Float64, _) if is_alp => self.decimals::<Float64Type>(),
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

    pub fn each_page(&self, visit: impl FnMut(&DataPage, Positions<'_>, u32) -> Decoded<()>) -> Result<()> {
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

    /// Values of a bit-packed column, of runs, or codes of a dictionary, and which are NULL.
    fn packed<T: Copy>(&self, convert: impl Fn(i64) -> T + Copy) -> Result<(Vec<T>, Option<NullBuffer>)> {
        let mut values = Vec::with_capacity(self.positions.len());
        let mut validity = self.validity();
        self.each_page(|page, positions, base| {
            validity.push(page, positions, base);
            match &page.content {
                Content::Integers(page) => page.decode(positions, base, &mut values, convert),
                Content::Runs(page) => page.decode(positions, base, &mut values, convert),
                _ => Err(unexpected()),
            }
        })?;
        Ok((values, validity.finish()))
    }

    /// What `lookup` has for the code of each value, and which are NULL. A code without an entry is damage.
    fn looked_up<T: Copy + Default>(
        &self,
        dictionary: &Dictionary,
        lookup: impl Fn(usize) -> Option<T>,
    ) -> Result<(Vec<T>, Option<NullBuffer>)> {
        let beyond = Cell::new(None);
        let found = |code: usize| {
            lookup(code).unwrap_or_else(|| {
                beyond.set(Some(code));
                T::default()
            })
        };
        let read = match self.meta.encoding {
            Encoding::Constant => (vec![found(0); self.positions.len()], self.constant_nulls()?),
            // A negative code becomes one that no dictionary reaches.
            _ => self.packed(|code| found(usize::try_from(code).unwrap_or(usize::MAX)))?,
        };
        match beyond.get() {
            None => Ok(read),
            Some(code) => Err(self.block.corrupt(self.meta.auxiliary, no_code(code, dictionary.len()))),
        }
    }

    pub fn dictionary(&self) -> Result<Arc<Dictionary>> {
        self.block.dictionary(self.meta, self.access)
    }

    fn integers<T: Copy + Default>(
        &self,
        convert: impl Fn(i64) -> T + Copy,
    ) -> Result<(Vec<T>, Option<NullBuffer>)> {
        if !self.meta.encoding.has_dictionary() {
            return self.packed(convert);
        }
        let dictionary = self.dictionary()?;
        let Dictionary::Integers(entries) = dictionary.as_ref() else {
            return Err(self.block.corrupt(self.meta.auxiliary, unexpected()));
        };
        let entries: Vec<T> = entries.iter().map(|entry| convert(*entry)).collect();
        self.looked_up(&dictionary, |code| entries.get(code).copied())
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

    fn decimals<T: ArrowPrimitiveType<Native: Float>>(&self) -> Result<ArrayRef> {
        let mut values = Vec::with_capacity(self.positions.len());
        let mut validity = self.validity();
        self.each_page(|page, positions, base| {
            validity.push(page, positions, base);
            let Content::Decimals(page) = &page.content else { return Err(unexpected()) };
            page.decode(positions, base, &mut values)
        })?;
        Ok(self.finish_primitive::<T>(values, validity.finish()))
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
            let Dictionary::Fixed(_, entries) = dictionary.as_ref() else {
                return Err(self.block.corrupt(self.meta.auxiliary, unexpected()));
            };
            let within = |code: usize| (code < dictionary.len()).then_some(code);
            let (codes, nulls) = self.looked_up(&dictionary, within)?;
            let entry = |code: usize| entries.as_slice().get(code * width..(code + 1) * width);
            codes.into_iter().filter_map(entry).for_each(|entry| out.extend(entry));
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
        if self.meta.encoding.has_dictionary() {
            let dictionary = self.dictionary()?;
            let Dictionary::Strings(StringDictionary { views: entries, buffers, .. }) = dictionary.as_ref()
            else {
                return Err(self.block.corrupt(self.meta.auxiliary, unexpected()));
            };
            let (views, nulls) = self.looked_up(&dictionary, |code| entries.get(code).copied())?;
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
}

fn interval(bytes: [u8; 16]) -> IntervalMonthDayNano {
    match datum::of_fixed(&ColumnType::Interval, &bytes) {
        Ok(Datum::Interval { months, days, nanoseconds }) => {
            IntervalMonthDayNano::new(months, days, nanoseconds)
        }
        _ => IntervalMonthDayNano::ZERO,
    }
}
