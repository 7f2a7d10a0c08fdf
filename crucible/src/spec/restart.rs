//! Passes over servers of our own: straight through, and with restarts wherever a query follows a statement.

use std::collections::HashSet;
use std::io;
use std::path::Path;

use sqllogictest::{Connection, Record};

use super::client::Family;
use super::file::{SpecRunner, is_skipped, labels, run_record, run_through, runner};
use super::{Pass, PassReport};
use crate::process::{ServerCommand, ServerProcess};

const ENGINE: &str = "strata";

/// Runs a pass on a server with an empty folder.
pub(super) async fn run(
    records: Vec<Record<Family>>,
    command: &ServerCommand,
    pass: Pass,
) -> io::Result<PassReport> {
    let folder = tempfile::tempdir()?;
    let server = ServerProcess::start(command, folder.path())?;
    match pass {
        Pass::Through(_) => {
            let report = run_through(records, server.config(), pass, ENGINE).await;
            server.stop()?;
            Ok(report)
        }
        Pass::Restarts => run_restarting(records, command, server, folder.path()).await,
    }
}

async fn run_restarting(
    records: Vec<Record<Family>>,
    command: &ServerCommand,
    server: ServerProcess,
    folder: &Path,
) -> io::Result<PassReport> {
    let pass = Pass::Restarts;
    let mut report = PassReport { records: 0, restarts: 0, failures: Vec::new() };
    let mut runner = runner(server.config(), pass, ENGINE);
    let mut server = server;
    let mut state = SessionState::default();
    for record in records {
        if matches!(record, Record::Halt { .. }) {
            break;
        }
        if state.calls_for_restart(&record) {
            runner.shutdown_async().await;
            (server, runner) = restart(server, command, folder, report.restarts % 2 == 1).await?;
            report.restarts += 1;
            state.restore(&mut runner, &mut report).await;
        }
        state.note(&record);
        run_record(&mut runner, record, &mut report).await;
    }
    runner.shutdown_async().await;
    server.stop()?;
    Ok(report)
}

/// Ends the server, by force or in order, and starts another on its folder.
async fn restart(
    server: ServerProcess,
    command: &ServerCommand,
    folder: &Path,
    by_force: bool,
) -> io::Result<(ServerProcess, SpecRunner)> {
    if by_force {
        server.kill()?;
    } else {
        server.stop()?;
    }
    let server = ServerProcess::start(command, folder)?;
    let runner = runner(server.config(), Pass::Restarts, ENGINE);
    Ok((server, runner))
}

/// What a restart would lose, as far as files can tell.
#[derive(Default)]
struct SessionState {
    /// Connections in a transaction block.
    open: HashSet<Connection>,
    /// Whether something was written since the last restart.
    written: bool,
    /// Settings of sessions and of the runner, in order.
    kept: Vec<Record<Family>>,
}

impl SessionState {
    /// Whether the server should be restarted ahead of this record.
    fn calls_for_restart(&self, record: &Record<Family>) -> bool {
        let query = matches!(record, Record::Query { .. });
        query && self.written && self.open.is_empty() && !is_skipped(record, &labels(Pass::Restarts, ENGINE))
    }

    /// Sets again what a restart lost.
    async fn restore(&mut self, runner: &mut SpecRunner, report: &mut PassReport) {
        self.written = false;
        for record in &self.kept {
            run_record(runner, record.clone(), report).await;
        }
    }

    /// A record is about to run.
    fn note(&mut self, record: &Record<Family>) {
        if is_skipped(record, &labels(Pass::Restarts, ENGINE)) {
            return;
        }
        let (Record::Statement { sql, connection, .. } | Record::Query { sql, connection, .. }) = record
        else {
            if matches!(record, Record::Control(_)) {
                self.kept.push(record.clone());
            }
            return;
        };
        match first_word(sql).as_str() {
            "BEGIN" | "START" => {
                self.open.insert(connection.clone());
            }
            "COMMIT" | "END" | "ROLLBACK" | "ABORT" if leaves_block_open(sql) => {}
            "COMMIT" | "END" | "ROLLBACK" | "ABORT" => {
                self.open.remove(connection);
                self.written = true;
            }
            "SET" | "RESET" if !self.open.contains(connection) => self.kept.push(record.clone()),
            "SET" | "RESET" | "SELECT" | "VALUES" | "SHOW" | "EXPLAIN" => {}
            _ => self.written = true,
        }
    }
}

/// ROLLBACK TO a savepoint, and AND CHAIN.
fn leaves_block_open(sql: &str) -> bool {
    let words: Vec<String> = sql.split_whitespace().map(str::to_ascii_uppercase).collect();
    let word = |word: &str| words.iter().any(|other| other == word);
    word("TO") || (word("CHAIN") && !word("NO"))
}

fn first_word(sql: &str) -> String {
    let word: String = sql.trim_start().chars().take_while(char::is_ascii_alphabetic).collect();
    word.to_ascii_uppercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(text: &str) -> Record<Family> {
        sqllogictest::parse(text).expect("parses").remove(0)
    }

    fn statement(sql: &str) -> Record<Family> {
        record(&format!("statement ok\n{sql}\n"))
    }

    #[test]
    fn queries_after_writes_call_for_a_restart() {
        let query = record("query I\nSELECT 1\n----\n1\n");
        let mut state = SessionState::default();
        assert!(!state.calls_for_restart(&query));
        state.note(&statement("insert into t values (1)"));
        assert!(state.calls_for_restart(&query));
        assert!(!state.calls_for_restart(&statement("delete from t")));
    }

    #[test]
    fn no_restart_in_a_transaction() {
        let query = record("query I\nSELECT 1\n----\n1\n");
        let mut state = SessionState::default();
        state.note(&statement("BEGIN"));
        state.note(&statement("INSERT INTO t VALUES (1)"));
        assert!(!state.calls_for_restart(&query));
        state.note(&statement("ROLLBACK WORK TO SAVEPOINT a"));
        state.note(&statement("COMMIT AND CHAIN"));
        assert!(!state.calls_for_restart(&query));
        state.note(&statement("COMMIT"));
        assert!(state.calls_for_restart(&query));
    }

    #[test]
    fn settings_are_kept_and_are_no_writes() {
        let mut state = SessionState::default();
        state.note(&statement("SET search_path TO a"));
        assert_eq!(state.kept.len(), 1);
        assert!(!state.written);
    }
}
