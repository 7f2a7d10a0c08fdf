//! Rows of a system relation, and their columns in Arrow.

use std::sync::Arc;

use datafusion::arrow::array::{
    ArrayRef, BinaryViewBuilder, BooleanBuilder, Float32Builder, Float64Builder, Int16Builder, Int32Builder,
    Int64Builder, ListBuilder, StringViewBuilder, TimestampMicrosecondBuilder, new_null_array,
};
use datafusion::arrow::datatypes::{DataType, Field};

use super::relation::SystemRelation;
use crate::error::{SqlError, SqlResult};

/// One value of a system relation, or of a function on them.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    Null,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(String),
    List(Vec<Value>),
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl From<i64> for Value {
    fn from(value: i64) -> Self {
        Self::Int(value)
    }
}

impl From<i32> for Value {
    fn from(value: i32) -> Self {
        Self::Int(i64::from(value))
    }
}

impl From<u32> for Value {
    fn from(value: u32) -> Self {
        Self::Int(i64::from(value))
    }
}

impl From<usize> for Value {
    fn from(value: usize) -> Self {
        Self::Int(i64::try_from(value).unwrap_or(i64::MAX))
    }
}

impl From<&str> for Value {
    fn from(value: &str) -> Self {
        Self::Text(value.to_owned())
    }
}

impl From<String> for Value {
    fn from(value: String) -> Self {
        Self::Text(value)
    }
}

impl<T: Into<Value>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

impl<T: Into<Value>> From<Vec<T>> for Value {
    fn from(values: Vec<T>) -> Self {
        Self::List(values.into_iter().map(Into::into).collect())
    }
}

impl Value {
    pub(crate) fn int(&self) -> Option<i64> {
        match self {
            Self::Int(value) => Some(*value),
            Self::Text(text) => text.trim().parse().ok(),
            _ => None,
        }
    }

    pub(crate) fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    pub(crate) fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }
}

/// The rows of a system relation, as they are collected.
pub(crate) struct Rows {
    relation: &'static SystemRelation,
    columns: Vec<Vec<Value>>,
}

impl Rows {
    pub(crate) fn new(relation: &'static SystemRelation) -> Self {
        Self { relation, columns: vec![Vec::new(); relation.columns.len()] }
    }

    /// Adds a row. Columns that are not named are NULL, or where that is not allowed false, 0 or empty.
    pub(crate) fn push(&mut self, values: Vec<(&'static str, Value)>) {
        for (column, collected) in self.relation.columns.iter().zip(&mut self.columns) {
            collected.push(if column.required { column.zero() } else { Value::Null });
        }
        for (name, value) in values {
            let place = self.relation.columns.iter().position(|column| column.name == name);
            debug_assert!(place.is_some(), "{} has no column {name}", self.relation.name);
            if let Some(last) = place.and_then(|place| self.columns.get_mut(place)).and_then(|c| c.last_mut())
                && !value.is_null()
            {
                *last = value;
            }
        }
    }

    /// The columns.
    pub(crate) fn finish(self) -> SqlResult<Vec<ArrayRef>> {
        let fields = self.relation.schema.fields().iter();
        fields.zip(self.columns).map(|(field, values)| build(field.data_type(), &values)).collect()
    }
}

macro_rules! append {
    ($builder:expr, $values:expr, $($pattern:pat => $value:expr),+) => {{
        let mut builder = $builder;
        for value in $values {
            match value {
                $($pattern => builder.append_value($value),)+
                _ => builder.append_null(),
            }
        }
        Arc::new(builder.finish())
    }};
}

/// An array of these values; what does not fit the type is NULL.
pub(crate) fn build(data_type: &DataType, values: &[Value]) -> SqlResult<ArrayRef> {
    Ok(match data_type {
        DataType::Boolean => append!(BooleanBuilder::new(), values, Value::Bool(value) => *value),
        DataType::Int16 => {
            append!(Int16Builder::new(), values, Value::Int(value) => i16::try_from(*value).unwrap_or_default())
        }
        DataType::Int32 => {
            append!(Int32Builder::new(), values, Value::Int(value) => i32::try_from(*value).unwrap_or_default())
        }
        DataType::Int64 => append!(Int64Builder::new(), values, Value::Int(value) => *value),
        DataType::Float32 => append!(Float32Builder::new(), values, Value::Float(value) => *value as f32),
        DataType::Float64 => append!(Float64Builder::new(), values, Value::Float(value) => *value),
        DataType::Utf8View => append!(StringViewBuilder::new(), values, Value::Text(value) => value),
        DataType::BinaryView => append!(BinaryViewBuilder::new(), values, Value::Text(value) => value),
        DataType::Timestamp(_, zone) => {
            let builder = TimestampMicrosecondBuilder::new().with_timezone_opt(zone.clone());
            append!(builder, values, Value::Int(value) => *value)
        }
        DataType::List(item) => build_lists(item, values)?,
        other => {
            if values.iter().any(|value| !value.is_null()) {
                return Err(SqlError::internal(format!("a system relation has no values of {other}")));
            }
            new_null_array(other, values.len())
        }
    })
}

fn build_lists(item: &Arc<Field>, values: &[Value]) -> SqlResult<ArrayRef> {
    macro_rules! lists {
        ($builder:expr, $pattern:pat => $value:expr) => {{
            let mut builder = ListBuilder::new($builder).with_field(Arc::clone(item));
            for value in values {
                let Value::List(elements) = value else {
                    builder.append_null();
                    continue;
                };
                for element in elements {
                    match element {
                        $pattern => builder.values().append_value($value),
                        _ => builder.values().append_null(),
                    }
                }
                builder.append(true);
            }
            Ok(Arc::new(builder.finish()))
        }};
    }
    match item.data_type() {
        DataType::Int16 => {
            lists!(Int16Builder::new(), Value::Int(value) => i16::try_from(*value).unwrap_or_default())
        }
        DataType::Int32 => {
            lists!(Int32Builder::new(), Value::Int(value) => i32::try_from(*value).unwrap_or_default())
        }
        DataType::Int64 => lists!(Int64Builder::new(), Value::Int(value) => *value),
        DataType::Float32 => lists!(Float32Builder::new(), Value::Float(value) => *value as f32),
        DataType::Utf8View => lists!(StringViewBuilder::new(), Value::Text(value) => value),
        _ if values.iter().all(Value::is_null) => {
            Ok(new_null_array(&DataType::List(Arc::clone(item)), values.len()))
        }
        other => Err(SqlError::internal(format!("a system relation has no lists of {other}"))),
    }
}
