//! A file's text with the expectations that a server's answers give.

use sqllogictest::{ExpectedError, QueryExpect, Record, RecordOutput, StatementExpect};
use tokio_postgres::Config;

use super::Pass;
use super::client::{Family, Protocol, SpecError};
use super::file::{runner, same_rows};

/// Runs the records through the extended protocol, which tells types, and writes down what it answered. Errors become their
/// SQLSTATE: messages differ from server to server.
pub(super) async fn updated(records: Vec<Record<Family>>, config: Config) -> String {
    let mut runner = runner(config, Pass::Through(Protocol::Extended), "postgres");
    let mut text = String::new();
    for record in records {
        let output = runner.apply_record(record.clone()).await;
        let record = match state_of(&output) {
            Some(state) => with_error(record, state),
            None => {
                let strict = sqllogictest::strict_column_validator;
                sqllogictest::update_record_with_output(
                    &record,
                    &output,
                    "|",
                    same_rows,
                    |text| text.clone(),
                    strict,
                )
                .unwrap_or(record)
            }
        };
        text.push_str(&record.to_string());
        text.push('\n');
    }
    runner.shutdown_async().await;
    format!("{}\n", text.trim_end_matches('\n'))
}

fn state_of(output: &RecordOutput<Family>) -> Option<String> {
    let (RecordOutput::Statement { error: Some(error), .. } | RecordOutput::Query { error: Some(error), .. }) =
        output
    else {
        return None;
    };
    error.downcast_ref::<SpecError>()?.state.clone()
}

fn with_error(record: Record<Family>, state: String) -> Record<Family> {
    let found = ExpectedError::SqlState(state);
    match record {
        Record::Statement { loc, conditions, connection, sql, retry, .. } => Record::Statement {
            loc,
            conditions,
            connection,
            sql,
            expected: StatementExpect::Error(found),
            retry,
        },
        Record::Query { loc, conditions, connection, sql, retry, .. } => {
            Record::Query { loc, conditions, connection, sql, expected: QueryExpect::Error(found), retry }
        }
        other => other,
    }
}
