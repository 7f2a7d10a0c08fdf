//! Zone maps against filters: which groups of rows can hold none that passes.
//!
//! A [`Pruner`] is made of one filter, as it stands at that moment (dynamic filters change). It is shown the bounds of
//! some groups of rows, [`Zones`], and tells which of them to read. The bounds may be those of more rows than are
//! live, since a subset's are within them.
//!
//! The evaluation is DataFusion's, whose order of values differs from the engine's in places: there -0 < 0, a negative NaN is
//! below all else, and intervals are not compared by length. [`ZoneColumn`] widens or drops bounds accordingly.
//!
//! The filter of a partitioned hash join is `CASE hash(key) % n WHEN 0 THEN … END`, of which nothing can be said by
//! bounds. [`unite_branches`] makes it the disjunction of its branches, which lets through all that the CASE does.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, BooleanArray, UInt64Array};
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::common::pruning::PruningStatistics;
use datafusion::common::{Column, ScalarValue};
use datafusion::error::Result;
use datafusion::logical_expr::Operator;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::{BinaryExpr, CaseExpr, Literal, lit};
use datafusion::physical_expr::utils::collect_columns;
use datafusion::physical_expr_common::physical_expr::snapshot_physical_expr;
use datafusion::physical_optimizer::pruning::{PruningPredicate, PruningPredicateBuilder};
use strata_core::row::{ColumnBuilder, ColumnType, Datum};

use crate::scalar::engine_error;

/// IN lists up to this length are compared value by value with the bounds.
const MAX_IN_LIST: usize = 64;

/// One filter, made ready to be evaluated on bounds.
#[derive(Clone, Debug)]
pub(crate) struct Pruner {
    predicate: PruningPredicate,
    columns: Vec<usize>,
}

impl Pruner {
    /// A pruner of this filter as it stands now; `None` where bounds can say nothing about it.
    pub(crate) fn new(filter: &Arc<dyn PhysicalExpr>, schema: &SchemaRef) -> Option<Self> {
        let filter = unite_branches(&snapshot_physical_expr(Arc::clone(filter)).ok()?);
        let mut columns: Vec<usize> = collect_columns(&filter).iter().map(|column| column.index()).collect();
        columns.sort_unstable();
        let predicate = PruningPredicateBuilder::new()
            .with_file_schema(Arc::clone(schema))
            .with_max_in_list_size(MAX_IN_LIST)
            .try_build(filter)
            .ok()?;
        (!predicate.always_true()).then_some(Self { predicate, columns })
    }

    /// The columns whose bounds it looks at, by their places in the schema, ascending.
    pub(crate) fn columns(&self) -> &[usize] {
        &self.columns
    }

    /// For each group, whether it may hold a row that passes.
    pub(crate) fn keep(&self, zones: &Zones) -> Result<Vec<bool>> {
        self.predicate.prune(zones)
    }

    /// The condition on bounds, for EXPLAIN.
    pub(crate) fn describe(&self) -> String {
        self.predicate.predicate_expr().to_string()
    }
}

/// The bounds of groups of rows.
#[derive(Debug)]
pub(crate) struct Zones {
    rows: ArrayRef,
    columns: HashMap<String, ZoneColumn>,
}

/// The bounds of one column.
#[derive(Debug)]
pub(crate) struct ZoneColumn {
    min: ArrayRef,
    max: ArrayRef,
    null_counts: ArrayRef,
}

impl Zones {
    /// Groups of so many rows each, of which nothing else is known yet.
    pub(crate) fn new(rows: impl IntoIterator<Item = u64>) -> Self {
        Self { rows: Arc::new(UInt64Array::from_iter_values(rows)), columns: HashMap::new() }
    }

    /// Adds what is known of a column.
    pub(crate) fn insert(&mut self, name: &str, column: ZoneColumn) {
        self.columns.insert(name.to_owned(), column);
    }
}

impl ZoneColumn {
    /// The bounds and NULLs of each group; NULL bounds where nothing is known, or there is no value.
    pub(crate) fn new<'a>(
        column_type: &ColumnType,
        groups: impl IntoIterator<Item = (&'a Datum, &'a Datum, Option<u64>)>,
    ) -> Result<Self> {
        let mut min = ColumnBuilder::new(column_type, 64);
        let mut max = ColumnBuilder::new(column_type, 64);
        let mut null_counts = Vec::new();
        for (least, greatest, nulls) in groups {
            let (least, greatest) = widen(least, greatest);
            min.push_datum(&least).map_err(engine_error)?;
            max.push_datum(&greatest).map_err(engine_error)?;
            null_counts.push(nulls);
        }
        let null_counts = Arc::new(UInt64Array::from(null_counts));
        Ok(Self { min: min.finish(), max: max.finish(), null_counts })
    }
}

/// Bounds that hold in DataFusion's order too.
fn widen(min: &Datum, max: &Datum) -> (Datum, Datum) {
    match (min, max) {
        (Datum::Interval { .. } | Datum::Array(_), _) => (Datum::Null, Datum::Null),
        // A NaN may be a negative one, below everything.
        (Datum::Float64(_), Datum::Float64(max)) if max.is_nan() => (Datum::Null, Datum::Float64(f64::NAN)),
        (Datum::Float32(_), Datum::Float32(max)) if max.is_nan() => (Datum::Null, Datum::Float32(f32::NAN)),
        (Datum::Float64(min), Datum::Float64(max)) => {
            let min = if *min == 0.0 { -0.0 } else { *min };
            (Datum::Float64(min), Datum::Float64(if *max == 0.0 { 0.0 } else { *max }))
        }
        (Datum::Float32(min), Datum::Float32(max)) => {
            let min = if *min == 0.0 { -0.0 } else { *min };
            (Datum::Float32(min), Datum::Float32(if *max == 0.0 { 0.0 } else { *max }))
        }
        (min, max) => (min.clone(), max.clone()),
    }
}

impl PruningStatistics for Zones {
    fn min_values(&self, column: &Column) -> Option<ArrayRef> {
        self.columns.get(column.name()).map(|column| Arc::clone(&column.min))
    }

    fn max_values(&self, column: &Column) -> Option<ArrayRef> {
        self.columns.get(column.name()).map(|column| Arc::clone(&column.max))
    }

    fn num_containers(&self) -> usize {
        self.rows.len()
    }

    fn null_counts(&self, column: &Column) -> Option<ArrayRef> {
        self.columns.get(column.name()).map(|column| Arc::clone(&column.null_counts))
    }

    fn row_counts(&self) -> Option<ArrayRef> {
        Some(Arc::clone(&self.rows))
    }

    fn contained(&self, _column: &Column, _values: &HashSet<ScalarValue>) -> Option<BooleanArray> {
        None
    }
}

/// Makes each CASE of the filter's conjunctions and disjunctions the disjunction of its branches. The result is
/// true wherever the filter is.
pub(crate) fn unite_branches(filter: &Arc<dyn PhysicalExpr>) -> Arc<dyn PhysicalExpr> {
    if let Some(binary) = filter.downcast_ref::<BinaryExpr>()
        && matches!(binary.op(), Operator::And | Operator::Or)
    {
        let (left, right) = (unite_branches(binary.left()), unite_branches(binary.right()));
        return Arc::new(BinaryExpr::new(left, *binary.op(), right));
    }
    let Some(case) = filter.downcast_ref::<CaseExpr>() else { return Arc::clone(filter) };
    let branches = case.when_then_expr().iter().map(|(_, then)| then).chain(case.else_expr());
    let branches = branches.filter(|branch| !is_false(branch)).map(unite_branches);
    branches
        .reduce(|left, right| Arc::new(BinaryExpr::new(left, Operator::Or, right)))
        .unwrap_or_else(|| lit(false))
}

fn is_false(expr: &Arc<dyn PhysicalExpr>) -> bool {
    expr.downcast_ref::<Literal>()
        .is_some_and(|literal| matches!(literal.value(), ScalarValue::Boolean(Some(false) | None)))
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::datatypes::{DataType, Field, Schema};
    use datafusion::physical_expr::expressions::{DynamicFilterPhysicalExpr, binary, col, in_list, is_null};

    use super::*;

    fn schema() -> SchemaRef {
        Arc::new(Schema::new(vec![
            Field::new("a", DataType::Int32, true),
            Field::new("x", DataType::Float64, true),
        ]))
    }

    fn compare(name: &str, op: Operator, value: ScalarValue) -> Arc<dyn PhysicalExpr> {
        binary(col(name, &schema()).unwrap(), op, lit(value), &schema()).unwrap()
    }

    fn int_zones(bounds: &[(i32, i32)]) -> Zones {
        let bounds: Vec<_> =
            bounds.iter().map(|(min, max)| (Datum::Int32(*min), Datum::Int32(*max))).collect();
        let mut zones = Zones::new(bounds.iter().map(|_| 10));
        let groups = bounds.iter().map(|(min, max)| (min, max, Some(0)));
        zones.insert("a", ZoneColumn::new(&ColumnType::Int32, groups).unwrap());
        zones
    }

    fn keep(filter: &Arc<dyn PhysicalExpr>, zones: &Zones) -> Vec<bool> {
        Pruner::new(filter, &schema()).expect("the filter prunes").keep(zones).unwrap()
    }

    #[test]
    fn only_groups_whose_bounds_meet_the_filter_are_kept() {
        let zones = int_zones(&[(0, 9), (10, 19), (20, 29)]);
        let eleven = ScalarValue::Int32(Some(11));
        assert_eq!(keep(&compare("a", Operator::Eq, eleven.clone()), &zones), [false, true, false]);
        assert_eq!(keep(&compare("a", Operator::Lt, eleven), &zones), [true, true, false]);
        let list: Vec<_> = (0..40).map(|value| lit(value * 25)).collect();
        let list = in_list(col("a", &schema()).unwrap(), list, &false, &schema()).unwrap();
        assert_eq!(keep(&list, &zones), [true, false, true]);
        assert_eq!(keep(&is_null(col("a", &schema()).unwrap()).unwrap(), &zones), [false; 3]);
    }

    #[test]
    fn the_branches_of_a_partitioned_join_filter_are_united() {
        let routing = binary(col("a", &schema()).unwrap(), Operator::Modulo, lit(2), &schema()).unwrap();
        let branch = |low: i32, high: i32| {
            let low = compare("a", Operator::GtEq, ScalarValue::Int32(Some(low)));
            let high = compare("a", Operator::LtEq, ScalarValue::Int32(Some(high)));
            binary(low, Operator::And, high, &schema()).unwrap()
        };
        let branches = vec![(lit(0), branch(12, 14)), (lit(1), branch(33, 35))];
        let case: Arc<dyn PhysicalExpr> =
            Arc::new(CaseExpr::try_new(Some(routing), branches, Some(lit(false))).unwrap());
        let zones = int_zones(&[(0, 9), (10, 19), (20, 29), (30, 39)]);
        assert_eq!(keep(&case, &zones), [false, true, false, true]);

        // As a scan has it: inside of a dynamic filter.
        let dynamic = DynamicFilterPhysicalExpr::new(vec![col("a", &schema()).unwrap()], lit(true));
        let dynamic = Arc::new(dynamic);
        let filter: Arc<dyn PhysicalExpr> = dynamic.clone();
        assert!(Pruner::new(&filter, &schema()).is_none());
        dynamic.update(case).unwrap();
        assert_eq!(keep(&filter, &zones), [false, true, false, true]);
    }

    #[test]
    fn bounds_are_widened_where_arrow_orders_floats_differently() {
        let zero = Datum::Float64(0.0);
        let mut zones = Zones::new([10, 10]);
        let nan = Datum::Float64(f64::NAN);
        let one = Datum::Float64(1.0);
        let groups = [(&zero, &zero, Some(0)), (&one, &nan, Some(0))];
        zones.insert("x", ZoneColumn::new(&ColumnType::Float64, groups).unwrap());
        // The group may hold a -0, and a negative NaN.
        let minus_zero = ScalarValue::Float64(Some(-0.0));
        assert_eq!(keep(&compare("x", Operator::Eq, minus_zero.clone()), &zones), [true, true]);
        assert_eq!(keep(&compare("x", Operator::Lt, minus_zero), &zones), [false, true]);
    }

    #[test]
    fn unknown_bounds_keep_a_group_and_nothing_but_nulls_drops_it() {
        let null = Datum::Null;
        let mut zones = Zones::new([10, 10]);
        let groups = [(&null, &null, None), (&null, &null, Some(10))];
        zones.insert("a", ZoneColumn::new(&ColumnType::Int32, groups).unwrap());
        let filter = compare("a", Operator::Gt, ScalarValue::Int32(Some(5)));
        assert_eq!(keep(&filter, &zones), [true, false]);
    }
}
