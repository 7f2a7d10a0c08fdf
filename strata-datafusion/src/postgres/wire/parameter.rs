//! Parameters of Bind into values.

use datafusion::common::ScalarValue;

use crate::error::{SqlError, SqlResult};
use crate::postgres::types::PgType;

/// A parameter's value.
pub fn decode_parameter(oid: u32, binary: bool, bytes: &[u8]) -> SqlResult<ScalarValue> {
    let _ = (binary, bytes);
    Err(SqlError::unsupported(format!(
        "parameters of type {} are not supported",
        PgType::new(oid).sql_name()
    )))
}

/// NULL of a parameter's type.
pub fn null_parameter(oid: u32) -> SqlResult<ScalarValue> {
    ScalarValue::try_from(&PgType::new(oid).arrow()?).map_err(SqlError::from)
}
