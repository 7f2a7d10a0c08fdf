use datafusion::arrow::util::display::array_value_to_string;
use futures::StreamExt;

use std::time::Duration;

use super::*;

fn session() -> Session {
    let options = EngineOptions { analytical_threads: 2 };
    let engine =
        Engine::new(strata_core::Database::in_memory(strata_core::Options::default()).unwrap(), options)
            .unwrap();
    Session::new(engine, SessionOptions::default())
}

/// Runs a query string as the simple protocol does; rows as text, cells joined by `|`.
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
        match session.execute_statement(&statement).await?.streamed()? {
            Outcome::Rows(mut rows) => {
                while let Some(batch) = rows.batches.next().await {
                    let batch = batch?;
                    for row in 0..batch.num_rows() {
                        let cells: Vec<String> = batch
                            .columns()
                            .iter()
                            .map(|column| array_value_to_string(column, row).unwrap())
                            .collect();
                        answer.push(cells.join("|"));
                    }
                }
            }
            Outcome::Command(tag) => answer.push(tag),
            Outcome::Empty | Outcome::Point(_) | Outcome::CopyIn { .. } | Outcome::CopyOut(_) => {
                unreachable!()
            }
        }
    }
    Ok(answer)
}

#[tokio::test]
async fn a_query_without_tables_runs() {
    let mut session = session();
    assert_eq!(run(&mut session, "SELECT 1").await.unwrap(), ["1"]);
    assert_eq!(run(&mut session, "SELECT 1 + 2, 'a'; VALUES (3)").await.unwrap(), ["3|a", "3"]);
    assert_eq!(session.status(), TransactionStatus::Idle);
}

#[tokio::test]
async fn a_missing_table_is_undefined() {
    let error = run(&mut session(), "SELECT * FROM nothing").await.unwrap_err();
    assert_eq!(error.sqlstate, "42P01");
    assert_eq!(error.message, "relation \"nothing\" does not exist");
}

#[tokio::test]
async fn a_block_fails_and_ends() {
    let mut session = session();
    assert_eq!(run(&mut session, "BEGIN").await.unwrap(), ["BEGIN"]);
    assert_eq!(session.status(), TransactionStatus::InTransaction);
    run(&mut session, "SELECT * FROM nothing").await.unwrap_err();
    assert_eq!(session.status(), TransactionStatus::Failed);
    assert_eq!(run(&mut session, "SELECT 1").await.unwrap_err().sqlstate, "25P02");
    assert_eq!(run(&mut session, "COMMIT").await.unwrap(), ["ROLLBACK"]);
    assert_eq!(session.status(), TransactionStatus::Idle);
}

#[tokio::test]
async fn transaction_control_warns_as_postgres_does() {
    let mut session = session();
    assert_eq!(run(&mut session, "COMMIT").await.unwrap(), ["COMMIT"]);
    assert_eq!(session.take_notices()[0].message, "there is no transaction in progress");
    assert_eq!(run(&mut session, "BEGIN; BEGIN; ROLLBACK").await.unwrap(), ["BEGIN", "BEGIN", "ROLLBACK"]);
    assert_eq!(session.take_notices()[0].message, "there is already a transaction in progress");
    let error = run(&mut session, "BEGIN ISOLATION LEVEL SNAPSHOT").await.unwrap_err();
    assert_eq!(error.sqlstate, "0A000");
    assert_eq!(run(&mut session, "SAVEPOINT a").await.unwrap_err().sqlstate, "25P01");
}

#[tokio::test]
async fn the_isolation_level_is_shown_and_fixed_by_the_first_query() {
    let mut session = session();
    run(&mut session, "BEGIN ISOLATION LEVEL REPEATABLE READ").await.unwrap();
    assert_eq!(run(&mut session, "SHOW transaction_isolation").await.unwrap(), ["repeatable read"]);
    run(&mut session, "SELECT 1").await.unwrap();
    let error = run(&mut session, "SET TRANSACTION ISOLATION LEVEL READ COMMITTED").await.unwrap_err();
    assert_eq!(error.sqlstate, "25001");
    run(&mut session, "ROLLBACK").await.unwrap();
    assert_eq!(run(&mut session, "SHOW transaction_isolation").await.unwrap(), ["read committed"]);
}

/// PostgreSQL refuses more than this where it read a whole table.
#[tokio::test]
async fn serializable_transactions_depend_on_the_rows_that_their_filters_let_through() {
    let mut first = session();
    let mut second = Session::new(first.engine.clone(), SessionOptions::default());
    run(&mut first, "CREATE TABLE t (id int PRIMARY KEY, class int, value int)").await.unwrap();
    run(&mut first, "INSERT INTO t SELECT i, i % 10, i FROM generate_series(1, 20000) i").await.unwrap();
    run(&mut first, "CREATE INDEX ON t (class)").await.unwrap();
    // Two filters that an index cannot answer, two that one can, and keys; each with what the other writes.
    let apart = [
        ("SELECT sum(value) FROM t WHERE value % 3 = 1", "UPDATE t SET class = 0 WHERE id = 3"),
        ("SELECT max(id) FROM t WHERE class = 4 AND value < 30", "UPDATE t SET value = 7 WHERE id = 15"),
        (
            "SELECT count(*) FROM t a JOIN t b ON a.id = b.value WHERE a.id = 5 AND b.value = 5",
            "DELETE FROM t WHERE id = 6",
        ),
        ("SELECT value FROM t WHERE id = 40", "UPDATE t SET value = 1 WHERE id = 41"),
        ("SELECT value FROM t WHERE id BETWEEN 50 AND 60", "INSERT INTO t VALUES (30000, 1, 300)"),
    ];
    for frozen in [false, true] {
        if frozen {
            run(&mut first, "VACUUM").await.unwrap();
        }
        for (place, (read, write)) in apart.iter().enumerate() {
            run(&mut first, "BEGIN ISOLATION LEVEL SERIALIZABLE").await.unwrap();
            run(&mut first, read).await.unwrap();
            run(&mut second, "BEGIN").await.unwrap();
            run(&mut second, write).await.unwrap();
            run(&mut second, if frozen { "COMMIT" } else { "ROLLBACK" }).await.unwrap();
            run(&mut first, &format!("UPDATE t SET value = 0 WHERE id = {}", 1000 + place)).await.unwrap();
            run(&mut first, "COMMIT").await.unwrap_or_else(|error| panic!("{read} {write}: {error:?}"));
        }
    }
    let met = [
        ("SELECT sum(value) FROM t WHERE value % 3 = 1", "UPDATE t SET value = 4 WHERE id = 9"),
        ("SELECT max(id) FROM t WHERE class = 4 AND value < 30", "UPDATE t SET value = 7 WHERE id = 1004"),
        ("SELECT value FROM t WHERE id = 40", "UPDATE t SET value = 1 WHERE id = 40"),
        ("SELECT value FROM t WHERE id BETWEEN 50 AND 60", "DELETE FROM t WHERE id = 55"),
        ("SELECT count(*) FROM t", "INSERT INTO t VALUES (40000, 1, 300)"),
        ("SELECT 1 WHERE EXISTS (SELECT FROM t WHERE value = -1)", "INSERT INTO t VALUES (40001, 1, -1)"),
    ];
    for (place, (read, write)) in met.iter().enumerate() {
        run(&mut first, "BEGIN ISOLATION LEVEL SERIALIZABLE").await.unwrap();
        run(&mut first, read).await.unwrap();
        run(&mut second, write).await.unwrap();
        run(&mut first, &format!("UPDATE t SET class = 77 WHERE id = {}", 1100 + place)).await.unwrap();
        let refused = run(&mut first, "COMMIT").await;
        assert_eq!(refused.expect_err(read).sqlstate, "40001");
    }
}

/// Bug: rows that a transaction had written out and removed came back to its scans.
#[tokio::test]
async fn own_rows_that_are_written_out_and_removed_stay_removed() {
    let sizes = strata_core::Sizes { own_rows: 100, ..strata_core::Sizes::default() };
    let options = strata_core::Options { sizes, ..strata_core::Options::default() };
    let database = strata_core::Database::in_memory(options).unwrap();
    let engine = Engine::new(database, EngineOptions { analytical_threads: 2 }).unwrap();
    let mut session = Session::new(engine, SessionOptions::default());
    run(&mut session, "CREATE TABLE t (id int PRIMARY KEY, class int)").await.unwrap();
    for end in ["ROLLBACK", "COMMIT"] {
        let steps: [(&str, &[&str]); 11] = [
            ("BEGIN", &["BEGIN"]),
            ("INSERT INTO t SELECT i, i % 10 FROM generate_series(1, 1000) i", &["INSERT 0 1000"]),
            ("SELECT count(*) FROM t", &["1000"]),
            ("DELETE FROM t", &["DELETE 1000"]),
            ("SELECT count(*) FROM t", &["0"]),
            ("SELECT * FROM t", &[]),
            ("SELECT id FROM t WHERE class = 3", &[]),
            ("UPDATE t SET class = 0", &["UPDATE 0"]),
            ("DELETE FROM t", &["DELETE 0"]),
            (end, &[end]),
            ("SELECT count(*) FROM t", &["0"]),
        ];
        for (sql, expected) in steps {
            assert_eq!(run(&mut session, sql).await.unwrap(), expected, "{sql}, before {end}");
        }
    }
}

#[tokio::test]
async fn settings_are_set_shown_and_reported() {
    let mut session = session();
    let answer = run(&mut session, "SET TIME ZONE 'Europe/Berlin'; SHOW TimeZone").await.unwrap();
    assert_eq!(answer, ["SET", "Europe/Berlin"]);
    assert_eq!(session.take_parameter_changes(), [("TimeZone".to_owned(), "Europe/Berlin".to_owned())]);
    assert_eq!(
        run(&mut session, "SET search_path TO a, \"B\"; SHOW search_path").await.unwrap()[1],
        "a, \"B\""
    );
    run(&mut session, "DISCARD ALL").await.unwrap();
    assert_eq!(run(&mut session, "SHOW TIME ZONE").await.unwrap(), ["UTC"]);
    assert!(session.startup_parameters().iter().any(|(name, _)| name == "server_version"));
}

#[tokio::test]
async fn a_cancelled_query_stops() {
    let mut session = session();
    let handle = session.cancel_handle();
    let statement =
        session.parse("SELECT count(*) FROM generate_series(1, 1000000000000)").unwrap().remove(0);
    let Outcome::Rows(mut rows) = session.execute_statement(&statement).await.unwrap() else {
        unreachable!()
    };
    let canceller = tokio::spawn(async move {
        tokio::time::sleep(Duration::from_millis(50)).await;
        handle.cancel();
    });
    let error = rows.batches.next().await.unwrap().unwrap_err();
    assert_eq!((error.sqlstate, rows.batches.next().await.is_none()), ("57014", true));
    canceller.await.unwrap();
    session.cancel_handle().reset();
    session.fail().await;
    run(&mut session, "SET statement_timeout = 50").await.unwrap();
    let error =
        run(&mut session, "SELECT count(*) FROM generate_series(1, 1000000000000)").await.unwrap_err();
    assert_eq!(error.message, "canceling statement due to statement timeout");
}

#[tokio::test]
async fn tables_are_made_filled_and_read() {
    let mut session = session();
    let sql =
        "CREATE TABLE t (id int PRIMARY KEY, name varchar(5) NOT NULL DEFAULT 'x', amount numeric(10,2))";
    assert_eq!(run(&mut session, sql).await.unwrap(), ["CREATE TABLE"]);
    let sql =
        "INSERT INTO t VALUES (1, 'a', 1.5), (2, DEFAULT, NULL); INSERT INTO t (amount, id) SELECT 3.0, 3";
    assert_eq!(run(&mut session, sql).await.unwrap(), ["INSERT 0 2", "INSERT 0 1"]);
    let rows = run(&mut session, "SELECT id, name, amount FROM t ORDER BY id").await.unwrap();
    assert_eq!(rows, ["1|a|1.50", "2|x|", "3|x|3.00"]);
    let rows =
        run(&mut session, "UPDATE t SET amount = amount + 1, name = 'new' WHERE id <> 2").await.unwrap();
    assert_eq!(rows, ["UPDATE 2"]);
    assert_eq!(run(&mut session, "DELETE FROM t WHERE amount IS NULL").await.unwrap(), ["DELETE 1"]);
    let rows = run(&mut session, "SELECT * FROM public.t ORDER BY 1 DESC").await.unwrap();
    assert_eq!(rows, ["3|new|4.00", "1|new|2.50"]);
    let rows = run(&mut session, "INSERT INTO t VALUES (9) RETURNING id * 2 AS twice, name").await.unwrap();
    assert_eq!(rows, ["18|x"]);
    let rows = run(&mut session, "DELETE FROM t WHERE id IN (SELECT 9) RETURNING *").await.unwrap();
    assert_eq!(rows, ["9|x|"]);
}

#[tokio::test]
async fn constraints_answer_as_postgres_does() {
    let mut session = session();
    run(&mut session, "CREATE TABLE t (id int PRIMARY KEY, name varchar(3) NOT NULL)").await.unwrap();
    run(&mut session, "INSERT INTO t VALUES (1, 'a')").await.unwrap();
    let error = run(&mut session, "INSERT INTO t VALUES (1, 'b')").await.unwrap_err();
    assert_eq!(error.sqlstate, "23505");
    assert_eq!(error.message, "duplicate key value violates unique constraint \"t_pkey\"");
    assert_eq!(error.detail.as_deref(), Some("Key (id)=(1) already exists."));
    let error = run(&mut session, "INSERT INTO t VALUES (2, NULL)").await.unwrap_err();
    assert_eq!(error.sqlstate, "23502");
    let error = run(&mut session, "INSERT INTO t VALUES (2, 'long')").await.unwrap_err();
    assert_eq!(
        (error.sqlstate, error.message.as_str()),
        ("22001", "value too long for type character varying(3)")
    );
    let error = run(&mut session, "UPDATE t SET id = NULL").await.unwrap_err();
    assert_eq!(error.sqlstate, "23502");
    assert_eq!(run(&mut session, "SELECT count(*) FROM t").await.unwrap(), ["1"]);
}

#[tokio::test]
async fn ddl_and_rows_roll_back_together() {
    let mut session = session();
    run(&mut session, "CREATE SCHEMA strata.demo").await.unwrap();
    run(&mut session, "BEGIN; CREATE TABLE demo.events (id int); INSERT INTO demo.events VALUES (1)")
        .await
        .unwrap();
    assert_eq!(run(&mut session, "SELECT * FROM strata.demo.events").await.unwrap(), ["1"]);
    run(&mut session, "ROLLBACK").await.unwrap();
    assert_eq!(run(&mut session, "SELECT * FROM demo.events").await.unwrap_err().sqlstate, "42P01");
}

#[tokio::test]
async fn views_and_altered_columns_read_as_they_should() {
    let mut session = session();
    run(&mut session, "CREATE TABLE t (a int, b int); INSERT INTO t VALUES (1, 2), (3, 4)").await.unwrap();
    run(&mut session, "CREATE VIEW v (total) AS SELECT a + b FROM t").await.unwrap();
    run(&mut session, "ALTER TABLE t ADD COLUMN c text DEFAULT 'late'").await.unwrap();
    assert_eq!(run(&mut session, "SELECT total FROM v ORDER BY total").await.unwrap(), ["3", "7"]);
    assert_eq!(run(&mut session, "SELECT b, c FROM t WHERE a = 1").await.unwrap(), ["2|late"]);
    let error = run(&mut session, "ALTER TABLE t DROP COLUMN b").await.unwrap_err();
    assert_eq!(error.sqlstate, "2BP01", "the view reads it");
    run(&mut session, "DROP VIEW v; ALTER TABLE t DROP COLUMN b; ALTER TABLE t RENAME COLUMN c TO d")
        .await
        .unwrap();
    assert_eq!(run(&mut session, "SELECT * FROM t ORDER BY a").await.unwrap(), ["1|late", "3|late"]);
    run(&mut session, "CREATE UNIQUE INDEX ON t (a); TRUNCATE t").await.unwrap();
    assert_eq!(run(&mut session, "SELECT count(*) FROM t").await.unwrap(), ["0"]);
    run(&mut session, "DROP TABLE t").await.unwrap();
    assert_eq!(run(&mut session, "SELECT 1 FROM t").await.unwrap_err().sqlstate, "42P01");
}

#[tokio::test]
async fn explain_shows_the_access_path() {
    let mut session = session();
    run(&mut session, "CREATE TABLE t (id int PRIMARY KEY, v int); INSERT INTO t VALUES (1, 2), (2, 3)")
        .await
        .unwrap();
    let lines = run(&mut session, "EXPLAIN SELECT * FROM t WHERE id = 1").await.unwrap().join("\n");
    assert!(lines.contains("Point: index=t_pkey"), "{lines}");
    let lines =
        run(&mut session, "EXPLAIN SELECT * FROM t WHERE id = 1 ORDER BY v").await.unwrap().join("\n");
    assert!(lines.contains("access=index(t_pkey)"), "{lines}");
    let lines = run(&mut session, "EXPLAIN SELECT sum(v) FROM t").await.unwrap().join("\n");
    assert!(lines.contains("AggregateExec") && lines.contains("access=scan"), "{lines}");
    let lines = run(&mut session, "EXPLAIN DELETE FROM t WHERE v > 2").await.unwrap();
    assert_eq!(lines[0], "Delete on public.t");
    let lines = run(&mut session, "EXPLAIN (ANALYZE) SELECT * FROM t").await.unwrap().join("\n");
    assert!(lines.contains("output_rows=2"), "{lines}");
    assert_eq!(run(&mut session, "SELECT count(*) FROM t").await.unwrap(), ["2"]);
}

#[path = "semantics_tests.rs"]
mod semantics;

#[tokio::test]
async fn long_inserts_of_constants_are_read_column_by_column() {
    let mut session = session();
    run(&mut session, "CREATE TABLE t (id int PRIMARY KEY, n numeric(8,2), s varchar(4), d date DEFAULT '2024-01-01', e text DEFAULT 'e')").await.unwrap();
    let rows = |first: i32, row: &str| {
        let rows: Vec<String> = (first..first + 100).map(|id| row.replace('#', &id.to_string())).collect();
        rows.join(", ")
    };
    let insert = format!(
        "INSERT INTO t (s, n, id, d) VALUES {}",
        rows(0, "(NULL, #.5, #, '2024-02-03'), ('x', -1, 1#, DEFAULT)")
    );
    assert_eq!(run(&mut session, &insert).await.unwrap_err().sqlstate, "23505", "10 and 1 followed by 0");
    let insert = format!("INSERT INTO t (s, n, id) VALUES {}", rows(0, "('a#', #.125, #)"));
    assert_eq!(run(&mut session, &insert).await.unwrap(), ["INSERT 0 100"]);
    let read = "SELECT s, n, d, e FROM t WHERE id = 7";
    assert_eq!(run(&mut session, read).await.unwrap(), ["a7|7.13|2024-01-01|e"]);
    for (row, sqlstate) in [
        ("(true, 'x')", "42804"),
        ("('x', 'x')", "22P02"),
        ("(#, 'too long')", "22001"),
        ("(#, 'x', NULL)", "42601"),
        ("(99999999999#, 'x')", "22003"),
        ("(NULL, 'x')", "23502"),
    ] {
        let insert = format!("INSERT INTO t (id, s) VALUES {}", rows(1000, row));
        assert_eq!(run(&mut session, &insert).await.unwrap_err().sqlstate, sqlstate, "{row}");
    }
    let returning = format!("INSERT INTO t (id) VALUES {} RETURNING id + 1, d", rows(300, "(#)"));
    assert_eq!(run(&mut session, &returning).await.unwrap()[..2], ["301|2024-01-01", "302|2024-01-01"]);
    let mixed = format!("INSERT INTO t (id, s) VALUES {}", rows(500, "(# + 0, lower('A'))"));
    assert_eq!(run(&mut session, &mixed).await.unwrap(), ["INSERT 0 100"], "the ordinary way");
}

#[tokio::test]
async fn long_inserts_take_parameters() {
    let mut session = session();
    run(&mut session, "CREATE TABLE t (id int, s text, n numeric(8,2))").await.unwrap();
    let rows: Vec<String> =
        (0..200).map(|row| format!("(${}, ${}, ${})", row * 3 + 1, row * 3 + 2, row * 3 + 3)).collect();
    let statement = session.parse(&format!("INSERT INTO t VALUES {}", rows.join(", "))).unwrap().remove(0);
    let prepared = session.prepare(&statement, &[]).await.unwrap();
    assert_eq!(prepared.parameter_oids()[..4], [oid::INT4, oid::TEXT, oid::NUMERIC, oid::INT4]);
    let values: Vec<Option<String>> = (0..600)
        .map(|index| match index % 3 {
            0 => Some((index / 3).to_string()),
            1 => (index % 2 == 0).then(|| format!("row {}", index / 3)),
            _ => Some(format!("{}.{}", index, index % 7)),
        })
        .collect();
    let parameters: Vec<Parameter<'_>> = values
        .iter()
        .map(|value| Parameter { binary: false, value: value.as_deref().map(str::as_bytes) })
        .collect();
    session.execute(&prepared, &parameters).await.unwrap();
    session.finish_implicit().await.unwrap();
    let read = "SELECT count(*), count(s), sum(id), max(n) FROM t";
    assert_eq!(run(&mut session, read).await.unwrap(), ["200|100|19900|599.40"]);
    let read = "SELECT s, n FROM t WHERE id = 1";
    assert_eq!(run(&mut session, read).await.unwrap(), ["row 1|5.50"]);
}
