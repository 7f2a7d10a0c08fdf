//! Definitions of objects as SQL text.

use strata_core::catalog::{IndexColumn, IndexDef, TableDef};

use super::is_constraint;

/// An identifier, quoted where it must be.
pub(crate) fn quote(name: &str) -> String {
    let plain = name.starts_with(|first: char| first.is_ascii_lowercase() || first == '_')
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' || c == '$');
    if plain && !is_reserved(name) { name.to_owned() } else { format!("\"{}\"", name.replace('"', "\"\"")) }
}

fn is_reserved(name: &str) -> bool {
    const RESERVED: &[&str] = &[
        "all",
        "analyse",
        "analyze",
        "and",
        "any",
        "array",
        "as",
        "asc",
        "asymmetric",
        "authorization",
        "both",
        "case",
        "cast",
        "check",
        "collate",
        "column",
        "constraint",
        "create",
        "cross",
        "current_date",
        "current_role",
        "current_time",
        "current_timestamp",
        "current_user",
        "default",
        "deferrable",
        "desc",
        "distinct",
        "do",
        "else",
        "end",
        "except",
        "false",
        "fetch",
        "for",
        "foreign",
        "freeze",
        "from",
        "full",
        "grant",
        "group",
        "having",
        "ilike",
        "in",
        "initially",
        "inner",
        "intersect",
        "into",
        "is",
        "isnull",
        "join",
        "lateral",
        "leading",
        "left",
        "like",
        "limit",
        "localtime",
        "localtimestamp",
        "natural",
        "not",
        "notnull",
        "null",
        "offset",
        "on",
        "only",
        "or",
        "order",
        "outer",
        "overlaps",
        "placing",
        "primary",
        "references",
        "returning",
        "right",
        "select",
        "session_user",
        "similar",
        "some",
        "symmetric",
        "table",
        "then",
        "to",
        "trailing",
        "true",
        "union",
        "unique",
        "user",
        "using",
        "variadic",
        "verbose",
        "when",
        "where",
        "window",
        "with",
    ];
    RESERVED.binary_search(&name).is_ok()
}

fn column_name(table: &TableDef, column: &IndexColumn) -> String {
    quote(table.schema.column(column.column).map_or("?", |column| column.name.as_str()))
}

/// A column of an index with its order, as Postgres leaves out what is the default.
fn ordered(table: &TableDef, column: &IndexColumn) -> String {
    let order = match (column.order.descending, column.order.nulls_first) {
        (false, false) => "",
        (false, true) => " NULLS FIRST",
        (true, true) => " DESC",
        (true, false) => " DESC NULLS LAST",
    };
    format!("{}{order}", column_name(table, column))
}

/// `CREATE INDEX …`.
pub(crate) fn index_definition(schema: &str, table: &TableDef, index: &IndexDef) -> String {
    let columns: Vec<String> = index.columns.iter().map(|column| ordered(table, column)).collect();
    format!(
        "CREATE {}INDEX {} ON {}.{} USING btree ({})",
        if index.unique { "UNIQUE " } else { "" },
        quote(&index.name),
        quote(schema),
        quote(&table.name),
        columns.join(", ")
    )
}

/// The name of the `position`-th column of an index, from 1.
pub(crate) fn index_column(table: &TableDef, index: &IndexDef, position: i64) -> Option<String> {
    let place = usize::try_from(position).ok()?.checked_sub(1)?;
    index.columns.get(place).map(|column| column_name(table, column))
}

/// `PRIMARY KEY (a, b)`.
pub(crate) fn constraint_definition(table: &TableDef, index: &IndexDef) -> Option<String> {
    if !is_constraint(index) {
        return None;
    }
    let columns: Vec<String> = index.columns.iter().map(|column| column_name(table, column)).collect();
    Some(format!("{} ({})", if index.primary { "PRIMARY KEY" } else { "UNIQUE" }, columns.join(", ")))
}
