//! What queries answer, next to what Postgres 15 answers.

use super::{run, session};
use crate::error::SqlResult;
use crate::postgres::types::{PgType, oid};
use crate::postgres::wire::TextColumn;
use crate::postgres::zone::Zone;
use crate::session::{Outcome, Session};
use futures::StreamExt;

/// The rows of a query as psql prints them: cells joined by `|`, NULL as nothing.
async fn rows(session: &mut Session, sql: &str) -> SqlResult<Vec<String>> {
    let result = collect(session, sql).await;
    match &result {
        Ok(_) => session.finish_implicit().await?,
        Err(_) => session.fail().await,
    }
    result
}

async fn collect(session: &mut Session, sql: &str) -> SqlResult<Vec<String>> {
    let statement = session.parse(sql)?.remove(0);
    let Outcome::Rows(mut rows) = session.execute_statement(&statement).await? else { return Ok(Vec::new()) };
    let zone = Zone::parse(&rows.time_zone).unwrap();
    let mut answer = Vec::new();
    while let Some(batch) = rows.batches.next().await {
        let batch = batch?;
        let columns: Vec<TextColumn> = batch
            .columns()
            .iter()
            .zip(rows.fields.iter())
            .map(|(array, field)| {
                TextColumn::new(array, PgType { oid: field.type_oid, modifier: field.type_modifier }, zone)
            })
            .collect::<SqlResult<_>>()?;
        for row in 0..batch.num_rows() {
            let cells = columns.iter().map(|column| {
                let mut text = Vec::new();
                if !column.is_null(row) {
                    column.write_text(row, &mut text);
                }
                String::from_utf8(text).unwrap()
            });
            answer.push(cells.collect::<Vec<_>>().join("|"));
        }
    }
    Ok(answer)
}

/// The types of a query's columns.
async fn types(sql: &str) -> String {
    let mut session = session();
    let statement = session.parse(sql).unwrap().remove(0);
    let prepared = session.prepare(&statement, &[]).await.unwrap();
    let names = prepared
        .fields()
        .unwrap()
        .iter()
        .map(|field| PgType { oid: field.type_oid, modifier: -1 }.sql_name());
    names.collect::<Vec<_>>().join(",")
}

async fn check(cases: &[(&str, &str)]) {
    let mut session = session();
    let mut wrong = Vec::new();
    for (expression, expected) in cases {
        match rows(&mut session, &format!("SELECT {expression}")).await {
            Ok(answer) if answer.join("\n") == *expected => {}
            Ok(answer) => wrong.push(format!("{expression}: {} and not {expected}", answer.join("\n"))),
            Err(error) if error.sqlstate == *expected => {}
            Err(error) => wrong.push(format!("{expression}: {error} and not {expected}")),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test]
async fn types_of_results() {
    for (sql, expected) in [
        ("SELECT 1, 3000000000, 1.5, 'a', true, NULL", "integer,bigint,numeric,text,boolean,text"),
        ("SELECT 1 + 1, 1 + 3000000000, 1 / 2.0, 2 * 1.5::float8", "integer,bigint,numeric,double precision"),
        ("SELECT count(*), sum(x), avg(x) FROM (VALUES (1), (2)) t(x)", "bigint,bigint,numeric"),
        ("SELECT sum(x::bigint), avg(x::float8) FROM (VALUES (1), (2)) t(x)", "numeric,double precision"),
        ("SELECT 'x'::varchar(3), '{}'::jsonb, 'a'::name, 1::oid", "character varying,jsonb,name,oid"),
        (
            "SELECT now(), current_date, localtimestamp",
            "timestamp with time zone,date,timestamp without time zone",
        ),
        ("SELECT date '2024-01-02' - date '2024-01-01', now() - now()", "integer,interval"),
        ("SELECT sum(n), max(n) FROM generate_series(1, 9) n", "bigint,integer"),
        ("SELECT max(n) FROM generate_series(1, 9::bigint) n", "bigint"),
        ("SELECT ARRAY[1, 2], '{a}'::text[]", "integer[],text[]"),
        ("SELECT CASE WHEN true THEN 1 ELSE 0 END, coalesce(NULL, 2)", "integer,integer"),
        ("SELECT extract(year FROM now()), date_part('year', now())", "numeric,double precision"),
    ] {
        assert_eq!(types(sql).await, expected, "{sql}");
    }
}

#[tokio::test]
async fn numbers() {
    check(&[
        ("1.7::int", "2"),
        ("2.5::float8::int", "2"),
        ("7 / 2", "3"),
        ("-7 / 2", "-3"),
        ("-7 % 3", "-1"),
        ("2147483647 + 1", "22003"),
        ("9223372036854775807 + 1", "22003"),
        ("1 / 0", "22012"),
        ("1.0 / 0", "22012"),
        ("1.0::float8 / 0", "22012"),
        ("5 % 0", "22012"),
        ("1.0 / 3", "0.3333333333333333"),
        ("1e300::float8 * 1e300::float8", "22003"),
        ("0.1 + 0.2", "0.3"),
        ("1.50 * 2", "3.00"),
        ("1000::float8", "1000"),
        ("'Infinity'::float8", "Infinity"),
        ("2 ^ 10", "1024"),
        ("mod(10, 3)", "1"),
        ("5 & 3", "1"),
        ("round(2.567, 2)", "2.57"),
        ("-2147483648", "-2147483648"),
        ("- (-2147483648)::int", "22003"),
        ("9223372036854775808", "9223372036854775808"),
        ("1_000 + 1", "1001"),
        ("1.5e3", "1500"),
        ("pg_size_pretty(10240)", "10 kB"),
        ("to_char(1234.5, '9,999.99')", " 1,234.50"),
    ])
    .await;
}

#[tokio::test]
async fn text() {
    check(&[
        ("'a' || 'b' || 1", "ab1"),
        ("NULL || 'b'", ""),
        ("lower('ABC') || upper('d')", "abcD"),
        ("'abc' LIKE 'a%'", "t"),
        ("'abc' = 1", "22P02"),
        ("'abc'::text = 1", "42883"),
        ("length('héllo')", "5"),
        ("substring('hello' from 2 for 3)", "ell"),
        ("position('l' in 'hello')", "3"),
        ("'ab   '::char(5) || 'c'", "abc"),
        ("'ab'::char(5)", "ab   "),
        ("'abcdef'::varchar(3)", "abc"),
        ("true::text", "true"),
        ("quote_ident('Ab')", "\"Ab\""),
        ("trim('  x ')", "x"),
        ("'{\"a\": {\"b\": 5}}'::jsonb -> 'a' ->> 'b'", "5"),
        ("'\\x4142'::bytea", "\\x4142"),
        ("1 LIKE '1%'", "42883"),
    ])
    .await;
}

#[tokio::test]
async fn times() {
    check(&[
        ("date '2024-01-31' + interval '1 month'", "2024-02-29 00:00:00"),
        ("date '2024-03-01' - date '2024-02-01'", "29"),
        ("date '2024-01-01' + 7", "2024-01-08"),
        ("timestamp '2024-01-02 03:00' - timestamp '2024-01-01 01:00'", "1 day 02:00:00"),
        ("interval '1 mon' = interval '30 days'", "t"),
        ("interval '1 day' > interval '23 hours'", "t"),
        ("interval '1 day' * 1.5", "1 day 12:00:00"),
        ("- interval '1 day'", "-1 days"),
        ("extract(year from date '2024-05-06')", "2024"),
        ("extract(epoch from timestamp '1970-01-02')", "86400.000000"),
        ("date_part('month', timestamp '2024-05-06')", "5"),
        ("date_trunc('month', timestamp '2024-05-06 07:08')", "2024-05-01 00:00:00"),
        ("age(timestamp '2001-04-10', timestamp '1957-06-13')", "43 years 9 mons 27 days"),
        ("'2024-02-30'::date", "22008"),
        ("'nonsense'::date", "22007"),
        ("1::date", "42846"),
        ("date '2024-01-01' < 5", "42883"),
        ("date '2024-01-01' = '2024-01-01'", "t"),
        ("to_char(timestamp '2024-05-06 07:08:09', 'YYYY/MM/DD HH24:MI:SS')", "2024/05/06 07:08:09"),
        ("to_date('06 May 2024', 'DD Mon YYYY')", "2024-05-06"),
        ("timestamptz '2024-07-01 12:00:00+02'", "2024-07-01 10:00:00+00"),
        ("timestamptz '2024-07-01 12:00:00+02' AT TIME ZONE 'Europe/Berlin'", "2024-07-01 12:00:00"),
        ("make_date(2024, 2, 29)", "2024-02-29"),
        ("now() = transaction_timestamp()", "t"),
    ])
    .await;
}

#[tokio::test]
async fn the_sessions_zone_counts() {
    let mut session = session();
    run(&mut session, "SET TIME ZONE 'Europe/Berlin'").await.unwrap();
    for (sql, expected) in [
        ("SELECT timestamptz '2024-07-01 12:00:00'", "2024-07-01 12:00:00+02"),
        ("SELECT timestamptz '2024-07-01 12:00:00+00'::date", "2024-07-01"),
        ("SELECT date_trunc('day', timestamptz '2024-07-01 23:00:00+00')", "2024-07-02 00:00:00+02"),
        ("SELECT extract(hour from timestamptz '2024-07-01 12:00:00+00')", "14"),
        ("SELECT timestamptz '2024-03-30 12:00' + interval '1 day'", "2024-03-31 12:00:00+02"),
        ("SELECT current_setting('timezone')", "Europe/Berlin"),
    ] {
        assert_eq!(rows(&mut session, sql).await.unwrap(), [expected], "{sql}");
    }
}

#[tokio::test]
async fn arrays() {
    check(&[
        ("ARRAY[1, 2, NULL]", "{1,2,NULL}"),
        ("ARRAY[1, 2] || 3", "{1,2,3}"),
        ("(ARRAY[10, 20])[2]", "20"),
        ("2 = ANY(ARRAY[1, 2])", "t"),
        ("'{1,2}'::int[] = ARRAY[1, 2]", "t"),
        ("cardinality(ARRAY[1, 2])", "2"),
        ("array_to_string(ARRAY['a', 'b'], ',')", "a,b"),
        ("ARRAY[]::int[]", "{}"),
        ("unnest(ARRAY['x', 'y'])", "x\ny"),
    ])
    .await;
}

#[tokio::test]
async fn queries_without_tables() {
    check(&[
        ("generate_series(1, 3)", "1\n2\n3"),
        ("* FROM generate_series(3, 1, -2)", "3\n1"),
        ("* FROM generate_series(timestamp '2024-01-31', '2024-03-01', '1 month')", "2024-01-31 00:00:00\n2024-02-29 00:00:00"),
        ("count(*), pg_typeof(min(d)) FROM generate_series(date '2024-01-01', date '2024-01-03', interval '1 day') d", "3|timestamp with time zone"),
        ("generate_series(5)", "42883"),
        ("i * 2 FROM generate_series(1, 3) i ORDER BY i", "2\n4\n6"),
        ("count(*), sum(x), avg(x), min(x) FROM (VALUES (1), (2), (4)) t(x)", "3|7|2.3333333333333333|1"),
        ("avg(x) OVER (ORDER BY x) FROM (VALUES (1), (2)) t(x)", "1.0000000000000000\n1.5000000000000000"),
        ("sum(x) FROM (VALUES (9223372036854775807), (1)) t(x)", "9223372036854775808"),
        ("x FROM (VALUES (1), (2), (3)) t(x) WHERE x BETWEEN 2 AND 3 ORDER BY x DESC", "3\n2"),
        ("x FROM (VALUES ('a'), ('b')) t(x) WHERE x IN ('b', 'c')", "b"),
        ("x FROM (VALUES (1), (NULL)) t(x) ORDER BY x", "1\n"),
        ("1 AS x UNION ALL SELECT 2 ORDER BY x", "1\n2"),
        ("1 AS a, 1 AS a", "1|1"),
        (
            "pg_typeof(1), pg_typeof('a'::varchar), pg_typeof(now())",
            "integer|character varying|timestamp with time zone",
        ),
        ("current_database(), current_schema(), current_user", "strata|public|strata"),
        ("pg_catalog.pg_type_is_visible(1)", "t"),
        ("format_type(1043, 14)", "character varying(10)"),
        ("x FROM (SELECT 1 AS x) t GROUP BY x HAVING count(*) = 1", "1"),
        ("NULLIF(1, 1), GREATEST(1, 2)", "|2"),
        ("string_agg(x, ',' ORDER BY x) FROM (VALUES ('b'), ('a')) t(x)", "a,b"),
        ("EXISTS (SELECT 1), NOT EXISTS (SELECT 1 WHERE false)", "t|t"),
        (
            "x, EXISTS (SELECT 1 FROM (VALUES (1)) u(y) WHERE y = x) FROM (VALUES (1), (2)) t(x) ORDER BY x",
            "1|t\n2|f",
        ),
        ("nosuch(1)", "42883"),
        ("nosuch FROM (SELECT 1 AS x) t", "42703"),
        ("x, count(*) FROM (SELECT 1 AS x, 2 AS y) t", "42803"),
        ("1 FROM nosuch", "42P01"),
    ])
    .await;
}

#[tokio::test]
async fn an_error_names_its_place() {
    let mut session = session();
    let error = rows(&mut session, "SELECT x,\n  nosuch FROM (SELECT 1 AS x) t").await.unwrap_err();
    assert_eq!((error.sqlstate, error.position), ("42703", Some(13)));
    assert_eq!(error.message, "column \"nosuch\" does not exist");
}

#[tokio::test]
async fn columns_have_postgres_names() {
    let mut session = session();
    let statement = session.parse("SELECT 1, count(*), 2, max(3) AS m, now()::date").unwrap().remove(0);
    let prepared = session.prepare(&statement, &[]).await.unwrap();
    let names: Vec<&str> = prepared.fields().unwrap().iter().map(|field| field.name.as_str()).collect();
    assert_eq!(names, ["?column?", "count", "?column?", "m", "now"]);
}

#[tokio::test]
async fn parameters_are_typed_and_bound() {
    use crate::session::Parameter;
    let mut session = session();
    for (sql, types, values, expected) in [
        ("SELECT $1::int + 1", &[oid::INT4][..], &["41"][..], "42"),
        ("SELECT $1", &[oid::TEXT], &["x"], "x"),
        ("SELECT x FROM (VALUES (1), (2)) t(x) WHERE x = $1", &[oid::INT4], &["2"], "2"),
        (
            "SELECT x FROM generate_series(1, 9) t(x) WHERE x > $1 ORDER BY x LIMIT $2",
            &[oid::INT4, oid::INT8],
            &["3", "1"],
            "4",
        ),
        (
            "SELECT x FROM (VALUES (1), (2)) t(x) WHERE x IN ($1, $2) ORDER BY x",
            &[oid::INT4, oid::INT4],
            &["2", "5"],
            "2",
        ),
        ("SELECT now() > $1", &[oid::TIMESTAMPTZ], &["2000-01-01"], "t"),
        ("SELECT lower($1)", &[oid::TEXT], &["ABC"], "abc"),
    ] {
        let statement = session.parse(sql).unwrap().remove(0);
        let prepared =
            session.prepare(&statement, &[]).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
        assert_eq!(prepared.parameter_oids(), types, "{sql}");
        let parameters: Vec<Parameter<'_>> =
            values.iter().map(|value| Parameter { binary: false, value: Some(value.as_bytes()) }).collect();
        let outcome =
            session.execute(&prepared, &parameters).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
        let Outcome::Rows(mut rows) = outcome else { unreachable!() };
        let mut cells = Vec::new();
        while let Some(batch) = rows.batches.next().await {
            let batch = batch.unwrap();
            for row in 0..batch.num_rows() {
                let field = &rows.fields[0];
                let pg_type = PgType { oid: field.type_oid, modifier: field.type_modifier };
                let mut text = Vec::new();
                TextColumn::new(batch.column(0), pg_type, Zone::Utc).unwrap().write_text(row, &mut text);
                cells.push(String::from_utf8(text).unwrap());
            }
        }
        assert_eq!(cells.join(","), expected, "{sql}");
        session.finish_implicit().await.unwrap();
    }
}

#[tokio::test]
async fn tables_answer_as_postgres_does() {
    let mut session = session();
    for sql in [
        "CREATE TABLE t (id bigint PRIMARY KEY, c char(5), v varchar(3), n numeric, m numeric(10,2), d date, j jsonb, a int[], z timestamptz)",
        "INSERT INTO t VALUES (1, 'ab', 'x', 1.5, 2, '2024-01-02', '{\"b\":1,\"a\":2}', '{1,2}', '2024-01-01 00:00+01'), (2, 'ab ', NULL, 10, 2.345, NULL, NULL, NULL, NULL)",
    ] {
        run(&mut session, sql).await.unwrap();
    }
    for (sql, expected) in [
        (
            "SELECT id, c, v, n, m, d, j, a, z FROM t WHERE id = 1",
            "1|ab   |x|1.5|2.00|2024-01-02|{\"a\": 2, \"b\": 1}|{1,2}|2023-12-31 23:00:00+00",
        ),
        ("SELECT count(*) FROM t WHERE c = 'ab'", "2"),
        ("SELECT n, m FROM t WHERE id = 2", "10|2.35"),
        ("SELECT sum(id), avg(id), sum(n), max(m) FROM t", "3|1.5000000000000000|11.5000000000000000|2.35"),
        ("SELECT id FROM t WHERE d < '2024-02-01' AND d >= date '2024-01-02' - interval '1 day'", "1"),
        ("SELECT id FROM t WHERE j->>'a' = '2' AND 2 = ANY(a)", "1"),
        ("SELECT id FROM t WHERE z < timestamptz '2024-01-01 00:00:00+00'", "1"),
        ("SELECT id * 2 + 1 FROM t WHERE id IN (1, 3)", "3"),
        ("SELECT CASE WHEN v = 'x' THEN 'yes' ELSE 'no' END FROM t ORDER BY id", "yes\nno"),
    ] {
        let answer = rows(&mut session, sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
        assert_eq!(answer.join("\n"), expected, "{sql}");
    }
    for (sql, sqlstate) in [
        ("SELECT * FROM t WHERE v = 1", "42883"),
        ("SELECT * FROM t WHERE id = 'x'", "22P02"),
        ("SELECT count(*) FROM t FOR UPDATE", "0A000"),
        ("INSERT INTO t (id, v) VALUES (3, 'long')", "22001"),
        ("INSERT INTO t (id, m) VALUES (3, 1000000000)", "22003"),
        ("INSERT INTO t (id, j) VALUES (3, '{')", "22P02"),
        ("INSERT INTO t (id, d) VALUES (3, 5)", "42804"),
        ("UPDATE t SET id = 9223372036854775807 + id", "22003"),
    ] {
        assert_eq!(rows(&mut session, sql).await.unwrap_err().sqlstate, sqlstate, "{sql}");
    }
}
