//! Type names of SQL text into Postgres types.

use datafusion::arrow::datatypes::FieldRef;
use datafusion::common::Result;
use datafusion::logical_expr::planner::TypePlanner;
use datafusion::sql::sqlparser::ast::{
    ArrayElemTypeDef, CharacterLength, DataType as SqlName, ExactNumberInfo, TimezoneInfo,
};

use super::types::{PgType, TYPES, oid};
use crate::error::{SqlError, SqlResult};
use crate::sql::names;

/// Gives DataFusion's planner our types.
#[derive(Debug)]
pub(crate) struct PostgresTypePlanner;

impl TypePlanner for PostgresTypePlanner {
    fn plan_type_field(&self, sql_type: &SqlName) -> Result<Option<FieldRef>> {
        let mut field = type_of_name(sql_type)?.field("", true)?;
        // The identity is always given here: a cast is the one place where SQL says what a type is.
        let pg_type = type_of_name(sql_type)?;
        field.set_metadata(pg_type.metadata());
        Ok(Some(field.into()))
    }
}

/// The type that a type name means; 0A000 or 42704 if there is none.
pub fn type_of_name(name: &SqlName) -> SqlResult<PgType> {
    Ok(match name {
        SqlName::Bool | SqlName::Boolean => PgType::new(oid::BOOL),
        SqlName::SmallInt(None) | SqlName::Int2(None) | SqlName::Int16 => PgType::new(oid::INT2),
        SqlName::Int(None) | SqlName::Integer(None) | SqlName::Int4(None) | SqlName::Int32 => {
            PgType::new(oid::INT4)
        }
        SqlName::BigInt(None) | SqlName::Int8(None) | SqlName::Int64 => PgType::new(oid::INT8),
        SqlName::Real | SqlName::Float4 => PgType::new(oid::FLOAT4),
        SqlName::Float8 | SqlName::DoublePrecision | SqlName::Double(ExactNumberInfo::None) => {
            PgType::new(oid::FLOAT8)
        }
        SqlName::Float(ExactNumberInfo::None) => PgType::new(oid::FLOAT8),
        SqlName::Float(ExactNumberInfo::Precision(bits)) => match bits {
            1..=24 => PgType::new(oid::FLOAT4),
            25..=53 => PgType::new(oid::FLOAT8),
            _ => {
                return Err(SqlError::new("22023", "precision for type float must be between 1 and 53 bits"));
            }
        },
        SqlName::Numeric(info) | SqlName::Decimal(info) | SqlName::Dec(info) => numeric(info)?,
        SqlName::Text => PgType::new(oid::TEXT),
        SqlName::Varchar(length) | SqlName::CharacterVarying(length) | SqlName::CharVarying(length) => {
            characters(oid::VARCHAR, length.as_ref(), -1)?
        }
        SqlName::Char(length) | SqlName::Character(length) => characters(oid::BPCHAR, length.as_ref(), 5)?,
        SqlName::Bytea => PgType::new(oid::BYTEA),
        SqlName::Date => PgType::new(oid::DATE),
        SqlName::Time(precision, TimezoneInfo::None | TimezoneInfo::WithoutTimeZone) => {
            fractional(oid::TIME, *precision)?
        }
        SqlName::Timestamp(precision, TimezoneInfo::None | TimezoneInfo::WithoutTimeZone) => {
            fractional(oid::TIMESTAMP, *precision)?
        }
        SqlName::Timestamp(precision, _) => fractional(oid::TIMESTAMPTZ, *precision)?,
        SqlName::Interval { .. } => PgType::new(oid::INTERVAL),
        SqlName::Uuid => PgType::new(oid::UUID),
        SqlName::JSON => PgType::new(oid::JSON),
        SqlName::JSONB => PgType::new(oid::JSONB),
        SqlName::Regclass => PgType::new(oid::REGCLASS),
        SqlName::Array(ArrayElemTypeDef::SquareBracket(element, _))
        | SqlName::Array(ArrayElemTypeDef::AngleBracket(element)) => {
            let element = type_of_name(element)?;
            // Postgres does not tell the dimensions of an array's type apart: int[][] is int[].
            if element.element().is_some() {
                element
            } else {
                element.array().ok_or_else(|| {
                    SqlError::new(
                        "42704",
                        format!("could not find array type for data type {}", element.sql_name()),
                    )
                })?
            }
        }
        SqlName::Custom(name, modifiers) => custom(&names::parts(name)?, modifiers)?,
        other => {
            return Err(SqlError::new(
                "42704",
                format!("type \"{}\" does not exist", other.to_string().to_lowercase()),
            ));
        }
    })
}

fn numeric(info: &ExactNumberInfo) -> SqlResult<PgType> {
    let (precision, scale) = match *info {
        ExactNumberInfo::None => return Ok(PgType::new(oid::NUMERIC)),
        ExactNumberInfo::Precision(precision) => (precision, 0),
        ExactNumberInfo::PrecisionAndScale(precision, scale) => (precision, scale),
    };
    if !(1..=1000).contains(&precision) {
        return Err(SqlError::new(
            "22023",
            format!("NUMERIC precision {precision} must be between 1 and 1000"),
        ));
    }
    if precision > 38 {
        return Err(SqlError::unsupported(format!(
            "numeric({precision},{scale}) is not supported: 38 digits are the most"
        )));
    }
    match (u8::try_from(precision), u8::try_from(scale)) {
        (Ok(precision), Ok(scale)) if scale <= precision => Ok(PgType::numeric(precision, scale)),
        _ => Err(SqlError::unsupported(format!(
            "numeric({precision},{scale}) is not supported: the scale must be between 0 and the precision"
        ))),
    }
}

fn characters(oid: u32, length: Option<&CharacterLength>, default: i32) -> SqlResult<PgType> {
    let name = if oid == oid::VARCHAR { "varchar" } else { "char" };
    match length {
        None | Some(CharacterLength::Max) => Ok(PgType::with_modifier(oid, default)),
        Some(CharacterLength::IntegerLength { length: 0, .. }) => {
            Err(SqlError::new("22023", format!("length for type {name} must be at least 1")))
        }
        Some(CharacterLength::IntegerLength { length, .. }) => match i32::try_from(*length) {
            Ok(length) if length <= 10_485_760 => Ok(PgType::with_modifier(oid, length + 4)),
            _ => Err(SqlError::new("22023", format!("length for type {name} cannot exceed 10485760"))),
        },
    }
}

fn fractional(oid: u32, precision: Option<u64>) -> SqlResult<PgType> {
    match precision {
        None => Ok(PgType::new(oid)),
        // Postgres lowers what is above 6 to 6, with a warning.
        Some(digits) => Ok(PgType::with_modifier(oid, i32::try_from(digits.min(6)).unwrap_or(6))),
    }
}

fn custom(parts: &[String], modifiers: &[String]) -> SqlResult<PgType> {
    let name = match parts {
        [name] => name,
        [schema, name] if schema == "pg_catalog" => name,
        _ => return Err(SqlError::new("42704", format!("type \"{}\" does not exist", parts.join(".")))),
    };
    let length = modifiers.first().and_then(|text| text.parse::<u64>().ok());
    let length = length.map(|length| CharacterLength::IntegerLength { length, unit: None });
    Ok(match name.as_str() {
        "bpchar" => characters(oid::BPCHAR, length.as_ref(), -1)?,
        "char" => PgType::new(oid::CHAR),
        "serial" | "serial4" => PgType::new(oid::INT4),
        "bigserial" | "serial8" => PgType::new(oid::INT8),
        "smallserial" | "serial2" => PgType::new(oid::INT2),
        other => return type_by_name(other),
    })
}

/// The type of this pg_type.typname; with a leading underscore the array of it.
pub fn type_by_name(name: &str) -> SqlResult<PgType> {
    let missing = || SqlError::new("42704", format!("type \"{name}\" does not exist"));
    let find = |name: &str| TYPES.iter().find(|row| row.name == name).map(|row| PgType::new(row.oid));
    match name.strip_prefix('_') {
        Some(element) => find(element).and_then(PgType::array).ok_or_else(missing),
        None => find(name).ok_or_else(missing),
    }
}

#[cfg(test)]
mod tests {
    use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
    use datafusion::sql::sqlparser::parser::Parser;

    use super::*;

    fn type_of(text: &str) -> SqlResult<PgType> {
        let dialect = PostgreSqlDialect {};
        let name = Parser::new(&dialect).try_with_sql(text).unwrap().parse_data_type().unwrap();
        type_of_name(&name)
    }

    #[test]
    fn type_names_mean_their_types() {
        for (text, expected) in [
            ("int", "integer"),
            ("bigint", "bigint"),
            ("int2", "smallint"),
            ("float(24)", "real"),
            ("double precision", "double precision"),
            ("numeric(15, 2)", "numeric(15,2)"),
            ("decimal", "numeric"),
            ("varchar(10)", "character varying(10)"),
            ("character varying", "character varying"),
            ("char", "character(1)"),
            ("bpchar", "character"),
            ("\"char\"", "\"char\""),
            ("timestamp(3)", "timestamp(3) without time zone"),
            ("timestamp with time zone", "timestamp with time zone"),
            ("timestamptz", "timestamp with time zone"),
            ("time", "time without time zone"),
            ("interval", "interval"),
            ("jsonb", "jsonb"),
            ("uuid[]", "uuid[]"),
            ("int[][]", "integer[]"),
            ("pg_catalog.text", "text"),
            ("_int4", "integer[]"),
            ("name", "name"),
            ("oid", "oid"),
            ("regclass", "regclass"),
            ("bigserial", "bigint"),
        ] {
            assert_eq!(type_of(text).unwrap().sql_name(), expected, "{text}");
        }
    }

    #[test]
    fn what_is_no_type_is_refused() {
        assert_eq!(type_of("frob").unwrap_err().sqlstate, "42704");
        assert_eq!(type_of("numeric(50,2)").unwrap_err().sqlstate, "0A000");
        assert_eq!(type_of("numeric(5,7)").unwrap_err().sqlstate, "0A000");
        assert_eq!(type_of("varchar(0)").unwrap_err().sqlstate, "22023");
    }
}
