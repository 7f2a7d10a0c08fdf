//! The names of result columns.
//!
//! Postgres names a column that has no alias after the function, column or type in it, or `?column?`, and two
//! columns may have one name. DataFusion demands that they differ, so equal ones are told apart by a suffix that
//! starts with [`MARK`] and never reaches a client.

/// Starts the suffix that tells equal names apart: a character that SQL text cannot hold.
const MARK: char = '\0';

/// The name as the client sees it.
pub(crate) fn shown_name(name: &str) -> &str {
    name.split(MARK).next().unwrap_or(name)
}

/// A name that no other column has: `position` is the column's place.
pub(crate) fn unique_name(name: &str, position: usize) -> String {
    format!("{name}{MARK}{position}")
}

/// A text that names columns (a plan), with their names as the client sees them.
pub(crate) fn without_marks(text: &str) -> String {
    let mut pieces = text.split(MARK);
    let mut shown = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        shown.push_str(piece.trim_start_matches(|c: char| c.is_ascii_digit()));
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_suffix_is_not_shown() {
        assert_eq!(shown_name(&unique_name("?column?", 2)), "?column?");
        assert_eq!(shown_name("plain"), "plain");
        assert_eq!(without_marks(&format!("sum as {}, b", unique_name("sum", 12))), "sum as sum, b");
    }
}
