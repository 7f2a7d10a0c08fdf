//! Tables as DataFusion sees them.
//!
//! A [`StrataTable`] names a table and its columns, nothing live: plans that hold it can be cached. What is read is
//! decided when the scan is planned, by the [`StatementContext`] in the session's configuration. All scans of one statement
//! so see one instant.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::catalog::{ScanArgs, ScanResult, Session, TableProvider};
use datafusion::common::tree_node::TreeNode;
use datafusion::common::{Constraint, Constraints, DFSchema};
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType};
use datafusion::physical_expr::{PhysicalExpr, split_conjunction};
use datafusion::physical_plan::ExecutionPlan;
use strata_core::catalog::TableDef;
use strata_core::ids::{RowId, SchemaVersion, TableId};
use strata_core::row::{Column, arrow_type};
use strata_core::table::ReadView;

use crate::postgres::types::PgType;
use crate::scalar::engine_error;
use crate::scan::{ColumnSource, ScanRequest, ScanSource, StrataScanExec, read_predicate};
use crate::session::CancelHandle;

/// The name of the column that DML targets have as their last.
pub const ROW_ID_COLUMN: &str = "_rowid";

/// What the scans of one statement read: an extension of its `SessionConfig`.
#[derive(Clone)]
pub struct StatementContext {
    /// The snapshot and the transaction's own writes so far.
    pub view: ReadView,
    /// Ends the statement's scans.
    pub cancel: CancelHandle,
    /// Of this table, read with RowIds, only these rows, ascending.
    pub(crate) target_rows: Option<(TableId, Arc<[RowId]>)>,
}

impl StatementContext {
    /// The context of a statement that reads `view`.
    pub fn new(view: ReadView) -> Self {
        Self { view, cancel: CancelHandle::default(), target_rows: None }
    }

    /// Restricts the scan of a DML statement's target to these rows.
    pub(crate) fn with_target_rows(mut self, table: TableId, mut rows: Vec<RowId>) -> Self {
        rows.sort_unstable();
        rows.dedup();
        self.target_rows = Some((table, rows.into()));
        self
    }

    /// With a handle that cancels the statement.
    pub fn with_cancel(mut self, cancel: CancelHandle) -> Self {
        self.cancel = cancel;
        self
    }
}

impl fmt::Debug for StatementContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StatementContext").finish_non_exhaustive()
    }
}

/// A table of the catalog, at one version of its schema.
#[derive(Debug)]
pub struct StrataTable {
    id: TableId,
    name: String,
    version: SchemaVersion,
    schema: SchemaRef,
    columns: Arc<[ColumnSource]>,
    constraints: Constraints,
}

impl StrataTable {
    /// The table with its live columns.
    pub fn new(table: &TableDef) -> Self {
        Self::with_columns(table, false)
    }

    /// The table with its live columns and, as the last, `_rowid`: what DML reads its targets from.
    pub fn with_row_id(table: &TableDef) -> Self {
        Self::with_columns(table, true)
    }

    fn with_columns(table: &TableDef, has_row_id: bool) -> Self {
        let mut fields: Vec<Field> = table.schema.live().map(field_of).collect();
        let mut columns: Vec<ColumnSource> =
            table.schema.live().map(|column| ColumnSource::Stored(column.id)).collect();
        if has_row_id {
            fields.push(Field::new(ROW_ID_COLUMN, DataType::UInt64, false));
            columns.push(ColumnSource::RowId);
        }
        let place = |column| columns.iter().position(|source| *source == ColumnSource::Stored(column));
        let key = table.primary_key().and_then(|index| {
            index.columns.iter().map(|part| place(part.column)).collect::<Option<Vec<usize>>>()
        });
        Self {
            id: table.id,
            name: table.name.clone(),
            version: table.schema.version,
            schema: Arc::new(Schema::new(fields)),
            constraints: Constraints::new_unverified(key.map(Constraint::PrimaryKey).into_iter().collect()),
            columns: columns.into(),
        }
    }

    /// The table's id.
    pub fn id(&self) -> TableId {
        self.id
    }

    /// The rows that the statement restricts its target to.
    fn target_rows(&self, state: &dyn Session) -> Option<Arc<[RowId]>> {
        if !self.columns.contains(&ColumnSource::RowId) {
            return None;
        }
        let context = state.config().get_extension::<StatementContext>()?;
        let (table, rows) = context.target_rows.as_ref()?;
        (*table == self.id).then(|| Arc::clone(rows))
    }

    /// What the statement reads of the table: the rows that pass all `conditions`.
    fn open(&self, state: &dyn Session, conditions: &[Arc<dyn PhysicalExpr>]) -> Result<ScanSource> {
        let context = state.config().get_extension::<StatementContext>().ok_or_else(|| {
            DataFusionError::Internal(format!("table {} is scanned outside of a statement", self.name))
        })?;
        let table = context.view.table(self.id).map_err(engine_error)?;
        if table.def().schema.version != self.version {
            return Err(DataFusionError::Internal(format!("the plan of table {} is out of date", self.name)));
        }
        let table = if table.is_tracked() {
            let predicate = read_predicate(&table, &self.schema, &self.columns, conditions)?;
            table.declare(predicate)
        } else {
            table
        };
        ScanSource::new(table, Arc::clone(&self.schema), Arc::clone(&self.columns), context.cancel.clone())
    }
}

/// A column as a field: its Arrow type, and its Postgres type where that does not follow from it.
fn field_of(column: &Column) -> Field {
    let data_type = arrow_type(&column.column_type);
    let pg_type = PgType::from(column.sql_type);
    let is_told = pg_type.oid == 0 || PgType::natural(&data_type) == pg_type;
    let field = Field::new(&column.name, data_type, column.nullable);
    if is_told { field } else { field.with_metadata(pg_type.metadata()) }
}

/// Whether a scan can evaluate a filter by itself, with the same result each time.
fn is_exact(filter: &Expr) -> bool {
    let is_foreign = |expr: &Expr| {
        matches!(
            expr,
            Expr::ScalarSubquery(_)
                | Expr::InSubquery(_)
                | Expr::Exists(_)
                | Expr::SetComparison(_)
                | Expr::OuterReferenceColumn(..)
                | Expr::Placeholder(_)
        )
    };
    !filter.is_volatile() && !filter.exists(|expr| Ok(is_foreign(expr))).unwrap_or(true)
}

#[async_trait]
impl TableProvider for StrataTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn constraints(&self) -> Option<&Constraints> {
        Some(&self.constraints)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let schema = DFSchema::try_from(Arc::clone(&self.schema))?;
        let mut conditions = Vec::with_capacity(filters.len());
        for filter in filters {
            let filter = state.create_physical_expr(filter.clone(), &schema)?;
            conditions.extend(split_conjunction(&filter).into_iter().map(Arc::clone));
        }
        let request = ScanRequest {
            source: Arc::new(self.open(state, &conditions)?),
            projection: projection.cloned().unwrap_or_else(|| (0..self.schema.fields().len()).collect()),
            filters: conditions,
            fetch: limit,
            target_partitions: state.config().target_partitions(),
            rows: self.target_rows(state),
        };
        Ok(Arc::new(StrataScanExec::plan(request)?))
    }

    async fn scan_with_args<'a>(&self, state: &dyn Session, args: ScanArgs<'a>) -> Result<ScanResult> {
        let projection = args.projection().map(<[usize]>::to_vec);
        let plan = self.scan(state, projection.as_ref(), args.filters().unwrap_or(&[]), args.limit()).await?;
        Ok(ScanResult::new(plan))
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        let answer = |filter: &&Expr| match is_exact(filter) {
            true => TableProviderFilterPushDown::Exact,
            false => TableProviderFilterPushDown::Unsupported,
        };
        Ok(filters.iter().map(answer).collect())
    }
}
