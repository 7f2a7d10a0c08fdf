//! COPY as Postgres writes it, old and new syntax. sqlparser's own rules miss some of the forms.

use datafusion::sql::sqlparser::ast::{self, CopySource, CopyTarget, Ident};
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::parser::{IsOptional, Parser, ParserError};
use datafusion::sql::sqlparser::tokenizer::Token;

use crate::sql::names::fold;

/// An option, as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CopyOption {
    /// Its name in lower case, in the words of the new syntax: `force_quote`.
    pub(crate) name: String,
    /// Its value.
    pub(crate) value: OptionValue,
}

/// What is said of an option.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum OptionValue {
    /// Only its name.
    Absent,
    /// A word, number or string.
    Text(String),
    /// Columns.
    Names(Vec<String>),
    /// `*`.
    All,
}

/// Parses a COPY statement up to its end.
pub(crate) fn parse_copy(parser: &mut Parser<'_>) -> Result<(ast::Statement, Vec<CopyOption>), ParserError> {
    parser.expect_keyword(Keyword::COPY)?;
    let mut options = Vec::new();
    let source = if parser.consume_token(&Token::LParen) {
        let query = parser.parse_query()?;
        parser.expect_token(&Token::RParen)?;
        CopySource::Query(query)
    } else {
        if parser.parse_keyword(Keyword::BINARY) {
            options.push(CopyOption {
                name: "format".to_owned(),
                value: OptionValue::Text("binary".to_owned()),
            });
        }
        let table_name = parser.parse_object_name(false)?;
        let columns = parser.parse_parenthesized_column_list(IsOptional::Optional, false)?;
        CopySource::Table { table_name, columns }
    };
    let to = match (parser.parse_one_of_keywords(&[Keyword::FROM, Keyword::TO]), &source) {
        (Some(Keyword::TO), _) => true,
        (Some(Keyword::FROM), CopySource::Table { .. }) => false,
        _ => return parser.expected("FROM or TO", parser.peek_token()),
    };
    let target = match parser.parse_one_of_keywords(&[Keyword::STDIN, Keyword::STDOUT, Keyword::PROGRAM]) {
        Some(Keyword::PROGRAM) => CopyTarget::Program { command: parser.parse_literal_string()? },
        Some(_) if to => CopyTarget::Stdout,
        Some(_) => CopyTarget::Stdin,
        None => CopyTarget::File { filename: parser.parse_literal_string()? },
    };
    let with = parser.parse_keyword(Keyword::WITH);
    if parser.consume_token(&Token::LParen) {
        loop {
            options.push(parse_option(parser)?);
            if !parser.consume_token(&Token::Comma) {
                break;
            }
        }
        parser.expect_token(&Token::RParen)?;
    } else {
        let before = options.len();
        while let Some(option) = parse_old_option(parser)? {
            options.push(option);
        }
        if with && options.len() == before {
            return parser.expected("an option", parser.peek_token());
        }
    }
    let (options_of_ast, legacy_options, values) = (Vec::new(), Vec::new(), Vec::new());
    let statement =
        ast::Statement::Copy { source, to, target, options: options_of_ast, legacy_options, values };
    Ok((statement, options))
}

/// `name [value]`.
fn parse_option(parser: &mut Parser<'_>) -> Result<CopyOption, ParserError> {
    let name = fold(&parser.parse_identifier()?);
    let next = parser.peek_token();
    let value = match next.token {
        Token::Comma | Token::RParen => OptionValue::Absent,
        Token::LParen => OptionValue::Names(
            parser.parse_parenthesized_column_list(IsOptional::Mandatory, false)?.iter().map(fold).collect(),
        ),
        Token::Mul => {
            parser.next_token();
            OptionValue::All
        }
        _ => OptionValue::Text(parse_text(parser)?),
    };
    Ok(CopyOption { name, value })
}

/// A word, number or string.
fn parse_text(parser: &mut Parser<'_>) -> Result<String, ParserError> {
    let token = parser.next_token();
    match token.token {
        Token::Word(word) => {
            Ok(fold(&Ident { value: word.value, quote_style: word.quote_style, span: token.span }))
        }
        Token::Number(text, _) | Token::SingleQuotedString(text) | Token::EscapedStringLiteral(text) => {
            Ok(text)
        }
        Token::DollarQuotedString(text) => Ok(text.value),
        _ => parser.expected("a value", token),
    }
}

/// An option of the syntax before version 9.0, if one follows.
fn parse_old_option(parser: &mut Parser<'_>) -> Result<Option<CopyOption>, ParserError> {
    let Token::Word(word) = parser.peek_token().token else { return Ok(None) };
    let option = |name: &str, value: OptionValue| Ok(Some(CopyOption { name: name.to_owned(), value }));
    let name = word.value.to_ascii_lowercase();
    match name.as_str() {
        "binary" | "csv" => {
            parser.next_token();
            option("format", OptionValue::Text(name))
        }
        "header" | "freeze" => {
            parser.next_token();
            option(&name, OptionValue::Absent)
        }
        "delimiter" | "delimiters" | "null" | "quote" | "escape" | "encoding" => {
            parser.next_token();
            let _ = parser.parse_keyword(Keyword::AS);
            option(name.trim_end_matches("delimiters"), OptionValue::Text(parse_text(parser)?))
        }
        "force" => {
            parser.next_token();
            let name = match parser.parse_one_of_keywords(&[Keyword::NOT, Keyword::NULL]) {
                Some(Keyword::NOT) => {
                    parser.expect_keyword(Keyword::NULL)?;
                    "force_not_null"
                }
                Some(_) => "force_null",
                None => match parser.next_token().token {
                    Token::Word(word) if word.value.eq_ignore_ascii_case("quote") => "force_quote",
                    _ => return parser.expected("QUOTE, NULL or NOT NULL", parser.peek_token()),
                },
            };
            if parser.consume_token(&Token::Mul) {
                return option(name, OptionValue::All);
            }
            let columns = parser.parse_comma_separated(Parser::parse_identifier)?;
            option(name, OptionValue::Names(columns.iter().map(fold).collect()))
        }
        _ => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::parse::parse;

    fn options(sql: &str) -> Vec<(String, OptionValue)> {
        let statements = parse(sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
        let options = statements[0].copy_options().iter();
        options.map(|option| (option.name.clone(), option.value.clone())).collect()
    }

    fn text(text: &str) -> OptionValue {
        OptionValue::Text(text.to_owned())
    }

    #[test]
    fn the_forms_that_clients_send_are_read() {
        // pgbench -i, pg_dump, psql's \copy.
        assert_eq!(
            options("copy pgbench_accounts from stdin with (freeze on)"),
            [("freeze".into(), text("on"))]
        );
        assert_eq!(options("COPY public.t (a, \"B\") FROM stdin"), []);
        assert_eq!(
            options("COPY  t FROM STDIN csv header"),
            [("format".into(), text("csv")), ("header".into(), OptionValue::Absent)]
        );
        assert_eq!(options("COPY  ( select 1 ) TO STDOUT "), []);
        assert_eq!(options("COPY t FROM STDIN; SELECT 1"), []);
    }

    #[test]
    fn both_syntaxes_say_the_same() {
        let new =
            "COPY t TO '/tmp/x' (FORMAT csv, DELIMITER E'\\t', NULL 'x''y', FORCE_QUOTE (a, b), HEADER)";
        let old = "COPY t TO '/tmp/x' WITH CSV DELIMITER AS E'\\t' NULL 'x''y' FORCE QUOTE a, b HEADER";
        assert_eq!(options(new), options(old));
        assert_eq!(options(new)[1], ("delimiter".into(), text("\t")));
        assert_eq!(options(new)[2], ("null".into(), text("x'y")));
        assert_eq!(options("COPY t TO STDOUT (FORCE_QUOTE *)"), [("force_quote".into(), OptionValue::All)]);
        assert_eq!(
            options("COPY t FROM STDIN FORCE NOT NULL a"),
            [("force_not_null".into(), OptionValue::Names(vec!["a".into()]))]
        );
    }

    #[test]
    fn what_is_no_copy_is_a_syntax_error() {
        for sql in [
            "COPY t",
            "COPY t FROM",
            "COPY (SELECT 1) FROM STDIN",
            "COPY t FROM STDIN WITH",
            "COPY t FROM STDIN (a b c)",
        ] {
            assert_eq!(parse(sql).unwrap_err().sqlstate, "42601", "{sql}");
        }
    }
}
