//! A system relation: its columns, and the table provider that makes its rows.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use async_trait::async_trait;
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::arrow::record_batch::{RecordBatch, RecordBatchOptions};
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::Result;
use datafusion::datasource::memory::MemorySourceConfig;
use datafusion::logical_expr::{Expr, TableType};
use datafusion::physical_plan::ExecutionPlan;
use strata_core::catalog::Catalog;
use strata_core::table::ReadView;

use super::{INFORMATION_SCHEMA, PG_CATALOG, Rows, Value, ViewColumns, fixed};
use crate::error::{SqlError, SqlResult};
use crate::postgres::information_schema;
use crate::postgres::types::{PgType, oid};
use crate::provider::StatementContext;

/// A column of a system relation.
#[derive(Debug)]
pub(crate) struct SystemColumn {
    pub(crate) name: &'static str,
    pub(crate) pg_type: PgType,
    pub(crate) required: bool,
}

impl SystemColumn {
    fn field(&self) -> SqlResult<Field> {
        // These two are written as text with blanks between, and used as arrays.
        let item = match self.pg_type.oid {
            oid::INT2VECTOR => Some(DataType::Int16),
            oid::OIDVECTOR => Some(DataType::Int64),
            _ => None,
        };
        match item {
            Some(item) => {
                let list = DataType::List(Arc::new(Field::new("item", item, true)));
                Ok(Field::new(self.name, list, !self.required).with_metadata(self.pg_type.metadata()))
            }
            None => self.pg_type.field(self.name, !self.required),
        }
    }

    /// What stands for nothing where NULL is not allowed.
    pub(super) fn zero(&self) -> Value {
        if self.pg_type.category() == 'A' {
            return Value::List(Vec::new());
        }
        match self.pg_type.oid {
            oid::BOOL => Value::Bool(false),
            oid::FLOAT4 | oid::FLOAT8 => Value::Float(0.0),
            _ if matches!(self.pg_type.category(), 'N' | 'U' | 'D') => Value::Int(0),
            _ => Value::Text(String::new()),
        }
    }
}

/// Makes a relation's rows.
pub(crate) type Maker = fn(&Scan<'_>, &mut Rows);

/// A relation of `pg_catalog` or `information_schema`.
pub(crate) struct SystemRelation {
    pub(crate) schema_name: &'static str,
    pub(crate) name: &'static str,
    pub(crate) oid: i64,
    pub(crate) kind: &'static str,
    pub(crate) columns: Vec<SystemColumn>,
    pub(crate) schema: SchemaRef,
    maker: Option<Maker>,
}

impl SystemRelation {
    /// Its schema's OID.
    pub(crate) fn namespace(&self) -> i64 {
        if self.schema_name == PG_CATALOG { fixed::PG_CATALOG } else { fixed::INFORMATION_SCHEMA }
    }

    /// Its rows.
    pub(super) fn rows(&'static self, scan: &Scan<'_>) -> SqlResult<RecordBatch> {
        let mut rows = Rows::new(self);
        if let Some(maker) = self.maker {
            maker(scan, &mut rows);
        }
        let columns = rows.finish()?;
        let count = columns.first().map_or(0, |column| column.len());
        let options = RecordBatchOptions::new().with_row_count(Some(count));
        RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options)
            .map_err(|error| SqlError::internal(format!("{}: {error}", self.name)))
    }

    /// Whether nothing makes rows of it.
    pub(super) fn is_empty(&self) -> bool {
        self.maker.is_none()
    }

    /// Whether its rows tell of views' columns.
    pub(super) fn lists_columns(&self) -> bool {
        matches!((self.schema_name, self.name), (PG_CATALOG, "pg_attribute" | "pg_class"))
            || (self.schema_name == INFORMATION_SCHEMA && matches!(self.name, "columns"))
    }
}

static RELATIONS: LazyLock<Vec<SystemRelation>> =
    LazyLock::new(|| include_str!("relations.tsv").lines().filter_map(parse).collect());

static BY_NAME: LazyLock<HashMap<(&str, &str), &SystemRelation>> = LazyLock::new(|| {
    RELATIONS.iter().map(|relation| ((relation.schema_name, relation.name), relation)).collect()
});

fn parse(line: &'static str) -> Option<SystemRelation> {
    let mut cells = line.split('\t');
    let (schema_name, name) = (cells.next()?, cells.next()?);
    let (oid, kind) = (cells.next()?.parse().ok()?, cells.next()?);
    let columns: Vec<SystemColumn> = cells
        .next()?
        .split(' ')
        .filter_map(|column| {
            let (name, pg_type) = column.split_once(':')?;
            let (oid, required) = match pg_type.strip_suffix('!') {
                Some(oid) => (oid, true),
                None => (pg_type, false),
            };
            Some(SystemColumn { name, pg_type: PgType::new(oid.parse().ok()?), required })
        })
        .collect();
    let fields = columns.iter().map(SystemColumn::field).collect::<SqlResult<Vec<_>>>().ok()?;
    let maker = if schema_name == PG_CATALOG { maker(name) } else { information_schema::maker(name) };
    Some(SystemRelation {
        schema_name,
        name,
        oid,
        kind,
        columns,
        schema: Arc::new(Schema::new(fields)),
        maker,
    })
}

fn maker(name: &str) -> Option<Maker> {
    super::objects::maker(name)
        .or_else(|| super::types::maker(name))
        .or_else(|| super::server::maker(name))
        .or_else(|| super::statistics::maker(name))
}

/// All system relations.
pub(crate) fn system_relations() -> &'static [SystemRelation] {
    &RELATIONS
}

/// The system relation of this name.
pub(super) fn find(schema: &str, name: &str) -> Option<&'static SystemRelation> {
    BY_NAME.get(&(schema, name)).copied()
}

/// What makers of rows draw on.
pub(crate) struct Scan<'a> {
    pub(crate) catalog: &'a Catalog,
    /// What the statement reads.
    pub(crate) view: Option<&'a ReadView>,
    pub(crate) view_columns: &'a ViewColumns,
    /// The session's zone.
    pub(crate) time_zone: &'a str,
}

/// A system relation as a statement sees it.
pub(super) struct SystemTable {
    relation: &'static SystemRelation,
    catalog: Arc<Catalog>,
    view_columns: ViewColumns,
}

impl SystemTable {
    pub(super) fn new(
        relation: &'static SystemRelation,
        catalog: Arc<Catalog>,
        view_columns: ViewColumns,
    ) -> Self {
        Self { relation, catalog, view_columns }
    }
}

impl std::fmt::Debug for SystemTable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.relation.schema_name, self.relation.name)
    }
}

#[async_trait]
impl TableProvider for SystemTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.relation.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::View
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        _filters: &[Expr],
        _limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let context = state.config().get_extension::<StatementContext>();
        let scan = Scan {
            catalog: &self.catalog,
            view: context.as_ref().map(|context| &context.view),
            view_columns: &self.view_columns,
            time_zone: state.config().options().execution.time_zone.as_deref().unwrap_or("UTC"),
        };
        let batch = self.relation.rows(&scan)?;
        Ok(MemorySourceConfig::try_new_exec(&[vec![batch]], self.schema(), projection.cloned())?)
    }
}
