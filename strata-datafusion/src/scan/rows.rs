//! From a selection of rows to those that pass all conditions, with as few values read as can be.
//!
//! Conditions are evaluated one after the other, cheap ones first. While most rows pass, the *base*, the rows that
//! columns are read for, stays as it is and a mask remembers who has passed: decoding a run of values is cheaper than
//! picking nearly all of them. Once fewer than half are left, or a condition could fail on rows already ruled out, the
//! base shrinks to the rows of the mask, and further columns are read for these only.
//!
//! In a frozen segment a comparison of a column with a literal is made on the encoded values where the encoding allows,
//! and the column is not decoded for it.

use std::ops::Range;
use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, BooleanArray};
use datafusion::arrow::compute::{and, filter};
use datafusion::error::{DataFusionError, Result};
use strata_core::heap::SegmentView;
use strata_core::heap::column::{ColumnBlock, Selection};

use super::filters::Conjunct;
use super::source::{Live, Place, ScanSource, to_mask};
use crate::scalar::engine_error;

/// Some rows, and what has been read of them.
pub(crate) struct Rows<'a> {
    source: &'a ScanSource,
    place: Place<'a>,
    base: Selection,
    mask: Option<BooleanArray>,
    /// The block of the rows' segment and the slots that the base was taken from.
    encoded: Option<(Arc<ColumnBlock>, Range<u32>)>,
    /// By place in the provider's schema; for the rows of the base.
    arrays: Vec<Option<ArrayRef>>,
    /// Bytes of Arrow buffers read.
    bytes_read: usize,
}

impl<'a> Rows<'a> {
    /// Rows one by one.
    pub(crate) fn listed(source: &'a ScanSource, place: Place<'a>, base: Selection) -> Self {
        let arrays = vec![None; source.columns.len()];
        Self { source, place, base, mask: None, encoded: None, arrays, bytes_read: 0 }
    }

    /// The live rows of a range of a segment's slots.
    pub(crate) fn of_range(
        source: &'a ScanSource,
        segment: &'a SegmentView,
        range: Range<u32>,
    ) -> Result<Self> {
        let range = range.start..range.end.min(segment.slots());
        let Live { selection, mask } = source.live(segment, range.clone())?;
        let mut rows = Self::listed(source, Place::Segment(segment), selection);
        rows.encoded = source.block(segment)?.map(|block| (block, range));
        rows.mask = mask;
        Ok(rows)
    }

    /// How many rows are left.
    pub(crate) fn count(&self) -> usize {
        self.mask.as_ref().map_or(self.base.len(), BooleanArray::true_count)
    }

    /// Keeps the rows that pass. `needed` tells which columns are of use afterwards.
    pub(crate) fn apply(&mut self, conjunct: &Conjunct, needed: impl Fn(usize) -> bool) -> Result<()> {
        if self.mask.is_some() && !conjunct.is_safe() {
            self.shrink(|column| conjunct.columns().contains(&column) || needed(column))?;
        }
        let passed = match self.compare_encoded(conjunct)? {
            Some(passed) => passed,
            None => {
                let arrays = self.load(conjunct.columns())?;
                conjunct.evaluate(arrays, self.base.len())?
            }
        };
        self.arrays
            .iter_mut()
            .enumerate()
            .filter(|(column, _)| !needed(*column))
            .for_each(|(_, array)| *array = None);
        let passed_all = passed.true_count() == passed.len();
        if passed_all {
            return Ok(());
        }
        let mask = match self.mask.take() {
            Some(before) => and(&before, &passed)?,
            None => passed,
        };
        let left = mask.true_count();
        self.mask = Some(mask);
        if left * 2 < self.base.len() {
            self.shrink(needed)?;
        }
        Ok(())
    }

    /// Which rows of the base pass, if that can be told from the encoded values. Not tried where few rows are left, or
    /// the column has been decoded.
    fn compare_encoded(&self, conjunct: &Conjunct) -> Result<Option<BooleanArray>> {
        let (Some(comparison), Some((block, range))) = (conjunct.comparison(), &self.encoded) else {
            return Ok(None);
        };
        let is_decoded = self.arrays.get(comparison.column).is_some_and(Option::is_some);
        if is_decoded || self.base.len() * 4 < range.len() {
            return Ok(None);
        }
        let Some(column) = self.source.column(comparison.column) else { return Ok(None) };
        let words = block.filter(column, comparison.operator, &comparison.literal, range.clone());
        let Some(words) = words.map_err(engine_error)? else { return Ok(None) };
        Ok(Some(match &self.base {
            Selection::Range(_) => to_mask(words, range.len()),
            Selection::Slots(slots) => {
                let passes = |slot: &u32| {
                    let place = slot.saturating_sub(range.start);
                    words.get(place as usize / 64).is_some_and(|word| word >> (place % 64) & 1 == 1)
                };
                slots.iter().map(|slot| Some(passes(slot))).collect()
            }
        }))
    }

    /// The values of columns for the rows that are left, and the bytes read.
    pub(crate) fn finish(mut self, columns: &[usize]) -> Result<(Vec<ArrayRef>, usize)> {
        let arrays = self.load(columns)?;
        let arrays = match &self.mask {
            None => arrays,
            Some(mask) => arrays.iter().map(|array| filter(array, mask)).collect::<Result<_, _>>()?,
        };
        Ok((arrays, self.bytes_read))
    }

    fn load(&mut self, columns: &[usize]) -> Result<Vec<ArrayRef>> {
        let mut missing: Vec<usize> = columns
            .iter()
            .copied()
            .filter(|column| self.arrays.get(*column).is_some_and(Option::is_none))
            .collect();
        missing.sort_unstable();
        missing.dedup();
        if !missing.is_empty() {
            let read = self.source.read(self.place, &missing, &self.base)?;
            for (column, array) in missing.into_iter().zip(read) {
                self.bytes_read += array.get_buffer_memory_size();
                self.arrays[column] = Some(array);
            }
        }
        let loaded = columns.iter().map(|column| self.arrays.get(*column).cloned().flatten());
        loaded
            .collect::<Option<_>>()
            .ok_or_else(|| DataFusionError::Internal("a scan reads a column that the table lacks".into()))
    }

    /// Makes the base the rows that are left.
    fn shrink(&mut self, needed: impl Fn(usize) -> bool) -> Result<()> {
        let Some(mask) = self.mask.take() else { return Ok(()) };
        for (column, array) in self.arrays.iter_mut().enumerate() {
            let Some(values) = array.take() else { continue };
            if needed(column) {
                *array = Some(filter(&values, &mask)?);
            }
        }
        let places = mask.values().set_indices();
        self.base = Selection::Slots(match &self.base {
            Selection::Range(range) => places.map(|place| range.start + place as u32).collect(),
            Selection::Slots(slots) => places.filter_map(|place| slots.get(place).copied()).collect(),
        });
        Ok(())
    }
}
