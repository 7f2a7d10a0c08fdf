//! Point plans in a session: where they are kept, when they are made, when they are used.

use std::sync::Arc;
use std::time::Duration;

use datafusion::common::ScalarValue;
use datafusion::sql::sqlparser::ast::Statement as Ast;

use super::Session;
use super::prepared::Prepared;
use super::run::Limits;
use super::storage::Isolation;
use super::types::{Outcome, Parameter, ResultField};
use crate::error::SqlResult;
use crate::postgres::wire::{decode_parameter_in, null_parameter};
use crate::postgres::zone::Zone;
use crate::sql::point::cache::{Compiled, PlanContext, PlanSlot, TextCache};
use crate::sql::point::lift::{Lifted, Literal};
use crate::sql::point::{self, Arguments, PointPlan, Ran, Read};

/// What the settings come to, read once for each of their generations.
pub(super) struct Known {
    generation: u64,
    context: Arc<PlanContext>,
    zone: Zone,
    timeout: Duration,
    uses_point_plans: bool,
    isolation: Isolation,
    read_only: bool,
}

/// A session's point plans.
#[derive(Default)]
pub(super) struct PointState {
    known: Option<Known>,
    texts: TextCache,
    lifted: Lifted,
}

impl Session {
    /// What the settings come to.
    pub(super) fn known(&mut self) -> &Known {
        let generation = self.settings.generation();
        let before = self.point.known.take();
        let known = match before {
            Some(known) if known.generation == generation => known,
            before => self.read_settings(before, generation),
        };
        self.point.known.insert(known)
    }

    fn read_settings(&self, before: Option<Known>, generation: u64) -> Known {
        let setting = |name: &str| self.settings.show(name).unwrap_or_else(|_| "".into());
        let context = PlanContext { time_zone: setting("TimeZone"), search_path: setting("search_path") };
        let context = match before {
            Some(before) if *before.context == context => before.context,
            _ => Arc::new(context),
        };
        let (isolation, read_only) = self.default_modes();
        Known {
            generation,
            zone: Zone::parse(&context.time_zone).unwrap_or(Zone::Utc),
            context,
            timeout: Duration::from_millis(self.settings.milliseconds("statement_timeout")),
            uses_point_plans: super::settings::parse_bool(&setting("strata.point_plans")) != Some(false),
            isolation,
            read_only,
        }
    }

    /// The modes of new transactions.
    pub(super) fn known_modes(&mut self) -> (Isolation, bool) {
        let known = self.known();
        (known.isolation, known.read_only)
    }

    /// The limits of a statement that starts now.
    pub(super) fn limits(&mut self) -> Limits {
        let timeout = self.known().timeout;
        Limits::starting_now(self.cancel.clone(), timeout)
    }

    /// Runs a query string that is one statement and has come before, if a point plan serves it; `None` where it is to
    /// be parsed and run in the ordinary way. Nothing has been done then.
    pub async fn execute_text(&mut self, text: &str) -> SqlResult<Option<Outcome>> {
        if !self.known().uses_point_plans || self.state.check().is_err() {
            return Ok(None);
        }
        let mut lifted = std::mem::take(&mut self.point.lifted);
        let outcome = match lifted.lift(text) {
            true => self.execute_lifted(&lifted).await,
            false => Ok(None),
        };
        self.point.lifted = lifted;
        outcome
    }

    async fn execute_lifted(&mut self, lifted: &Lifted) -> SqlResult<Option<Outcome>> {
        let Some(slot) = self.point.texts.slot(lifted.key()) else { return Ok(None) };
        let compiled = self.compiled(&slot, |session| {
            let mut statements = session.parse(lifted.text()).ok()?;
            let statement = statements.pop().filter(|_| statements.is_empty())?;
            let oids: Vec<u32> = lifted.literals.iter().map(Literal::oid).collect();
            session.compile_point(statement.ast(), &oids, true)
        })?;
        let Some((plan, oids)) = compiled else { return Ok(None) };
        let zone = self.known().zone;
        let now = self.transaction()?.began.timestamp_micros();
        let mut parameters = Vec::with_capacity(lifted.literals.len());
        for (literal, oid) in lifted.literals.iter().zip(oids.iter()) {
            let value = match (literal.scalar(), literal) {
                (Some(value), _) => Ok(value),
                (None, Literal::Text(text)) => decode_parameter_in(*oid, false, text.as_bytes(), &zone, now),
                (None, _) => return Ok(None),
            };
            // The ordinary route knows the words and the place of the error.
            let Ok(value) = value else { return Ok(None) };
            parameters.push(value);
        }
        self.run_point(&plan, &parameters).await
    }

    /// Runs a prepared statement by its point plan; `None` where that is for the ordinary route.
    pub(super) async fn execute_point(
        &mut self,
        prepared: &Prepared,
        parameters: &[Parameter<'_>],
    ) -> SqlResult<Option<Outcome>> {
        let Some(slot) = prepared.point() else { return Ok(None) };
        if !self.known().uses_point_plans {
            return Ok(None);
        }
        self.state.check()?;
        let compiled = self.compiled(slot, |session| {
            let oids = prepared.parameter_oids();
            let (plan, types) = session.compile_point(prepared.statement().ast(), oids, false)?;
            let is_same = types.as_slice() == oids && same_types(prepared.fields(), plan.fields());
            is_same.then_some((plan, types))
        })?;
        let Some((plan, oids)) = compiled else { return Ok(None) };
        let zone = self.known().zone;
        let now = self.transaction()?.began.timestamp_micros();
        let mut values = Vec::with_capacity(parameters.len());
        for (parameter, oid) in parameters.iter().zip(oids.iter()) {
            values.push(match parameter.value {
                Some(bytes) => decode_parameter_in(*oid, parameter.binary, bytes, &zone, now)?,
                None => null_parameter(*oid)?,
            });
        }
        self.run_point(&plan, &values).await
    }

    /// The plan in a slot, made where it is missing or out of date.
    #[allow(clippy::type_complexity)]
    fn compiled(
        &mut self,
        slot: &PlanSlot,
        compile: impl FnOnce(&mut Self) -> Option<(PointPlan, Vec<u32>)>,
    ) -> SqlResult<Option<(Arc<PointPlan>, Arc<[u32]>)>> {
        let catalog = self.transaction()?.storage.inner().newest_catalog();
        let context = Arc::clone(&self.known().context);
        if let Some(compiled) = slot.get(&catalog, &context) {
            return Ok(compiled.plan);
        }
        let plan = compile(self).map(|(plan, oids)| (Arc::new(plan), oids.into()));
        // A plan of an older snapshot's catalog is not kept: the next statement may see the newest one.
        let made_with = plan.as_ref().map_or(&catalog, |(plan, _): &(Arc<PointPlan>, _)| &plan.catalog);
        if Arc::ptr_eq(made_with, &catalog) {
            slot.set(Compiled { catalog, context, plan: plan.clone() });
        }
        Ok(plan)
    }

    /// Compiles a statement. What cannot be planned is the ordinary route's to tell.
    fn compile_point(&mut self, ast: &Ast, oids: &[u32], is_lifted: bool) -> Option<(PointPlan, Vec<u32>)> {
        if !point::may_be_point(ast) {
            return None;
        }
        let search_path = self.search_path();
        let (planner, _) = self.start_statement().ok()?;
        match point::compile(planner, &search_path, ast, oids, is_lifted) {
            Ok(plan) => plan,
            Err(error) => {
                tracing::debug!(%error, "no point plan");
                None
            }
        }
    }

    async fn run_point(
        &mut self,
        plan: &PointPlan,
        parameters: &[ScalarValue],
    ) -> SqlResult<Option<Outcome>> {
        if !plan.accepts(parameters) {
            return Ok(None);
        }
        let limits = self.limits();
        limits.cancel.check()?;
        let time_zone = Arc::clone(&self.known().context.time_zone);
        let open = self.transaction()?;
        open.used = true;
        let arguments = Arguments { parameters, now: open.began };
        let ran = if plan.is_read() {
            let view = open.storage.inner().view();
            if !Arc::ptr_eq(view.catalog(), &plan.catalog) {
                return Ok(None);
            }
            match plan.read(&view, &arguments, &time_zone)? {
                Ran::Done(Read::Rows(rows)) => Ran::Done(Outcome::Point(rows)),
                Ran::Done(Read::Stream(stream)) => Ran::Done(Outcome::Rows(stream)),
                Ran::Refused => Ran::Refused,
            }
        } else {
            plan.write(self, &arguments, &limits).await?
        };
        Ok(match ran {
            Ran::Done(outcome) => Some(outcome),
            Ran::Refused => None,
        })
    }

    /// What EXPLAIN shows of a statement that a point plan serves.
    pub(crate) fn explain_point(&mut self, ast: &Ast, oids: &[u32]) -> Option<Vec<String>> {
        if !self.known().uses_point_plans {
            return None;
        }
        let compiled = self.compile_point(ast, oids, false);
        compiled.map(|(plan, _)| plan.explain())
    }
}

fn same_types(before: Option<&Arc<[ResultField]>>, after: Option<&Arc<[ResultField]>>) -> bool {
    match (before, after) {
        (None, None) => true,
        (Some(before), Some(after)) => {
            before.len() == after.len()
                && before.iter().zip(after.iter()).all(|(before, after)| before.type_oid == after.type_oid)
        }
        _ => false,
    }
}
