//! `x op ANY (…)` and `x op ALL (…)`.
//!
//! Of an array they become an operator of their own, which [`operators`](crate::postgres::operators) plans. Of a subquery,
//! `= ANY` is IN and `<> ALL` is NOT IN; the others follow from the least and the greatest value, how many values there
//! are and how many are NULL, which aggregates say:
//!
//! ```sql
//! CASE WHEN x > (SELECT min(v) …) THEN true          -- x > ANY (SELECT v …)
//!      WHEN (SELECT no rows) THEN false
//!      WHEN x IS NULL OR (SELECT some v is NULL) THEN NULL
//!      ELSE false END
//! ```

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    BinaryOperator, CaseWhen, Expr, Ident, Query, SelectItem, SetExpr, TableAlias, TableAliasColumnDef,
    TableFactor, TableWithJoins, UnaryOperator, Value, Visit, Visitor,
    helpers::attached_token::AttachedToken,
};

use super::exists::{count_of_rows, empty_select, is_ungrouped, some_rows};
use super::expressions::cast;
use super::{call, quoted};
use crate::error::{SqlError, SqlResult};
use crate::postgres::types::{PgType, oid};

/// Gives names to subqueries that are looked at from outside, and to their one column. No other relation or column of
/// the statement has them.
#[derive(Debug, Default)]
pub(super) struct Names {
    given: usize,
}

impl Names {
    fn next(&mut self) -> Ident {
        self.given += 1;
        quoted(format!("\u{1}value{}", self.given))
    }
}

/// Rewrites an ANY or ALL.
pub(super) fn rewrite(expr: &mut Expr, names: &mut Names) -> SqlResult<()> {
    let (left, op, right, all) = match expr {
        Expr::AnyOp { left, compare_op, right, .. } => (left, compare_op, right, false),
        Expr::AllOp { left, compare_op, right } => (left, compare_op, right, true),
        _ => return Ok(()),
    };
    let (left, op) = (left.as_ref().clone(), op.clone());
    *expr = match right.as_mut() {
        Expr::Subquery(query) => of_subquery(left, &op, query, all, names)?,
        array => {
            let symbol = format!("{op} {}", if all { "ALL" } else { "ANY" });
            binary(left, BinaryOperator::Custom(symbol), array.clone())
        }
    };
    Ok(())
}

fn of_subquery(
    left: Expr,
    op: &BinaryOperator,
    query: &Query,
    all: bool,
    names: &mut Names,
) -> SqlResult<Expr> {
    if matches!(left, Expr::Tuple(_)) {
        return Err(SqlError::unsupported("ANY and ALL of rows are not supported"));
    }
    let mut extreme = |name: &str| {
        let value = aggregate(query, names, |value| call(name, vec![value]));
        binary(left.clone(), op.clone(), value)
    };
    let holds = match (op, all) {
        (BinaryOperator::Eq, false) | (BinaryOperator::NotEq, true) => {
            return Ok(Expr::InSubquery {
                expr: Box::new(left),
                subquery: Box::new(query.clone()),
                negated: all,
            });
        }
        (BinaryOperator::NotEq, false) => binary(extreme("min"), BinaryOperator::Or, extreme("max")),
        (BinaryOperator::Eq, true) => binary(extreme("min"), BinaryOperator::And, extreme("max")),
        (BinaryOperator::Gt | BinaryOperator::GtEq, false) => extreme("min"),
        (BinaryOperator::Lt | BinaryOperator::LtEq, false) => extreme("max"),
        (BinaryOperator::Gt | BinaryOperator::GtEq, true) => extreme("max"),
        (BinaryOperator::Lt | BinaryOperator::LtEq, true) => extreme("min"),
        _ => {
            let word = if all { "ALL" } else { "ANY" };
            return Err(SqlError::unsupported(format!("{op} {word} of a subquery is not supported")));
        }
    };
    // ANY is decided by a comparison that is true, ALL by one that is false.
    let holds = if all { not(holds) } else { holds };
    Ok(decided(left, query, holds, (all, false), names))
}

/// `CASE WHEN decision THEN … END`: true for ANY, false for ALL, unless `negated`.
fn decided(
    left: Expr,
    query: &Query,
    decision: Expr,
    (all, negated): (bool, bool),
    names: &mut Names,
) -> Expr {
    let mut is_kind =
        |wanted: i64| binary(aggregate(query, names, kind_of_values), BinaryOperator::Eq, number(wanted));
    let empty = is_kind(EMPTY);
    let unknown = binary(Expr::IsNull(Box::new(left)), BinaryOperator::Or, is_kind(SOME_NULL));
    let otherwise = all != negated;
    case(
        vec![
            (decision, boolean(!otherwise)),
            (empty, boolean(otherwise)),
            (unknown, cast(Expr::value(Value::Null), PgType::new(oid::BOOL))),
        ],
        boolean(otherwise),
    )
}

/// `x [NOT] IN (SELECT v …)` where DataFusion runs no IN: as `= ANY`, which some value that equals x decides.
pub(super) fn of_membership(left: Expr, query: &Query, negated: bool, names: &mut Names) -> Expr {
    let value = names.next();
    let mut rows = aggregate_outside(query, value.clone(), |_| some_rows());
    if let Expr::Subquery(counted) = &mut rows
        && let SetExpr::Select(select) = counted.body.as_mut()
    {
        select.selection = Some(binary(Expr::Identifier(value), BinaryOperator::Eq, left.clone()));
    }
    decided(left, query, rows, (false, negated), names)
}

const EMPTY: i64 = 0;
const SOME_NULL: i64 = 1;
const NO_NULL: i64 = 2;

/// `CASE WHEN count(*) = 0 THEN … WHEN count(value) < count(*) THEN … ELSE … END`.
fn kind_of_values(value: Expr) -> Expr {
    let rows = count_of_rows();
    let none = binary(rows.clone(), BinaryOperator::Eq, number(0));
    let some_null = binary(call("count", vec![value]), BinaryOperator::Lt, rows);
    case(vec![(none, number(EMPTY)), (some_null, number(SOME_NULL))], number(NO_NULL))
}

/// `(SELECT aggregate(value) FROM (query) AS name (value))`, or in the query itself where it has no groups: there it
/// may refer to the query around it.
fn aggregate(query: &Query, names: &mut Names, of: impl Fn(Expr) -> Expr) -> Expr {
    let name = names.next();
    let mut counted = query.clone();
    if query.limit_clause.is_none()
        && query.fetch.is_none()
        && let SetExpr::Select(select) = counted.body.as_mut()
        && let [SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. }] =
            select.projection.as_slice()
        && is_ungrouped(select)
        && !may_aggregate(expr)
    {
        let expr = expr.clone();
        select.projection = vec![SelectItem::ExprWithAlias { expr: of(expr), alias: name }];
        counted.order_by = None;
        return Expr::Subquery(Box::new(counted));
    }
    aggregate_outside(query, name, of)
}

/// The same, of the query's rows from outside.
fn aggregate_outside(query: &Query, name: Ident, of: impl Fn(Expr) -> Expr) -> Expr {
    let mut counted = query.clone();
    let mut outer = empty_select();
    let value = of(Expr::Identifier(name.clone()));
    outer.projection = vec![SelectItem::ExprWithAlias { expr: value, alias: quoted("aggregate") }];
    let alias = TableAlias {
        explicit: true,
        columns: vec![TableAliasColumnDef { name: name.clone(), data_type: None }],
        name,
        at: None,
    };
    outer.from = vec![TableWithJoins {
        relation: TableFactor::Derived {
            lateral: false,
            subquery: Box::new(query.clone()),
            alias: Some(alias),
            sample: None,
        },
        joins: Vec::new(),
    }];
    counted.with = None;
    counted.order_by = None;
    counted.limit_clause = None;
    counted.fetch = None;
    *counted.body = SetExpr::Select(Box::new(outer));
    Expr::Subquery(Box::new(counted))
}

/// Whether an expression holds a call, which could be one of an aggregate, or a subquery.
fn may_aggregate(expr: &Expr) -> bool {
    struct Find;
    impl Visitor for Find {
        type Break = ();
        fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
            match expr {
                Expr::Function(_) => ControlFlow::Break(()),
                _ => ControlFlow::Continue(()),
            }
        }
        fn pre_visit_query(&mut self, _query: &Query) -> ControlFlow<()> {
            ControlFlow::Break(())
        }
    }
    expr.visit(&mut Find).is_break()
}

fn binary(left: Expr, op: BinaryOperator, right: Expr) -> Expr {
    Expr::Nested(Box::new(Expr::BinaryOp { left: Box::new(left), op, right: Box::new(right) }))
}

fn not(expr: Expr) -> Expr {
    Expr::UnaryOp { op: UnaryOperator::Not, expr: Box::new(expr) }
}

fn boolean(value: bool) -> Expr {
    Expr::value(Value::Boolean(value))
}

fn number(value: i64) -> Expr {
    Expr::value(Value::Number(value.to_string(), false))
}

fn case(conditions: Vec<(Expr, Expr)>, otherwise: Expr) -> Expr {
    Expr::Case {
        case_token: AttachedToken::empty(),
        end_token: AttachedToken::empty(),
        operand: None,
        conditions: conditions
            .into_iter()
            .map(|(condition, result)| CaseWhen { condition, result })
            .collect(),
        else_result: Some(Box::new(otherwise)),
    }
}
