//! Run-end encoding: each run of equal integers, or codes, once. The content of the data pages of such columns.
//!
//! ```text
//! offset  size  field
//! 0       4     runs r
//! 4       4     bytes n of the lengths, a multiple of 8
//! 8       n     the length of each run, at least 1: integers (integers.rs), then zeros up to a multiple of 8
//! …       …     the value of each run, integers
//! ```
//!
//! Lengths take fewer bits than ends. Loading a page turns them into ends, so that one value is found by binary search; a
//! comparison is made once for each run. Neighbours may be equal: nothing depends on runs being as long as they could be.

use arrow_buffer::Buffer;

use super::bitmap::Bitmap;
use super::bits::GROUP;
use super::integers::{self, Accept, IntegerPage};
use super::position::Positions;
use crate::codec::{Cursor, Damage, Decoded, pad_to_8};

/// The runs of a column: where each ends, and its value.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Runs {
    ends: Vec<usize>,
    values: Vec<i64>,
}

/// How many runs there are.
pub(super) fn count<T: PartialEq>(values: &[T]) -> usize {
    values.windows(2).filter(|pair| matches!(pair, [left, right] if left != right)).count()
        + usize::from(!values.is_empty())
}

impl Runs {
    /// The runs of these values.
    pub fn of(values: &[i64]) -> Self {
        let mut runs = Self { ends: Vec::new(), values: Vec::new() };
        for (end, value) in (1..).zip(values) {
            match runs.ends.last_mut() {
                Some(last) if runs.values.last() == Some(value) => *last = end,
                _ => {
                    runs.ends.push(end);
                    runs.values.push(*value);
                }
            }
        }
        runs
    }

    fn lengths(&self) -> Vec<i64> {
        let starts = [0].iter().chain(&self.ends);
        self.ends.iter().zip(starts).map(|(end, start)| (end - start) as i64).collect()
    }

    /// About how many bytes they take in all.
    pub fn bytes(&self) -> usize {
        let packed = |values: &[i64]| integers::group_bytes(values).iter().sum::<usize>() + 16;
        packed(&self.lengths()) + packed(&self.values)
    }

    /// Cuts the runs into pages of about `page_bytes`, whole groups each: the first row of each, and its content.
    pub fn pages(&self, page_bytes: usize) -> Option<Vec<(usize, Vec<u8>)>> {
        let rows = self.ends.last().copied().unwrap_or(0);
        let run_bytes = self.bytes() / self.ends.len().max(1) + 1;
        let page_runs = (page_bytes / run_bytes).max(1);
        let mut pages = Vec::new();
        let mut start = 0;
        while start < rows {
            let first = self.run_of(start);
            let far = self.ends.get(first + page_runs).copied().unwrap_or(rows);
            let end = if far >= rows { rows } else { (far / GROUP * GROUP).max(start + GROUP).min(rows) };
            pages.push((start, self.page(start, end)?));
            start = end;
        }
        Some(pages)
    }

    /// The run that holds a row.
    fn run_of(&self, row: usize) -> usize {
        self.ends.partition_point(|end| *end <= row)
    }

    fn page(&self, start: usize, end: usize) -> Option<Vec<u8>> {
        let runs = self.run_of(start)..self.run_of(end.checked_sub(1)?) + 1;
        let mut last = start;
        let length = |run_end: &usize| {
            let run_end = (*run_end).min(end);
            (run_end - std::mem::replace(&mut last, run_end)) as i64
        };
        let lengths: Vec<i64> = self.ends.get(runs.clone())?.iter().map(length).collect();
        let mut packed = Vec::new();
        integers::encode(&lengths, &mut packed);
        pad_to_8(&mut packed, 0);
        let mut out = Vec::new();
        out.extend(u32::try_from(lengths.len()).ok()?.to_le_bytes());
        out.extend(u32::try_from(packed.len()).ok()?.to_le_bytes());
        out.extend(packed);
        integers::encode(self.values.get(runs)?, &mut out);
        Some(out)
    }
}

/// A page of runs, their ends found, their values still packed.
#[derive(Debug)]
pub(super) struct RunPage {
    /// Ascending; the last is the number of values.
    ends: Vec<u32>,
    values: IntegerPage,
}

impl RunPage {
    /// Parses a page of `count` values. The content must be aligned to eight bytes.
    pub fn parse(count: usize, content: &Buffer) -> Decoded<Self> {
        let mut cursor = Cursor::new(content.as_slice());
        let run_count = cursor.u32()? as usize;
        let lengths_bytes = cursor.u32()? as usize;
        if run_count > count {
            return Err(Damage::at(0, format!("{run_count} runs of {count} values")));
        }
        cursor.take(lengths_bytes)?;
        let lengths = content.slice_with_length(8, lengths_bytes);
        let lengths = IntegerPage::parse(run_count, &lengths).map_err(|damage| damage.within(8))?;
        let ends = ends_of(&lengths, run_count, count)?;
        let values_offset = cursor.offset();
        let values = IntegerPage::parse(run_count, &content.slice(values_offset))
            .map_err(|damage| damage.within(values_offset))?;
        Ok(Self { ends, values })
    }

    fn run_of(&self, position: usize) -> usize {
        self.ends.partition_point(|end| *end as usize <= position)
    }

    /// The value at a position of the page.
    pub fn get(&self, position: usize) -> Decoded<i64> {
        let run = self.run_of(position);
        if run >= self.ends.len() {
            return Err(Damage::at(0, format!("no value {position} in the runs of the page")));
        }
        self.values.get(run)
    }

    /// Calls `visit` for each run that these positions touch, counted from `base`: its place among those, and how many.
    fn each_run(&self, positions: Positions<'_>, base: u32, mut visit: impl FnMut(usize, usize)) {
        let Some((first, _)) = positions.bounds() else { return };
        let first_run = self.run_of((first - base) as usize);
        let mut rest = positions;
        for (run, end) in self.ends.iter().skip(first_run).enumerate() {
            let (head, tail) = rest.split_at(end.saturating_add(base));
            if head.len() > 0 {
                visit(run, head.len());
            }
            rest = tail;
            if rest.len() == 0 {
                break;
            }
        }
    }

    /// The runs that hold these positions.
    fn touched(&self, positions: Positions<'_>, base: u32) -> Decoded<Positions<'static>> {
        let Some((first, last)) = positions.bounds() else { return Ok(Positions::Range(0, 0)) };
        let (first, last) = (self.run_of((first - base) as usize), self.run_of((last - base) as usize));
        if last >= self.ends.len() {
            return Err(Damage::at(0, "positions beyond the runs of the page"));
        }
        Ok(Positions::Range(first as u32, last as u32 + 1))
    }

    /// Appends the values at these positions, counted from `base`; each run is converted once.
    pub fn decode<T: Copy>(
        &self,
        positions: Positions<'_>,
        base: u32,
        out: &mut Vec<T>,
        convert: impl Fn(i64) -> T,
    ) -> Decoded<()> {
        let runs = self.touched(positions, base)?;
        let mut values = Vec::with_capacity(runs.len());
        self.values.decode(runs, 0, &mut values, convert)?;
        self.each_run(positions, base, |run, count| {
            if let Some(value) = values.get(run) {
                out.resize(out.len() + count, *value);
            }
        });
        Ok(())
    }

    /// Appends a bit for each of these positions, counted from `base`: whether its value is accepted.
    pub fn select(
        &self,
        positions: Positions<'_>,
        base: u32,
        accept: Accept,
        found: &mut Bitmap,
    ) -> Decoded<()> {
        let runs = self.touched(positions, base)?;
        let mut accepted = Bitmap::with_capacity(runs.len());
        self.values.select(runs, 0, accept, &mut accepted)?;
        self.each_run(positions, base, |run, count| found.push_equal(accepted.get(run), count));
        Ok(())
    }

    /// Bytes held in memory.
    pub fn bytes_in_memory(&self) -> usize {
        self.ends.len() * 4 + self.values.bytes_in_memory()
    }
}

/// Turns lengths into ends; they must be positive and add up to `count`.
fn ends_of(lengths: &IntegerPage, run_count: usize, count: usize) -> Decoded<Vec<u32>> {
    let damage = || Damage::at(8, format!("run lengths do not add up to {count}"));
    let mut ends = Vec::with_capacity(run_count);
    let mut end = 0_u32;
    let mut unpacked = [0_i64; GROUP];
    for group in 0..run_count.div_ceil(GROUP) {
        lengths.unpack(group, &mut unpacked)?;
        for length in unpacked.iter().take(run_count - group * GROUP) {
            let length = u32::try_from(*length).ok().filter(|length| *length > 0);
            let next = length.and_then(|length| end.checked_add(length));
            end = next.filter(|next| *next as usize <= count).ok_or_else(damage)?;
            ends.push(end);
        }
    }
    if end as usize == count { Ok(ends) } else { Err(damage()) }
}

#[cfg(test)]
mod tests;
