//! The total order of values, as Postgres has it: NULL last, NaN above all numbers, -0 = 0, text by bytes
//! (collation C), intervals by their length with months of 30 days, arrays element by element.
//!
//! [`key`](super::key) sorts in the same order; a property test holds the two together.

use std::cmp::Ordering;

use super::types::Datum;
use super::value::DatumRef;

/// Nanoseconds of a day of 24 hours.
pub(super) const DAY_NANOSECONDS: i128 = 86_400_000_000_000;
/// Nanoseconds of a month of 30 days.
pub(super) const MONTH_NANOSECONDS: i128 = 30 * DAY_NANOSECONDS;

/// Compares two values. Those of one type in their order; integers of different widths by value, floats too;
/// others by a fixed order of the types, so that the order is total. NULL equals NULL and is greater than all
/// else.
pub fn compare(left: &Datum, right: &Datum) -> Ordering {
    left.borrowed().compare(&right.borrowed())
}

impl DatumRef<'_> {
    /// See [`compare`].
    pub fn compare(&self, other: &DatumRef<'_>) -> Ordering {
        match (self, other) {
            (DatumRef::Text(left), DatumRef::Text(right)) => left.cmp(right),
            (DatumRef::Bytes(left), DatumRef::Bytes(right)) => left.cmp(right),
            (DatumRef::Bool(left), DatumRef::Bool(right)) => left.cmp(right),
            (DatumRef::Decimal(left), DatumRef::Decimal(right)) => left.cmp(right),
            (DatumRef::Date(left), DatumRef::Date(right)) => left.cmp(right),
            (DatumRef::Time(left), DatumRef::Time(right))
            | (DatumRef::Timestamp(left), DatumRef::Timestamp(right))
            | (DatumRef::TimestampTz(left), DatumRef::TimestampTz(right)) => left.cmp(right),
            (DatumRef::Uuid(left), DatumRef::Uuid(right)) => left.cmp(right),
            (
                DatumRef::Interval { months, days, nanoseconds },
                DatumRef::Interval { months: other_months, days: other_days, nanoseconds: other_nanoseconds },
            ) => interval_length(*months, *days, *nanoseconds).cmp(&interval_length(
                *other_months,
                *other_days,
                *other_nanoseconds,
            )),
            (DatumRef::Array(left), DatumRef::Array(right)) => compare_arrays(left, right),
            _ => match (self.integer(), other.integer(), self.float(), other.float()) {
                (Some(left), Some(right), _, _) => left.cmp(&right),
                (_, _, Some(left), Some(right)) => compare_floats(left, right),
                _ => self.rank().cmp(&other.rank()),
            },
        }
    }

    fn integer(&self) -> Option<i64> {
        match self {
            DatumRef::Int16(value) => Some(i64::from(*value)),
            DatumRef::Int32(value) => Some(i64::from(*value)),
            DatumRef::Int64(value) => Some(*value),
            _ => None,
        }
    }

    fn float(&self) -> Option<f64> {
        match self {
            DatumRef::Float32(value) => Some(f64::from(*value)),
            DatumRef::Float64(value) => Some(*value),
            _ => None,
        }
    }

    fn rank(&self) -> u8 {
        match self {
            DatumRef::Bool(_) => 0,
            DatumRef::Int16(_) | DatumRef::Int32(_) | DatumRef::Int64(_) => 1,
            DatumRef::Float32(_) | DatumRef::Float64(_) => 2,
            DatumRef::Decimal(_) => 3,
            DatumRef::Text(_) => 4,
            DatumRef::Bytes(_) => 5,
            DatumRef::Date(_) => 6,
            DatumRef::Time(_) => 7,
            DatumRef::Timestamp(_) => 8,
            DatumRef::TimestampTz(_) => 9,
            DatumRef::Interval { .. } => 10,
            DatumRef::Uuid(_) => 11,
            DatumRef::Array(_) => 12,
            DatumRef::Null => 13,
        }
    }
}

/// The order of floats: -0 = 0, NaN = NaN and above all else.
pub fn compare_floats(left: f64, right: f64) -> Ordering {
    left.partial_cmp(&right).unwrap_or_else(|| left.is_nan().cmp(&right.is_nan()))
}

/// What intervals are compared by: '1 month' = '30 days' = '720 hours'.
pub(super) fn interval_length(months: i32, days: i32, nanoseconds: i64) -> i128 {
    i128::from(months) * MONTH_NANOSECONDS + i128::from(days) * DAY_NANOSECONDS + i128::from(nanoseconds)
}

/// Element by element, a NULL element above the others; then the shorter first.
fn compare_arrays(left: &[Datum], right: &[Datum]) -> Ordering {
    left.iter()
        .zip(right)
        .map(|(left, right)| compare(left, right))
        .find(|order| order.is_ne())
        .unwrap_or_else(|| left.len().cmp(&right.len()))
}
