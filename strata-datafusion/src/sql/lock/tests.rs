//! Rows that two sessions want.

use std::time::Duration;

use strata_core::Options;

use crate::error::SqlResult;
use crate::session::testing::{engine, run, session};

/// What a locking query answers that waits while another session changes rows.
async fn after(change: &str, end: &str, query: &'static str, block: &'static str) -> SqlResult<Vec<String>> {
    let engine = engine(Options::default());
    let mut one = session(&engine);
    let mut two = session(&engine);
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

/// TRAPS, "DDL against DML".
#[tokio::test]
async fn altering_a_table_waits_for_its_writers() {
    let (insert, alter) = ("INSERT INTO t VALUES (4, NULL)", "ALTER TABLE t ALTER n SET NOT NULL");
    for block in ["BEGIN", "BEGIN ISOLATION LEVEL REPEATABLE READ"] {
        let refusal = after(insert, "COMMIT", alter, block).await.unwrap_err();
        assert_eq!(refusal.sqlstate, "23502", "{refusal:?}");
        after(insert, "ROLLBACK", alter, block).await.unwrap();
    }
}

/// Bug: a probe queued for a moment, which closed a cycle with who waited for the session: 40P01, and its transaction was lost.
#[tokio::test]
async fn a_row_of_one_who_waits_for_the_session_is_held_like_any_other() {
    for strength in ["UPDATE", "SHARE"] {
        let engine = engine(Options::default());
        let mut one = session(&engine);
        let mut two = session(&engine);
        let rows = "INSERT INTO t VALUES (1, 10), (2, 20), (3, 30)";
        run(&mut one, &format!("CREATE TABLE t (id int PRIMARY KEY, n int); {rows}")).await.unwrap();
        run(&mut one, "BEGIN; SELECT id FROM t WHERE id = 1 FOR UPDATE; SAVEPOINT s").await.unwrap();
        run(&mut two, "BEGIN; SELECT id FROM t WHERE id = 2 FOR UPDATE").await.unwrap();
        let mut waiting =
            tokio::spawn(async move { run(&mut two, "UPDATE t SET n = 11 WHERE id = 1; COMMIT").await });
        let early = tokio::time::timeout(Duration::from_millis(300), &mut waiting).await;
        assert!(early.is_err(), "the row is held: {early:?}");
        let query = format!("SELECT id FROM t ORDER BY id FOR {strength}");
        assert_eq!(run(&mut one, &format!("{query} SKIP LOCKED")).await.unwrap(), ["1", "3"]);
        let refusal = run(&mut one, &format!("{query} NOWAIT")).await.unwrap_err();
        assert_eq!(refusal.sqlstate, "55P03", "{strength}: {refusal:?}");
        run(&mut one, "ROLLBACK TO s; UPDATE t SET n = 12 WHERE id = 1; COMMIT").await.unwrap();
        waiting.await.unwrap().unwrap();
        assert_eq!(run(&mut one, "SELECT n FROM t WHERE id = 1").await.unwrap(), ["11"]);
    }
}
