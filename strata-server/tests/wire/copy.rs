//! COPY between tokio-postgres and a table, in both directions.

use std::pin::pin;

use futures::{SinkExt, TryStreamExt};
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, Error};

use crate::client::TestServer;

/// Sends chunks of COPY data.
pub async fn copy_in(client: &Client, sql: &str, chunks: Vec<String>) -> Result<u64, Error> {
    let mut sink = pin!(client.copy_in(sql).await?);
    for chunk in chunks {
        sink.send(std::io::Cursor::new(chunk)).await?;
    }
    sink.finish().await
}

#[test]
fn rows_go_in_and_come_out() {
    let server = TestServer::start();
    server.runtime.block_on(async {
        let client = server.client().await;
        client.batch_execute("create table t (a integer primary key, b text)").await.expect("creates");
        // More than one chunk of the loader, cut inside of lines.
        let data: String = (0..40_000).map(|row| format!("{row},\"row, {row}\"\n")).collect();
        let chunks: Vec<String> =
            data.as_bytes().chunks(10_001).map(|part| String::from_utf8_lossy(part).into_owned()).collect();
        let sql = "copy t from stdin (format csv)";
        assert_eq!(copy_in(&client, sql, chunks).await.expect("copies"), 40_000);
        let stream =
            client.copy_out("copy (select * from t order by a) to stdout csv").await.expect("copies");
        let parts: Vec<_> = stream.try_collect().await.expect("data");
        assert_eq!(parts.concat(), data.as_bytes());
        let error = copy_in(&client, sql, vec!["50000,x\n".to_owned(), "7,y\n".to_owned()]).await;
        let error = error.expect_err("7 is there");
        assert_eq!(error.code(), Some(&SqlState::UNIQUE_VIOLATION));
        let count = client.query_one("select count(*) from t", &[]).await.expect("goes on");
        assert_eq!(count.get::<_, i64>(0), 40_000);
    });
    server.stop();
}

#[test]
fn an_error_in_the_middle_names_its_line() {
    let server = TestServer::start();
    server.runtime.block_on(async {
        let client = server.client().await;
        client.batch_execute("create table t (a integer, b text)").await.expect("creates");
        let lines =
            |from: u32, until: u32| (from..until).map(|row| format!("{row}\tx\n")).collect::<String>();
        let mut chunks = vec![lines(0, 100_000), "oops\tx\n".to_owned()];
        // The client goes on for a while before it hears of it.
        chunks.extend((0..40).map(|_| lines(0, 20_000)));
        let error = copy_in(&client, "copy t from stdin", chunks).await.expect_err("oops is no integer");
        let error = error.as_db_error().expect("an error of the server");
        assert_eq!(error.code(), &SqlState::INVALID_TEXT_REPRESENTATION);
        assert_eq!(error.where_(), Some("COPY t, line 100001, column a: \"oops\""));
        let count = client.query_one("select count(*) from t", &[]).await.expect("goes on");
        assert_eq!(count.get::<_, i64>(0), 0);
    });
    server.stop();
}

#[test]
fn a_copy_that_is_dropped_leaves_nothing() {
    let server = TestServer::start();
    server.runtime.block_on(async {
        let client = server.client().await;
        client.batch_execute("create table t (a integer)").await.expect("creates");
        {
            let mut sink = pin!(client.copy_in("copy t from stdin").await.expect("begins"));
            for _ in 0..20 {
                sink.send(std::io::Cursor::new("1\n".repeat(20_000))).await.expect("takes");
            }
        }
        let count = client.query_one("select count(*) from t", &[]).await.expect("goes on");
        assert_eq!(count.get::<_, i64>(0), 0);
        client.batch_execute("insert into t values (1)").await.expect("its locks are gone");
    });
    server.stop();
}

/// What `pg_restore --single-transaction` does.
#[test]
fn keys_are_made_after_the_copy_of_one_transaction() {
    let server = TestServer::start();
    server.runtime.block_on(async {
        let client = server.client().await;
        client.batch_execute("begin; create table t (a integer, b text)").await.expect("creates");
        let lines =
            |rows: std::ops::Range<u32>| rows.map(|row| format!("{row}\tx{row}\n")).collect::<String>();
        assert_eq!(
            copy_in(&client, "copy t from stdin", vec![lines(0..40_000)]).await.expect("copies"),
            40_000
        );
        let keys = "alter table t add primary key (a); create index t_b on t (b)";
        client.batch_execute(keys).await.expect("makes them");
        let find = "select a from t where a = 777 and b = 'x777'";
        assert_eq!(client.query(find, &[]).await.expect("reads").len(), 1);
        client.batch_execute("savepoint s").await.expect("saves");
        let twice = client.batch_execute("insert into t values (39999, '')").await.expect_err("is there");
        assert_eq!(twice.code(), Some(&SqlState::UNIQUE_VIOLATION));
        client.batch_execute("rollback to s; commit").await.expect("commits");
        for sql in [find, "select a from t where b = 'x777'", "select a from t where a = 777"] {
            assert_eq!(client.query(sql, &[]).await.expect("reads").len(), 1, "{sql}");
        }
        let twice = client.batch_execute("insert into t values (39999, '')").await.expect_err("is there");
        assert_eq!(twice.code(), Some(&SqlState::UNIQUE_VIOLATION));
        client.batch_execute("begin; create table u (a integer)").await.expect("creates");
        copy_in(&client, "copy u from stdin", vec!["1\n".repeat(20_000)]).await.expect("copies");
        let twice =
            client.batch_execute("alter table u add primary key (a)").await.expect_err("all are alike");
        assert_eq!(twice.code(), Some(&SqlState::UNIQUE_VIOLATION));
    });
    server.stop();
}
