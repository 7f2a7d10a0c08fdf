//! `generate_series` in FROM, typed as Postgres types it: int4 of int4s, timestamps in microseconds, dates as
//! timestamps with zone.
//!
//! DataFusion's function makes the rows, of 64-bit integers or nanoseconds; a projection brings them to their type.

use std::sync::Arc;

use datafusion::catalog::{Session, TableFunction, TableFunctionArgs};
use datafusion::common::{Column, Result, ScalarValue};
use datafusion::datasource::{ViewTable, provider_as_source};
use datafusion::logical_expr::{Cast, Expr, LogicalPlanBuilder, TableSource, lit};

use crate::error::{SqlError, SqlResult};
use crate::postgres::input::parse_value;
use crate::postgres::types::{PgType, oid};
use crate::postgres::zone::Zone;

/// The rows of a series. `args` are constants, `narrow` tells that no whole number among them is an int8.
pub(crate) fn source(
    function: &TableFunction,
    args: Vec<Expr>,
    narrow: bool,
    session: &dyn Session,
) -> Result<Arc<dyn TableSource>> {
    let zone_name = session.config_options().execution.time_zone.clone().unwrap_or_else(|| "UTC".to_owned());
    let zone = Zone::parse(&zone_name).unwrap_or(Zone::Utc);
    let values = args.into_iter().map(constant).collect::<SqlResult<Vec<_>>>()?;
    let result = result_type(&values, narrow)?;
    let mut converted = Vec::with_capacity(values.len());
    for (place, value) in values.into_iter().enumerate() {
        let wanted = match (result.oid, place) {
            (oid::INT4 | oid::INT8, _) => PgType::new(oid::INT8),
            (_, 2) => PgType::new(oid::INTERVAL),
            _ => result,
        };
        converted.push(lit(argument(value, wanted, &zone, &zone_name)?));
    }
    let provider = function.create_table_provider_with_args(TableFunctionArgs::new(&converted, session))?;
    let rows = LogicalPlanBuilder::scan("series", provider_as_source(provider), None)?;
    let value = Expr::Column(Column::from_name("value"));
    let typed = Expr::Cast(Cast::new(Box::new(value), result.arrow()?)).alias("value");
    let plan = rows.project(vec![typed])?.build()?;
    Ok(provider_as_source(Arc::new(ViewTable::new(plan, None))))
}

fn constant(arg: Expr) -> SqlResult<ScalarValue> {
    match arg {
        Expr::Literal(value, _) => Ok(value),
        Expr::Alias(alias) => constant(*alias.expr),
        _ => {
            Err(SqlError::unsupported("generate_series over columns or parameters is not supported in FROM")
                .with_hint("In a SELECT list it is."))
        }
    }
}

fn is_text(value: &ScalarValue) -> bool {
    matches!(value, ScalarValue::Utf8(_) | ScalarValue::Utf8View(_) | ScalarValue::Null)
}

fn result_type(values: &[ScalarValue], narrow: bool) -> SqlResult<PgType> {
    let undefined = || {
        let types: Vec<String> = values
            .iter()
            .map(|value| PgType { modifier: -1, ..PgType::natural(&value.data_type()) }.sql_name())
            .collect();
        SqlError::new("42883", format!("function generate_series({}) does not exist", types.join(", ")))
    };
    if !(2..=3).contains(&values.len()) {
        return Err(undefined());
    }
    let of = |value: &ScalarValue| PgType::natural(&value.data_type()).oid;
    let bounds: Vec<u32> = values.iter().take(2).filter(|value| !is_text(value)).map(of).collect();
    let whole = |oid: &u32| matches!(*oid, oid::INT2 | oid::INT4 | oid::INT8);
    let steps_whole = values.get(2).is_none_or(|step| is_text(step) || whole(&of(step)));
    if bounds.iter().all(whole)
        && steps_whole
        && (!bounds.is_empty() || values.iter().all(|value| value.is_null()))
    {
        return Ok(PgType::new(if narrow { oid::INT4 } else { oid::INT8 }));
    }
    let moment = |oid: &u32| matches!(*oid, oid::DATE | oid::TIMESTAMP | oid::TIMESTAMPTZ);
    let steps_time = values.get(2).is_some_and(|step| is_text(step) || of(step) == oid::INTERVAL);
    if bounds.is_empty() || !bounds.iter().all(moment) || !steps_time {
        return Err(undefined());
    }
    let plain = bounds.contains(&oid::TIMESTAMP) && !bounds.contains(&oid::TIMESTAMPTZ);
    Ok(PgType::new(if plain { oid::TIMESTAMP } else { oid::TIMESTAMPTZ }))
}

/// An argument as DataFusion's function takes it: nanoseconds, with the session's zone where months and days follow it.
fn argument(value: ScalarValue, wanted: PgType, zone: &Zone, zone_name: &str) -> SqlResult<ScalarValue> {
    let value = match value.try_as_str().flatten() {
        Some(text) => parse_value(wanted, text, zone, chrono::Utc::now().timestamp_micros())?,
        None => value,
    };
    let micros = match (&value, wanted.oid) {
        (_, oid::INT8 | oid::INTERVAL) => return Ok(value.cast_to(&wanted.arrow()?)?),
        (ScalarValue::Date32(Some(days)), oid::TIMESTAMPTZ) => {
            Some(zone.to_utc(crate::postgres::cast::midnight(*days)))
        }
        (ScalarValue::Date32(Some(days)), _) => Some(crate::postgres::cast::midnight(*days)),
        (ScalarValue::TimestampMicrosecond(Some(local), None), oid::TIMESTAMPTZ) => Some(zone.to_utc(*local)),
        (ScalarValue::TimestampMicrosecond(micros, _), _) => *micros,
        _ => None,
    };
    let nanoseconds = micros
        .map(|micros| {
            micros.checked_mul(1_000).ok_or_else(|| SqlError::new("22008", "timestamp out of range"))
        })
        .transpose()?;
    let zoned = (wanted.oid == oid::TIMESTAMPTZ).then(|| Arc::from(zone_name));
    Ok(ScalarValue::TimestampNanosecond(nanoseconds, zoned))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn series_have_the_types_that_postgres_gives() {
        let int = |value| ScalarValue::Int64(Some(value));
        let date = ScalarValue::Date32(Some(0));
        let step = ScalarValue::Utf8(Some("1 day".into()));
        assert_eq!(result_type(&[int(1), int(2)], true).unwrap().oid, oid::INT4);
        assert_eq!(result_type(&[int(1), int(2)], false).unwrap().oid, oid::INT8);
        assert_eq!(result_type(&[date.clone(), date, step], true).unwrap().oid, oid::TIMESTAMPTZ);
        assert_eq!(result_type(&[int(1)], true).unwrap_err().sqlstate, "42883");
        let float = ScalarValue::Float64(Some(1.0));
        assert_eq!(result_type(&[float.clone(), float], true).unwrap_err().sqlstate, "42883");
    }
}
