//! Savepoints as clients see them: the state in ReadyForQuery, portals, nested transactions of a driver.

use futures::FutureExt;
use tokio_postgres::error::SqlState;
use tokio_postgres::{SimpleQueryMessage, Transaction};

use crate::client::{Raw, TestServer, bind, execute, parse, query, sync, tags};

/// The answer to a query string: the tags of its messages, and the state of the session.
fn ask(raw: &mut Raw, sql: &str) -> (String, char) {
    raw.send(&query(sql));
    let answer = raw.read_to(b'Z');
    let state = answer.last().map_or('?', |ready| char::from(ready.body[0]));
    (tags(&answer), state)
}

#[test]
fn the_state_follows_errors_and_savepoints() {
    let server = TestServer::start();
    let mut raw = server.session();
    let expected = [
        ("SAVEPOINT a", "EZ", 'I'),
        ("BEGIN", "CZ", 'T'),
        ("SAVEPOINT a", "CZ", 'T'),
        ("SELECT * FROM missing", "EZ", 'E'),
        ("SELECT 1", "EZ", 'E'),
        ("ROLLBACK TO missing", "EZ", 'E'),
        ("ROLLBACK TO a", "CZ", 'T'),
        ("SELECT 1", "TDCZ", 'T'),
        ("SELECT * FROM missing; ROLLBACK TO a", "EZ", 'E'),
        ("ROLLBACK TO a; SELECT 1; RELEASE a", "CTDCCZ", 'T'),
        ("ROLLBACK TO a", "EZ", 'E'),
        ("ROLLBACK TO a", "EZ", 'E'),
        ("ROLLBACK", "CZ", 'I'),
    ];
    for (sql, tags, state) in expected {
        assert_eq!(ask(&mut raw, sql), (tags.to_owned(), state), "{sql}");
    }
    drop(raw);
    server.stop();
}

/// The extended protocol refuses all but the end of the block, and ROLLBACK TO.
#[test]
fn a_failed_block_is_mended_in_the_extended_protocol() {
    let server = TestServer::start();
    let mut raw = server.session();
    let mut extended = |sql: &str| {
        raw.send(&[parse(sql), bind(), execute(0), sync()].concat());
        let answer = raw.read_to(b'Z');
        let state = answer.last().map_or('?', |ready| char::from(ready.body[0]));
        (tags(&answer), state)
    };
    let expected = [
        ("BEGIN", "12CZ", 'T'),
        ("SAVEPOINT a", "12CZ", 'T'),
        ("SELECT 1 / 0", "12EZ", 'E'),
        ("SELECT 1", "EZ", 'E'),
        ("SAVEPOINT b", "EZ", 'E'),
        ("ROLLBACK TO SAVEPOINT a", "12CZ", 'T'),
        ("SELECT 1", "12DCZ", 'T'),
        ("RELEASE SAVEPOINT a", "12CZ", 'T'),
        ("COMMIT", "12CZ", 'I'),
    ];
    for (sql, tags, state) in expected {
        assert_eq!(extended(sql), (tags.to_owned(), state), "{sql}");
    }
    server.stop();
}

async fn ids(transaction: &Transaction<'_>) -> Vec<i32> {
    let rows = transaction.query("select id from t order by id", &[]).await.expect("reads");
    rows.iter().map(|row| row.get(0)).collect()
}

/// What is undone takes the portals with it that were made since; those made before go on, undone writes or not.
#[test]
fn portals_live_as_long_as_their_savepoint() {
    let server = TestServer::start();
    server.runtime.block_on(async {
        let mut client = server.client().await;
        client.batch_execute("create table t (id int primary key)").await.expect("creates");
        client.batch_execute("insert into t select * from generate_series(1, 5)").await.expect("inserts");
        let transaction = client.transaction().await.expect("begins");
        transaction.execute("insert into t values (6)", &[]).await.expect("inserts");
        let before = transaction.bind("select id from t order by id", &[]).await.expect("binds");
        let unread = transaction.bind("select id from t order by id", &[]).await.expect("binds");
        let first = transaction.query_portal(&before, 2).await.expect("rows");
        assert_eq!(first.iter().map(|row| row.get::<_, i32>(0)).collect::<Vec<_>>(), [1, 2]);

        transaction.batch_execute("savepoint s; insert into t values (7)").await.expect("inserts");
        let after = transaction.bind("select id from t order by id", &[]).await.expect("binds");
        assert_eq!(transaction.query_portal(&after, 2).await.expect("rows").len(), 2);
        assert_eq!(transaction.query_portal(&unread, 2).await.expect("rows").len(), 2);
        transaction.batch_execute("rollback to s").await.expect("goes back");
        transaction.batch_execute("insert into t values (8)").await.expect("inserts");
        let rest = transaction.query_portal(&before, 0).await.expect("goes on");
        assert_eq!(rest.iter().map(|row| row.get::<_, i32>(0)).collect::<Vec<_>>(), [3, 4, 5, 6]);
        // It was made before the savepoint and read after it: it shows what it did then.
        let rest = transaction.query_portal(&unread, 0).await.expect("goes on");
        assert_eq!(rest.iter().map(|row| row.get::<_, i32>(0)).collect::<Vec<_>>(), [3, 4, 5, 6, 7]);
        let gone = transaction.query_portal(&after, 0).await.expect_err("is gone");
        assert_eq!(gone.code(), Some(&SqlState::INVALID_CURSOR_NAME));

        // That was an error: it undid what came since the savepoint.
        transaction.batch_execute("rollback to s").await.expect("goes back");
        assert_eq!(ids(&transaction).await, [1, 2, 3, 4, 5, 6]);
        let portal = transaction.bind("select id from t order by id", &[]).await.expect("binds");
        assert_eq!(transaction.query_portal(&portal, 1).await.expect("a row").len(), 1);
        transaction.batch_execute("savepoint inner_one").await.expect("saves");
        transaction.batch_execute("select 1 / 0").await.expect_err("fails");
        let failed = transaction.query_portal(&portal, 1).await.expect_err("the block has failed");
        assert_eq!(failed.code(), Some(&SqlState::IN_FAILED_SQL_TRANSACTION));
        transaction.batch_execute("rollback to inner_one; release inner_one").await.expect("goes back");
        assert_eq!(transaction.query_portal(&portal, 0).await.expect("goes on").len(), 5);
        transaction.batch_execute("commit and chain").await.expect("commits");
        let gone = transaction.query_portal(&portal, 0).await.expect_err("its transaction has ended");
        assert_eq!(gone.code(), Some(&SqlState::INVALID_CURSOR_NAME));
    });
    server.stop();
}

#[test]
fn nested_transactions_of_a_driver() {
    let server = TestServer::start();
    server.runtime.block_on(async {
        let mut client = server.client().await;
        client.batch_execute("create table t (id int primary key)").await.expect("creates");
        let insert = client.prepare("insert into t values ($1)").await.expect("prepares");
        let mut outer = client.transaction().await.expect("begins");
        outer.execute(&insert, &[&1i32]).await.expect("inserts");
        for (id, commits) in [(2i32, true), (3, false), (1, false), (4, true)] {
            let nested = outer.transaction().await.expect("nests");
            let inserted = nested.execute(&insert, &[&id]).await;
            assert_eq!(inserted.is_err(), id == 1);
            match commits {
                true => nested.commit().await.expect("releases"),
                false => nested.rollback().await.expect("goes back"),
            }
        }
        let mut nested = outer.savepoint("named").await.expect("nests");
        let innermost = nested.savepoint("named").await.expect("nests");
        innermost.execute(&insert, &[&5i32]).await.expect("inserts");
        // Dropped: the driver sends ROLLBACK TO by itself.
        drop(innermost);
        nested.execute(&insert, &[&6i32]).await.expect("inserts");
        nested.commit().await.expect("releases");
        assert_eq!(ids(&outer).await, [1, 2, 4, 6]);
        outer.commit().await.expect("commits");
        let rows = client.query("select count(*) from t", &[]).await.expect("reads");
        assert_eq!(rows[0].get::<_, i64>(0), 4);
    });
    server.stop();
}

#[test]
fn copies_and_settings_go_back_with_the_rest() {
    let server = TestServer::start();
    server.runtime.block_on(async {
        let client = server.client().await;
        client.batch_execute("create table t (id int primary key, a text)").await.expect("creates");
        client.batch_execute("begin; insert into t values (0, 'zero'); savepoint s").await.expect("begins");
        client.batch_execute("set application_name = 'inner'").await.expect("sets");
        let copy = async |lines: String| {
            let sink = client.copy_in("copy t from stdin").await.expect("begins");
            let mut sink = Box::pin(sink);
            futures::SinkExt::send(&mut sink, bytes::Bytes::from(lines)).await.expect("sends");
            sink.as_mut().finish().await
        };
        let lines = |from: i32, to: i32| (from..to).map(|id| format!("{id}\tnumber {id}\n")).collect();
        assert_eq!(copy(lines(1, 30_001)).await.expect("loads"), 30_000);
        let count = async || {
            let found = client.simple_query("select count(*) from t").await.expect("reads");
            let row = found.iter().find_map(|message| match message {
                SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
                _ => None,
            });
            row.expect("a row")
        };
        assert_eq!(count().await, "30001");
        client.batch_execute("rollback to s").await.expect("goes back");
        assert_eq!(count().await, "1");
        copy(lines(1, 20_000) + "0\tagain\n").await.expect_err("a duplicate");
        client.batch_execute("rollback to s").await.expect("goes back");
        assert_eq!(copy(lines(1, 101)).await.expect("loads"), 100);
        let named = client.query_one("select current_setting('application_name')", &[]).await.expect("shows");
        assert_ne!(named.get::<_, &str>(0), "inner");
        client.batch_execute("commit").await.expect("commits");
        assert_eq!(count().await, "101");
    });
    server.stop();
}

/// An error gives up what was locked since the last savepoint; others need not wait for the client to go back.
#[test]
fn what_is_undone_is_unlocked() {
    let server = TestServer::start();
    server.runtime.block_on(async {
        let (first, second) = (server.client().await, server.client().await);
        first.batch_execute("create table t (id int primary key, a int)").await.expect("creates");
        first.batch_execute("insert into t values (1, 1), (2, 2)").await.expect("inserts");
        first.batch_execute("begin; update t set a = 10 where id = 1; savepoint s").await.expect("begins");
        first
            .batch_execute("update t set a = 20 where id = 2; insert into t values (3, 3)")
            .await
            .expect("writes");
        first.batch_execute("select 1 / 0").await.expect_err("fails");
        second
            .batch_execute("update t set a = 21 where id = 2; insert into t values (3, 31)")
            .await
            .expect("free");
        let mut waiting = Box::pin(second.batch_execute("update t set a = 11 where id = 1"));
        assert!((&mut waiting).now_or_never().is_none(), "held since before the savepoint");
        first.batch_execute("rollback to s; commit").await.expect("commits");
        waiting.await.expect("goes on");
        let rows = first.query("select id, a from t order by id", &[]).await.expect("reads");
        let rows: Vec<(i32, i32)> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
        assert_eq!(rows, [(1, 11), (2, 21), (3, 31)]);
    });
    server.stop();
}
