//! The filters of a scan: which it takes, and how it evaluates them.
//!
//! All of them are kept in terms of the provider's schema, whatever the scan's projection is. A filter that the scan
//! takes is split into [`Conjunct`]s, each of which is evaluated on a batch of just its own columns.
//!
//! *Static* filters are exact: nobody evaluates them again. *Dynamic* ones (of joins, TopK and aggregates) are hints; whoever
//! made them checks all rows anyway. So the scan may use them for zone maps only, or not at all.

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch, RecordBatchOptions};
use datafusion::arrow::compute::prep_null_mask_filter;
use datafusion::arrow::datatypes::{Schema, SchemaRef};
use datafusion::common::ScalarValue;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion};
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::{ColumnarValue, Operator};
use datafusion::physical_expr::expressions::{
    BinaryExpr, Column, DynamicFilterPhysicalExpr, InListExpr, IsNotNullExpr, IsNullExpr, LikeExpr, Literal,
    NotExpr,
};
use datafusion::physical_expr::utils::collect_columns;
use datafusion::physical_expr::{PhysicalExpr, split_conjunction};
use datafusion::physical_expr_common::physical_expr::is_volatile;
use strata_core::heap::column::Comparison;
use strata_core::row::{ColumnType, Datum};

use crate::scalar::scalar_to_datum;

/// What a filter is to the scan.
pub(crate) enum Offered {
    /// Taken: these conjuncts.
    Static(Vec<Arc<dyn PhysicalExpr>>),
    /// Taken as a hint.
    Dynamic(Arc<dyn PhysicalExpr>),
    /// Not taken.
    Refused,
}

/// Decides about a filter, which is in terms of the provider's schema.
pub(crate) fn classify(filter: &Arc<dyn PhysicalExpr>) -> Offered {
    if is_dynamic(filter) {
        return Offered::Dynamic(Arc::clone(filter));
    }
    if is_volatile(filter) || contains_dynamic(filter) {
        return Offered::Refused;
    }
    Offered::Static(split_conjunction(filter).into_iter().map(Arc::clone).collect())
}

/// Whether this is itself a dynamic filter.
pub(crate) fn is_dynamic(filter: &Arc<dyn PhysicalExpr>) -> bool {
    filter.downcast_ref::<DynamicFilterPhysicalExpr>().is_some()
}

fn contains_dynamic(filter: &Arc<dyn PhysicalExpr>) -> bool {
    filter.exists(|node| Ok(is_dynamic(node))).unwrap_or(true)
}

/// The same filter with its columns at other places: `place` maps an index to name and index. A dynamic filter keeps
/// its identity.
pub(crate) fn remap(
    filter: &Arc<dyn PhysicalExpr>,
    mut place: impl FnMut(usize) -> Option<usize>,
) -> Result<Arc<dyn PhysicalExpr>> {
    let remapped = Arc::clone(filter).transform_down(|node| {
        let Some(column) = node.downcast_ref::<Column>() else { return Ok(Transformed::no(node)) };
        let index = place(column.index()).ok_or_else(|| {
            DataFusionError::Internal(format!("filter column {} is not one of the scan", column.name()))
        })?;
        Ok(Transformed::yes(Arc::new(Column::new(column.name(), index)) as Arc<dyn PhysicalExpr>))
    });
    remapped.data()
}

/// A condition, ready to be evaluated on a batch of its own columns.
#[derive(Clone, Debug)]
pub(crate) struct Conjunct {
    expr: Arc<dyn PhysicalExpr>,
    columns: Vec<usize>,
    schema: SchemaRef,
    /// About how much a row costs, in no unit.
    cost: u32,
    safe: bool,
    comparison: Option<EncodedComparison>,
}

/// A comparison of a column with a literal that can be made on encoded values: the engine's order of them is Arrow's.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct EncodedComparison {
    /// The column's place in the provider's schema.
    pub(crate) column: usize,
    pub(crate) operator: Comparison,
    pub(crate) literal: Datum,
}

impl EncodedComparison {
    fn new<'t>(
        condition: &Arc<dyn PhysicalExpr>,
        type_of: impl Fn(usize) -> Option<&'t ColumnType>,
    ) -> Option<Self> {
        let binary = condition.downcast_ref::<BinaryExpr>()?;
        let column = |side: &Arc<dyn PhysicalExpr>| side.downcast_ref::<Column>().map(Column::index);
        let (column, operator, literal) = match (column(binary.left()), column(binary.right())) {
            (Some(column), None) => (column, *binary.op(), binary.right()),
            (None, Some(column)) => (column, binary.op().swap()?, binary.left()),
            _ => return None,
        };
        let operator = match operator {
            Operator::Eq => Comparison::Eq,
            Operator::NotEq => Comparison::Ne,
            Operator::Lt => Comparison::Lt,
            Operator::LtEq => Comparison::Le,
            Operator::Gt => Comparison::Gt,
            Operator::GtEq => Comparison::Ge,
            _ => return None,
        };
        let column_type = type_of(column)?;
        let is_ordered_alike = !matches!(
            column_type,
            ColumnType::Float32 | ColumnType::Float64 | ColumnType::Interval | ColumnType::Array(_)
        );
        let literal = scalar_to_datum(literal.downcast_ref::<Literal>()?.value(), column_type)?;
        is_ordered_alike.then_some(Self { column, operator, literal })
    }
}

impl Conjunct {
    /// A condition in terms of the provider's schema; `type_of` gives the types of the columns that are stored.
    pub(crate) fn new<'t>(
        condition: &Arc<dyn PhysicalExpr>,
        schema: &Schema,
        type_of: impl Fn(usize) -> Option<&'t ColumnType>,
    ) -> Result<Self> {
        let mut columns: Vec<usize> = collect_columns(condition).iter().map(Column::index).collect();
        columns.sort_unstable();
        columns.dedup();
        let expr = remap(condition, |index| columns.binary_search(&index).ok())?;
        let own_schema = Arc::new(schema.project(&columns)?);
        let mut cost = 0;
        let mut safe = true;
        condition.apply(|node| {
            let (node_cost, node_safe) = rate(node, schema);
            cost += node_cost;
            safe &= node_safe;
            Ok(TreeNodeRecursion::Continue)
        })?;
        let comparison = EncodedComparison::new(condition, type_of);
        Ok(Self { expr, columns, schema: own_schema, cost, safe, comparison })
    }

    /// The comparison that it is, if it can be made on encoded values.
    pub(crate) fn comparison(&self) -> Option<&EncodedComparison> {
        self.comparison.as_ref()
    }

    /// The columns that it reads, by their places in the provider's schema, ascending.
    pub(crate) fn columns(&self) -> &[usize] {
        &self.columns
    }

    /// Whether it can be evaluated on rows that another condition has ruled out: it cannot fail on any.
    pub(crate) fn is_safe(&self) -> bool {
        self.safe
    }

    /// Which of `rows` rows pass. The arrays are those of [`columns`](Self::columns). The result has no NULLs.
    pub(crate) fn evaluate(&self, arrays: Vec<ArrayRef>, rows: usize) -> Result<BooleanArray> {
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        let batch = RecordBatch::try_new_with_options(Arc::clone(&self.schema), arrays, &options)?;
        match self.expr.evaluate(&batch)? {
            ColumnarValue::Scalar(ScalarValue::Boolean(value)) => {
                Ok(BooleanArray::from(vec![value.unwrap_or(false); rows]))
            }
            ColumnarValue::Scalar(ScalarValue::Null) => Ok(BooleanArray::from(vec![false; rows])),
            ColumnarValue::Array(array) if array.as_boolean_opt().is_some() => {
                let passed = array.as_boolean();
                Ok(if passed.null_count() == 0 { passed.clone() } else { prep_null_mask_filter(passed) })
            }
            other => Err(DataFusionError::Internal(format!("a filter gave {}", other.data_type()))),
        }
    }
}

/// What a node of an expression costs a row, and whether it can fail.
fn rate(node: &Arc<dyn PhysicalExpr>, schema: &Schema) -> (u32, bool) {
    if let Some(column) = node.downcast_ref::<Column>() {
        let wide = schema
            .fields()
            .get(column.index())
            .is_none_or(|field| field.data_type().primitive_width().is_none());
        return (if wide { 8 } else { 1 }, true);
    }
    if node.downcast_ref::<Literal>().is_some() {
        return (0, true);
    }
    if let Some(binary) = node.downcast_ref::<BinaryExpr>() {
        let op = binary.op();
        return (1, op.is_logic_operator() || is_comparison(op));
    }
    if node.downcast_ref::<InListExpr>().is_some() {
        return (4, true);
    }
    if node.downcast_ref::<LikeExpr>().is_some() {
        return (16, true);
    }
    let simple = node.downcast_ref::<IsNullExpr>().is_some()
        || node.downcast_ref::<IsNotNullExpr>().is_some()
        || node.downcast_ref::<NotExpr>().is_some();
    if simple { (1, true) } else { (8, false) }
}

fn is_comparison(op: &Operator) -> bool {
    use Operator::{Eq, Gt, GtEq, IsDistinctFrom, IsNotDistinctFrom, Lt, LtEq, NotEq};
    matches!(op, Eq | NotEq | Lt | LtEq | Gt | GtEq | IsDistinctFrom | IsNotDistinctFrom)
}

/// The conjuncts of conditions, the cheap and safe ones first.
pub(crate) fn compile<'t>(
    conditions: &[Arc<dyn PhysicalExpr>],
    schema: &Schema,
    type_of: impl Fn(usize) -> Option<&'t ColumnType>,
) -> Result<Vec<Conjunct>> {
    let parts = conditions.iter().flat_map(|condition| split_conjunction(condition));
    let mut conjuncts =
        parts.map(|part| Conjunct::new(part, schema, &type_of)).collect::<Result<Vec<_>>>()?;
    // Stable: conditions that cost the same are evaluated as they were written.
    conjuncts.sort_by_key(|conjunct| (!conjunct.safe, conjunct.cost));
    Ok(conjuncts)
}

/// Whether an expression is the literal TRUE.
pub(crate) fn is_true(expr: &Arc<dyn PhysicalExpr>) -> bool {
    expr.downcast_ref::<Literal>()
        .is_some_and(|literal| matches!(literal.value(), ScalarValue::Boolean(Some(true))))
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::array::{Int32Array, Int64Array};
    use datafusion::arrow::datatypes::{DataType, Field};
    use datafusion::physical_expr::expressions::{binary, col, lit};

    use super::*;

    fn schema() -> Schema {
        Schema::new(vec![
            Field::new("a", DataType::Int32, true),
            Field::new("t", DataType::Utf8View, true),
            Field::new("b", DataType::Int64, true),
        ])
    }

    fn compare(name: &str, op: Operator, value: Arc<dyn PhysicalExpr>) -> Arc<dyn PhysicalExpr> {
        binary(col(name, &schema()).unwrap(), op, value, &schema()).unwrap()
    }

    #[test]
    fn a_conjunct_reads_its_own_columns_and_null_does_not_pass() {
        let condition = binary(
            compare("b", Operator::Gt, lit(5_i64)),
            Operator::Or,
            compare("a", Operator::Eq, lit(1)),
            &schema(),
        );
        let conjunct = Conjunct::new(&condition.unwrap(), &schema(), |_| None).unwrap();
        assert_eq!(conjunct.columns(), [0, 2]);
        let a: ArrayRef = Arc::new(Int32Array::from(vec![Some(1), Some(2), None, None]));
        let b: ArrayRef = Arc::new(Int64Array::from(vec![None, Some(5), Some(6), None]));
        let passed = conjunct.evaluate(vec![a, b], 4).unwrap();
        assert_eq!(passed, BooleanArray::from(vec![true, false, true, false]));
    }

    #[test]
    fn what_may_fail_comes_last_and_text_after_numbers() {
        let sum = binary(col("a", &schema()).unwrap(), Operator::Divide, lit(2), &schema()).unwrap();
        let failing = binary(sum, Operator::Eq, lit(1), &schema()).unwrap();
        let text = compare("t", Operator::Eq, lit(ScalarValue::Utf8View(Some("x".into()))));
        let number = compare("a", Operator::Gt, lit(3));
        let both = binary(
            failing,
            Operator::And,
            binary(text, Operator::And, number, &schema()).unwrap(),
            &schema(),
        );
        let conjuncts = compile(&[both.unwrap()], &schema(), |_| None).unwrap();
        let order: Vec<_> =
            conjuncts.iter().map(|conjunct| (conjunct.columns()[0], conjunct.is_safe())).collect();
        assert_eq!(order, [(0, true), (1, true), (0, false)]);
    }

    #[test]
    fn a_remapped_dynamic_filter_is_still_the_same_one() {
        let dynamic = Arc::new(DynamicFilterPhysicalExpr::new(vec![col("a", &schema()).unwrap()], lit(true)));
        let filter: Arc<dyn PhysicalExpr> = dynamic.clone();
        let remapped = remap(&filter, |index| Some(index + 2)).unwrap();
        assert_eq!(remapped.expression_id(), filter.expression_id());
        dynamic.update(compare("a", Operator::Gt, lit(3))).unwrap();
        let current = remapped.downcast_ref::<DynamicFilterPhysicalExpr>().unwrap().current().unwrap();
        assert_eq!(current.to_string(), "a@2 > 3");
        assert!(matches!(classify(&remapped), Offered::Dynamic(_)));
        let nested = binary(remapped, Operator::Or, compare("a", Operator::Eq, lit(1)), &schema()).unwrap();
        assert!(matches!(classify(&nested), Offered::Refused));
    }

    #[test]
    fn comparisons_with_literals_can_be_made_on_encoded_values() {
        let new = |condition: &Arc<dyn PhysicalExpr>, column_type: ColumnType| {
            EncodedComparison::new(condition, |_| Some(&column_type))
        };
        let flipped = binary(lit(5), Operator::Lt, col("a", &schema()).unwrap(), &schema()).unwrap();
        let expected = EncodedComparison { column: 0, operator: Comparison::Gt, literal: Datum::Int32(5) };
        assert_eq!(new(&flipped, ColumnType::Int32), Some(expected));
        assert_eq!(new(&compare("a", Operator::Plus, lit(5)), ColumnType::Int32), None);
        let float = BinaryExpr::new(col("b", &schema()).unwrap(), Operator::Eq, lit(0.5_f64));
        let float: Arc<dyn PhysicalExpr> = Arc::new(float);
        assert_eq!(new(&float, ColumnType::Float64), None, "-0 and NaN are ordered differently");
        let both = compare("a", Operator::Eq, col("b", &schema()).unwrap());
        assert_eq!(new(&both, ColumnType::Int64), None);
    }
}
