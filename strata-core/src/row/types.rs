//! The types that columns have in the engine, and the values of them.
//!
//! A column's [`ColumnType`] says how it is stored. What SQL calls it (varchar(10), jsonb, …) is its
//! [`SqlType`], which the engine keeps and does not interpret.

/// How a column's values are stored.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ColumnType {
    /// true or false.
    Bool,
    /// 16-bit signed.
    Int16,
    /// 32-bit signed.
    Int32,
    /// 64-bit signed.
    Int64,
    /// IEEE 754 single.
    Float32,
    /// IEEE 754 double.
    Float64,
    /// A decimal of at most 38 digits: `value / 10^scale`.
    Decimal {
        /// Digits in all, 1 to 38.
        precision: u8,
        /// Digits after the point, 0 to precision.
        scale: u8,
    },
    /// UTF-8 of any length.
    Text,
    /// Bytes of any length.
    Bytes,
    /// Days since 1970-01-01.
    Date,
    /// Microseconds since midnight.
    Time,
    /// Microseconds since 1970-01-01, no zone.
    Timestamp,
    /// Microseconds since 1970-01-01 UTC.
    TimestampTz,
    /// Months, days and nanoseconds, each with its sign.
    Interval,
    /// 128 bits.
    Uuid,
    /// A list of values of one type, never itself an array; elements may be NULL.
    Array(Box<ColumnType>),
}

/// One value. A `Decimal` is the unscaled integer: its scale is the column's.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub enum Datum {
    Null,
    Bool(bool),
    Int16(i16),
    Int32(i32),
    Int64(i64),
    Float32(f32),
    Float64(f64),
    Decimal(i128),
    Text(String),
    Bytes(Vec<u8>),
    Date(i32),
    Time(i64),
    Timestamp(i64),
    TimestampTz(i64),
    Interval { months: i32, days: i32, nanoseconds: i64 },
    Uuid([u8; 16]),
    Array(Vec<Datum>),
}

/// What SQL calls a type: opaque to the engine, kept in the catalog.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub struct SqlType {
    /// The Postgres type OID (1043 for varchar, …).
    pub oid: u32,
    /// The Postgres type modifier, -1 for none.
    pub modifier: i32,
}
