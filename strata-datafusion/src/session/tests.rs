use datafusion::arrow::util::display::array_value_to_string;
use futures::StreamExt;

use super::storage::NoRelations;
use super::*;

fn session() -> Session {
    let options = EngineOptions { analytical_threads: 2, memory_pool: None };
    let engine = Engine::new(Arc::new(NoRelations), options).unwrap();
    Session::new(engine, SessionOptions::default())
}

/// Runs a query string as the simple protocol does; rows as text, cells joined by `|`.
async fn run(session: &mut Session, sql: &str) -> SqlResult<Vec<String>> {
    let result = run_statements(session, sql).await;
    match &result {
        Ok(_) => session.finish_implicit().await?,
        Err(_) => session.fail().await,
    }
    result
}

async fn run_statements(session: &mut Session, sql: &str) -> SqlResult<Vec<String>> {
    let mut answer = Vec::new();
    for statement in session.parse(sql)? {
        match session.execute_statement(&statement).await? {
            Outcome::Rows(mut rows) => {
                while let Some(batch) = rows.batches.next().await {
                    let batch = batch?;
                    for row in 0..batch.num_rows() {
                        let cells: Vec<String> = batch
                            .columns()
                            .iter()
                            .map(|column| array_value_to_string(column, row).unwrap())
                            .collect();
                        answer.push(cells.join("|"));
                    }
                }
            }
            Outcome::Command(tag) => answer.push(tag),
            Outcome::Empty | Outcome::CopyIn { .. } | Outcome::CopyOut(_) => unreachable!(),
        }
    }
    Ok(answer)
}

#[tokio::test]
async fn a_query_without_tables_runs() {
    let mut session = session();
    assert_eq!(run(&mut session, "SELECT 1").await.unwrap(), ["1"]);
    assert_eq!(run(&mut session, "SELECT 1 + 2, 'a'; VALUES (3)").await.unwrap(), ["3|a", "3"]);
    assert_eq!(session.status(), TransactionStatus::Idle);
}

#[tokio::test]
async fn a_missing_table_is_undefined() {
    let error = run(&mut session(), "SELECT * FROM nothing").await.unwrap_err();
    assert_eq!(error.sqlstate, "42P01");
    assert_eq!(error.message, "relation \"nothing\" does not exist");
}

#[tokio::test]
async fn a_block_fails_and_ends() {
    let mut session = session();
    assert_eq!(run(&mut session, "BEGIN").await.unwrap(), ["BEGIN"]);
    assert_eq!(session.status(), TransactionStatus::InTransaction);
    run(&mut session, "SELECT * FROM nothing").await.unwrap_err();
    assert_eq!(session.status(), TransactionStatus::Failed);
    assert_eq!(run(&mut session, "SELECT 1").await.unwrap_err().sqlstate, "25P02");
    assert_eq!(run(&mut session, "COMMIT").await.unwrap(), ["ROLLBACK"]);
    assert_eq!(session.status(), TransactionStatus::Idle);
}

#[tokio::test]
async fn transaction_control_warns_as_postgres_does() {
    let mut session = session();
    assert_eq!(run(&mut session, "COMMIT").await.unwrap(), ["COMMIT"]);
    assert_eq!(session.take_notices()[0].message, "there is no transaction in progress");
    assert_eq!(run(&mut session, "BEGIN; BEGIN; ROLLBACK").await.unwrap(), ["BEGIN", "BEGIN", "ROLLBACK"]);
    assert_eq!(session.take_notices()[0].message, "there is already a transaction in progress");
    let error = run(&mut session, "BEGIN ISOLATION LEVEL SERIALIZABLE").await.unwrap_err();
    assert_eq!(error.sqlstate, "0A000");
    assert_eq!(run(&mut session, "SAVEPOINT a").await.unwrap_err().sqlstate, "0A000");
}

#[tokio::test]
async fn the_isolation_level_is_shown_and_fixed_by_the_first_query() {
    let mut session = session();
    run(&mut session, "BEGIN ISOLATION LEVEL REPEATABLE READ").await.unwrap();
    assert_eq!(run(&mut session, "SHOW transaction_isolation").await.unwrap(), ["repeatable read"]);
    run(&mut session, "SELECT 1").await.unwrap();
    let error = run(&mut session, "SET TRANSACTION ISOLATION LEVEL READ COMMITTED").await.unwrap_err();
    assert_eq!(error.sqlstate, "25001");
    run(&mut session, "ROLLBACK").await.unwrap();
    assert_eq!(run(&mut session, "SHOW transaction_isolation").await.unwrap(), ["read committed"]);
}

#[tokio::test]
async fn settings_are_set_shown_and_reported() {
    let mut session = session();
    let answer = run(&mut session, "SET TIME ZONE 'Europe/Berlin'; SHOW TimeZone").await.unwrap();
    assert_eq!(answer, ["SET", "Europe/Berlin"]);
    assert_eq!(session.take_parameter_changes(), [("TimeZone".to_owned(), "Europe/Berlin".to_owned())]);
    assert_eq!(
        run(&mut session, "SET search_path TO a, \"B\"; SHOW search_path").await.unwrap()[1],
        "a, \"B\""
    );
    run(&mut session, "DISCARD ALL").await.unwrap();
    assert_eq!(run(&mut session, "SHOW TIME ZONE").await.unwrap(), ["UTC"]);
    assert!(session.startup_parameters().iter().any(|(name, _)| name == "server_version"));
}

#[tokio::test]
async fn a_cancelled_query_stops() {
    let mut session = session();
    let handle = session.cancel_handle();
    let statement =
        session.parse("SELECT count(*) FROM generate_series(1, 1000000000000)").unwrap().remove(0);
    let canceller = tokio::spawn(async move {
        tokio::time::sleep(Duration::from_millis(50)).await;
        handle.cancel();
    });
    let Outcome::Rows(mut rows) = session.execute_statement(&statement).await.unwrap() else {
        unreachable!()
    };
    let error = rows.batches.next().await.unwrap().unwrap_err();
    assert_eq!((error.sqlstate, rows.batches.next().await.is_none()), ("57014", true));
    canceller.await.unwrap();
    session.cancel_handle().reset();
    session.fail().await;
    run(&mut session, "SET statement_timeout = 50").await.unwrap();
    let error =
        run(&mut session, "SELECT count(*) FROM generate_series(1, 1000000000000)").await.unwrap_err();
    assert_eq!(error.message, "canceling statement due to statement timeout");
}
