//! The texts: TPC-H 3.0 with its validation parameters, in SQL that every engine here takes unchanged.

/// A query.
pub struct Query {
    /// `q01` to `q22`.
    pub name: &'static str,
    /// What is asked.
    pub text: &'static str,
}

macro_rules! queries {
    ($($name:literal),*) => {
        [$(Query { name: $name, text: include_str!(concat!("../../queries/", $name, ".sql")) }),*]
    };
}

impl Query {
    /// All 22.
    pub fn all() -> [Self; 22] {
        queries![
            "q01", "q02", "q03", "q04", "q05", "q06", "q07", "q08", "q09", "q10", "q11", "q12", "q13", "q14",
            "q15", "q16", "q17", "q18", "q19", "q20", "q21", "q22"
        ]
    }
}

/// The statements that make the tables.
pub fn schema() -> impl Iterator<Item = &'static str> {
    include_str!("../../queries/schema.sql")
        .split(';')
        .map(str::trim)
        .filter(|statement| !statement.is_empty())
}

/// A table's columns as its statement declares them, without its key.
pub fn columns(table: &str) -> Option<&'static str> {
    let head = format!("CREATE TABLE {table} (");
    let statement = schema().find(|statement| statement.starts_with(&head))?;
    let columns = statement.strip_prefix(&head)?;
    columns.split(", PRIMARY KEY").next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_table_has_columns_and_a_key() {
        assert_eq!(schema().count(), 8);
        assert!(schema().all(|statement| statement.contains(", PRIMARY KEY (")));
        assert_eq!(
            columns("region"),
            Some("r_regionkey integer NOT NULL, r_name varchar(25) NOT NULL, r_comment varchar(152)")
        );
        assert!(columns("no_such_table").is_none());
    }
}
