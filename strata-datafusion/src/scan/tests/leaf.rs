//! What optimizer rules and other operators rely on.

use std::sync::Arc;

use datafusion::common::stats::Precision;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::{ExecutionPlan, StatisticsArgs, StatisticsContext, collect};
use datafusion::prelude::{SessionConfig, SessionContext};
use strata_core::ids::RowId;
use strata_core::row::Datum;

use super::world::{World, agree, plan, row_ids, run};

/// 40,000 loaded rows, frozen, and nothing else.
async fn loaded() -> World {
    let mut world = World::new(7).await;
    let transaction = world.begin();
    let mut rows = Vec::new();
    world.load(&transaction, &mut rows, 40_000).await;
    world.commit(transaction).await;
    world.rows = rows;
    world
}

fn now(world: &World) -> SessionContext {
    world.context(world.db.view(), &world.rows)
}

async fn scan_of(context: &SessionContext, sql: &str) -> Arc<dyn ExecutionPlan> {
    let mut plan = context.sql(sql).await.unwrap().create_physical_plan().await.unwrap();
    while let Some(child) = plan.children().first().map(|child| Arc::clone(child)) {
        plan = child;
    }
    plan
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn explain_shows_the_access_path() {
    let world = loaded().await;
    let context = now(&world);
    let point = plan(&context, "SELECT b FROM t WHERE id = 17").await;
    assert!(
        point.contains("table=t, access=index(t_pkey), rows=1, projection=[b], filters=[id@0 = 17]"),
        "{point}"
    );
    let range = plan(&context, "SELECT b FROM t WHERE a BETWEEN 100 AND 103").await;
    assert!(range.contains("access=index(t_a)"), "{range}");
    let prefix = plan(&context, "SELECT a FROM t WHERE b = 'name-07' AND d < '1992-01-01'").await;
    assert!(prefix.contains("access=index(t_b_d)"), "{prefix}");
    let wide = plan(&context, "SELECT b FROM t WHERE a > 100").await;
    assert!(
        wide.contains("access=scan") && wide.contains("pruning=a_null_count@1 != row_count@2 AND a_max"),
        "{wide}"
    );
    assert!(!wide.contains("FilterExec"), "{wide}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn statistics_are_exact_only_for_a_whole_undisturbed_table() {
    let mut world = loaded().await;
    let context = now(&world);
    let statistics = |scan: Arc<dyn ExecutionPlan>| {
        StatisticsContext::new().compute(scan.as_ref(), &StatisticsArgs::new()).unwrap()
    };
    let whole = statistics(scan_of(&context, "SELECT id, c FROM t").await);
    assert_eq!(whole.num_rows, Precision::Exact(40_000));
    assert_eq!(whole.column_statistics[0].max_value.to_string(), "Exact(Int64(39999))");
    assert!(
        matches!(whole.column_statistics[1].max_value, Precision::Inexact(_)),
        "floats are ordered differently"
    );
    let distinct = whole.column_statistics[0].distinct_count.get_value().copied().unwrap();
    assert!((36_000..=40_000).contains(&distinct), "{distinct}");
    let answered = plan(&context, "SELECT count(*), max(id), min(id) FROM t").await;
    assert!(!answered.contains("StrataScan"), "{answered}");
    let partition = scan_of(&context, "SELECT id FROM t").await;
    let of_partition = StatisticsArgs::new().with_partition(Some(0));
    let of_partition = StatisticsContext::new().compute(partition.as_ref(), &of_partition).unwrap();
    assert_eq!(of_partition.num_rows, Precision::Absent);

    for sql in
        ["SELECT id FROM t WHERE a > 5000", "SELECT id FROM t LIMIT 10", "SELECT id FROM t WHERE id = 4"]
    {
        let reduced = statistics(scan_of(&context, sql).await);
        assert!(matches!(reduced.num_rows, Precision::Inexact(_)), "{sql}");
        assert!(!matches!(reduced.column_statistics[0].max_value, Precision::Exact(_)), "{sql}");
    }
    // a is about id / 7: a little more than a tenth of the rows.
    let tenth = statistics(scan_of(&context, "SELECT id FROM t WHERE a > 5000").await);
    let rows = *tenth.num_rows.get_value().unwrap();
    assert!((2_000..12_000).contains(&rows), "{rows}");

    let transaction = world.begin();
    let mut rows = world.rows.clone();
    world.insert(&transaction, &mut rows, 5).await;
    let context = world.context(transaction.view(), &rows);
    let own = statistics(scan_of(&context, "SELECT id FROM t").await);
    assert_eq!(own.num_rows, Precision::Exact(40_005));
    assert!(matches!(own.column_statistics[0].max_value, Precision::Inexact(_)));
    assert_eq!(run(&context, "SELECT count(*), max(id) FROM t").await, ["40005|40004"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_scan_runs_again_after_a_reset_and_partitions_may_run_alone() {
    let world = loaded().await;
    let context = now(&world);
    let scan = scan_of(&context, "SELECT id FROM t WHERE c > 0").await;
    let count = |batches: Vec<datafusion::arrow::array::RecordBatch>| {
        batches.iter().map(|batch| batch.num_rows()).sum::<usize>()
    };
    let rows = count(collect(Arc::clone(&scan), context.task_ctx()).await.unwrap());
    assert!(rows > 10_000);
    // The same node has nothing more to give; one that was reset has.
    assert_eq!(count(collect(Arc::clone(&scan), context.task_ctx()).await.unwrap()), 0);
    let again = Arc::clone(&scan).reset_state().unwrap();
    assert_eq!(count(collect(again, context.task_ctx()).await.unwrap()), rows);

    let mut config = SessionConfig::new().with_target_partitions(3);
    config.options_mut().execution.enable_file_stream_work_stealing = false;
    let context = world.context_with(config, world.db.view(), &world.rows);
    let scan = scan_of(&context, "SELECT id FROM t WHERE c > 0").await;
    let partitions = scan.properties().partitioning.partition_count();
    assert_eq!(partitions, 3);
    let mut total = 0;
    for partition in 0..partitions {
        // As a task elsewhere has it: a copy of the plan, of which it runs one partition.
        let copy = Arc::clone(&scan).reset_state().unwrap();
        let stream = copy.execute(partition, context.task_ctx()).unwrap();
        total += count(datafusion::physical_plan::common::collect(stream).await.unwrap());
    }
    assert_eq!(total, rows);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reset_forgets_the_filters_of_the_last_round() {
    let world = loaded().await;
    let context = now(&world);
    let scan = scan_of(&context, "SELECT id FROM t WHERE c > 0 ORDER BY a LIMIT 5").await;
    let filters = |scan: &Arc<dyn ExecutionPlan>| {
        let mut filters = Vec::new();
        let visit = &mut |filter: &Arc<dyn PhysicalExpr>| {
            filters.push(filter.expression_id().is_some());
            Ok(TreeNodeRecursion::Continue)
        };
        scan.apply_expressions(visit).unwrap();
        filters
    };
    assert_eq!(filters(&scan), [false, true]);
    assert_eq!(filters(&scan.reset_state().unwrap()), [false]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_recursive_query_scans_the_table_in_every_round() {
    let world = loaded().await;
    let context = now(&world);
    let sql = "WITH RECURSIVE steps AS (SELECT id, a FROM $t WHERE id = 3 UNION ALL \
        SELECT n.id, n.a FROM steps s JOIN $t n ON n.id = s.id * 3 + 1) SELECT * FROM steps";
    assert_eq!(agree(&context, sql).await, 9);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn joins_and_topk_hand_their_filters_to_the_scan() {
    let world = loaded().await;
    let mut config = SessionConfig::new().with_target_partitions(3);
    for partitioned in [false, true] {
        let options = config.options_mut();
        let threshold = if partitioned { 0 } else { 1 << 20 };
        options.optimizer.hash_join_single_partition_threshold = threshold;
        options.optimizer.hash_join_single_partition_threshold_rows = threshold;
        let context = world.context_with(config.clone(), world.db.view(), &world.rows);
        let sql = "SELECT p.id, q.s FROM (SELECT id FROM m WHERE id BETWEEN 900 AND 950) p JOIN $t q ON p.id = q.id";
        let shown = plan(&context, &sql.replace("$t", "t")).await;
        assert!(shown.contains("dynamic=[DynamicFilter"), "{shown}");
        assert_eq!(shown.contains("mode=Partitioned"), partitioned, "{shown}");
        assert_eq!(agree(&context, sql).await, 51);
        let analyzed = run(&context, &format!("EXPLAIN ANALYZE {}", sql.replace("$t", "t"))).await.join("\n");
        let pruned =
            analyzed.split("rows_pruned=").nth(1).and_then(|rest| rest.split([',', ' ', ']']).next());
        assert!(pruned.is_some_and(|pruned| pruned != "0"), "{analyzed}");
    }
    let context = now(&world);
    let top = plan(&context, "SELECT * FROM t ORDER BY a DESC LIMIT 5").await;
    assert!(top.contains("dynamic=[DynamicFilter"), "{top}");
    agree(&context, "SELECT a, id FROM $t ORDER BY a DESC, id LIMIT 5").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_scan_with_a_fetch_takes_no_filter_from_above_it() {
    let world = loaded().await;
    let context = now(&world);
    // The ten rows are chosen before the join: its filter must not choose others.
    let sql = "SELECT count(*) FROM (SELECT id FROM t LIMIT 10) l RIGHT JOIN (SELECT 1 AS one) o ON true";
    assert_eq!(run(&context, sql).await, ["10"]);
    let sql = "SELECT q.id FROM (SELECT id FROM m WHERE id > 39000) p JOIN (SELECT id FROM t LIMIT 10) q ON p.id = q.id";
    let shown = plan(&context, sql).await;
    let scan = shown.lines().find(|line| line.contains("StrataScan")).unwrap();
    assert!(!(scan.contains("fetch=10") && scan.contains("dynamic")), "{shown}");
    // A scan of one partition takes the whole limit, and is then what the join offers its filter to.
    let mut small = World::new(3).await;
    let transaction = small.begin();
    let mut rows = Vec::new();
    small.insert(&transaction, &mut rows, 900).await;
    small.commit(transaction).await;
    small.rows = rows;
    let alone = now(&small);
    let sql =
        "SELECT q.id FROM (VALUES (801), (802)) p(id) JOIN (SELECT id FROM t LIMIT 10) q ON p.id = q.id";
    let shown = plan(&alone, sql).await;
    assert!(shown.lines().any(|line| line.contains("StrataScan") && line.contains("fetch=10")), "{shown}");
    assert_eq!(run(&alone, sql).await, Vec::<String>::new());
    for limit in [0, 1, 10, 9_000, 50_000] {
        let rows = run(&context, &format!("SELECT id, s FROM t WHERE id >= 0 LIMIT {limit}")).await;
        assert_eq!(rows.len(), limit.min(40_000));
        let scan = scan_of(&context, &format!("SELECT id FROM t LIMIT {limit}")).await;
        if scan.name() == "StrataScan" {
            assert!(
                collect(scan, context.task_ctx()).await.unwrap().iter().map(|b| b.num_rows()).sum::<usize>()
                    <= limit
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn row_ids_lead_back_to_their_rows() {
    let mut world = loaded().await;
    let transaction = world.begin();
    let mut rows = world.rows.clone();
    world.insert(&transaction, &mut rows, 40).await;
    world.commit(transaction).await;
    world.rows = rows.clone();
    let transaction = world.begin();
    world.change(&transaction, &mut rows, 100).await;
    world.insert(&transaction, &mut rows, 40).await;
    let view = transaction.view();
    let context = world.context(view.clone(), &rows);
    let table = view.table(world.table).unwrap();
    let found = row_ids(&context).await;
    assert_eq!(found.len(), rows.len());
    for (id, row) in found.iter().step_by(97).chain(found.iter().filter(|(_, row)| row.is_provisional())) {
        assert!(table.is_visible(*row).unwrap());
        let stored =
            table.row(*row).unwrap().datum(&table.def().schema, strata_core::ids::ColumnId::new(0)).unwrap();
        assert_eq!(stored, Datum::Int64(*id));
    }
    // A filter on the column itself, and keyed access with it in the output.
    let (id, row) = found[1234];
    assert_eq!(
        run(&context, &format!("SELECT id FROM r WHERE _rowid = {}", row.get())).await,
        [id.to_string()]
    );
    let keyed = run(&context, &format!("SELECT _rowid FROM r WHERE id = {id}")).await;
    assert_eq!(keyed, [row.get().to_string()]);
    assert!(found.iter().any(|(_, row)| *row >= RowId::provisional(0)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hot_segment_that_is_frozen_reads_the_same() {
    let mut world = World::new(11).await;
    let transaction = world.begin();
    let mut rows = Vec::new();
    world.insert(&transaction, &mut rows, 66_000).await;
    world.commit(transaction).await;
    world.rows = rows;
    let queries = [
        "SELECT * FROM $t",
        "SELECT id, s FROM $t WHERE a BETWEEN 4000 AND 4100 AND c > 0",
        "SELECT b, count(*) FROM $t WHERE d > '1993-01-01' GROUP BY b",
    ];
    let before = now(&world);
    for sql in queries {
        agree(&before, sql).await;
    }
    world.db.vacuum().expect("maintained");
    let view = world.db.view().table(world.table).unwrap();
    assert!(view.segments().unwrap()[0].is_frozen());
    for context in [before, now(&world)] {
        for sql in queries {
            agree(&context, sql).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cancelled_statement_stops_its_scans() {
    let world = loaded().await;
    let cancel = crate::session::CancelHandle::default();
    let statement = crate::provider::StatementContext::new(world.db.view()).with_cancel(cancel.clone());
    let config = SessionConfig::new().with_extension(Arc::new(statement));
    let context = SessionContext::new_with_config(config);
    let table = crate::provider::StrataTable::new(&world.def());
    context.register_table("t", Arc::new(table)).unwrap();
    assert_eq!(run(&context, "SELECT sum(a) > 0 FROM t").await, ["true"]);
    cancel.cancel();
    let error = context.sql("SELECT sum(a) FROM t").await.unwrap().collect().await.unwrap_err();
    assert_eq!(crate::error::SqlError::from(error).sqlstate, "57014");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_condition_that_can_fail_is_not_evaluated_on_rows_ruled_out() {
    let mut world = loaded().await;
    let transaction = world.begin();
    let mut rows = world.rows.clone();
    world.insert(&transaction, &mut rows, 100).await;
    let context = world.context(transaction.view(), &rows);
    // Some rows have a = 100: dividing by a - 100 fails on them.
    let sql = "SELECT id FROM t WHERE a <> 100 AND 1000 / (a - 100) > 2";
    let rows = run(&context, sql).await.len();
    assert!(rows > 1000, "{rows}");
    let frame = context.sql("SELECT id FROM t WHERE 1000 / (a - 100) > 2").await.unwrap();
    assert!(frame.collect().await.is_err());
}
