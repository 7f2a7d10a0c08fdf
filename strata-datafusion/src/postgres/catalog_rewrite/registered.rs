//! Casts to regclass, regtype and the other types that stand for OIDs by their names.

use datafusion::sql::sqlparser::ast::{Expr, Ident, ObjectName, SelectItem, SetExpr};

use super::{call, function_name, take};
use crate::postgres::type_planner::type_of_name;
use crate::postgres::types::oid;
use crate::sql::names::fold;

/// The function for a cast to the type.
fn function_of(oid: u32) -> Option<&'static str> {
    Some(match oid {
        oid::REGCLASS => "regclass",
        oid::REGTYPE => "regtype",
        oid::REGPROC => "regproc",
        oid::REGNAMESPACE => "regnamespace",
        oid::REGROLE => "regrole",
        _ => return None,
    })
}

/// The function that gives the name as text, of one that gives the OID.
fn text_function(name: &str) -> Option<&'static str> {
    Some(match name {
        "regclass" | "to_regclass" => "regclassout",
        "regtype" | "to_regtype" => "regtypeout",
        "regproc" | "to_regproc" => "regprocout",
        "regnamespace" | "to_regnamespace" => "regnamespaceout",
        "regrole" | "to_regrole" => "regroleout",
        _ => return None,
    })
}

/// Rewrites a cast to such a type, or of one to text.
pub(super) fn cast(expr: &mut Expr) {
    let Expr::Cast { expr: inner, data_type, .. } = expr else { return };
    // The planner has functions' types of these names only.
    let Ok(pg_type) = type_of_name(data_type) else { return };
    if let Some(name) = function_of(pg_type.oid) {
        let inner = take(inner);
        *expr = call(name, vec![inner]);
    } else if matches!(pg_type.oid, oid::TEXT | oid::VARCHAR | oid::NAME) && as_text(inner) {
        *expr = take(inner);
    }
}

/// Makes a call that gives an OID give the name.
fn as_text(expr: &mut Expr) -> bool {
    if let Expr::Nested(inner) = expr {
        return as_text(inner);
    }
    let Expr::Function(function) = expr else { return false };
    let Some(name) = function_name(function) else { return false };
    let Some(text) = text_function(&name) else { return false };
    if name.starts_with("to_") {
        // A name that means nothing stays NULL.
        let value = take(expr);
        *expr = call(text, vec![value]);
    } else {
        function.name = ObjectName::from(vec![Ident::new(text)]);
    }
    true
}

/// Results show names, not OIDs.
pub(super) fn show_results(body: &mut SetExpr) {
    match body {
        SetExpr::Select(select) => {
            for item in &mut select.projection {
                match item {
                    SelectItem::ExprWithAlias { expr, .. } => {
                        as_text(expr);
                    }
                    SelectItem::UnnamedExpr(expr) => {
                        let Some(name) = result_name(expr) else { continue };
                        if as_text(expr) {
                            let expr = take(expr);
                            *item = SelectItem::ExprWithAlias { expr, alias: Ident::with_quote('"', name) };
                        }
                    }
                    _ => {}
                }
            }
        }
        SetExpr::Query(query) => show_results(&mut query.body),
        SetExpr::SetOperation { left, right, .. } => {
            show_results(left);
            show_results(right);
        }
        _ => {}
    }
}

/// The name of the column that a rewritten cast makes: that of what is cast, or else the type's.
fn result_name(expr: &Expr) -> Option<String> {
    let Expr::Function(function) = expr else { return None };
    let name = function_name(function)?;
    text_function(&name)?;
    let datafusion::sql::sqlparser::ast::FunctionArguments::List(list) = &function.args else { return None };
    let argument = list.args.first()?.to_string();
    let last = argument.rsplit('.').next()?.trim_matches('"').to_owned();
    let is_column =
        last.chars().all(|c| c.is_alphanumeric() || c == '_') && !last.starts_with(char::is_numeric);
    Some(if is_column { fold(&Ident::new(last)) } else { name })
}
