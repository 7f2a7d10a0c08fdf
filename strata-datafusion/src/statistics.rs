//! What the planner is told of a scan.
//!
//! `Exact` is a promise that optimizer rules turn into answers (`count(*)`, `min`, `max`), so it is given only where
//! nothing comes between the table and the reader:
//!
//! | | exact where |
//! |---|---|
//! | row count | no filter, no fetch |
//! | NULL counts, bounds | also: all segments frozen whole, no marks, no own writes; bounds not cut short |
//! | distinct counts, bytes | never |
//!
//! Floats' bounds are never exact: Arrow and the engine order -0 and NaN differently.

use std::sync::Arc;

use datafusion::common::stats::Precision;
use datafusion::common::{ColumnStatistics, Statistics};
use datafusion::error::Result;
use strata_core::heap::Image;
use strata_core::heap::column::ColumnBlock;
use strata_core::row::{Column, ColumnType, Datum, DistinctSketch, compare};

use crate::scalar::{datum_to_scalar, engine_error};
use crate::scan::ScanSource;

/// What comes between the table and the reader of a scan.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reduced {
    /// The share of rows that the filters keep; `None` without filters.
    pub(crate) selectivity: Option<f64>,
    /// The rows that an index found.
    pub(crate) found: Option<usize>,
    /// The fetch.
    pub(crate) fetch: Option<usize>,
}

/// The statistics of these columns, given by their places in the provider's schema.
pub(crate) fn statistics(source: &ScanSource, projection: &[usize], reduced: Reduced) -> Result<Statistics> {
    let all = usize::try_from(source.table.row_count()).unwrap_or(usize::MAX);
    let rows = estimate_rows(all, reduced);
    let is_reduced = reduced.selectivity.is_some() || reduced.fetch.is_some() || reduced.found.is_some();
    let num_rows = if is_reduced { Precision::Inexact(rows) } else { Precision::Exact(rows) };
    let blocks = frozen_blocks(source)?;
    let is_whole = !is_reduced && is_undisturbed(source);
    let column_statistics = projection.iter().map(|place| {
        let bytes = Precision::Inexact(rows.saturating_mul(source.value_bytes(*place)));
        let Some(column) = source.column(*place) else {
            return Ok(ColumnStatistics::new_unknown().with_byte_size(bytes));
        };
        let known = Summary::of(column, &blocks)?.into_statistics(column, rows, is_whole)?;
        Ok(known.with_byte_size(bytes))
    });
    let column_statistics: Vec<ColumnStatistics> = column_statistics.collect::<Result<_>>()?;
    let row_bytes: usize = projection.iter().map(|place| source.value_bytes(*place)).sum();
    let total_byte_size = Precision::Inexact(rows.saturating_mul(row_bytes));
    Ok(Statistics { num_rows, total_byte_size, column_statistics })
}

fn estimate_rows(all: usize, reduced: Reduced) -> usize {
    let candidates = reduced.found.unwrap_or(all);
    let kept = match reduced.selectivity {
        // What an index found was found by the filters' own values.
        Some(_) if reduced.found.is_some() => candidates,
        // Exact enough for an estimate; at least one row, so that no join is thought empty.
        Some(share) => ((all as f64 * share).round() as usize).clamp(all.min(1), all),
        None => candidates,
    };
    kept.min(reduced.fetch.unwrap_or(usize::MAX))
}

/// The column blocks of the frozen segments.
fn frozen_blocks(source: &ScanSource) -> Result<Vec<Arc<ColumnBlock>>> {
    source.segments.iter().filter_map(|segment| source.block(segment).transpose()).collect()
}

/// Whether the frozen segments hold what the statement sees, no more and no less.
fn is_undisturbed(source: &ScanSource) -> bool {
    let is_whole = |segment: &strata_core::heap::SegmentView| {
        let Image::Column(image) = segment.image() else { return false };
        image.rows() == image.slots() && segment.slots() == image.slots() && segment.has_no_marks()
    };
    !source.has_own_writes() && source.segments.iter().all(is_whole)
}

/// What the frozen segments say of a column.
struct Summary {
    min: Datum,
    max: Datum,
    /// Whether all blocks have the column, and whether its bounds are values of it.
    is_complete: bool,
    is_exact: bool,
    null_count: usize,
    rows: usize,
    sketch: DistinctSketch,
}

impl Summary {
    fn of(column: &Column, blocks: &[Arc<ColumnBlock>]) -> Result<Self> {
        let mut summary = Self {
            min: Datum::Null,
            max: Datum::Null,
            is_complete: true,
            is_exact: true,
            null_count: 0,
            rows: 0,
            sketch: DistinctSketch::new(),
        };
        for block in blocks {
            let Some(meta) = block.column(column.id) else {
                // Older than the column: nothing is known beyond its missing value.
                summary.is_complete = false;
                continue;
            };
            let bounds = &meta.bounds;
            let rows = block.rows() as usize;
            let only_nulls = meta.null_count as usize == rows;
            summary.rows += rows;
            summary.null_count += meta.null_count as usize;
            summary.is_exact &= only_nulls || (bounds.min_exact && bounds.max_exact);
            if let Some(sketch) = block.sketch(column.id).map_err(engine_error)? {
                summary.sketch.merge(&sketch);
            }
            if only_nulls {
                continue;
            }
            if summary.min.is_null() || compare(&bounds.min, &summary.min).is_lt() {
                summary.min = bounds.min.clone();
            }
            if summary.max.is_null() || compare(&bounds.max, &summary.max).is_gt() {
                summary.max = bounds.max.clone();
            }
        }
        Ok(summary)
    }

    fn into_statistics(self, column: &Column, rows: usize, is_whole: bool) -> Result<ColumnStatistics> {
        let mut statistics = ColumnStatistics::new_unknown();
        if self.rows == 0 {
            return Ok(statistics);
        }
        let is_ordered_alike = !matches!(
            column.column_type,
            ColumnType::Float32 | ColumnType::Float64 | ColumnType::Interval | ColumnType::Array(_)
        );
        let bound = |value: &Datum| -> Result<Precision<_>> {
            if value.is_null() || matches!(column.column_type, ColumnType::Interval | ColumnType::Array(_)) {
                return Ok(Precision::Absent);
            }
            let scalar = datum_to_scalar(value, &column.column_type)?;
            let is_exact = is_whole && self.is_complete && self.is_exact && is_ordered_alike;
            Ok(if is_exact { Precision::Exact(scalar) } else { Precision::Inexact(scalar) })
        };
        statistics.min_value = bound(&self.min)?;
        statistics.max_value = bound(&self.max)?;
        statistics.null_count = if is_whole && self.is_complete {
            Precision::Exact(self.null_count)
        } else {
            let share = self.null_count as f64 / self.rows as f64;
            Precision::Inexact((share * rows as f64).round() as usize)
        };
        let distinct = usize::try_from(self.sketch.estimate()).unwrap_or(usize::MAX);
        statistics.distinct_count = Precision::Inexact(distinct.min(rows));
        Ok(statistics)
    }
}
