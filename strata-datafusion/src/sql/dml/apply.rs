//! Applying the result of a DML statement's query to the transaction.

use std::sync::Arc;

use datafusion::arrow::array::Array;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::arrow::record_batch::{RecordBatch, RecordBatchOptions};
use datafusion::logical_expr::LogicalPlan;
use futures::StreamExt;
use strata_core::catalog::TableDef;
use strata_core::ids::{ColumnId, RowId};
use strata_core::memory::{MemoryPool, Reservation};
use strata_core::row::{ColumnBuilder, Datum};
use strata_core::table::{Locked, MIN_BULK_ROWS, TableView};
use strata_core::txn::RowLockMode;

use super::plan::{Action, DmlPlan, plan};
use super::returning;
use super::targets::{Found, Targets, bytes_of};
use super::values::{datums, exactly, fit_lengths};
use crate::error::{SqlError, SqlResult};
use crate::io::load::LoadError;
use crate::postgres::types::PgType;
use crate::session::Session;
use crate::session::prepared::Prepared;
use crate::session::run::{self, Limits};
use crate::session::types::{Outcome, Parameter, RowStream, RowsTag};
use crate::sql::plan::Planner;
use crate::sql::target::{TargetUse, lock_planned};

pub(super) async fn run(
    session: &mut Session,
    prepared: &Prepared,
    parameters: &[Parameter<'_>],
    limits: Limits,
) -> SqlResult<Outcome> {
    let statement = Statement { prepared, parameters, limits };
    let (dml, planner) = statement.lock_target(session).await?;
    let written = match &dml.action {
        Action::Insert => statement.insert(session, &dml, planner).await?,
        Action::Update(columns) => statement.change(session, &dml, planner, Some(columns)).await?,
        Action::Delete => statement.change(session, &dml, planner, None).await?,
    };
    let tag = match dml.action {
        Action::Insert => format!("INSERT 0 {}", written.count),
        Action::Update(_) => format!("UPDATE {}", written.count),
        Action::Delete => format!("DELETE {}", written.count),
    };
    match &dml.returning {
        None => Ok(Outcome::Command(tag)),
        Some(plan) => statement.returning(session, &dml, plan.clone(), &written.rows, tag).await,
    }
}

/// What a statement has written.
struct Written {
    count: u64,
    /// The rows, all columns, if RETURNING wants them.
    rows: Vec<Vec<Datum>>,
    /// What they take of the database's memory.
    memory: Reservation,
}

impl Written {
    fn new(pool: &MemoryPool) -> Self {
        Self { count: 0, rows: Vec::new(), memory: pool.empty("rows to be returned") }
    }

    /// Keeps a row for RETURNING.
    fn keep(&mut self, row: Vec<Datum>) -> SqlResult<()> {
        self.memory.grow(bytes_of(&row))?;
        self.rows.push(row);
        Ok(())
    }
}

struct Statement<'a> {
    prepared: &'a Prepared,
    parameters: &'a [Parameter<'a>],
    limits: Limits,
}

impl Statement<'_> {
    /// Plans the statement and locks its table, until the plan is that of the table as it is locked.
    async fn lock_target(&self, session: &mut Session) -> SqlResult<(DmlPlan, Planner)> {
        let ast = self.prepared.statement().ast();
        loop {
            let (planner, _) = session.start_statement()?;
            let mut oids = self.prepared.parameter_oids().to_vec();
            let (dml, planner) = plan(planner, &session.search_path(), ast, &mut oids)?;
            if lock_planned(session, &dml.table, TargetUse::Write, &self.limits).await? {
                return Ok((dml, planner));
            }
        }
    }

    fn bind(&self, session: &mut Session, plan: LogicalPlan) -> SqlResult<LogicalPlan> {
        if self.parameters.is_empty() {
            return Ok(plan);
        }
        session.bind(plan, self.prepared.parameter_oids(), self.parameters)
    }

    async fn insert(&self, session: &mut Session, dml: &DmlPlan, planner: Planner) -> SqlResult<Written> {
        let query = match &dml.rows {
            Some(rows) => {
                let oids = self.prepared.parameter_oids();
                let values = session.parameter_values(oids, self.parameters)?;
                let context = session.cast_context()?;
                returning::over_rows(dml.query.clone(), rows.batch(&values, &context)?)?
            }
            None => self.bind(session, dml.query.clone())?,
        };
        let (_, mut batches) =
            run::run(session.engine(), Arc::new(planner), query, self.limits.clone()).await?;
        let mut first: Vec<RecordBatch> = Vec::new();
        let mut rows = 0;
        while rows < MIN_BULK_ROWS
            && let Some(batch) = batches.next().await
        {
            let batch = batch?;
            rows += batch.num_rows();
            first.push(batch);
        }
        if rows < MIN_BULK_ROWS || dml.returning.is_some() {
            let mut written = Written::new(session.engine().database().pool());
            for batch in first {
                self.insert_batch(session, dml, &batch, &mut written).await?;
            }
            while let Some(batch) = batches.next().await {
                self.insert_batch(session, dml, &batch?, &mut written).await?;
            }
            return Ok(written);
        }
        let table = &dml.table;
        let catalog = session.write_transaction("INSERT")?.newest_catalog();
        let txn = session.write_transaction("INSERT")?;
        let loaded = async {
            let mut load = self.limits.race(txn.bulk_load(table.id)).await??;
            for batch in first {
                load.append(&stored_batch(table, &batch)?)?;
            }
            while let Some(batch) = batches.next().await {
                load.append(&stored_batch(table, &batch?)?)?;
            }
            Ok::<_, LoadError>(self.limits.race(load.finish()).await??)
        };
        match loaded.await {
            Ok(count) => Ok(Written { count, ..Written::new(session.engine().database().pool()) }),
            Err(LoadError::Engine(error)) => Err(session.engine_error(error, &catalog)),
            Err(LoadError::Sql(error)) => Err(error),
        }
    }

    async fn insert_batch(
        &self,
        session: &mut Session,
        dml: &DmlPlan,
        batch: &RecordBatch,
        written: &mut Written,
    ) -> SqlResult<()> {
        let table = &dml.table;
        let columns: Vec<_> = table.schema.live().collect();
        let values: Vec<Vec<Datum>> = columns
            .iter()
            .zip(batch.columns())
            .map(|(column, array)| datums(array, column))
            .collect::<SqlResult<_>>()?;
        for place in 0..batch.num_rows() {
            let mut row = vec![Datum::Null; table.schema.columns.len()];
            for (column, values) in columns.iter().zip(&values) {
                row[column.id.get() as usize] = values[place].clone();
            }
            let txn = session.write_transaction("INSERT")?;
            let inserted = self.limits.race(txn.insert(table, &row)).await?;
            inserted.map_err(|error| describe(session, error, table, &row))?;
            written.count += 1;
            if dml.returning.is_some() {
                written.keep(row)?;
            }
        }
        Ok(())
    }

    /// UPDATE (`columns` are set) or DELETE.
    async fn change(
        &self,
        session: &mut Session,
        dml: &DmlPlan,
        mut planner: Planner,
        columns: Option<&[ColumnId]>,
    ) -> SqlResult<Written> {
        let mode = lock_mode(&dml.table, columns);
        let query = self.bind(session, dml.query.clone())?;
        loop {
            let view = planner.relations().view().table(dml.table.id)?;
            let mut targets = self.find(session, dml, planner, query.clone(), columns).await?;
            if dml.is_simple {
                targets = targets.in_pieces();
            }
            let mut written = Written::new(session.engine().database().pool());
            let mut moved = Vec::new();
            while let Some(mut found) = targets.next().await? {
                self.lock(session, &view, &mut found, mode, &mut moved).await?;
                if moved.is_empty() || dml.is_simple {
                    self.write(session, dml, &view, found, columns, &mut written).await?;
                }
            }
            drop(targets);
            if moved.is_empty() {
                return Ok(written);
            }
            // The newest versions are committed and locked: a new snapshot sees them, and they stay.
            planner = session.start_statement()?.0.with_target(dml.name.clone());
            if !dml.is_simple {
                continue;
            }
            let newer = planner.relations().view().table(dml.table.id)?;
            let restricted = planner.with_target_rows(dml.table.id, moved);
            let mut again = self.find(session, dml, restricted, query.clone(), columns).await?.in_pieces();
            while let Some(found) = again.next().await? {
                self.write(session, dml, &newer, found, columns, &mut written).await?;
            }
            return Ok(written);
        }
    }

    /// Locks rows. Those that are as the view shows them stay in `found`; what others have become goes to `moved`.
    async fn lock(
        &self,
        session: &mut Session,
        view: &TableView,
        found: &mut Found,
        mode: RowLockMode,
        moved: &mut Vec<RowId>,
    ) -> SqlResult<()> {
        let mut others = Vec::new();
        for row in found.rows.keys() {
            let txn = session.write_transaction("UPDATE")?;
            match self.limits.race(txn.lock_row(view, *row, mode)).await?? {
                Locked::Current => continue,
                Locked::Moved(newest) => moved.push(newest),
                Locked::Gone => {}
            }
            others.push(*row);
        }
        for row in others {
            found.rows.remove(&row);
        }
        Ok(())
    }

    /// Runs the query.
    async fn find(
        &self,
        session: &Session,
        dml: &DmlPlan,
        planner: Planner,
        query: LogicalPlan,
        columns: Option<&[ColumnId]>,
    ) -> SqlResult<Targets> {
        let engine = session.engine();
        let (_, batches) = run::run(engine, Arc::new(planner), query, self.limits.clone()).await?;
        Ok(Targets::new(batches, &dml.table, columns, engine.database().pool()))
    }

    async fn write(
        &self,
        session: &mut Session,
        dml: &DmlPlan,
        view: &TableView,
        found: Found,
        columns: Option<&[ColumnId]>,
        written: &mut Written,
    ) -> SqlResult<()> {
        for (row, values) in &found.rows {
            let mut stored = Vec::new();
            if columns.is_some() || dml.returning.is_some() {
                stored = view.row(*row)?.to_datums(&dml.table.schema)?;
            }
            for (id, value) in columns.unwrap_or_default().iter().zip(values) {
                stored[id.get() as usize] = value.clone();
            }
            let txn = session.write_transaction("UPDATE")?;
            match columns {
                None => txn.delete(view, *row)?,
                Some(_) => {
                    let updated = self.limits.race(txn.update(view, *row, &stored)).await?;
                    updated.map_err(|error| describe(session, error, &dml.table, &stored))?;
                }
            }
            written.count += 1;
            if dml.returning.is_some() {
                written.keep(stored)?;
            }
        }
        Ok(())
    }

    async fn returning(
        &self,
        session: &mut Session,
        dml: &DmlPlan,
        plan: LogicalPlan,
        rows: &[Vec<Datum>],
        tag: String,
    ) -> SqlResult<Outcome> {
        let batch = table_batch(&dml.table, rows)?;
        let plan = returning::over_rows(self.bind(session, plan)?, batch)?;
        let fields = crate::session::prepared::result_fields(plan.schema());
        let (planner, _) = session.start_statement()?;
        let (schema, batches) =
            run::run(session.engine(), Arc::new(planner), plan, self.limits.clone()).await?;
        let time_zone = session.time_zone();
        Ok(Outcome::Rows(RowStream { fields, schema, batches, tag: RowsTag::Fixed(tag), time_zone }))
    }
}

/// FOR NO KEY UPDATE, unless a column of a unique index is set or the row goes.
pub(crate) fn lock_mode(table: &TableDef, columns: Option<&[ColumnId]>) -> RowLockMode {
    let keyed = |id: &ColumnId| {
        table
            .indexes
            .iter()
            .filter(|index| index.unique)
            .any(|index| index.columns.iter().any(|column| column.column == *id))
    };
    match columns {
        Some(columns) if !columns.iter().any(keyed) => RowLockMode::NoKeyUpdate,
        _ => RowLockMode::Update,
    }
}

/// An engine's error about a row, as Postgres says it.
pub(crate) fn describe(
    session: &mut Session,
    error: strata_core::Error,
    table: &TableDef,
    row: &[Datum],
) -> SqlError {
    match error {
        strata_core::Error::NotNull { column } => {
            let values = table.schema.live().map(|column| {
                let value = row.get(column.id.get() as usize).unwrap_or(&Datum::Null);
                value.display(&column.column_type).to_string()
            });
            let values: Vec<String> = values.collect();
            let message = format!(
                "null value in column \"{column}\" of relation \"{}\" violates not-null constraint",
                table.name
            );
            SqlError::new("23502", message)
                .with_detail(format!("Failing row contains ({}).", values.join(", ")))
        }
        other => {
            let catalog = strata_core::catalog::Catalog::default();
            session.engine_error(other, &catalog)
        }
    }
}

/// The table's columns as an Arrow schema.
fn table_schema(table: &TableDef) -> SqlResult<SchemaRef> {
    let fields = table.schema.live().map(|column| PgType::from(column.sql_type).field(&column.name, true));
    Ok(Arc::new(datafusion::arrow::datatypes::Schema::new(fields.collect::<SqlResult<Vec<_>>>()?)))
}

/// A query's batch as a bulk load takes it: the engine's types, lengths checked.
pub(crate) fn stored_batch(table: &TableDef, batch: &RecordBatch) -> SqlResult<RecordBatch> {
    let mut arrays = Vec::with_capacity(batch.num_columns());
    let mut fields = Vec::with_capacity(batch.num_columns());
    for (column, array) in table.schema.live().zip(batch.columns()) {
        let exact = fit_lengths(exactly(array, column)?, column)?;
        fields.push(datafusion::arrow::datatypes::Field::new(&column.name, exact.data_type().clone(), true));
        arrays.push(exact);
    }
    let schema = Arc::new(datafusion::arrow::datatypes::Schema::new(fields));
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(schema, arrays, &options)
        .map_err(|error| SqlError::internal(error.to_string()))
}

/// Rows of a table as one batch of its schema.
fn table_batch(table: &TableDef, rows: &[Vec<Datum>]) -> SqlResult<RecordBatch> {
    let mut arrays = Vec::new();
    for column in table.schema.live() {
        let mut builder = ColumnBuilder::new(&column.column_type, rows.len());
        for row in rows {
            builder.push_datum(row.get(column.id.get() as usize).unwrap_or(&Datum::Null))?;
        }
        arrays.push(builder.finish());
    }
    let options = RecordBatchOptions::new().with_row_count(Some(rows.len()));
    RecordBatch::try_new_with_options(table_schema(table)?, arrays, &options)
        .map_err(|error| SqlError::internal(error.to_string()))
}
