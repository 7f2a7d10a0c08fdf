use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
use datafusion::sql::sqlparser::parser::Parser;

use super::*;

fn rewritten(sql: &str) -> String {
    let mut statement = Parser::parse_sql(&PostgreSqlDialect {}, sql).unwrap().remove(0);
    rewrite(&mut statement);
    statement.to_string()
}

#[test]
fn casts_to_registered_types_are_calls_and_results_show_names() {
    for (sql, expected) in [
        ("SELECT c.oid::pg_catalog.regclass FROM x", "SELECT regclassout(c.oid) AS \"oid\" FROM x"),
        ("SELECT 1 FROM x WHERE a = 'pg_class'::regclass", "SELECT 1 FROM x WHERE a = regclass('pg_class')"),
        ("SELECT CAST(a::regtype AS TEXT) AS b FROM x", "SELECT regtypeout(a) AS b FROM x"),
        ("SELECT to_regclass('a')::text AS b", "SELECT regclassout(to_regclass('a')) AS b"),
        ("SELECT a::text AS b", "SELECT a::TEXT AS b"),
    ] {
        assert_eq!(rewritten(sql), expected);
    }
}

#[test]
fn operators_and_collations_of_the_catalog_are_plain() {
    assert_eq!(
        rewritten(
            "SELECT pg_catalog.f(a) FROM pg_catalog.g(1) WHERE n OPERATOR(pg_catalog.~) '^(t)$' COLLATE \
             pg_catalog.default AND pg_catalog.h(a)"
        ),
        "SELECT f(a) FROM g(1) WHERE n ~ '^(t)$' AND h(a)"
    );
    assert_eq!(
        rewritten("SELECT i.indkey[0], indkey[1], a[0]"),
        "SELECT i.indkey[0 + 1], indkey[1 + 1], a[0]"
    );
    assert_eq!(
        rewritten("SELECT 1 FROM t WHERE a NOT LIKE b ESCAPE '/'"),
        "SELECT 1 FROM t WHERE a NOT LIKE like_escape(b, '/')"
    );
}

#[test]
fn arrays_of_subqueries_are_aggregates() {
    assert_eq!(
        rewritten("SELECT ARRAY(SELECT a FROM t WHERE b = 1 ORDER BY 1 DESC) AS x"),
        "SELECT array_or_empty((SELECT array_agg(a ORDER BY a DESC) FROM t WHERE b = 1)) AS x"
    );
    assert_eq!(
        rewritten("SELECT generate_subscripts(a, 1) AS n FROM t"),
        "SELECT unnest(array_subscripts(a, 1)) AS n FROM t"
    );
}

#[test]
fn a_correlated_subquery_is_an_aggregate_with_equalities() {
    assert_eq!(
        rewritten(
            "SELECT (SELECT d.adbin FROM pg_catalog.pg_attrdef d WHERE d.adrelid = a.attrelid AND a.atthasdef) \
             FROM pg_attribute a"
        ),
        "SELECT CASE WHEN a.atthasdef THEN (SELECT first_value(d.adbin) FROM pg_catalog.pg_attrdef d WHERE \
         d.adrelid = a.attrelid) END FROM pg_attribute a"
    );
    assert_eq!(
        rewritten(
            "SELECT (SELECT c.collname FROM pg_collation c, pg_type t WHERE c.oid = a.coll AND a.coll <> \
             t.typcollation) FROM pg_attribute a"
        ),
        "SELECT (SELECT first_value(c.collname) FROM pg_collation c, pg_type t WHERE c.oid = a.coll AND c.oid <> \
         t.typcollation) FROM pg_attribute a"
    );
    let of_users = "SELECT (SELECT d.x FROM mine d WHERE d.y = a.y) FROM a";
    assert_eq!(rewritten(of_users), of_users);
    assert_eq!(
        rewritten("SELECT NOT EXISTS (SELECT 1 FROM pg_constraint c WHERE c.conrelid = i.x) FROM i"),
        "SELECT coalesce((SELECT count(*) AS count FROM pg_constraint c WHERE c.conrelid = i.x), 0) = 0 FROM i"
    );
}

#[test]
fn nothing_is_computed_of_what_is_always_empty() {
    assert_eq!(
        rewritten(
            "SELECT p.polname, (SELECT 1 FROM t) FROM pg_catalog.pg_policy p JOIN t ON true WHERE EXISTS (SELECT 1)"
        ),
        "SELECT p.polname, NULL FROM pg_catalog.pg_policy p JOIN t ON true WHERE false"
    );
    let left = "SELECT (SELECT 1) FROM t LEFT JOIN pg_policy p ON true";
    assert_eq!(rewritten(left), left);
}
