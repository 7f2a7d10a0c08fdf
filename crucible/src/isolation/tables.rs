//! The tables that clients work on, and their rows.
//!
//! | table | columns | what it is |
//! |---|---|---|
//! | `lists` | id (primary key), items | a list is a row: appending reads it under its lock and writes it anew |
//! | `children` | list (index), value | a list is what a scan finds: appending inserts a row, and locks nothing |
//! | `rows` | id (primary key), class (index), value, filler | registers, which are also inserted, moved between classes and deleted |

use std::sync::Arc;

use arrow_array::RecordBatch;
use strata_core::catalog::change::{NewColumn, NewIndex};
use strata_core::catalog::{IndexColumn, TableDef};
use strata_core::ids::ColumnId;
use strata_core::row::{ColumnBuilder, ColumnType, Datum, KeyOrder};
use strata_core::table::{Isolation, encode_index_key};
use strata_core::txn::block_on;
use strata_core::{Database, Error, Result};

use super::history::{Group, Key, Value};

/// The tables of one database.
#[derive(Clone, Debug)]
pub struct Tables {
    /// Lists as rows.
    pub lists: Arc<TableDef>,
    /// Lists as sets of rows.
    pub children: Arc<TableDef>,
    /// Registers and predicates.
    pub rows: Arc<TableDef>,
}

/// A row of `rows`, or of `children`, where the key is the value and the group the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// Which row it is.
    pub key: Key,
    /// Its group.
    pub group: Group,
    /// Its version.
    pub value: Value,
}

impl Tables {
    /// Makes them.
    pub fn create(database: &Database) -> Result<Self> {
        let lists = [("id", ColumnType::Int64), ("items", ColumnType::Text)];
        let children = [("list", ColumnType::Int64), ("value", ColumnType::Int64)];
        let rows = [
            ("id", ColumnType::Int64),
            ("class", ColumnType::Int64),
            ("value", ColumnType::Int64),
            ("filler", ColumnType::Text),
        ];
        Ok(Self {
            lists: create(database, "lists", &lists, &[(0, true)])?,
            children: create(database, "children", &children, &[(0, false)])?,
            rows: create(database, "rows", &rows, &[(0, true), (1, false)])?,
        })
    }

    /// A row of `lists`.
    pub fn list(key: Key, values: &[Value]) -> Vec<Datum> {
        let items: Vec<String> = values.iter().map(|value| value.0.to_string()).collect();
        vec![integer(key.0), Datum::Text(items.join(" "))]
    }

    /// The values of a row of `lists`.
    pub fn items(row: &[Datum]) -> Result<Vec<Value>> {
        let Some(Datum::Text(items)) = row.get(1) else { return Err(misread(row)) };
        items.split_whitespace().map(|item| item.parse().map(Value).map_err(|_| misread(row))).collect()
    }

    /// A row of `children`.
    pub fn child(row: Row) -> Vec<Datum> {
        vec![integer(row.group.0), integer(row.value.0)]
    }

    /// What a row of `children` says.
    pub fn read_child(row: &[Datum]) -> Result<Row> {
        let value = number(row, 1)?;
        Ok(Row { key: Key(value), group: Group(number(row, 0)?), value: Value(value) })
    }

    /// A row of `rows`.
    pub fn row(row: Row) -> Vec<Datum> {
        let filler = format!("version {} of row {}, which is in class {}", row.value, row.key, row.group.0);
        vec![integer(row.key.0), integer(row.group.0), integer(row.value.0), Datum::Text(filler)]
    }

    /// Rows of `rows`, for a bulk load.
    pub fn batch(&self, rows: &[Row]) -> Result<RecordBatch> {
        let columns = self.rows.schema.live().enumerate().map(|(place, column)| {
            let mut builder = ColumnBuilder::new(&column.column_type, rows.len());
            for row in rows {
                builder.push_datum(&Self::row(*row)[place])?;
            }
            Ok((column.name.as_str(), builder.finish()))
        });
        let columns = columns.collect::<Result<Vec<_>>>()?;
        RecordBatch::try_from_iter(columns).map_err(|error| Error::Invalid(error.to_string()))
    }

    /// What a row of `rows` says.
    pub fn read_row(row: &[Datum]) -> Result<Row> {
        Ok(Row { key: Key(number(row, 0)?), group: Group(number(row, 1)?), value: Value(number(row, 2)?) })
    }
}

/// The bytes of a number in an index of one column.
pub fn index_key(table: &TableDef, index: usize, number: u64) -> Result<Vec<u8>> {
    let index = table.indexes.get(index).ok_or_else(|| Error::Invalid("no such index".into()))?;
    let values = vec![integer(number); table.schema.columns.len()];
    let mut key = Vec::new();
    encode_index_key(table, index, &values, &mut key)?;
    Ok(key)
}

fn integer(number: u64) -> Datum {
    Datum::Int64(i64::try_from(number).expect("counters are small"))
}

fn number(row: &[Datum], place: usize) -> Result<u64> {
    match row.get(place) {
        Some(Datum::Int64(number)) => u64::try_from(*number).map_err(|_| misread(row)),
        _ => Err(misread(row)),
    }
}

fn misread(row: &[Datum]) -> Error {
    Error::Invalid(format!("a row that nobody wrote: {row:?}"))
}

/// Makes a table with indexes of one column each: its place, and whether it is the primary key.
fn create(
    database: &Database,
    name: &str,
    columns: &[(&str, ColumnType)],
    indexes: &[(u32, bool)],
) -> Result<Arc<TableDef>> {
    let columns = columns
        .iter()
        .map(|(name, column_type)| NewColumn::new(*name, column_type.clone()).not_null())
        .collect();
    let mut transaction = database.begin(Isolation::ReadCommitted)?;
    let table =
        block_on(transaction.change_catalog(|catalog| catalog.create_table("public", name, columns)))?;
    for (column, primary) in indexes {
        let index = NewIndex {
            name: format!("{name}_{column}"),
            primary: *primary,
            unique: *primary,
            constraint: *primary,
            columns: vec![IndexColumn { column: ColumnId::new(*column), order: KeyOrder::default() }],
        };
        block_on(transaction.create_index(table, index))?;
    }
    transaction.commit()?.wait()?;
    Ok(database.catalog().table(table)?.clone())
}
