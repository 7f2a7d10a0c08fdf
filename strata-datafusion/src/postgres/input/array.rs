//! Arrays from text: `{1,2,NULL}`, `{"a b",c}`.

use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, ListArray};
use datafusion::arrow::buffer::OffsetBuffer;
use datafusion::arrow::datatypes::Field;
use datafusion::common::ScalarValue;

use super::parse_value;
use crate::error::{SqlError, SqlResult};
use crate::postgres::types::PgType;
use crate::postgres::zone::Zone;

fn malformed(text: &str, detail: &str) -> SqlError {
    SqlError::new("22P02", format!("malformed array literal: \"{text}\"")).with_detail(detail)
}

/// A one-dimensional array of this element type.
pub fn parse_array(element: PgType, text: &str, zone: &Zone, now: i64) -> SqlResult<ScalarValue> {
    let items = split(text)?
        .into_iter()
        .map(|item| match item {
            Some(item) => parse_value(element, &item, zone, now),
            None => ScalarValue::try_from(&element.arrow()?).map_err(SqlError::from),
        })
        .collect::<SqlResult<Vec<_>>>()?;
    list_of(element, items)
}

/// A list value of these items, which are of the element type.
pub fn list_of(element: PgType, items: Vec<ScalarValue>) -> SqlResult<ScalarValue> {
    let data_type = element.arrow()?;
    let values: ArrayRef = if items.is_empty() {
        datafusion::arrow::array::new_empty_array(&data_type)
    } else {
        // Each unconstrained numeric has a scale of its own until here.
        let items = items.into_iter().map(|item| item.cast_to(&data_type)).collect::<Result<Vec<_>, _>>()?;
        ScalarValue::iter_to_array(items)?
    };
    let field = Arc::new(Field::new("item", data_type, true));
    let offsets = OffsetBuffer::from_lengths([values.len()]);
    let list = ListArray::try_new(field, offsets, values, None)
        .map_err(|error| SqlError::internal(error.to_string()))?;
    Ok(ScalarValue::List(Arc::new(list)))
}

/// The texts of the elements, `None` for NULL.
fn split(text: &str) -> SqlResult<Vec<Option<String>>> {
    let trimmed = text.trim();
    let Some(inner) = trimmed.strip_prefix('{') else {
        return Err(malformed(text, "Array value must start with \"{\" or dimension information."));
    };
    let mut items = Vec::new();
    let mut rest = inner.chars().peekable();
    loop {
        skip_blanks(&mut rest);
        match rest.peek() {
            None => return Err(malformed(text, "Unexpected end of input.")),
            Some('}') if items.is_empty() => {
                rest.next();
                break;
            }
            Some('{') => {
                return Err(SqlError::unsupported("arrays of more than one dimension are not supported"));
            }
            Some('"') => {
                rest.next();
                items.push(Some(
                    quoted(&mut rest).ok_or_else(|| malformed(text, "Unexpected end of input."))?,
                ));
            }
            Some(_) => items.push(plain(&mut rest, text)?),
        }
        skip_blanks(&mut rest);
        match rest.next() {
            Some(',') => {}
            Some('}') => break,
            Some(other) => return Err(malformed(text, &format!("Unexpected \"{other}\" character."))),
            None => return Err(malformed(text, "Unexpected end of input.")),
        }
    }
    skip_blanks(&mut rest);
    match rest.next() {
        None => Ok(items),
        Some(_) => Err(malformed(text, "Junk after closing right brace.")),
    }
}

type Rest<'a> = std::iter::Peekable<std::str::Chars<'a>>;

fn skip_blanks(rest: &mut Rest<'_>) {
    while rest.next_if(char::is_ascii_whitespace).is_some() {}
}

fn quoted(rest: &mut Rest<'_>) -> Option<String> {
    let mut item = String::new();
    loop {
        match rest.next()? {
            '"' => return Some(item),
            '\\' => item.push(rest.next()?),
            other => item.push(other),
        }
    }
}

fn plain(rest: &mut Rest<'_>, text: &str) -> SqlResult<Option<String>> {
    let mut item = String::new();
    let mut escaped = false;
    while let Some(next) = rest.next_if(|c| !matches!(c, ',' | '}' | '{' | '"')) {
        if next == '\\' {
            escaped = true;
            item.push(rest.next().ok_or_else(|| malformed(text, "Unexpected end of input."))?);
        } else {
            item.push(next);
        }
    }
    let item = item.trim_end().to_owned();
    if item.is_empty() {
        return Err(malformed(text, "Unexpected \",\" character."));
    }
    Ok((escaped || !item.eq_ignore_ascii_case("null")).then_some(item))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn items(text: &str) -> Vec<Option<String>> {
        split(text).unwrap()
    }

    #[test]
    fn elements_are_split() {
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(items("{1, 2,NULL}"), [some("1"), some("2"), None]);
        assert_eq!(
            items(r#"{"a b","x\"y\\",c d ,"NULL"}"#),
            [some("a b"), some("x\"y\\"), some("c d"), some("NULL")]
        );
        assert!(items(" {} ").is_empty());
    }

    #[test]
    fn malformed_arrays_are_refused() {
        for text in ["", "1,2", "{1", "{1,}", "{1}x", "{\"a}"] {
            assert_eq!(split(text).unwrap_err().sqlstate, "22P02", "{text}");
        }
        assert_eq!(split("{{1},{2}}").unwrap_err().sqlstate, "0A000");
    }
}
