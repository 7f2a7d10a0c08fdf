//! The queries of psql 15, as `psql -E` shows them. `:oid` stands for the OID that psql puts there.

use super::*;

/// Runs all queries of a command; the rows of each.
async fn command(session: &mut Session, text: &str, relation: &str) -> Vec<Vec<String>> {
    let oid = run(session, &format!("SELECT oid FROM pg_class WHERE relname = '{relation}'")).await.unwrap();
    let text = text.replace(":oid", &format!("'{}'", oid[0]));
    let mut answers = Vec::new();
    for query in text.split(";\n").filter(|query| !query.trim().is_empty()) {
        match run(session, query).await {
            Ok(rows) => answers.push(rows),
            Err(error) => panic!("{error:?}\n{query}"),
        }
    }
    answers
}

macro_rules! answers {
    ($session:expr, $file:literal, $relation:literal) => {
        command($session, include_str!(concat!("psql/", $file, ".sql")), $relation).await
    };
}

#[tokio::test]
async fn lists_of_databases_schemas_roles() {
    let session = &mut session().await;
    assert_eq!(answers!(session, "l", "plain"), [["strata|strata|UTF8|C|C|~|libc|~"]]);
    assert_eq!(answers!(session, "dn", "plain"), [["public|strata"]]);
    assert_eq!(answers!(session, "du", "plain"), [["strata|true|true|true|true|true|-1|~|[]|true|true"]]);
}

#[tokio::test]
async fn lists_of_relations() {
    let session = &mut session().await;
    assert_eq!(
        answers!(session, "dt", "plain"),
        [["public|customers|table|strata", "public|plain|table|strata"]]
    );
    assert_eq!(
        answers!(session, "dt_plus", "plain"),
        [[
            "public|customers|table|strata|permanent|heap|528 bytes|~",
            "public|plain|table|strata|permanent|heap|0 bytes|~"
        ]]
    );
    assert_eq!(
        answers!(session, "d", "plain"),
        [["public|customers|table|strata", "public|plain|table|strata", "public|rich|view|strata"]]
    );
    assert_eq!(
        answers!(session, "di", "plain"),
        [[
            "public|customers_email_key|index|strata|customers",
            "public|customers_name_idx|index|strata|customers",
            "public|customers_pkey|index|strata|customers"
        ]]
    );
    assert_eq!(answers!(session, "dv", "plain"), [["public|rich|view|strata"]]);
}

#[tokio::test]
async fn description_of_a_table() {
    let session = &mut session().await;
    let answers = answers!(session, "d_table", "customers");
    assert_eq!(answers[0], ["16384|public|customers"]);
    assert_eq!(answers[1], ["0|r|true|false|false|false|false|false|false||0||p|d|heap"]);
    assert_eq!(
        answers[2],
        [
            "id|bigint|~|true|~||",
            "name|character varying(40)|'anon'|true|~||",
            "email|text|~|false|~||",
            "balance|numeric(10,2)|~|false|~||",
            "tags|text[]|~|false|~||",
            "created|timestamp with time zone|~|false|~||",
        ]
    );
    let index = "CREATE UNIQUE INDEX customers_pkey ON public.customers USING btree (id)";
    assert_eq!(
        answers[3],
        [
            format!("customers_pkey|true|true|false|true|{index}|PRIMARY KEY (id)|p|false|false|false|0"),
            "customers_email_key|false|true|false|true|CREATE UNIQUE INDEX customers_email_key ON \
             public.customers USING btree (email)|UNIQUE (email)|u|false|false|false|0"
                .to_owned(),
            "customers_name_idx|false|false|false|true|CREATE INDEX customers_name_idx ON public.customers \
             USING btree (name DESC, balance)|~|~|~|~|false|0"
                .to_owned(),
        ]
    );
    assert!(answers[4..].iter().all(Vec::is_empty), "{:?}", &answers[4..]);
}

#[tokio::test]
async fn description_of_a_view_and_of_an_index() {
    let session = &mut session().await;
    let answers_of_view = answers!(session, "d_view", "rich");
    assert_eq!(answers_of_view[1], ["0|v|false|true|false|false|false|false|false||0||p|n|~"]);
    assert_eq!(answers_of_view[2], ["id|bigint|~|false|~||", "name|character varying(40)|~|false|~||"]);
    let answers_of_index = answers!(session, "d_index", "customers_pkey");
    assert_eq!(answers_of_index[2], ["id|bigint|yes|id"]);
    assert_eq!(answers_of_index[3], ["true|true|false|true|false|false|false|false|btree|customers|~"]);
}

#[tokio::test]
async fn verbose_descriptions() {
    let session = &mut session().await;
    let table = answers!(session, "d_plus_table", "customers");
    assert_eq!(table[2][0], "id|bigint|~|true|~|||p||~|~");
    let view = answers!(session, "d_plus_view", "rich");
    assert_eq!(view[3], [" SELECT id, name FROM customers WHERE balance > 100;"]);
    assert_eq!(answers!(session, "di_plus", "plain")[0].len(), 3);
    assert_eq!(answers!(session, "l_plus", "plain")[0].len(), 1);
    assert_eq!(answers!(session, "dn_plus", "plain")[0].len(), 1);
}

#[tokio::test]
async fn lists_of_what_is_not_there() {
    let session = &mut session().await;
    assert_eq!(answers!(session, "dx", "plain"), [Vec::<String>::new()]);
    assert_eq!(answers!(session, "df", "plain"), [Vec::<String>::new()]);
    assert_eq!(answers!(session, "dT", "plain"), [Vec::<String>::new()]);
    assert_eq!(answers!(session, "ds", "plain"), [Vec::<String>::new()]);
    assert_eq!(answers!(session, "db", "plain")[0].len(), 2);
    assert_eq!(answers!(session, "dp", "plain")[0].len(), 3);
}
