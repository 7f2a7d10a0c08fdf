//! The session, the clock, and what catalog browsers ask in passing.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use datafusion::arrow::array::{ArrayRef, FixedSizeBinaryBuilder, Int32Array, TimestampMicrosecondArray};
use datafusion::arrow::datatypes::{DataType, TimeUnit};
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::simplify::{ExprSimplifyResult, SimplifyContext};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility, lit,
};

use super::definition::{Call, Definition, Variant};
use super::info::SessionInfo;
use crate::error::{SqlError, SqlResult};
use crate::postgres::cast::session_zone;
use crate::postgres::format::datetime::DAY;
use crate::postgres::types::{PgType, oid};

/// The functions of the transaction's time: they become literals when a statement is planned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Clock {
    Now,
    Local,
    Date,
    Time,
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct ClockFunction {
    name: &'static str,
    clock: Clock,
    signature: Signature,
}

/// now() and its relatives.
pub(super) fn clocks() -> Vec<Arc<ScalarUDF>> {
    [
        ("now", Clock::Now),
        ("current_timestamp", Clock::Now),
        ("localtimestamp", Clock::Local),
        ("current_date", Clock::Date),
        ("today", Clock::Date),
        ("current_time", Clock::Time),
        ("localtime", Clock::Time),
    ]
    .into_iter()
    .map(|(name, clock)| {
        let signature = Signature::nullary(Volatility::Stable);
        Arc::new(ScalarUDF::new_from_impl(ClockFunction { name, clock, signature }))
    })
    .collect()
}

impl ClockFunction {
    fn at(&self, now: DateTime<Utc>, config: &datafusion::config::ConfigOptions) -> ScalarValue {
        let micros = now.timestamp_micros();
        let local = session_zone(config).to_local(micros);
        match self.clock {
            Clock::Now => ScalarValue::TimestampMicrosecond(Some(micros), Some("UTC".into())),
            Clock::Local => ScalarValue::TimestampMicrosecond(Some(local), None),
            Clock::Date => ScalarValue::Date32(i32::try_from(local.div_euclid(DAY)).ok()),
            Clock::Time => ScalarValue::Time64Microsecond(Some(local.rem_euclid(DAY))),
        }
    }
}

impl ScalarUDFImpl for ClockFunction {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arg_types: &[DataType]) -> Result<DataType> {
        Ok(match self.clock {
            Clock::Now => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
            Clock::Local => DataType::Timestamp(TimeUnit::Microsecond, None),
            Clock::Date => DataType::Date32,
            Clock::Time => DataType::Time64(TimeUnit::Microsecond),
        })
    }

    fn invoke_with_args(&self, _args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        Err(SqlError::internal(format!("{} was not replaced by the transaction's time", self.name)).into())
    }

    fn simplify(&self, args: Vec<Expr>, info: &SimplifyContext) -> Result<ExprSimplifyResult> {
        Ok(match info.query_execution_start_time() {
            Some(now) => ExprSimplifyResult::Simplified(lit(self.at(now, info.config_options()))),
            None => ExprSimplifyResult::Original(args),
        })
    }
}

/// pg_typeof: the name of its argument's type.
#[derive(Debug, PartialEq, Eq, Hash)]
struct TypeOf {
    signature: Signature,
}

/// The function pg_typeof.
pub(super) fn pg_typeof() -> Arc<ScalarUDF> {
    Arc::new(ScalarUDF::new_from_impl(TypeOf { signature: Signature::any(1, Volatility::Immutable) }))
}

impl ScalarUDFImpl for TypeOf {
    fn name(&self) -> &str {
        "pg_typeof"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arg_types: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8View)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let name = match args.arg_fields.first() {
            Some(field) if field.data_type() != &DataType::Null => {
                PgType { modifier: -1, ..PgType::of_field(field) }.sql_name()
            }
            _ => "unknown".to_owned(),
        };
        Ok(ColumnarValue::Scalar(ScalarValue::Utf8View(Some(name))))
    }
}

/// The rest.
pub(super) const FUNCTIONS: &[Definition] = &[
    Definition {
        name: "version",
        volatility: Volatility::Stable,
        variants: &[Variant {
            args: &[],
            result: oid::TEXT,
            body: |call| {
                let version = crate::session::SERVER_VERSION;
                Ok(call.same_text(&format!(
                    "PostgreSQL {version} (Strata {}) on {}",
                    env!("CARGO_PKG_VERSION"),
                    std::env::consts::ARCH
                )))
            },
        }],
    },
    Definition {
        name: "current_user",
        volatility: Volatility::Stable,
        variants: &[Variant {
            args: &[],
            result: oid::NAME,
            body: |call| Ok(call.same_text(SessionInfo::of(call.config).user())),
        }],
    },
    Definition {
        name: "current_setting",
        volatility: Volatility::Stable,
        variants: &[
            Variant { args: &[oid::TEXT], result: oid::TEXT, body: current_setting },
            Variant { args: &[oid::TEXT, oid::BOOL], result: oid::TEXT, body: current_setting },
        ],
    },
    Definition {
        name: "pg_backend_pid",
        volatility: Volatility::Stable,
        variants: &[Variant {
            args: &[],
            result: oid::INT4,
            body: |call| {
                let backend = SessionInfo::of(call.config).backend().cast_signed();
                Ok(Arc::new(Int32Array::from(vec![backend; call.rows])))
            },
        }],
    },
    Definition {
        name: "clock_timestamp",
        volatility: Volatility::Volatile,
        variants: &[Variant {
            args: &[],
            result: oid::TIMESTAMPTZ,
            body: |call| {
                let now = Utc::now().timestamp_micros();
                Ok(Arc::new(TimestampMicrosecondArray::from(vec![now; call.rows]).with_timezone("UTC")))
            },
        }],
    },
    Definition {
        name: "gen_random_uuid",
        volatility: Volatility::Volatile,
        variants: &[Variant { args: &[], result: oid::UUID, body: random_uuids }],
    },
];

fn current_setting(call: &Call<'_>) -> SqlResult<ArrayRef> {
    let info = SessionInfo::of(call.config);
    let names = call.texts(0)?;
    let missing_ok = if call.arrays.len() > 1 { Some(call.bools(1)?) } else { None };
    call.text_rows(|row| {
        let name = names.value(row).to_ascii_lowercase();
        match info.setting(&name) {
            Some(value) => Ok(Some(value.to_owned())),
            None if missing_ok.as_ref().is_some_and(|allowed| allowed.value(row)) => Ok(None),
            None => Err(SqlError::new("42704", format!("unrecognized configuration parameter \"{name}\""))),
        }
    })
}

fn random_uuids(call: &Call<'_>) -> SqlResult<ArrayRef> {
    let mut builder = FixedSizeBinaryBuilder::with_capacity(call.rows, 16);
    for _ in 0..call.rows {
        builder
            .append_value(uuid::Uuid::new_v4().as_bytes())
            .map_err(|error| SqlError::internal(error.to_string()))?;
    }
    Ok(Arc::new(builder.finish()))
}
