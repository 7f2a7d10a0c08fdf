//! Functions whose answer needs no looking up, many of them because what they tell of does not exist here.

use super::{Definition, Evaluate, FunctionContext};
use crate::error::{SqlError, SqlResult};
use crate::postgres::pg_catalog::definition::quote;
use crate::postgres::pg_catalog::{PG_CATALOG, Value};
use crate::postgres::types::oid;
use crate::sql::names::DATABASE;

const TEXT_ARRAY: u32 = 1009;
const NAME_ARRAY: u32 = 1003;

const fn always_true(name: &'static str) -> Definition {
    Definition::strict(name, 1..=4, oid::BOOL, |_, _| Ok(true.into()))
}

const fn nothing(name: &'static str) -> Definition {
    Definition::strict(name, 1..=3, oid::TEXT, NULL)
}

const NULL: Evaluate = |_, _| Ok(Value::Null);

pub(super) static FUNCTIONS: &[Definition] = &[
    always_true("pg_type_is_visible"),
    always_true("pg_function_is_visible"),
    always_true("pg_operator_is_visible"),
    always_true("pg_opclass_is_visible"),
    always_true("pg_opfamily_is_visible"),
    always_true("pg_collation_is_visible"),
    always_true("pg_conversion_is_visible"),
    always_true("pg_statistics_obj_is_visible"),
    always_true("pg_relation_is_publishable"),
    always_true("has_table_privilege"),
    always_true("has_any_column_privilege"),
    always_true("has_column_privilege"),
    always_true("has_schema_privilege"),
    always_true("has_database_privilege"),
    always_true("has_sequence_privilege"),
    always_true("has_function_privilege"),
    always_true("has_type_privilege"),
    always_true("has_language_privilege"),
    always_true("has_tablespace_privilege"),
    always_true("pg_has_role"),
    nothing("obj_description"),
    nothing("col_description"),
    nothing("shobj_description"),
    nothing("pg_get_serial_sequence"),
    nothing("pg_get_statisticsobjdef"),
    nothing("pg_get_statisticsobjdef_columns"),
    nothing("pg_get_partkeydef"),
    nothing("pg_get_partition_constraintdef"),
    nothing("pg_get_triggerdef"),
    nothing("pg_get_ruledef"),
    nothing("pg_get_functiondef"),
    nothing("pg_get_function_arguments"),
    nothing("pg_get_function_identity_arguments"),
    nothing("pg_get_function_result"),
    nothing("pg_get_function_sqlbody"),
    nothing("pg_tablespace_location"),
    Definition::strict("pg_is_in_recovery", 0..=0, oid::BOOL, |_, _| Ok(false.into())),
    Definition::strict("pg_is_other_temp_schema", 1..=1, oid::BOOL, |_, _| Ok(false.into())),
    Definition::strict("pg_my_temp_schema", 0..=0, oid::OID, |_, _| Ok(Value::Int(0))),
    // A stored expression is its text.
    Definition::strict("pg_get_expr", 2..=3, oid::TEXT, |_, arguments| {
        Ok(arguments.first().cloned().unwrap_or(Value::Null))
    }),
    Definition::strict("pg_encoding_to_char", 1..=1, oid::NAME, |_, arguments| {
        Ok(match arguments.first().and_then(Value::int) {
            Some(0) => "SQL_ASCII",
            Some(6) => "UTF8",
            Some(8) => "LATIN1",
            _ => "",
        }
        .into())
    }),
    Definition::strict("pg_char_to_encoding", 1..=1, oid::INT4, |_, arguments| {
        let name = arguments.first().and_then(Value::text).unwrap_or_default().to_ascii_uppercase();
        Ok(match name.as_str() {
            "SQL_ASCII" => 0,
            "UTF8" | "UTF-8" | "UNICODE" => 6,
            "LATIN1" => 8,
            _ => -1,
        }
        .into())
    }),
    Definition::strict("pg_size_pretty", 1..=1, oid::TEXT, |_, arguments| {
        Ok(arguments.first().and_then(Value::int).map(size_pretty).into())
    }),
    Definition::strict("quote_ident", 1..=1, oid::TEXT, |_, arguments| {
        Ok(arguments.first().and_then(Value::text).map(quote).into())
    }),
    Definition::strict("like_escape", 2..=2, oid::TEXT, |_, arguments| like_escape(arguments)),
    Definition::strict("array_upper", 2..=2, oid::INT4, |_, arguments| Ok(bound(arguments, true))),
    Definition::strict("array_lower", 2..=2, oid::INT4, |_, arguments| Ok(bound(arguments, false))),
    Definition::strict("current_database", 0..=0, oid::NAME, |_, _| Ok(DATABASE.into())),
    Definition::strict("current_schema", 0..=0, oid::NAME, |context, _| {
        Ok(schemas(context, false).into_iter().next().into())
    }),
    Definition::strict("current_schemas", 1..=1, NAME_ARRAY, |context, arguments| {
        Ok(schemas(context, arguments.first() == Some(&Value::Bool(true))).into())
    }),
    Definition::lenient("json_build_object", 0..=32, oid::JSON, |_, arguments| json_object(arguments)),
    Definition::lenient("pg_options_to_table", 1..=1, TEXT_ARRAY, NULL),
];

/// The schemas of the search path that exist.
fn schemas(context: &FunctionContext, implicit: bool) -> Vec<String> {
    let named = context.search_path.iter().any(|schema| schema == PG_CATALOG);
    let first = (implicit && !named).then(|| PG_CATALOG.to_owned());
    let exists = |schema: &&String| *schema == PG_CATALOG || context.catalog.schema(schema).is_some();
    first.into_iter().chain(context.search_path.iter().filter(exists).cloned()).collect()
}

/// As Postgres writes sizes: the unit grows once there are ten thousand and more.
fn size_pretty(bytes: i64) -> String {
    const UNITS: [&str; 5] = ["kB", "MB", "GB", "TB", "PB"];
    if bytes.unsigned_abs() < 10 * 1024 {
        return format!("{bytes} bytes");
    }
    // Half units, so that the last division rounds.
    let mut halves = bytes / 512;
    for unit in UNITS {
        if halves.unsigned_abs() < 20 * 1024 - 1 || unit == "PB" {
            let rounded = (halves + halves.signum()) / 2;
            return format!("{rounded} {unit}");
        }
        halves /= 1024;
    }
    format!("{bytes} bytes")
}

/// A pattern whose escape character is another one, as one of the backslash.
fn like_escape(arguments: &[Value]) -> SqlResult<Value> {
    let text = |place: usize| arguments.get(place).and_then(Value::text).unwrap_or_default();
    let mut escapes = text(1).chars();
    let escape = escapes.next();
    if escapes.next().is_some() {
        return Err(SqlError::new("22025", "invalid escape string")
            .with_hint("Escape string must be empty or one character."));
    }
    let mut pattern = String::with_capacity(text(0).len());
    let mut escaped = false;
    for character in text(0).chars() {
        if Some(character) == escape && !escaped {
            escaped = true;
            continue;
        }
        if escaped || character == '\\' {
            pattern.push('\\');
        }
        pattern.push(character);
        escaped = false;
    }
    Ok(pattern.into())
}

fn bound(arguments: &[Value], upper: bool) -> Value {
    match arguments {
        [Value::List(elements), Value::Int(1)] if !elements.is_empty() => {
            if upper {
                elements.len().into()
            } else {
                Value::Int(1)
            }
        }
        _ => Value::Null,
    }
}

fn json_object(arguments: &[Value]) -> SqlResult<Value> {
    let json = |value: &Value| match value {
        Value::Null => "null".to_owned(),
        Value::Bool(value) => value.to_string(),
        Value::Int(value) => value.to_string(),
        Value::Float(value) => value.to_string(),
        Value::Text(text) => serde_json::Value::from(text.as_str()).to_string(),
        Value::List(_) => "[]".to_owned(),
    };
    let pairs: Vec<String> = arguments
        .chunks(2)
        .filter_map(|pair| match pair {
            [Value::Text(key), value] => {
                Some(format!("{} : {}", serde_json::Value::from(key.as_str()), json(value)))
            }
            _ => None,
        })
        .collect();
    Ok(format!("{{{}}}", pairs.join(", ")).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_come_to_escape_by_backslash() {
        let escaped = |pattern: &str, escape: &str| like_escape(&[pattern.into(), escape.into()]);
        assert_eq!(escaped("pg/_%", "/").unwrap(), Value::from("pg\\_%"));
        assert_eq!(escaped("a//b\\", "/").unwrap(), Value::from("a\\/b\\\\"));
        assert_eq!(escaped("a_", "").unwrap(), Value::from("a_"));
        assert_eq!(escaped("a", "xy").unwrap_err().sqlstate, "22025");
    }

    #[test]
    fn sizes_are_written_as_in_postgres() {
        for (bytes, expected) in [
            (0, "0 bytes"),
            (10_239, "10239 bytes"),
            (10_240, "10 kB"),
            (16_384, "16 kB"),
            (10_485_248, "10 MB"),
            (1_000_000, "977 kB"),
            (-20_000, "-20 kB"),
        ] {
            assert_eq!(size_pretty(bytes), expected, "{bytes}");
        }
    }
}
