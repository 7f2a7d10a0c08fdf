//! Errors as psql shows them, with a caret below the place in the statement.

use std::fmt::Write as _;

use crate::backend::Failure;

/// Width of the line that is shown of the statement, in characters.
const SHOWN_MAX: usize = 120;

/// The failure of this statement, as text that ends with a newline.
pub fn failure(failure: &Failure, sql: &str) -> String {
    let mut text = format!("{}:  {}\n", failure.severity, failure.message);
    if let Some((number, line, column)) = failure.position.and_then(|position| locate(sql, position)) {
        let label = format!("LINE {number}: ");
        let from = column.saturating_sub(SHOWN_MAX * 2 / 3);
        let shown: String = line.chars().skip(from).take(SHOWN_MAX).collect();
        // Tabs are kept on the caret's line, so that it stands below what it means.
        let blank = |character: char| if character == '\t' { '\t' } else { ' ' };
        let indent: String = shown.chars().take(column - from).map(blank).collect();
        let _ = writeln!(text, "{label}{shown}\n{:label_width$}{indent}^", "", label_width = label.len());
    }
    let parts = [("DETAIL", &failure.detail), ("HINT", &failure.hint), ("CONTEXT", &failure.context)];
    for (name, more) in parts {
        if let Some(more) = more {
            let _ = writeln!(text, "{name}:  {more}");
        }
    }
    text
}

/// The line that holds a position (in characters, from 1): its number from 1, its text, and the column from 0.
fn locate(sql: &str, position: u32) -> Option<(usize, &str, usize)> {
    let mut left = usize::try_from(position.checked_sub(1)?).ok()?;
    for (index, line) in sql.split('\n').enumerate() {
        let length = line.chars().count();
        if left <= length {
            return Some((index + 1, line, left));
        }
        left -= length + 1;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(position: u32) -> Failure {
        Failure { position: Some(position), ..Failure::new("column \"b\" does not exist") }
    }

    #[test]
    fn the_caret_stands_below_the_place() {
        assert_eq!(
            failure(&at(8), "select b;"),
            "ERROR:  column \"b\" does not exist\nLINE 1: select b;\n               ^\n"
        );
        assert_eq!(
            failure(&at(14), "select 'é',\n\tb\nfrom t"),
            "ERROR:  column \"b\" does not exist\nLINE 2: \tb\n        \t^\n"
        );
    }

    #[test]
    fn a_place_outside_of_the_statement_is_not_shown() {
        for position in [0, 100] {
            assert_eq!(failure(&at(position), "select b"), "ERROR:  column \"b\" does not exist\n");
        }
    }

    #[test]
    fn a_long_line_is_cut_around_the_place() {
        let sql = format!("select {}, b", "1234567890".repeat(50));
        let shown = failure(&at(510), &sql);
        let lines: Vec<&str> = shown.lines().collect();
        let column = lines[2].find('^').unwrap();
        assert_eq!(lines[1].chars().nth(column), Some('b'), "{shown}");
        assert!(lines[1].len() < 140);
    }

    #[test]
    fn details_and_hints_follow() {
        let shown = Failure {
            detail: Some("why".to_owned()),
            hint: Some("do this".to_owned()),
            context: Some("COPY t, line 3".to_owned()),
            ..Failure::new("no")
        };
        assert_eq!(
            failure(&shown, ""),
            "ERROR:  no\nDETAIL:  why\nHINT:  do this\nCONTEXT:  COPY t, line 3\n"
        );
    }
}
