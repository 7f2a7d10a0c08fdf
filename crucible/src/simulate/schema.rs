//! The tables that a simulation makes, and the values in them.
//!
//! | column | type | what |
//! |---|---|---|
//! | `tag` | int8 not null | names the row for ever |
//! | `k` | int8 | of few values, so that clients meet; often a key |
//! | `v` | int4 | |
//! | `note` | text | |
//! | `x…` | any | added later |
//!
//! All but `tag` come to be NOT NULL, and no longer, at times; so does `tag`, which never is NULL.

use strata_core::catalog::change::{NewColumn, NewIndex};
use strata_core::catalog::{IndexColumn, TableDef};
use strata_core::ids::{ColumnId, SchemaVersion, TableId};
use strata_core::row::{Column, ColumnType, Datum, KeyOrder, Schema};

use crate::random::Random;

/// Columns that every table keeps.
pub(super) const FIRST_COLUMNS: usize = 4;
/// Where the key stands.
pub(super) const KEY: usize = 1;
/// How many kinds of indexes of the first columns there are.
pub(super) const INDEX_KINDS: u64 = 6;
/// The most columns that a table comes to have.
const MAX_COLUMNS: usize = FIRST_COLUMNS + 7;

/// The columns of a new table.
pub(super) fn columns() -> Vec<NewColumn> {
    vec![
        column("tag", ColumnType::Int64, false),
        column("k", ColumnType::Int64, true),
        column("v", ColumnType::Int32, true),
        column("note", ColumnType::Text, true),
    ]
}

/// The same, as a table has them at first.
pub(super) fn first_schema() -> Schema {
    let columns = columns().into_iter().enumerate().map(|(place, column)| Column {
        id: ColumnId::new(place as u32),
        name: column.name,
        column_type: column.column_type,
        sql_type: column.sql_type,
        nullable: column.nullable,
        default: column.default,
        missing: column.missing,
        dropped: false,
    });
    Schema::new(SchemaVersion::new(1), columns.collect())
}

fn column(name: &str, column_type: ColumnType, nullable: bool) -> NewColumn {
    NewColumn { nullable, ..NewColumn::new(name, column_type) }
}

/// A column to be added to a table, unless it has enough of them.
pub(super) fn added_column(def: &TableDef, random: &mut Random) -> Option<NewColumn> {
    if def.schema.columns.len() >= MAX_COLUMNS {
        return None;
    }
    let types = [ColumnType::Int64, ColumnType::Text, ColumnType::Bool, ColumnType::Float64];
    let column_type = types[random.within(0..types.len() as u64) as usize].clone();
    let missing = value(&column_type, random);
    let name = format!("x{}", def.schema.columns.len());
    Some(NewColumn { missing, ..column(&name, column_type, true) })
}

/// An index of a column that was added. Only numbers are unique.
pub(super) fn index_of_added(def: &TableDef, column: &Column, descending: bool) -> NewIndex {
    let order = KeyOrder { descending, nulls_first: descending };
    NewIndex {
        name: format!("i{}_{}", def.id, column.name),
        primary: false,
        unique: column.column_type == ColumnType::Int64 && descending,
        constraint: false,
        columns: vec![IndexColumn { column: column.id, order }],
    }
}

/// An index of one of the kinds. Its name stays when the table takes another.
pub(super) fn index(table: TableId, kind: u64) -> NewIndex {
    let ascending = |column: u32| IndexColumn { column: ColumnId::new(column), order: KeyOrder::default() };
    let descending = |column: u32| IndexColumn {
        column: ColumnId::new(column),
        order: KeyOrder { descending: true, nulls_first: true },
    };
    let (primary, unique, columns) = match kind % INDEX_KINDS {
        0 => (true, true, vec![ascending(1)]),
        1 => (false, true, vec![ascending(1)]),
        2 => (false, false, vec![ascending(2)]),
        3 => (false, false, vec![descending(2), ascending(1)]),
        4 => (false, false, vec![ascending(3)]),
        _ => (false, true, vec![descending(0)]),
    };
    NewIndex {
        name: format!("i{table}_{}", kind % INDEX_KINDS),
        primary,
        unique,
        constraint: primary,
        columns,
    }
}

/// A row: `key` stands in `k`.
pub(super) fn row(def: &TableDef, tag: i64, key: Datum, random: &mut Random) -> Vec<Datum> {
    let columns = def.schema.columns.iter().enumerate();
    columns
        .map(|(place, column)| match place {
            0 => Datum::Int64(tag),
            KEY => key.clone(),
            _ if column.dropped => Datum::Null,
            // A constraint that is mostly met: it is to be asked, and others are to write.
            _ if !column.nullable && random.chance(9, 10) => value_but_null(&column.column_type, random),
            _ => value(&column.column_type, random),
        })
        .collect()
}

/// A row with NULL wherever it can be.
pub(super) fn plain_row(def: &TableDef, tag: i64, key: Datum) -> Vec<Datum> {
    let rest = def.schema.columns.iter().skip(2).map(|column| match column.nullable {
        true => Datum::Null,
        false => plain_value(&column.column_type, tag),
    });
    [Datum::Int64(tag), key].into_iter().chain(rest).collect()
}

/// A key out of `keys`; now and then NULL, where that is allowed.
pub(super) fn key(def: &TableDef, keys: u64, random: &mut Random) -> Datum {
    if def.schema.columns[KEY].nullable && random.chance(1, 12) {
        return Datum::Null;
    }
    Datum::Int64(random.within(0..keys) as i64)
}

/// A short value that is not NULL; of a type that may be unique, another for each row.
fn plain_value(column_type: &ColumnType, tag: i64) -> Datum {
    match column_type {
        ColumnType::Int32 => Datum::Int32(0),
        ColumnType::Bool => Datum::Bool(false),
        ColumnType::Float64 => Datum::Float64(0.0),
        ColumnType::Text => Datum::Text(String::new()),
        _ => Datum::Int64(-tag),
    }
}

/// Any value of a type that is not NULL.
fn value_but_null(column_type: &ColumnType, random: &mut Random) -> Datum {
    loop {
        let value = value(column_type, random);
        if !value.is_null() {
            return value;
        }
    }
}

/// Any value of a type.
fn value(column_type: &ColumnType, random: &mut Random) -> Datum {
    if random.chance(1, 8) {
        return Datum::Null;
    }
    match column_type {
        ColumnType::Int32 => Datum::Int32(random.within(0..30) as i32 - 5),
        ColumnType::Bool => Datum::Bool(random.chance(1, 2)),
        ColumnType::Float64 => Datum::Float64(random.within(0..9) as f64 / 4.0),
        ColumnType::Text => {
            let length = match random.within(0..400) {
                // Longer than a page.
                0 => random.within(33_000..70_000),
                1..10 => random.within(200..6_000),
                _ => random.within(0..24),
            };
            let letter = char::from(b'a' + random.within(0..6) as u8);
            Datum::Text(String::from(letter).repeat(length as usize) + &random.within(0..5).to_string())
        }
        _ => Datum::Int64(random.within(0..1_000_000) as i64),
    }
}
