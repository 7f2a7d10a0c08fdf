//! Rows by an index.
//!
//! Where the static filters pin the leading columns of an index to a few values, or narrow the one after them to a range,
//! the rows are looked up while the scan is planned: the snapshot is fixed by then, and what is found tells the planner how
//! many rows there will be. The look-up gives up beyond [`MAX_ROWS`] rows; then the table is scanned.
//!
//! What an index finds is only a superset: the scan evaluates all its filters on those rows. So bounds need not be
//! exact, and are made inclusive.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use datafusion::error::Result;
use datafusion::logical_expr::Operator;
use datafusion::physical_expr::expressions::{BinaryExpr, Column, InListExpr, Literal};
use datafusion::physical_expr::{PhysicalExpr, split_conjunction};
use strata_core::catalog::IndexDef;
use strata_core::ids::{ColumnId, RowId};
use strata_core::row::{ColumnType, Datum, encode_key, prefix_successor};

use super::source::ScanSource;
use crate::scalar::{engine_error, scalar_to_datum};

/// More rows than this are not looked up one by one.
const MAX_ROWS: usize = 2048;
/// More keys than this are not either, except in a unique index.
const MAX_KEYS: usize = 1024;
/// A table of so many times the rows found is rather scanned than looked up in.
const SCAN_FACTOR: u64 = 4;
/// Keys of a unique index: an IN list of this length.
const MAX_UNIQUE_KEYS: usize = 10_000;

/// Rows found through an index.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    /// The index's name.
    pub(crate) index: String,
    /// The rows, ascending; all rows that pass the filters are among them.
    pub(crate) rows: Arc<[RowId]>,
}

/// What filters say of one column.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Limits {
    /// It is one of these; without NULL.
    points: Option<Vec<Datum>>,
    /// It is not less.
    lower: Option<Datum>,
    /// It is not greater.
    upper: Option<Datum>,
}

/// Looks the rows up, if an index can tell them.
pub(crate) fn find(source: &ScanSource, filters: &[Arc<dyn PhysicalExpr>]) -> Result<Option<Found>> {
    // The index entries of a bulk load become part of the tree when it commits.
    if filters.is_empty() || source.segments.iter().any(|segment| segment.row_id(0).is_provisional()) {
        return Ok(None);
    }
    let limits = limits_of(source, filters);
    if limits.values().any(|limits| limits.points.as_ref().is_some_and(Vec::is_empty)) {
        return Ok(Some(Found { index: "none".to_owned(), rows: Arc::new([]) }));
    }
    // Nor does an index that the transaction has made itself.
    let indexes = source.table.def().indexes.iter().filter(|index| source.table.index_is_whole(index.id));
    let mut candidates: Vec<_> = indexes.filter_map(|index| Candidate::new(source, index, &limits)).collect();
    candidates.sort_by_key(|candidate| candidate.rank);
    for candidate in candidates.iter().take(2) {
        if let Some(rows) = candidate.look_up(source)? {
            return Ok(Some(Found { index: candidate.index.name.clone(), rows: rows.into() }));
        }
    }
    Ok(None)
}

/// What the filters say of each column.
fn limits_of(source: &ScanSource, filters: &[Arc<dyn PhysicalExpr>]) -> BTreeMap<ColumnId, Limits> {
    let mut limits: BTreeMap<ColumnId, Limits> = BTreeMap::new();
    for condition in filters.iter().flat_map(|filter| split_conjunction(filter)) {
        let Some(place) = column_of(condition) else { continue };
        let Some(column) = source.column(place) else { continue };
        let Some(found) = read_condition(condition, &column.column_type) else { continue };
        limits.entry(column.id).or_default().narrow(found);
    }
    limits
}

/// The only column that a condition compares, if it has a form that is understood.
fn column_of(condition: &Arc<dyn PhysicalExpr>) -> Option<usize> {
    if let Some(column) = condition.downcast_ref::<Column>() {
        return Some(column.index());
    }
    if let Some(list) = condition.downcast_ref::<InListExpr>() {
        return column_of(list.expr());
    }
    let binary = condition.downcast_ref::<BinaryExpr>()?;
    match (column_of(binary.left()), column_of(binary.right())) {
        (Some(left), Some(right)) => (left == right).then_some(left),
        (left, right) => left.or(right),
    }
}

/// What a condition on one column of this type says of it.
fn read_condition(condition: &Arc<dyn PhysicalExpr>, column_type: &ColumnType) -> Option<Limits> {
    // Intervals and arrays are not compared as keys are.
    if matches!(column_type, ColumnType::Interval | ColumnType::Array(_)) {
        return None;
    }
    if let Some(list) = condition.downcast_ref::<InListExpr>() {
        list.expr().downcast_ref::<Column>()?;
        if list.negated() {
            return None;
        }
        let values = list.list().iter().map(|value| literal(value, column_type));
        return Some(Limits::among(values.collect::<Option<_>>()?));
    }
    let binary = condition.downcast_ref::<BinaryExpr>()?;
    if *binary.op() == Operator::Or {
        let (left, right) =
            (read_condition(binary.left(), column_type)?, read_condition(binary.right(), column_type)?);
        let points = left.points?.into_iter().chain(right.points?);
        return Some(Limits::among(points.collect()));
    }
    let is_column = |side: &Arc<dyn PhysicalExpr>| side.downcast_ref::<Column>().is_some();
    let (op, value) = if is_column(binary.left()) {
        (*binary.op(), literal(binary.right(), column_type)?)
    } else if is_column(binary.right()) {
        (binary.op().swap()?, literal(binary.left(), column_type)?)
    } else {
        return None;
    };
    let is_float = matches!(column_type, ColumnType::Float32 | ColumnType::Float64);
    match op {
        Operator::Eq => Some(Limits::among(vec![value])),
        // A comparison with NULL is true for none.
        Operator::Lt | Operator::LtEq | Operator::Gt | Operator::GtEq if value.is_null() => {
            Some(Limits::among(Vec::new()))
        }
        // DataFusion has negative NaNs below everything, keys have all NaNs above.
        Operator::Lt | Operator::LtEq if !is_float => {
            Some(Limits { upper: Some(value), ..Limits::default() })
        }
        Operator::Gt | Operator::GtEq if !is_float => {
            Some(Limits { lower: Some(value), ..Limits::default() })
        }
        _ => None,
    }
}

fn literal(expr: &Arc<dyn PhysicalExpr>, column_type: &ColumnType) -> Option<Datum> {
    scalar_to_datum(expr.downcast_ref::<Literal>()?.value(), column_type)
}

impl Limits {
    /// One of these values; NULL equals none.
    fn among(mut values: Vec<Datum>) -> Self {
        values.retain(|value| !value.is_null());
        values.sort_by(strata_core::row::compare);
        values.dedup();
        Self { points: Some(values), ..Self::default() }
    }

    /// Both this and the other hold. Of bounds on the same side one is kept: the rest is up to the filter.
    fn narrow(&mut self, other: Self) {
        let greater = |value: &Datum, than: &Datum| strata_core::row::compare(value, than).is_gt();
        match (&self.points, other.points) {
            (Some(mine), Some(points)) if points.len() >= mine.len() => {}
            (_, None) => {}
            (_, points) => self.points = points,
        }
        self.lower = match (self.lower.take(), other.lower) {
            (Some(mine), Some(value)) => Some(if greater(&value, &mine) { value } else { mine }),
            (mine, value) => mine.or(value),
        };
        self.upper = match (self.upper.take(), other.upper) {
            (Some(mine), Some(value)) => Some(if greater(&mine, &value) { value } else { mine }),
            (mine, value) => mine.or(value),
        };
    }
}

/// An index that could tell the rows.
struct Candidate<'a> {
    index: &'a IndexDef,
    /// Keys, or what keys begin with.
    prefixes: Vec<Vec<u8>>,
    /// Whether the prefixes are whole keys.
    is_whole: bool,
    /// Bounds of the column after the prefix, as key bytes, in the order of the index.
    lower: Option<Vec<u8>>,
    upper: Option<Vec<u8>>,
    /// Lower is better.
    rank: (bool, usize),
}

impl<'a> Candidate<'a> {
    fn new(source: &ScanSource, index: &'a IndexDef, limits: &BTreeMap<ColumnId, Limits>) -> Option<Self> {
        let mut prefixes: Vec<Vec<u8>> = vec![Vec::new()];
        let (mut pinned, mut lower, mut upper) = (0, None, None);
        for part in &index.columns {
            let Some(limits) = limits.get(&part.column) else { break };
            let column_type = &source.stored().column(part.column)?.column_type;
            let encode = |value: &Datum| {
                let mut key = Vec::new();
                encode_key(&mut key, value, column_type, part.order).ok().map(|()| key)
            };
            if let Some(points) = &limits.points {
                if prefixes.len().saturating_mul(points.len()) > MAX_UNIQUE_KEYS {
                    break;
                }
                let points: Vec<Vec<u8>> = points.iter().map(encode).collect::<Option<_>>()?;
                let extended = prefixes
                    .iter()
                    .flat_map(|prefix| points.iter().map(|point| [&prefix[..], point].concat()));
                prefixes = extended.collect();
                pinned += 1;
                continue;
            }
            let bound = |value: &Option<Datum>| value.as_ref().map(encode);
            (lower, upper) = (bound(&limits.lower), bound(&limits.upper));
            if part.order.descending {
                std::mem::swap(&mut lower, &mut upper);
            }
            break;
        }
        // A bound that cannot be encoded would leave the range open.
        let (lower, upper) =
            (lower.map_or(Some(None), |key| key.map(Some))?, upper.map_or(Some(None), |key| key.map(Some))?);
        let is_whole = pinned == index.columns.len();
        let is_narrow = pinned > 0 || lower.is_some() || upper.is_some();
        let is_unique = is_whole && index.unique;
        if !is_narrow || (!is_unique && prefixes.len() > MAX_KEYS) {
            return None;
        }
        let sides = usize::from(lower.is_some()) + usize::from(upper.is_some());
        let rank = (!is_unique, usize::MAX - (pinned * 4 + sides));
        prefixes.sort_unstable();
        Some(Self { index, prefixes, is_whole, lower, upper, rank })
    }

    /// The rows, ascending; `None` where they are too many.
    fn look_up(&self, source: &ScanSource) -> Result<Option<Vec<RowId>>> {
        let table = &source.table;
        let mut rows = Vec::new();
        let is_unique = self.is_whole && self.index.unique;
        let share = usize::try_from(table.row_count() / SCAN_FACTOR).unwrap_or(usize::MAX);
        let limit = if is_unique { usize::MAX } else { MAX_ROWS.min(share.max(64)) };
        for prefix in &self.prefixes {
            if is_unique {
                rows.extend(table.first(self.index.id, prefix).map_err(engine_error)?);
                continue;
            }
            let (lower, upper) = self.range_of(prefix);
            for row in table.range(self.index.id, lower, upper, false).map_err(engine_error)? {
                rows.push(row.map_err(engine_error)?);
                if rows.len() > limit {
                    return Ok(None);
                }
            }
        }
        rows.sort_unstable();
        rows.dedup();
        Ok(Some(rows))
    }

    /// All keys with this prefix whose next column is within the bounds.
    fn range_of(&self, prefix: &[u8]) -> (Bound<Vec<u8>>, Bound<Vec<u8>>) {
        let with = |part: &Option<Vec<u8>>| [prefix, part.as_deref().unwrap_or_default()].concat();
        let upper = prefix_successor(&with(&self.upper)).map_or(Bound::Unbounded, Bound::Excluded);
        (Bound::Included(with(&self.lower)), upper)
    }
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::datatypes::{DataType, Field, Schema};
    use datafusion::physical_expr::expressions::{binary, col, in_list, lit};

    use super::*;

    fn schema() -> Schema {
        Schema::new(vec![Field::new("a", DataType::Int32, true), Field::new("b", DataType::Int32, true)])
    }

    fn compare(
        left: Arc<dyn PhysicalExpr>,
        op: Operator,
        right: Arc<dyn PhysicalExpr>,
    ) -> Arc<dyn PhysicalExpr> {
        binary(left, op, right, &schema()).unwrap()
    }

    fn a() -> Arc<dyn PhysicalExpr> {
        col("a", &schema()).unwrap()
    }

    fn read(condition: &Arc<dyn PhysicalExpr>) -> Option<Limits> {
        column_of(condition).and_then(|_| read_condition(condition, &ColumnType::Int32))
    }

    #[test]
    fn conditions_become_limits() {
        let points =
            |values: &[i32]| Limits::among(values.iter().map(|value| Datum::Int32(*value)).collect());
        assert_eq!(read(&compare(a(), Operator::Eq, lit(5))), Some(points(&[5])));
        let either =
            compare(compare(lit(7), Operator::Eq, a()), Operator::Or, compare(a(), Operator::Eq, lit(5)));
        assert_eq!(read(&either), Some(points(&[5, 7])));
        let list = in_list(a(), vec![lit(3), lit(1), lit(3)], &false, &schema()).unwrap();
        assert_eq!(read(&list), Some(points(&[1, 3])));
        let not_in = in_list(a(), vec![lit(3)], &true, &schema()).unwrap();
        assert_eq!(read(&not_in), None);
        let above = Limits { lower: Some(Datum::Int32(5)), ..Limits::default() };
        assert_eq!(read(&compare(lit(5), Operator::Lt, a())), Some(above.clone()));
        assert_eq!(read(&compare(a(), Operator::GtEq, lit(5))), Some(above));
        assert_eq!(read(&compare(a(), Operator::NotEq, lit(5))), None);
        let other = compare(a(), Operator::Eq, col("b", &schema()).unwrap());
        assert_eq!(read(&other), None);
        let mixed =
            compare(compare(a(), Operator::Eq, lit(1)), Operator::Or, compare(a(), Operator::Gt, lit(5)));
        assert_eq!(read(&mixed), None);
    }

    #[test]
    fn limits_of_one_column_narrow_each_other() {
        let mut limits = Limits { lower: Some(Datum::Int32(1)), ..Limits::default() };
        limits.narrow(Limits { lower: Some(Datum::Int32(4)), upper: Some(Datum::Int32(9)), points: None });
        limits.narrow(Limits { upper: Some(Datum::Int32(20)), ..Limits::default() });
        assert_eq!((&limits.lower, &limits.upper), (&Some(Datum::Int32(4)), &Some(Datum::Int32(9))));
        limits.narrow(Limits::among(vec![Datum::Int32(1), Datum::Int32(2)]));
        limits.narrow(Limits::among(vec![Datum::Int32(2)]));
        limits.narrow(Limits::among(vec![Datum::Int32(2), Datum::Int32(3)]));
        assert_eq!(limits.points, Some(vec![Datum::Int32(2)]));
    }
}
