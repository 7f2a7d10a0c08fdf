//! Planning and running what DataFusion plans.

use std::sync::Arc;

use datafusion::common::metadata::ScalarAndMetadata;
use datafusion::common::{ParamValues, ScalarValue};
use datafusion::logical_expr::LogicalPlan;
use datafusion::prelude::SessionConfig;

use super::prepared::{Planned, Prepared, result_fields};
use super::run::{self, Limits};
use super::types::{Outcome, Parameter, RowStream, RowsTag};
use super::{Session, Statement};
use strata_core::catalog::Catalog;

use crate::error::{SqlError, SqlResult};
use crate::postgres::cast::CastContext;
use crate::postgres::functions::SessionInfo;
use crate::postgres::types::PgType;
use crate::postgres::wire::{decode_parameter_in, null_parameter};
use crate::postgres::zone::Zone;
use crate::sql::plan::Planner;
use crate::sql::{dml, lock, names};

/// DataFusion's configuration for this session, made anew when a setting changes.
#[derive(Default)]
pub(super) struct CachedConfig {
    made: Option<(u64, SessionConfig, Arc<[String]>)>,
}

impl Session {
    /// The planner of a new statement.
    pub(crate) fn start_statement(&mut self) -> SqlResult<(Planner, Arc<Catalog>)> {
        let (config, search_path) = self.session_config();
        let cancel = self.cancel.clone();
        let open = self.transaction()?;
        open.used = true;
        let relations = open.storage.start_statement(&cancel);
        let began = open.began;
        let catalog = Arc::clone(relations.catalog());
        let config = relations.configure(config);
        Ok((Planner::new(Arc::clone(&self.engine.shared), relations, search_path, config, began), catalog))
    }

    pub(super) fn session_config(&mut self) -> (SessionConfig, Arc<[String]>) {
        let generation = self.settings.generation();
        if let Some((made, config, path)) = &self.config.made
            && *made == generation
        {
            return (config.clone(), Arc::clone(path));
        }
        let mut config = self.engine.base_config.clone();
        let path: Arc<[String]> = names::search_path(self.settings.get("search_path"), &self.user).into();
        let info = SessionInfo::new(self.user.clone(), self.backend, self.settings.by_name());
        let options = config.options_mut();
        options.execution.time_zone = Some(self.settings.get("TimeZone").to_owned());
        options.extensions.insert(info);
        self.config.made = Some((generation, config.clone(), Arc::clone(&path)));
        (config, path)
    }

    /// Plans an INSERT, UPDATE or DELETE, for its parameters and result columns.
    pub(super) fn prepare_dml(
        &mut self,
        statement: &Statement,
        parameter_oids: &[u32],
    ) -> SqlResult<Prepared> {
        let (planner, _) = self.start_statement()?;
        let mut given = parameter_oids.to_vec();
        let (plan, _) = dml::plan(planner, &self.search_path(), statement.ast(), &mut given)?;
        let mut parameters = parameter_types(&plan.query, &given)?;
        if let Some(returning) = &plan.returning {
            parameters = parameter_types(returning, &parameters)?;
        }
        Ok(Prepared::new(statement.clone(), parameters, plan.fields(), None))
    }

    /// Plans a query.
    pub(super) fn prepare_query(
        &mut self,
        statement: &Statement,
        parameter_oids: &[u32],
    ) -> SqlResult<Prepared> {
        let (planner, catalog) = self.start_statement()?;
        if let Some(locking) = lock::read(statement.ast())? {
            let plan = locking.plan(&planner, parameter_oids)?;
            let parameters = parameter_types(&plan, parameter_oids)?;
            let fields = Some(result_fields(plan.schema()));
            return Ok(Prepared::new(statement.clone(), parameters, fields, None));
        }
        let plan = planner.plan(statement, parameter_oids)?;
        let parameters = parameter_types(&plan, parameter_oids)?;
        let fields = Some(result_fields(plan.schema()));
        let planned = Planned { plan, catalog, settings_generation: self.settings.generation() };
        Ok(Prepared::new(statement.clone(), parameters, fields, Some(planned)))
    }

    /// Runs a planned query.
    pub(super) async fn execute_query(
        &mut self,
        prepared: &Prepared,
        parameters: &[Parameter<'_>],
        limits: Limits,
    ) -> SqlResult<Outcome> {
        if let Some(locking) = lock::read(prepared.statement().ast())? {
            return lock::execute(self, locking, prepared, parameters, limits).await;
        }
        let planned = prepared
            .planned()
            .ok_or_else(|| SqlError::internal("the statement has neither a plan nor another way to run"))?;
        let (planner, catalog) = self.start_statement()?;
        let current = Arc::ptr_eq(&planned.catalog, &catalog)
            && planned.settings_generation == self.settings.generation();
        let mut plan = if current {
            planned.plan.clone()
        } else {
            planner.plan(prepared.statement(), prepared.parameter_oids())?
        };
        if !parameters.is_empty() {
            plan = self.bind(plan, prepared.parameter_oids(), parameters)?;
        }
        let fields = result_fields(plan.schema());
        let changed = prepared.fields().is_some_and(|before| {
            before.len() != fields.len()
                || before.iter().zip(fields.iter()).any(|(before, after)| before.type_oid != after.type_oid)
        });
        if changed {
            return Err(SqlError::unsupported("cached plan must not change result type"));
        }
        let (schema, batches) = run::run(&self.engine, Arc::new(planner), plan, limits).await?;
        let time_zone = self.settings.get("TimeZone").into();
        Ok(Outcome::Rows(RowStream { fields, schema, batches, tag: RowsTag::Select, time_zone }))
    }
}

impl Session {
    /// Puts the parameters' values into the plan.
    pub(crate) fn bind(
        &mut self,
        plan: LogicalPlan,
        oids: &[u32],
        parameters: &[Parameter<'_>],
    ) -> SqlResult<LogicalPlan> {
        let values = self.parameter_values(oids, parameters)?;
        let values = values.into_iter().map(|(_, value)| ScalarAndMetadata::new(value, None)).collect();
        Ok(plan.with_param_values(ParamValues::List(values))?)
    }

    /// The parameters' types and values.
    pub(crate) fn parameter_values(
        &mut self,
        oids: &[u32],
        parameters: &[Parameter<'_>],
    ) -> SqlResult<Vec<(PgType, ScalarValue)>> {
        let CastContext { zone, now, .. } = self.cast_context()?;
        oids.iter()
            .zip(parameters)
            .map(|(oid, parameter)| {
                let value = match parameter.value {
                    Some(bytes) => decode_parameter_in(*oid, parameter.binary, bytes, &zone, now)?,
                    None => null_parameter(*oid)?,
                };
                Ok((PgType::new(*oid), value))
            })
            .collect()
    }

    /// What the meaning of some casts depends on, in the open transaction.
    pub(crate) fn cast_context(&mut self) -> SqlResult<CastContext> {
        let zone = Zone::parse(self.settings.get("TimeZone")).unwrap_or(Zone::Utc);
        let now = self.transaction()?.began.timestamp_micros();
        Ok(CastContext { zone, now, explicit: true })
    }
}

/// The types of all parameters: those given, those inferred, text for the rest.
pub(crate) fn parameter_types(plan: &LogicalPlan, given: &[u32]) -> SqlResult<Vec<u32>> {
    let inferred = plan.get_parameter_fields()?;
    let mut types = given.to_vec();
    for (id, field) in inferred {
        let Some(index) = id.strip_prefix('$').and_then(|digits| digits.parse::<usize>().ok()) else {
            return Err(SqlError::syntax(format!("syntax error at or near \"{id}\"")));
        };
        if types.len() < index {
            types.resize(index, 0);
        }
        if types[index - 1] == 0
            && let Some(field) = field
        {
            types[index - 1] = PgType::of_field(&field).oid;
        }
    }
    for oid in &mut types {
        if *oid == 0 {
            *oid = crate::postgres::types::oid::TEXT;
        }
    }
    Ok(types)
}
