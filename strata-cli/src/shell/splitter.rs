//! Cuts a stream of lines into SQL statements at `;`.
//!
//! It knows just enough of PostgreSQL's lexical structure to tell which `;` end a statement: quotes, quoted identifiers, `E''`
//! strings, dollar quotes, line comments, nested block comments and parentheses. Each character is looked at once, however long
//! the statement is.

/// What the text that was pushed last is inside of.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Inside {
    Statement,
    Quote { escapes: bool },
    Identifier,
    Dollar { tag: String },
    LineComment,
    BlockComment { depth: u32 },
}

/// Lines go in, statements come out.
#[derive(Debug)]
pub struct Splitter {
    text: String,
    scanned: usize,
    inside: Inside,
    parentheses: u32,
    /// Whether the pending text holds more than blanks and comments.
    has_content: bool,
}

impl Default for Splitter {
    fn default() -> Self {
        Self {
            text: String::new(),
            scanned: 0,
            inside: Inside::Statement,
            parentheses: 0,
            has_content: false,
        }
    }
}

impl Splitter {
    /// Takes text that ends where a line does; gives the statements that it ends, each with its `;`.
    pub fn push(&mut self, lines: &str) -> Vec<String> {
        self.text.push_str(lines);
        let mut statements = Vec::new();
        while let Some(length) = self.step() {
            self.scanned += length;
            if self.inside == Inside::Statement && self.parentheses == 0 && self.ends_here() {
                let rest = self.text.split_off(self.scanned);
                let statement = std::mem::replace(&mut self.text, rest);
                statements.push(statement.trim().to_owned());
                self.scanned = 0;
                self.has_content = false;
            }
        }
        if !self.has_content && self.inside == Inside::Statement {
            self.text.clear();
            self.scanned = 0;
        }
        statements
    }

    /// Whether a statement has begun that has not ended.
    pub fn is_pending(&self) -> bool {
        self.has_content || self.inside != Inside::Statement
    }

    /// Whether the next line is SQL's own, whatever it begins with.
    pub fn is_quoted(&self) -> bool {
        !matches!(self.inside, Inside::Statement | Inside::LineComment)
    }

    /// At the end of the input: what was not ended by `;`.
    pub fn finish(&mut self) -> Option<String> {
        let pending = std::mem::take(self);
        let text = pending.text.trim();
        (pending.is_pending() && !text.is_empty()).then(|| text.to_owned())
    }

    /// What a prompt shows: `=` before a statement, otherwise what is open.
    pub fn mark(&self) -> char {
        match self.inside {
            Inside::Quote { .. } => '\'',
            Inside::Identifier => '"',
            Inside::Dollar { .. } => '$',
            Inside::BlockComment { .. } => '*',
            _ if self.parentheses > 0 => '(',
            _ if self.is_pending() => '-',
            _ => '=',
        }
    }

    fn ends_here(&self) -> bool {
        self.has_content && self.text.get(..self.scanned).is_some_and(|text| text.ends_with(';'))
    }

    /// Looks at what comes next and changes the state; gives its length in bytes, or nothing at the end of the text.
    fn step(&mut self) -> Option<usize> {
        let rest = self.text.get(self.scanned..)?;
        let first = rest.chars().next()?;
        let width = first.len_utf8();
        match &mut self.inside {
            Inside::LineComment => {
                if first == '\n' {
                    self.inside = Inside::Statement;
                    // The blank before it keeps a `;` that ended the comment from ending the statement.
                }
            }
            Inside::BlockComment { depth } => {
                if rest.starts_with("/*") {
                    *depth += 1;
                    return Some(2);
                }
                if rest.starts_with("*/") {
                    *depth -= 1;
                    if *depth == 0 {
                        self.inside = Inside::Statement;
                    }
                    return Some(2);
                }
            }
            Inside::Quote { escapes } => {
                if *escapes && first == '\\' {
                    return Some(width + rest.chars().nth(1).map_or(0, char::len_utf8));
                }
                if first == '\'' {
                    if rest.starts_with("''") {
                        return Some(2);
                    }
                    self.inside = Inside::Statement;
                }
            }
            Inside::Identifier => {
                if first == '"' {
                    self.inside = Inside::Statement;
                }
            }
            Inside::Dollar { tag } => {
                if rest.starts_with(tag.as_str()) {
                    let length = tag.len();
                    self.inside = Inside::Statement;
                    return Some(length);
                }
            }
            Inside::Statement => return Some(self.step_in_statement(first)),
        }
        Some(width)
    }

    fn step_in_statement(&mut self, first: char) -> usize {
        let rest = self.text.get(self.scanned..).unwrap_or_default();
        if rest.starts_with("--") {
            self.inside = Inside::LineComment;
            return 2;
        }
        if rest.starts_with("/*") {
            self.inside = Inside::BlockComment { depth: 1 };
            return 2;
        }
        if !first.is_whitespace() {
            self.has_content = true;
        }
        let before = self.text.get(..self.scanned).unwrap_or_default();
        match first {
            '\'' => {
                let mut letters = before.chars().rev();
                let prefixed = matches!(letters.next(), Some('e' | 'E'));
                self.inside = Inside::Quote { escapes: prefixed && !letters.next().is_some_and(is_word) };
            }
            '"' => self.inside = Inside::Identifier,
            '$' if !before.chars().next_back().is_some_and(is_word) => {
                if let Some(tag) = dollar_tag(rest) {
                    let tag = tag.to_owned();
                    let length = tag.len();
                    self.inside = Inside::Dollar { tag };
                    return length;
                }
            }
            '(' => self.parentheses += 1,
            ')' => self.parentheses = self.parentheses.saturating_sub(1),
            _ => {}
        }
        first.len_utf8()
    }
}

fn is_word(character: char) -> bool {
    character.is_alphanumeric() || character == '_' || character == '$'
}

/// The opening `$tag$` that the text begins with.
fn dollar_tag(text: &str) -> Option<&str> {
    let end = text.get(1..)?.find('$')? + 1;
    let name = text.get(1..end)?;
    let starts_well = !name.chars().next().is_some_and(|first| first.is_ascii_digit());
    let is_tag = starts_well && name.chars().all(|c| c.is_alphanumeric() || c == '_');
    is_tag.then(|| text.get(..=end)).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(text: &str) -> (Vec<String>, Option<String>) {
        let mut splitter = Splitter::default();
        let statements = text.split_inclusive('\n').flat_map(|line| splitter.push(line)).collect();
        (statements, splitter.finish())
    }

    #[test]
    fn statements_end_at_semicolons_and_the_rest_is_kept() {
        let (statements, rest) = split("select 1; select\n 2\n;\nselect 3");
        assert_eq!(statements, ["select 1;", "select\n 2\n;"]);
        assert_eq!(rest.as_deref(), Some("select 3"));
    }

    #[test]
    fn quoted_and_commented_semicolons_end_nothing() {
        for text in [
            "select ';';",
            "select 'it''s;';",
            "select E'it\\'s;';",
            "select 'a\\';",
            "select \"a;b\";",
            "select $$a;b$$;",
            "select $x$a;$y$ $$;$x$;",
            "select 1 -- one;\n+ 2;",
            "select 1 /* ; /* ; */ ; */ + 2;",
            "create rule r as (a; b);",
            "select a$b$, ';', c$b$;",
        ] {
            let (statements, rest) = split(text);
            assert_eq!(statements, [text], "{text}");
            assert_eq!(rest, None, "{text}");
        }
    }

    #[test]
    fn a_quote_may_span_lines() {
        let (statements, rest) = split("insert into t values ('a\n;b\n');\n");
        assert_eq!(statements, ["insert into t values ('a\n;b\n');"]);
        assert_eq!(rest, None);
    }

    #[test]
    fn comments_and_blanks_alone_are_no_statement() {
        let (statements, rest) = split("\n  -- only this;\n/* and ; that */\n \n");
        assert!(statements.is_empty(), "{statements:?}");
        assert_eq!(rest, None);
    }

    #[test]
    fn a_semicolon_at_the_end_of_a_comment_does_not_end_the_statement() {
        let (statements, rest) = split("select 1 --;\n, 2");
        assert!(statements.is_empty(), "{statements:?}");
        assert_eq!(rest.as_deref(), Some("select 1 --;\n, 2"));
        let (statements, _) = split("select /*;*/ 1;");
        assert_eq!(statements, ["select /*;*/ 1;"]);
    }

    #[test]
    fn text_beyond_ascii_is_cut_at_characters() {
        let (statements, rest) = split("select 'é;ü'; select E'\\é';ö");
        assert_eq!(statements, ["select 'é;ü';", "select E'\\é';"]);
        assert_eq!(rest.as_deref(), Some("ö"));
    }

    #[test]
    fn the_mark_tells_what_is_open() {
        for (text, mark) in [
            ("", '='),
            ("select\n", '-'),
            ("select '\n", '\''),
            ("select \"\n", '"'),
            ("select $$\n", '$'),
            ("select (\n", '('),
            ("select /*\n", '*'),
            ("select 1;\n", '='),
        ] {
            let mut splitter = Splitter::default();
            splitter.push(text);
            assert_eq!(splitter.mark(), mark, "{text:?}");
        }
    }
}
