//! A statement that has been planned, with what the wire asks about it.

use std::sync::Arc;

use datafusion::common::DFSchema;
use datafusion::logical_expr::LogicalPlan;
use strata_core::catalog::Catalog;

use super::types::ResultField;
use crate::postgres::types::PgType;
use crate::sql::parse::Statement;
use crate::sql::point::cache::PlanSlot;
use crate::sql::point::may_be_point;

/// A statement, its parameters' types and its result's columns. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Prepared {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    statement: Statement,
    parameters: Vec<u32>,
    fields: Option<Arc<[ResultField]>>,
    planned: Option<Planned>,
    /// Where its point plan goes, if it could have one.
    point: Option<PlanSlot>,
}

/// A plan and what it holds for.
#[derive(Clone, Debug)]
pub(crate) struct Planned {
    pub(crate) plan: LogicalPlan,
    /// The catalog that it was made with.
    pub(crate) catalog: Arc<Catalog>,
    /// The generation of the settings when it was made.
    pub(crate) settings_generation: u64,
}

impl Prepared {
    pub(crate) fn new(
        statement: Statement,
        parameters: Vec<u32>,
        fields: Option<Arc<[ResultField]>>,
        planned: Option<Planned>,
    ) -> Self {
        let point = may_be_point(statement.ast()).then(PlanSlot::default);
        Self { inner: Arc::new(Inner { statement, parameters, fields, planned, point }) }
    }

    /// Where the statement's point plan goes, if it could have one.
    pub(crate) fn point(&self) -> Option<&PlanSlot> {
        self.inner.point.as_ref()
    }

    /// What was prepared.
    pub fn statement(&self) -> &Statement {
        &self.inner.statement
    }

    /// The OIDs of the parameters' types, $1 first.
    pub fn parameter_oids(&self) -> &[u32] {
        &self.inner.parameters
    }

    /// The columns of the result; `None` if the statement returns no rows.
    pub fn fields(&self) -> Option<&Arc<[ResultField]>> {
        self.inner.fields.as_ref()
    }

    pub(crate) fn planned(&self) -> Option<&Planned> {
        self.inner.planned.as_ref()
    }
}

/// The result columns of a plan's schema.
pub(crate) fn result_fields(schema: &DFSchema) -> Arc<[ResultField]> {
    schema.fields().iter().map(|field| result_field(field.name(), PgType::of_field(field))).collect()
}

/// A result column of this type.
pub(crate) fn result_field(name: &str, pg_type: PgType) -> ResultField {
    ResultField {
        name: crate::sql::output::shown_name(name).to_owned(),
        type_oid: pg_type.oid,
        type_size: pg_type.size(),
        type_modifier: pg_type.modifier,
        table_oid: 0,
        column_number: 0,
    }
}
