//! Expressions over one row: DataFusion physical expressions whose columns are the row's, the parameters and the time.

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray};
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use datafusion::arrow::record_batch::{RecordBatch, RecordBatchOptions};
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, DFSchema, ScalarValue, TableReference};
use datafusion::logical_expr::expr::{Placeholder, ScalarFunction};
use datafusion::logical_expr::{Expr, ExprSchemable, Volatility};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::utils::{collect_columns, reassign_expr_columns};
use strata_core::catalog::TableDef;
use strata_core::ids::ColumnId;
use strata_core::row::{ColumnBuilder, Datum};

use super::Arguments;
use crate::error::{SqlError, SqlResult};
use crate::postgres::types::PgType;
use crate::sql::plan::Planner;
use crate::sql::rewrite::CAST;

/// Expressions and what they need.
#[derive(Debug)]
pub(super) struct Program {
    inputs: Vec<Input>,
    schema: SchemaRef,
    expressions: Vec<Arc<dyn PhysicalExpr>>,
}

/// Where a column of the batch comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Input {
    Column(ColumnId),
    Parameter(usize),
    /// When the transaction began, of this type.
    Now(DataType),
}

/// What expressions can be compiled over.
pub(super) struct Scope<'a> {
    pub(super) planner: &'a Planner,
    pub(super) table: &'a TableDef,
    /// The columns of the row, qualified as the plan has them.
    pub(super) schema: &'a DFSchema,
    pub(super) parameters: &'a [Arc<Field>],
}

const NOW: &str = "\u{1}now";

/// The name of a parameter's column.
fn parameter_name(index: usize) -> String {
    format!("\u{1}{index}")
}

/// The parameter from 0 that a placeholder stands for.
pub(super) fn parameter_index(placeholder: &Placeholder) -> Option<usize> {
    placeholder.id.strip_prefix('$')?.parse::<usize>().ok()?.checked_sub(1)
}

impl Program {
    /// No expressions.
    pub(super) fn empty() -> Self {
        Self { inputs: Vec::new(), schema: Arc::new(Schema::empty()), expressions: Vec::new() }
    }

    /// Compiles expressions; `None` where one is not for a point plan.
    pub(super) fn compile(scope: &Scope<'_>, expressions: Vec<Expr>) -> SqlResult<Option<Self>> {
        if expressions.is_empty() {
            return Ok(Some(Self::empty()));
        }
        let Some(all) = scope.inputs(&expressions)? else { return Ok(None) };
        let fields = all.iter().map(|(qualifier, field, _)| (qualifier.clone(), field.clone())).collect();
        let schema = DFSchema::new_with_metadata(fields, Default::default())?;
        let mut compiled = Vec::with_capacity(expressions.len());
        for expression in expressions {
            let Some(expression) = replace(expression, &schema)? else { return Ok(None) };
            compiled.push(scope.planner.compile(expression, &schema)?);
        }
        let mut used: Vec<usize> =
            compiled.iter().flat_map(collect_columns).map(|column| column.index()).collect();
        used.sort_unstable();
        used.dedup();
        let mut inputs = Vec::with_capacity(used.len());
        let mut fields = Vec::with_capacity(used.len());
        for place in used {
            let Some((_, field, input)) = all.get(place) else { return Ok(None) };
            // By its own name only: qualified ones cannot be told apart here, and there is one table.
            fields.push(field.as_ref().clone());
            inputs.push(input.clone());
        }
        let schema = Arc::new(Schema::new(fields));
        let expressions = compiled
            .into_iter()
            .map(|expr| reassign_expr_columns(expr, &schema))
            .collect::<Result<Vec<_>, _>>()?;
        Ok(Some(Self { inputs, schema, expressions }))
    }

    /// Whether there is nothing to evaluate.
    pub(super) fn is_empty(&self) -> bool {
        self.expressions.is_empty()
    }

    /// The expressions as EXPLAIN shows them.
    pub(super) fn shown(&self) -> String {
        let shown: Vec<String> =
            self.expressions.iter().map(|expr| expr.to_string().replace('\u{1}', "$")).collect();
        shown.join(", ")
    }

    /// The values, each an array of one element. `row` gives the row's columns.
    pub(super) fn evaluate(
        &self,
        table: &TableDef,
        arguments: &Arguments<'_>,
        row: impl Fn(ColumnId) -> SqlResult<Datum>,
    ) -> SqlResult<Vec<ArrayRef>> {
        let batch = self.batch(table, arguments, row)?;
        self.expressions
            .iter()
            .map(|expr| Ok(expr.evaluate(&batch)?.into_array(1)?))
            .collect::<SqlResult<Vec<_>>>()
    }

    /// Whether the program, one condition, is true.
    pub(super) fn holds(
        &self,
        table: &TableDef,
        arguments: &Arguments<'_>,
        row: impl Fn(ColumnId) -> SqlResult<Datum>,
    ) -> SqlResult<bool> {
        let results = self.evaluate(table, arguments, row)?;
        results.iter().try_fold(true, |so_far, result| {
            let result = result
                .as_boolean_opt()
                .ok_or_else(|| SqlError::internal("a condition that is no boolean"))?;
            Ok(so_far && !result.is_empty() && result.is_valid(0) && result.value(0))
        })
    }

    /// The value of the program's one expression, which needs no row.
    pub(super) fn scalar(&self, table: &TableDef, arguments: &Arguments<'_>) -> SqlResult<ScalarValue> {
        let no_row = |_| Err(SqlError::internal("a key that depends on the row"));
        let results = self.evaluate(table, arguments, no_row)?;
        let result = results.first().ok_or_else(|| SqlError::internal("an empty program"))?;
        Ok(ScalarValue::try_from_array(result, 0)?)
    }

    fn batch(
        &self,
        table: &TableDef,
        arguments: &Arguments<'_>,
        row: impl Fn(ColumnId) -> SqlResult<Datum>,
    ) -> SqlResult<RecordBatch> {
        let mut arrays: Vec<ArrayRef> = Vec::with_capacity(self.inputs.len());
        for input in &self.inputs {
            arrays.push(match input {
                Input::Column(id) => {
                    let column = table
                        .schema
                        .column(*id)
                        .ok_or_else(|| SqlError::internal("a column vanished from its table"))?;
                    let mut builder = ColumnBuilder::new(&column.column_type, 1);
                    builder.push_datum(&row(*id)?)?;
                    builder.finish()
                }
                Input::Parameter(index) => arguments
                    .parameters
                    .get(*index)
                    .ok_or_else(|| SqlError::internal("a parameter is missing"))?
                    .to_array()?,
                Input::Now(data_type) => now_scalar(data_type, arguments).to_array()?,
            });
        }
        let options = RecordBatchOptions::new().with_row_count(Some(1));
        RecordBatch::try_new_with_options(Arc::clone(&self.schema), arrays, &options)
            .map_err(|error| SqlError::internal(error.to_string()))
    }
}

fn now_scalar(data_type: &DataType, arguments: &Arguments<'_>) -> ScalarValue {
    let zone = match data_type {
        DataType::Timestamp(_, zone) => zone.clone(),
        _ => None,
    };
    match data_type {
        DataType::Timestamp(TimeUnit::Nanosecond, _) => {
            ScalarValue::TimestampNanosecond(arguments.now.timestamp_nanos_opt(), zone)
        }
        _ => ScalarValue::TimestampMicrosecond(Some(arguments.now.timestamp_micros()), zone),
    }
}

impl Scope<'_> {
    /// All that expressions may name: the row's columns, the parameters, the time.
    #[allow(clippy::type_complexity)]
    fn inputs(
        &self,
        expressions: &[Expr],
    ) -> SqlResult<Option<Vec<(Option<TableReference>, Arc<Field>, Input)>>> {
        let mut inputs = Vec::new();
        for (qualifier, field) in self.schema.iter() {
            if field.name() == crate::provider::ROW_ID_COLUMN {
                continue;
            }
            let Some(column) = self.table.schema.by_name(field.name()) else { return Ok(None) };
            inputs.push((qualifier.cloned(), Arc::clone(field), Input::Column(column.id)));
        }
        for (index, field) in self.parameters.iter().enumerate() {
            let named = field.as_ref().clone().with_name(parameter_name(index)).with_nullable(true);
            inputs.push((None, Arc::new(named), Input::Parameter(index)));
        }
        let mut now = None;
        for expression in expressions {
            expression.apply(|expr| {
                if let Some(data_type) = now_type(expr) {
                    now = Some(data_type);
                }
                Ok(TreeNodeRecursion::Continue)
            })?;
        }
        if let Some(data_type) = now {
            let field = Field::new(NOW, data_type.clone(), false);
            inputs.push((None, Arc::new(field), Input::Now(data_type)));
        }
        Ok(Some(inputs))
    }
}

/// The type of now() and its relatives that mean the transaction's beginning.
fn now_type(expr: &Expr) -> Option<DataType> {
    let Expr::ScalarFunction(ScalarFunction { func, args }) = expr else { return None };
    if !args.is_empty() || !matches!(func.name(), "now" | "current_timestamp" | "transaction_timestamp") {
        return None;
    }
    match expr.get_type(&DFSchema::empty()) {
        Ok(data_type @ DataType::Timestamp(TimeUnit::Microsecond | TimeUnit::Nanosecond, Some(_))) => {
            Some(data_type)
        }
        _ => None,
    }
}

/// Parameters and now() into columns; `None` where an expression depends on more than row, parameters and time.
fn replace(expression: Expr, schema: &DFSchema) -> SqlResult<Option<Expr>> {
    let mut fits = true;
    let replaced = expression.transform_up(|expr| {
        if now_type(&expr).is_some() {
            return Ok(Transformed::yes(Expr::Column(Column::new_unqualified(NOW))));
        }
        match &expr {
            Expr::Placeholder(placeholder) => {
                let Some(index) = parameter_index(placeholder) else {
                    fits = false;
                    return Ok(Transformed::no(expr));
                };
                let column = Expr::Column(Column::new_unqualified(parameter_name(index)));
                return Ok(Transformed::yes(column));
            }
            Expr::ScalarFunction(function) => {
                fits &= function.func.signature().volatility == Volatility::Immutable
                    || is_steady_cast(function, schema);
            }
            Expr::Column(_)
            | Expr::Literal(..)
            | Expr::BinaryExpr(_)
            | Expr::Like(_)
            | Expr::SimilarTo(_)
            | Expr::Not(_)
            | Expr::IsNotNull(_)
            | Expr::IsNull(_)
            | Expr::IsTrue(_)
            | Expr::IsFalse(_)
            | Expr::IsUnknown(_)
            | Expr::IsNotTrue(_)
            | Expr::IsNotFalse(_)
            | Expr::IsNotUnknown(_)
            | Expr::Negative(_)
            | Expr::Between(_)
            | Expr::Case(_)
            | Expr::Cast(_)
            | Expr::TryCast(_)
            | Expr::InList(_)
            | Expr::Alias(_) => {}
            _ => fits = false,
        }
        Ok(Transformed::no(expr))
    })?;
    Ok(fits.then_some(replaced.data))
}

/// Whether a call is a cast that depends on nothing but its value and the session's zone, which a plan holds for. Text
/// may say 'now'.
fn is_steady_cast(function: &ScalarFunction, schema: &DFSchema) -> bool {
    let [value, oid, _] = function.args.as_slice() else { return false };
    let Expr::Literal(ScalarValue::Int64(Some(oid)), _) = oid else { return false };
    let (Ok(oid), Ok(from)) = (u32::try_from(*oid), value.get_type(schema)) else { return false };
    let is_plain = |text: &str| text.starts_with(|first: char| first.is_ascii_digit());
    let says_when =
        matches!(value, Expr::Literal(text, _) if text.try_as_str().flatten().is_some_and(is_plain));
    let reads_time = matches!(PgType::new(oid).category(), 'D' | 'T') && from.is_string() && !says_when;
    function.func.name() == CAST && !reads_time && !crate::postgres::cast::is_reference(oid)
}

/// What a cast casts, and to which type.
pub(super) fn cast_parts(expr: &Expr) -> Option<(&Expr, PgType)> {
    let Expr::ScalarFunction(ScalarFunction { func, args }) = expr else { return None };
    let [
        value,
        Expr::Literal(ScalarValue::Int64(Some(oid)), _),
        Expr::Literal(ScalarValue::Int64(Some(modifier)), _),
    ] = args.as_slice()
    else {
        return None;
    };
    let (oid, modifier) = (u32::try_from(*oid).ok()?, i32::try_from(*modifier).ok()?);
    (func.name() == CAST).then_some((value, PgType { oid, modifier }))
}
