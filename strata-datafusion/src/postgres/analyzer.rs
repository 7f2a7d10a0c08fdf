//! The analyzer rule that runs before DataFusion's type coercion.
//!
//! What the SQL planner builds without asking [`operators`](super::operators) is put right here: BETWEEN, IN, LIKE, IS
//! DISTINCT FROM and unary minus. It changes operands only, never a result's type: plans above were built on that.

use std::cell::LazyCell;
use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DFSchema, Result};
use datafusion::config::ConfigOptions;
use datafusion::logical_expr::expr::{Between, InList, Like};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{BinaryExpr, Expr, LogicalPlan, Operator};
use datafusion::optimizer::AnalyzerRule;
use datafusion::sql::sqlparser::ast::BinaryOperator;

use super::operators::{
    Arithmetic, CalendarFunction, CalendarOperator, Operand, OperatorPlanner, checked, narrow, no_operator,
};
use super::types::{PgType, oid};

/// The rule.
#[derive(Debug, Default)]
pub(crate) struct PostgresSemantics;

impl AnalyzerRule for PostgresSemantics {
    fn name(&self) -> &str {
        "postgres_semantics"
    }

    fn analyze(&self, plan: LogicalPlan, config: &ConfigOptions) -> Result<LogicalPlan> {
        // The configuration is large, and most plans hold nothing to rewrite.
        let operators = LazyCell::new(|| OperatorPlanner { config: Arc::new(config.clone()) });
        Ok(plan.transform_up_with_subqueries(|plan| rewrite_plan(plan, &operators))?.data)
    }
}

fn rewrite_plan(
    plan: LogicalPlan,
    operators: &LazyCell<OperatorPlanner, impl FnOnce() -> OperatorPlanner>,
) -> Result<Transformed<LogicalPlan>> {
    let mut touched = false;
    for expr in plan.expressions() {
        touched = touched || expr.exists(|expr| Ok(concerns(expr)))?;
    }
    if !touched {
        return Ok(Transformed::no(plan));
    }
    let mut schema = merge_schema(&plan.inputs());
    if let LogicalPlan::TableScan(scan) = &plan {
        let columns = DFSchema::try_from_qualified_schema(scan.table_name.clone(), &scan.source.schema())?;
        schema.merge(&columns);
    }
    let names = NamePreserver::new(&plan);
    plan.map_expressions(|expr| {
        let name = names.save(&expr);
        let rewritten = expr.transform_up(|expr| rewrite_expr(expr, operators, &schema))?;
        Ok(rewritten.update_data(|expr| name.restore(expr)))
    })
}

fn concerns(expr: &Expr) -> bool {
    match expr {
        Expr::Between(_) | Expr::InList(_) | Expr::Like(_) | Expr::Negative(_) => true,
        Expr::BinaryExpr(BinaryExpr { op, .. }) => {
            matches!(op, Operator::IsDistinctFrom | Operator::IsNotDistinctFrom)
        }
        _ => false,
    }
}

fn rewrite_expr(expr: Expr, operators: &OperatorPlanner, schema: &DFSchema) -> Result<Transformed<Expr>> {
    // A column of an outer query is not in the schema, and its type is not known here.
    let pair = |left: Expr, right: Expr, op: &BinaryOperator| -> Result<(Expr, Expr)> {
        let (left, right) = (narrow(left), narrow(right));
        match (Operand::of(&left, schema), Operand::of(&right, schema)) {
            (Ok(one), Ok(other)) => Ok(operators.compare(left, right, op, (one, other), schema)?),
            _ => Ok((left, right)),
        }
    };
    match expr {
        Expr::Between(Between { expr, negated, low, high }) => {
            let (least, low) = pair(expr.as_ref().clone(), *low, &BinaryOperator::GtEq)?;
            let (most, high) = pair(*expr, *high, &BinaryOperator::LtEq)?;
            if least == most {
                let between = Between::new(Box::new(least), negated, Box::new(low), Box::new(high));
                return Ok(Transformed::yes(Expr::Between(between)));
            }
            let inside = least.gt_eq(low).and(most.lt_eq(high));
            Ok(Transformed::yes(if negated { Expr::Not(Box::new(inside)) } else { inside }))
        }
        Expr::InList(InList { expr, list, negated }) => {
            let mut operand = None;
            let mut items = Vec::with_capacity(list.len());
            for item in &list {
                let (left, right) = pair(expr.as_ref().clone(), item.clone(), &BinaryOperator::Eq)?;
                match &operand {
                    None => operand = Some(left),
                    // Items of several types: DataFusion finds the one that all become.
                    Some(first) if *first != left => {
                        return Ok(Transformed::no(Expr::InList(InList { expr, list, negated })));
                    }
                    Some(_) => {}
                }
                items.push(right);
            }
            let expr = operand.map_or(expr, Box::new);
            Ok(Transformed::yes(Expr::InList(InList::new(expr, items, negated))))
        }
        Expr::Like(like) => {
            let symbol = match (like.negated, like.case_insensitive) {
                (false, false) => "~~",
                (true, false) => "!~~",
                (false, true) => "~~*",
                (true, true) => "!~~*",
            };
            if let (Ok(one), Ok(other)) =
                (Operand::of(&like.expr, schema), Operand::of(&like.pattern, schema))
            {
                let is_text = |side: Operand| {
                    side.known().is_none_or(|found| matches!(found.category(), 'S' | 'Z' | 'X'))
                };
                if !is_text(one) || !is_text(other) {
                    return Err(no_operator(one.shown(), symbol, other.shown()).into());
                }
            }
            let Like { negated, expr, pattern, escape_char, case_insensitive } = like;
            // A backslash escapes unless ESCAPE says otherwise.
            let escape_char = escape_char.or(Some('\\')).filter(|escape| *escape != '\\');
            let like = Like::new(negated, expr, pattern, escape_char, case_insensitive);
            Ok(Transformed::yes(Expr::Like(like)))
        }
        Expr::Negative(inner) => match Operand::of(&inner, schema) {
            Ok(Operand::Typed(PgType { oid: oid::INT2 | oid::INT4 | oid::INT8, .. })) => {
                Ok(Transformed::yes(checked(Arithmetic::Negate, vec![*inner])))
            }
            Ok(Operand::Typed(PgType { oid: oid::INTERVAL, .. })) => {
                Ok(Transformed::yes(CalendarFunction::call(CalendarOperator::IntervalNegated, vec![*inner])))
            }
            Ok(Operand::Typed(found)) if found.category() != 'N' => Err(crate::error::SqlError::new(
                "42883",
                format!("operator does not exist: - {}", found.sql_name()),
            )
            .into()),
            _ => Ok(Transformed::no(Expr::Negative(inner))),
        },
        Expr::BinaryExpr(BinaryExpr { left, op, right })
            if matches!(op, Operator::IsDistinctFrom | Operator::IsNotDistinctFrom) =>
        {
            let (left, right) = pair(*left, *right, &BinaryOperator::Eq)?;
            Ok(Transformed::yes(Expr::BinaryExpr(BinaryExpr::new(Box::new(left), op, Box::new(right)))))
        }
        other => Ok(Transformed::no(other)),
    }
}
