//! The pass over a parsed query before DataFusion's planner sees it.
//!
//! - what that planner would ignore is refused (`refusals`),
//! - result columns get Postgres' names (`columns`),
//! - EXISTS and IN in a SELECT list, which DataFusion does not run there, become counts (`exists`),
//! - ANY and ALL become what says the same of NULLs and of nothing at all (`quantified`),
//! - conditions are marked as such, so that only booleans are taken for one (`conditions`),
//! - casts, typed literals, EXTRACT and AT TIME ZONE become calls of our functions (`expressions`),
//! - set-returning functions move to where they can run (`relations`),
//! - parameters whose place tells their type get it.

mod columns;
mod conditions;
mod exists;
mod expressions;
mod quantified;
mod refusals;
mod relations;

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    Expr, Ident, LimitClause, LockClause, ObjectName, Query, Select, SelectItem, SetExpr, Statement,
    TableFactor, Value, VisitMut, VisitorMut,
};

pub(crate) use conditions::CONDITION;
pub(crate) use expressions::call;
pub(crate) use relations::SERIES_LIST;

use crate::error::{SqlError, SqlResult};
use crate::postgres::types::{PgType, oid};

/// The function that casts are calls of: value, OID and modifier. No name in SQL text is spelled so.
pub(crate) const CAST: &str = "::";

/// The function that assignments to columns are calls of, in queries that DML is made of: value and mark.
pub(crate) const ASSIGN: &str = ":=";

/// What the pass found.
#[derive(Debug, Default)]
pub struct Rewritten {
    /// The types of parameters that follow from where they stand; `$1` is the first.
    pub parameters: Vec<Option<PgType>>,
    /// FOR UPDATE and the like, taken off the query.
    pub locks: Vec<LockClause>,
}

/// Rewrites a statement in place.
pub fn rewrite_statement(statement: &mut Statement) -> SqlResult<Rewritten> {
    let mut pass = Pass::default();
    if let Statement::Query(query) = statement {
        // Only those of the outermost query lock rows of its own tables; others are refused below.
        pass.found.locks = std::mem::take(&mut query.locks);
        pass.type_outputs(query);
    }
    if let Statement::Explain { statement, .. } = statement
        && let Statement::Query(query) = statement.as_mut()
    {
        pass.type_outputs(query);
    }
    finish(statement.visit(&mut pass), pass)
}

/// Gives the result columns of all SELECTs their names. Another pass may rewrite the statement between this and
/// [`rewrite_statement`].
pub fn name_columns(statement: &mut Statement) {
    struct Names;
    impl VisitorMut for Names {
        type Break = ();
        fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<()> {
            columns::name_columns(select);
            ControlFlow::Continue(())
        }
    }
    let _ = statement.visit(&mut Names);
}

/// Rewrites a query that is part of another statement.
pub fn rewrite_query(query: &mut Query) -> SqlResult<Rewritten> {
    let mut pass = Pass::default();
    finish(query.visit(&mut pass), pass)
}

/// Rewrites an expression that is part of another statement.
pub fn rewrite_expr(expr: &mut Expr) -> SqlResult<Rewritten> {
    let mut pass = Pass::default();
    finish(expr.visit(&mut pass), pass)
}

fn finish(flow: ControlFlow<SqlError>, pass: Pass) -> SqlResult<Rewritten> {
    match flow {
        ControlFlow::Continue(()) => Ok(pass.found),
        ControlFlow::Break(error) => Err(error),
    }
}

#[derive(Default)]
struct Pass {
    found: Rewritten,
    names: quantified::Names,
}

impl Pass {
    /// Notes that the expression, if it is a parameter, has this type.
    fn note_parameter(&mut self, expr: &Expr, pg_type: PgType) {
        let Some(index) = parameter_index(expr) else { return };
        if self.found.parameters.len() <= index {
            self.found.parameters.resize(index + 1, None);
        }
        if let Some(place) = self.found.parameters.get_mut(index) {
            place.get_or_insert(pg_type);
        }
    }

    /// A parameter that is a column of the result is text.
    fn type_outputs(&mut self, query: &Query) {
        if let SetExpr::Select(select) = query.body.as_ref() {
            for item in &select.projection {
                if let SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } = item {
                    self.note_parameter(expr, PgType::new(oid::TEXT));
                }
            }
        }
    }
}

/// The parameter's number from 0.
fn parameter_index(expr: &Expr) -> Option<usize> {
    match expr {
        Expr::Value(value) => match &value.value {
            Value::Placeholder(text) => text.strip_prefix('$')?.parse::<usize>().ok()?.checked_sub(1),
            _ => None,
        },
        Expr::Nested(inner) => parameter_index(inner),
        _ => None,
    }
}

fn flow(result: SqlResult<()>) -> ControlFlow<SqlError> {
    match result {
        Ok(()) => ControlFlow::Continue(()),
        Err(error) => ControlFlow::Break(error),
    }
}

impl VisitorMut for Pass {
    type Break = SqlError;

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<SqlError> {
        if let Some(LimitClause::LimitOffset { limit, offset, .. }) = &query.limit_clause {
            for expr in limit.iter().chain(offset.iter().map(|offset| &offset.value)) {
                self.note_parameter(expr, PgType::new(oid::INT8));
            }
        }
        expressions::narrow_values(&mut query.body);
        flow(refusals::check_query(query))
    }

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<SqlError> {
        flow((|| {
            refusals::check_select(select)?;
            columns::name_columns(select);
            conditions::mark_select(select);
            for item in &mut select.projection {
                if let SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } = item {
                    exists::count_instead(expr, &mut self.names)?;
                    expressions::narrow_integer(expr);
                }
            }
            relations::move_series(select)
        })())
    }

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<SqlError> {
        flow((|| {
            refusals::check_relation(factor)?;
            relations::name_function(factor)
        })())
    }

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<SqlError> {
        if let Expr::Cast { expr, data_type, .. } = expr
            && let Ok(pg_type) = crate::postgres::type_planner::type_of_name(data_type)
        {
            self.note_parameter(expr, pg_type);
        }
        conditions::mark(expr);
        flow(quantified::rewrite(expr, &mut self.names))
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<SqlError> {
        flow(expressions::rewrite(expr))
    }
}

/// An identifier that is taken as it is.
fn quoted(name: impl Into<String>) -> Ident {
    Ident::with_quote('"', name)
}

/// A name of one part that is taken as it is.
fn quoted_name(name: &str) -> ObjectName {
    ObjectName::from(vec![quoted(name)])
}

#[cfg(test)]
mod tests;
