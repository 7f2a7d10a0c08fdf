//! UPDATE and DELETE of many rows, and of rows that others change meanwhile.

use std::time::Duration;

use strata_core::Options;

use crate::session::testing::{engine, run, session};

/// More rows than memory would have room for, were they found before the first is written.
#[tokio::test]
async fn many_rows_are_changed_in_pieces() {
    let mut session = session(&engine(Options { memory_bytes: 32 << 20, ..Options::default() }));
    let prepare = "CREATE TABLE t (id int PRIMARY KEY, n int, note text);
        INSERT INTO t SELECT i, i, '' FROM generate_series(1, 40000) g(i)";
    run(&mut session, prepare).await.unwrap();
    let update = "UPDATE t SET n = n + 1, note = repeat(chr(65 + id % 26), 2000) WHERE id % 10 > 0";
    run(&mut session, update).await.unwrap();
    let sums = "SELECT count(*), sum(n), sum(length(note)), count(DISTINCT note) FROM t";
    let expected = format!("40000|{}|{}|27", 40_000 * 40_001 / 2 + 36_000, 36_000 * 2_000);
    assert_eq!(run(&mut session, sums).await.unwrap(), [expected.as_str()]);
    // A join may find a row twice, so all that it finds must fit.
    let join = "UPDATE t SET note = repeat('x', 2000) FROM t s WHERE s.id = t.id";
    let refusal = run(&mut session, join).await.unwrap_err();
    assert_eq!(refusal.sqlstate, "53200", "{refusal:?}");
    let returning = "UPDATE t SET n = n RETURNING note";
    let refusal = run(&mut session, returning).await.unwrap_err();
    assert_eq!(refusal.sqlstate, "53200", "{refusal:?}");
    assert_eq!(run(&mut session, sums).await.unwrap(), [expected.as_str()], "nothing of them is left");
    run(&mut session, "DELETE FROM t WHERE n % 2 = 0").await.unwrap();
    let left = run(&mut session, "SELECT count(*), count(*) FILTER (WHERE n % 2 = 0) FROM t").await.unwrap();
    assert_eq!(left, ["16000|0"]);
}

/// What a statement answers after it has waited for another transaction's changes, and the rows then.
async fn after(change: &str, statement: &'static str) -> Vec<String> {
    let engine = engine(Options::default());
    let (mut one, mut two) = (session(&engine), session(&engine));
    let prepare =
        "CREATE TABLE t (id int PRIMARY KEY, n int); INSERT INTO t VALUES (1, 20), (2, 10), (3, 20)";
    run(&mut one, prepare).await.unwrap();
    run(&mut one, &format!("BEGIN; {change}")).await.unwrap();
    let mut waiting = tokio::spawn(async move { run(&mut two, statement).await });
    let early = tokio::time::timeout(Duration::from_millis(300), &mut waiting).await;
    assert!(early.is_err(), "the row is held: {early:?}");
    run(&mut one, "COMMIT").await.unwrap();
    waiting.await.unwrap().unwrap();
    run(&mut one, "SELECT id, n FROM t ORDER BY id").await.unwrap()
}

/// TRAPS, "The lost successor": the condition is looked at again for the row that was waited for, and for no other.
#[tokio::test]
async fn a_condition_is_evaluated_anew_for_the_row_that_was_waited_for() {
    let swap = "UPDATE t SET n = 30 - n WHERE id < 3";
    assert_eq!(after(swap, "DELETE FROM t WHERE n = 20").await, ["1|10", "2|20"], "2 came to fit too late");
    assert_eq!(after(swap, "UPDATE t SET n = n + 1 WHERE n = 20").await, ["1|10", "2|20", "3|21"]);
    assert_eq!(after("UPDATE t SET n = 20 WHERE id = 1", "DELETE FROM t WHERE n = 20").await, ["2|10"]);
}
