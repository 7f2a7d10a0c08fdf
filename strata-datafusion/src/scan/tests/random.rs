//! Random queries on random tables.

use strata_core::heap::{Image, SegmentView};

use super::world::{Random, World, agree};

fn condition(random: &mut Random, max_id: u64) -> String {
    let id = random.below(max_id + 100);
    let wide = id + random.below(max_id / 2 + 1);
    let a = id / 7;
    let name = format!("'name-{:02}'", random.below(32));
    let cents = random.below(10_000) as i64 - 5_000;
    let day = format!("arrow_cast({}, 'Date32')", 7990 + random.below(max_id / 100 + 30));
    match random.below(18) {
        0 => format!("id = {id}"),
        1 => format!("id IN ({id}, {}, {wide}, -1)", id + 1),
        2 => format!("id BETWEEN {id} AND {}", id + random.below(300)),
        3 => format!("id BETWEEN {id} AND {wide}"),
        4 => format!("a = {a}"),
        5 => format!("a > {a} AND a <= {}", a + random.below(500)),
        6 => format!("b = {name}"),
        7 => format!("b = {name} AND d >= {day}"),
        8 => format!("d < {day}"),
        9 => format!("c > {}", cents / 50),
        10 => format!("e BETWEEN {cents} AND {}", cents + 500),
        11 => format!("b LIKE 'name-{}%'", random.below(4)),
        12 => {
            (*random.pick(&["c IS NULL", "b IS NOT NULL", "a IS NULL AND b IS NULL", "d IS NULL"])).to_owned()
        }
        13 => format!("s LIKE '%{}%'", random.below(100)),
        14 => format!("(a = {a} OR b = {name})"),
        15 => format!("length(s) > {}", random.below(35)),
        16 => format!("a + 1 = {a} AND id <> 5"),
        _ => format!("NOT (a < {a} OR c < {})", cents / 50),
    }
}

fn conditions(random: &mut Random, max_id: u64) -> String {
    let count = random.below(4);
    let parts: Vec<_> = (0..count).map(|_| condition(random, max_id)).collect();
    if parts.is_empty() { "true".to_owned() } else { parts.join(" AND ") }
}

fn query(random: &mut Random, max_id: u64) -> String {
    let filter = conditions(random, max_id);
    let columns =
        *random.pick(&["*", "id", "s, id", "b, d, e", "id, id AS again", "c, a", "1", "a * 2 AS twice, b"]);
    let bounds = "count(*), count(a), min(id), max(id), min(b), max(b), min(d), max(e)";
    match random.below(9) {
        0 | 1 => format!("SELECT {columns} FROM $t WHERE {filter}"),
        2 => format!("SELECT {bounds} FROM $t WHERE {filter}"),
        3 => format!("SELECT b, count(*), sum(e), max(s) FROM $t WHERE {filter} GROUP BY b"),
        4 => format!("SELECT id, s FROM $t WHERE {filter} ORDER BY id DESC LIMIT {}", random.below(50)),
        5 => format!("SELECT c, id FROM $t WHERE {filter} ORDER BY c, id LIMIT {}", random.below(3000)),
        6 => {
            let low = random.below(max_id);
            let high = low + 20;
            format!(
                "SELECT p.id, q.b FROM (SELECT id, a FROM m WHERE id BETWEEN {low} AND {high}) p \
                 JOIN (SELECT * FROM $t WHERE {filter}) q ON p.a = q.a"
            )
        }
        7 => format!("SELECT count(*) FROM (SELECT 1 FROM $t WHERE {filter} LIMIT {})", random.below(40_000)),
        _ => format!("SELECT id FROM $t WHERE {filter} AND e > (SELECT avg(e) FROM $t)"),
    }
}

async fn run_queries(world: &mut World, seed: u64, count: usize) {
    let view = world.db.view();
    let rows = world.rows.clone();
    let context = world.context(view, &rows);
    check(world, &context, seed, count).await;
}

async fn check(world: &mut World, context: &datafusion::prelude::SessionContext, seed: u64, count: usize) {
    for number in 0..count {
        let sql = query(&mut world.random, 60_000);
        eprintln!("seed {seed}, query {number}: {sql}");
        agree(context, &sql).await;
    }
}

/// All that can become of a table, and at each stage snapshots that go on showing the same.
async fn round(seed: u64) {
    let mut world = World::new(seed).await;
    run_queries(&mut world, seed, 3).await;

    let mut rows = Vec::new();
    let transaction = world.begin();
    world.insert(&transaction, &mut rows, 900).await;
    world.commit(transaction).await;
    world.rows = rows.clone();
    run_queries(&mut world, seed, 10).await;

    let transaction = world.begin();
    world.load(&transaction, &mut rows, 40_000).await;
    // Own rows of a load that has not committed.
    let context = world.context(transaction.view(), &rows);
    check(&mut world, &context, seed, 6).await;
    world.commit(transaction).await;
    world.rows = rows.clone();
    run_queries(&mut world, seed, 15).await;

    let before = (world.db.view(), rows.clone());
    let transaction = world.begin();
    world.change(&transaction, &mut rows, 20).await;
    world.insert(&transaction, &mut rows, 300).await;
    // Own rows and own marks, and none of them for the others.
    let context = world.context(transaction.view(), &rows);
    check(&mut world, &context, seed, 15).await;
    run_queries(&mut world, seed, 5).await;
    world.commit(transaction).await;
    world.rows = rows.clone();
    run_queries(&mut world, seed, 15).await;

    let transaction = world.begin();
    world.change(&transaction, &mut rows, 2).await;
    world.load(&transaction, &mut rows, 17_000).await;
    world.commit(transaction).await;
    world.rows = rows.clone();
    let context = world.context(before.0.clone(), &before.1);
    check(&mut world, &context, seed, 5).await;
    drop((context, before));
    world.db.vacuum().expect("maintained");
    let table = world.db.view().table(world.table).expect("the table");
    let is_sparse = |segment: &SegmentView| matches!(segment.image(), Image::Column(image) if image.rows() < image.slots());
    assert!(table.segments().expect("segments").iter().any(is_sparse), "rows were deleted and reclaimed");
    run_queries(&mut world, seed, 20).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn random_queries_give_what_the_same_rows_in_memory_give() {
    for seed in [1, 20_251_120] {
        round(seed).await;
    }
}
