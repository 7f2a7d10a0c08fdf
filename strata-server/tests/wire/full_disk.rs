//! A full disk: statements fail with 53100, the server goes on, and nothing that was acknowledged is lost.

use std::sync::Arc;

use strata_core::vfs::{MemVfs, Random, SeededRandom, SmallDisk, Vfs};
use strata_core::{Database, Options};
use strata_datafusion::session::{Engine, EngineOptions};
use strata_server::ServerOptions;
use tokio_postgres::{Client, Error};

use crate::client::TestServer;
use crate::copy::copy_in;

fn open(vfs: Arc<dyn Vfs>) -> Arc<Engine> {
    let options = Options { memory_bytes: 256 << 20, ..Options::default() };
    let database = Database::open_with_vfs(vfs, "/db", options).expect("opens");
    Engine::new(database, EngineOptions::default()).expect("an engine")
}

fn code(error: &Error) -> &str {
    error.as_db_error().unwrap_or_else(|| panic!("the connection broke: {error}")).code().code()
}

async fn insert(client: &Client, id: i32) -> Result<(), Error> {
    client.batch_execute(&format!("insert into t values ({id}, repeat('{id} ', 20000))")).await
}

/// Inserts rows until one is refused. The journal has some room ahead; and what the commit before has reserved of it may not
/// be given back yet when the next one asks, so that a full disk may have room for one more a moment later.
async fn fill(client: &Client, rows: &mut i32) {
    let refused = loop {
        match insert(client, *rows + 1).await {
            Ok(()) => *rows += 1,
            Err(error) => break error,
        }
        assert!(*rows < 2000, "a full disk goes unnoticed");
    };
    assert_eq!(code(&refused), "53100", "{refused:?}");
}

/// What the table holds: as many rows as were acknowledged, each whole.
async fn assert_holds(client: &Client, rows: i32) {
    let sql = "select count(*), max(id), count(*) filter (where length(body) >= 40000) from t";
    let row = client.query_one(sql, &[]).await.expect("reads");
    let count = i64::from(rows);
    assert_eq!((row.get(0), row.get(1), row.get(2)), (count, Some(rows), count));
}

#[test]
fn statements_fail_and_the_server_goes_on() {
    let files = MemVfs::new();
    let disk = SmallDisk::new(Arc::new(files.clone()));
    let server = TestServer::of(open(Arc::new(disk.clone())), ServerOptions::default());
    let rows = server.runtime.block_on(async {
        let (client, other) = (server.client().await, server.client().await);
        client.batch_execute("create table t (id int primary key, body text)").await.expect("creates");
        let mut rows = 0;
        for _ in 0..20 {
            insert(&client, rows + 1).await.expect("inserts");
            rows += 1;
        }
        disk.leave(3 << 20);
        fill(&client, &mut rows).await;
        assert_holds(&client, rows).await;
        assert_holds(&other, rows).await;
        // Text that no encoding makes short.
        let random = SeededRandom::new(7);
        let noise = || (0..20).map(|_| format!("{:x}", random.below(u64::MAX))).collect::<String>();
        let lines = (0..40_000).map(|row| format!("{}\t{}\n", 10_000 + row, noise())).collect();
        let error = copy_in(&other, "copy t from stdin", vec![lines]).await.expect_err("no room for that");
        assert_eq!(code(&error), "53100", "{error:?}");
        fill(&client, &mut rows).await;
        assert_holds(&client, rows).await;
        disk.grow();
        insert(&client, rows + 1).await.expect("there is room again");
        insert(&other, rows + 2).await.expect("for others too");
        rows += 2;
        other.batch_execute("vacuum").await.expect("vacuums");
        assert_holds(&other, rows).await;
        rows
    });
    reopened(Arc::new(files.crash_clone(&SeededRandom::new(1))), rows);
    server.stop();
    reopened(Arc::new(disk), rows);
}

/// Nothing that was acknowledged is lost.
fn reopened(files: Arc<dyn Vfs>, rows: i32) {
    let server = TestServer::of(open(files), ServerOptions::default());
    server.runtime.block_on(async { assert_holds(&server.client().await, rows).await });
    server.stop();
}
