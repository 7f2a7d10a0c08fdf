//! INSERT, UPDATE and DELETE.
//!
//! DataFusion's own DML filters are not safe, so a statement is rewritten into the *query* that finds what it needs:
//! the rows to insert, or for each target row its RowId and the values of SET. The query goes through the ordinary
//! planner; its result is applied to the transaction here ([`apply`]).
//!
//! **UPDATE and DELETE under READ COMMITTED.** Target rows are locked in RowId order before any is written. A
//! row that was replaced meanwhile is followed to its newest version; then the same query runs again on a new
//! snapshot, restricted to those versions, so that WHERE and SET see them (as Postgres re-evaluates). Where the
//! query reaches beyond the target row (joins, subqueries) the whole statement runs again on a new snapshot, with its
//! locks kept, as Oracle does; nothing is written before it has found all rows as it sees them. What a table that was altered
//! meanwhile means at each level, [`target`](super::target) tells.
//!
//! **Memory.** Many rows of a query that reads nothing but the target are locked and written in pieces, while the query runs: it
//! reads a view of before. All other rows that are found, and those that RETURNING wants, must fit into memory.

mod apply;
mod change;
mod constants;
mod insert;
pub(crate) mod plan;
mod returning;
mod targets;
#[cfg(test)]
mod tests;
pub(crate) mod values;

use datafusion::sql::sqlparser::ast::Statement as Ast;

pub(crate) use apply::{describe, lock_mode, stored_batch};
pub(crate) use insert::placeholder;
pub(crate) use plan::{Action, DmlPlan, assign_as, plan};
pub(crate) use values::{check_length, check_length_of, datums};

use crate::error::SqlResult;
use crate::session::Session;
use crate::session::prepared::Prepared;
use crate::session::run::Limits;
use crate::session::types::{Outcome, Parameter};

/// Whether a statement is handled here.
pub(crate) fn is_dml(statement: &Ast) -> bool {
    matches!(statement, Ast::Insert(_) | Ast::Update(_) | Ast::Delete(_))
}

/// Runs a prepared statement for which [`is_dml`] holds.
pub(crate) async fn execute(
    session: &mut Session,
    prepared: &Prepared,
    parameters: &[Parameter<'_>],
    limits: Limits,
) -> SqlResult<Outcome> {
    apply::run(session, prepared, parameters, limits).await
}
