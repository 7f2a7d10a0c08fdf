//! How many rows the filters keep: they are run on a sample of the table.
//!
//! The sample is some groups of 1,024 rows, spread evenly. It costs a few pages of the filters' columns, and knows
//! what bounds cannot: correlations, text, skew. Conditions that cannot be evaluated while planning (a scalar subquery) count
//! with DataFusion's default for an unknown condition, a fifth.

use datafusion::error::Result;

use super::filters::Conjunct;
use super::rows::Rows;
use super::source::{GROUP_ROWS, ScanSource};

/// Groups of the sample.
const SAMPLE_GROUPS: usize = 8;
/// What an unknown condition keeps.
const DEFAULT_SELECTIVITY: f64 = 0.2;

/// The share of rows that pass all conditions; never 0.
pub(crate) fn selectivity(source: &ScanSource, conjuncts: &[Conjunct]) -> Result<f64> {
    if conjuncts.is_empty() {
        return Ok(1.0);
    }
    let groups: Vec<(usize, u32)> = source
        .segments
        .iter()
        .enumerate()
        .flat_map(|(place, segment)| {
            (0..segment.slots().div_ceil(GROUP_ROWS)).map(move |group| (place, group))
        })
        .collect();
    let step = groups.len().div_ceil(SAMPLE_GROUPS).max(1);
    let mut known: Vec<bool> = vec![true; conjuncts.len()];
    let (mut seen, mut passed) = (0_usize, 0_usize);
    // From the middle of each stretch: the first groups of a table are seldom typical.
    for (segment, group) in groups.iter().skip(step / 2).step_by(step) {
        let Some(segment) = source.segments.get(*segment) else { continue };
        let range = group * GROUP_ROWS..(group + 1) * GROUP_ROWS;
        let mut rows = Rows::of_range(source, segment, range)?;
        seen += rows.count();
        for (conjunct, known) in conjuncts.iter().zip(&mut known) {
            if rows.count() == 0 {
                break;
            }
            // One that fails here may still be evaluated when the scan runs, or fail there.
            *known = *known && rows.apply(conjunct, |_| true).is_ok();
        }
        passed += rows.count();
    }
    if seen == 0 {
        return Ok(1.0);
    }
    // None of the sample: about a third of a row of it.
    let share = (passed as f64).max(0.3) / seen as f64;
    let unknown = known.iter().filter(|known| !**known).count();
    Ok(share * DEFAULT_SELECTIVITY.powi(i32::try_from(unknown).unwrap_or(i32::MAX)))
}
