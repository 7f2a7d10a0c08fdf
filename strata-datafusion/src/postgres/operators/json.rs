//! `->` and `->>` of JSON.

use std::sync::{Arc, LazyLock};

use datafusion::arrow::array::{Array, ArrayRef, AsArray, StringViewBuilder};
use datafusion::arrow::compute::cast as arrow_cast;
use datafusion::arrow::datatypes::{DataType, Field, FieldRef, Int64Type};
use datafusion::common::Result;
use datafusion::logical_expr::{
    ColumnarValue, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use serde_json::Value;

use super::number::like_arguments;
use super::{Operand, no_operator};
use crate::error::{SqlError, SqlResult};
use crate::postgres::input::normalize_jsonb;
use crate::postgres::types::{PgType, oid};

/// A member of an object or an element of an array.
#[derive(Debug, PartialEq, Eq, Hash)]
struct JsonGet {
    as_text: bool,
    signature: Signature,
}

static FUNCTIONS: LazyLock<[Arc<ScalarUDF>; 2]> = LazyLock::new(|| {
    [false, true].map(|as_text| {
        let signature = Signature::any(2, Volatility::Immutable);
        Arc::new(ScalarUDF::new_from_impl(JsonGet { as_text, signature }))
    })
});

/// The expression of `left -> right`.
pub(super) fn get(left: Expr, right: Expr, as_text: bool, sides: (Operand, Operand)) -> SqlResult<Expr> {
    let symbol = if as_text { "->>" } else { "->" };
    let refused = || no_operator(sides.0.shown(), symbol, sides.1.shown());
    if !matches!(sides.0.known(), Some(found) if matches!(found.oid, oid::JSON | oid::JSONB)) {
        return Err(refused());
    }
    let right = match sides.1 {
        Operand::Typed(found) if !matches!(found.category(), 'S' | 'N') => return Err(refused()),
        side => side.settle(right, PgType::new(oid::TEXT))?,
    };
    Ok(FUNCTIONS[usize::from(as_text)].call(vec![left, right]))
}

fn shown(value: &Value, as_text: bool, is_jsonb: bool) -> SqlResult<Option<String>> {
    Ok(match value {
        Value::Null if as_text => None,
        Value::String(text) if as_text => Some(text.clone()),
        other if is_jsonb => Some(normalize_jsonb(&other.to_string())?),
        other => Some(other.to_string()),
    })
}

impl ScalarUDFImpl for JsonGet {
    fn name(&self) -> &str {
        if self.as_text { "->>" } else { "->" }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arg_types: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8View)
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        let field = Field::new(self.name(), DataType::Utf8View, true);
        let document = args.arg_fields.first().map_or(PgType::new(oid::JSON), PgType::of_field_ref);
        Ok(Arc::new(if self.as_text { field } else { field.with_metadata(document.metadata()) }))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let is_jsonb = args.arg_fields.first().is_some_and(|field| PgType::of_field(field).oid == oid::JSONB);
        let arrays = ColumnarValue::values_to_arrays(&args.args)?;
        let [documents, keys] = &arrays[..] else {
            return Err(SqlError::internal("an operand is missing").into());
        };
        let documents = arrow_cast(documents, &DataType::Utf8View)?;
        let documents = documents.as_string_view();
        let mut builder = StringViewBuilder::with_capacity(documents.len());
        let indexed = keys.data_type().is_integer();
        let keys = arrow_cast(keys, if indexed { &DataType::Int64 } else { &DataType::Utf8View })?;
        for row in 0..documents.len() {
            if documents.is_null(row) || keys.is_null(row) {
                builder.append_null();
                continue;
            }
            let document: Value = serde_json::from_str(documents.value(row))
                .map_err(|error| SqlError::new("22P02", format!("invalid JSON: {error}")))?;
            let found = if indexed {
                element(&document, keys.as_primitive::<Int64Type>().value(row))
            } else {
                document.as_object().and_then(|members| members.get(keys.as_string_view().value(row)))
            };
            builder.append_option(match found {
                Some(value) => shown(value, self.as_text, is_jsonb)?,
                None => None,
            });
        }
        let array: ArrayRef = Arc::new(builder.finish());
        like_arguments(&args.args, array)
    }
}

/// Elements count from 0, negative ones from the end.
fn element(document: &Value, index: i64) -> Option<&Value> {
    let items = document.as_array()?;
    let place = match usize::try_from(index) {
        Ok(place) => place,
        Err(_) => items.len().checked_sub(usize::try_from(index.unsigned_abs()).ok()?)?,
    };
    items.get(place)
}
