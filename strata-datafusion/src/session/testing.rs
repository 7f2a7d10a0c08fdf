//! Sessions for unit tests.

use std::sync::Arc;

use datafusion::arrow::util::display::array_value_to_string;
use futures::StreamExt;
use strata_core::{Database, Options};

use super::{Engine, EngineOptions, Outcome, Session, SessionOptions};
use crate::error::SqlResult;

/// An engine over a database in memory.
pub(crate) fn engine(storage: Options) -> Arc<Engine> {
    let options = EngineOptions { analytical_threads: 2 };
    Engine::new(Database::in_memory(storage).unwrap(), options).unwrap()
}

/// A session of it.
pub(crate) fn session(engine: &Arc<Engine>) -> Session {
    Session::new(engine.clone(), SessionOptions::default())
}

/// Runs a query string as the simple protocol does; rows as text, cells joined by `|`.
pub(crate) async fn run(session: &mut Session, sql: &str) -> SqlResult<Vec<String>> {
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
        let Outcome::Rows(mut rows) = session.execute_statement(&statement).await?.streamed()? else {
            continue;
        };
        while let Some(batch) = rows.batches.next().await {
            let batch = batch?;
            for row in 0..batch.num_rows() {
                let cells = batch.columns().iter().map(|column| array_value_to_string(column, row).unwrap());
                answer.push(cells.collect::<Vec<_>>().join("|"));
            }
        }
    }
    Ok(answer)
}
