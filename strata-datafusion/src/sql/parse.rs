//! Query strings into statements, each with its own text and its place in the string.
//!
//! The tokens are cut at semicolons before they are parsed, so that an error in one statement names a place in
//! the whole string, and so that `COPY … FROM STDIN` does not take what follows for its data.

use std::sync::Arc;

use datafusion::sql::sqlparser::ast;
use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::parser::{Parser, ParserError};
use datafusion::sql::sqlparser::tokenizer::{Location, Token, TokenWithSpan, Tokenizer};

use super::copy::parse::{CopyOption, parse_copy};
use super::ddl::parse_vacuum;
use crate::error::{SqlError, SqlResult};

/// How deep expressions and queries may nest.
const RECURSION_LIMIT: usize = 100;

/// One parsed statement. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Statement {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    ast: ast::Statement,
    copy_options: Vec<CopyOption>,
    text: String,
    offset: u32,
    lines: Arc<Lines>,
}

impl Statement {
    /// The statement as parsed.
    pub fn ast(&self) -> &ast::Statement {
        &self.inner.ast
    }

    /// The options of a COPY: the parsed statement has none of them.
    pub(crate) fn copy_options(&self) -> &[CopyOption] {
        &self.inner.copy_options
    }

    /// Its own text, without the semicolon.
    pub fn text(&self) -> &str {
        &self.inner.text
    }

    /// Where its text starts in the string that was parsed, in characters from 0.
    pub fn offset(&self) -> u32 {
        self.inner.offset
    }

    /// A place of the statement as a character of the parsed string, from 1.
    pub fn position(&self, location: Location) -> Option<u32> {
        self.inner.lines.position(location)
    }
}

/// Where the lines of a string start.
#[derive(Debug)]
struct Lines {
    starts: Vec<LineStart>,
}

#[derive(Clone, Copy, Debug)]
struct LineStart {
    byte: usize,
    character: u32,
}

impl Lines {
    fn of(text: &str) -> Self {
        let mut starts = vec![LineStart { byte: 0, character: 0 }];
        let mut character = 0u32;
        for (byte, found) in text.char_indices() {
            character = character.saturating_add(1);
            if found == '\n' {
                starts.push(LineStart { byte: byte + 1, character });
            }
        }
        Self { starts }
    }

    fn line(&self, location: Location) -> Option<LineStart> {
        let line = usize::try_from(location.line).ok()?.checked_sub(1)?;
        self.starts.get(line).copied()
    }

    /// The character from 1.
    fn position(&self, location: Location) -> Option<u32> {
        let column = u32::try_from(location.column).ok()?;
        self.line(location)?.character.checked_add(column)
    }

    /// The byte from 0.
    fn byte(&self, location: Location, text: &str) -> Option<usize> {
        let start = self.line(location)?.byte;
        let columns = usize::try_from(location.column).ok()?.checked_sub(1)?;
        let rest = text.get(start..)?;
        let within = rest.char_indices().nth(columns).map_or(rest.len(), |(byte, _)| byte);
        Some(start + within)
    }
}

/// Parses all statements of a string. Empty statements yield nothing.
pub fn parse(sql: &str) -> SqlResult<Vec<Statement>> {
    let lines = Arc::new(Lines::of(sql));
    let dialect = PostgreSqlDialect {};
    let tokens = Tokenizer::new(&dialect, sql).tokenize_with_location().map_err(|error| {
        let mut answer = SqlError::syntax(tokenizer_message(&error.message));
        answer.position = lines.position(error.location);
        answer
    })?;
    let mut statements = Vec::new();
    for piece in tokens.split(|token| token.token == Token::SemiColon) {
        let mut visible = piece.iter().filter(|token| !is_blank(&token.token));
        let Some(first) = visible.next() else { continue };
        let last = visible.next_back().unwrap_or(first);
        let start = lines.byte(first.span.start, sql).unwrap_or(0);
        let end = lines.byte(last.span.end, sql).unwrap_or(sql.len());
        let text = sql.get(start..end).unwrap_or(sql);
        let (ast, copy_options) =
            parse_one(&dialect, piece).map_err(|error| syntax_error(&error, piece, &lines))?;
        let offset = lines.position(first.span.start).map_or(0, |position| position - 1);
        let inner = Inner { ast, copy_options, text: text.to_owned(), offset, lines: Arc::clone(&lines) };
        statements.push(Statement { inner: Arc::new(inner) });
    }
    Ok(statements)
}

fn is_blank(token: &Token) -> bool {
    matches!(token, Token::Whitespace(_) | Token::EOF)
}

fn parse_one(
    dialect: &PostgreSqlDialect,
    tokens: &[TokenWithSpan],
) -> Result<(ast::Statement, Vec<CopyOption>), ParserError> {
    let mut tokens = tokens.to_vec();
    tokens.retain(|token| token.token != Token::EOF);
    tokens.push(TokenWithSpan::wrap(Token::SemiColon));
    let mut parser =
        Parser::new(dialect).with_recursion_limit(RECURSION_LIMIT).with_tokens_with_locations(tokens);
    let statement = if parser.peek_keyword(Keyword::COPY) {
        parse_copy(&mut parser)?
    } else if parser.peek_keyword(Keyword::VACUUM) {
        (parse_vacuum(&mut parser)?, Vec::new())
    } else {
        (parser.parse_statement()?, Vec::new())
    };
    while parser.consume_token(&Token::SemiColon) {}
    if parser.peek_token_ref().token != Token::EOF {
        return parser.expected("end of statement", parser.peek_token());
    }
    Ok(statement)
}

fn tokenizer_message(message: &str) -> String {
    match message {
        "Unterminated string literal" => "unterminated quoted string".to_owned(),
        other if other.contains("close delimiter") => "unterminated quoted identifier".to_owned(),
        other => other.to_owned(),
    }
}

/// The parser's message in Postgres' form: it ends in `found: TOKEN at Line: l, Column: c`.
fn syntax_error(error: &ParserError, tokens: &[TokenWithSpan], lines: &Lines) -> SqlError {
    let message = match error {
        ParserError::RecursionLimitExceeded => {
            return SqlError::new("54001", "stack depth limit exceeded")
                .with_hint("The statement nests expressions or queries too deeply.");
        }
        ParserError::ParserError(message) | ParserError::TokenizerError(message) => message,
    };
    let (said, location) = match message.rsplit_once(" at Line: ") {
        Some((said, place)) => (said, parse_location(place)),
        None => (message.as_str(), None),
    };
    let found = location.and_then(|location| {
        tokens.iter().find(|token| !is_blank(&token.token) && token.span.start == location)
    });
    let detail = said.trim();
    match (found, said.contains("found: EOF") || said.contains("found: ;")) {
        (Some(token), _) => {
            let mut answer =
                SqlError::syntax(format!("syntax error at or near \"{}\"", token_text(&token.token)))
                    .with_detail(detail);
            answer.position = lines.position(token.span.start);
            answer
        }
        (None, true) => {
            let mut answer = SqlError::syntax("syntax error at end of input").with_detail(detail);
            answer.position = tokens
                .iter()
                .rfind(|token| !is_blank(&token.token))
                .and_then(|token| lines.position(token.span.end));
            answer
        }
        (None, false) => SqlError::syntax(detail),
    }
}

fn token_text(token: &Token) -> String {
    match token {
        Token::Word(word) => word.value.clone(),
        other => other.to_string(),
    }
}

fn parse_location(text: &str) -> Option<Location> {
    let (line, column) = text.split_once(", Column: ")?;
    Some(Location { line: line.trim().parse().ok()?, column: column.trim().parse().ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_keep_their_text_and_place() {
        let statements = parse("SELECT 1;; -- nothing\n  select 'é;', 2 ;").unwrap();
        assert_eq!(statements.len(), 2);
        assert_eq!((statements[0].text(), statements[0].offset()), ("SELECT 1", 0));
        assert_eq!(
            (statements[1].text(), statements[1].offset()),
            ("-- nothing\n  select 'é;', 2".trim_start_matches("-- nothing\n  "), 24)
        );
        assert!(parse(" ; ").unwrap().is_empty());
    }

    #[test]
    fn a_syntax_error_names_the_token_and_its_place_in_the_string() {
        let error = parse("SELECT 1;\nSELEC 2").unwrap_err();
        assert_eq!(error.sqlstate, "42601");
        assert_eq!(error.message, "syntax error at or near \"SELEC\"");
        assert_eq!(error.position, Some(11));
        let end = parse("SELECT * FROM").unwrap_err();
        assert_eq!(end.message, "syntax error at end of input");
        assert_eq!(end.position, Some(14));
        assert_eq!(parse("SELECT 'abc").unwrap_err().message, "unterminated quoted string");
    }

    #[test]
    fn copy_from_stdin_needs_no_semicolon() {
        assert_eq!(parse("COPY t FROM STDIN").unwrap().len(), 1);
        assert_eq!(parse("COPY t FROM STDIN; SELECT 1").unwrap().len(), 2);
    }

    #[test]
    fn deep_nesting_is_an_error() {
        let text = format!("SELECT {}1{}", "(".repeat(5000), ")".repeat(5000));
        assert_eq!(parse(&text).unwrap_err().sqlstate, "54001");
    }
}
