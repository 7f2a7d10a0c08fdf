//! Data that cannot be what it should: the statement fails, says where, and leaves nothing.

use tokio_postgres::Client;
use tokio_postgres::error::DbError;

use crate::client::TestServer;
use crate::copy::copy_in;

async fn refused(client: &Client, sql: &str, chunks: Vec<String>) -> DbError {
    let error = copy_in(client, sql, chunks).await.expect_err("is refused");
    error.as_db_error().unwrap_or_else(|| panic!("{sql}: {error}")).clone()
}

async fn count(client: &Client, table: &str) -> i64 {
    client.query_one(&format!("select count(*) from {table}"), &[]).await.expect("goes on").get(0)
}

#[test]
fn a_malformed_row_far_into_a_csv_names_its_line_and_column() {
    const ROWS: u32 = 900_001;
    let server = TestServer::start();
    server.runtime.block_on(async {
        let client = server.client().await;
        client.batch_execute("create table t (a integer, b smallint)").await.expect("creates");
        let lines = |from: u32, until: u32| (from..until).map(|row| format!("{row},7\n")).collect::<String>();
        let mut chunks: Vec<String> =
            (1..ROWS).step_by(50_000).map(|from| lines(from, ROWS.min(from + 50_000))).collect();
        chunks.push("900001,seven\n900002,7\n".to_owned());
        let error = refused(&client, "copy t from stdin (format csv)", chunks).await;
        assert_eq!(error.code().code(), "22P02");
        assert_eq!(error.message(), "invalid input syntax for type smallint: \"seven\"");
        assert_eq!(error.where_(), Some("COPY t, line 900001, column b: \"seven\""));
        assert_eq!(count(&client, "t").await, 0);
        client.batch_execute("insert into t values (1, 1)").await.expect("its locks are gone");
    });
    server.stop();
}

#[test]
fn rows_that_do_not_fit_their_table() {
    let server = TestServer::start();
    server.runtime.block_on(async {
        let client = server.client().await;
        let tables = "create table t (a integer primary key, b smallint not null, c numeric(4,1), d date)";
        client.batch_execute(tables).await.expect("creates");
        client.batch_execute("insert into t values (7, 1)").await.expect("inserts");
        // What PostgreSQL 15 says of each; of the missing value it shows the line, too.
        for (line, code, place) in [
            ("1,40000,,", "22003", "COPY t, line 2, column b: \"40000\""),
            ("3000000000,1,,", "22003", "COPY t, line 2, column a: \"3000000000\""),
            ("1,1,1000,", "22003", "COPY t, line 2, column c: \"1000\""),
            ("1,1,,2001-02-30", "22008", "COPY t, line 2, column d: \"2001-02-30\""),
            ("1,,,", "23502", "COPY t, line 2"),
            ("1,1,1", "22P04", "COPY t, line 2: \"1,1,1\""),
            ("1,1,1,2001-01-01,x", "22P04", "COPY t, line 2: \"1,1,1,2001-01-01,x\""),
        ] {
            let chunks = vec!["100,1,1.5,2001-01-01\n".to_owned(), format!("{line}\n101,1,,\n")];
            let error = refused(&client, "copy t from stdin (format csv)", chunks).await;
            assert_eq!((error.code().code(), error.where_()), (code, Some(place)), "{line}: {error}");
            assert_eq!(count(&client, "t").await, 1, "{line}");
        }
        for (line, key) in [("7,1,,", "(7)"), ("100,2,,", "(100)")] {
            let chunks = vec![format!("100,1,,\n{line}\n")];
            let error = refused(&client, "copy t from stdin (format csv)", chunks).await;
            assert_eq!(error.code().code(), "23505", "{error}");
            assert_eq!(error.message(), "duplicate key value violates unique constraint \"t_pkey\"");
            assert_eq!(error.detail(), Some(format!("Key (a)={key} already exists.").as_str()));
            assert_eq!(count(&client, "t").await, 1, "{line}");
        }
    });
    server.stop();
}

#[test]
fn tables_and_columns_that_are_not_there() {
    let server = TestServer::start();
    server.runtime.block_on(async {
        let client = server.client().await;
        client.batch_execute("create table t (a integer)").await.expect("creates");
        for (sql, code) in [
            ("copy nowhere from stdin", "42P01"),
            ("copy t (a, nothing) from stdin", "42703"),
            ("copy nowhere to stdout", "42P01"),
            ("select * from nowhere", "42P01"),
            ("insert into nowhere values (1)", "42P01"),
            ("update nowhere set a = 1", "42P01"),
            ("delete from nowhere", "42P01"),
            ("truncate nowhere", "42P01"),
            ("select nothing from t", "42703"),
        ] {
            let error = client.batch_execute(sql).await.expect_err("is refused");
            assert_eq!(error.code().map(|code| code.code()), Some(code), "{sql}: {error}");
        }
        assert_eq!(count(&client, "t").await, 0);
    });
    server.stop();
}
