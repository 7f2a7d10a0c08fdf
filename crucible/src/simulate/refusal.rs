//! Refusals that the rows and names of a state excuse.
//!
//! Each function takes what the engine refused and why, and gives a [`Stop`]: one that lets the run go on where the state is as
//! the engine says, one that ends it where it is not.

use strata_core::Error;
use strata_core::catalog::{IndexDef, TableDef};
use strata_core::ids::TableId;
use strata_core::row::Datum;
use strata_core::table::MAX_KEY_BYTES;

use super::model::{OWN, Row, State, Table, Write};
use super::reads::Read;
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
        Error::DuplicateKey { .. } | Error::TooLarge { .. } => published(),
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

/// An index was not made, for what the newest state has in the table.
pub(super) fn of_index(error: Error, newest: &State, def: &TableDef, planned: IndexDef) -> Stop {
    let Some(table) = newest.tables.get(&def.id) else { return wrong("an index of no table is refused") };
    let name = planned.name.clone();
    let excused = match &error {
        // CREATE INDEX lets others by.
        Error::AlreadyExists { .. } => table.def.indexes.iter().any(|index| index.name == name),
        Error::Invalid(_) => planned.primary && table.def.primary_key().is_some(),
        Error::NotNull { .. } => {
            planned.primary && table.rows.values().any(|row| row.value(def, schema::KEY).is_null())
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

/// A SERIALIZABLE commit was not made. What it has read must have changed since; `told` is what it was told of the newest state
/// and has not written. Only that can be a reason where it has written nothing: its snapshot is a prefix of the history.
pub(super) fn of_reads(newest: &State, reads: &[Read], told: &[Read], writes: &[Write]) -> Stop {
    if writes.is_empty() && told.is_empty() {
        return wrong("a transaction that wrote nothing is refused for what it read");
    }
    match reads.iter().chain(told).all(|read| read.holds_in(newest).is_ok()) {
        true => wrong("a transaction is refused for what it read, and nothing of that has changed"),
        false => Stop::Ended(Error::ReadConflict),
    }
}
