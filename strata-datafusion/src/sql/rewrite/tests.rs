use super::*;
use crate::sql::parse::parse;

fn rewritten(sql: &str) -> SqlResult<(String, Rewritten)> {
    let mut ast = parse(sql)?.remove(0).ast().clone();
    let found = rewrite_statement(&mut ast)?;
    Ok((ast.to_string(), found))
}

fn text(sql: &str) -> String {
    rewritten(sql).unwrap().0
}

#[test]
fn columns_get_the_names_that_postgres_gives() {
    for (sql, names) in [
        ("SELECT 1", "?column?"),
        ("SELECT a + 1", "?column?"),
        ("SELECT count(*)", "count"),
        ("SELECT x::int", "x"),
        ("SELECT '1'::int", "int4"),
        ("SELECT CASE WHEN a THEN 1 END", "case"),
        ("SELECT DATE '2024-01-01'", "date"),
        ("SELECT extract(year from d)", "extract"),
        ("SELECT true", "bool"),
        ("SELECT (SELECT max(a) FROM t)", "max"),
        ("SELECT trim(a)", "btrim"),
        ("SELECT current_date", "current_date"),
    ] {
        let ast = parse(sql).unwrap().remove(0).ast().clone();
        let Statement::Query(query) = ast else { unreachable!() };
        let SetExpr::Select(select) = *query.body else { unreachable!() };
        let SelectItem::UnnamedExpr(expr) = &select.projection[0] else { unreachable!() };
        assert_eq!(columns::column_name(expr), names, "{sql}");
    }
}

#[test]
fn equal_names_are_told_apart() {
    let sql = text("SELECT 1, 2, a, b.a FROM t");
    assert!(
        sql.contains(" AS \"?column?\", \"::\"(2, 23, -1) AS \"?column?\u{0}1\", a, b.a AS \"a\u{0}3\""),
        "{sql}"
    );
}

#[test]
fn casts_and_typed_literals_become_calls() {
    assert_eq!(text("SELECT x::int AS x"), "SELECT \"::\"(x, 23, -1) AS x");
    assert_eq!(
        text("SELECT DATE '2024-01-01' AS d, INTERVAL '3' DAY AS i"),
        "SELECT \"::\"('2024-01-01', 1082, -1) AS d, \"::\"('3 DAY', 1186, -1) AS i"
    );
    assert_eq!(text("SELECT pg_catalog.lower(a) AS x"), "SELECT lower(a) AS x");
    assert_eq!(
        text("SELECT 99999999999999999999 AS x"),
        "SELECT \"::\"('99999999999999999999', 1700, -1) AS x"
    );
}

#[test]
fn series_move_to_where_they_run() {
    assert_eq!(
        text("SELECT generate_series(1, 3) AS i"),
        "SELECT \"generate_series\" AS i FROM generate_series(1, 3) AS \"generate_series\" (generate_series)"
    );
    assert_eq!(
        text("SELECT generate_series(1, a) AS i FROM t"),
        "SELECT \"unnest\"(generate_series_list(1, a)) AS i FROM t"
    );
    assert_eq!(
        text("SELECT i FROM generate_series(1, 3) i"),
        "SELECT i FROM generate_series(1, 3) i (\"i\")"
    );
}

#[test]
fn parameters_get_the_type_of_their_place() {
    let (_, found) = rewritten("SELECT $3, $1::int FROM t LIMIT $2").unwrap();
    let oids: Vec<Option<u32>> = found.parameters.iter().map(|found| found.map(|found| found.oid)).collect();
    assert_eq!(oids, [Some(oid::INT4), Some(oid::INT8), Some(oid::TEXT)]);
}

#[test]
fn locks_are_taken_off_and_what_would_be_ignored_is_refused() {
    let (sql, found) = rewritten("SELECT a FROM t FOR UPDATE SKIP LOCKED").unwrap();
    assert_eq!((sql.as_str(), found.locks.len()), ("SELECT a FROM t", 1));
    for sql in [
        "SELECT a FROM (SELECT a FROM t FOR UPDATE) s",
        "SELECT a INTO u FROM t",
        "SELECT a FROM t TABLESAMPLE BERNOULLI (10)",
        "SELECT a FROM t ORDER BY a FETCH FIRST 2 ROWS WITH TIES",
    ] {
        assert_eq!(rewritten(sql).unwrap_err().sqlstate, "0A000", "{sql}");
    }
    assert_eq!(text("SELECT a FROM t FETCH FIRST 2 ROWS ONLY"), "SELECT a FROM t LIMIT 2");
}
