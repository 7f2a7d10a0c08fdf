//! Borrowed values, and what all values can be asked.
//!
//! The codecs, the comparison and the builders work on [`DatumRef`], so that a text in a row page, a column
//! block or a statement is not copied on its way to a key or an array. Arrays are the exception: they are
//! rare and are decoded into owned elements.

use std::borrow::Cow;

use super::types::{ColumnType, Datum};
use crate::error::{Error, Result};

/// A [`Datum`] whose bytes stand elsewhere.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub enum DatumRef<'a> {
    Null,
    Bool(bool),
    Int16(i16),
    Int32(i32),
    Int64(i64),
    Float32(f32),
    Float64(f64),
    Decimal(i128),
    Text(&'a str),
    Bytes(&'a [u8]),
    Date(i32),
    Time(i64),
    Timestamp(i64),
    TimestampTz(i64),
    Interval { months: i32, days: i32, nanoseconds: i64 },
    Uuid([u8; 16]),
    Array(Cow<'a, [Datum]>),
}

impl Datum {
    /// The same value, borrowed.
    pub fn borrowed(&self) -> DatumRef<'_> {
        match self {
            Self::Null => DatumRef::Null,
            Self::Bool(value) => DatumRef::Bool(*value),
            Self::Int16(value) => DatumRef::Int16(*value),
            Self::Int32(value) => DatumRef::Int32(*value),
            Self::Int64(value) => DatumRef::Int64(*value),
            Self::Float32(value) => DatumRef::Float32(*value),
            Self::Float64(value) => DatumRef::Float64(*value),
            Self::Decimal(value) => DatumRef::Decimal(*value),
            Self::Text(value) => DatumRef::Text(value),
            Self::Bytes(value) => DatumRef::Bytes(value),
            Self::Date(value) => DatumRef::Date(*value),
            Self::Time(value) => DatumRef::Time(*value),
            Self::Timestamp(value) => DatumRef::Timestamp(*value),
            Self::TimestampTz(value) => DatumRef::TimestampTz(*value),
            Self::Interval { months, days, nanoseconds } => {
                DatumRef::Interval { months: *months, days: *days, nanoseconds: *nanoseconds }
            }
            Self::Uuid(value) => DatumRef::Uuid(*value),
            Self::Array(elements) => DatumRef::Array(Cow::Borrowed(elements)),
        }
    }

    /// Whether this is NULL.
    pub fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }

    /// About how many bytes of memory the value takes, its heap allocations included.
    pub fn approximate_bytes(&self) -> usize {
        size_of::<Self>()
            + match self {
                Self::Text(value) => value.capacity(),
                Self::Bytes(value) => value.capacity(),
                Self::Array(elements) => elements.iter().map(Self::approximate_bytes).sum(),
                _ => 0,
            }
    }

    /// Checks that a column of this type can hold the value; see [`DatumRef::check_type`].
    pub fn check_type(&self, column_type: &ColumnType) -> Result<()> {
        self.borrowed().check_type(column_type)
    }
}

impl DatumRef<'_> {
    /// Whether this is NULL.
    pub fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }

    /// The value with bytes of its own.
    pub fn to_datum(&self) -> Datum {
        match self {
            Self::Null => Datum::Null,
            Self::Bool(value) => Datum::Bool(*value),
            Self::Int16(value) => Datum::Int16(*value),
            Self::Int32(value) => Datum::Int32(*value),
            Self::Int64(value) => Datum::Int64(*value),
            Self::Float32(value) => Datum::Float32(*value),
            Self::Float64(value) => Datum::Float64(*value),
            Self::Decimal(value) => Datum::Decimal(*value),
            Self::Text(value) => Datum::Text((*value).to_owned()),
            Self::Bytes(value) => Datum::Bytes(value.to_vec()),
            Self::Date(value) => Datum::Date(*value),
            Self::Time(value) => Datum::Time(*value),
            Self::Timestamp(value) => Datum::Timestamp(*value),
            Self::TimestampTz(value) => Datum::TimestampTz(*value),
            Self::Interval { months, days, nanoseconds } => {
                Datum::Interval { months: *months, days: *days, nanoseconds: *nanoseconds }
            }
            Self::Uuid(value) => Datum::Uuid(*value),
            Self::Array(elements) => Datum::Array(elements.to_vec()),
        }
    }

    /// Checks that a column of this type can hold the value. NULL fits every type; NOT NULL is checked by
    /// [`check_not_null`](super::Schema::check_not_null).
    ///
    /// # Errors
    /// `Invalid` for another type, and for a decimal of more digits than the precision.
    pub fn check_type(&self, column_type: &ColumnType) -> Result<()> {
        if !self.is_of_type(column_type) {
            return Err(self.type_error(column_type));
        }
        match (self, column_type) {
            (Self::Decimal(value), ColumnType::Decimal { precision, .. }) => check_digits(*value, *precision),
            (Self::Array(elements), ColumnType::Array(element_type)) => {
                elements.iter().try_for_each(|element| element.check_type(element_type))
            }
            _ => Ok(()),
        }
    }

    /// Whether this is NULL or a value of the type, a decimal having any number of digits. No array is of a
    /// type of arrays of arrays.
    pub fn is_of_type(&self, column_type: &ColumnType) -> bool {
        match (self, column_type) {
            (Self::Null, _)
            | (Self::Bool(_), ColumnType::Bool)
            | (Self::Int16(_), ColumnType::Int16)
            | (Self::Int32(_), ColumnType::Int32)
            | (Self::Int64(_), ColumnType::Int64)
            | (Self::Float32(_), ColumnType::Float32)
            | (Self::Float64(_), ColumnType::Float64)
            | (Self::Decimal(_), ColumnType::Decimal { .. })
            | (Self::Text(_), ColumnType::Text)
            | (Self::Bytes(_), ColumnType::Bytes)
            | (Self::Date(_), ColumnType::Date)
            | (Self::Time(_), ColumnType::Time)
            | (Self::Timestamp(_), ColumnType::Timestamp)
            | (Self::TimestampTz(_), ColumnType::TimestampTz)
            | (Self::Interval { .. }, ColumnType::Interval)
            | (Self::Uuid(_), ColumnType::Uuid) => true,
            (Self::Array(elements), ColumnType::Array(element_type)) => {
                !matches!(**element_type, ColumnType::Array(_))
                    && elements.iter().all(|element| element.borrowed().is_of_type(element_type))
            }
            _ => false,
        }
    }

    /// That the value is not of this type.
    pub(super) fn type_error(&self, column_type: &ColumnType) -> Error {
        let found = self.type_name();
        Error::Invalid(format!("a value of type {found} does not fit a column of type {column_type}"))
    }

    fn type_name(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "boolean",
            Self::Int16(_) => "smallint",
            Self::Int32(_) => "integer",
            Self::Int64(_) => "bigint",
            Self::Float32(_) => "real",
            Self::Float64(_) => "double precision",
            Self::Decimal(_) => "numeric",
            Self::Text(_) => "text",
            Self::Bytes(_) => "bytea",
            Self::Date(_) => "date",
            Self::Time(_) => "time",
            Self::Timestamp(_) => "timestamp",
            Self::TimestampTz(_) => "timestamptz",
            Self::Interval { .. } => "interval",
            Self::Uuid(_) => "uuid",
            Self::Array(_) => "array",
        }
    }
}

fn check_digits(value: i128, precision: u8) -> Result<()> {
    // 10^38 < 2^127; a precision beyond that comes from no catalog.
    let limit = 10_u128.pow(u32::from(precision).min(38));
    if value.unsigned_abs() < limit {
        return Ok(());
    }
    Err(Error::Invalid(format!("a numeric value has more than {precision} digits")))
}
