//! The plan of a scan.
//!
//! What optimizer rules may do with it, and what it must not let them:
//!
//! - Filters are kept in terms of the provider's schema, so that a projection never touches them, and a dynamic one keeps
//!   its `expression_id`. `apply_expressions` shows them all: a join computes its filter only if it finds it here.
//! - A scan with a fetch takes no further filter: it may come from above the limit.
//! - `reset_state` makes a new queue, and forgets dynamic filters: whoever made them makes new ones, and the old ones are
//!   those of the last round.
//! - Sorting is never taken over.

use std::fmt;
use std::sync::Arc;

use datafusion::arrow::datatypes::SchemaRef;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{Statistics, config::ConfigOptions};
use datafusion::error::Result;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::{
    EquivalenceProperties, Partitioning, PhysicalExpr, PhysicalSortExpr, conjunction_opt,
};
use datafusion::physical_plan::execution_plan::{
    Boundedness, ChildrenPropertiesMode, EmissionType, ReplaceChildrenOptions, SchedulingType,
    apply_expression_roots,
};
use datafusion::physical_plan::filter_pushdown::{
    ChildPushdownResult, FilterPushdownPhase, FilterPushdownPropagation, PushedDown,
};
use datafusion::physical_plan::metrics::{ExecutionPlanMetricsSet, MetricsSet};
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties, SortOrderPushdownResult, StatisticsArgs,
};
use parking_lot::Mutex;

use strata_core::ids::RowId;

use super::filters::{Offered, classify, remap};
use super::index::{self, Found};
use super::queue::{Feed, Queue, SMALL_MORSEL_SLOTS, rows_of, whole_table};
use super::source::ScanSource;
use super::stream::{self, Job, QueueCell, ScanMetrics};
use super::{estimate, filters::is_dynamic};
use crate::pruning::Pruner;
use crate::statistics::{self, Reduced};

/// What a provider asks to be scanned.
pub(crate) struct ScanRequest {
    pub(crate) source: Arc<ScanSource>,
    /// Places in the provider's schema.
    pub(crate) projection: Vec<usize>,
    /// In terms of the provider's schema; all are exact.
    pub(crate) filters: Vec<Arc<dyn PhysicalExpr>>,
    pub(crate) fetch: Option<usize>,
    pub(crate) target_partitions: usize,
    /// Only these rows, ascending: those that a DML statement evaluates again.
    pub(crate) rows: Option<Arc<[RowId]>>,
}

/// A scan of one table at one snapshot.
#[derive(Clone, Debug)]
pub struct StrataScanExec {
    source: Arc<ScanSource>,
    projection: Arc<[usize]>,
    filters: Arc<[Arc<dyn PhysicalExpr>]>,
    dynamic: Arc<[Arc<dyn PhysicalExpr>]>,
    found: Option<Found>,
    fetch: Option<usize>,
    properties: Arc<PlanProperties>,
    queue: Arc<QueueCell>,
    /// The statistics, once asked for; of this node only.
    statistics: Arc<Mutex<Option<Arc<Statistics>>>>,
    metrics: ExecutionPlanMetricsSet,
}

impl StrataScanExec {
    /// Plans a scan, looking rows up in an index where that is the way.
    pub(crate) fn plan(request: ScanRequest) -> Result<Self> {
        let ScanRequest { source, projection, filters, fetch, target_partitions, rows } = request;
        let found = match rows {
            Some(rows) => Some(Found { index: "_rowid".to_owned(), rows }),
            None => index::find(&source, &filters)?,
        };
        let partitions = if found.is_some() { 1 } else { partitions_of(&source, target_partitions) };
        let schema = Arc::new(source.schema.project(&projection)?);
        Ok(Self {
            source,
            projection: projection.into(),
            filters: filters.into(),
            dynamic: Arc::new([]),
            found,
            fetch,
            properties: properties(schema, partitions),
            queue: Arc::default(),
            statistics: Arc::default(),
            metrics: ExecutionPlanMetricsSet::new(),
        })
    }

    /// The same scan, changed: with a queue and statistics of its own.
    fn changed(&self, change: impl FnOnce(&mut Self)) -> Self {
        let mut scan = self.clone();
        scan.queue = Arc::default();
        scan.statistics = Arc::default();
        scan.metrics = ExecutionPlanMetricsSet::new();
        change(&mut scan);
        scan
    }

    fn partitions(&self) -> usize {
        self.properties.partitioning.partition_count()
    }

    fn morsels(&self) -> Queue {
        let morsels = match &self.found {
            Some(found) => rows_of(&self.source, &found.rows),
            None => whole_table(&self.source, self.partitions()),
        };
        Queue::new(morsels, self.fetch)
    }

    fn compute_statistics(&self) -> Result<Statistics> {
        let selectivity = if self.filters.is_empty() {
            None
        } else if self.found.is_some() {
            Some(1.0)
        } else {
            let conjuncts = self.source.compile(&self.filters)?;
            Some(estimate::selectivity(&self.source, &conjuncts)?)
        };
        let found = self.found.as_ref().map(|found| found.rows.len());
        statistics::statistics(
            &self.source,
            &self.projection,
            Reduced { selectivity, found, fetch: self.fetch },
        )
    }

    /// A filter on the scan's output in terms of the provider's schema.
    fn to_provider(&self, filter: &Arc<dyn PhysicalExpr>) -> Result<Arc<dyn PhysicalExpr>> {
        remap(filter, |output| self.projection.get(output).copied())
    }

    fn names(&self, places: &[usize]) -> String {
        let names: Vec<_> =
            places.iter().map(|place| self.source.schema.field(*place).name().as_str()).collect();
        names.join(", ")
    }
}

fn partitions_of(source: &ScanSource, target: usize) -> usize {
    let slots: usize = source.segments.iter().map(|segment| segment.slots() as usize).sum();
    let rows = slots + source.own_rows().len();
    rows.div_ceil(SMALL_MORSEL_SLOTS as usize).clamp(1, target.max(1))
}

fn properties(schema: SchemaRef, partitions: usize) -> Arc<PlanProperties> {
    let properties = PlanProperties::new(
        EquivalenceProperties::new(schema),
        Partitioning::UnknownPartitioning(partitions),
        EmissionType::Incremental,
        Boundedness::Bounded,
    );
    Arc::new(properties.with_scheduling_type(SchedulingType::Cooperative))
}

impl DisplayAs for StrataScanExec {
    fn fmt_as(&self, format: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (start, separator) = match format {
            DisplayFormatType::Default | DisplayFormatType::Verbose => ("StrataScan: ", ", "),
            DisplayFormatType::TreeRender => ("", "\n"),
        };
        write!(f, "{start}table={}", self.source.table.def().name)?;
        match &self.found {
            Some(found) => write!(f, "{separator}access=index({}), rows={}", found.index, found.rows.len())?,
            None => write!(f, "{separator}access=scan")?,
        }
        write!(f, "{separator}projection=[{}]", self.names(&self.projection))?;
        let list = |filters: &[Arc<dyn PhysicalExpr>]| {
            filters.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
        };
        if !self.filters.is_empty() {
            write!(f, "{separator}filters=[{}]", list(&self.filters))?;
        }
        if !self.dynamic.is_empty() {
            write!(f, "{separator}dynamic=[{}]", list(&self.dynamic))?;
        }
        let all = conjunction_opt(self.filters.iter().cloned());
        if let Some(pruner) = all.and_then(|filter| Pruner::new(&filter, &self.source.schema)) {
            write!(f, "{separator}pruning={}", pruner.describe())?;
        }
        if let Some(fetch) = self.fetch {
            write!(f, "{separator}fetch={fetch}")?;
        }
        Ok(())
    }
}

impl ExecutionPlan for StrataScanExec {
    fn name(&self) -> &str {
        "StrataScan"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        Vec::new()
    }

    fn replace_children(
        self: Arc<Self>,
        _children: Vec<Arc<dyn ExecutionPlan>>,
        _options: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(Arc::new(self.changed(|_| {})))
    }

    fn with_new_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        self.replace_children(children, ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute))
    }

    fn apply_expressions(
        &self,
        visit: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        apply_expression_roots(self.filters.iter().chain(self.dynamic.iter()), visit)
    }

    fn reset_state(self: Arc<Self>) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(Arc::new(self.changed(|scan| scan.dynamic = Arc::new([]))))
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let options = context.session_config().options();
        let is_shared = options.execution.enable_file_stream_work_stealing;
        let batch_rows = context.session_config().batch_size().min(self.fetch.unwrap_or(usize::MAX)).max(1);
        let job = Job {
            source: Arc::clone(&self.source),
            schema: self.schema(),
            projection: Arc::clone(&self.projection),
            filters: Arc::clone(&self.filters),
            dynamic: Arc::clone(&self.dynamic),
            batch_rows,
        };
        let scan = self.clone();
        let feed = Box::new(move || {
            let queue = scan.queue.get(|| scan.morsels());
            Ok(if is_shared {
                Feed::Shared(queue)
            } else {
                Feed::of_partition(queue, partition, scan.partitions(), scan.fetch)
            })
        });
        Ok(stream::open(job, feed, ScanMetrics::new(&self.metrics, partition)))
    }

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }

    fn statistics_from_inputs(
        &self,
        _inputs: &[Arc<Statistics>],
        args: &StatisticsArgs,
    ) -> Result<Arc<Statistics>> {
        if args.partition().is_some() {
            return Ok(Arc::new(Statistics::new_unknown(&self.schema())));
        }
        let mut known = self.statistics.lock();
        if let Some(statistics) = known.as_ref() {
            return Ok(Arc::clone(statistics));
        }
        let statistics = Arc::new(self.compute_statistics()?);
        *known = Some(Arc::clone(&statistics));
        Ok(statistics)
    }

    fn with_fetch(&self, fetch: Option<usize>) -> Option<Arc<dyn ExecutionPlan>> {
        Some(Arc::new(self.changed(|scan| scan.fetch = fetch)))
    }

    fn fetch(&self) -> Option<usize> {
        self.fetch
    }

    fn try_swapping_with_projection(
        &self,
        projection: &ProjectionExec,
    ) -> Result<Option<Arc<dyn ExecutionPlan>>> {
        let place = |(expr, alias): (&Arc<dyn PhysicalExpr>, &str)| {
            let column = expr.downcast_ref::<Column>().filter(|column| column.name() == alias)?;
            self.projection.get(column.index()).copied()
        };
        let places = projection.expr().iter().map(|item| place((&item.expr, &item.alias)));
        let Some(places) = places.collect::<Option<Vec<usize>>>() else { return Ok(None) };
        let schema = Arc::new(self.source.schema.project(&places)?);
        let partitions = self.partitions();
        Ok(Some(Arc::new(self.changed(|scan| {
            scan.projection = places.into();
            scan.properties = properties(schema, partitions);
        }))))
    }

    fn handle_child_pushdown_result(
        &self,
        phase: FilterPushdownPhase,
        offered: ChildPushdownResult,
        _config: &ConfigOptions,
    ) -> Result<FilterPushdownPropagation<Arc<dyn ExecutionPlan>>> {
        let refused = vec![PushedDown::No; offered.parent_filters.len()];
        if self.fetch.is_some() || offered.parent_filters.is_empty() {
            return Ok(FilterPushdownPropagation::with_parent_pushdown_result(refused));
        }
        let (mut filters, mut dynamic) = (self.filters.to_vec(), self.dynamic.to_vec());
        let mut answers = refused;
        for (parent, answer) in offered.parent_filters.iter().zip(&mut answers) {
            let Ok(filter) = self.to_provider(&parent.filter) else { continue };
            match classify(&filter) {
                Offered::Static(conditions) => filters.extend(conditions),
                Offered::Dynamic(filter) if phase == FilterPushdownPhase::Post => dynamic.push(filter),
                Offered::Dynamic(_) | Offered::Refused => continue,
            }
            *answer = PushedDown::Yes;
        }
        let result = FilterPushdownPropagation::with_parent_pushdown_result(answers);
        if filters.len() == self.filters.len() && dynamic.len() == self.dynamic.len() {
            return Ok(result);
        }
        debug_assert!(dynamic.iter().all(is_dynamic));
        let scan = self.changed(|scan| (scan.filters, scan.dynamic) = (filters.into(), dynamic.into()));
        Ok(result.with_updated_node(Arc::new(scan)))
    }

    fn try_pushdown_sort(
        &self,
        _order: &[PhysicalSortExpr],
    ) -> Result<SortOrderPushdownResult<Arc<dyn ExecutionPlan>>> {
        Ok(SortOrderPushdownResult::Unsupported)
    }
}
