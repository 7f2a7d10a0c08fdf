//! Expressions whose meaning in Postgres differs from DataFusion's: turned into calls of our functions.

use datafusion::sql::sqlparser::ast::{
    BinaryOperator, CastKind, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgumentList,
    FunctionArguments, Ident, Interval, ObjectName, SetExpr, UnaryOperator, Value,
};

use super::relations::bare_function_name;
use super::{ASSIGN, CAST, quoted_name};
use crate::error::{SqlError, SqlResult};
use crate::postgres::input::number::{parse_decimal, parse_int};
use crate::postgres::type_planner::type_of_name;
use crate::postgres::types::{PgType, oid};

/// A call of a function by its exact name.
pub(crate) fn call(name: &str, args: Vec<Expr>) -> Expr {
    let args = args.into_iter().map(|arg| FunctionArg::Unnamed(FunctionArgExpr::Expr(arg))).collect();
    Expr::Function(Function {
        name: quoted_name(name),
        uses_odbc_syntax: false,
        parameters: FunctionArguments::None,
        args: FunctionArguments::List(FunctionArgumentList {
            duplicate_treatment: None,
            args,
            clauses: Vec::new(),
        }),
        filter: None,
        null_treatment: None,
        over: None,
        within_group: Vec::new(),
    })
}

fn number(value: i64) -> Expr {
    let digits = Expr::value(Value::Number(value.unsigned_abs().to_string(), false));
    if value < 0 { Expr::UnaryOp { op: UnaryOperator::Minus, expr: Box::new(digits) } } else { digits }
}

fn string(text: impl Into<String>) -> Expr {
    Expr::value(Value::SingleQuotedString(text.into()))
}

/// A cast to this type.
pub(crate) fn cast(expr: Expr, pg_type: PgType) -> Expr {
    call(CAST, vec![expr, number(i64::from(pg_type.oid)), number(i64::from(pg_type.modifier))])
}

/// Makes a whole number that 32 bits hold an int4, where its type becomes that of a column: DataFusion's planner takes
/// all for int8.
pub(super) fn narrow_integer(expr: &mut Expr) {
    let digits = match &*expr {
        Expr::UnaryOp { op: UnaryOperator::Minus, expr } => expr.as_ref(),
        other => other,
    };
    let Expr::Value(value) = digits else { return };
    let Value::Number(text, _) = &value.value else { return };
    if text.bytes().all(|byte| byte.is_ascii_digit()) && text.parse::<i32>().is_ok() {
        let number = take(expr);
        *expr = cast(number, PgType::new(oid::INT4));
    }
}

/// The same in the rows of VALUES.
pub(super) fn narrow_values(body: &mut SetExpr) {
    match body {
        SetExpr::Values(values) => {
            for row in &mut values.rows {
                row.iter_mut().for_each(narrow_integer);
            }
        }
        SetExpr::SetOperation { left, right, .. } => {
            narrow_values(left);
            narrow_values(right);
        }
        _ => {}
    }
}

fn take(expr: &mut Expr) -> Expr {
    std::mem::replace(expr, Expr::value(Value::Null))
}

/// Rewrites one expression whose parts are rewritten already.
pub(super) fn rewrite(expr: &mut Expr) -> SqlResult<()> {
    match expr {
        Expr::Cast { kind: CastKind::TryCast | CastKind::SafeCast, .. } => {
            return Err(SqlError::syntax("syntax error at or near \"TRY_CAST\""));
        }
        Expr::Cast { format: Some(_), .. } => {
            return Err(SqlError::syntax("syntax error at or near \"FORMAT\""));
        }
        Expr::Cast { expr: inner, data_type, array, .. } => {
            let mut pg_type = type_of_name(data_type)?;
            if *array {
                pg_type = pg_type.array().unwrap_or(pg_type);
            }
            let inner = take(inner);
            *expr = cast(inner, pg_type);
        }
        Expr::TypedString(typed) => {
            let text = typed.value.clone().into_string();
            let text = text.ok_or_else(|| SqlError::syntax("a typed literal needs a string"))?;
            // A string that is called timestamp may hold a zone: it is ignored, as in Postgres.
            *expr = cast(string(text), type_of_name(&typed.data_type)?);
        }
        Expr::Interval(interval) => *expr = interval_literal(interval)?,
        Expr::Extract { field, expr: inner, .. } => {
            let field = field.to_string().trim_matches('\'').to_ascii_lowercase();
            *expr = call("extract", vec![string(field), take(inner)]);
        }
        Expr::AtTimeZone { timestamp, time_zone } => {
            *expr = call("timezone", vec![take(time_zone), take(timestamp)]);
        }
        Expr::Collate { expr: inner, collation } => {
            let name = bare_function_name(collation).unwrap_or_default();
            if !matches!(name.as_str(), "c" | "posix" | "default" | "ucs_basic") {
                return Err(SqlError::new(
                    "42704",
                    format!("collation \"{collation}\" for encoding \"UTF8\" does not exist"),
                ));
            }
            *expr = take(inner);
        }
        Expr::Identifier(word) if word.quote_style.is_none() => {
            // Words that are functions without parentheses, which the parser takes for columns.
            if word.value.eq_ignore_ascii_case("current_schema") {
                *expr = call("current_schema", Vec::new());
            } else if word.value.eq_ignore_ascii_case("current_role") {
                *expr = call("current_user", Vec::new());
            }
        }
        Expr::Function(function) => {
            if let Some(marked) = assignment(function) {
                *expr = marked;
                return Ok(());
            }
            let digits = clock_digits(function);
            rewrite_call(function)?;
            if let Some(pg_type) = digits {
                let clock = take(expr);
                *expr = cast(clock, pg_type);
            }
        }
        Expr::Case { conditions, else_result, .. } => {
            conditions.iter_mut().for_each(|when| narrow_integer(&mut when.result));
            if let Some(expr) = else_result {
                narrow_integer(expr);
            }
        }
        Expr::Array(array) => array.elem.iter_mut().for_each(narrow_integer),
        Expr::Value(value) => {
            if let Some(replacement) = rewrite_value(&mut value.value)? {
                *expr = replacement;
            }
        }
        Expr::Prefixed { .. } | Expr::OuterJoin(_) | Expr::Prior(_) | Expr::Dictionary(_) | Expr::Map(_) => {
            return Err(SqlError::syntax(format!("syntax error at or near \"{expr}\"")));
        }
        _ => {}
    }
    Ok(())
}

/// `INTERVAL '5'`, `INTERVAL '5' DAY`.
fn interval_literal(interval: &Interval) -> SqlResult<Expr> {
    if interval.last_field.is_some()
        || interval.leading_precision.is_some()
        || interval.fractional_seconds_precision.is_some()
    {
        return Err(SqlError::unsupported(format!("{interval} is not supported")));
    }
    let Expr::Value(value) = interval.value.as_ref() else {
        return Err(SqlError::syntax(format!("syntax error at or near \"{}\"", interval.value)));
    };
    let text = match &value.value {
        Value::SingleQuotedString(text) | Value::EscapedStringLiteral(text) => text.clone(),
        other => return Err(SqlError::syntax(format!("syntax error at or near \"{other}\""))),
    };
    let text = match &interval.leading_field {
        // Only a bare number takes the field's unit.
        Some(field) if text.trim().parse::<f64>().is_ok() => format!("{text} {field}"),
        _ => text,
    };
    Ok(cast(string(text), PgType::new(oid::INTERVAL)))
}

fn rewrite_value(value: &mut Value) -> SqlResult<Option<Expr>> {
    match value {
        Value::Number(text, _) => {
            if text.bytes().all(|byte| byte.is_ascii_digit()) {
                // What no 64 bits hold is numeric.
                return Ok(text
                    .parse::<i64>()
                    .is_err()
                    .then(|| cast(string(text.clone()), PgType::new(oid::NUMERIC))));
            }
            if text.contains(['e', 'E']) && !text.starts_with("0x") && !text.starts_with("0X") {
                // Beyond the digits of an exact number there are only doubles.
                let wanted = if parse_decimal(text).is_ok() { oid::NUMERIC } else { oid::FLOAT8 };
                return Ok(Some(cast(string(text.clone()), PgType::new(wanted))));
            }
            if text.contains('_') || text.starts_with("0x") || text.starts_with("0X") {
                match parse_int::<i64>(text, "bigint") {
                    Ok(whole) => *text = whole.to_string(),
                    Err(_) => text.retain(|c| c != '_'),
                }
            }
            Ok(None)
        }
        Value::Placeholder(text) => {
            let valid =
                text.strip_prefix('$').and_then(|digits| digits.parse::<u16>().ok()).is_some_and(|n| n > 0);
            if valid {
                return Ok(None);
            }
            Err(SqlError::syntax(format!("syntax error at or near \"{text}\"")))
        }
        Value::HexStringLiteral(_) | Value::SingleQuotedByteStringLiteral(_) => {
            Err(SqlError::unsupported("bit strings are not supported"))
        }
        Value::NationalStringLiteral(text) => {
            *value = Value::SingleQuotedString(std::mem::take(text));
            Ok(None)
        }
        Value::UnicodeStringLiteral(text) => {
            *value = Value::SingleQuotedString(std::mem::take(text));
            Ok(None)
        }
        _ => Ok(None),
    }
}

/// The name that a function has here, where it differs.
fn renamed(name: &str) -> &str {
    match name {
        "every" => "bool_and",
        "current_catalog" => "current_database",
        "user" | "session_user" | "current_role" => "current_user",
        "transaction_timestamp" | "statement_timestamp" => "now",
        "ceiling" => "ceil",
        "substring" => "substr",
        other => other,
    }
}

/// `current_timestamp(3)`: the type of three digits. Takes the argument away.
fn clock_digits(function: &mut Function) -> Option<PgType> {
    let oid = match bare_function_name(&function.name)?.as_str() {
        "current_timestamp" => oid::TIMESTAMPTZ,
        "localtimestamp" => oid::TIMESTAMP,
        "current_time" | "localtime" => oid::TIME,
        _ => return None,
    };
    let FunctionArguments::List(list) = &mut function.args else { return None };
    let [FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::Value(value)))] = list.args.as_slice() else {
        return None;
    };
    let Value::Number(digits, _) = &value.value else { return None };
    let digits: i32 = digits.parse().ok()?;
    list.args.clear();
    Some(PgType::with_modifier(oid, digits.min(6)))
}

/// A call of [`ASSIGN`] as the operator that checks types: `value := …`.
fn assignment(function: &mut Function) -> Option<Expr> {
    if bare_function_name(&function.name)? != ASSIGN {
        return None;
    }
    let FunctionArguments::List(list) = &mut function.args else { return None };
    let [
        FunctionArg::Unnamed(FunctionArgExpr::Expr(value)),
        FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::Value(mark))),
    ] = list.args.as_mut_slice()
    else {
        return None;
    };
    let Value::SingleQuotedString(mark) = &mark.value else { return None };
    Some(Expr::BinaryOp {
        left: Box::new(take(value)),
        op: BinaryOperator::Custom(mark.clone()),
        right: Box::new(Expr::value(Value::Null)),
    })
}

/// Functions whose result has the type of an argument: a whole number there is an int4.
const TYPED_BY_ARGUMENTS: [&str; 16] = [
    "coalesce",
    "nullif",
    "greatest",
    "least",
    "pg_typeof",
    "sum",
    "avg",
    "min",
    "max",
    "array_agg",
    "array_append",
    "array_prepend",
    "array_remove",
    "array_position",
    "array_replace",
    "array_fill",
];

fn rewrite_call(function: &mut Function) -> SqlResult<()> {
    if function.uses_odbc_syntax || function.parameters != FunctionArguments::None {
        return Err(SqlError::syntax(format!("syntax error at or near \"{}\"", function.name)));
    }
    let Some(name) = bare_function_name(&function.name) else {
        return Err(SqlError::new("42883", format!("function {} does not exist", function.name)));
    };
    let wanted = renamed(&name).to_owned();
    if function.name.0.len() > 1 || wanted != name {
        function.name = ObjectName::from(vec![Ident::new(wanted)]);
    }
    if TYPED_BY_ARGUMENTS.contains(&name.as_str())
        && let FunctionArguments::List(list) = &mut function.args
    {
        for arg in &mut list.args {
            if let FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) = arg {
                narrow_integer(expr);
            }
        }
    }
    // Words that are functions without parentheses.
    if function.args == FunctionArguments::None {
        function.args = FunctionArguments::List(FunctionArgumentList {
            duplicate_treatment: None,
            args: Vec::new(),
            clauses: Vec::new(),
        });
    }
    Ok(())
}
