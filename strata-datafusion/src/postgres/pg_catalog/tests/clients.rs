//! The reflection queries of SQLAlchemy 2, and how asyncpg and psycopg look types up.

use super::*;

macro_rules! reflect {
    ($session:expr, $file:literal, $($parameter:expr),*) => {
        run_with($session, include_str!(concat!("sqlalchemy/", $file, ".sql")), &[$($parameter),*])
            .await
            .unwrap_or_else(|error| panic!(concat!($file, ": {:?}"), error))
    };
}

#[tokio::test]
async fn sqlalchemy_finds_tables() {
    let session = &mut session().await;
    let kinds = ["r", "p", "f", "v", "m"];
    let [r, p, f, v, m] = kinds;
    assert_eq!(reflect!(session, "has_table", "customers", r, p, f, v, m, "pg_catalog"), ["customers"]);
    assert_eq!(reflect!(session, "has_table", "missing", r, p, f, v, m, "pg_catalog"), Vec::<String>::new());
    let mut tables = reflect!(session, "get_table_names", "r", "p", "t", "pg_catalog");
    tables.sort();
    assert_eq!(tables, ["customers", "plain"]);
    assert_eq!(reflect!(session, "get_view_names", "v", "t", "pg_catalog"), ["rich"]);
    assert_eq!(reflect!(session, "get_schema_names", "pg/_"), ["information_schema", "public"]);
    assert_eq!(
        reflect!(session, "get_view_definition", "rich", "v", "m", "pg_catalog"),
        [" SELECT id, name FROM customers WHERE balance > 100;"]
    );
}

#[tokio::test]
async fn sqlalchemy_reads_columns() {
    let session = &mut session().await;
    let columns = reflect!(
        session,
        "get_columns",
        "",
        "always",
        "a",
        "start",
        "increment",
        "minvalue",
        "maxvalue",
        "cache",
        "cycle",
        "",
        "0",
        "name",
        "schema",
        "0",
        "r",
        "p",
        "f",
        "v",
        "m",
        "pg_catalog",
        "customers"
    );
    assert_eq!(
        columns,
        [
            "id|bigint|~|true|customers|~||~|~",
            "name|character varying(40)|'anon'|true|customers|~||~|~",
            "email|text|~|false|customers|~||~|~",
            "balance|numeric(10,2)|~|false|customers|~||~|~",
            "tags|text[]|~|false|customers|~||~|~",
            "created|timestamp with time zone|~|false|customers|~||~|~",
        ]
    );
}

#[tokio::test]
async fn sqlalchemy_reads_keys_and_indexes() {
    let session = &mut session().await;
    let table = &run(session, "SELECT oid FROM pg_class WHERE relname = 'customers'").await.unwrap()[0];
    assert_eq!(
        reflect!(session, "table_oids", "r", "p", "f", "v", "m", "pg_catalog", "customers"),
        [format!("{table}|customers")]
    );
    assert_eq!(
        reflect!(session, "get_pk_constraint", "1", "pg_constraint", "p", table),
        [format!("{table}|[id]|customers_pkey|~|1|false")]
    );
    assert_eq!(
        reflect!(session, "get_pk_constraint", "1", "pg_constraint", "u", table),
        [format!("{table}|[email]|customers_email_key|~|1|false")]
    );
    assert_eq!(reflect!(session, "btree", "btree"), ["403|btree"]);
    assert_eq!(
        reflect!(session, "get_indexes", "0", "1", "t", "0", "1", table, "p", "u", "x"),
        [
            format!("{table}|customers_email_key|true|true|true|[0]|~|403|~|1|false|[email]|[false]|[3126]"),
            format!(
                "{table}|customers_name_idx|false|true|false|[3, 0]|~|403|~|2|false|[name, balance]|\
                 [false, false]|[3126, 3125]"
            ),
        ]
    );
    assert_eq!(
        reflect!(
            session,
            "get_foreign_keys",
            "t",
            "f",
            "pg_constraint",
            "r",
            "p",
            "f",
            "v",
            "m",
            "pg_catalog",
            "customers"
        ),
        ["customers|~|~|~|~"]
    );
    assert_eq!(
        reflect!(
            session,
            "get_check_constraints",
            "t",
            "c",
            "pg_constraint",
            "r",
            "p",
            "f",
            "v",
            "m",
            "pg_catalog",
            "customers"
        ),
        ["customers|~|~|~"]
    );
    assert_eq!(
        reflect!(
            session,
            "get_table_comment",
            "0",
            "pg_class",
            "r",
            "p",
            "f",
            "v",
            "m",
            "pg_catalog",
            "customers"
        ),
        ["customers|~"]
    );
}

#[tokio::test]
async fn psycopg_looks_a_type_up() {
    let session = &mut session().await;
    let sql = "SELECT typname AS name, oid, typarray AS array_oid, oid::regtype::text AS regtype, typdelim AS \
               delimiter FROM pg_type t WHERE t.oid = to_regtype($1) ORDER BY t.oid";
    assert_eq!(run_with(session, sql, &["int4"]).await.unwrap(), ["int4|23|1007|integer|,"]);
    assert_eq!(run_with(session, sql, &["hstore"]).await.unwrap(), Vec::<String>::new());
}

#[tokio::test]
async fn asyncpg_looks_a_type_up() {
    let session = &mut session().await;
    let sql = "SELECT t.oid, t.typelem AS elemtype, t.typtype AS kind FROM pg_catalog.pg_type AS t INNER JOIN \
               pg_catalog.pg_namespace ns ON (ns.oid = t.typnamespace) WHERE t.typname = $1 AND ns.nspname = $2";
    assert_eq!(run_with(session, sql, &["jsonb", "pg_catalog"]).await.unwrap(), ["3802|0|b"]);
}

#[tokio::test]
async fn names_and_oids_stand_for_each_other() {
    let session = &mut session().await;
    for (sql, expected) in [
        ("SELECT 'customers'::regclass", "customers"),
        ("SELECT 'public.customers_pkey'::regclass::text", "customers_pkey"),
        ("SELECT to_regclass('missing')", "~"),
        ("SELECT 'pg_class'::regclass::oid", "1259"),
        ("SELECT 1184::regtype", "timestamp with time zone"),
        ("SELECT 'varchar'::regtype::oid", "1043"),
        ("SELECT 'array_in'::regproc::oid", "750"),
        ("SELECT 'public'::regnamespace::oid", "2200"),
        ("SELECT 11::regnamespace", "pg_catalog"),
        ("SELECT typname FROM pg_type WHERE typinput = 'int4in'::regproc", "int4"),
        ("SELECT relname FROM pg_class WHERE oid = 'plain'::regclass", "plain"),
        (
            "SELECT count(*) FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = ANY(i.indkey) WHERE i.indrelid = 'customers'::regclass AND i.indisprimary",
            "1",
        ),
        ("SELECT indkey[0] FROM pg_index WHERE indexrelid = 'customers_name_idx'::regclass", "2"),
        ("SELECT nspname FROM pg_namespace WHERE nspname = ANY (current_schemas(false))", "public"),
    ] {
        assert_eq!(
            run(session, sql).await.map_err(|e| format!("{sql}: {e:?}")).unwrap(),
            [expected],
            "{sql}"
        );
    }
    let error = run(session, "SELECT 'missing'::regclass").await.unwrap_err();
    assert_eq!((error.sqlstate, error.message.as_str()), ("42P01", "relation \"missing\" does not exist"));
}

#[tokio::test]
async fn the_information_schema_describes_tables() {
    let session = &mut session().await;
    let sql = "SELECT table_name, table_type FROM information_schema.tables WHERE table_schema = 'public' ORDER BY 1";
    assert_eq!(run(session, sql).await.unwrap(), ["customers|BASE TABLE", "plain|BASE TABLE", "rich|VIEW"]);
    let sql = "SELECT column_name, ordinal_position, is_nullable, data_type, character_maximum_length, \
               numeric_precision, numeric_scale, udt_name FROM information_schema.columns WHERE table_name IN \
               ('customers', 'rich') ORDER BY table_name, ordinal_position";
    assert_eq!(
        run(session, sql).await.unwrap(),
        [
            "id|1|NO|bigint|~|64|0|int8",
            "name|2|NO|character varying|40|~|~|varchar",
            "email|3|YES|text|~|~|~|text",
            "balance|4|YES|numeric|~|10|2|numeric",
            "tags|5|YES|ARRAY|~|~|~|_text",
            "created|6|YES|timestamp with time zone|~|~|~|timestamptz",
            "id|1|YES|bigint|~|64|0|int8",
            "name|2|YES|character varying|40|~|~|varchar",
        ]
    );
    let sql = "SELECT tc.constraint_type, kcu.column_name FROM information_schema.table_constraints tc JOIN \
               information_schema.key_column_usage kcu USING (constraint_schema, constraint_name) ORDER BY 1";
    assert_eq!(run(session, sql).await.unwrap(), ["PRIMARY KEY|id", "UNIQUE|email"]);
    let sql = "SELECT count(*) FROM information_schema.referential_constraints";
    assert_eq!(run(session, sql).await.unwrap(), ["0"]);
}

#[tokio::test]
async fn jdbc_reads_keys_and_columns() {
    let session = &mut session().await;
    assert_eq!(
        run(session, include_str!("jdbc/get_primary_keys.sql")).await.unwrap(),
        ["~|public|customers|id|1|customers_pkey"]
    );
    assert_eq!(
        run(session, include_str!("jdbc/get_columns.sql")).await.unwrap()[..2],
        [
            "strata|public|customers|id|20|true|-1|8|-1|1|~|~|~|~|0|b",
            "strata|public|customers|name|1043|true|44|-1|-1|2|~|~|'anon'|~|0|b",
        ]
    );
}
