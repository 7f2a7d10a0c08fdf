//! EXPLAIN: the plan as lines of text, in one column, as psql expects it.
//!
//! A query shows DataFusion's physical plan, whose leaves name the table, the access path (scan or index), the filters
//! and what was pruned, or the index of a [point plan](super::point). A DML statement shows what is done with the rows of the query behind it. With ANALYZE the
//! statement's query runs, and each operator shows what it counted; rows are not changed by it.

use std::sync::Arc;

use datafusion::catalog::Session as _;
use datafusion::physical_plan::display::DisplayableExecutionPlan;
use datafusion::physical_plan::{ExecutionPlan, execute_stream};
use datafusion::sql::sqlparser::ast::{DescribeAlias, Statement as Ast, UtilityOption};
use futures::StreamExt;

use crate::error::{SqlError, SqlResult};
use crate::postgres::types::PgType;
use crate::session::Session;
use crate::session::prepared::Prepared;
use crate::session::run::Limits;
use crate::session::types::{Outcome, Parameter};
use crate::sql::dml;

/// The name of the one result column.
pub(crate) const COLUMN: &str = "QUERY PLAN";

/// Whether a statement is handled here.
pub(crate) fn is_explain(statement: &Ast) -> bool {
    matches!(statement, Ast::Explain { .. })
}

/// What EXPLAIN was asked.
struct Request<'a> {
    statement: &'a Ast,
    analyze: bool,
    verbose: bool,
}

fn request(statement: &Ast) -> SqlResult<Request<'_>> {
    let Ast::Explain { describe_alias, analyze, verbose, statement, format, options, .. } = statement else {
        return Err(SqlError::internal(format!("not EXPLAIN: {statement}")));
    };
    if *describe_alias != DescribeAlias::Explain || format.is_some() {
        return Err(SqlError::unsupported("this form of EXPLAIN is not supported"));
    }
    let mut request = Request { statement, analyze: *analyze, verbose: *verbose };
    for option in options.iter().flatten() {
        let on = is_on(option);
        match option.name.value.to_ascii_lowercase().as_str() {
            "analyze" => request.analyze = on,
            "verbose" => request.verbose = on,
            "costs" | "timing" | "summary" | "buffers" | "settings" | "wal" => {}
            other => {
                return Err(SqlError::unsupported(format!("EXPLAIN option \"{other}\" is not supported")));
            }
        }
    }
    Ok(request)
}

fn is_on(option: &UtilityOption) -> bool {
    match &option.arg {
        None => true,
        Some(value) => {
            let value = value.to_string().to_ascii_lowercase();
            !["false", "off", "0", "'off'", "'false'"].contains(&value.as_str())
        }
    }
}

/// Runs EXPLAIN.
pub(crate) async fn execute(
    session: &mut Session,
    prepared: &Prepared,
    parameters: &[Parameter<'_>],
    limits: Limits,
) -> SqlResult<Outcome> {
    let request = request(prepared.statement().ast())?;
    let oids = prepared.parameter_oids();
    if !request.analyze
        && !request.verbose
        && let Some(lines) = session.explain_point(request.statement, oids)
    {
        return crate::session::text_rows(&[(COLUMN, lines)], "EXPLAIN");
    }
    let (planner, _) = session.start_statement()?;
    let mut lines = Vec::new();
    let (planner, query) = if dml::is_dml(request.statement) {
        let mut oids = oids.to_vec();
        let (plan, planner) = dml::plan(planner, &session.search_path(), request.statement, &mut oids)?;
        lines.push(plan.describe());
        (planner, plan.query)
    } else if matches!(request.statement, Ast::Query(_)) {
        let plan = planner.plan_ast(request.statement.clone(), oids)?;
        (planner, plan)
    } else {
        return Err(SqlError::syntax("EXPLAIN takes a query, INSERT, UPDATE or DELETE"));
    };
    let query = if parameters.is_empty() { query } else { session.bind(query, oids, parameters)? };
    let indent = if lines.is_empty() { "" } else { "  " };
    let (analyze, verbose) = (request.analyze, request.verbose);
    let task = session.engine().analytical()?.spawn(async move {
        let plan = planner.create_physical_plan(&query).await?;
        if analyze {
            let mut stream = execute_stream(Arc::clone(&plan), planner.task_ctx())?;
            while let Some(batch) = stream.next().await {
                batch?;
            }
        }
        Ok::<_, SqlError>(shown(plan.as_ref(), analyze, verbose))
    });
    let abort = task.abort_handle();
    let text = match limits.race(task).await {
        Ok(done) => done.map_err(|error| SqlError::internal(format!("EXPLAIN ended early: {error}")))??,
        Err(error) => {
            abort.abort();
            return Err(error);
        }
    };
    let text = with_casts(&crate::sql::output::without_marks(&text));
    lines.extend(text.lines().map(|line| format!("{indent}{line}")));
    crate::session::text_rows(&[(COLUMN, lines)], "EXPLAIN")
}

fn shown(plan: &dyn ExecutionPlan, analyze: bool, verbose: bool) -> String {
    let display = if analyze {
        DisplayableExecutionPlan::with_metrics(plan)
    } else {
        DisplayableExecutionPlan::new(plan)
    };
    display.indent(verbose).to_string()
}

/// A plan's text with casts as SQL writes them: `::(a, 25, -1)` is `a::text`.
fn with_casts(text: &str) -> String {
    const START: &str = "::(";
    let mut rest = text;
    let mut shown = String::with_capacity(text.len());
    while let Some((before, behind)) = rest.split_once(START) {
        shown.push_str(before);
        rest = match cast(behind) {
            Some((value, pg_type, after)) => {
                // The value may hold casts itself.
                let value = with_casts(value);
                let plain = |c: char| c.is_alphanumeric() || matches!(c, '_' | '.' | '@' | ':');
                shown.push_str(&if value.chars().all(plain) { value } else { format!("({value})") });
                shown.push_str("::");
                shown.push_str(&pg_type.sql_name());
                after
            }
            None => {
                shown.push_str(START);
                behind
            }
        };
    }
    shown.push_str(rest);
    shown
}

/// `value, oid, modifier)` and what is behind it.
fn cast(text: &str) -> Option<(&str, PgType, &str)> {
    let mut depth = 0usize;
    let mut end = None;
    for (place, c) in text.char_indices() {
        match c {
            '(' => depth += 1,
            ')' if depth == 0 => {
                end = Some(place);
                break;
            }
            ')' => depth -= 1,
            _ => {}
        }
    }
    let (inside, after) = (text.get(..end?)?, text.get(end? + 1..)?);
    let (inside, modifier) = inside.rsplit_once(", ")?;
    let (value, oid) = inside.rsplit_once(", ")?;
    Some((value, PgType { oid: oid.parse().ok()?, modifier: modifier.parse().ok()? }, after))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn casts_are_shown_as_sql_writes_them() {
        for (plan, shown) in [
            ("a@0 = ::(b@1, 25, -1)", "a@0 = b@1::text"),
            ("::(::(f(a, 1), 23, -1), 1700, 655366) > 1", "((f(a, 1))::integer)::numeric(10,2) > 1"),
            ("::(x", "::(x"),
            ("::(x, y)", "::(x, y)"),
        ] {
            assert_eq!(with_casts(plan), shown);
        }
    }
}
