//! The queries behind `\d` and its kin, over pg_catalog: the same for a server and for an embedded database.

use std::fmt::Write as _;

use super::command::{Kind, Pattern};
use super::format::{self, Style};
use crate::backend::Answer;

/// Leaves the system's own schemas out.
const OWN_SCHEMAS: &str = "n.nspname <> 'pg_catalog' AND n.nspname <> 'information_schema'";

impl Kind {
    /// The heading of its list.
    pub fn title(self) -> &'static str {
        match self {
            Kind::Tables => "List of tables",
            Kind::Indexes => "List of indexes",
            Kind::Views => "List of views",
            Kind::Schemas => "List of schemas",
            Kind::Databases => "List of databases",
        }
    }
}

/// The query of `\dt`, `\di`, `\dv`, `\dn` or `\l`.
pub fn list(kind: Kind, pattern: Option<&Pattern>) -> String {
    match kind {
        Kind::Tables => of_kinds("'r'", pattern),
        Kind::Views => of_kinds("'v'", pattern),
        Kind::Indexes => format!(
            "SELECT n.nspname AS \"Schema\", c.relname AS \"Name\", t.relname AS \"Table\" \
             FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
             JOIN pg_catalog.pg_index i ON i.indexrelid = c.oid \
             JOIN pg_catalog.pg_class t ON t.oid = i.indrelid \
             WHERE c.relkind = 'i' AND {OWN_SCHEMAS}{} ORDER BY 1, 2",
            matching(pattern)
        ),
        Kind::Schemas => {
            let name = pattern.map(|pattern| format!(" AND {}", matches("n.nspname", &pattern.name)));
            format!(
                "SELECT n.nspname AS \"Name\" FROM pg_catalog.pg_namespace n WHERE {OWN_SCHEMAS}{} ORDER BY 1",
                name.unwrap_or_default()
            )
        }
        Kind::Databases => {
            let name = pattern.map(|pattern| format!(" WHERE {}", matches("d.datname", &pattern.name)));
            format!(
                "SELECT d.datname AS \"Name\" FROM pg_catalog.pg_database d{} ORDER BY 1",
                name.unwrap_or_default()
            )
        }
    }
}

/// The query of `\d` without a name.
pub fn relations() -> String {
    of_kinds("'r', 'v'", None)
}

fn of_kinds(kinds: &str, pattern: Option<&Pattern>) -> String {
    format!(
        "SELECT n.nspname AS \"Schema\", c.relname AS \"Name\", \
         CASE c.relkind WHEN 'r' THEN 'table' ELSE 'view' END AS \"Type\" \
         FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
         WHERE c.relkind IN ({kinds}) AND {OWN_SCHEMAS}{} ORDER BY 1, 2",
        matching(pattern)
    )
}

/// Which relations `\d NAME` means: oid, schema, name, kind.
pub fn find(pattern: &Pattern) -> String {
    format!(
        "SELECT c.oid, n.nspname, c.relname, c.relkind \
         FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
         WHERE c.relkind IN ('r', 'v', 'i'){} ORDER BY 2, 3",
        matching(Some(pattern))
    )
}

/// The columns of a table or view.
pub fn columns(oid: u32) -> String {
    format!(
        "SELECT a.attname AS \"Column\", pg_catalog.format_type(a.atttypid, a.atttypmod) AS \"Type\", \
         CASE WHEN a.attnotnull THEN 'not null' ELSE '' END AS \"Nullable\", \
         COALESCE(pg_catalog.pg_get_expr(d.adbin, d.adrelid), '') AS \"Default\" \
         FROM pg_catalog.pg_attribute a \
         LEFT JOIN pg_catalog.pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum \
         WHERE a.attrelid = {oid} AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum"
    )
}

/// The indexes of a table: name, primary, unique, definition.
pub fn indexes(oid: u32) -> String {
    format!(
        "SELECT c.relname, i.indisprimary, i.indisunique, pg_catalog.pg_get_indexdef(i.indexrelid) \
         FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid \
         WHERE i.indrelid = {oid} ORDER BY i.indisprimary DESC, c.relname"
    )
}

/// An index: its table and definition.
pub fn index(oid: u32) -> String {
    format!(
        "SELECT t.relname AS \"Table\", pg_catalog.pg_get_indexdef(i.indexrelid) AS \"Definition\" \
         FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class t ON t.oid = i.indrelid \
         WHERE i.indexrelid = {oid}"
    )
}

/// What a relation of this relkind is called.
pub fn kind_name(kind: &str) -> &'static str {
    match kind {
        "v" => "View",
        "i" => "Index",
        _ => "Table",
    }
}

/// The rows of [`indexes`] as the lines below a table.
pub fn index_lines(rows: &[Vec<Option<String>>]) -> String {
    let mut text = String::new();
    for row in rows {
        let [Some(name), primary, unique, definition] = row.as_slice() else { continue };
        if text.is_empty() {
            text.push_str("Indexes:\n");
        }
        let is_true = |value: &Option<String>| matches!(value.as_deref(), Some("t" | "true"));
        let kind = match (is_true(primary), is_true(unique)) {
            (true, _) => "PRIMARY KEY, ",
            (false, true) => "UNIQUE, ",
            (false, false) => "",
        };
        // CREATE INDEX name ON table USING btree (columns): what stands after USING says it.
        let definition = definition.as_deref().unwrap_or_default();
        let method = definition.split_once(" USING ").map_or(definition, |(_, method)| method);
        let _ = writeln!(text, "    \"{name}\" {kind}{method}");
    }
    text
}

/// An answer with a heading above it and without its row count.
pub fn titled(title: &str, answer: &Answer, style: &Style) -> String {
    match answer {
        Answer::Rows { rows, .. } if rows.is_empty() && title.starts_with("List") => {
            "Nothing found.\n".to_owned()
        }
        _ => {
            let text = format::answer(answer, style);
            let body = text.rfind("\n(").map_or(text.as_str(), |end| text.get(..=end).unwrap_or_default());
            let width = body.lines().map(|line| line.chars().count()).max().unwrap_or(0);
            let indent = width.saturating_sub(title.chars().count()) / 2;
            format!("{:indent$}{title}\n{body}", "")
        }
    }
}

fn matching(pattern: Option<&Pattern>) -> String {
    let Some(pattern) = pattern else { return String::new() };
    let mut text = format!(" AND {}", matches("c.relname", &pattern.name));
    if let Some(schema) = &pattern.schema {
        let _ = write!(text, " AND {}", matches("n.nspname", schema));
    }
    text
}

/// That a column is this name, or like it where it has `*` or `?`.
fn matches(column: &str, pattern: &str) -> String {
    let quoted = pattern.replace('\'', "''");
    if !pattern.contains(['*', '?']) {
        return format!("{column} = '{quoted}'");
    }
    let mut like = String::new();
    for character in quoted.chars() {
        match character {
            '*' => like.push('%'),
            '?' => like.push('_'),
            '%' | '_' | '\\' => like.extend(['\\', character]),
            other => like.push(other),
        }
    }
    format!("{column} LIKE '{like}'")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_become_conditions_that_quote_what_was_typed() {
        assert_eq!(matches("c", "line_item"), "c = 'line_item'");
        assert_eq!(matches("c", "l?ne_*"), "c LIKE 'l_ne\\_%'");
        assert_eq!(matches("c", "it's"), "c = 'it''s'");
    }

    #[test]
    fn indexes_are_told_by_kind_and_method() {
        let text = |value: &str| Some(value.to_owned());
        let rows = [
            vec![
                text("t_pkey"),
                text("t"),
                text("t"),
                text("CREATE UNIQUE INDEX t_pkey ON t USING btree (a)"),
            ],
            vec![text("t_b"), text("f"), text("f"), text("CREATE INDEX t_b ON t USING btree (b, c)")],
        ];
        assert_eq!(
            index_lines(&rows),
            "Indexes:\n    \"t_pkey\" PRIMARY KEY, btree (a)\n    \"t_b\" btree (b, c)\n"
        );
        assert_eq!(index_lines(&[]), "");
    }
}
