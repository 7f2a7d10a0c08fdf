//! The server under test.

use std::time::{Duration, Instant};

use crucible::process::{ServerCommand, ServerProcess};
use tokio_postgres::Client;

use super::Places;
use crate::Failure;
use crate::client;

/// A server on the database of a run.
pub struct StrataServer {
    process: ServerProcess,
    opened_in: Duration,
}

impl StrataServer {
    pub fn start(places: &Places) -> Result<Self, Failure> {
        let command = match &places.server {
            Some(program) => ServerCommand::new(program),
            None => ServerCommand::beside("strata-server")?,
        };
        let begin = Instant::now();
        let command = command.trailing("--memory").trailing(&places.memory);
        let process = ServerProcess::start(&command, &places.database)?;
        Ok(Self { process, opened_in: begin.elapsed() })
    }

    /// From starting the process to its listening.
    pub fn opened_in(&self) -> Duration {
        self.opened_in
    }

    pub fn id(&self) -> u32 {
        self.process.id()
    }

    pub async fn connect(&self) -> Result<Client, Failure> {
        client::connect(&self.process.config()).await
    }

    pub fn stop(self) -> Result<(), Failure> {
        Ok(self.process.stop()?)
    }
}
