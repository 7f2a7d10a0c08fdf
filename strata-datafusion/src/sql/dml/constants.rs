//! Long INSERT … VALUES of constants: their values are read column by column.
//!
//! As a plan, each value would be an expression that every rule of the planner visits. Here a column's literals and
//! parameters become arrays, one for each type there is among them, which are cast as a whole; what is left to plan are
//! the defaults of columns that are not named. A value that is no constant sends the statement the ordinary way.

use std::collections::HashMap;
use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, new_null_array};
use datafusion::arrow::compute::interleave;
use datafusion::arrow::datatypes::{DataType, Schema, SchemaRef};
use datafusion::arrow::record_batch::{RecordBatch, RecordBatchOptions};
use datafusion::common::{Column as PlanColumn, ScalarValue};
use datafusion::datasource::{MemTable, provider_as_source};
use datafusion::logical_expr::{Expr as PlanExpr, LogicalPlan, LogicalPlanBuilder};
use datafusion::sql::sqlparser::ast::{Expr, Insert, SetExpr, UnaryOperator, Value};
use strata_core::row::{Column, arrow_type};

use super::insert::{is_default, is_plain, named_columns, placeholder};
use super::plan::{Target, assign_default, assigned_type, parse_one};
use super::values::exactly;
use crate::error::{SqlError, SqlResult};
use crate::postgres::cast::{CastContext, cast_array, target_arrow};
use crate::postgres::input::number::parse_decimal;
use crate::postgres::operators::check_assignment;
use crate::postgres::types::{PgType, oid};
use crate::sql::plan::Planner;

/// As many rows as this are planned as they are.
const FEW_ROWS: usize = 64;

/// A constant of a row.
#[derive(Clone, Debug)]
enum Cell {
    Null,
    /// In quotes: of any type.
    Text(String),
    Value(PgType, ScalarValue),
    /// A parameter, from 0.
    Parameter(usize),
}

/// The rows of an INSERT.
#[derive(Clone, Debug)]
pub(crate) struct ConstantRows {
    count: usize,
    columns: Vec<ConstantColumn>,
    /// The types of parameters that follow from the columns they go to: number from 1, type.
    pub(super) parameters: Vec<(usize, PgType)>,
}

#[derive(Clone, Debug)]
struct ConstantColumn {
    column: Column,
    /// `None` for one whose default is planned.
    cells: Option<Vec<Cell>>,
}

/// Reads the rows of a statement; `None` if it is for the ordinary way.
pub(super) fn read(target: &Target<'_>, statement: &Insert) -> SqlResult<Option<ConstantRows>> {
    let Some(source) = &statement.source else { return Ok(None) };
    let SetExpr::Values(values) = source.body.as_ref() else { return Ok(None) };
    if !is_plain(source) || values.rows.len() <= FEW_ROWS {
        return Ok(None);
    }
    let live: Vec<&Column> = target.table.schema.live().collect();
    let mut named = named_columns(target, statement, &live)?;
    let width = values.rows.first().map_or(0, |row| row.content.len());
    if width != named.len() && (width > named.len() || !statement.columns.is_empty()) {
        return Ok(None);
    }
    named.truncate(width);
    let mut parameters = Vec::new();
    let mut cells: Vec<Vec<Cell>> = vec![Vec::with_capacity(values.rows.len()); width];
    for row in &values.rows {
        if row.content.len() != width {
            return Err(SqlError::syntax("VALUES lists must all be the same length"));
        }
        for ((value, place), cells) in row.content.iter().zip(&named).zip(&mut cells) {
            let Some(cell) = constant(value, live[*place]) else { return Ok(None) };
            if let Cell::Parameter(index) = cell {
                parameters.push((index + 1, PgType::from(live[*place].sql_type)));
            }
            cells.push(cell);
        }
    }
    let mut columns: Vec<ConstantColumn> =
        live.iter().map(|column| ConstantColumn { column: (*column).clone(), cells: None }).collect();
    for (place, cells) in named.into_iter().zip(cells) {
        columns[place].cells = Some(cells);
    }
    Ok(Some(ConstantRows { count: values.rows.len(), columns, parameters }))
}

fn constant(value: &Expr, column: &Column) -> Option<Cell> {
    if is_default(value) {
        return column.default.is_none().then_some(Cell::Null);
    }
    if let Some(number) = placeholder(value) {
        return number.checked_sub(1).map(Cell::Parameter);
    }
    match value {
        Expr::Nested(inner) => constant(inner, column),
        Expr::UnaryOp { op: UnaryOperator::Minus, expr } => match expr.as_ref() {
            Expr::Value(value) => match &value.value {
                Value::Number(text, _) => number(&format!("-{text}")),
                _ => None,
            },
            _ => None,
        },
        Expr::Value(value) => match &value.value {
            Value::Null => Some(Cell::Null),
            Value::Boolean(value) => {
                Some(Cell::Value(PgType::new(oid::BOOL), ScalarValue::Boolean(Some(*value))))
            }
            Value::SingleQuotedString(text) | Value::EscapedStringLiteral(text) => {
                Some(Cell::Text(text.clone()))
            }
            Value::Number(text, _) => number(text),
            _ => None,
        },
        _ => None,
    }
}

/// A number of digits, with or without a point.
fn number(text: &str) -> Option<Cell> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    if !digits.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') {
        return None;
    }
    if digits.contains('.') {
        let exact = parse_decimal(text).and_then(|exact| exact.unconstrained()).ok()?;
        return Some(Cell::Value(PgType::new(oid::NUMERIC), exact));
    }
    let whole: i64 = text.parse().ok()?;
    let fits = i32::try_from(whole).is_ok();
    let found = PgType::new(if fits { oid::INT4 } else { oid::INT8 });
    Some(Cell::Value(found, ScalarValue::Int64(Some(whole))))
}

impl ConstantRows {
    /// The columns that are not planned.
    fn schema(&self) -> SqlResult<SchemaRef> {
        let given = self.columns.iter().filter(|column| column.is_given());
        let fields = given.map(|given| {
            let pg_type = PgType::from(given.column.sql_type);
            let field = pg_type.field(&given.column.name, true)?;
            Ok(field.with_data_type(arrow_type(&given.column.column_type)))
        });
        Ok(Arc::new(Schema::new(fields.collect::<SqlResult<Vec<_>>>()?)))
    }

    /// The query of the rows, which are put into it when it runs.
    pub(super) fn plan(&self, planner: &Planner) -> SqlResult<LogicalPlan> {
        let table = MemTable::try_new(self.schema()?, vec![vec![]])?;
        let scan = LogicalPlanBuilder::scan("values", provider_as_source(Arc::new(table)), None)?;
        if self.columns.iter().all(ConstantColumn::is_given) {
            return Ok(scan.build()?);
        }
        let mut outputs = Vec::with_capacity(self.columns.len());
        for given in &self.columns {
            outputs.push(if given.is_given() {
                PlanExpr::Column(PlanColumn::new(Some("values"), &given.column.name))
            } else {
                default_of(planner, &given.column)?.alias(&given.column.name)
            });
        }
        Ok(scan.project(outputs)?.build()?)
    }

    /// The rows, with these values of the parameters.
    pub(super) fn batch(
        &self,
        parameters: &[(PgType, ScalarValue)],
        context: &CastContext,
    ) -> SqlResult<RecordBatch> {
        let given = self.columns.iter().filter(|column| column.is_given());
        let arrays = given.map(|given| given.array(self.count, parameters, context));
        let arrays = arrays.collect::<SqlResult<Vec<_>>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(self.count));
        RecordBatch::try_new_with_options(self.schema()?, arrays, &options)
            .map_err(|error| SqlError::internal(error.to_string()))
    }
}

/// A column's default as a planned expression.
fn default_of(planner: &Planner, column: &Column) -> SqlResult<PlanExpr> {
    let plan = planner.plan_ast(parse_one(&format!("SELECT {}", assign_default(column)))?, &[])?;
    match plan {
        LogicalPlan::Projection(projection) if projection.expr.len() == 1 => {
            Ok(projection.expr[0].clone().unalias())
        }
        _ => Err(SqlError::internal(format!("the default of column \"{}\" is no expression", column.name))),
    }
}

/// The values of one type among a column's.
struct Group {
    pg_type: PgType,
    values: Vec<ScalarValue>,
}

impl ConstantColumn {
    /// Whether its values are in the rows: those of a column without values and default are all NULL.
    fn is_given(&self) -> bool {
        self.cells.is_some() || self.column.default.is_none()
    }

    fn array(
        &self,
        count: usize,
        parameters: &[(PgType, ScalarValue)],
        context: &CastContext,
    ) -> SqlResult<ArrayRef> {
        let stored = arrow_type(&self.column.column_type);
        let Some(cells) = &self.cells else { return Ok(new_null_array(&stored, count)) };
        let mut groups: Vec<Group> = Vec::new();
        let mut places: HashMap<(u32, DataType), usize> = HashMap::new();
        // Of each row the group, from 1, and the place in it; 0 is NULL.
        let mut rows = Vec::with_capacity(count);
        for cell in cells {
            let (pg_type, value) = match cell {
                Cell::Null => {
                    rows.push((0, 0));
                    continue;
                }
                Cell::Text(text) => (PgType::new(oid::UNKNOWN), ScalarValue::Utf8View(Some(text.clone()))),
                Cell::Value(pg_type, value) => (*pg_type, value.clone()),
                Cell::Parameter(index) => parameters
                    .get(*index)
                    .cloned()
                    .ok_or_else(|| SqlError::internal("a parameter is missing"))?,
            };
            let place = *places.entry((pg_type.oid, value.data_type())).or_insert_with(|| {
                groups.push(Group { pg_type, values: Vec::new() });
                groups.len() - 1
            });
            rows.push((place + 1, groups[place].values.len()));
            groups[place].values.push(value);
        }
        let mut arrays = vec![new_null_array(&stored, 1)];
        for group in groups {
            arrays.push(self.cast(group, context)?);
        }
        let arrays: Vec<&dyn Array> = arrays.iter().map(AsRef::as_ref).collect();
        interleave(&arrays, &rows).map_err(|error| SqlError::internal(error.to_string()))
    }

    /// The values as the column stores them.
    fn cast(&self, group: Group, context: &CastContext) -> SqlResult<ArrayRef> {
        let to = assigned_type(PgType::from(self.column.sql_type));
        let from = group.pg_type;
        let known = (from.oid != oid::UNKNOWN).then_some(from);
        check_assignment(known, to, "expression", &self.column.name)?;
        let array = ScalarValue::iter_to_array(group.values)?;
        let target = target_arrow(array.data_type(), to)?;
        exactly(&cast_array(&array, from, to, &target, context)?, &self.column)
    }
}
