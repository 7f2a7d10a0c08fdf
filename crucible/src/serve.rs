//! A server for tests that know no other package's programs: `strata-server` without its flags.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use strata_core::Options;
use strata_datafusion::session::{Engine, EngineOptions};
use strata_server::{Server, ServerOptions, connection_runtime, open_database, parse_size};
use tokio::signal::unix::{SignalKind, signal};

/// What it serves, and where.
#[derive(Debug, Args)]
pub struct ServeArguments {
    /// The address to listen on.
    #[arg(long)]
    pub listen: SocketAddr,
    /// The folder of the database.
    #[arg(long)]
    pub data_dir: PathBuf,
    /// The memory that caches, writes and queries share.
    #[arg(long, default_value = "256MiB", value_parser = parse_size)]
    pub memory: usize,
}

/// Serves until SIGTERM, and tells where it listens as `strata-server` does.
///
/// # Errors
/// Where the database cannot be opened or the address not be had.
pub fn serve(arguments: &ServeArguments) -> Result<(), Box<dyn std::error::Error>> {
    let runtime = connection_runtime()?;
    runtime.block_on(async {
        let mut terminate = signal(SignalKind::terminate())?;
        let options = Options { memory_bytes: arguments.memory, ..Options::default() };
        let database = open_database(&arguments.data_dir, options)?;
        let engine = Engine::new(database, EngineOptions::default())?;
        let options = ServerOptions { listen: arguments.listen, ..ServerOptions::default() };
        let server = Server::start(Arc::clone(&engine), options).await?;
        eprintln!("ready address={}", server.local_addr());
        terminate.recv().await;
        server.shutdown().await;
        Ok(())
    })
}
