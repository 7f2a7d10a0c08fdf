//! A file's records, and running them on a database that stays as it is.

use std::future::Future;
use std::io;
use std::path::Path;
use std::pin::Pin;

use sqllogictest::{Condition, MakeConnection, Normalizer, Record, RecordOutput, Runner};
use tokio_postgres::Config;

use super::client::{Family, SpecClient, SpecError};
use super::{Pass, PassReport};

/// The runner of spec tests.
pub(super) type SpecRunner = Runner<SpecClient, Connector>;

/// Connects for a runner.
pub(super) struct Connector {
    config: Config,
    pass: Pass,
}

impl MakeConnection for Connector {
    type Conn = SpecClient;
    type MakeFuture = Pin<Box<dyn Future<Output = Result<SpecClient, SpecError>> + Send>>;

    fn make(&mut self) -> Self::MakeFuture {
        let (config, protocol) = (self.config.clone(), self.pass.protocol());
        Box::pin(async move { SpecClient::connect(&config, protocol).await })
    }
}

/// The records of a file.
pub(super) fn read(path: &Path) -> io::Result<Vec<Record<Family>>> {
    sqllogictest::parse_file(path)
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error.to_string()))
}

/// The labels of a run.
pub(super) fn labels(pass: Pass, engine: &'static str) -> [&'static str; 3] {
    [engine, pass.protocol().name(), pass.name()]
}

/// A runner over a server.
pub(super) fn runner(config: Config, pass: Pass, engine: &'static str) -> SpecRunner {
    let mut runner = Runner::new(Connector { config, pass });
    for label in labels(pass, engine) {
        runner.add_label(label);
    }
    runner.with_normalizer(|text| text.clone());
    runner.with_validator(same_rows);
    runner.with_column_validator(sqllogictest::strict_column_validator);
    runner
}

/// Whether rows are as a file has them.
pub(super) fn same_rows(_: Normalizer, actual: &[Vec<String>], expected: &[String]) -> bool {
    actual.len() == expected.len() && actual.iter().zip(expected).all(|(row, line)| row.join("|") == *line)
}

/// Whether a record does not run under these labels.
pub(super) fn is_skipped(record: &Record<Family>, labels: &[&str]) -> bool {
    let (Record::Statement { conditions, .. } | Record::Query { conditions, .. }) = record else {
        return false;
    };
    conditions.iter().any(|condition| match condition {
        Condition::OnlyIf { label } => !labels.contains(&label.as_str()),
        Condition::SkipIf { label } => labels.contains(&label.as_str()),
    })
}

/// Runs a record and notes what came of it.
pub(super) async fn run_record(runner: &mut SpecRunner, record: Record<Family>, report: &mut PassReport) {
    match runner.run_async(record).await {
        Ok(RecordOutput::Nothing) => {}
        Ok(_) => report.records += 1,
        Err(error) => {
            report.records += 1;
            report.failures.push(error.display(false).to_string());
        }
    }
}

/// Runs all records.
pub(super) async fn run_through(
    records: Vec<Record<Family>>,
    config: Config,
    pass: Pass,
    engine: &'static str,
) -> PassReport {
    let mut runner = runner(config, pass, engine);
    let mut report = PassReport { records: 0, restarts: 0, failures: Vec::new() };
    for record in records {
        if matches!(record, Record::Halt { .. }) {
            break;
        }
        run_record(&mut runner, record, &mut report).await;
    }
    runner.shutdown_async().await;
    report
}
