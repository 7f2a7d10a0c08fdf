//! Refusals that the rows and names of a state excuse.
//!
//! Each function takes what the engine refused and why, and gives a [`Stop`]: one that lets the run go on where the state is as
//! the engine says, one that ends it where it is not.

use strata_core::Error;
use strata_core::catalog::{IndexDef, TableDef};
use strata_core::ids::{SchemaId, TableId};
use strata_core::row::Datum;
use strata_core::table::MAX_KEY_BYTES;

use super::model::{OWN, PUBLIC, Row, State, Table, Write};
use super::open::SerialReads;
use super::schema;
use super::stop::{Stop, wrong};

/// What else a key may hold.
const ROOM_BESIDE_TEXT: usize = 32;

/// A row was not taken: another has one of its unique keys, or a key is too long. `published` is what the transaction may be
/// told of.
pub(super) fn of_row(
    error: Error,
    published: impl FnOnce() -> Result<State, Stop>,
    table: TableId,
    tag: i64,
    values: &[Datum],
) -> Stop {
    let excused = match &error {
        Error::DuplicateKey { .. } | Error::TooLarge { .. } | Error::NotNull { .. } => published(),
        _ => return error.into(),
    };
    let state = match excused {
        Ok(state) => state,
        Err(stop) => return stop,
    };
    let Some(table) = state.tables.get(&table) else {
        return wrong(format!("a row of no table is refused: {error}"));
    };
    let excused = match &error {
        Error::TooLarge { .. } => has_long_key(&table.def, values),
        Error::NotNull { .. } => has_forbidden_null(&table.def, values),
        _ => someone_has_key(table, tag, values),
    };
    match excused {
        true => Stop::Refused(error),
        false => wrong(format!("row {tag} of {} is refused, without reason: {error}", table.def.name)),
    }
}

fn someone_has_key(table: &Table, tag: i64, values: &[Datum]) -> bool {
    table.def.indexes.iter().filter(|index| index.unique).any(|index| {
        let (key, has_null) = table.key(index, values);
        !has_null && table.holders(index, &key).any(|holder| holder != tag)
    })
}

fn has_forbidden_null(def: &TableDef, values: &[Datum]) -> bool {
    def.schema.live().any(|column| !column.nullable && values[column.id.get() as usize].is_null())
}

fn has_long_key(def: &TableDef, values: &[Datum]) -> bool {
    def.indexes.iter().any(|index| is_long_key(index, values))
}

/// Only texts are long; in a key they take little more than their bytes.
fn is_long_key(index: &IndexDef, values: &[Datum]) -> bool {
    let texts = index.columns.iter().map(|column| match &values[column.column.get() as usize] {
        Datum::Text(text) => text.len(),
        _ => 0,
    });
    texts.sum::<usize>() + ROOM_BESIDE_TEXT > MAX_KEY_BYTES
}

/// A load was not taken: its rows clash with each other or with what is there, or a key is too long. What was loaded before
/// that may be there in part, so the transaction is over.
pub(super) fn of_load(
    error: Error,
    published: impl FnOnce() -> Result<State, Stop>,
    def: &TableDef,
    rows: &[(i64, Vec<Datum>)],
) -> Stop {
    let excused = match &error {
        Error::DuplicateKey { .. } => published().and_then(|state| clashes(state, def, rows)),
        Error::NotNull { .. } => Ok(rows.iter().any(|(_, values)| has_forbidden_null(def, values))),
        Error::TooLarge { .. } => Ok(rows.iter().any(|(_, values)| has_long_key(def, values))),
        _ => return error.into(),
    };
    match excused {
        Ok(true) => Stop::Ended(error),
        Ok(false) => wrong(format!("a load into {} is refused, without reason: {error}", def.name)),
        Err(stop) => stop,
    }
}

fn clashes(mut state: State, def: &TableDef, rows: &[(i64, Vec<Datum>)]) -> Result<bool, Stop> {
    let table = state.tables.get_mut(&def.id).map(std::sync::Arc::make_mut);
    let table = table.ok_or_else(|| wrong("a load into no table clashes"))?;
    for (tag, values) in rows {
        table.rows.insert(*tag, Row { stamp: 0, values: values.clone() });
    }
    Ok(table.duplicate().is_some())
}

/// An index was not made, for what the newest state has in the table, or what the transaction goes on reading there: `shown`.
pub(super) fn of_index(
    error: Error,
    newest: &State,
    shown: Option<&Table>,
    def: &TableDef,
    planned: IndexDef,
) -> Stop {
    let Some(table) = newest.tables.get(&def.id) else { return wrong("an index of no table is refused") };
    let name = planned.name.clone();
    let excused = match &error {
        // CREATE INDEX lets others by.
        Error::AlreadyExists { .. } => newest.is_taken(table.def.schema_id, &name),
        Error::Invalid(_) => planned.primary && table.def.primary_key().is_some(),
        Error::NotNull { .. } => {
            planned.primary
                && (table.has_null(schema::KEY) || shown.is_some_and(|shown| shown.has_null(schema::KEY)))
        }
        Error::TooLarge { .. } => table.rows.values().any(|row| is_long_key(&planned, &row.all_values(def))),
        Error::DuplicateKey { .. } => {
            let mut with_index = def.clone();
            with_index.indexes = vec![planned];
            Table { def: with_index.into(), rows: table.rows.clone() }.duplicate().is_some()
        }
        _ => return error.into(),
    };
    match excused {
        true => Stop::Refused(error),
        false => wrong(format!("index {name} is refused, without reason: {error}")),
    }
}

/// What the names and ids of a change of the catalog stand for.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Named<'a> {
    /// The schema that it is about.
    pub(super) schema: Option<SchemaId>,
    /// A name that nothing may have yet.
    pub(super) new: Option<&'a str>,
    /// What must be there.
    pub(super) relation: Option<TableId>,
}

/// A schema or relation was not made, renamed or dropped, for what others have made and dropped meanwhile, or what was asked.
pub(super) fn of_object(error: Error, newest: &State, named: Named<'_>) -> Stop {
    let Named { schema, new, relation } = named;
    let excused = match (&error, schema, new) {
        (Error::AlreadyExists { kind: "schema", .. }, _, Some(name)) => newest.schema(name).is_some(),
        (Error::AlreadyExists { .. }, Some(schema), Some(name)) => newest.is_taken(schema, name),
        (Error::NotFound { .. }, schema, _) => {
            schema.is_some_and(|schema| !newest.schemas.contains_key(&schema))
                || relation.is_some_and(|relation| !newest.has(relation))
        }
        // DROP SCHEMA.
        (Error::Invalid(_), Some(schema), None) => {
            !newest.is_empty(schema) || newest.schema(PUBLIC) == Some(schema)
        }
        _ => return error.into(),
    };
    match excused {
        true => Stop::Refused(error),
        false => wrong(format!("{named:?} is refused, without reason: {error}")),
    }
}

/// A column was not renamed: another has the name.
pub(super) fn of_column_name(error: Error, def: &TableDef, name: &str) -> Stop {
    match error {
        Error::AlreadyExists { .. } if def.schema.by_name(name).is_some() => Stop::Refused(error),
        Error::AlreadyExists { .. } => wrong(format!("no column is called {name}, and it said: {error}")),
        _ => error.into(),
    }
}

/// A commit was not made, for a key that others have loaded, or loaded beside, meanwhile.
pub(super) fn of_late_key(error: Error, mut newest: State, writes: &[Write], table: TableId) -> Stop {
    for write in writes {
        if let Err(what) = newest.apply(write, OWN) {
            return wrong(what);
        }
    }
    match newest.tables.get(&table).and_then(|table| table.duplicate()) {
        Some(_) => Stop::Ended(error),
        None => wrong(format!("a commit to table {table} is refused, and all of its keys are unique")),
    }
}

/// A SERIALIZABLE commit was not made. What it has read must have changed since, or what it was told of the newest state and has not
/// written. Only that can be a reason where it has written nothing: its snapshot is a prefix of the history.
pub(super) fn of_reads(newest: &State, reads: &SerialReads, writes: &[Write]) -> Stop {
    let SerialReads { due, told, perhaps, .. } = reads;
    if writes.is_empty() && told.is_empty() && perhaps.is_empty() {
        return wrong("a transaction that wrote nothing is refused for what it read");
    }
    match due.iter().chain(told).chain(perhaps).all(|read| read.holds_in(newest).is_ok()) {
        true => wrong("a transaction is refused for what it read, and nothing of that has changed"),
        false => Stop::Ended(Error::ReadConflict),
    }
}
