//! Functions of arrays whose type follows from their argument's.

use std::sync::{Arc, LazyLock};

use datafusion::arrow::array::{
    Array, ArrayRef, AsArray, Int32Builder, ListArray, ListBuilder, StructArray, new_empty_array,
};
use datafusion::arrow::buffer::OffsetBuffer;
use datafusion::arrow::compute::concat;
use datafusion::arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::Result;
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

use crate::error::SqlError;
use crate::postgres::types::PgType;

/// The functions, with how many arguments they have.
///
/// - `array_or_empty(x)`: the array, or an empty one for NULL; ARRAY(SELECT …) is made of it.
/// - `array_subscripts(x, dimension)`: what generate_subscripts gives rows of.
/// - `array_numbers(x)`, `array_expanded(x)`: 1, 2, … for each element; pairs of the element `x` and that `n`.
static FUNCTIONS: LazyLock<Vec<Arc<ScalarUDF>>> = LazyLock::new(|| {
    let functions = [(Kind::OrEmpty, 1), (Kind::Subscripts, 2), (Kind::Numbers, 1), (Kind::Expanded, 1)];
    let make = |(kind, arguments)| {
        let signature = Signature::any(arguments, Volatility::Immutable);
        Arc::new(ScalarUDF::new_from_impl(ListFunction { kind, signature }))
    };
    functions.map(make).into()
});

pub(super) fn find(name: &str) -> Option<Arc<ScalarUDF>> {
    FUNCTIONS.iter().find(|function| function.name() == name).cloned()
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Kind {
    OrEmpty,
    Subscripts,
    Numbers,
    Expanded,
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct ListFunction {
    kind: Kind,
    signature: Signature,
}

impl ListFunction {
    fn result(&self, from: &FieldRef, element: &FieldRef) -> FieldRef {
        let number = |name: &str| Field::new(name, DataType::Int32, true);
        let item = match self.kind {
            Kind::OrEmpty => return Arc::clone(from),
            Kind::Subscripts | Kind::Numbers => number("item"),
            Kind::Expanded => {
                let x = element.as_ref().clone().with_name("x");
                Field::new("item", DataType::Struct(vec![x, number("n")].into()), true)
            }
        };
        Arc::new(Field::new(self.name(), DataType::List(Arc::new(item)), true))
    }
}

impl ScalarUDFImpl for ListFunction {
    fn name(&self) -> &str {
        match self.kind {
            Kind::OrEmpty => "array_or_empty",
            Kind::Subscripts => "array_subscripts",
            Kind::Numbers => "array_numbers",
            Kind::Expanded => "array_expanded",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arg_types: &[DataType]) -> Result<DataType> {
        Err(SqlError::internal("an array function's type depends on its argument").into())
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        let [from, ..] = args.arg_fields else {
            return Err(SqlError::internal("an array function without an argument").into());
        };
        let DataType::List(element) = from.data_type() else {
            let message =
                format!("function {}({}) does not exist", self.name(), PgType::of_field(from).sql_name());
            return Err(SqlError::new("42883", message).into());
        };
        Ok(self.result(from, element))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let (Some(value), Some(field)) = (args.args.first(), args.arg_fields.first()) else {
            return Err(SqlError::internal("an array function without an argument").into());
        };
        let array = value.to_array(args.number_rows)?;
        let Some(list) = array.as_list_opt::<i32>() else {
            return Err(SqlError::internal("an array function of no array").into());
        };
        let result = match self.kind {
            Kind::OrEmpty => or_empty(list)?,
            // The vectors of the catalogs count from 0.
            Kind::Subscripts => numbers(list, i32::from(!PgType::of_field(field).is_vector())),
            Kind::Numbers => numbers(list, 1),
            Kind::Expanded => expanded(list, args.return_field.data_type())?,
        };
        Ok(ColumnarValue::Array(Arc::new(result)))
    }
}

/// The elements of all lists that are not NULL, one after another, and how many each list has.
fn elements(list: &ListArray) -> Result<(ArrayRef, OffsetBuffer<i32>)> {
    let lists: Vec<Option<ArrayRef>> =
        (0..list.len()).map(|row| (!list.is_null(row)).then(|| list.value(row))).collect();
    let parts: Vec<&dyn Array> = lists.iter().flatten().map(AsRef::as_ref).collect();
    let values = if parts.is_empty() { new_empty_array(&list.value_type()) } else { concat(&parts)? };
    let lengths = lists.iter().map(|part| part.as_ref().map_or(0, |part| part.len()));
    Ok((values, OffsetBuffer::from_lengths(lengths)))
}

fn or_empty(list: &ListArray) -> Result<ListArray> {
    let DataType::List(item) = list.data_type() else {
        return Err(SqlError::internal("a list of another kind").into());
    };
    let (values, offsets) = elements(list)?;
    Ok(ListArray::try_new(Arc::clone(item), offsets, values, None)?)
}

fn expanded(list: &ListArray, result: &DataType) -> Result<ListArray> {
    let DataType::List(item) = result else {
        return Err(SqlError::internal("pairs of another kind").into());
    };
    let DataType::Struct(fields) = item.data_type() else {
        return Err(SqlError::internal("pairs of another kind").into());
    };
    let (values, offsets) = elements(list)?;
    let (counted, _) = elements(&numbers(list, 1))?;
    let pairs = StructArray::try_new(fields.clone(), vec![values, counted], None)?;
    Ok(ListArray::try_new(Arc::clone(item), offsets, Arc::new(pairs), list.nulls().cloned())?)
}

fn numbers(list: &ListArray, first: i32) -> ListArray {
    let mut builder = ListBuilder::new(Int32Builder::new());
    for row in 0..list.len() {
        if !list.is_null(row) {
            let count = list.value_length(row);
            (first..first.saturating_add(count)).for_each(|index| builder.values().append_value(index));
        }
        builder.append(!list.is_null(row));
    }
    builder.finish()
}
