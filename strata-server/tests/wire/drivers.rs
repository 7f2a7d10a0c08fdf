//! tokio-postgres as the client: binary formats, pipelining, portals, cancellation.

use std::time::Duration;

use futures::{StreamExt, TryStreamExt};
use tokio_postgres::error::SqlState;
use tokio_postgres::types::Type;
use tokio_postgres::{Client, NoTls};

use crate::client::TestServer;

async fn connect(server: &TestServer) -> Client {
    let (client, connection) = server.config().connect(NoTls).await.expect("connects");
    // Ends with the client.
    tokio::spawn(connection);
    client
}

#[test]
fn parameters_and_results_in_binary() {
    let server = TestServer::start();
    server.runtime.block_on(async {
        let client = connect(&server).await;
        let types = [Type::INT8, Type::TEXT, Type::FLOAT8];
        let statement = client.prepare_typed("select $1 + 1, $2, $3 + $3", &types).await.expect("prepares");
        let row = client.query_one(&statement, &[&41i64, &"é", &1.5f64]).await.expect("a row");
        assert_eq!((row.get::<_, i64>(0), row.get::<_, &str>(1), row.get::<_, f64>(2)), (42, "é", 3.0));
        let row =
            client.query_one(&statement, &[&None::<i64>, &None::<&str>, &f64::NAN]).await.expect("a row");
        assert_eq!((row.get::<_, Option<i64>>(0), row.get::<_, Option<&str>>(1)), (None, None));
        assert!(row.get::<_, f64>(2).is_nan());
    });
    server.stop();
}

#[test]
fn pipelined_queries_answer_in_order() {
    let server = TestServer::start();
    server.runtime.block_on(async {
        let client = connect(&server).await;
        let statement = client.prepare_typed("select $1 * 2", &[Type::INT8]).await.expect("prepares");
        let queries = (0..100i64).map(|number| {
            let (client, statement) = (&client, &statement);
            async move { client.query_one(statement, &[&number]).await.map(|row| row.get::<_, i64>(0)) }
        });
        let answers: Vec<i64> = futures::future::try_join_all(queries).await.expect("answers");
        assert_eq!(answers, (0..100).map(|number| number * 2).collect::<Vec<i64>>());
    });
    server.stop();
}

#[test]
fn errors_end_transactions_not_sessions() {
    let server = TestServer::start();
    server.runtime.block_on(async {
        let mut client = connect(&server).await;
        let error = client.query("select * from nowhere", &[]).await.expect_err("no such table");
        assert_eq!(error.code(), Some(&SqlState::UNDEFINED_TABLE));
        let transaction = client.transaction().await.expect("begins");
        transaction.query("select * from nowhere", &[]).await.expect_err("no such table");
        let error = transaction.query("select 1", &[]).await.expect_err("failed");
        assert_eq!(error.code(), Some(&SqlState::IN_FAILED_SQL_TRANSACTION));
        transaction.rollback().await.expect("rolls back");
        client.query("select 1", &[]).await.expect("goes on");
    });
    server.stop();
}

#[test]
fn a_portal_is_fetched_in_parts_while_other_queries_run() {
    let server = TestServer::start();
    server.runtime.block_on(async {
        let mut client = connect(&server).await;
        let transaction = client.transaction().await.expect("begins");
        let portal = transaction.bind("select * from generate_series(1, 10000)", &[]).await.expect("binds");
        let mut sum = 0;
        loop {
            let rows = transaction.query_portal(&portal, 777).await.expect("rows");
            sum += rows.iter().map(|row| i64::from(row.get::<_, i32>(0))).sum::<i64>();
            if rows.len() < 777 {
                break;
            }
            transaction.query_one("select 1", &[]).await.expect("another query");
        }
        assert_eq!(sum, 50_005_000);
        transaction.commit().await.expect("commits");
    });
    server.stop();
}

#[test]
fn a_stream_is_cancelled_by_token() {
    let server = TestServer::start();
    server.runtime.block_on(async {
        let client = connect(&server).await;
        let no_parameters: [&str; 0] = [];
        let rows = client.query_raw("select * from generate_series(1, 1000000000)", no_parameters).await;
        let mut rows = Box::pin(rows.expect("streams"));
        rows.next().await.expect("a row").expect("a row");
        client.cancel_token().cancel_query(NoTls).await.expect("is sent");
        let rest = tokio::time::timeout(Duration::from_secs(20), rows.try_for_each(|_| async { Ok(()) }));
        let error = rest.await.expect("in time").expect_err("cancelled");
        assert_eq!(error.code(), Some(&SqlState::QUERY_CANCELED));
        client.query("select 1", &[]).await.expect("goes on");
    });
    server.stop();
}
