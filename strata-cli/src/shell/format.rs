//! Answers as text, the way psql lays them out: aligned tables, records with `\x`, a row count below.

use std::fmt::Write as _;

use comfy_table::{Cell, CellAlignment, ContentArrangement, Table};

use crate::backend::{Answer, Column};

/// No borders, `|` between columns, `-` and `+` below the header.
const STYLE: &str = "     -+ |          ";

/// How answers are shown.
#[derive(Clone, Debug)]
pub struct Style {
    /// One column a line.
    pub expanded: bool,
    /// What NULL is shown as.
    pub null: String,
}

impl Default for Style {
    fn default() -> Self {
        Self { expanded: false, null: "NULL".to_owned() }
    }
}

/// An answer's text, which ends with a newline unless it is empty.
pub fn answer(answer: &Answer, style: &Style) -> String {
    match answer {
        Answer::Empty => String::new(),
        Answer::Done(tag) => format!("{tag}\n"),
        Answer::Rows { columns, rows, tag } => {
            let mut text =
                if style.expanded { records(columns, rows, style) } else { table(columns, rows, style) };
            // What changed rows says so as well as returning some.
            if ["INSERT", "UPDATE", "DELETE"].iter().any(|word| tag.starts_with(word)) {
                let _ = writeln!(text, "{tag}");
            }
            text
        }
    }
}

/// `(3 rows)`
fn footer(rows: usize) -> String {
    format!("({rows} row{})\n", if rows == 1 { "" } else { "s" })
}

fn table(columns: &[Column], rows: &[Vec<Option<String>>], style: &Style) -> String {
    let mut text = String::new();
    if columns.is_empty() {
        text.push_str("--\n");
    } else {
        let mut table = Table::new();
        table.load_preset(STYLE).set_content_arrangement(ContentArrangement::Disabled).force_no_tty();
        let header = columns
            .iter()
            .map(|column| Cell::new(printable(&column.name)).set_alignment(CellAlignment::Center));
        table.set_header(header);
        for row in rows {
            let cells = columns.iter().zip(row).map(|(column, value)| {
                let right = column.is_numeric;
                Cell::new(printable(value.as_deref().unwrap_or(&style.null))).set_alignment(if right {
                    CellAlignment::Right
                } else {
                    CellAlignment::Left
                })
            });
            table.add_row(cells);
        }
        for line in table.lines() {
            let _ = writeln!(text, "{}", line.trim_end());
        }
    }
    text.push_str(&footer(rows.len()));
    text
}

fn records(columns: &[Column], rows: &[Vec<Option<String>>], style: &Style) -> String {
    if rows.is_empty() {
        return footer(0);
    }
    let names: Vec<String> = columns.iter().map(|column| printable(&column.name)).collect();
    let name_width = names.iter().map(|name| name.chars().count()).max().unwrap_or(0);
    let mut text = String::new();
    for (index, row) in rows.iter().enumerate() {
        let values: Vec<String> =
            row.iter().map(|value| printable(value.as_deref().unwrap_or(&style.null))).collect();
        let longest = |value: &String| value.lines().map(|line| line.chars().count()).max().unwrap_or(0);
        let value_width = values.iter().map(longest).max().unwrap_or(0);
        let title = format!("-[ RECORD {} ]", index + 1);
        let _ = writeln!(text, "{}", rule(&title, name_width, value_width));
        for (name, value) in names.iter().zip(&values) {
            let mut shown = name.as_str();
            for line in value.split('\n') {
                let _ = writeln!(text, "{}", format!("{shown:<name_width$} | {line}").trim_end());
                shown = "";
            }
        }
    }
    text
}

/// The line above a record: `-[ RECORD 1 ]---`, with a `+` above the bars where the title leaves room.
fn rule(title: &str, name_width: usize, value_width: usize) -> String {
    (0..(name_width + 3 + value_width).max(title.len()))
        .map(|place| match title.chars().nth(place) {
            Some(character) => character,
            None if place == name_width + 1 => '+',
            None => '-',
        })
        .collect()
}

/// A value without what would move the cursor or colour the terminal; tabs and newlines stay visible as such.
fn printable(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\n' => shown.push('\n'),
            '\t' => shown.push_str("    "),
            control if control.is_control() => {
                let _ = write!(shown, "\\x{:02X}", u32::from(control));
            }
            other => shown.push(other),
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Answer {
        let column = |name: &str, is_numeric| Column { name: name.to_owned(), is_numeric };
        let value = |text: &str| Some(text.to_owned());
        Answer::Rows {
            columns: vec![column("id", true), column("full name", false), column("balance", true)],
            rows: vec![
                vec![value("1"), value("Ann"), value("10.50")],
                vec![value("200"), None, value("-3.00")],
                vec![value("3"), value("two\nlines"), None],
                vec![value("4"), value("Zoë 東"), value("0")],
            ],
            tag: "SELECT 4".to_owned(),
        }
    }

    fn check(shown: &str, expected: &[&str]) {
        let expected: String = expected.iter().map(|line| format!("{line}\n")).collect();
        assert_eq!(shown, expected, "\n{shown}");
    }

    #[test]
    fn a_table_has_centred_headers_and_numbers_on_the_right() {
        check(
            &answer(&sample(), &Style::default()),
            &[
                "  id | full name | balance",
                "-----+-----------+---------",
                "   1 | Ann       |   10.50",
                " 200 | NULL      |   -3.00",
                "   3 | two       |    NULL",
                "     | lines     |",
                "   4 | Zoë 東    |       0",
                "(4 rows)",
            ],
        );
    }

    #[test]
    fn records_have_a_column_a_line() {
        let Answer::Rows { columns, rows, tag } = sample() else { panic!("rows") };
        let answer_of_two = Answer::Rows { columns, rows: rows[1..3].to_vec(), tag };
        check(
            &answer(&answer_of_two, &Style { expanded: true, null: String::new() }),
            &[
                "-[ RECORD 1 ]----",
                "id        | 200",
                "full name |",
                "balance   | -3.00",
                "-[ RECORD 2 ]----",
                "id        | 3",
                "full name | two",
                "          | lines",
                "balance   |",
            ],
        );
    }

    #[test]
    fn a_rule_has_its_plus_above_the_bar_where_there_is_room() {
        assert_eq!(rule("-[ RECORD 1 ]", 14, 3), "-[ RECORD 1 ]--+----");
    }

    #[test]
    fn one_row_and_none_are_counted() {
        let columns = || vec![Column { name: "n".to_owned(), is_numeric: true }];
        let one = vec![vec![Some("7".to_owned())]];
        let one = Answer::Rows { columns: columns(), rows: one, tag: "SELECT 1".to_owned() };
        check(&answer(&one, &Style::default()), &[" n", "---", " 7", "(1 row)"]);
        let none = Answer::Rows { columns: columns(), rows: Vec::new(), tag: "SELECT 0".to_owned() };
        check(&answer(&none, &Style::default()), &[" n", "---", "(0 rows)"]);
        check(&answer(&none, &Style { expanded: true, ..Style::default() }), &["(0 rows)"]);
    }

    #[test]
    fn returned_rows_are_followed_by_the_tag() {
        let columns = vec![Column { name: "n".to_owned(), is_numeric: true }];
        let rows = vec![vec![Some("7".to_owned())]];
        let inserted = Answer::Rows { columns, rows, tag: "INSERT 0 1".to_owned() };
        assert!(answer(&inserted, &Style::default()).ends_with("(1 row)\nINSERT 0 1\n"));
        assert_eq!(answer(&Answer::Done("CREATE TABLE".to_owned()), &Style::default()), "CREATE TABLE\n");
    }

    #[test]
    fn control_characters_reach_no_terminal() {
        assert_eq!(printable("a\u{1b}[31mb\tc\r"), "a\\x1B[31mb    c\\x0D");
    }
}
