//! The first words of statements: what the shell must know of them without parsing SQL.

use crate::shell::Splitter;

/// Which way a COPY moves data through the shell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CopyKind {
    /// COPY … FROM STDIN
    In,
    /// COPY … TO STDOUT
    Out,
}

/// Whether this one statement is a COPY through the shell.
pub fn copy_kind(sql: &str) -> Option<CopyKind> {
    let words = words(sql);
    if words.first().is_none_or(|word| word != "copy") {
        return None;
    }
    // The target stands outside of the parentheses of a query or a column list.
    let mut depth = 0u32;
    for pair in words.windows(2) {
        let [word, next] = pair else { continue };
        match word.as_str() {
            "(" => depth += 1,
            ")" => depth = depth.saturating_sub(1),
            "from" if depth == 0 && next == "stdin" => return Some(CopyKind::In),
            "to" if depth == 0 && next == "stdout" => return Some(CopyKind::Out),
            _ => {}
        }
    }
    None
}

/// The statements of a string, each as it was written.
pub fn statements(sql: &str) -> Vec<String> {
    let mut splitter = Splitter::default();
    let mut statements = splitter.push(sql);
    statements.extend(splitter.finish());
    statements
}

/// A statement's command tag, where the connection told no more of it than how many rows it was.
pub fn tag(sql: &str, rows: u64) -> String {
    let words = words(sql);
    let word = |index: usize| words.get(index).map_or("", String::as_str);
    let kept = match (word(0), word(1), word(2)) {
        ("insert", ..) => return format!("INSERT 0 {rows}"),
        ("with" | "values" | "table" | "(", ..) => return format!("SELECT {rows}"),
        ("update" | "delete" | "select" | "copy" | "merge" | "fetch", ..) => {
            return format!("{} {rows}", word(0).to_uppercase());
        }
        ("create" | "drop" | "alter", "materialized", _) => 3,
        ("create", "or", "replace") => {
            return format!("CREATE {}", word(3).to_uppercase());
        }
        ("create", "unique", _) => return "CREATE INDEX".to_owned(),
        ("create" | "drop" | "alter", ..) | ("truncate", "table", _) | ("start", ..) => 2,
        ("truncate", ..) => return "TRUNCATE TABLE".to_owned(),
        ("end", ..) => return "COMMIT".to_owned(),
        ("abort", ..) => return "ROLLBACK".to_owned(),
        _ => 1,
    };
    words.iter().take(kept).map(|word| word.to_uppercase()).collect::<Vec<_>>().join(" ")
}

/// The words and parentheses of a statement in lower case, without its comments; quoted text is one word each.
fn words(sql: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut rest = sql;
    while let Some(first) = rest.chars().next() {
        let length = if rest.starts_with("--") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            rest.find("*/").map_or(rest.len(), |end| end + 2)
        } else if first == '\'' || first == '"' {
            let length = quoted_length(rest, first);
            words.push(rest.get(..length).unwrap_or_default().to_owned());
            length
        } else if is_word(first) {
            let length = rest.find(|character| !is_word(character)).unwrap_or(rest.len());
            words.push(rest.get(..length).unwrap_or_default().to_lowercase());
            length
        } else {
            if matches!(first, '(' | ')') {
                words.push(first.to_string());
            }
            first.len_utf8()
        };
        rest = rest.get(length..).unwrap_or_default();
    }
    words
}

fn quoted_length(text: &str, quote: char) -> usize {
    text.get(1..).and_then(|inner| inner.find(quote)).map_or(text.len(), |end| end + 2)
}

fn is_word(character: char) -> bool {
    character.is_alphanumeric() || character == '_'
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_through_the_shell_are_told_from_those_of_server_files() {
        assert_eq!(copy_kind("COPY t FROM STDIN WITH (FORMAT csv)"), Some(CopyKind::In));
        assert_eq!(copy_kind("/* a */ copy t (a, b) from stdin;"), Some(CopyKind::In));
        assert_eq!(copy_kind("copy (select a from t) to stdout csv"), Some(CopyKind::Out));
        assert_eq!(copy_kind("copy t from 'stdin.csv'"), None);
        assert_eq!(copy_kind("copy \"from stdin\" to 'x'"), None);
        assert_eq!(copy_kind("select * from stdin"), None);
    }

    #[test]
    fn tags_are_those_that_the_server_sent() {
        for (sql, tag_expected) in [
            ("insert into t values (1)", "INSERT 0 2"),
            ("-- x\nUPDATE t set a = 1", "UPDATE 2"),
            ("select 1", "SELECT 2"),
            ("with a as (select 1) select * from a", "SELECT 2"),
            ("create table t (a int)", "CREATE TABLE"),
            ("create or replace view v as select 1", "CREATE VIEW"),
            ("create unique index on t (a)", "CREATE INDEX"),
            ("drop table if exists t", "DROP TABLE"),
            ("truncate t", "TRUNCATE TABLE"),
            ("begin isolation level repeatable read", "BEGIN"),
            ("start transaction", "START TRANSACTION"),
            ("end", "COMMIT"),
            ("commit", "COMMIT"),
            ("vacuum t", "VACUUM"),
            ("set a = 1", "SET"),
        ] {
            assert_eq!(tag(sql, 2), tag_expected, "{sql}");
        }
    }
}
