//! The Postgres types, and how they stand in Arrow fields and in the storage engine.
//!
//! A [`PgType`] is an OID and a modifier. An Arrow field carries it in its metadata under [`METADATA_KEY`] as
//! `oid` or `oid,modifier`, and only where the Arrow type alone does not tell (varchar, json, oid, …): the
//! *natural* Postgres type of an Arrow type needs no metadata.

use std::collections::HashMap;
use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Field, FieldRef, IntervalUnit, TimeUnit};
use strata_core::row::{ColumnType, SqlType};

use crate::error::{SqlError, SqlResult};

/// The key of a field's metadata that holds its Postgres type.
pub const METADATA_KEY: &str = "strata.pg_type";

/// Digits of a `numeric` that was declared without precision, and how many of them follow the point.
pub const UNCONSTRAINED_NUMERIC: (u8, i8) = (38, 16);

/// OIDs, as in pg_type.dat.
#[allow(missing_docs)]
pub mod oid {
    pub const BOOL: u32 = 16;
    pub const BYTEA: u32 = 17;
    pub const CHAR: u32 = 18;
    pub const NAME: u32 = 19;
    pub const INT8: u32 = 20;
    pub const INT2: u32 = 21;
    pub const INT2VECTOR: u32 = 22;
    pub const INT4: u32 = 23;
    pub const REGPROC: u32 = 24;
    pub const TEXT: u32 = 25;
    pub const OID: u32 = 26;
    pub const XID: u32 = 28;
    pub const OIDVECTOR: u32 = 30;
    pub const JSON: u32 = 114;
    pub const FLOAT4: u32 = 700;
    pub const FLOAT8: u32 = 701;
    pub const UNKNOWN: u32 = 705;
    pub const BPCHAR: u32 = 1042;
    pub const VARCHAR: u32 = 1043;
    pub const DATE: u32 = 1082;
    pub const TIME: u32 = 1083;
    pub const TIMESTAMP: u32 = 1114;
    pub const TIMESTAMPTZ: u32 = 1184;
    pub const INTERVAL: u32 = 1186;
    pub const NUMERIC: u32 = 1700;
    pub const REGCLASS: u32 = 2205;
    pub const REGTYPE: u32 = 2206;
    pub const REGNAMESPACE: u32 = 4089;
    pub const REGROLE: u32 = 4096;
    pub const RECORD: u32 = 2249;
    pub const VOID: u32 = 2278;
    pub const UUID: u32 = 2950;
    pub const JSONB: u32 = 3802;
}

/// One row of the type table: name, OID, array OID, size.
pub struct TypeRow {
    /// pg_type.typname.
    pub name: &'static str,
    /// How SQL writes it.
    pub sql_name: &'static str,
    /// Its OID.
    pub oid: u32,
    /// The OID of the array of it, 0 for none.
    pub array_oid: u32,
    /// Bytes, -1 for variable.
    pub size: i16,
    /// pg_type.typcategory.
    pub category: char,
}

macro_rules! types {
    ($(($name:literal, $sql:literal, $oid:expr, $array:literal, $size:literal, $category:literal)),* $(,)?) => {
        /// All scalar types known here.
        pub static TYPES: &[TypeRow] = &[$(TypeRow {
            name: $name, sql_name: $sql, oid: $oid, array_oid: $array, size: $size, category: $category,
        }),*];
    };
}

types![
    ("bool", "boolean", oid::BOOL, 1000, 1, 'B'),
    ("bytea", "bytea", oid::BYTEA, 1001, -1, 'U'),
    ("char", "\"char\"", oid::CHAR, 1002, 1, 'Z'),
    ("name", "name", oid::NAME, 1003, 64, 'S'),
    ("int8", "bigint", oid::INT8, 1016, 8, 'N'),
    ("int2", "smallint", oid::INT2, 1005, 2, 'N'),
    ("int2vector", "int2vector", oid::INT2VECTOR, 1006, -1, 'A'),
    ("int4", "integer", oid::INT4, 1007, 4, 'N'),
    ("regproc", "regproc", oid::REGPROC, 1008, 4, 'N'),
    ("text", "text", oid::TEXT, 1009, -1, 'S'),
    ("oid", "oid", oid::OID, 1028, 4, 'N'),
    ("xid", "xid", oid::XID, 1011, 4, 'U'),
    ("oidvector", "oidvector", oid::OIDVECTOR, 1013, -1, 'A'),
    ("json", "json", oid::JSON, 199, -1, 'U'),
    ("float4", "real", oid::FLOAT4, 1021, 4, 'N'),
    ("float8", "double precision", oid::FLOAT8, 1022, 8, 'N'),
    ("unknown", "unknown", oid::UNKNOWN, 0, -2, 'X'),
    ("bpchar", "character", oid::BPCHAR, 1014, -1, 'S'),
    ("varchar", "character varying", oid::VARCHAR, 1015, -1, 'S'),
    ("date", "date", oid::DATE, 1182, 4, 'D'),
    ("time", "time without time zone", oid::TIME, 1183, 8, 'D'),
    ("timestamp", "timestamp without time zone", oid::TIMESTAMP, 1115, 8, 'D'),
    ("timestamptz", "timestamp with time zone", oid::TIMESTAMPTZ, 1185, 8, 'D'),
    ("interval", "interval", oid::INTERVAL, 1187, 16, 'T'),
    ("numeric", "numeric", oid::NUMERIC, 1231, -1, 'N'),
    ("regclass", "regclass", oid::REGCLASS, 2210, 4, 'N'),
    ("regtype", "regtype", oid::REGTYPE, 2211, 4, 'N'),
    ("regnamespace", "regnamespace", oid::REGNAMESPACE, 4090, 4, 'N'),
    ("regrole", "regrole", oid::REGROLE, 4097, 4, 'N'),
    ("record", "record", oid::RECORD, 2287, -1, 'P'),
    ("void", "void", oid::VOID, 0, 4, 'P'),
    ("uuid", "uuid", oid::UUID, 2951, 16, 'U'),
    ("jsonb", "jsonb", oid::JSONB, 3807, -1, 'U'),
];

/// The row of a scalar type.
pub fn type_row(oid: u32) -> Option<&'static TypeRow> {
    TYPES.iter().find(|row| row.oid == oid)
}

/// A Postgres type: OID and modifier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PgType {
    /// pg_type.oid.
    pub oid: u32,
    /// The modifier, -1 for none; an array has its element's.
    pub modifier: i32,
}

impl From<SqlType> for PgType {
    fn from(sql_type: SqlType) -> Self {
        Self { oid: sql_type.oid, modifier: sql_type.modifier }
    }
}

impl From<PgType> for SqlType {
    fn from(pg_type: PgType) -> Self {
        Self { oid: pg_type.oid, modifier: pg_type.modifier }
    }
}

impl PgType {
    /// The type without a modifier.
    pub const fn new(oid: u32) -> Self {
        Self { oid, modifier: -1 }
    }

    /// The type with a modifier.
    pub const fn with_modifier(oid: u32, modifier: i32) -> Self {
        Self { oid, modifier }
    }

    /// `numeric(precision, scale)`.
    pub fn numeric(precision: u8, scale: u8) -> Self {
        Self { oid: oid::NUMERIC, modifier: ((i32::from(precision) << 16) | i32::from(scale)) + 4 }
    }

    /// Precision and scale of a constrained `numeric`.
    pub fn numeric_parts(self) -> Option<(u8, i8)> {
        if self.modifier < 4 {
            return None;
        }
        let packed = self.modifier - 4;
        Some((u8::try_from(packed >> 16).ok()?, i8::try_from(packed & 0x7ff).ok()?))
    }

    /// The length of `varchar(n)` or `char(n)`, in characters.
    pub fn length(self) -> Option<usize> {
        usize::try_from(self.modifier.checked_sub(4)?).ok()
    }

    /// Whether it is a list of the catalogs that counts from 0: int2vector, oidvector.
    pub fn is_vector(self) -> bool {
        matches!(self.oid, oid::INT2VECTOR | oid::OIDVECTOR)
    }

    /// The element type, if this is an array.
    pub fn element(self) -> Option<PgType> {
        TYPES
            .iter()
            .find(|row| row.array_oid == self.oid && row.array_oid != 0)
            .map(|row| PgType { oid: row.oid, modifier: self.modifier })
    }

    /// The array of this type.
    pub fn array(self) -> Option<PgType> {
        type_row(self.oid)
            .filter(|row| row.array_oid != 0)
            .map(|row| PgType { oid: row.array_oid, modifier: self.modifier })
    }

    /// pg_type.typlen.
    pub fn size(self) -> i16 {
        type_row(self.oid).map_or(-1, |row| row.size)
    }

    /// What kind of type it is: pg_type.typcategory, 'A' for arrays.
    pub fn category(self) -> char {
        match type_row(self.oid) {
            Some(row) => row.category,
            None if self.element().is_some() => 'A',
            None => 'X',
        }
    }

    /// The name as SQL writes it, with its modifier: `numeric(15,2)`, `character varying(10)[]`.
    pub fn sql_name(self) -> String {
        if let Some(element) = self.element() {
            return format!("{}[]", element.sql_name());
        }
        let Some(row) = type_row(self.oid) else { return "???".to_owned() };
        match self.oid {
            oid::NUMERIC => match self.numeric_parts() {
                Some((precision, scale)) => format!("numeric({precision},{scale})"),
                None => "numeric".to_owned(),
            },
            oid::VARCHAR | oid::BPCHAR if self.modifier >= 4 => {
                format!("{}({})", row.sql_name, self.modifier - 4)
            }
            oid::TIMESTAMP if self.modifier >= 0 => {
                format!("timestamp({}) without time zone", self.modifier)
            }
            oid::TIMESTAMPTZ if self.modifier >= 0 => format!("timestamp({}) with time zone", self.modifier),
            oid::TIME if self.modifier >= 0 => format!("time({}) without time zone", self.modifier),
            _ => row.sql_name.to_owned(),
        }
    }

    /// The Arrow type that values of it have here.
    pub fn arrow(self) -> SqlResult<DataType> {
        if let Some(element) = self.element() {
            return Ok(DataType::List(Arc::new(Field::new("item", element.arrow()?, true))));
        }
        Ok(match self.oid {
            oid::BOOL => DataType::Boolean,
            oid::INT2 => DataType::Int16,
            oid::INT4 => DataType::Int32,
            oid::INT8 => DataType::Int64,
            oid::OID
            | oid::XID
            | oid::REGPROC
            | oid::REGCLASS
            | oid::REGTYPE
            | oid::REGNAMESPACE
            | oid::REGROLE => DataType::Int64,
            oid::FLOAT4 => DataType::Float32,
            oid::FLOAT8 => DataType::Float64,
            oid::NUMERIC => {
                let (precision, scale) = self.numeric_parts().unwrap_or(UNCONSTRAINED_NUMERIC);
                DataType::Decimal128(precision, scale)
            }
            oid::TEXT
            | oid::VARCHAR
            | oid::BPCHAR
            | oid::NAME
            | oid::CHAR
            | oid::JSON
            | oid::JSONB
            | oid::INT2VECTOR
            | oid::OIDVECTOR
            | oid::UNKNOWN
            | oid::VOID => DataType::Utf8View,
            oid::BYTEA => DataType::BinaryView,
            oid::DATE => DataType::Date32,
            oid::TIME => DataType::Time64(TimeUnit::Microsecond),
            oid::TIMESTAMP => DataType::Timestamp(TimeUnit::Microsecond, None),
            oid::TIMESTAMPTZ => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
            oid::INTERVAL => DataType::Interval(IntervalUnit::MonthDayNano),
            oid::UUID => DataType::FixedSizeBinary(16),
            _ => return Err(SqlError::unsupported(format!("type {} is not supported", self.sql_name()))),
        })
    }

    /// How a column of this type is stored.
    pub fn column_type(self) -> SqlResult<ColumnType> {
        if let Some(element) = self.element() {
            return Ok(ColumnType::Array(Box::new(element.column_type()?)));
        }
        Ok(match self.oid {
            oid::BOOL => ColumnType::Bool,
            oid::INT2 => ColumnType::Int16,
            oid::INT4 => ColumnType::Int32,
            oid::INT8 | oid::OID => ColumnType::Int64,
            oid::FLOAT4 => ColumnType::Float32,
            oid::FLOAT8 => ColumnType::Float64,
            oid::NUMERIC => {
                let (precision, scale) = self.numeric_parts().unwrap_or(UNCONSTRAINED_NUMERIC);
                let scale = u8::try_from(scale)
                    .map_err(|_| SqlError::unsupported("numeric with a negative scale is not supported"))?;
                ColumnType::Decimal { precision, scale }
            }
            oid::TEXT | oid::VARCHAR | oid::BPCHAR | oid::NAME | oid::CHAR | oid::JSON | oid::JSONB => {
                ColumnType::Text
            }
            oid::BYTEA => ColumnType::Bytes,
            oid::DATE => ColumnType::Date,
            oid::TIME => ColumnType::Time,
            oid::TIMESTAMP => ColumnType::Timestamp,
            oid::TIMESTAMPTZ => ColumnType::TimestampTz,
            oid::INTERVAL => ColumnType::Interval,
            oid::UUID => ColumnType::Uuid,
            _ => {
                return Err(SqlError::unsupported(format!(
                    "columns of type {} are not supported",
                    self.sql_name()
                )));
            }
        })
    }

    /// A field of this type, with metadata where the Arrow type does not tell.
    pub fn field(self, name: impl Into<String>, nullable: bool) -> SqlResult<Field> {
        let data_type = self.arrow()?;
        let natural = PgType::natural(&data_type);
        let field = Field::new(name, data_type, nullable);
        Ok(if natural == self { field } else { field.with_metadata(self.metadata()) })
    }

    /// The metadata that names this type.
    pub fn metadata(self) -> HashMap<String, String> {
        let value =
            if self.modifier < 0 { self.oid.to_string() } else { format!("{},{}", self.oid, self.modifier) };
        HashMap::from([(METADATA_KEY.to_owned(), value)])
    }

    /// The type that a field's metadata names, or else the natural one of its Arrow type.
    pub fn of_field(field: &Field) -> PgType {
        field
            .metadata()
            .get(METADATA_KEY)
            .and_then(|text| PgType::parse_metadata(text))
            .unwrap_or_else(|| PgType::natural(field.data_type()))
    }

    /// As [`of_field`](Self::of_field).
    pub fn of_field_ref(field: &FieldRef) -> PgType {
        Self::of_field(field.as_ref())
    }

    fn parse_metadata(text: &str) -> Option<PgType> {
        match text.split_once(',') {
            Some((oid, modifier)) => {
                Some(PgType { oid: oid.parse().ok()?, modifier: modifier.parse().ok()? })
            }
            None => Some(PgType::new(text.parse().ok()?)),
        }
    }

    /// The Postgres type of an Arrow type that says nothing more.
    pub fn natural(data_type: &DataType) -> PgType {
        PgType::new(match data_type {
            DataType::Boolean => oid::BOOL,
            DataType::Int8 | DataType::Int16 | DataType::UInt8 => oid::INT2,
            DataType::Int32 | DataType::UInt16 => oid::INT4,
            DataType::Int64 | DataType::UInt32 | DataType::UInt64 => oid::INT8,
            DataType::Float16 | DataType::Float32 => oid::FLOAT4,
            DataType::Float64 => oid::FLOAT8,
            DataType::Decimal32(precision, scale)
            | DataType::Decimal64(precision, scale)
            | DataType::Decimal128(precision, scale)
            | DataType::Decimal256(precision, scale) => {
                return match u8::try_from(*scale) {
                    Ok(scale) => PgType::numeric(*precision, scale),
                    Err(_) => PgType::new(oid::NUMERIC),
                };
            }
            DataType::Binary | DataType::LargeBinary | DataType::BinaryView => oid::BYTEA,
            DataType::FixedSizeBinary(16) => oid::UUID,
            DataType::FixedSizeBinary(_) => oid::BYTEA,
            DataType::Date32 | DataType::Date64 => oid::DATE,
            DataType::Time32(_) | DataType::Time64(_) => oid::TIME,
            DataType::Timestamp(_, None) => oid::TIMESTAMP,
            DataType::Timestamp(_, Some(_)) => oid::TIMESTAMPTZ,
            DataType::Interval(_) | DataType::Duration(_) => oid::INTERVAL,
            DataType::List(item)
            | DataType::LargeList(item)
            | DataType::ListView(item)
            | DataType::FixedSizeList(item, _) => {
                return PgType::of_field(item).array().unwrap_or(PgType::new(oid::TEXT));
            }
            DataType::Dictionary(_, value) => return PgType::natural(value),
            DataType::Struct(_) => oid::RECORD,
            _ => oid::TEXT,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_keeps_its_postgres_type() {
        for pg_type in [
            PgType::new(oid::TEXT),
            PgType::with_modifier(oid::VARCHAR, 14),
            PgType::new(oid::JSONB),
            PgType::numeric(15, 2),
            PgType::new(oid::NUMERIC),
            PgType::new(1007),
            PgType::new(1015),
            PgType::new(oid::UUID),
            PgType::new(oid::TIMESTAMPTZ),
        ] {
            let field = pg_type.field("x", true).unwrap();
            assert_eq!(PgType::of_field(&field), pg_type, "{field:?}");
        }
    }

    #[test]
    fn only_what_arrow_does_not_tell_is_in_metadata() {
        assert!(PgType::new(oid::TEXT).field("x", true).unwrap().metadata().is_empty());
        assert!(PgType::numeric(15, 2).field("x", true).unwrap().metadata().is_empty());
        assert_eq!(
            PgType::with_modifier(oid::VARCHAR, 14).field("x", true).unwrap().metadata().get(METADATA_KEY),
            Some(&"1043,14".to_owned())
        );
    }

    #[test]
    fn names_are_those_of_format_type() {
        assert_eq!(PgType::numeric(15, 2).sql_name(), "numeric(15,2)");
        assert_eq!(PgType::with_modifier(oid::VARCHAR, 14).sql_name(), "character varying(10)");
        assert_eq!(PgType::new(1009).sql_name(), "text[]");
        assert_eq!(PgType::new(oid::INT4).sql_name(), "integer");
    }
}
