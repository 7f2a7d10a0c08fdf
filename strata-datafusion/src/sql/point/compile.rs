//! Analysed plans into point plans.

use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Field};
use datafusion::common::DFSchema;
use datafusion::datasource::source_as_provider;
use datafusion::logical_expr::utils::split_conjunction_owned;
use datafusion::logical_expr::{Expr, LogicalPlan, TableScan};
use datafusion::sql::sqlparser::ast::{GroupByExpr, Query, SetExpr, Statement as Ast, TableFactor};
use strata_core::catalog::TableDef;
use strata_core::ids::ColumnId;
use strata_core::row::{Column, arrow_type};

use super::access::Access;
use super::program::{Program, Scope, cast_parts, parameter_index};
use super::{Action, Assigned, Change, Outputs, PointPlan, Row, Select};
use crate::error::SqlResult;
use crate::postgres::types::{PgType, oid};
use crate::provider::{ROW_ID_COLUMN, StrataTable};
use crate::session::prepared::result_fields;
use crate::session::query::parameter_types;
use crate::sql::dml;
use crate::sql::plan::Planner;

/// Rows of an INSERT at most.
const MAX_INSERT_ROWS: usize = 64;

/// Whether a statement could be a point plan, by its shape alone.
pub(crate) fn may_be_point(statement: &Ast) -> bool {
    match statement {
        Ast::Query(query) => is_plain_select(query),
        Ast::Insert(insert) => {
            insert.returning.is_none()
                && insert.on.is_none()
                && insert.source.as_ref().is_some_and(|source| match source.body.as_ref() {
                    SetExpr::Values(values) => values.rows.len() <= MAX_INSERT_ROWS,
                    _ => false,
                })
        }
        Ast::Update(update) => {
            update.returning.is_none() && update.from.is_none() && update.selection.is_some()
        }
        Ast::Delete(delete) => {
            delete.returning.is_none() && delete.using.is_none() && delete.selection.is_some()
        }
        _ => false,
    }
}

fn is_plain_select(query: &Query) -> bool {
    let SetExpr::Select(select) = query.body.as_ref() else { return false };
    let is_grouped = match &select.group_by {
        GroupByExpr::All(_) => true,
        GroupByExpr::Expressions(expressions, modifiers) => !expressions.is_empty() || !modifiers.is_empty(),
    };
    let [from] = select.from.as_slice() else { return false };
    query.with.is_none()
        && query.order_by.is_none()
        && query.limit_clause.is_none()
        && query.fetch.is_none()
        && query.locks.is_empty()
        && select.distinct.is_none()
        && select.having.is_none()
        && select.selection.is_some()
        && !is_grouped
        && from.joins.is_empty()
        && matches!(&from.relation, TableFactor::Table { args: None, .. })
}

/// Compiles a statement whose parameters have these types, 0 for what is to be inferred. The types that all of them
/// have come back with the plan. `None` where it is for the ordinary route.
///
/// In a text whose literals were lifted out, a SELECT may not show one: what type it has there is the planner's to say.
pub(crate) fn compile(
    planner: Planner,
    search_path: &[String],
    statement: &Ast,
    parameter_oids: &[u32],
    is_lifted: bool,
) -> SqlResult<Option<(PointPlan, Vec<u32>)>> {
    if !may_be_point(statement) {
        return Ok(None);
    }
    let is_query = matches!(statement, Ast::Query(_));
    if is_query {
        let plan = planner.plan_ast(statement.clone(), parameter_oids)?;
        let oids = parameter_types(&plan, parameter_oids)?;
        let plan = if oids == parameter_oids { plan } else { planner.plan_ast(statement.clone(), &oids)? };
        return select(&planner, plan, oids, is_lifted);
    }
    let mut oids = parameter_oids.to_vec();
    let (plan, planner) = dml::plan(planner, search_path, statement, &mut oids)?;
    let known = parameter_types(&plan.query, &oids)?;
    if known == oids {
        return change(&planner, plan, oids);
    }
    let target_of = plan.name.clone();
    let mut oids = known;
    let planner = planner.with_target(target_of);
    let (plan, planner) = dml::plan(planner, search_path, statement, &mut oids)?;
    change(&planner, plan, oids)
}

/// The parameters as fields; `None` where a value's type is known only once the value is there.
fn parameter_fields(oids: &[u32]) -> SqlResult<Option<Vec<Arc<Field>>>> {
    let mut fields = Vec::with_capacity(oids.len());
    for number in oids {
        let pg_type = PgType::new(*number);
        if *number == oid::NUMERIC || pg_type.element().is_some() {
            return Ok(None);
        }
        fields.push(Arc::new(pg_type.field("", true)?));
    }
    Ok(Some(fields))
}

fn types_of(fields: &[Arc<Field>]) -> Vec<DataType> {
    fields.iter().map(|field| field.data_type().clone()).collect()
}

/// `Projection(Filter(TableScan))`, taken apart.
struct Parts<'a> {
    outputs: &'a [Expr],
    filter: &'a Expr,
    schema: &'a DFSchema,
    scan: &'a TableScan,
}

fn parts(plan: &LogicalPlan) -> Option<Parts<'_>> {
    let LogicalPlan::Projection(projection) = plan else { return None };
    let LogicalPlan::Filter(filter) = projection.input.as_ref() else { return None };
    let input = match filter.input.as_ref() {
        LogicalPlan::SubqueryAlias(alias) => alias.input.as_ref(),
        other => other,
    };
    let LogicalPlan::TableScan(scan) = input else { return None };
    let plain = scan.projection.is_none() && scan.filters.is_empty() && scan.fetch.is_none();
    plain.then_some(Parts {
        outputs: &projection.expr,
        filter: &filter.predicate,
        schema: filter.input.schema(),
        scan,
    })
}

fn unaliased(expr: &Expr) -> &Expr {
    match expr {
        Expr::Alias(alias) => unaliased(&alias.expr),
        other => other,
    }
}

fn select(
    planner: &Planner,
    plan: LogicalPlan,
    oids: Vec<u32>,
    is_lifted: bool,
) -> SqlResult<Option<(PointPlan, Vec<u32>)>> {
    let fields = result_fields(plan.schema());
    let analysed = planner.analyze(plan)?;
    let Some(parts) = parts(&analysed) else { return Ok(None) };
    let provider = source_as_provider(&parts.scan.source)?;
    let Some(table) = provider.downcast_ref::<StrataTable>() else { return Ok(None) };
    let catalog = Arc::clone(planner.relations().catalog());
    let table = Arc::clone(catalog.table(table.id())?);
    let Some(parameters) = parameter_fields(&oids)? else { return Ok(None) };
    let scope = Scope { planner, table: &table, schema: parts.schema, parameters: &parameters };
    let conjuncts = split_conjunction_owned(parts.filter.clone());
    let Some((access, rest)) = Access::choose(&scope, &conjuncts, false)? else { return Ok(None) };
    let Some(filter) = condition(&scope, rest)? else { return Ok(None) };
    let outputs: Vec<Expr> = parts.outputs.iter().map(|expr| unaliased(expr).clone()).collect();
    if is_lifted && outputs.iter().any(has_parameter) {
        return Ok(None);
    }
    // One that is the same for all rows may be an error without any row: the ordinary route tells.
    if outputs.iter().any(|expr| !expr.any_column_refs() && !matches!(expr, Expr::Literal(..))) {
        return Ok(None);
    }
    let outputs = match plain_columns(&scope, &outputs) {
        Some(columns) => Outputs::Columns(columns.into()),
        None => match Program::compile(&scope, outputs)? {
            Some(program) => Outputs::Computed(program),
            None => return Ok(None),
        },
    };
    let parameters = types_of(&parameters);
    let action = Action::Select(Select { access, filter, outputs, fields });
    Ok(Some((PointPlan { catalog, parameters, table, action }, oids)))
}

fn has_parameter(expr: &Expr) -> bool {
    use datafusion::common::tree_node::TreeNode;
    expr.exists(|expr| Ok(matches!(expr, Expr::Placeholder(_)))).unwrap_or(true)
}

/// A condition of these conjuncts: `Some(None)` for none, `None` where one is not for a point plan.
fn condition(scope: &Scope<'_>, conjuncts: Vec<Expr>) -> SqlResult<Option<Option<Program>>> {
    if conjuncts.is_empty() {
        return Ok(Some(None));
    }
    // One after the other would be another order of evaluation: AND decides as the ordinary route does.
    let all = conjuncts.into_iter().reduce(Expr::and).into_iter().collect();
    Ok(Program::compile(scope, all)?.map(Some))
}

/// The columns, if all outputs are columns that can be sent as they are.
fn plain_columns(scope: &Scope<'_>, outputs: &[Expr]) -> Option<Vec<ColumnId>> {
    outputs
        .iter()
        .map(|expr| {
            let Expr::Column(column) = expr else { return None };
            let (_, field) = scope.schema.qualified_field_from_column(column).ok()?;
            let column = scope.table.schema.by_name(field.name())?;
            crate::postgres::wire::can_send(&column.column_type).then_some(column.id)
        })
        .collect()
}

fn change(planner: &Planner, plan: dml::DmlPlan, oids: Vec<u32>) -> SqlResult<Option<(PointPlan, Vec<u32>)>> {
    let Some(parameters) = parameter_fields(&oids)? else { return Ok(None) };
    if !plan.is_simple || plan.returning.is_some() {
        return Ok(None);
    }
    let catalog = Arc::clone(planner.relations().catalog());
    let table = Arc::clone(&plan.table);
    let analysed = planner.analyze(plan.query)?;
    let action = match plan.action {
        dml::Action::Insert => rows(planner, &table, &analysed, &parameters, &oids)?.map(Action::Insert),
        dml::Action::Update(columns) => {
            target(planner, &table, &analysed, &parameters, &oids, &columns)?.map(Action::Update)
        }
        dml::Action::Delete => {
            target(planner, &table, &analysed, &parameters, &oids, &[])?.map(Action::Delete)
        }
    };
    let parameters = types_of(&parameters);
    Ok(action.map(|action| (PointPlan { catalog, parameters, table, action }, oids)))
}

fn rows(
    planner: &Planner,
    table: &TableDef,
    plan: &LogicalPlan,
    parameters: &[Arc<Field>],
    oids: &[u32],
) -> SqlResult<Option<Vec<Row>>> {
    let LogicalPlan::Values(values) = plan else { return Ok(None) };
    let schema = DFSchema::empty();
    let scope = Scope { planner, table, schema: &schema, parameters };
    let columns: Vec<&Column> = table.schema.live().collect();
    let mut rows = Vec::with_capacity(values.values.len());
    for row in &values.values {
        if row.len() != columns.len() {
            return Ok(None);
        }
        let cells: Vec<(&Column, &Expr)> = columns.iter().copied().zip(row).collect();
        let Some((values, fixed, computed)) = assigned(&scope, &cells, oids)? else { return Ok(None) };
        if !computed.is_empty() {
            return Ok(None);
        }
        rows.push(Row { values, fixed });
    }
    Ok(Some(rows))
}

fn target(
    planner: &Planner,
    table: &TableDef,
    plan: &LogicalPlan,
    parameters: &[Arc<Field>],
    oids: &[u32],
    columns: &[ColumnId],
) -> SqlResult<Option<Change>> {
    let Some(parts) = parts(plan) else { return Ok(None) };
    let scope = Scope { planner, table, schema: parts.schema, parameters };
    let Some((row_id, values)) = parts.outputs.split_first() else { return Ok(None) };
    if !matches!(unaliased(row_id), Expr::Column(column) if column.name == ROW_ID_COLUMN)
        || values.len() != columns.len()
    {
        return Ok(None);
    }
    let conjuncts = split_conjunction_owned(parts.filter.clone());
    let Some((access, rest)) = Access::choose(&scope, &conjuncts, true)? else { return Ok(None) };
    let Some(filter) = condition(&scope, rest)? else { return Ok(None) };
    let Some(recheck) = condition(&scope, conjuncts)? else { return Ok(None) };
    let mut cells = Vec::with_capacity(columns.len());
    for (id, value) in columns.iter().zip(values) {
        let Some(column) = table.schema.column(*id) else { return Ok(None) };
        cells.push((column, value));
    }
    let Some((values, fixed, computed)) = assigned(&scope, &cells, oids)? else { return Ok(None) };
    let values = columns.iter().copied().zip(values).collect();
    Ok(Some(Change { access, filter, recheck, values, fixed, computed }))
}

/// Where the values come from that are stored in columns, and the programs that make them: without a row, and of one.
#[allow(clippy::type_complexity)]
fn assigned(
    scope: &Scope<'_>,
    cells: &[(&Column, &Expr)],
    oids: &[u32],
) -> SqlResult<Option<(Vec<Assigned>, Program, Program)>> {
    let mut values = Vec::with_capacity(cells.len());
    let (mut fixed, mut computed) = (Vec::new(), Vec::new());
    for (column, expr) in cells {
        let expr = unaliased(expr);
        values.push(match plain_parameter(column, expr, oids) {
            Some(index) => Assigned::Parameter(index),
            None if expr.any_column_refs() => {
                computed.push(expr.clone());
                Assigned::Computed(computed.len() - 1)
            }
            None => {
                fixed.push(expr.clone());
                Assigned::Fixed(fixed.len() - 1)
            }
        });
    }
    let Some(fixed) = Program::compile(scope, fixed)? else { return Ok(None) };
    Ok(Program::compile(scope, computed)?.map(|computed| (values, fixed, computed)))
}

/// The parameter that an expression is, if its values are stored as they are.
fn plain_parameter(column: &Column, expr: &Expr, oids: &[u32]) -> Option<usize> {
    let (inner, cast) = match cast_parts(expr) {
        Some((inner, to)) => (inner, Some(to)),
        None => (expr, None),
    };
    let Expr::Placeholder(placeholder) = inner else { return None };
    let index = parameter_index(placeholder)?;
    let pg_type = PgType::new(*oids.get(index)?);
    let wanted = arrow_type(&column.column_type);
    let is_same = pg_type.oid == column.sql_type.oid && pg_type.arrow().ok()? == wanted;
    let is_kept = cast.is_none_or(|to| to == pg_type);
    (is_same && is_kept).then_some(index)
}
