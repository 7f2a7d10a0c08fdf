//! Tables that others alter before a statement has locked them.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use strata_core::vfs::{Fault, FaultEffect, FaultVfs, IoKind, MemVfs, Vfs};
use strata_core::{Database, Options};

use crate::error::SqlResult;
use crate::session::testing::{engine, run, session};
use crate::session::{Engine, EngineOptions, Session};

const TABLE: &str = "CREATE TABLE t (id int PRIMARY KEY, n int); INSERT INTO t VALUES (1, 10), (2, 20)";
const LEVELS: [&str; 2] = ["REPEATABLE READ", "SERIALIZABLE"];
/// The second is one for a point plan.
const WRITES: [&str; 5] = [
    "UPDATE t SET n = n + 1",
    "UPDATE t SET n = 0 WHERE id = 1",
    "DELETE FROM t WHERE n > 10",
    "INSERT INTO t VALUES (3, 30)",
    "INSERT INTO t SELECT id + 10, n FROM t",
];

/// What a session answers, which has nobody to wait for.
async fn at_once(mut session: Session, sql: &str) -> (Session, SqlResult<Vec<String>>) {
    let (cancel, text) = (session.cancel_handle(), sql.to_owned());
    let mut running = tokio::spawn(async move {
        let answer = run(&mut session, &text).await;
        (session, answer)
    });
    match tokio::time::timeout(Duration::from_secs(20), &mut running).await {
        Ok(answer) => answer.unwrap(),
        Err(_) => {
            // The runtime waits for its threads: one that goes round for ever would hide the failure.
            cancel.cancel();
            panic!("goes on and on: {sql}");
        }
    }
}

/// Bug: a statement was planned again and again for a table that its snapshot never showed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_that_was_altered_after_the_snapshot_is_not_written() {
    let changes = ["CREATE INDEX ON t (n)", "ALTER TABLE t ADD COLUMN c int", "TRUNCATE t"];
    for (change, level) in changes.into_iter().flat_map(|change| LEVELS.map(|level| (change, level))) {
        let engine = engine(Options::default());
        let (mut one, mut two) = (session(&engine), session(&engine));
        run(&mut one, TABLE).await.unwrap();
        let begin = format!("BEGIN ISOLATION LEVEL {level}; SELECT count(*) FROM t");
        run(&mut two, &format!("{begin}; SAVEPOINT s")).await.unwrap();
        run(&mut one, change).await.unwrap();
        for write in WRITES {
            let (session, refused) = at_once(two, write).await;
            let refused = refused.unwrap_err();
            assert_eq!(refused.sqlstate, "40001", "{change}, {level}, {write}: {refused:?}");
            two = session;
            run(&mut two, "ROLLBACK TO s").await.unwrap();
        }
        run(&mut two, &format!("ROLLBACK; {begin}")).await.unwrap();
        at_once(two, "UPDATE t SET n = n + 1; COMMIT").await.1.unwrap();
    }
}

/// Rows are locked beside an index that is made, whatever the snapshot shows of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_that_was_altered_after_the_snapshot_is_locked_if_only_its_indexes_differ() {
    let query = "SELECT n FROM t WHERE n > 10 FOR UPDATE";
    let altered = "40001".to_owned();
    let changes = [
        ("CREATE INDEX ON t (n)", Ok(vec!["20".to_owned()])),
        ("ALTER TABLE t ADD COLUMN c int", Err(altered.clone())),
        ("TRUNCATE t", Err(altered)),
    ];
    for ((change, expected), level) in changes.iter().flat_map(|change| LEVELS.map(|level| (change, level))) {
        let engine = engine(Options::default());
        let (mut one, mut two) = (session(&engine), session(&engine));
        run(&mut one, TABLE).await.unwrap();
        let begin = format!("BEGIN ISOLATION LEVEL {level}; SELECT count(*) FROM t");
        run(&mut two, &begin).await.unwrap();
        run(&mut one, change).await.unwrap();
        let answer = at_once(two, query).await.1.map_err(|error| error.sqlstate.to_owned());
        assert_eq!(&answer, expected, "{change}, {level}");
    }
}

/// The snapshot is older than the wait, and so than what was waited for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_waits_for_an_index_goes_on_where_a_snapshot_shows_it() {
    for (level, end, expected) in [
        ("READ COMMITTED", "COMMIT", Ok(())),
        ("REPEATABLE READ", "COMMIT", Err("40001")),
        ("REPEATABLE READ", "ROLLBACK", Ok(())),
    ] {
        let engine = engine(Options::default());
        let (mut one, mut two) = (session(&engine), session(&engine));
        run(&mut one, TABLE).await.unwrap();
        run(&mut one, "BEGIN; CREATE INDEX ON t (n)").await.unwrap();
        run(&mut two, &format!("BEGIN ISOLATION LEVEL {level}")).await.unwrap();
        let mut waiting = tokio::spawn(async move { at_once(two, "UPDATE t SET n = 99 WHERE id = 2").await });
        let early = tokio::time::timeout(Duration::from_millis(300), &mut waiting).await;
        assert!(early.is_err(), "an index is made");
        run(&mut one, end).await.unwrap();
        let (mut two, written) = waiting.await.unwrap();
        assert_eq!(written.map(drop).map_err(|error| error.sqlstate), expected, "{level}, {end}");
        if expected.is_ok() {
            run(&mut two, "COMMIT").await.unwrap();
            assert_eq!(run(&mut one, "SELECT id FROM t WHERE n = 99").await.unwrap(), ["2"]);
        }
    }
}

/// Bug: after a failure of the disk the newest definition was one that no snapshot would ever show.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_definition_whose_fate_is_unknown_is_not_waited_for() {
    let faults = Arc::new(FaultVfs::new(Arc::new(MemVfs::new())));
    let vfs: Arc<dyn Vfs> = faults.clone();
    let database = Database::open_with_vfs(vfs, Path::new("/db"), Options::default()).unwrap();
    let engine = Engine::new(database, EngineOptions { analytical_threads: 2 }).unwrap();
    let mut one = session(&engine);
    run(&mut one, TABLE).await.unwrap();
    faults.arm(Fault::nth(0, FaultEffect::InputOutput).of(&[IoKind::Sync]).for_ever());
    run(&mut one, "ALTER TABLE t ADD COLUMN c int").await.unwrap_err();
    for statement in WRITES.into_iter().chain(["SELECT n FROM t FOR UPDATE"]) {
        let refused = at_once(session(&engine), statement).await.1.unwrap_err();
        assert_eq!(refused.sqlstate, "58030", "{statement}: {refused:?}");
    }
    assert_eq!(run(&mut one, "SELECT * FROM t ORDER BY id").await.unwrap(), ["1|10", "2|20"]);
}
