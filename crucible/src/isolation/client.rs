//! A client: statements on the engine as SQL would run them, and what they were told.
//!
//! A statement reads at one view. A write finds its row there, locks it, and goes on with the newest version where the row was
//! replaced meanwhile (READ COMMITTED), as the SQL layer does. What was found at the view is recorded as a read; what was
//! replaced, as the write's base.

use std::ops::Bound;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use strata_core::ids::RowId;
use strata_core::row::Datum;
use strata_core::table::{Locked, ReadPredicate, ReadView, Savepoint, TableView, Transaction};
use strata_core::txn::{RowLockMode, TableLockMode, block_on};
use strata_core::{Error, Result};

use super::faults::Fault;
use super::heap_scan::{GroupFilter, heap_rows};
use super::history::{Group, Key, Operation, State, Value};
use super::request::{LOADED_ROWS, Request, Route};
use super::tables::{Row, Tables, index_key};

/// What a write makes of a row.
enum Change {
    Update(Option<Group>),
    Delete,
}

/// A transaction under way, and what has come of it.
pub struct Session<'a> {
    tables: &'a Tables,
    values: &'a AtomicU64,
    transaction: Transaction,
    savepoints: Vec<(u32, Savepoint)>,
    cursor: Option<(ReadView, Request)>,
    linger: Duration,
    fault: Option<&'a Fault>,
    /// What the statement under way has done. Whatever becomes of the statement, it is part of the history.
    pub operations: Vec<Operation>,
}

impl<'a> Session<'a> {
    /// A client's new transaction. Values are taken from `values`.
    pub fn new(
        tables: &'a Tables,
        values: &'a AtomicU64,
        transaction: Transaction,
        fault: Option<&'a Fault>,
    ) -> Self {
        Self {
            tables,
            values,
            transaction,
            savepoints: Vec::new(),
            cursor: None,
            linger: Duration::ZERO,
            fault,
            operations: Vec::new(),
        }
    }

    /// Makes the session's writing statements wait this long between finding their rows and locking them.
    pub fn linger(&mut self, time: Duration) {
        self.linger = time;
    }

    /// Runs a statement.
    ///
    /// # Errors
    /// The engine's; the transaction must be given up then.
    pub fn run(&mut self, request: &Request) -> Result<()> {
        if let Some(fault) = self.fault {
            fault.before_statement(&mut self.transaction, !self.savepoints.is_empty())?;
        }
        match request {
            Request::Read { .. } => self.read(&self.read_view(), request),
            Request::Open(request) => {
                self.cursor = Some((self.read_view(), Request::clone(request)));
                Ok(())
            }
            Request::Fetch => match self.cursor.take() {
                Some((view, request)) => self.read(&view, &request),
                None => Ok(()),
            },
            Request::Append(list) => self.append(*list),
            Request::Create(list) => self.create(*list),
            Request::AppendChild(list) => self.append_child(*list),
            Request::Insert(group) => self.insert(*group),
            Request::Load(group) => self.load(*group),
            Request::Update(key, group) => self.change_one(*key, &Change::Update(*group)),
            Request::Delete(key) => self.change_one(*key, &Change::Delete),
            Request::UpdateGroup(group) => self.update_group(*group),
            Request::Savepoint(name) => {
                let savepoint = self.transaction.savepoint();
                self.savepoints.push((*name, savepoint));
                self.operations.push(Operation::Savepoint(*name));
                Ok(())
            }
            Request::RollbackTo(name) => self.roll_back_to(*name),
        }
    }

    /// Commits.
    ///
    /// # Errors
    /// The first is known to have done nothing; the second is not.
    pub fn commit(self) -> std::result::Result<(), (Error, bool)> {
        let ticket = self.transaction.commit().map_err(|error| (error, false))?;
        let is_refused = ticket.is_refused();
        ticket.wait().map(|_| ()).map_err(|error| (error, !is_refused))
    }

    /// Rolls back.
    ///
    /// # Errors
    /// None, but of a faulty client.
    pub fn roll_back(self) -> Result<()> {
        match self.fault {
            Some(fault) => fault.roll_back(self.transaction),
            None => {
                self.transaction.rollback();
                Ok(())
            }
        }
    }

    fn read_view(&self) -> ReadView {
        match self.fault {
            Some(fault) => fault.read_view(&self.transaction),
            None => self.transaction.view(),
        }
    }

    fn value(&self) -> Value {
        Value(self.values.fetch_add(1, Ordering::Relaxed))
    }

    fn read(&mut self, view: &ReadView, request: &Request) -> Result<()> {
        let Request::Read { lists, registers, classes, children, route } = request else { return Ok(()) };
        self.read_keys(view, lists, registers, *route)?;
        self.scan(view, classes, *route, false)?;
        self.scan(view, children, *route, true)
    }

    fn read_keys(&mut self, view: &ReadView, lists: &[Key], registers: &[Key], route: Route) -> Result<()> {
        let table = view.table(self.tables.lists.id)?;
        for key in lists {
            let found = find_all(&table, *key, route)?;
            // Two rows of one primary key are two answers, which contradict each other.
            for row in &found {
                let values = Tables::items(&stored(&table, *row)?)?;
                self.operations.push(Operation::ReadList { key: *key, values });
            }
            if found.is_empty() {
                self.operations.push(Operation::ReadList { key: *key, values: Vec::new() });
            }
        }
        let table = view.table(self.tables.rows.id)?;
        for key in registers {
            let found = find_all(&table, *key, route)?;
            for row in &found {
                let value = Tables::read_row(&stored(&table, *row)?)?.value;
                self.operations.push(Operation::Read { key: *key, value });
            }
            if found.is_empty() {
                self.operations.push(Operation::Read { key: *key, value: Value::NONE });
            }
        }
        Ok(())
    }

    fn scan(&mut self, view: &ReadView, groups: &[Group], route: Route, children: bool) -> Result<()> {
        let (Some(first), Some(last)) = (groups.iter().min(), groups.iter().max()) else { return Ok(()) };
        let (def, index) = if children { (&self.tables.children, 0) } else { (&self.tables.rows, 1) };
        let table = view.table(def.id)?;
        let read = if children { Tables::read_child } else { Tables::read_row };
        let mut rows: Vec<(Group, Row)> = Vec::new();
        match route {
            Route::Lookup => {
                for group in groups {
                    let key = index_key(def, index, group.0)?;
                    for row in table.rows_of_key(def.indexes[index].id, &key)? {
                        // Whatever the row says: the index found it under this group.
                        rows.push((*group, read(&stored(&table, row?)?)?));
                    }
                }
            }
            Route::Range => {
                let lower = Bound::Included(index_key(def, index, first.0)?);
                let upper = Bound::Included(index_key(def, index, last.0)?);
                for row in table.range(def.indexes[index].id, lower, upper, first.0 % 3 == 0)? {
                    let row = read(&stored(&table, row?)?)?;
                    rows.push((row.group, row));
                }
            }
            Route::Heap | Route::Filter => {
                // What SERIALIZABLE must remember is the condition, not the whole table.
                let condition = match route {
                    Route::Filter => GroupFilter::between(def, index, *first, *last),
                    _ => {
                        let lower = Bound::Included(index_key(def, index, first.0)?);
                        let upper = Bound::Included(index_key(def, index, last.0)?);
                        ReadPredicate::Keys(def.indexes[index].id, lower, upper)
                    }
                };
                let all = heap_rows(&table.declare(condition))?.into_iter().map(|row| read(&row));
                rows = all.map(|row| row.map(|row| (row.group, row))).collect::<Result<_>>()?;
            }
        }
        for group in groups {
            let found = rows.iter().filter(|(under, _)| under == group);
            let found = found.map(|(_, row)| (row.key, row.value)).collect();
            self.operations.push(Operation::Scan { group: *group, found });
        }
        Ok(())
    }

    fn append(&mut self, key: Key) -> Result<()> {
        self.lock_table(&self.tables.lists)?;
        let view = self.transaction.view().table(self.tables.lists.id)?;
        let found = find(&view, key)?;
        let mut values = found.map_or(Ok(Vec::new()), |row| Tables::items(&stored(&view, row)?))?;
        self.operations.push(Operation::ReadList { key, values: values.clone() });
        let Some(row) = found else { return self.create(key) };
        let value = self.value();
        if let Some(fault) = self.fault
            && let Some(written_there) = fault.write_through_another(&view, key, &values, value)
        {
            let base = values.last().copied().unwrap_or(Value::NONE);
            self.operations.push(written(key, value, base, State::There));
            return written_there;
        }
        let locked = self.lock(view, row, RowLockMode::NoKeyUpdate)?;
        let Some((view, row)) = locked else { return Ok(()) };
        values = Tables::items(&stored(&view, row)?)?;
        let base = values.last().copied().unwrap_or(Value::NONE);
        values.push(value);
        self.operations.push(written(key, value, base, State::There));
        block_on(self.transaction.update(&view, row, &Tables::list(key, &values))).map(drop)
    }

    fn create(&mut self, key: Key) -> Result<()> {
        self.lock_table(&self.tables.lists)?;
        let value = self.value();
        self.operations.push(written(key, value, Value::NONE, State::There));
        block_on(self.transaction.insert(&self.tables.lists, &Tables::list(key, &[value]))).map(drop)
    }

    fn append_child(&mut self, group: Group) -> Result<()> {
        self.lock_table(&self.tables.children)?;
        let value = self.value();
        let row = Row { key: Key(value.0), group, value };
        self.operations.push(written(row.key, value, Value::NONE, State::In(group)));
        block_on(self.transaction.insert(&self.tables.children, &Tables::child(row))).map(drop)
    }

    fn insert(&mut self, group: Group) -> Result<()> {
        self.lock_table(&self.tables.rows)?;
        let value = self.value();
        let row = Row { key: Key(value.0), group, value };
        self.operations.push(written(row.key, value, Value::NONE, State::In(group)));
        block_on(self.transaction.insert(&self.tables.rows, &Tables::row(row))).map(drop)
    }

    fn load(&mut self, group: Group) -> Result<()> {
        let values: Vec<Value> = (0..LOADED_ROWS).map(|_| self.value()).collect();
        let rows: Vec<Row> =
            values.iter().map(|value| Row { key: Key(value.0), group, value: *value }).collect();
        for row in &rows {
            self.operations.push(written(row.key, row.value, Value::NONE, State::In(group)));
        }
        let mut load = block_on(self.transaction.bulk_load(self.tables.rows.id))?;
        load.append(&self.tables.batch(&rows)?)?;
        block_on(load.finish()).map(drop)
    }

    fn change_one(&mut self, key: Key, change: &Change) -> Result<()> {
        self.lock_table(&self.tables.rows)?;
        let view = self.transaction.view().table(self.tables.rows.id)?;
        let Some(row) = find(&view, key)? else {
            self.operations.push(Operation::Read { key, value: Value::NONE });
            return Ok(());
        };
        let value = Tables::read_row(&stored(&view, row)?)?.value;
        self.operations.push(Operation::Read { key, value });
        let mode = match change {
            Change::Update(_) => RowLockMode::NoKeyUpdate,
            Change::Delete => RowLockMode::Update,
        };
        match self.lock(view, row, mode)? {
            Some((view, row)) => self.change(&view, row, change),
            None => Ok(()),
        }
    }

    fn update_group(&mut self, group: Group) -> Result<()> {
        self.lock_table(&self.tables.rows)?;
        let view = self.transaction.view();
        self.scan(&view, &[group], Route::Lookup, false)?;
        let view = view.table(self.tables.rows.id)?;
        let key = index_key(&self.tables.rows, 1, group.0)?;
        let mut rows: Vec<RowId> =
            view.rows_of_key(self.tables.rows.indexes[1].id, &key)?.collect::<Result<_>>()?;
        rows.sort_unstable();
        for row in rows {
            let locked = self.lock(view.clone(), row, RowLockMode::NoKeyUpdate)?;
            let Some((newest, row)) = locked else { continue };
            // WHERE, evaluated anew.
            if Tables::read_row(&stored(&newest, row)?)?.group == group {
                self.change(&newest, row, &Change::Update(None))?;
            }
        }
        Ok(())
    }

    /// Writes a row that is locked.
    fn change(&mut self, view: &TableView, row: RowId, change: &Change) -> Result<()> {
        let before = Tables::read_row(&stored(view, row)?)?;
        let value = self.value();
        match change {
            Change::Update(group) => {
                let after = Row { value, group: group.unwrap_or(before.group), ..before };
                self.operations.push(written(before.key, value, before.value, State::In(after.group)));
                block_on(self.transaction.update(view, row, &Tables::row(after))).map(drop)
            }
            Change::Delete => {
                self.operations.push(written(before.key, value, before.value, State::Gone));
                self.transaction.delete(view, row)
            }
        }
    }

    /// Locks a row that the view shows. Gives its newest version and a view that shows that, unless it is gone.
    fn lock(&self, view: TableView, row: RowId, mode: RowLockMode) -> Result<Option<(TableView, RowId)>> {
        if !self.linger.is_zero() {
            thread::sleep(self.linger);
        }
        match block_on(self.transaction.lock_row(&view, row, mode))? {
            Locked::Current => Ok(Some((view, row))),
            Locked::Gone => Ok(None),
            Locked::Moved(newest) => {
                let view = self.transaction.view().table(view.def().id)?;
                if !view.is_visible(newest)? {
                    return Err(Error::Invalid(format!(
                        "row {newest} is locked, committed, and not visible"
                    )));
                }
                Ok(Some((view, newest)))
            }
        }
    }

    fn lock_table(&self, table: &strata_core::catalog::TableDef) -> Result<()> {
        block_on(self.transaction.lock_table(table.id, TableLockMode::RowExclusive)).map(drop)
    }

    fn roll_back_to(&mut self, name: u32) -> Result<()> {
        let place = self.savepoints.iter().rposition(|(other, _)| *other == name);
        let place = place.ok_or_else(|| Error::Invalid(format!("there is no savepoint {name}")))?;
        self.savepoints.truncate(place + 1);
        self.operations.push(Operation::RollbackTo(name));
        if !self.fault.is_some_and(Fault::forgets_savepoints) {
            self.transaction.rollback_to(&self.savepoints[place].1)?;
        }
        Ok(())
    }
}

fn written(key: Key, value: Value, base: Value, state: State) -> Operation {
    Operation::Write { key, value, base: Some(base), state }
}

/// The row of this primary key.
pub(super) fn find(table: &TableView, key: Key) -> Result<Option<RowId>> {
    let bytes = index_key(table.def(), 0, key.0)?;
    table.first(table.def().indexes[0].id, &bytes)
}

/// The rows of this primary key, of which there should be one at most: the newest entry of the index, or all of them.
fn find_all(table: &TableView, key: Key, route: Route) -> Result<Vec<RowId>> {
    match route {
        Route::Lookup => Ok(find(table, key)?.into_iter().collect()),
        Route::Range | Route::Heap | Route::Filter => {
            let bytes = index_key(table.def(), 0, key.0)?;
            table.rows_of_key(table.def().indexes[0].id, &bytes)?.collect()
        }
    }
}

/// A row's values.
pub(super) fn stored(table: &TableView, row: RowId) -> Result<Vec<Datum>> {
    table.row(row)?.to_datums(&table.def().schema)
}
