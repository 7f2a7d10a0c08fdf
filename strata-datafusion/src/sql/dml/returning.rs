//! RETURNING: a projection over the rows that were written.

use std::sync::Arc;

use datafusion::arrow::record_batch::RecordBatch;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::datasource::{MemTable, provider_as_source};
use datafusion::logical_expr::{LogicalPlan, TableScan};
use datafusion::sql::sqlparser::ast::SelectItem;

use super::plan::{Target, parse_one, quote};
use crate::error::{SqlError, SqlResult};
use crate::sql::plan::Planner;

/// Plans what RETURNING asks for as a query of the table itself.
pub(super) fn plan(
    planner: &Planner,
    target: &Target<'_>,
    items: &[SelectItem],
    parameter_oids: &[u32],
) -> SqlResult<LogicalPlan> {
    let items: Vec<String> = items.iter().map(ToString::to_string).collect();
    let sql = format!("SELECT {} FROM {} AS {}", items.join(", "), target.sql_name, quote(&target.alias));
    planner.plan_ast(parse_one(&sql)?, parameter_oids)
}

/// Puts the rows that were written in the place of the table.
pub(super) fn over_rows(plan: LogicalPlan, rows: RecordBatch) -> SqlResult<LogicalPlan> {
    let table = MemTable::try_new(rows.schema(), vec![vec![rows]])?;
    let source = provider_as_source(Arc::new(table));
    let replaced = plan.transform_up(|node| {
        Ok(match node {
            LogicalPlan::TableScan(scan) => {
                let scan = TableScan { source: Arc::clone(&source), ..scan };
                Transformed::yes(LogicalPlan::TableScan(scan))
            }
            other => Transformed::no(other),
        })
    });
    Ok(replaced.map_err(SqlError::from)?.data)
}
