//! Joins that find nothing, and whom nobody waits for any more.
//!
//! A join whose condition holds of no pair gives no batch, so no yield point is ever reached while it tries millions of them. Its
//! condition is all that runs: it fails once its statement is abandoned.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use datafusion::arrow::datatypes::{DataType, FieldRef, Schema};
use datafusion::arrow::record_batch::RecordBatch;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::common::{Result, exec_err};
use datafusion::logical_expr::ColumnarValue;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::joins::utils::JoinFilter;
use datafusion::physical_plan::joins::{HashJoinExec, NestedLoopJoinExec, NestedLoopJoinExecBuilder};

/// Set once nobody waits for a plan's rows.
#[derive(Clone, Debug, Default)]
pub(super) struct Abandoned(Arc<AtomicBool>);

impl Abandoned {
    pub(super) fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// The plan, with joins that fail once it is abandoned.
pub(super) fn stoppable(
    plan: Arc<dyn ExecutionPlan>,
    abandoned: &Abandoned,
) -> Result<Arc<dyn ExecutionPlan>> {
    plan.transform_up(|node| {
        if let Some(join) = node.downcast_ref::<NestedLoopJoinExec>()
            && let Some(filter) = join.filter()
        {
            let (left, right) = (Arc::clone(join.left()), Arc::clone(join.right()));
            let stoppable = NestedLoopJoinExecBuilder::new(left, right, *join.join_type())
                .with_projection_ref(join.projection().clone())
                .with_filter(Some(watched(filter, abandoned)))
                .build()?;
            return Ok(Transformed::yes(Arc::new(stoppable) as Arc<dyn ExecutionPlan>));
        }
        if let Some(join) = node.downcast_ref::<HashJoinExec>()
            && let Some(filter) = join.filter()
        {
            let stoppable = join.builder().with_filter(Some(watched(filter, abandoned))).build()?;
            return Ok(Transformed::yes(Arc::new(stoppable) as Arc<dyn ExecutionPlan>));
        }
        Ok(Transformed::no(node))
    })
    .data()
}

fn watched(filter: &JoinFilter, abandoned: &Abandoned) -> JoinFilter {
    let condition = Watched { inner: Arc::clone(filter.expression()), abandoned: abandoned.clone() };
    JoinFilter::new(Arc::new(condition), filter.column_indices().to_vec(), Arc::clone(filter.schema()))
}

/// An expression that fails once its statement is abandoned.
#[derive(Debug)]
struct Watched {
    inner: Arc<dyn PhysicalExpr>,
    abandoned: Abandoned,
}

impl PartialEq for Watched {
    fn eq(&self, other: &Self) -> bool {
        self.inner.as_ref() == other.inner.as_ref()
    }
}

impl Eq for Watched {}

impl Hash for Watched {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.inner.hash(state);
    }
}

impl fmt::Display for Watched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

impl PhysicalExpr for Watched {
    fn data_type(&self, input_schema: &Schema) -> Result<DataType> {
        self.inner.data_type(input_schema)
    }

    fn nullable(&self, input_schema: &Schema) -> Result<bool> {
        self.inner.nullable(input_schema)
    }

    fn evaluate(&self, batch: &RecordBatch) -> Result<ColumnarValue> {
        if self.abandoned.0.load(Ordering::Relaxed) {
            return exec_err!("nobody waits for this any more");
        }
        self.inner.evaluate(batch)
    }

    fn return_field(&self, input_schema: &Schema) -> Result<FieldRef> {
        self.inner.return_field(input_schema)
    }

    fn children(&self) -> Vec<&Arc<dyn PhysicalExpr>> {
        vec![&self.inner]
    }

    fn with_new_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn PhysicalExpr>>,
    ) -> Result<Arc<dyn PhysicalExpr>> {
        let inner = children.into_iter().next().unwrap_or_else(|| Arc::clone(&self.inner));
        Ok(Arc::new(Self { inner, abandoned: self.abandoned.clone() }))
    }

    fn fmt_sql(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt_sql(f)
    }
}
