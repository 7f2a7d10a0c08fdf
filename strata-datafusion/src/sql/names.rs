//! Names of relations: `[[database.]schema.]relation`, with the database `strata` and the session's search path.

use datafusion::common::TableReference;
use datafusion::sql::sqlparser::ast::{Ident, ObjectName};

use crate::error::{SqlError, SqlResult};

/// The one database.
pub const DATABASE: &str = "strata";

/// A relation's name with its schema.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RelationName {
    /// The schema.
    pub schema: String,
    /// The relation.
    pub relation: String,
}

/// The folded text of an identifier: lower case unless it was quoted.
pub fn fold(identifier: &Ident) -> String {
    if identifier.quote_style.is_some() {
        identifier.value.clone()
    } else {
        identifier.value.to_ascii_lowercase()
    }
}

/// The folded parts of a name.
pub fn parts(name: &ObjectName) -> SqlResult<Vec<String>> {
    name.0
        .iter()
        .map(|part| {
            part.as_ident()
                .map(fold)
                .ok_or_else(|| SqlError::syntax(format!("\"{name}\" is not the name of a relation")))
        })
        .collect()
}

/// The schema (if it is given) and relation that a name of one to three parts means.
pub fn split(name: &ObjectName) -> SqlResult<(Option<String>, String)> {
    let mut parts = parts(name)?;
    let relation = parts.pop().ok_or_else(|| SqlError::syntax("a name is missing"))?;
    let schema = parts.pop();
    if let Some(database) = parts.pop() {
        check_database(&database)?;
    }
    if !parts.is_empty() {
        return Err(SqlError::syntax(format!("improper qualified name (too many dotted names): {name}")));
    }
    Ok((schema, relation))
}

/// As [`split`], of a planner's reference (folded already).
pub fn split_reference(name: &TableReference) -> SqlResult<(Option<&str>, &str)> {
    if let Some(database) = name.catalog() {
        check_database(database)?;
    }
    Ok((name.schema(), name.table()))
}

fn check_database(database: &str) -> SqlResult<()> {
    if database == DATABASE {
        return Ok(());
    }
    Err(SqlError::unsupported(format!("cross-database references are not implemented: \"{database}\"")))
}

/// Splits a `search_path` setting into schemas; `"$user"` stands for the user.
pub fn search_path(setting: &str, user: &str) -> Vec<String> {
    setting
        .split(',')
        .map(str::trim)
        .filter(|part| !part.is_empty())
        .map(|part| match part.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
            Some(quoted) => quoted.replace("\"\"", "\""),
            None => part.to_ascii_lowercase(),
        })
        .map(|schema| if schema == "$user" { user.to_owned() } else { schema })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_fold_and_split() {
        let name =
            ObjectName::from(vec![Ident::new("Strata"), Ident::with_quote('"', "Demo"), Ident::new("T")]);
        assert_eq!(split(&name).unwrap(), (Some("Demo".to_owned()), "t".to_owned()));
        let other = ObjectName::from(vec![Ident::new("a"), Ident::new("b"), Ident::new("c")]);
        assert_eq!(split(&other).unwrap_err().sqlstate, "0A000");
    }

    #[test]
    fn the_search_path_names_the_user() {
        assert_eq!(search_path("\"$user\", public", "ann"), ["ann", "public"]);
        assert_eq!(search_path("A,\"B c\"", "ann"), ["a", "B c"]);
    }
}
