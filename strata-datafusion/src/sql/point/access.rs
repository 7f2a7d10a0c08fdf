//! From conditions to the index that answers them.

use std::ops::Bound;

use datafusion::arrow::datatypes::DataType;
use datafusion::logical_expr::expr::Between;
use datafusion::logical_expr::{BinaryExpr, Expr, ExprSchemable, Operator};
use strata_core::catalog::{IndexDef, TableDef};
use strata_core::ids::{ColumnId, IndexId};
use strata_core::row::{Column, ColumnType, Datum, arrow_type, encode_key, prefix_successor};

use super::program::{Program, Scope, parameter_index};
use super::{Arguments, Ran};
use crate::error::SqlResult;
use crate::postgres::types::oid;
use crate::scalar::scalar_to_datum;

/// How the rows are found.
#[derive(Debug)]
pub(super) struct Access {
    pub(super) index: IndexId,
    /// Values of the index's first columns.
    pub(super) equal: Vec<KeyValue>,
    /// Bounds of the column behind them: the operator and the value.
    pub(super) bounds: Vec<(Operator, KeyValue)>,
    /// Whether the key is a whole key of a unique index: there is one row at most.
    pub(super) is_unique: bool,
}

/// A value of a key's column.
#[derive(Debug)]
pub(super) struct KeyValue {
    pub(super) column: ColumnId,
    source: Source,
}

#[derive(Debug)]
enum Source {
    Parameter(usize),
    Computed(Program),
}

/// The keys that are wanted.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Keys {
    /// None: a value is NULL, or one that the column cannot have.
    None,
    /// This key of a unique index.
    One(Vec<u8>),
    /// A range of keys.
    Range(Bound<Vec<u8>>, Bound<Vec<u8>>),
}

/// A condition `column op value`.
struct Condition<'a> {
    column: &'a Column,
    operator: Operator,
    value: &'a Expr,
    /// Which conjunct it comes from.
    place: usize,
    /// Whether it says all that the conjunct says.
    is_whole: bool,
}

impl Access {
    /// The access for these conjuncts, with the conjuncts that are left to be checked; `None` where no index serves.
    pub(super) fn choose(
        scope: &Scope<'_>,
        conjuncts: &[Expr],
        must_be_unique: bool,
    ) -> SqlResult<Option<(Self, Vec<Expr>)>> {
        let mut conditions = Vec::new();
        for (place, conjunct) in conjuncts.iter().enumerate() {
            conditions_of(scope, conjunct, place, &mut conditions);
        }
        let best = scope
            .table
            .indexes
            .iter()
            .map(|index| (score(index, &conditions), index))
            .filter(|(score, _)| *score > 0)
            .max_by_key(|(score, _)| *score);
        let Some((_, index)) = best else { return Ok(None) };
        let Some((access, consumed)) = Self::of_index(scope, index, &conditions)? else { return Ok(None) };
        if must_be_unique && !access.is_unique {
            return Ok(None);
        }
        let rest = conjuncts
            .iter()
            .enumerate()
            .filter(|(place, _)| !consumed.contains(place))
            .map(|(_, conjunct)| conjunct.clone());
        Ok(Some((access, rest.collect())))
    }

    fn of_index(
        scope: &Scope<'_>,
        index: &IndexDef,
        conditions: &[Condition<'_>],
    ) -> SqlResult<Option<(Self, Vec<usize>)>> {
        let (mut equal, mut bounds, mut consumed) = (Vec::new(), Vec::new(), Vec::new());
        for part in &index.columns {
            let of_column = |condition: &&Condition<'_>| condition.column.id == part.column;
            let same =
                conditions.iter().filter(of_column).find(|condition| condition.operator == Operator::Eq);
            if let Some(condition) = same {
                let Some(value) = KeyValue::compile(scope, condition)? else { return Ok(None) };
                equal.push(value);
                if condition.is_whole {
                    consumed.push(condition.place);
                }
                continue;
            }
            if !part.order.descending {
                // Bounds are checked again on the row: NULLs may lie between them.
                for condition in conditions.iter().filter(of_column) {
                    let Some(value) = KeyValue::compile(scope, condition)? else { return Ok(None) };
                    bounds.push((condition.operator, value));
                }
            }
            break;
        }
        let is_unique = index.unique && equal.len() == index.columns.len();
        Ok(Some((Self { index: index.id, equal, bounds, is_unique }, consumed)))
    }

    /// The keys for these arguments.
    pub(super) fn keys(&self, table: &TableDef, arguments: &Arguments<'_>) -> SqlResult<Ran<Keys>> {
        let Some(index) = table.index(self.index) else { return Ok(Ran::Refused) };
        let mut key = Vec::with_capacity(16);
        let mut parts = index.columns.iter();
        for value in &self.equal {
            let (Some(part), Some(column)) = (parts.next(), table.schema.column(value.column)) else {
                return Ok(Ran::Refused);
            };
            match value.datum(table, column, arguments)? {
                None | Some(Datum::Null) => return Ok(Ran::Done(Keys::None)),
                Some(datum) => encode_key(&mut key, &datum, &column.column_type, part.order)?,
            }
        }
        if self.is_unique {
            return Ok(Ran::Done(Keys::One(key)));
        }
        let Some(part) = parts.next() else {
            let upper = prefix_successor(&key).map_or(Bound::Unbounded, Bound::Excluded);
            return Ok(Ran::Done(Keys::Range(Bound::Included(key), upper)));
        };
        let mut lower = key.clone();
        let mut upper = prefix_successor(&key);
        for (operator, value) in &self.bounds {
            let Some(column) = table.schema.column(value.column) else { return Ok(Ran::Refused) };
            let mut bound = key.clone();
            match value.datum(table, column, arguments)? {
                None => return Ok(Ran::Refused),
                Some(Datum::Null) => return Ok(Ran::Done(Keys::None)),
                Some(datum) => encode_key(&mut bound, &datum, &column.column_type, part.order)?,
            }
            // All keys that start with the bound lie in [bound, after).
            let after = prefix_successor(&bound);
            match operator {
                Operator::GtEq => lower = lower.max(bound),
                Operator::Gt => match after {
                    Some(after) => lower = lower.max(after),
                    None => return Ok(Ran::Done(Keys::None)),
                },
                Operator::Lt => upper = least(upper, Some(bound)),
                Operator::LtEq => upper = least(upper, after),
                _ => return Ok(Ran::Refused),
            }
        }
        if upper.as_ref().is_some_and(|upper| *upper <= lower) {
            return Ok(Ran::Done(Keys::None));
        }
        let upper = upper.map_or(Bound::Unbounded, Bound::Excluded);
        Ok(Ran::Done(Keys::Range(Bound::Included(lower), upper)))
    }
}

fn least(one: Option<Vec<u8>>, other: Option<Vec<u8>>) -> Option<Vec<u8>> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}

/// How well an index serves: 0 not at all.
fn score(index: &IndexDef, conditions: &[Condition<'_>]) -> usize {
    let has = |column: ColumnId, equal: bool| {
        conditions
            .iter()
            .any(|condition| condition.column.id == column && (condition.operator == Operator::Eq) == equal)
    };
    let equal = index.columns.iter().take_while(|part| has(part.column, true)).count();
    let ranged =
        index.columns.get(equal).is_some_and(|part| !part.order.descending && has(part.column, false));
    let whole = index.unique && equal == index.columns.len();
    usize::from(whole) * 1_000 + equal * 10 + usize::from(ranged)
}

fn conditions_of<'a>(scope: &Scope<'a>, conjunct: &'a Expr, place: usize, out: &mut Vec<Condition<'a>>) {
    match conjunct {
        Expr::BinaryExpr(BinaryExpr { left, op, right }) if is_ordering(*op) => {
            if let Some(column) = key_column(scope, left)
                && fits(scope, right, column)
            {
                out.push(Condition { column, operator: *op, value: right, place, is_whole: true });
            } else if let Some(column) = key_column(scope, right)
                && fits(scope, left, column)
                && let Some(operator) = op.swap()
            {
                out.push(Condition { column, operator, value: left, place, is_whole: true });
            }
        }
        Expr::Between(Between { expr, negated: false, low, high }) => {
            if let Some(column) = key_column(scope, expr)
                && fits(scope, low, column)
                && fits(scope, high, column)
            {
                for (operator, value) in [(Operator::GtEq, low), (Operator::LtEq, high)] {
                    out.push(Condition { column, operator, value, place, is_whole: false });
                }
            }
        }
        _ => {}
    }
}

fn is_ordering(operator: Operator) -> bool {
    matches!(operator, Operator::Eq | Operator::Lt | Operator::LtEq | Operator::Gt | Operator::GtEq)
}

/// The column that an expression is, where its keys compare as SQL does.
fn key_column<'a>(scope: &Scope<'a>, expr: &Expr) -> Option<&'a Column> {
    let inner = match expr {
        // An integer brought to the other side's width keeps its order.
        Expr::Cast(cast) => match cast.expr.as_ref() {
            inner @ Expr::Column(_) if cast.field.data_type().is_signed_integer() => inner,
            _ => return None,
        },
        other => other,
    };
    let Expr::Column(column) = inner else { return None };
    let (_, field) = scope.schema.qualified_field_from_column(column).ok()?;
    let found = scope.table.schema.by_name(field.name())?;
    if inner != expr && !(is_integer(&found.column_type) && widens(expr, &found.column_type)) {
        return None;
    }
    let comparable = match &found.column_type {
        ColumnType::Float32 | ColumnType::Float64 | ColumnType::Interval | ColumnType::Array(_) => false,
        ColumnType::Text => matches!(found.sql_type.oid, 0 | oid::TEXT | oid::VARCHAR | oid::NAME),
        _ => true,
    };
    comparable.then_some(found)
}

fn is_integer(column_type: &ColumnType) -> bool {
    matches!(column_type, ColumnType::Int16 | ColumnType::Int32 | ColumnType::Int64)
}

fn widens(cast: &Expr, from: &ColumnType) -> bool {
    let Expr::Cast(cast) = cast else { return false };
    matches!(
        (from, cast.field.data_type()),
        (ColumnType::Int16, DataType::Int16 | DataType::Int32 | DataType::Int64)
            | (ColumnType::Int32, DataType::Int32 | DataType::Int64)
            | (ColumnType::Int64, DataType::Int64)
    )
}

/// Whether an expression is a value, the same for all rows, of a type that the column's keys can be looked up by.
fn fits(scope: &Scope<'_>, value: &Expr, column: &Column) -> bool {
    if value.any_column_refs() {
        return false;
    }
    let Ok(data_type) = value.get_type(scope.schema) else { return false };
    data_type == arrow_type(&column.column_type)
        || (is_integer(&column.column_type) && data_type.is_signed_integer())
}

impl KeyValue {
    fn compile(scope: &Scope<'_>, condition: &Condition<'_>) -> SqlResult<Option<Self>> {
        let column = condition.column.id;
        if let Expr::Placeholder(placeholder) = condition.value {
            let Some(index) = parameter_index(placeholder) else { return Ok(None) };
            return Ok(Some(Self { column, source: Source::Parameter(index) }));
        }
        let program = Program::compile(scope, vec![condition.value.clone()])?;
        Ok(program.map(|program| Self { column, source: Source::Computed(program) }))
    }

    /// The value; `None` where it is none that the column can have.
    fn datum(
        &self,
        table: &TableDef,
        column: &Column,
        arguments: &Arguments<'_>,
    ) -> SqlResult<Option<Datum>> {
        Ok(match &self.source {
            Source::Parameter(index) => {
                arguments.parameters.get(*index).and_then(|value| scalar_to_datum(value, &column.column_type))
            }
            Source::Computed(program) => {
                scalar_to_datum(&program.scalar(table, arguments)?, &column.column_type)
            }
        })
    }
}

/// What a conjunct says, as EXPLAIN shows it.
pub(super) fn shown(access: &Access, table: &TableDef) -> String {
    let name = |column: ColumnId| table.schema.column(column).map_or("?", |column| column.name.as_str());
    let equal = access.equal.iter().map(|value| format!("{} =", name(value.column)));
    let bounds = access.bounds.iter().map(|(operator, value)| format!("{} {operator}", name(value.column)));
    equal.chain(bounds).collect::<Vec<_>>().join(", ")
}
