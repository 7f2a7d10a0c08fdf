//! Both routes give the same answer: each statement runs with point plans and without, on equal tables.

use bytes::BytesMut;
use futures::StreamExt;
use strata_core::Database;

use crate::error::SqlResult;
use crate::postgres::wire::RowEncoder;
use crate::session::{Engine, EngineOptions, Outcome, Parameter, Session, SessionOptions};

const TABLES: &str = "
    CREATE TABLE t (id int PRIMARY KEY, small smallint, big bigint, name varchar(8) NOT NULL DEFAULT 'none',
        amount numeric(10,2), ratio double precision, day date, at timestamp, ok boolean);
    CREATE UNIQUE INDEX t_name_day ON t (name, day);
    CREATE INDEX t_small ON t (small, big);
    CREATE TABLE log (id int, note text, at timestamp);
    CREATE TABLE two (a int, b text, c int, PRIMARY KEY (a, b))";

fn engine() -> std::sync::Arc<Engine> {
    let options = EngineOptions { analytical_threads: 1 };
    let database = Database::in_memory(strata_core::Options::default()).unwrap();
    Engine::new(database, options).unwrap()
}

async fn session(point_plans: bool) -> Session {
    let mut session = Session::new(engine(), SessionOptions::default());
    simple(&mut session, TABLES).await;
    let setting = if point_plans { "on" } else { "off" };
    simple(&mut session, &format!("SET strata.point_plans = {setting}")).await;
    session
}

/// The answer as bytes on the wire, so that both encoders are compared too; an error as its text.
async fn shown(session: &mut Session, outcome: SqlResult<Outcome>) -> String {
    let shown = async {
        Ok(match outcome? {
            Outcome::Command(tag) => tag,
            Outcome::Point(rows) => {
                let (mut text, mut binary) = (BytesMut::new(), BytesMut::new());
                rows.encode(|_| false, &mut text)?;
                rows.encode(|_| true, &mut binary)?;
                format!("{}{}", sorted(&text), sorted(&binary))
            }
            Outcome::Rows(mut rows) => {
                let mut text = BytesMut::new();
                let mut binary = BytesMut::new();
                let mut text_encoder = RowEncoder::new(&rows.fields, &[0], &rows.time_zone)?;
                let mut binary_encoder = RowEncoder::new(&rows.fields, &[1], &rows.time_zone)?;
                while let Some(batch) = rows.batches.next().await {
                    let batch = batch?;
                    text_encoder.encode_rows(&batch, 0..batch.num_rows(), &mut text)?;
                    binary_encoder.encode_rows(&batch, 0..batch.num_rows(), &mut binary)?;
                }
                format!("{}{}", sorted(&text), sorted(&binary))
            }
            _ => unreachable!(),
        })
    };
    let shown: SqlResult<String> = shown.await;
    match shown {
        Ok(shown) => match session.finish_implicit().await {
            Ok(()) => shown,
            Err(error) => format!("at commit: {error}"),
        },
        Err(error) => {
            session.fail().await;
            format!("{} {} {:?}", error.sqlstate, error.message, error.detail)
        }
    }
}

/// The same answer. Where two values of a statement are wrong, either may be named; and a value that is the same for all
/// rows is made without any, as in Postgres, where the ordinary route makes it with the first.
fn agree(one: &str, other: &str) -> bool {
    let no_rows = ["", "UPDATE 0", "DELETE 0"];
    one == other || (one.starts_with("22") && (other.starts_with("22") || no_rows.contains(&other)))
}

/// DataRow messages in an order of their own: the routes may find rows in different ones.
fn sorted(mut messages: &[u8]) -> String {
    let mut rows = Vec::new();
    while let Some(length) = messages.get(1..5) {
        let length = u32::from_be_bytes(length.try_into().unwrap()) as usize;
        let (row, rest) = messages.split_at(length + 1);
        rows.push(String::from_utf8_lossy(row));
        messages = rest;
    }
    rows.sort_unstable();
    rows.concat()
}

async fn simple(session: &mut Session, sql: &str) -> String {
    match session.execute_text(sql).await {
        Ok(None) => {}
        Ok(Some(outcome)) => return shown(session, Ok(outcome)).await,
        Err(error) => return shown(session, Err(error)).await,
    }
    let mut answer = String::new();
    for statement in session.parse(sql).unwrap() {
        let outcome = session.execute_statement(&statement).await;
        answer = shown(session, outcome).await;
    }
    answer
}

async fn prepared(session: &mut Session, sql: &str, values: &[Option<&str>]) -> String {
    let statement = session.parse(sql).unwrap().remove(0);
    let prepared = match session.prepare(&statement, &[]).await {
        Ok(prepared) => prepared,
        Err(error) => return shown(session, Err(error)).await,
    };
    let values: Vec<Parameter<'_>> =
        values.iter().map(|value| Parameter { binary: false, value: value.map(str::as_bytes) }).collect();
    let outcome = session.execute(&prepared, &values).await;
    shown(session, outcome).await
}

async fn explained(session: &mut Session, sql: &str) -> String {
    simple(session, &format!("EXPLAIN {sql}")).await
}

/// A pseudo-random sequence.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) as usize) % bound
    }

    fn of<'a>(&mut self, values: &[&'a str]) -> &'a str {
        values[self.below(values.len())]
    }
}

const INTEGERS: &[&str] =
    &["0", "1", "2", "3", "4", "5", "-1", "7", "32768", "2147483647", "2147483648", "-2147483648", "NULL"];
const NAMES: &[&str] =
    &["'a'", "'b'", "'it''s'", "''", "NULL", "'é'", "'longer than'", "'spaces   '", "DEFAULT"];
const DAYS: &[&str] = &["'2024-01-31'", "'1999-12-31'", "NULL", "'2024-02-30'", "'infinity'"];
const TEMPLATES: &[&str] = &[
    "INSERT INTO t VALUES (#, #, #, @, #, #, %, NULL, true)",
    "INSERT INTO t (id, name, day) VALUES (#, @, %)",
    "INSERT INTO t (id, amount) VALUES (#, #), (#, #)",
    "INSERT INTO two VALUES (#, @, #)",
    "INSERT INTO log VALUES (#, @, NULL)",
    "SELECT * FROM t WHERE id = #",
    "SELECT name, big FROM t WHERE # = id",
    "SELECT id, id + 1, name FROM t WHERE id = # AND big > #",
    "SELECT amount, ratio, day, ok FROM t AS x WHERE x.id = # AND x.name <> @",
    "SELECT id FROM t WHERE name = @ AND day = %",
    "SELECT id FROM t WHERE id = # AND id = #",
    "SELECT id, big FROM t WHERE small = #",
    "SELECT id, big FROM t WHERE small = # AND big >= #",
    "SELECT id, big FROM t WHERE small = # AND big < #",
    "SELECT id FROM t WHERE id BETWEEN # AND #",
    "SELECT id FROM t WHERE id > # AND id <= # AND small < 4",
    "SELECT c FROM two WHERE a = #",
    "SELECT c FROM two WHERE a = # AND b = @",
    "SELECT c FROM two WHERE b = @",
    "UPDATE t SET big = big + # WHERE id = #",
    "UPDATE t SET small = #, amount = amount * 2 WHERE id = #",
    "UPDATE t SET name = @ WHERE id = #",
    "UPDATE t SET id = # WHERE id = #",
    "UPDATE t SET day = %, ratio = ratio / # WHERE name = @ AND day = %",
    "UPDATE t SET ok = NOT ok, at = '2024-01-01 10:00:00' WHERE id = # AND ok",
    "UPDATE t SET big = big + 9223372036854775807 WHERE id = #",
    "UPDATE two SET c = # WHERE a = # AND b = @",
    "DELETE FROM t WHERE id = #",
    "DELETE FROM t WHERE id = # AND small IS NULL",
    "DELETE FROM two WHERE a = # AND b = @",
    "BEGIN",
    "COMMIT",
    "ROLLBACK",
];

fn fill(template: &str, random: &mut Random) -> String {
    let mut sql = String::new();
    for character in template.chars() {
        match character {
            '#' => sql.push_str(random.of(INTEGERS)),
            '@' => sql.push_str(random.of(NAMES)),
            '%' => sql.push_str(random.of(DAYS)),
            other => sql.push(other),
        }
    }
    sql
}

#[tokio::test(flavor = "multi_thread")]
async fn both_routes_give_the_same_answer_to_texts() {
    let (mut point, mut ordinary) = (session(true).await, session(false).await);
    let mut random = Random(7);
    for round in 0..1_500 {
        let sql = fill(TEMPLATES[random.below(TEMPLATES.len())], &mut random);
        let (one, other) = (simple(&mut point, &sql).await, simple(&mut ordinary, &sql).await);
        assert!(agree(&one, &other), "round {round}: {sql}\n{one}\n{other}");
        if one != other {
            // Only one of them has failed: neither may go on in a transaction block.
            simple(&mut point, "ROLLBACK").await;
            simple(&mut ordinary, "ROLLBACK").await;
        }
    }
    for table in ["t ORDER BY id", "two ORDER BY a, b", "log ORDER BY id, note"] {
        let sql = format!("SELECT * FROM {table}");
        assert_eq!(simple(&mut point, &sql).await, simple(&mut ordinary, &sql).await);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn both_routes_give_the_same_answer_to_parameters() {
    let (mut point, mut ordinary) = (session(true).await, session(false).await);
    let mut random = Random(11);
    for round in 0..800 {
        let template = TEMPLATES[random.below(TEMPLATES.len())];
        let (mut sql, mut values) = (String::new(), Vec::new());
        for character in template.chars() {
            let pool = match character {
                '#' => INTEGERS,
                '@' => &NAMES[..8],
                '%' => DAYS,
                other => {
                    sql.push(other);
                    continue;
                }
            };
            let value = random.of(pool);
            values.push((value != "NULL").then(|| value.trim_matches('\'').replace("''", "'")));
            sql.push_str(&format!("${}", values.len()));
        }
        let values: Vec<Option<&str>> = values.iter().map(Option::as_deref).collect();
        let one = prepared(&mut point, &sql, &values).await;
        let other = prepared(&mut ordinary, &sql, &values).await;
        assert!(agree(&one, &other), "round {round}: {sql} {values:?}\n{one}\n{other}");
        if one != other {
            // Only one of them has failed: neither may go on in a transaction block.
            simple(&mut point, "ROLLBACK").await;
            simple(&mut ordinary, "ROLLBACK").await;
        }
    }
}

#[tokio::test]
async fn explain_names_the_index() {
    let mut session = session(true).await;
    for (sql, index) in [
        ("SELECT name FROM t WHERE id = 1", "Point: index=t_pkey (id =)"),
        ("SELECT name FROM t WHERE name = 'a' AND day = '2024-01-01'", "Point: index=t_name_day"),
        ("SELECT id FROM t WHERE small = 1 AND big > 2", "Point: index=t_small (small =, big >)"),
        ("UPDATE t SET big = big + 1 WHERE id = 1", "Point: index=t_pkey"),
        ("DELETE FROM two WHERE a = 1 AND b = 'x'", "Point: index=two_pkey (a =, b =)"),
        ("INSERT INTO log VALUES (1, 'a', CURRENT_TIMESTAMP)", "Point: rows=1"),
    ] {
        let lines = explained(&mut session, sql).await;
        assert!(lines.contains(index), "{sql}: {lines}");
    }
    for sql in [
        "SELECT name FROM t",
        "SELECT count(*) FROM t WHERE id = 1",
        "SELECT name FROM t WHERE ratio = 1",
        "UPDATE two SET c = 1 WHERE a = 1",
        "SELECT random() FROM t WHERE id = 1",
    ] {
        let lines = explained(&mut session, sql).await;
        assert!(!lines.contains("Point:"), "{sql}: {lines}");
    }
}

#[tokio::test]
async fn a_text_is_served_from_the_second_time_on() {
    let mut session = session(true).await;
    simple(&mut session, "INSERT INTO t (id) VALUES (1)").await;
    assert!(session.execute_text("SELECT name FROM t WHERE id = 1").await.unwrap().is_none());
    for id in ["2", "3000", "1"] {
        let outcome = session.execute_text(&format!("SELECT name FROM t WHERE id = {id}")).await.unwrap();
        let Some(Outcome::Point(rows)) = outcome else { unreachable!("served") };
        assert_eq!(rows.count(), usize::from(id == "1"));
    }
    session.finish_implicit().await.unwrap();
    simple(&mut session, "SET strata.point_plans = off").await;
    assert!(session.execute_text("SELECT name FROM t WHERE id = 1").await.unwrap().is_none());
}

#[tokio::test]
async fn a_plan_gives_way_to_ddl() {
    let mut session = session(true).await;
    let sql = "SELECT * FROM two WHERE a = $1 AND b = $2";
    let statement = session.parse(sql).unwrap().remove(0);
    let kept = session.prepare(&statement, &[]).await.unwrap();
    let values = [b"1".as_slice(), b"x"].map(|value| Parameter { binary: false, value: Some(value) });
    simple(&mut session, "INSERT INTO two VALUES (1, 'x', 5)").await;
    let Ok(Outcome::Point(rows)) = session.execute(&kept, &values).await else { unreachable!() };
    assert_eq!(rows.count(), 1);
    session.finish_implicit().await.unwrap();
    simple(&mut session, "ALTER TABLE two ADD COLUMN d int").await;
    let error = session.execute(&kept, &values).await.err().unwrap();
    assert_eq!(error.message, "cached plan must not change result type");
    session.fail().await;
    simple(&mut session, "UPDATE two SET c = 6 WHERE a = 1 AND b = 'x'").await;
    simple(&mut session, "UPDATE two SET c = 7 WHERE a = 1 AND b = 'x'").await;
    simple(&mut session, "CREATE UNIQUE INDEX two_c ON two (c)").await;
    simple(&mut session, "UPDATE two SET c = 8 WHERE a = 1 AND b = 'x'").await;
    let found = simple(&mut session, "SELECT b FROM two WHERE c = 8").await;
    assert!(found.contains('x'), "the new index has the row: {found}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_update_that_waits_sees_what_it_waited_for() {
    let engine = engine();
    let mut one = Session::new(engine.clone(), SessionOptions::default());
    let mut two = Session::new(engine, SessionOptions::default());
    simple(&mut one, "CREATE TABLE c (id int PRIMARY KEY, n int)").await;
    simple(&mut one, "INSERT INTO c VALUES (1, 0)").await;
    for _ in 0..3 {
        simple(&mut one, "BEGIN").await;
        simple(&mut one, "UPDATE c SET n = n + 1 WHERE id = 1").await;
        let waiting = tokio::spawn(async move {
            let tag = simple(&mut two, "UPDATE c SET n = n + 10 WHERE id = 1").await;
            let none = simple(&mut two, "UPDATE c SET n = 0 WHERE id = 1 AND n < 0").await;
            (two, tag, none)
        });
        tokio::time::sleep(std::time::Duration::from_millis(30)).await;
        assert_eq!(simple(&mut one, "COMMIT").await, "COMMIT");
        let (back, tag, none) = waiting.await.unwrap();
        assert_eq!((tag.as_str(), none.as_str()), ("UPDATE 1", "UPDATE 0"));
        two = back;
    }
    let answer = simple(&mut one, "SELECT n FROM c WHERE id = 1").await;
    assert!(answer.contains("33"), "{answer}");
}
