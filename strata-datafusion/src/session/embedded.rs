//! What embedded users call: statements with values in, batches out.

use datafusion::arrow::record_batch::RecordBatch;
use datafusion::scalar::ScalarValue;
use futures::StreamExt;

use super::Session;
use super::types::{Outcome, Parameter};
use crate::error::{SqlError, SqlResult};
use crate::io::load::LoadError;
use crate::sql::dml::stored_batch;
use strata_core::catalog::Catalog;

impl Session {
    /// Runs the statements of a query string and collects the rows of those that return some. What is not in a
    /// transaction block is committed, durably, when this returns.
    ///
    /// `parameters` stand for `$1`, `$2`, … of a single statement.
    ///
    /// # Errors
    /// As SQL clients see them; what was implicit is rolled back then.
    pub async fn query(&mut self, sql: &str, parameters: &[ScalarValue]) -> SqlResult<Vec<RecordBatch>> {
        let result = self.query_statements(sql, parameters).await;
        match result {
            Ok(batches) => {
                self.finish_implicit().await?;
                Ok(batches)
            }
            Err(error) => {
                self.fail().await;
                Err(error)
            }
        }
    }

    async fn query_statements(
        &mut self,
        sql: &str,
        parameters: &[ScalarValue],
    ) -> SqlResult<Vec<RecordBatch>> {
        self.cancel_handle().reset();
        let texts: Vec<Option<String>> = parameters.iter().map(parameter_text).collect::<SqlResult<_>>()?;
        let bound: Vec<Parameter<'_>> = texts
            .iter()
            .map(|text| Parameter { binary: false, value: text.as_deref().map(str::as_bytes) })
            .collect();
        let mut collected = Vec::new();
        for statement in self.parse(sql)? {
            let prepared = self.prepare(&statement, &[]).await?;
            match self.execute(&prepared, &bound).await?.streamed()? {
                Outcome::Rows(mut rows) => {
                    while let Some(batch) = rows.batches.next().await {
                        collected.push(batch?);
                    }
                }
                Outcome::Command(_) | Outcome::Empty => {}
                _ => return Err(SqlError::unsupported("COPY with a client needs a connection; use a file")),
            }
        }
        Ok(collected)
    }

    /// Appends a batch to a table of the search path: columns in the table's order, of types that cast to the table's.
    /// Large batches go straight into column blocks. Joins the open transaction block, or commits by itself.
    ///
    /// # Errors
    /// `42P01`, `23505`, `23502`, `22…` for values that do not fit; nothing is kept then.
    pub async fn append(&mut self, table: &str, batch: &RecordBatch) -> SqlResult<u64> {
        let appended = self.append_batch(table, batch).await;
        match appended {
            Ok(rows) => {
                self.finish_implicit().await?;
                Ok(rows)
            }
            Err(error) => {
                self.fail().await;
                Err(error)
            }
        }
    }

    async fn append_batch(&mut self, table: &str, batch: &RecordBatch) -> SqlResult<u64> {
        let path = self.search_path();
        let catalog = self.write_transaction("COPY")?.newest_catalog();
        let loaded = self.load_batch(&catalog, &path, table, batch).await;
        loaded.map_err(|error| match error {
            LoadError::Engine(error) => self.engine_error(error, &catalog),
            LoadError::Sql(error) => error,
        })
    }

    async fn load_batch(
        &mut self,
        catalog: &Catalog,
        path: &[String],
        table: &str,
        batch: &RecordBatch,
    ) -> Result<u64, LoadError> {
        let txn = self.write_transaction("COPY")?;
        let found = path.iter().find_map(|schema| catalog.table_by_name(schema, table).ok());
        let id =
            found.ok_or_else(|| SqlError::new("42P01", format!("relation \"{table}\" does not exist")))?.id;
        let mut load = txn.bulk_load(id).await?;
        let def = load.table().clone();
        if batch.num_columns() != def.schema.live().count() {
            return Err(SqlError::syntax(format!("the batch has {} columns", batch.num_columns())).into());
        }
        load.append(&stored_batch(&def, batch)?)?;
        Ok(load.finish().await?)
    }
}

/// A value as Bind brings it in text format; `None` for NULL.
fn parameter_text(value: &ScalarValue) -> SqlResult<Option<String>> {
    if value.is_null() {
        return Ok(None);
    }
    Ok(Some(match value {
        ScalarValue::Binary(Some(bytes))
        | ScalarValue::LargeBinary(Some(bytes))
        | ScalarValue::BinaryView(Some(bytes)) => {
            let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            format!("\\x{digits}")
        }
        other => {
            let array = other.to_array()?;
            datafusion::arrow::util::display::array_value_to_string(&array, 0)
                .map_err(|error| SqlError::internal(error.to_string()))?
        }
    }))
}
