//! Functions as rows of a table.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use datafusion::arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Float64Array, Int32Array, Int64Array, IntervalMonthDayNanoArray,
    StringViewArray, TimestampMicrosecondArray,
};
use datafusion::arrow::compute::cast as arrow_cast;
use datafusion::arrow::datatypes::{
    DataType, Date32Type, Field, FieldRef, Float64Type, Int32Type, Int64Type, IntervalMonthDayNanoType,
    TimestampMicrosecondType,
};
use datafusion::common::Result;
use datafusion::config::ConfigOptions;
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

use crate::error::{SqlError, SqlResult};
use crate::postgres::cast::session_zone;
use crate::postgres::operators::like_arguments;
use crate::postgres::types::{PgType, oid};
use crate::postgres::zone::Zone;

/// A function.
pub(super) struct Definition {
    pub(super) name: &'static str,
    pub(super) volatility: Volatility,
    pub(super) variants: &'static [Variant],
}

/// What a function does with arguments of these types.
pub(super) struct Variant {
    pub(super) args: &'static [u32],
    pub(super) result: u32,
    pub(super) body: fn(&Call<'_>) -> SqlResult<ArrayRef>,
}

/// The arguments of a call, all arrays of [`rows`](Self::rows) values.
pub(super) struct Call<'a> {
    pub(super) arrays: Vec<ArrayRef>,
    pub(super) rows: usize,
    pub(super) config: &'a ConfigOptions,
}

fn converted(array: &ArrayRef, data_type: &DataType) -> SqlResult<ArrayRef> {
    arrow_cast(array, data_type).map_err(|error| SqlError::internal(error.to_string()))
}

impl Call<'_> {
    pub(super) fn zone(&self) -> Zone {
        session_zone(self.config)
    }

    pub(super) fn array(&self, index: usize) -> SqlResult<&ArrayRef> {
        self.arrays.get(index).ok_or_else(|| SqlError::internal("an argument is missing"))
    }

    pub(super) fn texts(&self, index: usize) -> SqlResult<StringViewArray> {
        Ok(converted(self.array(index)?, &DataType::Utf8View)?.as_string_view().clone())
    }

    pub(super) fn bools(&self, index: usize) -> SqlResult<BooleanArray> {
        Ok(converted(self.array(index)?, &DataType::Boolean)?.as_boolean().clone())
    }

    pub(super) fn longs(&self, index: usize) -> SqlResult<Int64Array> {
        Ok(converted(self.array(index)?, &DataType::Int64)?.as_primitive::<Int64Type>().clone())
    }

    pub(super) fn ints(&self, index: usize) -> SqlResult<Int32Array> {
        Ok(converted(self.array(index)?, &DataType::Int32)?.as_primitive::<Int32Type>().clone())
    }

    pub(super) fn doubles(&self, index: usize) -> SqlResult<Float64Array> {
        Ok(converted(self.array(index)?, &DataType::Float64)?.as_primitive::<Float64Type>().clone())
    }

    pub(super) fn dates(&self, index: usize) -> SqlResult<datafusion::arrow::array::Date32Array> {
        Ok(converted(self.array(index)?, &DataType::Date32)?.as_primitive::<Date32Type>().clone())
    }

    pub(super) fn instants(&self, index: usize) -> SqlResult<TimestampMicrosecondArray> {
        let array = self.array(index)?;
        let micros = match array.data_type() {
            DataType::Timestamp(_, zone) => DataType::Timestamp(
                datafusion::arrow::datatypes::TimeUnit::Microsecond,
                zone.as_ref().map(|_| Arc::from("UTC")),
            ),
            _ => DataType::Timestamp(datafusion::arrow::datatypes::TimeUnit::Microsecond, None),
        };
        Ok(converted(array, &micros)?.as_primitive::<TimestampMicrosecondType>().clone())
    }

    pub(super) fn intervals(&self, index: usize) -> SqlResult<IntervalMonthDayNanoArray> {
        let data_type = PgType::new(oid::INTERVAL).arrow()?;
        Ok(converted(self.array(index)?, &data_type)?.as_primitive::<IntervalMonthDayNanoType>().clone())
    }

    /// One text for each row; a row with a NULL argument is NULL.
    pub(super) fn text_rows(&self, row: impl Fn(usize) -> SqlResult<Option<String>>) -> SqlResult<ArrayRef> {
        let values = (0..self.rows).map(|index| if self.any_null(index) { Ok(None) } else { row(index) });
        Ok(Arc::new(values.collect::<SqlResult<StringViewArray>>()?))
    }

    pub(super) fn any_null(&self, row: usize) -> bool {
        self.arrays.iter().any(|array| array.is_null(row))
    }

    /// One text for all rows.
    pub(super) fn same_text(&self, text: &str) -> ArrayRef {
        Arc::new(StringViewArray::from_iter_values(std::iter::repeat_n(text, self.rows)))
    }
}

struct PostgresFunction {
    definition: &'static Definition,
    signature: Signature,
}

impl std::fmt::Debug for PostgresFunction {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "PostgresFunction({})", self.definition.name)
    }
}

impl PartialEq for PostgresFunction {
    fn eq(&self, other: &Self) -> bool {
        self.definition.name == other.definition.name
    }
}

impl Eq for PostgresFunction {}

impl Hash for PostgresFunction {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.definition.name.hash(state);
    }
}

/// The function of a definition.
pub(super) fn function(definition: &'static Definition) -> Arc<ScalarUDF> {
    let signature = Signature::user_defined(definition.volatility);
    Arc::new(ScalarUDF::new_from_impl(PostgresFunction { definition, signature }))
}

/// How far an argument is from a parameter; `None` if it cannot become one.
fn distance(argument: &DataType, wanted: u32) -> Option<u32> {
    let wanted_type = PgType::new(wanted);
    let found = PgType::natural(argument);
    if found.oid == wanted {
        return Some(0);
    }
    if argument == &DataType::Null {
        return Some(1);
    }
    let rank = |oid: u32| match oid {
        oid::INT2 => Some(0u32),
        oid::INT4 => Some(1),
        oid::INT8 => Some(2),
        oid::NUMERIC => Some(3),
        oid::FLOAT4 => Some(4),
        oid::FLOAT8 => Some(5),
        _ => None,
    };
    if let (Some(from), Some(to)) = (rank(found.oid), rank(wanted)) {
        // A whole number in 64 bits is mostly a literal or a count: it may become an int4 if it fits.
        return if from < to { Some(to - from) } else { (to == 1 && from == 2).then_some(4) };
    }
    match (found.oid, wanted) {
        (oid::INT2 | oid::INT4 | oid::INT8, oid::OID) => Some(1),
        (oid::DATE, oid::TIMESTAMP) => Some(2),
        (oid::DATE, oid::TIMESTAMPTZ) | (oid::TIMESTAMP, oid::TIMESTAMPTZ) => Some(1),
        // Text may be a literal in quotes, which is of any type.
        (oid::TEXT, _) => Some(if wanted_type.category() == 'S' { 0 } else { 5 }),
        _ => None,
    }
}

fn arrow_of(wanted: u32, argument: &DataType) -> Result<DataType> {
    // The digits of an exact number are its own.
    if wanted == oid::NUMERIC && matches!(argument, DataType::Decimal128(..)) {
        return Ok(argument.clone());
    }
    Ok(crate::postgres::cast::target_arrow(argument, PgType::new(wanted))?)
}

impl PostgresFunction {
    fn choose(&self, types: &[DataType]) -> Result<&'static Variant> {
        let found = self
            .definition
            .variants
            .iter()
            .filter(|variant| variant.args.len() == types.len())
            .filter_map(|variant| {
                let total: Option<u32> =
                    types.iter().zip(variant.args).map(|(found, wanted)| distance(found, *wanted)).sum();
                total.map(|total| (total, variant))
            })
            .min_by_key(|(total, _)| *total);
        match found {
            Some((_, variant)) => Ok(variant),
            None => Err(undefined(self.definition.name, types).into()),
        }
    }
}

/// `function lower(integer) does not exist`.
pub(super) fn undefined(name: &str, types: &[DataType]) -> SqlError {
    let types: Vec<String> = types
        .iter()
        .map(|found| match found {
            DataType::Null => "unknown".to_owned(),
            found => PgType { modifier: -1, ..PgType::natural(found) }.sql_name(),
        })
        .collect();
    SqlError::new("42883", format!("function {name}({}) does not exist", types.join(", "))).with_hint(
        "No function matches the given name and argument types. You might need to add explicit type casts.",
    )
}

impl ScalarUDFImpl for PostgresFunction {
    fn name(&self) -> &str {
        self.definition.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, arg_types: &[DataType]) -> Result<Vec<DataType>> {
        let variant = self.choose(arg_types)?;
        variant.args.iter().zip(arg_types).map(|(wanted, found)| arrow_of(*wanted, found)).collect()
    }

    fn return_type(&self, arg_types: &[DataType]) -> Result<DataType> {
        Ok(PgType::new(self.choose(arg_types)?.result).arrow()?)
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        let types: Vec<DataType> = args.arg_fields.iter().map(|field| field.data_type().clone()).collect();
        let result = PgType::new(self.choose(&types)?.result);
        let field: Field = result.field(self.name(), true)?;
        Ok(Arc::new(field))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let scalar = args.args.iter().all(|arg| matches!(arg, ColumnarValue::Scalar(_)));
        let volatile = self.definition.volatility == Volatility::Volatile;
        let rows = if scalar && !volatile { 1 } else { args.number_rows };
        let arrays =
            args.args.iter().map(|arg| arg.clone().into_array(rows)).collect::<Result<Vec<ArrayRef>>>()?;
        let types: Vec<DataType> = arrays.iter().map(|array| array.data_type().clone()).collect();
        let variant = self.choose(&types)?;
        let call = Call { arrays, rows, config: &args.config_options };
        let array = (variant.body)(&call)?;
        if volatile {
            return Ok(ColumnarValue::Array(array));
        }
        like_arguments(&args.args, array)
    }
}
