//! DataFusion's rule for DISTINCT aggregates, where it keeps types.
//!
//! The rule makes `sum(a), count(DISTINCT b)` a sum of sums by group. A sum of small integers is a bigint, and the sum of
//! bigints a numeric: those are left to the aggregates themselves.

use datafusion::arrow::datatypes::DataType;
use datafusion::common::Result;
use datafusion::common::tree_node::Transformed;
use datafusion::logical_expr::{Expr, ExprSchemable, LogicalPlan};
use datafusion::optimizer::optimizer::ApplyOrder;
use datafusion::optimizer::single_distinct_to_groupby::SingleDistinctToGroupBy;
use datafusion::optimizer::{OptimizerConfig, OptimizerRule};

/// The rule.
#[derive(Debug, Default)]
pub(crate) struct DistinctToGroups {
    inner: SingleDistinctToGroupBy,
}

fn sums_small_integers(plan: &LogicalPlan) -> Result<bool> {
    let LogicalPlan::Aggregate(aggregate) = plan else { return Ok(false) };
    for expr in &aggregate.aggr_expr {
        if let Expr::AggregateFunction(call) = expr
            && call.func.name() == "sum"
            && !call.params.distinct
            && let Some(argument) = call.params.args.first()
            && argument.get_type(aggregate.input.schema())? == DataType::Int32
        {
            return Ok(true);
        }
    }
    Ok(false)
}

impl OptimizerRule for DistinctToGroups {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        self.inner.apply_order()
    }

    fn supports_rewrite(&self) -> bool {
        true
    }

    fn rewrite(&self, plan: LogicalPlan, config: &dyn OptimizerConfig) -> Result<Transformed<LogicalPlan>> {
        if sums_small_integers(&plan)? {
            return Ok(Transformed::no(plan));
        }
        self.inner.rewrite(plan, config)
    }
}
