//! Column definitions and constraints into what the catalog takes.

use datafusion::sql::sqlparser::ast::{
    ColumnDef, ColumnOption, Expr, IndexColumn as AstIndexColumn, TableConstraint,
};
use strata_core::catalog::IndexColumn;
use strata_core::catalog::change::{NewColumn, NewIndex};
use strata_core::row::{KeyOrder, Schema};

use crate::error::{SqlError, SqlResult};
use crate::postgres::type_planner::type_of_name;
use crate::sql::names::fold;

/// What a CREATE TABLE or ALTER TABLE asks for beside columns.
#[derive(Debug, Default)]
pub(super) struct Constraints {
    /// Primary keys and unique constraints: name if given, columns, primary.
    pub(super) keys: Vec<(Option<String>, Vec<KeyColumn>, bool)>,
}

/// A column of a key, by name.
#[derive(Clone, Debug)]
pub(super) struct KeyColumn {
    pub(super) name: String,
    pub(super) order: KeyOrder,
}

/// A column with the constraints written behind it.
pub(super) fn column(definition: &ColumnDef, constraints: &mut Constraints) -> SqlResult<NewColumn> {
    let name = fold(&definition.name);
    let pg_type = type_of_name(&definition.data_type)?;
    let mut column =
        NewColumn { sql_type: pg_type.into(), ..NewColumn::new(name.clone(), pg_type.column_type()?) };
    let mut declared_null = false;
    for option in &definition.options {
        let constraint = option.name.as_ref().map(fold);
        match &option.option {
            ColumnOption::Null => declared_null = true,
            ColumnOption::NotNull => column.nullable = false,
            ColumnOption::Default(expr) => column.default = Some(expr.to_string()),
            ColumnOption::PrimaryKey(_) => {
                column.nullable = false;
                constraints.keys.push((constraint, vec![KeyColumn::ascending(&name)], true));
            }
            ColumnOption::Unique(_) => {
                constraints.keys.push((constraint, vec![KeyColumn::ascending(&name)], false));
            }
            ColumnOption::Collation(collation) => check_collation(&collation.to_string())?,
            ColumnOption::ForeignKey(_) => {
                return Err(SqlError::unsupported("FOREIGN KEY constraints are not supported"));
            }
            ColumnOption::Check(_) => {
                return Err(SqlError::unsupported("CHECK constraints are not supported"));
            }
            ColumnOption::Generated { .. } | ColumnOption::Identity(_) => {
                return Err(SqlError::unsupported("generated and identity columns are not supported"));
            }
            other => return Err(SqlError::unsupported(format!("column option {other} is not supported"))),
        }
    }
    if declared_null && !column.nullable {
        let message = format!("conflicting NULL/NOT NULL declarations for column \"{name}\"");
        return Err(SqlError::syntax(message));
    }
    Ok(column)
}

fn check_collation(name: &str) -> SqlResult<()> {
    let name = name.trim_matches('"').to_ascii_lowercase();
    let known = ["c", "posix", "default", "ucs_basic", "pg_catalog.default", "pg_catalog.c"];
    if known.contains(&name.as_str()) {
        return Ok(());
    }
    Err(SqlError::unsupported(format!("collation \"{name}\" is not supported: text sorts by its bytes")))
}

/// A constraint of the table.
pub(super) fn table_constraint(constraint: &TableConstraint, constraints: &mut Constraints) -> SqlResult<()> {
    let (name, columns, primary) = match constraint {
        TableConstraint::PrimaryKey(key) => (&key.name, &key.columns, true),
        TableConstraint::Unique(key) => (&key.name, &key.columns, false),
        TableConstraint::ForeignKey(_) => {
            return Err(SqlError::unsupported("FOREIGN KEY constraints are not supported"));
        }
        TableConstraint::Check(_) => {
            return Err(SqlError::unsupported("CHECK constraints are not supported"));
        }
        other => return Err(SqlError::unsupported(format!("constraint {other} is not supported"))),
    };
    constraints.keys.push((name.as_ref().map(fold), key_columns(columns)?, primary));
    Ok(())
}

/// The columns of an index, by name.
pub(super) fn key_columns(columns: &[AstIndexColumn]) -> SqlResult<Vec<KeyColumn>> {
    let columns = columns.iter().map(|column| {
        let Expr::Identifier(name) = &column.column.expr else {
            return Err(SqlError::unsupported("indexes on expressions are not supported"));
        };
        let descending = column.column.options.asc == Some(false);
        let nulls_first = column.column.options.nulls_first.unwrap_or(descending);
        Ok(KeyColumn { name: fold(name), order: KeyOrder { descending, nulls_first } })
    });
    columns.collect()
}

impl KeyColumn {
    fn ascending(name: &str) -> Self {
        Self { name: name.to_owned(), order: KeyOrder::default() }
    }
}

/// An index over columns given by name.
pub(super) fn new_index(
    name: String,
    columns: &[KeyColumn],
    schema: &Schema,
    unique: bool,
    primary: bool,
    constraint: bool,
) -> SqlResult<NewIndex> {
    let columns = columns.iter().map(|column| {
        let found = schema.by_name(&column.name).ok_or_else(|| {
            SqlError::new("42703", format!("column \"{}\" named in key does not exist", column.name))
        })?;
        Ok(IndexColumn { column: found.id, order: column.order })
    });
    Ok(NewIndex { name, primary, unique, constraint, columns: columns.collect::<SqlResult<_>>()? })
}

/// The name that Postgres gives an index: `table_pkey`, `table_a_b_key`, `table_a_b_idx`, numbered if it is taken.
pub(super) fn index_name(
    table: &str,
    columns: &[KeyColumn],
    suffix: &str,
    is_taken: impl Fn(&str) -> bool,
) -> String {
    let mut base = table.to_owned();
    if suffix != "pkey" {
        for column in columns {
            base.push('_');
            base.push_str(&column.name);
        }
    }
    // Postgres cuts names at 63 bytes.
    let mut end = base.len().min(63 - suffix.len() - 4);
    while !base.is_char_boundary(end) {
        end -= 1;
    }
    let base = &base[..end];
    let first = format!("{base}_{suffix}");
    if !is_taken(&first) {
        return first;
    }
    (1u32..).map(|number| format!("{base}_{suffix}{number}")).find(|name| !is_taken(name)).unwrap_or(first)
}
