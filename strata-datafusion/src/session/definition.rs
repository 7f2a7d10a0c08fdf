//! What data definition asks of a session: a transaction that may write, defaults, names.

use datafusion::arrow::compute::{CastOptions, cast_with_options};
use datafusion::sql::sqlparser::ast::{self, Statement as Ast};
use futures::StreamExt;
use strata_core::catalog::Catalog;
use strata_core::catalog::change::NewColumn;
use strata_core::heap::column::Selection;
use strata_core::ids::{ColumnId, TableId};
use strata_core::row::{Datum, arrow_type, datum_at, describe_key};
use strata_core::table::{Isolation, TableView, Transaction, decode_index_key};
use strata_core::{Database, Error};

use super::run::{self, Limits};
use super::{Engine, Session};
use crate::error::{SqlError, SqlResult};
use crate::postgres::types::PgType;
use crate::sql::dml::{assign_as, check_length_of};
use crate::sql::names;

impl Session {
    /// What all sessions share.
    pub(crate) fn engine(&self) -> &Engine {
        &self.engine
    }

    /// The session's time zone.
    pub(crate) fn time_zone(&self) -> std::sync::Arc<str> {
        self.settings.get("TimeZone").into()
    }

    /// What now() says in the open transaction, in microseconds since 1970 UTC.
    pub(crate) fn transaction_start_micros(&mut self) -> SqlResult<i64> {
        Ok(self.transaction()?.began.timestamp_micros())
    }

    /// The database below.
    pub(crate) fn database(&self) -> &Database {
        &self.engine.database
    }

    /// The schemas that unqualified names are looked up in.
    pub(crate) fn search_path(&self) -> Vec<String> {
        names::search_path(self.settings.get("search_path"), &self.user)
    }

    /// The open transaction, for a statement that writes.
    pub(crate) fn write_transaction(&mut self, command: &str) -> SqlResult<&mut Transaction> {
        let open = self.transaction()?;
        if open.read_only {
            let message = format!("cannot execute {command} in a read-only transaction");
            return Err(SqlError::new("25006", message));
        }
        open.used = true;
        Ok(open.storage.inner())
    }

    /// Tells the client something that is no error.
    pub(crate) fn notice(&mut self, sqlstate: &'static str, message: String) {
        self.notices.push(SqlError::new(sqlstate, message));
    }

    /// An engine's error with the names that the catalog knows.
    pub(crate) fn engine_error(&mut self, error: Error, fallback: &Catalog) -> SqlError {
        let newest = self.transaction().ok().map(|open| open.storage.inner().newest_catalog());
        name_error(error, newest.as_deref().unwrap_or(fallback))
    }

    /// Makes sure that a default's expression can be planned as a value of its column.
    pub(crate) fn check_default(&mut self, default: &str, column: &str, pg_type: PgType) -> SqlResult<()> {
        let query = default_query(default, column, pg_type)?;
        let (planner, _) = self.start_statement()?;
        let plan = planner.plan_ast(query, &[])?;
        planner.analyze(plan)?;
        Ok(())
    }

    /// The value of a default now, for the rows that are there already.
    pub(crate) async fn constant_default(&mut self, default: &str, column: &NewColumn) -> SqlResult<Datum> {
        let query = default_query(default, &column.name, column.sql_type.into())?;
        let (planner, _) = self.start_statement()?;
        let plan = planner.plan_ast(query, &[])?;
        let limits = Limits::starting_now(self.cancel.clone(), std::time::Duration::ZERO);
        let (_, mut batches) = run::run(&self.engine, std::sync::Arc::new(planner), plan, limits).await?;
        let mut value = Datum::Null;
        while let Some(batch) = batches.next().await {
            let batch = batch?;
            if batch.num_rows() > 0 {
                let strict = CastOptions { safe: false, ..CastOptions::default() };
                let array = cast_with_options(batch.column(0), &arrow_type(&column.column_type), &strict)
                    .map_err(|error| SqlError::new("22000", error.to_string()))?;
                value = datum_at(array.as_ref(), 0, &column.column_type)?;
                check_length_of(&mut value, column.sql_type.into())?;
            }
        }
        Ok(value)
    }

    /// How many columns a view's query has. Fails where it cannot be planned.
    pub(crate) fn view_columns(&mut self, query: &str) -> SqlResult<usize> {
        let statement =
            crate::sql::parse::parse(query)?.pop().ok_or_else(|| SqlError::syntax("a view needs a query"))?;
        let (planner, _) = self.start_statement()?;
        let plan = planner.plan(&statement, &[])?;
        Ok(plan.schema().fields().len())
    }

    /// Whether any row has NULL in a column.
    pub(crate) fn has_nulls(&mut self, table: TableId, column: ColumnId) -> SqlResult<bool> {
        for view in self.views_for_constraint(table)? {
            if view_has_nulls(&view, column)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Whether a table has any row.
    pub(crate) fn has_rows(&mut self, table: TableId) -> SqlResult<bool> {
        Ok(self.views_for_constraint(table)?.iter().any(|view| view.row_count() > 0))
    }

    /// What must satisfy a new constraint of a table that is locked against all others: the rows there are now, and those
    /// that the transaction's snapshot shows, which it goes on reading by the new schema.
    fn views_for_constraint(&mut self, table: TableId) -> SqlResult<Vec<TableView>> {
        let txn = self.write_transaction("ALTER TABLE")?;
        let mut views = vec![txn.latest_view().table(table)?];
        if txn.isolation() != Isolation::ReadCommitted {
            views.push(txn.view_to_define().table(table)?);
        }
        Ok(views)
    }
}

fn view_has_nulls(view: &TableView, column: ColumnId) -> SqlResult<bool> {
    let schema = &view.def().schema;
    let contents = view.contents()?;
    for segment in contents.segments {
        let mut start = 0;
        while start < segment.slots() {
            let end = segment.slots().min(start + 8_192);
            let slots = view.visible_slots(&segment, start..end)?;
            start = end;
            let arrays = segment.read(schema, &[column], &Selection::Slots(slots))?;
            if arrays.iter().any(|array| array.null_count() > 0) {
                return Ok(true);
            }
        }
    }
    for (row, _) in contents.own_rows {
        if view.row(row)?.datum(schema, column)? == Datum::Null {
            return Ok(true);
        }
    }
    Ok(false)
}

/// `SELECT default`, as a value of its column.
fn default_query(default: &str, column: &str, pg_type: PgType) -> SqlResult<Ast> {
    let value = assign_as(&format!("({default})"), "default expression", column, pg_type);
    let text = format!("SELECT {value}");
    let statement =
        crate::sql::parse::parse(&text)?.pop().ok_or_else(|| SqlError::syntax("the default is empty"))?;
    match statement.ast() {
        query @ Ast::Query(inner) if matches!(inner.body.as_ref(), ast::SetExpr::Select(_)) => {
            Ok(query.clone())
        }
        _ => Err(SqlError::syntax(format!("\"{default}\" is no expression"))),
    }
}

/// An engine's error with the names of this catalog.
pub(super) fn name_error(error: Error, catalog: &Catalog) -> SqlError {
    let Error::DuplicateKey { table, index, key } = &error else { return error.into() };
    let Ok(table) = catalog.table(*table) else { return error.into() };
    let Some(index) = table.index(*index) else { return error.into() };
    let message = format!("duplicate key value violates unique constraint \"{}\"", index.name);
    let mut answer = SqlError::new("23505", message);
    if let Ok(values) = decode_index_key(table, index, key) {
        let columns = index.columns.iter().zip(&values).filter_map(|(column, value)| {
            let column = table.schema.column(column.column)?;
            Some((column.name.as_str(), value, &column.column_type))
        });
        answer.detail = Some(format!("{} already exists.", describe_key(columns)));
    }
    answer
}
