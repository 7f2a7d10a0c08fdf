//! Functions that look at the catalog: definitions, names of OIDs, visibility, sizes, privileges.
//!
//! A function is made for the statement that calls it, and holds that statement's catalog and search path: plans are kept
//! only while both stay the same. Values are computed row by row; there are never many.

mod answers;
mod lists;
mod lookup;
mod names;

use std::hash::{Hash, Hasher};
use std::ops::RangeInclusive;
use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, FieldRef, Int64Type};
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, TypeSignature,
    Volatility,
};
use strata_core::Database;
use strata_core::catalog::Catalog;

use super::Value;
use super::rows::build;
use crate::error::{SqlError, SqlResult};
use crate::postgres::types::PgType;

/// What the functions of one statement draw on.
pub(crate) struct FunctionContext {
    pub(crate) catalog: Arc<Catalog>,
    pub(crate) search_path: Arc<[String]>,
    pub(crate) database: Database,
}

type Evaluate = fn(&FunctionContext, &[Value]) -> SqlResult<Value>;

/// A function.
pub(crate) struct Definition {
    name: &'static str,
    arity: RangeInclusive<usize>,
    result: u32,
    /// Whether the result is NULL as soon as an argument is.
    strict: bool,
    evaluate: Evaluate,
}

impl Definition {
    const fn strict(
        name: &'static str,
        arity: RangeInclusive<usize>,
        result: u32,
        evaluate: Evaluate,
    ) -> Self {
        Self { name, arity, result, strict: true, evaluate }
    }

    const fn lenient(
        name: &'static str,
        arity: RangeInclusive<usize>,
        result: u32,
        evaluate: Evaluate,
    ) -> Self {
        Self { name, arity, result, strict: false, evaluate }
    }
}

/// The function of this name, bound to what the context says.
pub(crate) fn bind(name: &str, context: impl FnOnce() -> FunctionContext) -> Option<Arc<ScalarUDF>> {
    if let Some(function) = lists::find(name) {
        return Some(function);
    }
    let definition = [names::FUNCTIONS, lookup::FUNCTIONS, answers::FUNCTIONS]
        .into_iter()
        .flatten()
        .find(|definition| definition.name == name)?;
    let mut forms: Vec<TypeSignature> =
        definition.arity.clone().filter(|count| *count > 0).map(TypeSignature::Any).collect();
    if definition.arity.contains(&0) {
        forms.push(TypeSignature::Nullary);
    }
    let signature = Signature::one_of(forms, Volatility::Stable);
    Some(Arc::new(ScalarUDF::new_from_impl(CatalogFunction {
        definition,
        signature,
        context: Arc::new(context()),
    })))
}

struct CatalogFunction {
    definition: &'static Definition,
    signature: Signature,
    context: Arc<FunctionContext>,
}

impl std::fmt::Debug for CatalogFunction {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.definition.name)
    }
}

impl PartialEq for CatalogFunction {
    fn eq(&self, other: &Self) -> bool {
        self.definition.name == other.definition.name
            && Arc::ptr_eq(&self.context.catalog, &other.context.catalog)
            && self.context.search_path == other.context.search_path
    }
}

impl Eq for CatalogFunction {}

impl Hash for CatalogFunction {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.definition.name.hash(state);
    }
}

impl ScalarUDFImpl for CatalogFunction {
    fn name(&self) -> &str {
        self.definition.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arg_types: &[DataType]) -> Result<DataType> {
        Ok(PgType::new(self.definition.result).arrow()?)
    }

    fn return_field_from_args(&self, _args: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        Ok(Arc::new(PgType::new(self.definition.result).field(self.definition.name, true)?))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let scalar = args.args.iter().all(|argument| matches!(argument, ColumnarValue::Scalar(_)));
        let count = if scalar { 1 } else { args.number_rows };
        let arguments =
            args.args.iter().map(|argument| argument.to_array(count)).collect::<Result<Vec<_>>>()?;
        let mut values = Vec::with_capacity(count);
        for row in 0..count {
            let cells = arguments.iter().map(|array| value_at(array, row)).collect::<SqlResult<Vec<_>>>()?;
            values.push(if self.definition.strict && cells.iter().any(Value::is_null) {
                Value::Null
            } else {
                (self.definition.evaluate)(&self.context, &cells)?
            });
        }
        let array = build(args.return_field.data_type(), &values)?;
        if scalar {
            return Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&array, 0)?));
        }
        Ok(ColumnarValue::Array(array))
    }
}

/// A value of an argument.
pub(super) fn value_at(array: &ArrayRef, row: usize) -> SqlResult<Value> {
    if array.is_null(row) || array.data_type() == &DataType::Null {
        return Ok(Value::Null);
    }
    Ok(match array.data_type() {
        DataType::Boolean => Value::Bool(array.as_boolean().value(row)),
        DataType::Utf8View => array.as_string_view().value(row).into(),
        DataType::Utf8 => array.as_string::<i32>().value(row).into(),
        DataType::LargeUtf8 => array.as_string::<i64>().value(row).into(),
        data_type if data_type.is_integer() => {
            let wide = cast(&array.slice(row, 1), &DataType::Int64)
                .map_err(|error| SqlError::internal(error.to_string()))?;
            Value::Int(wide.as_primitive::<Int64Type>().value(0))
        }
        DataType::List(_) => {
            let elements = array.as_list::<i32>().value(row);
            let elements = (0..elements.len()).map(|place| value_at(&elements, place));
            Value::List(elements.collect::<SqlResult<_>>()?)
        }
        _ => {
            let text = datafusion::arrow::util::display::array_value_to_string(array, row)
                .map_err(|error| SqlError::internal(error.to_string()))?;
            Value::Text(text)
        }
    })
}
