//! `format`: text with values in it.

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, StringViewArray, StringViewBuilder};
use datafusion::arrow::datatypes::DataType;
use datafusion::common::Result;
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

use super::definition::undefined;
use super::text::literal;
use crate::error::{SqlError, SqlResult};
use crate::postgres::cast::{CastContext, cast_array, session_zone};
use crate::postgres::operators::like_arguments;
use crate::postgres::pg_catalog::definition::quote;
use crate::postgres::types::{PgType, oid};

#[derive(Debug, PartialEq, Eq, Hash)]
struct Format {
    signature: Signature,
}

/// The function.
pub(super) fn format() -> Arc<ScalarUDF> {
    // Stable: how a time is shown depends on the session's zone.
    let signature = Signature::user_defined(Volatility::Stable);
    Arc::new(ScalarUDF::new_from_impl(Format { signature }))
}

impl ScalarUDFImpl for Format {
    fn name(&self) -> &str {
        "format"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, arg_types: &[DataType]) -> Result<Vec<DataType>> {
        match arg_types {
            [text, values @ ..] if text.is_string() || text == &DataType::Null => {
                Ok(std::iter::once(DataType::Utf8View).chain(values.iter().cloned()).collect())
            }
            _ => Err(undefined("format", arg_types).into()),
        }
    }

    fn return_type(&self, _arg_types: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8View)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let context = CastContext {
            zone: session_zone(&args.config_options),
            now: chrono::Utc::now().timestamp_micros(),
            explicit: true,
        };
        let arrays = ColumnarValue::values_to_arrays(&args.args)?;
        let texts = arrays
            .iter()
            .zip(&args.arg_fields)
            .map(|(array, field)| shown(array, PgType::of_field(field), &context));
        let texts = texts.collect::<SqlResult<Vec<ArrayRef>>>()?;
        let Some((formats, values)) = texts.split_first() else {
            return Err(SqlError::internal("a format is missing").into());
        };
        let mut builder = StringViewBuilder::with_capacity(formats.len());
        for (row, format) in formats.as_string_view().iter().enumerate() {
            let value = |index: usize| -> Option<Option<&str>> {
                let values = values.get(index)?.as_string_view();
                Some(values.is_valid(row).then(|| values.value(row)))
            };
            match format {
                Some(format) => builder.append_value(formatted(format, value)?),
                None => builder.append_null(),
            }
        }
        like_arguments(&args.args, Arc::new(builder.finish()))
    }
}

/// Values as queries show them: a boolean is `t`, though its cast to text is `true`.
fn shown(array: &ArrayRef, pg_type: PgType, context: &CastContext) -> SqlResult<ArrayRef> {
    if let Some(values) = array.as_boolean_opt() {
        let letters = values.iter().map(|value| value.map(|value| if value { "t" } else { "f" }));
        return Ok(Arc::new(letters.collect::<StringViewArray>()));
    }
    cast_array(array, pg_type, PgType::new(oid::TEXT), &DataType::Utf8View, context)
}

fn wrong(message: impl Into<String>) -> SqlError {
    SqlError::new("22023", message)
}

/// One specifier behind its `%`: `[position$][flags][width]type`.
struct Specifier {
    position: Option<usize>,
    left: bool,
    width: Width,
    kind: char,
}

enum Width {
    Fixed(usize),
    /// An argument: the next one, or that at a place from 1.
    Argument(Option<usize>),
}

fn number(rest: &mut &str) -> SqlResult<Option<usize>> {
    let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
    let (found, behind) = rest.split_at(digits);
    if found.is_empty() {
        return Ok(None);
    }
    *rest = behind;
    found
        .parse::<i32>()
        .map(|value| Some(value.unsigned_abs() as usize))
        .map_err(|_| SqlError::new("22003", "number is out of range"))
}

fn specifier(rest: &mut &str) -> SqlResult<Specifier> {
    let end = || wrong("unterminated format() type specifier").with_hint("For a single \"%\" use \"%%\".");
    let zero = || wrong("format specifies argument 0, but arguments are numbered from 1");
    let (mut position, mut left, mut width) = (None, false, Width::Fixed(0));
    let mut digits = number(rest)?;
    if let Some(place) = digits
        && let Some(behind) = rest.strip_prefix('$')
    {
        if place == 0 {
            return Err(zero());
        }
        (position, digits, *rest) = (Some(place), None, behind);
    }
    if digits.is_none() {
        while let Some(behind) = rest.strip_prefix('-') {
            (left, *rest) = (true, behind);
        }
        if let Some(behind) = rest.strip_prefix('*') {
            *rest = behind;
            let place = number(rest)?;
            if place.is_some() {
                *rest = rest
                    .strip_prefix('$')
                    .ok_or_else(|| wrong("width argument position must be ended by \"$\""))?;
            }
            if place == Some(0) {
                return Err(zero());
            }
            width = Width::Argument(place);
        } else {
            digits = number(rest)?;
        }
    }
    if let Some(digits) = digits {
        width = Width::Fixed(digits);
    }
    let kind = rest.chars().next().ok_or_else(end)?;
    *rest = &rest[kind.len_utf8()..];
    Ok(Specifier { position, left, width, kind })
}

fn formatted<'a>(format: &str, value: impl Fn(usize) -> Option<Option<&'a str>>) -> SqlResult<String> {
    let mut out = String::with_capacity(format.len());
    let mut rest = format;
    let mut next = 0;
    let mut take = |place: Option<usize>| -> SqlResult<Option<&'a str>> {
        let index = place.map_or(next, |place| place - 1);
        next = index + 1;
        value(index).ok_or_else(|| wrong("too few arguments for format()"))
    };
    while let Some((plain, behind)) = rest.split_once('%') {
        out.push_str(plain);
        rest = behind;
        if let Some(behind) = rest.strip_prefix('%') {
            out.push('%');
            rest = behind;
            continue;
        }
        let Specifier { position, mut left, width, kind } = specifier(&mut rest)?;
        let width = match width {
            Width::Fixed(width) => width,
            Width::Argument(place) => {
                let text = take(place)?.unwrap_or("0");
                let width: i32 = crate::postgres::input::number::parse_int(text, "integer")?;
                left |= width < 0;
                width.unsigned_abs() as usize
            }
        };
        let found = take(position)?;
        let text = match (kind, found) {
            ('s', found) => found.unwrap_or_default().to_owned(),
            ('I', Some(name)) => quote(name),
            ('I', None) => {
                return Err(SqlError::new("22004", "null values cannot be formatted as an SQL identifier"));
            }
            ('L', found) => found.map_or_else(|| "NULL".to_owned(), literal),
            (kind, _) => {
                return Err(wrong(format!("unrecognized format() type specifier \"{kind}\""))
                    .with_hint("For a single \"%\" use \"%%\"."));
            }
        };
        let blanks = " ".repeat(width.saturating_sub(text.chars().count()));
        if left {
            out.push_str(&text);
            out.push_str(&blanks);
        } else {
            out.push_str(&blanks);
            out.push_str(&text);
        }
    }
    out.push_str(rest);
    Ok(out)
}
