//! SELECT … FOR UPDATE and FOR SHARE, of one table.
//!
//! The query runs twice. First it finds RowIds, in its order, and each row is locked as an UPDATE locks it: one that was
//! replaced meanwhile is followed to its newest version. Then it runs again over nothing but the locked rows, on a new
//! snapshot under READ COMMITTED: so WHERE is evaluated again on what changed, and what is given are the rows as they are
//! locked. As in Postgres, rows are locked until there are as many as LIMIT asks for; those that SKIP LOCKED passes over do
//! not count. Who asks with SKIP LOCKED or NOWAIT never stands in a row's queue, so it closes no cycle.

mod run;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::logical_expr::LogicalPlan;
use datafusion::sql::sqlparser::ast::{
    Expr, Ident, LimitClause, LockClause, LockType, NonBlock, ObjectName, Query, SelectItem, SetExpr,
    Statement as Ast, TableAlias, TableFactor, Value,
};
use strata_core::catalog::TableDef;
use strata_core::txn::RowLockMode;

pub(crate) use run::execute;

use super::ddl::find_relation;
use super::dml::placeholder;
use super::names::{RelationName, fold};
use super::plan::{Planner, TARGET_SCHEMA};
use crate::error::{SqlError, SqlResult};
use crate::provider::ROW_ID_COLUMN;
use crate::session::Session;

/// The column that the RowIds come in.
const MARK: &str = "\u{1}row";

/// What to do about a row that someone else holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Held {
    Wait,
    Fail,
    Skip,
}

/// A query whose rows are locked.
#[derive(Debug)]
pub(crate) struct Locking {
    /// Without the clauses that lock.
    query: Query,
    table: ObjectName,
    /// What the query calls the table.
    alias: String,
    mode: RowLockMode,
    held: Held,
}

fn unsupported<T>(what: &str) -> SqlResult<T> {
    Err(SqlError::unsupported(format!("FOR UPDATE is not supported with {what}")))
}

/// Reads a query that locks rows; `None` for all others.
pub(crate) fn read(statement: &Ast) -> SqlResult<Option<Locking>> {
    let Ast::Query(query) = statement else { return Ok(None) };
    if query.locks.is_empty() {
        return Ok(None);
    }
    let mut query = query.as_ref().clone();
    let clauses = std::mem::take(&mut query.locks);
    let SetExpr::Select(select) = query.body.as_ref() else {
        return unsupported("UNION, VALUES and the like");
    };
    if query.with.is_some() {
        return unsupported("WITH");
    }
    let [from] = select.from.as_slice() else { return unsupported("anything but one table") };
    let TableFactor::Table { name, alias, args: None, .. } = &from.relation else {
        return unsupported("anything but a table");
    };
    if !from.joins.is_empty() {
        return unsupported("joins");
    }
    let alias = match (alias, name.0.last().and_then(|part| part.as_ident())) {
        (Some(alias), _) => fold(&alias.name),
        (None, Some(name)) => fold(name),
        (None, None) => return unsupported("this name of a table"),
    };
    let (mut mode, mut held) = (RowLockMode::Share, Held::Wait);
    for LockClause { lock_type, of, nonblock } in &clauses {
        if let Some(of) = of
            && of.0.last().and_then(|part| part.as_ident()).map(fold).as_ref() != Some(&alias)
        {
            let message =
                format!("relation \"{of}\" in {} clause not found in FROM clause", clause(lock_type));
            return Err(SqlError::new("42P01", message));
        }
        if matches!(lock_type, LockType::Update) {
            mode = RowLockMode::Update;
        }
        match nonblock {
            Some(NonBlock::Nowait) => held = Held::Fail,
            Some(NonBlock::SkipLocked) if held == Held::Wait => held = Held::Skip,
            _ => {}
        }
    }
    let table = name.clone();
    Ok(Some(Locking { query, table, alias, mode, held }))
}

fn clause(lock_type: &LockType) -> &'static str {
    match lock_type {
        LockType::Update => "FOR UPDATE",
        LockType::Share => "FOR SHARE",
    }
}

impl Locking {
    /// Plans the query without its locks, for its parameters and result columns.
    pub(crate) fn plan(&self, planner: &Planner, parameter_oids: &[u32]) -> SqlResult<LogicalPlan> {
        let plan = planner.plan_ast(Ast::Query(Box::new(self.query.clone())), parameter_oids)?;
        plan.apply(|node| {
            let what = match node {
                LogicalPlan::Aggregate(_) => "GROUP BY and aggregates",
                LogicalPlan::Window(_) => "window functions",
                LogicalPlan::Distinct(_) => "DISTINCT",
                LogicalPlan::Unnest(_) => "set-returning functions",
                _ => return Ok(TreeNodeRecursion::Continue),
            };
            unsupported::<()>(what)?;
            Ok(TreeNodeRecursion::Stop)
        })?;
        Ok(plan)
    }

    fn name(&self, session: &Session, planner: &Planner) -> SqlResult<(RelationName, Arc<TableDef>)> {
        let catalog = planner.relations().catalog();
        let Some((schema, relation)) = find_relation(&session.search_path(), catalog, &self.table)? else {
            return unsupported("anything but a table");
        };
        match catalog.table_by_name(&schema, &relation) {
            Ok(table) => Ok((RelationName { schema, relation }, Arc::clone(table))),
            Err(_) => unsupported("views"),
        }
    }

    /// The query with the RowIds of its rows behind its columns, of its first rows.
    fn marked(&self, relation: &str, limit: Option<LimitClause>) -> Ast {
        let mut query = self.query.clone();
        query.limit_clause = limit;
        query.fetch = None;
        if let SetExpr::Select(select) = query.body.as_mut() {
            // The table in subqueries is the whole table.
            if let Some(from) = select.from.first_mut()
                && let TableFactor::Table { name, alias, .. } = &mut from.relation
            {
                let parts = [TARGET_SCHEMA, relation].map(|part| Ident::with_quote('"', part));
                *name = ObjectName::from(parts.to_vec());
                alias.get_or_insert_with(|| TableAlias {
                    explicit: true,
                    name: Ident::with_quote('"', &self.alias),
                    columns: Vec::new(),
                    at: None,
                });
            }
            let row = vec![Ident::with_quote('"', &self.alias), Ident::with_quote('"', ROW_ID_COLUMN)];
            select.projection.push(SelectItem::ExprWithAlias {
                expr: Expr::CompoundIdentifier(row),
                alias: Ident::with_quote('"', MARK),
            });
        }
        Ast::Query(Box::new(query))
    }

    /// How many rows are wanted at most, those included that OFFSET leaves out.
    fn wanted(&self, parameters: &[Option<i64>]) -> SqlResult<Option<usize>> {
        if self.query.fetch.is_some() {
            return unsupported("FETCH FIRST");
        }
        let Some(clause) = &self.query.limit_clause else { return Ok(None) };
        let LimitClause::LimitOffset { limit, offset, .. } = clause else { return unsupported("this LIMIT") };
        let count = |expr: &Expr| -> SqlResult<Option<usize>> {
            let value = match expr {
                Expr::Value(value) => match &value.value {
                    Value::Number(digits, _) => digits.parse::<i64>().ok(),
                    Value::Null => return Ok(None),
                    _ => None,
                },
                _ => None,
            };
            let value = match (value, placeholder(expr)) {
                (Some(value), _) => value,
                (None, Some(number)) => match parameters.get(number.wrapping_sub(1)) {
                    Some(Some(value)) => *value,
                    Some(None) => return Ok(None),
                    None => return unsupported("this LIMIT"),
                },
                (None, None) => return unsupported("this LIMIT"),
            };
            usize::try_from(value).map(Some).map_err(|_| SqlError::new("2201W", "LIMIT must not be negative"))
        };
        let limit = limit.as_ref().map(count).transpose()?.flatten();
        let offset = offset.as_ref().map(|offset| count(&offset.value)).transpose()?.flatten().unwrap_or(0);
        Ok(limit.map(|limit| limit.saturating_add(offset)))
    }
}
