//! Finding the rows, locking them, and reading them as they are locked.

use std::collections::HashSet;
use std::sync::Arc;

use datafusion::arrow::array::AsArray;
use datafusion::arrow::datatypes::{DataType, UInt64Type};
use datafusion::common::{Column, ScalarValue};
use datafusion::logical_expr::{Expr as PlanExpr, LogicalPlan, LogicalPlanBuilder};
use datafusion::sql::sqlparser::ast::{Expr, LimitClause, Value};
use futures::StreamExt;
use strata_core::catalog::TableDef;
use strata_core::ids::RowId;
use strata_core::table::{Locked, TableView};

use super::{Held, Locking, MARK};
use crate::error::{SqlError, SqlResult};
use crate::provider::ROW_ID_COLUMN;
use crate::session::Session;
use crate::session::prepared::{Prepared, result_fields};
use crate::session::run::{self, Limits};
use crate::session::types::{Outcome, Parameter, RowStream, RowsTag};
use crate::sql::names::RelationName;
use crate::sql::plan::Planner;
use crate::sql::target::{TargetUse, lock_planned};

/// How many locked rows the first look passes over before it looks at all rows.
const PASSED_OVER: usize = 100;

/// A plan's columns, without those of RowIds or only the one behind all others.
fn columns(plan: LogicalPlan, marks: bool) -> SqlResult<LogicalPlan> {
    let all = plan.schema().columns();
    let is_hidden = |column: &Column| column.name == ROW_ID_COLUMN || column.name == MARK;
    let kept = all.into_iter().filter(|column| if marks { column.name == MARK } else { !is_hidden(column) });
    let kept: Vec<PlanExpr> = kept.map(PlanExpr::Column).collect();
    Ok(LogicalPlanBuilder::from(plan).project(kept)?.build()?)
}

struct Run<'a> {
    locking: Locking,
    prepared: &'a Prepared,
    parameters: &'a [Parameter<'a>],
    limits: Limits,
}

/// Runs a query that [`read`] has read.
pub(crate) async fn execute(
    session: &mut Session,
    locking: Locking,
    prepared: &Prepared,
    parameters: &[Parameter<'_>],
    limits: Limits,
) -> SqlResult<Outcome> {
    let run = Run { locking, prepared, parameters, limits };
    let (name, table) = run.lock_table(session).await?;
    let locked = run.lock_rows(session, &name, &table).await?;
    let (planner, _) = session.start_statement()?;
    let planner = planner.with_marked_target(name).with_target_rows(table.id, locked);
    let limit = run.locking.query.limit_clause.clone();
    let plan = run.plan(session, &planner, &table.name, limit, false)?;
    let fields = result_fields(plan.schema());
    let (schema, batches) = run::run(session.engine(), Arc::new(planner), plan, run.limits.clone()).await?;
    let time_zone = session.time_zone();
    Ok(Outcome::Rows(RowStream { fields, schema, batches, tag: RowsTag::Select, time_zone }))
}

impl Run<'_> {
    /// Locks the table, until it is the one that the catalog names.
    async fn lock_table(&self, session: &mut Session) -> SqlResult<(RelationName, Arc<TableDef>)> {
        loop {
            let (planner, _) = session.start_statement()?;
            let (name, table) = self.locking.name(session, &planner)?;
            self.locking.plan(&planner, self.prepared.parameter_oids())?;
            if lock_planned(session, &table, TargetUse::LockRows, &self.limits).await? {
                return Ok((name, table));
            }
        }
    }

    fn plan(
        &self,
        session: &mut Session,
        planner: &Planner,
        relation: &str,
        limit: Option<LimitClause>,
        marks: bool,
    ) -> SqlResult<LogicalPlan> {
        let oids = self.prepared.parameter_oids();
        let plan = columns(planner.plan_ast(self.locking.marked(relation, limit), oids)?, marks)?;
        match self.parameters {
            [] => Ok(plan),
            parameters => session.bind(plan, oids, parameters),
        }
    }

    /// The newest versions of the rows, in the order of the RowIds.
    async fn lock_rows(
        &self,
        session: &mut Session,
        name: &RelationName,
        table: &TableDef,
    ) -> SqlResult<Vec<RowId>> {
        let values = session.parameter_values(self.prepared.parameter_oids(), self.parameters)?;
        let numbers: Vec<Option<i64>> = values
            .iter()
            .map(|(_, value)| match value.cast_to(&DataType::Int64) {
                Ok(ScalarValue::Int64(value)) => value,
                _ => None,
            })
            .collect();
        let wanted = self.locking.wanted(&numbers)?;
        let mut seen = HashSet::new();
        let mut locked = Vec::new();
        let slack = if self.locking.held == Held::Skip { PASSED_OVER } else { 0 };
        // The first rows are mostly enough, and need not all be sorted.
        let first = wanted.map(|wanted| wanted.saturating_add(slack));
        for limit in std::iter::once(first).chain(first.is_some().then_some(None)) {
            let is_enough = |locked: &Vec<RowId>| wanted.is_some_and(|wanted| locked.len() >= wanted);
            let (planner, _) = session.start_statement()?;
            let planner = planner.with_marked_target(name.clone());
            let view = planner.relations().view().table(table.id)?;
            let plan = self.plan(session, &planner, &name.relation, limit.map(first_rows), true)?;
            let (_, mut batches) =
                run::run(session.engine(), Arc::new(planner), plan, self.limits.clone()).await?;
            let mut found = 0;
            'rows: while !is_enough(&locked)
                && let Some(batch) = batches.next().await
            {
                let batch = batch?;
                let rows = batch.column(0).as_primitive_opt::<UInt64Type>();
                let rows = rows.ok_or_else(|| SqlError::internal("the query gives no RowIds"))?;
                for row in rows.values() {
                    found += 1;
                    let row = RowId::new(*row);
                    if !seen.insert(row) {
                        continue;
                    }
                    if let Some(newest) = self.lock_row(session, &view, row, table).await? {
                        seen.insert(newest);
                        locked.push(newest);
                    }
                    if is_enough(&locked) {
                        break 'rows;
                    }
                }
            }
            if is_enough(&locked) || limit.is_none_or(|limit| found < limit) {
                break;
            }
        }
        Ok(locked)
    }

    async fn lock_row(
        &self,
        session: &mut Session,
        view: &TableView,
        row: RowId,
        table: &TableDef,
    ) -> SqlResult<Option<RowId>> {
        let txn = session.write_transaction(TargetUse::LockRows.command())?;
        let mode = self.locking.mode;
        let locked = match self.locking.held {
            Held::Wait => Some(self.limits.race(txn.lock_row(view, row, mode)).await??),
            Held::Fail | Held::Skip => txn.try_lock_row(view, row, mode).await?,
        };
        let Some(locked) = locked else {
            if self.locking.held == Held::Skip {
                return Ok(None);
            }
            let message = format!("could not obtain lock on row in relation \"{}\"", table.name);
            return Err(SqlError::new("55P03", message));
        };
        Ok(match locked {
            Locked::Current => Some(row),
            Locked::Moved(newest) => Some(newest),
            Locked::Gone => None,
        })
    }
}

/// `LIMIT rows`.
fn first_rows(rows: usize) -> LimitClause {
    let rows = Expr::value(Value::Number(rows.to_string(), false));
    LimitClause::LimitOffset { limit: Some(rows), offset: None, limit_by: Vec::new() }
}
