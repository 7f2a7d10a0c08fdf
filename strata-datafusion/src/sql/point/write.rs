//! INSERT, UPDATE and DELETE by a point plan: what [`dml`](crate::sql::dml) does, for rows that are found by a key.

use std::sync::Arc;

use datafusion::arrow::array::ArrayRef;
use strata_core::ids::{ColumnId, RowId};
use strata_core::row::Datum;
use strata_core::table::{Locked, TableView};
use strata_core::txn::TableLockMode;

use super::program::Program;
use super::{Action, Arguments, Assigned, Change, PointPlan, Ran, Row};
use crate::error::{SqlError, SqlResult};
use crate::scalar::scalar_to_datum;
use crate::session::Session;
use crate::session::run::Limits;
use crate::session::types::Outcome;
use crate::sql::dml::{check_length, datums, describe, lock_mode};

/// What a command is called where a read-only transaction refuses it.
const COMMAND: &str = "this statement";

impl PointPlan {
    /// Writes.
    pub(crate) async fn write(
        &self,
        session: &mut Session,
        arguments: &Arguments<'_>,
        limits: &Limits,
    ) -> SqlResult<Ran<Outcome>> {
        let transaction = session.write_transaction(COMMAND)?;
        let ticket = transaction.lock_table(self.table.id, TableLockMode::RowExclusive);
        if !ticket.is_granted() {
            // Whoever held it may have changed the table: the ordinary route plans until it has not.
            limits.race(ticket).await??;
            return Ok(Ran::Refused);
        }
        if !Arc::ptr_eq(&transaction.newest_catalog(), &self.catalog) {
            return Ok(Ran::Refused);
        }
        let count = match &self.action {
            Action::Insert(rows) => self.insert(session, rows, arguments, limits).await?,
            Action::Update(change) => match self.change(session, change, arguments, limits, true).await? {
                Ran::Done(count) => count,
                Ran::Refused => return Ok(Ran::Refused),
            },
            Action::Delete(change) => match self.change(session, change, arguments, limits, false).await? {
                Ran::Done(count) => count,
                Ran::Refused => return Ok(Ran::Refused),
            },
            Action::Select(_) => return Err(SqlError::internal("a SELECT writes nothing")),
        };
        let tag = match self.action {
            Action::Insert(_) => format!("INSERT 0 {count}"),
            Action::Update(_) => format!("UPDATE {count}"),
            _ => format!("DELETE {count}"),
        };
        Ok(Ran::Done(Outcome::Command(tag)))
    }

    async fn insert(
        &self,
        session: &mut Session,
        rows: &[Row],
        arguments: &Arguments<'_>,
        limits: &Limits,
    ) -> SqlResult<u64> {
        // All of them are evaluated before the first is written, as the ordinary route does.
        let mut ready = Vec::with_capacity(rows.len());
        for row in rows {
            let fixed = self.fixed(&row.fixed, arguments)?;
            let mut stored = vec![Datum::Null; self.table.schema.columns.len()];
            for (column, assigned) in self.table.schema.live().zip(&row.values) {
                self.store(&mut stored, column.id, *assigned, (&fixed, &[]), arguments)?;
            }
            ready.push(stored);
        }
        for stored in &ready {
            let transaction = session.write_transaction("INSERT")?;
            let inserted = limits.race(transaction.insert(&self.table, stored)).await?;
            inserted.map_err(|error| describe(session, error, &self.table, stored))?;
        }
        Ok(ready.len() as u64)
    }

    async fn change(
        &self,
        session: &mut Session,
        change: &Change,
        arguments: &Arguments<'_>,
        limits: &Limits,
        is_update: bool,
    ) -> SqlResult<Ran<u64>> {
        let fixed = self.fixed(&change.fixed, arguments)?;
        let columns: Vec<ColumnId> = change.values.iter().map(|(id, _)| *id).collect();
        let mode = lock_mode(&self.table, is_update.then_some(columns.as_slice()));
        let transaction = session.write_transaction(COMMAND)?;
        let view = transaction.view();
        if !Arc::ptr_eq(view.catalog(), &self.catalog) {
            return Ok(Ran::Refused);
        }
        let mut table = view.table(self.table.id)?;
        let Some(found) = self.find(&table, &change.access, arguments)? else { return Ok(Ran::Refused) };
        let Some((mut row, found)) = found.into_iter().next() else { return Ok(Ran::Done(0)) };
        // Nobody waits for a lock with a page in hand.
        let mut stored = found.map_or_else(|| table.row(row), Ok)?.to_datums(&self.table.schema)?;
        if !self.holds(change.filter.as_ref(), arguments, &stored)? {
            return Ok(Ran::Done(0));
        }
        match limits.race(transaction.lock_row(&table, row, mode)).await?? {
            Locked::Current => {}
            Locked::Gone => return Ok(Ran::Done(0)),
            Locked::Moved(newest) => {
                // It is committed and locked: a new snapshot sees it, and it stays.
                table = transaction.view().table(self.table.id)?;
                if !table.is_visible(newest)? {
                    return Ok(Ran::Refused);
                }
                row = newest;
                stored = table.row(row)?.to_datums(&self.table.schema)?;
                if !self.holds(change.recheck.as_ref(), arguments, &stored)? {
                    return Ok(Ran::Done(0));
                }
            }
        }
        if is_update {
            self.update(session, change, arguments, limits, &fixed, (&table, row, stored)).await?;
        } else {
            session.write_transaction(COMMAND)?.delete(&table, row)?;
        }
        Ok(Ran::Done(1))
    }

    async fn update(
        &self,
        session: &mut Session,
        change: &Change,
        arguments: &Arguments<'_>,
        limits: &Limits,
        fixed: &[ArrayRef],
        (table, row, mut stored): (&TableView, RowId, Vec<Datum>),
    ) -> SqlResult<()> {
        let computed = match change.computed.is_empty() {
            true => Vec::new(),
            false => change.computed.evaluate(&self.table, arguments, |id| column(&stored, id))?,
        };
        for (id, assigned) in &change.values {
            self.store(&mut stored, *id, *assigned, (fixed, &computed), arguments)?;
        }
        let transaction = session.write_transaction("UPDATE")?;
        let updated = limits.race(transaction.update(table, row, &stored)).await?;
        updated.map_err(|error| describe(session, error, &self.table, &stored))?;
        Ok(())
    }

    fn holds(
        &self,
        filter: Option<&Program>,
        arguments: &Arguments<'_>,
        stored: &[Datum],
    ) -> SqlResult<bool> {
        match filter {
            Some(filter) => filter.holds(&self.table, arguments, |id| column(stored, id)),
            None => Ok(true),
        }
    }

    /// Values that need no row.
    fn fixed(&self, program: &Program, arguments: &Arguments<'_>) -> SqlResult<Vec<ArrayRef>> {
        if program.is_empty() {
            return Ok(Vec::new());
        }
        let no_row = |_| Err(SqlError::internal("a value depends on a row that is not there"));
        program.evaluate(&self.table, arguments, no_row)
    }

    /// Puts a value into its column of a row that is to be stored.
    fn store(
        &self,
        stored: &mut [Datum],
        id: ColumnId,
        assigned: Assigned,
        (fixed, computed): (&[ArrayRef], &[ArrayRef]),
        arguments: &Arguments<'_>,
    ) -> SqlResult<()> {
        let missing = || SqlError::internal("a value is missing");
        let column = self.table.schema.column(id).ok_or_else(missing)?;
        let array = |array| -> SqlResult<Datum> { datums(array, column)?.pop().ok_or_else(missing) };
        let value = match assigned {
            Assigned::Fixed(place) => array(fixed.get(place).ok_or_else(missing)?)?,
            Assigned::Computed(place) => array(computed.get(place).ok_or_else(missing)?)?,
            Assigned::Parameter(index) => {
                let parameter = arguments.parameters.get(index).ok_or_else(missing)?;
                match scalar_to_datum(parameter, &column.column_type) {
                    Some(mut value) => {
                        check_length(&mut value, column)?;
                        value
                    }
                    None => array(&parameter.to_array()?)?,
                }
            }
        };
        *stored.get_mut(id.get() as usize).ok_or_else(missing)? = value;
        Ok(())
    }
}

fn column(stored: &[Datum], id: ColumnId) -> SqlResult<Datum> {
    stored.get(id.get() as usize).cloned().ok_or_else(|| SqlError::internal("a column is missing"))
}
