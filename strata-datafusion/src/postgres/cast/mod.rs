//! Explicit casts, and the casts of literals, as Postgres defines them.
//!
//! SQL's `CAST(x AS t)` arrives here as the call `"::"(x, oid, modifier)`: DataFusion's own casts truncate where
//! Postgres rounds, and read text differently. Casts that DataFusion adds by itself only widen numbers.

mod function;
mod number;
mod text;
mod time;

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, ListArray, new_null_array};
use datafusion::arrow::compute::cast as arrow_cast;
use datafusion::arrow::datatypes::{DataType, Field};

pub(crate) use function::{CastFunction, cast_call, session_zone};

pub(crate) use time::midnight;

use super::types::{PgType, oid};
use super::zone::Zone;
use crate::error::{SqlError, SqlResult};

/// What the meaning of some casts depends on.
#[derive(Clone, Copy, Debug)]
pub struct CastContext {
    /// The session's zone.
    pub zone: Zone,
    /// What 'now' means, in microseconds since 1970 UTC.
    pub now: i64,
    /// Whether SQL says CAST: too long a text is cut then, and refused in an assignment.
    pub explicit: bool,
}

fn is_text(pg_type: PgType) -> bool {
    matches!(
        pg_type.oid,
        oid::TEXT
            | oid::VARCHAR
            | oid::BPCHAR
            | oid::NAME
            | oid::CHAR
            | oid::UNKNOWN
            | oid::JSON
            | oid::JSONB
    )
}

/// 42846.
pub fn cannot_cast(from: PgType, to: PgType) -> SqlError {
    let name = |pg_type: PgType| PgType { modifier: -1, ..pg_type }.sql_name();
    SqlError::new("42846", format!("cannot cast type {} to {}", name(from), name(to)))
}

/// Whether there is a cast.
pub fn castable(from: PgType, to: PgType) -> bool {
    if from.oid == to.oid || is_text(from) || is_text(to) {
        return true;
    }
    if let (Some(from), Some(to)) = (from.element(), to.element()) {
        return castable(from, to);
    }
    let float = |oid| matches!(oid, oid::FLOAT4 | oid::FLOAT8 | oid::NUMERIC);
    match (from.category(), to.category()) {
        ('N', 'N') => !(float(from.oid) && is_reference(to.oid) || is_reference(from.oid) && float(to.oid)),
        ('B', 'N') => to.oid == oid::INT4,
        ('N', 'B') => from.oid == oid::INT4,
        ('D', 'D') => !matches!(
            (from.oid, to.oid),
            (oid::DATE, oid::TIME) | (oid::TIME, oid::DATE | oid::TIMESTAMP | oid::TIMESTAMPTZ)
        ),
        ('D', 'T') => from.oid == oid::TIME,
        ('T', 'D') => to.oid == oid::TIME,
        _ => from.oid == oid::UNKNOWN || (from.oid, to.oid) == (oid::XID, oid::XID),
    }
}

/// Whether a value may be assigned to a column of another type without a cast.
pub fn assignable(from: PgType, to: PgType) -> bool {
    let string = |found: PgType| matches!(found.category(), 'S' | 'Z') || found.oid == oid::UNKNOWN;
    if from.oid == to.oid || string(to) || from.oid == oid::UNKNOWN {
        return true;
    }
    if string(from) {
        return to.oid == oid::REGCLASS;
    }
    if let (Some(from), Some(to)) = (from.element(), to.element()) {
        return assignable(from, to);
    }
    match (from.category(), to.category()) {
        ('B', 'N') | ('N', 'B') => false,
        ('U', 'U') => matches!((from.oid, to.oid), (oid::JSON, oid::JSONB) | (oid::JSONB, oid::JSON)),
        _ => castable(from, to),
    }
}

/// Types that hold OIDs.
pub fn is_reference(oid: u32) -> bool {
    matches!(oid, oid::OID | oid::REGPROC | oid::REGCLASS | oid::REGTYPE | oid::REGNAMESPACE | oid::REGROLE)
}

/// Casts an array of `from` to `to`. The result has the Arrow type of `target`, which is
/// [`target_arrow`] of the two.
pub fn cast_array(
    array: &ArrayRef,
    from: PgType,
    to: PgType,
    target: &DataType,
    context: &CastContext,
) -> SqlResult<ArrayRef> {
    if array.data_type() == &DataType::Null {
        return Ok(new_null_array(target, array.len()));
    }
    if !castable(from, to) {
        return Err(cannot_cast(from, to));
    }
    let result = if is_text(to) {
        text::to_text(array, from, to, context)?
    } else if let (Some(from), Some(to)) = (from.element(), to.element()) {
        cast_list(array, from, to, target, context)?
    } else if is_text(from) {
        text::from_text(array, to, target, context)?
    } else {
        match (from.category(), to.category()) {
            ('D' | 'T', 'D' | 'T') => time::cast_time(array, from, to, context)?,
            ('B' | 'N', 'B' | 'N') => number::cast_number(array, to, target)?,
            _ => Arc::clone(array),
        }
    };
    if result.data_type() == target {
        return Ok(result);
    }
    arrow_cast(&result, target).map_err(|error| SqlError::internal(error.to_string()))
}

fn cast_list(
    array: &ArrayRef,
    from: PgType,
    to: PgType,
    target: &DataType,
    context: &CastContext,
) -> SqlResult<ArrayRef> {
    let DataType::List(item) = target else { return Err(cannot_cast(from, to)) };
    let from_item = match array.data_type() {
        DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) => item,
        _ => return Err(cannot_cast(from, to)),
    };
    let list = arrow_cast(array, &DataType::List(Arc::clone(from_item)))
        .map_err(|error| SqlError::internal(error.to_string()))?;
    let list = list.as_list::<i32>();
    let values = cast_array(list.values(), from, to, item.data_type(), context)?;
    let field = Arc::new(Field::new("item", item.data_type().clone(), true));
    let list = ListArray::try_new(field, list.offsets().clone(), values, list.nulls().cloned())
        .map_err(|error| SqlError::internal(error.to_string()))?;
    Ok(Arc::new(list))
}

/// The Arrow type of a cast's result: that of `to`, but a `numeric` without precision takes the digits of what is cast.
pub fn target_arrow(from: &DataType, to: PgType) -> SqlResult<DataType> {
    if to == PgType::new(oid::NUMERIC) {
        let digits = match from {
            DataType::Boolean | DataType::Int8 | DataType::Int16 | DataType::UInt8 => Some((5, 0)),
            DataType::Int32 | DataType::UInt16 => Some((10, 0)),
            DataType::Int64 | DataType::UInt32 => Some((19, 0)),
            DataType::UInt64 => Some((20, 0)),
            DataType::Decimal128(precision, scale) => Some((*precision, *scale)),
            _ => None,
        };
        if let Some((precision, scale)) = digits {
            return Ok(DataType::Decimal128(precision, scale));
        }
    }
    to.arrow()
}

#[cfg(test)]
mod tests;
