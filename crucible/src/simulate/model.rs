//! What the database should hold: a plain multi-version map.
//!
//! Each commit has a whole [`State`], in commit order; tables that it left alone are shared with the one before. Rows are
//! named by a *tag*, the value of their first column, which no two rows ever share: so a row keeps its name through
//! updates of everything else, its keys too.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use strata_core::catalog::{IndexDef, TableDef, ViewDef};
use strata_core::ids::{SchemaId, TableId};
use strata_core::row::Datum;
use strata_core::table::encode_index_key;

/// The stamp of a row that a transaction wrote and has not committed.
pub(super) const OWN: u64 = u64::MAX;

/// One row, as the commit `stamp` left it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Row {
    pub(super) stamp: u64,
    pub(super) values: Vec<Datum>,
}

/// One table.
#[derive(Clone, Debug)]
pub(super) struct Table {
    pub(super) def: Arc<TableDef>,
    pub(super) rows: BTreeMap<i64, Row>,
}

/// All that the catalog names at one instant, and the rows.
#[derive(Clone, Debug)]
pub(super) struct State {
    pub(super) schemas: BTreeMap<SchemaId, String>,
    pub(super) tables: BTreeMap<TableId, Arc<Table>>,
    pub(super) views: BTreeMap<TableId, Arc<ViewDef>>,
}

/// The schema that is always there.
pub(super) const PUBLIC: &str = "public";

impl Default for State {
    /// What an empty database has.
    fn default() -> Self {
        let schemas = [(SchemaId::new(1), PUBLIC.to_owned())].into();
        Self { schemas, tables: BTreeMap::new(), views: BTreeMap::new() }
    }
}

/// One effect of a transaction.
#[derive(Clone, Debug)]
pub(super) enum Write {
    /// A row is there with these values, in place of what was read under its lock.
    Put { table: TableId, tag: i64, values: Vec<Datum>, replaces: Option<Row> },
    /// The row that was read under its lock is gone.
    Delete { table: TableId, tag: i64, replaces: Row },
    /// A table is there, or has another definition; its rows stay.
    Define(Arc<TableDef>),
    /// The table has no rows, and another heap.
    Truncate(Arc<TableDef>),
    /// A view is there, or has another name.
    View(Arc<ViewDef>),
    /// A schema is there.
    Schema(SchemaId, String),
    /// The table or view is gone.
    Drop(TableId),
    /// The schema is gone.
    DropSchema(SchemaId),
}

impl Row {
    /// The value of a column; rows older than it have the one that stands for missing ones.
    pub(super) fn value<'a>(&'a self, def: &'a TableDef, column: usize) -> &'a Datum {
        self.values.get(column).unwrap_or(&def.schema.columns[column].missing)
    }

    /// The values of all columns; NULL where one has been dropped.
    pub(super) fn all_values(&self, def: &TableDef) -> Vec<Datum> {
        let columns = def.schema.columns.iter().enumerate();
        columns
            .map(|(place, column)| if column.dropped { Datum::Null } else { self.value(def, place).clone() })
            .collect()
    }
}

/// The key of a row in an index, and whether it has a NULL in it.
pub(super) fn key_of(def: &TableDef, index: &IndexDef, values: &[Datum]) -> (Vec<u8>, bool) {
    let mut key = Vec::new();
    encode_index_key(def, index, values, &mut key).expect("the simulation's keys are short");
    let has_null = index.columns.iter().any(|column| values[column.column.get() as usize].is_null());
    (key, has_null)
}

impl Table {
    /// The key of a row in an index, and whether it has a NULL in it.
    pub(super) fn key(&self, index: &IndexDef, values: &[Datum]) -> (Vec<u8>, bool) {
        key_of(&self.def, index, values)
    }

    /// The tags by key, in key order; equal keys in no order that matters.
    pub(super) fn entries(&self, index: &IndexDef) -> Vec<(Vec<u8>, i64)> {
        let rows = self.rows.iter();
        let mut entries: Vec<_> =
            rows.map(|(tag, row)| (self.key(index, &row.all_values(&self.def)).0, *tag)).collect();
        entries.sort();
        entries
    }

    /// The rows that have a key of an index.
    pub(super) fn holders(&self, index: &IndexDef, key: &[u8]) -> impl Iterator<Item = i64> {
        let has_key = move |row: &Row| self.key(index, &row.all_values(&self.def)).0 == key;
        self.rows.iter().filter(move |(_, row)| has_key(row)).map(|(tag, _)| *tag)
    }

    /// Two rows with one key of a unique index, in words.
    pub(super) fn duplicate(&self) -> Option<String> {
        for index in self.def.indexes.iter().filter(|index| index.unique) {
            let mut seen = BTreeMap::new();
            for (tag, row) in &self.rows {
                let (key, has_null) = self.key(index, &row.all_values(&self.def));
                if let Some(other) = seen.insert(key, *tag).filter(|_| !has_null) {
                    return Some(format!("rows {other} and {tag} share a key of {}", index.name));
                }
            }
        }
        None
    }

    /// Whether a row has NULL in a column.
    pub(super) fn has_null(&self, column: usize) -> bool {
        self.rows.values().any(|row| row.value(&self.def, column).is_null())
    }

    /// A row that breaks a constraint, in words.
    fn broken(&self) -> Option<String> {
        let mut never_null = self.def.schema.live().filter(|column| !column.nullable);
        let null = never_null.find(|column| self.has_null(column.id.get() as usize));
        let null = null.map(|column| format!("{} has NULLs, which it must not", column.name));
        null.or_else(|| self.duplicate())
    }
}

impl State {
    /// These rows by a newer catalog: what a snapshot shows once its transaction has changed the newest one. A heap that is
    /// newer than the snapshot has no rows for it.
    pub(super) fn by_catalog_of(&self, newer: &Self) -> Self {
        let by_newer = |(id, table): (&TableId, &Arc<Table>)| {
            let rows = match self.tables.get(id) {
                Some(seen) if seen.def == table.def => return (*id, seen.clone()),
                Some(seen) if seen.def.heap == table.def.heap => seen.rows.clone(),
                _ => BTreeMap::new(),
            };
            (*id, Arc::new(Table { def: table.def.clone(), rows }))
        };
        let tables = newer.tables.iter().map(by_newer).collect();
        Self { schemas: newer.schemas.clone(), tables, views: newer.views.clone() }
    }

    /// The relation of a name.
    pub(super) fn named(&self, schema: SchemaId, name: &str) -> Option<TableId> {
        let tables = self.tables.values().map(|table| (table.def.id, table.def.schema_id, &table.def.name));
        let views = self.views.values().map(|view| (view.id, view.schema_id, &view.name));
        let mut relations = tables.chain(views);
        relations.find(|found| (found.1, found.2.as_str()) == (schema, name)).map(|found| found.0)
    }

    /// The schema of a name.
    pub(super) fn schema(&self, name: &str) -> Option<SchemaId> {
        self.schemas.iter().find(|(_, known)| *known == name).map(|(id, _)| *id)
    }

    /// Whether a relation is there.
    pub(super) fn has(&self, relation: TableId) -> bool {
        self.tables.contains_key(&relation) || self.views.contains_key(&relation)
    }

    /// Whether a relation or an index of the schema has the name.
    pub(super) fn is_taken(&self, schema: SchemaId, name: &str) -> bool {
        let mut tables = self.tables.values().filter(|table| table.def.schema_id == schema);
        self.named(schema, name).is_some()
            || tables.any(|table| table.def.indexes.iter().any(|index| index.name == name))
    }

    /// Whether a schema has anything in it.
    pub(super) fn is_empty(&self, schema: SchemaId) -> bool {
        self.tables.values().all(|table| table.def.schema_id != schema)
            && self.views.values().all(|view| view.schema_id != schema)
    }

    /// Makes an effect; `stamp` is the commit's, or [`OWN`].
    ///
    /// # Errors
    /// In words, where the row is not what the transaction read under its lock.
    pub(super) fn apply(&mut self, write: &Write, stamp: u64) -> Result<(), String> {
        match write {
            Write::Put { table, tag, values, replaces } => {
                let rows = self.rows(*table)?;
                let before = rows.insert(*tag, Row { stamp, values: values.clone() });
                same_row(*tag, before.as_ref(), replaces.as_ref(), stamp)
            }
            Write::Delete { table, tag, replaces } => {
                let before = self.rows(*table)?.remove(tag);
                same_row(*tag, before.as_ref(), Some(replaces), stamp)
            }
            Write::Define(def) => {
                let rows = self.tables.get(&def.id).map(|table| table.rows.clone()).unwrap_or_default();
                self.tables.insert(def.id, Arc::new(Table { def: def.clone(), rows }));
                Ok(())
            }
            Write::Truncate(def) => {
                self.tables.insert(def.id, Arc::new(Table { def: def.clone(), rows: BTreeMap::new() }));
                Ok(())
            }
            Write::View(view) => {
                self.views.insert(view.id, view.clone());
                Ok(())
            }
            Write::Schema(id, name) => {
                self.schemas.insert(*id, name.clone());
                Ok(())
            }
            Write::Drop(relation) => {
                let is_there = self.tables.remove(relation).is_some() | self.views.remove(relation).is_some();
                is_there
                    .then_some(())
                    .ok_or_else(|| format!("relation {relation} is dropped, and was not there"))
            }
            Write::DropSchema(schema) => {
                self.schemas.remove(schema);
                self.is_empty(*schema)
                    .then_some(())
                    .ok_or_else(|| format!("schema {schema} is dropped, and not empty"))
            }
        }
    }

    fn rows(&mut self, table: TableId) -> Result<&mut BTreeMap<i64, Row>, String> {
        let table = self.tables.get_mut(&table).ok_or_else(|| format!("table {table} is gone"))?;
        Ok(&mut Arc::make_mut(table).rows)
    }
}

fn same_row(tag: i64, found: Option<&Row>, read: Option<&Row>, stamp: u64) -> Result<(), String> {
    let stamp_of = |row: &Row| if row.stamp == OWN { stamp } else { row.stamp };
    let (found, read) = (found.map(stamp_of), read.map(stamp_of));
    if found == read {
        return Ok(());
    }
    Err(format!("row {tag} was read as commit {read:?} left it, and is replaced as {found:?} left it"))
}

/// How far a run is, for those who watch it from inside the file system.
#[derive(Debug, Default)]
pub(super) struct Progress {
    known: AtomicU64,
    last: AtomicU64,
}

impl Progress {
    /// The newest commit that somebody saw or was told of.
    pub(super) fn known(&self) -> u64 {
        self.known.load(Ordering::SeqCst)
    }

    /// The last commit made.
    pub(super) fn last(&self) -> u64 {
        self.last.load(Ordering::SeqCst)
    }
}

/// The states by commit, and what is known of them.
#[derive(Debug)]
pub(super) struct Model {
    /// Told of what happens, by whom all states are kept.
    watch: Option<Arc<Progress>>,
    /// The oldest first; the last one is that of the last commit that was given a timestamp.
    versions: VecDeque<(u64, State)>,
    /// The newest commit that somebody saw or was told of.
    known: u64,
}

impl Model {
    pub(super) fn new() -> Self {
        Self { watch: None, versions: [(0, State::default())].into(), known: 0 }
    }

    /// A model that forgets no state and tells how far it is.
    pub(super) fn watched(progress: Arc<Progress>) -> Self {
        Self { watch: Some(progress), ..Self::new() }
    }

    /// As a commit left it.
    pub(super) fn at(&self, timestamp: u64) -> Option<&State> {
        let mut versions = self.versions.iter();
        versions.find(|(version, _)| *version == timestamp).map(|(_, state)| state)
    }

    /// As the last commit left it, durable or not.
    pub(super) fn latest(&self) -> &State {
        &self.versions.back().expect("there is always one").1
    }

    /// The timestamp of the last commit.
    pub(super) fn last(&self) -> u64 {
        self.versions.back().expect("there is always one").0
    }

    /// What a snapshot taken now sees.
    ///
    /// # Errors
    /// In words, for one that misses what was known, or shows what was never committed.
    pub(super) fn see(&mut self, timestamp: u64) -> Result<State, String> {
        if timestamp < self.known {
            return Err(format!("a snapshot of {timestamp} after commit {} was known", self.known));
        }
        let state = self.at(timestamp).cloned();
        let state = state.ok_or_else(|| format!("a snapshot of {timestamp}, which no commit has"))?;
        self.acknowledge(timestamp);
        Ok(state)
    }

    /// Commits, and gives the timestamp that the commit must have.
    ///
    /// # Errors
    /// In words, where the commit breaks what locks and constraints promise.
    pub(super) fn commit(&mut self, writes: &[Write]) -> Result<u64, String> {
        let timestamp = self.last() + 1;
        let mut state = self.latest().clone();
        for write in writes {
            state.apply(write, timestamp).map_err(|what| format!("commit {timestamp}: {what}"))?;
        }
        let before = self.latest();
        for (id, table) in &state.tables {
            let same = before.tables.get(id).is_some_and(|before| Arc::ptr_eq(before, table));
            if let Some(what) = Some(table).filter(|_| !same).and_then(|table| table.broken()) {
                return Err(format!("commit {timestamp} to {}: {what}", table.def.name));
            }
        }
        self.versions.push_back((timestamp, state));
        if let Some(watch) = &self.watch {
            watch.last.store(timestamp, Ordering::SeqCst);
        }
        Ok(timestamp)
    }

    /// Somebody was told of the commit.
    pub(super) fn acknowledge(&mut self, timestamp: u64) {
        self.known = self.known.max(timestamp);
        if let Some(watch) = &self.watch {
            watch.known.store(self.known, Ordering::SeqCst);
            return;
        }
        while self.versions.front().is_some_and(|(version, _)| *version < self.known) {
            self.versions.pop_front();
        }
    }

    /// The database was opened again and shows this commit as its last.
    ///
    /// # Errors
    /// In words, where that is before what was known, or was never committed.
    pub(super) fn reopen(&mut self, last: u64) -> Result<(), String> {
        if last < self.known {
            return Err(format!("commit {} was known, and {last} is the last one there", self.known));
        }
        if last > self.last() {
            return Err(format!("commit {last} is there, and {} was the last made", self.last()));
        }
        self.versions.retain(|(version, _)| *version <= last);
        self.acknowledge(last);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reopened_database_holds_a_prefix_of_the_commits() {
        let mut model = Model::new();
        for _ in 0..3 {
            model.commit(&[]).expect("commits");
        }
        model.acknowledge(1);
        assert!(model.reopen(0).is_err(), "commit 1 was acknowledged");
        assert!(model.reopen(4).is_err(), "there is no commit 4");
        model.reopen(2).expect("commit 3 was in doubt");
        assert_eq!((model.last(), model.known), (2, 2));
        assert!(model.see(1).is_err(), "time does not go back");
        model.see(2).expect("the last commit");
    }
}
