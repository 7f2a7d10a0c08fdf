//! Functions of bytea, and those of text that take bytea, too: its bytes need not be text.

use std::sync::Arc;

use datafusion::arrow::array::{
    Array, ArrayRef, AsArray, BinaryViewArray, BinaryViewBuilder, Int32Array, Int64Array, StringViewArray,
    StringViewBuilder,
};
use datafusion::arrow::compute::cast as arrow_cast;
use datafusion::arrow::datatypes::{DataType, Int64Type};
use datafusion::common::Result;
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

use super::definition::undefined;
use super::encoding::{self, Encoding};
use crate::error::{SqlError, SqlResult};
use crate::postgres::input::number::parse_int;
use crate::postgres::input::parse_bytea;
use crate::postgres::operators::like_arguments;

/// What an argument is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Kind {
    /// Text, or bytes.
    Either,
    /// Bytes; a literal is read as them.
    Bytes,
    Text,
    Integer,
}

/// What the result is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Gives {
    Integer,
    /// Text or bytes, as the first argument is.
    Same,
    Text,
    Bytes,
}

#[derive(Debug)]
struct BytesFunction {
    name: &'static str,
    arguments: &'static [&'static [Kind]],
    gives: Gives,
    body: fn(&[ArrayRef]) -> SqlResult<ArrayRef>,
    signature: Signature,
}

impl PartialEq for BytesFunction {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for BytesFunction {}

impl std::hash::Hash for BytesFunction {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

/// All of them.
pub(super) fn functions() -> Vec<Arc<ScalarUDF>> {
    use Kind::{Bytes, Either, Integer, Text};
    let function = |name, arguments, gives, body| {
        let signature = Signature::user_defined(Volatility::Immutable);
        Arc::new(ScalarUDF::new_from_impl(BytesFunction { name, arguments, gives, body, signature }))
    };
    vec![
        function("length", &[&[Either]], Gives::Integer, length),
        function("octet_length", &[&[Either]], Gives::Integer, |args| byte_lengths(args, 1)),
        function("bit_length", &[&[Either]], Gives::Integer, |args| byte_lengths(args, 8)),
        function("substr", &[&[Either, Integer], &[Either, Integer, Integer]], Gives::Same, substring),
        function("encode", &[&[Bytes, Text]], Gives::Text, encode),
        function("decode", &[&[Text, Text]], Gives::Bytes, decode),
        function("get_byte", &[&[Bytes, Integer]], Gives::Integer, get_byte),
    ]
}

/// `substr`, which SUBSTRING is, too.
pub(crate) fn substr() -> Arc<ScalarUDF> {
    static SUBSTR: std::sync::LazyLock<Arc<ScalarUDF>> = std::sync::LazyLock::new(|| {
        let found = functions().into_iter().find(|function| function.name() == "substr");
        found.unwrap_or_else(datafusion::functions::unicode::substr)
    });
    Arc::clone(&SUBSTR)
}

fn is_bytes(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Binary | DataType::LargeBinary | DataType::BinaryView)
}

fn is_text(data_type: &DataType) -> bool {
    data_type.is_string() || data_type == &DataType::Null
}

impl Kind {
    /// The type that an argument becomes; `None` if it cannot be one.
    fn accept(self, found: &DataType) -> Option<DataType> {
        match self {
            Self::Either | Self::Bytes if is_bytes(found) => Some(DataType::BinaryView),
            Self::Either | Self::Bytes | Self::Text if is_text(found) => Some(DataType::Utf8View),
            Self::Integer if found.is_integer() || is_text(found) => Some(match found {
                text if text.is_string() => DataType::Utf8View,
                _ => DataType::Int64,
            }),
            _ => None,
        }
    }
}

impl ScalarUDFImpl for BytesFunction {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, arg_types: &[DataType]) -> Result<Vec<DataType>> {
        let fits = |kinds: &&&[Kind]| kinds.len() == arg_types.len();
        let kinds = self.arguments.iter().find(fits).ok_or_else(|| undefined(self.name, arg_types))?;
        let accepted = kinds.iter().zip(arg_types).map(|(kind, found)| kind.accept(found));
        Ok(accepted.collect::<Option<Vec<_>>>().ok_or_else(|| undefined(self.name, arg_types))?)
    }

    fn return_type(&self, arg_types: &[DataType]) -> Result<DataType> {
        Ok(match self.gives {
            Gives::Integer => DataType::Int32,
            Gives::Same if arg_types.first().is_some_and(is_bytes) => DataType::BinaryView,
            Gives::Same | Gives::Text => DataType::Utf8View,
            Gives::Bytes => DataType::BinaryView,
        })
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let arrays = ColumnarValue::values_to_arrays(&args.args)?;
        like_arguments(&args.args, (self.body)(&arrays)?)
    }
}

fn argument(args: &[ArrayRef], index: usize) -> SqlResult<&ArrayRef> {
    args.get(index).ok_or_else(|| SqlError::internal("an argument is missing"))
}

fn converted(array: &ArrayRef, data_type: &DataType) -> SqlResult<ArrayRef> {
    arrow_cast(array, data_type).map_err(|error| SqlError::internal(error.to_string()))
}

fn texts(args: &[ArrayRef], index: usize) -> SqlResult<StringViewArray> {
    Ok(converted(argument(args, index)?, &DataType::Utf8View)?.as_string_view().clone())
}

/// The bytes of bytea, or those that a literal in quotes means.
fn bytes(args: &[ArrayRef], index: usize) -> SqlResult<BinaryViewArray> {
    let array = argument(args, index)?;
    if is_bytes(array.data_type()) {
        return Ok(converted(array, &DataType::BinaryView)?.as_binary_view().clone());
    }
    let texts = texts(args, index)?;
    let mut builder = BinaryViewBuilder::with_capacity(texts.len());
    for text in texts.iter() {
        match text {
            Some(text) => builder.append_value(parse_bytea(text)?),
            None => builder.append_null(),
        }
    }
    Ok(builder.finish())
}

fn integers(args: &[ArrayRef], index: usize) -> SqlResult<Int64Array> {
    let array = argument(args, index)?;
    if array.data_type().is_string() {
        let texts = texts(args, index)?;
        let read = texts.iter().map(|text| text.map(|text| parse_int::<i64>(text, "integer")).transpose());
        return read.collect();
    }
    Ok(converted(array, &DataType::Int64)?.as_primitive::<Int64Type>().clone())
}

fn in_int4(count: usize) -> i32 {
    i32::try_from(count).unwrap_or(i32::MAX)
}

fn length(args: &[ArrayRef]) -> SqlResult<ArrayRef> {
    if is_bytes(argument(args, 0)?.data_type()) {
        return byte_lengths(args, 1);
    }
    let count = |text: &str| if text.is_ascii() { text.len() } else { text.chars().count() };
    let lengths: Int32Array =
        texts(args, 0)?.iter().map(|text| text.map(|text| in_int4(count(text)))).collect();
    Ok(Arc::new(lengths))
}

fn byte_lengths(args: &[ArrayRef], factor: usize) -> SqlResult<ArrayRef> {
    let length = |bytes: usize| in_int4(bytes.saturating_mul(factor));
    let lengths: Int32Array = if is_bytes(argument(args, 0)?.data_type()) {
        bytes(args, 0)?.iter().map(|value| value.map(|value| length(value.len()))).collect()
    } else {
        texts(args, 0)?.iter().map(|value| value.map(|value| length(value.len()))).collect()
    };
    Ok(Arc::new(lengths))
}

/// The places from 0 that `substr(…, start, count)` takes of so many: from and to.
fn span(start: i64, count: Option<i64>, length: usize) -> SqlResult<(usize, usize)> {
    let end = match count {
        Some(count) if count < 0 => {
            return Err(SqlError::new("22011", "negative substring length not allowed"));
        }
        Some(count) => start.saturating_add(count),
        None => i64::MAX,
    };
    let place = |at: i64| usize::try_from(at.saturating_sub(1).max(0)).unwrap_or(length).min(length);
    Ok((place(start), place(end).max(place(start))))
}

fn substring(args: &[ArrayRef]) -> SqlResult<ArrayRef> {
    let starts = integers(args, 1)?;
    let counts = if args.len() > 2 { Some(integers(args, 2)?) } else { None };
    let wanted = |row: usize| -> Option<(i64, Option<i64>)> {
        let count = match &counts {
            Some(counts) if counts.is_null(row) => return None,
            Some(counts) => Some(counts.value(row)),
            None => None,
        };
        starts.is_valid(row).then(|| (starts.value(row), count))
    };
    if is_bytes(argument(args, 0)?.data_type()) {
        let values = bytes(args, 0)?;
        let mut builder = BinaryViewBuilder::with_capacity(values.len());
        for (row, value) in values.iter().enumerate() {
            match (value, wanted(row)) {
                (Some(value), Some((start, count))) => {
                    let (from, to) = span(start, count, value.len())?;
                    builder.append_value(value.get(from..to).unwrap_or_default());
                }
                _ => builder.append_null(),
            }
        }
        return Ok(Arc::new(builder.finish()));
    }
    let values = texts(args, 0)?;
    let mut builder = StringViewBuilder::with_capacity(values.len());
    for (row, value) in values.iter().enumerate() {
        match (value, wanted(row)) {
            (Some(value), Some((start, count))) => builder.append_value(characters(value, start, count)?),
            _ => builder.append_null(),
        }
    }
    Ok(Arc::new(builder.finish()))
}

fn characters(text: &str, start: i64, count: Option<i64>) -> SqlResult<&str> {
    if text.is_ascii() {
        let (from, to) = span(start, count, text.len())?;
        return Ok(text.get(from..to).unwrap_or_default());
    }
    let (from, to) = span(start, count, text.len())?;
    let byte = |place: usize| text.char_indices().nth(place).map_or(text.len(), |(byte, _)| byte);
    Ok(text.get(byte(from)..byte(to)).unwrap_or_default())
}

fn encode(args: &[ArrayRef]) -> SqlResult<ArrayRef> {
    let (values, encodings) = (bytes(args, 0)?, texts(args, 1)?);
    let mut builder = StringViewBuilder::with_capacity(values.len());
    for (value, name) in values.iter().zip(encodings.iter()) {
        match (value, name) {
            (Some(value), Some(name)) => {
                builder.append_value(encoding::encode(value, Encoding::named(name)?))
            }
            _ => builder.append_null(),
        }
    }
    Ok(Arc::new(builder.finish()))
}

fn decode(args: &[ArrayRef]) -> SqlResult<ArrayRef> {
    let (values, encodings) = (texts(args, 0)?, texts(args, 1)?);
    let mut builder = BinaryViewBuilder::with_capacity(values.len());
    for (value, name) in values.iter().zip(encodings.iter()) {
        match (value, name) {
            (Some(value), Some(name)) => {
                builder.append_value(encoding::decode(value, Encoding::named(name)?)?)
            }
            _ => builder.append_null(),
        }
    }
    Ok(Arc::new(builder.finish()))
}

fn get_byte(args: &[ArrayRef]) -> SqlResult<ArrayRef> {
    let (values, places) = (bytes(args, 0)?, integers(args, 1)?);
    let rows = values.iter().zip(places.iter()).map(|(value, place)| {
        let (Some(value), Some(place)) = (value, place) else { return Ok(None) };
        let found = usize::try_from(place).ok().and_then(|place| value.get(place));
        found.map(|byte| Some(i32::from(*byte))).ok_or_else(|| {
            let last = value.len() as i64 - 1;
            SqlError::new("2202E", format!("index {place} out of valid range, 0..{last}"))
        })
    });
    Ok(Arc::new(rows.collect::<SqlResult<Int32Array>>()?))
}
