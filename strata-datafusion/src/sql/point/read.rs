//! SELECT by a point plan.

use std::sync::Arc;

use datafusion::arrow::array::ArrayRef;
use datafusion::arrow::datatypes::{Field, Schema};
use datafusion::arrow::record_batch::RecordBatch;
use futures::StreamExt;
use strata_core::ids::{ColumnId, RowId};
use strata_core::row::Datum;
use strata_core::table::{ReadView, TableRow, TableView};

use super::access::Keys;
use super::{Action, Arguments, Outputs, PointPlan, Ran, Select};
use crate::error::{SqlError, SqlResult};
use crate::postgres::wire::PointRows;
use crate::session::types::{RowStream, RowsTag};

/// Rows that a point plan looks at; where there may be more, the ordinary route is as good.
const MAX_ROWS: usize = 256;

/// A row, and what it holds where finding it has told.
pub(super) type Found = (RowId, Option<TableRow>);

/// Columns from which on the row is read whole: frozen rows that are looked up again have their values side by side.
const WHOLE_ROW: usize = 3;

/// The rows of a SELECT.
pub(crate) enum Read {
    /// Of plain columns.
    Rows(PointRows),
    /// Of expressions.
    Stream(RowStream),
}

impl PointPlan {
    /// Reads what `view` shows, whose catalog must be the plan's.
    pub(crate) fn read(
        &self,
        view: &ReadView,
        arguments: &Arguments<'_>,
        time_zone: &Arc<str>,
    ) -> SqlResult<Ran<Read>> {
        let Action::Select(select) = &self.action else {
            return Err(SqlError::internal("not a SELECT"));
        };
        let table = view.table(self.table.id)?;
        let Some(rows) = self.find(&table, &select.access, arguments)? else { return Ok(Ran::Refused) };
        // One at a time: each may hold a page.
        let rows = rows.into_iter().map(|(row, found)| found.map_or_else(|| table.row(row), Ok));
        match &select.outputs {
            Outputs::Columns(columns) => {
                let mut values = Vec::with_capacity(rows.len());
                for stored in rows {
                    let stored = stored?;
                    let schema = &self.table.schema;
                    let whole = (columns.len() >= WHOLE_ROW).then(|| stored.to_datums(schema)).transpose()?;
                    let datum = |id: ColumnId| match &whole {
                        Some(values) => Ok(values.get(id.get() as usize).cloned().unwrap_or(Datum::Null)),
                        None => Ok(stored.datum(schema, id)?),
                    };
                    if let Some(filter) = &select.filter
                        && !filter.holds(&self.table, arguments, datum)?
                    {
                        continue;
                    }
                    values.push(columns.iter().map(|id| datum(*id)).collect::<SqlResult<Vec<Datum>>>()?);
                }
                let fields = Arc::clone(&select.fields);
                let table = Arc::clone(&self.table);
                let columns = Arc::clone(columns);
                let time_zone = Arc::clone(time_zone);
                Ok(Ran::Done(Read::Rows(PointRows { fields, table, columns, rows: values, time_zone })))
            }
            Outputs::Computed(program) => {
                let mut results = Vec::with_capacity(rows.len());
                for stored in rows {
                    let stored = stored?;
                    let datum = |id: ColumnId| Ok(stored.datum(&self.table.schema, id)?);
                    if let Some(filter) = &select.filter
                        && !filter.holds(&self.table, arguments, datum)?
                    {
                        continue;
                    }
                    results.push(program.evaluate(&self.table, arguments, datum)?);
                }
                stream(select, results, time_zone).map(|stream| Ran::Done(Read::Stream(stream)))
            }
        }
    }

    /// The visible rows with the keys that are asked for; `None` where there are many.
    pub(super) fn find(
        &self,
        table: &TableView,
        access: &super::access::Access,
        arguments: &Arguments<'_>,
    ) -> SqlResult<Option<Vec<Found>>> {
        if !table.index_is_whole(access.index) {
            // What this transaction has loaded in bulk, or made the index over, is found once it commits.
            return Ok(None);
        }
        let keys = match access.keys(&self.table, arguments)? {
            Ran::Done(keys) => keys,
            Ran::Refused => return Ok(None),
        };
        match keys {
            Keys::None => Ok(Some(Vec::new())),
            Keys::One(key) => {
                let found = table.first_row(access.index, &key)?;
                Ok(Some(found.into_iter().map(|(row, stored)| (row, Some(stored))).collect()))
            }
            Keys::Range(lower, upper) => {
                let mut rows = Vec::new();
                for row in table.range(access.index, lower, upper, false)? {
                    if rows.len() == MAX_ROWS {
                        return Ok(None);
                    }
                    rows.push((row?, None));
                }
                Ok(Some(rows))
            }
        }
    }
}

fn stream(select: &Select, results: Vec<Vec<ArrayRef>>, time_zone: &Arc<str>) -> SqlResult<RowStream> {
    let fields = Arc::clone(&select.fields);
    let mut schema = Arc::new(Schema::empty());
    let mut batches = Vec::with_capacity(results.len());
    for arrays in results {
        let named = fields.iter().zip(&arrays);
        let named = named.map(|(field, array)| Field::new(&field.name, array.data_type().clone(), true));
        schema = Arc::new(Schema::new(named.collect::<Vec<_>>()));
        let batch = RecordBatch::try_new(Arc::clone(&schema), arrays)
            .map_err(|error| SqlError::internal(error.to_string()))?;
        batches.push(Ok(batch));
    }
    let batches = futures::stream::iter(batches).boxed();
    Ok(RowStream { fields, schema, batches, tag: RowsTag::Select, time_zone: Arc::clone(time_zone) })
}
