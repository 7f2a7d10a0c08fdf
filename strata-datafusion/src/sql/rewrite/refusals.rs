//! What DataFusion's planner would drop without a word, or what is not SQL for Postgres: refused.

use datafusion::sql::sqlparser::ast::{
    Expr, LimitClause, Offset, OffsetRows, Query, Select, TableFactor, TableWithJoins, Value,
};

use crate::error::{SqlError, SqlResult};
use crate::sql::names::{self, fold};

fn unsupported<T>(what: &str) -> SqlResult<T> {
    Err(SqlError::unsupported(format!("{what} is not supported")))
}

/// Clauses of a query.
pub(super) fn check_query(query: &mut Query) -> SqlResult<()> {
    if !query.locks.is_empty() {
        return unsupported("FOR UPDATE in a subquery");
    }
    if query.for_clause.is_some() || query.settings.is_some() || query.format_clause.is_some() {
        return Err(SqlError::syntax("syntax error in the clauses after the query"));
    }
    if !query.pipe_operators.is_empty() {
        return Err(SqlError::syntax("syntax error at or near \"|>\""));
    }
    if let Some(fetch) = query.fetch.take() {
        if fetch.with_ties {
            return unsupported("FETCH FIRST … WITH TIES");
        }
        if fetch.percent {
            return Err(SqlError::syntax("syntax error at or near \"PERCENT\""));
        }
        let rows = fetch.quantity.unwrap_or_else(|| Expr::value(Value::Number("1".to_owned(), false)));
        match &mut query.limit_clause {
            None => {
                query.limit_clause = Some(LimitClause::LimitOffset {
                    limit: Some(rows),
                    offset: None::<Offset>,
                    limit_by: Vec::new(),
                });
            }
            Some(LimitClause::LimitOffset { limit: limit @ None, .. }) => *limit = Some(rows),
            Some(_) => return Err(SqlError::syntax("multiple LIMIT clauses not allowed")),
        }
    }
    if let Some(LimitClause::OffsetCommaLimit { .. }) = &query.limit_clause {
        return Err(SqlError::syntax("LIMIT #,# syntax is not supported")
            .with_hint("Use separate LIMIT and OFFSET clauses."));
    }
    if let Some(LimitClause::LimitOffset { offset: Some(offset), .. }) = &mut query.limit_clause {
        offset.rows = OffsetRows::None;
    }
    if let Some(with) = &query.with {
        for cte in &with.cte_tables {
            if cte.from.is_some() {
                return Err(SqlError::syntax("syntax error in WITH"));
            }
        }
    }
    Ok(())
}

/// Clauses of a SELECT.
pub(super) fn check_select(select: &Select) -> SqlResult<()> {
    if select.into.is_some() {
        return unsupported("SELECT INTO");
    }
    if select.prewhere.is_some()
        || select.top.is_some()
        || select.qualify.is_some()
        || select.exclude.is_some()
        || select.value_table_mode.is_some()
        || select.select_modifiers.is_some()
        || !select.connect_by.is_empty()
        || !select.lateral_views.is_empty()
        || !select.cluster_by.is_empty()
        || !select.distribute_by.is_empty()
        || !select.sort_by.is_empty()
    {
        return Err(SqlError::syntax("syntax error: a clause that PostgreSQL does not have"));
    }
    let mut taken = Vec::new();
    select.from.iter().try_for_each(|item| check_names(item, &mut taken))
}

/// 42712 where two items of FROM have one name. Tables of several schemas may share theirs.
fn check_names(item: &TableWithJoins, taken: &mut Vec<(String, Option<String>)>) -> SqlResult<()> {
    let joined = item.joins.iter().map(|join| &join.relation);
    for factor in std::iter::once(&item.relation).chain(joined) {
        let (alias, relation) = match factor {
            TableFactor::Table { name, alias, .. } => (alias, Some(name)),
            TableFactor::Derived { alias, .. }
            | TableFactor::Function { alias, .. }
            | TableFactor::UNNEST { alias, .. } => (alias, None),
            TableFactor::NestedJoin { table_with_joins, alias: None } => {
                check_names(table_with_joins, taken)?;
                continue;
            }
            _ => continue,
        };
        let named = match (alias, relation) {
            (Some(alias), _) => (fold(&alias.name), None),
            (None, Some(name)) => {
                let Ok(mut parts) = names::parts(name) else { continue };
                let Some(last) = parts.pop() else { continue };
                let schema = parts.join(".");
                (last, Some(schema))
            }
            (None, None) => continue,
        };
        let clashes = |other: &(String, Option<String>)| {
            other.0 == named.0 && (other.1 == named.1 || other.1.is_none() || named.1.is_none())
        };
        if taken.iter().any(clashes) {
            let message = format!("table name \"{}\" specified more than once", named.0);
            return Err(SqlError::new("42712", message));
        }
        taken.push(named);
    }
    Ok(())
}

/// Modifiers of an item of FROM.
pub(super) fn check_relation(factor: &TableFactor) -> SqlResult<()> {
    match factor {
        TableFactor::Table { sample: Some(_), .. } | TableFactor::Derived { sample: Some(_), .. } => {
            unsupported("TABLESAMPLE")
        }
        TableFactor::Table { with_ordinality: true, .. }
        | TableFactor::Function { with_ordinality: true, .. }
        | TableFactor::UNNEST { with_ordinality: true, .. } => unsupported("WITH ORDINALITY"),
        TableFactor::Table { with_hints, version, partitions, json_path, index_hints, .. }
            if !with_hints.is_empty()
                || version.is_some()
                || !partitions.is_empty()
                || json_path.is_some()
                || !index_hints.is_empty() =>
        {
            Err(SqlError::syntax("syntax error in FROM: a modifier that PostgreSQL does not have"))
        }
        TableFactor::Table { .. }
        | TableFactor::Derived { .. }
        | TableFactor::Function { .. }
        | TableFactor::UNNEST { .. }
        | TableFactor::NestedJoin { .. } => Ok(()),
        other => unsupported(&format!("{other} in FROM")),
    }
}
