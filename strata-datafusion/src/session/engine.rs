//! What all sessions share: the storage engine, DataFusion's registries and rules, and the analytical runtime.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use datafusion::catalog::{CatalogProviderList, MemoryCatalogProviderList, TableFunction};
use datafusion::execution::SessionStateDefaults;
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use datafusion::logical_expr::planner::{ExprPlanner, TypePlanner};
use datafusion::logical_expr::registry::{ExtensionTypeRegistryRef, MemoryExtensionTypeRegistry};
use datafusion::logical_expr::{AggregateUDF, HigherOrderUDF, ScalarUDF, WindowUDF};
use datafusion::optimizer::{Analyzer, Optimizer, OptimizerRule};
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_optimizer::optimizer::PhysicalOptimizer;
use datafusion::prelude::SessionConfig;
use thread_priority::{ThreadPriority, ThreadPriorityValue, set_current_thread_priority};
use tokio::runtime::{Builder, Handle, Runtime};

use strata_core::Database;

use super::memory::EnginePool;
use super::yielding::YieldingJoins;
use crate::error::{SqlError, SqlResult};
use crate::postgres::aggregates::DistinctToGroups;
use crate::postgres::analyzer::PostgresSemantics;
use crate::postgres::type_planner::PostgresTypePlanner;

/// Of 0 to 99; on Linux it is a nice value of 9, which leaves such a thread an eighth of what others get.
const ANALYTICAL_PRIORITY: u8 = 23;

/// How an [`Engine`] is set up.
#[derive(Clone, Default)]
pub struct EngineOptions {
    /// Threads of the analytical runtime, and partitions of a query; 0 for one a core.
    pub analytical_threads: usize,
}

/// What all sessions share.
pub struct Engine {
    pub(crate) shared: Arc<Shared>,
    pub(crate) database: Database,
    pub(crate) base_config: SessionConfig,
    next_backend: AtomicU32,
    runtime: Option<Runtime>,
}

/// DataFusion's part of it.
pub(crate) struct Shared {
    pub(crate) scalar_functions: HashMap<String, Arc<ScalarUDF>>,
    pub(crate) higher_order_functions: HashMap<String, Arc<HigherOrderUDF>>,
    pub(crate) aggregate_functions: HashMap<String, Arc<AggregateUDF>>,
    pub(crate) window_functions: HashMap<String, Arc<WindowUDF>>,
    pub(crate) table_functions: HashMap<String, Arc<TableFunction>>,
    pub(crate) expr_planners: Vec<Arc<dyn ExprPlanner>>,
    pub(crate) type_planner: Arc<dyn TypePlanner>,
    pub(crate) extension_types: ExtensionTypeRegistryRef,
    pub(crate) catalogs: Arc<dyn CatalogProviderList>,
    pub(crate) analyzer: Analyzer,
    pub(crate) optimizer: Optimizer,
    pub(crate) physical_optimizers: Vec<Arc<dyn PhysicalOptimizerRule + Send + Sync>>,
    pub(crate) runtime: Arc<RuntimeEnv>,
    /// For functions that tell of tables' sizes.
    pub(crate) database: Database,
}

impl Engine {
    /// An engine over this database.
    pub fn new(database: Database, options: EngineOptions) -> SqlResult<Arc<Self>> {
        let threads = match options.analytical_threads {
            0 => std::thread::available_parallelism().map_or(2, usize::from),
            threads => threads,
        };
        let runtime = Builder::new_multi_thread()
            .worker_threads(threads)
            .thread_name("analytics")
            .on_thread_start(step_back)
            .enable_all()
            .build()
            .map_err(|error| SqlError::internal(format!("cannot start the analytical runtime: {error}")))?;
        let pool = Arc::new(EnginePool::new(database.pool().clone()));
        let environment = RuntimeEnvBuilder::new().with_memory_pool(pool);
        Ok(Arc::new(Self {
            shared: Arc::new(Shared::new(Arc::new(environment.build()?), database.clone())),
            database,
            base_config: base_config(threads),
            next_backend: AtomicU32::new(1),
            runtime: Some(runtime),
        }))
    }

    /// The database below.
    pub fn database(&self) -> &Database {
        &self.database
    }

    /// The runtime on which DataFusion is executed and polled.
    pub(crate) fn analytical(&self) -> SqlResult<&Handle> {
        self.runtime
            .as_ref()
            .map(Runtime::handle)
            .ok_or_else(|| SqlError::new("57P01", "the engine is shutting down"))
    }

    /// A number for a new session, as pg_backend_pid() shows it.
    pub(crate) fn next_backend(&self) -> u32 {
        self.next_backend.fetch_add(1, Ordering::Relaxed)
    }
}

/// Lets threads of other kinds go first: a long query never delays a commit.
fn step_back() {
    let priority = ThreadPriorityValue::try_from(ANALYTICAL_PRIORITY).expect("a value below 100");
    if let Err(error) = set_current_thread_priority(ThreadPriority::Crossplatform(priority)) {
        tracing::warn!(?error, "an analytical thread runs at the priority of all others");
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        // A runtime may not be dropped, and so waited for, on a thread of another one.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Shared {
    fn new(runtime: Arc<RuntimeEnv>, database: Database) -> Self {
        let mut scalar_functions = HashMap::new();
        for function in SessionStateDefaults::default_scalar_functions() {
            for alias in function.aliases() {
                scalar_functions.insert(alias.clone(), Arc::clone(&function));
            }
            scalar_functions.insert(function.name().to_owned(), function);
        }
        for function in crate::postgres::functions::all() {
            scalar_functions.insert(function.name().to_owned(), function);
        }
        let mut aggregate_functions = HashMap::new();
        for function in SessionStateDefaults::default_aggregate_functions() {
            for alias in function.aliases() {
                aggregate_functions.insert(alias.clone(), Arc::clone(&function));
            }
            aggregate_functions.insert(function.name().to_owned(), function);
        }
        let sum = crate::postgres::aggregates::sum();
        aggregate_functions.insert(sum.name().to_owned(), sum);
        let mut window_functions = HashMap::new();
        for function in SessionStateDefaults::default_window_functions() {
            for alias in function.aliases() {
                window_functions.insert(alias.clone(), Arc::clone(&function));
            }
            window_functions.insert(function.name().to_owned(), function);
        }
        let mut higher_order_functions = HashMap::new();
        for function in SessionStateDefaults::default_higher_order_functions() {
            higher_order_functions.insert(function.name().to_owned(), function);
        }
        let mut table_functions = HashMap::new();
        for function in SessionStateDefaults::default_table_functions() {
            table_functions.insert(function.name().to_owned(), function);
        }
        Self {
            scalar_functions,
            higher_order_functions,
            aggregate_functions,
            window_functions,
            table_functions,
            expr_planners: SessionStateDefaults::default_expr_planners(),
            type_planner: Arc::new(PostgresTypePlanner),
            extension_types: Arc::new(MemoryExtensionTypeRegistry::default()),
            catalogs: Arc::new(MemoryCatalogProviderList::new()),
            analyzer: analyzer(),
            optimizer: optimizer(),
            physical_optimizers: physical_optimizers(),
            runtime,
            database,
        }
    }
}

/// DataFusion's rules, and ours behind them.
fn physical_optimizers() -> Vec<Arc<dyn PhysicalOptimizerRule + Send + Sync>> {
    let mut rules = PhysicalOptimizer::new().rules;
    rules.push(Arc::new(YieldingJoins));
    rules
}

/// DataFusion's rules, and ours before its type coercion.
fn analyzer() -> Analyzer {
    let mut analyzer = Analyzer::new();
    let place = analyzer.rules.iter().position(|rule| rule.name() == "type_coercion").unwrap_or(0);
    analyzer.rules.insert(place, Arc::new(PostgresSemantics));
    analyzer
}

/// DataFusion's rules, of which one has to keep types.
fn optimizer() -> Optimizer {
    let mut optimizer = Optimizer::new();
    let ours: Arc<dyn OptimizerRule + Send + Sync> = Arc::new(DistinctToGroups::default());
    for rule in &mut optimizer.rules {
        if rule.name() == ours.name() {
            *rule = Arc::clone(&ours);
        }
    }
    optimizer
}

/// The settings that every session starts from.
fn base_config(threads: usize) -> SessionConfig {
    let mut config = SessionConfig::new()
        .with_target_partitions(threads)
        .with_batch_size(8192)
        .with_create_default_catalog_and_schema(false)
        .with_default_catalog_and_schema(crate::sql::names::DATABASE, "public");
    let options = config.options_mut();
    options.sql_parser.dialect = datafusion::common::config::Dialect::PostgreSQL;
    options.sql_parser.parse_float_as_decimal = true;
    options.sql_parser.collect_spans = true;
    options.sql_parser.map_string_types_to_utf8view = true;
    options.execution.hash_join_buffering_capacity = 0;
    options.execution.use_row_number_estimates_to_optimize_partitioning = true;
    options.execution.sort_pushdown_buffer_capacity = 1 << 20;
    options.execution.time_zone = Some("UTC".to_owned());
    options.optimizer.hash_join_single_partition_threshold = 32 << 20;
    options.optimizer.hash_join_single_partition_threshold_rows = 512 << 10;
    options.optimizer.hash_join_inlist_pushdown_max_distinct_values = 10_000;
    options.optimizer.hash_join_inlist_pushdown_max_size = 1 << 20;
    config
}
