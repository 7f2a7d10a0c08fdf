//! The names of result columns that have no alias, as Postgres gives them.

use std::collections::HashSet;

use datafusion::sql::sqlparser::ast::{AccessExpr, Expr, Select, SelectItem, SetExpr, TrimWhereField, Value};

use super::quoted;
use crate::postgres::type_planner::type_of_name;
use crate::postgres::types::type_row;
use crate::sql::names::fold;
use crate::sql::output::unique_name;

/// Gives every column of a SELECT a name that no other has.
pub(super) fn name_columns(select: &mut Select) {
    let wildcard = select
        .projection
        .iter()
        .any(|item| matches!(item, SelectItem::Wildcard(_) | SelectItem::QualifiedWildcard(..)));
    let mut taken = HashSet::new();
    for (position, item) in select.projection.iter_mut().enumerate() {
        let (name, plain) = match item {
            SelectItem::ExprWithAlias { alias, .. } => (fold(alias), false),
            SelectItem::UnnamedExpr(expr @ (Expr::Identifier(_) | Expr::CompoundIdentifier(_))) => {
                (column_name(expr), true)
            }
            SelectItem::UnnamedExpr(expr) => (column_name(expr), false),
            _ => continue,
        };
        let unique = taken.insert(name.clone()) && !(wildcard && plain);
        let alias = quoted(if unique { name } else { unique_name(&name, position) });
        match item {
            SelectItem::ExprWithAlias { alias: present, .. } if !unique => *present = alias,
            SelectItem::UnnamedExpr(expr) if !(unique && plain) => {
                let placeholder = Expr::value(Value::Null);
                let expr = std::mem::replace(expr, placeholder);
                *item = SelectItem::ExprWithAlias { expr, alias };
            }
            _ => {}
        }
    }
}

/// The name of a column without alias.
pub(crate) fn column_name(expr: &Expr) -> String {
    figure(expr).map_or_else(|| "?column?".to_owned(), |(name, _)| name)
}

/// How good a name is: a cast's type names a column only if nothing in it does.
#[derive(Clone, Copy, PartialEq)]
enum Strength {
    Weak,
    Strong,
}

/// Postgres' FigureColnameInternal.
fn figure(expr: &Expr) -> Option<(String, Strength)> {
    let strong = |name: &str| Some((name.to_owned(), Strength::Strong));
    match expr {
        Expr::Identifier(name) => Some((fold(name), Strength::Strong)),
        Expr::CompoundIdentifier(parts) => parts.last().map(|name| (fold(name), Strength::Strong)),
        Expr::CompoundFieldAccess { root, access_chain } => match access_chain.last() {
            Some(AccessExpr::Dot(field)) => figure(field),
            _ => figure(root),
        },
        Expr::Nested(inner) => figure(inner),
        Expr::Collate { expr, .. } => figure(expr),
        Expr::Cast { expr, data_type, .. } => match figure(expr) {
            Some(found @ (_, Strength::Strong)) => Some(found),
            _ => {
                let pg_type = type_of_name(data_type).ok()?;
                let named = pg_type.element().unwrap_or(pg_type);
                type_row(named.oid).map(|row| (row.name.to_owned(), Strength::Weak))
            }
        },
        Expr::TypedString(typed) => {
            let pg_type = type_of_name(&typed.data_type).ok()?;
            type_row(pg_type.oid).map(|row| (row.name.to_owned(), Strength::Weak))
        }
        Expr::Interval(_) => Some(("interval".to_owned(), Strength::Weak)),
        Expr::Value(value) if matches!(value.value, Value::Boolean(_)) => {
            Some(("bool".to_owned(), Strength::Weak))
        }
        Expr::Function(function) => {
            function.name.0.last()?.as_ident().map(|name| (fold(name), Strength::Strong))
        }
        Expr::Case { else_result, .. } => match else_result.as_deref().and_then(figure) {
            Some(found @ (_, Strength::Strong)) => Some(found),
            _ => Some(("case".to_owned(), Strength::Weak)),
        },
        Expr::Exists { .. } => strong("exists"),
        Expr::Array(_) => strong("array"),
        Expr::Subquery(query) => match query.body.as_ref() {
            SetExpr::Select(select) => match select.projection.first()? {
                SelectItem::ExprWithAlias { alias, .. } => Some((fold(alias), Strength::Strong)),
                SelectItem::UnnamedExpr(expr) => figure(expr),
                _ => None,
            },
            _ => None,
        },
        Expr::Extract { .. } => strong("extract"),
        Expr::Substring { .. } => strong("substring"),
        Expr::Position { .. } => strong("position"),
        Expr::Overlay { .. } => strong("overlay"),
        Expr::Ceil { .. } => strong("ceil"),
        Expr::Floor { .. } => strong("floor"),
        Expr::Trim { trim_where, .. } => strong(match trim_where {
            Some(TrimWhereField::Leading) => "ltrim",
            Some(TrimWhereField::Trailing) => "rtrim",
            _ => "btrim",
        }),
        Expr::AtTimeZone { .. } => strong("timezone"),
        Expr::Tuple(_) => strong("row"),
        _ => None,
    }
}
