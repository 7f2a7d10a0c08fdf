//! The `reg…` types: names for OIDs and OIDs for names, and what SQL calls a type.
//!
//! `regclass(x)` stands for `x::regclass` and gives the OID; `regclassout(x)` gives the text of that. The rewrite of
//! casts makes these calls. The `to_reg…` forms give NULL for a name that means nothing.

use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
use datafusion::sql::sqlparser::parser::Parser;

use super::lookup::Found;
use super::{Definition, FunctionContext};
use crate::error::{SqlError, SqlResult};
use crate::postgres::pg_catalog::definition::quote;
use crate::postgres::pg_catalog::types::{facts, procedure_name, procedure_oid, role_name};
use crate::postgres::pg_catalog::{INFORMATION_SCHEMA, OWNER, PG_CATALOG, Value, fixed, schema_oid};
use crate::postgres::type_planner::type_of_name;
use crate::postgres::types::{PgType, oid, type_row};

macro_rules! registered {
    ($($in:literal $to:literal $out:literal $oid:expr, $resolve:expr, $name:expr;)*) => {
        pub(super) static FUNCTIONS: &[Definition] = &[
            $(
                Definition::strict($in, 1..=1, $oid, |context, arguments| {
                    resolve(arguments, |name| $resolve(context, name))
                }),
                Definition::strict($to, 1..=1, $oid, |context, arguments| {
                    Ok(resolve(arguments, |name| $resolve(context, name)).unwrap_or(Value::Null))
                }),
                Definition::strict($out, 1..=1, oid::TEXT, |context, arguments| {
                    let oid = resolve(arguments, |name| $resolve(context, name))?.int().unwrap_or_default();
                    Ok(shown(oid, $name(context, oid)))
                }),
            )*
            Definition::lenient("format_type", 2..=2, oid::TEXT, |_, arguments| Ok(format_type(arguments))),
        ];
    };
}

registered! {
    "regclass" "to_regclass" "regclassout" oid::REGCLASS, class, class_name;
    "regtype" "to_regtype" "regtypeout" oid::REGTYPE, of_type, type_name;
    "regproc" "to_regproc" "regprocout" oid::REGPROC, procedure, procedure_shown;
    "regnamespace" "to_regnamespace" "regnamespaceout" oid::REGNAMESPACE, namespace, namespace_name;
    "regrole" "to_regrole" "regroleout" oid::REGROLE, role, role_shown;
}

/// The OID of an argument: a number, a number as text, `-`, or a name.
fn resolve(arguments: &[Value], find: impl FnOnce(&str) -> SqlResult<i64>) -> SqlResult<Value> {
    match arguments.first() {
        Some(Value::Text(text)) if text.trim() == "-" => Ok(Value::Int(0)),
        Some(Value::Text(text)) => match text.trim().parse::<u32>() {
            Ok(number) => Ok(number.into()),
            Err(_) => Ok(find(text.trim())?.into()),
        },
        Some(value) => Ok(value.clone()),
        None => Ok(Value::Null),
    }
}

fn shown(oid: i64, name: Option<String>) -> Value {
    match (oid, name) {
        (_, Some(name)) => name.into(),
        (0, None) => "-".into(),
        (oid, None) => oid.to_string().into(),
    }
}

/// The folded parts of a possibly qualified name.
fn parts(text: &str) -> SqlResult<Vec<String>> {
    let dialect = PostgreSqlDialect {};
    let invalid = || SqlError::new("42602", format!("invalid name syntax: \"{text}\""));
    let mut parser = Parser::new(&dialect).try_with_sql(text).map_err(|_| invalid())?;
    let name = parser.parse_object_name(false).map_err(|_| invalid())?;
    crate::sql::names::parts(&name).map_err(|_| invalid())
}

impl FunctionContext {
    /// The relation that a text names.
    pub(super) fn relation_named(&self, text: &str) -> SqlResult<Found<'_>> {
        let parts = parts(text)?;
        let found = match &parts[..] {
            [name] => self.on_path(name),
            [schema, name] | [_, schema, name] => self.in_schema(schema, name),
            _ => None,
        };
        found
            .ok_or_else(|| SqlError::new("42P01", format!("relation \"{}\" does not exist", parts.join("."))))
    }
}

fn class(context: &FunctionContext, text: &str) -> SqlResult<i64> {
    Ok(context.relation_named(text)?.oid())
}

fn class_name(context: &FunctionContext, oid: i64) -> Option<String> {
    context.by_oid(oid).map(|found| context.shown(&found))
}

fn of_type(_: &FunctionContext, text: &str) -> SqlResult<i64> {
    let missing = || SqlError::new("42704", format!("type \"{text}\" does not exist"));
    let dialect = PostgreSqlDialect {};
    let mut parser = Parser::new(&dialect).try_with_sql(text).map_err(|_| missing())?;
    let name = parser.parse_data_type().map_err(|_| missing())?;
    Ok(i64::from(type_of_name(&name)?.oid))
}

fn type_name(_: &FunctionContext, oid: i64) -> Option<String> {
    let oid = u32::try_from(oid).ok()?;
    named_type(PgType::new(oid))
}

fn named_type(pg_type: PgType) -> Option<String> {
    if type_row(pg_type.oid).is_some() || pg_type.element().is_some() {
        return Some(pg_type.sql_name());
    }
    facts(pg_type.oid).map(|facts| quote(facts.name))
}

fn procedure(_: &FunctionContext, text: &str) -> SqlResult<i64> {
    let name = parts(text)?.pop().unwrap_or_default();
    procedure_oid(&name).ok_or_else(|| SqlError::new("42883", format!("function \"{text}\" does not exist")))
}

fn procedure_shown(_: &FunctionContext, oid: i64) -> Option<String> {
    procedure_name(oid).map(str::to_owned)
}

fn namespace(context: &FunctionContext, text: &str) -> SqlResult<i64> {
    let name = parts(text)?.join(".");
    match name.as_str() {
        PG_CATALOG => Ok(fixed::PG_CATALOG),
        INFORMATION_SCHEMA => Ok(fixed::INFORMATION_SCHEMA),
        other => context
            .catalog
            .schema(other)
            .map(|schema| schema_oid(schema.id, &schema.name))
            .ok_or_else(|| SqlError::new("3F000", format!("schema \"{other}\" does not exist"))),
    }
}

fn namespace_name(context: &FunctionContext, oid: i64) -> Option<String> {
    match oid {
        fixed::PG_CATALOG => Some(PG_CATALOG.to_owned()),
        fixed::INFORMATION_SCHEMA => Some(INFORMATION_SCHEMA.to_owned()),
        oid => context
            .catalog
            .schemas()
            .find(|schema| schema_oid(schema.id, &schema.name) == oid)
            .map(|schema| quote(&schema.name)),
    }
}

fn role(_: &FunctionContext, text: &str) -> SqlResult<i64> {
    if parts(text)?.join(".") == OWNER {
        return Ok(fixed::OWNER);
    }
    Err(SqlError::new("42704", format!("role \"{text}\" does not exist")))
}

fn role_shown(_: &FunctionContext, oid: i64) -> Option<String> {
    role_name(oid).map(quote)
}

/// `format_type(oid, modifier)`.
fn format_type(arguments: &[Value]) -> Value {
    let Some(number) = arguments.first().and_then(Value::int) else { return Value::Null };
    if number == 0 {
        return "-".into();
    }
    let Ok(found) = u32::try_from(number) else { return "???".into() };
    let modifier = arguments.get(1).and_then(Value::int);
    if found == oid::BPCHAR && modifier == Some(-1) {
        return "bpchar".into();
    }
    let modifier = modifier.and_then(|modifier| i32::try_from(modifier).ok()).unwrap_or(-1);
    named_type(PgType { oid: found, modifier }).unwrap_or_else(|| "???".to_owned()).into()
}
