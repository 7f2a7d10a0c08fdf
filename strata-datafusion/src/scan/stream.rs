//! One partition of a scan: morsels in, batches out.

use std::ops::Range;
use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions};
use datafusion::arrow::compute::BatchCoalescer;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::SendableRecordBatchStream;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::DynamicFilterPhysicalExpr;
use datafusion::physical_plan::coop::cooperative;
use datafusion::physical_plan::metrics::{BaselineMetrics, Count, ExecutionPlanMetricsSet, MetricBuilder};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use futures::stream::try_unfold;
use strata_core::heap::SegmentView;
use strata_core::heap::column::{ColumnBlock, Selection};

use super::filters::{Conjunct, is_true};
use super::queue::{Feed, Morsel, Queue};
use super::rows::Rows;
use super::source::{GroupSet, Place, ScanSource};
use crate::pruning::Pruner;

/// A dynamic filter that has been tried on so many rows …
const TRIAL_ROWS: usize = 1 << 16;
/// … and has passed more than this many of sixteen is used for zone maps only.
const USELESS_SIXTEENTHS: usize = 13;

/// What a partition runs.
pub(crate) struct Job {
    pub(crate) source: Arc<ScanSource>,
    pub(crate) schema: SchemaRef,
    pub(crate) projection: Arc<[usize]>,
    pub(crate) filters: Arc<[Arc<dyn PhysicalExpr>]>,
    pub(crate) dynamic: Arc<[Arc<dyn PhysicalExpr>]>,
    pub(crate) batch_rows: usize,
}

/// Which morsels a partition gets; asked at its first poll.
pub(crate) type OpenFeed = Box<dyn FnOnce() -> Result<Feed> + Send>;

/// Rows pruned and read, for EXPLAIN ANALYZE.
pub(crate) struct ScanMetrics {
    baseline: BaselineMetrics,
    segments_pruned: Count,
    rows_pruned: Count,
    rows_read: Count,
    bytes_read: Count,
}

impl ScanMetrics {
    pub(crate) fn new(metrics: &ExecutionPlanMetricsSet, partition: usize) -> Self {
        let counter = |name| MetricBuilder::new(metrics).counter(name, partition);
        Self {
            baseline: BaselineMetrics::new(metrics, partition),
            segments_pruned: counter("segments_pruned"),
            rows_pruned: counter("rows_pruned"),
            rows_read: counter("rows_read"),
            bytes_read: counter("bytes_read"),
        }
    }
}

/// The stream of a partition; does nothing before it is polled.
pub(crate) fn open(job: Job, feed: OpenFeed, metrics: ScanMetrics) -> SendableRecordBatchStream {
    let schema = Arc::clone(&job.schema);
    let state = State::Waiting(Box::new(job), feed, metrics);
    let batches = try_unfold(state, |state| async move {
        let mut scanner = match state {
            State::Waiting(job, feed, metrics) => Box::new(Scanner::new(*job, feed()?, metrics)?),
            State::Running(scanner) => scanner,
        };
        loop {
            match scanner.step()? {
                Step::Batch(batch) => return Ok(Some((batch, State::Running(scanner)))),
                Step::Nothing => tokio::task::consume_budget().await,
                Step::Done => return Ok(None),
            }
        }
    });
    Box::pin(cooperative(RecordBatchStreamAdapter::new(schema, Box::pin(batches))))
}

enum State {
    Waiting(Box<Job>, OpenFeed, ScanMetrics),
    Running(Box<Scanner>),
}

enum Step {
    Batch(RecordBatch),
    /// A chunk was read of which no row is to be given out yet.
    Nothing,
    Done,
}

/// What is left of a morsel.
struct Current {
    morsel: Morsel,
    /// Slots from here on are to be read; of a list, places in it.
    next: u32,
    end: u32,
    kept: GroupSet,
}

struct Scanner {
    job: Job,
    feed: Feed,
    metrics: ScanMetrics,
    conjuncts: Vec<Conjunct>,
    pruner: Option<Pruner>,
    dynamic: Vec<DynamicFilter>,
    current: Option<Current>,
    output: Output,
}

impl Scanner {
    fn new(job: Job, feed: Feed, metrics: ScanMetrics) -> Result<Self> {
        let conjuncts = job.source.compile(&job.filters)?;
        let static_filter = datafusion::physical_expr::conjunction_opt(job.filters.iter().cloned());
        let pruner = static_filter.and_then(|filter| Pruner::new(&filter, &job.source.schema));
        let dynamic = job.dynamic.iter().map(|filter| DynamicFilter::new(Arc::clone(filter))).collect();
        let output = Output::new(&job);
        Ok(Self { job, feed, metrics, conjuncts, pruner, dynamic, current: None, output })
    }

    fn step(&mut self) -> Result<Step> {
        let timer = self.metrics.baseline.elapsed_compute().clone();
        let _timer = timer.timer();
        if let Some(batch) = self.output.next() {
            return Ok(self.give(batch));
        }
        self.job.source.cancel.check().map_err(DataFusionError::from)?;
        if self.current.is_none() {
            let Some(morsel) = self.feed.next() else {
                return match self.output.finish()? {
                    Some(batch) => Ok(self.give(batch)),
                    None => Ok(Step::Done),
                };
            };
            self.current = self.begin(morsel)?;
        }
        self.read_chunk()?;
        Ok(match self.output.next() {
            Some(batch) => self.give(batch),
            None => Step::Nothing,
        })
    }

    /// Gives a batch out, cut to what the fetch still allows.
    fn give(&mut self, batch: RecordBatch) -> Step {
        let rows = self.feed.claim(batch.num_rows());
        if rows == 0 {
            return Step::Done;
        }
        let batch = if rows < batch.num_rows() { batch.slice(0, rows) } else { batch };
        self.metrics.baseline.record_output(rows);
        Step::Batch(batch)
    }

    /// Holds a morsel against the zone maps; `None` if nothing of it is left.
    fn begin(&mut self, morsel: Morsel) -> Result<Option<Current>> {
        for filter in &mut self.dynamic {
            filter.refresh(&self.job.source)?;
        }
        let (next, end) = match &morsel {
            Morsel::Slots(_, range) => (range.start, range.end),
            Morsel::Rows(_, rows) | Morsel::Own(rows) => (0, u32::try_from(rows.len()).unwrap_or(u32::MAX)),
        };
        let mut current = Current { morsel, next, end, kept: GroupSet::default() };
        let source = Arc::clone(&self.job.source);
        let (Morsel::Slots(place, _) | Morsel::Rows(place, _)) = &current.morsel else {
            return Ok(Some(current));
        };
        let Some(segment) = source.segments.get(*place) else { return Ok(None) };
        let pruners =
            self.pruner.iter().chain(self.dynamic.iter().filter_map(|filter| filter.pruner.as_ref()));
        let pruners: Vec<&Pruner> = pruners.collect();
        if pruners.is_empty() {
            return Ok(Some(current));
        }
        let Some(block) = source.block(segment)? else { return Ok(Some(current)) };
        for pruner in pruners {
            if !self.keep(&source, &block, pruner, &mut current)? {
                self.metrics.segments_pruned.add(1);
                self.metrics.rows_pruned.add((end - next) as usize);
                return Ok(None);
            }
        }
        self.metrics.rows_pruned.add(current.kept.dropped_rows(&(next..end)));
        Ok(Some(current))
    }

    fn keep(
        &self,
        source: &ScanSource,
        block: &ColumnBlock,
        pruner: &Pruner,
        current: &mut Current,
    ) -> Result<bool> {
        if !source.keeps_segment(block, pruner)? {
            return Ok(false);
        }
        // Of single rows the groups do not matter; of a sparse block they are not groups of slots.
        if block.presence().is_none() && matches!(current.morsel, Morsel::Slots(..)) {
            current.kept.intersect(source.kept_groups(block, pruner)?);
        }
        Ok(true)
    }

    /// Reads the next rows of the current morsel into the output.
    fn read_chunk(&mut self) -> Result<()> {
        let Some(current) = &mut self.current else { return Ok(()) };
        let Some(range) = current.kept.next_run(current.next, current.end) else {
            self.current = None;
            return Ok(());
        };
        current.next = range.end;
        let source = Arc::clone(&self.job.source);
        let rows = match &current.morsel {
            Morsel::Slots(segment, _) => Rows::of_range(&source, segment_at(&source, *segment)?, range)?,
            // The index has shown that these are visible.
            Morsel::Rows(segment, slots) => {
                Rows::listed(&source, Place::Segment(segment_at(&source, *segment)?), listed(slots, &range))
            }
            Morsel::Own(places) => {
                Rows::listed(&source, Place::Own(source.own_rows()), listed(places, &range))
            }
        };
        if rows.count() > 0 { self.read_rows(rows) } else { Ok(()) }
    }

    fn read_rows(&mut self, mut rows: Rows<'_>) -> Result<()> {
        self.metrics.rows_read.add(rows.count());
        let projection = Arc::clone(&self.job.projection);
        let row_level = self.dynamic.iter().filter(|filter| filter.is_row_level());
        let late: Vec<&Conjunct> = row_level.flat_map(|filter| &filter.conjuncts).collect();
        let reads =
            |conjuncts: &[&Conjunct], column| conjuncts.iter().any(|later| later.columns().contains(&column));
        let early: Vec<&Conjunct> = self.conjuncts.iter().collect();
        for (at, conjunct) in early.iter().enumerate() {
            rows.apply(conjunct, |column| {
                projection.contains(&column) || reads(&early[at + 1..], column) || reads(&late, column)
            })?;
            if rows.count() == 0 {
                return Ok(());
            }
        }
        for filter in &mut self.dynamic {
            if !filter.is_row_level() {
                continue;
            }
            let before = rows.count();
            for conjunct in &filter.conjuncts {
                // Another filter may read anything: keep all.
                rows.apply(conjunct, |_| true)?;
            }
            filter.tried(before, rows.count());
            if rows.count() == 0 {
                return Ok(());
            }
        }
        let count = rows.count();
        let (arrays, bytes_read) = rows.finish(&projection)?;
        self.metrics.bytes_read.add(bytes_read);
        self.output.push(arrays, count)
    }
}

fn segment_at(source: &ScanSource, place: usize) -> Result<&SegmentView> {
    source
        .segments
        .get(place)
        .ok_or_else(|| DataFusionError::Internal(format!("the scan has no segment {place}")))
}

/// A part of a list of places.
fn listed(places: &[u32], range: &Range<u32>) -> Selection {
    Selection::Slots(places.get(range.start as usize..range.end as usize).unwrap_or_default().to_vec())
}

/// A dynamic filter as one partition uses it.
struct DynamicFilter {
    filter: Arc<dyn PhysicalExpr>,
    generation: Option<u64>,
    conjuncts: Vec<Conjunct>,
    pruner: Option<Pruner>,
    tried_rows: usize,
    passed_rows: usize,
}

impl DynamicFilter {
    fn new(filter: Arc<dyn PhysicalExpr>) -> Self {
        Self { filter, generation: None, conjuncts: Vec::new(), pruner: None, tried_rows: 0, passed_rows: 0 }
    }

    /// Takes the filter as it is now.
    fn refresh(&mut self, source: &ScanSource) -> Result<()> {
        let Some(dynamic) = self.filter.downcast_ref::<DynamicFilterPhysicalExpr>() else { return Ok(()) };
        // Read first: an update in between is noticed the next time.
        let generation = dynamic.snapshot_generation();
        if self.generation == Some(generation) {
            return Ok(());
        }
        let now = dynamic.current()?;
        self.generation = Some(generation);
        (self.tried_rows, self.passed_rows) = (0, 0);
        if is_true(&now) {
            self.conjuncts.clear();
            self.pruner = None;
            return Ok(());
        }
        self.pruner = Pruner::new(&now, &source.schema);
        self.conjuncts = source.compile(&[now])?;
        Ok(())
    }

    fn is_row_level(&self) -> bool {
        let is_useless =
            self.tried_rows >= TRIAL_ROWS && self.passed_rows * 16 > self.tried_rows * USELESS_SIXTEENTHS;
        !self.conjuncts.is_empty() && !is_useless
    }

    fn tried(&mut self, before: usize, after: usize) {
        if self.tried_rows < TRIAL_ROWS {
            self.tried_rows += before;
            self.passed_rows += after;
        }
    }
}

/// Collects rows into batches.
struct Output {
    schema: SchemaRef,
    batch_rows: usize,
    /// `None` for a projection without columns, of which only rows are counted.
    coalescer: Option<BatchCoalescer>,
    counted: usize,
}

impl Output {
    fn new(job: &Job) -> Self {
        let schema = Arc::clone(&job.schema);
        let coalescer = (!schema.fields().is_empty()).then(|| {
            // What is nearly a batch already is not copied again.
            BatchCoalescer::new(Arc::clone(&schema), job.batch_rows)
                .with_biggest_coalesce_batch_size(Some(job.batch_rows / 2))
        });
        Self { schema, batch_rows: job.batch_rows, coalescer, counted: 0 }
    }

    fn push(&mut self, arrays: Vec<ArrayRef>, rows: usize) -> Result<()> {
        match &mut self.coalescer {
            Some(coalescer) => {
                coalescer.push_batch(RecordBatch::try_new(Arc::clone(&self.schema), arrays)?)?;
            }
            None => self.counted += rows,
        }
        Ok(())
    }

    /// A batch that is full.
    fn next(&mut self) -> Option<RecordBatch> {
        match &mut self.coalescer {
            Some(coalescer) => coalescer.next_completed_batch(),
            None => (self.counted >= self.batch_rows).then(|| self.take_counted(self.batch_rows)),
        }
    }

    /// What is left.
    fn finish(&mut self) -> Result<Option<RecordBatch>> {
        if let Some(coalescer) = &mut self.coalescer {
            coalescer.finish_buffered_batch()?;
            return Ok(coalescer.next_completed_batch());
        }
        Ok((self.counted > 0).then(|| self.take_counted(self.counted)))
    }

    fn take_counted(&mut self, rows: usize) -> RecordBatch {
        self.counted -= rows;
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        RecordBatch::try_new_with_options(Arc::clone(&self.schema), Vec::new(), &options)
            .expect("a batch without columns has any number of rows")
    }
}

/// A queue that the first of its partitions to be polled fills.
#[derive(Debug, Default)]
pub(crate) struct QueueCell {
    made: parking_lot::Mutex<Option<Arc<Queue>>>,
}

impl QueueCell {
    /// The queue, made by `make` if there is none yet.
    pub(crate) fn get(&self, make: impl FnOnce() -> Queue) -> Arc<Queue> {
        Arc::clone(self.made.lock().get_or_insert_with(|| Arc::new(make())))
    }
}
