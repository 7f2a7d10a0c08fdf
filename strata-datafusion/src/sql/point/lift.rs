//! Statement texts with their literals taken out: `… WHERE id = 7` and `… WHERE id = 8` are one statement.
//!
//! Only what is surely a literal is lifted: integers, which have Postgres' types for them (int4 where they fit, else
//! int8), and plain strings, whose type follows from where they stand, as that of an untyped parameter does. A text that
//! could need more care (comments, dollar quotes, several statements) is not lifted at all.

use datafusion::common::ScalarValue;

use crate::postgres::types::oid;

/// Texts longer than this are not worth remembering.
const MAX_BYTES: usize = 4_096;
/// More literals than this make every text another one.
const MAX_LITERALS: usize = 64;

/// A literal that was lifted.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Literal {
    Int4(i32),
    Int8(i64),
    Text(String),
}

impl Literal {
    /// The type that the statement is compiled with, 0 for one that is to be inferred.
    pub(crate) fn oid(&self) -> u32 {
        match self {
            Self::Int4(_) => oid::INT4,
            Self::Int8(_) => oid::INT8,
            Self::Text(_) => 0,
        }
    }

    fn class(&self) -> char {
        match self {
            Self::Int4(_) => '4',
            Self::Int8(_) => '8',
            Self::Text(_) => 't',
        }
    }

    /// The value, where it needs no reading.
    pub(crate) fn scalar(&self) -> Option<ScalarValue> {
        match self {
            Self::Int4(value) => Some(ScalarValue::Int32(Some(*value))),
            Self::Int8(value) => Some(ScalarValue::Int64(Some(*value))),
            Self::Text(_) => None,
        }
    }
}

/// A lifted text. Its buffers are used again.
#[derive(Debug, Default)]
pub(crate) struct Lifted {
    /// What tells it from others: the text with parameters, and the kinds of the literals.
    key: String,
    text_bytes: usize,
    pub(crate) literals: Vec<Literal>,
}

impl Lifted {
    /// The text with parameters in the place of literals.
    pub(crate) fn text(&self) -> &str {
        self.key.get(..self.text_bytes).unwrap_or("")
    }

    /// What tells it from other texts.
    pub(crate) fn key(&self) -> &str {
        &self.key
    }

    /// Lifts the literals of a text; `false` where it is not for lifting.
    pub(crate) fn lift(&mut self, text: &str) -> bool {
        self.key.clear();
        self.literals.clear();
        self.text_bytes = 0;
        if text.len() > MAX_BYTES || !is_dml(text) || self.scan(text).is_none() {
            return false;
        }
        self.text_bytes = self.key.len();
        self.key.push('\0');
        for literal in &self.literals {
            self.key.push(literal.class());
        }
        true
    }

    fn scan(&mut self, text: &str) -> Option<()> {
        let bytes = text.as_bytes();
        let mut place = 0;
        while let Some(byte) = bytes.get(place) {
            let start = place;
            match byte {
                b'a'..=b'z' | b'A'..=b'Z' | b'_' | 128.. => {
                    place = end_of(bytes, place, is_word);
                    // E'…', B'…', U&'…': strings with rules of their own.
                    if matches!(bytes.get(place), Some(b'\'')) || text.get(place..)?.starts_with("&'") {
                        return None;
                    }
                    self.key.push_str(text.get(start..place)?);
                }
                b'0'..=b'9' => {
                    place = end_of(bytes, place, |byte| is_word(byte) || byte == b'.');
                    let number = text.get(start..place)?;
                    match integer(number) {
                        Some(literal) => self.push(literal)?,
                        // A fraction, or something stranger: stays as it is. An exponent may have a sign.
                        None => self.key.push_str(number),
                    }
                }
                b'.' => {
                    // .5 is no integer behind a dot.
                    place = end_of(bytes, place + 1, |byte| is_word(byte) || byte == b'.');
                    self.key.push_str(text.get(start..place)?);
                }
                b'\'' => {
                    let (value, end) = string(text, place + 1)?;
                    place = end;
                    self.push(Literal::Text(value))?;
                }
                b'"' => {
                    place += 1 + bytes.get(place + 1..)?.iter().position(|byte| *byte == b'"')? + 1;
                    self.key.push_str(text.get(start..place)?);
                }
                b'-' if bytes.get(place + 1) == Some(&b'-') => return None,
                b'/' if bytes.get(place + 1) == Some(&b'*') => return None,
                b'$' | b'\\' | 0 => return None,
                b';' => {
                    let rest = bytes.get(place + 1..)?;
                    return rest.iter().all(u8::is_ascii_whitespace).then_some(());
                }
                other => {
                    self.key.push(char::from(*other));
                    place += 1;
                }
            }
        }
        Some(())
    }

    fn push(&mut self, literal: Literal) -> Option<()> {
        use std::fmt::Write;
        self.literals.push(literal);
        write!(self.key, "${}", self.literals.len()).ok()?;
        (self.literals.len() <= MAX_LITERALS).then_some(())
    }
}

fn is_dml(text: &str) -> bool {
    let word = text.trim_start().get(..6).unwrap_or("");
    ["select", "insert", "update", "delete"].iter().any(|known| word.eq_ignore_ascii_case(known))
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte >= 128
}

fn end_of(bytes: &[u8], start: usize, is_part: impl Fn(u8) -> bool) -> usize {
    let rest = bytes.get(start..).unwrap_or(&[]);
    start + rest.iter().position(|byte| !is_part(*byte)).unwrap_or(rest.len())
}

fn integer(text: &str) -> Option<Literal> {
    if !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let value: i64 = text.parse().ok()?;
    Some(i32::try_from(value).map_or(Literal::Int8(value), Literal::Int4))
}

/// A string from behind its first quote, and where it ends.
fn string(text: &str, start: usize) -> Option<(String, usize)> {
    let mut value = String::new();
    let mut place = start;
    loop {
        let rest = text.get(place..)?;
        let quote = rest.find('\'')?;
        value.push_str(rest.get(..quote)?);
        place += quote + 1;
        if text.as_bytes().get(place) != Some(&b'\'') {
            return (!value.contains('\0')).then_some((value, place));
        }
        value.push('\'');
        place += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lifted(text: &str) -> Option<(String, Vec<Literal>)> {
        let mut lifted = Lifted::default();
        lifted.lift(text).then(|| (lifted.text().to_owned(), lifted.literals.clone()))
    }

    #[test]
    fn integers_and_strings_are_lifted() {
        let (text, literals) =
            lifted("UPDATE t1 SET a = a + -3, b = 'it''s' WHERE \"x 1\" = 3000000000;").unwrap();
        assert_eq!(text, "UPDATE t1 SET a = a + -$1, b = $2 WHERE \"x 1\" = $3");
        let text = Literal::Text("it's".to_owned());
        assert_eq!(literals, [Literal::Int4(3), text, Literal::Int8(3_000_000_000)]);
    }

    #[test]
    fn other_numbers_stay() {
        for text in ["select 1.5", "select 1e5", "select .5", "select 0x1F", "select 99999999999999999999"] {
            assert_eq!(lifted(text).unwrap(), (text.to_owned(), vec![]), "{text}");
        }
    }

    #[test]
    fn what_needs_care_is_left_alone() {
        for text in [
            "select E'a'",
            "select U&'a'",
            "select $1",
            "select $$a$$",
            "select 1 -- one",
            "select /* a */ 1",
            "select 1; select 2",
            "select 'open",
            "begin",
            "",
        ] {
            assert_eq!(lifted(text), None, "{text}");
        }
    }

    #[test]
    fn kinds_of_literals_are_part_of_the_key() {
        let key = |text: &str| {
            let mut lifted = Lifted::default();
            assert!(lifted.lift(text));
            lifted.key().to_owned()
        };
        assert_eq!(key("select a where b = 1"), key("select a where b = 2"));
        assert_ne!(key("select a where b = 1"), key("select a where b = '1'"));
        assert_ne!(key("select a where b = 1"), key("select a where b = 3000000000"));
    }
}
