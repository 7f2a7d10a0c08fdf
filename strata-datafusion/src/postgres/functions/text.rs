//! Functions of text.

use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, StringViewBuilder};
use datafusion::logical_expr::Volatility;

use super::definition::{Call, Definition, Variant};
use crate::error::SqlResult;
use crate::postgres::types::oid;

pub(super) const FUNCTIONS: &[Definition] = &[
    Definition {
        name: "quote_literal",
        volatility: Volatility::Immutable,
        variants: &[Variant { args: &[oid::TEXT], result: oid::TEXT, body: quote_literal }],
    },
    Definition {
        name: "quote_nullable",
        volatility: Volatility::Immutable,
        variants: &[Variant { args: &[oid::TEXT], result: oid::TEXT, body: quote_nullable }],
    },
];

pub(super) fn literal(text: &str) -> String {
    let quoted = text.replace('\'', "''");
    if text.contains('\\') { format!("E'{}'", quoted.replace('\\', "\\\\")) } else { format!("'{quoted}'") }
}

fn quote_literal(call: &Call<'_>) -> SqlResult<ArrayRef> {
    let texts = call.texts(0)?;
    call.text_rows(|row| Ok(Some(literal(texts.value(row)))))
}

fn quote_nullable(call: &Call<'_>) -> SqlResult<ArrayRef> {
    let texts = call.texts(0)?;
    let mut builder = StringViewBuilder::new();
    for text in texts.iter() {
        builder.append_value(text.map_or_else(|| "NULL".to_owned(), literal));
    }
    Ok(Arc::new(builder.finish()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literals_are_quoted() {
        assert_eq!(literal("it's"), "'it''s'");
        assert_eq!(literal("a\\b"), "E'a\\\\b'");
    }
}
