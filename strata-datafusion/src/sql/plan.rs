//! Planning one statement: DataFusion's SQL planner over the relations that the statement sees.
//!
//! A [`Planner`] is what DataFusion calls a session and a context provider at once. It is made for each statement
//! and holds only shared pointers: DataFusion's own state would copy all its function maps each time.

use std::any::Any;
use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use datafusion::arrow::datatypes::{DataType, SchemaRef};
use datafusion::catalog::{CatalogProviderList, Session, TableFunctionArgs};
use datafusion::common::TableReference;
use datafusion::common::alias::AliasGenerator;
use datafusion::common::config::{ConfigOptions, TableOptions};
use datafusion::common::{DFSchema, Result};
use datafusion::datasource::cte_worktable::CteWorkTable;
use datafusion::datasource::{ViewTable, provider_as_source};
use datafusion::error::DataFusionError;
use datafusion::execution::TaskContext;
use datafusion::execution::context::ExecutionProps;
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::logical_expr::planner::{ContextProvider, ExprPlanner, RelationPlanner, TypePlanner};
use datafusion::logical_expr::registry::ExtensionTypeRegistryRef;
use datafusion::logical_expr::simplify::SimplifyContext;
use datafusion::logical_expr::{
    AggregateUDF, Expr, HigherOrderUDF, LogicalPlan, LogicalPlanBuilder, ScalarUDF, TableSource, WindowUDF,
};
use datafusion::optimizer::OptimizerConfig;
use datafusion::optimizer::simplify_expressions::ExprSimplifier;
use datafusion::physical_expr::{PhysicalExpr, create_physical_expr};
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_planner::{DefaultPhysicalPlanner, PhysicalPlanner};
use datafusion::prelude::SessionConfig;
use datafusion::sql::planner::{PlannerContext, SqlToRel};
use datafusion::sql::sqlparser::ast::Statement as Ast;
use datafusion::sql::sqlparser::tokenizer::Location;

use strata_core::catalog::ViewDef;
use strata_core::ids::{RowId, TableId};

use super::names;
use super::parse::Statement;
use super::rewrite::{name_columns, rewrite_statement};
use crate::error::SqlError;
use crate::postgres::aggregates::AggregatePlanner;
use crate::postgres::operators::{Operand, OperatorPlanner, narrow};
use crate::postgres::pg_catalog;
use crate::postgres::types::{PgType, oid};
use crate::session::engine::Shared;
use crate::session::storage::{Found, Relations};

/// All that one statement is planned with.
pub(crate) struct Planner {
    shared: Arc<Shared>,
    relations: Relations,
    search_path: Arc<[String]>,
    config: SessionConfig,
    props: ExecutionProps,
    table_options: TableOptions,
    session_id: String,
    /// The table that shows its RowIds, behind the name that it is written as.
    target: Option<(names::RelationName, names::RelationName)>,
    /// How many views this one is planned inside of.
    depth: usize,
    expr_planners: Vec<Arc<dyn ExprPlanner>>,
}

/// The schema that stands for one table with its RowIds. No name in SQL text is spelled so.
pub(crate) const TARGET_SCHEMA: &str = "\u{1}target";

/// Views inside views at most.
const MAX_VIEW_DEPTH: usize = 32;

impl Planner {
    /// Compiles an expression that no plan holds, and so no optimizer has seen: COALESCE and others exist only as what the
    /// simplifier makes of them. Whatever is constant in it is evaluated here, once.
    pub(crate) fn compile(&self, expr: Expr, schema: &DFSchema) -> Result<Arc<dyn PhysicalExpr>> {
        let simplifier = self.simplifier(schema);
        let expr = simplifier.simplify(simplifier.coerce(expr, schema)?)?;
        create_physical_expr(&expr, schema, &self.props, &Default::default())
    }

    fn simplifier(&self, schema: &DFSchema) -> ExprSimplifier {
        let context = SimplifyContext::builder()
            .with_schema(Arc::new(schema.clone()))
            .with_config_options(Arc::clone(self.config.options()))
            .with_query_execution_start_time(self.props.query_execution_start_time)
            .build();
        ExprSimplifier::new(context)
    }

    /// A planner of a statement that sees `relations`, in a transaction that began at `now`.
    pub(crate) fn new(
        shared: Arc<Shared>,
        relations: Relations,
        search_path: Arc<[String]>,
        config: SessionConfig,
        now: DateTime<Utc>,
    ) -> Self {
        let mut props = ExecutionProps::new().with_query_execution_start_time(now);
        props.config_options = Some(Arc::clone(config.options()));
        let table_options = TableOptions::default();
        let operators = OperatorPlanner { config: Arc::clone(config.options()) };
        let mut expr_planners: Vec<Arc<dyn ExprPlanner>> =
            vec![Arc::new(operators), Arc::new(AggregatePlanner)];
        expr_planners.extend(shared.expr_planners.iter().cloned());
        Self {
            shared,
            relations,
            search_path,
            config,
            props,
            table_options,
            session_id: String::new(),
            target: None,
            depth: 0,
            expr_planners,
        }
    }

    fn find_relation(&self, name: &TableReference) -> crate::error::SqlResult<Arc<dyn TableSource>> {
        let (schema, relation) = names::split_reference(name)?;
        let in_schema = |schema: &str| -> crate::error::SqlResult<Option<Arc<dyn TableSource>>> {
            let name = names::RelationName { schema: schema.to_owned(), relation: relation.to_owned() };
            if let Some((written, target)) = &self.target
                && *written == name
            {
                return Ok(self.relations.target(target));
            }
            match self.relations.relation(&name) {
                None => Ok(self.system_relation(&name)),
                Some(Found::Source(source)) => Ok(Some(source)),
                Some(Found::View(view)) => self.expand_view(schema, &view).map(Some),
            }
        };
        match schema {
            Some(schema) => {
                if let Some(source) = in_schema(schema)? {
                    return Ok(source);
                }
            }
            None => {
                // pg_catalog comes first unless the path names it, as in Postgres.
                if !self.search_path.iter().any(|schema| schema == "pg_catalog")
                    && let Some(source) = in_schema("pg_catalog")?
                {
                    return Ok(source);
                }
                for schema in self.search_path.iter() {
                    if let Some(source) = in_schema(schema)? {
                        return Ok(source);
                    }
                }
            }
        }
        let shown = match schema {
            Some(schema) => format!("{schema}.{relation}"),
            None => relation.to_owned(),
        };
        Err(SqlError::new("42P01", format!("relation \"{shown}\" does not exist")))
    }

    /// A relation of the system catalogs. Views are planned for their columns' sake, but not inside of other views.
    fn system_relation(&self, name: &names::RelationName) -> Option<Arc<dyn TableSource>> {
        let view_schema = |schema: &str, view: &ViewDef| {
            (self.depth == 0).then(|| self.expand_view(schema, view).ok()).flatten().map(|view| view.schema())
        };
        pg_catalog::system_relation(self.relations.catalog(), &name.schema, &name.relation, &view_schema)
    }

    /// Makes one table show its RowIds: the target of an UPDATE or DELETE. No `*` may be planned then.
    pub(crate) fn with_target(mut self, target: names::RelationName) -> Self {
        self.target = Some((target.clone(), target));
        self
    }

    /// The same where the table is written in the schema [`TARGET_SCHEMA`]; under its own name it is as it always is.
    pub(crate) fn with_marked_target(mut self, target: names::RelationName) -> Self {
        let written = names::RelationName { schema: TARGET_SCHEMA.to_owned(), ..target.clone() };
        self.target = Some((written, target));
        self
    }

    /// Restricts the target to some of its rows.
    pub(crate) fn with_target_rows(mut self, table: TableId, rows: Vec<RowId>) -> Self {
        self.config = self.relations.restrict(self.config, table, rows);
        self
    }

    /// What the statement reads.
    pub(crate) fn relations(&self) -> &Relations {
        &self.relations
    }

    /// The columns of a view.
    pub(crate) fn view_columns(&self, schema: &str, view: &ViewDef) -> crate::error::SqlResult<SchemaRef> {
        self.expand_view(schema, view).map(|view| view.schema())
    }

    /// Plans a view's query. Its unqualified names are looked up in its own schema first.
    fn expand_view(&self, schema: &str, view: &ViewDef) -> crate::error::SqlResult<Arc<dyn TableSource>> {
        if self.depth >= MAX_VIEW_DEPTH {
            return Err(SqlError::new("54001", format!("views nest too deeply at \"{}\"", view.name)));
        }
        let mut path = vec![schema.to_owned()];
        path.extend(self.search_path.iter().cloned());
        let inner = Self {
            shared: Arc::clone(&self.shared),
            relations: self.relations.clone(),
            search_path: path.into(),
            config: self.config.clone(),
            props: self.props.clone(),
            table_options: self.table_options.clone(),
            session_id: String::new(),
            target: None,
            depth: self.depth + 1,
            expr_planners: self.expr_planners.clone(),
        };
        let statement = super::parse::parse(&view.query)?
            .pop()
            .ok_or_else(|| SqlError::internal(format!("view \"{}\" has no query", view.name)))?;
        let plan = inner.plan(&statement, &[])?;
        let plan = rename_columns(plan, &view.column_names)?;
        Ok(provider_as_source(Arc::new(ViewTable::new(plan, Some(view.query.clone())))))
    }

    /// A task context for the statement. Plans here carry their functions, so the registries stay empty.
    fn new_task_context(&self) -> Arc<TaskContext> {
        Arc::new(TaskContext::new(
            None,
            self.session_id.clone(),
            self.config.clone(),
            HashMap::new(),
            HashMap::new(),
            HashMap::new(),
            HashMap::new(),
            Arc::clone(&self.shared.runtime),
        ))
    }

    /// Plans a statement with DataFusion's SQL planner. Parameters have the types given, 0 for what is open.
    pub(crate) fn plan(
        &self,
        statement: &Statement,
        parameter_oids: &[u32],
    ) -> crate::error::SqlResult<LogicalPlan> {
        self.plan_rewritten(statement.ast().clone(), parameter_oids, Some(statement))
    }

    /// As [`plan`](Self::plan), of a statement that was put together here.
    pub(crate) fn plan_ast(&self, ast: Ast, parameter_oids: &[u32]) -> crate::error::SqlResult<LogicalPlan> {
        self.plan_rewritten(ast, parameter_oids, None)
    }

    /// A statement after our pass, planned. Errors name their place in `origin`.
    fn plan_rewritten(
        &self,
        mut ast: Ast,
        parameter_oids: &[u32],
        origin: Option<&Statement>,
    ) -> crate::error::SqlResult<LogicalPlan> {
        // Names follow from what was written, so they are given before anything is rewritten.
        name_columns(&mut ast);
        crate::postgres::catalog_rewrite::rewrite(&mut ast);
        let found = rewrite_statement(&mut ast)?;
        if !found.locks.is_empty() {
            return Err(SqlError::unsupported("FOR UPDATE is not supported"));
        }
        let count = parameter_oids.len().max(found.parameters.len());
        let types = (0..count)
            .map(|index| {
                let given = parameter_oids.get(index).copied().filter(|oid| *oid != 0).map(PgType::new);
                given.or_else(|| found.parameters.get(index).copied().flatten())
            })
            .map(|known| known.map(|known| known.field("", true).map(Arc::new)).transpose())
            .collect::<crate::error::SqlResult<Vec<_>>>()?;
        let mut context = PlannerContext::new().with_prepare_param_data_types(types);
        let planned = SqlToRel::new(self).sql_statement_to_plan_with_context(ast, &mut context);
        planned.map_err(|error| located(error, origin))
    }

    /// Runs the analyzer over a planned statement.
    pub(crate) fn analyze(&self, plan: LogicalPlan) -> Result<LogicalPlan> {
        self.shared.analyzer.execute_and_check(plan, self.config.options(), |_, _| {})
    }
}

/// An error with its place in the statement's string.
fn located(error: DataFusionError, origin: Option<&Statement>) -> SqlError {
    let place = error.diagnostic().and_then(|diagnostic| diagnostic.span).map(|span| span.start);
    let mut answer = SqlError::from(error);
    if let (None, Some(place), Some(origin)) = (answer.position, place, origin) {
        answer.position = origin.position(Location { line: place.line, column: place.column });
    }
    answer
}

/// Whether an argument is at most an int4, as far as it is a whole number.
fn fits_int4(arg: &Expr, schema: &DFSchema) -> bool {
    let arg = narrow(arg.clone());
    !matches!(Operand::of(&arg, schema), Ok(Operand::Typed(PgType { oid: oid::INT8, .. })))
}

/// Gives the first columns of a plan other names.
fn rename_columns(plan: LogicalPlan, names: &[String]) -> crate::error::SqlResult<LogicalPlan> {
    if names.is_empty() {
        return Ok(plan);
    }
    let columns = plan.schema().columns();
    let renamed = columns.into_iter().enumerate().map(|(place, column)| match names.get(place) {
        Some(name) => Expr::Column(column).alias(name),
        None => Expr::Column(column),
    });
    let renamed: Vec<Expr> = renamed.collect();
    Ok(LogicalPlanBuilder::from(plan).project(renamed)?.build()?)
}

impl ContextProvider for Planner {
    fn get_table_source(&self, name: TableReference) -> Result<Arc<dyn TableSource>> {
        Ok(self.find_relation(&name)?)
    }

    fn get_table_function_source(&self, name: &str, args: Vec<Expr>) -> Result<Arc<dyn TableSource>> {
        let function = self
            .shared
            .table_functions
            .get(name)
            .ok_or_else(|| SqlError::new("42883", format!("function {name} does not exist")))?;
        let context = SimplifyContext::builder()
            .with_config_options(Arc::clone(self.config.options()))
            .with_query_execution_start_time(self.props.query_execution_start_time)
            .build();
        let simplifier = ExprSimplifier::new(context);
        let schema = DFSchema::empty();
        let is_series = name == "generate_series";
        let narrow = is_series && args.iter().all(|arg| fits_int4(arg, &schema));
        let args = args
            .into_iter()
            .map(|arg| simplifier.coerce(arg, &schema).and_then(|arg| simplifier.simplify(arg)))
            .collect::<Result<Vec<_>>>()?;
        if is_series {
            return super::series::source(function, args, narrow, self);
        }
        let provider = function.create_table_provider_with_args(TableFunctionArgs::new(&args, self))?;
        Ok(provider_as_source(provider))
    }

    fn create_cte_work_table(&self, name: &str, schema: SchemaRef) -> Result<Arc<dyn TableSource>> {
        Ok(provider_as_source(Arc::new(CteWorkTable::new(name, schema))))
    }

    fn get_expr_planners(&self) -> &[Arc<dyn ExprPlanner>] {
        &self.expr_planners
    }

    fn get_relation_planners(&self) -> &[Arc<dyn RelationPlanner>] {
        &[]
    }

    fn get_type_planner(&self) -> Option<Arc<dyn TypePlanner>> {
        Some(Arc::clone(&self.shared.type_planner))
    }

    fn get_function_meta(&self, name: &str) -> Option<Arc<ScalarUDF>> {
        let context = || pg_catalog::functions::FunctionContext {
            catalog: Arc::clone(self.relations.catalog()),
            search_path: Arc::clone(&self.search_path),
            database: self.shared.database.clone(),
        };
        let bound = pg_catalog::functions::bind(name, context);
        bound.or_else(|| self.shared.scalar_functions.get(name).cloned())
    }

    fn get_higher_order_meta(&self, name: &str) -> Option<Arc<HigherOrderUDF>> {
        self.shared.higher_order_functions.get(name).cloned()
    }

    fn get_aggregate_meta(&self, name: &str) -> Option<Arc<AggregateUDF>> {
        self.shared.aggregate_functions.get(name).cloned()
    }

    fn get_window_meta(&self, name: &str) -> Option<Arc<WindowUDF>> {
        self.shared.window_functions.get(name).cloned()
    }

    fn get_variable_type(&self, _variable_names: &[String]) -> Option<DataType> {
        None
    }

    fn options(&self) -> &ConfigOptions {
        self.config.options()
    }

    // Names are asked for only to suggest one, and there must be one: the error in Postgres' words suggests none.
    fn udf_names(&self) -> Vec<String> {
        vec![String::new()]
    }

    fn higher_order_function_names(&self) -> Vec<String> {
        Vec::new()
    }

    fn udaf_names(&self) -> Vec<String> {
        Vec::new()
    }

    fn udwf_names(&self) -> Vec<String> {
        vec![String::new()]
    }
}

impl OptimizerConfig for Planner {
    fn query_execution_start_time(&self) -> Option<DateTime<Utc>> {
        self.props.query_execution_start_time
    }

    fn alias_generator(&self) -> &Arc<AliasGenerator> {
        &self.props.alias_generator
    }

    fn options(&self) -> Arc<ConfigOptions> {
        Arc::clone(self.config.options())
    }
}

#[async_trait]
impl Session for Planner {
    fn session_id(&self) -> &str {
        &self.session_id
    }

    fn config(&self) -> &SessionConfig {
        &self.config
    }

    fn catalog_list(&self) -> Arc<dyn CatalogProviderList> {
        Arc::clone(&self.shared.catalogs)
    }

    fn optimize(&self, plan: &LogicalPlan) -> Result<LogicalPlan> {
        self.shared.optimizer.optimize(self.analyze(plan.clone())?, self, |_, _| {})
    }

    fn physical_optimizers(&self) -> &[Arc<dyn PhysicalOptimizerRule + Send + Sync>] {
        &self.shared.physical_optimizers
    }

    async fn create_physical_plan(&self, logical_plan: &LogicalPlan) -> Result<Arc<dyn ExecutionPlan>> {
        let optimized = Session::optimize(self, logical_plan)?;
        DefaultPhysicalPlanner::default().create_physical_plan(&optimized, self).await
    }

    fn create_physical_expr(&self, expr: Expr, df_schema: &DFSchema) -> Result<Arc<dyn PhysicalExpr>> {
        let expr = self.simplifier(df_schema).coerce(expr, df_schema)?;
        create_physical_expr(&expr, df_schema, &self.props, &Default::default())
    }

    fn scalar_functions(&self) -> &HashMap<String, Arc<ScalarUDF>> {
        &self.shared.scalar_functions
    }

    fn higher_order_functions(&self) -> &HashMap<String, Arc<HigherOrderUDF>> {
        &self.shared.higher_order_functions
    }

    fn aggregate_functions(&self) -> &HashMap<String, Arc<AggregateUDF>> {
        &self.shared.aggregate_functions
    }

    fn window_functions(&self) -> &HashMap<String, Arc<WindowUDF>> {
        &self.shared.window_functions
    }

    fn extension_type_registry(&self) -> &ExtensionTypeRegistryRef {
        &self.shared.extension_types
    }

    fn runtime_env(&self) -> &Arc<RuntimeEnv> {
        &self.shared.runtime
    }

    fn execution_props(&self) -> &ExecutionProps {
        &self.props
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn table_options(&self) -> &TableOptions {
        &self.table_options
    }

    fn table_options_mut(&mut self) -> &mut TableOptions {
        &mut self.table_options
    }

    fn task_ctx(&self) -> Arc<TaskContext> {
        self.new_task_context()
    }
}
