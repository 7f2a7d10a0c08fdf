//! `SELECT set_config(name, value, is_local)`: a SET that answers.
//!
//! A session's settings change between statements, not while one runs on another thread: a SELECT of nothing but
//! set_config, and perhaps current_setting, of constants and parameters is a statement of its own kind, and set_config
//! anywhere else is refused.

use std::ops::ControlFlow;
use std::sync::Arc;

use datafusion::common::ScalarValue;
use datafusion::sql::sqlparser::ast::{
    Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, SelectItem, SetExpr, Statement as Ast,
    Value, Visit, Visitor,
};

use super::Session;
use super::prepared::{Prepared, result_field};
use super::types::{Outcome, Parameter, ResultField};
use super::utility::text_rows;
use crate::error::{SqlError, SqlResult};
use crate::postgres::types::{PgType, oid};
use crate::sql::dml::placeholder;
use crate::sql::names::{fold, parts};
use crate::sql::parse::Statement;

const SET: &str = "set_config";
const SHOW: &str = "current_setting";

/// An argument: a constant, or a parameter from 0.
#[derive(Debug)]
enum Argument {
    Constant(Option<String>),
    Parameter(usize),
}

#[derive(Debug)]
struct Call {
    column: String,
    name: Argument,
    /// The value and whether it is local; `None` for current_setting.
    set: Option<(Argument, Argument)>,
}

/// A SELECT of calls.
#[derive(Debug)]
pub(super) struct SetConfig {
    calls: Vec<Call>,
}

/// Reads a statement; `None` for one without set_config.
pub(super) fn read(statement: &Ast) -> SqlResult<Option<SetConfig>> {
    let Ast::Query(query) = statement else { return Ok(None) };
    if !calls_it(statement) {
        return Ok(None);
    }
    let refused = || SqlError::unsupported("set_config is supported as SELECT set_config(constants) only");
    let plain = query.with.is_none() && query.order_by.is_none() && query.limit_clause.is_none();
    let SetExpr::Select(select) = query.body.as_ref() else { return Err(refused()) };
    if !plain || !select.from.is_empty() || select.selection.is_some() {
        return Err(refused());
    }
    let calls = select.projection.iter().map(|item| match item {
        SelectItem::UnnamedExpr(Expr::Function(function)) => call(function, None),
        SelectItem::ExprWithAlias { expr: Expr::Function(function), alias } => {
            call(function, Some(fold(alias)))
        }
        _ => None,
    });
    Ok(Some(SetConfig { calls: calls.collect::<Option<Vec<_>>>().ok_or_else(refused)? }))
}

fn name_of(function: &Function) -> Option<String> {
    let mut parts = parts(&function.name).ok()?;
    let name = parts.pop()?;
    parts.iter().all(|schema| schema == "pg_catalog").then_some(name)
}

fn calls_it(statement: &Ast) -> bool {
    struct Find;
    impl Visitor for Find {
        type Break = ();
        fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
            match expr {
                Expr::Function(function) if name_of(function).as_deref() == Some(SET) => {
                    ControlFlow::Break(())
                }
                _ => ControlFlow::Continue(()),
            }
        }
    }
    statement.visit(&mut Find).is_break()
}

fn call(function: &Function, column: Option<String>) -> Option<Call> {
    let FunctionArguments::List(list) = &function.args else { return None };
    let arguments = list.args.iter().map(|arg| match arg {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => argument(expr),
        _ => None,
    });
    let mut arguments = arguments.collect::<Option<Vec<_>>>()?.into_iter();
    let function = name_of(function)?;
    let name = arguments.next()?;
    let set = match function.as_str() {
        SET => Some((arguments.next()?, arguments.next()?)),
        SHOW => None,
        _ => return None,
    };
    let column = column.unwrap_or(function);
    arguments.next().is_none().then_some(Call { column, name, set })
}

fn argument(expr: &Expr) -> Option<Argument> {
    if let Some(number) = placeholder(expr) {
        return number.checked_sub(1).map(Argument::Parameter);
    }
    match expr {
        Expr::Nested(inner) => argument(inner),
        Expr::Cast { expr, .. } => argument(expr),
        Expr::Value(value) => match &value.value {
            Value::SingleQuotedString(text) | Value::EscapedStringLiteral(text) => {
                Some(Argument::Constant(Some(text.clone())))
            }
            Value::Boolean(value) => Some(Argument::Constant(Some(value.to_string()))),
            Value::Null => Some(Argument::Constant(None)),
            _ => None,
        },
        _ => None,
    }
}

impl SetConfig {
    fn fields(&self) -> Arc<[ResultField]> {
        self.calls.iter().map(|call| result_field(&call.column, PgType::new(oid::TEXT))).collect()
    }

    /// The statement with the types of its parameters.
    pub(super) fn prepare(&self, statement: &Statement, given: &[u32]) -> Prepared {
        let mut types = given.to_vec();
        for call in &self.calls {
            let set = call.set.iter().flat_map(|(value, local)| [(value, oid::TEXT), (local, oid::BOOL)]);
            for (argument, wanted) in std::iter::once((&call.name, oid::TEXT)).chain(set) {
                if let Argument::Parameter(index) = argument {
                    if types.len() <= *index {
                        types.resize(index + 1, 0);
                    }
                    if types[*index] == 0 {
                        types[*index] = wanted;
                    }
                }
            }
        }
        types.iter_mut().filter(|found| **found == 0).for_each(|found| *found = oid::TEXT);
        Prepared::new(statement.clone(), types, Some(self.fields()), None)
    }
}

/// An argument as text.
fn text_of(argument: &Argument, values: &[(PgType, ScalarValue)]) -> SqlResult<Option<String>> {
    let value = match argument {
        Argument::Constant(text) => return Ok(text.clone()),
        Argument::Parameter(index) => values.get(*index).map(|(_, value)| value),
    };
    match value {
        Some(value) if value.is_null() => Ok(None),
        Some(ScalarValue::Boolean(Some(value))) => Ok(Some(value.to_string())),
        Some(value) => match value.try_as_str() {
            Some(text) => Ok(text.map(str::to_owned)),
            None => Ok(Some(value.to_string())),
        },
        None => Err(SqlError::internal("a parameter is missing")),
    }
}

impl Session {
    /// Sets, and answers with the new values.
    pub(super) fn set_config(
        &mut self,
        set: &SetConfig,
        prepared: &Prepared,
        parameters: &[Parameter<'_>],
    ) -> SqlResult<Outcome> {
        let values = self.parameter_values(prepared.parameter_oids(), parameters)?;
        let mut columns: Vec<(&str, Vec<String>)> = Vec::with_capacity(set.calls.len());
        for call in &set.calls {
            let name = text_of(&call.name, &values)?
                .ok_or_else(|| SqlError::new("22004", "SET requires parameter name"))?;
            if let Some((value, local)) = &call.set {
                let value = text_of(value, &values)?;
                let local = text_of(local, &values)?;
                let local = local.as_deref().and_then(super::settings::parse_bool).unwrap_or(false);
                self.set_text(&name.to_ascii_lowercase(), value.as_deref(), local)?;
            }
            let shown = match (self.settings.show(&name), &call.set) {
                (Ok(value), _) => value.to_string(),
                // One of our own that was set to its default is gone.
                (Err(_), Some(_)) => String::new(),
                (Err(error), None) => return Err(error),
            };
            columns.push((&call.column, vec![shown]));
        }
        text_rows(&columns, "SELECT 1")
    }
}
