//! COPY through a session, as the wire drives it.

use bytes::Bytes;
use datafusion::arrow::util::display::array_value_to_string;
use futures::StreamExt;
use strata_core::{Database, Options};

use crate::error::SqlResult;
use crate::session::{Engine, EngineOptions, Outcome, Session, SessionOptions};

fn engine() -> std::sync::Arc<Engine> {
    let options = EngineOptions { analytical_threads: 2 };
    Engine::new(Database::in_memory(Options::default()).unwrap(), options).unwrap()
}

fn session() -> Session {
    Session::new(engine(), SessionOptions::default())
}

/// Runs statements; COPY FROM STDIN gets `data` in chunks of `chunk`. Rows as text, data of COPY TO as one string.
async fn feed(session: &mut Session, sql: &str, data: &[u8], chunk: usize) -> SqlResult<Vec<String>> {
    let result = feed_statements(session, sql, data, chunk).await;
    match &result {
        Ok(_) => session.finish_implicit().await?,
        Err(_) => session.fail().await,
    }
    result
}

async fn feed_statements(
    session: &mut Session,
    sql: &str,
    data: &[u8],
    chunk: usize,
) -> SqlResult<Vec<String>> {
    let mut answer = Vec::new();
    for statement in session.parse(sql)? {
        match session.execute_statement(&statement).await?.streamed()? {
            Outcome::Point(_) => unreachable!("streamed"),
            Outcome::Rows(mut rows) => {
                while let Some(batch) = rows.batches.next().await {
                    let batch = batch?;
                    for row in 0..batch.num_rows() {
                        let columns = batch.columns().iter();
                        let cells: Vec<String> =
                            columns.map(|column| array_value_to_string(column, row).unwrap()).collect();
                        answer.push(cells.join("|"));
                    }
                }
            }
            Outcome::Command(tag) => answer.push(tag),
            Outcome::Empty => {}
            Outcome::CopyIn { .. } => {
                for part in data.chunks(chunk.max(1)) {
                    session.copy_in(Bytes::copy_from_slice(part)).await?;
                }
                answer.push(session.finish_copy().await?);
            }
            Outcome::CopyOut(mut copy) => {
                let mut all = Vec::new();
                while let Some(part) = copy.data.next().await {
                    all.extend_from_slice(&part?);
                }
                answer.push(String::from_utf8(all).unwrap());
                answer.push(format!("COPY {}", copy.rows.load(std::sync::atomic::Ordering::Acquire)));
            }
        }
    }
    Ok(answer)
}

async fn run(session: &mut Session, sql: &str) -> Vec<String> {
    feed(session, sql, b"", 1).await.unwrap_or_else(|error| panic!("{sql}: {error} {error:?}"))
}

const ALL_TYPES: &str = "CREATE TABLE everything (
    b boolean, i2 smallint, i4 integer, i8 bigint, f4 real, f8 double precision, n numeric(10,3), nn numeric,
    t text, v varchar(5), c char(3), j json, jb jsonb, by bytea, d date, ti time, ts timestamp, tz timestamptz,
    iv interval, u uuid, ai integer[], at text[])";

/// Rows of text for it.
const ROWS: &str = concat!(
    "t\t1\t-2\t3\t1.5\t-0.25\t12.500\t1.75\thello\tabcde\txyz\t{\"a\":1}\t{\"a\": 1}\t\\\\x00ff\t2024-02-29\t12:34:56.789\t",
    "2024-02-29 12:34:56\t2024-02-29 12:34:56.5+00\t1 year 2 mons 3 days 04:05:06\t",
    "00010203-0405-0607-0809-0a0b0c0d0e0f\t{1,NULL,3}\t{a,\"b c\",\"\\\\\"\"}\n",
    "f\t-32768\t2147483647\t-9223372036854775808\tNaN\tInfinity\t-0.001\t0\ttab\\there\\nline \\\\ \"quote\", done\t\t   \t",
    "[]\t[1, 2]\t\\\\x\t0001-01-01\t00:00:00\tinfinity\t-infinity\t-00:00:01\tffffffff-ffff-ffff-ffff-ffffffffffff\t{}\t{}\n",
    "\\N\t\\N\t\\N\t\\N\t\\N\t\\N\t\\N\t\\N\t\\N\t\\N\t\\N\t\\N\t\\N\t\\N\t\\N\t\\N\t\\N\t\\N\t\\N\t\\N\t\\N\t\\N\n",
);

#[tokio::test]
async fn every_type_goes_in_and_comes_out_as_text() {
    let mut session = session();
    run(&mut session, ALL_TYPES).await;
    for chunk in [1, 7, ROWS.len()] {
        let copied = feed(&mut session, "COPY everything FROM STDIN", ROWS.as_bytes(), chunk).await.unwrap();
        assert_eq!(copied, ["COPY 3"]);
        let out = run(&mut session, "COPY everything TO STDOUT").await;
        assert_eq!(out[0], ROWS);
        assert_eq!(out[1], "COPY 3");
        run(&mut session, "TRUNCATE everything").await;
    }
}

#[tokio::test]
async fn every_type_comes_back_from_csv() {
    let mut session = session();
    run(&mut session, ALL_TYPES).await;
    feed(&mut session, "COPY everything FROM STDIN", ROWS.as_bytes(), 4096).await.unwrap();
    for options in [
        "FORMAT csv",
        "FORMAT csv, HEADER, DELIMITER ';', NULL 'nix', QUOTE '''', FORCE_QUOTE *",
        "FORMAT csv, ESCAPE '\\'",
        "DELIMITER '|', NULL 'none'",
    ] {
        let out = run(&mut session, &format!("COPY everything TO STDOUT ({options})")).await.remove(0);
        assert_ne!(out, ROWS);
        let sql = format!("COPY everything FROM STDIN ({})", options.replace(", FORCE_QUOTE *", ""));
        for chunk in [1, 1000] {
            run(&mut session, "TRUNCATE everything").await;
            assert_eq!(feed(&mut session, &sql, out.as_bytes(), chunk).await.unwrap(), ["COPY 3"], "{out}");
            assert_eq!(run(&mut session, "COPY everything TO STDOUT").await[0], ROWS, "{options}");
        }
    }
}

#[tokio::test]
async fn special_characters_are_escaped() {
    let mut session = session();
    run(&mut session, "CREATE TABLE t (a text, b integer)").await;
    let data = b"x\\ty\t1\n\\\\N\t2\n\\N\t3\n\t4\na,\"b\"\t5\n\\.x\t6\n";
    feed(&mut session, "COPY t FROM STDIN", data, 3).await.unwrap();
    let text = run(&mut session, "COPY (SELECT a, b FROM t ORDER BY b) TO STDOUT").await.remove(0);
    assert_eq!(text, "x\\ty\t1\n\\\\N\t2\n\\N\t3\n\t4\na,\"b\"\t5\n.x\t6\n");
    let csv = run(&mut session, "COPY (SELECT a, b FROM t ORDER BY b) TO STDOUT CSV HEADER").await.remove(0);
    assert_eq!(csv, "a,b\nx\ty,1\n\\N,2\n,3\n\"\",4\n\"a,\"\"b\"\"\",5\n.x,6\n");
    let one = run(&mut session, "COPY (SELECT '\\.' AS \"a,b\") TO STDOUT CSV HEADER").await.remove(0);
    assert_eq!(one, "\"a,b\"\n\"\\.\"\n");
    let null =
        run(&mut session, "COPY (SELECT NULL, 'a|b', '\\') TO STDOUT (DELIMITER '|', NULL 'none')").await;
    assert_eq!(null[0], "none|a\\|b|\\\\\n");
}

#[tokio::test]
async fn errors_name_the_line_and_the_column_and_keep_nothing() {
    let mut session = session();
    run(&mut session, "CREATE TABLE t (a integer PRIMARY KEY, b varchar(3), c numeric(4,2) NOT NULL)").await;
    for (data, sqlstate, message, context) in [
        (
            "1\ta\t1\nx\tb\t2\n",
            "22P02",
            "invalid input syntax for type integer: \"x\"",
            "COPY t, line 2, column a: \"x\"",
        ),
        (
            "1\tabcd\t1\n",
            "22001",
            "value too long for type character varying(3)",
            "COPY t, line 1, column b: \"abcd\"",
        ),
        ("1\ta\t100\n", "22003", "numeric field overflow", "COPY t, line 1, column c: \"100\""),
        (
            "1\ta\t1\n2\tb\t\\N\n",
            "23502",
            "null value in column \"c\" of relation \"t\" violates not-null constraint",
            "COPY t, line 2",
        ),
        ("1\ta\n", "22P04", "missing data for column \"c\"", "COPY t, line 1: \"1\ta\""),
        ("1\ta\t1\t2\n", "22P04", "extra data after last expected column", "COPY t, line 1: \"1\ta\t1\t2\""),
        (
            "x\ta\t1\n1\n",
            "22P02",
            "invalid input syntax for type integer: \"x\"",
            "COPY t, line 1, column a: \"x\"",
        ),
        (
            "1\ta\ty\nx\ta\t1\n",
            "22P02",
            "invalid input syntax for type numeric: \"y\"",
            "COPY t, line 1, column c: \"y\"",
        ),
    ] {
        let error = feed(&mut session, "COPY t FROM STDIN", data.as_bytes(), 5).await.unwrap_err();
        assert_eq!((error.sqlstate, error.message.as_str()), (sqlstate, message), "{data:?}");
        assert_eq!(error.context.as_deref(), Some(context), "{data:?}");
    }
    let error = feed(&mut session, "COPY t FROM STDIN", b"7\ta\t1\n7\tb\t2\n", 9).await.unwrap_err();
    assert_eq!(error.sqlstate, "23505");
    assert_eq!(error.detail.as_deref(), Some("Key (a)=(7) already exists."));
    let invalid = feed(&mut session, "COPY t FROM STDIN", b"7\t\xff\t1\n", 9).await.unwrap_err();
    assert_eq!(invalid.sqlstate, "22021");
    assert_eq!(run(&mut session, "SELECT count(*) FROM t").await, ["0"]);
    assert_eq!(feed(&mut session, "COPY t FROM STDIN", b"7\ta\t1\n", 9).await.unwrap(), ["COPY 1"]);
}

/// Lines of numbers, more than fit a chunk, and many rows.
fn many(rows: std::ops::Range<u32>) -> String {
    rows.map(|row| format!("{row}\tthe row of number {row}\n")).collect()
}

#[tokio::test]
async fn a_large_copy_is_loaded_in_bulk() {
    let mut session = session();
    run(&mut session, "CREATE TABLE t (a integer PRIMARY KEY, b text)").await;
    let data = many(0..50_000);
    let copied = feed(&mut session, "COPY t FROM STDIN", data.as_bytes(), 8191).await.unwrap();
    assert_eq!(copied, ["COPY 50000"]);
    assert_eq!(run(&mut session, "SELECT count(*), min(a), max(a) FROM t").await, ["50000|0|49999"]);
    assert_eq!(run(&mut session, "SELECT b FROM t WHERE a = 31234").await, ["the row of number 31234"]);
    let out = run(&mut session, "COPY (SELECT * FROM t ORDER BY a) TO STDOUT").await;
    assert_eq!(out[0], data);
    // The same again, and one wrong line near the end.
    let error = feed(&mut session, "COPY t FROM STDIN", data.as_bytes(), 8192).await.unwrap_err();
    assert_eq!((error.sqlstate, error.detail.as_deref()), ("23505", Some("Key (a)=(0) already exists.")));
    let wrong = format!("{}x\ty\n{}", many(50_000..90_000), many(90_000..100_000));
    let error = feed(&mut session, "COPY t FROM STDIN", wrong.as_bytes(), 100_000).await.unwrap_err();
    assert_eq!(error.context.as_deref(), Some("COPY t, line 40001, column a: \"x\""));
    assert_eq!(run(&mut session, "SELECT count(*) FROM t").await, ["50000"]);
}

#[tokio::test]
async fn a_transaction_sees_what_it_copied_and_can_take_it_back() {
    let mut session = session();
    run(&mut session, "CREATE TABLE t (a integer PRIMARY KEY, b text)").await;
    for data in [many(0..10), many(0..40_000)] {
        let count = data.lines().count();
        run(&mut session, "BEGIN").await;
        feed(&mut session, "COPY t FROM STDIN", data.as_bytes(), 70_000).await.unwrap();
        assert_eq!(run(&mut session, "SELECT count(*) FROM t").await, [count.to_string()]);
        run(&mut session, "ROLLBACK").await;
        assert_eq!(run(&mut session, "SELECT count(*) FROM t").await, ["0"]);
    }
}

/// COPY and INSERT … SELECT of many rows beside other writers of the table: nobody waits, the first to commit has the key.
#[tokio::test]
async fn a_load_beside_other_sessions() {
    for load in ["COPY t FROM STDIN", "INSERT INTO t SELECT i, 'x' FROM generate_series(0, 59999) AS s (i)"] {
        let engine = engine();
        let [mut loading, mut other] =
            [(); 2].map(|()| Session::new(engine.clone(), SessionOptions::default()));
        run(&mut loading, "CREATE TABLE t (a integer PRIMARY KEY, b text)").await;
        run(&mut loading, "BEGIN").await;
        run(&mut other, "SET lock_timeout = '2s'").await;
        feed(&mut loading, load, many(0..60_000).as_bytes(), 70_000).await.unwrap();
        run(&mut other, "INSERT INTO t VALUES (60000, 'y')").await;
        run(&mut other, "UPDATE t SET b = 'z' WHERE a = 60000").await;
        run(&mut loading, "COMMIT").await;
        assert_eq!(run(&mut other, "SELECT count(*), max(b) FROM t WHERE a >= 59999").await, ["2|z"]);
        let refused = feed(&mut other, "INSERT INTO t VALUES (7, 'y')", b"", 1).await.unwrap_err();
        assert_eq!(refused.sqlstate, "23505");

        run(&mut other, "TRUNCATE t").await;
        run(&mut loading, "BEGIN").await;
        feed(&mut loading, load, many(0..60_000).as_bytes(), 70_000).await.unwrap();
        run(&mut other, "INSERT INTO t VALUES (7, 'y')").await;
        let refused = feed(&mut loading, "COMMIT", b"", 1).await.unwrap_err();
        assert_eq!(
            (refused.sqlstate, refused.detail.as_deref()),
            ("23505", Some("Key (a)=(7) already exists."))
        );
        assert_eq!(run(&mut loading, "SELECT * FROM t").await, ["7|y"]);
    }
}

#[tokio::test]
async fn a_copy_that_is_given_up_leaves_nothing() {
    let mut session = session();
    run(&mut session, "CREATE TABLE t (a integer PRIMARY KEY, b text)").await;
    for data in [many(0..10), many(0..60_000)] {
        let statement = session.parse("COPY t FROM STDIN").unwrap().remove(0);
        session.execute_statement(&statement).await.unwrap();
        for part in data.as_bytes().chunks(65_536) {
            session.copy_in(Bytes::copy_from_slice(part)).await.unwrap();
        }
        assert_eq!(session.abort_copy("enough").message, "COPY from stdin failed: enough");
        session.fail().await;
        assert_eq!(run(&mut session, "SELECT count(*) FROM t").await, ["0"]);
    }
    assert_eq!(session.copy_in(Bytes::new()).await.unwrap_err().sqlstate, "08P01");
}

#[tokio::test]
async fn columns_that_are_not_copied_have_their_defaults() {
    let mut session = session();
    run(&mut session, "CREATE TABLE t (a integer, b text DEFAULT 'none', c integer DEFAULT 2 + 3, d varchar(9), e double precision DEFAULT random())").await;
    feed(&mut session, "COPY t (d, a) FROM STDIN", b"x\t1\ny\t2\n", 4).await.unwrap();
    assert_eq!(run(&mut session, "SELECT a, b, c, d FROM t ORDER BY a").await, ["1|none|5|x", "2|none|5|y"]);
    assert_eq!(run(&mut session, "SELECT count(DISTINCT e) FROM t").await, ["2"]);
    for (sql, sqlstate) in [
        ("COPY t (nothing) FROM STDIN", "42703"),
        ("COPY t (a, a) FROM STDIN", "42701"),
        ("COPY nothing FROM STDIN", "42P01"),
        ("COPY t FROM STDIN (FORMAT csv, FORCE_NULL (x))", "42P10"),
    ] {
        assert_eq!(feed(&mut session, sql, b"", 1).await.unwrap_err().sqlstate, sqlstate, "{sql}");
    }
}

#[tokio::test]
async fn a_view_is_copied_as_a_query_only() {
    let mut session = session();
    run(&mut session, "CREATE VIEW v AS SELECT 1 AS a").await;
    let error = feed(&mut session, "COPY v TO STDOUT", b"", 1).await.unwrap_err();
    assert_eq!((error.sqlstate, error.message.as_str()), ("42809", "cannot copy from view \"v\""));
    assert_eq!(feed(&mut session, "COPY v FROM STDIN", b"", 1).await.unwrap_err().sqlstate, "42809");
    assert_eq!(run(&mut session, "COPY (SELECT * FROM v) TO STDOUT").await, ["1\n", "COPY 1"]);
}

#[tokio::test]
async fn files_are_written_and_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let mut session = session();
    run(&mut session, "CREATE TABLE t (a integer PRIMARY KEY, b text); CREATE TABLE u (a integer, b text)")
        .await;
    let data = many(0..20_000);
    feed(&mut session, "COPY t FROM STDIN", data.as_bytes(), 8192).await.unwrap();
    let file = path("t.csv");
    assert_eq!(run(&mut session, &format!("COPY t TO '{file}' (FORMAT csv, HEADER)")).await, ["COPY 20000"]);
    assert_eq!(
        run(&mut session, &format!("COPY u FROM '{file}' (FORMAT csv, HEADER match)")).await,
        ["COPY 20000"]
    );
    assert_eq!(
        run(&mut session, "SELECT count(*) FROM t JOIN u ON t.a = u.a AND t.b = u.b").await,
        ["20000"]
    );
    let missing = path("missing");
    let error = feed(&mut session, &format!("COPY u FROM '{missing}'"), b"", 1).await.unwrap_err();
    assert_eq!(error.sqlstate, "58P01");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[tokio::test]
async fn every_type_comes_back_from_parquet() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("x.parquet").to_str().unwrap().to_owned();
    let mut session = session();
    run(&mut session, ALL_TYPES).await;
    feed(&mut session, "COPY everything FROM STDIN", ROWS.as_bytes(), 4096).await.unwrap();
    assert_eq!(run(&mut session, &format!("COPY everything TO '{file}'")).await, ["COPY 3"]);
    run(&mut session, "TRUNCATE everything").await;
    assert_eq!(run(&mut session, &format!("COPY everything FROM '{file}'")).await, ["COPY 3"]);
    assert_eq!(run(&mut session, "COPY everything TO STDOUT").await[0], ROWS);
}

#[tokio::test]
async fn a_parquet_file_must_fit_its_table() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("x.parquet").to_str().unwrap().to_owned();
    let mut session = session();
    run(
        &mut session,
        &format!("COPY (SELECT 1::bigint AS a, 'x' AS b, 70000 AS c, 1.5::float8 AS d) TO '{file}'"),
    )
    .await;
    run(
        &mut session,
        "CREATE TABLE t (a integer, b text, c smallint, d integer, e integer NOT NULL DEFAULT 1)",
    )
    .await;
    for (columns, sqlstate, message) in [
        ("", "42703", "has no column \"e\""),
        ("(a, c)", "22003", "out of range for column \"c\""),
        ("(d)", "42804", "column \"d\" is of type integer, the file has Float64"),
    ] {
        let error = feed(&mut session, &format!("COPY t {columns} FROM '{file}'"), b"", 1).await.unwrap_err();
        assert_eq!(error.sqlstate, sqlstate, "{error}");
        assert!(error.message.contains(message), "{error}");
    }
    assert_eq!(run(&mut session, &format!("COPY t (b, a) FROM '{file}'")).await, ["COPY 1"]);
    assert_eq!(run(&mut session, "SELECT a, b, e FROM t").await, ["1|x|1"]);
    run(&mut session, "CREATE TABLE narrow (a integer, b varchar(3))").await;
    let error = feed(&mut session, &format!("COPY narrow FROM '{file}'"), b"", 1).await.unwrap_err();
    assert_eq!(error.sqlstate, "22P04");
    run(&mut session, &format!("COPY (SELECT 2 AS a, 'abcd' AS b) TO '{file}'")).await;
    let error = feed(&mut session, &format!("COPY narrow FROM '{file}'"), b"", 1).await.unwrap_err();
    assert_eq!(error.context.as_deref(), Some("COPY narrow, row 1, column b: \"abcd\""));
    let text = folder.path().join("text").to_str().unwrap().to_owned();
    run(&mut session, &format!("COPY (SELECT 1) TO '{text}'")).await;
    let error =
        feed(&mut session, &format!("COPY t FROM '{text}' (FORMAT parquet)"), b"", 1).await.unwrap_err();
    assert_eq!(error.sqlstate, "22023");
}
