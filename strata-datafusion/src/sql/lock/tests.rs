//! Rows that two sessions want.

use std::sync::Arc;
use std::time::Duration;

use datafusion::arrow::util::display::array_value_to_string;
use futures::StreamExt;
use strata_core::{Database, Options};

use crate::error::SqlResult;
use crate::session::{Engine, EngineOptions, Outcome, Session, SessionOptions};

fn engine() -> Arc<Engine> {
    let options = EngineOptions { analytical_threads: 2 };
    Engine::new(Database::in_memory(Options::default()).unwrap(), options).unwrap()
}

async fn run(session: &mut Session, sql: &str) -> SqlResult<Vec<String>> {
    let result = run_statements(session, sql).await;
    match &result {
        Ok(_) => session.finish_implicit().await?,
        Err(_) => session.fail().await,
    }
    result
}

async fn run_statements(session: &mut Session, sql: &str) -> SqlResult<Vec<String>> {
    let mut answer = Vec::new();
    for statement in session.parse(sql)? {
        let Outcome::Rows(mut rows) = session.execute_statement(&statement).await?.streamed()? else {
            continue;
        };
        while let Some(batch) = rows.batches.next().await {
            let batch = batch?;
            for row in 0..batch.num_rows() {
                let cells = batch.columns().iter().map(|column| array_value_to_string(column, row).unwrap());
                answer.push(cells.collect::<Vec<_>>().join("|"));
            }
        }
    }
    Ok(answer)
}

/// What a locking query answers that waits while another session changes rows.
async fn after(change: &str, end: &str, query: &'static str, block: &'static str) -> SqlResult<Vec<String>> {
    let engine = engine();
    let mut one = Session::new(engine.clone(), SessionOptions::default());
    let mut two = Session::new(engine, SessionOptions::default());
    run(
        &mut one,
        "CREATE TABLE t (id int PRIMARY KEY, n int); INSERT INTO t VALUES (1, 10), (2, 20), (3, 30)",
    )
    .await
    .unwrap();
    run(&mut two, &format!("{block}; SELECT count(*) FROM t")).await.unwrap();
    run(&mut one, &format!("BEGIN; {change}")).await.unwrap();
    let mut waiting = tokio::spawn(async move { run(&mut two, query).await });
    let early = tokio::time::timeout(Duration::from_millis(300), &mut waiting).await;
    assert!(early.is_err(), "the row is held: {early:?}");
    run(&mut one, end).await.unwrap();
    waiting.await.unwrap()
}

#[tokio::test]
async fn a_row_that_was_waited_for_is_given_as_it_is_now() {
    let all = "SELECT * FROM t ORDER BY id FOR UPDATE";
    let change = "UPDATE t SET n = 11 WHERE id = 1";
    assert_eq!(after(change, "COMMIT", all, "BEGIN").await.unwrap(), ["1|11", "2|20", "3|30"]);
    assert_eq!(after(change, "ROLLBACK", all, "BEGIN").await.unwrap(), ["1|10", "2|20", "3|30"]);
    let gone = "DELETE FROM t WHERE id = 2";
    assert_eq!(after(gone, "COMMIT", all, "BEGIN").await.unwrap(), ["1|10", "3|30"]);
}

#[tokio::test]
async fn a_row_that_no_longer_fits_is_not_given() {
    let query = "SELECT id FROM t WHERE n < 25 ORDER BY id FOR UPDATE";
    let change = "UPDATE t SET n = 100 WHERE id = 1";
    assert_eq!(after(change, "COMMIT", query, "BEGIN").await.unwrap(), ["2"]);
}

#[tokio::test]
async fn readers_that_share_wait_for_writers_only() {
    let query = "SELECT n FROM t WHERE id = 3 FOR SHARE";
    let change = "UPDATE t SET n = n + 1 WHERE id = 3";
    assert_eq!(after(change, "COMMIT", query, "BEGIN").await.unwrap(), ["31"]);
}

#[tokio::test]
async fn a_row_changed_after_the_snapshot_is_a_serialization_failure() {
    let query = "SELECT n FROM t WHERE id = 3 FOR UPDATE";
    let change = "UPDATE t SET n = n + 1 WHERE id = 3";
    let block = "BEGIN ISOLATION LEVEL REPEATABLE READ";
    assert_eq!(after(change, "COMMIT", query, block).await.unwrap_err().sqlstate, "40001");
    assert_eq!(after(change, "ROLLBACK", query, block).await.unwrap(), ["30"]);
}

#[tokio::test]
async fn what_is_locked_stays_so_until_the_end() {
    let query = "UPDATE t SET n = 0 WHERE id = 2";
    let locked = "SELECT * FROM t WHERE id = 2 FOR UPDATE";
    assert!(after(locked, "COMMIT", query, "BEGIN").await.is_ok());
}
